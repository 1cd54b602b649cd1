//! What matches remember from packet to packet.
//!
//! A rule of its own memory loses it when the ruleset is replaced, as in the kernel.

use crate::matches::Match;
use crate::matches::limit::Bucket;

/// What one match of one rule remembers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Own {
    /// Nothing.
    #[default]
    Nothing,
    /// `limit`'s credit.
    Bucket(Bucket),
}

impl Own {
    /// What a match begins with.
    pub(crate) fn of(one: &Match) -> Self {
        match one {
            Match::Limit(limit) => Self::Bucket(limit.bucket()),
            _ => Self::Nothing,
        }
    }
}

/// What a match may remember by.
pub(crate) struct Memory<'a> {
    pub(crate) own: &'a mut Own,
}
