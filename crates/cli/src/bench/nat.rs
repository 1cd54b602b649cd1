//! `stateward bench --nat`: what translation costs.
//!
//! Two engines get the same connections: one has a nat table without rules, so that every
//! connection is bound to itself, one translates all sources to one address. Half of that address's
//! ports are in use towards one server, and the table is otherwise empty: so every other new
//! connection has to look for a port. Packets of connections that stand go both ways at random.
//!
//! What a translated connection takes of memory is measured as [`super`] does it, in a table full of
//! them.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant as Clock};

use stateward_conntrack::{CtState, Instant, Span, Sysctls};
use stateward_engine::{Arrival, Config, Engine, From, InterfaceId, Port};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{Source, ValidRuleset};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Family, TcpFlags};

use super::figures::Rounds;
use super::{BATCH, BATCHES, BenchArgs, BenchError, Format, ROUNDS, Random, memory};

/// Connections that stand towards one server: half of the ports from 1024 on.
const STANDING: u32 = (65_536 - 1024) / 2;
/// New connections of a round, which end before the next.
const NEW: u32 = 2048;

/// The first of the servers, and their port.
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 0, 0), 443);
const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Measures and prints.
pub(super) fn run(args: &BenchArgs, out: &mut impl Write) -> Result<(), BenchError> {
    let bytes = memory_of_one(args)?;
    let mut subjects = [None, Some(OWN)].map(|own| Subject::new(args, own, 2 * (STANDING + NEW)));
    subjects.iter_mut().for_each(|subject| subject.fill(STANDING));
    let budget = Duration::from_secs_f64(args.seconds);
    let mut established = [Rounds::default(), Rounds::default()];
    let began = Clock::now();
    while established[0].count() < ROUNDS || began.elapsed() < budget.mul_f64(0.5) {
        for (rounds, subject) in established.iter_mut().zip(&mut subjects) {
            rounds.push(subject.established(), (BATCH * BATCHES) as u64);
        }
    }
    let mut new = [Rounds::default(), Rounds::default()];
    let began = Clock::now();
    while new[0].count() < ROUNDS || began.elapsed() < budget.mul_f64(0.5) {
        for (rounds, subject) in new.iter_mut().zip(&mut subjects) {
            rounds.push(subject.begin_and_end(), u64::from(NEW));
        }
    }
    if let Some(wrong) = subjects.into_iter().find_map(|subject| subject.wrong) {
        return Err(BenchError::Wrong(wrong));
    }
    let [established, new] = [established, new].map(|both| both.map(|rounds| rounds.median()));
    print(args, Measured { established, new, bytes }, out).map_err(BenchError::Io)
}

/// Bytes of a translated connection, everything included.
fn memory_of_one(args: &BenchArgs) -> Result<f64, BenchError> {
    let count = args.connections;
    let before = memory::resident();
    let mut subject = Subject::new(args, Some(OWN), count + NEW);
    subject.fill(count);
    let used = memory::resident().saturating_sub(before);
    match subject.wrong {
        Some(wrong) => Err(BenchError::Wrong(wrong)),
        None => Ok(used as f64 / f64::from(count)),
    }
}

/// What is printed: of two things the first is as it is, the second translated.
struct Measured {
    established: [f64; 2],
    new: [f64; 2],
    bytes: f64,
}

fn print(args: &BenchArgs, measured: Measured, out: &mut impl Write) -> io::Result<()> {
    let [plain, translated] = measured.established;
    let [new_plain, new_translated] = measured.new;
    if args.format == Format::Json {
        let figures = serde_json::json!({
            "ns_per_packet": plain,
            "ns_per_packet_translated": translated,
            "ns_per_new": new_plain,
            "ns_per_new_translated": new_translated,
            "bytes_per_connection_translated": (measured.bytes * 10.0).round() / 10.0,
            "connections": args.connections,
        });
        return writeln!(out, "{figures}");
    }
    writeln!(out, "TCP, {STANDING} connections of one server, half of the ports of one address")?;
    writeln!(out, "  {:<28}{:>12}{:>12}{:>12}", "ns", "as it is", "translated", "")?;
    let more = translated - plain;
    let name = "packet of a connection";
    writeln!(out, "  {name:<28}{plain:>12.1}{translated:>12.1}{more:>+12.1}")?;
    let times = new_translated / new_plain;
    let name = "new connection";
    writeln!(out, "  {name:<28}{new_plain:>12.1}{new_translated:>12.1}{times:>11.2}x")?;
    let Measured { bytes, .. } = measured;
    writeln!(out, "memory of a translated connection, of {}: {bytes:.1} bytes", args.connections)
}

/// An engine and its connections.
struct Subject {
    engine: Engine,
    /// The address that clients have behind it.
    own: Option<Ipv4Addr>,
    random: Random,
    now: Instant,
    burst: usize,
    wrong: Option<String>,
}

/// What a packet is to its connection.
#[derive(Clone, Copy)]
enum Turn {
    Syn,
    SynAck,
    Ack,
    Back,
}

