//! `stateward bench`: what the engine costs on this machine.
//!
//! Valid packets of N connections go through an [`Engine`] in bursts, in an order unrelated to that
//! in which the connections were made, both ways at random. Packets are made in batches outside the
//! timed region; every packet's state is checked outside it too. Figures are medians over rounds.
//!
//! New connections are timed apart: into a table that holds N already, then they end by virtual
//! time alone, and the next round uses their places again.
//!
//! With `--rules` it is a ruleset that is measured (`bench/rules.rs`), with `--nat` translation
//! (`bench/nat.rs`).

mod figures;
mod memory;
mod nat;
mod packets;
mod rules;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant as Clock};

use clap::{Args, ValueEnum};
use stateward_conntrack::{CtState, Instant, Span, Sysctls};
use stateward_engine::{Arrival, Config, Engine, From, InterfaceId, Port, Verdict};

use crate::error::Failure;
use figures::{Figures, Rounds};
use packets::{Batch, Maker, Way};

/// A protocol to make packets of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Proto {
    /// 72 bytes, with the timestamp option.
    Tcp,
    /// 68 bytes.
    Udp,
    /// Echo requests and replies of 64 bytes.
    Icmp,
}

/// How figures are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object on one line.
    Json,
}

/// Measure what the engine costs on this machine
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Protocol of the packets
    #[arg(long, value_enum, default_value = "tcp")]
    pub proto: Proto,
    /// Connections in the table, over all workers
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub connections: u32,
    /// Packets handed to the engine at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub burst: u16,
    /// Share of packets that begin a connection, 0 to 1, in the mixed figure
    #[arg(long, default_value_t = 0.0)]
    pub new_ratio: f64,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Engines, each on a thread of its own, that share the connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// Verify checksums (nf_conntrack_checksum = 1)
    #[arg(long)]
    pub checksum: bool,
    /// IPv6 instead of IPv4
    #[arg(long)]
    pub ipv6: bool,
    /// Count packets and bytes of each connection (nf_conntrack_acct = 1)
    #[arg(long)]
    pub acct: bool,
    /// Measure what the rules of this file cost each packet, instead
    ///
    /// Packets of strangers, and packets as the rules of the longest chain describe them, begin
    /// connections in an engine with the rules and in one with their policies alone.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proto", "connections", "new_ratio", "workers"])]
    pub rules: Option<PathBuf>,
    /// Measure what translation (NAT) costs, instead
    ///
    /// Packets of connections that stand, and new connections, in an engine that translates sources
    /// to one address, of whose ports half are in use, and in one that leaves them as they are; and
    /// the memory of a translated connection in a table of --connections.
    #[arg(long, conflicts_with_all = ["proto", "new_ratio", "workers", "ipv6", "rules"])]
    pub nat: bool,
    /// Output
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Why there are no figures.
#[derive(Debug)]
pub enum BenchError {
    /// The engine gave a packet another state or verdict than it must have.
    Wrong(String),
    /// What was asked for cannot be done.
    Usage(String),
    /// The rules to measure cannot be run.
    Rules(Box<Failure>),
    /// The figures could not be printed.
    Io(io::Error),
}

impl std::fmt::Display for BenchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BenchError::Wrong(what) => write!(f, "the engine gave a wrong answer: {what}"),
            BenchError::Usage(what) => f.write_str(what),
            BenchError::Rules(failure) => failure.fmt(f),
            BenchError::Io(error) => error.fmt(f),
        }
    }
}

/// Rounds that every figure is the median of, at least.
const ROUNDS: usize = 5;
/// Packets made at once, outside the timed region.
const BATCH: usize = 256;
/// Batches of a round: some hundred microseconds, so that most rounds are done before the system
/// gives the processor to somebody else, and their median is what the engine costs.
const BATCHES: usize = 16;

