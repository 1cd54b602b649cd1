//! `-m frag`: IPv6's fragment header.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V6};
use crate::extension_headers::{FRAGMENT, find};
use crate::matches::esp::{Range, save_range};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frag {
    /// `--fragid`.
    pub id: Test<Range>,
    /// `--fraglen`, which the kernel does not look at.
    pub length: Option<Test<u32>>,
    /// `--fragres`: the reserved bits are 0.
    pub reserved: bool,
    /// `--fragfirst`: the first fragment.
    pub first: bool,
    /// `--fragmore` and `--fraglast`: whether more follow.
    pub more: Option<bool>,
}

impl Frag {
    pub(crate) const NAMES: &[&str] = &["frag"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        let id = Test::plain(Range::ANY);
        Self { id, length: None, reserved: false, first: false, more: None }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("fragid").invertible(),
    OptionSpec::value("fraglen").invertible(),
    OptionSpec::flag("fragres"),
    OptionSpec::flag("fragfirst"),
    OptionSpec::flag("fragmore").excludes(&["fraglast"]),
    OptionSpec::flag("fraglast").excludes(&["fragmore"]),
];

impl Extension for Frag {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "fragid" => self.id = Range::parse(given)?,
            "fraglen" => {
                self.length = Some(Test { value: given.u32()?, inverted: given.inverted });
            }
            "fragres" => self.reserved = true,
            "fragfirst" => self.first = true,
            option => self.more = Some(option == "fragmore"),
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_range(save, "fragid", self.id);
        if let Some(Test { value, inverted }) = self.length {
            save.inverted(inverted).option("fraglen", value);
        }
        let more = match self.more {
            Some(true) => Some("fragmore"),
            Some(false) => Some("fraglast"),
            None => None,
        };
        let reserved = self.reserved.then_some("fragres");
        let first = self.first.then_some("fragfirst");
        for name in [reserved, first, more].into_iter().flatten() {
            save.flag(name);
        }
    }
}

impl Matching for Frag {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let Some(found) = find(view.packet.bytes(), FRAGMENT)? else { return Ok(false) };
        let header: &[u8; 8] = found.bytes.first_chunk().ok_or(Stop::Hotdrop)?;
        let [_, reserved, high, low, id @ ..] = *header;
        let offset = u16::from_be_bytes([high, low]);
        Ok(self.id.passes(self.id.value.contains(u32::from_be_bytes(id)))
            && !(self.reserved && (reserved != 0 || offset & 6 != 0))
            && !(self.first && offset & !7 != 0)
            && self.more.is_none_or(|more| more == (offset & 1 != 0)))
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    fn fragment(offset: u16) -> Alone {
        let [high, low] = offset.to_be_bytes();
        Alone::of(Family::V6, 44, &[17, 0, high, low, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn places_and_ids() {
        let met = |rule: &str, offset: u16| met(rule, &mut fragment(offset)) == Some(true);
        assert!(met("-m frag --fragid 9 --fragfirst --fragmore --fragres", 1));
        assert!(met("-m frag --fragid 9 --fraglast", 8));
        assert!(!met("-m frag --fragfirst", 8));
        assert!(!met("-m frag --fraglast", 9));
        assert!(!met("-m frag --fragres", 2));
        assert!(!met("-m frag ! --fragid 1:9", 1));
    }
}
