//! The sum against its definition, increments against the whole, verdicts by their claims.

use core::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::compose::{self, Tcp};
use crate::{TcpFlags, protocol};

/// RFC 1071 taken literally: sixteen bits at a time, carries added at the end.
fn by_definition(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// CRC32c taken literally: a bit at a time.
fn crc32c_by_definition(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn address(v6: bool, last: u8) -> IpAddr {
    if v6 {
        IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, last])
    } else {
        IpAddr::from([192, 0, 2, last])
    }
}

fn tcp_packet(v6: bool, payload: &[u8]) -> Vec<u8> {
    compose::tcp(&Tcp {
        source: (address(v6, 1), 40_000),
        destination: (address(v6, 2), 443),
        sequence: 1,
        acknowledgment: 2,
        flags: TcpFlags::ACK,
        window: 512,
        options: &[],
        payload,
    })
}

fn verdict(bytes: &[u8]) -> Verification {
    let packet = Packet::parse_cut(bytes).unwrap();
    verify_transport(&packet, packet.upper().unwrap().protocol)
}

#[test]
fn sum_of_the_rfc_1071_example() {
    assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
}

#[test]
fn sum_is_zero_only_for_zeros() {
    assert_eq!(Sum::of(&[0; 64]).fold(), 0);
    assert_eq!(Sum::of(&[0xff; 64]).fold(), 0xffff);
    assert_eq!(Sum::of(&[0xff; 65_534]).fold(), 0xffff);
    assert_eq!(Sum::of(&[]).fold(), 0);
}

#[test]
fn carries_out_of_64_bits_come_back() {
    let sum = Sum(u64::MAX).plus(Sum(u64::MAX)).plus(Sum(1));
    // u64::MAX is a multiple of 0xffff, so all that is left is the 1, in network order.
    assert_eq!(sum.fold(), 1_u16.to_be());
}

