//! `-m set`: whether a packet's addresses and ports are in a set of ipset's.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;
use crate::sets::{Asked, Counting};

/// The set, and what is asked of its counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// `--match-set`.
    pub set: Named,
    /// The rule wants the opposite.
    pub inverted: bool,
    /// `--return-nomatch`: what the set excepts is what matches.
    pub exceptions: bool,
    /// `! --update-counters`.
    pub keeps_counters: bool,
    /// `! --update-subcounters`: those of the sets in a list.
    pub keeps_subcounters: bool,
    /// `--packets-…`.
    pub packets: Option<Count>,
    /// `--bytes-…`.
    pub bytes: Option<Count>,
}

/// A set and what is looked for in it. Whether there is such a set only the machine knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// At most 31 bytes.
    pub name: String,
    /// One for each part of an element, at most 6.
    pub ends: Vec<End>,
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source.
    Source,
    /// The destination.
    Destination,
}

/// What an element's counter must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This, or anything else.
    Equal(Test<u64>),
    /// Lower.
    Less(u64),
    /// Higher.
    Greater(u64),
}

impl Set {
    pub(crate) const NAMES: &[&str] = &["set"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("match-set").aliases(&["set"]).invertible(),
    OptionSpec::flag("return-nomatch").repeatable(),
    OptionSpec::flag("update-counters").invertible().repeatable(),
    OptionSpec::flag("update-subcounters").invertible().repeatable(),
    OptionSpec::value("packets-eq").invertible(),
    OptionSpec::value("packets-lt"),
    OptionSpec::value("packets-gt"),
    OptionSpec::value("bytes-eq").invertible(),
    OptionSpec::value("bytes-lt"),
    OptionSpec::value("bytes-gt"),
];

impl Extension for Set {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "match-set" => {
                self.inverted = given.inverted;
                self.set = Named::parse(given)?;
            }
            "return-nomatch" => self.exceptions = true,
            "update-counters" => self.keeps_counters |= given.inverted,
            "update-subcounters" => self.keeps_subcounters |= given.inverted,
            _ => {
                let count = count(given)?;
                let (place, what) = match given.option.starts_with("packets") {
                    true => (&mut self.packets, "packets"),
                    false => (&mut self.bytes, "bytes"),
                };
                if place.replace(count).is_some() {
                    let message = format!("set: only one of `--{what}-eq`, `-lt` and `-gt`");
                    return Err(Refusal::new(message));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.has("match-set") {
            true => Ok(()),
            false => Err(Refusal::new("set: `--match-set` must be given")),
        }
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.inverted);
        self.set.save(save, "match-set");
        if self.exceptions {
            save.flag("return-nomatch");
        }
        if self.keeps_counters {
            save.inverted(true).flag("update-counters");
        }
        if self.keeps_subcounters {
            save.inverted(true).flag("update-subcounters");
        }
        for (what, count) in [("packets", self.packets), ("bytes", self.bytes)] {
            match count {
                Some(Count::Equal(Test { value, inverted })) => {
                    save.inverted(inverted).option(&format!("{what}-eq"), value);
                }
                Some(Count::Less(value)) => _ = save.option(&format!("{what}-lt"), value),
                Some(Count::Greater(value)) => _ = save.option(&format!("{what}-gt"), value),
                None => {}
            }
        }
    }
}

fn count(given: &Given<'_>) -> Result<Count, Refusal> {
    let value = number::whole(given.text, u64::MAX);
    let value = value.ok_or_else(|| given.bad().hint("a number"))?;
    Ok(match given.option.get(given.option.len() - 2..) {
        Some("lt") => Count::Less(value),
        Some("gt") => Count::Greater(value),
        _ => Count::Equal(Test { value, inverted: given.inverted }),
    })
}

const LONGEST: usize = 31;
const ROOM: usize = 6;

impl Named {
    /// `NAME src|dst,…`
    pub(crate) fn parse(given: &mut Given<'_>) -> Result<Self, Refusal> {
        let (extension, option, name) = (given.extension, given.option, given.text);
        let Some(ends) = given.second() else {
            let refusal = Refusal::new(format!("{extension}: `--{option}` needs two words"));
            return Err(refusal.hint("the set's name, and then src or dst"));
        };
        if name.len() > LONGEST {
            let message = format!("{extension}: set name `{name}` is longer than {LONGEST} bytes");
            return Err(Refusal::new(message));
        }
        let end = |word: &str| match word {
            // What follows in the word is not looked at.
            word if word.starts_with("src") => Ok(End::Source),
            word if word.starts_with("dst") => Ok(End::Destination),
            _ => {
                let refusal = Refusal::new(format!("{extension}: bad end `{word}` of a packet"));
                Err(refusal.hint("src and dst, with commas between them"))
            }
        };
        let ends = ends.split(',').map(end).collect::<Result<Vec<_>, _>>()?;
        if ends.len() > ROOM {
            return Err(Refusal::new(format!("{extension}: more than {ROOM} of src and dst")));
        }
        Ok(Self { name: name.to_owned(), ends })
    }

    pub(crate) fn save(&self, save: &mut Save, option: &str) {
        let word = |end: &End| match end {
            End::Source => "src",
            End::Destination => "dst",
        };
        let ends: Vec<_> = self.ends.iter().map(word).collect();
        save.option(option, &self.name).word(ends.join(","));
    }
}

impl Matching for Set {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let asked = Asked {
            ends: &self.set.ends,
            exceptions: self.exceptions,
            counting: Counting::of_rule(self.keeps_counters, self.keeps_subcounters),
            packets: self.packets,
            bytes: self.bytes,
        };
        let mut shared = view.context.shared().borrow_mut();
        Ok(shared.sets.ask(&self.set.name, &asked, view).is_some() != self.inverted)
    }
}
