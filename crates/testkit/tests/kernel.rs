//! The running kernel, driven by `testkit::kernel`: what it is known to do must come back decoded.
//!
//! Without root or netfilter these tests say so and pass; with STATEWARD_REQUIRE_KERNEL=1 that
//! fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failure is the test's own"
)]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use testkit::build::{
    Checksum, Chunk, Gre, Packet, Sctp, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Transport, fragments,
};
use testkit::kernel::{
    self, Checkpoint, CtState, Direction, Entry, Event, Hook, Kernel, Key, Look, Observation,
    Outcome, Port, Scenario, Step,
};

use CtState::{Established, Invalid, New, Related, Untracked};
use Direction::{Original, Reply};

/// A kernel, or none after a message that says why.
fn kernel() -> Option<Kernel> {
    kernel::is_there().then(|| Kernel::new().expect("a namespace"))
}

/// Runs `scenario` in a fresh namespace, or skips.
fn run(scenario: &Scenario) -> Option<Outcome> {
    Some(kernel()?.run(scenario).expect("an outcome"))
}

fn steps(steps: Vec<Step>) -> Scenario {
    Scenario { steps, ..Scenario::default() }
}

fn lan(packet: &Packet) -> Step {
    Step::Packet { from: Port::Lan, bytes: packet.bytes() }
}

fn wan(packet: &Packet) -> Step {
    Step::Packet { from: Port::Wan, bytes: packet.bytes() }
}

fn local(packet: &Packet) -> Step {
    Step::Packet { from: Port::Local, bytes: packet.bytes() }
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, 10], port))
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 5], port))
}

fn client6(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x10), port))
}

fn server6(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5), port))
}

fn classes(outcome: &Outcome) -> Vec<(CtState, Option<Direction>)> {
    let class = |o: &Observation| (o.state().expect("classified"), o.direction());
    outcome.observations.iter().map(class).collect()
}

fn event_names(outcome: &Outcome) -> Vec<Vec<&'static str>> {
    outcome.observations.iter().map(|o| names(&o.events)).collect()
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::name).collect()
}

/// The connection's events in short: name, TCP or SCTP state, status. Timeouts see [`timeouts`].
fn story(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let entry = event.connection().expect("about a connection");
        let status = entry.status.map(|status| status.names().join(",")).unwrap_or_default();
        format!("{} {} {status}", event.name(), entry.state().unwrap_or("-"))
    };
    events.iter().map(line).collect()
}

/// Fails unless the events' timeouts are these seconds; they read back up to one second low.
fn timeouts(events: &[Event], expected: &[u32]) {
    let seen: Vec<u32> =
        events.iter().filter_map(|event| event.connection().and_then(|c| c.timeout)).collect();
    let near = |(seen, expected): (&u32, &u32)| seen == expected || seen + 1 == *expected;
    assert!(
        seen.len() == expected.len() && seen.iter().zip(expected).all(near),
        "{seen:?} instead of {expected:?}"
    );
}

fn all_events(outcome: &Outcome) -> Vec<Event> {
    outcome.observations.iter().flat_map(|o| o.events.clone()).collect()
}

fn present(entry: &Entry) -> Vec<&str> {
    entry.present.iter().map(AsRef::as_ref).filter(|name| !name.contains('/')).collect()
}

/// All that left, where and whose: 0 is the packet's own walk.
fn out(observation: &Observation) -> Vec<(Port, Option<usize>, usize)> {
    observation.out.iter().map(|out| (out.port, out.walk, out.bytes.len())).collect()
}