impl Subject {
    /// An engine for `max` connections, that translates to the address or has nothing to say.
    fn new(args: &BenchArgs, own: Option<Ipv4Addr>, max: u32) -> Self {
        let mut config = Config::default();
        config.tracker.sysctls = Sysctls {
            max,
            checksum: args.checksum,
            acct: args.acct,
            tcp_max_retrans: u8::MAX,
            tcp: stateward_conntrack::tcp::Timeouts {
                established: i32::MAX as u32,
                ..Default::default()
            },
            ..Sysctls::default()
        };
        let (mut engine, _) = memory::engine(config);
        let rule = own.map(|own| format!("-A POSTROUTING -j SNAT --to-source {own}\n"));
        let rules = ruleset(&format!("*nat\n{}COMMIT\n", rule.unwrap_or_default()));
        let wrong = rules.map(|rules| engine.set_rules(&rules)).err();
        let (random, now) = (Random(0x9e37_79b9_7f4a_7c15), Instant::from_secs(1_000_000));
        Self { engine, own, random, now, burst: args.burst.into(), wrong }
    }

    /// Makes so many connections and brings them to where they stay.
    fn fill(&mut self, count: u32) {
        for turn in [Turn::Syn, Turn::SynAck, Turn::Ack] {
            for first in (0..count).step_by(BATCH) {
                let numbers = first..count.min(first + BATCH as u32);
                let packets = numbers.map(|n| packet(&Ends::of(n), turn, self.own)).collect();
                self.process(packets, matches!(turn, Turn::Syn));
            }
        }
    }

    /// Packets of connections that stand.
    fn established(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..BATCHES {
            let packets = (0..BATCH).map(|_| {
                let ends = Ends::of(self.random.below(STANDING));
                let turn = if self.random.next() & 1 == 0 { Turn::Ack } else { Turn::Back };
                packet(&ends, turn, self.own)
            });
            let packets = packets.collect();
            spent += self.process(packets, false);
        }
        spent
    }

    /// New connections from any ports, of which half are in use; then they end.
    fn begin_and_end(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        for first in (0..NEW).step_by(BATCH) {
            let packets = (0..BATCH as u32).map(|n| {
                let port = 1024 + self.random.below(65_536 - 1024) as u16;
                let host = Ipv4Addr::from_bits(0x0b00_0000 + first + n);
                let client = (host, port);
                packet(&Ends { client, server: SERVER.0 }, Turn::Syn, self.own)
            });
            let packets = packets.collect();
            spent += self.process(packets, true);
        }
        self.now = self.now + Span::secs(200);
        self.engine.handle_timeout(self.now);
        let left = self.engine.tracker().count();
        if left != STANDING as usize {
            self.wrong.get_or_insert(format!("{left} connections are left, not {STANDING}"));
        }
        spent
    }

    fn process(&mut self, mut packets: Vec<Vec<u8>>, begins: bool) -> Duration {
        let Self { engine, now, burst, wrong, .. } = self;
        let port = Port::Interface(InterfaceId(0));
        let mut arrivals: Vec<_> = packets
            .iter_mut()
            .map(|bytes| Arrival { port, bytes, now: *now, link: None })
            .collect();
        let state = Some(if begins { CtState::New } else { CtState::Established });
        let mut strange = None;
        let began = Clock::now();
        for arrivals in arrivals.chunks_mut(*burst) {
            engine.process_burst(arrivals, From::Wire, |_, _, outcome| {
                if outcome.state != state {
                    strange = Some(outcome);
                }
            });
        }
        let spent = began.elapsed();
        if let Some(outcome) = strange {
            wrong.get_or_insert(format!("{outcome:?}"));
        }
        spent
    }
}

fn ruleset(text: &str) -> Result<ValidRuleset, String> {
    let source = Source::new("bench", text);
    restore(&source, Family::V4, RestoreOptions::default())
        .map_err(|refused| format!("its own rules are refused: {refused:?}"))
}

/// Whose connection it is.
struct Ends {
    client: (Ipv4Addr, u16),
    server: Ipv4Addr,
}

impl Ends {
    /// Of a connection that stands: each has a client of its own with a port of its own, every
    /// other one, and as many as there are such ports go to one server.
    fn of(number: u32) -> Ends {
        let (server, port) = (number / STANDING, 1024 + 2 * (number % STANDING));
        Ends {
            client: (Ipv4Addr::from_bits(0x0a00_0001 + number), port as u16),
            server: Ipv4Addr::from_bits(SERVER.0.to_bits() + server),
        }
    }
}

fn packet(ends: &Ends, turn: Turn, own: Option<Ipv4Addr>) -> Vec<u8> {
    let Ends { client: (host, port), server } = *ends;
    let server = (IpAddr::V4(server), SERVER.1);
    let there = ((IpAddr::V4(host), port), server);
    let back = (server, (IpAddr::V4(own.unwrap_or(host)), port));
    let (source, destination) = match turn {
        Turn::Syn | Turn::Ack => there,
        Turn::SynAck | Turn::Back => back,
    };
    let (flags, numbers) = match turn {
        Turn::Syn => (TcpFlags::SYN, [1000, 0]),
        Turn::SynAck => (TcpFlags::SYN | TcpFlags::ACK, [5000, 1001]),
        Turn::Ack => (TcpFlags::ACK, [1001, 5001]),
        Turn::Back => (TcpFlags::ACK, [5001, 1001]),
    };
    compose::tcp(&Tcp::stamped(source, destination, flags, numbers))
}
