//! What the dialogues that were held have touched: a judge that never asks is always content.
//!
//! Counted on our side, where the state before each packet can be looked up: every cell of both TCP
//! tables, every reason, both sides of every sysctl, packets of each protocol. A cell counts
//! packets that the table was asked about, not those that failed before; a sysctl's side counts the
//! packets which that sysctl [concerns](concern), while it was its default or something else.
//!
//! [`Coverage::gaps`] names everything that was touched too seldom. [`BEYOND`] lists what no
//! dialogue can bring about, why, and which test holds it instead; nothing else is left out.

mod concern;
mod nat;
mod packet;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stateward_conntrack::tcp::TcpState;
use stateward_conntrack::{
    ConnId, CtState, DropReason, ProtocolInfo, Reason, Record, Sysctls, Tracker, Tuple,
};
use stateward_engine::route::RoutingDrop;
use stateward_engine::{Outcome, Why, defrag};
use stateward_wire::Packet;

use concern::Met;
use nat::Translated;
use packet::{Class, segment};

use super::heard::Fate;
use super::rules::Used;
use crate::ruleset;

/// Rows of the TCP tables.
const SEGMENTS: [&str; 5] = ["SYN", "SYN/ACK", "FIN", "ACK", "RST"];
const DIRECTIONS: [&str; 2] = ["original", "reply"];
/// How often each thing should have been touched.
const ENOUGH: u64 = 100;
/// The same of NAT, which a connection asks once, and of which there is so much.
const ENOUGH_TRANSLATED: u64 = 1;
/// How many packets of each protocol there should have been.
const ENOUGH_PACKETS: u64 = 5000;

/// Reasons that cannot be had from the kernel: why, and the test that holds them.
const BEYOND: [(&str, &str, &str); 7] = [
    (
        "clash",
        "needs two packets of one flow between two hooks: two processors, or a queue",
        "conntrack/tests/confirm.rs",
    ),
    (
        "chain_too_long",
        "which connections share a bucket is a secret hash's to say",
        "conntrack/src/table/tests.rs",
    ),
    ("blackhole", NO_SUCH_ROUTE, ROUTES),
    ("unreachable", NO_SUCH_ROUTE, ROUTES),
    ("prohibited", NO_SUCH_ROUTE, ROUTES),
    ("not_addressed", "the kernel driver's devices have no stations", "engine/tests/link.rs"),
    ("assigned", "no dialogue has sockets", "testkit/tests/stateful/known.rs"),
];

const NO_SUCH_ROUTE: &str = "dialogues have one network, whose routes all lead somewhere";
const ROUTES: &str = "testkit/tests/routes.rs";

/// What no packet of the kernel driver's has: an Ethernet header, a socket, a process.
const NEVER_MET: [&str; 3] = ["-m eui64", "-m socket", "-m cgroup"];

/// Counts of what was touched.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    packets: u64,
    protocols: BTreeMap<Class, u64>,
    /// By direction, segment and state.
    cells: [[[u64; TcpState::ALL.len()]; SEGMENTS.len()]; 2],
    reasons: BTreeMap<&'static str, u64>,
    /// Packets that each sysctl concerns, under its default and under any other value.
    settings: BTreeMap<&'static str, [u64; 2]>,
    /// Packets that have met rules with each match and target.
    rules: Used,
    translated: Translated,
}

/// What is known of one dialogue.
#[derive(Default)]
pub(super) struct Known {
    /// The connections of its tuples.
    connections: BTreeMap<String, ConnId>,
    /// The sysctls that are not at their default.
    changed: BTreeSet<&'static str>,
}

impl Known {
    /// Notes the sysctls in force.
    pub(super) fn settings(&mut self, sysctls: &Sysctls) {
        let usual = Sysctls::default();
        let changed = Sysctls::NAMES.into_iter().filter(|name| {
            let name = format!("nf_conntrack_{name}");
            sysctls.value(&name) != usual.value(&name)
        });
        self.changed = changed.collect();
    }

    fn connection(&self, tuple: &Tuple, tracker: &Tracker) -> Option<Record> {
        self.connections.get(&format!("{tuple:?}")).and_then(|id| tracker.get(*id))
    }
}