#[test]
fn tcp_handshake() {
    let (c, s) = (client(40000), server(80));
    let Some(outcome) = run(&Scenario {
        look: Look { proc: true, tool: true, ..Look::default() },
        ..steps(vec![
            lan(&Packet::tcp(c, s, TCP_SYN, 1000, 0)),
            wan(&Packet::tcp(s, c, TCP_SYN | TCP_ACK, 5000, 1001)),
            lan(&Packet::tcp(c, s, TCP_ACK, 1001, 5001)),
        ])
    }) else {
        return;
    };
    let original = Some(Original);
    let expected = [(New, original), (Established, Some(Reply)), (Established, original)];
    assert_eq!(classes(&outcome), expected);
    assert_eq!(
        story(&all_events(&outcome)),
        [
            "NEW SYN_SENT CONFIRMED",
            "UPDATE SYN_RECV SEEN_REPLY,CONFIRMED",
            "UPDATE ESTABLISHED SEEN_REPLY,ASSURED,CONFIRMED",
        ]
    );
    timeouts(&all_events(&outcome), &[120, 60, 432_000]);
    assert_eq!(event_names(&outcome), [["NEW"], ["UPDATE"], ["UPDATE"]]);
    let path = [Hook::Prerouting, Hook::Forward, Hook::Postrouting];
    assert!(outcome.observations.iter().all(|o| o.hooks() == path));
    assert_eq!(out(&outcome.observations[0]), [(Port::Wan, Some(0), 40)]);
    assert_eq!(out(&outcome.observations[1]), [(Port::Lan, Some(0), 40)]);

    let [entry] = &outcome.table[..] else { panic!("{:?}", outcome.table) };
    let key = |source, destination| Key::Ports { source, destination };
    assert_eq!(entry.original.unwrap().key, key(40000, 80));
    assert_eq!(entry.reply.unwrap().key, key(80, 40000));
    assert_eq!(entry.reply.unwrap().source, s.ip());
    assert_eq!(entry.state(), Some("ESTABLISHED"));
    assert!((431998..=432000).contains(&entry.timeout.unwrap()));
    let packets = entry.counters.map(|counters| counters.map(|c| (c.packets, c.bytes)));
    assert_eq!(packets, [Some((2, 80)), Some((1, 40))]);
    assert_eq!(entry.mark, Some(0));

    assert_eq!(outcome.proc_table.len(), 1);
    let line = &outcome.proc_table[0];
    assert!(line.starts_with("ipv4     2 tcp      6 43"), "{line}");
    assert_eq!(outcome.tool_table.len(), 1);
    assert!(outcome.tool_table[0].contains("[ASSURED] mark=0 use=1"), "{:?}", outcome.tool_table);
    let end = "DESTROY ESTABLISHED SEEN_REPLY,ASSURED,CONFIRMED,DYING";
    assert_eq!(story(&outcome.flushed), [end]);
}

#[test]
fn attributes_differ_between_events_and_the_table() {
    let (c, s) = (client(1), server(2));
    let Some(outcome) =
        run(&steps(vec![lan(&Packet::udp(c, s, b"question")), wan(&Packet::udp(s, c, b"answer"))]))
    else {
        return;
    };
    let events = all_events(&outcome);
    let new = present(events[0].connection().unwrap());
    assert_eq!(new, ["ID", "STATUS", "TIMEOUT", "TUPLE_ORIG", "TUPLE_REPLY"]);
    assert_eq!(new, present(events[1].connection().unwrap()));
    let destroy = present(outcome.flushed[0].connection().unwrap());
    let counters = ["COUNTERS_ORIG", "COUNTERS_REPLY", "ID", "STATUS", "TIMEOUT"];
    assert_eq!(destroy[..5], counters);
    let table = present(&outcome.table[0]);
    assert!(table.contains(&"MARK") && table.contains(&"USE"), "{table:?}");
}

#[test]
fn icmp_echo_and_errors() {
    let (c, s) = (client(5000), server(53));
    let router = IpAddr::from([203, 0, 113, 77]);
    let question = Packet::udp(c, s, b"?");
    let Some(outcome) = run(&steps(vec![
        lan(&Packet::echo_request(c.ip(), s.ip(), 7, 1)),
        wan(&Packet::echo_reply(s.ip(), c.ip(), 7, 1)),
        lan(&question),
        wan(&Packet::icmp_error(router, c.ip(), 3, 1, &question.bytes())),
        wan(&Packet::echo_reply(s.ip(), c.ip(), 99, 1)),
    ])) else {
        return;
    };
    let expected = [
        (New, Some(Original)),
        (Established, Some(Reply)),
        (New, Some(Original)),
        (Related, Some(Reply)),
        (Invalid, None),
    ];
    assert_eq!(classes(&outcome), expected);
    assert_eq!(event_names(&outcome), [vec!["NEW"], vec!["UPDATE"], vec!["NEW"], vec![], vec![]]);
    let echo = outcome.observations[0].events[0].connection().unwrap().original.unwrap();
    assert_eq!(echo.key, Key::Icmp { kind: 8, code: 0, id: 7 });
    assert_eq!(outcome.statistics["invalid"], 1);
}

