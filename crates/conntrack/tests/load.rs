//! Tables that start from a dump: what is printed is read back, and what was read is a connection
//! like any other.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use stateward_conntrack::text::{DumpLine, LabelNames, Output, ProcLine, read};
use stateward_conntrack::{
    Config, CtState, Flow, Hook, Instant, LoadError, Reason, Record, Tracker, Zone,
};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Packet, TcpFlags};

const NOW: Instant = Instant::from_secs(1_000_000);

/// Lines of the real conntrack(8) 1.4.7 and of the kernel.
const LINES: &[&str] = &[
    "ipv4     2 tcp      6 431999 ESTABLISHED src=192.0.2.1 dst=198.51.100.2 sport=40000 dport=80 src=198.51.100.2 dst=192.0.2.1 sport=80 dport=40000 [ASSURED] mark=0 use=1",
    "ipv4     2 udp      17 29 src=192.0.2.1 dst=198.51.100.2 sport=4000 dport=53 [UNREPLIED] src=198.51.100.2 dst=203.0.113.1 sport=53 dport=1024 mark=7 use=1",
    "ipv4     2 icmp     1 29 src=192.0.2.1 dst=198.51.100.2 type=8 code=0 id=77 src=198.51.100.2 dst=192.0.2.1 type=0 code=0 id=77 mark=0 use=1",
    "ipv4     2 sctp     132 9 CLOSED src=192.0.2.1 dst=198.51.100.2 sport=1 dport=2 [UNREPLIED] src=198.51.100.2 dst=192.0.2.1 sport=2 dport=1 mark=0 use=1",
    "ipv4     2 gre      47 179 src=192.0.2.1 dst=198.51.100.2 srckey=0x0 dstkey=0x1a src=198.51.100.2 dst=192.0.2.1 srckey=0x1a dstkey=0x0 [ASSURED] mark=0 use=1",
    "ipv4     2 unknown  50 599 src=192.0.2.1 dst=198.51.100.2 src=198.51.100.2 dst=192.0.2.1 mark=0 use=1",
    "ipv6     10 tcp      6 119 SYN_SENT src=2001:db8::1 dst=2001:db8::2 sport=40000 dport=22 packets=3 bytes=240 [UNREPLIED] src=2001:db8::2 dst=2001:db8::1 sport=22 dport=40000 packets=0 bytes=0 mark=0 use=1",
    "ipv4     2 udp      17 29 src=192.0.2.9 dst=198.51.100.2 sport=4000 dport=53 src=198.51.100.2 dst=192.0.2.9 sport=53 dport=4000 mark=0 zone=3 helper=tftp use=1",
    "ipv4     2 udp      17 29 src=192.0.2.9 dst=198.51.100.2 sport=4000 dport=53 zone-orig=4 src=198.51.100.2 dst=192.0.2.9 sport=53 dport=4000 zone-reply=5 mark=0 use=1",
];

fn load(lines: &[&str]) -> (Tracker, Vec<Record>) {
    let mut tracker = Tracker::new(Config::default());
    let load = |line: &&str| {
        let given = read(line).unwrap().unwrap();
        let id = tracker.load(&given, NOW).unwrap();
        tracker.get(id).unwrap()
    };
    let records = lines.iter().map(load).collect();
    (tracker, records)
}

#[test]
fn what_conntrack_prints_is_read_back_and_printed_alike() {
    let (_, records) = load(LINES);
    for (line, record) in LINES.iter().zip(&records) {
        let output = Output { extended: true, ..Output::default() };
        let extended = DumpLine { record, now: NOW, uses: 1, output }.to_string();
        assert_eq!(extended, *line);
    }
}

