//! A rewritten packet verifies as it did, has the tuple it was given, and comes back the same.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stateward_conntrack::{Direction, L4Key, PerDir, Status, Tuple, Zone};
use stateward_wire::checksum::{self, Verification, pseudo_header, verify_transport};
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::{Embedded, Packet, TcpFlags, protocol};

use super::*;
use crate::Manip;

fn address(v6: bool, last: u8) -> IpAddr {
    match v6 {
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::from(last)).into(),
        false => Ipv4Addr::new(192, 0, 2, last).into(),
    }
}

fn tcp(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Vec<u8> {
    compose::tcp(&Tcp {
        source,
        destination,
        sequence: 1,
        acknowledgment: 0,
        flags: TcpFlags::ACK,
        window: 64_240,
        options: &[],
        payload: b"odd",
    })
}

fn echo(v6: bool) -> Vec<u8> {
    compose::icmp(&Icmp {
        source: address(v6, 1),
        destination: address(v6, 2),
        kind: if v6 { 128 } else { 8 },
        code: 0,
        rest: compose::echo(77, 1),
        body: b"ping",
    })
}

/// UDP-Lite that covers its header and one byte.
fn udp_lite(v6: bool) -> Vec<u8> {
    let (source, destination) = (address(v6, 1), address(v6, 2));
    let mut l4 = [0x9c, 0x40, 0x01, 0xbb, 0, 9, 0, 0, b'a', b'b', b'c'];
    let bytes = compose::ip(source, destination, protocol::UDPLITE, &l4);
    let packet = Packet::parse(&bytes).unwrap();
    let sum = pseudo_header(packet.network(), protocol::UDPLITE, l4.len()).bytes(&l4[..9]);
    l4[6..8].copy_from_slice(&sum.checksum().to_be_bytes());
    compose::ip(source, destination, protocol::UDPLITE, &l4)
}

fn pptp(v6: bool) -> Vec<u8> {
    let l4 = [0x30, 0x81, 0x88, 0x0b, 0, 1, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0xff];
    compose::ip(address(v6, 1), address(v6, 2), protocol::GRE, &l4)
}

/// One packet of each protocol that has a key.
fn packets(v6: bool) -> Vec<Vec<u8>> {
    let ends = ((address(v6, 1), 40_000), (address(v6, 2), 443));
    vec![
        tcp(ends.0, ends.1),
        compose::udp(ends.0, ends.1, b"datagram"),
        udp_lite(v6),
        compose::sctp(ends.0, ends.1, 9, &[4, 0, 0, 4]),
        echo(v6),
        pptp(v6),
        compose::ip(ends.0.0, ends.1.0, protocol::ESP, &[0; 8]),
    ]
}

fn tuple(bytes: &[u8]) -> Tuple {
    Tuple::of(&Packet::parse(bytes).unwrap(), Zone::DEFAULT).unwrap()
}

/// The tuple of a packet with other ends.
fn moved(of: &Tuple, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Tuple {
    let l4 = match of.l4() {
        L4Key::Ports { .. } => L4Key::Ports { source: source.1, destination: destination.1 },
        L4Key::Icmp { kind, code, .. } => L4Key::Icmp { kind, code, id: source.1 },
        L4Key::Gre { source, .. } => L4Key::Gre { source, destination: destination.1 },
        L4Key::None => L4Key::None,
    };
    Tuple::new(source.0, destination.0, of.protocol(), l4, of.zone()).unwrap()
}

fn verdict(bytes: &[u8]) -> Verification {
    let packet = Packet::parse(bytes).unwrap();
    verify_transport(&packet, packet.upper().unwrap().protocol)
}

fn apply(bytes: &mut [u8], end: End, target: &Tuple) -> Result<(), Refusal> {
    let layout = Packet::parse(bytes).unwrap().layout();
    rewrite(bytes, layout, Field::Finished, end, target.endpoint(end))
}

#[test]
fn each_end_is_rewritten_alone() {
    for v6 in [false, true] {
        for original in packets(v6) {
            let old = tuple(&original);
            let target = moved(&old, (address(v6, 77), 7), (address(v6, 88), 8));
            let mut bytes = original.clone();
            apply(&mut bytes, End::Source, &target).unwrap();
            let now = tuple(&bytes);
            assert_eq!((now.source(), now.destination()), (target.source(), old.destination()));
            assert_eq!(verdict(&bytes), Verification::Good, "{:?}", old.l4());
            apply(&mut bytes, End::Destination, &target).unwrap();
            assert_eq!(tuple(&bytes), target);
            assert_eq!(verdict(&bytes), Verification::Good, "{:?}", old.l4());
        }
    }
}

#[test]
fn what_is_too_short_is_refused_untouched() {
    let shortest = [
        (protocol::TCP, 8),
        (protocol::UDP, 8),
        (protocol::UDPLITE, 8),
        (protocol::SCTP, 8),
        (protocol::ICMP, 8),
        (protocol::ICMPV6, 8),
        (protocol::GRE, 8),
        (protocol::ESP, 0),
        (protocol::DCCP, 0),
    ];
    for v6 in [false, true] {
        let target = moved(&tuple(&packets(v6)[0]), (address(v6, 7), 7), (address(v6, 8), 8));
        for (protocol, needed) in shortest {
            for length in 0..12 {
                let l4 = [0x11; 12];
                let ends = (address(v6, 1), address(v6, 2));
                let original = compose::ip(ends.0, ends.1, protocol, &l4[..length]);
                let mut bytes = original.clone();
                let done = apply(&mut bytes, End::Source, &target);
                let expected = if length < needed { Err(Refusal::Short) } else { Ok(()) };
                assert_eq!(done, expected, "{length} bytes of protocol {protocol}");
                assert_eq!(bytes == original, done.is_err());
            }
        }
    }
}

#[test]
fn ports_of_eight_quoted_bytes_change_without_a_checksum() {
    let original = packets(false).swap_remove(0);
    let mut bytes = original[..28].to_vec();
    let target = moved(&tuple(&original), (address(false, 7), 7), (address(false, 8), 8));
    let (upper, family) = (Some(Upper { protocol: protocol::TCP, offset: 20 }), Family::V4);
    let mut piece = Piece { bytes: &mut bytes, length: 28, upper, family, field: Field::Finished };
    piece.rewrite(End::Source, target.endpoint(End::Source)).unwrap();
    assert_eq!(bytes[20..24], [0, 7, 0x01, 0xbb]);
}

#[test]
fn a_cut_packet_is_rewritten_as_far_as_it_goes() {
    for (at, cut) in [(0, 28), (1, 26), (3, 30)] {
        let original = packets(false).swap_remove(at);
        let mut bytes = original[..cut].to_vec();
        let layout = Packet::parse_cut(&bytes).unwrap().layout();
        let target = moved(&tuple(&original), (address(false, 7), 7), (address(false, 8), 8));
        rewrite(&mut bytes, layout, Field::Finished, End::Source, target.endpoint(End::Source))
            .unwrap();
        assert_eq!(bytes[20..24], [0, 7, 0x01, 0xbb]);
        assert_eq!(bytes[24..], original[24..cut]);
    }
}

#[test]
fn gre_of_an_unknown_version_cannot_have_its_destination_changed() {
    let target = moved(&tuple(&pptp(false)), (address(false, 7), 7), (address(false, 8), 8));
    for version in 0..8 {
        let l4 = [0x20, version, 0x88, 0x0b, 0, 0, 0x12, 0x34];
        let original = compose::ip(address(false, 1), address(false, 2), protocol::GRE, &l4);
        let mut bytes = original.clone();
        assert_eq!(apply(&mut bytes, End::Source, &target), Ok(()));
        assert_eq!(bytes[20..], l4, "the source's key is not in the header");
        let expected = if version < 2 { Ok(()) } else { Err(Refusal::GreVersion) };
        let mut bytes = original.clone();
        assert_eq!(apply(&mut bytes, End::Destination, &target), expected);
        let call = if version == 1 { [0, 8] } else { [0x12, 0x34] };
        assert_eq!(bytes[26..28], call, "version {version}");
    }
}

#[test]
fn an_unfinished_field_follows_the_addresses_only() {
    for v6 in [false, true] {
        for mut bytes in packets(v6).into_iter().take(2) {
            let packet = Packet::parse(&bytes).unwrap();
            let (layout, upper) = (packet.layout(), packet.upper().unwrap());
            let sum = pseudo_header(packet.network(), upper.protocol, packet.l4_length()).fold();
            let at = upper.offset + if upper.protocol == protocol::TCP { 16 } else { 6 };
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            let target = moved(&tuple(&bytes), (address(v6, 77), 7), (address(v6, 88), 8));
            for end in [End::Source, End::Destination] {
                rewrite(&mut bytes, layout, Field::Unfinished, end, target.endpoint(end)).unwrap();
                assert_eq!(verdict(&bytes), Verification::Unfinished);
            }
            assert_eq!(tuple(&bytes), target);
        }
    }
}

#[test]
fn a_crc_that_a_card_computes_is_left_to_it() {
    let mut bytes = packets(false).swap_remove(3);
    bytes[28..32].fill(0);
    let layout = Packet::parse(&bytes).unwrap().layout();
    let target = moved(&tuple(&bytes), (address(false, 77), 7), (address(false, 88), 8));
    rewrite(&mut bytes, layout, Field::Unfinished, End::Source, target.endpoint(End::Source))
        .unwrap();
    assert_eq!(verdict(&bytes), Verification::Unfinished);
}

#[test]
fn udp_without_a_checksum_stays_without_and_none_gets_lost() {
    let mut bytes = packets(false).swap_remove(1);
    for port in 1..=u16::MAX {
        let target = moved(&tuple(&bytes), (address(false, 1), port), (address(false, 2), 1));
        apply(&mut bytes, End::Source, &target).unwrap();
        assert_eq!(verdict(&bytes), Verification::Good, "port {port}");
    }
    bytes[26..28].fill(0);
    let target = moved(&tuple(&bytes), (address(false, 77), 7), (address(false, 88), 8));
    apply(&mut bytes, End::Source, &target).unwrap();
    assert_eq!(verdict(&bytes), Verification::Zero);
}

#[test]
fn damage_stays_but_a_crc_is_made_anew() {
    for mut bytes in packets(false).into_iter().take(5) {
        let target = moved(&tuple(&bytes), (address(false, 77), 7), (address(false, 88), 8));
        bytes[28] ^= 0x10;
        let sctp = bytes[9] == protocol::SCTP;
        assert_eq!(verdict(&bytes), Verification::Bad);
        apply(&mut bytes, End::Destination, &target).unwrap();
        let expected = if sctp { Verification::Good } else { Verification::Bad };
        assert_eq!(verdict(&bytes), expected);
    }
}

#[test]
fn errors_and_other_messages_have_no_identifier() {
    for (v6, kind) in [(false, 3), (false, 9), (true, 1), (true, 135)] {
        let mut bytes = compose::icmp(&Icmp {
            source: address(v6, 1),
            destination: address(v6, 2),
            kind,
            code: 0,
            rest: [1, 2, 3, 4],
            body: &[0; 48],
        });
        let target = moved(&tuple(&echo(v6)), (address(v6, 7), 7), (address(v6, 8), 8));
        apply(&mut bytes, End::Source, &target).unwrap();
        assert_eq!(verdict(&bytes), Verification::Good);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.source(), &packet.l4()[4..8]), (address(v6, 7), &[1, 2, 3, 4][..]));
    }
}

