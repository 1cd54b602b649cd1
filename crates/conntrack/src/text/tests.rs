//! Every line here was printed by conntrack 1.4.7 or Linux 6.18, but for offloaded connections,
//! which take a flow table to make; only ids and what does not change the form are ours.

mod expectations;

use core::net::IpAddr;

use super::*;
use crate::PerDir;
use crate::event::{Counter, GreTimeouts, Timestamps};
use crate::sctp::{SctpInfo, SctpState};
use crate::tcp::{TcpInfo, TcpState};
use crate::time::Span;

const NOW: Instant = Instant::from_secs(1_795_225_163);

/// The first id of a table: slot 0, never used before.
const FIRST: ConnId = ConnId { slot: 0, generation: 0 };

fn tuple(source: &str, destination: &str, protocol: u8, l4: L4Key) -> Tuple {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Tuple::new(address(source), address(destination), protocol, l4, Zone::DEFAULT).unwrap()
}

const fn ports(source: u16, destination: u16) -> L4Key {
    L4Key::Ports { source, destination }
}

/// A connection that nothing is known of but where it goes, with the reply as its inverse.
fn between(source: &str, destination: &str, protocol: u8, l4: L4Key) -> Record {
    let original = tuple(source, destination, protocol, l4);
    Record {
        id: FIRST,
        original,
        reply: original.inverse().unwrap(),
        status: Status::CONFIRMED,
        timeout: None,
        protocol: None,
        gre: None,
        mark: None,
        counters: None,
        event_time: None,
        timestamps: None,
        labels: None,
        helper: None,
        master: None,
    }
}

/// What `conntrack -I` makes between these two with nf_conntrack_acct and nf_conntrack_timestamp
/// on.
fn made(protocol: u8, l4: L4Key) -> Record {
    counted(between("1.1.1.1", "2.2.2.2", protocol, l4))
}

fn counted(record: Record) -> Record {
    Record {
        timeout: Some(49),
        mark: Some(0),
        counters: Some(PerDir::default()),
        timestamps: Some(Timestamps { start: NOW, stop: None }),
        ..record
    }
}

fn tcp(state: TcpState) -> Option<ProtocolInfo> {
    Some(ProtocolInfo::Tcp(TcpInfo { state, sides: None }))
}

fn in_zones(mut record: Record, original: u16, reply: u16) -> Record {
    record.original.key.zone = original;
    record.reply.key.zone = reply;
    record
}

fn dump(record: &Record) -> String {
    DumpLine { record, now: NOW, uses: 1, output: Output::default() }.to_string()
}

fn dump_with(record: &Record, output: Output<'_>) -> String {
    DumpLine { record, now: NOW, uses: 1, output }.to_string()
}

fn proc(record: &Record) -> String {
    ProcLine { record, now: NOW, uses: 2 }.to_string()
}

fn event(kind: EventKind, record: Record, output: Output<'_>) -> String {
    let event = Event { kind, at: NOW, subject: Subject::Connection(record) };
    EventLine { event: &event, output }.to_string()
}

/// The record of a dump as conntrack -L, conntrack -L -o extended and /proc print it.
#[track_caller]
fn prints(record: &Record, tool: &str, kernel: &str) {
    assert_eq!(dump(record), tool);
    let output = Output { extended: true, ..Output::default() };
    let family = kernel.get(..if kernel.starts_with("ipv4") { 11 } else { 12 }).unwrap();
    assert_eq!(dump_with(record, output), format!("{family}{tool}"));
    assert_eq!(proc(record), kernel);
}