#[test]
fn a_reset_destroys_a_fresh_connection() {
    let (c, s) = (client(40001), server(80));
    let Some(outcome) = run(&steps(vec![
        lan(&Packet::tcp(c, s, TCP_SYN, 1000, 0)),
        wan(&Packet::tcp(s, c, TCP_RST | TCP_ACK, 0, 1001)),
        lan(&Packet::tcp(c, s, TCP_SYN, 2000, 0)),
    ])) else {
        return;
    };
    assert_eq!(event_names(&outcome), [["NEW"], ["DESTROY"], ["NEW"]]);
    let states = [(New, Some(Original)), (Established, Some(Reply)), (New, Some(Original))];
    assert_eq!(classes(&outcome), states);
    let destroy = &outcome.observations[1].events;
    assert_eq!(story(destroy), ["DESTROY CLOSE CONFIRMED,DYING"]);
    timeouts(destroy, &[120]);
}

#[test]
fn the_kernel_says_why_a_packet_is_invalid() {
    let (c, s) = (client(40002), server(80));
    let mut broken = Packet::udp(c, s, b"broken");
    if let Transport::Udp(udp) = &mut broken.transport {
        udp.checksum = Checksum::Wrong;
    }
    let Some(outcome) = run(&steps(vec![
        lan(&Packet::tcp(c, s, TCP_SYN | TCP_FIN, 1, 0)),
        lan(&broken),
        lan(&Packet::tcp(c, s, TCP_FIN | TCP_ACK, 1, 1)),
    ])) else {
        return;
    };
    let words: Vec<_> = outcome.observations.iter().map(Observation::invalid).collect();
    assert_eq!(words[0], ["invalid tcp flag combination"]);
    assert_eq!(words[1], ["bad checksum"]);
    assert_eq!(classes(&outcome), [(Invalid, None); 3]);
    // INVALID is for rules to drop: without any, it is forwarded.
    assert!(outcome.observations.iter().all(|o| out(o).len() == 1));
    assert!(outcome.table.is_empty());
}

#[test]
fn udp_over_ipv6_and_neighbour_discovery() {
    let (c, s) = (client6(1000), server6(53));
    let Some(outcome) = run(&steps(vec![
        lan(&Packet::udp(c, s, b"question")),
        wan(&Packet::udp(s, c, b"answer")),
        lan(&Packet::icmp(c.ip(), s.ip(), 135, 0, 0, 0)),
        lan(&Packet::echo_request(c.ip(), s.ip(), 3, 4)),
    ])) else {
        return;
    };
    let states: Vec<_> = classes(&outcome).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [New, Established, Untracked, New]);
    let entry = outcome.observations[0].events[0].connection().unwrap();
    assert_eq!(entry.family, 10);
    assert_eq!(entry.original.unwrap().destination, s.ip());
    assert_eq!(outcome.table.len(), 2);
    assert_eq!(out(&outcome.observations[1]), [(Port::Lan, Some(0), 54)]);
}

#[test]
fn fragments_are_held_and_cut_again() {
    let v4 = Packet::udp(client(1000), server(2000), &[7; 2000]).bytes();
    let v6 = Packet::udp(client6(1000), server6(2000), &[7; 2000]).bytes();
    for (whole, header) in [(v4, 20), (v6, 48)] {
        let parts = fragments(&whole, 1000, 77);
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        let packet = |bytes: &Vec<u8>| Step::Packet { from: Port::Lan, bytes: bytes.clone() };
        let Some(outcome) = run(&steps(parts.iter().map(packet).collect())) else { return };
        let held: Vec<_> = outcome.observations.iter().map(Observation::held).collect();
        assert_eq!(held, [true, true, false], "header {header}");
        let last = &outcome.observations[2];
        assert_eq!(last.state(), Some(New));
        let seen = &last.walks[0].sightings;
        assert_eq!(seen[1].checkpoint, Checkpoint::Defragmented);
        assert_eq!(seen[1].bytes.len(), whole.len());
        let left: Vec<usize> = last.out.iter().map(|out| out.bytes.len()).collect();
        assert_eq!(left, lengths);
        assert!(last.out.iter().all(|out| out.walk == Some(0)));
        let counters = outcome.table[0].counters[0].unwrap();
        assert_eq!((counters.packets, counters.bytes), (1, whole.len() as u64));
    }
}

