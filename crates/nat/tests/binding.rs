//! What connections are bound to, claim by claim: the kernel's order of preference.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]

mod gateway;

use gateway::{Gateway, addresses, tcp, tcp_with, udp};
use stateward_conntrack::{DropReason, Status};
use stateward_nat::{How, Manip, Ports, Range, Spread, Wish};
use stateward_wire::TcpFlags;
use stateward_wire::compose;

const SOURCE: Manip = Manip::Source;
const DESTINATION: Manip = Manip::Destination;

#[test]
fn a_source_keeps_its_port_where_it_is_free() {
    let mut gateway = Gateway::new();
    let own = addresses("192.0.2.1", "192.0.2.1");
    let bound = gateway.pass(&udp("10.0.0.1:5000", "198.51.100.1:53"), SOURCE, &own);
    assert_eq!((bound.end.as_str(), bound.how), ("192.0.2.1:5000", How::Addressed));
    assert!(bound.status.has(Status::SRC_NAT | Status::SRC_NAT_DONE));
    assert!(!bound.status.has(Status::DST_NAT_DONE));
    // The same port of another client, towards another server: nobody can mistake it.
    let other = gateway.pass(&udp("10.0.0.2:5000", "198.51.100.2:53"), SOURCE, &own);
    assert_eq!(other.end, "192.0.2.1:5000");
    assert_eq!(gateway.tracker.statistics().found, 0);
}

#[test]
fn a_port_that_is_taken_becomes_another_of_its_class() {
    for (port, class) in
        [(511, 1..=511), (512, 600..=1023), (1023, 600..=1023), (1024, 1024..=u16::MAX)]
    {
        let mut gateway = Gateway::new();
        let own = addresses("192.0.2.1", "192.0.2.1");
        for client in 1..=40 {
            let from = format!("10.0.0.{client}:{port}");
            let bound = gateway.pass(&udp(&from, "198.51.100.1:53"), SOURCE, &own);
            let found: u16 = bound.end.rsplit(':').next().unwrap().parse().unwrap();
            assert!(class.contains(&found) || client == 1 && found == port, "{found} for {port}");
            assert_eq!(bound.entered, Ok(()), "{bound:?}");
        }
        assert!(gateway.tracker.statistics().found >= 39);
    }
}

#[test]
fn a_source_is_mapped_as_it_was_before_whatever_the_pool_says() {
    let mut gateway = Gateway::new();
    let pool = addresses("192.0.2.1", "192.0.2.200");
    let first = gateway.pass(&udp("10.0.0.1:5000", "198.51.100.1:53"), SOURCE, &pool);
    assert_eq!(first.how, How::Addressed);
    for server in 2..=60 {
        let to = format!("198.51.100.{server}:53");
        let again = gateway.pass(&udp("10.0.0.1:5000", &to), SOURCE, &pool);
        assert_eq!((again.how, &again.end), (How::Mapped, &first.end));
    }
    // Another port is another source: the pool is asked.
    let pools: std::collections::BTreeSet<_> = (2..=60)
        .map(|server| {
            let to = format!("198.51.100.{server}:53");
            let bound = gateway.pass(&udp(&format!("10.0.0.1:6{server:03}"), &to), SOURCE, &pool);
            bound.end.split(':').next().unwrap().to_owned()
        })
        .collect();
    assert!(pools.len() > 20, "{pools:?}");
    // And what is not in the range any more is not kept.
    let elsewhere = addresses("203.0.113.1", "203.0.113.1");
    let moved = gateway.pass(&udp("10.0.0.1:5000", "198.51.100.99:53"), SOURCE, &elsewhere);
    assert_eq!(moved.end, "203.0.113.1:5000");
}

