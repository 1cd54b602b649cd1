//! `-m srh`: IPv6's segment routing header.

use stateward_wire::Family;

use crate::address::{Network, Shown};
use crate::evaluate::Matching;
use crate::extension::{Extension, V6};
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srh {
    /// `--srh-next-hdr`: what follows it.
    pub next: Option<Test<u8>>,
    /// `--srh-hdr-len-…`, `--srh-segs-left-…`, `--srh-last-entry-…`, in this order.
    pub fields: [Field; 3],
    /// `--srh-tag`.
    pub tag: Option<Test<u16>>,
    /// `--srh-psid`, `--srh-nsid`, `--srh-lsid`: the segment before, the next and the last one; they keep
    /// bits outside of the mask.
    pub segments: [Option<Test<Network>>; 3],
}

/// A field that is compared. There is room for one number: the last one that is written counts for all of
/// its comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// What it is compared with.
    pub number: u8,
    /// Which comparisons there are, and whether each is inverted: equal, greater, less.
    pub comparisons: [Option<Test<()>>; 3],
}

impl Srh {
    pub(crate) const NAMES: &[&str] = &["srh"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const FIELDS: [[&str; 3]; 3] = [
    ["srh-hdr-len-eq", "srh-hdr-len-gt", "srh-hdr-len-lt"],
    ["srh-segs-left-eq", "srh-segs-left-gt", "srh-segs-left-lt"],
    ["srh-last-entry-eq", "srh-last-entry-gt", "srh-last-entry-lt"],
];
const SEGMENTS: [&str; 3] = ["srh-psid", "srh-nsid", "srh-lsid"];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("srh-next-hdr").invertible(),
    OptionSpec::value(FIELDS[0][0]).invertible(),
    OptionSpec::value(FIELDS[0][1]).invertible(),
    OptionSpec::value(FIELDS[0][2]).invertible(),
    OptionSpec::value(FIELDS[1][0]).invertible(),
    OptionSpec::value(FIELDS[1][1]).invertible(),
    OptionSpec::value(FIELDS[1][2]).invertible(),
    OptionSpec::value(FIELDS[2][0]).invertible(),
    OptionSpec::value(FIELDS[2][1]).invertible(),
    OptionSpec::value(FIELDS[2][2]).invertible(),
    OptionSpec::value("srh-tag").invertible(),
    OptionSpec::value(SEGMENTS[0]).invertible(),
    OptionSpec::value(SEGMENTS[1]).invertible(),
    OptionSpec::value(SEGMENTS[2]).invertible(),
];

impl Extension for Srh {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let (option, inverted) = (given.option, given.inverted);
        for (names, field) in FIELDS.iter().zip(&mut self.fields) {
            let place = names.iter().zip(&mut field.comparisons).find(|(name, _)| **name == option);
            if let Some((_, place)) = place {
                field.number = given.u8()?;
                *place = Some(Test { value: (), inverted });
                return Ok(());
            }
        }
        let segment = SEGMENTS.iter().zip(&mut self.segments).find(|(name, _)| **name == option);
        if let Some((_, place)) = segment {
            *place = Some(Test { value: given.host_mask()?, inverted });
            return Ok(());
        }
        match option {
            "srh-tag" => self.tag = Some(Test { value: given.u16()?, inverted }),
            _ => self.next = Some(Test { value: given.u8()?, inverted }),
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if let Some(Test { value, inverted }) = self.next {
            save.inverted(inverted).option("srh-next-hdr", value);
        }
        for (names, field) in FIELDS.iter().zip(self.fields) {
            for (name, comparison) in names.iter().zip(field.comparisons) {
                if let Some(Test { inverted, .. }) = comparison {
                    save.inverted(inverted).option(name, field.number);
                }
            }
        }
        if let Some(Test { value, inverted }) = self.tag {
            save.inverted(inverted).option("srh-tag", value);
        }
        for (name, segment) in SEGMENTS.iter().zip(self.segments) {
            if let Some(Test { value, inverted }) = segment {
                let length = value.prefix_length().unwrap_or(128);
                save.inverted(inverted)
                    .option(name, format_args!("{}/{length}", Shown(value.address)));
            }
        }
    }
}

impl Matching for Srh {}
