//! `-j HMARK`: a mark by a hash of the packet's addresses and ports.

use std::net::IpAddr;

use stateward_wire::Family;

use crate::address;
use crate::evaluate::Acting;
use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// What goes into the hash, and what becomes of it. Options and the words of `--hmark-tuple` set
/// the same fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmark {
    family: Family,
    /// `--hmark-src-prefix`: which bits of the source count.
    pub source: Option<IpAddr>,
    /// `--hmark-dst-prefix`.
    pub destination: Option<IpAddr>,
    /// The mask for both ports, the source's above the destination's, or for an SPI.
    pub mask: u32,
    /// What is set of both ports after the mask, or of an SPI.
    pub set: u32,
    /// Which parts of `mask` and `set` were asked for, by [`Part`].
    parts: [bool; PARTS.len()],
    /// `--hmark-proto-mask`.
    pub protocol: Option<u16>,
    /// `--hmark-tuple ct`: the connection's addresses and ports, not the packet's.
    pub connection: bool,
    /// `--hmark-rnd`.
    pub seed: Option<u32>,
    /// `--hmark-mod`: marks are below it.
    pub modulus: u32,
    /// `--hmark-offset`: what is added to it.
    pub offset: Option<u32>,
    /// Options that a word of `--hmark-tuple` stands for and that must not follow it.
    worded: Seen,
}

/// A part of the ports' mask or of what is set of them.
#[derive(Clone, Copy, Debug)]
struct Part {
    option: &'static str,
    /// Of the mask, else of what is set.
    of_mask: bool,
    /// Where its lowest bit is.
    shift: u32,
    /// Its bits, before the shift.
    bits: u32,
}

/// In the order in which iptables prints them.
const PARTS: [Part; 6] = [
    Part { option: "hmark-sport-mask", of_mask: true, shift: 16, bits: 0xffff },
    Part { option: "hmark-dport-mask", of_mask: true, shift: 0, bits: 0xffff },
    Part { option: "hmark-spi-mask", of_mask: true, shift: 0, bits: u32::MAX },
    Part { option: "hmark-sport", of_mask: false, shift: 16, bits: 0xffff },
    Part { option: "hmark-dport", of_mask: false, shift: 0, bits: 0xffff },
    Part { option: "hmark-spi", of_mask: false, shift: 0, bits: u32::MAX },
];

/// The words of `--hmark-tuple` and the options that they stand for, in the order in which an
/// abbreviation finds them.
const WORDS: [(&str, &str); 7] = [
    ("ct", ""),
    ("src", "hmark-src-prefix"),
    ("dst", "hmark-dst-prefix"),
    ("sport", "hmark-sport-mask"),
    ("dport", "hmark-dport-mask"),
    ("proto", "hmark-proto-mask"),
    ("spi", "hmark-spi-mask"),
];

impl Hmark {
    pub(crate) const NAMES: &[&str] = &["HMARK"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self {
            family,
            source: None,
            destination: None,
            mask: 0,
            set: 0,
            parts: [false; PARTS.len()],
            protocol: None,
            connection: false,
            seed: None,
            modulus: 0,
            offset: None,
            worded: Seen::default(),
        }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("hmark-tuple"),
    OptionSpec::value("hmark-src-prefix"),
    OptionSpec::value("hmark-dst-prefix"),
    OptionSpec::value("hmark-sport-mask"),
    OptionSpec::value("hmark-dport-mask"),
    OptionSpec::value("hmark-spi-mask"),
    OptionSpec::value("hmark-sport"),
    OptionSpec::value("hmark-dport"),
    OptionSpec::value("hmark-spi"),
    OptionSpec::value("hmark-proto-mask"),
    OptionSpec::value("hmark-rnd"),
    OptionSpec::value("hmark-mod").mandatory(),
    OptionSpec::value("hmark-offset"),
];

impl Extension for Hmark {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        if self.worded.has(given.option) {
            let message = format!("HMARK: `--{}` can only be used once", given.option);
            return Err(Refusal::new(message).hint("`--hmark-tuple` stands for it"));
        }
        match given.option {
            "hmark-tuple" => self.tuple(given)?,
            "hmark-src-prefix" => self.source = Some(mask(given)?),
            "hmark-dst-prefix" => self.destination = Some(mask(given)?),
            "hmark-proto-mask" => self.protocol = Some(given.u16()?),
            "hmark-rnd" => self.seed = Some(given.u32()?),
            "hmark-mod" => self.modulus = given.number(1..=u32::MAX.into())? as u32,
            "hmark-offset" => self.offset = Some(given.u32()?),
            "hmark-spi-mask" | "hmark-spi" => self.part(given.option, given.u32()?),
            _ => self.part(given.option, given.u16()?.into()),
        }
        Ok(())
    }

