//! Captures that other programs wrote, and what they read out of ours. Skipped, with a message,
//! where the programs are missing.

use std::path::Path;
use std::process::Command;

use crate::capture::Capture;
use crate::craft::{
    Endian, PcapFile, PcapngFile, Seen, ethernet, framed, ipv4, ipv6, read, skip_without,
};

/// True if a program can be run; says so if not.
fn present(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip_without(program);
    }
    found
}

fn read_file(path: &Path) -> Vec<Seen> {
    let mut capture = Capture::open(path.to_str().unwrap()).unwrap();
    let mut seen = Vec::new();
    while capture.advance().unwrap() {
        seen.push(capture.packet().into());
    }
    seen
}

fn source() -> PcapFile {
    PcapFile::new(Endian::Little, 1)
        .frame((1_700_000_000, 123_456), &framed(&ethernet(0x0800), &ipv4(1)))
        .frame((1_700_000_001, 0), &framed(&ethernet(0x0806), &[0; 28]))
        .record((1_700_000_002, 999_999), &framed(&ethernet(0x86dd), &ipv6(2)), 1_514)
}

#[test]
fn editcap_writes_what_we_read_in_all_its_formats() {
    if !present("editcap") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("in.pcap");
    std::fs::write(&original, source().bytes).unwrap();
    let expected = read_file(&original);
    assert_eq!(expected.len(), 2);
    for format in ["pcap", "nsecpcap", "modpcap", "pcapng"] {
        let converted = directory.path().join(format);
        let status =
            Command::new("editcap").arg("-F").arg(format).arg(&original).arg(&converted).status();
        assert!(status.unwrap().success(), "editcap -F {format}");
        assert_eq!(read_file(&converted), expected, "{format}");
    }
}

#[test]
fn gzip_and_zstd_the_programs() {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("in.pcap");
    std::fs::write(&original, source().bytes).unwrap();
    for program in ["gzip", "zstd"] {
        if !present(program) {
            continue;
        }
        let packed = Command::new(program).arg("-c").arg(&original).output().unwrap().stdout;
        // The name says nothing about the compression.
        let path = directory.path().join("packed.pcap");
        std::fs::write(&path, packed).unwrap();
        assert_eq!(read_file(&path), read_file(&original), "{program}");
    }
}

#[test]
fn tshark_reads_the_same_times_and_lengths() {
    if !present("tshark") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for endian in Endian::BOTH {
        for resolution in [3u8, 6, 9, 0x80 | 20] {
            let offset = endian.u64(1_600_000_000);
            let file = PcapngFile::new(endian)
                .interface(101, 0, &[(2, b"lan0"), (9, &[resolution]), (14, &offset)])
                .packet(0, 12_345_678, &ipv4(1), &[(1, b"hi")])
                .packet(0, 912_345_678, &ipv6(2), &[]);
            let path = directory.path().join("in.pcapng");
            std::fs::write(&path, &file.bytes).unwrap();
            let fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len"];
            let output = Command::new("tshark").arg("-r").arg(&path).args(fields).output().unwrap();
            let ours: String = read(&file.bytes)
                .0
                .iter()
                .map(|packet| {
                    let (seconds, rest) =
                        (packet.time / 1_000_000_000, packet.time % 1_000_000_000);
                    format!("{seconds}.{rest:09}\t{}\n", packet.original)
                })
                .collect();
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(ours, theirs, "{endian:?}, resolution {resolution:#x}");
        }
    }
}
