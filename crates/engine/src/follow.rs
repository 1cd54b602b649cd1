//! How a connection that was announced is translated, if its master is: before any rule is asked.
//!
//! Most go the master's way: from where the master's other side is known to be, to where its sender
//! really is. What SIP has announced goes to whatever the message has named; its source is what the
//! other side of the call expects to hear from, if that is announced as well, or follows the
//! master; else rules are asked for it. Kernel counterparts: `nf_nat_follow_master`,
//! `nf_nat_sip_expected`.

use core::net::IpAddr;

use stateward_conntrack::expect::{ExpectNat, Expectation};
use stateward_conntrack::{Direction, Flow, L4Key, PerDir, Tracker, Tuple, Unconfirmed};
use stateward_nat::{Manip, Range, bind};

use crate::account::Station;
use crate::engine::Engine;
use crate::nat;
use crate::walk::Walker;

impl Engine {
    /// A connection that a translated one has announced is translated as that one is, before any
    /// rule is asked.
    #[inline]
    pub(crate) fn follow_master(&mut self, walker: &mut Walker<'_>) {
        if walker.tracked.as_ref().is_some_and(|tracked| tracked.expectation.is_some()) {
            self.bind_child(walker);
        }
    }

    #[cold]
    fn bind_child(&mut self, walker: &mut Walker<'_>) {
        let Some(tracked) = &mut walker.tracked else { return };
        let (Some(expectation), Flow::Unconfirmed(conn)) =
            (&tracked.expectation, &mut tracked.flow)
        else {
            return;
        };
        let Some(follows) = expectation.announced.nat else { return };
        let master = expectation.master;
        let tuples = self.tracker.tuples(&Flow::Confirmed(master.id)).unwrap_or(master.tuples);
        let ranges = match follows.function {
            "sip" => call(&self.tracker, conn, expectation, follows, &tuples),
            "pptp" => tunnel(follows, &tuples),
            _ => after_master(follows, &tuples),
        };
        for (range, manip) in ranges.into_iter().flatten() {
            if let Some(binding) = bind(&mut self.tracker, conn, &range, manip, &mut self.chance) {
                walker.starved = nat::starved(binding.how).or(walker.starved);
                self.notes.account.note(|| Station::Bound(binding));
            }
        }
    }
}

/// What an end is bound to, in the order of binding.
type Ranges = [Option<(Range, Manip)>; 2];

fn end(address: IpAddr, port: u16) -> Range {
    Range { ports: Some([port; 2]), ..Range::address(address) }
}

fn after_master(follows: ExpectNat, tuples: &PerDir<Tuple>) -> Ranges {
    let other = tuples[!follows.direction];
    let source = Range::address(other.destination());
    let destination = end(other.source(), follows.port);
    [Some((source, Manip::Source)), Some((destination, Manip::Destination))]
}

/// A PPTP call's GRE connection: it is the client's key that is another one behind NAT, whoever
/// has come first.
fn tunnel(follows: ExpectNat, tuples: &PerDir<Tuple>) -> Ranges {
    let other = tuples[!follows.direction];
    let mut ends = [other.destination(), other.source()].map(Range::address);
    let [source, destination] = &mut ends;
    let client = match follows.direction {
        Direction::Original => source,
        Direction::Reply => destination,
    };
    client.ports = Some([follows.port; 2]);
    let [source, destination] = ends;
    [Some((source, Manip::Source)), Some((destination, Manip::Destination))]
}

/// A call, or its media.
fn call(
    tracker: &Tracker,
    conn: &Unconfirmed,
    expectation: &Expectation,
    follows: ExpectNat,
    tuples: &PerDir<Tuple>,
) -> Ranges {
    /// What SIP itself goes by.
    const SIGNALLING: u8 = 0;
    let began = conn.tuple(Direction::Original);
    let (is_media, direction) =
        (expectation.announced.class.number != SIGNALLING, follows.direction);
    let paired = is_media.then(|| paired(tracker, expectation, &began)).flatten();
    let source = paired.or_else(|| {
        let follows_master = began.source() == tuples[direction].source();
        follows_master.then(|| Range::address(tuples[!direction].destination()))
    });
    let destination = end(follows.address, follows.port);
    [Some((destination, Manip::Destination)), source.map(|source| (source, Manip::Source))]
}

/// Where what comes from here is expected to be heard from: the newest that its master has
/// announced for answers to it.
fn paired(tracker: &Tracker, expectation: &Expectation, began: &Tuple) -> Option<Range> {
    let L4Key::Ports { source: port, .. } = began.l4() else { return None };
    let announced = tracker.expectations().of(expectation.master.id).rev();
    let pair = announced.map(|other| &other.announced).find(|other| {
        let really = other.nat.is_some_and(|nat| (nat.address, nat.port) == (began.source(), port));
        really && other.tuple.protocol() == began.protocol()
    })?;
    let L4Key::Ports { destination, .. } = pair.tuple.l4() else { return None };
    Some(end(pair.tuple.destination(), destination))
}
