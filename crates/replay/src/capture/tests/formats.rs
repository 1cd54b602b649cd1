//! The varieties of pcap and pcapng, and their compression.

use std::io::Write as _;

use crate::capture::{Direction, InterfaceRef};
use crate::craft::{Endian, PcapFile, PcapngFile, Seen, ethernet, framed, ipv4, ipv6, open, read};

const SECOND: u64 = 1_000_000_000;

fn seen(number: u64, time: u64, bytes: Vec<u8>) -> Seen {
    let original = bytes.len() as u32;
    Seen { number, time, interface: 0, bytes, original, cut: false }
}

#[test]
fn pcap_in_every_variety() {
    for endian in Endian::BOTH {
        for (magic, unit) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1), (0xa1b2_cd34, 1_000)] {
            let file = PcapFile::with_magic(endian, magic, 101)
                .frame((10, 5), &ipv4(1))
                .frame((4_000_000_000, 999_999), &ipv6(2));
            let (packets, error) = read(&file.bytes);
            assert!(error.is_none(), "{endian:?} {magic:#x}: {error:?}");
            assert_eq!(
                packets,
                [
                    seen(1, 10 * SECOND + 5 * unit, ipv4(1)),
                    seen(2, 4_000_000_000 * SECOND + 999_999 * unit, ipv6(2)),
                ],
                "{endian:?} {magic:#x}"
            );
        }
    }
}

#[test]
fn pcap_ignores_the_frame_check_bits_of_the_link_type() {
    let file = PcapFile::new(Endian::Little, 0x2400_0000 | 101).frame((1, 0), &ipv4(1));
    assert_eq!(read(&file.bytes).0.len(), 1);
}

#[test]
fn pcapng_sections_of_both_byte_orders_with_their_own_interfaces() {
    let file = PcapngFile::new(Endian::Little)
        .interface(101, 0, &[(2, b"lan0")])
        .interface(1, 0, &[(2, b"wan0"), (9, &[9])])
        .packet(0, 1_000_000, &ipv4(1), &[])
        .packet(1, 5, &framed(&ethernet(0x0800), &ipv4(2)), &[])
        .section(Endian::Big)
        .interface(101, 0, &[(2, b"wan0\0")])
        .packet(0, 2_000_000, &ipv6(3), &[])
        .old_packet(0, 3_000_000, &ipv4(4));
    let mut capture = open(&file.bytes).unwrap();
    let mut packets = Vec::new();
    while capture.advance().unwrap() {
        packets.push(Seen::from(capture.packet()));
    }
    let on = |interface, seen: Seen| Seen { interface, ..seen };
    assert_eq!(
        packets,
        [
            seen(1, SECOND, ipv4(1)),
            on(1, seen(2, 5, ipv4(2))),
            on(1, seen(3, 2 * SECOND, ipv6(3))),
            on(1, seen(4, 3 * SECOND, ipv4(4))),
        ]
    );
    let names: Vec<_> = capture.interfaces().iter().map(|known| known.name.as_deref()).collect();
    assert_eq!(names, [Some("lan0"), Some("wan0")]);
}

#[test]
fn interface_names_cannot_steer_a_terminal_and_any_is_no_name() {
    let file = PcapngFile::new(Endian::Little)
        .interface(101, 0, &[(2, b"\x1b[2Jlan")])
        .interface(101, 0, &[(2, b"any")])
        .interface(101, 0, &[(2, "\u{202e}0nal".as_bytes())])
        .packet(1, 1, &ipv4(1), &[]);
    let mut capture = open(&file.bytes).unwrap();
    assert!(capture.advance().unwrap());
    let names: Vec<_> = capture.interfaces().iter().map(|known| known.name.as_deref()).collect();
    assert_eq!(names, [Some("?[2Jlan"), None, Some("?0nal")]);
    assert_eq!(capture.packet().interface, InterfaceRef(1));
}

