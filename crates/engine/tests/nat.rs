//! NAT on the walk, where there is no kernel to ask: wishes, accounts, and rules that change while
//! connections stand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]

mod packets;

use packets::{Kind, engine, send};
use stateward_conntrack::{EventMode, Instant, Span};
use stateward_engine::account::{Keep, Station};
use stateward_engine::{Engine, NatDrop, Verdict, Why};
use stateward_nat::{How, Manip, Wish};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{ShowCounters, Source};
use stateward_wire::{Family, Packet};

const START: Instant = Instant::from_secs(1_000);

fn ruled(rules: &str) -> Engine {
    let mut engine = engine(64, EventMode::Listened);
    set(&mut engine, rules);
    engine
}

fn set(engine: &mut Engine, rules: &str) {
    let source = Source::new("rules", rules);
    engine.set_rules(&restore(&source, Family::V4, RestoreOptions::default()).unwrap());
}

/// Source and its port as the packet is now.
fn source(bytes: &[u8]) -> String {
    let packet = Packet::parse(bytes).unwrap();
    let [high, low, ..] = *packet.l4() else { panic!("no port") };
    format!("{}:{}", packet.source(), u16::from_be_bytes([high, low]))
}

const RANDOM: &str = "*nat\n-A POSTROUTING -j SNAT --to-source 203.0.113.1 --random\nCOMMIT\n";

#[test]
fn a_wish_is_for_one_packet() {
    let mut engine = ruled(RANDOM);
    engine.set_nat_wish(Wish { source: Some(7777), ..Wish::NONE });
    let mut first = Kind::Udp.first(0);
    send(&mut engine, &mut first, START);
    assert_eq!(source(&first), "203.0.113.1:7777");
    // The same for a packet that begins nothing, and the wish is gone.
    engine.set_nat_wish(Wish { source: Some(8888), ..Wish::NONE });
    send(&mut engine, &mut Kind::Udp.first(0), START);
    let mut next = Kind::Udp.first(1);
    send(&mut engine, &mut next, START);
    assert_ne!(source(&next), "203.0.113.1:8888");
}

#[test]
fn the_account_says_what_became_of_what_and_why() {
    let mut engine = ruled("*nat\n-A POSTROUTING -j SNAT --to-source 203.0.113.1\nCOMMIT\n");
    engine.set_explaining(Keep::Everything);
    send(&mut engine, &mut Kind::Udp.first(0), START);
    let bound: Vec<_> = engine
        .notes()
        .account
        .stations()
        .iter()
        .filter_map(|station| match station {
            Station::Bound(binding) => Some((binding.manip, binding.how, binding.to_string())),
            _ => None,
        })
        .collect();
    let [(Manip::Destination, How::Addressed, stays), (Manip::Source, How::Addressed, becomes)] =
        bound.as_slice()
    else {
        panic!("{bound:?}")
    };
    assert!(stays.starts_with("the destination stays 198.51.100.2:80"), "{stays}");
    assert!(becomes.starts_with("the source 192.0.2.1:1024 becomes 203.0.113.1:1024"), "{becomes}");
}

#[test]
fn what_finds_no_port_says_so_where_it_ends() {
    let mut engine =
        ruled("*nat\n-A POSTROUTING -p udp -j SNAT --to-source 203.0.113.1:5000\nCOMMIT\n");
    send(&mut engine, &mut Kind::Udp.first(0), START);
    let lost = send(&mut engine, &mut Kind::Udp.first(1), START);
    assert_eq!(lost.why, Some(Why::Nat(NatDrop::PortTaken)));
    let mut engine =
        ruled("*nat\n-A POSTROUTING -p udp -j SNAT --to-source 203.0.113.1:5000-5001\nCOMMIT\n");
    for number in 0..2 {
        assert_eq!(send(&mut engine, &mut Kind::Udp.first(number), START).why, None);
    }
    let lost = send(&mut engine, &mut Kind::Udp.first(2), START);
    let why = lost.why.unwrap();
    assert_eq!(why, Why::Nat(NatDrop::NoFreePort { asked: 2 }));
    assert_eq!(why.to_string(), "nat: no free port: 2 were tried, and others have them all");
    assert!(matches!(lost.verdict, Verdict::Drop(_)));
}

#[test]
fn without_a_nat_table_nothing_is_translated_and_a_binding_stays_for_the_next() {
    let mut engine = ruled("*nat\n-A POSTROUTING -j SNAT --to-source 203.0.113.1\nCOMMIT\n");
    let pass = |engine: &mut Engine, seconds| {
        let mut bytes = Kind::Udp.first(0);
        send(engine, &mut bytes, START + Span::secs(seconds));
        source(&bytes)
    };
    assert_eq!(pass(&mut engine, 0), "203.0.113.1:1024");
    set(&mut engine, "*filter\nCOMMIT\n");
    assert_eq!(pass(&mut engine, 1), "192.0.2.1:1024");
    set(&mut engine, "*nat\n-A POSTROUTING -j SNAT --to-source 203.0.113.9\nCOMMIT\n");
    assert_eq!(pass(&mut engine, 2), "203.0.113.1:1024");
}

#[test]
fn rules_that_come_late_bind_no_connection_that_stands() {
    let mut engine = ruled("*filter\nCOMMIT\n");
    send(&mut engine, &mut Kind::Udp.first(0), START);
    set(&mut engine, "*nat\n-A POSTROUTING -j SNAT --to-source 203.0.113.1\nCOMMIT\n");
    let mut again = Kind::Udp.first(0);
    send(&mut engine, &mut again, START + Span::secs(1));
    assert_eq!(source(&again), "192.0.2.1:1024");
    // The table was asked all the same, as in the kernel.
    assert_eq!(engine.notes().path.len(), 2, "{:?}", engine.notes().path);
}

#[test]
fn what_is_queued_for_nobody_is_not_bound() {
    const QUEUED: &str = "*nat\n-A POSTROUTING -j NFQUEUE --queue-num 0 --queue-bypass\nCOMMIT\n";
    let mut engine = ruled(QUEUED);
    engine.set_explaining(Keep::Everything);
    for number in 0..2 {
        let mut bytes = Kind::Udp.first(0);
        let outcome = send(&mut engine, &mut bytes, START + Span::secs(number));
        assert!(matches!(outcome.verdict, Verdict::Forward(_)), "{outcome:?}");
        assert_eq!(source(&bytes), "192.0.2.1:1024");
        let stations = engine.notes().account.stations().iter();
        let bound = stations.filter_map(|station| match station {
            Station::Bound(binding) => Some(binding.manip),
            _ => None,
        });
        // Destinations are bound once.
        let expected = if number == 0 { vec![Manip::Destination] } else { vec![] };
        assert_eq!(bound.collect::<Vec<_>>(), expected);
    }
    let saved = engine.rules(Family::V4).unwrap().counted().save(ShowCounters::Yes);
    assert!(saved.contains("[2:136] -A POSTROUTING"), "{saved}");
}
