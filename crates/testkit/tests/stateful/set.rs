//! `-m set` and `-j SET`.

use std::fmt::Write as _;
use std::time::Duration;

use stateward_rules::{Sets, Source};
use testkit::dialogue::Random;
use testkit::kernel::{Port, Step};

use crate::both::{Case, Held, dialogue, everywhere, hold, kernel, packet, seeds, shell, udp};

/// Sets in which the stations of random dialogues are, or what is near them.
fn sets(random: &mut Random) -> String {
    let mut text = String::new();
    let mut create = |random: &mut Random, name: &str, kind: &str, elements: &[&str]| {
        let mut options = String::new();
        let mut kept = String::new();
        if random.chance(40) {
            options += " timeout 600";
            kept += random.pick(["", " timeout 0", " timeout 1000"]);
        }
        if random.chance(60) {
            options += " counters";
            kept += random.pick(["", " packets 3 bytes 100"]);
        }
        if random.chance(40) {
            options += " skbinfo";
            kept += random.pick([" skbmark 0x5/0xff", " skbmark 0x2", ""]);
        }
        writeln!(text, "create {name} {kind}{options}").unwrap();
        for element in elements {
            if random.chance(60) {
                let (element, except) = element.split_once(' ').unwrap_or((element, ""));
                writeln!(text, "add {name} {element}{kept} {except}").unwrap();
            }
        }
    };
    let masked = random.pick(["hash:ip", "hash:ip netmask 31", "hash:ip bitmask 255.255.0.255"]);
    create(random, "ip4", masked, &["192.168.1.10", "198.51.100.5", "203.0.113.1", "9.9.9.8/30"]);
    create(random, "ip6", "hash:ip family inet6", &["fd00:1::a", "2001:db8::6", "fd00:1::1"]);
    let few = random.pick(["hash:net", "hash:net maxelem 4"]);
    create(
        random,
        "net4",
        few,
        &["192.168.1.0/24", "192.168.1.11 nomatch", "198.51.100.4/30", "0.0.0.0/1"],
    );
    create(
        random,
        "net6",
        "hash:net family inet6",
        &["fd00::/16", "fd00:1::b nomatch", "2001:db8::/127 nomatch", "2000::/3"],
    );
    let with = random.pick(["hash:ip,port", "hash:ip,port netmask 30"]);
    create(
        random,
        "port4",
        with,
        &[
            "192.168.1.10,tcp:40000-40002",
            "198.51.100.5,udp:53",
            "198.51.100.6,tcp:80",
            "192.168.1.11,icmp:echo-request",
            "192.168.1.12,gre:0",
        ],
    );
    create(
        random,
        "port6",
        "hash:ip,port family inet6",
        &["fd00:1::a,tcp:40000", "2001:db8::5,udp:53", "fd00:1::b,ipv6-icmp:128/0"],
    );
    create(
        random,
        "netport4",
        "hash:net,port",
        &["192.168.1.0/24,tcp:80", "198.51.100.0/25,tcp:443", "198.51.100.5,tcp:443 nomatch"],
    );
    create(random, "ports", "bitmap:port range 50-41000", &["53", "80", "443", "40000-40001"]);
    create(random, "list", "list:set", &["ip4", "net6", "ports", "netport4", "port6"]);
    create(random, "none", "list:set", &[]);
    text
}

const NAMES: [[&str; 7]; 2] = [
    ["ip4", "net4", "port4", "netport4", "ports", "list", "none"],
    ["ip6", "net6", "port6", "net6", "ports", "list", "none"],
];

fn rule(random: &mut Random, v6: bool, table: &str) -> String {
    let names = NAMES[usize::from(v6)];
    let ends = |random: &mut Random| {
        let count = random.pick([1, 2, 2, 3]);
        (0..count).map(|_| random.pick(["src", "dst"])).collect::<Vec<_>>().join(",")
    };
    let mut rule = String::new();
    for _ in 0..random.below(2) + usize::from(random.chance(70)) {
        let not = if random.chance(20) { "! " } else { "" };
        write!(rule, "-m set {not}--match-set {} {}", random.pick(names), ends(random)).unwrap();
        if random.chance(30) {
            rule += " --return-nomatch";
        }
        if random.chance(20) {
            rule += random.pick([" ! --update-counters", " ! --update-subcounters"]);
        }
        if random.chance(30) {
            let counter = random.pick(["packets", "bytes"]);
            let test = random.pick(["-eq 0", "-lt 200", "-gt 5"]);
            write!(rule, " --{counter}{test}").unwrap();
        }
        rule += " ";
    }
    let target = match random.below(6) {
        0 => {
            let mut target = format!("-j SET --add-set {} {}", random.pick(names), ends(random));
            target += random.pick(["", " --exist", " --timeout 300", " --exist --timeout 0"]);
            target
        }
        1 => format!("-j SET --del-set {} {}", random.pick(names), ends(random)),
        2 if table == "mangle" => {
            format!("-j SET --map-set {} {} --map-mark", random.pick(names), ends(random))
        }
        3 => format!("-m mark --mark {:#x}/0xff", random.pick([0, 2, 5])),
        _ => String::new(),
    };
    rule + &target
}

