//! nf_conntrack_max: who gives way when the table is full, and who never does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test's own failure"
)]

use std::net::IpAddr;

use stateward_conntrack::expect::{Announcement, ExpectClass, ExpectFlags, ExpectMask, Identical};
use stateward_conntrack::{
    Call, Config, DropReason, Flow, HelperMemory, Hook, Instant, L4Key, PerDir, Span, Status,
    Tracker, Tuple, Zone,
};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Packet, TcpFlags, protocol};

const SERVER: ([u8; 4], u16) = ([198, 51, 100, 2], 80);

fn tracker(max: u32) -> Tracker {
    let mut config = Config::default();
    config.sysctls.max = max;
    Tracker::new(config)
}

fn end((address, port): ([u8; 4], u16)) -> (IpAddr, u16) {
    (address.into(), port)
}

fn segment(
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    flags: TcpFlags,
    seq: u32,
    ack: u32,
) -> Vec<u8> {
    compose::tcp(&Tcp {
        source: end(from),
        destination: end(to),
        sequence: seq,
        acknowledgment: ack,
        flags,
        window: 1000,
        options: &[],
        payload: &[],
    })
}

fn send(tracker: &mut Tracker, bytes: &[u8], now: Instant) -> Result<(), DropReason> {
    let packet = Packet::parse(bytes).unwrap();
    let mut tracked = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, now);
    match tracked.drop {
        Some(reason) => Err(reason),
        None => tracker.confirm(&mut tracked.flow),
    }
}

fn syn(tracker: &mut Tracker, port: u16, now: Instant) -> Result<(), DropReason> {
    let client = ([192, 0, 2, 1], port);
    send(tracker, &segment(client, SERVER, TcpFlags::SYN, 100, 0), now)
}

fn establish(tracker: &mut Tracker, port: u16, now: Instant) {
    let client = ([192, 0, 2, 1], port);
    syn(tracker, port, now).unwrap();
    let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
    send(tracker, &segment(SERVER, client, syn_ack, 500, 101), now).unwrap();
    send(tracker, &segment(client, SERVER, TcpFlags::ACK, 101, 501), now).unwrap();
}

#[test]
fn what_is_not_assured_gives_way_to_the_new() {
    let mut tracker = tracker(100);
    let now = Instant::from_secs(1);
    for port in 0..100 {
        syn(&mut tracker, 1000 + port, now).unwrap();
    }
    let accepted = (0..200).filter(|port| syn(&mut tracker, 5000 + port, now).is_ok()).count();
    assert!(tracker.count() <= 100);
    // Only the buckets near the new one are looked at, so that a few may be refused.
    assert!(accepted > 150, "{accepted} of 200 got in");
    assert!(tracker.statistics().early_drop >= accepted as u64);
}

#[test]
fn what_is_assured_never_gives_way() {
    let mut tracker = tracker(50);
    let now = Instant::from_secs(1);
    for port in 0..50 {
        establish(&mut tracker, 1000 + port, now);
    }
    for port in 0..100 {
        assert_eq!(syn(&mut tracker, 5000 + port, now), Err(DropReason::TableFull));
    }
    assert_eq!(tracker.count(), 50);
    assert!(tracker.dump().all(|record| record.status.has(Status::ASSURED)));
    assert_eq!(tracker.statistics().drop, 100);
}

#[test]
fn closing_connections_are_spared_by_early_drop_but_not_by_the_pass_that_follows() {
    let mut tracker = tracker(100);
    let now = Instant::from_secs(1);
    for port in 0..100 {
        establish(&mut tracker, 1000 + port, now);
    }
    let fin = TcpFlags::FIN | TcpFlags::ACK;
    for port in 0..20 {
        let client = ([192, 0, 2, 1], 1000 + port);
        send(&mut tracker, &segment(client, SERVER, fin, 101, 501), now).unwrap();
    }
    assert_eq!(syn(&mut tracker, 5000, now), Err(DropReason::TableFull));
    assert_eq!(tracker.count(), 100);
    tracker.handle_timeout(now + Span::secs(2));
    assert_eq!(tracker.count(), 95, "down to 95 %, of what was closing");
    assert_eq!(syn(&mut tracker, 5000, now + Span::secs(2)), Ok(()));
}

#[test]
fn a_forgotten_flow_leaves_nothing() {
    let mut tracker = tracker(10);
    let now = Instant::from_secs(1);
    for port in 0..1000 {
        let bytes = segment(([192, 0, 2, 1], port), SERVER, TcpFlags::SYN, 1, 0);
        let packet = Packet::parse(&bytes).unwrap();
        let tracked = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, now);
        assert!(matches!(tracked.flow, Flow::Unconfirmed(_)));
        tracker.forget(tracked.flow);
    }
    assert_eq!(tracker.count(), 0);
}

#[test]
fn a_control_connection_that_gives_way_takes_its_call_with_it_once() {
    let mut tracker = tracker(100);
    let now = Instant::from_secs(1);
    let (client, server) = (([192, 0, 2, 1], 1000), ([198, 51, 100, 2], 1723));
    send(&mut tracker, &segment(client, server, TcpFlags::SYN, 100, 0), now).unwrap();
    let syn_ack = segment(server, client, TcpFlags::SYN | TcpFlags::ACK, 500, 101);
    send(&mut tracker, &syn_ack, now).unwrap();
    let bytes = segment(client, server, TcpFlags::ACK, 101, 501);
    let packet = Packet::parse(&bytes).unwrap();
    let mut control = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, now).flow;
    let ids = PerDir([7, 9]);
    let class = ExpectClass { number: 0, name: "", max_expected: 2, timeout: 300 };
    let announced =
        [(client, server, 7, 9), (server, client, 9, 7)].map(|(from, to, id, other)| {
            let l4 = L4Key::Gre { source: id, destination: other };
            let tuple =
                Tuple::new(end(from).0, end(to).0, protocol::GRE, l4, Zone::DEFAULT).unwrap();
            Announcement {
                tuple,
                mask: ExpectMask::EXACT,
                class,
                flags: ExpectFlags::default(),
                identical: Identical::default(),
                helper: "pptp",
                assigns: None,
                nat: None,
            }
        });
    tracker.expect_call(&mut control, announced).unwrap();
    let memory = HelperMemory { call: Some(Call { ids, own: ids }), ..HelperMemory::default() };
    tracker.set_helper_memory(&mut control, memory);
    // GRE version 1 with a key and a sequence number, for the server's end of the call.
    let gre = [0x30, 0x01, 0x88, 0x0b, 0, 0, 0, 9, 0, 0, 0, 1];
    let bytes = compose::ip(end(client).0, end(server).0, protocol::GRE, &gre);
    send(&mut tracker, &bytes, now).unwrap();
    assert_eq!(tracker.count(), 2);
    send(&mut tracker, &segment(client, server, TcpFlags::RST, 101, 501), now).unwrap();
    for port in 0..98 {
        establish(&mut tracker, 2000 + port, now);
    }
    assert_eq!(tracker.count(), 100);
    assert_eq!(syn(&mut tracker, 5000, now), Err(DropReason::TableFull));
    tracker.handle_timeout(now + Span::secs(2));
    assert_eq!(tracker.count(), 98);
    for port in 0..2 {
        syn(&mut tracker, 6000 + port, now + Span::secs(2)).unwrap();
    }
    assert_eq!((tracker.count(), tracker.dump().count()), (100, 100));
}
