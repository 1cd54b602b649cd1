//! Captures cut off anywhere, with wrong lengths, or of random bytes: whatever is readable comes
//! out, then one error, and nothing panics or grows.

use std::io;

use proptest::prelude::*;

use crate::capture::{Capture, CaptureErrorKind};
use crate::craft::{Endian, PcapFile, PcapngFile, ethernet, framed, ipv4, ipv6, open, read};

fn small_pcap(endian: Endian) -> Vec<u8> {
    PcapFile::new(endian, 1)
        .frame((1, 0), &framed(&ethernet(0x0800), &ipv4(1)))
        .frame((2, 0), &framed(&ethernet(0x0806), &[0; 28]))
        .frame((3, 0), &framed(&ethernet(0x86dd), &ipv6(2)))
        .bytes
}

fn small_pcapng(endian: Endian) -> Vec<u8> {
    PcapngFile::new(endian)
        .interface(101, 0, &[(2, b"lan0"), (9, &[9])])
        .packet(0, 1, &ipv4(1), &[(1, b"hello"), (2, &[0; 4])])
        .block(0xbad, &[1; 40])
        .section(endian)
        .interface(101, 0, &[])
        .simple_packet(&ipv4(2), 32)
        .old_packet(0, 9, &ipv6(3))
        .bytes
}

fn files() -> Vec<Vec<u8>> {
    Endian::BOTH.into_iter().flat_map(|endian| [small_pcap(endian), small_pcapng(endian)]).collect()
}

#[test]
fn cut_at_every_byte_a_capture_yields_a_prefix() {
    for file in files() {
        let (whole, error) = read(&file);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(whole.last().map(|last| last.number), Some(3));
        let mut clean_ends = 0;
        for length in 0..file.len() {
            let (packets, error) = read(&file[..length]);
            assert!(whole.starts_with(&packets), "cut at {length}");
            match error.map(|error| (error.to_string(), error.kind)) {
                None => clean_ends += 1,
                Some((_, CaptureErrorKind::Empty)) => assert_eq!(length, 0),
                Some((sentence, CaptureErrorKind::Truncated { have, want })) => {
                    assert!(have < want, "{sentence}");
                    assert!(sentence.contains("ends in the middle"), "{sentence}");
                }
                Some((sentence, kind)) => panic!("cut at {length}: {sentence} {kind:?}"),
            }
        }
        // Between two records a cut cannot be told from an end.
        assert!(clean_ends >= 2);
    }
}

#[test]
fn compressed_captures_cut_anywhere_yield_a_prefix_and_say_so() {
    let file = small_pcap(Endian::Little);
    let whole = read(&file).0;
    let packed = zstd::encode_all(&file[..], 1).unwrap();
    for length in 4..packed.len() {
        let (packets, error) = read(&packed[..length]);
        assert!(whole.starts_with(&packets));
        let sentence = error.unwrap().to_string();
        assert!(sentence.contains("compressed data is damaged or cut off"), "{sentence}");
    }
}

#[test]
fn the_error_names_file_packet_and_byte() {
    let file = small_pcap(Endian::Little);
    let cut = file.len() - 1;
    let (packets, error) = read(&file[..cut]);
    assert_eq!(packets.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "test.pcap: packet 3 at byte 144: the capture ends in the middle of it: 81 of 82 bytes \
         are there"
    );
}

#[test]
fn an_error_is_told_once() {
    let file = small_pcap(Endian::Little);
    let mut capture = open(&file[..file.len() - 1]).unwrap();
    assert!(capture.advance().unwrap());
    assert!(capture.advance().is_err());
    assert!(!capture.advance().unwrap());
    assert_eq!(capture.packet().number, 0);
    assert!(capture.packet().bytes.is_empty());
}

#[test]
fn hostile_lengths_cost_no_memory() {
    for length in [262_145u32, 0x7fff_ffff, 0xffff_fff0, u32::MAX] {
        for endian in Endian::BOTH {
            let mut file = PcapFile::new(endian, 101).frame((1, 0), &ipv4(1)).bytes;
            file.extend([0; 8]);
            file.extend(endian.u32(length));
            file.extend(endian.u32(length));
            file.extend([0; 400_000]);
            let (packets, error) = read(&file);
            assert_eq!(packets.len(), 1);
            let sentence = error.unwrap().to_string();
            let claim = format!("packet 2 at byte 72: its record claims {length} bytes");
            assert!(sentence.contains(&claim), "{sentence}");
        }
    }
}

#[test]
fn hostile_block_lengths_cost_no_memory() {
    let endian = Endian::Little;
    let front = PcapngFile::new(endian).interface(101, 0, &[]).packet(0, 1, &ipv4(1), &[]).bytes;
    let cases: [(u32, u32, &str); 5] = [
        (6, 0xffff_fffc, "claims 4294967292 bytes"),
        (0x0bad, 0xffff_fffc, "ends in the middle of it"),
        (6, 28, "impossible length of 28"),
        (0x0bad, 8, "impossible length of 8"),
        (0x0bad, 14, "impossible length of 14"),
    ];
    for (block, length, expected) in cases {
        let mut file = front.clone();
        file.extend(endian.u32(block));
        file.extend(endian.u32(length));
        file.extend([0; 400]);
        let (packets, error) = read(&file);
        assert_eq!(packets.len(), 1);
        let sentence = error.unwrap().to_string();
        assert!(sentence.contains(expected), "{sentence}");
        let place = format!("packet 2 at byte {}:", front.len());
        assert!(sentence.contains(&place), "{sentence}");
    }
}