#[test]
fn local_output_and_delivery_to_the_host() {
    let host = SocketAddr::from(([192, 168, 1, 1], 22));
    let wan_address = SocketAddr::from(([203, 0, 113, 1], 9));
    let Some(outcome) = run(&steps(vec![
        lan(&Packet::tcp(client(3333), host, TCP_SYN, 1, 0)),
        local(&Packet::tcp(host, client(3333), TCP_SYN | TCP_ACK, 1, 2)),
        local(&Packet::udp(wan_address, server(53), b"?")),
        local(&Packet::udp(host, wan_address, b"to myself")),
        local(&Packet::udp(
            SocketAddr::from((Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1), 9)),
            server6(53),
            b"?",
        )),
    ])) else {
        return;
    };
    let states: Vec<_> = classes(&outcome).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [New, Established, New, New, New]);
    let [delivered, answer, asked, to_self, asked6] = &outcome.observations[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(delivered.hooks(), [Hook::Prerouting, Hook::Input]);
    assert!(delivered.walks[0].reached(Hook::Input, Checkpoint::Delivered));
    assert_eq!((names(&delivered.events), out(delivered)), (vec!["NEW"], vec![]));
    assert_eq!(answer.hooks(), [Hook::Output, Hook::Postrouting]);
    assert_eq!(out(answer), [(Port::Lan, Some(0), 40)]);
    assert_eq!(out(asked), [(Port::Wan, Some(0), 29)]);
    let loopback = [Hook::Output, Hook::Postrouting, Hook::Prerouting, Hook::Input];
    assert_eq!((to_self.hooks(), to_self.walks.len()), (loopback.to_vec(), 1));
    assert_eq!((names(&to_self.events), out(to_self)), (vec!["NEW"], vec![]));
    assert_eq!(out(asked6), [(Port::Wan, Some(0), 49)]);
}

#[test]
fn what_the_host_makes_has_walks_of_its_own() {
    let mut dying = Packet::udp(client(1), server(2), b"too far");
    dying.ttl = 1;
    let refused = Packet::tcp(client(3), server(4), TCP_SYN, 1, 0);
    let rules = "*filter\n-A FORWARD -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n";
    let Some(outcome) = run(&Scenario {
        rules4: Some(rules.into()),
        look: Look { trace: true, ..Look::default() },
        ..steps(vec![lan(&dying), lan(&refused)])
    }) else {
        return;
    };
    for (observation, hooks) in outcome.observations.iter().zip([1, 2]) {
        assert_eq!((observation.state(), observation.hooks().len()), (Some(New), hooks));
        assert_eq!(observation.walks.len(), 2);
        let made = &observation.walks[1];
        assert_eq!((made.state(), made.direction()), (Some(Related), Some(Reply)));
        assert_eq!(made.hooks(), [Hook::Output, Hook::Postrouting]);
        assert_eq!(observation.out[0].walk, Some(1));
        assert!(observation.events.is_empty());
    }
    let path = ["filter:FORWARD:rule:1", "filter:OUTPUT:policy:1"];
    assert_eq!(outcome.observations[1].trace(), path);
    assert!(outcome.rules4.unwrap().contains("[1:40] -A FORWARD -p tcp -j REJECT"));
}

#[test]
fn sctp_gre_and_unknown_protocols() {
    let (c, s) = (client(5000), server(6000));
    let init = Sctp {
        source_port: 5000,
        destination_port: 6000,
        chunks: vec![Chunk::init(false, 11)],
        ..Sctp::default()
    };
    let answer = Sctp {
        source_port: 6000,
        destination_port: 5000,
        tag: 11,
        chunks: vec![Chunk::init(true, 22)],
        ..Sctp::default()
    };
    let other = Transport::Raw { protocol: 253, bytes: vec![1, 2, 3] };
    let Some(outcome) = run(&steps(vec![
        lan(&Packet::new(c.ip(), s.ip(), Transport::Sctp(init))),
        wan(&Packet::new(s.ip(), c.ip(), Transport::Sctp(answer))),
        lan(&Packet::new(c.ip(), s.ip(), Transport::Gre(Gre::pptp(77, 1, b"ppp")))),
        lan(&Packet::new(c.ip(), s.ip(), other)),
    ])) else {
        return;
    };
    let states: Vec<_> = classes(&outcome).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [New, Established, New, New]);
    let sctp: Vec<_> = outcome.observations[..2].iter().flat_map(|o| story(&o.events)).collect();
    assert_eq!(sctp, ["NEW CLOSED CONFIRMED", "UPDATE COOKIE_WAIT SEEN_REPLY,CONFIRMED"]);
    let entry = outcome.table.iter().find(|entry| entry.sctp.is_some()).unwrap();
    assert_eq!(entry.sctp.unwrap().tags, [Some(22), Some(11)]);
    let keys: Vec<_> = outcome.table.iter().map(|entry| entry.original.unwrap().key).collect();
    assert!(keys.contains(&Key::Keys { source: 0, destination: 77 }), "{keys:?}");
    assert!(keys.contains(&Key::None), "{keys:?}");
}