#[test]
fn time_in_every_resolution_and_with_offsets() {
    let halves = 3 << 62; // units of 2^-63 s, 1.5 s altogether
    let cases: [(u8, i64, u64, u64); 10] = [
        (0, 0, 7, 7 * SECOND),
        (3, 0, 1_500, 1_500_000_000),
        (6, -1, 1_500_000, 500_000_000),
        (6, -100, 1_500_000, 0),
        (9, 1 << 20, 12, (SECOND << 20) + 12),
        (12, 0, 1_500_000_000_999, 1_500_000_000),
        (28, 0, u64::MAX, 1),
        (0x80 | 10, 0, 1_536, 1_500_000_000),
        (0x80 | 63, 0, halves, 1_500_000_000),
        (0, i64::MAX, u64::MAX, u64::MAX),
    ];
    for endian in Endian::BOTH {
        for (resolution, offset, units, nanoseconds) in cases {
            let offset = endian.u64(offset.cast_unsigned());
            let file = PcapngFile::new(endian)
                .interface(101, 0, &[(9, &[resolution]), (14, &offset)])
                .packet(0, units, &ipv4(1), &[]);
            let (packets, error) = read(&file.bytes);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(packets[0].time, nanoseconds, "resolution {resolution:#x}, {endian:?}");
        }
    }
}

#[test]
fn a_resolution_beyond_64_bits_is_refused() {
    let file = PcapngFile::new(Endian::Little).interface(101, 0, &[(9, &[29])]);
    let sentence = read(&file.bytes).1.unwrap().to_string();
    assert_eq!(
        sentence,
        "test.pcap: packet 1 at byte 28: an interface counts time in unknown units (if_tsresol \
         0x1d)"
    );
}

#[test]
fn simple_packets_take_the_snap_length_and_the_time_before() {
    let file = PcapngFile::new(Endian::Big)
        .interface(101, 24, &[])
        .packet(0, 8_000_000, &ipv4(1), &[])
        .simple_packet(&ipv4(2)[..24], 32);
    let (packets, error) = read(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets[1].time, 8 * SECOND);
    assert_eq!(packets[1].bytes, ipv4(2)[..24]);
    assert_eq!((packets[1].original, packets[1].cut), (32, true));
}

#[test]
fn flags_say_the_direction() {
    use Direction::{In, OtherHost, Out};
    for endian in Endian::BOTH {
        let cases = [
            (0, None),
            (1, Some(In)),
            (2, Some(Out)),
            (3, None),
            (0x11, Some(OtherHost)),
            (5, Some(In)),
        ];
        for (flags, expected) in cases {
            let flags = endian.u32(flags);
            let options: [(u16, &[u8]); 3] = [(1, b"a comment"), (2, &flags), (4, &[0; 8])];
            let file =
                PcapngFile::new(endian).interface(101, 0, &[]).packet(0, 1, &ipv4(1), &options);
            let mut capture = open(&file.bytes).unwrap();
            assert!(capture.advance().unwrap());
            assert_eq!(capture.packet().direction, expected);
        }
    }
}

#[test]
fn unknown_blocks_are_walked_over_whatever_their_length() {
    let secrets = vec![0x55; 3_000_000];
    let file = PcapngFile::new(Endian::Little)
        .block(0x0000_0bad, b"abc")
        .interface(101, 0, &[])
        .block(10, &secrets)
        .packet(0, 1, &ipv4(1), &[])
        .block(5, &[0; 12]);
    let (packets, error) = read(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets, [seen(1, 1_000, ipv4(1))]);
}

#[test]
fn gzip_and_zstd_are_unpacked_several_members_and_frames_too() {
    let file = PcapFile::new(Endian::Little, 101).frame((1, 0), &ipv4(1)).frame((2, 0), &ipv4(2));
    let (front, back) = file.bytes.split_at(50);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(&file.bytes)].concat();
    for packed in [
        gzip(&file.bytes),
        [gzip(front), gzip(back)].concat(),
        zstd(&file.bytes),
        [zstd(front), zstd(back)].concat(),
        skippable,
    ] {
        let (packets, error) = read(&packed);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(packets, read(&file.bytes).0);
    }
}

#[test]
fn a_pipe_is_read_packet_by_packet() {
    /// Hands out its chunks one by one and panics when asked for more than was sent.
    struct Pipe(std::vec::IntoIter<Vec<u8>>);
    impl std::io::Read for Pipe {
        fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
            let chunk = self.0.next().expect("nobody should wait for more");
            space[..chunk.len()].copy_from_slice(&chunk);
            Ok(chunk.len())
        }
    }
    let file = PcapFile::new(Endian::Little, 101).frame((1, 0), &ipv4(1));
    let chunks: Vec<_> =
        [&file.bytes[..3], &file.bytes[3..4], &file.bytes[4..30], &file.bytes[30..]]
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
    let mut capture = crate::capture::Capture::from_reader("-", Pipe(chunks.into_iter())).unwrap();
    assert!(capture.advance().unwrap());
    assert_eq!(capture.packet().bytes, ipv4(1));
}
