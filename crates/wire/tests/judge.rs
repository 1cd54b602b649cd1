//! An independent reader of the same headers, etherparse, as the judge of ours.
//!
//! Where both read a packet they must agree on addresses, protocol, offsets and ports. They need
//! not agree on what is a packet: etherparse refuses more upper layers and fewer checksums.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use stateward_wire::{Packet, TcpHeader, UdpHeader, compose, ethernet, protocol, tcp};

/// The upper-layer ports as etherparse sees them.
fn ports(sliced: &SlicedPacket<'_>) -> Option<(u16, u16)> {
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
        Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
        _ => None,
    }
}

/// The upper-layer ports as we see them.
fn our_ports(packet: &Packet<'_>) -> Option<(u16, u16)> {
    match packet.upper()?.protocol {
        protocol::TCP => {
            let header = TcpHeader::view(packet.l4())?;
            Some((header.source_port.get(), header.destination_port.get()))
        }
        protocol::UDP => {
            let header = UdpHeader::view(packet.l4())?;
            Some((header.source_port.get(), header.destination_port.get()))
        }
        _ => None,
    }
}

/// Holds the two readings of `bytes` together, if there are two.
fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (Ok(sliced), Ok(packet)) = (SlicedPacket::from_ip(bytes), Packet::parse_trusted(bytes))
    else {
        return Ok(());
    };
    let (source, destination, payload) = match &sliced.net {
        Some(NetSlice::Ipv4(slice)) => (
            IpAddr::V4(slice.header().source_addr()),
            IpAddr::V4(slice.header().destination_addr()),
            slice.payload(),
        ),
        Some(NetSlice::Ipv6(slice)) => (
            IpAddr::V6(slice.header().source_addr()),
            IpAddr::V6(slice.header().destination_addr()),
            slice.payload(),
        ),
        _ => return Ok(()),
    };
    prop_assert_eq!(packet.source(), source);
    prop_assert_eq!(packet.destination(), destination);
    // IPv4's authentication header is an extension to etherparse, an upper layer to conntrack.
    let authenticated = packet.upper().is_some_and(|upper| upper.protocol == protocol::AH);
    if let Some(upper) = packet.upper().filter(|_| !payload.fragmented && !authenticated)
        // The walk of the kernel takes any order, etherparse stops at an odd one.
        && !stateward_wire::ipv6::is_extension(payload.ip_number.0)
    {
        prop_assert_eq!(upper.protocol, payload.ip_number.0);
        prop_assert_eq!(packet.l4(), payload.payload);
        if let Some(theirs) = ports(&sliced) {
            prop_assert_eq!(our_ports(&packet), Some(theirs));
        }
    }
    Ok(())
}

