//! SCTP: the running kernel against `stateward_conntrack::Tracker`, packet by packet.
//!
//! Every cell of the state tables first: each state is reached by a dialogue, then each chunk is
//! sent both ways with every sort of verification tag. Then random dialogues, whose chunks,
//! bundles, lengths and tags are drawn from the few that matter. Compared are state, direction, the
//! kernel's words where it has some, events with state, tags, status and timeout, and in the end
//! the table with counters. A failure prints its dialogue and the seed.
//!
//! STATEWARD_SCTP_SEED and STATEWARD_SCTP_ROUNDS choose other dialogues than the usual ones.
//! Without root or netfilter these tests say so and pass; with STATEWARD_REQUIRE_KERNEL=1 that
//! fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failure is the test's own"
)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_conntrack::{
    Config, Direction, Event, Flow, Hook, Instant, L4Key, PerDir, ProtocolInfo, Record, Sysctls,
    Tracker, Zone,
};
use stateward_wire::sctp::chunk::*;
use testkit::build::{Chunk, Packet, Transport, crc32c};
use testkit::kernel::{self, Kernel, Key, Port, Scenario, Step};

/// The tag that the client announces, and the server's packets carry.
const CLIENT: u32 = 0xaaaa_0001;
/// The tag that the server announces, and the client's packets carry.
const SERVER: u32 = 0xbbbb_0002;
/// The server's port. The client's tells the dialogues apart.
const PORT: u16 = 36412;

/// Timeouts of which each tells its state, and that nothing reaches.
const TIMEOUTS: [(&str, u32); 8] = [
    ("closed", 1000),
    ("cookie_wait", 1100),
    ("cookie_echoed", 1200),
    ("established", 1300),
    ("shutdown_sent", 1400),
    ("shutdown_recd", 1500),
    ("shutdown_ack_sent", 1600),
    ("heartbeat_sent", 1700),
];

/// A packet between the two hosts.
#[derive(Clone, Default)]
struct Said {
    client: u16,
    v6: bool,
    reply: bool,
    tag: u32,
    chunks: Vec<Chunk>,
    /// Bytes after the last chunk.
    tail: Vec<u8>,
    /// How many bytes of the SCTP packet are missing at its end, after the checksum was made.
    missing: usize,
    bad_checksum: bool,
}

impl Said {
    fn one(reply: bool, tag: u32, chunk: Chunk) -> Said {
        Said { reply, tag, chunks: vec![chunk], ..Said::default() }
    }

    fn of(self, client: u16) -> Said {
        Said { client, v6: client.is_multiple_of(3), ..self }
    }

    fn l4(&self) -> Vec<u8> {
        let ports = if self.reply { [PORT, self.client] } else { [self.client, PORT] };
        let mut l4 = ports.map(u16::to_be_bytes).concat();
        l4.extend_from_slice(&self.tag.to_be_bytes());
        l4.extend_from_slice(&[0; 4]);
        for chunk in &self.chunks {
            let length = chunk.length.unwrap_or(4 + chunk.value.len() as u16);
            l4.extend_from_slice(&[chunk.kind, chunk.flags]);
            l4.extend_from_slice(&length.to_be_bytes());
            l4.extend_from_slice(&chunk.value);
            l4.resize(l4.len().next_multiple_of(4), 0);
        }
        l4.extend_from_slice(&self.tail);
        let crc = crc32c(&l4) ^ u32::from(self.bad_checksum);
        l4.splice(8..12, crc.to_le_bytes());
        l4.truncate(l4.len().saturating_sub(self.missing));
        l4
    }

    fn bytes(&self) -> Vec<u8> {
        let v6 = |net, host| IpAddr::V6(Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, host));
        let (client, server) = if self.v6 {
            (v6(1, 0x10), v6(2, 0x20))
        } else {
            let v4 = |octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets));
            (v4([192, 168, 1, 10]), v4([198, 51, 100, 5]))
        };
        let (from, to) = if self.reply { (server, client) } else { (client, server) };
        Packet::new(from, to, Transport::Raw { protocol: 132, bytes: self.l4() }).bytes()
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.reply { "<-" } else { "->" };
        write!(f, "{} {arrow} tag {:x}:", self.client, self.tag)?;
        for chunk in &self.chunks {
            write!(f, " {}", chunk.kind)?;
            if chunk.flags != 0 {
                write!(f, " flags {:#x}", chunk.flags)?;
            }
            if let (INIT | INIT_ACK, Some(tag)) = (chunk.kind, chunk.value.first_chunk()) {
                write!(f, " announces {:x}", u32::from_be_bytes(*tag))?;
            }
            if let Some(length) = chunk.length {
                write!(f, " length {length}")?;
            }
            write!(f, " +{};", chunk.value.len())?;
        }
        let Said { tail, missing, bad_checksum, .. } = self;
        write!(f, " tail {tail:x?}, {missing} missing, bad checksum {bad_checksum}")
    }
}

