//! What the header readers promise, one claim a test.

use stateward_wire::tcp::{Options, TcpOption};
use stateward_wire::{
    Embedded, Family, IcmpHeader, Ipv4Header, TcpFlags, TcpHeader, ethernet, gre, icmp, ipv4, sctp,
    tcp,
};

#[test]
fn tcp_options_end_at_end_at_a_short_length_and_at_a_long_one() {
    let mss = TcpOption::Mss(1460);
    for tail in [&[0, 3, 3, 7][..], &[8, 1, 0, 0], &[8, 0], &[8, 10, 0], &[8]] {
        let bytes = [&[2, 4, 5, 180], tail].concat();
        let options: Vec<_> = Options::new(&bytes).collect();
        assert_eq!(options, [mss], "{tail:?}");
    }
}

#[test]
fn tcp_options_of_a_wrong_length_are_unknown_and_passed_over() {
    let bytes = [2, 3, 5, 3, 4, 1, 2, 4, 3, 0, 5, 4, 9, 9, 1, 254, 2];
    let options: Vec<_> = Options::new(&bytes).collect();
    let unknown = |kind, data| TcpOption::Unknown { kind, data };
    let expected = [
        unknown(2, &[5][..]),
        unknown(3, &[1, 2]),
        unknown(4, &[0]),
        unknown(5, &[9, 9]),
        TcpOption::Nop,
        unknown(254, &[]),
    ];
    assert_eq!(options, expected);
}

#[test]
fn sack_blocks_are_whole() {
    let bytes = [5, 22, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9, 1, 1, 1, 1];
    let Some(TcpOption::Sack(blocks)) = Options::new(&bytes).next() else { panic!("no blocks") };
    assert_eq!(blocks.iter().collect::<Vec<_>>(), [(1, 2), (5, 9)]);
}

#[test]
fn a_tcp_header_length_below_20_has_neither_options_nor_payload() {
    let mut segment = [0_u8; 32];
    for (words, options, payload) in [(4, 0, 0), (5, 0, 12), (8, 12, 0), (15, 12, 0)] {
        segment[12] = words << 4;
        assert_eq!(TcpHeader::view(&segment).unwrap().header_length(), usize::from(words) * 4);
        assert_eq!(tcp::option_bytes(&segment).len(), options, "{words}");
        assert_eq!(tcp::payload(&segment).len(), payload, "{words}");
    }
}

#[test]
fn tcp_flags_are_a_set() {
    let flags = TcpFlags::SYN | TcpFlags::ACK;
    assert!(flags.syn() && flags.ack() && !flags.fin() && !flags.rst());
    assert!(flags.contains(TcpFlags::SYN) && !flags.contains(flags | TcpFlags::FIN));
    assert!(flags.intersects(TcpFlags::ACK | TcpFlags::FIN));
    assert_eq!(flags.without(TcpFlags::ACK), TcpFlags::SYN);
}

#[test]
fn sctp_chunks_are_padded_and_the_last_need_not_be() {
    let mut packet = vec![0; 12];
    packet.extend([1, 2, 0, 5, 0xaa, 0, 0, 0, 7, 0, 0, 6, 1, 2]);
    let mut chunks = sctp::chunks(&packet);
    let first = chunks.next().unwrap();
    assert_eq!((first.kind, first.flags, first.length, first.offset), (1, 2, 5, 12));
    assert_eq!(first.value, [0xaa]);
    let second = chunks.next().unwrap();
    assert_eq!((second.kind, second.offset, second.value), (7, 20, &[1, 2][..]));
    assert!(chunks.next().is_none() && !chunks.is_illegal());
}

#[test]
fn sctp_chunks_stop_at_an_illegal_length() {
    for (chunk, illegal) in [
        (&[][..], false),
        (&[1, 0, 0], true),
        (&[1, 0, 0, 3], true),
        (&[1, 0, 0, 0], true),
        (&[1, 0, 0, 4], false),
        (&[1, 0, 0, 9, 1, 2, 3, 4], true),
    ] {
        let packet = [&[0; 12], chunk].concat();
        let mut chunks = sctp::chunks(&packet);
        while chunks.next().is_some() {}
        assert_eq!(chunks.is_illegal(), illegal, "{chunk:?}");
    }
}

