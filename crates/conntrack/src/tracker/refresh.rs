//! What an accepted packet brings about: timeout, counters, ASSURED, events.
//!
//! Kernel counterpart: `nf_ct_refresh_acct`.

use super::Tracker;
use crate::decision::Accept;
use crate::entry::Flags;
use crate::event::EventMask;
use crate::status::{Direction, Status};

impl Tracker {
    #[inline]
    pub(super) fn refresh(
        &mut self,
        slot: u32,
        direction: Direction,
        length: usize,
        accept: &Accept,
    ) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        if accept.events != EventMask::NONE {
            entry.cache_event(accept.events);
        }
        if accept.assured && entry.status.set(Status::ASSURED) {
            entry.cache_event(EventMask::ASSURED);
        }
        let Some(timeout) = accept.timeout else { return };
        let fixed = entry.status.has(Status::FIXED_TIMEOUT);
        let counts = entry.flags.has(Flags::ACCOUNTING);
        if !fixed {
            self.table.set_deadline(slot, self.now + timeout);
        }
        if counts {
            self.table.account(slot, direction, length);
        }
    }

    pub(super) fn account(&mut self, slot: u32, direction: Direction, length: usize) {
        if self.table.entry(slot).is_some_and(|entry| entry.flags.has(Flags::ACCOUNTING)) {
            self.table.account(slot, direction, length);
        }
    }
}
