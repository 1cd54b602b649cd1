//! `-m icmp6`: the type and codes of an ICMPv6 message.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::matches::icmp::type_passes;
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{Demands, Extension, V6};
use crate::matches::icmp::{IcmpType, Names, parse, save_type};
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::rule::Test;
use crate::save::Save;

/// `[!] --icmpv6-type TYPE[/CODE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp6 {
    /// Unlike ICMP's, type 255 is a type like any other.
    pub kind: Test<IcmpType>,
}

impl Icmp6 {
    pub(crate) const NAMES: &[&str] = &["icmp6", "icmpv6", "ipv6-icmp"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { kind: Test::plain(IcmpType { kind: 0, codes: (0, 255) }) }
    }
}

impl Extension for Icmp6 {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("icmpv6-type").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.kind = Test { value: parse(given.text, "ICMPv6", NAMES)?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.kind.inverted);
        save_type(save, "icmpv6-type", self.kind.value);
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::ICMPV6])
    }
}

/// In ip6tables' order, which decides what is ambiguous.
#[rustfmt::skip]
pub(super) const NAMES: Names = &[
    ("destination-unreachable", 1, 0, 255),
    ("no-route", 1, 0, 0), ("communication-prohibited", 1, 1, 1), ("beyond-scope", 1, 2, 2),
    ("address-unreachable", 1, 3, 3), ("port-unreachable", 1, 4, 4),
    ("failed-policy", 1, 5, 5), ("reject-route", 1, 6, 6),
    ("packet-too-big", 2, 0, 255),
    ("time-exceeded", 3, 0, 255), ("ttl-exceeded", 3, 0, 255),
    ("ttl-zero-during-transit", 3, 0, 0), ("ttl-zero-during-reassembly", 3, 1, 1),
    ("parameter-problem", 4, 0, 255),
    ("bad-header", 4, 0, 0), ("unknown-header-type", 4, 1, 1), ("unknown-option", 4, 2, 2),
    ("echo-request", 128, 0, 255), ("ping", 128, 0, 255),
    ("echo-reply", 129, 0, 255), ("pong", 129, 0, 255),
    ("router-solicitation", 133, 0, 255), ("router-advertisement", 134, 0, 255),
    ("neighbour-solicitation", 135, 0, 255), ("neighbor-solicitation", 135, 0, 255),
    ("neighbour-advertisement", 136, 0, 255), ("neighbor-advertisement", 136, 0, 255),
    ("redirect", 137, 0, 255),
];

impl Matching for Icmp6 {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        type_passes(&self.kind, false, view)
    }
}