#[test]
fn every_protocol_has_its_words() {
    let sctp = SctpInfo { state: SctpState::ShutdownAckSent, tags: Some(PerDir([5, 6])) };
    let sctp =
        Record { protocol: Some(ProtocolInfo::Sctp(sctp)), ..made(protocol::SCTP, ports(1, 2)) };
    prints(
        &sctp,
        "sctp     132 49 SHUTDOWN_ACK_SENT src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 \
         bytes=0 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 mark=0 \
         delta-time=0 use=1",
        "ipv4     2 sctp     132 49 SHUTDOWN_ACK_SENT src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 \
         packets=0 bytes=0 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 \
         mark=0 zone=0 delta-time=0 use=2",
    );
    prints(
        &made(protocol::UDPLITE, ports(1, 2)),
        "udplite  136 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 bytes=0 [UNREPLIED] \
         src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 mark=0 delta-time=0 use=1",
        "ipv4     2 udplite  136 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 bytes=0 \
         [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 mark=0 zone=0 \
         delta-time=0 use=2",
    );
    prints(
        &made(protocol::ICMP, L4Key::Icmp { kind: 13, code: 0, id: 65535 }),
        "icmp     1 49 src=1.1.1.1 dst=2.2.2.2 type=13 code=0 id=65535 packets=0 bytes=0 \
         [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 type=14 code=0 id=65535 packets=0 bytes=0 mark=0 \
         delta-time=0 use=1",
        "ipv4     2 icmp     1 49 src=1.1.1.1 dst=2.2.2.2 type=13 code=0 id=65535 packets=0 \
         bytes=0 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 type=14 code=0 id=65535 packets=0 bytes=0 \
         mark=0 zone=0 delta-time=0 use=2",
    );
    let query = L4Key::Icmp { kind: 128, code: 0, id: 0 };
    prints(
        &counted(between("::1", "::2", protocol::ICMPV6, query)),
        "icmpv6   58 49 src=::1 dst=::2 type=128 code=0 id=0 packets=0 bytes=0 [UNREPLIED] \
         src=::2 dst=::1 type=129 code=0 id=0 packets=0 bytes=0 mark=0 delta-time=0 use=1",
        "ipv6     10 icmpv6   58 49 src=0000:0000:0000:0000:0000:0000:0000:0001 \
         dst=0000:0000:0000:0000:0000:0000:0000:0002 type=128 code=0 id=0 packets=0 bytes=0 \
         [UNREPLIED] src=0000:0000:0000:0000:0000:0000:0000:0002 \
         dst=0000:0000:0000:0000:0000:0000:0000:0001 type=129 code=0 id=0 packets=0 bytes=0 \
         mark=0 zone=0 delta-time=0 use=2",
    );
}

#[test]
fn gre_tells_its_keys_and_in_proc_its_timeouts() {
    let keys = L4Key::Gre { source: 0xabcd, destination: 0xffff };
    let mut gre = Record { gre: Some(GreTimeouts::default()), ..made(protocol::GRE, keys) };
    prints(
        &gre,
        "gre      47 49 src=1.1.1.1 dst=2.2.2.2 srckey=0xabcd dstkey=0xffff packets=0 bytes=0 \
         [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 srckey=0xffff dstkey=0xabcd packets=0 bytes=0 mark=0 \
         delta-time=0 use=1",
        "ipv4     2 gre      47 49 timeout=0, stream_timeout=0 src=1.1.1.1 dst=2.2.2.2 \
         srckey=0xabcd dstkey=0xffff packets=0 bytes=0 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 \
         srckey=0xffff dstkey=0xabcd packets=0 bytes=0 mark=0 zone=0 delta-time=0 use=2",
    );
    gre = between("10.0.1.2", "10.0.2.2", protocol::GRE, L4Key::Gre { source: 0, destination: 0 });
    gre.timeout = Some(27);
    gre.mark = Some(0);
    gre.gre = Some(GreTimeouts { timeout: 30, stream_timeout: 180 });
    prints(
        &gre,
        "gre      47 27 src=10.0.1.2 dst=10.0.2.2 srckey=0x0 dstkey=0x0 [UNREPLIED] src=10.0.2.2 \
         dst=10.0.1.2 srckey=0x0 dstkey=0x0 mark=0 use=1",
        "ipv4     2 gre      47 27 timeout=30, stream_timeout=180 src=10.0.1.2 dst=10.0.2.2 \
         srckey=0x0 dstkey=0x0 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 srckey=0x0 dstkey=0x0 mark=0 \
         zone=0 use=2",
    );
}

