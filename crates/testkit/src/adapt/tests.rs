//! An adapted packet is the one that would have been built for its other ends.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::build::{Checksum, Chunk, Packet, Sctp, TCP_ACK, TCP_SYN, Transport, fragments};

/// A client, the server it speaks to, the machine in whose name it goes out, and the server behind.
fn ends(v6: bool) -> [SocketAddr; 4] {
    match v6 {
        false => ["192.168.1.10:40000", "203.0.113.1:80", "192.168.1.1:1024", "192.168.1.12:8080"],
        true => ["[fd00:1::10]:40000", "[fd00:2::1]:80", "[fd00:1::1]:1024", "[fd00:1::12]:8080"],
    }
    .map(|text| text.parse().unwrap())
}

fn ip(at: [SocketAddr; 4]) -> [IpAddr; 4] {
    at.map(|end| end.ip())
}

/// Views after a question that was translated on its way.
fn views(question: &Packet, arrived: &Packet) -> Views {
    let mut views = Views::default();
    views.note(&question.bytes(), Some((Port::Lan, &arrived.bytes())));
    views
}

fn sctp(from: SocketAddr, to: SocketAddr, checksum: Checksum) -> Packet {
    let sctp = Sctp {
        source_port: from.port(),
        destination_port: to.port(),
        tag: 7,
        chunks: vec![Chunk::new(3, &[1, 2, 3])],
        checksum,
    };
    Packet::new(from.ip(), to.ip(), Transport::Sctp(sctp))
}

#[test]
fn answers_go_where_the_question_came_from() {
    for v6 in [false, true] {
        let [client, server, outside, inside] = ends(v6);
        let tcp = |from, to| Packet::tcp(from, to, TCP_SYN | TCP_ACK, 7, 8).payload(&[9; 11]);
        let udp = |from, to| Packet::udp(from, to, &[9; 11]);
        let sctp = |from, to| sctp(from, to, Checksum::Right);
        let make: [&dyn Fn(_, _) -> Packet; 3] = [&tcp, &udp, &sctp];
        for packet in make {
            let views = views(&packet(client, server), &packet(outside, inside));
            let said = packet(server, client).bytes();
            let (port, bytes) = views.adapt(Port::Local, &said, Manner::Adapted);
            assert_eq!((port, bytes), (Port::Lan, packet(inside, outside).bytes()));
            let as_is = views.adapt(Port::Local, &said, Manner::AsIs);
            assert_eq!(as_is, (Port::Local, said.clone()));
            let next = SocketAddr::new(outside.ip(), outside.port() + 1);
            let (_, bytes) = views.adapt(Port::Local, &said, Manner::Elsewhere);
            assert_eq!(bytes, packet(inside, next).bytes());
            let other = packet(server, outside).bytes();
            assert_eq!(views.adapt(Port::Wan, &other, Manner::Adapted), (Port::Wan, other));
        }
    }
}

#[test]
fn identifiers_are_those_that_arrived() {
    for (v6, [asks, answers]) in [(false, [8, 0]), (true, [128, 129])] {
        let [client, server, outside, inside] = ip(ends(v6));
        let question = Packet::icmp(client, server, asks, 0, 77, 1);
        let views = views(&question, &Packet::icmp(outside, inside, asks, 0, 4711, 1));
        let said = Packet::icmp(server, client, answers, 0, 77, 1).bytes();
        let right = Packet::icmp(inside, outside, answers, 0, 4711, 1).bytes();
        assert_eq!(views.adapt(Port::Local, &said, Manner::Adapted), (Port::Lan, right));
    }
}

#[test]
fn errors_quote_what_arrived() {
    for v6 in [false, true] {
        let [client, server, outside, inside] = ends(v6);
        let (question, arrived) =
            (Packet::udp(client, server, &[5; 9]), Packet::udp(outside, inside, &[5; 9]));
        let views = views(&question, &arrived);
        let error = |teller, hearer: SocketAddr, about: &Packet| {
            Packet::icmp_error(teller, hearer.ip(), if v6 { 1 } else { 3 }, 4, &about.bytes())
        };
        let said = error(server.ip(), client, &question).bytes();
        let (port, bytes) = views.adapt(Port::Wan, &said, Manner::Adapted);
        assert_eq!((port, bytes), (Port::Lan, error(inside.ip(), outside, &arrived).bytes()));
        let router = third(server.ip());
        let said = error(router, client, &question).bytes();
        let (port, bytes) = views.adapt(Port::Wan, &said, Manner::Adapted);
        assert_eq!((port, bytes), (Port::Wan, error(router, outside, &arrived).bytes()));
    }
}

