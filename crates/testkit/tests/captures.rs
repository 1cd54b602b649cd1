//! The example captures before the judge: what real programs said, through the running kernel and
//! through the engine, on one clock. States, directions, reasons, events and their order within a
//! packet, where each packet ended, what left, byte for byte, and in the end the tables must be
//! equal. Two kinds of packets leave otherwise (PARITY.md, "Routing"): those that ask routers to
//! sign them, and multicasts of the machine itself.
//!
//! Packets enter where their source lives; what the capturing gateway sent itself is sent by the
//! machine in the middle. Superpackets and cut packets are left out: no link carries them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use stateward_replay::capture::Capture;
use stateward_wire::Packet;
use testkit::dialogue::{Dialogue, Port, Settings, Step};
use testkit::judge::{Difference, Judge};
use testkit::kernel;

/// The largest packet that the judge's links carry.
const MTU: usize = 1500;

fn port(source: IpAddr) -> Port {
    match source {
        IpAddr::V4(v4) => match v4.octets() {
            [192, 168, 1, 1] | [203, 0, 113, 1] => Port::Local,
            [192, 168, 1, _] => Port::Lan,
            _ => Port::Wan,
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0xfd00, 1 | 2, 0, 0, 0, 0, 0, 1] => Port::Local,
            [0xfd00, 1, ..] | [0xfe80, ..] => Port::Lan,
            _ => Port::Wan,
        },
    }
}

fn dialogue(file: &Path) -> Dialogue {
    let mut capture = Capture::open(&file.display().to_string()).expect("a capture");
    let mut steps = Vec::new();
    while capture.advance().expect("a whole capture") {
        let captured = capture.packet();
        let Ok(packet) = Packet::parse_cut(captured.bytes) else { continue };
        if packet.is_cut() || packet.length() > MTU {
            continue;
        }
        let from = port(packet.source());
        let bytes = packet.bytes().to_vec();
        steps.push(Step::new(from, bytes, 0));
    }
    Dialogue { settings: Settings::default(), steps }
}

/// Whether a difference is one that PARITY.md lists: of bytes that left, or by which link.
fn is_known(difference: &Difference, steps: &[Step]) -> bool {
    let step = difference.step.and_then(|step| steps.get(step));
    difference.what == "what left" && step.is_some_and(leaves_otherwise)
}

fn leaves_otherwise(step: &Step) -> bool {
    const FIXED: usize = 20;
    /// Version 4, header without options.
    const PLAIN: u8 = 0x45;
    const NO_OPERATION: u8 = 1;
    const SIGNED: [u8; 2] = [7, 68];
    let Ok(packet) = Packet::parse(&step.bytes) else { return false };
    let bytes = packet.bytes();
    // All of these have first, but for padding, the option that asks to be signed.
    let mut options = bytes.iter().skip(FIXED).skip_while(|byte| **byte == NO_OPERATION);
    let is_signed = packet.source().is_ipv4()
        && bytes.first().is_some_and(|first| *first > PLAIN)
        && options.next().is_some_and(|kind| SIGNED.contains(kind));
    is_signed || (step.from == Port::Local && packet.destination().is_multicast())
}

#[test]
fn what_real_programs_said_is_equal() {
    if !kernel::is_there() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/captures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".pcap"))
        .collect();
    files.sort();
    assert!(files.len() > 20, "the captures are there");
    let mut judge = Judge::new().expect("a namespace");
    let (mut failures, mut packets) = (String::new(), 0);
    for file in files {
        let dialogue = dialogue(&file);
        packets += dialogue.steps.len();
        let differences = judge.hold(&dialogue).unwrap();
        let steps = &dialogue.steps;
        for difference in differences.iter().filter(|one| !is_known(one, steps)) {
            failures += &format!("{}: {difference}\n", file.display());
        }
    }
    println!("{packets} packets of real programs");
    assert!(failures.is_empty(), "{failures}");
}
