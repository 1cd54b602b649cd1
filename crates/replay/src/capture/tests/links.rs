//! The link types.

use stateward_rules::matches::pkttype::To;

use crate::capture::{Counters, Direction, InterfaceRef};
use crate::craft::{Endian, PcapFile, ethernet, framed, ipv4, ipv6, open, read};

/// Reads one frame of a link type and returns the IP packet in it, or what was counted instead.
fn payload(link: u32, frame: &[u8]) -> Result<Vec<u8>, Counters> {
    payload_in(Endian::Little, link, frame)
}

fn payload_in(endian: Endian, link: u32, frame: &[u8]) -> Result<Vec<u8>, Counters> {
    let file = PcapFile::new(endian, link).frame((1, 0), frame);
    let mut capture = open(&file.bytes).unwrap();
    if capture.advance().unwrap() {
        Ok(capture.packet().bytes.to_vec())
    } else {
        Err(capture.counters())
    }
}

fn skipped(arp: u64, not_ip: u64, short: u64) -> Result<Vec<u8>, Counters> {
    Err(Counters { frames: 1, arp, not_ip, short, ..Counters::default() })
}

#[test]
fn ethernet_with_and_without_tags() {
    let (four, six) = (ipv4(1), ipv6(1));
    assert_eq!(payload(1, &framed(&ethernet(0x0800), &four)), Ok(four.clone()));
    assert_eq!(payload(1, &framed(&ethernet(0x86dd), &six)), Ok(six.clone()));
    let vlan = [&ethernet(0x8100)[..], &[0, 7, 0x86, 0xdd]].concat();
    assert_eq!(payload(1, &framed(&vlan, &six)), Ok(six));
    for outer in [0x8100, 0x88a8, 0x9100, 0x9200] {
        let qinq = [&ethernet(outer)[..], &[0, 7, 0x81, 0, 0, 8, 8, 0]].concat();
        assert_eq!(payload(1, &framed(&qinq, &four)), Ok(four.clone()));
    }
}

#[test]
fn ethernet_padding_stays_on() {
    let padded = [&ipv4(1)[..], &[0; 14]].concat();
    assert_eq!(payload(1, &framed(&ethernet(0x0800), &padded)), Ok(padded));
}

#[test]
fn frames_without_ip_are_counted() {
    assert_eq!(payload(1, &framed(&ethernet(0x0806), &[0; 28])), skipped(1, 0, 0));
    assert_eq!(payload(1, &framed(&ethernet(0x88cc), &[0; 28])), skipped(0, 1, 0));
    assert_eq!(payload(1, &framed(&ethernet(46), &[0; 46])), skipped(0, 1, 0));
    assert_eq!(payload(1, &ethernet(0x0800)[..13]), skipped(0, 0, 1));
    assert_eq!(payload(1, &ethernet(0x0800)), skipped(0, 0, 1));
    assert_eq!(payload(1, &framed(&ethernet(0x8100), &[0, 7, 8])), skipped(0, 0, 1));
}

#[test]
fn the_link_header_and_the_packet_must_agree_on_the_version() {
    assert_eq!(payload(1, &framed(&ethernet(0x0800), &ipv6(1))), skipped(0, 1, 0));
    assert_eq!(payload(228, &ipv6(1)), skipped(0, 1, 0));
    assert_eq!(payload(229, &ipv4(1)), skipped(0, 1, 0));
    assert_eq!(payload(101, &[0x55; 40]), skipped(0, 1, 0));
}

#[test]
fn raw_ip() {
    for link in [12, 14, 101] {
        assert_eq!(payload(link, &ipv4(1)), Ok(ipv4(1)));
        assert_eq!(payload(link, &ipv6(1)), Ok(ipv6(1)));
    }
    assert_eq!(payload(228, &ipv4(1)), Ok(ipv4(1)));
    assert_eq!(payload(229, &ipv6(1)), Ok(ipv6(1)));
}

