//! `-m udp`: ports. Ranges of ports are shared with the other transports.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use std::fmt;

use stateward_wire::Family;

use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;
use crate::{protocol, services};

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// Whether `port` is among them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// `port[:port]` with names of `protocol`'s services; an open end is 0 or 65535.
    pub(crate) fn parse(text: &str, protocol: u8) -> Result<Self, Refusal> {
        let port = |text: &str| services::port_of(text, protocol);
        let Some((first, last)) = text.split_once(':') else {
            let port = port(text)?;
            return Ok(Self { first: port, last: port });
        };
        let first = if first.is_empty() { 0 } else { port(first)? };
        let last = if last.is_empty() { u16::MAX } else { port(last)? };
        if first > last {
            let refusal = Refusal::new(format!("invalid port range `{text}`"));
            return Err(refusal.hint(format!("the lower port first: {last}:{first}")));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => first.fmt(f),
            Self { first, last } => write!(f, "{first}:{last}"),
        }
    }
}

/// ` [!] --NAME RANGE`, but for a range that is every port, whose `!` is lost as well.
pub(crate) fn save_ports(save: &mut Save, name: &str, ports: Test<PortRange>) {
    if ports.value != PortRange::ANY {
        save.inverted(ports.inverted).option(name, ports.value);
    }
}

/// What of a UDP header is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// `--sport`.
    pub source: Test<PortRange>,
    /// `--dport`.
    pub destination: Test<PortRange>,
}

impl Udp {
    pub(crate) const NAMES: &[&str] = &["udp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { source: Test::plain(PortRange::ANY), destination: Test::plain(PortRange::ANY) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("source-port").aliases(&["sport"]).invertible(),
    OptionSpec::value("destination-port").aliases(&["dport"]).invertible(),
];

impl Extension for Udp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let (first, last) = given.ports()?;
        let test = Test { value: PortRange { first, last }, inverted: given.inverted };
        match given.option {
            "source-port" => self.source = test,
            _ => self.destination = test,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_ports(save, "sport", self.source);
        save_ports(save, "dport", self.destination);
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::UDP])
    }
}

impl Matching for Udp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let header: &[u8; 8] = view.upper_header().ok_or(Stop::Hotdrop)?;
        let [source, destination] = ports_of(header);
        Ok(self.source.passes(self.source.value.contains(source))
            && self.destination.passes(self.destination.value.contains(destination)))
    }
}

/// The two ports that a header begins with.
pub(crate) fn ports_of(header: &[u8]) -> [u16; 2] {
    let at = |place: usize| header.get(place..).and_then(|rest| rest.first_chunk());
    [0, 2].map(|place| at(place).map_or(0, |bytes| u16::from_be_bytes(*bytes)))
}
