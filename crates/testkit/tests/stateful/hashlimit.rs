//! `-m hashlimit`.

use std::fmt::Write as _;
use std::time::Duration;

use testkit::dialogue::Random;
use testkit::kernel::Step;

use crate::both::{Case, Held, dialogue, everywhere, hold, kernel, seeds, shell};

/// A rule of a table `name`: all of one name count alike, or the first one decides.
fn rule(random: &mut Random, v6: bool) -> String {
    let number = random.below(6);
    let bound = random.pick(["upto", "above"]);
    let mut rule = format!("-m hashlimit --hashlimit-{bound} ");
    rule += match number {
        0 => "20/min --hashlimit-burst 6 --hashlimit-mode srcip",
        1 => "5/hour --hashlimit-burst 3 --hashlimit-mode srcip,dstip,dstport",
        2 => "600b/s --hashlimit-mode dstip",
        3 => "100b/s --hashlimit-burst 500b --hashlimit-mode srcport",
        4 => "3/sec --hashlimit-rate-match --hashlimit-rate-interval 1000 --hashlimit-mode srcip",
        _ => "2kb/s --hashlimit-rate-match --hashlimit-rate-interval 1000",
    };
    if random.chance(30) {
        let lengths = if v6 { ["64", "0", "127"] } else { ["24", "0", "31"] };
        write!(rule, " --hashlimit-srcmask {}", random.pick(lengths)).unwrap();
        write!(rule, " --hashlimit-dstmask {}", random.pick(lengths)).unwrap();
    }
    if number == 1 && random.chance(30) {
        rule += " --hashlimit-htable-size 2 --hashlimit-htable-max 3";
    }
    write!(rule, " --hashlimit-name t{number}").unwrap();
    rule
}

/// What a bucket holds, without when it ends: each line's end behind its name's.
fn buckets(text: &str) -> Vec<String> {
    let mut name = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("==>", rest)) => name = rest,
            Some((_, bucket)) => lines.push(format!("{name} {bucket}")),
            None => {}
        }
    }
    lines.sort();
    lines
}

fn shown(held: &Held, v6: bool) -> String {
    let mut text = String::new();
    let shared = held.engine.shared();
    for (family, name, table) in shared.hashlimit.iter() {
        if (family == stateward_wire::Family::V6) == v6 {
            let directory = if v6 { "ip6t_hashlimit" } else { "ipt_hashlimit" };
            write!(text, "==> /proc/net/{directory}/{name} <==\n{table}\n").unwrap();
        }
    }
    text
}

/// Names of tables, ends of buckets, and costs are compared to the letter; credits, which time adds
/// to until they are read, are not.
fn without_credit(bucket: &str) -> String {
    let words: Vec<_> = bucket.split(' ').collect();
    let kept = words.iter().enumerate().filter(|(at, _)| *at != words.len() - 3);
    kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

#[test]
fn buckets_are_kept_as_the_kernel_keeps_them() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(10) {
        let mut random = Random::new(seed);
        let rules4 = everywhere(&mut random, 2, |random, _| rule(random, false));
        let rules6 = everywhere(&mut random, 2, |random, _| rule(random, true));
        let mut steps = dialogue(seed, 150);
        steps.push(shell("tail -n +1 /proc/net/ipt_hashlimit/* /dev/null 2>/dev/null; true"));
        steps.push(shell("tail -n +1 /proc/net/ip6t_hashlimit/* /dev/null 2>/dev/null; true"));
        let case = Case { rules4, rules6, steps, ..Case::default() };
        let held =
            hold(&mut kernel, &case).unwrap_or_else(|report| panic!("seed {seed}: {report}"));
        for (v6, said) in [false, true].into_iter().zip(&held.said) {
            let compared = |text: &str| -> Vec<_> {
                buckets(text).iter().map(|bucket| without_credit(bucket)).collect()
            };
            let (theirs, ours) = (compared(said), compared(&shown(&held, v6)));
            assert_eq!(theirs, ours, "seed {seed}");
        }
    }
}

#[test]
fn buckets_fill_and_go_with_time() {
    let Some(mut kernel) = kernel() else { return };
    let rule = |options: &str, name: &str| {
        format!("-A FORWARD -m hashlimit --hashlimit-{options} --hashlimit-name {name}\n")
    };
    let rules4 = [
        "*filter\n".to_owned(),
        rule("upto 1/sec --hashlimit-burst 2 --hashlimit-mode srcip", "a"),
        rule("above 2/sec --hashlimit-burst 1 --hashlimit-mode srcip", "b"),
        rule("upto 30b/s --hashlimit-mode srcip", "c"),
        rule("upto 2/sec --hashlimit-rate-match --hashlimit-burst 1 --hashlimit-mode srcip", "d"),
        // Forgotten after two seconds, while its credit is not there again.
        rule("upto 1/hour --hashlimit-burst 1 --hashlimit-htable-expire 1500", "e"),
        rule("upto 1/hour --hashlimit-burst 1 --hashlimit-htable-gcinterval 60000", "f"),
        "COMMIT\n".to_owned(),
    ]
    .concat();
    for seed in seeds(3) {
        let mut random = Random::new(seed);
        let mut steps = Vec::new();
        for number in 1..=12 {
            for _ in 0..random.below(4) {
                let source = format!("192.168.1.1{}:4000", random.below(2));
                let sent = crate::both::udp(&source, "198.51.100.5:53", b"");
                steps.push(crate::both::packet(testkit::kernel::Port::Lan, &sent));
            }
            // Whole and half seconds, at which credits are there again, fall between packets.
            steps.push(Step::SleepUntil(Duration::from_millis(number * 350)));
        }
        let rules6 = "*filter\nCOMMIT\n".to_owned();
        let case = Case { rules4: rules4.clone(), rules6, steps, ..Case::default() };
        hold(&mut kernel, &case).unwrap_or_else(|report| panic!("seed {seed}: {report}"));
    }
}