/// An event or an entry, as far as SCTP has a part in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Told {
    ports: [u16; 2],
    name: String,
    status: u32,
    state: Option<&'static str>,
    tags: Option<[u32; 2]>,
    counters: Option<[(u64, u64); 2]>,
    timeout: Option<u32>,
}

impl Told {
    fn kernel(name: &str, entry: &kernel::Entry) -> Told {
        let tags = entry.sctp.and_then(|sctp| match sctp.tags {
            [Some(original), Some(reply)] => Some([original, reply]),
            _ => None,
        });
        let counters = match entry.counters {
            [Some(a), Some(b)] => Some([(a.packets, a.bytes), (b.packets, b.bytes)]),
            _ => None,
        };
        let Key::Ports { source, destination } = entry.original.unwrap().key else {
            panic!("{entry:?}")
        };
        Told {
            ports: [source, destination],
            name: name.to_owned(),
            status: entry.status.unwrap().0,
            state: entry.state(),
            tags,
            counters,
            timeout: entry.timeout,
        }
    }

    fn ours(name: &str, record: &Record) -> Told {
        let info = match record.protocol {
            Some(ProtocolInfo::Sctp(info)) => Some(info),
            _ => None,
        };
        let L4Key::Ports { source, destination } = record.original.l4() else {
            panic!("{record:?}")
        };
        Told {
            ports: [source, destination],
            name: name.to_owned(),
            status: record.status.0.into(),
            state: info.map(|info| info.state.name()),
            tags: info.and_then(|info| info.tags).map(|PerDir(tags)| tags),
            counters: record
                .counters
                .map(|PerDir([a, b])| [(a.packets, a.bytes), (b.packets, b.bytes)]),
            timeout: record.timeout,
        }
    }

    /// Equal, but for the seconds that a clock takes away.
    fn agrees(&self, other: &Told) -> bool {
        let near = match (self.timeout, other.timeout) {
            (Some(a), Some(b)) => a.abs_diff(b) <= 2,
            (a, b) => a == b,
        };
        near && Told { timeout: None, ..self.clone() } == Told { timeout: None, ..other.clone() }
    }
}

fn agree(a: &[Told], b: &[Told]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees(b))
}

/// The connection that an event is about.
fn record(event: &Event) -> &Record {
    event.connection().expect("an event about a connection")
}

/// Our side of the comparison.
struct Ours(Tracker);

impl Ours {
    fn new() -> Ours {
        let mut sysctls = Sysctls { acct: true, ..Sysctls::default() };
        for (name, value) in sysctls_of_the_test() {
            sysctls.set(&name, &value).unwrap();
        }
        let mut tracker = Tracker::new(Config { sysctls, ..Config::default() });
        tracker.set_listening(true);
        Ours(tracker)
    }

    /// State and direction, events, and the code of the reason.
    fn track(&mut self, bytes: &[u8], now: Instant) -> (String, Vec<Told>, &'static str) {
        let packet = stateward_wire::Packet::parse(bytes).unwrap();
        let mut tracked = self.0.track(&packet, Hook::Prerouting, Zone::DEFAULT, now);
        let direction = tracked.direction.map_or("", Direction::name);
        let class = format!("{} {direction}", tracked.state.name());
        if !matches!(tracked.flow, Flow::None) {
            self.0.confirm(&mut tracked.flow).unwrap();
        }
        let mut events = Vec::new();
        self.0.take_events(&mut events);
        let told = events.iter().map(|event| Told::ours(event.kind.name(), record(event)));
        (class, told.collect(), tracked.reason.map_or("", |reason| reason.code()))
    }

    fn table(&self) -> Vec<Told> {
        let mut table: Vec<Told> = self.0.dump().map(|entry| Told::ours("", &entry)).collect();
        table.sort();
        table
    }
}

fn sysctls_of_the_test() -> Vec<(String, String)> {
    let name = |state| format!("net.netfilter.nf_conntrack_sctp_timeout_{state}");
    TIMEOUTS.iter().map(|(state, seconds)| (name(*state), seconds.to_string())).collect()
}

/// Whether a reason of ours means what the kernel's words mean; for most it has none.
fn means(words: &[&str], code: &str) -> bool {
    let known = [
        ("short packet", "short_header"),
        ("bad CRC", "bad_checksum"),
        ("do_basic_checks failed", "sctp_chunks"),
        ("verification tag check failed", "sctp_verification_tag"),
        ("Invalid, old_state", "sctp_state"),
    ];
    words.iter().all(|words| known.iter().any(|(w, c)| words.contains(w) && *c == code))
}

