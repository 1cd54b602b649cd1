//! Every rewrite leaves a packet that verifies, and one back leaves the packet it was.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::checksum::{Verification, verify_transport};
use crate::compose::{self, Icmp, Tcp};
use crate::{Embedded, Packet, TcpFlags};

/// One packet of each protocol whose checksum an edit has to keep.
fn packets(v6: bool) -> Vec<Vec<u8>> {
    let address = |last: u8| -> IpAddr {
        if v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::from(last)).into()
        } else {
            Ipv4Addr::new(192, 0, 2, last).into()
        }
    };
    let (source, destination) = ((address(1), 40_000), (address(2), 443));
    let kind = if v6 { 128 } else { 8 };
    vec![
        compose::tcp(&Tcp {
            source,
            destination,
            sequence: 1,
            acknowledgment: 0,
            flags: TcpFlags::SYN,
            window: 64_240,
            options: &[2, 4, 5, 0xb4],
            payload: b"odd",
        }),
        compose::udp(source, destination, b"datagram"),
        compose::sctp(source, destination, 9, &[4, 0, 0, 4]),
        compose::icmp(&Icmp {
            source: source.0,
            destination: destination.0,
            kind,
            code: 0,
            rest: compose::echo(77, 1),
            body: b"ping",
        }),
    ]
}

fn verdict(bytes: &[u8]) -> Verification {
    let packet = Packet::parse(bytes).unwrap();
    verify_transport(&packet, packet.upper().unwrap().protocol)
}

fn edit(bytes: &mut [u8]) -> Edit<'_> {
    let layout = Packet::parse(bytes).unwrap().layout();
    Edit::new(bytes, layout)
}

#[test]
fn addresses_of_the_other_family_are_refused() {
    for v6 in [false, true] {
        let other: IpAddr =
            if v6 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        for mut bytes in packets(v6) {
            let before = bytes.clone();
            assert!(!edit(&mut bytes).set_address(End::Source, other));
            assert_eq!(bytes, before);
        }
    }
}

