//! Addresses and masks as iptables reads and prints them. Names are not resolved: this crate asks
//! nobody.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_wire::Family;

use crate::number;
use crate::option::Refusal;

/// A network as a rule's header or a match tests it: `packet & mask == address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The address to compare with.
    pub address: IpAddr,
    /// The bits that count, as an address; they need not be contiguous.
    pub mask: IpAddr,
}

impl Network {
    /// The network that every address of `family` is in.
    pub const fn any(family: Family) -> Self {
        let zero = unspecified(family);
        Self { address: zero, mask: zero }
    }

    /// Whether every address is in it.
    pub fn is_any(&self) -> bool {
        bits(self.mask) == 0 && bits(self.address) == 0
    }

    /// Whether the packet's `address` is in it. An address of the other family never is.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == Family::of(self.address)
            && bits(address) & bits(self.mask) == bits(self.address)
    }

    /// The length of a contiguous mask.
    pub fn prefix_length(&self) -> Option<u32> {
        prefix_length(self.mask)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_length() {
            Some(length) => write!(f, "{}/{length}", Shown(self.address)),
            None => write!(f, "{}/{}", Shown(self.address), Shown(self.mask)),
        }
    }
}

/// An address as glibc prints it: an IPv6 address that ends in an IPv4 address ends so.
#[derive(Clone, Copy, Debug)]
pub struct Shown(
    /// What to print.
    pub IpAddr,
);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => match v4_compatible(address) {
                Some(tail) => write!(f, "::{tail}"),
                None => address.fmt(f),
            },
        }
    }
}

/// `::a.b.c.d` with something in its upper two bytes.
fn v4_compatible(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let value = u128::from(address);
    let tail = u32::try_from(value).ok()?;
    (tail > 0xffff).then(|| Ipv4Addr::from(tail))
}

/// The address that means none: all zeroes.
pub const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The mask of `length` leading ones; lengths beyond the family's are the family's.
pub fn mask(family: Family, length: u32) -> IpAddr {
    match family {
        Family::V4 => {
            let ones = u32::MAX.checked_shl(32u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(ones))
        }
        Family::V6 => {
            let ones = u128::MAX.checked_shl(128u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(ones))
        }
    }
}

/// How many leading ones `mask` has, if that is all it has.
pub fn prefix_length(mask: IpAddr) -> Option<u32> {
    let (ones, zeroes, width) = match mask {
        IpAddr::V4(mask) => {
            let value = u32::from(mask);
            (value.leading_ones(), value.trailing_zeros(), 32)
        }
        IpAddr::V6(mask) => {
            let value = u128::from(mask);
            (value.leading_ones(), value.trailing_zeros(), 128)
        }
    };
    (ones + zeroes >= width).then_some(ones)
}

/// The address with only the bits of `mask`.
pub fn masked(address: IpAddr, mask: IpAddr) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::V4(address & mask),
        (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::V6(address & mask),
        _ => address,
    }
}