#[test]
fn nat_helpers_expectations_and_their_order() {
    let (c, s) = (client(40000), server(21));
    let port = b"PORT 192,168,1,10,200,10\r\n";
    let data = |from: u16, to| Packet::tcp(server(from), to, TCP_SYN, 9000, 0);
    let Some(outcome) = run(&Scenario {
        sysctls: vec![("net.netfilter.nf_conntrack_timestamp".into(), "1".into())],
        rules4: Some(
            "*raw\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\nCOMMIT\n\
             *mangle\n-A FORWARD -j CONNMARK --set-mark 5\nCOMMIT\n\
             *nat\n-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n"
                .into(),
        ),
        ..steps(vec![
            lan(&Packet::tcp(c, s, TCP_SYN, 1000, 0)),
            wan(&Packet::tcp(s, "203.0.113.1:40000".parse().unwrap(), 0x12, 5000, 1001)),
            lan(&Packet::tcp(c, s, TCP_ACK, 1001, 5001)),
            // The helper reads a line only if it has seen the one before it end.
            lan(&Packet::tcp(c, s, TCP_ACK, 1001, 5001).payload(b"USER me\r\n")),
            lan(&Packet::tcp(c, s, TCP_ACK, 1010, 5001).payload(port)),
            wan(&data(20, "203.0.113.1:51210".parse().unwrap())),
        ])
    }) else {
        return;
    };
    let events = event_names(&outcome);
    assert_eq!(events[..4], [vec!["NEW"], vec!["UPDATE"], vec!["UPDATE"], vec![]]);
    assert_eq!(events[4], ["EXP_NEW"]);
    let command = &outcome.observations[4];
    let expectation = command.events.iter().find_map(Event::expectation).unwrap();
    assert_eq!(expectation.helper.as_deref(), Some("ftp"));
    assert_eq!(expectation.master.unwrap().source, c.ip());
    let rewritten = String::from_utf8_lossy(&command.out[0].bytes);
    assert!(rewritten.contains("PORT 203,0,113,1,"), "{rewritten}");
    assert_eq!(events[5], ["EXP_DESTROY", "NEW"]);
    let child = outcome.observations[5].events[1].connection().unwrap();
    assert!(child.status.unwrap().has("EXPECTED") && child.master.is_some());
    assert_eq!(outcome.observations[5].state(), Some(Related));
    let master = outcome.table.iter().find(|entry| entry.master.is_none()).unwrap();
    assert_eq!(master.helper.as_deref(), Some("ftp"));
    assert_eq!(master.reply.unwrap().destination.to_string(), "203.0.113.1");
    assert_eq!(master.mark, Some(5));
    let grown = i32::try_from(command.out[0].bytes.len()).unwrap() - 40 - 26;
    let adjustment = master.sequence_adjustment[0].unwrap();
    assert_eq!((adjustment.position, adjustment.before, adjustment.after), (1010, 0, grown));
    let end = outcome.flushed[0].connection().unwrap().lifetime.unwrap();
    assert!(end.start.unwrap() < end.stop.unwrap(), "{end:?}");
}

#[test]
fn one_namespace_serves_many_scenarios_and_forgets_each() {
    let Some(mut kernel) = kernel() else { return };
    let (c, s) = (client(40000), server(80));
    let ack = || lan(&Packet::tcp(c, s, TCP_ACK, 1, 1));
    let strict = Scenario {
        sysctls: vec![("net.netfilter.nf_conntrack_tcp_loose".into(), "0".into())],
        rules4: Some(
            "*filter\n:FORWARD DROP [0:0]\n:user - [0:0]\n-A FORWARD -j user\nCOMMIT\n".into(),
        ),
        nflog_groups: vec![5],
        look: Look { trace: true, ..Look::default() },
        ..steps(vec![ack()])
    };
    let plain = steps(vec![ack()]);
    for _ in 0..3 {
        let outcome = kernel.run(&strict).unwrap();
        assert_eq!(classes(&outcome), [(Invalid, None)]);
        assert!(outcome.observations[0].out.is_empty());
        let outcome = kernel.run(&plain).unwrap();
        assert_eq!(classes(&outcome), [(New, Some(Original))]);
        assert_eq!(out(&outcome.observations[0]).len(), 1);
        assert!(outcome.observations[0].trace().is_empty());
        assert_eq!((outcome.table.len(), outcome.rules4), (1, None));
    }
}

