//! `stateward bench --rules`: what a ruleset costs.
//!
//! Two engines get the same packets in turn: one with the rules, one with their policies alone, so
//! that their difference is what the rules cost. Every packet begins a connection, which virtual
//! time ends before the next round. Packets are of two kinds: strangers, whose addresses and ports
//! are drawn at random, and packets as the rules of the longest chain describe them, each rule as
//! likely as the next.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant as Clock};

use stateward_conntrack::{Instant, Span};
use stateward_engine::{Arrival, Engine, From, InterfaceId, Port};
use stateward_rules::matches::Match;
use stateward_rules::matches::udp::PortRange;
use stateward_rules::{Header, RuleSpec, Ruleset, ValidRuleset};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Family, TcpFlags, protocol};

use super::figures::Rounds;
use super::{BenchArgs, BenchError, Format, ROUNDS, Random, config};
use crate::rules::to_run;

/// Packets of a kind.
const PACKETS: usize = 8192;
/// Packets of a round: some hundred microseconds, most of which nothing interrupts.
const ROUND: usize = 1024;
/// Packets made ready at once, outside of the timed region.
const BATCH: usize = 256;

/// Measures and prints.
pub(super) fn run(args: &BenchArgs, file: &Path, out: &mut impl Write) -> Result<(), BenchError> {
    let family = if args.ipv6 { Family::V6 } else { Family::V4 };
    let began = Clock::now();
    let rules =
        to_run(file, family, None).map_err(|failure| BenchError::Rules(Box::new(failure)))?;
    let mut ruled = subject(args, &rules);
    let ready = began.elapsed();
    let mut policies = subject(args, &policies(rules.rules()));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let chain = rules.rules().tables.iter().flat_map(|table| &table.chains);
    let longest = chain.max_by_key(|chain| chain.rules.len());
    let described = longest.map_or(&[][..], |chain| chain.rules.as_slice());
    let mut kinds = vec![(Kind::Strangers, packets(&mut random, family, &[]))];
    if !described.is_empty() {
        kinds.push((Kind::Described, packets(&mut random, family, described)));
    }
    let budget = Duration::from_secs_f64(args.seconds).div_f64(kinds.len() as f64);
    let measured = kinds.iter().map(|(kind, packets)| {
        let mut rounds = [Rounds::default(), Rounds::default()];
        let began = Clock::now();
        let mut parts = packets.chunks(ROUND).cycle();
        while rounds[0].count() < ROUNDS * PACKETS / ROUND || began.elapsed() < budget {
            let Some(part) = parts.next() else { break };
            for (rounds, subject) in rounds.iter_mut().zip([&mut ruled, &mut policies]) {
                rounds.push(subject.round(part, args.burst.into()), part.len() as u64);
            }
        }
        let [ruled, policies] = rounds.map(|rounds| rounds.median());
        Measured { kind: *kind, ruled, policies }
    });
    let measured = measured.collect();
    let figures = Figures { count: Count::of(rules.rules()), ready, measured };
    figures.print(args.format, file, out).map_err(BenchError::Io)
}

/// Which packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Strangers,
    Described,
}

struct Count {
    rules: usize,
    chains: usize,
    tables: usize,
}

impl Count {
    fn of(rules: &Ruleset) -> Self {
        let chains = rules.tables.iter().flat_map(|table| &table.chains);
        Self {
            rules: chains.clone().map(|chain| chain.rules.len()).sum(),
            chains: chains.count(),
            tables: rules.tables.len(),
        }
    }
}

/// Nanoseconds a packet: all that the engine does.
struct Measured {
    kind: Kind,
    ruled: f64,
    policies: f64,
}

struct Figures {
    count: Count,
    ready: Duration,
    measured: Vec<Measured>,
}

impl Figures {
    fn print(&self, format: Format, file: &Path, out: &mut impl Write) -> io::Result<()> {
        let Count { rules, chains, tables } = self.count;
        let ready = self.ready.as_secs_f64() * 1e3;
        if format == Format::Json {
            let packets = self.measured.iter().map(|measured| {
                serde_json::json!({
                    "packets": measured.kind.name(),
                    "ns_per_packet": measured.ruled,
                    "ns_per_packet_policies_alone": measured.policies,
                })
            });
            let figures = serde_json::json!({
                "rules": rules,
                "chains": chains,
                "tables": tables,
                "ready_ms": ready,
                "measured": packets.collect::<Vec<_>>(),
            });
            return writeln!(out, "{figures}");
        }
        let file = file.display();
        writeln!(
            out,
            "{file}: {rules} rules in {chains} chains of {tables} table(s), ready in {ready:.1} ms"
        )?;
        writeln!(out, "  {:<34}{:>12}{:>12}{:>12}", "ns a packet", "the rules", "all", "no rules")?;
        self.measured.iter().try_for_each(|Measured { kind, ruled, policies }| {
            let rules = ruled - policies;
            writeln!(out, "  {:<34}{rules:>12.1}{ruled:>12.1}{policies:>12.1}", kind.name())
        })
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Strangers => "of strangers",
            Kind::Described => "as the rules describe them",
        }
    }
}

struct Subject {
    engine: Engine,
    buffers: Vec<Vec<u8>>,
    now: Instant,
}

