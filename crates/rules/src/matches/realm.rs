//! `-m realm`: the realm of the route that the packet takes. IPv4 only.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{Demands, Extension, V4};
use crate::number;
use crate::option::{Given, Masked, OptionSpec, Refusal};
use crate::rule::Test;
use crate::ruleset::Hook;
use crate::save::Save;

/// `[!] --realm VALUE[/MASK]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// The realm under the mask is compared with the value, which may have bits outside of it.
    pub realm: Test<Masked>,
}

impl Realm {
    pub(crate) const NAMES: &[&str] = &["realm"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { realm: Test::plain(Masked { value: 0, mask: 0 }) }
    }
}

/// The only name that Debian's `/etc/iproute2/rt_realms` has.
const ZERO: &str = "cosmos";

impl Extension for Realm {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("realm").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.realm = Test { value: named(given, ZERO)?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_named(save, "realm", self.realm, ZERO);
    }

    fn demands(&self) -> Demands {
        let hooks = &[Hook::Postrouting, Hook::Forward, Hook::Output, Hook::Input];
        Demands::NONE.hooks(hooks)
    }
}

/// `VALUE[/MASK]`, or the name of 0.
pub(crate) fn named(given: &Given<'_>, zero: &str) -> Result<Masked, Refusal> {
    if given.text == zero {
        return Ok(Masked { value: 0, mask: u32::MAX });
    }
    let value = || {
        let (value, rest) = number::prefix(given.text)?;
        let value = u32::try_from(value).ok()?;
        let mask = match rest.strip_prefix('/') {
            Some(mask) => number::whole(mask, u32::MAX.into())? as u32,
            None => rest.is_empty().then_some(u32::MAX)?,
        };
        Some(Masked { value, mask })
    };
    let hint = "a number of 32 bits, and perhaps a slash and a mask of 32 bits";
    value().ok_or_else(|| given.bad().hint(hint))
}

pub(crate) fn save_named(save: &mut Save, option: &str, asked: Test<Masked>, zero: &str) {
    save.inverted(asked.inverted);
    match asked.value {
        Masked { value: 0, mask: u32::MAX } => save.option(option, zero),
        Masked { value, mask: u32::MAX } => save.option(option, format_args!("{value:#x}")),
        Masked { value, mask } => save.option(option, format_args!("{value:#x}/{mask:#x}")),
    };
}

impl Matching for Realm {}
