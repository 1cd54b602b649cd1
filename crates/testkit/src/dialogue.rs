//! Random dialogues: what goes through a machine in the middle, good and hostile, from a seed.
//!
//! A [`Dialogue`] is a list of packets with the port each enters by, and the settings under which
//! it is held. It comes from a few *flows* that take turns. A flow models both ends of one
//! conversation and mostly says what they would; at a seeded rate it says what an attacker, a
//! broken host or a bad link would. Some flows quote what others have said (ICMP errors). What a
//! flow says may then be spoilt on the IP level, whatever it carries ([`ip`]).
//!
//! Nothing here knows what a tracker makes of a packet: the running kernel is asked for that. Equal
//! seeds give equal dialogues.

mod fragment;
mod helper;
mod icmp;
mod ip;
mod other;
mod policies;
mod random;
mod sctp;
mod settings;
mod tcp;
mod udp;
mod world;

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

pub use random::Random;
pub use settings::Settings;
pub use world::Port;

use stateward_wire::Family;

use crate::adapt::{self, Manner};
use crate::build::Packet;
use crate::ruleset;

/// One packet of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it enters.
    pub from: Port,
    /// The whole of it, from its IP header on.
    pub bytes: Vec<u8>,
    /// The flow that said it.
    pub flow: usize,
    /// How long nothing happens before it.
    pub pause: Duration,
    /// Sysctls that change right before it, by their last part.
    pub changes: Vec<(String, u64)>,
    /// How it answers what its sender has seen.
    pub manner: Manner,
}

impl Step {
    /// A packet right after the one before.
    pub fn new(from: Port, bytes: Vec<u8>, flow: usize) -> Self {
        let manner = Manner::AsIs;
        Self { from, bytes, flow, pause: Duration::ZERO, changes: Vec::new(), manner }
    }
}

/// A dialogue and what it is held under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// Sysctls and the network.
    pub settings: Settings,
    /// The packets, in order.
    pub steps: Vec<Step>,
}

/// What a flow talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite.
    UdpLite,
    /// ICMP or ICMPv6: questions, answers and errors.
    Icmp,
    /// SCTP.
    Sctp,
    /// GRE.
    Gre,
    /// DCCP.
    Dccp,
    /// ESP.
    Esp,
    /// AH.
    Ah,
    /// Protocols nobody knows.
    Unknown,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Tcp,
        Self::Udp,
        Self::UdpLite,
        Self::Icmp,
        Self::Sctp,
        Self::Gre,
        Self::Dccp,
        Self::Esp,
        Self::Ah,
        Self::Unknown,
    ];

    const fn weight(self) -> usize {
        match self {
            Self::Tcp => 12,
            Self::Icmp => 8,
            Self::Udp | Self::UdpLite | Self::Sctp => 5,
            Self::Gre | Self::Unknown | Self::Dccp | Self::Esp | Self::Ah => 3,
        }
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Icmp => "icmp",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Dccp => "dccp",
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no such protocol: {name} (there are {names})")
        })
    }
}

/// What kind of dialogue is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What flows talk.
    pub protocols: Vec<Protocol>,
    /// IPv4, IPv6.
    pub families: [bool; 2],
    /// Packets, or a few more.
    pub packets: usize,
    /// Packets may be spoilt on the IP level.
    pub spoilt: bool,
    /// Timeouts are a few seconds, and there are pauses as long.
    pub expiry: bool,
    /// How many of 100 dialogues are held under rules.
    pub ruled: usize,
    /// The rules, for IPv4 and IPv6, instead of random ones.
    pub rules: Option<[String; 2]>,
    /// How many of 100 dialogues are held behind random NAT.
    pub natted: usize,
    /// How many of 100 dialogues are mostly of connections that have helpers.
    pub helped: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            protocols: Protocol::ALL.to_vec(),
            families: [true, true],
            packets: 200,
            spoilt: true,
            expiry: false,
            ruled: 40,
            rules: None,
            natted: 20,
            helped: 10,
        }
    }
}

