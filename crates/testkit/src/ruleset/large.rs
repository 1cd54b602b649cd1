//! Large rulesets to measure with: many rules of one style, the same for the same seed.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::dialogue::Random;

/// Whose style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Hosts with a port each: `-s IP -p tcp --dport P -j ACCEPT` in FORWARD.
    Hosts,
    /// Networks of /8 to /32 at either end, ranges and lists of ports, interfaces, `!`; of three in
    /// ten rules everything that an earlier rule wants is wanted, and more.
    Mixed,
    /// Services with three endpoints each, as kube-proxy writes them: one rule of KUBE-SERVICES and
    /// four chains a service. Written by hand in its style.
    Services,
}

impl FromStr for Style {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "hosts" => Ok(Self::Hosts),
            "mixed" => Ok(Self::Mixed),
            "services" => Ok(Self::Services),
            _ => Err(format!("no style `{word}`: hosts, mixed or services")),
        }
    }
}

/// A ruleset for IPv4 of `count` rules, or services.
pub fn large(style: Style, count: usize, seed: u64) -> String {
    let mut random = Random::new(seed);
    match style {
        Style::Hosts => filter((0..count).map(|_| host(&mut random))),
        Style::Mixed => filter(mixed(count, &mut random).iter().map(ToString::to_string)),
        Style::Services => services(count, &mut random),
    }
}

fn filter(rules: impl Iterator<Item = String>) -> String {
    let rules: String = rules.map(|rule| format!("-A FORWARD {rule} -j ACCEPT\n")).collect();
    format!(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"
    )
}

fn host(random: &mut Random) -> String {
    let address = unicast(random);
    format!("-s {address}/32 -p tcp -m tcp --dport {}", random.within(1..=65_535))
}

/// Somebody out there.
fn unicast(random: &mut Random) -> Ipv4Addr {
    let [_, second, third, last] = random.word().to_be_bytes();
    Ipv4Addr::new(random.within(11..=126) as u8, second, third, last)
}

#[derive(Debug, Clone)]
struct Mixed {
    networks: [Option<(u32, u32)>; 2],
    protocol: Option<&'static str>,
    ports: Ports,
    interface: Option<u32>,
    inverted: bool,
}

#[derive(Debug, Clone)]
enum Ports {
    Any,
    Range(u32, u32),
    List(Vec<u32>),
}

fn mixed(count: usize, random: &mut Random) -> Vec<Mixed> {
    let mut rules: Vec<Mixed> = Vec::with_capacity(count);
    for _ in 0..count {
        let earlier = rules.get(random.below(rules.len())).filter(|_| random.chance(30)).cloned();
        let rule = match earlier {
            Some(earlier) => wider(earlier, random),
            None => drawn(random),
        };
        rules.push(rule);
    }
    rules
}

fn drawn(random: &mut Random) -> Mixed {
    let mut network = |percent| {
        let length = random.within(8..=32);
        let bits = u32::from(unicast(random)) & u32::MAX << (32 - length);
        random.chance(percent).then_some((bits, length))
    };
    let networks = [network(70), network(50)];
    let protocol = random.chance(80).then(|| random.pick(["tcp", "udp"]));
    let ports = match (protocol, random.below(4)) {
        (None, _) | (_, 0) => Ports::Any,
        (_, 1) => {
            let first = random.within(1..=60_000);
            Ports::Range(first, first + random.within(1..=2000))
        }
        (_, 2) => Ports::List((0..4).map(|_| random.within(1..=65_535)).collect()),
        _ => {
            let port = random.within(1..=65_535);
            Ports::Range(port, port)
        }
    };
    let interface = random.chance(20).then(|| random.within(0..=15));
    // What asks for nothing would decide for all that follow.
    let is_all = networks == [None, None] && matches!(ports, Ports::Any);
    let networks = if is_all { [Some((u32::from(unicast(random)), 32)), None] } else { networks };
    Mixed { networks, protocol, ports, interface, inverted: random.chance(10) }
}

