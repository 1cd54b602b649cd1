//! Rules at work: random rulesets and random dialogues through the running kernel and through the
//! engine.
//!
//! Compared are, packet by packet, every rule that was met as the kernel's TRACE tells it, those of
//! the host's answers included, what left, and what was told of connections; in the end the
//! connections, and the counters of every rule, as `iptables-save -c` prints them. A difference prints its seed and both rulesets.
//!
//! STATEWARD_RULES_SEED (1) and STATEWARD_RULES_ROUNDS (60) choose. Without root or netfilter this
//! test says so and passes; with STATEWARD_REQUIRE_KERNEL=1 that fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

#[path = "rules/mangling.rs"]
mod mangling;
#[path = "rules/told.rs"]
mod told;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use stateward_conntrack::{EventMode, Instant, Sysctls};
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::{OwnSource, SourceCheck};
use stateward_engine::{Arrival, By, Config, Emitted, Engine, From, Port, Verdict};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{ShowCounters, Source, ValidRuleset};
use stateward_wire::{Family, Packet};
use testkit::dialogue::{self, Dialogue, Plan, Random};
use testkit::kernel::{self, Hook, Kernel, Look, Observation, Outcome, Scenario, Step};
use testkit::ruleset;

/// Names with their texts, without what iptables-save adds.
fn saved(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.to_owned() + "\n").collect()
}

/// What one packet did: the rules met, then what left, and what was told of connections.
#[derive(PartialEq, Eq, Debug)]
struct Fate {
    path: Vec<String>,
    out: Vec<String>,
    events: Vec<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of what the host makes, the identification and the flow label are drawn; and of IPv6 fragments
/// the identification.
fn shown(port: &str, by_host: bool, bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    let packet = Packet::parse_trusted(&bytes).ok();
    let fragment = packet.and_then(|packet| packet.fragment_header());
    let drawn: &[usize] = match (bytes.first().map(|first| first >> 4), fragment) {
        _ if !by_host => &[],
        (Some(4), _) => &[4, 5, 10, 11],
        _ => &[1, 2, 3],
    };
    let named = fragment.into_iter().flat_map(|header| header + 4..header + 8);
    for place in drawn.iter().copied().chain(named) {
        bytes.get_mut(place).into_iter().for_each(|byte| *byte = 0);
    }
    format!("{port} {}", hex(&bytes))
}

fn theirs(observation: &Observation, from: dialogue::Port) -> Fate {
    let remarks = observation.remarks.iter().filter_map(|remark| {
        let told = remark.text.strip_prefix("TRACE: ")?;
        Some(told.trim().to_owned())
    });
    let mut out: Vec<_> = observation
        .out
        .iter()
        .map(|left| {
            let port = if left.port == kernel::Port::Lan { "lan0" } else { "wan0" };
            shown(port, is_by_host(observation, left.walk, from), &left.bytes)
        })
        .collect();
    out.sort();
    let events = observation.events.iter().filter_map(told::theirs).collect();
    Fate { path: remarks.collect(), out, events }
}

/// Whether what left on this walk was made by the host: not the packet's own walk, nor the only
/// one, if the packet ended before its first hook.
fn is_by_host(seen: &Observation, walk: Option<usize>, from: dialogue::Port) -> bool {
    let first =
        walk.and_then(|walk| seen.walks.get(walk)).and_then(|walk| walk.hooks().first().copied());
    walk != Some(0) || (from != dialogue::Port::Local && first == Some(Hook::Output))
}

const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);

fn engine(rules: &[ValidRuleset]) -> Engine {
    let interface = |name: &str, addresses: [&str; 2]| Interface {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        link: Link::PointToPoint,
        source_check: SourceCheck { own: OwnSource::Accepted, ..SourceCheck::default() },
        ..Interface::named(name)
    };
    let interfaces = vec![
        interface("lan0", ["192.168.1.1/24", "fd00:1::1/64"]),
        interface("wan0", ["203.0.113.1/24", "fd00:2::1/64"]),
    ];
    let defaults =
        ["0.0.0.0/0", "::/0"].map(|to| Route { to: to.parse().unwrap(), dev: WAN, via: None });
    let network = Network::new(interfaces, &defaults, Routing::Forwarding);
    let sysctls =
        Sysctls { acct: true, events: EventMode::Always, max: 4096, ..Sysctls::default() };
    let tracker = stateward_conntrack::Config { sysctls, ..Default::default() };
    let mut engine = Engine::new(Config { tracker, network, ..Config::default() });
    rules.iter().for_each(|rules| engine.set_rules(rules));
    engine
}