/// What a socket of this host takes at once.
const MTU: usize = 1280;
/// Packets between two pauses of a dialogue in which connections expire.
const BURST: usize = 12;
/// A pause, which adds up to no whole number of seconds while timeouts are whole ones: three and
/// less.
const PAUSE: Duration = Duration::from_millis(1300);
/// Answers to packets without a route, of a station at once.
const UNREACHABLE_BURST: usize = 5;
/// Flows that take turns at one time, at most.
const FLOWS: usize = 5;
/// Of 100 flows, where connections have helpers.
const MOSTLY: usize = 85;

impl Dialogue {
    /// The dialogue of a seed.
    pub fn generate(seed: u64, plan: &Plan) -> Self {
        let mut random = Random::new(seed);
        let mut settings = Settings::draw(&mut random);
        if plan.expiry {
            settings.draw_short_timeouts(&mut random);
        }
        let mut scene = Scene::new(plan, &settings, &mut random);
        scene.helped = if is_helped(seed, plan) { MOSTLY } else { 0 };
        let count = 1 + random.below(FLOWS);
        let mut flows = Vec::new();
        let mut turns = 0;
        while scene.steps.len() < plan.packets && turns < 2 * plan.packets {
            turns += 1;
            if flows.len() < count {
                flows.push(scene.open(&mut random));
            }
            let turn = random.below(flows.len());
            let Some((number, flow)) = flows.get_mut(turn) else { continue };
            match flow.speak(&mut random, &scene.memory) {
                Some(said) => scene.hear(*number, said, &mut random),
                None => drop(flows.swap_remove(turn)),
            }
        }
        let mut dialogue = Self { settings, steps: scene.steps };
        dialogue.settings.rules = rules(seed, plan);
        policies::draw(&mut dialogue.settings, seed, plan);
        dialogue.answer_what_is_seen(seed);
        dialogue.leave_out_what_rules_cannot_have();
        dialogue
    }
}

impl Dialogue {
    /// Under NAT most packets answer what was seen, few go where nobody has spoken.
    fn answer_what_is_seen(&mut self, seed: u64) {
        const APART: u64 = 0x7669_6577;
        let rules = self.settings.rules.iter().flatten();
        if !rules.into_iter().any(|text| text.contains("*nat\n")) {
            return;
        }
        let mut random = Random::new(seed ^ APART);
        for step in &mut self.steps {
            step.manner = match random.below(100) {
                0..=5 => Manner::AsIs,
                6..=9 => Manner::Elsewhere,
                10..=12 => Manner::Third,
                _ => Manner::Adapted,
            };
        }
    }

    /// What this host answers all of a link it hears itself, another time through all hooks.
    fn leave_out_what_rules_cannot_have(&mut self) {
        let Some(rules) = &self.settings.rules else { return };
        self.steps.retain(|step| !comes_from_all(&step.bytes));
        // Which identifier a destination's binding has chosen can be seen in echoes alone.
        let draws = |text: &String| {
            let mut lines = text.lines().filter(|line| line.ends_with("--random"));
            lines.any(|line| line.contains("-j DNAT") || line.contains("-j REDIRECT"))
        };
        if rules.iter().any(draws) {
            self.steps.retain(|step| !asks_other_than_echo(&step.bytes));
        }
        if rules.iter().any(|text| text.contains("*nat\n")) {
            // Nor who gives way where the table is full: two connections that differ only in what
            // they are translated to may have the same packets in opposite directions, and those
            // are neighbours here, not in the kernel.
            self.settings.sysctls.retain(|(name, _)| name != "max");
        }
    }
}

/// A question of ICMP or ICMPv6 that is no echo, or its answer.
fn asks_other_than_echo(bytes: &[u8]) -> bool {
    let ends = adapt::ends(bytes).filter(|ends| matches!(ends.protocol, 1 | 58));
    ends.is_some_and(|ends| !matches!(ends.keys[1], 8 | 128))
}

/// From the address that is all of an IPv4 link.
fn comes_from_all(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 4) && bytes.get(15) == Some(&255)
}

