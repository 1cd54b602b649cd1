//! Connections by the source that began them: what NAT has made of the same source before.
//!
//! NAT maps one source alike towards all destinations where it can, so it asks for the connections
//! of a source. Those whose source NAT has bound stand in lists, one a hash, the latest first,
//! linked beside the entries; of memory that is never used none becomes resident, so that who has
//! no NAT does not pay. Entering and leaving take a fixed time, and a search looks at no more than
//! [`LOOKED_AT`] connections. Kernel counterpart: `nf_nat_bysource`, whose searches are unbounded.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::memory::{Arena, Region};

/// So many connections are looked at before a source counts as new.
const LOOKED_AT: usize = 256;

/// A connection's neighbours in its list; slots are counted from 1, and 0 is none.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Links {
    next: u32,
    previous: u32,
}

/// See the module's essay.
pub(super) struct Sources {
    heads: Region<u32>,
    links: Region<Links>,
}

impl Sources {
    /// Bytes for `capacity` connections.
    pub(super) const fn bytes_for(capacity: usize) -> usize {
        capacity * (size_of::<u32>() + size_of::<Links>())
    }

    pub(super) fn new(capacity: usize, arena: &mut Arena) -> Sources {
        Sources { heads: Region::within(arena, capacity), links: Region::within(arena, capacity) }
    }

    /// Where the sources of a hash stand.
    fn head(&self, hash: u64) -> usize {
        (((hash >> 32) * self.heads.len() as u64) >> 32) as usize
    }

    /// Puts a connection before all others of its source.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let at = self.head(hash);
        let Some(head) = self.heads.get_mut(at) else { return };
        let next = core::mem::replace(head, slot + 1);
        if let Some(links) = self.links.get_mut(slot as usize) {
            *links = Links { next, previous: 0 };
        }
        if let Some(after) = self.after_mut(next) {
            after.previous = slot + 1;
        }
    }

    /// Takes a connection out; does nothing if it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let at = self.head(hash);
        let Some(&Links { next, previous }) = self.links.get(slot as usize) else { return };
        match self.after_mut(previous) {
            Some(before) => before.next = next,
            None => match self.heads.get_mut(at) {
                Some(head) if *head == slot + 1 => *head = next,
                _ => return,
            },
        }
        if let Some(after) = self.after_mut(next) {
            after.previous = previous;
        }
        if let Some(links) = self.links.get_mut(slot as usize) {
            *links = Links::default();
        }
    }

    fn after_mut(&mut self, counted: u32) -> Option<&mut Links> {
        self.links.get_mut((counted as usize).checked_sub(1)?)
    }

    /// The connections that may be of the source, the latest first.
    pub(super) fn of(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.heads.get(self.head(hash)).copied().unwrap_or(0);
        core::iter::from_fn(move || {
            let slot = next.checked_sub(1)?;
            next = self.links.get(slot as usize)?.next;
            Some(slot)
        })
        .take(LOOKED_AT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sources: &Sources, hash: u64) -> Vec<u32> {
        sources.of(hash).collect()
    }

    #[test]
    fn the_latest_stands_first_and_any_may_leave() {
        let mut sources = Sources::new(8, &mut Arena::none());
        let (one, other) = (0, u64::MAX);
        for slot in 0..4 {
            sources.insert(one, slot);
        }
        sources.insert(other, 7);
        assert_eq!((of(&sources, one), of(&sources, other)), (vec![3, 2, 1, 0], vec![7]));
        for (gone, left) in [(2, vec![3, 1, 0]), (3, vec![1, 0]), (0, vec![1]), (1, vec![])] {
            sources.remove(one, gone);
            assert_eq!(of(&sources, one), left);
        }
        sources.remove(one, 7);
        assert_eq!(of(&sources, other), [7], "it is not of that source");
        sources.insert(one, 2);
        assert_eq!(of(&sources, one), [2]);
    }

    #[test]
    fn a_search_ends() {
        let mut sources = Sources::new(1000, &mut Arena::none());
        (0..1000).for_each(|slot| sources.insert(0, slot));
        assert_eq!(of(&sources, 0).len(), LOOKED_AT);
    }
}
