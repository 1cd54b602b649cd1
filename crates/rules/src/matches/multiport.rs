//! `-m multiport`: up to fifteen ports; a range takes the room of two.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::matches::udp::ports_of;
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{BOTH, Extension};
use crate::matches::udp::PortRange;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::protocol::{DCCP, SCTP, TCP, UDP, UDPLITE};
use crate::rule::{Header, Test};
use crate::save::Save;
use crate::services;

/// `[!] --sports`, `--dports` or `--ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiport {
    /// Which of a packet's ports are looked for.
    pub side: Side,
    /// In the order in which they are written.
    pub ports: Test<Vec<PortRange>>,
}

/// Which ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `--sports`.
    Source,
    /// `--dports`.
    Destination,
    /// `--ports`: either.
    Either,
}

impl Multiport {
    pub(crate) const NAMES: &[&str] = &["multiport"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { side: Side::Source, ports: Test { value: Vec::new(), inverted: false } }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("source-ports")
        .aliases(&["sports"])
        .invertible()
        .excludes(&["destination-ports", "ports"]),
    OptionSpec::value("destination-ports")
        .aliases(&["dports"])
        .invertible()
        .excludes(&["source-ports", "ports"]),
    OptionSpec::value("ports").invertible().excludes(&["source-ports", "destination-ports"]),
];

/// How many numbers the kernel has room for.
const ROOM: usize = 15;

impl Extension for Multiport {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let protocol = with_ports(given.header)?;
        let ports = list(given.text, protocol)?;
        self.ports = Test { value: ports, inverted: given.inverted };
        self.side = match given.option {
            "source-ports" => Side::Source,
            "destination-ports" => Side::Destination,
            _ => Side::Either,
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("multiport: an option is missing")
                .hint("`--dports`, `--sports` or `--ports`")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let name = match self.side {
            Side::Source => "sports",
            Side::Destination => "dports",
            Side::Either => "ports",
        };
        let ports: Vec<_> = self.ports.value.iter().map(ToString::to_string).collect();
        save.inverted(self.ports.inverted).option(name, ports.join(","));
    }
}

/// The rule's protocol, which must be one with ports.
fn with_ports(header: &Header) -> Result<u8, Refusal> {
    let protocol = header.protocol.value;
    if protocol == 0 {
        let refusal = Refusal::new("multiport needs a protocol with ports before it");
        return Err(refusal.hint("add `-p tcp`, `-p udp`, `-p udplite`, `-p sctp` or `-p dccp`"));
    }
    if header.protocol.inverted || !protocol_has_ports(protocol) {
        return Err(Refusal::new("multiport works with TCP, UDP, UDPLITE, SCTP and DCCP only"));
    }
    Ok(protocol)
}

pub(crate) fn protocol_has_ports(protocol: u8) -> bool {
    [TCP, UDP, UDPLITE, SCTP, DCCP].contains(&protocol)
}

fn list(text: &str, protocol: u8) -> Result<Vec<PortRange>, Refusal> {
    let mut ports = Vec::new();
    let mut room = ROOM;
    for word in text.split(',') {
        let range = range(word, protocol, room)?;
        room = match (range.first == range.last, room) {
            (true, room @ 1..) => room - 1,
            (false, room @ 2..) => room - 2,
            _ => return Err(too_many()),
        };
        ports.push(range);
    }
    Ok(ports)
}

fn range(word: &str, protocol: u8, room: usize) -> Result<PortRange, Refusal> {
    // Too many is said before the port is read.
    if room == 0 || (room == 1 && word.contains(':')) {
        return Err(too_many());
    }
    let Some((first, last)) = word.split_once(':') else {
        let port = services::port_of(word, protocol)?;
        return Ok(PortRange { first: port, last: port });
    };
    let first = services::port_of(first, protocol)?;
    let last = services::port_of(last, protocol)?;
    if first >= last {
        let refusal = Refusal::new(format!("invalid port range `{word}`"));
        return Err(refusal.hint("the lower port first, and two that differ"));
    }
    Ok(PortRange { first, last })
}

fn too_many() -> Refusal {
    let refusal = Refusal::new("too many ports");
    refusal.hint(format!("up to {ROOM}, a range counts as two: split the rule, or use an ipset"))
}

impl Matching for Multiport {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let header: &[u8; 4] = view.upper_header().ok_or(Stop::Hotdrop)?;
        let [source, destination] = ports_of(header);
        let listed = |port| self.ports.value.iter().any(|range| range.contains(port));
        let found = match self.side {
            Side::Source => listed(source),
            Side::Destination => listed(destination),
            Side::Either => listed(source) || listed(destination),
        };
        Ok(self.ports.passes(found))
    }
}
