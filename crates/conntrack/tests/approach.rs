//! What is worked out and fetched before a packet's turn changes no answer.
//!
//! Random packets of few connections, so that they meet: TCP with every set of flags, UDP, pings
//! and errors, over IPv4 and IPv6, in a table that fills up, with time that jumps. One tracker gets
//! each packet as it comes; the other has approached it up to eight packets before.

#![allow(clippy::unwrap_used, reason = "a failed expectation is the test's own failure")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stateward_conntrack::{
    Approach, Config, EventMode, Hook, Instant, Sysctls, Tracked, Tracker, Zone,
};
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::{Packet, TcpFlags};

/// How far ahead packets are approached.
const AHEAD: usize = 8;

type Step = (u8, u8, u8, bool, bool, u64);

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![6 => Just(0x10u8), 2 => Just(0x02), 2 => Just(0x12), 2 => any::<u8>()];
    let pause = prop_oneof![20 => Just(0u64), 5 => 0u64..3_000, 1 => 0u64..200_000];
    (0u8..5, 0u8..6, flags, any::<bool>(), any::<bool>(), pause)
}

fn packet(&(kind, flow, flags, v6, reply, _): &Step) -> Vec<u8> {
    let (client, server): (IpAddr, IpAddr) = match v6 {
        false => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(198, 51, 100, 2).into()),
        true => (
            Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2).into(),
        ),
    };
    let (client, server) = ((client, 1_024 + u16::from(flow)), (server, 80));
    let (from, to) = if reply { (server, client) } else { (client, server) };
    let (source, destination) = (from.0, to.0);
    match kind {
        0 | 1 => {
            let (ours, theirs) = if reply { (500, 100) } else { (100, 500) };
            compose::tcp(&Tcp {
                source: from,
                destination: to,
                sequence: ours + u32::from(flags & 2 == 0),
                acknowledgment: theirs + 1,
                flags: TcpFlags(flags),
                window: 1_000,
                options: &[],
                payload: &[],
            })
        }
        2 | 3 => compose::udp(from, to, &[0; 8]),
        _ => {
            let kind = match (v6, reply, flags & 1) {
                (false, _, 1) => 3,
                (true, _, 1) => 1,
                (false, false, _) => 8,
                (false, true, _) => 0,
                (true, false, _) => 128,
                (true, true, _) => 129,
            };
            let rest = [0, flow, 0, 0];
            compose::icmp(&Icmp { source, destination, kind, code: 0, rest, body: &[0; 8] })
        }
    }
}

fn tracker() -> Tracker {
    let sysctls = Sysctls { max: 12, acct: true, events: EventMode::Always, ..Sysctls::default() };
    Tracker::new(Config { sysctls, seed: [3, 4], ..Config::default() })
}

proptest! {
    #[test]
    fn what_is_fetched_early_changes_no_answer(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let (mut early, mut late) = (tracker(), tracker());
        let packets: Vec<Vec<u8>> = steps.iter().map(packet).collect();
        let parsed: Vec<Packet<'_>> =
            packets.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect();
        let approach = |tracker: &Tracker, packet: &Packet<'_>| -> Option<Approach> {
            let mut plain = tracker.approach_plain(packet).or_else(|| tracker.approach(packet))?;
            tracker.approach_entry(&mut plain);
            Some(plain)
        };
        let mut approached: Vec<Option<Approach>> = Vec::new();
        let mut now = Instant::from_secs(1_000);
        for (n, (packet, step)) in parsed.iter().zip(&steps).enumerate() {
            now = Instant(now.0 + step.5 * 1_000_000);
            while approached.len() < (n + AHEAD).min(parsed.len()) {
                approached.push(approach(&early, &parsed[approached.len()]));
            }
            let mut one = Tracked::untracked();
            early.track_from(approached[n].as_ref(), packet, Hook::Prerouting, now, &mut one);
            let mut other = late.track(packet, Hook::Prerouting, Zone::DEFAULT, now);
            prop_assert_eq!(&one, &other, "packet {}", n);
            prop_assert_eq!(early.confirm(&mut one.flow), late.confirm(&mut other.flow));
            prop_assert_eq!(&one.flow, &other.flow);
            early.forget(one.flow);
            late.forget(other.flow);
        }
        let (mut told, mut heard) = (Vec::new(), Vec::new());
        early.take_events(&mut told);
        late.take_events(&mut heard);
        prop_assert_eq!(told, heard);
        prop_assert!(early.dump().eq(late.dump()));
        prop_assert_eq!(early.statistics(), late.statistics());
    }
}