#[test]
fn loopback_of_all_systems_in_both_byte_orders() {
    for link in [0, 108] {
        for endian in Endian::BOTH {
            assert_eq!(payload(link, &framed(&endian.u32(2), &ipv4(1))), Ok(ipv4(1)));
            for family in [10, 24, 28, 30] {
                assert_eq!(payload(link, &framed(&endian.u32(family), &ipv6(1))), Ok(ipv6(1)));
            }
            assert_eq!(payload(link, &framed(&endian.u32(7), &ipv4(1))), skipped(0, 1, 0));
        }
    }
}

fn sll(kind: u8, hardware: u16, protocol: u16) -> Vec<u8> {
    let mut header = vec![0, kind];
    header.extend(hardware.to_be_bytes());
    header.extend([0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
    header.extend(protocol.to_be_bytes());
    header
}

fn sll2(kind: u8, index: u32, protocol: u16) -> Vec<u8> {
    let mut header = protocol.to_be_bytes().to_vec();
    header.extend([0, 0]);
    header.extend(index.to_be_bytes());
    header.extend([0, 1, kind, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
    header
}

#[test]
fn cooked_captures_know_the_direction() {
    use Direction::{In, OtherHost, Out};
    let kinds = [
        (0, Some(In)),
        (1, Some(In)),
        (2, Some(In)),
        (3, Some(OtherHost)),
        (4, Some(Out)),
        (6, None),
    ];
    for (kind, direction) in kinds {
        for (link, header) in [(113, sll(kind, 1, 0x0800)), (276, sll2(kind, 3, 0x0800))] {
            let file = PcapFile::new(Endian::Big, link).frame((1, 0), &framed(&header, &ipv4(1)));
            let mut capture = open(&file.bytes).unwrap();
            assert!(capture.advance().unwrap());
            assert_eq!(capture.packet().direction, direction);
            assert_eq!(capture.packet().bytes, ipv4(1));
        }
    }
    assert_eq!(payload(113, &framed(&sll(0, 824, 0x0800), &ipv4(1))), skipped(0, 1, 0));
    assert_eq!(payload(113, &framed(&sll(0, 1, 0x0806), &[0; 28])), skipped(1, 0, 0));
    let tagged = framed(&sll(0, 1, 0x8100), &[0, 5, 0x86, 0xdd]);
    assert_eq!(payload(113, &framed(&tagged, &ipv6(1))), Ok(ipv6(1)));
    assert_eq!(payload(276, &sll2(0, 3, 0x0800)[..19]), skipped(0, 0, 1));
}

#[test]
fn cooked_version_2_tells_interfaces_apart() {
    let mut file = PcapFile::new(Endian::Little, 276);
    for index in [3, 3, 9, 3] {
        file = file.frame((1, 0), &framed(&sll2(0, index, 0x0800), &ipv4(1)));
    }
    let mut capture = open(&file.bytes).unwrap();
    let mut interfaces = Vec::new();
    while capture.advance().unwrap() {
        let InterfaceRef(at) = capture.packet().interface;
        interfaces.push(capture.interfaces()[at as usize].name.clone().unwrap());
    }
    assert_eq!(interfaces, ["if3", "if3", "if9", "if3"]);
    assert_eq!(capture.interfaces()[1].index, Some(3));
}

fn nflog(endian: Endian, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut frame = vec![family, 0, 0, 5];
    for (kind, value) in attributes {
        frame.extend(endian.u16(value.len() as u16 + 4));
        frame.extend(endian.u16(*kind));
        frame.extend(*value);
        frame.resize(frame.len().next_multiple_of(4), 0);
    }
    frame
}

#[test]
fn packet_log_with_its_devices() {
    for endian in Endian::BOTH {
        let frame = nflog(endian, 2, &[(10, b"a\0"), (4, &[0, 0, 0, 8]), (9, &ipv4(1))]);
        assert_eq!(payload_in(endian, 239, &frame), Ok(ipv4(1)));
        let file = PcapFile::new(endian, 239).frame((1, 0), &frame);
        let mut capture = open(&file.bytes).unwrap();
        assert!(capture.advance().unwrap());
        assert_eq!(capture.packet().direction, Some(Direction::In));
        assert_eq!(capture.interfaces()[1].index, Some(8));
    }
    assert_eq!(payload(239, &nflog(Endian::Little, 7, &[(9, &ipv4(1))])), skipped(0, 1, 0));
    assert_eq!(payload(239, &nflog(Endian::Little, 2, &[(10, b"a\0")])), skipped(0, 0, 1));
    assert_eq!(payload(239, &[2, 0, 0, 5, 0, 0, 1, 0]), skipped(0, 1, 0));
}

#[test]
fn a_cut_packet_log_payload_is_cut() {
    let mut frame = nflog(Endian::Little, 10, &[(9, &ipv6(1))]);
    frame.truncate(frame.len() - 2);
    let (packets, _) = read(&PcapFile::new(Endian::Little, 239).frame((1, 0), &frame).bytes);
    assert_eq!((packets[0].bytes.len(), packets[0].original, packets[0].cut), (50, 52, true));
}

#[test]
fn cut_is_a_matter_of_the_frame_and_not_of_the_ip_length() {
    let cases: [(usize, u32, (u32, bool)); 4] = [
        (46, 46, (32, false)),
        (44, 46, (32, true)),
        (46, 1514, (1500, true)),
        // A capture program that does not fill the field in: what is there was there.
        (46, 0, (32, false)),
    ];
    for (captured, original, expected) in cases {
        let frame = framed(&ethernet(0x0800), &ipv4(1));
        let file = PcapFile::new(Endian::Little, 1).record((1, 0), &frame[..captured], original);
        let (packets, _) = read(&file.bytes);
        assert_eq!((packets[0].original, packets[0].cut), expected);
    }
}

#[test]
fn superpackets_are_whole() {
    for (mut packet, zero) in [(ipv4(1), 2..4), (ipv6(1), 4..6)] {
        packet[zero].fill(0);
        packet.resize(100_000, 0x61);
        let (packets, error) =
            read(&PcapFile::new(Endian::Little, 101).frame((1, 0), &packet).bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!((packets[0].bytes.len(), packets[0].cut), (100_000, false));
    }
}

#[test]
fn another_link_type_is_an_error_that_names_it() {
    let file = PcapFile::new(Endian::Little, 105).frame((1, 0), &ipv4(1));
    let sentence = read(&file.bytes).1.unwrap().to_string();
    assert!(
        sentence.starts_with("test.pcap: packet 1 at byte 24: link type 105 is not one"),
        "{sentence}"
    );
}

#[test]
fn the_ethernet_header_is_handed_on_without_its_tags() {
    let link = |link: u32, frame: &[u8]| {
        let file = PcapFile::new(Endian::Little, link).frame((1, 0), frame);
        let mut capture = open(&file.bytes).unwrap();
        assert!(capture.advance().unwrap());
        capture.packet().link.map(|link| (link.bytes, link.to))
    };
    let (four, six) = (ipv4(1), ipv6(1));
    let plain = ethernet(0x0800);
    let header: [u8; 14] = plain[..].try_into().unwrap();
    assert_eq!(link(1, &framed(&plain, &four)).unwrap().0, header);
    let tagged = [&ethernet(0x8100)[..], &[0, 7, 0x86, 0xdd]].concat();
    let expected = [&header[..12], &[0x86, 0xdd]].concat();
    assert_eq!(link(1, &framed(&tagged, &six)).unwrap().0[..], expected);
    // Cooked: the source, and to whom it was.
    let cooked = [0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 5, 0, 0, 8, 0];
    let (bytes, to) = link(113, &framed(&cooked, &four)).unwrap();
    assert_eq!((&bytes[6..12], to), (&[2, 0, 0, 0, 0, 5][..], To::Broadcast));
    let not_ethernet = [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0];
    assert_eq!(link(113, &framed(&not_ethernet, &four)), None);
    assert_eq!(link(101, &four), None);
}