/// Lines of `ipset save`, sorted, without what is drawn, grown, or runs.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(line).collect();
    lines.sort();
    lines
}

fn line(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let runs = *word == "timeout" && line.starts_with("add");
        if matches!(*word, "initval" | "hashsize") || runs {
            let value: i64 = words.next().and_then(|value| value.parse().ok()).unwrap_or(0);
            // What is left comes to whole hundreds.
            kept.push(if runs { ((value + 50) / 100).to_string() } else { String::new() });
            continue;
        }
        kept.push((*word).to_owned());
    }
    kept.join(" ")
}

fn assert_same(theirs: &str, ours: &str, context: &str) {
    let (theirs, ours) = (lines(theirs), lines(ours));
    let alone = |ones: &[String], others: &[String]| -> Vec<_> {
        ones.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (kernel, engine) = (alone(&theirs, &ours), alone(&ours, &theirs));
    assert!(theirs == ours, "kernel alone {kernel:?}\nengine alone {engine:?}\n{context}");
}

fn saved(held: &Held) -> String {
    held.engine.shared().sets.saved(held.last).to_string()
}

#[test]
fn sets_hold_what_the_kernels_hold() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(12) {
        let mut random = Random::new(seed);
        let sets = sets(&mut random);
        let rules4 = everywhere(&mut random, 6, |random, table| rule(random, false, table));
        let rules6 = everywhere(&mut random, 6, |random, table| rule(random, true, table));
        let mut steps = dialogue(seed, 150);
        steps.push(shell("ipset save"));
        let case = Case { rules4, rules6, sets: Some(sets.clone()), steps, ..Case::default() };
        let held = hold(&mut kernel, &case)
            .unwrap_or_else(|report| panic!("seed {seed}: {report}\n{sets}"));
        assert_same(&held.said[0], &saved(&held), &format!("seed {seed}\n{sets}"));
    }
}

#[test]
fn elements_end_when_the_kernels_end() {
    let Some(mut kernel) = kernel() else { return };
    let sets = "create a hash:ip timeout 1\nadd a 192.168.1.10\nadd a 192.168.1.11 timeout 3\n\
                add a 192.168.1.12 timeout 0\n\
                create p bitmap:port range 0-100 timeout 2\nadd p 53\n";
    let rules4 = "*filter\n-A FORWARD -m set --match-set a src\n\
                  -A FORWARD -m set --match-set p dst -j SET --add-set p dst --timeout 1\n\
                  -A FORWARD -s 192.168.1.11 -j SET --add-set a src --exist --timeout 2\nCOMMIT\n";
    let mut steps = Vec::new();
    for number in 1..=8 {
        for host in 10..=12 {
            let sent = udp(&format!("192.168.1.{host}:4000"), "198.51.100.5:53", b"");
            steps.push(packet(Port::Lan, &sent));
        }
        let pause = if number == 5 { 2500 } else { 400 };
        steps.push(Step::Sleep(Duration::from_millis(pause)));
    }
    let case = Case {
        rules4: rules4.to_owned(),
        rules6: "*filter\nCOMMIT\n".to_owned(),
        sets: Some(sets.to_owned()),
        steps,
        ..Case::default()
    };
    hold(&mut kernel, &case).unwrap_or_else(|report| panic!("{report}"));
}

/// What ipset makes of a text: it takes it or not, and what it then saves is read here and printed
/// again byte for byte.
#[test]
fn what_ipset_saves_is_printed_again() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(4) {
        let mut random = Random::new(seed);
        let mut sets = sets(&mut random);
        sets += "create c hash:ip,port comment counters skbinfo\n";
        for kind in (0..=20).chain([255]) {
            for code in 0..=16 {
                writeln!(sets, "add c 10.0.0.1,icmp:{kind}/{code}").unwrap();
            }
        }
        sets += "create d hash:net,port family inet6 comment timeout 0\n";
        for kind in (0..=5).chain(126..=140) {
            for code in 0..=5 {
                writeln!(sets, "add d fd00::/16,icmpv6:{kind}/{code} comment \"a b\"").unwrap();
            }
        }
        sets += "add c 10.0.0.2,47:0 skbprio 1:a skbqueue 3\nadd c 10.0.0.2,udplite:80\n";
        sets +=
            "create e hash:net\nadd e 10.0.0.1-10.0.3.77\nadd e 255.255.255.0-255.255.255.255\n";
        let case = Case {
            rules4: "*filter\nCOMMIT\n".to_owned(),
            rules6: "*filter\nCOMMIT\n".to_owned(),
            sets: Some(sets),
            steps: vec![shell("ipset save")],
            ..Case::default()
        };
        let held = hold(&mut kernel, &case).unwrap_or_else(|report| panic!("{report}"));
        let said = &held.said[0];
        let read = Sets::parse(&Source::new("saved", said)).unwrap_or_else(|e| panic!("{}", e[0]));
        assert_eq!(read.saved(held.last).to_string(), *said);
        assert_same(said, &saved(&held), "");
    }
}
