//! In the steady state no packet allocates: not of a connection there is, not one that begins a
//! connection where another one has ended, not one that is refused.
//!
//! Fragments are kept in memory of their own until they are whole, and connections that note their
//! times (nf_conntrack_timestamp) in an extra; both are left out here.

mod packets;

use packets::{Kind, PORT, engine, establish, send};
use stateward_conntrack::{CtState, EventMode, Instant, Span};
use stateward_engine::{Arrival, At, Engine, From, Verdict};
use stateward_rules::Source;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_wire::edit::{Edit, End};
use stateward_wire::{Family, Packet};

const CONNECTIONS: u16 = 200;
const START: Instant = Instant::from_secs(1_000);

/// Allocations that `work` makes.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

/// An engine with connections of each kind.
fn with_connections(events: EventMode) -> Engine {
    let mut engine = engine(4_096, events);
    for kind in Kind::ALL {
        establish(&mut engine, kind, CONNECTIONS, START);
    }
    engine
}

/// Packets both ways of all connections.
fn both_ways() -> Vec<Vec<u8>> {
    let of = |kind: Kind| {
        (0..CONNECTIONS).flat_map(move |number| [kind.original(number), kind.reply(number)])
    };
    Kind::ALL.into_iter().flat_map(of).collect()
}

#[test]
fn packets_of_connections_allocate_nothing() {
    let mut engine = with_connections(EventMode::Listened);
    let mut packets = both_ways();
    let now = START + Span::secs(10);
    let counted = allocations(|| {
        for bytes in &mut packets {
            let outcome = send(&mut engine, bytes, now);
            assert_eq!(outcome.state, Some(CtState::Established));
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn bursts_allocate_nothing() {
    let mut engine = with_connections(EventMode::Listened);
    let mut packets = both_ways();
    let now = START + Span::secs(10);
    let mut arrivals: Vec<Arrival<'_>> =
        packets.iter_mut().map(|bytes| Arrival { port: PORT, bytes, now, link: None }).collect();
    let counted = allocations(|| {
        for burst in arrivals.chunks_mut(32) {
            engine.process_burst(burst, From::Wire, |_, _, outcome| {
                assert_eq!(outcome.state, Some(CtState::Established));
            });
        }
    });
    assert_eq!(counted, 0);
}

/// Begins connections, of which every second one has to look for another port, lets them end by
/// their timeouts, and begins them again.
#[test]
fn translated_connections_allocate_nothing() {
    let mut engine = engine(4_096, EventMode::Listened);
    for (family, own) in [(Family::V4, "203.0.113.1"), (Family::V6, "fd00:9::1")] {
        let rules = format!("*nat\n-A POSTROUTING -j SNAT --to-source {own}\nCOMMIT\n");
        let source = Source::new("rules", &rules);
        engine.set_rules(&restore(&source, family, RestoreOptions::default()).unwrap());
    }
    let of = |kind: Kind| {
        (0..CONNECTIONS).flat_map(move |number| {
            let first = kind.first(number);
            let mut other = first.clone();
            let layout = Packet::parse(&first).unwrap().layout();
            let elsewhere = match layout.family() {
                Family::V4 => [192, 0, 2, 77].into(),
                Family::V6 => [0xfd00, 1, 0, 0, 0, 0, 0, 77].into(),
            };
            assert!(Edit::new(&mut other, layout).set_address(End::Source, elsewhere));
            [first, other]
        })
    };
    let first: Vec<Vec<u8>> = Kind::ALL.into_iter().flat_map(of).collect();
    let mut packets = first.clone();
    let mut now = START;
    let mut round = |engine: &mut Engine| {
        for (bytes, first) in packets.iter_mut().zip(&first) {
            bytes.copy_from_slice(first);
            assert_eq!(send(engine, bytes, now).state, Some(CtState::New));
            assert_ne!(bytes, first);
        }
        now = now + Span::secs(130);
        engine.handle_timeout(now);
        assert_eq!(engine.tracker().count(), 0);
    };
    round(&mut engine);
    let counted = allocations(|| (0..5).for_each(|_| round(&mut engine)));
    assert_eq!(counted, 0);
    assert!(engine.tracker().statistics().found >= 6 * 4 * u64::from(CONNECTIONS));
}

/// Begins connections, lets them end by their timeouts, and begins them again; the listener, if
/// there is one, takes events into a buffer of its own.
fn come_and_go(events: EventMode) {
    let mut engine = engine(4_096, events);
    let mut packets: Vec<Vec<u8>> = Kind::ALL
        .into_iter()
        .flat_map(|kind| (0..CONNECTIONS).map(move |n| kind.first(n)))
        .collect();
    let mut heard = Vec::with_capacity(4 * packets.len());
    let mut now = START;
    let mut round = |engine: &mut Engine| {
        for bytes in &mut packets {
            let outcome = send(engine, bytes, now);
            assert_eq!(outcome.state, Some(CtState::New));
            now = now + Span(1_000);
        }
        engine.take_events(&mut heard);
        now = now + Span::secs(130);
        engine.handle_timeout(now);
        engine.take_events(&mut heard);
        let told = heard.len();
        heard.clear();
        assert_eq!(engine.tracker().count(), 0);
        told
    };
    // What is needed once: a box for a connection on its way, room for events.
    round(&mut engine);
    let mut told = 0;
    let counted = allocations(|| told = (0..5).map(|_| round(&mut engine)).sum());
    assert_eq!(counted, 0);
    let each = if events == EventMode::Always { 2 } else { 0 };
    assert_eq!(told, 5 * each * 4 * usize::from(CONNECTIONS));
}

#[test]
fn connections_that_end_and_begin_again_allocate_nothing() {
    come_and_go(EventMode::Listened);
}

#[test]
fn nor_do_their_events_once_there_is_room_for_them() {
    come_and_go(EventMode::Always);
}

#[test]
fn what_is_invalid_or_malformed_allocates_nothing() {
    let mut engine = with_connections(EventMode::Listened);
    let strays =
        Kind::ALL.into_iter().flat_map(|kind| (0..CONNECTIONS).map(move |n| kind.stray(n)));
    let malformed = (0..40).map(|length| vec![0x45; length]);
    let mut packets: Vec<Vec<u8>> = strays.chain(malformed).collect();
    let now = START + Span::secs(5);
    let counted = allocations(|| {
        for bytes in &mut packets {
            let outcome = send(&mut engine, bytes, now);
            let refused = outcome.state == Some(CtState::Invalid);
            assert!(refused || outcome.verdict == Verdict::Malformed, "{outcome:?}");
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn a_full_table_refuses_without_allocating() {
    let mut engine = engine(u32::from(CONNECTIONS), EventMode::Listened);
    establish(&mut engine, Kind::Tcp, CONNECTIONS, START);
    let mut packets: Vec<Vec<u8>> =
        (0..CONNECTIONS).map(|number| Kind::Tcp.first(CONNECTIONS + number)).collect();
    let counted = allocations(|| {
        for bytes in &mut packets {
            let outcome = send(&mut engine, bytes, START + Span::secs(5));
            assert_eq!(outcome.verdict, Verdict::Drop(At::Conntrack), "{outcome:?}");
        }
    });
    assert_eq!(counted, 0);
    assert_eq!(engine.tracker().count(), usize::from(CONNECTIONS));
}
