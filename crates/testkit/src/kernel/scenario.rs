//! What is done to the kernel, and what it did.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::command::CommandOutput;
use super::entry::Entry;
use super::event::Event;
use super::expectation::Expectation;
use super::log::{self, Checkpoint, CtState, Direction, Hook, Remark, Walk};
use super::machine::KernelLine;
use super::opened::Opened;
use super::table::Statistics;
use crate::adapt::Manner;
use crate::dialogue;

/// A machine between `lan0` (192.168.1.1/24, fd00:1::1/64) and `wan0` (203.0.113.1/24,
/// fd00:2::1/64, both default routes), its rules, and what happens to it.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// Sysctls set before anything else, such as `net.netfilter.nf_conntrack_tcp_loose` to `0`.
    /// With one of those that the whole machine shares, `net.netfilter.nf_conntrack_max`,
    /// `…_buckets` and `…_expect_max`, no other scenario of any process runs meanwhile.
    pub sysctls: Vec<(String, String)>,
    /// Lines for `ip -batch`: more addresses, routes, an MTU. They cost a fresh namespace.
    pub links: Vec<String>,
    /// Text for `ipset restore`, before the rules.
    pub sets: Option<String>,
    /// Policies of timeouts, before the rules: what `nfct add timeout` takes. They cost a fresh
    /// namespace.
    pub policies: Vec<String>,
    /// Text for `iptables-legacy-restore`. A nat table costs a fresh namespace.
    pub rules4: Option<String>,
    /// Text for `ip6tables-legacy-restore`. A nat table costs a fresh namespace.
    pub rules6: Option<String>,
    /// NFLOG groups of the rules whose messages are wanted among the remarks.
    pub nflog_groups: Vec<u16>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// Rest before each packet.
    pub pace: Option<Duration>,
    /// What to look at beyond the packets, their events and the final tables.
    pub look: Look,
}

/// What else to look at; each costs time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Dump the table before each step, so that what has expired goes then, and after it.
    pub each_table: bool,
    /// Read /proc/net/nf_conntrack and nf_conntrack_expect at the end.
    pub proc: bool,
    /// Run `conntrack -L -o extended` at the end.
    pub tool: bool,
    /// Make the rules say which of them each packet met: TRACE lines among the remarks.
    pub trace: bool,
    /// Let what the kernel says go to its own log, as text, instead of among the remarks: the way
    /// to see the text of a LOG rule. That log is one for the machine, so no other scenario runs
    /// meanwhile.
    pub kernel_log: bool,
}

/// Where a packet enters or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// `lan0`.
    Lan,
    /// `wan0`.
    Wan,
    /// A process of this machine; enters only.
    Local,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A packet, from its IP header on.
    Packet {
        /// Where it enters.
        from: Port,
        /// The whole of it.
        bytes: Vec<u8>,
    },
    /// A packet that answers what its sender has seen of the other end: see [`crate::adapt`].
    Answer {
        /// Where it enters if it is not adapted.
        from: Port,
        /// The whole of it, as if nobody had changed anything.
        bytes: Vec<u8>,
        /// How it answers.
        manner: Manner,
    },
    /// Real time passes.
    Sleep(Duration),
    /// Real time passes until this long after the first step.
    SleepUntil(Duration),
    /// A sysctl changes; put back after the scenario.
    Sysctl(String, String),
    /// The table is emptied.
    FlushTable,
    /// The rules are replaced, text as in [`Scenario::rules4`].
    Rules4(String),
    /// The rules are replaced, text as in [`Scenario::rules6`].
    Rules6(String),
    /// A process opens a socket and keeps it. Sockets count from 0.
    Open(Opened),
    /// A process sends a datagram by one of the sockets.
    Send {
        /// Which.
        socket: usize,
        /// Where to.
        to: SocketAddr,
        /// What.
        payload: Vec<u8>,
    },
    /// A command runs in the namespace, which it costs.
    Command {
        /// Its words.
        argv: Vec<String>,
        /// Its standard input.
        input: String,
    },
}

/// What one step did.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// When it began, since [`Outcome::started`].
    pub begun: Duration,
    /// When it was done, since [`Outcome::started`].
    pub done: Duration,
    /// The packet as it was sent, and where it entered, with [`Step::Answer`].
    pub sent: Option<(Port, Vec<u8>)>,
    /// The errno with which the kernel would not take the packet at all. A local packet dropped in
    /// OUTPUT is EPERM (1).
    pub refused: Option<i32>,
    /// The packet's walk, and those of the packets the host made for it.
    pub walks: Vec<Walk>,
    /// What left, in order: first all of `lan0`, then all of `wan0`.
    pub out: Vec<Emitted>,
    /// What happened between the step before and this one; all of it only with
    /// [`Look::each_table`], because the kernel collects what has expired when it comes across it.
    pub expired: Vec<Event>,
    /// Events of this step.
    pub events: Vec<Event>,
    /// What the kernel said: why INVALID, TRACE, LOG.
    pub remarks: Vec<Remark>,
    /// Lines of the kernel's own log, with [`Look::kernel_log`].
    pub kernel_log: Vec<KernelLine>,
    /// The table after this step, with [`Look::each_table`].
    pub table: Option<Vec<Entry>>,
    /// What a [`Step::Command`] said.
    pub command: Option<CommandOutput>,
}

