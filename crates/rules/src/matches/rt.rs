//! `-m rt`: IPv6's routing header.

use std::net::{IpAddr, Ipv6Addr};

use stateward_wire::Family;

use crate::address::{self, Shown};
use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V6};
use crate::extension_headers::{ROUTING, find};
use crate::matches::esp::{Range, save_range};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rt {
    /// `--rt-type`.
    pub kind: Option<Test<u32>>,
    /// `--rt-segsleft`.
    pub left: Test<Range>,
    /// `--rt-len`: in bytes.
    pub length: Option<Test<u32>>,
    /// `--rt-0-res`: the reserved field is 0.
    pub reserved: bool,
    /// `--rt-0-addrs`: at most 16.
    pub addresses: Vec<Ipv6Addr>,
    /// `--rt-0-not-strict`: others may stand between and after the addresses.
    pub loose: bool,
}

impl Rt {
    pub(crate) const NAMES: &[&str] = &["rt"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self {
            kind: None,
            left: Test::plain(Range::ANY),
            length: None,
            reserved: false,
            addresses: Vec::new(),
            loose: false,
        }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("rt-type").invertible(),
    OptionSpec::value("rt-segsleft").invertible(),
    OptionSpec::value("rt-len").invertible(),
    OptionSpec::flag("rt-0-res"),
    OptionSpec::value("rt-0-addrs"),
    OptionSpec::flag("rt-0-not-strict"),
];

/// How many addresses a rule has room for.
const ROOM: usize = 16;

impl Extension for Rt {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "rt-type" => self.kind = Some(Test { value: given.u32()?, inverted }),
            "rt-segsleft" => self.left = Range::parse(given)?,
            "rt-len" => self.length = Some(Test { value: given.u32()?, inverted }),
            "rt-0-not-strict" => {
                if self.addresses.is_empty() {
                    let message = "rt: `--rt-0-not-strict` before `--rt-0-addrs`";
                    return Err(Refusal::new(message).hint("the addresses come first"));
                }
                self.loose = true;
            }
            option => {
                if self.kind != Some(Test::plain(0)) {
                    let refusal = Refusal::new(format!("rt: `--{option}` without type 0"));
                    return Err(refusal.hint("add `--rt-type 0` before it"));
                }
                match option {
                    "rt-0-res" => self.reserved = true,
                    _ => self.addresses = addresses(given)?,
                }
            }
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { kind, left, length, reserved, addresses, loose } = self;
        if let Some(Test { value, inverted }) = kind {
            save.inverted(*inverted).option("rt-type", value);
        }
        save_range(save, "rt-segsleft", *left);
        if let Some(Test { value, inverted }) = length {
            save.inverted(*inverted).option("rt-len", value);
        }
        if *reserved {
            save.flag("rt-0-res");
        }
        if !addresses.is_empty() {
            let shown = |address: &Ipv6Addr| Shown(IpAddr::V6(*address)).to_string();
            let shown: Vec<_> = addresses.iter().map(shown).collect();
            save.option("rt-0-addrs", shown.join(","));
        }
        if *loose {
            save.flag("rt-0-not-strict");
        }
    }
}

fn addresses(given: &Given<'_>) -> Result<Vec<Ipv6Addr>, Refusal> {
    let address = |text: &str| match address::numeric(Family::V6, text) {
        Some(IpAddr::V6(address)) => Ok(address),
        _ => Err(Refusal::new(format!("rt: bad address `{text}`"))),
    };
    let all = given.text.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
    match all.len() <= ROOM {
        true => Ok(all),
        false => Err(Refusal::new(format!("rt: more than {ROOM} addresses"))),
    }
}

impl Rt {
    /// Whether the header's addresses are those of the rule: all in their place, or in their order.
    fn meets(&self, on_the_way: &[[u8; 16]]) -> bool {
        let mut wanted = self.addresses.iter().map(Ipv6Addr::octets).peekable();
        if !self.loose {
            return wanted.eq(on_the_way.iter().copied());
        }
        for address in on_the_way {
            _ = wanted.next_if_eq(address);
        }
        wanted.peek().is_none()
    }
}

impl Matching for Rt {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        const ADDRESSES: usize = 8;
        let Some(found) = find(view.packet.bytes(), ROUTING)? else { return Ok(false) };
        let [_, _, kind, left] = *found.bytes.first_chunk().ok_or(Stop::Hotdrop)?;
        let header = found.whole()?;
        let is = |asked: Option<Test<u32>>, value: u32| {
            asked.is_none_or(|asked| asked.passes(asked.value == value))
        };
        let passes = self.left.passes(self.left.value.contains(left.into()))
            && is(self.length, header.len() as u32)
            && is(self.kind, kind.into())
            && !(self.reserved && header.get(4..ADDRESSES) != Some(&[0; 4]));
        if self.addresses.is_empty() {
            return Ok(passes);
        }
        let (on_the_way, _) = header.get(ADDRESSES..).unwrap_or_default().as_chunks();
        Ok(passes && self.meets(on_the_way))
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn addresses_in_their_order() {
        let mut header = vec![17, 6, 0, 2, 0, 0, 0, 0];
        for last in [1, 2, 3] {
            header.extend([0; 15]);
            header.push(last);
        }
        header.extend([0x0f, 0xa0, 0, 53, 0, 8, 0, 0]);
        let mut packet = Alone::of(Family::V6, 43, &header);
        let mut met = |rule: &str| met(&format!("-m rt --rt-type 0 {rule}"), &mut packet);
        assert_eq!(met("--rt-segsleft 1:2 --rt-len 56 --rt-0-res"), Some(true));
        assert_eq!(met("! --rt-segsleft 2"), Some(false));
        assert_eq!(met("--rt-0-addrs ::1,::2,::3"), Some(true));
        assert_eq!(met("--rt-0-addrs ::1,::2"), Some(false));
        assert_eq!(met("--rt-0-addrs ::1,::3 --rt-0-not-strict"), Some(true));
        assert_eq!(met("--rt-0-addrs ::3,::1 --rt-0-not-strict"), Some(false));
    }
}
