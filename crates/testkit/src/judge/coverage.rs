//! What the dialogues that were held have touched: a judge that never asks is always content.
//!
//! Counted on our side, where the state before each packet can be looked up: every cell of both TCP
//! tables, every reason, both sides of every sysctl, packets of each protocol.

use std::collections::BTreeMap;
use std::fmt;

use stateward_conntrack::tcp::TcpState;
use stateward_conntrack::{
    ConnId, DropReason, ProtocolInfo, Reason, Sysctls, Tracker, Tuple, Zone,
};
use stateward_engine::Outcome;
use stateward_wire::{Packet, TcpFlags, TcpHeader, protocol};

use crate::dialogue::Settings;

/// Rows of the TCP tables.
const SEGMENTS: [&str; 5] = ["SYN", "SYN/ACK", "FIN", "ACK", "RST"];
const DIRECTIONS: [&str; 2] = ["original", "reply"];
/// How often each thing should have been touched.
const ENOUGH: u64 = 100;
/// How many packets of each protocol there should have been.
const ENOUGH_PACKETS: u64 = 5000;

/// Counts of what was touched.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    packets: u64,
    protocols: BTreeMap<String, u64>,
    /// By direction, segment and state.
    cells: [[[u64; TcpState::ALL.len()]; SEGMENTS.len()]; 2],
    reasons: BTreeMap<&'static str, u64>,
    /// Packets under each sysctl's default and under any other value.
    settings: BTreeMap<&'static str, [u64; 2]>,
}

/// What is known of one dialogue's connections before the next packet.
#[derive(Default)]
pub(super) struct Known(BTreeMap<String, ConnId>);

impl Coverage {
    /// All packets.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Notes the settings of a dialogue of so many packets.
    pub(super) fn dialogue(&mut self, settings: &Settings, packets: u64) {
        for name in Sysctls::NAMES {
            let changed = settings.sysctls.iter().any(|(changed, _)| changed == name);
            let sides = self.settings.entry(name).or_default();
            if let Some(side) = sides.get_mut(usize::from(changed)) {
                *side += packets;
            }
        }
    }

    /// Notes a packet before the engine has it.
    pub(super) fn before(&mut self, bytes: &[u8], known: &Known, tracker: &Tracker) {
        self.packets += 1;
        let packet = Packet::parse(bytes).ok();
        *self.protocols.entry(class(packet.as_ref())).or_default() += 1;
        let Some(packet) = packet else { return };
        let Some((segment, tuple)) = segment(&packet) else { return };
        let words = format!("{tuple:?}");
        let record = known.0.get(&words).and_then(|id| tracker.get(*id));
        let (direction, state) = match record {
            None => (0, TcpState::None),
            Some(record) => {
                let state = match record.protocol {
                    Some(ProtocolInfo::Tcp(tcp)) => tcp.state,
                    _ => TcpState::None,
                };
                (usize::from(record.original != tuple), state)
            }
        };
        let row = self.cells.get_mut(direction).and_then(|table| table.get_mut(segment));
        if let Some(cell) = row.and_then(|row| row.get_mut(state as usize)) {
            *cell += 1;
        }
    }

    /// Notes what the engine made of it.
    pub(super) fn after(&mut self, bytes: &[u8], outcome: &Outcome, known: &mut Known) {
        if let Some(why) = outcome.why {
            *self.reasons.entry(why.code()).or_default() += 1;
        }
        let Some(id) = outcome.connection.and_then(|connection| connection.id) else { return };
        let tuple = Packet::parse(bytes).ok().and_then(|packet| Some(segment(&packet)?.1));
        for tuple in tuple.into_iter().chain(tuple.and_then(|tuple| tuple.inverse())) {
            known.0.insert(format!("{tuple:?}"), id);
        }
    }

    /// Everything that was touched too seldom, in words.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let mut want = |what: String, count: u64, enough: u64| {
            if count < enough {
                gaps.push(format!("{what}: {count}"));
            }
        };
        for (direction, segment, state, count) in self.cells() {
            want(format!("TCP {direction} {segment} in {state}"), count, ENOUGH);
        }
        for code in Reason::CODES.into_iter().chain(DropReason::CODES) {
            let count = self.reasons.get(code).copied().unwrap_or_default();
            want(format!("reason {code}"), count, ENOUGH);
        }
        for (name, [usual, other]) in &self.settings {
            want(format!("packets under the default {name}"), *usual, ENOUGH);
            want(format!("packets under another {name}"), *other, ENOUGH);
        }
        for (name, count) in &self.protocols {
            want(format!("packets of {name}"), *count, ENOUGH_PACKETS);
        }
        gaps
    }

    /// The cells that can be reached, and how often each was. A reply meets no connection without a
    /// state.
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

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "packets of each protocol")?;
        for (name, count) in &self.protocols {
            writeln!(f, "  {name:24} {count:>10}")?;
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
        for (code, count) in &self.reasons {
            writeln!(f, "  {code:24} {count:>10}")?;
        }
        writeln!(f, "packets under the default, under another value")?;
        for (name, [usual, other]) in &self.settings {
            writeln!(f, "  {name:32} {usual:>10} {other:>10}")?;
        }
        let gaps = self.gaps();
        writeln!(f, "touched too seldom: {}", if gaps.is_empty() { "nothing" } else { "" })?;
        gaps.iter().try_for_each(|gap| writeln!(f, "  {gap}"))
    }
}

/// What a packet counts as.
fn class(packet: Option<&Packet<'_>>) -> String {
    let Some(packet) = packet else { return "malformed".to_owned() };
    let family = if packet.source().is_ipv4() { "IPv4" } else { "IPv6" };
    if packet.fragment().is_some() {
        return format!("{family} fragment");
    }
    let name = match packet.upper().map(|upper| upper.protocol) {
        None => "nothing to be found",
        Some(protocol::TCP) => "TCP",
        Some(protocol::UDP) => "UDP",
        Some(protocol::UDPLITE) => "UDP-Lite",
        Some(protocol::ICMP) => "ICMP",
        Some(protocol::ICMPV6) => "ICMPv6",
        Some(protocol::SCTP) => "SCTP",
        Some(protocol::GRE) => "GRE",
        Some(protocol::DCCP) => "DCCP",
        Some(protocol::ESP) => "ESP",
        Some(protocol::AH) => "AH",
        Some(_) => "another protocol",
    };
    format!("{family} {name}")
}

/// The row of the TCP tables that a packet means, and its tuple.
fn segment(packet: &Packet<'_>) -> Option<(usize, Tuple)> {
    let upper = packet.upper().filter(|upper| upper.protocol == protocol::TCP)?;
    let tuple = Tuple::of(packet, Zone::DEFAULT).filter(|_| upper.offset < packet.length())?;
    let flags = TcpHeader::view(packet.l4())?.flags();
    let row = match flags {
        flags if flags.0 & TcpFlags::RST.0 != 0 => 4,
        flags if flags.0 & TcpFlags::SYN.0 != 0 && flags.0 & TcpFlags::ACK.0 != 0 => 1,
        flags if flags.0 & TcpFlags::SYN.0 != 0 => 0,
        flags if flags.0 & TcpFlags::FIN.0 != 0 => 2,
        flags if flags.0 & TcpFlags::ACK.0 != 0 => 3,
        _ => return None,
    };
    Some((row, tuple))
}
