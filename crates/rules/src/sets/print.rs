//! Sets as `ipset save` prints them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_wire::{Family, protocol};

use super::Sets;
use super::element::{Element, Except, Key};
use super::icmp;
use super::set::{Kind, Mask, Set};
use crate::shared::Address;

/// Sets at a moment: what is over by then is left out.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    pub(super) sets: &'a Sets,
    pub(super) now: u64,
}

impl fmt::Display for Saved<'_> {
    /// Lists come after what they may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.sets.order.iter().filter_map(|name| self.sets.sets.get_key_value(name));
        let plain = all().filter(|(_, set)| set.members().is_none());
        let lists = all().filter(|(_, set)| set.members().is_some());
        plain.chain(lists).try_for_each(|(name, set)| write_set(f, name, set, self.now))
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, name: &str, set: &Set, now: u64) -> fmt::Result {
    writeln!(f, "create {name} {}", Create(set))?;
    if let Some(members) = set.members() {
        for (member, element) in members.iter().filter(|(_, element)| !element.end.is_over(now)) {
            writeln!(f, "add {name} {member}{}", Kept { set, element, now })?;
        }
        return Ok(());
    }
    let mut elements: Vec<_> = set.elements.iter().collect();
    if !matches!(set.kind, Kind::Ports(..)) {
        elements.sort_by_key(|(_, element)| element.turn);
    }
    for (key, element) in elements.iter().filter(|(_, element)| !element.end.is_over(now)) {
        writeln!(f, "add {name} {}{}", Shown { set, key }, Kept { set, element, now })?;
    }
    Ok(())
}

/// A set's type and its options.
struct Create<'a>(&'a Set);

impl fmt::Display for Create<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.0;
        let header = &set.header;
        let is_hash = match &set.kind {
            Kind::Ports(from, to) => {
                write!(f, "bitmap:port range {from}-{to}")?;
                false
            }
            Kind::List { .. } => {
                write!(f, "list:set size {}", header.size)?;
                false
            }
            kind => {
                let family = if set.family == Some(Family::V6) { "inet6" } else { "inet" };
                write!(f, "{} family {family}", kind.name())?;
                write!(f, " hashsize {} maxelem {}", header.hash_size, header.most)?;
                true
            }
        };
        if let Kind::Ip(mask) = set.kind {
            write_mask(f, mask, set)?;
        }
        if let Some(timeout) = set.timeout {
            write!(f, " timeout {timeout}")?;
        }
        let flags = [
            ("counters", set.has_counters),
            ("comment", set.has_comments),
            ("skbinfo", set.has_info),
        ];
        for (flag, _) in flags.iter().filter(|(_, has)| *has) {
            write!(f, " {flag}")?;
        }
        if is_hash {
            write!(f, " bucketsize {} initval {:#010x}", header.bucket_size, header.seed)?;
        }
        match set.kind {
            Kind::IpPort(mask) => write_mask(f, mask, set),
            _ => Ok(()),
        }
    }
}

fn write_mask(f: &mut fmt::Formatter<'_>, mask: Mask, set: &Set) -> fmt::Result {
    match mask {
        Mask::Whole => Ok(()),
        Mask::Length(length) => write!(f, " netmask {length}"),
        Mask::Bits(bits) => write!(f, " bitmask {}", address(&bits, set)),
    }
}

impl Kind {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Ip(_) => "hash:ip",
            Self::Net => "hash:net",
            Self::IpPort(_) => "hash:ip,port",
            Self::NetPort => "hash:net,port",
            Self::Ports(..) => "bitmap:port",
            Self::List { .. } => "list:set",
        }
    }
}

fn address(bytes: &Address, set: &Set) -> IpAddr {
    match set.family {
        Some(Family::V6) => Ipv6Addr::from(*bytes).into(),
        _ => {
            let [a, b, c, d, ..] = *bytes;
            Ipv4Addr::new(a, b, c, d).into()
        }
    }
}

/// An element's own text.
struct Shown<'a> {
    set: &'a Set,
    key: &'a Key,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, key } = *self;
        if let Kind::Ports(..) = set.kind {
            return key.port.fmt(f);
        }
        let family = set.family.unwrap_or(Family::V4);
        address(&key.address, set).fmt(f)?;
        let whole = if family == Family::V6 { 128 } else { 32 };
        if matches!(set.kind, Kind::Net | Kind::NetPort) && key.prefix < whole {
            write!(f, "/{}", key.prefix)?;
        }
        if matches!(set.kind, Kind::Ip(_) | Kind::Net) {
            return Ok(());
        }
        match crate::protocol::name(key.protocol) {
            Some(name) => write!(f, ",{name}:")?,
            None => write!(f, ",{}:", key.protocol)?,
        }
        match key.protocol {
            protocol::ICMP => f.write_str(&icmp::shown(key.port, Family::V4)),
            protocol::ICMPV6 => f.write_str(&icmp::shown(key.port, Family::V6)),
            _ => key.port.fmt(f),
        }
    }
}

/// What stands behind an element.
struct Kept<'a> {
    set: &'a Set,
    element: &'a Element,
    now: u64,
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, element, now } = *self;
        let Element { turn: _, except, end, packets, bytes, comment, info } = element;
        if set.timeout.is_some() {
            write!(f, " timeout {}", end.left(now))?;
        }
        if *except == Except::Yes {
            f.write_str(" nomatch")?;
        }
        if set.has_counters {
            write!(f, " packets {packets} bytes {bytes}")?;
        }
        if !comment.is_empty() {
            write!(f, " comment \"{comment}\"")?;
        }
        if info.mark != 0 || info.mark_mask != 0 {
            write!(f, " skbmark {:#x}", info.mark)?;
            if info.mark_mask != u32::MAX {
                write!(f, "/{:#x}", info.mark_mask)?;
            }
        }
        if info.priority != (0, 0) {
            write!(f, " skbprio {:x}:{:x}", info.priority.0, info.priority.1)?;
        }
        if info.queue != 0 {
            write!(f, " skbqueue {}", info.queue)?;
        }
        Ok(())
    }
}
