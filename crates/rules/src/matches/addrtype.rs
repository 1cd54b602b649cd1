//! `-m addrtype`: what an address is to this host's routes.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::ruleset::Hook;
use crate::save::Save;

/// `--src-type`, `--dst-type` and which interface the question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addrtype {
    /// Whose rules these are: IPv6 knows fewer types.
    pub family: Family,
    /// The source's types: bit N is the kernel's `RTN_` type N.
    pub source: Option<Test<u16>>,
    /// The destination's types.
    pub destination: Option<Test<u16>>,
    /// Which interface's routes are asked.
    pub interface: Limit,
}

/// Which interface's routes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All.
    None,
    /// `--limit-iface-in`: that by which the packet came.
    Input,
    /// `--limit-iface-out`: that by which it leaves.
    Output,
}

impl Addrtype {
    pub(crate) const NAMES: &[&str] = &["addrtype"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { family, source: None, destination: None, interface: Limit::None }
    }
}

/// By the kernel's numbers.
const TYPES: [&str; 12] = [
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
    "NAT",
    "XRESOLVE",
];
const BLACKHOLE: usize = 6;
const BROADCAST: usize = 3;
const PROHIBIT: usize = 8;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("src-type").invertible(),
    OptionSpec::value("dst-type").invertible(),
    OptionSpec::flag("limit-iface-in").excludes(&["limit-iface-out"]),
    OptionSpec::flag("limit-iface-out").excludes(&["limit-iface-in"]),
];

impl Extension for Addrtype {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "src-type" => self.source = Some(Test { value: types(given)?, inverted }),
            "dst-type" => self.destination = Some(Test { value: types(given)?, inverted }),
            "limit-iface-in" => self.interface = Limit::Input,
            _ => self.interface = Limit::Output,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.has("src-type") || seen.has("dst-type") {
            true => Ok(()),
            false => Err(Refusal::new("addrtype: `--src-type` or `--dst-type` must be given")),
        }
    }

    fn save(&self, save: &mut Save) {
        for (name, types) in [("src-type", self.source), ("dst-type", self.destination)] {
            if let Some(Test { value, inverted }) = types {
                save.inverted(inverted).option(name, names(value));
            }
        }
        match self.interface {
            Limit::None => {}
            Limit::Input => _ = save.flag("limit-iface-in"),
            Limit::Output => _ = save.flag("limit-iface-out"),
        }
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let leads = |hooks: &[Hook]| place.hooks.iter().any(|hook| hooks.contains(hook));
        let refuse = |name: &str, why: &str| Err(Refusal::table(format!("`--{name}` where {why}")));
        if self.interface == Limit::Output && leads(&[Hook::Prerouting, Hook::Input]) {
            return refuse("limit-iface-out", "the packet's way out is not known");
        }
        if self.interface == Limit::Input && leads(&[Hook::Postrouting, Hook::Output]) {
            return refuse("limit-iface-in", "the packet's way in is not known");
        }
        if self.family == Family::V6 {
            let types = [self.source, self.destination].into_iter().flatten();
            let types = types.fold(0, |all, test| all | test.value);
            let strange =
                [BLACKHOLE, PROHIBIT, PROHIBIT + 1, PROHIBIT + 2, PROHIBIT + 3, BROADCAST];
            if let Some(at) = strange.iter().find(|at| types & (1 << **at) != 0) {
                let name = TYPES.get(*at).copied().unwrap_or_default();
                return Err(Refusal::table(format!("addrtype: IPv6 does not ask for {name}")));
            }
        }
        Ok(())
    }
}

/// Types with commas between them, each in any case and cut short as one likes.
fn types(given: &Given<'_>) -> Result<u16, Refusal> {
    let mut bits = 0;
    for word in given.text.split(',') {
        let begins = |name: &&str| {
            name.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
        };
        let found = TYPES.iter().position(|name| !word.is_empty() && begins(name));
        let Some(at) = found else {
            let refusal = Refusal::new(format!("addrtype: bad type `{word}`"));
            return Err(refusal.hint(format!("one of {}", TYPES.join(", "))));
        };
        bits |= 1 << at;
    }
    Ok(bits)
}

/// The names of types.
pub(crate) fn names(types: u16) -> String {
    let set = TYPES.iter().enumerate().filter(|(at, _)| types & (1 << at) != 0);
    let names: Vec<_> = set.map(|(_, name)| *name).collect();
    names.join(",")
}

impl Addrtype {
    /// The one interface that is asked.
    pub(crate) fn device<'a>(&self, view: &View<'a>) -> Option<&'a str> {
        match self.interface {
            Limit::None => None,
            Limit::Input => Some(view.input()),
            Limit::Output => Some(view.output()),
        }
    }
}

impl Matching for Addrtype {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let device = self.device(view);
        let is = match self.family {
            Family::V4 => is_any,
            Family::V6 => is_all,
        };
        let passes = |asked: &Option<Test<u16>>, address| {
            asked.is_none_or(|asked| {
                asked.passes(is(asked.value, view.context.address_types(address, device)))
            })
        };
        Ok(passes(&self.source, view.source) && passes(&self.destination, view.destination))
    }
}

/// An IPv4 address is of one type.
fn is_any(asked: u16, types: u16) -> bool {
    asked & types != 0
}

/// An IPv6 address must be all that is asked of its form, and any of what is asked of its route.
fn is_all(asked: u16, types: u16) -> bool {
    const FORM: u16 = 1 << 0 | 1 << 1 | 1 << 5;
    let (form, route) = (asked & FORM, asked & !FORM);
    types & form == form && (route == 0 || types & route != 0)
}