proptest! {
    /// What a capture or a wrong length has left of it included.
    #[test]
    fn the_short_way_of_tcp_is_the_long_one(
        from in any::<(u8, u16)>(),
        (port, to_port) in any::<(u16, u16)>(),
        (there, stated) in (20..44_usize, 20..44_u16),
        damage in any::<u8>(),
        end in prop_oneof![Just(End::Source), Just(End::Destination)],
    ) {
        let mut bytes = tcp((address(false, from.0), from.1), (address(false, 2), port));
        bytes[36] ^= damage;
        let header = Ipv4Header::view_mut(&mut bytes).unwrap();
        let sum = checksum::update_u16(header.checksum.get(), header.total_length.get(), stated);
        header.total_length.set(stated);
        header.checksum.set(sum);
        bytes.truncate(there);
        let layout = Packet::parse_cut(&bytes).unwrap().layout();
        let to = Endpoint { address: address(false, 77), port: to_port };
        let mut other = bytes.clone();
        let done = plain(&mut bytes, layout, Field::Finished, end, to);
        prop_assert_eq!(done.is_some(), there.min(stated.into()) >= 40);
        if done.is_some() {
            let (upper, family, field) = (layout.upper(), Family::V4, Field::Finished);
            let mut piece = Piece { bytes: &mut other, length: stated.into(), upper, family, field };
            prop_assert_eq!(piece.rewrite(end, to), Ok(()));
        }
        prop_assert_eq!(bytes, other);
    }
}

