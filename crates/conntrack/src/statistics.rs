//! Counters: the columns of `conntrack -S`, and one a reason.

use crate::reason::{DropReason, Reason};

/// What the tracker has counted since it was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Tuples that NAT found taken while it looked for a free one.
    pub found: u64,
    /// Packets that are INVALID.
    pub invalid: u64,
    /// Connections that could not be inserted.
    pub insert_failed: u64,
    /// Packets dropped because a connection could not be made or inserted.
    pub drop: u64,
    /// Connections that gave way to others in a full table.
    pub early_drop: u64,
    /// ICMP errors that belong to nothing.
    pub error: u64,
    /// Clashes at confirm that were resolved.
    pub clash_resolve: u64,
    /// Insertions given up for want of room in the index.
    pub chaintoolong: u64,
    reasons: [u64; Reason::CODES.len()],
    drops: [u64; DropReason::CODES.len()],
}

impl Statistics {
    /// How often each reason was given: code and count, only those that occurred.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::CODES.into_iter().zip(self.reasons).filter(|&(_, count)| count > 0)
    }

    /// How often each drop occurred: code and count, only those that did.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DropReason::CODES.into_iter().zip(self.drops).filter(|&(_, count)| count > 0)
    }

    pub(crate) fn count_reason(&mut self, reason: &Reason) {
        if let Some(counter) = self.reasons.get_mut(reason.index()) {
            *counter += 1;
        }
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        self.drop += 1;
        if let Some(counter) = self.drops.get_mut(reason.index()) {
            *counter += 1;
        }
    }
}