/// A rule of which `rule` is a part.
fn wider(mut rule: Mixed, random: &mut Random) -> Mixed {
    for network in rule.networks.iter_mut().flatten() {
        let length = network.1.saturating_sub(random.within(0..=4)).max(8);
        *network = (network.0 & u32::MAX << (32 - length), length);
    }
    if let Ports::Range(first, last) = rule.ports {
        rule.ports = Ports::Range(first.saturating_sub(10), (last + 10).min(65_535));
    }
    rule.interface = None;
    rule
}

impl std::fmt::Display for Mixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let not = if self.inverted { "! " } else { "" };
        for (option, network) in [("-s", self.networks[0]), ("-d", self.networks[1])] {
            if let Some((bits, length)) = network {
                write!(f, "{option} {}/{length} ", Ipv4Addr::from(bits))?;
            }
        }
        if let Some(interface) = self.interface {
            write!(f, "{not}-i eth{interface} ")?;
        }
        let Some(protocol) = self.protocol else { return Ok(()) };
        write!(f, "-p {protocol}")?;
        match &self.ports {
            Ports::Any => Ok(()),
            Ports::Range(first, last) if first == last => {
                write!(f, " -m {protocol} {not}--dport {first}")
            }
            Ports::Range(first, last) => write!(f, " -m {protocol} --sport {first}:{last}"),
            Ports::List(ports) => {
                let ports: Vec<_> = ports.iter().map(u32::to_string).collect();
                write!(f, " -m multiport --dports {}", ports.join(","))
            }
        }
    }
}

/// Endpoints of a service.
const ENDPOINTS: usize = 3;

fn services(count: usize, random: &mut Random) -> String {
    let chain = |kind: &str, number: usize| format!("KUBE-{kind}-{number:016X}");
    let (mut chains, mut portals, mut rules) = (String::new(), String::new(), String::new());
    for number in 0..count {
        let name = format!("ns{}/service{number}:http", number % 50);
        let service = Ipv4Addr::from(0x0a60_0001 + number as u32);
        let port = random.pick([80, 443, 8080, 9090, 5432]);
        let svc = chain("SVC", number);
        let to = format!("-d {service}/32 -p tcp -m comment");
        let at = format!("-m tcp --dport {port}");
        writeln!(chains, ":{svc} - [0:0]").ok();
        let about = format!("{to} --comment \"{name} cluster IP\" {at}");
        writeln!(portals, "-A KUBE-SERVICES {about} -j {svc}").ok();
        writeln!(rules, "-A {svc} ! -s 10.244.0.0/16 {about} -j KUBE-MARK-MASQ").ok();
        for endpoint in 0..ENDPOINTS {
            let sep = chain("SEP", number * ENDPOINTS + endpoint);
            let pod = Ipv4Addr::from(0x0af4_0000 + random.within(1..=0xfffe));
            writeln!(chains, ":{sep} - [0:0]").ok();
            let left = ENDPOINTS - endpoint;
            let share = match left {
                1 => String::new(),
                _ => format!(" -m statistic --mode random --probability {:.11}", 1.0 / left as f64),
            };
            let about = format!("-m comment --comment \"{name}\"");
            let endpoint = format!("-m comment --comment \"{name} -> {pod}:8080\"");
            writeln!(rules, "-A {svc} {endpoint}{share} -j {sep}").ok();
            writeln!(rules, "-A {sep} -s {pod}/32 {about} -j KUBE-MARK-MASQ").ok();
            let dnat = format!("-j DNAT --to-destination {pod}:8080");
            writeln!(rules, "-A {sep} -p tcp {about} -m tcp {dnat}").ok();
        }
    }
    let head = ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"];
    let head: String = head.map(|hook| format!(":{hook} ACCEPT [0:0]\n")).concat();
    let own = ["KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES"];
    let own: String = own.map(|chain| format!(":{chain} - [0:0]\n")).concat();
    format!("*nat\n{head}{own}{chains}{AROUND}{portals}{NODE_PORTS}{rules}COMMIT\n{FORWARD}")
}

/// What leads to the services, and what follows them.
const AROUND: &str = "\
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
";

const NODE_PORTS: &str = "\
-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
";

const FORWARD: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";