#[test]
fn crc32c_of_the_rfc_3720_examples() {
    assert_eq!(crc32c_by_definition(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c_by_definition(b"123456789"), 0xe306_9283);
}

#[test]
fn udp_zero_is_sent_as_all_ones() {
    assert_eq!(udp(0), 0xffff);
    assert_eq!(udp(7), 7);
}

#[test]
fn tcp_left_to_the_network_card_is_unfinished_with_or_without_its_length() {
    for v6 in [false, true] {
        let mut bytes = tcp_packet(v6, b"payload");
        assert_eq!(verdict(&bytes), Verification::Good);
        let packet = Packet::parse(&bytes).unwrap();
        let (offset, length) = (packet.upper().unwrap().offset, packet.l4_length());
        let network = packet.network();
        let sums = [length, 0].map(|length| pseudo_header(network, protocol::TCP, length).fold());
        for field in sums {
            bytes[offset + 16..offset + 18].copy_from_slice(&field.to_be_bytes());
            assert_eq!(verdict(&bytes), Verification::Unfinished);
        }
        bytes[offset + 16] ^= 0x55;
        assert_eq!(verdict(&bytes), Verification::Bad);
    }
}

#[test]
fn cut_packets_and_later_fragments_are_unverifiable() {
    let bytes = tcp_packet(false, b"payload");
    assert_eq!(verdict(&bytes[..bytes.len() - 1]), Verification::Unverifiable);
    let mut later = bytes.clone();
    later[7] = 1;
    later[10..12].copy_from_slice(&[0, 0]);
    let packet = Packet::parse_cut(&later).unwrap();
    assert_eq!(verify_transport(&packet, protocol::TCP), Verification::Unverifiable);
}

#[test]
fn udp_may_do_without_and_counts_what_its_length_leaves_out() {
    let (source, destination) = ((address(false, 1), 5353), (address(false, 2), 53));
    let mut bytes = compose::udp(source, destination, b"question");
    assert_eq!(verdict(&bytes), Verification::Good);
    // The kernel sums the IP payload, so a shorter UDP length makes a right checksum wrong.
    bytes[25] -= 2;
    assert_eq!(verdict(&bytes), Verification::Bad);
    bytes[26..28].copy_from_slice(&[0, 0]);
    assert_eq!(verdict(&bytes), Verification::Zero);
}

#[test]
fn sctp_zero_is_unfinished() {
    let (source, destination) = ((address(true, 1), 2905), (address(true, 2), 2905));
    let mut bytes = compose::sctp(source, destination, 7, &[4, 0, 0, 8, 0, 1, 0, 4]);
    assert_eq!(verdict(&bytes), Verification::Good);
    bytes[40 + 8] ^= 1;
    assert_eq!(verdict(&bytes), Verification::Bad);
    bytes[48..52].copy_from_slice(&[0; 4]);
    assert_eq!(verdict(&bytes), Verification::Unfinished);
}

#[test]
fn an_icmp_message_of_zeroes_sums_up() {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (address(false, 1), address(false, 2)) else { return };
    let icmp = |message: [u8; 12]| verdict(&compose::ipv4(a, b, protocol::ICMP, &message));
    assert_eq!(icmp([0; 12]), Verification::Good);
    assert_eq!(icmp([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Verification::Bad);
}

#[test]
fn gre_is_checked_only_where_it_says_so() {
    let gre = |header: [u8; 8]| match (address(false, 1), address(false, 2)) {
        (IpAddr::V4(a), IpAddr::V4(b)) => compose::ipv4(a, b, protocol::GRE, &header),
        _ => unreachable!(),
    };
    let plain = [0x00, 0, 8, 0, 1, 2, 3, 4];
    assert_eq!(verdict(&gre(plain)), Verification::Good);
    let mut checked = [0x80, 0, 8, 0, 0, 0, 0, 0];
    assert_eq!(verdict(&gre(checked)), Verification::Bad);
    let [high, low] = of(&checked).to_be_bytes();
    (checked[4], checked[5]) = (high, low);
    assert_eq!(verdict(&gre(checked)), Verification::Good);
}

#[test]
fn udp_lite_sums_what_it_covers_with_the_protocol_it_is_given() {
    let (IpAddr::V6(a), IpAddr::V6(b)) = (address(true, 1), address(true, 2)) else { return };
    let mut l4 = vec![0, 1, 0, 2, 0, 8, 0, 0, 0xaa, 0xbb];
    for protocol in [protocol::UDP, protocol::UDPLITE] {
        l4[6..8].copy_from_slice(&[0, 0]);
        let bytes = compose::ipv6(a, b, protocol::UDPLITE, &l4);
        let packet = Packet::parse(&bytes).unwrap();
        let right = transport(&packet, protocol, &l4[..8]);
        l4[6..8].copy_from_slice(&right.to_be_bytes());
        let bytes = compose::ipv6(a, b, protocol::UDPLITE, &l4);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(verify_transport(&packet, protocol), Verification::Good);
        let other = protocol::UDP + protocol::UDPLITE - protocol;
        assert_eq!(verify_transport(&packet, other), Verification::Bad);
    }
    // Coverage of 0 is all; 1 to 7 and beyond the end are illegal.
    for (coverage, legal) in [(0, true), (7, false), (8, true), (10, true), (11, false)] {
        l4[5] = coverage;
        let header = crate::UdpHeader::view(&l4).unwrap();
        assert_eq!(header.coverage(l4.len()).is_some(), legal, "coverage {coverage}");
    }
}

#[test]
fn conntrack_sums_ipv4_udp_lite_with_eight_bits_of_its_length() {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (address(false, 1), address(false, 2)) else { return };
    for length in [255_usize, 256, 300] {
        let mut l4 = vec![7; length];
        l4[4..8].copy_from_slice(&[0, 8, 0, 0]);
        let bytes = compose::ipv4(a, b, protocol::UDPLITE, &l4);
        let network = Packet::parse(&bytes).unwrap().network();
        for (stated, protocol) in [(length & 255, protocol::UDP), (length, protocol::UDPLITE)] {
            let sum = pseudo_header(network, protocol, stated).bytes(&l4[..8]).checksum();
            let mut l4 = l4.clone();
            l4[6..8].copy_from_slice(&sum.to_be_bytes());
            let bytes = compose::ipv4(a, b, protocol::UDPLITE, &l4);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(verify_transport(&packet, protocol), Verification::Good, "{length}");
        }
    }
}

#[test]
fn sum_of_every_short_length_is_the_definition() {
    let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    for length in 0..300 {
        let bytes = &bytes[200..200 + length];
        assert_eq!(Sum::of(bytes).fold(), by_definition(bytes), "{length}");
    }
}

proptest! {
    #[test]
    fn sum_is_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert_eq!(Sum::of(&bytes).fold(), by_definition(&bytes));
    }

    #[test]
    fn header_sum_is_the_definition(bytes in proptest::collection::vec(any::<u8>(), 60)) {
        for length in (20..=60).step_by(4) {
            let mut header = bytes[..length].to_vec();
            header[10..12].copy_from_slice(&[0, 0]);
            let right = !by_definition(&header);
            header[10..12].copy_from_slice(&right.to_be_bytes());
            prop_assert!(ipv4_header_is_good(&header));
            header[9] ^= 1;
            prop_assert!(!ipv4_header_is_good(&header));
        }
    }

    #[test]
    fn crc_is_the_definition(bytes in proptest::collection::vec(any::<u8>(), 12..300)) {
        let mut zeroed = bytes.clone();
        zeroed[8..12].copy_from_slice(&[0; 4]);
        prop_assert_eq!(u32::from_le_bytes(sctp(&bytes)), crc32c_by_definition(&zeroed));
    }

    /// RFC 1624 (3): HC' = ~(~HC + ~m + m').
    #[test]
    fn equation_3_is_the_full_checksum(
        mut bytes in proptest::collection::vec(any::<u8>(), 40..200),
        place in 0_usize..18,
        new in any::<[u8; 4]>(),
    ) {
        // A first byte that never changes keeps the sum from being all zeros, where the two
        // representations of zero part ways.
        bytes[0] = 0x45;
        let before = of(&bytes);
        let slot = &mut bytes[2 + 2 * place..][..4];
        let old: [u8; 4] = [slot[0], slot[1], slot[2], slot[3]];
        slot.copy_from_slice(&new);
        let after = of(&bytes);
        prop_assert_eq!(Delta::NONE.bytes(&old, &new).apply(before), after);
        let (old, new) = (u32::from_be_bytes(old), u32::from_be_bytes(new));
        prop_assert_eq!(update_u32(before, old, new), after);
        let halves = update_u16(before, (old >> 16) as u16, (new >> 16) as u16);
        prop_assert_eq!(update_u16(halves, old as u16, new as u16), after);
    }
}