#[test]
fn a_protocol_without_a_tracker_is_unknown_but_the_tool_knows_dccp() {
    prints(
        &made(255, L4Key::None),
        "unknown  255 49 src=1.1.1.1 dst=2.2.2.2 packets=0 bytes=0 [UNREPLIED] src=2.2.2.2 \
         dst=1.1.1.1 packets=0 bytes=0 mark=0 delta-time=0 use=1",
        "ipv4     2 unknown  255 49 src=1.1.1.1 dst=2.2.2.2 packets=0 bytes=0 [UNREPLIED] \
         src=2.2.2.2 dst=1.1.1.1 packets=0 bytes=0 mark=0 zone=0 delta-time=0 use=2",
    );
    prints(
        &made(protocol::DCCP, L4Key::None),
        "dccp     33 49 src=1.1.1.1 dst=2.2.2.2 sport=0 dport=0 packets=0 bytes=0 [UNREPLIED] \
         src=2.2.2.2 dst=1.1.1.1 sport=0 dport=0 packets=0 bytes=0 mark=0 delta-time=0 use=1",
        "ipv4     2 unknown  33 49 src=1.1.1.1 dst=2.2.2.2 packets=0 bytes=0 [UNREPLIED] \
         src=2.2.2.2 dst=1.1.1.1 packets=0 bytes=0 mark=0 zone=0 delta-time=0 use=2",
    );
}

#[test]
fn tcp_is_told_with_its_state_counters_mark_helper_and_translation() {
    let mut record = between("10.0.1.2", "10.0.2.2", protocol::TCP, ports(41003, 8080));
    record.reply = tuple("10.0.2.2", "10.0.2.1", protocol::TCP, ports(8080, 41003));
    record.status |= Status::SEEN_REPLY | Status::ASSURED;
    record.timeout = Some(431_999);
    record.protocol = tcp(TcpState::Established);
    record.mark = Some(42);
    record.helper = Some("ftp");
    let counter = |packets, bytes| Counter { packets, bytes };
    record.counters = Some(PerDir([counter(4, 316), counter(3, 264)]));
    record.timestamps = Some(Timestamps { start: Instant(1_795_208_301_462_696_180), stop: None });
    let now = Instant(1_795_208_301_900_000_000);
    let line = DumpLine { record: &record, now, uses: 1, output: Output::default() };
    assert_eq!(
        line.to_string(),
        "tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=41003 dport=8080 packets=4 \
         bytes=316 src=10.0.2.2 dst=10.0.2.1 sport=8080 dport=41003 packets=3 bytes=264 [ASSURED] \
         mark=42 delta-time=0 helper=ftp use=1"
    );
    record.id = ConnId { slot: 4_087_859_093, generation: 0 };
    record.labels = Some(1 << 3);
    let names = LabelNames::from([(3, "seen-3".into())]);
    let output = Output {
        timestamp: false,
        extended: true,
        id: true,
        ktimestamp: true,
        labels: Some(&names),
    };
    assert_eq!(
        DumpLine { record: &record, now, uses: 1, output }.to_string(),
        "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=41003 dport=8080 \
         packets=4 bytes=316 src=10.0.2.2 dst=10.0.2.1 sport=8080 dport=41003 packets=3 bytes=264 \
         [ASSURED] mark=42 delta-time=0 [start=Fri Nov 20 20:58:21 2026] helper=ftp use=1 \
         id=4087859093 labels=seen-3"
    );
    assert_eq!(
        ProcLine { record: &record, now, uses: 2 }.to_string(),
        "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=41003 dport=8080 \
         packets=4 bytes=316 src=10.0.2.2 dst=10.0.2.1 sport=8080 dport=41003 packets=3 bytes=264 \
         [ASSURED] mark=42 zone=0 delta-time=0 use=2"
    );
}

