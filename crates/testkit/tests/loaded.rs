//! Tables that start from `conntrack -L`: the kernel's own, in the middle of random dialogues,
//! dumped by the real conntrack(8), and what each side says of the packet that comes next.
//!
//! Equal are the packet's state and its direction. A dump does not hold what a connection remembers
//! besides: TCP's numbers, by which the kernel may call INVALID what we, who have the dump alone,
//! let pass, and what TCP's last segments were; SCTP's tags, which are 0 to us. How often that
//! decides (dialogues are hostile) is printed and bounded. Any other difference is a defect.
//!
//! Entries that the real conntrack(8) has made (`-I`) hold no more than a dump does: of those
//! everything is equal, the connection after the packet included.
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
use std::ops::RangeInclusive;
use std::time::UNIX_EPOCH;

use stateward_conntrack::text::{DumpLine, Output, read};
use stateward_conntrack::{Hook, Instant, Sysctls, Tracker, Zone};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Packet, TcpFlags, protocol};
use testkit::dialogue::{self, Dialogue, Plan};
use testkit::kernel::{self, Kernel, Look, Observation, Scenario, Step, TcpState};

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
    // As the scenario's kernel is set.
    let sysctls = Sysctls { acct: true, ..Sysctls::default() };
    let mut tracker = Tracker::new(stateward_conntrack::Config { sysctls, ..Default::default() });
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

/// A line of a table without the seconds that are left.
fn timeless(line: &str) -> String {
    let words = line.split_whitespace().enumerate();
    let words = words.filter(|(number, _)| *number != 4).map(|(_, word)| word);
    words.collect::<Vec<_>>().join(" ")
}

/// The states that conntrack(8) makes entries in: from SYN_SENT to CLOSE.
const STATES: RangeInclusive<u8> = 1..=8;

/// The flags of a packet, and whether it is an answer.
const PACKETS: [(TcpFlags, bool); 8] = [
    (TcpFlags::ACK, false),
    (TcpFlags::ACK, true),
    (TcpFlags::SYN, false),
    (TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), true),
    (TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0), false),
    (TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0), true),
    (TcpFlags::RST, false),
    (TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0), true),
];

/// A connection for each state and each packet; the commands that make them, and the packets with
/// numbers that fit nothing.
fn made() -> (String, Vec<(kernel::Port, Vec<u8>)>) {
    let (mut commands, mut packets) = (String::new(), Vec::new());
    let ports = 10_000_u16..;
    let states = STATES.map(|number| TcpState(number).name());
    let pairs = states.flat_map(|state| PACKETS.map(|packet| (state, packet)));
    for (port, (state, (flags, answers))) in ports.zip(pairs) {
        let status = if state == "SYN_SENT" { "" } else { "-u SEEN_REPLY,ASSURED" };
        writeln!(
            commands,
            "conntrack -I -p tcp -s 192.168.1.9 -d 198.51.100.7 --sport {port} --dport 80 \
             --state {state} -t 1000 {status} || exit 1"
        )
        .unwrap();
        let ends = [("192.168.1.9", port), ("198.51.100.7", 80)];
        let ends = ends.map(|(address, port)| (address.parse().unwrap(), port));
        let [source, destination] = if answers { [ends[1], ends[0]] } else { ends };
        let bytes = compose::tcp(&Tcp {
            source,
            destination,
            sequence: u32::from(port).wrapping_mul(0x9e37_79b9),
            acknowledgment: u32::from(port).wrapping_mul(0x85eb_ca6b),
            flags,
            window: 1_000,
            options: &[],
            payload: &[],
        });
        packets.push((if answers { kernel::Port::Wan } else { kernel::Port::Lan }, bytes));
    }
    (commands, packets)
}

#[test]
fn what_conntrack_makes_is_in_all_what_is_loaded() {
    if !kernel::is_there() {
        return;
    }
    let (input, packets) = made();
    let shell = vec!["sh".to_owned()];
    let dump = ["conntrack", "-L", "-o", "extended"].map(str::to_owned).to_vec();
    let mut steps = vec![
        Step::Command { argv: shell, input },
        Step::Command { argv: dump, input: String::new() },
    ];
    let packet = |(from, bytes): &(_, Vec<u8>)| Step::Packet { from: *from, bytes: bytes.clone() };
    steps.extend(packets.iter().map(packet));
    let look = Look { tool: true, ..Look::default() };
    let scenario = Scenario { steps, look, ..Scenario::default() };
    let outcome = Kernel::new().expect("a namespace").run(&scenario).expect("the scenario");
    let [made, dumped, seen @ ..] = outcome.observations.as_slice() else { panic!("steps") };
    let made = made.command.as_ref().unwrap();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let now = Instant(outcome.started.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let mut tracker = loaded(&dumped.command.as_ref().unwrap().stdout, now);
    assert_eq!(tracker.count(), STATES.len() * PACKETS.len());
    let mut differences = String::new();
    for ((_, bytes), seen) in packets.iter().zip(seen) {
        let packet = Packet::parse(bytes).unwrap();
        let mut tracked = tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, now);
        let (theirs, ours) = (format!("{:?}", seen.state()), format!("{:?}", Some(tracked.state)));
        tracker.confirm(&mut tracked.flow).unwrap();
        if theirs != ours {
            writeln!(differences, "{packet:?}\n  kernel {theirs} ours {ours}").unwrap();
        }
    }
    let output = Output { extended: true, ..Output::default() };
    let line = |record| DumpLine { record: &record, now, uses: 1, output }.to_string();
    let sorted = |lines: Vec<String>| {
        let mut lines: Vec<_> = lines.iter().map(|line| timeless(line)).collect();
        lines.sort();
        lines
    };
    assert!(differences.is_empty(), "{differences}");
    let (ours, theirs) = (sorted(tracker.dump().map(line).collect()), sorted(outcome.tool_table));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    let (kernel, engine) = (only(&theirs, &ours), only(&ours, &theirs));
    assert!(kernel.is_empty() && engine.is_empty(), "kernel {kernel:#?}\nengine {engine:#?}");
}

#[test]
fn the_next_packet_is_to_a_loaded_table_what_it_is_to_the_kernels() {
    if !kernel::is_there() {
        return;
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
    let rare = numbers * 3 < equal && history * 50 < equal && tags * 5 < equal;
    assert!(equal > 100 && rare, "{equal} equal, {numbers}, {history}, {tags} not");
}
