//! `-m string`: bytes somewhere in the packet.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::memory::{Memory, Own};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// What is looked for, where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatch {
    /// `--string` or `--hex-string`, at most 128 bytes.
    pub pattern: Test<Vec<u8>>,
    /// `--algo`: the kernel knows bm and kmp, which find the same but at cut packets.
    pub algorithm: String,
    /// `--from`: the first byte of the packet that is looked at.
    pub from: u16,
    /// `--to`: where the pattern begins at the latest.
    pub to: u16,
    /// `--icase`: capitals and small letters are the same.
    pub ignore_case: bool,
}

impl StringMatch {
    pub(crate) const NAMES: &[&str] = &["string"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self {
            pattern: Test { value: Vec::new(), inverted: false },
            algorithm: String::new(),
            from: 0,
            to: u16::MAX,
            ignore_case: false,
        }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("from"),
    OptionSpec::value("to"),
    OptionSpec::value("algo").mandatory(),
    OptionSpec::value("string").invertible().excludes(&["hex-string"]),
    OptionSpec::value("hex-string").invertible().excludes(&["string"]),
    OptionSpec::flag("icase"),
];

const ROOM: usize = 128;

impl Extension for StringMatch {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "from" => self.from = given.u16()?,
            "to" => self.to = given.u16()?,
            "algo" => self.algorithm = given.cut(15),
            "string" => {
                let value = given.text.as_bytes().to_vec();
                self.pattern = Test { value, inverted };
            }
            "hex-string" => self.pattern = Test { value: bytes(given.text)?, inverted },
            _ => self.ignore_case = true,
        }
        // In hexadecimal iptables takes one less.
        let room = if given.option == "hex-string" { ROOM - 1 } else { ROOM };
        match self.pattern.value.len() {
            length if length > room => {
                let refusal = Refusal::new(format!("string: {length} bytes are too long"));
                Err(refusal.hint(format!("at most {room}")))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.has("string") || seen.has("hex-string") {
            true => Ok(()),
            false => Err(Refusal::new("string: `--string` or `--hex-string` must be given")),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { pattern: Test { value, inverted }, algorithm, from, to, ignore_case } = self;
        save.inverted(*inverted);
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        if value.iter().all(is_text) && value.last() != Some(&b'\\') {
            let text = String::from_utf8_lossy(value);
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            save.option("string", format_args!("\"{text}\""));
        } else {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            save.option("hex-string", format_args!("\"|{hex}|\""));
        }
        save.option("algo", algorithm);
        if *from != 0 {
            save.option("from", from);
        }
        if *to != u16::MAX {
            save.option("to", to);
        }
        if *ignore_case {
            save.flag("icase");
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        if self.pattern.value.is_empty() {
            return Err(Refusal::table("string: there is nothing to look for"));
        }
        if !matches!(self.algorithm.as_str(), "bm" | "kmp") {
            let message = format!("string: no algorithm is called `{}`", self.algorithm);
            return Err(Refusal::table(message).hint("bm or kmp"));
        }
        if self.from > self.to {
            let Self { from, to, .. } = self;
            return Err(Refusal::table(format!("string: from {from} to {to} there is nothing")));
        }
        Ok(())
    }
}

/// Text with hexadecimal bytes between bars, and backslashes that take the next character as it is.
/// The character behind a closing bar is taken as it is as well, whatever it is.
fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    let refuse = |why: &str| Err(Refusal::new(format!("string: {why} in `{text}`")));
    let text_bytes = text.as_bytes();
    let at = |index: usize| text_bytes.get(index).copied();
    if text.is_empty() {
        return Err(Refusal::new("string: `--hex-string` needs at least one character"));
    }
    let mut bytes = Vec::new();
    let mut inside = false;
    let mut index = 0;
    while let Some(byte) = at(index) {
        if byte == b'\\' {
            if inside {
                return refuse("a backslash between bars");
            }
            let Some(next) = at(index + 1) else { return refuse("nothing behind a backslash") };
            bytes.push(next);
            index += 2;
            continue;
        }
        if byte == b'|' {
            inside = !inside;
            while inside && at(index + 1) == Some(b' ') {
                index += 1;
            }
            index += 1;
            if at(index).is_none() {
                break;
            }
        }
        if !inside {
            bytes.extend(at(index));
            index += 1;
            continue;
        }
        let Some(low) = at(index + 1) else { return refuse("an odd number of digits") };
        if at(index + 2).is_none() {
            return refuse("no closing bar");
        }
        let high = at(index).unwrap_or_default();
        match (digit(high), digit(low)) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return refuse("something that is no hexadecimal digit"),
        }
        index += if at(index + 2) == Some(b' ') { 3 } else { 2 };
    }
    Ok(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl StringMatch {
    /// For each beginning of the pattern the length of the longest shorter one that it ends with
    /// (Knuth, Morris, Pratt 1977): what is still good when the next byte does not fit.
    pub(crate) fn borders(&self) -> Vec<u8> {
        let pattern = &self.pattern.value;
        let mut borders = vec![0; pattern.len()];
        let mut border = 0;
        for at in 1..pattern.len() {
            border = self.advance(&borders, border, pattern.get(at).copied().unwrap_or_default());
            if let Some(place) = borders.get_mut(at) {
                *place = border as u8;
            }
        }
        borders
    }

    /// How much of the pattern stands at the end of a text when `byte` follows one that ended with
    /// `matched` bytes of it.
    fn advance(&self, borders: &[u8], mut matched: usize, byte: u8) -> usize {
        let byte = self.folded(byte);
        loop {
            if self.pattern.value.get(matched).is_some_and(|next| self.folded(*next) == byte) {
                return matched + 1;
            }
            if matched == 0 {
                return 0;
            }
            matched = borders.get(matched - 1).copied().unwrap_or_default().into();
        }
    }

    /// A byte as it is compared: the kernel's capitals are those of Latin-1.
    fn folded(&self, byte: u8) -> u8 {
        match byte {
            b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..=0xff if self.ignore_case => byte - 0x20,
            _ => byte,
        }
    }

    fn is_in(&self, text: &[u8], borders: &[u8]) -> bool {
        let mut matched = 0;
        text.iter().any(|byte| {
            matched = self.advance(borders, matched, *byte);
            matched == self.pattern.value.len()
        })
    }
}

impl Matching for StringMatch {
    /// The packet is looked at from its IP header on, and the whole of the pattern must stand before
    /// `--to`.
    fn passes(&self, view: &View<'_>, memory: &mut Memory<'_>) -> Result<bool, Stop> {
        let Own::Borders(borders) = memory.own else { return Ok(false) };
        let bytes = view.packet.bytes();
        let end = usize::from(self.to).min(bytes.len());
        let text = bytes.get(usize::from(self.from)..end).unwrap_or_default();
        Ok(self.pattern.passes(self.is_in(text, borders)))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};

    /// Whether a rule is met by a datagram of 20 + 8 bytes of headers and this payload.
    fn found(rule: &str, payload: &[u8]) -> bool {
        let length = (payload.len() + 8) as u16;
        let header = [15, 160, 0, 53, (length >> 8) as u8, length as u8, 0, 0];
        let upper = [&header[..], payload].concat();
        let mut packet = Alone::of(stateward_wire::Family::V4, 17, &upper);
        met(&format!("-m string --algo {rule}"), &mut packet).unwrap()
    }

    #[test]
    fn a_pattern_is_found_wherever_it_stands() {
        for algorithm in ["bm", "kmp"] {
            let found = |pattern: &str, payload: &[u8]| {
                found(&format!("{algorithm} --string {pattern}"), payload)
            };
            assert!(found("abab", b"xabaabab"));
            assert!(found("aab", b"aaaaaaaaab"));
            assert!(!found("aab", b"abababaaa"));
            assert!(found("GET", b"GET"));
            assert!(!found("GET", b"GE"));
        }
    }

    #[test]
    fn its_last_byte_is_before_to() {
        let payload = b"needle";
        let rows =
            [("28", "34", true), ("28", "33", false), ("29", "60", false), ("0", "34", true)];
        for (from, to, expected) in rows {
            let rule = format!("kmp --string needle --from {from} --to {to}");
            assert_eq!(found(&rule, payload), expected, "{from} {to}");
        }
        assert!(!found("bm --string needle --from 2000", payload));
        assert!(found("bm ! --string needle --from 2000", payload));
    }

    #[test]
    fn capitals_are_those_of_latin_1() {
        assert!(found("bm --icase --string NeeDle", b"nEEdLE"));
        assert!(!found("bm --string NeeDle", b"needle"));
        assert!(found("kmp --icase --hex-string |e4c4|", &[0xc4, 0xe4]));
        assert!(!found("kmp --icase --hex-string |f7|", &[0xd7]));
    }
}
