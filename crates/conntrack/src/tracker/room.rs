//! Room in a full table: early drop, and the pass over the table after early drop has failed.
//!
//! At nf_conntrack_max a new connection takes the place of one near its own that is not ASSURED; if
//! there is none its packet is dropped ("table full"), and from a second later on slices of the
//! table are gone through for what can be spared. Each call's work is bounded. Kernel counterpart:
//! `early_drop`, and `gc_worker` while more than 95 % of the table is in use.

use stateward_wire::protocol;

use super::Tracker;
use crate::index::Place;
use crate::status::Status;
use crate::time::Instant;
use crate::{sctp, tcp};

/// Buckets that early drop looks at, as in the kernel.
const EARLY_DROP_BUCKETS: usize = 8;

/// A pass over a table that is too full: when it goes on, and at which slot.
#[derive(Clone, Copy)]
pub(super) struct Pressure {
    pub(super) next: Instant,
    pub(super) cursor: u32,
}

impl Tracker {
    /// Room for one more: at the limit, connections near the new one's place that are not ASSURED
    /// give way. The work is bounded by a few buckets.
    pub(super) fn make_room(&mut self, place: Place) -> bool {
        let max = Tracker::capacity(self.sysctls.max);
        if self.table.count() < max {
            return true;
        }
        for n in 0..EARLY_DROP_BUCKETS {
            let mut dropped = 0;
            for slot in self.table.neighbours(place, n) {
                let Some(entry) = self.table.entry(slot) else { continue };
                if !entry.is_free() && !entry.status.has(Status::ASSURED) {
                    self.unlink(slot, self.now);
                    dropped += 1;
                }
            }
            if dropped > 0 {
                self.statistics.early_drop += dropped;
                return self.table.count() < max;
            }
        }
        false
    }

    /// After early drop has failed, a pass over the whole table ends what can be spared while more
    /// than 95 % of it is in use: what is not ASSURED, or is closing. The kernel's collector does
    /// this when its turn comes, a second later at the earliest, and in slices; so does this.
    #[inline(never)]
    pub(super) fn relieve(&mut self) {
        const SLICE: usize = 256;
        let Some(Pressure { next, cursor }) = self.pressure else { return };
        if self.now < next {
            return;
        }
        let enough = Tracker::capacity(self.sysctls.max) / 100 * 95;
        let mut slots = self.table.slots_from(cursor);
        let slice: [Option<u32>; SLICE] = core::array::from_fn(|_| slots.next());
        drop(slots);
        for slot in slice.into_iter().flatten() {
            if self.table.count() > enough && self.can_spare(slot) {
                self.unlink(slot, self.now);
            }
        }
        let last = slice.last().copied().flatten();
        self.pressure = last.map(|last| Pressure { next, cursor: last + 1 });
    }

    fn can_spare(&self, slot: u32) -> bool {
        // One that ends may have taken another of the slice with it.
        let found = self.table.entry(slot).filter(|entry| !entry.is_free());
        let Some(entry) = found else { return false };
        let closing = match entry.original.protocol {
            protocol::TCP => tcp::TcpTrack::of(&entry.l4).state().is_closing(),
            protocol::SCTP => sctp::SctpTrack::of(&entry.l4).state().is_closing(),
            _ => false,
        };
        !entry.status.has(Status::ASSURED) || closing
    }
}