#[test]
fn every_style_is_read() {
    let names = LabelNames::new();
    for line in LINES {
        let given = read(line).unwrap().unwrap();
        let (_, records) = load(&[line]);
        let record = &records[0];
        let (labels, id) = (Some(&names), true);
        let output = Output { id, labels, ..Output::default() };
        let plain = DumpLine { record, now: NOW, uses: 1, output }.to_string();
        let proc = ProcLine { record, now: NOW, uses: 2 }.to_string();
        for text in [plain, proc.clone()] {
            let mut again = read(&text).unwrap().unwrap();
            if text == proc {
                // /proc does not tell helpers.
                again.helper = given.helper;
            }
            assert_eq!(again, given, "{text}");
        }
    }
    let end = "conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.";
    assert_eq!((read(end).unwrap(), read(" ").unwrap()), (None, None));
}

#[test]
fn what_is_no_entry_is_told_with_its_place() {
    let line = LINES[0];
    let cases = [
        (line.replace("sport=40000", "sport=4000x"), "`4000x` cannot be here", "sport=4000x"),
        (line.replace("dst=192.0.2.1", "dst=192.0.2.256"), "`192.0.2.256` is no address", "dst=192.0.2.256"),
        (line.replace("ESTABLISHED", "UNHEARD_OF"), "`UNHEARD_OF` is not known", "UNHEARD_OF"),
        (line.replace("ESTABLISHED ", ""), "the state is missing", ""),
        (line.replace(" sport=80 dport=40000", ""), "`sport=` or `dport=` is missing", ""),
        (line.replace("mark=0", "colour=red"), "`colour=red` is not known", "colour=red"),
        (line.replace("[ASSURED]", "[SURE]"), "`[SURE]` is not known", "[SURE]"),
        ("    [NEW] tcp 6 120 SYN_SENT".to_owned(), "this is an event, not an entry of a table: conntrack -L", "[NEW]"),
        ("Chain INPUT".to_owned(), "a protocol and its number are missing", "INPUT"),
        ("tcp 6 120 SYN_SENT src=192.0.2.1 dst=::1 sport=1 dport=2 src=::1 dst=::2 sport=2 dport=1".to_owned(), "both addresses must be of one family", ""),
    ];
    for (text, message, word) in cases {
        let error = read(&text).unwrap_err();
        assert_eq!(
            error.message,
            message.replace("`sport=` or `dport=`", "`sport= or dport=`"),
            "{text}"
        );
        let shown = text.get(error.at..error.at + error.length).unwrap_or_default();
        assert_eq!(shown, word, "{text}");
    }
}

#[test]
fn a_tuple_is_there_once() {
    let (mut tracker, _) = load(&LINES[..1]);
    let again = read(LINES[0]).unwrap().unwrap();
    assert_eq!(tracker.load(&again, NOW), Err(LoadError::Taken));
    assert_eq!(tracker.count(), 1);
}

fn segment(flags: TcpFlags, sequence: u32) -> Vec<u8> {
    compose::tcp(&Tcp {
        source: ("192.0.2.1".parse().unwrap(), 40_000),
        destination: ("198.51.100.2".parse().unwrap(), 80),
        sequence,
        acknowledgment: 99,
        flags,
        window: 1_000,
        options: &[],
        payload: b"?",
    })
}

#[test]
fn tcp_is_not_held_to_numbers_that_nobody_knows() {
    let (mut tracker, _) = load(&LINES[..1]);
    for sequence in [4_000_000_000, 7, 2_000_000_000] {
        let bytes = segment(TcpFlags::ACK, sequence);
        let packet = Packet::parse(&bytes).unwrap();
        let tracked = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, NOW);
        assert_eq!((tracked.state, tracked.reason), (CtState::Established, None::<Reason>));
        assert!(matches!(tracked.flow, Flow::Confirmed(_)));
    }
}

#[test]
fn what_is_loaded_ends_like_any_other() {
    let (mut tracker, records) = load(LINES);
    assert_eq!(tracker.count(), LINES.len());
    let last = records.iter().filter_map(|record| record.timeout).max().unwrap();
    tracker.handle_timeout(NOW + stateward_conntrack::Span::secs(last + 1));
    assert_eq!(tracker.count(), 0);
}
