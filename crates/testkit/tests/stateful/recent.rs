//! `-m recent`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use testkit::build::Packet;
use testkit::dialogue::Random;
use testkit::kernel::{Port, Step};

use crate::both::{Case, everywhere, hold, kernel, packet, seeds, shell, udp};

/// The lists as both sides show them, each line with its times as distances from the list's first
/// time: the clocks of both sides begin differently. Two ticks are forgiven.
fn assert_same(kernel: &str, engine: &str, context: &str) {
    let (theirs, ours) = (lines(kernel), lines(engine));
    let same = theirs.len() == ours.len()
        && theirs.iter().zip(&ours).all(|((words, times), (other_words, other_times))| {
            let near = |(one, other): (&i64, &i64)| one.abs_diff(*other) <= 2;
            words == other_words
                && times.len() == other_times.len()
                && times.iter().zip(other_times).all(near)
        });
    assert!(same, "{context}\nkernel\n{kernel}\nengine\n{engine}");
}

fn lines(text: &str) -> Vec<(String, Vec<i64>)> {
    let least = text.split_whitespace().filter_map(time).min().unwrap_or_default();
    let mut name = String::new();
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("==>") {
            name = line.to_owned();
            continue;
        }
        let words = line.split_whitespace();
        let others: Vec<_> = words.clone().filter(|word| time(word).is_none()).collect();
        let times = words.filter_map(time).map(|time| time - least).collect();
        found.push((format!("{name} {}", others.join(" ")), times));
    }
    found.sort();
    found
}

/// A number that can only be a time.
fn time(word: &str) -> Option<i64> {
    word.trim_end_matches(',').parse().ok().filter(|time| *time > 100_000)
}

fn shown(held: &crate::both::Held) -> String {
    let mut text = String::new();
    for (name, list) in held.engine.shared().recent.iter() {
        write!(text, "==> /proc/net/xt_recent/{name} <==\n{list}\n").unwrap();
    }
    text
}

/// What `tail` says of one file lacks its name: there are two at least.
const READ: &str = "tail -n +1 /proc/net/xt_recent/*";

fn rule(random: &mut Random, v6: bool) -> String {
    let name = random.pick(["a", "b", "b", "DEFAULT"]);
    let not = if random.chance(25) { "! " } else { "" };
    let side = random.pick(["--rsource", "--rdest"]);
    let mask = match (v6, random.below(4)) {
        (false, 0) => " --mask 255.255.255.254",
        (true, 0) => " --mask ffff:ffff:ffff:ffff::",
        _ => "",
    };
    let what = random.pick(["set", "set", "rcheck", "rcheck", "update", "update", "remove"]);
    let mut rule = format!("-m recent {not}--{what} --name {name} {side}{mask}");
    if matches!(what, "rcheck" | "update") {
        if random.chance(50) {
            let seconds = random.pick(["1", "2", "60", "4294967295", "17179880"]);
            write!(rule, " --seconds {seconds}").unwrap();
            if random.chance(50) {
                rule += " --reap";
            }
        }
        if random.chance(50) {
            write!(rule, " --hitcount {}", random.pick([1, 2, 3, 4, 7, 40])).unwrap();
        }
        if random.chance(30) {
            rule += " --rttl";
        }
    }
    let target = random.pick(["", "", "", " -j RETURN"]);
    rule + target
}

fn rules(random: &mut Random, v6: bool) -> String {
    let text = everywhere(random, 3, |random, _| rule(random, v6));
    // What no rule names is not there to be shown: both lists are named at least once.
    let named = ["a", "b"].map(|name| format!("-A INPUT -m recent --rcheck --name {name}\n"));
    let end = "COMMIT\n";
    text.strip_suffix(end).unwrap().to_owned() + &named.concat() + end
}

fn datagram(random: &mut Random) -> Step {
    let (lan, wan) = match random.chance(30) {
        false => (
            format!("192.168.1.1{}:4000", random.below(4)),
            format!("198.51.100.{}:53", random.below(4) + 4),
        ),
        true => (
            format!("[fd00:1::1{}]:4000", random.below(4)),
            format!("[2001:db8::{}]:53", random.below(4) + 4),
        ),
    };
    let own = if lan.starts_with('[') { "[fd00:1::1]:53" } else { "192.168.1.1:53" };
    let mut step = match random.below(6) {
        0 => udp(&wan, &lan, b"x"),
        1 => udp(&lan, own, b"x"),
        2 => udp(own, &lan, b"x"),
        _ => udp(&lan, &wan, b"x"),
    };
    let from = match step.source.to_string().as_str() {
        "192.168.1.1" | "fd00:1::1" => Port::Local,
        source if source.starts_with("192") || source.starts_with("fd") => Port::Lan,
        _ => Port::Wan,
    };
    step.ttl = random.pick([64, 64, 255, 9]);
    packet(from, &step)
}

#[test]
fn lists_are_kept_as_the_kernel_keeps_them() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(6) {
        let mut random = Random::new(seed);
        let (rules4, rules6) = (rules(&mut random, false), rules(&mut random, true));
        let mut steps = Vec::new();
        for number in 1..=9 {
            let count = random.below(12) + 1;
            steps.extend((0..count).map(|_| datagram(&mut random)));
            // 1 and 2 seconds after a packet, nothing comes.
            steps.push(Step::SleepUntil(Duration::from_millis(400 * number)));
        }
        let replaced = rules(&mut random, false);
        steps.push(Step::Rules4(replaced));
        steps.extend((0..20).map(|_| datagram(&mut random)));
        steps.push(shell(READ));
        let case = Case { rules4, rules6, steps, ..Case::default() };
        let held =
            hold(&mut kernel, &case).unwrap_or_else(|report| panic!("seed {seed}: {report}"));
        assert_same(&held.said[0], &shown(&held), &format!("seed {seed}"));
    }
}

const NOTHING: &str = "*filter\nCOMMIT\n";

#[test]
fn a_full_list_loses_who_was_noted_longest_ago() {
    let Some(mut kernel) = kernel() else { return };
    let rules4 = "*filter\n-A FORWARD -s 192.168.1.200 -m recent --rcheck --name b --rsource\n\
                  -A FORWARD -m recent --rcheck --name a --rsource\n\
                  -A FORWARD -m recent --set --name a --rdest\nCOMMIT\n";
    let mut steps = Vec::new();
    let sent = |last: usize| {
        let to: SocketAddr = format!("198.51.100.{last}:53").parse().unwrap();
        packet(Port::Lan, &Packet::udp("192.168.1.10:4000".parse().unwrap(), to, b""))
    };
    // 100 fit; the first is noted again before they are full.
    steps.extend([1, 2, 3, 1].map(sent));
    steps.extend((4..=102).map(sent));
    steps.push(shell(READ));
    let case =
        Case { rules4: rules4.to_owned(), rules6: NOTHING.to_owned(), steps, ..Case::default() };
    let held = hold(&mut kernel, &case).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(held.said[0].lines().filter(|line| line.starts_with("src=")).count(), 100);
    assert_same(&held.said[0], &shown(&held), "100");
}