#[test]
fn a_tuple_of_the_other_family_is_refused_untouched() {
    for v6 in [false, true] {
        let target = tuple(&packets(!v6)[0]);
        for original in packets(v6) {
            let mut bytes = original.clone();
            assert_eq!(apply(&mut bytes, End::Source, &target), Err(Refusal::Network));
            assert_eq!(bytes, original);
        }
    }
}

/// A client behind the gateway's address 99, both translated: it thinks that the server is 50.
struct Bound {
    tuples: PerDir<Tuple>,
    status: Status,
}

const CLIENT: u8 = 1;
const BELIEVED: u8 = 50;
const SERVER: u8 = 2;
const GATEWAY: u8 = 99;
const ROUTER: u8 = 200;

impl Bound {
    fn new(v6: bool) -> Self {
        let sent = tcp((address(v6, CLIENT), 4000), (address(v6, BELIEVED), 80));
        let answered = tcp((address(v6, SERVER), 8080), (address(v6, GATEWAY), 61_000));
        let done = Status::SRC_NAT_DONE | Status::DST_NAT_DONE;
        Bound {
            tuples: PerDir([tuple(&sent), tuple(&answered)]),
            status: done | Status::SRC_NAT | Status::DST_NAT,
        }
    }

    fn related(&self, direction: Direction) -> Related<'_> {
        Related { tuples: &self.tuples, status: self.status, direction }
    }
}

