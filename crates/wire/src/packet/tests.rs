//! What is a packet, how long is it, where does its upper layer start.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::{compose, protocol};

const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

fn ipv4() -> Vec<u8> {
    compose::ipv4(A4, B4, protocol::UDP, &[0, 1, 0, 2, 0, 8, 0, 0])
}

/// An IPv6 packet whose payload is `chain`, the first header of which is `first`.
fn ipv6(first: u8, chain: &[u8]) -> Vec<u8> {
    compose::ipv6(A6, B6, first, chain)
}

/// Sets bytes of an IPv4 header and makes its checksum right again.
fn with(mut bytes: Vec<u8>, at: usize, values: &[u8]) -> Vec<u8> {
    bytes[at..at + values.len()].copy_from_slice(values);
    bytes[10..12].copy_from_slice(&[0, 0]);
    let length = usize::from(bytes[0] & 15) * 4;
    let checksum = checksum::of(bytes.get(..length).unwrap_or(&bytes));
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn upper(bytes: &[u8]) -> Option<(u8, usize)> {
    Packet::parse(bytes).unwrap().upper().map(|upper| (upper.protocol, upper.offset))
}

fn refusal(bytes: &[u8]) -> Malformed {
    Packet::parse(bytes).unwrap_err()
}

#[test]
fn a_packet_fits_in_48_bytes() {
    assert_eq!(size_of::<Packet<'_>>(), 48);
}

#[test]
fn a_plain_packet_is_read_whole() {
    let bytes = ipv4();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.source(), IpAddr::V4(A4));
    assert_eq!(packet.destination(), IpAddr::V4(B4));
    assert_eq!((packet.length(), packet.l4_length(), packet.l4().len()), (28, 8, 8));
    assert_eq!((packet.ttl(), packet.tos(), packet.family()), (64, 0, Family::V4));
    assert!(!packet.is_cut() && packet.fragment().is_none());
    let again = Packet::with_layout(&bytes, packet.layout()).unwrap();
    assert_eq!((again.layout(), again.l4()), (packet.layout(), packet.l4()));
}

#[test]
fn each_refusal_has_its_reason() {
    let good = ipv4();
    assert_eq!(refusal(&[]), Malformed::TooShort);
    assert_eq!(refusal(&good[..19]), Malformed::TooShort);
    assert_eq!(refusal(&ipv6(17, &[])[..39]), Malformed::TooShort);
    assert_eq!(refusal(&with(good.clone(), 0, &[0x55])), Malformed::Version);
    assert_eq!(refusal(&with(good.clone(), 0, &[0x44])), Malformed::HeaderLength);
    assert_eq!(refusal(&with(good.clone(), 0, &[0x4f])), Malformed::TooShort);
    assert_eq!(refusal(&with(good.clone(), 2, &[0, 19])), Malformed::Length);
    assert_eq!(refusal(&with(good.clone(), 2, &[0, 0])), Malformed::Length);
    assert_eq!(refusal(&with(good.clone(), 2, &[0, 29])), Malformed::Truncated);
    assert_eq!(refusal(&ipv6(17, &[0; 8])[..47]), Malformed::Truncated);
    let mut damaged = good;
    damaged[8] ^= 1;
    assert_eq!(refusal(&damaged), Malformed::HeaderChecksum);
    assert!(Packet::parse_trusted(&damaged).is_ok());
    for reason in Malformed::ALL {
        assert!(!reason.describe().is_empty());
    }
}

#[test]
fn padding_is_trimmed() {
    for mut bytes in [ipv4(), ipv6(17, &[0; 8])] {
        let length = bytes.len();
        bytes.resize(length + 18, 0xee);
        assert_eq!(Packet::parse(&bytes).unwrap().bytes().len(), length);
        assert_eq!(Packet::parse(&bytes).unwrap().l4().len(), 8);
    }
}

#[test]
fn a_capture_may_be_cut_or_hold_a_superpacket() {
    for bytes in [ipv4(), ipv6(17, &[0; 8])] {
        let packet = Packet::parse_cut(&bytes[..bytes.len() - 3]).unwrap();
        assert!(packet.is_cut());
        assert_eq!((packet.l4_length(), packet.l4().len()), (8, 5));
    }
    let mut long = vec![0; 70_000];
    long[..20].copy_from_slice(&with(ipv4(), 2, &[0, 0])[..20]);
    let packet = Packet::parse_cut(&long).unwrap();
    assert_eq!((packet.length(), packet.l4_length()), (70_000, 69_980));
    long[..40].copy_from_slice(&ipv6(6, &[]));
    assert_eq!(Packet::parse_cut(&long).unwrap().l4_length(), 69_960);
    assert_eq!(Packet::parse(&long).unwrap().l4_length(), 0);
}

#[test]
fn a_captured_header_checksum_of_zero_was_left_to_the_card() {
    let mut bytes = ipv4();
    bytes[10..12].copy_from_slice(&[0, 0]);
    assert_eq!(refusal(&bytes), Malformed::HeaderChecksum);
    assert!(Packet::parse_cut(&bytes).is_ok());
    bytes[10] = 1;
    assert_eq!(Packet::parse_cut(&bytes).unwrap_err(), Malformed::HeaderChecksum);
}

#[test]
fn options_move_the_upper_layer() {
    let mut bytes = ipv4();
    bytes.splice(20..20, [148, 4, 0, 0]);
    let bytes = with(with(bytes, 0, &[0x46]), 2, &[0, 32]);
    assert_eq!(upper(&bytes), Some((protocol::UDP, 24)));
    let mut options = crate::ipv4::options(&bytes);
    assert_eq!(options.next().map(|option| (option.kind, option.data)), Some((148, &[0, 0][..])));
    assert_eq!(options.next(), None);
}

#[test]
fn ipv4_fragments_say_so_and_only_the_first_has_an_upper_layer() {
    let first = with(ipv4(), 4, &[0xab, 0xcd, 0x20, 0]);
    let packet = Packet::parse(&first).unwrap();
    let expected = Fragment { id: 0xabcd, offset: 0, more: true, df: false };
    assert_eq!(packet.fragment(), Some(expected));
    assert!(packet.upper().is_some());

    let later = with(ipv4(), 4, &[0xab, 0xcd, 0x40, 3]);
    let packet = Packet::parse(&later).unwrap();
    let expected = Fragment { id: 0xabcd, offset: 24, more: false, df: true };
    assert_eq!(packet.fragment(), Some(expected));
    assert_eq!((packet.upper(), packet.l4(), packet.l4_length()), (None, &[][..], 0));
}

#[test]
fn ipv4_authentication_and_esp_are_upper_layers() {
    for protocol in [protocol::AH, protocol::ESP, protocol::FRAGMENT, protocol::HOP_BY_HOP] {
        assert_eq!(upper(&compose::ipv4(A4, B4, protocol, &[0; 24])), Some((protocol, 20)));
    }
}

#[test]
fn ipv6_chains_are_walked_as_conntrack_walks_them() {
    /// The first header, the chain, what is found.
    type Case<'a> = (u8, &'a [u8], Option<(u8, usize)>);
    let udp_at = |offset| Some((protocol::UDP, offset));
    let cases: [Case<'_>; 14] = [
        (17, &[0; 8], udp_at(40)),
        (50, &[0; 8], Some((protocol::ESP, 40))),
        (59, &[0; 8], None),
        (0, &[17, 0, 0, 0, 0, 0, 0, 0, 9], udp_at(48)),
        (60, &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], udp_at(56)),
        (43, &[60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0], udp_at(56)),
        // Authentication headers count in fours: (1 + 2) * 4.
        (51, &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], udp_at(52)),
        (44, &[17, 0, 0, 1, 0, 0, 0, 7], udp_at(48)),
        (44, &[17, 0, 0, 0x08, 0, 0, 0, 7], None),
        // A second fragment header counts as the first does.
        (44, &[44, 0, 0, 0, 0, 0, 0, 7, 17, 0, 0, 8, 0, 0, 0, 1], None),
        (0, &[59, 0, 0, 0, 0, 0, 0, 0], None),
        (0, &[17], None),
        // Nothing is read beyond the two bytes that say how far to go,
        (0, &[17, 9], udp_at(40 + 80)),
        // nor beyond the offset of a fragment header.
        (44, &[17, 0, 0, 0], udp_at(48)),
    ];
    for (first, chain, expected) in cases {
        assert_eq!(upper(&ipv6(first, chain)), expected, "{first} {chain:?}");
    }
}