#[test]
fn zones_are_told_together_or_apart() {
    let udp = || made(protocol::UDP, ports(1, 2));
    let mut original = in_zones(udp(), 7, 0);
    original.mark = Some(4_294_967_295);
    prints(
        &original,
        "udp      17 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 zone-orig=7 packets=0 bytes=0 \
         [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 mark=4294967295 \
         delta-time=0 use=1",
        "ipv4     2 udp      17 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 zone-orig=7 packets=0 \
         bytes=0 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 \
         mark=4294967295 delta-time=0 use=2",
    );
    prints(
        &in_zones(udp(), 0, 8),
        "udp      17 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 bytes=0 [UNREPLIED] \
         src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 zone-reply=8 packets=0 bytes=0 mark=0 \
         delta-time=0 use=1",
        "ipv4     2 udp      17 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 bytes=0 \
         [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 zone-reply=8 packets=0 bytes=0 mark=0 \
         delta-time=0 use=2",
    );
    prints(
        &in_zones(udp(), 9, 9),
        "udp      17 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 bytes=0 [UNREPLIED] \
         src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 mark=0 zone=9 delta-time=0 use=1",
        "ipv4     2 udp      17 49 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 packets=0 bytes=0 \
         [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 packets=0 bytes=0 mark=0 zone=9 \
         delta-time=0 use=2",
    );
}