/// An error from `from` about what `quoted` shows.
fn error(v6: bool, ends: (u8, u8), kind: u8, quoted: &[u8]) -> Vec<u8> {
    compose::icmp(&Icmp {
        source: address(v6, ends.0),
        destination: address(v6, ends.1),
        kind,
        code: 0,
        rest: [0; 4],
        body: quoted,
    })
}

fn translate(bytes: &mut [u8], manip: Manip, related: Related<'_>) -> Result<(), Refusal> {
    let layout = Packet::parse(bytes).unwrap().layout();
    icmp_error(bytes, layout, Field::Finished, manip, related)
}

#[test]
fn an_error_about_what_the_server_was_sent_tells_the_client_of_its_own_packet() {
    for (v6, kind) in [(false, 3), (true, 1)] {
        let bound = Bound::new(v6);
        let left = tcp((address(v6, GATEWAY), 61_000), (address(v6, SERVER), 8080));
        let sent = tcp((address(v6, CLIENT), 4000), (address(v6, BELIEVED), 80));
        let mut bytes = error(v6, (ROUTER, GATEWAY), kind, &left);
        let related = bound.related(Direction::Reply);
        // The answer's destination first, in PREROUTING, then its source, in POSTROUTING.
        translate(&mut bytes, Manip::Destination, related).unwrap();
        assert_eq!(verdict(&bytes), Verification::Good);
        translate(&mut bytes, Manip::Source, related).unwrap();
        assert_eq!(verdict(&bytes), Verification::Good);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.destination(), address(v6, CLIENT));
        assert_eq!(packet.source(), address(v6, BELIEVED), "as if the server had sent it");
        assert_eq!(&packet.l4()[8..], sent, "the client's own packet, checksums and all");
    }
}

