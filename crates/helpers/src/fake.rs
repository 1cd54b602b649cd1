//! Surroundings for tests: they note everything, and refuse when told to.

use std::ops::Range;

use stateward_conntrack::expect::{Announcement, ExpectError, ExpectId, Expectation};
use stateward_conntrack::{Call, Config, Flow, Hook, Sysctls, Tracker, Tuple, Zone};
use stateward_wire::{Packet, compose};

use crate::Surroundings;

/// What a helper has asked for.
pub(crate) struct Fake {
    pub(crate) announced: Vec<Announcement>,
    pub(crate) edits: Vec<(Range<usize>, String)>,
    /// The port that the packet is sent to, if that is another one.
    pub(crate) redirected: Option<u16>,
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
        let (announced, edits, refusals, redirected) = Default::default();
        let mut master = tracked.flow;
        tracker.confirm(&mut master).unwrap();
        Fake { announced, edits, refusals, redirected, tracker, master }
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

    fn own_before(&self, before: Option<ExpectId>) -> Option<&Expectation> {
        self.tracker.own_before(&self.master, before)
    }

    fn elsewhere(&self, tuple: &Tuple) -> Option<&Expectation> {
        self.tracker.expected_elsewhere(&self.master, tuple)
    }

    fn withdraw(&mut self, id: ExpectId) {
        self.tracker.unexpect(id);
    }

    fn activate(&mut self, id: ExpectId, seconds: u32) {
        self.tracker.refresh_expectation(id, seconds);
        self.tracker.activate_expectation(id);
    }

    fn replace(&mut self, place: Range<usize>, with: Vec<u8>) {
        self.edits.push((place, String::from_utf8(with).unwrap()));
    }

    fn keep_numbers(&mut self) {}

    fn redirect(&mut self, port: u16) {
        self.redirected = Some(port);
    }

    fn expect_call(&mut self, announced: [Announcement; 2]) -> Result<(), ExpectError> {
        self.announced.extend(announced.clone());
        self.tracker.expect_call(&mut self.master, announced)
    }

    fn end_call(&mut self, call: &Call) {
        self.tracker.end_call(&self.master, call);
    }

    fn port_above(&mut self, lowest: u16) -> u16 {
        lowest + (u16::MAX - lowest) / 2
    }

    fn refresh(&mut self, _: u32) {}
}