    fn finish(&mut self, _: &Seen, _: &Header) -> Result<(), Refusal> {
        if self.seed.is_none() {
            return Err(Refusal::new("HMARK: `--hmark-rnd` must be given"));
        }
        if self.has("hmark-spi-mask") && self.has_any(["hmark-sport-mask", "hmark-dport-mask"]) {
            let message = "HMARK: not `--hmark-spi-mask` and a mask of ports at once";
            return Err(Refusal::new(message).hint("they are the same bits"));
        }
        let Self { source, destination, protocol, connection, parts, .. } = self;
        let addresses = source.is_some() || destination.is_some();
        if !addresses && protocol.is_none() && !*connection && !parts.contains(&true) {
            let refusal = Refusal::new("HMARK: what is hashed is missing");
            return Err(refusal.hint("`--hmark-tuple` at least"));
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        for (name, mask) in [("src", self.source), ("dst", self.destination)] {
            if let Some(length) = mask.and_then(address::prefix_length) {
                save.option(&format!("hmark-{name}-prefix"), length);
            }
        }
        for (part, _) in PARTS.iter().zip(self.parts).filter(|(_, given)| *given) {
            let value = if part.of_mask { self.mask } else { self.set };
            let value = value >> part.shift & part.bits;
            let width = if part.bits == u32::MAX { 10 } else { 6 };
            save.option(part.option, format_args!("{value:#0width$x}"));
        }
        if let Some(mask) = self.protocol {
            save.option("hmark-proto-mask", format_args!("{mask:#04x}"));
        }
        if let Some(seed) = self.seed {
            save.option("hmark-rnd", format_args!("{seed:#010x}"));
        }
        save.option("hmark-mod", self.modulus);
        if let Some(offset) = self.offset {
            save.option("hmark-offset", offset);
        }
        if self.connection {
            save.option("hmark-tuple", "ct");
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        if self.has("hmark-spi") && self.has_any(["hmark-sport", "hmark-dport"]) {
            let refusal = Refusal::table("HMARK: not `--hmark-spi` and a port at once");
            return Err(refusal.hint("they are the same bits"));
        }
        Ok(())
    }
}

impl Hmark {
    fn has(&self, option: &str) -> bool {
        PARTS.iter().zip(self.parts).any(|(part, given)| given && part.option == option)
    }

    fn has_any(&self, options: [&str; 2]) -> bool {
        options.iter().any(|option| self.has(option))
    }

    /// The ports and the SPI are the same bits: what comes later wins.
    fn part(&mut self, option: &str, value: u32) {
        for (part, given) in PARTS.iter().zip(&mut self.parts) {
            if part.option == option {
                let whole = if part.of_mask { &mut self.mask } else { &mut self.set };
                *whole = *whole & !(part.bits << part.shift) | value << part.shift;
                *given = true;
            }
        }
    }

    /// Words with commas between them; the beginning of a word is enough.
    fn tuple(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        let whole = address::mask(self.family, 128);
        for text in given.text.split(',') {
            let begins = |(word, _): &&(&str, &str)| {
                let begin = word.get(..text.len());
                !text.is_empty() && begin.is_some_and(|begin| begin.eq_ignore_ascii_case(text))
            };
            let hint = "ct, src, dst, sport, dport, proto or spi, with commas between them";
            let found = WORDS.iter().find(begins).ok_or_else(|| given.bad().hint(hint))?;
            let (_, option) = *found;
            match option {
                "" => self.connection = true,
                "hmark-src-prefix" => self.source = Some(whole),
                "hmark-dst-prefix" => self.destination = Some(whole),
                "hmark-proto-mask" => self.protocol = Some(u16::MAX),
                "hmark-spi-mask" => self.part(option, u32::MAX),
                _ => self.part(option, u16::MAX.into()),
            }
            self.worded.insert(option);
        }
        Ok(())
    }
}

/// A mask that is no prefix is the whole address.
fn mask(given: &Given<'_>) -> Result<IpAddr, Refusal> {
    let mask = given.mask()?;
    let whole = || address::mask(given.family(), 128);
    Ok(if address::prefix_length(mask).is_some() { mask } else { whole() })
}

impl Acting for Hmark {}
