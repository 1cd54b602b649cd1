//! `-m policy`: how IPsec has treated a packet, or will.

use stateward_wire::Family;

use std::net::IpAddr;

use crate::address::{self, Network};
use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::known::Transform;
use crate::matches::conntrack::save_address;
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::ruleset::Hook;
use crate::save::Save;

/// The policy that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `--dir`.
    pub direction: Option<Way>,
    /// `--pol`: whether IPsec has anything to do with the packet.
    pub ipsec: bool,
    /// `--strict`: all of the policy's elements, not any one.
    pub strict: bool,
    /// With `--next` between them; at most 4.
    pub elements: Vec<Element>,
}

/// Which way the packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It was decapsulated.
    In,
    /// It will be encapsulated.
    Out,
}

/// One element of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// `--reqid`.
    pub reqid: Option<Test<u32>>,
    /// `--spi`.
    pub spi: Option<Test<u32>>,
    /// `--proto`: AH, ESP or IPComp.
    pub protocol: Option<Test<u8>>,
    /// `--mode`.
    pub mode: Option<Test<Mode>>,
    /// `--tunnel-src`; it keeps bits outside of the mask.
    pub source: Option<Test<Network>>,
    /// `--tunnel-dst`.
    pub destination: Option<Test<Network>>,
}

/// What of a packet is encapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What follows its network header.
    Transport,
    /// All.
    Tunnel,
}

impl Policy {
    pub(crate) const NAMES: &[&str] = &["policy"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        let elements = vec![Element::default()];
        Self { direction: None, ipsec: true, strict: false, elements }
    }
}

/// How many elements a rule has room for.
const ROOM: usize = 4;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("dir"),
    OptionSpec::value("pol"),
    OptionSpec::flag("strict"),
    OptionSpec::value("reqid").invertible().repeatable(),
    OptionSpec::value("spi").invertible().repeatable(),
    OptionSpec::value("tunnel-src").invertible().repeatable(),
    OptionSpec::value("tunnel-dst").invertible().repeatable(),
    OptionSpec::value("proto").invertible().repeatable(),
    OptionSpec::value("mode").invertible().repeatable(),
    OptionSpec::flag("next").repeatable().requires(&["strict"]),
];

/// What an element may ask for.
const PROTOCOLS: [(u8, &str); 3] = [(51, "ah"), (50, "esp"), (108, "ipcomp")];

impl Extension for Policy {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "dir" => {
                self.direction = Some(match given.text {
                    "in" => Way::In,
                    "out" => Way::Out,
                    _ => return Err(given.bad().hint("in or out")),
                });
            }
            "pol" => {
                self.ipsec = match given.text {
                    "ipsec" => true,
                    "none" => false,
                    _ => return Err(given.bad().hint("ipsec or none")),
                }
            }
            "strict" => self.strict = true,
            "next" if self.elements.len() == ROOM => {
                return Err(Refusal::new(format!("policy: more than {ROOM} elements")));
            }
            "next" => self.elements.push(Element::default()),
            _ => {
                if let Some(element) = self.elements.last_mut() {
                    element.set(given)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Seen, _: &Header) -> Result<(), Refusal> {
        if self.direction.is_none() {
            return Err(Refusal::new("policy: `--dir` must be given"));
        }
        if !self.ipsec {
            if self.strict {
                return Err(Refusal::new("policy: `--strict` goes with `--pol ipsec` only"));
            }
            // What is asked of no policy is forgotten.
            self.elements.clear();
        }
        if self.strict && self.elements.contains(&Element::default()) {
            let refusal = Refusal::new("policy: nothing is asked of an element");
            return Err(refusal.hint("with `--strict` each needs one option at least"));
        }
        match self.elements.iter().all(Element::stands) {
            true => Ok(()),
            false => {
                let refusal =
                    Refusal::new("policy: only a tunnel has `--tunnel-src`, `--tunnel-dst`");
                Err(refusal.hint("add `--mode tunnel`"))
            }
        }
    }

    fn save(&self, save: &mut Save) {
        match self.direction {
            Some(Way::In) => _ = save.option("dir", "in"),
            Some(Way::Out) => _ = save.option("dir", "out"),
            None => {}
        }
        save.option("pol", if self.ipsec { "ipsec" } else { "none" });
        if self.strict {
            save.flag("strict");
        }
        for (at, element) in self.elements.iter().enumerate() {
            if at > 0 {
                save.flag("next");
            }
            element.save(save);
        }
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let (strange, name) = match self.direction {
            Some(Way::Out) => ([Hook::Prerouting, Hook::Input], "out"),
            _ => ([Hook::Postrouting, Hook::Output], "in"),
        };
        match place.hooks.iter().find(|hook| strange.contains(hook)) {
            Some(hook) => Err(Refusal::table(format!("policy: `--dir {name}` where {hook} leads"))),
            None => Ok(()),
        }
    }
}

impl Element {
    fn set(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let twice = match given.option {
            "reqid" => self.reqid.replace(Test { value: given.u32()?, inverted }).is_some(),
            "spi" => self.spi.replace(Test { value: given.u32()?, inverted }).is_some(),
            "tunnel-src" => {
                self.source.replace(Test { value: given.host_mask()?, inverted }).is_some()
            }
            "tunnel-dst" => {
                self.destination.replace(Test { value: given.host_mask()?, inverted }).is_some()
            }
            "proto" => {
                let value = given.protocol()?;
                if PROTOCOLS.iter().all(|(number, _)| *number != value) {
                    return Err(given.bad().hint("ah, esp or ipcomp"));
                }
                self.protocol.replace(Test { value, inverted }).is_some()
            }
            _ => {
                let value = match given.text {
                    "transport" => Mode::Transport,
                    "tunnel" => Mode::Tunnel,
                    _ => return Err(given.bad().hint("transport or tunnel")),
                };
                self.mode.replace(Test { value, inverted }).is_some()
            }
        };
        match twice {
            true => {
                let message = format!("policy: `--{}` twice in one element", given.option);
                Err(Refusal::new(message).hint("add `--next` between them"))
            }
            false => Ok(()),
        }
    }