fn subject(args: &BenchArgs, rules: &ValidRuleset) -> Subject {
    let mut engine = Engine::new(config(args, 2 * ROUND as u32));
    engine.set_rules(rules);
    let now = Instant::from_secs(1_000_000);
    Subject { engine, buffers: vec![Vec::new(); BATCH], now }
}

impl Subject {
    /// Begins a connection with each of the packets, and lets them all end.
    fn round(&mut self, packets: &[Vec<u8>], burst: usize) -> Duration {
        let mut spent = Duration::ZERO;
        for packets in packets.chunks(BATCH) {
            let Subject { engine, buffers, now } = self;
            buffers.iter_mut().zip(packets).for_each(|(buffer, packet)| buffer.clone_from(packet));
            let bytes = buffers.iter_mut().take(packets.len());
            let port = Port::Interface(InterfaceId(0));
            let mut arrivals: Vec<_> =
                bytes.map(|bytes| Arrival { port, bytes, now: *now, link: None }).collect();
            let began = Clock::now();
            for arrivals in arrivals.chunks_mut(burst) {
                engine.process_burst(arrivals, From::Wire, |_, _, _| {});
            }
            spent += began.elapsed();
        }
        // Longer than any connection that only began.
        self.now = self.now + Span::secs(700);
        self.engine.handle_timeout(self.now);
        spent
    }
}

/// The same tables and policies without rules.
fn policies(rules: &Ruleset) -> ValidRuleset {
    let mut rules = rules.clone();
    for table in &mut rules.tables {
        table.chains.iter_mut().for_each(|chain| chain.rules.clear());
    }
    // Nothing is left that the kernel could refuse.
    match rules.validate() {
        Ok(valid) => valid,
        Err(refused) => unreachable!("policies alone are refused: {refused:?}"),
    }
}

/// What tells a packet from others.
struct Ends {
    protocol: u8,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
}

/// Packets as the rules describe them; of strangers if there are none.
fn packets(random: &mut Random, family: Family, rules: &[RuleSpec]) -> Vec<Vec<u8>> {
    let mut made = Vec::with_capacity(PACKETS);
    while made.len() < PACKETS {
        let mut ends = stranger(random, family);
        if let Some(rule) = rules.get(random.below(rules.len() as u32) as usize) {
            describe(&mut ends, rule, random);
        }
        made.push(packet(&ends));
    }
    made
}

fn stranger(random: &mut Random, family: Family) -> Ends {
    let mut end = || {
        let address = match family {
            Family::V4 => {
                let [_, second, third, last] = (random.next() as u32).to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(128 + random.below(60) as u8, second, third, last))
            }
            Family::V6 => {
                let prefix = 0x2001_0db8_u128 << 96;
                IpAddr::V6(Ipv6Addr::from(prefix | u128::from(random.next()) << 16 | 1))
            }
        };
        (address, 1 + random.below(65_535) as u16)
    };
    let (source, destination) = (end(), end());
    let protocol = if random.below(4) == 0 { protocol::UDP } else { protocol::TCP };
    Ends { protocol, source, destination }
}

/// Gives a packet what a rule asks of addresses, protocol and ports.
fn describe(ends: &mut Ends, rule: &RuleSpec, random: &mut Random) {
    let Header { source, destination, protocol, .. } = &rule.header;
    for (end, network) in [(&mut ends.source, source), (&mut ends.destination, destination)] {
        if !network.inverted {
            end.0 = within(end.0, network.value.address, network.value.mask);
        }
    }
    if protocol.value != 0 && !protocol.inverted {
        ends.protocol = protocol.value;
    }
    let mut port_of = |range: PortRange| {
        let count = u32::from(range.last.saturating_sub(range.first)) + 1;
        range.first.saturating_add(random.below(count) as u16)
    };
    let mut set = |end: &mut (IpAddr, u16), range: PortRange| end.1 = port_of(range);
    for one in &rule.matches {
        let (source, destination) = match one {
            Match::Tcp(tcp) => (tcp.source, tcp.destination),
            Match::Udp(udp) => (udp.source, udp.destination),
            Match::Multiport(multiport) => {
                if let Some(range) = multiport.ports.value.first() {
                    set(&mut ends.destination, *range);
                }
                continue;
            }
            _ => continue,
        };
        for (end, test) in [(&mut ends.source, source), (&mut ends.destination, destination)] {
            if !test.inverted {
                set(end, test.value);
            }
        }
    }
}

/// The network's bits, the address' others.
fn within(address: IpAddr, network: IpAddr, mask: IpAddr) -> IpAddr {
    match (address, network, mask) {
        (IpAddr::V4(address), IpAddr::V4(network), IpAddr::V4(mask)) => {
            IpAddr::V4(network | (address & !mask))
        }
        (IpAddr::V6(address), IpAddr::V6(network), IpAddr::V6(mask)) => {
            IpAddr::V6(network | (address & !mask))
        }
        _ => address,
    }
}

fn packet(ends: &Ends) -> Vec<u8> {
    let Ends { protocol, source, destination } = *ends;
    match protocol {
        protocol::TCP => compose::tcp(&Tcp {
            source,
            destination,
            sequence: 1000,
            acknowledgment: 0,
            flags: TcpFlags::SYN,
            window: 64_240,
            options: &[2, 4, 5, 180],
            payload: &[],
        }),
        protocol::UDP => compose::udp(source, destination, &[0; 32]),
        other => compose::ip(source.0, destination.0, other, &[0; 40]),
    }
}