#[test]
fn an_error_of_the_client_goes_back_to_the_server() {
    for (v6, kind) in [(false, 11), (true, 3)] {
        let bound = Bound::new(v6);
        let came = tcp((address(v6, BELIEVED), 80), (address(v6, CLIENT), 4000));
        let sent = tcp((address(v6, SERVER), 8080), (address(v6, GATEWAY), 61_000));
        let mut bytes = error(v6, (CLIENT, BELIEVED), kind, &came);
        let related = bound.related(Direction::Original);
        translate(&mut bytes, Manip::Destination, related).unwrap();
        translate(&mut bytes, Manip::Source, related).unwrap();
        assert_eq!(verdict(&bytes), Verification::Good);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (packet.source(), packet.destination()),
            (address(v6, GATEWAY), address(v6, SERVER))
        );
        assert_eq!(&packet.l4()[8..], sent);
    }
}

#[test]
fn a_quotation_of_eight_bytes_is_enough() {
    for (v6, kind) in [(false, 3), (true, 1)] {
        let bound = Bound::new(v6);
        let left = tcp((address(v6, GATEWAY), 61_000), (address(v6, SERVER), 8080));
        let header = if v6 { 40 } else { 20 };
        let mut bytes = error(v6, (ROUTER, GATEWAY), kind, &left[..header + 8]);
        translate(&mut bytes, Manip::Destination, bound.related(Direction::Reply)).unwrap();
        assert_eq!(verdict(&bytes), Verification::Good);
        let packet = Packet::parse(&bytes).unwrap();
        let family = if v6 { Family::V6 } else { Family::V4 };
        let quoted = Embedded::parse(&packet.l4()[8..], family).unwrap();
        assert_eq!(quoted.source(), address(v6, CLIENT));
        assert_eq!(quoted.l4()[..4], [0x0f, 0xa0, 0x1f, 0x90]);
    }
}

#[test]
fn a_cut_error_gets_the_checksum_of_the_whole() {
    for (v6, kind) in [(false, 3), (true, 1)] {
        let bound = Bound::new(v6);
        let left = tcp((address(v6, GATEWAY), 61_000), (address(v6, SERVER), 8080));
        let whole = error(v6, (ROUTER, GATEWAY), kind, &left);
        let mut expected = whole.clone();
        let related = bound.related(Direction::Reply);
        translate(&mut expected, Manip::Destination, related).unwrap();
        // The last two bytes, the TCP payload's, are not captured.
        let mut bytes = whole[..whole.len() - 2].to_vec();
        let layout = Packet::parse_cut(&bytes).unwrap().layout();
        icmp_error(&mut bytes, layout, Field::Finished, Manip::Destination, related).unwrap();
        assert_eq!(bytes, expected[..expected.len() - 2]);
    }
}

