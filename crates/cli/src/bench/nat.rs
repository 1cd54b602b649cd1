//! `stateward bench --nat`: what translation costs.
//!
//! Two engines get the same connections: one has a nat table without rules, so that every
//! connection is bound to itself, one translates all sources to one address. Half of that address's
//! ports are in use towards one server, and the table is otherwise empty: so every other new
//! connection has to look for a port. Packets of connections that stand go both ways at random.

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
use super::{BATCH, BATCHES, BenchArgs, BenchError, Format, ROUNDS, Random};

/// Connections that stand: half of the ports from 1024 on.
const STANDING: u32 = (65_536 - 1024) / 2;
/// New connections of a round, which end before the next.
const NEW: u32 = 2048;

const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 443);
const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Measures and prints.
pub(super) fn run(args: &BenchArgs, out: &mut impl Write) -> Result<(), BenchError> {
    let mut subjects = [
        Subject::new(args, "*nat\nCOMMIT\n", None)?,
        Subject::new(
            args,
            "*nat\n-A POSTROUTING -j SNAT --to-source 203.0.113.1\nCOMMIT\n",
            Some(OWN),
        )?,
    ];
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
    print(args.format, established, new, out).map_err(BenchError::Io)
}

fn print(
    format: Format,
    [plain, translated]: [f64; 2],
    [new_plain, new_translated]: [f64; 2],
    out: &mut impl Write,
) -> io::Result<()> {
    if format == Format::Json {
        let figures = serde_json::json!({
            "ns_per_packet": plain,
            "ns_per_packet_translated": translated,
            "ns_per_new": new_plain,
            "ns_per_new_translated": new_translated,
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
    writeln!(out, "  {name:<28}{new_plain:>12.1}{new_translated:>12.1}{times:>11.2}x")
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
    fn new(args: &BenchArgs, rules: &str, own: Option<Ipv4Addr>) -> Result<Self, BenchError> {
        let mut config = Config::default();
        config.tracker.sysctls = Sysctls {
            max: 2 * (STANDING + NEW),
            checksum: args.checksum,
            acct: args.acct,
            tcp_max_retrans: u8::MAX,
            tcp: stateward_conntrack::tcp::Timeouts {
                established: i32::MAX as u32,
                ..Default::default()
            },
            ..Sysctls::default()
        };
        let mut engine = Engine::new(config);
        engine.set_rules(&ruleset(rules)?);
        let (random, now) = (Random(0x9e37_79b9_7f4a_7c15), Instant::from_secs(1_000_000));
        let burst = args.burst.into();
        let mut subject = Self { engine, own, random, now, burst, wrong: None };
        for turn in [Turn::Syn, Turn::SynAck, Turn::Ack] {
            for first in (0..STANDING).step_by(BATCH) {
                let numbers = first..STANDING.min(first + BATCH as u32);
                let packets = numbers.map(|n| packet(client(n), turn, own)).collect();
                subject.process(packets, matches!(turn, Turn::Syn));
            }
        }
        Ok(subject)
    }

    /// Packets of connections that stand.
    fn established(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..BATCHES {
            let packets = (0..BATCH).map(|_| {
                let client = client(self.random.below(STANDING));
                let turn = if self.random.next() & 1 == 0 { Turn::Ack } else { Turn::Back };
                packet(client, turn, self.own)
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
                let host = Ipv4Addr::from_bits(0x0a80_0000 + first + n);
                packet((host, port), Turn::Syn, self.own)
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

fn ruleset(text: &str) -> Result<ValidRuleset, BenchError> {
    let source = Source::new("bench", text);
    restore(&source, Family::V4, RestoreOptions::default())
        .map_err(|refused| BenchError::Wrong(format!("its own rules are refused: {refused:?}")))
}

/// A client that stands: each has a port of its own, every other one.
fn client(number: u32) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from_bits(0x0a00_0000 + number + 1), (1024 + 2 * number) as u16)
}

fn packet((host, port): (Ipv4Addr, u16), turn: Turn, own: Option<Ipv4Addr>) -> Vec<u8> {
    let there = ((IpAddr::V4(host), port), (IpAddr::V4(SERVER.0), SERVER.1));
    let back = ((IpAddr::V4(SERVER.0), SERVER.1), (IpAddr::V4(own.unwrap_or(host)), port));
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
