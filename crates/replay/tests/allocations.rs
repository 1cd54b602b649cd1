//! Reading, merging, describing and writing packets allocates nothing in the steady state.

#![allow(clippy::unwrap_used)] // a failed expectation is the test's own failure

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use stateward_replay::capture::{Capture, Direction};
use stateward_replay::describe::describe;
use stateward_replay::merge::Merge;
use stateward_replay::write::{Record, Writer};
use stateward_wire::compose;

/// Packets before counting begins: interfaces are known and buffers have grown by then.
const WARM_UP: usize = 100;
const PACKETS: usize = 5_000;

/// A pcapng file of packets with comments, made by our own writer.
fn capture(path: &Path, first: u64) {
    let mut writer = Writer::create(path.to_str().unwrap()).unwrap();
    let interfaces = ["lan0", "wan0"].map(|name| writer.interface(name).unwrap());
    for number in 0..PACKETS {
        let ends = ["192.0.2.1", "198.51.100.2"].map(|address| address.parse().unwrap());
        let packet = compose::udp((ends[0], 40_000), (ends[1], 53), &[0; 100]);
        let record = Record {
            interface: interfaces[number % 2],
            time: first + number as u64 * 2,
            direction: Some(Direction::In),
            bytes: &packet,
            original_length: 128,
            comment: "NEW forward",
        };
        writer.packet(&record).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn nothing_is_allocated_per_packet() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    capture(Path::new(&path("a.pcapng")), 0);
    capture(Path::new(&path("b.pcapng")), 1);
    let packed = zstd::encode_all(&*fs::read(path("b.pcapng")).unwrap(), 1).unwrap();
    fs::write(path("b.zst"), packed).unwrap();

    let open = |name: &str| Capture::open(&path(name)).unwrap();
    let mut merge = Merge::new(vec![open("a.pcapng"), open("b.zst")]);
    let mut writer = Writer::create(&path("out.pcapng")).unwrap();
    let interface = writer.interface("out").unwrap();
    let mut line = String::with_capacity(1_000);
    let mut walk = |packets: usize| {
        let mut walked = 0;
        while walked < packets && merge.advance() {
            let (position, packet) = merge.packet().unwrap();
            line.clear();
            write!(line, "{position} ").unwrap();
            describe(packet.bytes, &mut line).unwrap();
            let record = Record {
                interface,
                time: packet.time,
                direction: packet.direction,
                bytes: packet.bytes,
                original_length: packet.original_length,
                comment: &line,
            };
            writer.packet(&record).unwrap();
            walked += 1;
        }
        walked
    };
    assert_eq!(walk(WARM_UP), WARM_UP);
    let mut walked = 0;
    let counted = allocation_counter::measure(|| walked = walk(usize::MAX));
    assert_eq!(walked, 2 * PACKETS - WARM_UP);
    assert_eq!(counted.count_total, 0);
    writer.finish().unwrap();
}