/// Measures and prints.
pub fn run(args: &BenchArgs, out: &mut impl Write) -> Result<(), BenchError> {
    if !(0.0..=1.0).contains(&args.new_ratio) {
        return Err(BenchError::Usage("--new-ratio must be from 0 to 1".into()));
    }
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        return Err(BenchError::Usage("--seconds must be above 0 and at most 3600".into()));
    }
    if args.nat {
        return nat::run(args, out);
    }
    if let Some(file) = &args.rules {
        return rules::run(args, file, out);
    }
    let figures = if args.workers == 1 {
        worker(args, args.connections)?
    } else {
        let share = args.connections.div_ceil(u32::from(args.workers));
        let each: Vec<Result<Figures, BenchError>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..args.workers).map(|_| scope.spawn(move || worker(args, share))).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or(Err(BenchError::Wrong("a worker panicked".into())))
                })
                .collect()
        });
        Figures::combine(each.into_iter().collect::<Result<Vec<_>, _>>()?)
    };
    figures.print(args, out).map_err(BenchError::Io)
}

/// One engine with its connections.
struct Worker {
    engine: Engine,
    maker: Maker,
    batch: Batch,
    burst: usize,
    connections: u32,
    now: Instant,
    random: Random,
    wrong: Option<String>,
}

fn worker(args: &BenchArgs, connections: u32) -> Result<Figures, BenchError> {
    let spare = spare(connections);
    let maker = Maker::new(args.proto, args.ipv6);
    let batch = Batch::new(&maker, BATCH);
    let random = Random(0x9e37_79b9_7f4a_7c15);
    let resident = memory::resident();
    let (engine, huge) = memory::engine(config(args, connections + spare));
    let now = Instant::from_secs(1_000_000);
    let burst = usize::from(args.burst);
    let mut worker = Worker { engine, maker, batch, burst, connections, now, random, wrong: None };
    worker.fill();
    let used = memory::resident().saturating_sub(resident);
    let budget = Duration::from_secs_f64(args.seconds);
    let established = worker.established(budget.mul_f64(0.7), args.new_ratio);
    let new = worker.begin_and_end(budget.mul_f64(0.3), spare);
    if let Some(wrong) = worker.wrong {
        return Err(BenchError::Wrong(wrong));
    }
    Ok(Figures {
        ns_per_packet: established.median(),
        ns_per_new: new.median(),
        packets_per_second: 1e9 / established.median(),
        new_per_second: 1e9 / new.median(),
        bytes_per_connection: used as f64 / f64::from(connections),
        connections: u64::from(connections),
        rounds: established.count(),
        huge_pages: huge,
    })
}

/// New connections of one round: enough to time, few beside the table.
fn spare(connections: u32) -> u32 {
    (connections / 16).clamp(1024, 65_536)
}

fn config(args: &BenchArgs, max: u32) -> Config {
    let mut config = Config::default();
    config.tracker.sysctls = Sysctls {
        max,
        checksum: args.checksum,
        acct: args.acct,
        // Connections visited at random may see the same ACK four times in a row.
        tcp_max_retrans: u8::MAX,
        // What is in the table stays while new connections come and go in virtual time.
        tcp: stateward_conntrack::tcp::Timeouts {
            established: i32::MAX as u32,
            ..Default::default()
        },
        udp_timeout_stream: i32::MAX as u32,
        ..Sysctls::default()
    };
    config
}

impl Worker {
    /// Makes every connection and brings it to where it stays.
    fn fill(&mut self) {
        for way in self.maker.opening() {
            let mut next = 0;
            while next < self.connections {
                let count = (self.connections - next).min(BATCH as u32);
                self.batch.clear();
                for connection in next..next + count {
                    self.batch.push(&self.maker, connection, way);
                }
                self.process(None);
                next += count;
            }
            // UDP is a stream, and stays, only after two seconds.
            self.now = self.now + Span::secs(3);
        }
    }