#[test]
fn an_offset_past_the_end_gives_an_empty_upper_layer() {
    let bytes = ipv6(0, &[17, 9]);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.l4(), packet.l4_length()), (&[][..], 0));
}

#[test]
fn ipv6_fragments_are_found_behind_other_headers() {
    let chain = [44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 5, 0xb9, 0, 0, 1, 0, 1, 2, 3];
    let bytes = ipv6(0, &chain);
    let packet = Packet::parse(&bytes).unwrap();
    let expected = Fragment { id: 256, offset: 0x5b8, more: true, df: false };
    assert_eq!(packet.fragment(), Some(expected));
    assert_eq!(packet.fragment_header(), Some(48));
    assert_eq!(packet.upper(), None);
    let place = ipv6::skip_extensions(&bytes, 0).fragment.unwrap();
    assert_eq!((place.offset, place.announced), (48, 40));
}

#[test]
fn a_cut_fragment_header_has_a_place_but_says_nothing() {
    for length in 0..8 {
        let bytes = ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 7][..length]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.fragment_header(), packet.fragment()), (Some(40), None), "{length}");
    }
    let bytes = ipv6(0, &[44, 9]);
    assert_eq!(Packet::parse(&bytes).unwrap().fragment_header(), None);
}

#[test]
fn a_payload_length_of_zero_before_hop_by_hop_options_means_all_bytes() {
    let mut bytes = ipv6(0, &[17, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    bytes[4..6].copy_from_slice(&[0, 0]);
    assert_eq!(Packet::parse(&bytes).unwrap().l4_length(), 4);
}

/// Every header that differs from a good one in one byte, its checksum kept or made right, with
/// bytes missing and beyond.
#[test]
fn what_is_plain_every_door_reads_alike() {
    let same = |one: &Packet<'_>, other: &Packet<'_>| {
        one.bytes() == other.bytes() && one.layout() == other.layout()
    };
    let good = with(ipv4(), 6, &[0x40, 0]);
    let mut plain = 0;
    for (at, value) in (0..20).flat_map(|at| (0..=255).map(move |value| (at, value))) {
        let mut kept = good.clone();
        kept[at] = value;
        for bytes in [kept, with(good.clone(), at, &[value])] {
            let padded = [&bytes[..], &[0; 4]].concat();
            for bytes in [&bytes[..], &padded, &bytes[..bytes.len() - 1], &bytes[..19]] {
                let Some(packet) = Packet::parse_plain(bytes) else { continue };
                plain += 1;
                let wire = Packet::parse(bytes).unwrap();
                let local = Packet::parse_trusted(bytes).unwrap();
                let capture = Packet::parse_cut(bytes).unwrap();
                for door in [wire, local, capture] {
                    assert!(same(&packet, &door), "{at} {value} {bytes:?}");
                }
            }
        }
    }
    assert!(plain > 2_000, "{plain}");
}