/// The cell of the TCP tables that a packet meets if nothing is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    direction: usize,
    segment: usize,
    state: TcpState,
}

impl Cell {
    /// Before the engine has the packet.
    pub(super) fn of(bytes: &[u8], known: &Known, tracker: &Tracker) -> Option<Self> {
        let packet = Packet::parse(bytes).ok()?;
        let (segment, tuple) = segment(&packet)?;
        let Some(record) = known.connection(&tuple, tracker) else {
            return Some(Self { direction: 0, segment, state: TcpState::None });
        };
        let state = match record.protocol {
            Some(ProtocolInfo::Tcp(tcp)) => tcp.state,
            _ => TcpState::None,
        };
        Some(Self { direction: usize::from(record.original != tuple), segment, state })
    }
}

impl Coverage {
    /// All packets.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Notes what the engine made of a packet, and the cell it met.
    pub(super) fn note(
        &mut self,
        bytes: &[u8],
        cell: Option<Cell>,
        known: &mut Known,
        (outcome, tracker): (&Outcome, &Tracker),
    ) {
        self.packets += 1;
        let packet = Packet::parse(bytes).ok();
        let class = Class::of(packet.as_ref());
        *self.protocols.entry(class).or_default() += 1;
        if let Some(why) = outcome.why {
            *self.reasons.entry(why.code()).or_default() += 1;
        }
        if let Some(Cell { direction, segment, state }) = cell.filter(|_| is_looked_up(outcome))
            && let Some(table) = self.cells.get_mut(direction)
            && let Some(count) = table.get_mut(segment).and_then(|row| row.get_mut(state as usize))
        {
            *count += 1;
        }
        let id = outcome.connection.and_then(|connection| connection.id);
        let record = id.and_then(|id| tracker.get(id));
        let met = Met::new(class, outcome, record.as_ref());
        for name in Sysctls::NAMES.into_iter().filter(|name| met.concerns(name)) {
            let [usual, other] = self.settings.entry(name).or_default();
            *if known.changed.contains(name) { other } else { usual } += 1;
        }
        let (Some(id), Some(record)) = (id, record) else { return };
        for tuple in [record.original, record.reply] {
            known.connections.insert(format!("{tuple:?}"), id);
        }
    }

    /// Notes rules with their counters.
    pub(super) fn note_rules(&mut self, counted: &[Vec<String>; 2]) {
        self.rules.add(counted);
        self.translated.note_rules(counted);
    }

    /// Notes what NAT did to a packet.
    pub(super) fn note_nat(&mut self, bytes: &[u8], outcome: &Outcome, fate: &Fate) {
        self.translated.note(bytes, outcome, fate);
    }

    /// What of NAT no packet met.
    pub fn untranslated(&self) -> impl Iterator<Item = String> + '_ {
        self.translated.wanting(1)
    }

    /// Everything but rules that was touched less than so often, by its name.
    fn wanting(&self, enough: u64, enough_packets: u64) -> Vec<String> {
        let mut gaps = Vec::new();
        let mut want = |what: String, count: u64, enough: u64| {
            if count < enough {
                gaps.push(format!("{what}: {count}"));
            }
        };
        for (direction, segment, state, count) in self.cells() {
            want(format!("TCP {direction} {segment} in {state}"), count, enough);
        }
        for code in reasons().filter(|code| BEYOND.iter().all(|(beyond, ..)| beyond != code)) {
            let count = self.reasons.get(code).copied().unwrap_or_default();
            want(format!("reason {code}"), count, enough);
        }
        for name in Sysctls::NAMES {
            let [usual, other] = self.settings.get(name).copied().unwrap_or_default();
            want(format!("packets under the default {name}"), usual, enough);
            want(format!("packets under another {name}"), other, enough);
        }
        for class in Class::protocols() {
            let count = self.protocols.get(&class).copied().unwrap_or_default();
            want(format!("packets of {class}"), count, enough_packets);
        }
        gaps
    }

    /// The matches and targets that packets met less than so often.
    fn rules_wanting(&self, enough: u64) -> impl Iterator<Item = String> + '_ {
        let counted = ruleset::names().map(|name| (self.rules.count(&name), name));
        let wanting = counted
            .filter(move |(count, name)| *count < enough && !NEVER_MET.contains(&name.as_str()));
        wanting.map(|(count, name)| format!("packets that met {name}: {count}"))
    }

    /// The matches and targets that no packet met.
    pub fn unused_rules(&self) -> impl Iterator<Item = String> + '_ {
        self.rules_wanting(1)
    }

    /// Everything that was touched too seldom, in words.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = self.wanting(ENOUGH, ENOUGH_PACKETS);
        gaps.extend(self.rules_wanting(ENOUGH));
        gaps.extend(self.translated.wanting(ENOUGH_TRANSLATED));
        gaps
    }

    /// Everything that was never touched but for rules, in words.
    pub fn untouched(&self) -> Vec<String> {
        self.wanting(1, 1)
    }

    /// The cells that can be reached, and how often each was. A reply meets no connection without a
    /// state: what makes one is never a reply, and gives it a state.
    fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str, TcpState, u64)> + '_ {
        let tables = DIRECTIONS.into_iter().zip(&self.cells).enumerate();
        tables.flat_map(|(number, (direction, table))| {
            let rows = SEGMENTS.into_iter().zip(table);
            rows.flat_map(move |(segment, row)| {
                let cells = TcpState::ALL.into_iter().zip(row).skip(number);
                cells.map(move |(state, count)| (direction, segment, state, *count))
            })
        })
    }
}