#[test]
fn a_persistent_client_has_one_address_towards_all() {
    let mut gateway = Gateway::new();
    let pool = Range { spread: Spread::Persistent, ..addresses("192.0.2.1", "192.0.2.200") };
    let seen: std::collections::BTreeSet<_> = (1..=50)
        .map(|n| {
            let (from, to) = (format!("10.0.0.1:{}", 2000 + n), format!("198.51.100.{n}:53"));
            let bound = gateway.pass(&udp(&from, &to), SOURCE, &pool);
            bound.end.split(':').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(seen.len(), 1);
}

#[test]
fn destinations_take_the_first_port_of_their_range_that_is_free() {
    let mut gateway = Gateway::new();
    let to = Range { ports: Some([9000, 9002]), ..addresses("10.9.9.9", "10.9.9.9") };
    // Two clients are two connections on one port.
    for client in 1..=2 {
        let bound = gateway.pass(
            &udp(&format!("198.51.100.{client}:77"), "192.0.2.1:80"),
            DESTINATION,
            &to,
        );
        assert_eq!(bound.end, "10.9.9.9:9000");
    }
    // The same client's port towards two of our ports must not end up at one.
    let ends: Vec<_> = (81..=84)
        .map(|port| {
            let bound = gateway.pass(
                &udp("198.51.100.1:77", &format!("192.0.2.1:{port}")),
                DESTINATION,
                &to,
            );
            (bound.end, bound.entered)
        })
        .collect();
    let free = |port: u16| (format!("10.9.9.9:{port}"), Ok(()));
    let taken = ("10.9.9.9:9002".to_owned(), Err(DropReason::Clash));
    assert_eq!(ends, [free(9001), free(9002), taken.clone(), taken]);
    assert_eq!(gateway.tracker.statistics().insert_failed, 2);
}

/// What was asked for, and what was given of 5000 to 5099 behind 8000.
const SHIFTED: [(u16, u16); 5] =
    [(8000, 5000), (8042, 5042), (8099, 5099), (8100, 5000), (7999, 5035)];

#[test]
fn ports_behind_a_base_are_shifted() {
    let mut gateway = Gateway::new();
    let range = addresses("10.9.9.9", "10.9.9.9");
    let to = Range { ports: Some([5000, 5099]), base: Some(8000), ..range };
    for (n, (asked, given)) in SHIFTED.iter().enumerate() {
        let bound = gateway.pass(
            &udp(&format!("198.51.100.{n}:77"), &format!("192.0.2.1:{asked}")),
            DESTINATION,
            &to,
        );
        assert_eq!(bound.end, format!("10.9.9.9:{given}"), "{asked}");
    }
}

#[test]
fn the_only_port_of_a_range_is_given_whether_it_is_free_or_not() {
    let mut gateway = Gateway::new();
    let own = Range { ports: Some([7, 7]), ..addresses("192.0.2.1", "192.0.2.1") };
    let first = gateway.pass(&udp("10.0.0.1:7", "198.51.100.1:53"), SOURCE, &own);
    assert_eq!((first.how, first.entered), (How::OnlyPort, Ok(())));
    let second = gateway.pass(&udp("10.0.0.2:7", "198.51.100.1:53"), SOURCE, &own);
    assert_eq!((second.how, second.entered), (How::OnlyPort, Err(DropReason::Clash)));
}

#[test]
fn a_wish_is_granted_where_the_kernel_is_random_and_nowhere_else() {
    let mut gateway = Gateway::new();
    let own = addresses("192.0.2.1", "192.0.2.1");
    let random = Range { choice: Ports::Random, ..own };
    let mut pass = |from: &str, wish, range: &Range| {
        gateway.chance.set_wish(Wish { source: Some(wish), ..Wish::NONE });
        let bound = gateway.pass(&udp(from, "198.51.100.1:53"), SOURCE, range);
        bound.end.rsplit(':').next().unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(pass("10.0.0.1:5000", 6000, &own), 5000, "its own port is free: nothing is random");
    assert_eq!(pass("10.0.0.2:5000", 6000, &own), 6000, "its own port is taken");
    assert_eq!(pass("10.0.0.3:5000", 6000, &own), 6001, "the wish is taken: the next is free");
    assert_ne!(pass("10.0.0.4:5000", 80, &own), 80, "the wish is of another class");
    assert_eq!(pass("10.0.0.5:5001", 7001, &random), 7001, "all is random");
    let few = Range { ports: Some([3000, 3009]), ..own };
    assert_eq!(pass("10.0.0.6:5000", 3007, &few), 3007);
    assert!((3000..=3009).contains(&pass("10.0.0.7:5000", 3010, &few)));
}

#[test]
fn the_last_port_of_a_vain_search_may_be_any() {
    let mut gateway = Gateway::new();
    let few = Range { ports: Some([3000, 3002]), ..addresses("192.0.2.1", "192.0.2.1") };
    for (client, wish) in [(2, 3002), (3, 3000), (4, 3001), (5, 3001), (6, 3000), (7, 3002)] {
        gateway.chance.set_wish(Wish { source: Some(wish), ..Wish::NONE });
        let from = format!("10.0.0.{client}:5000");
        let bound = gateway.pass(&udp(&from, "198.51.100.1:53"), SOURCE, &few);
        assert_eq!(bound.end, format!("192.0.2.1:{wish}"), "{client}");
        assert_eq!(matches!(bound.how, How::Exhausted { asked: 3 }), client > 4, "{client}");
    }
}

#[test]
fn a_search_ends_and_the_packet_is_lost_where_it_would_enter_the_table() {
    let mut gateway = Gateway::new();
    let own = Range { ports: Some([2000, 2999]), ..addresses("192.0.2.1", "192.0.2.1") };
    let mut lost = Vec::new();
    for client in 0..1010_u16 {
        let from = format!("10.0.{}.{}:{}", client / 250, client % 250 + 1, 1024 + client);
        let bound = gateway.pass(&udp(&from, "198.51.100.1:53"), SOURCE, &own);
        if bound.entered.is_err() {
            lost.push(bound.how);
        }
    }
    // 128, 64, 32, 16 and 8 of a thousand: a search for one of the last may fail.
    assert!((10..60).contains(&lost.len()), "{}", lost.len());
    assert!(lost.iter().all(|how| *how == How::Exhausted { asked: 248 }), "{lost:?}");
}

#[test]
fn a_new_connection_takes_the_port_of_a_closed_one_if_its_numbers_are_beyond() {
    let own = Range { ports: Some([2000, 2009]), ..addresses("192.0.2.1", "192.0.2.1") };
    for (sequence, taken) in [(50_000, false), (500, true)] {
        let mut gateway = Gateway::new();
        for client in 1..=10 {
            let from = format!("10.0.0.{client}:{}", 3000 + client);
            let bound = gateway.pass(
                &tcp_with(&from, "198.51.100.1:80", TcpFlags::SYN, 1000),
                SOURCE,
                &own,
            );
            assert_eq!(bound.entered, Ok(()));
            let back = gateway.answer(&from, TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), 1001);
            assert_eq!(back, "ESTABLISHED");
            gateway.reset(&from);
        }
        assert_eq!(gateway.tracker.count(), 10, "closed, and still there");
        let late = gateway.pass(
            &tcp_with("10.0.0.99:3000", "198.51.100.1:80", TcpFlags::SYN, sequence),
            SOURCE,
            &own,
        );
        assert_eq!(late.entered.is_err(), taken, "{late:?}");
        assert_eq!(gateway.tracker.count(), 10);
    }
}

#[test]
fn an_open_connection_never_gives_way() {
    let own = Range { ports: Some([2000, 2000]), ..addresses("192.0.2.1", "192.0.2.1") };
    let mut gateway = Gateway::new();
    gateway.pass(&tcp("10.0.0.1:3000", "198.51.100.1:80"), SOURCE, &own);
    let late = gateway.pass(
        &tcp_with("10.0.0.2:3000", "198.51.100.1:80", TcpFlags::SYN, 90_000),
        SOURCE,
        &own,
    );
    assert_eq!((late.how, late.entered), (How::Exhausted { asked: 1 }, Err(DropReason::Clash)));
}

#[test]
fn what_no_rule_binds_stays_unless_another_has_become_the_same() {
    let mut gateway = Gateway::new();
    let own = addresses("192.0.2.1", "192.0.2.1");
    gateway.pass(&udp("10.0.0.1:5000", "198.51.100.1:53"), SOURCE, &own);
    let alone = gateway.pass_unbound(&udp("192.0.2.1:5001", "198.51.100.1:53"), SOURCE);
    assert_eq!((alone.end.as_str(), alone.how), ("192.0.2.1:5001", How::Kept));
    assert!(!alone.status.has(Status::SRC_NAT), "nothing was changed");
    let same = gateway.pass_unbound(&udp("192.0.2.1:5000", "198.51.100.1:53"), SOURCE);
    assert!(matches!(same.how, How::Searched { .. }), "{same:?}");
    assert!(same.end.starts_with("192.0.2.1:") && same.end != "192.0.2.1:5000");
    assert!(same.status.has(Status::SRC_NAT));
    assert_eq!(gateway.tracker.statistics().found, 2, "asked as it was, and with its port");
}

#[test]
fn pings_get_another_id_and_protocols_without_ports_nothing() {
    let mut gateway = Gateway::new();
    let own = addresses("192.0.2.1", "192.0.2.1");
    let ping = |from: &str| {
        compose::icmp(&compose::Icmp {
            source: from.parse().unwrap(),
            destination: "198.51.100.1".parse().unwrap(),
            kind: 8,
            code: 0,
            rest: compose::echo(7, 1),
            body: &[],
        })
    };
    assert_eq!(gateway.pass(&ping("10.0.0.1"), SOURCE, &own).end, "192.0.2.1 id 7");
    let second = gateway.pass(&ping("10.0.0.2"), SOURCE, &own);
    assert!(
        second.end.starts_with("192.0.2.1 id ") && second.end != "192.0.2.1 id 7",
        "{second:?}"
    );
    let [a, b, c] = ["10.0.0.1", "10.0.0.2", "198.51.100.1"].map(|text| text.parse().unwrap());
    let first = gateway.pass(&compose::ip(a, c, 50, &[1; 20]), SOURCE, &own);
    assert_eq!(first.entered, Ok(()));
    let other = gateway.pass(&compose::ip(b, c, 50, &[1; 20]), SOURCE, &own);
    assert_eq!((other.how, other.entered), (How::Unchangeable, Err(DropReason::Clash)));
}
