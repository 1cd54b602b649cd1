//! Replays of captures made by hand: the clock, the numbers, who is input and who is not.

use std::path::Path;

use stateward_conntrack::CtState;

use super::*;
use crate::config::Config;
use crate::craft::{Endian, PcapFile, PcapngFile, ipv4, open};

/// What a sink was told, as short words.
#[derive(Default)]
struct Notes(Vec<String>);

impl Sink for Notes {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        let fate = match step.fate {
            Fate::Walked(outcome) => {
                let state = outcome.state.map_or("-", CtState::name);
                format!("{state} {}", crate::trace::verdict(outcome.verdict))
            }
            Fate::Seen(_) => "seen".to_owned(),
            Fate::Missed(missed) => missed.code().to_owned(),
            Fate::Elsewhere => "elsewhere".to_owned(),
        };
        let number = step.connection.map_or(String::new(), |number| format!(" #{number}"));
        self.0.push(format!("{} {fate}{number}", step.interface));
        self.note(step.events);
        Ok(())
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        self.note(meanwhile.events);
        Ok(())
    }
}

impl Notes {
    fn note(&mut self, events: &[Told]) {
        for Told { event, connection } in events {
            let seconds = event.at.0 as f64 / 1e9;
            self.0.push(format!("{seconds} {} #{}", event.name(), connection.unwrap_or(0)));
        }
    }
}

