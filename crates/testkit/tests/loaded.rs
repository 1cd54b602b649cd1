//! Tables that start from `conntrack -L`: the kernel's own, in the middle of random dialogues,
//! dumped by the real conntrack(8), and what each side says of the packet that comes next.
//!
//! Equal are the packet's state and its direction. A dump does not hold what a connection remembers
//! besides: TCP's numbers, by which the kernel may call INVALID what we, who have the dump alone,
//! let pass, and what TCP's last segments were; SCTP's tags, which are 0 to us. How often that
//! decides is printed, and it must be rare. Any other difference is a defect.
//!
//! STATEWARD_LOADED_SEED (1) and STATEWARD_LOADED_ROUNDS (6) choose. Without root or netfilter this
//! test says so and passes; with STATEWARD_REQUIRE_KERNEL=1 that fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use stateward_conntrack::text::read;
use stateward_conntrack::{Hook, Instant, Tracker, Zone};
use stateward_wire::{Packet, protocol};
use testkit::dialogue::{self, Dialogue, Plan};
use testkit::kernel::{self, Kernel, Observation, Scenario, Step};

/// Packets before the first dump.
const BEFORE: usize = 20;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |value| value.parse().expect("a number"))
}

fn port(port: dialogue::Port) -> kernel::Port {
    match port {
        dialogue::Port::Lan => kernel::Port::Lan,
        dialogue::Port::Wan => kernel::Port::Wan,
        dialogue::Port::Local => kernel::Port::Local,
    }
}

/// What came of a comparison.
#[derive(Default)]
struct Tally {
    equal: usize,
    /// The kernel knows numbers of TCP that the dump does not tell.
    numbers: usize,
    /// It knows what went before in TCP.
    history: usize,
    /// It knows SCTP's tags.
    tags: usize,
    differences: String,
}

/// A tracker with the kernel's table.
fn loaded(dump: &str, now: Instant) -> Tracker {
    let mut tracker = Tracker::new(stateward_conntrack::Config::default());
    for line in dump.lines() {
        match read(line) {
            Ok(Some(given)) => _ = tracker.load(&given, now).expect(line),
            Ok(None) => {}
            Err(error) => panic!("{error}: {line}"),
        }
    }
    tracker
}

/// What the kernel and what the loaded tracker say of a packet.
fn compare(
    tally: &mut Tally,
    (dump, now): (&str, Instant),
    step: &dialogue::Step,
    seen: &Observation,
) {
    let Some(state) = seen.state() else { return };
    // Routing ended the packet, and what was seen is the host's answer.
    let answers = seen.hooks().first() == Some(&kernel::Hook::Output);
    if answers && step.from != dialogue::Port::Local {
        return;
    }
    let Ok(packet) = Packet::parse(&step.bytes) else { return };
    let hook = match step.from {
        dialogue::Port::Local => Hook::Output,
        _ => Hook::Prerouting,
    };
    let tracked = loaded(dump, now).track(&packet, hook, Zone::DEFAULT, now);
    let theirs = (format!("{state:?}"), seen.direction().map(|way| format!("{way:?}")));
    let ours = (format!("{:?}", tracked.state), tracked.direction.map(|way| format!("{way:?}")));
    let number = packet.upper().map(|upper| upper.protocol);
    if theirs.0 == ours.0 && (theirs.1 == ours.1 || theirs.1.is_none()) {
        tally.equal += 1;
    } else if number == Some(protocol::TCP) && theirs.0 == "Invalid" {
        tally.numbers += 1;
    } else if number == Some(protocol::TCP) && (&*theirs.0, &*ours.0) == ("Established", "New") {
        tally.history += 1;
    } else if number == Some(protocol::SCTP) && [&*theirs.0, &*ours.0].contains(&"Invalid") {
        tally.tags += 1;
    } else {
        let reason = tracked.reason.map_or(String::new(), |reason| reason.to_string());
        writeln!(tally.differences, "kernel {theirs:?}, {:?}", seen.invalid()).unwrap();
        writeln!(tally.differences, "  ours {ours:?} {reason}\n  {packet:?}\n{dump}").unwrap();
    }
}

fn hold(kernel: &mut Kernel, seed: u64, tally: &mut Tally) {
    let plan = Plan { packets: 60, ..Plan::default() };
    let mut dialogue = Dialogue::generate(seed, &plan);
    for step in &mut dialogue.steps {
        step.changes.clear();
    }
    dialogue.steps.retain(|step| Packet::parse(&step.bytes).is_ok_and(|one| !one.is_fragment()));
    let mut steps = Vec::new();
    for (number, step) in dialogue.steps.iter().enumerate() {
        if number >= BEFORE {
            let argv = ["conntrack", "-L", "-o", "extended"].map(str::to_owned).to_vec();
            steps.push(Step::Command { argv, input: String::new() });
        }
        steps.push(Step::Packet { from: port(step.from), bytes: step.bytes.clone() });
    }
    let outcome = kernel.run(&Scenario { steps, ..Scenario::default() }).expect("the scenario");
    let start = outcome.started.duration_since(UNIX_EPOCH).unwrap();
    let mut dump = String::new();
    let mut packets = dialogue.steps.iter();
    for seen in &outcome.observations {
        if let Some(command) = &seen.command {
            dump += &command.stdout;
            continue;
        }
        let step = packets.next().unwrap();
        let now = Instant((start + seen.begun).as_nanos() as u64);
        if !dump.is_empty() {
            compare(tally, (&dump, now), step, seen);
        }
        dump.clear();
    }
}

#[test]
fn the_next_packet_is_to_a_loaded_table_what_it_is_to_the_kernels() {
    match kernel::available() {
        Ok(()) => {}
        Err(missing) if std::env::var_os("STATEWARD_REQUIRE_KERNEL").is_some_and(|v| v == "1") => {
            panic!("STATEWARD_REQUIRE_KERNEL=1, but {missing}")
        }
        Err(missing) => return eprintln!("SKIPPED: {missing}"),
    }
    let mut kernel = Kernel::new().expect("a namespace");
    let first = number("STATEWARD_LOADED_SEED", 1);
    let mut tally = Tally::default();
    for seed in first..first + number("STATEWARD_LOADED_ROUNDS", 6) {
        hold(&mut kernel, seed, &mut tally);
    }
    let Tally { equal, numbers, history, tags, differences } = tally;
    println!(
        "{equal} equal; by TCP's numbers {numbers}, its history {history}, SCTP's tags {tags}"
    );
    assert!(differences.is_empty(), "{differences}");
    let rare = numbers * 8 < equal && history * 100 < equal && tags * 5 < equal;
    assert!(equal > 100 && rare, "{equal} equal, {numbers}, {history}, {tags} not");
}