/// The rules of a seed's dialogue, drawn apart: with them or without, the packets are the same.
fn rules(seed: u64, plan: &Plan) -> Option<[String; 2]> {
    const APART: u64 = 0x7275_6c65;
    let mut random = Random::new(seed ^ APART);
    let ruled = random.chance(plan.ruled);
    if ruled && plan.rules.is_some() {
        return plan.rules.clone();
    }
    if is_helped(seed, plan) {
        let generate = match is_natted(seed, plan) {
            true => ruleset::generate_helping_nat,
            false => ruleset::generate_helping,
        };
        return Some(FAMILIES.map(|family| generate(&mut random, family)));
    }
    if is_natted(seed, plan) {
        return Some(FAMILIES.map(|family| ruleset::generate_nat(&mut random, family)));
    }
    ruled.then(|| FAMILIES.map(|family| ruleset::generate(&mut random, family)))
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Whether a seed's dialogue is held behind NAT.
fn is_natted(seed: u64, plan: &Plan) -> bool {
    const APART: u64 = 0x6e61_7473;
    Random::new(seed ^ APART).chance(plan.natted)
}

/// Whether most connections of a seed's dialogue have helpers.
fn is_helped(seed: u64, plan: &Plan) -> bool {
    const APART: u64 = 0x6865_6c70;
    plan.rules.is_none() && Random::new(seed ^ APART).chance(plan.helped)
}

/// Whether a socket of the machine sends a packet as it stands.
pub(crate) fn is_sent_by_socket(length: usize, destination: IpAddr) -> bool {
    length <= MTU && world::is_reachable(destination) && !destination.is_multicast()
}

/// What a flow says next.
#[derive(Clone)]
struct Said {
    from: Port,
    packet: Packet,
}

/// One conversation.
trait Flow {
    /// The next packet; none when it is over.
    fn speak(&mut self, random: &mut Random, memory: &Memory) -> Option<Said>;
}

/// What was said lately, for those who quote it.
#[derive(Default)]
struct Memory(VecDeque<(Port, Vec<u8>)>);

impl Memory {
    const LENGTH: usize = 24;

    fn add(&mut self, from: Port, bytes: &[u8]) {
        if self.0.len() == Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back((from, bytes.to_vec()));
    }

    /// Something said lately in a family, what was said last most likely.
    fn recall(&self, random: &mut Random, v6: bool) -> Option<&(Port, Vec<u8>)> {
        let family = if v6 { 6 } else { 4 };
        let alike = |said: &&(Port, Vec<u8>)| said.1.first().is_some_and(|b| b >> 4 == family);
        let among: Vec<_> = self.0.iter().rev().filter(alike).collect();
        let place = random.below(among.len()).min(random.below(among.len()));
        among.get(place).copied()
    }
}

/// The dialogue being made.
struct Scene<'a> {
    plan: &'a Plan,
    memory: Memory,
    steps: Vec<Step>,
    begun: usize,
    /// IPv4 packets that may still be without a route.
    unrouted: Option<usize>,
    /// The machine forwards nothing.
    host: bool,
    /// How many of 1000 packets are spoilt on the IP level, and how many come in fragments.
    spoilt: usize,
    scattered: usize,
    /// How many of 1000 packets have what only rules ask for.
    dressed: usize,
    /// Before how many of 1000 packets a sysctl changes.
    changes: usize,
    /// How many of 100 flows are of protocols that have helpers.
    helped: usize,
}

impl<'a> Scene<'a> {
    fn new(plan: &'a Plan, settings: &Settings, random: &mut Random) -> Self {
        let (mut spoilt, mut scattered) = (random.pick([0, 10, 60]), random.pick([0, 0, 0, 0, 80]));
        if settings.has("frag6_high_thresh") {
            scattered = 500;
        }
        // Which protocol's words are wanted would be in another piece.
        if !plan.spoilt || settings.has("log_invalid") {
            scattered = 0;
        }
        if !plan.spoilt {
            spoilt = 0;
        }
        let (memory, steps) = (Memory::default(), Vec::new());
        let unrouted = settings.unrouted.then_some(UNREACHABLE_BURST);
        let changes = random.pick([0, 0, 0, 20]);
        let host = settings.host;
        let dressed = random.pick([0, 0, 50, 300]);
        Self {
            plan,
            memory,
            steps,
            begun: 0,
            unrouted,
            host,
            spoilt,
            scattered,
            dressed,
            changes,
            helped: 0,
        }
    }