#[test]
fn a_damaged_checksum_stays_damaged_by_as_much() {
    for mut bytes in packets(false) {
        let last = bytes.len() - 1;
        bytes[last] ^= 0x10;
        assert_eq!(verdict(&bytes), Verification::Bad);
        let mut edit = edit(&mut bytes);
        assert!(edit.set_address(End::Source, Ipv4Addr::new(10, 0, 0, 1).into()));
        bytes[last] ^= 0x10;
        assert_eq!(verdict(&bytes), Verification::Good);
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let mut bytes = packets(false).swap_remove(1);
    bytes[26..28].copy_from_slice(&[0, 0]);
    let mut edit = edit(&mut bytes);
    assert!(edit.set_port(End::Source, 9));
    assert!(edit.set_address(End::Source, Ipv4Addr::new(10, 0, 0, 1).into()));
    assert_eq!(verdict(&bytes), Verification::Zero);
}

#[test]
fn no_port_makes_a_udp_checksum_vanish() {
    for v6 in [false, true] {
        let mut bytes = packets(v6).swap_remove(1);
        for port in 1..=u16::MAX {
            assert!(edit(&mut bytes).set_port(End::Destination, port));
            assert_eq!(verdict(&bytes), Verification::Good, "port {port}");
        }
    }
}

#[test]
fn an_unfinished_field_follows_the_addresses_only() {
    for v6 in [false, true] {
        for mut bytes in packets(v6).into_iter().take(2) {
            let packet = Packet::parse(&bytes).unwrap();
            let upper = packet.upper().unwrap();
            let sum = checksum::pseudo_header(packet.network(), upper.protocol, packet.l4_length());
            let slot = checksum_field(&mut bytes[upper.offset..], upper.protocol).unwrap();
            slot.set(sum.fold());
            let to: IpAddr =
                if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            let mut edit = edit(&mut bytes).with_field(Field::Unfinished);
            assert!(edit.set_address(End::Destination, to));
            assert!(edit.set_port(End::Destination, 8080));
            assert_eq!(verdict(&bytes), Verification::Unfinished);
        }
    }
}

#[test]
fn ttl_goes_down_to_zero_and_no_further() {
    for v6 in [false, true] {
        for mut bytes in packets(v6) {
            for expected in (0..64).rev() {
                assert_eq!(edit(&mut bytes).decrement_ttl(), Some(expected));
                assert_eq!(Packet::parse(&bytes).unwrap().ttl(), expected);
            }
            assert_eq!(edit(&mut bytes).decrement_ttl(), None);
            assert_eq!(verdict(&bytes), Verification::Good);
        }
    }
}

#[test]
fn eight_quoted_bytes_are_enough_for_ports() {
    for v6 in [false, true] {
        for bytes in packets(v6).into_iter().take(3) {
            let header = if v6 { 40 } else { 20 };
            let mut quoted = bytes[..header + 8].to_vec();
            let family = if v6 { Family::V6 } else { Family::V4 };
            let layout = Embedded::parse(&quoted, family).unwrap().layout();
            assert!(Edit::new(&mut quoted, layout).set_port(End::Destination, 0x1234));
            let embedded = Embedded::parse(&quoted, family).unwrap();
            assert_eq!(embedded.l4().get(2..4), Some(&[0x12, 0x34][..]));
        }
    }
}

#[test]
fn icmp_errors_have_no_identifier() {
    for (v6, kind) in [(false, 3), (false, 12), (true, 1), (true, 135)] {
        let mut bytes = packets(v6).swap_remove(3);
        bytes[offset(v6)] = kind;
        let before = bytes.clone();
        assert!(!edit(&mut bytes).set_port(End::Source, 1));
        assert_eq!(bytes, before, "type {kind}");
    }
}

#[test]
fn protocols_without_ports_refuse_them() {
    let (a, b) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let mut bytes = compose::ipv4(a, b, protocol::ESP, &[0; 8]);
    let before = bytes.clone();
    assert!(!edit(&mut bytes).set_port(End::Source, 1));
    assert_eq!(bytes, before);
}

proptest! {
    #[test]
    fn edits_keep_checksums_and_undo(
        v6 in any::<bool>(),
        to in any::<[u8; 16]>(),
        port in 1_u16..,
        ends in any::<[bool; 2]>(),
    ) {
        let [address_end, port_end] =
            ends.map(|source| if source { End::Source } else { End::Destination });
        let to: IpAddr = if v6 { to.into() } else { [to[0], to[1], to[2], to[3]].into() };
        for original in packets(v6) {
            let mut bytes = original.clone();
            let packet = Packet::parse(&original).unwrap();
            let (l4, upper) = (packet.l4(), packet.upper().unwrap());
            let icmp = matches!(upper.protocol, protocol::ICMP | protocol::ICMPV6);
            let (old_address, at) = match address_end {
                End::Source => (packet.source(), 0),
                End::Destination => (packet.destination(), 2),
            };
            let at = if icmp { 4 } else if address_end == port_end { at } else { 2 - at };
            let old_port = u16::from_be_bytes([l4[at], l4[at + 1]]);

            prop_assert!(edit(&mut bytes).set_address(address_end, to));
            prop_assert!(edit(&mut bytes).set_port(port_end, port));
            prop_assert_eq!(verdict(&bytes), Verification::Good);
            let packet = Packet::parse(&bytes).unwrap();
            let now = match address_end {
                End::Source => packet.source(),
                End::Destination => packet.destination(),
            };
            prop_assert_eq!(now, to);
            prop_assert_eq!(&packet.l4()[at..at + 2], &port.to_be_bytes()[..]);

            prop_assert!(edit(&mut bytes).set_port(port_end, old_port));
            prop_assert!(edit(&mut bytes).set_address(address_end, old_address));
            prop_assert_eq!(bytes, original);
        }
    }
}

#[test]
fn the_type_of_service_is_set_and_nothing_else() {
    for v6 in [false, true] {
        for before in packets(v6) {
            let mut bytes = before.clone();
            for tos in [0xff, 0x10, 0] {
                assert!(edit(&mut bytes).set_tos(tos));
                // The IPv4 header's checksum is right.
                assert_eq!(Packet::parse(&bytes).unwrap().tos(), tos);
            }
            assert_eq!(bytes, before);
        }
    }
}

#[test]
fn what_is_set_in_the_upper_layer_is_summed() {
    for v6 in [false, true] {
        let mut bytes = packets(v6).remove(0);
        assert!(edit(&mut bytes).set_upper(12, 0x60c2));
        assert_eq!(verdict(&bytes), Verification::Good);
        let beyond = bytes.len();
        assert!(!edit(&mut bytes).set_upper(beyond, 0));
        for (within, value) in [(20, 1), (21, 1), (26, 0xab)] {
            assert!(edit(&mut bytes).set_upper_byte(within, value));
            assert_eq!((bytes[offset(v6) + within], verdict(&bytes)), (value, Verification::Good));
        }
    }
}

/// Where the upper layer begins.
fn offset(v6: bool) -> usize {
    if v6 { 40 } else { 20 }
}

#[test]
fn an_option_is_put_in_and_summed() {
    for v6 in [false, true] {
        let mut bytes = packets(v6).remove(0);
        let (before, l4) = (bytes.clone(), offset(v6));
        assert!(edit(&mut bytes).insert_tcp_option([1; 4]).is_none());
        assert_eq!(bytes, before, "without room nothing is done");
        let layout = Packet::parse(&bytes).unwrap().layout();
        bytes.extend([0xee; 6]);
        let longer = Edit::new(&mut bytes, layout).insert_tcp_option([2, 4, 1, 2]).unwrap();
        assert_eq!(longer.length(), before.len() + 4);
        bytes.truncate(longer.length());
        assert_eq!(Packet::parse(&bytes).unwrap().layout(), longer);
        assert_eq!(verdict(&bytes), Verification::Good);
        assert_eq!(&bytes[l4 + 20..l4 + 24], [2, 4, 1, 2]);
        assert_eq!(&bytes[l4 + 24..], &before[l4 + 20..]);
    }
}

#[test]
fn a_payload_becomes_longer_and_shorter_and_is_summed_anew() {
    for v6 in [false, true] {
        for (at, before) in packets(v6).into_iter().take(2).enumerate() {
            let data = before.len() - if at == 0 { 3 } else { 8 };
            for with in [&b""[..], b"x", b"longer than it was"] {
                let mut bytes = before.clone();
                let layout = Packet::parse(&bytes).unwrap().layout();
                bytes.resize(before.len() + 20, 0xee);
                let mut edit = Edit::new(&mut bytes, layout);
                let new = edit.replace_payload(data + 1..data + 3, with).unwrap();
                assert_eq!(new.length(), before.len() - 2 + with.len());
                bytes.truncate(new.length());
                assert_eq!(Packet::parse(&bytes).unwrap().layout(), new);
                assert_eq!(verdict(&bytes), Verification::Good);
                let payload = [&before[data..data + 1], with, &before[data + 3..]].concat();
                assert_eq!(&bytes[data..], payload);
            }
            let mut bytes = before.clone();
            assert_eq!(edit(&mut bytes).replace_payload(data..data + 1, b"no room"), None);
            assert_eq!(edit(&mut bytes).replace_payload(data..before.len() + 1, b""), None);
            assert_eq!(bytes, before);
        }
    }
}

#[test]
fn what_was_left_to_the_card_is_summed_up() {
    for v6 in [false, true] {
        for good in packets(v6).drain(..2) {
            let mut bytes = good.clone();
            let packet = Packet::parse(&bytes).unwrap();
            let protocol = packet.upper().unwrap().protocol;
            let pseudo = checksum::pseudo_header(packet.network(), protocol, packet.l4_length());
            let field = offset(v6) + if protocol == protocol::TCP { 16 } else { 6 };
            bytes[field..field + 2].copy_from_slice(&pseudo.fold().to_be_bytes());
            assert_eq!(verdict(&bytes), Verification::Unfinished);
            edit(&mut bytes).with_field(Field::Unfinished).finish();
            assert_eq!(bytes, good);
        }
    }
}
