//! Every helper on arbitrary payloads.
//!
//! A scenario says in its first byte how the connection is translated; the rest is a row of messages
//! of one connection: the first byte of each says direction and length. What holds: nothing panics;
//! what is announced is of the connection's family, under the helper's own name, and no more of it
//! than a packet could name; edits are within the payload, and no two overlap.

use std::ops::Range;

use stateward_conntrack::expect::{Announcement, ExpectError, ExpectId, Expectation};
use stateward_conntrack::{
    Call, Config, CtState, Direction, Flow, Hook, Instant, L4Key, PerDir, Status, Sysctls, Tracker,
    Tuple, Zone,
};
use stateward_helpers::{Helper, Memory, Message, Surroundings, all};
use stateward_wire::{Packet, compose};

/// The most that one packet may try to announce: Amanda's streams, and ports that are not free.
const MOST: usize = 4 * 130;

/// Has every helper read the messages, in either family.
pub fn helpers(bytes: &[u8]) {
    let [how, bytes @ ..] = bytes else { return };
    let source = if how & 1 == 0 { Status::default() } else { Status::SRC_NAT };
    let destination = if how & 2 == 0 { Status::default() } else { Status::DST_NAT };
    for v6 in [false, true] {
        for helper in all() {
            talk(&*helper, v6, source | destination, bytes);
        }
    }
}

fn talk(helper: &dyn Helper, v6: bool, status: Status, mut bytes: &[u8]) {
    let mut around = Around::new(helper, Ends { v6, ports: [4000, 21], status });
    let mut memory = Memory::default();
    let mut next = PerDir([0_u32, u32::MAX - 40]);
    while let [head, rest @ ..] = bytes {
        let direction = if head & 1 == 0 { Direction::Original } else { Direction::Reply };
        let length = usize::from(head >> 2) * 2;
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        bytes = rest;
        let message = Message {
            payload,
            sequence: next[direction],
            direction,
            state: if head & 2 == 0 { CtState::Established } else { CtState::New },
            tuples: around.tuples,
            status,
            broadcast: Some([255, 255, 255, 0].into()),
        };
        next[direction] = next[direction].wrapping_add(payload.len() as u32);
        around.begin(payload.len(), helper.growth(payload.len()));
        let _ = helper.help(&message, &mut memory, &mut around);
        around.end();
    }
}

/// What a connection is between.
pub(crate) struct Ends {
    pub(crate) v6: bool,
    pub(crate) ports: [u16; 2],
    /// Its addresses are translated as this says.
    pub(crate) status: Status,
}

/// Surroundings that hold a helper to what it has promised.
pub(crate) struct Around {
    name: &'static str,
    pub(crate) tuples: PerDir<Tuple>,
    announced: usize,
    /// By which the helper may make it longer.
    growth: usize,
    /// Of the payload.
    length: usize,
    /// What is to be replaced of it.
    edits: Vec<Range<usize>>,
    tracker: Tracker,
    master: Flow,
}

impl Around {
    pub(crate) fn new(helper: &dyn Helper, Ends { v6, ports, status }: Ends) -> Around {
        let sysctls = Sysctls { max: 16, ..Sysctls::default() };
        let mut tracker = Tracker::new(Config { sysctls, ..Config::default() });
        let [source, destination] = ports;
        let end = |last: u8| match v6 {
            true => [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].into(),
            false => [192, 0, 2, last].into(),
        };
        // No text of an address is longer.
        let known = |last: u8| match v6 {
            true => [0x20, 1, 0x1d, 0xb8, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, last].into(),
            false => [203, 100, 113, last].into(),
        };
        let bytes = compose::udp((end(1), source), (end(2), destination), b"");
        let packet = Packet::parse(&bytes).expect("what is composed can be read");
        let now = Instant::from_secs(1);
        let tracked = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, now);
        let l4 = L4Key::Ports { source, destination };
        let original = Tuple::new(end(1), end(2), helper.protocol(), l4, Zone::DEFAULT);
        let original = original.expect("both ends are of one family");
        // As the answers have it: from whom, and to whom.
        let from = if status.has(Status::DST_NAT) { known(102) } else { end(2) };
        let to = if status.has(Status::SRC_NAT) { known(101) } else { end(1) };
        let l4 = L4Key::Ports { source: destination, destination: source };
        let reply = Tuple::new(from, to, helper.protocol(), l4, Zone::DEFAULT);
        let reply = reply.expect("both ends are of one family");
        let (name, tuples) = (helper.name(), PerDir([original, reply]));
        let (edits, mut master) = (Vec::new(), tracked.flow);
        tracker.confirm(&mut master).expect("there is room for one");
        Around { name, tuples, announced: 0, growth: 0, length: 0, edits, tracker, master }
    }

    /// A message of this length comes, which may become longer by so much.
    pub(crate) fn begin(&mut self, length: usize, growth: usize) {
        (self.announced, self.length, self.growth) = (0, length, growth);
        self.edits.clear();
    }

    /// It has been read.
    pub(crate) fn end(&self) {
        assert!(self.announced <= MOST, "{} announces without end", self.name);
    }
}

impl Surroundings for Around {
    fn expect(&mut self, announced: &Announcement) -> Result<ExpectId, ExpectError> {
        self.announced += 1;
        assert_eq!(announced.helper, self.name);
        assert_eq!(announced.tuple.family(), self.tuples[Direction::Original].family());
        self.tracker.expect(&mut self.master, announced.clone())
    }

    fn own_before(&self, before: Option<ExpectId>) -> Option<&Expectation> {
        self.tracker.own_before(&self.master, before)
    }

    fn elsewhere(&self, tuple: &Tuple) -> Option<&Expectation> {
        self.tracker.expected_elsewhere(&self.master, tuple)
    }

    fn withdraw(&mut self, id: ExpectId) {
        assert!(self.tracker.unexpect(id).is_some(), "{} takes back what is not there", self.name);
    }

    fn activate(&mut self, id: ExpectId, seconds: u32) {
        assert!(self.tracker.refresh_expectation(id, seconds), "{} wakes nothing", self.name);
        self.tracker.activate_expectation(id);
    }

    fn keep_numbers(&mut self) {}

    fn redirect(&mut self, port: u16) {
        assert_ne!(port, 0, "{} sends it nowhere", self.name);
    }

    fn replace(&mut self, place: Range<usize>, with: Vec<u8>) {
        let longer = with.len().saturating_sub(place.len());
        assert!(longer <= self.growth, "{} grows by {longer}", self.name);
        assert!(place.start <= place.end && place.end <= self.length, "within the payload");
        let overlaps = |other: &Range<usize>| place.start < other.end && other.start < place.end;
        assert!(!self.edits.iter().any(overlaps), "{} edits the same bytes twice", self.name);
        self.edits.push(place);
    }

    fn expect_call(&mut self, announced: [Announcement; 2]) -> Result<(), ExpectError> {
        self.announced += 2;
        assert_eq!(announced.each_ref().map(|half| half.helper), [self.name; 2]);
        self.tracker.expect_call(&mut self.master, announced)
    }

    fn end_call(&mut self, call: &Call) {
        self.tracker.end_call(&self.master, call);
    }

    fn port_above(&mut self, lowest: u16) -> u16 {
        lowest + (u16::MAX - lowest) / 3
    }

    fn refresh(&mut self, _: u32) {}
}
