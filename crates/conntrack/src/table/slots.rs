//! Slots of the slab: IPv4 takes them from the low end, IPv6 from the high end.
//!
//! A slot that was given back is the first to be used again, so that what is in use stays dense and
//! warm. Free slots are linked through their entries.

use super::Table;
use crate::prefetch::prefetch;

/// One value for IPv4's end of the slab and one for IPv6's.
pub(super) struct PerEnd<T> {
    pub(super) low: T,
    pub(super) high: T,
}

impl Table {
    /// A slot for a connection of an IP version: of its own end, else a free one of the other.
    pub(super) fn take_slot(&mut self, version: u8) -> Option<u32> {
        let low_first = version == 4;
        let slot = match low_first {
            true => self.pop_free(true).or_else(|| self.take_fresh(true)),
            false => self.pop_free(false).or_else(|| self.take_fresh(false)),
        };
        slot.or_else(|| self.pop_free(!low_first))
    }

    fn pop_free(&mut self, low: bool) -> Option<u32> {
        let head = if low { &mut self.free.low } else { &mut self.free.high };
        let slot = *head;
        *head = self.entries.get(slot as usize)?.next;
        // The next connection will be written over this one, which may have ended long ago.
        if let Some(entry) = self.entries.get(*head as usize) {
            prefetch(&entry.original);
            prefetch(&entry.l4);
        }
        Some(slot)
    }

    fn take_fresh(&mut self, low: bool) -> Option<u32> {
        if self.fresh.low == self.fresh.high {
            return None;
        }
        if low {
            self.fresh.low += 1;
            Some(self.fresh.low - 1)
        } else {
            self.fresh.high -= 1;
            Some(self.fresh.high)
        }
    }

    /// Takes a slot back, to be the next that is given.
    pub(super) fn give_slot(&mut self, slot: u32, version: u8) {
        let head = if version == 4 { &mut self.free.low } else { &mut self.free.high };
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            entry.next = *head;
            *head = slot;
        }
    }
}