    /// Ends are a tunnel's. Without `--mode` it is none.
    fn stands(&self) -> bool {
        let has_ends = self.source.is_some() || self.destination.is_some();
        let mode = self.mode.unwrap_or(Test::plain(Mode::Transport));
        !has_ends || mode.passes(mode.value == Mode::Tunnel)
    }

    fn save(&self, save: &mut Save) {
        let Self { reqid, spi, protocol, mode, source, destination } = self;
        if let Some(Test { value, inverted }) = reqid {
            save.inverted(*inverted).option("reqid", value);
        }
        if let Some(Test { value, inverted }) = spi {
            save.inverted(*inverted).option("spi", format_args!("{value:#x}"));
        }
        if let Some(Test { value, inverted }) = protocol {
            let name = PROTOCOLS.iter().find(|(number, _)| number == value);
            save.inverted(*inverted).option("proto", name.map_or("", |(_, name)| name));
        }
        if let Some(Test { value, inverted }) = mode {
            let name = match value {
                Mode::Transport => "transport",
                Mode::Tunnel => "tunnel",
            };
            save.inverted(*inverted).option("mode", name);
        }
        for (name, network) in [("tunnel-dst", destination), ("tunnel-src", source)] {
            if let Some(network) = network {
                save_address(save, name, network);
            }
        }
    }
}

impl Matching for Policy {
    /// If nothing is known, IPsec has nothing to do with the packet.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let shared = view.context.shared().borrow();
        let told = shared.known.transform(view, self.direction.unwrap_or(Way::In));
        let transform = told.as_ref().and_then(|told| told.value);
        let passes = match transform {
            Some(transform) => self.ipsec && self.asks_for(transform),
            None => !self.ipsec,
        };
        let words = told.map(|told| told.words);
        drop(shared);
        match words {
            Some(words) => view.context.give("policy", words),
            None => view.context.assume("policy"),
        }
        Ok(passes)
    }
}

impl Policy {
    /// A policy of one element: with `--strict` the rule has one as well, without it the first
    /// counts.
    fn asks_for(&self, transform: &Transform) -> bool {
        let one = !self.strict || self.elements.len() == 1;
        one && self.elements.first().is_some_and(|element| element.is(transform))
    }
}

impl Element {
    fn is(&self, transform: &Transform) -> bool {
        let Self { reqid, spi, protocol, mode, source, destination } = self;
        let [from, to] = match transform.tunnel {
            Some(ends) => ends.map(Some),
            None => [None; 2],
        };
        let within = |asked: &Option<Test<Network>>, end: Option<IpAddr>| {
            asked.is_none_or(|asked| {
                let masked = |end| address::masked(end, asked.value.mask);
                asked.passes(end.is_some_and(|end| {
                    end.is_ipv4() == asked.value.address.is_ipv4()
                        && masked(end) == masked(asked.value.address)
                }))
            })
        };
        reqid.is_none_or(|asked| asked.passes(asked.value == transform.reqid))
            && spi.is_none_or(|asked| asked.passes(asked.value == transform.spi))
            && protocol.is_none_or(|asked| asked.passes(asked.value == transform.protocol))
            && mode.is_none_or(|asked| asked.passes(asked.value == transform.mode))
            && within(source, from)
            && within(destination, to)
    }
}
