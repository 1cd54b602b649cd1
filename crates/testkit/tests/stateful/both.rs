//! A scenario on both sides.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use stateward_conntrack::{EventMode, Instant, Sysctls};
use stateward_engine::route::{Delivered, Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::{OwnSource, SourceCheck};
use stateward_engine::{Arrival, Config, Engine, From, Port};
use stateward_rules::known::{Process, Socket};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{Sets, ShowCounters, Source, ValidRuleset};
use stateward_wire::{self as wire, Family, protocol};
use testkit::build::Packet;
use testkit::dialogue::{self, Dialogue, Plan, Random};
use testkit::kernel::{self, Carries, Kernel, Look, Observation, Opened, Scenario, Step};

/// The kernel, if it is there.
pub(crate) fn kernel() -> Option<Kernel> {
    kernel::is_there().then(|| Kernel::new().expect("a namespace"))
}

/// The seeds to try.
pub(crate) fn seeds(rounds: u64) -> std::ops::Range<u64> {
    let number = |name: &str, usual| {
        std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
    };
    let first = number("STATEWARD_STATEFUL_SEED", 1);
    first..first + number("STATEWARD_STATEFUL_ROUNDS", rounds)
}

/// Rules for both families, and what happens.
#[derive(Default, Debug)]
pub(crate) struct Case {
    pub(crate) rules4: String,
    pub(crate) rules6: String,
    pub(crate) sets: Option<String>,
    pub(crate) steps: Vec<Step>,
    /// Rest before each packet.
    pub(crate) pace: Option<Duration>,
    /// What our machine delivers to itself; the steps tell the kernel's.
    pub(crate) delivered: Option<Delivered>,
}

/// What is left when both sides agreed about every packet and every counter.
pub(crate) struct Held {
    pub(crate) engine: Engine,
    /// What the commands among the steps said.
    pub(crate) said: Vec<String>,
    /// When the last packet came.
    pub(crate) last: Instant,
}

const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);

/// Runs a case on both sides, in real time: what a busy machine delays to the border of a tick may
/// fall to either side, but not each time.
///
/// # Errors
/// With the first difference of the last of three runs, if all of them differ.
pub(crate) fn hold(kernel: &mut Kernel, case: &Case) -> Result<Held, String> {
    hold_once(kernel, case)
        .or_else(|_| hold_once(kernel, case))
        .or_else(|_| hold_once(kernel, case))
}

