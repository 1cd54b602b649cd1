//! Everything but TCP: UDP, ICMP and its errors, GRE, and protocols without a tracker. What each
//! line expects was seen on Linux 6.18.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test's own failure"
)]

mod dialogue;

use dialogue::Dialogue;
use stateward_conntrack::{CtState, Direction, L4Key, Sysctls};
use stateward_wire::compose::{self, Icmp};

fn both(run: impl Fn(&mut Dialogue)) {
    for v6 in [false, true] {
        run(&mut Dialogue::new(v6));
    }
}

type Seen = (CtState, Option<Direction>, Option<&'static str>);

const NEW: Seen = (CtState::New, Some(Direction::Original), None);
const FORTH: Seen = (CtState::Established, Some(Direction::Original), None);
const BACK: Seen = (CtState::Established, Some(Direction::Reply), None);

fn invalid(code: &'static str) -> Seen {
    (CtState::Invalid, None, Some(code))
}

fn query(d: &Dialogue, forth: bool, kind: u8, code: u8) -> Vec<u8> {
    let ((client, _), (server, _)) = d.ends();
    let (source, destination) = if forth { (client, server) } else { (server, client) };
    compose::icmp(&Icmp {
        source,
        destination,
        kind,
        code,
        rest: [0x12, 0x34, 0, 1],
        body: b"ping",
    })
}

fn error(d: &Dialogue, kind: u8, quoted: &[u8]) -> Vec<u8> {
    let ((client, _), (server, _)) = d.ends();
    compose::icmp(&Icmp {
        source: server,
        destination: client,
        kind,
        code: 3,
        rest: [0; 4],
        body: quoted,
    })
}

#[test]
fn udp_is_a_stream_two_seconds_after_it_began() {
    both(|d| {
        let (client, server) = d.ends();
        let question = compose::udp(client, server, b"?");
        let answer = compose::udp(server, client, b"!");
        assert_eq!(d.packet(&question), NEW);
        assert_eq!(d.packet(&question), NEW, "again: still unanswered");
        assert_eq!(d.packet(&answer), BACK);
        assert_eq!(d.entry(), "30");
        assert_eq!(d.packet(&question), FORTH);
        d.wait(1);
        d.packet(&answer);
        assert_eq!(d.entry(), "30", "a quick exchange is no stream");
        d.wait(2);
        d.packet(&answer);
        assert_eq!(d.entry(), "120 [ASSURED]");
        d.wait(121);
        assert_eq!(d.entry(), "-");
    });
}

#[test]
fn a_udp_length_beyond_the_packet_is_invalid() {
    both(|d| {
        let (client, server) = d.ends();
        let mut bytes = compose::udp(client, server, b"?");
        let length = bytes.len() - 5;
        bytes[length] = 0;
        bytes[length + 1] = 200;
        assert!(matches!(d.packet(&bytes).2, Some("bad_length" | "bad_checksum")));
    });
}

#[test]
fn a_wrong_checksum_is_invalid_unless_nobody_looks() {
    for (checksum, expected) in [("1", invalid("bad_checksum")), ("0", NEW)] {
        let mut sysctls = Sysctls::default();
        sysctls.set("nf_conntrack_checksum", checksum).unwrap();
        let mut d = Dialogue::with(false, sysctls);
        let (client, server) = d.ends();
        let mut bytes = compose::udp(client, server, b"?");
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(d.packet(&bytes), expected);
    }
}

#[test]
fn an_echo_opens_and_its_answer_keeps_the_entry() {
    for (v6, ask, answer) in [(false, 8, 0), (true, 128, 129)] {
        let mut d = Dialogue::new(v6);
        let unasked = query(&d, false, answer, 0);
        assert_eq!(d.packet(&unasked), invalid("icmp_unasked"));
        let question = query(&d, true, ask, 0);
        assert_eq!(d.packet(&question), NEW);
        assert_eq!(d.packet(&unasked), BACK);
        assert_eq!(d.packet(&unasked), BACK, "and once more");
        assert_eq!(d.entry(), "30", "never ASSURED");
        let record = d.tracker.dump().next().unwrap();
        let L4Key::Icmp { kind, id, .. } = record.reply.l4() else { panic!("{record:?}") };
        assert_eq!((kind, id), (answer, 0x1234));
    }
}

#[test]
fn icmp_types_that_ask_nothing_are_invalid() {
    let mut d = Dialogue::new(false);
    for (kind, code) in [(1, "icmp_no_query"), (9, "icmp_no_query"), (19, "icmp_unknown_type")] {
        let bytes = query(&d, true, kind, 0);
        assert_eq!(d.packet(&bytes), invalid(code), "type {kind}");
    }
    let mut d = Dialogue::new(true);
    for kind in [130, 133, 135, 136, 143] {
        let bytes = query(&d, true, kind, 0);
        assert_eq!(d.packet(&bytes).0, CtState::Untracked, "type {kind}");
    }
}

#[test]
fn an_error_about_a_connection_is_related_and_changes_nothing() {
    for (v6, unreachable) in [(false, 3), (true, 1)] {
        let mut d = Dialogue::new(v6);
        let (client, server) = d.ends();
        let question = compose::udp(client, server, b"?");
        let about_nothing = error(&d, unreachable, &question);
        assert_eq!(d.packet(&about_nothing), invalid("icmp_unrelated"));
        d.packet(&question);
        let related = (CtState::Related, Some(Direction::Reply), None);
        assert_eq!(d.packet(&error(&d, unreachable, &question)), related);
        assert_eq!(d.entry(), "30 [UNREPLIED]");
        let header = if v6 { 40 } else { 20 };
        let seven_bytes = error(&d, unreachable, &question[..header + 7]);
        assert_eq!(d.packet(&seven_bytes), related);
        let three_bytes = error(&d, unreachable, &question[..header + 3]);
        assert_eq!(d.packet(&three_bytes), invalid("icmp_unquotable"));
    }
}

#[test]
fn an_error_sent_to_a_third_host_is_invalid() {
    let mut d = Dialogue::new(false);
    let (client, server) = d.ends();
    let question = compose::udp(client, server, b"?");
    d.packet(&question);
    let elsewhere = compose::icmp(&Icmp {
        source: server.0,
        destination: "10.0.9.9".parse().unwrap(),
        kind: 3,
        code: 3,
        rest: [0; 4],
        body: &question,
    });
    assert_eq!(d.packet(&elsewhere), invalid("icmp_outer_destination"));
}

#[test]
fn gre_has_no_keys_but_for_pptp() {
    both(|d| {
        let ((client, _), (server, _)) = d.ends();
        let plain = compose::ip(client, server, 47, &[0x20, 0, 0x08, 0, 0, 0, 0, 7, 1, 2, 3, 4]);
        assert_eq!(d.packet(&plain), NEW);
        let key = d.tracker.dump().next().unwrap().original.l4();
        assert_eq!(key, L4Key::Gre { source: 0, destination: 0 });
        let back = compose::ip(server, client, 47, &[0, 0, 0x08, 0]);
        assert_eq!(d.packet(&back), BACK);
        assert_eq!(d.packet(&plain), FORTH);
        assert_eq!(d.entry(), "180 [ASSURED]");
        let pptp = compose::ip(client, server, 47, &[0x30, 1, 0x88, 0x0b, 0, 4, 0, 9, 1, 2, 3, 4]);
        assert_eq!(d.packet(&pptp), NEW, "another flow: call 9");
        let not_ppp = compose::ip(client, server, 47, &[0x30, 1, 8, 0, 0, 4, 0, 9]);
        assert_eq!(d.packet(&not_ppp), invalid("gre_not_ppp"));
    });
}

#[test]
fn a_protocol_without_a_tracker_has_one_flow_for_each_pair_of_addresses() {
    both(|d| {
        let ((client, _), (server, _)) = d.ends();
        for protocol in [50, 89, 253] {
            assert_eq!(d.packet(&compose::ip(client, server, protocol, b"x")), NEW);
            assert_eq!(d.packet(&compose::ip(server, client, protocol, b"y")), BACK);
        }
        assert_eq!(d.tracker.count(), 3);
        assert!(d.tracker.dump().all(|record| record.timeout == Some(600)));
    });
}

#[test]
fn a_tuple_that_is_its_own_inverse_answers_itself() {
    let mut d = Dialogue::new(false);
    let ((client, _), _) = d.ends();
    let to_itself = compose::udp((client, 7), (client, 7), b"?");
    assert_eq!(d.packet(&to_itself), NEW);
    assert_eq!(d.packet(&to_itself), BACK);
    assert_eq!(d.tracker.count(), 1);
}