/// Bytes that are a network header often enough to get past it.
fn almost_ip() -> impl Strategy<Value = Vec<u8>> {
    let protocols = prop_oneof![
        Just(0_u8),
        Just(6),
        Just(17),
        Just(43),
        Just(44),
        Just(50),
        Just(51),
        Just(58),
        Just(60),
        any::<u8>()
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 40..160);
    (bytes, any::<bool>(), proptest::collection::vec(protocols, 4), any::<bool>()).prop_map(
        |(mut bytes, v6, protocols, small)| {
            let length = bytes.len();
            if v6 {
                bytes[0] = 0x60 | (bytes[0] & 15);
                bytes[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
                bytes[6] = protocols[0];
                // Short extension headers, so that a chain has a chance to end.
                for (place, protocol) in (40..length).step_by(8).zip(&protocols[1..]) {
                    bytes[place] = *protocol;
                    if let Some(byte) = bytes.get_mut(place + 1).filter(|_| small) {
                        *byte = 0;
                    }
                }
            } else {
                bytes[0] = 0x45 + (bytes[0] & 1);
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                bytes[6] &= if small { 0x40 } else { 0xff };
                bytes[9] = protocols[0];
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_bytes_are_read_alike(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        compare(&bytes)?;
    }

    #[test]
    fn near_packets_are_read_alike(bytes in almost_ip()) {
        compare(&bytes)?;
    }
}

fn any_address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
    } else {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    }
}

fn two_addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    any::<bool>().prop_flat_map(|v6| (any_address(v6), any_address(v6)))
}

proptest! {
    #[test]
    fn composed_tcp_is_valid_to_the_judge(
        (source, destination) in two_addresses(),
        ports in any::<(u16, u16)>(),
        flags in any::<u8>(),
        options in prop_oneof![Just(vec![]), Just(vec![2, 4, 5, 180]), Just(vec![1, 3, 3, 7, 4, 2])],
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = compose::tcp(&compose::Tcp {
            source: (source, ports.0),
            destination: (destination, ports.1),
            sequence: 0x0102_0304,
            acknowledgment: 0xf1f2_f3f4,
            flags: stateward_wire::TcpFlags(flags),
            window: 4711,
            options: &options,
            payload: &payload,
        });
        compare(&bytes)?;
        let sliced = SlicedPacket::from_ip(&bytes).unwrap();
        prop_assert_eq!(crate::ports(&sliced), Some(ports));
        let Some(TransportSlice::Tcp(slice)) = &sliced.transport else { panic!("no TCP") };
        let header = slice.to_header();
        let expected = match (source, destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                header.calc_checksum_ipv4_raw(a.octets(), b.octets(), &payload).unwrap()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                header.calc_checksum_ipv6_raw(a.octets(), b.octets(), &payload).unwrap()
            }
            _ => unreachable!(),
        };
        prop_assert_eq!(header.checksum, expected);
        let l4 = Packet::parse(&bytes).unwrap().l4();
        prop_assert_eq!(slice.header_len(), TcpHeader::view(l4).unwrap().header_length());
        prop_assert_eq!(slice.options(), tcp::option_bytes(l4));
        prop_assert_eq!(slice.payload(), tcp::payload(l4));
    }

    #[test]
    fn composed_udp_is_valid_to_the_judge(
        (source, destination) in two_addresses(),
        ports in any::<(u16, u16)>(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = compose::udp((source, ports.0), (destination, ports.1), &payload);
        compare(&bytes)?;
        let sliced = SlicedPacket::from_ip(&bytes).unwrap();
        prop_assert_eq!(crate::ports(&sliced), Some(ports));
        let Some(TransportSlice::Udp(slice)) = &sliced.transport else { panic!("no UDP") };
        let header = slice.to_header();
        let expected = match (source, destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                header.calc_checksum_ipv4_raw(a.octets(), b.octets(), &payload).unwrap()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                header.calc_checksum_ipv6_raw(a.octets(), b.octets(), &payload).unwrap()
            }
            _ => unreachable!(),
        };
        prop_assert_eq!(header.checksum, expected);
    }

    #[test]
    fn tcp_options_are_read_alike(bytes in proptest::collection::vec(0_u8..12, 0..40)) {
        use etherparse::TcpOptionElement as Theirs;
        use stateward_wire::tcp::{Options, TcpOption as Ours};
        let mut ours = Options::new(&bytes);
        for theirs in etherparse::TcpOptionsIterator::from_slice(&bytes) {
            // An option etherparse finds wrong ends its walk; ours goes on or ends by other rules.
            let Ok(theirs) = theirs else { break };
            let ours = ours.next();
            match (theirs, ours) {
                (Theirs::Noop, Some(Ours::Nop))
                | (Theirs::SelectiveAcknowledgementPermitted, Some(Ours::SackPermitted)) => {}
                (Theirs::MaximumSegmentSize(theirs), Some(Ours::Mss(ours))) => {
                    prop_assert_eq!(theirs, ours);
                }
                (Theirs::WindowScale(theirs), Some(Ours::WindowScale(ours))) => {
                    prop_assert_eq!(theirs, ours);
                }
                (Theirs::Timestamp(a, b), Some(Ours::Timestamps { value, echo })) => {
                    prop_assert_eq!((a, b), (value, echo));
                }
                (Theirs::SelectiveAcknowledgement(first, rest), Some(Ours::Sack(ours))) => {
                    let theirs = std::iter::once(Some(first)).chain(rest).flatten();
                    prop_assert!(theirs.eq(ours.iter()));
                }
                (theirs, ours) => prop_assert!(false, "{theirs:?} but {ours:?}"),
            }
        }
    }

    #[test]
    fn vlan_tags_are_passed_alike(tags in 0_usize..3, inner in any::<[u8; 8]>()) {
        let mut frame = vec![2; 12];
        for tag in 0..tags {
            let outer: u16 = if tag == 0 && tags > 1 { 0x88a8 } else { 0x8100 };
            frame.extend(outer.to_be_bytes());
            frame.extend([0x20, tag as u8]);
        }
        frame.extend(0x88b5_u16.to_be_bytes());
        frame.extend(inner);
        let theirs = SlicedPacket::from_ethernet(&frame).unwrap();
        let theirs = theirs.ether_payload().unwrap();
        prop_assert_eq!(ethernet::payload(&frame), Some((theirs.ether_type.0, theirs.payload)));
    }
}
