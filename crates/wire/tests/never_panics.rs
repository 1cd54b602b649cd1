//! Every reader on random and truncated bytes: no panic, and nothing handed out that is not there.

use proptest::prelude::*;
use stateward_wire::checksum::{self, verify_transport};
use stateward_wire::edit::{Edit, End, Field};
use stateward_wire::{
    DccpHeader, Embedded, Family, IcmpHeader, Ipv4Header, Ipv6Header, Packet, SctpHeader,
    TcpHeader, UdpHeader, ethernet, gre, icmp, ipsec, ipv4, ipv6, sctp, tcp,
};

/// Reads everything there is to read about `bytes`.
fn read_packet(bytes: &[u8]) {
    for packet in [Packet::parse(bytes), Packet::parse_trusted(bytes), Packet::parse_cut(bytes)] {
        let Ok(packet) = packet else { continue };
        assert!(packet.bytes().len() <= packet.length());
        assert!(packet.l4().len() <= packet.l4_length());
        assert!(packet.l4().is_empty() || packet.upper().is_some());
        let _ = (packet.fragment(), packet.fragment_header(), packet.ttl(), packet.tos());
        let _ = (packet.source(), packet.destination(), packet.is_cut());
        for protocol in [6, 17, 136] {
            let _ = verify_transport(&packet, protocol);
        }
        let _ = Packet::with_layout(bytes, packet.layout()).is_some();
        let _ = Packet::with_layout(bytes.get(..30).unwrap_or(bytes), packet.layout()).is_some();
        read_upper(packet.l4());
        rewrite(bytes, packet.layout());
    }
    for family in [Family::V4, Family::V6] {
        let Some(quoted) = Embedded::parse(bytes, family) else { continue };
        let _ = (quoted.source(), quoted.destination(), quoted.protocol(), quoted.family());
        read_upper(quoted.l4());
        rewrite(bytes, quoted.layout());
    }
}

fn read_upper(l4: &[u8]) {
    let _ = (TcpHeader::view(l4), UdpHeader::view(l4), IcmpHeader::view(l4));
    let _ = (SctpHeader::view(l4), DccpHeader::view(l4), ipsec::EspHeader::view(l4));
    let _ = (ipsec::AhHeader::view(l4), gre::options(l4), gre::PptpHeader::numbers(l4));
    for option in tcp::options(l4) {
        if let tcp::TcpOption::Sack(blocks) = option {
            assert!(blocks.iter().count() <= 4);
        }
    }
    let mut chunks = sctp::chunks(l4);
    let mut end = size_of::<SctpHeader>();
    for chunk in chunks.by_ref() {
        assert_eq!(chunk.offset, end);
        assert_eq!(chunk.value.len() + 4, usize::from(chunk.length));
        end = (chunk.offset + usize::from(chunk.length)).next_multiple_of(4);
    }
    assert!(chunks.is_illegal() || end >= l4.len());
    let _ = (tcp::payload(l4), icmp::body(l4), checksum::sctp(l4));
}

fn rewrite(bytes: &[u8], layout: stateward_wire::Layout) {
    for field in [Field::Finished, Field::Unfinished] {
        for keep in [bytes.len(), bytes.len() / 2, 0] {
            let mut bytes = bytes[..keep].to_vec();
            let mut edit = Edit::new(&mut bytes, layout).with_field(field);
            edit.set_address(End::Source, [1, 2, 3, 4].into());
            edit.set_address(End::Destination, [9; 16].into());
            edit.set_port(End::Source, 1);
            edit.set_port(End::Destination, 2);
            edit.decrement_ttl();
            assert_eq!(bytes.len(), keep);
        }
    }
}

fn read_raw(bytes: &[u8]) {
    let _ = ethernet::payload(bytes).map(|(_, payload)| payload.len());
    let _ = (Ipv4Header::view(bytes), Ipv6Header::view(bytes), ipv4::options(bytes).count());
    let _ = ipv6::skip_extensions(bytes, bytes.first().copied().unwrap_or(0));
    read_upper(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn on_random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_raw(&bytes);
        read_packet(&bytes);
    }

    #[test]
    fn on_headers_of_random_content(
        mut bytes in proptest::collection::vec(any::<u8>(), 20..200),
        first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x4f), Just(0x60)],
        protocol in prop_oneof![
            Just(0_u8), Just(1), Just(6), Just(17), Just(43), Just(44), Just(47), Just(51),
            Just(58), Just(60), Just(132), Just(136)
        ],
        cut in any::<proptest::sample::Index>(),
    ) {
        bytes[0] = first;
        let length = bytes.len() as u16;
        if first == 0x60 {
            bytes[4..6].copy_from_slice(&length.saturating_sub(40).to_be_bytes());
            bytes[6] = protocol;
        } else {
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[6..8].copy_from_slice(&[0, 0]);
            bytes[9] = protocol;
        }
        read_packet(&bytes);
        read_packet(&bytes[..cut.index(bytes.len())]);
    }
}
