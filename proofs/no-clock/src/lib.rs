//! The engine, driven through every part of it from two exported functions.
//!
//! Built for `wasm32-unknown-unknown` this is a module without a host: were there a clock, a
//! socket, a file, a thread or a random number anywhere in the core, it would have to be imported,
//! or would stand in the module as a function of std's that fails when it is called. `check` looks
//! for both, then runs the module without any host and compares [`drive`]'s digest with that of
//! this machine: the same packets, times and seed give the same results on 32 bits and on 64.
//!
//! Nothing of the core may be dropped by the linker for not being used. So [`drive`] meets every
//! protocol in both families, fragments, routing and its errors, bursts, timeouts, a full table,
//! events and dumps, and the digest takes in all that comes out, in words.

use std::fmt::Write as _;
use std::net::IpAddr;

use stateward_conntrack::expect::{Announcement, ExpectClass, ExpectFlags, ExpectMask, Identical};
use stateward_conntrack::text::{
    DumpLine, EventLine, ExpectLine, ExpectProcLine, Output, ProcLine, SaveLine,
};
use stateward_conntrack::{
    EventKind, Flow, Instant, L4Key, NANOS_PER_SECOND, Sysctls, Tuple, Zone,
};
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::SourceCheck;
use stateward_engine::{Arrival, Config, Emitted, Engine, From, Outcome, Port};
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::{TcpFlags, protocol};

/// Everything; returns a digest of all that the engine said.
#[unsafe(no_mangle)]
pub extern "C" fn drive() -> u64 {
    [true, false].into_iter().fold(FNV_START, |digest, routing| {
        let mut drive = Drive::new(routing, digest);
        drive.conversations();
        drive.expectations();
        drive.fragments();
        drive.hostile();
        drive.crowd();
        drive.end()
    })
}

/// An engine whose seed and packet come from outside, so that nothing can be worked out while
/// compiling. Returns the length of what the engine said of it.
#[unsafe(no_mangle)]
pub extern "C" fn drive_with(seed: u64, packet: u64) -> u64 {
    let mut config = Config::default();
    config.tracker.seed = [seed, packet];
    config.tracker.sysctls.max = 16;
    let mut engine = Engine::new(config);
    let mut bytes = compose::udp(end(LEFT[0], 1), end(RIGHT[0], 2), &packet.to_be_bytes());
    let now = Instant(packet);
    let mut arrival = Arrival { port: Port::Local, bytes: &mut bytes, now, link: None };
    let outcome = engine.process(&mut arrival, From::Wire);
    format!("{outcome:?}").len() as u64
}

const LEFT: [&str; 2] = ["192.168.1.2", "fd00:1::2"];
const RIGHT: [&str; 2] = ["203.0.113.9", "fd00:2::9"];
const OWN: [&str; 2] = ["192.168.1.1", "fd00:1::1"];
const LAN: Port = Port::Interface(InterfaceId(0));
const WAN: Port = Port::Interface(InterfaceId(1));

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

fn end(text: &str, port: u16) -> (IpAddr, u16) {
    (address(text), port)
}

struct Drive {
    engine: Engine,
    now: Instant,
    digest: u64,
}

impl Drive {
    fn new(routing: bool, digest: u64) -> Drive {
        let sysctls = Sysctls { max: 48, acct: true, timestamp: true, ..Sysctls::default() };
        let mut config = Config::default();
        config.tracker.sysctls = sysctls;
        config.tracker.seed = [1, 2];
        config.network = match routing {
            true => router(),
            false => Network::transparent(vec!["lan0".into(), "wan0".into()], OWN.map(address)),
        };
        let mut engine = Engine::new(config);
        engine.tracker_mut().set_listening(true);
        Drive { engine, now: Instant::from_secs(1_000), digest }
    }