/// A packet that left.
#[derive(Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Where.
    pub port: Port,
    /// The whole of it.
    pub bytes: Vec<u8>,
    /// Whose walk it ends, an index into [`Observation::walks`]: 0 is the packet's own, others are
    /// of packets the host made. None if it is no walk's.
    pub walk: Option<usize>,
}

impl Scenario {
    /// Whether it may change its namespace for good: a nat table cannot be unloaded, a fragment
    /// that is held not be dropped, links not be undone.
    pub(super) fn spoils(&self) -> bool {
        let steps = self.steps.iter().filter_map(|step| match step {
            Step::Rules4(text) | Step::Rules6(text) => Some(text),
            _ => None,
        });
        let nat = |text: &String| text.lines().any(|line| line.trim_end() == "*nat");
        let costly = |step: &Step| match step {
            Step::Packet { bytes, .. } | Step::Answer { bytes, .. } => is_fragment(bytes),
            Step::Command { .. } => true,
            _ => false,
        };
        !self.links.is_empty()
            || !self.policies.is_empty()
            || self.rules4.iter().chain(&self.rules6).chain(steps).any(nat)
            || self.steps.iter().any(costly)
    }
}

/// Whether defragmentation may hold this packet, longer than a scenario lasts. That an IPv6
/// fragment header hides behind others is seen only when it has happened.
fn is_fragment(packet: &[u8]) -> bool {
    match packet {
        [0x60..=0x6f, _, _, _, _, _, next, ..] => *next == 44,
        [_, _, _, _, _, _, high, low, ..] => u16::from_be_bytes([*high, *low]) & 0x3fff != 0,
        _ => false,
    }
}

impl From<dialogue::Port> for Port {
    fn from(port: dialogue::Port) -> Self {
        match port {
            dialogue::Port::Lan => Self::Lan,
            dialogue::Port::Wan => Self::Wan,
            dialogue::Port::Local => Self::Local,
        }
    }
}

impl From<Port> for dialogue::Port {
    fn from(port: Port) -> Self {
        match port {
            Port::Lan => Self::Lan,
            Port::Wan => Self::Wan,
            Port::Local => Self::Local,
        }
    }
}

impl fmt::Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} walk {:?} ", self.port, self.walk)?;
        log::hex(f, &self.bytes)
    }
}

impl Observation {
    /// What conntrack said of the step's packet; none if it never came so far.
    pub fn state(&self) -> Option<CtState> {
        self.walks.first().and_then(Walk::state)
    }

    /// The direction of the step's packet.
    pub fn direction(&self) -> Option<Direction> {
        self.walks.first().and_then(Walk::direction)
    }

    /// The hooks the step's packet entered.
    pub fn hooks(&self) -> Vec<Hook> {
        self.walks.first().map(Walk::hooks).unwrap_or_default()
    }

    /// The packet as it arrived: where it left, or as it was delivered.
    pub fn arrived(&self) -> Option<(Port, &[u8])> {
        let left = self.out.iter().find(|out| out.walk == Some(0));
        if let Some(left) = left {
            return Some((left.port, &left.bytes));
        }
        let sightings = self.walks.first()?.sightings.iter();
        let delivered = sightings.rev().find(|seen| seen.checkpoint == Checkpoint::Delivered)?;
        Some((Port::Local, &delivered.bytes))
    }

    /// Whether the packet is a fragment that defragmentation kept (or threw away).
    pub fn held(&self) -> bool {
        self.walks.first().is_some_and(Walk::swallowed_by_defragmentation)
    }

    /// The kernel's words on why a packet is invalid, without their `nf_ct_proto_6: ` in front.
    pub fn invalid(&self) -> Vec<&str> {
        self.remarks
            .iter()
            .filter(|remark| remark.text.starts_with("nf_ct_"))
            .map(|remark| remark.text.split_once(": ").map_or("", |(_, words)| words).trim_end())
            .collect()
    }

    /// The rules met, as `filter:FORWARD:rule:3`.
    pub fn trace(&self) -> Vec<&str> {
        let lines = self.remarks.iter().filter_map(|remark| remark.text.strip_prefix("TRACE: "));
        lines.map(str::trim_end).collect()
    }
}

/// What a whole scenario did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When the first step began.
    pub started: SystemTime,
    /// One for each step.
    pub observations: Vec<Observation>,
    /// Events after the last step and before the flush: found by looking at the table.
    pub expired: Vec<Event>,
    /// The table at the end.
    pub table: Vec<Entry>,
    /// The expectations at the end.
    pub expectations: Vec<Expectation>,
    /// Lines of /proc/net/nf_conntrack, with [`Look::proc`].
    pub proc_table: Vec<String>,
    /// Lines of /proc/net/nf_conntrack_expect, with [`Look::proc`].
    pub proc_expectations: Vec<String>,
    /// Lines of `conntrack -L -o extended`, with [`Look::tool`].
    pub tool_table: Vec<String>,
    /// What `conntrack -S` counted during the scenario.
    pub statistics: Statistics,
    /// `iptables-legacy-save -c`, if there were rules.
    pub rules4: Option<String>,
    /// `ip6tables-legacy-save -c`, if there were rules.
    pub rules6: Option<String>,
    /// The events of the flush that ends everything: the last counters.
    pub flushed: Vec<Event>,
}

/// Why there is no kernel to judge by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel cannot be the judge here: {}", self.0.join("; "))
    }
}

impl std::error::Error for Missing {}
