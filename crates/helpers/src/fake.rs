//! Surroundings for tests: they note everything, and refuse when told to.

use std::ops::Range;

use stateward_conntrack::expect::{Announcement, ExpectError, ExpectId};
use stateward_conntrack::{Config, Flow, Hook, Sysctls, Tracker, Zone};
use stateward_wire::{Packet, compose};

use crate::Surroundings;

/// What a helper has asked for.
pub(crate) struct Fake {
    pub(crate) announced: Vec<Announcement>,
    pub(crate) edits: Vec<(Range<usize>, String)>,
    /// Answers to what will be announced next, the last one first.
    pub(crate) refusals: Vec<ExpectError>,
    tracker: Tracker,
    master: Flow,
}

impl Default for Fake {
    fn default() -> Fake {
        let mut tracker = Tracker::new(Config {
            sysctls: Sysctls { max: 64, ..Sysctls::default() },
            ..Config::default()
        });
        let end = |last| ([192, 0, 2, last].into(), 9);
        let bytes = compose::udp(end(1), end(2), b"");
        let packet = Packet::parse(&bytes).unwrap();
        let tracked = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, Default::default());
        let (announced, edits, refusals) = Default::default();
        Fake { announced, edits, refusals, tracker, master: tracked.flow }
    }
}

impl Surroundings for Fake {
    fn expect(&mut self, announced: &Announcement) -> Result<ExpectId, ExpectError> {
        if let Some(refusal) = self.refusals.pop() {
            return Err(refusal);
        }
        self.announced.push(announced.clone());
        self.tracker.flush_expectations();
        self.tracker.expect(&mut self.master, announced.clone())
    }

    fn replace(&mut self, place: Range<usize>, with: String) {
        self.edits.push((place, with));
    }

    fn port_above(&mut self, lowest: u16) -> u16 {
        lowest + (u16::MAX - lowest) / 2
    }

    fn refresh(&mut self, _: u32) {}
}
