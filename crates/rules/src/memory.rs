//! What matches remember from packet to packet.
//!
//! A rule of its own memory loses it when the ruleset is replaced, as in the kernel.

use crate::conncount::Counts;
use crate::matches::Match;
use crate::matches::limit::Bucket;
use crate::matches::statistic::{Chance, Mode};
use crate::source::Position;

/// What one match of one rule remembers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Own {
    /// Nothing.
    #[default]
    Nothing,
    /// `limit`'s credit.
    Bucket(Bucket),
    /// How many bytes of `quota` are left.
    Bytes(u64),
    /// How many packets `statistic` has counted.
    Counted(u32),
    /// What `statistic` chooses by.
    Chance(Chance),
    /// The connections that `connlimit` knows.
    Connections(Box<Counts>),
    /// Where `string` goes on after a byte that does not fit.
    Borders(Box<[u8]>),
}

impl Own {
    /// What a match of the rule at `position` begins with.
    pub(crate) fn of(one: &Match, position: Position) -> Self {
        match one {
            Match::Limit(limit) => Self::Bucket(limit.bucket()),
            Match::Quota(quota) => Self::Bytes(quota.bytes.value),
            Match::Statistic(statistic) => match statistic.mode {
                Mode::Nth => Self::Counted(statistic.counted()),
                Mode::Random => Self::Chance(Chance::of_rule(position.line.into())),
            },
            Match::Connlimit(_) => Self::Connections(Box::default()),
            Match::StringMatch(string) => Self::Borders(string.borders().into()),
            _ => Self::Nothing,
        }
    }
}

/// What a match may remember by.
pub(crate) struct Memory<'a> {
    pub(crate) own: &'a mut Own,
}
