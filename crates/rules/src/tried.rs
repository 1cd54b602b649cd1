//! What a rule asked of a packet, option by option, and what became of it: for whoever explains.
//!
//! The walk itself decides (`evaluate.rs`); here its decision is put into words, and only where a
//! [`Context`](crate::Context) wants to know. A header of several options, and a match of several
//! that remembers nothing, falls into parts of one option each, which are asked by the same tests;
//! so the first option that failed is known without a second implementation of any of them.

mod seen;

use crate::compiled::{header_passes, tested};
use crate::context::View;
use crate::matches::Match;
use crate::matches::addrtype::Addrtype;
use crate::matches::conntrack::Conntrack;
use crate::matches::iprange::Iprange;
use crate::matches::tcp::Tcp;
use crate::matches::udp::Udp;
use crate::memory::{Memory, Own};
use crate::rule::{Header, RuleSpec};
use crate::save::Save;

/// A rule and a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// How it ended.
    pub fate: Fate,
    /// What was asked, in its order; if the rule was not met, the last one is what failed.
    pub asked: Vec<Asked>,
}

/// Whether a packet had what a rule asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It had.
    Met,
    /// It had not.
    PassedOver,
    /// Nobody could evaluate the match, which counts as not.
    NotEvaluated,
    /// It was too short for the match, and ended there.
    Broken,
}

/// One option of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As iptables-save prints it: `! -s 192.0.2.0/24`, `--dport 22`.
    pub option: String,
    /// What the packet has, if that can be said in a word.
    pub packet: Option<String>,
}

impl Tried {
    /// A rule of which `passed` matches passed in a row, and what became of it.
    pub(crate) fn of(rule: &RuleSpec, passed: usize, fate: Fate, view: &View<'_>) -> Self {
        let mut asked = Vec::new();
        for part in parts_of_header(&rule.header) {
            asked.push(Asked { option: header_text(&part), packet: seen::of_header(&part, view) });
            if !matches!(header_passes(&part, view), Ok(true)) {
                return Self { fate, asked };
            }
        }
        for one in tested(&rule.matches).take(passed) {
            asked.extend(parts(one).iter().map(|part| Asked::of(part, view)));
        }
        if let Some(one) = tested(&rule.matches).nth(passed).filter(|_| fate != Fate::Met) {
            let parts = parts(one);
            let last = parts.len().saturating_sub(1);
            for (number, part) in parts.iter().enumerate() {
                asked.push(Asked::of(part, view));
                let mut own = Own::Nothing;
                // A whole match is what failed: it is not asked again, it may remember.
                if number == last
                    || !matches!(part.work().passes(view, &mut Memory { own: &mut own }), Ok(true))
                {
                    break;
                }
            }
        }
        Self { fate, asked }
    }
}

impl Asked {
    fn of(part: &Match, view: &View<'_>) -> Self {
        let mut save = Save::default();
        part.save(&mut save);
        let text = save.into_text();
        let option = match text.trim() {
            "" => format!("-m {}", part.name()),
            text => text.to_owned(),
        };
        Self { option, packet: seen::of_match(part, view) }
    }
}

fn header_text(part: &Header) -> String {
    let mut save = Save::default();
    part.save(&mut save);
    save.into_text().trim().to_owned()
}

/// A header as headers of one option each, in the order in which they are tested.
fn parts_of_header(header: &Header) -> Vec<Header> {
    let any = Header::any(header.family);
    let parts = [
        Header { source: header.source, ..any.clone() },
        Header { destination: header.destination, ..any.clone() },
        Header { input: header.input.clone(), ..any.clone() },
        Header { output: header.output.clone(), ..any.clone() },
        Header { protocol: header.protocol, ..any.clone() },
        Header { fragment: header.fragment, ..any.clone() },
    ];
    parts.into_iter().filter(|part| *part != any && !header_text(part).is_empty()).collect()
}

/// A match as matches of one option each, in the order in which they are tested; itself, if it
/// cannot be taken apart.
fn parts(one: &Match) -> Vec<Match> {
    let parts: Vec<Match> = match one {
        Match::Tcp(tcp) => parts_of_tcp(tcp).map(Match::Tcp).collect(),
        Match::Udp(udp) => parts_of_udp(udp).map(Match::Udp).collect(),
        Match::Conntrack(conntrack) => {
            parts_of_conntrack(conntrack).map(Match::Conntrack).collect()
        }
        Match::Addrtype(addrtype) => {
            let source = Addrtype { destination: None, ..addrtype.clone() };
            let destination = Addrtype { source: None, ..addrtype.clone() };
            let parts = [source, destination].into_iter();
            let asks = |part: &Addrtype| part.source.is_some() || part.destination.is_some();
            parts.filter(asks).map(Match::Addrtype).collect()
        }
        Match::Iprange(range) => {
            let source = Iprange { destination: None, ..range.clone() };
            let destination = Iprange { source: None, ..range.clone() };
            let parts = [source, destination].into_iter();
            let asks = |part: &Iprange| part.source.is_some() || part.destination.is_some();
            parts.filter(asks).map(Match::Iprange).collect()
        }
        _ => Vec::new(),
    };
    if parts.is_empty() { vec![one.clone()] } else { parts }
}

fn parts_of_tcp(tcp: &Tcp) -> impl Iterator<Item = Tcp> + use<> {
    let any = Tcp::begin(stateward_wire::Family::V4);
    let parts = [
        Tcp { source: tcp.source, ..any.clone() },
        Tcp { destination: tcp.destination, ..any.clone() },
        Tcp { flags: tcp.flags, ..any.clone() },
        Tcp { option: tcp.option, ..any.clone() },
    ];
    parts.into_iter().filter(move |part| *part != any)
}

fn parts_of_udp(udp: &Udp) -> impl Iterator<Item = Udp> + use<> {
    let any = Udp::begin(stateward_wire::Family::V4);
    let parts = [
        Udp { source: udp.source, ..any.clone() },
        Udp { destination: udp.destination, ..any.clone() },
    ];
    parts.into_iter().filter(move |part| *part != any)
}

fn parts_of_conntrack(all: &Conntrack) -> impl Iterator<Item = Conntrack> + use<> {
    let none = Conntrack::default();
    let mut parts = vec![
        Conntrack { states: all.states, ..none.clone() },
        Conntrack { direction: all.direction, ..none.clone() },
    ];
    for (at, address) in all.addresses.iter().enumerate() {
        let mut part = none.clone();
        part.addresses.iter_mut().skip(at).take(1).for_each(|place| *place = *address);
        parts.push(part);
    }
    parts.push(Conntrack { protocol: all.protocol, ..none.clone() });
    for (at, range) in all.ports.iter().enumerate() {
        let mut part = none.clone();
        part.ports.iter_mut().skip(at).take(1).for_each(|place| *place = *range);
        parts.push(part);
    }
    parts.push(Conntrack { status: all.status, ..none.clone() });
    parts.push(Conntrack { expires: all.expires, ..none.clone() });
    parts.into_iter().filter(move |part| *part != none)
}
