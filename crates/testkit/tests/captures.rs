//! The example captures before the judge: what real programs said, through the running kernel and
//! through the engine, on one clock. States, directions, reasons, events and their order within a
//! packet, where each packet ended, and in the end the tables must be equal. The bytes that leave are
//! left to the random dialogues: some of these packets ask routers to sign them (PARITY.md, "Routing").
//!
//! Packets enter where their source lives; what the capturing gateway sent itself is sent by the
//! machine in the middle. Superpackets and cut packets are left out: no link carries them.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stateward_replay::capture::Capture;
use stateward_wire::Packet;
use testkit::dialogue::{Dialogue, Port, Settings, Step};
use testkit::judge::Judge;
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
        let (pause, changes) = (Duration::ZERO, Vec::new());
        steps.push(Step { from, bytes, flow: 0, pause, changes });
    }
    Dialogue { settings: Settings::default(), steps }
}

#[test]
fn what_real_programs_said_is_equal() {
    match kernel::available() {
        Ok(()) => {}
        Err(missing) if std::env::var_os("STATEWARD_REQUIRE_KERNEL").is_some_and(|v| v == "1") => {
            panic!("STATEWARD_REQUIRE_KERNEL=1, but {missing}")
        }
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            return;
        }
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
        for difference in differences.iter().filter(|one| one.what != "what left") {
            failures += &format!("{}: {difference}\n", file.display());
        }
    }
    println!("{packets} packets of real programs");
    assert!(failures.is_empty(), "{failures}");
}