/// Every `reason_code` there is.
fn reasons() -> impl Iterator<Item = &'static str> {
    let defrag = defrag::DropReason::ALL.into_iter().map(defrag::DropReason::code);
    let tracker = Reason::CODES.into_iter().chain(DropReason::CODES);
    ["malformed"].into_iter().chain(tracker).chain(RoutingDrop::CODES).chain(defrag)
}

/// Whether the state table was asked about a segment: it was there in whole, and it summed up.
fn is_looked_up(outcome: &Outcome) -> bool {
    let refused = matches!(
        outcome.why,
        Some(Why::Track(
            Reason::ShortHeader { .. }
                | Reason::BadLength { .. }
                | Reason::BadChecksum { .. }
                | Reason::TcpFlags { .. }
        ))
    );
    !refused && outcome.state.is_some_and(|state| state != CtState::Untracked)
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "packets of each protocol")?;
        for (class, count) in &self.protocols {
            writeln!(f, "  {:24} {count:>10}", class.to_string())?;
        }
        for (direction, table) in DIRECTIONS.into_iter().zip(&self.cells) {
            write!(f, "TCP, {direction:8} ")?;
            TcpState::ALL.iter().try_for_each(|state| write!(f, " {:>11}", state.name()))?;
            for (segment, row) in SEGMENTS.into_iter().zip(table) {
                write!(f, "\n  {segment:12} ")?;
                row.iter().try_for_each(|count| write!(f, " {count:>11}"))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "reasons")?;
        for code in reasons() {
            let count = self.reasons.get(code).copied().unwrap_or_default();
            write!(f, "  {code:24} {count:>10}")?;
            match BEYOND.iter().find(|(beyond, ..)| *beyond == code) {
                Some((_, why, test)) => writeln!(f, "  {why}: {test}")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "packets that each sysctl concerns, under its default, under another value")?;
        for (name, [usual, other]) in &self.settings {
            writeln!(f, "  {name:32} {usual:>10} {other:>10}")?;
        }
        writeln!(f, "packets that met rules with")?;
        for name in ruleset::names() {
            writeln!(f, "  {name:24} {:>10}", self.rules.count(&name))?;
        }
        write!(f, "{}", self.translated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_touched_is_missing() {
        let gaps = Coverage::default().gaps();
        for gap in [
            "TCP reply RST in SYN_SENT2: 0",
            "reason challenge_ack: 0",
            "reason table_full: 0",
            "packets under another tcp_loose: 0",
            "packets of IPv6 SCTP: 0",
        ] {
            assert!(gaps.iter().any(|found| found == gap), "{gap} is not among {gaps:?}");
        }
        assert!(!gaps.iter().any(|gap| gap.contains("clash")));
    }

    #[test]
    fn what_is_beyond_the_kernel_is_a_reason_that_there_is() {
        assert!(BEYOND.iter().all(|(beyond, ..)| reasons().any(|code| code == *beyond)));
    }
}
