//! Every reader of `wire`, and a packet's description, on arbitrary bytes.

use stateward_replay::describe::Described;
use stateward_wire::checksum::{self, verify_transport};
use stateward_wire::edit::{Edit, End, Field};
use stateward_wire::{
    DccpHeader, Embedded, Family, IcmpHeader, Ipv4Header, Ipv6Header, Layout, Packet, SctpHeader,
    TcpHeader, UdpHeader, ethernet, gre, icmp, ipsec, ipv4, ipv6, protocol, sctp, tcp,
};

/// The longest line that describes a packet: three packets in packets, each with all options.
const LINE: usize = 16_384;

/// Reads the bytes as a frame, as a packet by each door, as what an ICMP error quotes, and as each
/// upper-layer header, edits them, and describes them.
pub fn packet_parse(bytes: &[u8]) {
    for packet in [Packet::parse(bytes), Packet::parse_trusted(bytes), Packet::parse_cut(bytes)] {
        let Ok(packet) = packet else { continue };
        read(bytes, &packet);
    }
    // What a wire lets in, so do the laxer doors, and they see the same.
    if let Ok(strict) = Packet::parse(bytes) {
        let trusted = Packet::parse_trusted(bytes).map(|packet| packet.layout());
        assert_eq!(trusted, Ok(strict.layout()));
        assert!(!strict.is_cut());
    }
    for family in [Family::V4, Family::V6] {
        let Some(quoted) = Embedded::parse(bytes, family) else { continue };
        assert_eq!(quoted.family(), family);
        assert_eq!(quoted.source().is_ipv4(), family == Family::V4);
        assert!(quoted.l4().len() <= bytes.len());
        let _ = (quoted.destination(), quoted.protocol());
        upper(quoted.l4());
        rewrite(bytes, quoted.layout());
    }
    let _ = ethernet::payload(bytes).map(|(_, payload)| payload.len());
    let _ = (Ipv4Header::view(bytes), Ipv6Header::view(bytes), ipv4::options(bytes).count());
    let _ = ipv6::skip_extensions(bytes, bytes.first().copied().unwrap_or(0));
    upper(bytes);
    let line = Described(bytes).to_string();
    assert!(!line.is_empty() && !line.contains('\n') && line.len() < LINE, "{line}");
}

fn read(bytes: &[u8], packet: &Packet<'_>) {
    assert!(packet.bytes().len() <= packet.length());
    assert!(packet.l4().len() <= packet.l4_length());
    assert!(packet.l4().is_empty() || packet.upper().is_some());
    assert!(packet.is_fragment() || packet.fragment().is_none());
    assert_eq!(packet.source().is_ipv4(), packet.family() == Family::V4);
    let _ = (packet.fragment_header(), packet.ttl(), packet.tos(), packet.is_cut());
    for protocol in [protocol::TCP, protocol::UDP, protocol::UDPLITE, protocol::SCTP] {
        let _ = verify_transport(packet, protocol);
    }
    let again = Packet::with_layout(bytes, packet.layout()).map(|packet| packet.layout());
    assert_eq!(again, Some(packet.layout()));
    let _ = Packet::with_layout(bytes.get(..30).unwrap_or(bytes), packet.layout()).is_some();
    upper(packet.l4());
    rewrite(bytes, packet.layout());
}

fn upper(l4: &[u8]) {
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

/// Edits, also of bytes that are shorter than when they were parsed.
fn rewrite(bytes: &[u8], layout: Layout) {
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