    /// The kernel tells a station only of its first few packets that they have no route.
    fn may_be_unrouted(&mut self, packet: &Packet) -> bool {
        match &mut self.unrouted {
            None => true,
            Some(_) if packet.source.is_ipv6() => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// What is more likely to go wrong comes more often.
    fn protocol(&self, random: &mut Random) -> Protocol {
        let protocols = &self.plan.protocols;
        let all: usize = protocols.iter().map(|protocol| protocol.weight()).sum();
        let mut drawn = random.below(all);
        for protocol in protocols {
            match drawn.checked_sub(protocol.weight()) {
                Some(rest) => drawn = rest,
                None => return *protocol,
            }
        }
        Protocol::Tcp
    }

    fn open(&mut self, random: &mut Random) -> (usize, Box<dyn Flow>) {
        let v6 = match self.plan.families {
            [true, true] => random.chance(45),
            [_, v6] => v6,
        };
        self.begun += 1;
        if self.helped > 0 && random.chance(self.helped) {
            return (self.begun, Box::new(helper::Conversation::open(random, v6)));
        }
        let protocol = self.protocol(random);
        let flow: Box<dyn Flow> = match protocol {
            Protocol::Tcp => Box::new(tcp::Connection::open(random, v6)),
            Protocol::Udp => Box::new(udp::Exchange::open(random, v6, false)),
            Protocol::UdpLite => Box::new(udp::Exchange::open(random, v6, true)),
            Protocol::Icmp if random.chance(50) => Box::new(icmp::Errors::open(random, v6)),
            Protocol::Icmp if v6 && random.chance(25) => Box::new(icmp::Neighbours::open(random)),
            Protocol::Icmp => Box::new(icmp::Questions::open(random, v6)),
            Protocol::Sctp => Box::new(sctp::Association::open(random, v6)),
            Protocol::Gre => Box::new(other::Tunnel::open(random, v6)),
            Protocol::Dccp => Box::new(other::Unknown::open(random, v6, Some(33))),
            Protocol::Esp => Box::new(other::Unknown::open(random, v6, Some(50))),
            Protocol::Ah => Box::new(other::Unknown::open(random, v6, Some(51))),
            Protocol::Unknown => Box::new(other::Unknown::open(random, v6, None)),
        };
        (self.begun, flow)
    }

    /// What may happen between two packets.
    fn interrupt(&self, random: &mut Random, step: &mut Step) {
        if random.rarely(self.changes) {
            step.changes.push(Settings::change(random));
        }
        if self.plan.expiry && self.steps.len() % BURST == BURST - 1 {
            step.pause = PAUSE;
        }
    }

    fn hear(&mut self, flow: usize, said: Said, random: &mut Random) {
        let Said { from, mut packet } = said;
        if random.rarely(self.dressed) {
            ip::dress(random, from, &mut packet);
        }
        if from == Port::Local {
            // What this machine sends itself goes through a socket, which mends lengths.
            packet.length = None;
        } else if random.rarely(self.spoilt) {
            ip::spoil(random, from, &mut packet);
        }
        packet.id = random.half() | 1;
        if !self.may_be_unrouted(&packet) {
            return;
        }
        let bytes = packet.bytes();
        // Which way a host's own multicasts go depends on the age of its interfaces, and whether
        // one that does not forward still listens to what routers are told, on when it ceased to.
        let multicast = packet.destination.is_multicast();
        if multicast && (from == Port::Local || self.host) {
            return;
        }
        if from == Port::Local && !is_sent_by_socket(bytes.len(), packet.destination) {
            return;
        }
        self.memory.add(from, &bytes);
        let pieces = match from != Port::Local && random.rarely(self.scattered) {
            true => fragment::scatter(random, &bytes),
            false => vec![bytes],
        };
        let mut steps = pieces.into_iter().map(|bytes| Step::new(from, bytes, flow));
        if let Some(mut step) = steps.next() {
            self.interrupt(random, &mut step);
            self.steps.push(step);
        }
        self.steps.extend(steps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_dialogues() {
        let plan = Plan::default();
        assert_eq!(Dialogue::generate(5, &plan), Dialogue::generate(5, &plan));
        assert_ne!(Dialogue::generate(5, &plan), Dialogue::generate(6, &plan));
    }
}