#[test]
fn pieces_are_adapted_as_their_whole() {
    for v6 in [false, true] {
        let [client, server, outside, inside] = ends(v6);
        let tcp = |from, to| Packet::tcp(from, to, TCP_ACK, 7, 8).payload(&[9; 40]);
        let views = views(&tcp(client, server), &tcp(outside, inside));
        let adapted = |piece: Vec<u8>| views.adapt(Port::Local, &piece, Manner::Adapted).1;
        let said = fragments(&tcp(server, client).bytes(), 16, 5);
        let pieces: Vec<_> = said.into_iter().map(adapted).collect();
        assert_eq!(pieces, fragments(&tcp(inside, outside).bytes(), 16, 5));
    }
}

#[test]
fn what_was_wrong_stays_wrong() {
    let [client, server, outside, inside] = ends(false);
    let views =
        views(&sctp(client, server, Checksum::Wrong), &sctp(outside, inside, Checksum::Wrong));
    let said = sctp(server, client, Checksum::Wrong).bytes();
    let bytes = views.adapt(Port::Wan, &said, Manner::Adapted).1;
    assert_eq!(bytes.get(28..32), said.get(28..32));
    assert_ne!(bytes, sctp(inside, outside, Checksum::Right).bytes());
}

#[test]
fn a_socket_gets_only_what_it_sends() {
    let [client, server, outside, inside] = ends(false);
    let udp = |from, to| Packet::udp(from, to, &[1, 2, 3]);
    let mut views = Views::default();
    let (question, arrived) = (udp(client, server).bytes(), udp(outside, inside).bytes());
    views.note(&question, Some((Port::Local, &arrived)));
    let said = udp(server, client);
    let (port, _) = views.adapt(Port::Wan, &said.bytes(), Manner::Adapted);
    assert_eq!(port, Port::Local);
    let cut = Packet { cut: Some(29), ..said }.bytes();
    assert_eq!(views.adapt(Port::Wan, &cut, Manner::Adapted), (Port::Wan, cut));
}

#[test]
fn what_arrives_longer_is_acknowledged_as_it_arrived() {
    let [client, server, outside, inside] = ends(false);
    let said = Packet::tcp(client, server, TCP_ACK, 100, 0).payload(&[1; 10]);
    let arrived = Packet::tcp(outside, inside, TCP_ACK, 100, 0).payload(&[1; 13]);
    let mut views = views(&said, &arrived);
    // Something older that had not grown yet.
    let old = |from, to| Packet::tcp(from, to, TCP_ACK, 90, 0).payload(&[1; 10]);
    views.note(&old(client, server).bytes(), Some((Port::Lan, &old(outside, inside).bytes())));
    let answer = |from, to, ack| Packet::tcp(from, to, TCP_ACK, 7, ack).bytes();
    let (_, bytes) = views.adapt(Port::Lan, &answer(server, client, 110), Manner::Adapted);
    assert_eq!(bytes, answer(inside, outside, 113));
}

#[test]
fn who_was_told_of_a_listener_connects_to_where_it_was_said_to_be() {
    let [client, server, outside, _] = ends(false);
    let told = SocketAddr::new(outside.ip(), 5000);
    let mut views = Views::default();
    let own = SocketAddr::new(client.ip(), 1025);
    views.listens(6, own, told);
    let data = |to| Packet::tcp(server, to, TCP_SYN, 7, 0).bytes();
    let adapted = views.adapt(Port::Wan, &data(own), Manner::Adapted);
    assert_eq!(adapted, (Port::Wan, data(told)));
    let other = data(SocketAddr::new(client.ip(), 1026));
    assert_eq!(views.adapt(Port::Wan, &other, Manner::Adapted), (Port::Wan, other));
}