    /// Packets of connections in the table, for at least `budget`.
    fn established(&mut self, budget: Duration, new_ratio: f64) -> Rounds {
        let spare = spare(self.connections);
        let mut fresh = 0;
        let mut rounds = Rounds::default();
        let began = Clock::now();
        while rounds.count() < ROUNDS || began.elapsed() < budget {
            let (mut spent, mut packets) = (Duration::ZERO, 0u64);
            for _ in 0..BATCHES {
                self.batch.clear();
                for _ in 0..BATCH {
                    if new_ratio > 0.0 && self.random.unit() < new_ratio {
                        self.batch.push(&self.maker, self.connections + fresh, Way::First);
                        fresh += 1;
                    } else {
                        let connection = self.random.below(self.connections);
                        let way =
                            if self.random.next() & 1 == 0 { Way::Original } else { Way::Reply };
                        self.batch.push(&self.maker, connection, way);
                    }
                }
                self.process(Some(&mut spent));
                packets += BATCH as u64;
                if fresh + BATCH as u32 > spare {
                    self.end_new();
                    fresh = 0;
                }
            }
            rounds.push(spent, packets);
        }
        self.end_new();
        rounds
    }

    /// New connections into the full table, for at least `budget`; they end untimed.
    fn begin_and_end(&mut self, budget: Duration, spare: u32) -> Rounds {
        let mut rounds = Rounds::default();
        let began = Clock::now();
        while rounds.count() < ROUNDS || began.elapsed() < budget {
            let mut spent = Duration::ZERO;
            let mut made = 0;
            while made < spare {
                let count = (spare - made).min(BATCH as u32);
                self.batch.clear();
                for n in made..made + count {
                    self.batch.push(&self.maker, self.connections + n, Way::First);
                }
                self.process(Some(&mut spent));
                made += count;
            }
            rounds.push(spent, u64::from(made));
            self.end_new();
        }
        rounds
    }

    /// Lets virtual time pass until the new connections have ended.
    fn end_new(&mut self) {
        self.now = self.now + self.maker.patience();
        self.engine.handle_timeout(self.now);
        // ICMP has one timeout for all: those that stay are made again.
        if self.maker.all_end_alike() {
            self.fill();
        }
        if self.engine.tracker().count() != self.connections as usize {
            let left = self.engine.tracker().count();
            let wanted = self.connections;
            self.wrong.get_or_insert(format!("{left} connections are left, not {wanted}"));
        }
    }

    /// Hands the batch to the engine in bursts; the time goes to `spent`. States are checked after.
    fn process(&mut self, spent: Option<&mut Duration>) {
        let Worker { engine, batch, burst, now, .. } = self;
        let (buffers, outcomes) = batch.buffers();
        let mut arrivals: Vec<Arrival<'_>> = buffers
            .map(|bytes| Arrival {
                port: Port::Interface(InterfaceId(0)),
                bytes,
                now: *now,
                link: None,
            })
            .collect();
        let began = Clock::now();
        let mut done = 0;
        for arrivals in arrivals.chunks_mut(*burst) {
            engine.process_burst(arrivals, From::Wire, |_, n, outcome| {
                if let Some(slot) = outcomes.get_mut(done + n) {
                    *slot = Some((outcome.state, outcome.verdict));
                }
            });
            done += arrivals.len();
        }
        let elapsed = began.elapsed();
        if let Some(spent) = spent {
            *spent += elapsed;
        }
        self.check();
    }

    fn check(&mut self) {
        for (way, outcome) in self.batch.outcomes() {
            let right = match (way, outcome) {
                (_, Some((_, verdict))) if !matches!(verdict, Verdict::Forward(_)) => false,
                (_, None) => false,
                (Way::First, Some((state, _))) => *state == Some(CtState::New),
                (_, Some((state, _))) => *state == Some(CtState::Established),
            };
            if !right {
                self.wrong.get_or_insert(format!("{way:?}: {outcome:?}"));
            }
        }
    }
}

/// A small generator: the same packets on every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: u32) -> u32 {
        (((self.next() & 0xffff_ffff) * u64::from(limit)) >> 32) as u32
    }

    fn unit(&mut self) -> f64 {
        (self.next() & 0xffff_ffff) as f64 / 4_294_967_296.0
    }
}