fn hold_once(kernel: &mut Kernel, case: &Case) -> Result<Held, String> {
    let scenario = Scenario {
        rules4: Some(case.rules4.clone()),
        rules6: Some(case.rules6.clone()),
        sets: case.sets.clone(),
        steps: case.steps.clone(),
        pace: case.pace,
        look: Look { trace: true, ..Look::default() },
        ..Scenario::default()
    };
    let outcome = kernel.run(&scenario).expect("the scenario");
    let start = outcome.started.duration_since(UNIX_EPOCH).unwrap();
    let mut engine = engine();
    if let Some(text) = &case.sets {
        let sets = Sets::parse(&Source::new("sets", text));
        engine.shared_mut().sets = sets.unwrap_or_else(|errors| panic!("{}", errors[0]));
        // Timeouts run in the kernel by the time the first packet comes.
        engine.shared_mut().begin(Instant(start.as_nanos() as u64));
    }
    case.delivered.iter().for_each(|marked| engine.network_mut().deliver(*marked));
    if case.steps.iter().any(|step| matches!(step, Step::Open(_))) {
        engine.shared_mut().known.sockets = Some(Vec::new());
    }
    set_rules(&mut engine, &case.rules4, Family::V4);
    set_rules(&mut engine, &case.rules6, Family::V6);
    let (mut said, mut last) = (Vec::new(), Instant(start.as_nanos() as u64));
    for (number, (step, seen)) in case.steps.iter().zip(&outcome.observations).enumerate() {
        match step {
            Step::Packet { .. } | Step::Send { .. } => {
                let (from, bytes) = sent(step, seen);
                // The kernel reads its clock between the two.
                let at = start + (seen.begun + seen.done) / 2;
                last = Instant(at.as_nanos() as u64);
                let ours = ours(&mut engine, from, bytes, at);
                if seen.trace() != ours {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    let theirs = seen.trace();
                    return Err(format!(
                        "step {number} at {:?} from {from:?} {hex}\n  kernel {theirs:?}\n  engine {ours:?}\n{}{}{}",
                        seen.begun,
                        case.rules4,
                        case.rules6,
                        replacing(&case.steps)
                    ));
                }
            }
            Step::Open(opened) => {
                engine.shared_mut().known.sockets.as_mut().unwrap().push(socket(opened));
            }
            Step::Rules4(text) => set_rules(&mut engine, text, Family::V4),
            Step::Rules6(text) => set_rules(&mut engine, text, Family::V6),
            Step::Command { .. } => {
                let output = seen.command.as_ref().expect("a command has said something");
                assert_eq!(output.code, Some(0), "{}", output.stderr);
                said.push(output.stdout.clone());
            }
            Step::Sleep(_) | Step::SleepUntil(_) => {}
            other => panic!("{other:?} is not done here"),
        }
    }
    let mut differing = String::new();
    for (theirs, family) in [(&outcome.rules4, Family::V4), (&outcome.rules6, Family::V6)] {
        let theirs = sorted(theirs.as_deref().unwrap_or_default());
        let ours = sorted(&engine.rules(family).unwrap().counted().save(ShowCounters::Yes));
        differing += &difference(&theirs, &ours);
    }
    if differing.is_empty() { Ok(Held { engine, said, last }) } else { Err(differing) }
}

/// Where a packet came from, and its bytes: what a process sends is read where it leaves it.
fn sent<'a>(step: &'a Step, seen: &'a Observation) -> (kernel::Port, &'a [u8]) {
    match step {
        Step::Packet { from, bytes } => (*from, bytes),
        _ => {
            let first = seen.walks.first().and_then(|walk| walk.sightings.first());
            (kernel::Port::Local, &first.expect("a datagram that is sent is seen").bytes)
        }
    }
}

/// What is told of a socket that the kernel has.
fn socket(opened: &Opened) -> Socket {
    let Opened { carries, local, remote, transparent, mark, owner } = opened;
    let end = |end: &SocketAddr| (end.ip(), end.port());
    let protocol = match carries {
        Carries::Tcp => protocol::TCP,
        Carries::Udp => protocol::UDP,
    };
    let process = Some(Process { group: owner.1, ..Process::of(owner.0) });
    let (transparent, mark) = (*transparent, *mark);
    Socket {
        protocol,
        local: end(local),
        remote: remote.as_ref().map(end),
        process,
        transparent,
        mark,
    }
}

/// The lines that differ; of texts that are not equally long all.
fn difference(theirs: &[String], ours: &[String]) -> String {
    if theirs.len() != ours.len() {
        return format!("kernel {}\nengine {}\n", theirs.join("\n"), ours.join("\n"));
    }
    let mut differing = String::new();
    for (one, other) in theirs.iter().zip(ours).filter(|(one, other)| one != other) {
        writeln!(differing, "kernel {one}\nengine {other}").unwrap();
    }
    differing
}

#[test]
fn a_line_that_only_one_side_has_is_a_difference() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(difference(&lines("a\nb"), &lines("a\nb")), "");
    assert_eq!(difference(&lines("a\nb"), &lines("a\nc")), "kernel b\nengine c\n");
    assert_ne!(difference(&lines("a\nb"), &lines("a")), "");
    assert_ne!(difference(&[], &lines("a")), "");
}

/// The rules that come later.
fn replacing(steps: &[Step]) -> String {
    let rules = steps.iter().filter_map(|step| match step {
        Step::Rules4(text) | Step::Rules6(text) => Some(format!("then\n{text}")),
        _ => None,
    });
    rules.collect()
}

