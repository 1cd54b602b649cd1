//! `-m srh`: IPv6's segment routing header.

use stateward_wire::Family;

use crate::address::{Network, Shown};
use crate::evaluate::Matching;
use crate::extension::{Extension, V6};
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// What is asked of the header.
///
/// The kernel has one number each for the header's length, for the segments left and for the last
/// entry: of several comparisons of one field, all compare with what came last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srh {
    /// `--srh-next-hdr`.
    pub next: Option<Test<u8>>,
    /// `--srh-hdr-len-…`.
    pub length: Compared,
    /// `--srh-segs-left-…`.
    pub left: Compared,
    /// `--srh-last-entry-…`.
    pub last: Compared,
    /// `--srh-tag`.
    pub tag: Option<Test<u16>>,
    /// `--srh-psid`, `--srh-nsid`, `--srh-lsid`: the previous, the next and the last segment.
    pub segments: [Option<Test<Network>>; 3],
}

/// A field and how it is compared: equal, greater, less; each perhaps inverted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// With what.
    pub value: u8,
    /// In the order of [`WAYS`].
    pub ways: [Option<Test<()>>; 3],
}

/// The ends of the options' names.
pub const WAYS: [&str; 3] = ["eq", "gt", "lt"];

impl Srh {
    pub(crate) const NAMES: &[&str] = &["srh"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const SEGMENTS: [&str; 3] = ["srh-psid", "srh-nsid", "srh-lsid"];
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("srh-next-hdr").invertible(),
    OptionSpec::value("srh-hdr-len-eq").invertible(),
    OptionSpec::value("srh-hdr-len-gt").invertible(),
    OptionSpec::value("srh-hdr-len-lt").invertible(),
    OptionSpec::value("srh-segs-left-eq").invertible(),
    OptionSpec::value("srh-segs-left-gt").invertible(),
    OptionSpec::value("srh-segs-left-lt").invertible(),
    OptionSpec::value("srh-last-entry-eq").invertible(),
    OptionSpec::value("srh-last-entry-gt").invertible(),
    OptionSpec::value("srh-last-entry-lt").invertible(),
    OptionSpec::value("srh-tag").invertible(),
    OptionSpec::value("srh-psid").invertible(),
    OptionSpec::value("srh-nsid").invertible(),
    OptionSpec::value("srh-lsid").invertible(),
];

impl Extension for Srh {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let segment = SEGMENTS.iter().position(|name| *name == given.option);
        if let Some(segment) = segment.and_then(|at| self.segments.get_mut(at)) {
            *segment = Some(Test { value: given.host_mask()?, inverted });
            return Ok(());
        }
        match given.option {
            "srh-next-hdr" => self.next = Some(Test { value: given.u8()?, inverted }),
            "srh-tag" => self.tag = Some(Test { value: given.u16()?, inverted }),
            option if option.starts_with("srh-hdr-len") => self.length.set(given)?,
            option if option.starts_with("srh-segs-left") => self.left.set(given)?,
            _ => self.last.set(given)?,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { next, length, left, last, tag, segments } = self;
        if let Some(Test { value, inverted }) = *next {
            save.inverted(inverted).option("srh-next-hdr", value);
        }
        length.save(save, "srh-hdr-len");
        left.save(save, "srh-segs-left");
        last.save(save, "srh-last-entry");
        if let Some(Test { value, inverted }) = *tag {
            save.inverted(inverted).option("srh-tag", value);
        }
        for (name, segment) in SEGMENTS.iter().zip(segments) {
            let Some(Test { value, inverted }) = *segment else { continue };
            // A mask that is no prefix is printed as none.
            let length = value.prefix_length().unwrap_or(128);
            save.inverted(inverted).option(name, Shown(value.address));
            save.text(format_args!("/{length}"));
        }
    }
}

impl Compared {
    fn set(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        self.value = given.u8()?;
        for (way, end) in self.ways.iter_mut().zip(WAYS) {
            if given.option.ends_with(end) {
                *way = Some(Test { value: (), inverted: given.inverted });
            }
        }
        Ok(())
    }

    fn save(self, save: &mut Save, name: &str) {
        for (way, end) in self.ways.iter().zip(WAYS) {
            if let Some(Test { inverted, .. }) = *way {
                save.inverted(inverted).option(&format!("{name}-{end}"), self.value);
            }
        }
    }
}

impl Matching for Srh {}