    /// Each protocol, both ways, in both families.
    fn conversations(&mut self) {
        for family in 0..2 {
            let (left, right) = (LEFT[family], RIGHT[family]);
            self.tcp(end(left, 40_000), end(right, 80));
            for _ in 0..3 {
                self.send(LAN, compose::udp(end(left, 53_000), end(right, 53), b"query"));
                self.send(WAN, compose::udp(end(right, 53), end(left, 53_000), b"answer"));
                self.wait(3);
            }
            let (ask, answer, error) = [(8, 0, 3), (128, 129, 1)][family];
            let rest = compose::echo(7, 1);
            let asked = self.icmp((left, right), ask, rest, b"ping");
            self.icmp((right, left), answer, rest, b"ping");
            self.icmp((right, left), error, [0; 4], &asked);
            self.sctp(end(left, 5_000), end(right, 5_001));
            for number in [protocol::GRE, protocol::UDPLITE, protocol::DCCP, protocol::ESP, 253] {
                let payload = [0, 0, 8, 0, 0, 8, 0, 0, 1, 2, 3, 4];
                let packet = compose::ip(address(left), address(right), number, &payload);
                self.send(LAN, packet);
            }
            let own = compose::udp(end(OWN[family], 9), end(right, 9), b"from here");
            self.send(Port::Local, own);
            let own = compose::udp(end(left, 9), end(OWN[family], 9), b"to here");
            self.send(LAN, own);
        }
        self.dump();
    }

    fn tcp(&mut self, left: (IpAddr, u16), right: (IpAddr, u16)) {
        const SCALE_AND_SACK: &[u8] = &[3, 3, 7, 1, 4, 2, 1, 1];
        let mut segment = |port, ends: [(IpAddr, u16); 2], flags, numbers: [u32; 2], payload| {
            let [source, destination] = ends;
            let options = if flags & 2 != 0 { SCALE_AND_SACK } else { &[] };
            let stamped = Tcp::stamped(source, destination, TcpFlags(flags), numbers);
            let tcp = Tcp { options, payload, ..stamped };
            self.send(port, compose::tcp(&tcp));
        };
        let (forth, back) = ([left, right], [right, left]);
        segment(LAN, forth, 0x02, [100, 0], b"");
        segment(WAN, back, 0x12, [900, 101], b"");
        segment(LAN, forth, 0x10, [101, 901], b"");
        segment(LAN, forth, 0x18, [101, 901], b"GET /");
        segment(WAN, back, 0x18, [901, 106], b"200");
        segment(LAN, forth, 0x10, [9_000_000, 901], b"far away");
        segment(WAN, back, 0x02, [77, 0], b"");
        segment(LAN, forth, 0x11, [106, 904], b"");
        segment(WAN, back, 0x11, [904, 107], b"");
        segment(LAN, forth, 0x10, [107, 905], b"");
        segment(LAN, forth, 0x02, [5_000, 0], b"");
        segment(WAN, back, 0x14, [0, 5_001], b"");
        segment(WAN, back, 0x3f, [0, 0], b"every flag");
    }

    fn icmp(&mut self, ends: (&str, &str), kind: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
        let (source, destination) = (address(ends.0), address(ends.1));
        let bytes = compose::icmp(&Icmp { source, destination, kind, code: 0, rest, body });
        let port = if LEFT.contains(&ends.0) { LAN } else { WAN };
        self.send(port, bytes.clone());
        bytes
    }

    fn sctp(&mut self, left: (IpAddr, u16), right: (IpAddr, u16)) {
        let init = |kind, tag: u32| {
            let mut chunk = vec![kind, 0, 0, 20];
            chunk.extend(tag.to_be_bytes());
            chunk.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
            chunk
        };
        let plain = |kind| vec![kind, 0, 0, 4];
        self.send(LAN, compose::sctp(left, right, 0, &init(1, 11)));
        self.send(WAN, compose::sctp(right, left, 11, &init(2, 22)));
        self.send(LAN, compose::sctp(left, right, 22, &plain(10)));
        self.send(WAN, compose::sctp(right, left, 11, &plain(11)));
        self.send(LAN, compose::sctp(left, right, 22, &plain(7)));
        self.send(WAN, compose::sctp(right, left, 11, &plain(8)));
        self.send(LAN, compose::sctp(left, right, 99, &plain(14)));
    }