/// Has both sides hear `said`; what they first differ in.
fn differ(kernel: &mut Kernel, said: &[Said]) -> Result<(), String> {
    let step = |said: &Said| Step::Packet {
        from: if said.reply { Port::Wan } else { Port::Lan },
        bytes: said.bytes(),
    };
    let scenario = Scenario {
        sysctls: sysctls_of_the_test(),
        steps: said.iter().map(step).collect(),
        ..Scenario::default()
    };
    let outcome = kernel.run(&scenario).expect("the judge");
    let mut ours = Ours::new();
    for (packet, observed) in said.iter().zip(&outcome.observations) {
        let direction = observed.direction().map_or(String::new(), |d| format!("{d:?}"));
        let class = match observed.state() {
            Some(state) => format!("{state:?}").to_uppercase() + " " + &direction.to_lowercase(),
            // The table is one for the machine: somebody else may have filled it.
            None => return Err(format!("the kernel dropped {packet}: {observed:?}")),
        };
        let told = observed.events.iter();
        let told: Vec<Told> =
            told.map(|event| Told::kernel(event.name(), event.connection().unwrap())).collect();
        let words = observed.invalid();
        let now = Instant(1 << 40 | observed.begun.as_nanos() as u64);
        let (our_class, our_told, code) = ours.track(&packet.bytes(), now);
        if class != our_class || !agree(&told, &our_told) || !means(&words, code) {
            let history = said.iter().filter(|said| said.client == packet.client);
            let history: Vec<String> = history.map(|said| format!("    {said}\n")).collect();
            return Err(format!(
                "{}  at {packet}\n  kernel {class} {told:x?} {words:?}\n  ours   {our_class} \
                 {our_told:x?} {code}",
                history.concat()
            ));
        }
    }
    let mut theirs: Vec<Told> = outcome.table.iter().map(|e| Told::kernel("", e)).collect();
    theirs.sort();
    let ours = ours.table();
    if agree(&theirs, &ours) {
        return Ok(());
    }
    let pair = theirs.iter().zip(&ours).find(|(a, b)| !a.agrees(b));
    let (a, b) = (theirs.len(), ours.len());
    Err(format!("tables of {a} and {b} entries, first different {pair:x?}"))
}

/// A kernel, or none after a message that says why.
fn kernel() -> Option<Kernel> {
    kernel::is_there().then(|| Kernel::new().expect("a namespace"))
}

fn chunk(kind: u8) -> Chunk {
    match kind {
        INIT => Chunk::init(false, CLIENT),
        INIT_ACK => Chunk::init(true, SERVER),
        _ => Chunk::new(kind, b"abcd"),
    }
}

/// A dialogue that leads to each state, and more than one where the way there matters.
fn beginnings() -> Vec<Vec<Said>> {
    let up = |kind| Said::one(false, if kind == INIT { 0 } else { SERVER }, chunk(kind));
    let down = |kind| Said::one(true, CLIENT, chunk(kind));
    let handshake = [up(INIT), down(INIT_ACK), up(COOKIE_ECHO), down(COOKIE_ACK)];
    let then = |more: &[Said]| [&handshake[..], more].concat();
    let strange = Said::one(false, 0x77, chunk(HEARTBEAT));
    let untagged = Said::one(false, 0, chunk(HEARTBEAT));
    vec![
        vec![],
        handshake[..1].to_vec(),
        handshake[..2].to_vec(),
        handshake[..3].to_vec(),
        then(&[]),
        then(&[up(SHUTDOWN)]),
        then(&[down(SHUTDOWN)]),
        then(&[up(SHUTDOWN), down(SHUTDOWN_ACK)]),
        then(&[up(SHUTDOWN), down(SHUTDOWN_ACK), up(SHUTDOWN_COMPLETE)]),
        then(&[down(ABORT)]),
        then(&[strange]),
        vec![up(HEARTBEAT)],
        vec![untagged],
        vec![up(HEARTBEAT), down(HEARTBEAT_ACK)],
        vec![up(SHUTDOWN_ACK)],
    ]
}