/// The address as a number, so that addresses of one family compare as the wire orders them.
pub fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// An address in digits. IPv4's missing last parts are 0, and each part may be hexadecimal or
/// octal.
pub(crate) fn numeric(family: Family, text: &str) -> Option<IpAddr> {
    match family {
        Family::V4 => dotted(text, MissingParts::Zero).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingParts {
    Zero,
    Refused,
}

fn dotted(text: &str, missing: MissingParts) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut count = 0;
    for part in text.splitn(4, '.') {
        *octets.get_mut(count)? = u8::try_from(number::whole(part, 255)?).ok()?;
        count += 1;
    }
    (count == 4 || missing == MissingParts::Zero).then(|| octets.into())
}

/// An address as `-s` and `-d` take it: with missing last parts, else as the C library resolves it.
fn host(family: Family, text: &str) -> Result<IpAddr, Refusal> {
    match numeric(family, text) {
        Some(address) => Ok(address),
        None => resolved(family, text),
    }
}

/// An address as the C library resolves it, where IPv4's last part fills all bytes that are left.
pub(crate) fn resolved(family: Family, text: &str) -> Result<IpAddr, Refusal> {
    let address = match family {
        Family::V4 => loose(text).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    };
    if let Some(address) = address {
        return Ok(address);
    }
    // The one name that every machine knows, by Debian's /etc/hosts for IPv4 only.
    if text == "localhost" && family == Family::V4 {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let refusal = Refusal::new(format!("host or network `{text}` not found"));
    let other = match family {
        Family::V4 => text.parse::<Ipv6Addr>().is_ok(),
        Family::V6 => text.parse::<Ipv4Addr>().is_ok(),
    };
    Err(match (other, family) {
        (true, Family::V4) => refusal.hint("IPv6 addresses belong into the rules for IPv6"),
        (true, Family::V6) => refusal.hint("IPv4 addresses belong into the rules for IPv4"),
        (false, _) if text.is_empty() => refusal.hint("an address is missing here"),
        (false, _) if text.starts_with('!') => {
            refusal.hint("write the `!` before the option, with a blank behind it")
        }
        (false, _) if is_range(text) => {
            refusal.hint(format!("a range: -m iprange --src-range or --dst-range {text}"))
        }
        (false, _) => refusal.hint("names are not resolved: write the address"),
    })
}

fn is_range(text: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().is_ok();
    text.split_once('-').is_some_and(|(first, last)| address(first) && address(last))
}

/// One to four parts, of which the last fills all bytes that are left.
fn loose(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.iter().any(|part| !part.starts_with(|c: char| c.is_ascii_digit())) {
        return None;
    }
    let (last, front) = parts.split_last()?;
    let room = 4usize.checked_sub(front.len()).filter(|room| *room > 0)?;
    let mut value = number::whole(last, (1u64 << (8 * room)) - 1)?;
    for (at, part) in front.iter().enumerate() {
        value |= number::whole(part, 255)? << (24 - 8 * at);
    }
    u32::try_from(value).ok().map(Ipv4Addr::from)
}

/// The mask behind a slash: a length, or bits written as an address.
pub(crate) fn written_mask(family: Family, text: &str) -> Option<IpAddr> {
    let as_address = match family {
        Family::V4 => dotted(text, MissingParts::Refused).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    };
    let longest = 8 * unspecified_bytes(family);
    as_address.or_else(|| {
        let length = number::whole(text, longest.into())?;
        Some(mask(family, u32::try_from(length).ok()?))
    })
}

const fn unspecified_bytes(family: Family) -> u32 {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

/// `address[/mask]` as `-s` and `-d` take it: bits outside of the mask are dropped, and with a mask
/// of 0 anything may stand before the slash.
pub(crate) fn network(family: Family, text: &str) -> Result<Network, Refusal> {
    let (name, length) = match text.rsplit_once('/') {
        Some((name, length)) => (name, Some(length)),
        None => (text, None),
    };
    let mask = match length {
        None => mask(family, 128),
        Some(length) => written_mask(family, length).ok_or_else(|| {
            let range = 8 * unspecified_bytes(family);
            Refusal::new(format!("invalid mask `{length}`"))
                .hint(format!("a mask is a length, 0 to {range}, or an address"))
        })?,
    };
    if bits(mask) == 0 {
        return Ok(Network::any(family));
    }
    let address = host(family, name)?;
    Ok(Network { address: masked(address, mask), mask })
}

/// What `-s` and `-d` take: networks with commas and perhaps blanks between them.
pub(crate) fn networks(family: Family, text: &str) -> Result<Vec<Network>, Refusal> {
    let blanks = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];
    text.split(',').map(|one| network(family, one.trim_start_matches(blanks))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> String {
        network(Family::V4, text).map_or_else(|refusal| refusal.message, |net| net.to_string())
    }

    #[test]
    fn ipv4_forms() {
        for (text, shown) in [
            ("10/8", "10.0.0.0/8"),
            ("10", "10.0.0.0/32"),
            ("1.2.3.4/255.0.255.0", "1.0.3.0/255.0.255.0"),
            ("0x1.2.3.4/0x18", "1.2.3.0/24"),
            ("any/0", "0.0.0.0/0"),
            ("16909060", "1.2.3.4/32"),
            ("1.2.3.4/33", "invalid mask `33`"),
            ("1.2.3.", "host or network `1.2.3.` not found"),
        ] {
            assert_eq!(v4(text), shown);
        }
    }

    #[test]
    fn ipv6_forms() {
        let shown = |text| network(Family::V6, text).unwrap().to_string();
        assert_eq!(shown("::1/64"), "::/64");
        assert_eq!(shown("::1/ff00:ffff::"), "::/ff00:ffff::");
        assert_eq!(shown("::1.2.3.4"), "::1.2.3.4/128");
        assert!(network(Family::V6, "1.2.3.4").is_err());
    }
}
