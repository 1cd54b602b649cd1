//! What holds for any connections and any rules: no two are alike, ports stay where they may be,
//! and what is translated there is translated back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]

mod gateway;

use std::collections::HashSet;

use gateway::{Bound, Gateway, tcp, udp};
use proptest::prelude::*;
use stateward_conntrack::{Direction, PerDir, Tuple, Zone};
use stateward_nat::rewrite;
use stateward_nat::{How, Manip, Ports, Range, Spread};
use stateward_wire::Packet;
use stateward_wire::edit::{End, Field};

/// A connection's first packet, and the rule that it meets. Few of each, so that they meet.
#[derive(Clone, Debug)]
struct Case {
    bytes: Vec<u8>,
    manip: Manip,
    range: Range,
}

fn range() -> impl Strategy<Value = Range> {
    let addresses = prop_oneof![
        Just(None),
        (1..4u8, 0..3u8).prop_map(|(low, more)| {
            Some([low, low + more].map(|host| [192, 0, 2, host].into()))
        })
    ];
    let ports = prop_oneof![
        Just(None),
        (prop_oneof![Just(600u16), Just(2000)], 0..6u16).prop_map(|(low, n)| Some([low, low + n]))
    ];
    let base = prop_oneof![3 => Just(None), 1 => (0..9u16).prop_map(Some)];
    let choice = prop_oneof![Just(Ports::Kept), Just(Ports::Random)];
    let spread = prop_oneof![Just(Spread::ByServer), Just(Spread::Persistent)];
    (addresses, ports, base, choice, spread).prop_map(|(addresses, ports, base, choice, spread)| {
        Range { addresses, ports, base: base.filter(|_| ports.is_some()), choice, spread }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let port = || prop_oneof![Just(300u16), Just(600), Just(2001), Just(40_000)];
    let manip = prop_oneof![2 => Just(Manip::Source), 1 => Just(Manip::Destination)];
    (1..5u8, port(), 1..4u8, port(), any::<bool>(), manip, range()).prop_map(
        |(client, from, server, to, is_tcp, manip, range)| {
            let from = format!("10.0.0.{client}:{from}");
            let to = format!("192.0.2.{server}:{to}");
            let bytes = if is_tcp { tcp(&from, &to) } else { udp(&from, &to) };
            Case { bytes, manip, range }
        },
    )
}

/// The tuple of a packet.
fn tuple_of(bytes: &[u8]) -> Tuple {
    Tuple::of(&Packet::parse(bytes).unwrap(), Zone::DEFAULT).unwrap()
}

fn is_where_it_may_be(case: &Case, bound: &Bound) {
    let after = bound.reply.inverse().unwrap();
    let (before, end) = (bound.original, case.manip.end());
    let address = after.address_at(end);
    match case.range.addresses {
        Some([low, high]) => assert!((low..=high).contains(&address), "{bound:?}"),
        None if matches!(bound.how, How::Mapped) => {}
        None => assert_eq!(address, before.address_at(end)),
    }
    let (was, is) = (before.port_at(end).unwrap(), after.port_at(end).unwrap());
    let may = match (case.range.ports, case.manip, was) {
        (Some([low, high]), ..) => low..=high,
        (None, Manip::Destination, was) => was..=was,
        (None, Manip::Source, ..512) => 1..=511,
        (None, Manip::Source, 512..1024) => 600..=1023,
        (None, Manip::Source, _) => 1024..=u16::MAX,
    };
    assert!(may.contains(&is) || bound.how == How::Mapped, "{bound:?}");
    assert_eq!(after.address_at(other(end)), before.address_at(other(end)));
    assert_eq!(after.port_at(other(end)), before.port_at(other(end)));
}

fn other(end: End) -> End {
    if end == End::Source { End::Destination } else { End::Source }
}

/// Its packets become what the answers are looked up by, and the answers become what it waits for.
fn goes_there_and_back(case: &Case, bound: &Bound) {
    let tuples = PerDir([bound.original, bound.reply]);
    let mut there = case.bytes.clone();
    translate(&mut there, &tuples, Direction::Original);
    assert_eq!(tuple_of(&there).inverse(), Some(bound.reply));
    translate(
        &mut there,
        &PerDir([bound.reply.inverse().unwrap(), bound.original.inverse().unwrap()]),
        Direction::Original,
    );
    assert_eq!(there, case.bytes);
}

fn translate(bytes: &mut [u8], tuples: &PerDir<Tuple>, direction: Direction) {
    let target = tuples[!direction].inverse().unwrap();
    let layout = Packet::parse(bytes).unwrap().layout();
    for end in [End::Source, End::Destination] {
        rewrite::rewrite(bytes, layout, Field::Finished, end, target.endpoint(end)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_two_live_connections_share_a_tuple(cases in prop::collection::vec(case(), 1..40)) {
        let mut gateway = Gateway::new();
        let mut tuples: HashSet<String> = HashSet::new();
        for case in &cases {
            // What is in the table already begins nothing.
            if gateway.tracker.standing(&tuple_of(&case.bytes)).is_some() {
                continue;
            }
            let bound = gateway.pass(&case.bytes, case.manip, &case.range);
            is_where_it_may_be(case, &bound);
            if bound.entered.is_ok() {
                goes_there_and_back(case, &bound);
                for tuple in [bound.original, bound.reply] {
                    prop_assert!(tuples.insert(format!("{tuple:?}")), "{tuple:?}");
                }
            } else {
                prop_assert!(matches!(bound.how, How::Exhausted { .. } | How::OnlyPort | How::Unchangeable), "{:?}", bound);
            }
        }
        prop_assert_eq!(gateway.tracker.count() * 2, tuples.len());
    }
}