/// The kernel prints its tables in an order of its own.
fn sorted(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text: String = lines.map(|line| line.to_owned() + "\n").collect();
    let mut tables: Vec<_> = text.split_inclusive("COMMIT\n").map(str::to_owned).collect();
    tables.sort();
    tables.iter().flat_map(|table| table.lines()).map(str::to_owned).collect()
}

fn set_rules(engine: &mut Engine, text: &str, family: Family) {
    let rules = restore(&Source::new("rules", text), family, RestoreOptions::default());
    let rules: ValidRuleset = rules.unwrap_or_else(|errors| panic!("{}", errors[0]));
    engine.set_rules(&rules);
}

fn engine() -> Engine {
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
    Engine::new(Config { tracker, network, ..Config::default() })
}

fn ours(engine: &mut Engine, from: kernel::Port, bytes: &[u8], at: Duration) -> Vec<String> {
    let port = match from {
        kernel::Port::Lan => Port::Interface(LAN),
        kernel::Port::Wan => Port::Interface(WAN),
        kernel::Port::Local => Port::Local,
    };
    let now = Instant(at.as_nanos() as u64);
    let mut bytes = bytes.to_vec();
    engine.process(&mut Arrival { port, bytes: &mut bytes, now, link: None }, From::Wire);
    engine.take_emitted(&mut Vec::new());
    engine.take_events(&mut Vec::new());
    let path = engine.notes().path.iter().filter_map(|passed| engine.name(*passed));
    path.map(|name| name.to_string()).collect()
}

/// Rules without a family's own, in every hook that is theirs; `count` rules a chain at most.
pub(crate) fn everywhere(
    random: &mut Random,
    count: usize,
    mut rule: impl FnMut(&mut Random, &str) -> String,
) -> String {
    let mut text = String::new();
    for (table, hooks) in [
        ("raw", &["PREROUTING", "OUTPUT"][..]),
        ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
        ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ] {
        writeln!(text, "*{table}").unwrap();
        hooks.iter().for_each(|hook| writeln!(text, ":{hook} ACCEPT [0:0]").unwrap());
        for hook in hooks {
            for _ in 0..random.below(count + 1) {
                writeln!(text, "-A {hook} {}", rule(random, table)).unwrap();
            }
        }
        writeln!(text, "COMMIT").unwrap();
    }
    text
}

/// The packets of a random dialogue, without pieces of packets.
pub(crate) fn dialogue(seed: u64, packets: usize) -> Vec<Step> {
    let plan = Plan { packets, ..Plan::default() };
    let dialogue = Dialogue::generate(seed, &plan);
    let port = |port| match port {
        dialogue::Port::Lan => kernel::Port::Lan,
        dialogue::Port::Wan => kernel::Port::Wan,
        dialogue::Port::Local => kernel::Port::Local,
    };
    let is_fragment = |bytes: &[u8]| wire::Packet::parse(bytes).is_ok_and(|p| p.is_fragment());
    let steps = dialogue.steps.into_iter().filter(|step| !is_fragment(&step.bytes));
    steps.map(|step| Step::Packet { from: port(step.from), bytes: step.bytes }).collect()
}

/// A packet comes in.
pub(crate) fn packet(from: kernel::Port, packet: &Packet) -> Step {
    Step::Packet { from, bytes: packet.bytes() }
}

/// A datagram.
pub(crate) fn udp(from: &str, to: &str, payload: &[u8]) -> Packet {
    let end = |text: &str| text.parse::<SocketAddr>().unwrap();
    Packet::udp(end(from), end(to), payload)
}

/// What a shell in the kernel's namespace says to a line.
pub(crate) fn shell(line: &str) -> Step {
    let argv = ["sh", "-c", line].map(str::to_owned).to_vec();
    Step::Command { argv, input: String::new() }
}
