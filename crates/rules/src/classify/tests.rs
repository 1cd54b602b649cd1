//! The classifier against the linear walk: the same verdicts, steps, marks, log and counters.

use core::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_wire::{Family, compose};

use crate::evaluate::CompiledRuleset;
use crate::evaluate::tests::Alone;
use crate::restore::{RestoreOptions, restore};
use crate::{Hook, Source, TableName};

/// Marsaglia's xorshift: the same seed, the same rules.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn not(&mut self) -> &'static str {
        if self.one_in(6) { "! " } else { "" }
    }

    /// Close to others, so that networks nest and packets meet them.
    fn address(&mut self, family: Family) -> IpAddr {
        let low = self.pick(&[0, 1, 2, 3, 0x80, 0x81, 0xff, 0x0100, 0x0101, 0x8000, 0x00ff_0001]);
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | low)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(low))),
        }
    }

    fn network(&mut self, family: Family) -> String {
        let address = self.address(family);
        let lengths: &[u32] = match family {
            Family::V4 => &[32, 32, 32, 32, 31, 30, 25, 24, 17, 16, 9, 8, 1, 0],
            Family::V6 => &[128, 128, 128, 127, 120, 112, 64, 16, 7, 0],
        };
        let odd = if family == Family::V4 { "255.0.0.129" } else { "ffff::81" };
        match self.one_in(12) {
            true => format!("{address}/{odd}"),
            false => format!("{address}/{}", self.pick(lengths)),
        }
    }

    fn port(&mut self) -> u64 {
        self.pick(&[0, 1, 22, 53, 80, 443, 1023, 1024, 8080, 32768, 65535])
    }

    fn ports(&mut self) -> String {
        let (one, other) = (self.port(), self.port());
        match self.below(3) {
            0 if one != other => format!("{}:{}", one.min(other), one.max(other)),
            _ => one.to_string(),
        }
    }

    fn interface(&mut self) -> &'static str {
        self.pick(&["lan0", "lan1", "lan+", "l+", "wan0", "+", "lan01", "fifteen_letters"])
    }
}

fn header(random: &mut Random, family: Family) -> String {
    let mut rule = String::new();
    for option in ["-s", "-d"] {
        if random.one_in(2) {
            let (not, network) = (random.not(), random.network(family));
            write!(rule, " {not}{option} {network}").unwrap();
        }
    }
    for option in ["-i", "-o"] {
        if random.one_in(5) {
            let (not, name) = (random.not(), random.interface());
            write!(rule, " {not}{option} {name}").unwrap();
        }
    }
    rule
}

fn before_ports(random: &mut Random, family: Family) -> String {
    match random.below(9) {
        0 => " -m conntrack --ctstate NEW".into(),
        1 => format!(" -m mark --mark {:#x}/0x3", random.below(4)),
        2 => " -m limit --limit 1/hour --limit-burst 7".into(),
        3 => format!(" -m statistic --mode nth --every 3 --packet {}", random.below(3)),
        4 => {
            let (one, other) = (random.address(family), random.address(family));
            let not = random.not();
            format!(" -m iprange {not}--src-range {}-{}", one.min(other), one.max(other))
        }
        5 => " -m addrtype --dst-type LOCAL".into(),
        _ => String::new(),
    }
}

fn protocol(random: &mut Random) -> String {
    let mut rule = String::new();
    let name = random.pick(&["tcp", "tcp", "udp", "udplite", "sctp", "esp", "253"]);
    let not = if random.one_in(9) { "! " } else { "" };
    write!(rule, " {not}-p {name}").unwrap();
    if !not.is_empty() || matches!(name, "esp" | "253") {
        return rule;
    }
    let (not, side, ports) = (random.not(), random.pick(&["sport", "dport"]), random.ports());
    match random.below(4) {
        0 => {
            let mut list: Vec<_> = (0..random.below(4) + 1).map(|_| random.port()).collect();
            list.dedup();
            let list: Vec<_> = list.iter().map(u64::to_string).collect();
            let side = random.pick(&["sports", "dports", "ports"]);
            write!(rule, " -m multiport {not}--{side} {}", list.join(",")).unwrap();
        }
        1 | 2 if matches!(name, "tcp" | "udp") => {
            write!(rule, " -m {name} {not}--{side} {ports}").unwrap();
            if name == "tcp" && random.one_in(4) {
                rule += " --tcp-option 3 -m tcp --sport 1:65534";
            }
        }
        _ => {}
    }
    rule
}

fn rule(random: &mut Random, family: Family, chains: &[&str]) -> String {
    let mut rule = header(random, family);
    let about = before_ports(random, family);
    let protocol = if random.one_in(3) { String::new() } else { protocol(random) };
    // The protocol is the header's, wherever it is written.
    match protocol.split_once(" -m") {
        Some((protocol, ports)) => write!(rule, "{protocol}{about} -m{ports}").unwrap(),
        None => write!(rule, "{protocol}{about}").unwrap(),
    }
    let target = match random.below(10) {
        0 => "-j ACCEPT".into(),
        1 => "-j DROP".into(),
        2 => "-j RETURN".into(),
        3 | 4 => format!("-j MARK --set-mark {}", random.below(4)),
        5 => "-j LOG".into(),
        6 | 7 if !chains.is_empty() => {
            format!("{} {}", random.pick(&["-j", "-g"]), random.pick(chains))
        }
        _ => String::new(),
    };
    format!("{rule} {target}")
}

const CHAINS: [&str; 3] = ["one", "three", "two"];