#[test]
fn only_the_translated_end_of_a_direction_is_touched() {
    let left = tcp((address(false, GATEWAY), 61_000), (address(false, SERVER), 8080));
    let original = error(false, (ROUTER, GATEWAY), 3, &left);
    let done = Status::SRC_NAT_DONE | Status::DST_NAT_DONE;
    let cells = [
        (Status::SRC_NAT, Direction::Original, Manip::Source, true),
        (Status::SRC_NAT, Direction::Original, Manip::Destination, false),
        (Status::SRC_NAT, Direction::Reply, Manip::Source, false),
        (Status::SRC_NAT, Direction::Reply, Manip::Destination, true),
        (Status::DST_NAT, Direction::Original, Manip::Source, false),
        (Status::DST_NAT, Direction::Original, Manip::Destination, true),
        (Status::DST_NAT, Direction::Reply, Manip::Source, true),
        (Status::DST_NAT, Direction::Reply, Manip::Destination, false),
    ];
    for (status, direction, manip, touched) in cells {
        let bound = Bound { status: done | status, ..Bound::new(false) };
        let mut bytes = original.clone();
        translate(&mut bytes, manip, bound.related(direction)).unwrap();
        assert_eq!(bytes != original, touched, "{status:?} {direction:?} {manip:?}");
    }
}

#[test]
fn errors_that_the_kernel_drops_are_refused_untouched() {
    let bound = Bound::new(false);
    let related = bound.related(Direction::Reply);
    let left = tcp((address(false, GATEWAY), 61_000), (address(false, SERVER), 8080));
    let mut damaged = error(false, (ROUTER, GATEWAY), 3, &left);
    damaged[40] ^= 1;
    let redirect = error(false, (ROUTER, GATEWAY), 5, &left);
    let short = error(false, (ROUTER, GATEWAY), 3, &left[..19]);
    let cases = [
        (damaged, Refusal::IcmpChecksum),
        (redirect.clone(), Refusal::Redirect),
        (short, Refusal::Short),
    ];
    for (original, expected) in cases {
        for manip in [Manip::Source, Manip::Destination] {
            let mut bytes = original.clone();
            assert_eq!(translate(&mut bytes, manip, related), Err(expected));
            assert_eq!(bytes, original);
        }
    }
    let bound_at = |status| Related { status, ..related };
    let mut bytes = redirect.clone();
    let one = bound_at(Status::SRC_NAT_DONE);
    assert_eq!(translate(&mut bytes, Manip::Source, one), Err(Refusal::Redirect));
    let both = bound_at(Status::SRC_NAT_DONE | Status::DST_NAT_DONE);
    assert_eq!(translate(&mut bytes, Manip::Source, both), Ok(()));
    assert_eq!(bytes, redirect);
}

#[test]
fn every_refusal_has_its_word() {
    let all = [
        Refusal::Short,
        Refusal::GreVersion,
        Refusal::IcmpChecksum,
        Refusal::Redirect,
        Refusal::Network,
        Refusal::Options,
    ];
    for (index, refusal) in all.into_iter().enumerate() {
        assert_eq!((refusal.index(), refusal.code()), (index, Refusal::CODES[index]));
    }
}

proptest! {
    #[test]
    fn there_and_back_gives_the_same_bytes(
        v6 in any::<bool>(),
        to in any::<[[u8; 16]; 2]>(),
        ports in any::<[u16; 2]>(),
    ) {
        let to = to.map(|to| -> IpAddr {
            if v6 { to.into() } else { [to[0], to[1], to[2], to[3]].into() }
        });
        for original in packets(v6) {
            let old = tuple(&original);
            let target = moved(&old, (to[0], ports[0]), (to[1], ports[1]));
            let mut bytes = original.clone();
            for end in [End::Source, End::Destination] {
                prop_assert_eq!(apply(&mut bytes, end, &target), Ok(()));
                prop_assert_eq!(verdict(&bytes), Verification::Good);
            }
            prop_assert_eq!(tuple(&bytes), target);
            for end in [End::Destination, End::Source] {
                prop_assert_eq!(apply(&mut bytes, end, &old), Ok(()));
            }
            prop_assert_eq!(bytes, original);
        }
    }
}