#[test]
fn what_expires_goes_between_the_packets() {
    let timeout = |name: &str| (format!("net.netfilter.nf_conntrack_{name}"), "1".to_owned());
    let question = Packet::udp(client(1), server(53), b"?");
    let Some(outcome) = run(&Scenario {
        sysctls: vec![timeout("udp_timeout")],
        look: Look { each_table: true, ..Look::default() },
        ..steps(vec![
            lan(&question),
            Step::Sleep(Duration::from_millis(1200)),
            lan(&Packet::udp(client(2), server(53), b"?")),
        ])
    }) else {
        return;
    };
    let [first, slept, second] = &outcome.observations[..] else { panic!("{outcome:?}") };
    assert_eq!(first.table.as_ref().map(Vec::len), Some(1));
    assert_eq!(names(&slept.events), ["DESTROY"]);
    assert!(slept.done - slept.begun >= Duration::from_millis(1200));
    assert_eq!((names(&second.expired), names(&second.events)), (vec![], vec!["NEW"]));
    assert_eq!(second.table.as_ref().map(Vec::len), Some(1));
}

#[test]
fn a_table_watched_by_its_events_is_the_table_dumped() {
    // With events off nothing is known of the table; then it must be dumped all the same.
    let Some(mut kernel) = kernel() else { return };
    for events in ["1", "0"] {
        let outcome = kernel
            .run(&Scenario {
                sysctls: vec![("net.netfilter.nf_conntrack_events".into(), events.into())],
                rules4: Some(
                    "*raw\n-A PREROUTING -p udp -j CT --zone 7\n\
                     -A PREROUTING -p icmp -j CT --zone-orig 8\nCOMMIT\n"
                        .into(),
                ),
                ..steps(vec![
                    lan(&Packet::udp(client(1), server(2), b"")),
                    lan(&Packet::tcp(client(1), server(2), TCP_SYN, 1, 0)),
                    lan(&Packet::echo_request(client(0).ip(), server(0).ip(), 1, 1)),
                    lan(&Packet::udp(client6(1), server6(2), b"")),
                ])
            })
            .unwrap();
        let mut rows: Vec<_> = outcome
            .table
            .iter()
            .map(|entry| {
                let mut plain = present(entry);
                plain.retain(|name| *name != "USE");
                let tuple = entry.original.unwrap();
                (tuple.protocol, entry.family, entry.zone, tuple.zone, plain.join(" "))
            })
            .collect();
        rows.sort();
        let short: Vec<_> = rows.iter().map(|row| (row.0, row.1, row.2, row.3)).collect();
        let expected = [
            (1, 2, None, Some(8)),
            (6, 2, None, None),
            (17, 2, Some(7), None),
            (17, 10, None, None),
        ];
        assert_eq!(short, expected);
        assert!(rows.iter().all(|row| row.4.contains("COUNTERS_ORIG COUNTERS_REPLY ID MARK")));
        assert_eq!(outcome.observations[0].events.is_empty(), events == "0");
    }
}

#[test]
fn the_text_of_a_log_rule() {
    let Some(mut kernel) = kernel() else { return };
    if std::fs::File::open("/dev/kmsg").is_err() {
        return eprintln!("SKIPPED: no /dev/kmsg");
    }
    let outcome = kernel
        .run(&Scenario {
            rules4: Some(
                "*filter\n-A FORWARD -j LOG --log-prefix \"seen: \" --log-level 5\nCOMMIT\n".into(),
            ),
            look: Look { kernel_log: true, ..Look::default() },
            ..steps(vec![lan(&Packet::udp(client(1), server(2), b"x"))])
        })
        .unwrap();
    let [line] = &outcome.observations[0].kernel_log[..] else { panic!("{outcome:?}") };
    assert_eq!(line.level, 5);
    assert!(line.text.starts_with("seen: IN=lan0 OUT=wan0 MAC= SRC=192.168.1.10"), "{line:?}");
}