const ROUTER: &str = "
    [[interface]]
    name = \"lan0\"
    addresses = [\"192.0.2.254/24\"]
    [[interface]]
    name = \"wan0\"
    addresses = [\"198.51.100.254/24\"]
";

fn router() -> Machine {
    let config = Config::parse(Path::new("gateway.toml"), ROUTER).unwrap();
    Machine::from_config(&config, []).unwrap()
}

fn transparent() -> Machine {
    Machine::transparent([])
}

fn replay(machine: Machine, captures: &[Vec<u8>]) -> Replay {
    let input = |bytes: &Vec<u8>| Input { capture: open(bytes).unwrap(), interface: None };
    Replay::new(machine, captures.iter().map(input).collect(), false).unwrap()
}

/// All that is told of a replay.
fn told(machine: Machine, captures: &[Vec<u8>]) -> Vec<String> {
    let mut replay = replay(machine, captures);
    replay.set_listening(true);
    let mut notes = Notes::default();
    while replay.step(&mut notes).unwrap() {}
    notes.0
}

/// A packet with right checksums; its source port tells flows apart.
fn udp(flow: u8, ttl: u8) -> Vec<u8> {
    let mut bytes = ipv4(0);
    bytes[21] = flow;
    bytes[8] = ttl;
    let header = bytes.first_chunk_mut::<20>().unwrap();
    let sum = stateward_wire::checksum::of(&*header).to_be_bytes();
    bytes[10..12].copy_from_slice(&sum);
    bytes
}

fn answer(flow: u8) -> Vec<u8> {
    let mut bytes = udp(flow, 64);
    for at in 12..16 {
        bytes.swap(at, at + 4);
    }
    bytes.swap(20, 22);
    bytes.swap(21, 23);
    bytes
}

fn raw(packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let file = PcapFile::new(Endian::Little, 101);
    packets.iter().fold(file, |file, (second, bytes)| file.frame((*second, 0), bytes)).bytes
}

const INBOUND: [u8; 4] = [1, 0, 0, 0];
const OUTBOUND: [u8; 4] = [2, 0, 0, 0];

/// Second, interface, direction, bytes.
type Recorded = (u64, u32, Option<[u8; 4]>, Vec<u8>);

/// A pcapng with two interfaces.
fn two_sided(packets: &[Recorded]) -> Vec<u8> {
    let file = PcapngFile::new(Endian::Little).interface(101, 0, &[(2, b"lan0")]).interface(
        101,
        0,
        &[(2, b"wan0")],
    );
    let add = |file: PcapngFile, (second, interface, direction, bytes): &Recorded| {
        let flags = direction.as_ref().map(|flags| (2, flags.as_slice()));
        file.packet(*interface, second * 1_000_000, bytes, flags.as_slice())
    };
    packets.iter().fold(file, add).bytes
}

#[test]
fn what_time_alone_brings_about_comes_in_its_place() {
    let capture =
        raw(&[(100, udp(1, 64)), (101, udp(2, 64)), (131, udp(1, 64)), (132, udp(3, 64))]);
    assert_eq!(
        told(transparent(), &[capture]),
        [
            "eth0 NEW forward #1",
            "100 NEW #1",
            "eth0 NEW forward #2",
            "101 NEW #2",
            // Thirty seconds after each, the second one at the very time of the next packet.
            "130 DESTROY #1",
            "131 DESTROY #2",
            "eth0 NEW forward #3",
            "131 NEW #3",
            "eth0 NEW forward #4",
            "132 NEW #4",
            // Behind the last packet the clock stands still.
        ]
    );
}

#[test]
fn a_flow_dropped_before_confirm_uses_up_a_number() {
    let nowhere = |flow| {
        let mut bytes = udp(flow, 64);
        bytes[16..20].copy_from_slice(&[203, 0, 113, 9]);
        bytes[10..12].fill(0);
        bytes
    };
    let capture = raw(&[(1, nowhere(1)), (2, nowhere(1)), (3, udp(2, 64))]);
    let told = told(router(), &[capture]);
    assert_eq!(told, ["lan0 NEW drop #1", "lan0 NEW drop #2", "lan0 NEW forward #3", "3 NEW #3"]);
}

#[test]
fn what_a_machine_sends_to_its_loopback_comes_back_to_it() {
    let mut bytes = udp(1, 64);
    bytes[12..20].copy_from_slice(&[127, 0, 0, 1, 127, 0, 0, 1]);
    // Captures may leave out both checksums: the header's to the network card, UDP's for good.
    bytes[10..12].fill(0);
    bytes[26..28].fill(0);
    let file = PcapngFile::new(Endian::Little).interface(101, 0, &[(2, b"lo")]);
    let capture = [file.packet(0, 1_000_000, &bytes, &[]).bytes];
    for machine in [router(), transparent()] {
        assert_eq!(told(machine, &capture), ["local NEW input #1", "1 NEW #1"]);
    }
}

#[test]
fn a_router_s_capture_holds_each_packet_twice_and_one_of_them_is_input() {
    for (inbound, outbound) in [(Some(INBOUND), Some(OUTBOUND)), (None, None)] {
        let capture = two_sided(&[
            (1, 0, inbound, udp(1, 64)),
            (1, 1, outbound, udp(1, 63)),
            (2, 1, inbound, answer(1)),
        ]);
        let told = told(router(), &[capture]);
        assert_eq!(
            told,
            [
                "lan0 NEW forward #1",
                "1 NEW #1",
                "wan0 seen",
                "wan0 ESTABLISHED forward #1",
                "2 UPDATE #1"
            ]
        );
    }
}

#[test]
fn padding_of_the_link_is_no_part_of_a_packet() {
    let padded = |mut bytes: Vec<u8>| {
        bytes.resize(46, 0);
        bytes
    };
    for machine in [router(), transparent()] {
        let capture =
            two_sided(&[(1, 0, None, padded(udp(1, 64))), (1, 1, None, padded(udp(1, 63)))]);
        let mut out = Vec::new();
        let mut lines = crate::trace::JsonLines::new(&mut out, Vec::new());
        let mut replay = replay(machine, &[capture]);
        while replay.step(&mut lines).unwrap() {}
        let text = String::from_utf8(out).unwrap();
        let records: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let verdicts: Vec<_> = records.iter().map(|record| &record["verdict"]).collect();
        assert_eq!(verdicts, ["forward", "seen"]);
        assert!(records.iter().all(|record| record["length"] == 32), "{text}");
    }
}

#[test]
fn without_routing_a_sighting_is_on_another_interface() {
    let capture =
        two_sided(&[(1, 0, None, udp(1, 64)), (1, 1, None, udp(1, 63)), (1, 0, None, udp(1, 64))]);
    let told = told(transparent(), &[capture]);
    assert_eq!(told, ["lan0 NEW forward #1", "1 NEW #1", "wan0 seen", "lan0 NEW forward #1"]);
}

#[test]
fn two_files_of_a_router_need_no_names() {
    let lan = raw(&[(1, udp(1, 64))]);
    let wan = raw(&[(1, udp(1, 63)), (2, answer(1))]);
    let told = told(router(), &[lan, wan]);
    assert_eq!(told[..3], ["lan0 NEW forward #1", "1 NEW #1", "wan0 seen"].map(String::from));
    assert_eq!(told[3], "wan0 ESTABLISHED forward #1");
}

#[test]
fn what_a_host_sends_twice_is_input_twice() {
    let capture =
        two_sided(&[(1, 0, Some(OUTBOUND), udp(1, 64)), (1, 0, Some(OUTBOUND), udp(1, 64))]);
    let told = told(transparent(), &[capture]);
    assert_eq!(told, ["local NEW output #1", "1 NEW #1", "local NEW output #1"]);
}

#[test]
fn numbers_are_bounded_by_the_table_without_events_too() {
    let mut machine = transparent();
    machine.sysctls.set("nf_conntrack_events", "0").unwrap();
    machine.sysctls.set("nf_conntrack_udp_timeout", "1").unwrap();
    let packets: Vec<_> = (0..20_000).map(|n| (2 * n, udp(n as u8, 64))).collect();
    let mut replay = replay(machine, &[raw(&packets)]);
    let mut notes = Notes::default();
    while replay.step(&mut notes).unwrap() {
        notes.0.clear();
    }
    assert_eq!(replay.core.numbering.count(), 20_000);
    assert!(replay.core.numbering.known() < 5000, "{}", replay.core.numbering.known());
}

#[test]
fn an_unfinished_checksum_is_counted_and_good() {
    let mut bytes = udp(1, 64);
    let pseudo = {
        let packet = stateward_wire::Packet::parse_cut(&bytes).unwrap();
        stateward_wire::checksum::pseudo_header(packet.network(), 17, packet.l4_length()).fold()
    };
    bytes[26..28].copy_from_slice(&pseudo.to_be_bytes());
    let mut bad = udp(2, 64);
    bad[26..28].copy_from_slice(&[0x12, 0x34]);
    let mut replay = replay(transparent(), &[raw(&[(1, bytes), (2, bad), (3, udp(3, 64))])]);
    while replay.burst() {}
    assert_eq!((replay.summary().unfinished, replay.summary().states), (1, [2, 0, 0, 1, 0]));
    assert_eq!(replay.summary().invalid.sorted(), [("bad_checksum", 1)]);
}

#[test]
fn a_superpacket_is_a_whole_packet() {
    // Longer than the MTU and not to be fragmented; the second one is too long for the field.
    let long = |length: usize, stated: u16| {
        let mut bytes = udp(1, 64);
        bytes.resize(length, 0);
        bytes[2..4].copy_from_slice(&stated.to_be_bytes());
        bytes[6] = 0x40;
        bytes[26..28].fill(0);
        bytes[10..12].fill(0);
        bytes
    };
    let packets = [(1, long(4000, 4000)), (2, long(70_000, 0))];
    assert_eq!(
        told(router(), &[raw(&packets)]),
        ["lan0 NEW forward #1", "1 NEW #1", "lan0 NEW forward #1"]
    );
    let mut replay = replay(router(), &[raw(&packets)]);
    while replay.burst() {}
    assert_eq!(replay.summary().superpackets, 2);
}

/// Keeps what left by time alone.
#[derive(Default)]
struct Later(Vec<Vec<u8>>);

impl Sink for Later {
    fn packet(&mut self, _: &Step<'_>) -> io::Result<()> {
        Ok(())
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        self.0.extend(meanwhile.out.iter().map(|left| left.bytes.to_vec()));
        Ok(())
    }
}

#[test]
fn what_left_by_time_alone_is_sighted_in_bursts_too() {
    let mut piece = udp(1, 64);
    piece[6] = 0x20;
    piece[16..20].copy_from_slice(&[192, 0, 2, 254]);
    piece[10..12].fill(0);
    let alone = [(1, 0, Some(INBOUND), piece), (40, 0, Some(INBOUND), udp(2, 64))];
    let mut later = Later::default();
    let mut first = replay(router(), &[two_sided(&alone)]);
    while first.step(&mut later).unwrap() {}
    let [error] = <[_; 1]>::try_from(later.0).unwrap();

    let [piece, other] = alone;
    let capture = [two_sided(&[piece, (31, 0, Some(OUTBOUND), error), other])];
    let (mut steps, mut bursts) = (replay(router(), &capture), replay(router(), &capture));
    while steps.step(&mut Notes::default()).unwrap() {}
    while bursts.burst() {}
    assert_eq!(steps.summary().verdicts.seen, 1);
    assert_eq!(bursts.summary().verdicts, steps.summary().verdicts);
}