fn ours(engine: &mut Engine, step: &dialogue::Step, now: Instant) -> Fate {
    let port = match step.from {
        dialogue::Port::Lan => Port::Interface(LAN),
        dialogue::Port::Wan => Port::Interface(WAN),
        dialogue::Port::Local => Port::Local,
    };
    let mut emitted = Vec::new();
    engine.handle_timeout(now);
    engine.take_emitted(&mut emitted);
    emitted.clear();
    // What time alone has ended is told elsewhere.
    engine.take_events(&mut Vec::new());
    let mut bytes = step.bytes.clone();
    let outcome = engine.process(&mut Arrival { port, bytes: &mut bytes, now }, From::Wire);
    let path = engine.notes().path.iter().filter_map(|passed| engine.name(*passed));
    let path = path.map(|name| name.to_string()).collect();
    engine.take_emitted(&mut emitted);
    let mut events = Vec::new();
    engine.take_events(&mut events);
    bytes.truncate(outcome.length);
    let name = |id: Option<InterfaceId>| if id == Some(LAN) { "lan0" } else { "wan0" };
    let own = match outcome.verdict {
        Verdict::Forward(to) | Verdict::Output(to) if !outcome.in_pieces => Some((to, bytes)),
        _ => None,
    };
    let own = own.iter().map(|(to, bytes)| shown(name(*to), false, bytes));
    let others = emitted.iter().map(|Emitted { interface, by, bytes }| {
        shown(name(*interface), matches!(by, By::Host(_)), bytes)
    });
    let mut out: Vec<_> = own.chain(others).collect();
    out.sort();
    Fate { path, out, events: events.iter().filter_map(told::ours).collect() }
}

fn is_fragment(bytes: &[u8]) -> bool {
    Packet::parse(bytes).is_ok_and(|packet| packet.is_fragment())
}

/// Rules of both families, and what comes to them.
struct Trial {
    rules: [(Family, String); 2],
    /// What is changed on `wan0`.
    mtu: Option<u32>,
    steps: Vec<dialogue::Step>,
}

/// Holds a dialogue under rules on both sides; says where they differ.
fn hold(kernel: &mut Kernel, seed: u64) -> (usize, String) {
    let mut random = Random::new(seed ^ 0x7275_6c65);
    let rules =
        [Family::V4, Family::V6].map(|family| (family, ruleset::generate(&mut random, family)));
    let plan = Plan { packets: 120, spoilt: random.chance(30), ..Plan::default() };
    let mut steps = Dialogue::generate(seed, &plan).steps;
    for step in &mut steps {
        step.changes.clear();
    }
    // Which pieces a host answers, and their identification, are the other judge's.
    steps.retain(|step| !is_fragment(&step.bytes));
    (steps.len(), Trial { rules, mtu: None, steps }.hold(kernel))
}

impl Trial {
    /// Says where both sides differ: nothing if they do not.
    fn hold(&self, kernel: &mut Kernel) -> String {
        let valid = |(family, text): &(Family, String)| {
            restore(&Source::new("rules", text), *family, RestoreOptions::default())
        };
        let rules: Vec<ValidRuleset> = match self.rules.iter().map(valid).collect() {
            Ok(rules) => rules,
            Err(errors) => panic!("{}", errors[0]),
        };
        let outcome = kernel.run(&self.scenario()).expect("the scenario");
        let mut engine = engine(&rules);
        if let Some(mtu) = self.mtu {
            engine.network_mut().interfaces_mut()[1].mtu = mtu;
        }
        let reports = [
            self.packets(&outcome, &mut engine),
            connections(&outcome, &engine),
            counters(&outcome, &engine),
        ];
        let [(_, v4), (_, v6)] = &self.rules;
        let first = reports.into_iter().find(|report| !report.is_empty());
        first.map_or(String::new(), |report| format!("{report}{v4}{v6}"))
    }

