//! Every example capture through the loop: whatever way it goes, the numbers agree.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stateward_conntrack::{ConnId, EventKind, Record};
use stateward_replay::capture::Capture;
use stateward_replay::machine::Machine;
use stateward_replay::run::{Fate, Input, Meanwhile, Replay, Sink, Step, Told};
use stateward_replay::trace::{End, JsonLines};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/captures");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_string_lossy();
            [".pcap", ".pcapng", ".pcap.gz", ".pcap.zst"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    files.sort();
    assert!(files.len() > 20, "the example captures are gone");
    files
}

fn replay(file: &Path) -> Replay {
    let capture = Capture::open(&file.to_string_lossy()).unwrap();
    let inputs = vec![Input { capture, interface: None }];
    Replay::new(Machine::transparent([]), inputs, false).unwrap()
}

/// Follows the events: what they say is in the table.
#[derive(Default)]
struct Follower {
    table: BTreeMap<u64, (ConnId, Option<u64>)>,
    packets: u64,
    connections: u64,
    latest: u64,
}

impl Follower {
    fn follow(&mut self, events: &[Told]) {
        for Told { event, connection } in events {
            assert!(event.at.0 >= self.latest, "time ran backwards");
            self.latest = event.at.0;
            let Some(record) = event.connection() else { continue };
            let (id, number) = (record.id, *connection);
            assert!(number.is_some(), "an event without the number of its connection");
            match event.kind {
                EventKind::New => {
                    assert!(self.table.insert(id.as_u64(), (id, number)).is_none());
                }
                EventKind::Update => assert_eq!(self.table[&id.as_u64()].1, number),
                EventKind::Destroy => {
                    assert_eq!(self.table.remove(&id.as_u64()), Some((id, number)));
                }
            }
        }
    }
}

impl Sink for Follower {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        self.packets += 1;
        assert_eq!(step.number, self.packets);
        if let Fate::Walked(outcome) = step.fate
            && let Some(connection) = outcome.connection
        {
            if connection.began {
                self.connections += 1;
                assert_eq!(step.connection, Some(self.connections));
            }
            assert!(step.connection.is_some(), "packet {} has no number", step.number);
        }
        self.follow(step.events);
        Ok(())
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        self.follow(meanwhile.events);
        Ok(())
    }
}

#[test]
fn the_events_rebuild_the_table_and_its_numbers() {
    for file in examples() {
        let mut replay = replay(&file);
        replay.set_listening(true);
        let mut follower = Follower::default();
        while replay.step(&mut follower).unwrap() {}
        let of = |(number, id): (Option<u64>, ConnId)| (id.as_u64(), (id, number));
        let table: BTreeMap<_, _> = replay.table().into_iter().map(of).collect();
        assert_eq!(table, follower.table, "{}", file.display());
        let records: Vec<Record> = replay.engine().tracker().dump().collect();
        assert_eq!(records.len(), table.len());
        assert_eq!(replay.summary().connections, follower.connections);
        assert!(replay.into_errors().is_empty());
    }
}

#[test]
fn bursts_count_what_steps_count() {
    for file in examples() {
        let (mut steps, mut bursts) = (replay(&file), replay(&file));
        let mut nothing = Follower::default();
        while steps.step(&mut nothing).unwrap() {}
        while bursts.burst() {}
        let (by_steps, by_bursts) = (steps.summary(), bursts.summary());
        assert_eq!(format!("{by_steps:?}"), format!("{by_bursts:?}"), "{}", file.display());
        let statistics = [&steps, &bursts].map(|replay| replay.engine().tracker().statistics());
        assert_eq!(statistics[0], statistics[1], "{}", file.display());
    }
}

#[test]
fn the_trace_is_one_object_a_line_with_the_contracts_words() {
    for file in examples() {
        let mut replay = replay(&file);
        replay.set_listening(true);
        let mut out = Vec::new();
        let mut lines = JsonLines::new(&mut out, Vec::new());
        while replay.step(&mut lines).unwrap() {}
        lines.end(&End::of(&replay, true)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut packets = 0;
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(!line.contains(":null"), "{line}");
            if record["type"] == "packet" {
                packets += 1;
                check_packet(&record, packets);
            }
        }
        let end: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(end["type"], "end");
        assert_eq!(end["packets"], packets);
        assert_eq!(end["connections"], replay.summary().connections);
        let rows = end["table"].as_array().unwrap().len();
        assert_eq!(rows, replay.engine().tracker().count());
    }
}

fn check_packet(record: &serde_json::Value, number: u64) {
    assert_eq!(record["packet"], number);
    let (seconds, nanos) = record["time"].as_str().unwrap().split_once('.').unwrap();
    assert!(seconds.parse::<u64>().is_ok() && nanos.len() == 9);
    let has = |field: &str| record.get(field).is_some();
    assert_eq!(has("reason"), has("reason_code"));
    assert_eq!(has("connection"), has("direction"), "{record}");
    if record["state"] == "INVALID" || record["state"] == "UNTRACKED" {
        assert!(!has("connection"));
    }
    if record["state"] == "INVALID" || record["verdict"] == "drop" {
        assert!(has("reason"), "{record}");
    }
    assert_eq!(record["verdict"] == "drop", has("at"));
}
