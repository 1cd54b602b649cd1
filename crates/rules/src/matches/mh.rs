//! `-m mh`: the type of a mobility header.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Demands, Extension, V6};
use crate::extension_headers::NONE;
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --mh-type TYPE[:TYPE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mh {
    /// From the lowest to the highest.
    pub types: Test<(u8, u8)>,
}

impl Mh {
    pub(crate) const NAMES: &[&str] = &["mh"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { types: Test::plain(ALL) }
    }
}

const ALL: (u8, u8) = (0, u8::MAX);
const NUMBER: u8 = 135;

impl Extension for Mh {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("mh-type").invertible()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let end = |text: &str, open: u8| match text {
            "" => Ok(open),
            text => kind(text),
        };
        let value = match given.text.split_once(':') {
            Some((first, last)) => (end(first, ALL.0)?, end(last, ALL.1)?),
            None => {
                let kind = kind(given.text)?;
                (kind, kind)
            }
        };
        if value.0 > value.1 {
            return Err(given.bad().hint("the lower type first"));
        }
        self.types = Test { value, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Test { value: (first, last), inverted } = self.types;
        if (first, last) == ALL {
            return;
        }
        save.inverted(inverted).option("mh-type", first);
        if first != last {
            save.text(format_args!(":{last}"));
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[NUMBER])
    }
}

/// A name, the first one that begins so, or a number.
fn kind(text: &str) -> Result<u8, Refusal> {
    let names = || {
        let types = NAMES.iter().enumerate();
        types.flat_map(|(kind, names)| names.map(|name| (name, kind as u8)))
    };
    let begins = |name: &str| {
        name.get(..text.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(text))
    };
    let exact = names().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let found = exact.or_else(|| names().find(|(name, _)| begins(name)));
    let number = || number::whole(text, u8::MAX.into()).and_then(|kind| u8::try_from(kind).ok());
    found.map(|(_, kind)| kind).or_else(number).ok_or_else(|| {
        let names: Vec<_> = NAMES.iter().map(|[name, _]| *name).collect();
        let refusal = Refusal::new(format!("mh: unknown type `{text}`"));
        refusal.hint(format!("a number from 0 to 255, or one of {}", names.join(", ")))
    })
}

/// In the order of their numbers, each with a short one.
const NAMES: [[&str; 2]; 8] = [
    ["binding-refresh-request", "brr"],
    ["home-test-init", "hoti"],
    ["careof-test-init", "coti"],
    ["home-test", "hot"],
    ["careof-test", "cot"],
    ["binding-update", "bu"],
    ["binding-acknowledgement", "ba"],
    ["binding-error", "be"],
];

impl Matching for Mh {
    /// A mobility header is the last one, or the packet is broken.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let [next, _, kind, ..] = *view.upper_header::<6>().ok_or(Stop::Hotdrop)?;
        if next != NONE {
            return Err(Stop::Hotdrop);
        }
        let (first, last) = self.types.value;
        Ok(self.types.passes((first..=last).contains(&kind)))
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn types_by_name() {
        let mut packet = Alone::of(Family::V6, 135, &[59, 0, 5, 0, 0, 0, 0, 0]);
        assert_eq!(met("-p mh -m mh --mh-type bu", &mut packet), Some(true));
        assert_eq!(met("-p mh -m mh --mh-type brr:cot", &mut packet), Some(false));
        assert_eq!(met("-p mh -m mh ! --mh-type brr:cot", &mut packet), Some(true));
        *packet.upper(0) = 17;
        assert_eq!(met("-p mh -m mh", &mut packet), None);
    }
}
