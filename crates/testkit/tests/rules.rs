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

#[path = "rules/told.rs"]
mod told;

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
use testkit::kernel::{self, Hook, Kernel, Look, Observation, Scenario, Step};
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

/// Of what the host makes, the identification and the flow label are drawn.
fn shown(port: &str, by_host: bool, bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    let drawn: &[usize] = match bytes.first().map(|first| first >> 4) {
        Some(4) => &[4, 5, 10, 11],
        _ => &[1, 2, 3],
    };
    for place in drawn.iter().filter(|_| by_host) {
        bytes.get_mut(*place).into_iter().for_each(|byte| *byte = 0);
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

/// Holds a dialogue under rules on both sides; says where they differ.
fn hold(kernel: &mut Kernel, seed: u64) -> (usize, String) {
    let mut random = Random::new(seed ^ 0x7275_6c65);
    let texts =
        [Family::V4, Family::V6].map(|family| (family, ruleset::generate(&mut random, family)));
    let valid = |(family, text): &(Family, String)| {
        restore(&Source::new("rules", text), *family, RestoreOptions::default())
    };
    let rules: Vec<ValidRuleset> = match texts.iter().map(valid).collect() {
        Ok(rules) => rules,
        Err(errors) => panic!("seed {seed}: {}", errors[0]),
    };
    let plan = Plan { packets: 120, spoilt: random.chance(30), ..Plan::default() };
    let mut dialogue = Dialogue::generate(seed, &plan);
    dialogue.settings = dialogue::Settings::default();
    for step in &mut dialogue.steps {
        step.changes.clear();
    }
    // Which pieces a host answers, and their identification, are the other judge's.
    dialogue.steps.retain(|step| !is_fragment(&step.bytes));
    let port = |port| match port {
        dialogue::Port::Lan => kernel::Port::Lan,
        dialogue::Port::Wan => kernel::Port::Wan,
        dialogue::Port::Local => kernel::Port::Local,
    };
    let steps = dialogue.steps.iter();
    let scenario = Scenario {
        rules4: Some(texts[0].1.clone()),
        rules6: Some(texts[1].1.clone()),
        steps: steps
            .map(|step| Step::Packet { from: port(step.from), bytes: step.bytes.clone() })
            .collect(),
        look: Look { trace: true, ..Look::default() },
        ..Scenario::default()
    };
    let outcome = kernel.run(&scenario).expect("the scenario");
    let start = outcome.started.duration_since(UNIX_EPOCH).unwrap();
    let mut engine = engine(&rules);
    let mut report = String::new();
    for (number, (step, seen)) in dialogue.steps.iter().zip(&outcome.observations).enumerate() {
        let now = Instant((start + seen.begun).as_nanos() as u64);
        let (theirs, ours) = (theirs(seen, step.from), ours(&mut engine, step, now));
        if theirs != ours {
            let packet = hex(&step.bytes);
            writeln!(report, "packet {number} {:?} {packet}", step.from).unwrap();
            writeln!(report, "  kernel {theirs:?}\n  engine {ours:?}").unwrap();
            break;
        }
    }
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let theirs = sorted(outcome.table.iter().map(told::entry).collect());
    let ours = sorted(engine.tracker().dump().map(|record| told::record(&record)).collect());
    if report.is_empty() && theirs != ours {
        let only = |these: &[String], those: &[String]| {
            these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>()
        };
        let (theirs, ours) = (only(&theirs, &ours), only(&ours, &theirs));
        writeln!(report, "connections\n  kernel {theirs:#?}\n  engine {ours:#?}").unwrap();
    }
    let counted = |family| engine.rules(family).unwrap().counted().save(ShowCounters::Yes);
    for (theirs, family) in [(&outcome.rules4, Family::V4), (&outcome.rules6, Family::V6)] {
        // The kernel prints its tables in an order of its own.
        let sorted = |text: &str| {
            let mut tables: Vec<_> =
                saved(text).split_inclusive("COMMIT\n").map(str::to_owned).collect();
            tables.sort();
            tables.concat()
        };
        let (theirs, ours) =
            (sorted(theirs.as_deref().unwrap_or_default()), sorted(&counted(family)));
        if report.is_empty() && theirs != ours {
            let differing = theirs.lines().zip(ours.lines()).filter(|(one, other)| one != other);
            let lines: Vec<_> =
                differing.map(|(one, other)| format!("  {one}\n  {other}")).collect();
            writeln!(report, "counters\n{}", lines.join("\n")).unwrap();
        }
    }
    if !report.is_empty() {
        writeln!(report, "{}{}", texts[0].1, texts[1].1).unwrap();
    }
    (dialogue.steps.len(), report)
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |value| value.parse().expect("a number"))
}

#[test]
fn rules_decide_as_the_kernel_decides() {
    match kernel::available() {
        Ok(()) => {}
        Err(missing) if std::env::var_os("STATEWARD_REQUIRE_KERNEL").is_some_and(|v| v == "1") => {
            panic!("STATEWARD_REQUIRE_KERNEL=1, but {missing}")
        }
        Err(missing) => return eprintln!("SKIPPED: {missing}"),
    }
    let mut kernel = Kernel::new().expect("a namespace");
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
