//! `-m icmp`: the type and codes of an ICMP message. The reader of types by name is shared with
//! ICMPv6.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{Demands, Extension, V4};
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;
use crate::{number, protocol};

/// A type and the codes of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// The message's type.
    pub kind: u8,
    /// The lowest and the highest code.
    pub codes: (u8, u8),
}

/// `[!] --icmp-type TYPE[/CODE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type 255 with all codes is any type.
    pub kind: Test<IcmpType>,
}

impl Icmp {
    pub(crate) const NAMES: &[&str] = &["icmp"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { kind: Test::plain(ANY) }
    }
}

/// Every type.
pub const ANY: IcmpType = IcmpType { kind: 255, codes: (0, 255) };

impl Extension for Icmp {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("icmp-type").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.kind = Test { value: parse(given.text, "ICMP", NAMES)?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Test { value, inverted } = self.kind;
        save.inverted(inverted);
        if value.kind == ANY.kind {
            save.option("icmp-type", "any");
        } else {
            save_type(save, "icmp-type", value);
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::ICMP])
    }
}

/// ` --NAME TYPE[/CODE]`.
pub(crate) fn save_type(save: &mut Save, option: &str, value: IcmpType) {
    save.option(option, value.kind);
    if value.codes != (0, 255) {
        save.text(format_args!("/{}", value.codes.0));
    }
}

/// Types by name: the name, the type, the lowest and the highest code.
pub(crate) type Names = &'static [(&'static str, u8, u8, u8)];

/// The messages that have names for `-m icmp` or `-m icmp6`, each with its type and lowest code.
pub fn named(family: Family) -> impl Iterator<Item = (&'static str, u8, u8)> {
    let names = match family {
        Family::V4 => NAMES,
        Family::V6 => super::icmp6::NAMES,
    };
    let named = names.iter().map(|(name, kind, low, _)| (*name, *kind, *low));
    named.filter(|(name, ..)| *name != "any")
}

/// A name or its unambiguous beginning in any case, else `type[/code]`.
pub(crate) fn parse(text: &str, what: &str, names: Names) -> Result<IcmpType, Refusal> {
    let begins = |name: &str| {
        name.get(..text.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(text))
    };
    let mut found: Option<(&str, IcmpType)> = None;
    for (name, kind, low, high) in names {
        if !begins(name) {
            continue;
        }
        if let Some((first, _)) = found {
            let message = format!("ambiguous {what} type `{text}`");
            return Err(Refusal::new(message).hint(format!("`{first}` or `{name}`?")));
        }
        found = Some((name, IcmpType { kind: *kind, codes: (*low, *high) }));
        if name.len() == text.len() {
            break;
        }
    }
    match found {
        Some((_, kind)) => Ok(kind),
        None => numeric(text, what),
    }
}

fn numeric(text: &str, what: &str) -> Result<IcmpType, Refusal> {
    let byte = |text: &str| number::whole(text, 255).and_then(|value| u8::try_from(value).ok());
    let (kind, code) = match text.split_once('/') {
        Some((kind, code)) => (kind, Some(code)),
        None => (text, None),
    };
    let kind = byte(kind).ok_or_else(|| {
        Refusal::new(format!("unknown {what} type `{text}`")).hint("a name, or 0 to 255")
    })?;
    let Some(code) = code else { return Ok(IcmpType { kind, codes: (0, 255) }) };
    let code = byte(code).ok_or_else(|| {
        Refusal::new(format!("unknown {what} code in `{text}`")).hint("a number from 0 to 255")
    })?;
    Ok(IcmpType { kind, codes: (code, code) })
}

/// In iptables' order, which decides what is ambiguous.
#[rustfmt::skip]
const NAMES: Names = &[
    ("any", 255, 0, 255),
    ("echo-reply", 0, 0, 255), ("pong", 0, 0, 255),
    ("destination-unreachable", 3, 0, 255),
    ("network-unreachable", 3, 0, 0), ("host-unreachable", 3, 1, 1),
    ("protocol-unreachable", 3, 2, 2), ("port-unreachable", 3, 3, 3),
    ("fragmentation-needed", 3, 4, 4), ("source-route-failed", 3, 5, 5),
    ("network-unknown", 3, 6, 6), ("host-unknown", 3, 7, 7),
    ("network-prohibited", 3, 9, 9), ("host-prohibited", 3, 10, 10),
    ("TOS-network-unreachable", 3, 11, 11), ("TOS-host-unreachable", 3, 12, 12),
    ("communication-prohibited", 3, 13, 13), ("host-precedence-violation", 3, 14, 14),
    ("precedence-cutoff", 3, 15, 15),
    ("source-quench", 4, 0, 255),
    ("redirect", 5, 0, 255),
    ("network-redirect", 5, 0, 0), ("host-redirect", 5, 1, 1),
    ("TOS-network-redirect", 5, 2, 2), ("TOS-host-redirect", 5, 3, 3),
    ("echo-request", 8, 0, 255), ("ping", 8, 0, 255),
    ("router-advertisement", 9, 0, 255), ("router-solicitation", 10, 0, 255),
    ("time-exceeded", 11, 0, 255), ("ttl-exceeded", 11, 0, 255),
    ("ttl-zero-during-transit", 11, 0, 0), ("ttl-zero-during-reassembly", 11, 1, 1),
    ("parameter-problem", 12, 0, 255),
    ("ip-header-bad", 12, 0, 0), ("required-option-missing", 12, 1, 1),
    ("timestamp-request", 13, 0, 255), ("timestamp-reply", 14, 0, 255),
    ("address-mask-request", 17, 0, 255), ("address-mask-reply", 18, 0, 255),
];

impl Matching for Icmp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        type_passes(&self.kind, self.kind.value.kind == ANY.kind, view)
    }
}

/// Whether the message is of the type asked for; every type is, if `any`.
pub(crate) fn type_passes(
    asked: &Test<IcmpType>,
    any: bool,
    view: &View<'_>,
) -> Result<bool, Stop> {
    if view.is_later_fragment() {
        return Ok(false);
    }
    let header: &[u8; 8] = view.upper_header().ok_or(Stop::Hotdrop)?;
    let IcmpType { kind, codes: (least, most) } = asked.value;
    let is = any || (header[0] == kind && (least..=most).contains(&header[1]));
    Ok(asked.passes(is))
}