fn ruleset(random: &mut Random, family: Family) -> String {
    let mut text = String::from("*mangle\n:FORWARD ACCEPT [0:0]\n");
    CHAINS.iter().for_each(|chain| writeln!(text, ":{chain} - [0:0]").unwrap());
    for (depth, chain) in [(0, "FORWARD"), (1, "one"), (2, "three"), (3, "two")] {
        for _ in 0..random.pick(&[0, 3, 12, 40, 200]) {
            let rule = rule(random, family, CHAINS.get(depth..).unwrap_or_default());
            writeln!(text, "-A {chain}{rule}").unwrap();
        }
    }
    text + "COMMIT\n"
}

fn packet(random: &mut Random, family: Family) -> Alone {
    let (source, destination) = (random.address(family), random.address(family));
    let protocol = random.pick(&[6, 6, 6, 17, 17, 136, 132, 50, 253, 1]);
    let mut upper = vec![0; 24];
    let [sport, dport] = [random.port(), random.port()].map(|port| (port as u16).to_be_bytes());
    upper[..4].copy_from_slice(&[sport[0], sport[1], dport[0], dport[1]]);
    upper[12] = random.pick(&[0x50, 0x60, 0xf0]);
    upper[20] = random.pick(&[0, 3, 2]);
    upper.truncate(random.pick(&[24, 24, 24, 24, 24, 19, 11, 7, 3, 0]));
    let mut bytes = compose::ip(source, destination, protocol, &upper);
    if family == Family::V4 && random.one_in(8) {
        // A fragment: the first, the second, one within the header.
        bytes[6..8].copy_from_slice(&random.pick(&[[0x20, 0], [0x20, 3], [0, 1]]));
    }
    if family == Family::V6 && random.one_in(6) {
        // A header of options before the upper one, or one that is cut.
        let mut header = [bytes[6], 0, 1, 4, 0, 0, 0, 0];
        header[1] = random.pick(&[0, 0, 9]);
        bytes[6] = random.pick(&[0, 60]);
        bytes.splice(40..40, header);
        bytes[5] += 8;
    }
    let mut packet = Alone::new(bytes);
    let names = ["lan0", "lan1", "wan0", "lan01", "", "fifteen_letters"];
    packet.set_interfaces([random.pick(&names), random.pick(&names)]);
    packet
}

fn equals_linear(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let family = random.pick(&[Family::V4, Family::V6]);
    let text = ruleset(&mut random, family);
    let rules = restore(&Source::new("rules", &text), family, RestoreOptions::default());
    let rules = rules.unwrap_or_else(|refused| panic!("seed {seed}: {refused:?}\n{text}"));
    let mut indexed = CompiledRuleset::new(&rules);
    let mut linear = CompiledRuleset::linear(&rules);
    for number in 0..60 {
        let packet_seed = random.below(1 << 40) | 1;
        let [(one, said), (other, expected)] = [&mut indexed, &mut linear].map(|rules| {
            let mut packet = packet(&mut Random(packet_seed), family);
            let said = rules.ask(TableName::Mangle, Hook::Forward, &mut packet);
            (packet, said)
        });
        assert_eq!(said, expected, "seed {seed}, packet {number}\n{text}");
        assert_eq!(one.traces(), other.traces(), "seed {seed}, packet {number}\n{text}");
    }
    assert_eq!(indexed.counted(), linear.counted(), "seed {seed}\n{text}");
}

#[test]
fn random_rulesets_answer_as_the_linear_walk() {
    let first = std::env::var("STATEWARD_CLASSIFIER_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rounds = std::env::var("STATEWARD_CLASSIFIER_ROUNDS").map_or(150, |n| n.parse().unwrap());
    (first..first + rounds).for_each(equals_linear);
}

/// How many of a chain's rules a packet is tested against.
fn tested(text: &str, packet: &Alone) -> usize {
    use crate::context::{Context as _, View};
    let source = Source::new("rules", text);
    let rules = restore(&source, Family::V4, RestoreOptions::default()).unwrap();
    let table = rules.rules().tables.first().unwrap();
    let chain = table.chains.iter().find(|chain| chain.name == "FORWARD").unwrap();
    let index = super::Classifier::new(&chain.rules).unwrap();
    let _ = packet.packet();
    let view = View::new(packet).unwrap();
    let key = super::Key::of(&view).unwrap();
    index.candidates(&key, 0).count()
}

fn forward(rules: impl Iterator<Item = String>) -> String {
    let rules: String = rules.map(|rule| format!("-A FORWARD {rule}\n")).collect();
    format!("*filter\n{rules}COMMIT\n")
}

#[test]
fn rules_that_cannot_match_are_not_tested() {
    // From 192.0.2.1 port 4000 to 192.0.2.2 port 53.
    let packet = Alone::udp(53);
    let many = 0..5000u32;
    let address = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
    let sources = forward(many.clone().map(|n| format!("-s {} -p udp --dport 53", address(n))));
    assert_eq!(tested(&sources, &packet), 0);
    let ports = forward(many.clone().map(|n| format!("-p udp --dport {}", n + 1)));
    assert_eq!(tested(&ports, &packet), 1);
    let ranges = forward(many.clone().map(|n| format!("-p udp --dport {}:{}", n + 1, n + 4)));
    assert_eq!(tested(&ranges, &packet), 4);
    // Each of a hundred hosts with each of fifty ports: both together say which.
    let both = forward(
        many.clone().map(|n| format!("-d 192.0.2.{} -p udp --dport {}", n % 100, 20 + n / 100)),
    );
    assert_eq!(tested(&both, &packet), 1);
    let interfaces = forward(many.map(|n| format!("-i eth{n} -s 192.0.2.1")));
    assert_eq!(tested(&interfaces, &packet), 0);
}
