//! What one side did with a dialogue, in the one form in which both sides are compared.
//!
//! Words instead of types where nothing but equality is asked: what is not equal must be read by a
//! person anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stateward_wire::Packet;

use crate::adapt;
use crate::dialogue::Port;

/// All that one side did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// One for each step.
    pub(crate) packets: Vec<Fate>,
    /// The table at the end, sorted.
    pub(crate) table: Vec<Told>,
    /// The table as /proc and `conntrack -L -o extended` print it, sorted.
    pub(crate) lines: Vec<String>,
    /// The rules of IPv4 and IPv6 with their counters, table by table.
    pub(crate) rules: [Vec<String>; 2],
    /// Columns of `conntrack -S`.
    pub(crate) statistics: BTreeMap<&'static str, u64>,
}

impl Heard {
    /// Whose end was not told, and whose beginning, is no more known by the events: the kernel may
    /// give an id again.
    pub(crate) fn forget_numbers(&mut self) {
        for fate in &mut self.packets {
            let told = fate.events.iter_mut().chain(&mut fate.expired);
            told.for_each(|told| told.connection = 0);
        }
    }
}

impl Heard {
    /// Blanks of ICMP errors that left what the kernel breaks where helpers edit: it moves their
    /// bytes as if they were a TCP header, and quotes an edited segment before its card has summed
    /// it up (PARITY.md).
    pub(crate) fn forget_broken_errors(&mut self) {
        for fate in &mut self.packets {
            let left = fate.out.iter_mut().chain(&mut fate.given_up);
            for left in left {
                for at in adapt::broken_of_error(&left.bytes) {
                    left.bytes.get_mut(at).into_iter().for_each(|byte| *byte = 0);
                }
            }
        }
    }
}

/// What became of one packet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    /// NEW, ESTABLISHED …; none if it was never classified.
    pub(crate) state: Option<&'static str>,
    /// Its direction, if it belongs to a connection.
    pub(crate) direction: Option<&'static str>,
    /// Where its way ended.
    pub(crate) end: End,
    /// The reasons given: the kernel's words or our code, see [`super::reasons`].
    pub(crate) reasons: Vec<String>,
    /// How many of the last reasons may be those of packets that the host made in answer.
    pub(crate) foreign_reasons: usize,
    /// What had ended by itself before it, sorted.
    pub(crate) expired: Vec<Told>,
    /// What had left by itself before it, sorted: errors about fragments that waited in vain.
    pub(crate) given_up: Vec<Left>,
    /// What was told, in order.
    pub(crate) events: Vec<Told>,
    /// What was told of expectations, in order.
    pub(crate) announced: Vec<String>,
    /// What left, in order, first all of `lan0`.
    pub(crate) out: Vec<Left>,
    /// The rules met, as TRACE tells them.
    pub(crate) path: Vec<String>,
    /// States of the packets that the host made in answer.
    pub(crate) answers: Vec<&'static str>,
}

/// Where a packet's way ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// It was never let in.
    #[default]
    Refused,
    /// In defragmentation: it waits, or is thrown away.
    Defragmentation,
    /// At the tracker.
    Tracker,
    /// Between the first hook and the next.
    Routing,
    /// In the last hook.
    Confirm,
    /// By a rule. Only the engine says so: in the kernel it is the last rule of the path.
    Rule,
    /// It was delivered to this host.
    Delivered,
    /// It left.
    Left,
}

/// A packet that left.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Left {
    pub(crate) port: Port,
    /// This host made it; what the host draws at random in it is blank.
    pub(crate) by_host: bool,
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.by_host { "host" } else { "packet" };
        write!(f, "{:?} by {by} ", self.port)?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Left {
    pub(crate) fn new(port: Port, by_host: bool, mut bytes: Vec<u8>) -> Self {
        // IPv4: identification and checksum; IPv6: the flow label.
        let drawn: &[usize] = match bytes.first().map(|first| first >> 4) {
            Some(4) => &[4, 5, 10, 11],
            _ => &[2, 3],
        };
        for place in drawn.iter().filter(|_| by_host) {
            bytes.get_mut(*place).into_iter().for_each(|byte| *byte = 0);
        }
        if by_host && bytes.first().is_some_and(|first| first >> 4 == 6) {
            bytes.get_mut(1).into_iter().for_each(|byte| *byte &= 0xf0);
        }
        Self { port, by_host, bytes }
    }
}