#[test]
fn a_full_table_drops_new_connections() {
    let Some(mut kernel) = kernel() else { return };
    let syn = |n| Packet::tcp(client(n), server(80), TCP_SYN, 1, 0);
    let answer = |n| Packet::tcp(server(80), client(n), TCP_SYN | TCP_ACK, 9, 2);
    let ack = |n| Packet::tcp(client(n), server(80), TCP_ACK, 2, 10);
    let assured = (1..=3).flat_map(|n| [lan(&syn(n)), wan(&answer(n)), lan(&ack(n))]);
    let scenario = Scenario {
        sysctls: vec![("net.netfilter.nf_conntrack_max".to_owned(), "3".to_owned())],
        ..steps(assured.chain([lan(&syn(4))]).collect())
    };
    let outcome = kernel.run(&scenario).unwrap();
    let last = &outcome.observations[9];
    assert_eq!((last.state(), last.out.len(), last.events.len()), (None, 0, 0));
    assert_eq!(outcome.statistics["drop"], 1);
    assert_eq!(outcome.table.len(), 3);
    let outcome = kernel.run(&steps(scenario.steps)).unwrap();
    assert_eq!(outcome.table.len(), 4);
}

#[test]
fn nflog_rules_and_large_packets() {
    let large = Packet::udp(client(1), server(2), &vec![7; 60_000]).bytes();
    let parts = fragments(&large, 1480, 0);
    let packet = |bytes: &Vec<u8>| Step::Packet { from: Port::Lan, bytes: bytes.clone() };
    let rule = "-A FORWARD -j NFLOG --nflog-group 5 --nflog-prefix five";
    let Some(outcome) = run(&Scenario {
        rules4: Some(format!("*filter\n{rule}\nCOMMIT\n")),
        nflog_groups: vec![5],
        ..steps(parts.iter().map(packet).collect())
    }) else {
        return;
    };
    let last = outcome.observations.last().unwrap();
    assert_eq!(last.out.len(), parts.len());
    let [remark] = &last.remarks[..] else { panic!("{:?}", last.remarks) };
    assert_eq!((remark.group, remark.text.as_str(), remark.walk), (5, "five", Some(0)));
    assert_eq!(remark.bytes.len(), large.len());
}

#[test]
fn a_local_packet_that_rules_drop_is_refused() {
    let from = SocketAddr::from(([203, 0, 113, 1], 9));
    let Some(outcome) = run(&Scenario {
        rules4: Some("*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n".into()),
        ..steps(vec![local(&Packet::udp(from, server(53), b"?"))])
    }) else {
        return;
    };
    let observation = &outcome.observations[0];
    assert_eq!((observation.refused, observation.state()), (Some(1), Some(New)));
    assert!(!observation.walks[0].reached(Hook::Output, Checkpoint::Leave));
}

#[test]
fn nothing_comes_late() {
    let syn = |n| lan(&Packet::tcp(client(n), server(80), TCP_SYN, 1, 0));
    let Some(outcome) = run(&steps((1..=5000).map(syn).collect())) else { return };
    for observation in &outcome.observations {
        let seen = (observation.walks.len(), observation.out.len(), observation.events.len());
        assert_eq!(seen, (1, 1, 1), "{observation:?}");
        assert_eq!(observation.walks[0].sightings.len(), 8);
    }
    assert_eq!((outcome.table.len(), outcome.flushed.len()), (5000, 5000));
}

/// RFC 3828 sums a pseudo-header with protocol 136; the kernel verifies it with UDP's 17.
#[test]
fn a_right_udp_lite_checksum_is_bad_to_the_kernel() {
    let mut lite = Packet::udp(client(1), server(2), b"covered in part");
    if let Transport::Udp(udp) = &mut lite.transport {
        udp.coverage = Some(10);
    }
    let right = lite.bytes();
    let mut as_udp = right.clone();
    let sum = u16::from_be_bytes([right[26], right[27]]);
    let (moved, carry) = sum.overflowing_add(136 - 17);
    as_udp[26..28].copy_from_slice(&(moved + u16::from(carry)).to_be_bytes());
    let packets = [right, as_udp].map(|bytes| Step::Packet { from: Port::Lan, bytes });
    let Some(outcome) = run(&steps(packets.to_vec())) else { return };
    assert_eq!(classes(&outcome), [(Invalid, None), (New, Some(Original))]);
    assert_eq!(outcome.observations[0].invalid(), ["bad checksum"]);
}
