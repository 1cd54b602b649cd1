//! `-m u32`: words of the packet, found and masked as the rule says, are in ranges.

use std::fmt::{self, Write as _};

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `[!] --u32 TESTS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct U32 {
    /// All must pass; at most 10.
    pub tests: Vec<Word>,
    /// The rule wants the opposite.
    pub inverted: bool,
}

/// A word of the packet, and what it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Where the first word is.
    pub place: u32,
    /// What becomes of it, and where the next one is; at most 9.
    pub steps: Vec<(Operator, u32)>,
    /// Any of these ranges; at most 10.
    pub ranges: Vec<(u32, u32)>,
}

/// What is done with a word and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `&`
    And,
    /// `<<`
    Left,
    /// `>>`
    Right,
    /// `@`: the word says how far on the next one is looked for.
    At,
}

const ROOM: usize = 10;

impl U32 {
    pub(crate) const NAMES: &[&str] = &["u32"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

impl Extension for U32 {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("u32").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.inverted = given.inverted;
        let mut reader = Reader { whole: given.text, rest: given.text };
        loop {
            if self.tests.len() == ROOM {
                return Err(reader.refused("more than 10 tests"));
            }
            self.tests.push(reader.word()?);
            if reader.rest.is_empty() {
                return Ok(());
            }
            reader.take("&&").ok_or_else(|| reader.refused("`,` or `&&` is expected"))?;
        }
    }

    fn save(&self, save: &mut Save) {
        let tests: Vec<_> = self.tests.iter().map(Word::to_string).collect();
        let tests = tests.join("&&");
        save.inverted(self.inverted).option("u32", format_args!("\"{tests}\""));
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        let mut steps = self.tests.iter().flat_map(|word| &word.steps);
        let too_far = |(operator, number): &(Operator, u32)| {
            matches!(operator, Operator::Left | Operator::Right) && *number >= u32::BITS
        };
        match steps.any(too_far) {
            true => Err(Refusal::table("u32: a word has 32 bits").hint("shift by 31 at most")),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.place)?;
        for (operator, number) in &self.steps {
            write!(f, "{}{number:#x}", operator.sign())?;
        }
        for (at, (least, most)) in self.ranges.iter().enumerate() {
            f.write_char(if at == 0 { '=' } else { ',' })?;
            write!(f, "{least:#x}")?;
            if least != most {
                write!(f, ":{most:#x}")?;
            }
        }
        Ok(())
    }
}

impl Operator {
    const ALL: [Self; 4] = [Self::And, Self::Left, Self::Right, Self::At];

    const fn sign(self) -> &'static str {
        match self {
            Self::And => "&",
            Self::Left => "<<",
            Self::Right => ">>",
            Self::At => "@",
        }
    }
}

/// Takes the text apart; blanks may stand anywhere.
struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
}

const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

impl Reader<'_> {
    fn refused(&self, what: &str) -> Refusal {
        let at = self.whole.len() - self.rest.len();
        Refusal::new(format!("u32: at character {at}: {what}"))
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        let number = number::prefix(self.rest);
        let number = number.and_then(|(value, rest)| Some((u32::try_from(value).ok()?, rest)));
        let (value, rest) =
            number.ok_or_else(|| self.refused("a number of 32 bits is expected"))?;
        self.rest = rest.trim_start_matches(BLANKS);
        Ok(value)
    }

    fn take(&mut self, sign: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(sign)?.trim_start_matches(BLANKS);
        Some(())
    }

    fn word(&mut self) -> Result<Word, Refusal> {
        let mut word = Word { place: self.number()?, ..Word::default() };
        while self.take("=").is_none() {
            let operator = Operator::ALL.into_iter().find(|one| self.take(one.sign()).is_some());
            let operator = operator.ok_or_else(|| self.refused("`&`, `<<`, `>>`, `@` or `=`"))?;
            if word.steps.len() + 1 == ROOM {
                return Err(self.refused("more than 9 operators"));
            }
            word.steps.push((operator, self.number()?));
        }
        loop {
            if word.ranges.len() == ROOM {
                return Err(self.refused("more than 10 values"));
            }
            let least = self.number()?;
            let most = if self.take(":").is_some() { self.number()? } else { least };
            word.ranges.push((least, most));
            if self.take(",").is_none() {
                return Ok(word);
            }
        }
    }
}

impl Word {
    /// Whether the packet has what is asked for; a word beyond its end is never there.
    fn passes(&self, packet: &[u8]) -> Option<bool> {
        let mut base = 0usize;
        let word_at = |base: usize, place: u32| {
            let at = base.checked_add(place as usize)?;
            packet.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
        };
        let mut value = word_at(base, self.place)?;
        for (operator, number) in &self.steps {
            value = match operator {
                Operator::And => value & number,
                Operator::Left => value.wrapping_shl(*number),
                Operator::Right => value.wrapping_shr(*number),
                Operator::At => {
                    base = base.checked_add(value as usize)?;
                    word_at(base, *number)?
                }
            };
        }
        Some(self.ranges.iter().any(|(least, most)| (least..=most).contains(&&value)))
    }
}

impl Matching for U32 {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let packet = view.packet.bytes();
        let all = self.tests.iter().all(|word| word.passes(packet).unwrap_or(false));
        Ok(all != self.inverted)
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn words_found_and_masked() {
        let mut packet = Alone::udp_of(Family::V4, 53);
        for (rule, expected) in [
            // UDP, and its destination port by the length of the header before it.
            ("6&0xFF=17", true),
            ("6&0xFF=6", false),
            ("6&0xFF=1,16:18", true),
            ("0>>22&0x3C@0&0xFFFF=53", true),
            ("0>>22&0x3C@0&0xFFFF=54&&6&0xFF=17", false),
            ("24=0:0xffffffff", true),
            ("25=0:0xffffffff", false),
        ] {
            assert_eq!(met(&format!("-m u32 --u32 {rule}"), &mut packet), Some(expected), "{rule}");
            assert_eq!(met(&format!("-m u32 ! --u32 {rule}"), &mut packet), Some(!expected));
        }
    }
}
