//! Confirmation: packets of one flow that are held back between the hooks, and the ids of what
//! enters the table. What becomes of two first packets was seen on Linux 6.18, which held both back
//! in a queue (NFQUEUE).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test's own failure"
)]

mod dialogue;

use dialogue::{Client, Dialogue, RST, SYN, Server, seg};
use stateward_conntrack::text::id;
use stateward_conntrack::{
    ConnId, CtState, DropReason, EventKind, Flow, Hook, Status, Sysctls, Tracked, Zone,
};
use stateward_wire::compose::{self, Icmp};
use stateward_wire::{Packet, protocol};

/// IPv4, then IPv6, with accounting.
fn both(run: impl Fn(&mut Dialogue)) {
    for v6 in [false, true] {
        run(&mut Dialogue::with(v6, Sysctls { acct: true, ..Sysctls::default() }));
    }
}

/// A packet that has passed the first hook and not the last.
fn hold(d: &mut Dialogue, bytes: &[u8]) -> Tracked {
    let packet = Packet::parse(bytes).unwrap();
    d.tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, d.now)
}

fn let_go(d: &mut Dialogue, held: &mut Tracked) -> Result<ConnId, DropReason> {
    d.tracker.confirm(&mut held.flow)?;
    d.tracker.take_events(&mut d.events);
    let Flow::Confirmed(id) = held.flow else { panic!("not in the table") };
    Ok(id)
}

/// Packets of the only connection, there and back.
fn packets(d: &Dialogue) -> [u64; 2] {
    let [only] = &d.tracker.dump().collect::<Vec<_>>()[..] else { panic!("not one connection") };
    only.counters.unwrap().0.map(|counter| counter.packets)
}

#[test]
fn of_two_first_datagrams_the_second_joins_the_connection_of_the_first() {
    both(|d| {
        let (client, server) = d.ends();
        let bytes = compose::udp(client, server, b"?");
        let (mut first, mut second) = (hold(d, &bytes), hold(d, &bytes));
        assert_eq!((first.state, second.state), (CtState::New, CtState::New));
        // Whichever is let go first has made the connection.
        let winner = let_go(d, &mut second).unwrap();
        assert_eq!(let_go(d, &mut first), Ok(winner));
        assert_eq!(packets(d), [2, 0]);
        assert_eq!(d.tracker.statistics().clash_resolve, 1);
        assert_eq!(d.tracker.statistics().drop, 0);
        let told: Vec<_> = d.events.iter().map(|event| event.kind).collect();
        assert_eq!(told, [EventKind::New], "the connection is told of once");
    });
}

#[test]
fn a_first_datagram_joins_as_one_even_if_it_answers_the_other() {
    both(|d| {
        let (client, server) = d.ends();
        let mut there = hold(d, &compose::udp(client, server, b"?"));
        let mut back = hold(d, &compose::udp(server, client, b"!"));
        let winner = let_go(d, &mut there).unwrap();
        assert_eq!(let_go(d, &mut back), Ok(winner));
        assert_eq!(packets(d), [2, 0]);
        assert!(!d.tracker.get(winner).unwrap().status.has(Status::SEEN_REPLY));
    });
}

#[test]
fn who_has_no_state_to_lose_joins_and_who_has_is_dropped() {
    let ends = ([192, 0, 2, 1].into(), [198, 51, 100, 2].into());
    let ip = |protocol, data: &[u8]| compose::ipv4(ends.0, ends.1, protocol, data);
    let init = [1, 0, 0, 20, 0, 0, 0, 7, 0, 0, 3, 232, 0, 1, 0, 1, 0, 0, 0, 1];
    let (from, to) = ((ends.0.into(), 2905), (ends.1.into(), 2905));
    let echo = Icmp {
        source: ends.0.into(),
        destination: ends.1.into(),
        kind: 8,
        code: 0,
        rest: [0, 7, 0, 1],
        body: b"ping",
    };
    let joins = [
        ip(protocol::GRE, &[0, 0, 8, 0]),
        ip(protocol::DCCP, &[0; 16]),
        ip(protocol::ESP, &[0; 16]),
        ip(253, b""),
    ];
    let dropped = [compose::sctp(from, to, 0, &init), compose::icmp(&echo)];
    let clash = |bytes: &Vec<u8>| {
        let d = &mut Dialogue::new(false);
        let (mut first, mut second) = (hold(d, bytes), hold(d, bytes));
        let winner = let_go(d, &mut first).unwrap();
        let_go(d, &mut second).map(|id| id == winner)
    };
    assert!(joins.iter().all(|bytes| clash(bytes) == Ok(true)));
    assert!(dropped.iter().all(|bytes| clash(bytes) == Err(DropReason::Clash)));
}

#[test]
fn of_two_first_segments_the_second_is_dropped() {
    both(|d| {
        let bytes = d.bytes(Client, seg(SYN, 1000, 0));
        let (mut first, mut second) = (hold(d, &bytes), hold(d, &bytes));
        let winner = let_go(d, &mut first).unwrap();
        assert_eq!(let_go(d, &mut second), Err(DropReason::Clash));
        assert_eq!(packets(d), [1, 0]);
        let statistics = d.tracker.statistics();
        assert_eq!(
            (statistics.insert_failed, statistics.drop, statistics.clash_resolve),
            (1, 1, 0)
        );
        assert_eq!(statistics.drops().collect::<Vec<_>>(), [("clash", 1)]);
        assert!(d.tracker.get(winner).unwrap().status.has(Status::CONFIRMED));
        // The connection of the first goes on as if there had been no second.
        assert_eq!(d.send(Client, seg(SYN, 1000, 0)), "NEW");
    });
}

#[test]
fn an_id_belongs_to_one_connection_while_it_lives_and_to_none_after_it() {
    both(|d| {
        let mut ids: Vec<ConnId> = Vec::new();
        for n in 0..50 {
            assert_eq!(d.send(Client, seg(SYN, 1000 + n, 0)), "NEW");
            assert_eq!(d.send(Server, seg(RST | dialogue::ACK, 0, 1001 + n)), "ESTABLISHED");
            let of_this: Vec<ConnId> =
                d.events.drain(..).filter_map(|event| Some(event.connection()?.id)).collect();
            assert!(of_this.len() >= 2, "it was told of when it came and when it went");
            assert!(of_this.iter().all(|one| *one == of_this[0]), "{of_this:?}");
            assert!(d.tracker.get(of_this[0]).is_none(), "the id leads nowhere any more");
            assert!(!ids.contains(&of_this[0]), "the slot is used again, the id is not");
            ids.push(of_this[0]);
        }
        // Those in 32 bits, as `-o id` prints them, are told apart as well.
        let mut printed: Vec<u32> = ids.iter().map(|one| id(*one)).collect();
        printed.sort_unstable();
        printed.dedup();
        assert_eq!(printed.len(), ids.len());
    });
}