    /// A connection that another one announces, and one more that never comes.
    fn expectations(&mut self) {
        let (left, right) = (end(LEFT[0], 2_000), end(RIGHT[0], 69));
        self.send(LAN, compose::udp(left, right, b"read request"));
        let Some(master) = self.engine.tracker().dump().last() else { return };
        for port in [2_000, 2_001] {
            let l4 = L4Key::Ports { source: 0, destination: port };
            let (source, destination) = (address(RIGHT[0]), address(LEFT[0]));
            let tuple = Tuple::new(source, destination, protocol::UDP, l4, Zone::DEFAULT);
            let Some(tuple) = tuple else { return };
            let announcement = Announcement {
                tuple,
                mask: ExpectMask::ADDRESS,
                class: ExpectClass { number: 0, name: "", max_expected: 2, timeout: 30 },
                flags: ExpectFlags::default(),
                helper: "tftp",
                assigns: Some("tftp"),
                nat: None,
                identical: Identical::OfMaster,
            };
            let mut flow = Flow::Confirmed(master.id);
            let announced = self.engine.tracker_mut().expect(&mut flow, announcement);
            self.say(format_args!("{announced:?}"));
        }
        self.dump();
        self.send(WAN, compose::udp(end(RIGHT[0], 5_555), end(LEFT[0], 2_000), b"data"));
        self.dump();
        self.wait(31);
    }

    /// Packets that are cut on their way out, that come in pieces, and that never become whole.
    fn fragments(&mut self) {
        for family in 0..2 {
            let (source, destination) = (end(LEFT[family], 70), end(RIGHT[family], 71));
            let mut whole = compose::udp(source, destination, &[7; 1_400]);
            if family == 0 {
                whole[6] = 0;
                refresh_header_checksum(&mut whole);
            }
            self.send(LAN, whole.clone());
            let pieces = match family {
                0 => pieces_v4(&whole),
                _ => pieces_v6(&whole),
            };
            for piece in &pieces {
                self.send(LAN, piece.clone());
            }
            self.send(LAN, pieces[0].clone());
            self.send(LAN, pieces[0].clone());
            self.send(Port::Local, pieces[1].clone());
            self.wait(61);
        }
    }

