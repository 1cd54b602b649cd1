//! What `-j CT` says of packets: zones of either direction, and which events are told.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

mod dialogue;

use dialogue::{ACK, Client, Dialogue, SYN, SYN_ACK, Server, seg};
use stateward_conntrack::expect::ExpectEvents;
use stateward_conntrack::{
    CtState, Direction, DropReason, EventMask, EventMode, Hook, PerDir, Reports, Sysctls, Template,
    Tracked, Zone,
};
use stateward_wire::Packet;

fn zones(original: u16, reply: u16) -> Template {
    Template { zones: PerDir([Zone(original), Zone(reply)]), ..Template::default() }
}

fn track(d: &mut Dialogue, bytes: &[u8], template: Template) -> Tracked {
    d.tracker.track(&Packet::parse(bytes).unwrap(), Hook::Prerouting, template, d.now)
}

/// Tracks and confirms.
fn pass(d: &mut Dialogue, bytes: &[u8], template: Template) -> (CtState, Option<Direction>) {
    let mut tracked = track(d, bytes, template);
    d.tracker.confirm(&mut tracked.flow).unwrap();
    d.tracker.take_events(&mut d.events);
    (tracked.state, tracked.direction)
}

const ORIGINAL: Option<Direction> = Some(Direction::Original);
const REPLY: Option<Direction> = Some(Direction::Reply);

#[test]
fn equal_packets_of_two_zones_are_two_connections() {
    for v6 in [false, true] {
        let mut d = Dialogue::new(v6);
        let (syn, answer) = (d.bytes(Client, seg(SYN, 1, 0)), d.bytes(Server, seg(SYN_ACK, 9, 2)));
        assert_eq!(pass(&mut d, &syn, zones(1, 1)), (CtState::New, ORIGINAL));
        assert_eq!(pass(&mut d, &syn, zones(2, 2)), (CtState::New, ORIGINAL));
        assert_eq!(d.tracker.count(), 2);
        assert_eq!(pass(&mut d, &answer, zones(2, 2)), (CtState::Established, REPLY));
        // In no zone nobody has asked for it.
        assert_eq!(track(&mut d, &answer, zones(0, 0)).state, CtState::Invalid);
    }
}

#[test]
fn a_zone_of_one_direction_is_not_asked_of_the_other() {
    for v6 in [false, true] {
        let mut d = Dialogue::new(v6);
        let (syn, answer) = (d.bytes(Client, seg(SYN, 1, 0)), d.bytes(Server, seg(SYN_ACK, 9, 2)));
        assert_eq!(pass(&mut d, &syn, zones(5, 0)), (CtState::New, ORIGINAL));
        assert_eq!(track(&mut d, &answer, zones(5, 5)).state, CtState::Invalid);
        assert_eq!(pass(&mut d, &answer, zones(0, 0)), (CtState::Established, REPLY));
        let ack = d.bytes(Client, seg(ACK, 2, 10));
        assert_eq!(pass(&mut d, &ack, zones(5, 7)), (CtState::Established, ORIGINAL));
        // Another's answers would be the same packets: only one can have them.
        let mut second = track(&mut d, &syn, zones(6, 0));
        assert_eq!(second.state, CtState::New);
        assert_eq!(d.tracker.confirm(&mut second.flow), Err(DropReason::Clash));
    }
}

#[test]
fn what_is_told_is_what_was_asked_for() {
    let asked = |connection| Template {
        reports: Some(Reports { connection, expectations: ExpectEvents::NONE }),
        ..Template::default()
    };
    let told = |events, template: Template| {
        let mut d = Dialogue::with(false, Sysctls { events, ..Sysctls::default() });
        for (from, segment) in
            [(Client, seg(SYN, 1, 0)), (Server, seg(SYN_ACK, 9, 2)), (Client, seg(ACK, 2, 10))]
        {
            let bytes = d.bytes(from, segment);
            pass(&mut d, &bytes, template);
        }
        d.wait(1_000_000);
        d.told()
    };
    assert_eq!(told(EventMode::Always, asked(EventMask::NEW)), ["NEW"]);
    // An event is told whole for any of its causes.
    assert_eq!(told(EventMode::Off, asked(EventMask::REPLY)), ["UPDATE"]);
    assert_eq!(told(EventMode::Always, asked(EventMask::DESTROY)), ["DESTROY"]);
    assert!(told(EventMode::Always, asked(EventMask::NONE)).is_empty());
    assert!(told(EventMode::Off, Template::default()).is_empty());
}