#[test]
fn gre_optional_fields_come_in_order() {
    let bytes = [0xb0, 0, 8, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0x45];
    let options = gre::options(&bytes).unwrap();
    assert_eq!((options.checksum, options.key), (Some(0x1234), Some(7)));
    assert_eq!((options.sequence, options.payload_offset), (Some(9), 16));
    assert!(gre::options(&bytes[..15]).is_none());
    assert!(gre::options(&[0, 1, 8, 0]).is_none());
}

#[test]
fn pptp_names_the_call() {
    let bytes = [0x30, 0x81, 0x88, 0x0b, 0, 5, 0xbe, 0xef, 0, 0, 0, 1, 0, 0, 0, 2];
    let header = gre::PptpHeader::view(&bytes).unwrap();
    assert_eq!((header.call_id.get(), header.generic().version()), (0xbeef, 1));
    let (sequence, acknowledgment) = gre::PptpHeader::numbers(&bytes).unwrap();
    assert_eq!((sequence.unwrap().get(), acknowledgment.unwrap().get()), (1, 2));
    assert!(gre::PptpHeader::numbers(&bytes[..15]).is_none());
}

#[test]
fn ipv4_options_end_at_an_illegal_length() {
    let mut header = [0_u8; 28];
    header[0] = 0x47;
    header[20..].copy_from_slice(&[1, 148, 4, 0, 0, 7, 9, 4]);
    let options: Vec<_> = ipv4::options(&header).map(|option| option.kind).collect();
    assert_eq!(options, [148]);
    assert_eq!(ipv4::options(&header[..24]).count(), 0);
}

#[test]
fn icmp_headers_hold_echo_and_mtu() {
    let header = IcmpHeader::view(&[8, 0, 0, 0, 0x12, 0x34, 0x00, 0x07]).unwrap();
    assert_eq!((header.identifier(), header.sequence()), (0x1234, 7));
    assert_eq!((header.word(), header.mtu()), (0x1234_0007, 7));
    assert_eq!(icmp::word(1280), [0, 0, 5, 0]);
}

#[test]
fn frames_with_cut_tags_have_no_payload() {
    let mut frame = vec![0; 12];
    frame.extend([0x81, 0, 0, 1, 8, 0, 0x45]);
    assert_eq!(ethernet::payload(&frame), Some((ethernet::IPV4, &[0x45][..])));
    assert_eq!(ethernet::payload(&frame[..17]), None);
    assert_eq!(ethernet::payload(&frame[..13]), None);
}

/// As the running kernel was seen to do: version and length are not looked at, the header length
/// is, and one below five finds the ports inside the network header.
#[test]
fn quotations_are_read_by_lax_rules() {
    let mut quoted = [0_u8; 28];
    quoted[0] = 0x45;
    quoted[9] = 17;
    quoted[16..20].copy_from_slice(&[198, 51, 100, 5]);
    for version in [0x05, 0x55, 0xf5] {
        quoted[0] = version;
        let embedded = Embedded::parse(&quoted, Family::V4).unwrap();
        assert_eq!((embedded.l4_offset(), embedded.protocol(), embedded.l4().len()), (20, 17, 8));
    }
    quoted[0] = 0x44;
    let embedded = Embedded::parse(&quoted, Family::V4).unwrap();
    assert_eq!(embedded.l4().first_chunk(), Some(&[198, 51, 100, 5]));
    quoted[0] = 0x48;
    assert!(Embedded::parse(&quoted, Family::V4).is_none());
    quoted[0] = 0x45;
    quoted[7] = 1;
    assert!(Embedded::parse(&quoted, Family::V4).is_none());
    assert!(Embedded::parse(&quoted[..19], Family::V4).is_none());
}

#[test]
fn views_write_through() {
    let mut bytes = [0_u8; 20];
    Ipv4Header::view_mut(&mut bytes).unwrap().ttl = 9;
    assert_eq!(bytes[8], 9);
    assert!(Ipv4Header::view_mut(&mut bytes[..19]).is_none());
}