    /// Bytes that are no packet, or hardly one.
    fn hostile(&mut self) {
        let whole = compose::udp(end(LEFT[0], 70), end(RIGHT[0], 71), &[7; 30]);
        for length in [0, 1, 19, 20, 23, 27] {
            self.send(LAN, whole[..length].to_vec());
        }
        for (at, value) in [(0, 0x4f), (0, 0x75), (3, 200), (8, 1), (16, 224), (12, 127), (27, 1)] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            refresh_header_checksum(&mut bytes);
            self.send(LAN, bytes);
        }
        // Router alert; a source route that leads nowhere.
        for option in [[148, 4, 0, 0], [131, 3, 4, 0]] {
            let mut bytes = whole.clone();
            bytes.splice(20..20, option);
            bytes[0] = 0x46;
            bytes[3] += 4;
            refresh_header_checksum(&mut bytes);
            self.send(LAN, bytes);
        }
        let nowhere = compose::udp(end(LEFT[0], 1), end("10.9.9.9", 1), b"no route");
        self.send(LAN, nowhere);
    }

    /// More connections than the table holds, in bursts, until their time is over.
    fn crowd(&mut self) {
        let mut packets: Vec<Vec<u8>> = (0..80)
            .map(|n| compose::udp(end(LEFT[n % 2], 1_000 + n as u16), end(RIGHT[n % 2], 53), b"n"))
            .collect();
        let now = self.now;
        let mut arrivals: Vec<Arrival<'_>> =
            packets.iter_mut().map(|bytes| Arrival { port: LAN, bytes, now, link: None }).collect();
        let mut outcomes = Vec::new();
        self.engine.process_burst(&mut arrivals, From::Capture, |_, _, outcome| {
            outcomes.push(outcome);
        });
        for outcome in outcomes {
            self.outcome(outcome);
        }
        self.dump();
        while let Some(next) = self.engine.next_timeout() {
            self.now = self.now.max(next);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.dump();
    }

    fn end(self) -> u64 {
        self.digest
    }

    fn send(&mut self, port: Port, mut bytes: Vec<u8>) {
        self.now.0 += 1_000;
        let mut arrival = Arrival { port, bytes: &mut bytes, now: self.now, link: None };
        let outcome = self.engine.process(&mut arrival, From::Wire);
        self.outcome(outcome);
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        self.now.0 += seconds * NANOS_PER_SECOND;
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    fn outcome(&mut self, outcome: Outcome) {
        self.say(format_args!("{outcome:?}"));
        if let Some(why) = outcome.why {
            self.say(format_args!("{} {why}", why.code()));
        }
    }

    fn drain(&mut self) {
        let (mut emitted, mut events): (Vec<Emitted>, _) = (Vec::new(), Vec::new());
        self.engine.take_emitted(&mut emitted);
        self.engine.take_events(&mut events);
        for packet in emitted {
            self.say(format_args!("{packet:?}"));
        }
        for event in events {
            self.say(format_args!("{event:?}"));
            self.say(format_args!("{}", EventLine { event: &event, output: OUTPUT }));
        }
    }

    fn dump(&mut self) {
        let records: Vec<_> = self.engine.tracker().dump().collect();
        let now = self.now;
        for record in &records {
            self.say(format_args!("{record:?}"));
            self.say(format_args!("{}", DumpLine { record, now, uses: 1, output: OUTPUT }));
            self.say(format_args!("{}", ProcLine { record, now, uses: 2 }));
            self.say(format_args!("{}", SaveLine { kind: EventKind::New, record }));
        }
        let expected: Vec<_> = self.engine.tracker().expectations().iter().cloned().collect();
        for expectation in &expected {
            self.say(format_args!("{}", ExpectLine { expectation, now, timestamp: true }));
            self.say(format_args!("{}", ExpectProcLine { expectation, now }));
        }
        let statistics = format!("{:?}", self.engine.tracker().statistics());
        self.say(format_args!("{statistics}"));
    }

    /// FNV-1a over the words.
    fn say(&mut self, words: std::fmt::Arguments<'_>) {
        let mut text = String::new();
        let _ = text.write_fmt(words);
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Everything that a line can hold.
const OUTPUT: Output<'static> =
    Output { timestamp: true, extended: true, id: true, ktimestamp: true, labels: None };

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// A router whose way out is narrower than its way in.
fn router() -> Network {
    let interface = |name: &str, addresses: [&str; 2], mtu| Interface {
        name: name.into(),
        addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        group: 0,
        mtu,
        link: Link::Ethernet,
        source_check: SourceCheck::default(),
    };
    let interfaces = vec![
        interface("lan0", ["192.168.1.1/24", "fd00:1::1/64"], 1_500),
        interface("wan0", ["203.0.113.1/24", "fd00:2::1/64"], 1_280),
    ];
    let to = |prefix: &str| prefix.parse().unwrap_or_default();
    let route = Route { to: to("198.51.100.0/24"), dev: InterfaceId(1), via: None };
    Network::new(interfaces, &[route], Routing::Forwarding)
}

fn refresh_header_checksum(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    let Some(header) = packet.get_mut(..length) else { return };
    header[10..12].fill(0);
    let sum = stateward_wire::checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An IPv4 packet without options in pieces of 400 bytes.
fn pieces_v4(whole: &[u8]) -> Vec<Vec<u8>> {
    let (header, payload) = whole.split_at(20);
    let last = payload.len().div_ceil(400) - 1;
    let piece = |(n, part): (usize, &[u8])| {
        let mut bytes = [header, part].concat();
        let more = if n < last { 0x2000 } else { 0 };
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[6..8].copy_from_slice(&((n * 50) as u16 | more).to_be_bytes());
        refresh_header_checksum(&mut bytes);
        bytes
    };
    payload.chunks(400).enumerate().map(piece).collect()
}

/// An IPv6 packet without extension headers in pieces of 400 bytes.
fn pieces_v6(whole: &[u8]) -> Vec<Vec<u8>> {
    let (header, payload) = whole.split_at(40);
    let last = payload.len().div_ceil(400) - 1;
    let piece = |(n, part): (usize, &[u8])| {
        let place = (n * 400) as u16 | u16::from(n < last);
        let [high, low] = place.to_be_bytes();
        let fragment = [header[6], 0, high, low, 0, 0, 0, 5];
        let mut bytes = [header, &fragment, part].concat();
        let length = (bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes[6] = protocol::FRAGMENT;
        bytes
    };
    payload.chunks(400).enumerate().map(piece).collect()
}