    fn scenario(&self) -> Scenario {
        let port = |port| match port {
            dialogue::Port::Lan => kernel::Port::Lan,
            dialogue::Port::Wan => kernel::Port::Wan,
            dialogue::Port::Local => kernel::Port::Local,
        };
        let step = |step: &dialogue::Step| Step::Packet {
            from: port(step.from),
            bytes: step.bytes.clone(),
        };
        let [(_, v4), (_, v6)] = &self.rules;
        Scenario {
            links: self.mtu.iter().map(|mtu| format!("link set wan0 mtu {mtu}")).collect(),
            rules4: Some(v4.clone()),
            rules6: Some(v6.clone()),
            steps: self.steps.iter().map(step).collect(),
            look: Look { trace: true, ..Look::default() },
            ..Scenario::default()
        }
    }

    fn packets(&self, outcome: &Outcome, engine: &mut Engine) -> String {
        let start = outcome.started.duration_since(UNIX_EPOCH).unwrap();
        for (number, (step, seen)) in self.steps.iter().zip(&outcome.observations).enumerate() {
            let now = Instant((start + seen.begun).as_nanos() as u64);
            let (theirs, ours) = (theirs(seen, step.from), ours(engine, step, now));
            if theirs != ours {
                let packet = format!("packet {number} {:?} {}", step.from, hex(&step.bytes));
                return format!("{packet}\n  kernel {theirs:?}\n  engine {ours:?}\n");
            }
        }
        String::new()
    }
}

/// What only one side has in its table at the end.
fn connections(outcome: &Outcome, engine: &Engine) -> String {
    let theirs: BTreeSet<_> = outcome.table.iter().map(told::entry).collect();
    let ours: BTreeSet<_> = engine.tracker().dump().map(|record| told::record(&record)).collect();
    if theirs == ours {
        return String::new();
    }
    let only = |these: &BTreeSet<String>, those| format!("{:#?}", these - those);
    let (theirs, ours) = (only(&theirs, &ours), only(&ours, &theirs));
    format!("connections\n  kernel {theirs}\n  engine {ours}\n")
}

/// Rules and policies that have counted differently.
fn counters(outcome: &Outcome, engine: &Engine) -> String {
    // The kernel prints its tables in an order of its own.
    let sorted = |text: &str| {
        let mut tables: Vec<_> =
            saved(text).split_inclusive("COMMIT\n").map(str::to_owned).collect();
        tables.sort();
        tables.concat()
    };
    let mut report = String::new();
    for (theirs, family) in [(&outcome.rules4, Family::V4), (&outcome.rules6, Family::V6)] {
        let theirs = sorted(theirs.as_deref().unwrap_or_default());
        let ours = sorted(&engine.rules(family).unwrap().counted().save(ShowCounters::Yes));
        let pairs = theirs.lines().zip(ours.lines());
        for (theirs, ours) in pairs.filter(|(theirs, ours)| theirs != ours) {
            writeln!(report, "counters\n  kernel {theirs}\n  engine {ours}").unwrap();
        }
    }
    report
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |value| value.parse().expect("a number"))
}

/// A kernel to judge by; none, and said so, where there is none.
fn kernel() -> Option<Kernel> {
    match kernel::available() {
        Ok(()) => Some(Kernel::new().expect("a namespace")),
        Err(missing) if std::env::var_os("STATEWARD_REQUIRE_KERNEL").is_some_and(|v| v == "1") => {
            panic!("STATEWARD_REQUIRE_KERNEL=1, but {missing}")
        }
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

#[test]
fn rules_decide_as_the_kernel_decides() {
    let Some(mut kernel) = kernel() else { return };
    let first = number("STATEWARD_RULES_SEED", 1);
    let (mut packets, mut failures) = (0, String::new());
    for seed in first..first + number("STATEWARD_RULES_ROUNDS", 60) {
        let (held, report) = hold(&mut kernel, seed);
        packets += held;
        if !report.is_empty() {
            failures += &format!("seed {seed}: {report}\n");
        }
    }
    println!("{packets} packets");
    assert!(failures.is_empty(), "{failures}");
}
