//! PPTP: control connections and the GRE packets of their calls, held against the running kernel.

use super::*;
use testkit::build::{Gre, Transport};

const RULE: &str = "-p tcp --dport 1723 -j CT --helper pptp";

/// Bytes of a message's body, by its kind.
const SIZES: [usize; 16] = [0, 144, 144, 4, 4, 4, 8, 156, 20, 208, 12, 16, 4, 136, 28, 12];

/// A control message; what its body begins with, and zeroes.
fn message(kind: u16, begin: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 99, 0, 1, 0x1a, 0x2b, 0x3c, 0x4d];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(begin);
    bytes.resize(12 + SIZES[usize::from(kind)], 0);
    bytes
}

/// The client's id and the server's.
const IDS: [u16; 2] = [7, 0x0902];

/// Client and server, and by which addresses they know each other, and the client's id.
struct Session {
    talk: Talk,
    id: u16,
}

impl Session {
    fn between(ends: [SocketAddr; 2], known: [SocketAddr; 2], id: u16) -> Session {
        let mut session = Session { talk: Talk::between(ends, known), id };
        session.say(Side::Client, 1, &[]);
        session.say(Side::Server, 2, &[0, 0, 1]);
        session
    }

    fn plain(port: u16) -> Session {
        let ends = [address(CLIENT, Family::V4), address(SERVER, Family::V4)];
        let ends = [SocketAddr::new(ends[0], port), SocketAddr::new(ends[1], 1723)];
        Session::between(ends, ends, IDS[0])
    }

    fn say(&mut self, side: Side, kind: u16, begin: &[u8]) {
        self.talk.segment(side, TCP_ACK | TCP_PSH, &message(kind, begin));
    }

    /// The client calls, and the server answers.
    fn call(&mut self) {
        let [own, server] = IDS.map(u16::to_be_bytes);
        self.say(Side::Client, 7, &own);
        self.say(Side::Server, 8, &[server, self.id.to_be_bytes(), [1, 0]].concat());
    }

    /// A packet of the call.
    fn tunnel(&mut self, from: Side) {
        let [client, server] = self.talk.known.map(|(known, _)| known.ip());
        let (port, source, to, id) = match from {
            Side::Client => (Port::Lan, self.talk.client.ip(), server, IDS[1]),
            Side::Server => (Port::Wan, self.talk.server.ip(), client, self.id),
        };
        let packet = Packet::new(source, to, Transport::Gre(Gre::pptp(id, 1, b"ppp")));
        self.talk.steps.push(Step::new(port, packet.bytes(), 1));
    }

    /// Packets of the call both ways, more than once.
    fn talk_through(&mut self, first: Side, second: Side) {
        for side in [first, second, first, second] {
            self.tunnel(side);
        }
    }
}

#[test]
fn calls_come_from_either_side_and_end_as_they_end_in_the_kernel() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    let ways = [(Side::Client, Side::Server), (Side::Server, Side::Client)];
    let ends: [&[(Side, u16, &[u8])]; 5] = [
        &[(Side::Client, 12, &[0, 7]), (Side::Server, 13, &[9, 2])],
        &[(Side::Server, 13, &[1, 1])],
        &[(Side::Client, 3, &[1]), (Side::Server, 4, &[1])],
        &[(Side::Server, 14, &[0, 7]), (Side::Client, 15, &[0, 7])],
        &[],
    ];
    for (number, end) in ends.into_iter().enumerate() {
        for (first, second) in ways {
            let mut session = Session::plain(3000 + number as u16);
            session.tunnel(first);
            session.call();
            session.call();
            session.talk_through(first, second);
            end.iter().for_each(|(side, kind, begin)| session.say(*side, *kind, begin));
            session.talk_through(second, first);
            // Both are closed: what has come of it ends with the connection.
            session.talk.segment(Side::Client, TCP_RST | TCP_ACK, b"");
            session.talk_through(first, second);
            failures += &hold(&mut judge, RULE, session.talk.steps, &format!("{end:?} {first:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_call_of_the_servers_is_understood_as_the_kernel_understands_it() {
    let Some(mut judge) = judge() else { return };
    let mut session = Session::plain(3000);
    session.say(Side::Server, 9, &[9, 2]);
    session.say(Side::Client, 10, &[0, 7, 9, 2, 1]);
    session.say(Side::Server, 11, &[0, 7]);
    session.talk_through(Side::Server, Side::Client);
    let failures = hold(&mut judge, RULE, session.talk.steps, "");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_new_call_of_another_id_is_refused_while_the_old_one_is_known() {
    let Some(mut judge) = judge() else { return };
    let mut session = Session::plain(3000);
    session.call();
    session.say(Side::Client, 7, &[0, 8]);
    session.say(Side::Server, 8, &[9, 3, 0, 8, 1, 0]);
    session.talk_through(Side::Client, Side::Server);
    session.say(Side::Server, 13, &[9, 3]);
    session.call();
    session.talk_through(Side::Client, Side::Server);
    let failures = hold(&mut judge, RULE, session.talk.steps, "");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn behind_nat_calls_are_told_apart_by_the_clients_ports() {
    const SNAT: &str = "-s 192.168.1.7 -j SNAT --to-source 9.9.9.9";
    let Some(mut judge) = judge() else { return };
    let rules = behind_nat(RULE, "POSTROUTING", [SNAT, ""]);
    let mut failures = String::new();
    for (first, second) in [(Side::Client, Side::Server), (Side::Server, Side::Client)] {
        let server = SocketAddr::new(address(SERVER, Family::V4), 1723);
        let client = SocketAddr::new(address(CLIENT, Family::V4), 3000);
        let known = SocketAddr::new("9.9.9.9".parse().unwrap(), 3000);
        let mut session = Session::between([client, server], [known, server], 3000);
        session.call();
        session.talk_through(first, second);
        session.say(Side::Client, 12, &[0, 7]);
        session.say(Side::Server, 13, &3000_u16.to_be_bytes());
        session.talk_through(first, second);
        let steps = session.talk.steps;
        failures += &hold_under(&mut judge, rules.clone(), steps, &format!("{first:?}"));
    }
    assert!(failures.is_empty(), "{failures}");
}