/// Blanks the identification of the IPv6 fragments that a packet leaves in, if it was one: who puts
/// a packet together and cuts it again draws it.
pub(crate) fn blank_fragment_ids(sent: &[u8], out: &mut [Left]) {
    let is_other = |left: &Left| !left.by_host && left.bytes.len() != sent.len();
    if !is_piece(sent) && !out.iter().any(is_other) {
        return;
    }
    for left in out.iter_mut().filter(|left| !left.by_host) {
        let header = Packet::parse_trusted(&left.bytes).ok();
        let header = header.filter(|packet| packet.source().is_ipv6());
        let Some(header) = header.and_then(|packet| packet.fragment_header()) else { continue };
        if let Some(id) = left.bytes.get_mut(header + 4..header + 8) {
            id.fill(0);
        }
    }
}

/// Whether a packet is one of several pieces.
fn is_piece(bytes: &[u8]) -> bool {
    let fragment = Packet::parse(bytes).ok().and_then(|packet| packet.fragment());
    fragment.is_some_and(|fragment| fragment.more || fragment.offset != 0)
}

/// A connection as an event or the table tells of it. `None` is "not told".
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// NEW, UPDATE, DESTROY, or nothing in the table.
    pub(crate) event: &'static str,
    pub(crate) original: String,
    pub(crate) reply: String,
    pub(crate) master: Option<String>,
    /// Number of the connection by first appearance; 0 in the table.
    pub(crate) connection: u32,
    pub(crate) status: Option<u32>,
    pub(crate) timeout: Option<u32>,
    pub(crate) protocol: Option<String>,
    pub(crate) mark: Option<u32>,
    pub(crate) counters: [Option<(u64, u64)>; 2],
    /// Nanoseconds since 1970.
    pub(crate) start: Option<u64>,
    pub(crate) stop: Option<u64>,
    /// When the event was told, likewise.
    pub(crate) told: Option<u64>,
    pub(crate) helper: Option<String>,
    pub(crate) labels: Option<Vec<u8>>,
    /// Every attribute the message has, by name.
    pub(crate) present: BTreeSet<String>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} {}", self.event, self.connection, self.original)?;
        write!(f, " / {} status {:x?}", self.reply, self.status)?;
        write!(f, " timeout {:?} {:?}", self.timeout, self.protocol)?;
        write!(f, " counters {:?} mark {:?}", self.counters, self.mark)?;
        let rest = (&self.master, &self.helper, &self.labels, self.start, self.stop);
        if rest != (&None, &None, &None, None, None) {
            write!(f, " {rest:?}")?;
        }
        write!(f, " [")?;
        self.present
            .iter()
            .filter(|name| !name.contains('/'))
            .try_for_each(|n| write!(f, " {n}"))?;
        write!(f, " ]")
    }
}

/// Numbers connections by first appearance, whatever their ids are.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    known: BTreeMap<u64, u32>,
    last: u32,
}

impl Numbers {
    /// The number of the connection with this id, of which this event tells.
    pub(crate) fn number(&mut self, event: &str, id: u64) -> u32 {
        let known = if event == "NEW" { None } else { self.known.get(&id).copied() };
        let number = known.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        match event {
            // The next one may have the same id.
            "DESTROY" => self.known.remove(&id),
            _ => self.known.insert(id, number),
        };
        number
    }
}

/// Sorts what time alone has ended. The kernel tells it when it comes to look.
pub(crate) fn without_order(mut expired: Vec<Told>) -> Vec<Told> {
    for told in &mut expired {
        told.told = told.told.map(|_| 0);
    }
    expired.sort();
    expired
}

/// Sorted lines of a table without what differs with the clock and with those who hold an entry.
pub(crate) fn timeless_lines(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    /// Place of the timeout in a line: after two protocols and their numbers.
    const TIMEOUT: usize = 4;
    let timeless = |line: String| {
        let words = line.split(' ').filter(|word| !word.is_empty()).enumerate();
        let words = words.map(|(place, word)| match word.split_once('=') {
            Some((name @ ("use" | "delta-time"), _)) => name,
            None if place == TIMEOUT => "seconds",
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = lines.into_iter().map(timeless).collect();
    lines.sort();
    lines
}
