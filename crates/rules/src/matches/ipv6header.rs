//! `-m ipv6header`: which extension headers an IPv6 packet has.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V6};
use crate::extension_headers::{self, AUTH, DESTINATION, ESP, FRAGMENT, HOP, NONE, ROUTING};
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::rule::Test;
use crate::save::Save;

/// `[!] --header NAMES [--soft]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6header {
    /// One bit for each of the headers, in the order in which they are printed.
    pub headers: Test<u8>,
    /// `--soft`: others may be there.
    pub soft: bool,
}

impl Ipv6header {
    pub(crate) const NAMES: &[&str] = &["ipv6header"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { headers: Test::plain(0), soft: false }
    }
}

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("header").invertible().mandatory(), OptionSpec::flag("soft")];

/// Number, the name that is printed, and the short one. The bit of each is its place here.
const HEADERS: [(u8, &str, &str); 8] = [
    (HOP, "hop-by-hop", "hop"),
    (DESTINATION, "ipv6-opts", "dst"),
    (ROUTING, "ipv6-route", "route"),
    (FRAGMENT, "ipv6-frag", "frag"),
    (AUTH, "ah", "auth"),
    (ESP, "esp", "esp"),
    (NONE, "ipv6-nonxt", "none"),
    (PROTOCOL, "protocol", "prot"),
];

/// Stands for whatever is no extension header.
const PROTOCOL: u8 = 255;

/// The bit of the header with this number.
fn bit(number: u8) -> Option<u8> {
    let place = HEADERS.iter().position(|(known, ..)| *known == number)?;
    Some(1 << place)
}

impl Extension for Ipv6header {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "header" => {
                self.headers = Test { value: headers(given)?, inverted: given.inverted };
            }
            _ => self.soft = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let set = HEADERS.iter().enumerate();
        let set = set.filter(|(place, _)| self.headers.value & (1 << place) != 0);
        let names: Vec<_> = set.map(|(_, (_, name, _))| *name).collect();
        save.inverted(self.headers.inverted).option("header", names.join(","));
        if self.soft {
            save.flag("soft");
        }
    }
}

fn headers(given: &Given<'_>) -> Result<u8, Refusal> {
    let mut bits = 0;
    for word in given.text.split(',').filter(|word| !word.is_empty()) {
        bits |= number_of(word).and_then(bit).ok_or_else(|| {
            let names: Vec<_> = HEADERS.iter().map(|(_, name, _)| *name).collect();
            let refusal = Refusal::new(format!("ipv6header: unknown header `{word}`"));
            refusal.hint(format!("one of {}", names.join(", ")))
        })?;
    }
    match bits {
        0 => Err(Refusal::new("ipv6header: no header is named")),
        _ => Ok(bits),
    }
}

/// A name, or the number as it is written there.
fn number_of(word: &str) -> Option<u8> {
    let is = |(number, name, short): &&(u8, &str, &str)| {
        *name == word || *short == word || number.to_string() == word
    };
    let known = HEADERS.iter().find(is).map(|(number, ..)| *number);
    let is_number = number::prefix(word).is_some();
    known.or_else(|| protocol::parse(word).ok().filter(|_| !is_number && word != "all"))
}

/// The headers that a packet has; `None` where one is cut short by the packet's end.
fn found(packet: &[u8]) -> Result<Option<u8>, Stop> {
    const FIXED: usize = 40;
    let mut next = packet.get(6).copied().ok_or(Stop::Hotdrop)?;
    let mut rest = packet.get(FIXED..).unwrap_or_default();
    let mut bits = 0;
    while let Some(this) = bit(next).filter(|_| next != PROTOCOL) {
        if next == NONE {
            return Ok(Some(bits | this));
        }
        let Some(header) = extension_headers::header(next, rest) else { return Ok(None) };
        bits |= this;
        if next == ESP {
            return Ok(Some(bits));
        }
        next = header.next;
        match rest.get(header.length..) {
            Some(after) => rest = after,
            None => break,
        }
    }
    let is_upper = next != NONE && next != ESP;
    Ok(Some(bits | if is_upper { bit(PROTOCOL).unwrap_or(0) } else { 0 }))
}

impl Matching for Ipv6header {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let Some(found) = found(view.packet.bytes())? else { return Ok(false) };
        let Test { value, inverted } = self.headers;
        Ok(match (self.soft, inverted) {
            (true, false) => found & value == value,
            (true, true) => found & value == 0,
            (false, _) => self.headers.passes(found == value),
        })
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn all_of_them_or_some() {
        let chain =
            [[43, 0, 1, 4, 0, 0, 0, 0], [17, 0, 2, 0, 0, 0, 0, 0], [0x0f, 0xa0, 0, 53, 0, 8, 0, 0]];
        let mut packet = Alone::of(Family::V6, 60, &chain.concat());
        let mut met = |rule: &str| met(&format!("-m ipv6header {rule}"), &mut packet);
        assert_eq!(met("--header dst,route,prot"), Some(true));
        assert_eq!(met("--header dst,route"), Some(false));
        assert_eq!(met("--header dst,route --soft"), Some(true));
        assert_eq!(met("--header dst,esp --soft"), Some(false));
        assert_eq!(met("! --header hop,esp --soft"), Some(true));
        assert_eq!(met("! --header hop,dst --soft"), Some(false));
        assert_eq!(met("! --header dst"), Some(true));
    }
}