#[test]
fn blocks_whose_lengths_disagree_are_damage() {
    let mut file = small_pcapng(Endian::Little);
    let last = file.len() - 4;
    file[last] ^= 4;
    let (packets, error) = read(&file);
    assert_eq!(packets.len(), 2);
    assert!(error.unwrap().to_string().contains("in front and"));
}

#[test]
fn a_packet_larger_than_its_block_is_damage() {
    let mut body = vec![0; 20];
    body[12] = 200;
    let file = PcapngFile::new(Endian::Little).interface(101, 0, &[]).block(6, &body).bytes;
    let sentence = read(&file).1.unwrap().to_string();
    assert!(
        sentence.contains("a packet of 200 bytes does not fit in its block of 32"),
        "{sentence}"
    );
}

#[test]
fn what_a_packet_names_must_have_been_described() {
    let file = PcapngFile::new(Endian::Little).packet(4, 1, &ipv4(1), &[]).bytes;
    let sentence = read(&file).1.unwrap().to_string();
    assert!(sentence.contains("it names interface 4, which its section has not"), "{sentence}");
}

#[test]
fn sections_of_other_versions_and_without_byte_order_are_refused() {
    let mut version = PcapngFile::new(Endian::Little).bytes;
    version[12] = 2;
    let sentence = read(&version).1.unwrap().to_string();
    assert!(sentence.contains("pcapng version 2; only version 1"), "{sentence}");
    let mut mark = PcapngFile::new(Endian::Little).bytes;
    mark[8] = 0;
    let sentence = read(&mark).1.unwrap().to_string();
    assert!(sentence.contains("without a byte-order mark (there is 00 3c 2b 1a)"), "{sentence}");
}

#[test]
fn more_interfaces_than_any_machine_has_are_refused() {
    let one = PcapngFile::new(Endian::Little).interface(101, 0, &[]).bytes.split_off(28);
    let mut file = PcapngFile::new(Endian::Little).bytes;
    for _ in 0..=65_536 {
        file.extend(&one);
    }
    assert!(matches!(read(&file).1.unwrap().kind, CaptureErrorKind::TooManyInterfaces));
}

#[test]
fn other_files_are_named_for_what_they_are() {
    for (bytes, expected) in [
        (&b""[..], "the file is empty"),
        (b"ab", "header at byte 0: the capture ends in the middle of it: 2 of 4 bytes are there"),
        (b"{\"a\":1}", "neither pcap nor pcapng (its first bytes are 7b 22 61 22)"),
        (b"\xfd7zXZ\0", "but xz; unpack it first"),
        (b"PK\x03\x04....", "but a zip archive"),
    ] {
        let sentence = read(bytes).1.unwrap().to_string();
        assert!(sentence.contains(expected), "{sentence}");
    }
    let missing = Capture::open("/nonexistent/x.pcap").err().unwrap().to_string();
    assert!(missing.starts_with("cannot open /nonexistent/x.pcap: No such file"), "{missing}");
}

#[test]
fn a_failing_disk_is_not_a_truncated_capture() {
    struct Disk(Vec<u8>);
    impl io::Read for Disk {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::from_raw_os_error(5));
            }
            let count = space.len().min(self.0.len());
            space[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }
    for cut in [0, 1] {
        let mut file = small_pcap(Endian::Little);
        file.truncate(file.len() - cut);
        let mut capture = Capture::from_reader("disk", Disk(file)).unwrap();
        let error = loop {
            match capture.advance() {
                Ok(true) => {}
                Ok(false) => panic!("the failure is lost"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind, CaptureErrorKind::Read(_)), "{error}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        magic in prop::sample::select(vec![
            0xa1b2_c3d4u32, 0xa1b2_3c4d, 0xa1b2_cd34, 0xd4c3_b2a1, 0x4d3c_b2a1, 0x34cd_b2a1,
            0x0a0d_0d0a,
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        read(&[&magic.to_be_bytes()[..], &bytes].concat());
        read(&bytes);
    }

    #[test]
    fn damaged_captures_never_panic(
        which in 0usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = files().swap_remove(which);
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        read(&file);
    }

    #[test]
    fn random_frames_of_every_link_type_never_panic(
        link in prop::sample::select(vec![0u32, 1, 12, 101, 108, 113, 228, 229, 239, 276]),
        frame in prop::collection::vec(any::<u8>(), 0..80),
        original in any::<u32>(),
    ) {
        let file = PcapFile::new(Endian::Big, link).record((1, 0), &frame, original);
        let (packets, error) = read(&file.bytes);
        prop_assert!(error.is_none());
        for packet in packets {
            prop_assert!(packet.bytes.len() <= packet.original as usize);
            prop_assert!(frame.ends_with(&packet.bytes) || link == 239);
        }
    }
}