#[test]
fn every_cell_of_both_tables_with_every_sort_of_tag() {
    let Some(mut kernel) = kernel() else { return };
    let kinds = (0..=16).chain([I_DATA, ASCONF_ACK, RECONF, FORWARD_TSN, ASCONF, 0xff]);
    let mut probes = Vec::new();
    for (kind, tag, reply) in kinds
        .flat_map(|kind| [CLIENT, SERVER, 0, 0x1234_5678].map(|tag| (kind, tag)))
        .flat_map(|(kind, tag)| [false, true].map(|reply| (kind, tag, reply)))
    {
        probes.push(Said::one(reply, tag, chunk(kind)));
        if matches!(kind, ABORT | SHUTDOWN_COMPLETE) {
            let reflected = Chunk { flags: TAG_REFLECTED, ..chunk(kind) };
            probes.push(Said::one(reply, tag, reflected));
        }
        if matches!(kind, INIT | INIT_ACK) {
            let other = if kind == INIT { SERVER } else { CLIENT };
            probes.push(Said::one(reply, tag, Chunk::init(kind == INIT_ACK, other)));
        }
    }
    for (number, beginning) in beginnings().into_iter().enumerate() {
        let mut said = Vec::new();
        for (client, probe) in (1000..).zip(&probes) {
            said.extend(beginning.iter().cloned().map(|said| said.of(client)));
            said.push(probe.clone().of(client));
            // What the probe did to the tags shows in what follows.
            said.push(Said::one(false, SERVER, chunk(DATA)).of(client));
            said.push(Said::one(true, CLIENT, chunk(DATA)).of(client));
        }
        if let Err(difference) = differ(&mut kernel, &said) {
            panic!("after beginning {number}:\n{difference}");
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn chunk(&mut self, reply: bool) -> Chunk {
        const RARE: [u8; 10] = [SACK, ECN_ECHO, CWR, AUTH, 16, I_DATA, 0x80, 0xc0, 0xc1, 0xff];
        let kind = if self.one_in(20) {
            self.of(&RARE)
        } else {
            self.of(&[0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14])
        };
        let mut chunk = Chunk::new(kind, b"abcd");
        if matches!(kind, INIT | INIT_ACK) {
            let own = if reply { SERVER } else { CLIENT };
            let tag = self.of(&[own, own, own, CLIENT, SERVER, 3, 0]);
            chunk = Chunk::init(kind == INIT_ACK, tag);
            if self.one_in(20) {
                chunk.value.truncate(self.below(16));
            }
        } else if self.one_in(10) {
            // As a chunk header this is a SHUTDOWN.
            chunk.value = vec![SHUTDOWN; self.of(&[0, 1, 2, 3, 20])];
        }
        if self.one_in(5) {
            chunk.flags = self.of(&[1, 1, 2, 3, 0xfe, 0xff]);
        }
        if self.one_in(30) {
            chunk.length = Some(self.of(&[0, 1, 2, 3, 4, 5, 6, 7, 100, 65532, 65533, 65535]));
        }
        chunk
    }

    fn packet(&mut self) -> Said {
        let reply = self.one_in(2);
        let count = self.of(&[1, 1, 1, 1, 1, 1, 2, 2, 3, self.0 as usize % 5]);
        let chunks: Vec<Chunk> = (0..count).map(|_| self.chunk(reply)).collect();
        let (right, other) = if reply { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let mut tag = self.of(&[right, right, right, right, right, right, other, 0, 3, 4]);
        if chunks.iter().any(|chunk| chunk.kind == INIT) && !self.one_in(6) {
            tag = 0;
        }
        let mut said = Said { reply, tag, chunks, ..Said::default() };
        if self.one_in(30) {
            said.tail = vec![self.of(&[0, INIT, HEARTBEAT, ABORT]); self.of(&[1, 2, 3])];
        }
        said.bad_checksum = self.one_in(40);
        said.missing = if self.one_in(60) { self.below(20) } else { 0 };
        said
    }

    fn dialogue(&mut self) -> Vec<Said> {
        let (beginnings, length) = (beginnings(), 3 + self.below(20));
        let mut said = if self.one_in(4) { Vec::new() } else { self.of(&beginnings) };
        while said.len() < length {
            if self.one_in(10) {
                said.extend(self.of(&beginnings));
            }
            said.push(self.packet());
        }
        said
    }
}

#[test]
fn random_dialogues() {
    const DIALOGUES: u16 = 100;
    let Some(mut kernel) = kernel() else { return };
    let number = |name, usual| std::env::var(name).map_or(usual, |v| v.parse().expect("a number"));
    let first = number("STATEWARD_SCTP_SEED", 1);
    for seed in first..first + number("STATEWARD_SCTP_ROUNDS", 20) {
        let mut random = Random(seed);
        let dialogues = (2000..2000 + DIALOGUES)
            .flat_map(|client| random.dialogue().into_iter().map(move |said| said.of(client)));
        let said: Vec<Said> = dialogues.collect();
        if let Err(difference) = differ(&mut kernel, &said) {
            panic!("STATEWARD_SCTP_SEED={seed} STATEWARD_SCTP_ROUNDS=1\n{difference}");
        }
    }
}
