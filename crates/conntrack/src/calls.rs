//! Calls of PPTP: GRE packets name their receiver's end of a call, never their sender's.
//!
//! So that a call is told from others between the same hosts in both directions, whoever reads the
//! control connection says which end of the sender's belongs to which of the receiver's, and a
//! packet's tuple is made whole from that ([`Calls::source_key`]). What was said first for the same
//! packets counts. IPv4 only, as PPTP's helper is. Kernel counterpart: `nf_ct_gre_keymap`.
//!
//! Invariant: each direction of a control connection has at most one source key, which is in
//! `sources` under the place that `masters` names.

use std::collections::BTreeMap;

use crate::entry::ConnId;
use crate::status::{Direction, PerDir};
use crate::tuple::Tuple;

/// The latest call of a PPTP control connection: the ids that its ends have given it, the client's
/// in the original direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Call {
    /// As the other end knows them: the client's may be translated.
    pub ids: PerDir<u16>,
    /// As those who gave them know them, behind NAT.
    pub own: PerDir<u16>,
}

/// What of a GRE packet is seen; the number tells apart what several have said of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    source: u32,
    destination: u32,
    key: u16,
    number: u64,
}

impl Place {
    fn of(tuple: &Tuple) -> Place {
        let key = &tuple.key;
        let (source, destination) = (key.source, key.destination);
        Place { source, destination, key: key.destination_port, number: 0 }
    }

    fn is_of(&self, tuple: &Tuple) -> bool {
        Place { number: 0, ..*self } == Place::of(tuple)
    }
}

/// The source keys; see the module's essay.
#[derive(Default)]
pub(crate) struct Calls {
    sources: BTreeMap<Place, u16>,
    masters: BTreeMap<u64, PerDir<Option<Place>>>,
    last: u64,
}

impl Calls {
    /// The key that a tuple without one has; 0 if nothing was said of it.
    pub(crate) fn source_key(&self, tuple: &Tuple) -> u16 {
        let first = Place::of(tuple);
        let places = first..=Place { number: u64::MAX, ..first };
        self.sources.range(places).next().map_or(0, |(_, key)| *key)
    }

    /// Notes the source key of what a control connection expects in a direction; false if it has
    /// noted other packets there.
    #[must_use]
    pub(crate) fn add(&mut self, master: ConnId, direction: Direction, tuple: &Tuple) -> bool {
        let known = &mut self.masters.entry(master.as_u64()).or_default()[direction];
        if let Some(known) = known {
            return known.is_of(tuple);
        }
        self.last += 1;
        let place = Place { number: self.last, ..Place::of(tuple) };
        *known = Some(place);
        self.sources.insert(place, tuple.key.source_port);
        true
    }

    /// Forgets what a control connection has said.
    pub(crate) fn remove(&mut self, master: ConnId) {
        let Some(PerDir(places)) = self.masters.remove(&master.as_u64()) else { return };
        for place in places.into_iter().flatten() {
            self.sources.remove(&place);
        }
    }

    /// Whether nothing is known, as is nearly always so.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.masters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{L4Key, Zone};

    fn tuple(last: u8, keys: [u16; 2]) -> Tuple {
        let [source, destination] = keys;
        let l4 = L4Key::Gre { source, destination };
        let ends = ([10, 0, 0, last].into(), [10, 0, 1, 1].into());
        Tuple::new(ends.0, ends.1, 47, l4, Zone::DEFAULT).unwrap()
    }

    fn master(slot: u32) -> ConnId {
        ConnId { slot, generation: 1 }
    }

    #[test]
    fn what_was_said_first_counts_and_goes_with_its_master() {
        let mut calls = Calls::default();
        assert!(calls.add(master(1), Direction::Original, &tuple(1, [7, 9])));
        assert!(calls.add(master(2), Direction::Original, &tuple(1, [8, 9])));
        assert_eq!(calls.source_key(&tuple(1, [0, 9])), 7);
        assert_eq!(calls.source_key(&tuple(1, [0, 8])), 0);
        assert_eq!(calls.source_key(&tuple(2, [0, 9])), 0);
        calls.remove(master(1));
        assert_eq!(calls.source_key(&tuple(1, [0, 9])), 8);
        calls.remove(master(2));
        assert!(calls.is_empty() && calls.sources.is_empty());
    }

    #[test]
    fn a_direction_has_one_call() {
        let mut calls = Calls::default();
        assert!(calls.add(master(1), Direction::Reply, &tuple(1, [7, 9])));
        assert!(calls.add(master(1), Direction::Reply, &tuple(1, [8, 9])), "said again");
        assert!(!calls.add(master(1), Direction::Reply, &tuple(1, [7, 10])));
        assert_eq!(calls.source_key(&tuple(1, [0, 9])), 7, "the first key stays");
    }
}