#[test]
fn addresses_are_the_c_librarys_for_the_tool_and_whole_in_proc() {
    for (address, compressed, expanded) in [
        ("::", "::", "0000:0000:0000:0000:0000:0000:0000:0000"),
        ("::1", "::1", "0000:0000:0000:0000:0000:0000:0000:0001"),
        ("::1.2.3.4", "::1.2.3.4", "0000:0000:0000:0000:0000:0000:0102:0304"),
        ("::1:2", "::0.1.0.2", "0000:0000:0000:0000:0000:0000:0001:0002"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4", "0000:0000:0000:0000:0000:ffff:0102:0304"),
        ("::ffff:0:102:304", "::ffff:0:102:304", "0000:0000:0000:0000:ffff:0000:0102:0304"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3", "0001:0000:0000:0002:0000:0000:0000:0003"),
        ("0:0:1:0:0:1:0:0", "::1:0:0:1:0:0", "0000:0000:0001:0000:0000:0001:0000:0000"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7", "0001:0000:0002:0003:0004:0005:0006:0007"),
        ("1:2:3:4:5:6::", "1:2:3:4:5:6::", "0001:0002:0003:0004:0005:0006:0000:0000"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304", "0064:ff9b:0000:0000:0000:0000:0102:0304"),
        ("10.0.1.2", "10.0.1.2", "10.0.1.2"),
    ] {
        let parsed = address.parse().unwrap();
        assert_eq!(Compressed(parsed).to_string(), compressed, "{address}");
        assert_eq!(Expanded(parsed).to_string(), expanded, "{address}");
    }
}

#[test]
fn an_event_has_its_tag_and_only_what_its_message_carries() {
    let mut record = between("10.0.1.2", "10.0.2.2", protocol::TCP, ports(40001, 80));
    record.timeout = Some(120);
    record.protocol = tcp(TcpState::SynSent);
    record.id.slot = 1_628_969_345;
    let at = Instant(1_795_208_293_904_087_999);
    let subject = Subject::Connection(record.clone());
    let output = Output { timestamp: true, id: true, ..Output::default() };
    let told = Event { kind: EventKind::New, at, subject };
    assert_eq!(
        EventLine { event: &told, output }.to_string(),
        "[1795208293.904087]\t    [NEW] tcp      6 120 SYN_SENT src=10.0.1.2 dst=10.0.2.2 \
         sport=40001 dport=80 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 sport=80 dport=40001 \
         id=1628969345"
    );
    record.timeout = Some(432_000);
    record.protocol = tcp(TcpState::Established);
    record.status |= Status::SEEN_REPLY | Status::ASSURED;
    assert_eq!(
        event(EventKind::Update, record, Output::default()),
        " [UPDATE] tcp      6 432000 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=40001 dport=80 \
         src=10.0.2.2 dst=10.0.1.2 sport=80 dport=40001 [ASSURED]"
    );
    let unknown = between("10.0.1.2", "10.0.2.2", 50, L4Key::None);
    assert_eq!(
        event(EventKind::New, Record { timeout: Some(600), ..unknown }, Output::default()),
        "    [NEW] unknown  50 600 src=10.0.1.2 dst=10.0.2.2 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2"
    );
}

#[test]
fn the_event_of_a_connection_that_was_taken_out_has_counters_and_times() {
    let start = Instant(1_795_208_301_462_696_180);
    let mut record = between("10.0.1.2", "10.0.2.2", protocol::TCP, ports(41003, 8080));
    record.reply = tuple("10.0.2.2", "10.0.2.1", protocol::TCP, ports(8080, 41003));
    record.status |= Status::SEEN_REPLY | Status::ASSURED;
    record.timeout = Some(431_999);
    record.protocol = tcp(TcpState::Established);
    record.mark = Some(42);
    record.counters = Some(PerDir::default());
    record.timestamps = Some(Timestamps { start, stop: Some(start + Span(400_000_000)) });
    let output = Output { extended: true, ktimestamp: true, ..Output::default() };
    assert_eq!(
        event(EventKind::Destroy, record, output),
        "[DESTROY] ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=41003 \
         dport=8080 packets=0 bytes=0 src=10.0.2.2 dst=10.0.2.1 sport=8080 dport=41003 packets=0 \
         bytes=0 [ASSURED] mark=42 delta-time=0 [start=Fri Nov 20 20:58:21 2026] \
         [stop=Fri Nov 20 20:58:21 2026]"
    );
}

#[test]
fn the_event_of_a_connection_that_ended_by_itself_has_no_timeout() {
    let mut record = made(protocol::UDP, ports(1, 2));
    record.reply = tuple("3.3.3.3", "4.4.4.4", protocol::UDP, ports(7, 8));
    record.timeout = None;
    record.mark = None;
    // Half a second apart, but of two different seconds.
    let start = Instant(1_795_225_163_651_000_000);
    record.timestamps = Some(Timestamps { start, stop: Some(start + Span(500_000_000)) });
    let event = |record: &Record| {
        let subject = Subject::Connection(record.clone());
        Event { kind: EventKind::Destroy, at: Instant(1_795_225_164_660_581_000), subject }
    };
    let output = Output { timestamp: true, ..Output::default() };
    assert_eq!(
        EventLine { event: &event(&record), output }.to_string(),
        "[1795225164.660581]\t[DESTROY] udp      17 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 \
         packets=0 bytes=0 [UNREPLIED] src=3.3.3.3 dst=4.4.4.4 sport=7 dport=8 packets=0 bytes=0 \
         delta-time=1"
    );
}

#[test]
fn the_age_is_of_whole_seconds_for_the_tool_and_of_the_difference_for_the_kernel() {
    let mut record = made(protocol::UDP, ports(1, 2));
    record.timestamps = Some(Timestamps { start: NOW + Span(900_000_000), stop: None });
    let now = NOW + Span(1_100_000_000);
    let tool = DumpLine { record: &record, now, uses: 1, output: Output::default() }.to_string();
    assert!(tool.contains(" delta-time=1 "), "{tool}");
    let kernel = ProcLine { record: &record, now, uses: 2 }.to_string();
    assert!(kernel.contains(" delta-time=0 "), "{kernel}");
}

#[test]
fn labels_without_a_name_are_passed_over() {
    let names = LabelNames::from([(0, "zero".into()), (3, "seen-3".into()), (127, "last".into())]);
    let told = |labels| {
        let mut record = between("127.0.0.1", "127.0.0.1", protocol::UDP, ports(42986, 9192));
        record.timeout = Some(30);
        record.labels = Some(labels);
        event(EventKind::New, record, Output { labels: Some(&names), ..Output::default() })
    };
    const LINE: &str = "    [NEW] udp      17 30 src=127.0.0.1 dst=127.0.0.1 sport=42986 \
                        dport=9192 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=9192 dport=42986";
    assert_eq!(told(0), LINE);
    assert_eq!(told(1 << 3), format!("{LINE} labels=seen-3"));
    assert_eq!(told(1 << 127 | 1 | 1 << 50), format!("{LINE} labels=zero,last"));
    assert_eq!(told(1 << 50), format!("{LINE} labels"), "as the tool has it");
}

#[test]
fn microseconds_are_padded_for_connections_alone() {
    let at = Instant(1_795_224_975_000_935_000);
    assert_eq!(Prefix::Padded(at).to_string(), "[1795224975.000935]\t");
    assert_eq!(
        Prefix::Flush(Instant(1_795_224_881_001_122_000)).to_string(),
        "[1795224881.1122  ]\t"
    );
    assert_eq!(
        Prefix::Flush(Instant(1_795_224_881_024_483_000)).to_string(),
        "[1795224881.24483 ]\t"
    );
}

#[test]
fn calendar_times_are_those_of_ctime() {
    for (seconds, text) in [
        (0, "Thu Jan  1 00:00:00 1970"),
        (951_782_400, "Tue Feb 29 00:00:00 2000"),
        (1_709_208_000, "Thu Feb 29 12:00:00 2024"),
        (1_735_689_599, "Tue Dec 31 23:59:59 2024"),
        (1_795_208_301, "Fri Nov 20 20:58:21 2026"),
        (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
        (18_446_744_073, "Sun Jul 21 23:34:33 2554"),
    ] {
        assert_eq!(CalendarTime(Instant::from_secs(seconds)).to_string(), text);
    }
}

#[test]
fn offloaded_connections_have_no_timeout_in_proc() {
    let mut record = made(protocol::TCP, ports(1, 2));
    record.protocol = tcp(TcpState::Established);
    record.status |= Status::SEEN_REPLY | Status::ASSURED | Status::OFFLOAD;
    let line = proc(&record);
    assert!(line.starts_with("ipv4     2 tcp      6 src=1.1.1.1 "), "{line}");
    assert!(line.contains(" bytes=0 [OFFLOAD] mark=0 "), "{line}");
    record.status |= Status::HW_OFFLOAD;
    assert!(dump(&record).contains(" bytes=0 [HW_OFFLOAD] mark=0 "));
}

fn save(record: &Record) -> String {
    SaveLine { kind: EventKind::New, record }.to_string()
}

#[test]
fn a_saved_connection_is_the_command_that_makes_it_again() {
    let udp = || made(protocol::UDP, ports(1, 2));
    const TAIL: &str = "-s 1.1.1.1 -d 2.2.2.2 -r 2.2.2.2 -q 1.1.1.1 -p";
    let port = "--sport 1 --dport 2 --reply-port-src 2 --reply-port-dst 1";
    assert_eq!(save(&udp()), format!("-A -t 49 -u UNSET {TAIL} udp {port}"));
    assert_eq!(save(&in_zones(udp(), 9, 9)), format!("-A -t 49 -u UNSET -w 9 {TAIL} udp {port}"));
    let zoned = save(&in_zones(udp(), 7, 0));
    assert_eq!(zoned, format!("-A -t 49 -u UNSET --orig-zone 7 {TAIL} udp {port}"));
    let zoned = save(&in_zones(udp(), 0, 8));
    assert_eq!(zoned, format!("-A -t 49 -u UNSET --reply-zone 8 {TAIL} udp {port}"));
    let mut record = made(protocol::TCP, ports(1, 2));
    record.protocol = tcp(TcpState::SynSent2);
    record.status |= Status::SEEN_REPLY | Status::ASSURED | Status::FIXED_TIMEOUT;
    assert_eq!(
        save(&record),
        format!("-A -t 49 -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT {TAIL} tcp {port} --state SYN_SENT2")
    );
    let sctp = SctpInfo { state: SctpState::ShutdownAckSent, tags: Some(PerDir([5, 6])) };
    let mut record = made(protocol::SCTP, ports(1, 2));
    record.protocol = Some(ProtocolInfo::Sctp(sctp));
    let state = "--state SHUTDOWN_ACK_SENT --orig-vtag 5 --reply-vtag 6";
    assert_eq!(save(&record), format!("-A -t 49 -u UNSET {TAIL} sctp {port} {state}"));
    record.protocol =
        Some(ProtocolInfo::Sctp(SctpInfo { state: SctpState::Established, tags: None }));
    record.timeout = None;
    assert_eq!(
        SaveLine { kind: EventKind::Destroy, record: &record }.to_string(),
        format!("-D -u UNSET {TAIL} sctp {port} --state ESTABLISHED")
    );
    let gre = made(protocol::GRE, L4Key::Gre { source: 0xabcd, destination: 0xffff });
    let keys = "--srckey 43981 --dstkey 65535 --reply-key-src 65535 --reply-key-dst 43981";
    assert_eq!(save(&gre), format!("-A -t 49 -u UNSET {TAIL} gre {keys}"));
    let icmp = made(protocol::ICMP, L4Key::Icmp { kind: 13, code: 0, id: 65535 });
    let query = "--icmp-type 13 --icmp-code 0 --icmp-id 65535";
    assert_eq!(save(&icmp), format!("-A -t 49 -u UNSET {TAIL} icmp {query}"));
    let icmp = L4Key::Icmp { kind: 128, code: 0, id: 0 };
    assert_eq!(
        save(&counted(between("::1", "::2", protocol::ICMPV6, icmp))),
        "-A -t 49 -u UNSET -s ::1 -d ::2 -r ::2 -q ::1 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 \
         --icmpv6-id 0"
    );
    assert_eq!(save(&made(33, L4Key::None)), format!("-A -t 49 -u UNSET {TAIL} dccp"));
    assert_eq!(save(&made(255, L4Key::None)), format!("-A -t 49 -u UNSET {TAIL} 255"));
}

#[test]
fn a_saved_translation_is_one_only_where_nat_was_at_work() {
    let mut record = made(protocol::UDP, ports(1, 2));
    record.reply = tuple("3.3.3.3", "4.4.4.4", protocol::UDP, ports(7, 8));
    let port = "-p udp --sport 1 --dport 2 --reply-port-src 7 --reply-port-dst 8";
    assert_eq!(
        save(&record),
        format!("-A -t 49 -u UNSET -s 1.1.1.1 -d 2.2.2.2 -r 3.3.3.3 -q 4.4.4.4 {port}")
    );
    record.status |= Status::SRC_NAT_DONE | Status::DST_NAT_DONE;
    record.reply = tuple("8.8.8.8", "9.9.9.9", protocol::UDP, ports(88, 77));
    assert_eq!(
        save(&in_zones(record.clone(), 3, 3)),
        "-A -t 49 -u UNSET -w 3 -s 1.1.1.1 -d 2.2.2.2 -g 8.8.8.8 -n 9.9.9.9 -p udp --sport 1 \
         --dport 2 --reply-port-src 88 --reply-port-dst 77"
    );
    record.reply = tuple("2.2.2.2", "1.1.1.1", protocol::UDP, ports(2, 77));
    assert_eq!(
        save(&record),
        "-A -t 49 -u UNSET -s 1.1.1.1 -d 2.2.2.2 -r 2.2.2.2 -q 1.1.1.1 -p udp --sport 1 --dport 2 \
         --reply-port-src 2 --reply-port-dst 77"
    );
}
