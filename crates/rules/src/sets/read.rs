//! Sets from the text that `ipset save` writes: lines of `create` and of `add`.
//!
//! What ipset takes of one who writes such lines by hand is taken as well: options in any order,
//! ranges and networks of addresses, ranges and names of ports, `-exist`. Other commands of ipset
//! change what is there, which is nothing yet; they are errors. All errors of a text are reported.

use std::net::IpAddr;

use stateward_wire::{Family, protocol};

use super::Sets;
use super::element::{Element, End, Except, Key, LONGEST, SkbInfo};
use super::icmp;
use super::set::{Header, Kind, Mask, NotAdded, Set};
use crate::diagnostic::Diagnostic;
use crate::option::Refusal;
use crate::shared::{Address, address_bytes, masked};
use crate::source::{Place, Source};
use crate::words::{self, Word};
use crate::{number, services};

/// An error and the word of the line that it is about.
struct Fault {
    word: usize,
    refusal: Refusal,
}

type Read<T> = Result<T, Fault>;

fn fault<T>(word: usize, message: impl Into<String>, hint: &str) -> Read<T> {
    let refusal = Refusal::new(message);
    let refusal = if hint.is_empty() { refusal } else { refusal.hint(hint) };
    Err(Fault { word, refusal })
}

impl Sets {
    /// Reads what `ipset save` has written.
    ///
    /// # Errors
    /// One for each line that ipset would refuse, or that is not known here.
    pub fn parse(source: &Source<'_>) -> Result<Self, Vec<Diagnostic>> {
        let (mut sets, mut found) = (Self::default(), Vec::new());
        for (number, line) in source.lines() {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let place = |word: Option<&Word>| match word {
                Some(word) => Place { line: number, start: word.start, length: word.length },
                None => source.whole(number),
            };
            let words = match words::split(line, 0) {
                Ok(words) => words,
                Err(refusal) => {
                    found.push(source.error(place(None), refusal));
                    continue;
                }
            };
            if let Err(Fault { word, refusal }) = sets.line(&words) {
                found.push(source.error(place(words.get(word)), refusal));
            }
        }
        if found.is_empty() { Ok(sets) } else { Err(found) }
    }

    fn line(&mut self, words: &[Word]) -> Read<()> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match texts.as_slice() {
            ["create" | "-N" | "n", name, kind, ..] => self.create(name, kind, &texts),
            ["create" | "-N" | "n", ..] => fault(0, "a name and a type must follow", ""),
            ["add" | "-A" | "a", name, element, ..] => self.add(name, element, &texts),
            ["add" | "-A" | "a", ..] => fault(0, "a set and an element must follow", ""),
            ["COMMIT"] => Ok(()),
            [other, ..] => {
                let message = format!("`{other}` is not done here");
                fault(0, message, "what `ipset save` writes: create and add")
            }
            [] => Ok(()),
        }
    }

    fn create(&mut self, name: &str, kind: &str, texts: &[&str]) -> Read<()> {
        const LONGEST_NAME: usize = 31;
        if name.len() > LONGEST_NAME {
            return fault(1, format!("a set's name has at most {LONGEST_NAME} bytes"), "");
        }
        let mut options = Options { texts, at: 3 };
        let (set, exists) = create(kind, &mut options)?;
        if self.sets.contains_key(name) {
            return match exists {
                true => Ok(()),
                false => fault(1, format!("there is a set `{name}` already"), ""),
            };
        }
        self.order.push(name.to_owned());
        self.sets.insert(name.to_owned(), set);
        Ok(())
    }

    fn add(&mut self, name: &str, text: &str, texts: &[&str]) -> Read<()> {
        let Some(set) = self.sets.get(name) else {
            return fault(1, format!("there is no set `{name}`"), "`create` it above");
        };
        let mut options = Options { texts, at: 3 };
        let given = element(set, &mut options)?;
        if set.members().is_some() {
            return self.add_member(name, text, given);
        }
        let family = set.family.unwrap_or(Family::V4);
        let keys = keys(&set.kind, family, text)?;
        let Some(set) = self.sets.get_mut(name) else { return Ok(()) };
        for key in keys {
            match set.add(key, given.element.clone(), 0) {
                Ok(()) => {}
                Err(NotAdded::There) if given.exists => {}
                Err(NotAdded::There) => {
                    return fault(2, format!("`{text}` is in the set already"), "");
                }
                Err(NotAdded::Full) => {
                    let most = set.header.most;
                    return fault(2, "the set is full", &format!("its maxelem is {most}"));
                }
            }
        }
        Ok(())
    }

    fn add_member(&mut self, name: &str, member: &str, given: Given<'_>) -> Read<()> {
        match self.sets.get(member) {
            None => return fault(2, format!("there is no set `{member}`"), "`create` it above"),
            Some(of) if of.members().is_some() => {
                return fault(2, "a list takes no list", "");
            }
            Some(_) => {}
        }
        let Some(Set { kind: Kind::List { members }, .. }) = self.sets.get_mut(name) else {
            return Ok(());
        };
        if members.iter().any(|(there, _)| there == member) {
            return match given.exists {
                true => Ok(()),
                false => fault(2, format!("`{member}` is in the list already"), ""),
            };
        }
        let position = |of: &str| members.iter().position(|(there, _)| there == of);
        let at = match given.beside {
            None => Some(members.len()),
            Some((Beside::Before, of)) => position(of),
            Some((Beside::After, of)) => position(of).map(|at| at + 1),
        };
        let Some(at) = at else { return fault(4, "there is no such set in the list", "") };
        members.insert(at, (member.to_owned(), given.element));
        Ok(())
    }
}

/// The words behind what a line is about, taken one after the other.
struct Options<'a> {
    texts: &'a [&'a str],
    at: usize,
}

impl<'a> Options<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let text = self.texts.get(self.at).copied()?;
        self.at += 1;
        Some(text)
    }

    /// The word last taken.
    fn last(&self) -> usize {
        self.at.saturating_sub(1)
    }

    fn value(&mut self, option: &str) -> Read<&'a str> {
        let at = self.last();
        match self.next() {
            Some(value) => Ok(value),
            None => fault(at, format!("`{option}` needs a value"), ""),
        }
    }

    fn number(&mut self, option: &str, least: u64, most: u64) -> Read<u64> {
        let text = self.value(option)?;
        match number::whole(text, most).filter(|value| *value >= least) {
            Some(value) => Ok(value),
            None => {
                let message = format!("`{text}` is no value for `{option}`");
                fault(self.last(), message, &format!("a number from {least} to {most}"))
            }
        }
    }

    fn unknown<T>(&self, option: &str, of: &str) -> Read<T> {
        fault(self.last(), format!("`{option}` is no option of {of}"), "")
    }
}

/// A new set, and whether it may be there already.
fn create(kind: &str, options: &mut Options<'_>) -> Read<(Set, bool)> {
    let kind = match kind {
        "hash:ip" => Kind::Ip(Mask::Whole),
        "hash:net" => Kind::Net,
        "hash:ip,port" => Kind::IpPort(Mask::Whole),
        "hash:net,port" => Kind::NetPort,
        "bitmap:port" => Kind::Ports(0, 0),
        "list:set" => Kind::List { members: Vec::new() },
        other => {
            let hint = "hash:ip, hash:net, hash:ip,port, hash:net,port, bitmap:port, list:set";
            return fault(2, format!("sets of type `{other}` are not known here"), hint);
        }
    };
    let is_hash = !matches!(kind, Kind::Ports(..) | Kind::List { .. });
    let most = if is_hash { 65_536 } else { u32::MAX };
    let header =
        Header { hash_size: 1024, most, bucket_size: 12, seed: 0, size: 8, makes_room: false };
    let mut set = Set::new(kind, is_hash.then_some(Family::V4), header);
    let (mut range, mut mask, mut exists) = (None, None, false);
    while let Some(option) = options.next() {
        match option {
            "-exist" | "-!" => exists = true,
            "timeout" => set.timeout = Some(options.number(option, 0, LONGEST.into())? as u32),
            "counters" => set.has_counters = true,
            "comment" => set.has_comments = true,
            "skbinfo" => set.has_info = true,
            "range" if matches!(set.kind, Kind::Ports(..)) => {
                let text = options.value(option)?;
                range = Some(port_range(text, protocol::TCP, options.last())?);
            }
            "size" if matches!(set.kind, Kind::List { .. }) => {
                set.header.size = options.number(option, 0, u32::MAX.into())? as u32;
            }
            "netmask" | "bitmask" if matches!(set.kind, Kind::Ip(_) | Kind::IpPort(_)) => {
                mask = Some((option, options.value(option)?, options.last()));
            }
            _ if is_hash => hash_option(&mut set, option, options)?,
            other => return options.unknown(other, set.kind.name()),
        }
    }
    if let Kind::Ports(from, to) = &mut set.kind {
        let Some(range) = range else { return fault(2, "`range` must be given", "as 0-65535") };
        (*from, *to) = range;
    }
    if let Some((option, text, word)) = mask {
        let mask = address_mask(option, text, word, set.family.unwrap_or(Family::V4))?;
        if let Kind::Ip(of_set) | Kind::IpPort(of_set) = &mut set.kind {
            *of_set = mask;
        }
    }
    Ok((set, exists))
}

fn hash_option(set: &mut Set, option: &str, options: &mut Options<'_>) -> Read<()> {
    match option {
        "family" => {
            set.family = Some(match options.value(option)? {
                "inet" | "ipv4" | "-4" => Family::V4,
                "inet6" | "ipv6" | "-6" => Family::V6,
                _ => return fault(options.last(), "no such family", "inet or inet6"),
            });
        }
        "hashsize" => {
            const LEAST: u32 = 64;
            let size = options.number(option, 1, u32::MAX.into())? as u32;
            set.header.hash_size = size.max(LEAST).checked_next_power_of_two().unwrap_or(1 << 31);
        }
        "maxelem" => set.header.most = options.number(option, 0, u32::MAX.into())? as u32,
        "bucketsize" => {
            const LEAST: u64 = 2;
            const MOST: u64 = 12;
            let size = options.number(option, 0, u8::MAX.into())?.clamp(LEAST, MOST) as u8;
            set.header.bucket_size = size.next_multiple_of(2);
        }
        "initval" => {
            let text = options.value(option)?;
            let digits = text.strip_prefix("0x").unwrap_or(text);
            match u32::from_str_radix(digits, 16) {
                Ok(seed) => set.header.seed = seed,
                Err(_) => return fault(options.last(), "no hexadecimal number", ""),
            }
        }
        "forceadd" => set.header.makes_room = true,
        other => return options.unknown(other, set.kind.name()),
    }
    Ok(())
}

fn address_mask(option: &str, text: &str, word: usize, family: Family) -> Read<Mask> {
    let whole = bits(family);
    if option == "bitmask" {
        return match parsed_address(text, family) {
            Some(address) => Ok(Mask::Bits(address)),
            None => fault(word, format!("`{text}` is no mask of this family"), ""),
        };
    }
    match number::whole(text, whole.into()).filter(|length| *length > 0) {
        Some(length) if length == whole.into() => Ok(Mask::Whole),
        Some(length) => Ok(Mask::Length(length as u8)),
        None => fault(word, "no such netmask", &format!("a number from 1 to {whole}")),
    }
}

/// What stands behind an element.
struct Given<'a> {
    element: Element,
    exists: bool,
    /// Where in a list.
    beside: Option<(Beside, &'a str)>,
}

#[derive(Clone, Copy)]
enum Beside {
    Before,
    After,
}

fn element<'a>(set: &Set, options: &mut Options<'a>) -> Read<Given<'a>> {
    let end = set.timeout.map_or(End::Never, end_of);
    let mut given =
        Given { element: Element { end, ..Element::default() }, exists: false, beside: None };
    while let Some(option) = options.next() {
        let element = &mut given.element;
        let needs = |has: bool, what: &str| match has {
            true => Ok(()),
            false => fault(options.last(), format!("the set was created without `{what}`"), ""),
        };
        match option {
            "-exist" | "-!" => given.exists = true,
            "timeout" => {
                needs(set.timeout.is_some(), "timeout")?;
                element.end = end_of(options.number(option, 0, LONGEST.into())? as u32);
            }
            "nomatch" if matches!(set.kind, Kind::Net | Kind::NetPort) => {
                element.except = Except::Yes;
            }
            "packets" | "bytes" => {
                needs(set.has_counters, "counters")?;
                let value = options.number(option, 0, u64::MAX)?;
                let place =
                    if option == "packets" { &mut element.packets } else { &mut element.bytes };
                *place = value;
            }
            "comment" => {
                needs(set.has_comments, "comment")?;
                element.comment = options.value(option)?.to_owned();
                if element.comment.contains('"') {
                    return fault(options.last(), "a quote in a comment", "");
                }
            }
            "skbmark" | "skbprio" | "skbqueue" => {
                needs(set.has_info, "skbinfo")?;
                info(&mut element.info, option, options)?;
            }
            "before" | "after" if set.members().is_some() => {
                let beside = if option == "before" { Beside::Before } else { Beside::After };
                given.beside = Some((beside, options.value(option)?));
            }
            other => return options.unknown(other, set.kind.name()),
        }
    }
    Ok(given)
}

fn end_of(seconds: u32) -> End {
    if seconds == 0 { End::Never } else { End::After(seconds) }
}

fn info(info: &mut SkbInfo, option: &str, options: &mut Options<'_>) -> Read<()> {
    let text = options.value(option)?;
    let hexadecimal = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let read = match option {
        "skbmark" => {
            let (mark, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
            hexadecimal(mark).zip(hexadecimal(mask)).map(|(mark, mask)| {
                (info.mark, info.mark_mask) = (mark, mask);
            })
        }
        "skbprio" => {
            let half = |text: &str| u16::from_str_radix(text, 16).ok();
            let halves = text.split_once(':').and_then(|(a, b)| half(a).zip(half(b)));
            halves.map(|halves| info.priority = halves)
        }
        _ => text.parse().ok().map(|queue| info.queue = queue),
    };
    match read {
        Some(()) => Ok(()),
        None => fault(options.last(), format!("`{text}` is no value for `{option}`"), ""),
    }
}

const fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

fn parsed_address(text: &str, family: Family) -> Option<Address> {
    let address: IpAddr = text.parse().ok()?;
    (Family::of(address) == family).then(|| address_bytes(address))
}

/// The elements that a text stands for.
fn keys(kind: &Kind, family: Family, text: &str) -> Read<Vec<Key>> {
    match kind {
        Kind::Ports(from, to) => {
            let (first, last) = port_range(text, protocol::TCP, 2)?;
            if first < *from || last > *to {
                return fault(2, format!("`{text}` is out of the set's range"), "");
            }
            Ok((first..=last).map(|port| Key { port, ..Key::default() }).collect())
        }
        Kind::Ip(mask) => addresses(text, family, *mask),
        Kind::Net => networks(text, family),
        Kind::IpPort(mask) => with_ports(text, |text| addresses(text, family, *mask)),
        Kind::NetPort => with_ports(text, |text| networks(text, family)),
        Kind::List { .. } => Ok(Vec::new()),
    }
}

fn with_ports(text: &str, first: impl Fn(&str) -> Read<Vec<Key>>) -> Read<Vec<Key>> {
    let Some((address, ports)) = text.split_once(',') else {
        return fault(2, format!("`{text}` lacks its port"), "as 192.0.2.1,tcp:80");
    };
    let (protocol, from, to) = protocol_and_ports(ports)?;
    let keys = first(address)?;
    if keys.len().saturating_mul(usize::from(to - from) + 1) > MOST_AT_ONCE {
        return fault(2, "so many elements at once", "a hash:net,port holds addresses as one");
    }
    let with = |key: Key| (from..=to).map(move |port| Key { protocol, port, ..key });
    Ok(keys.into_iter().flat_map(with).collect())
}

/// `[PROTOCOL:]PORT[-PORT]`, for ICMP a type, for what has no ports 0.
fn protocol_and_ports(text: &str) -> Read<(u8, u16, u16)> {
    let (name, ports) = text.split_once(':').unwrap_or(("tcp", text));
    let Ok(number) = crate::protocol::parse(name) else {
        return fault(2, format!("no protocol is called `{name}`"), "");
    };
    let has_ports =
        matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDPLITE);
    if has_ports {
        let (from, to) = port_range(ports, number, 2)?;
        return Ok((number, from, to));
    }
    let of_icmp = match number {
        protocol::ICMP => Some(Family::V4),
        protocol::ICMPV6 => Some(Family::V6),
        _ => None,
    };
    let port = match of_icmp {
        Some(family) => icmp::parse(ports, family),
        None => (ports == "0").then_some(0),
    };
    match port {
        Some(port) => Ok((number, port, port)),
        None => {
            let hint =
                if of_icmp.is_some() { "as echo-request or 8/0" } else { "0: it has no ports" };
            fault(2, format!("`{ports}` cannot stand behind `{name}:`"), hint)
        }
    }
}

fn port_range(text: &str, protocol: u8, word: usize) -> Read<(u16, u16)> {
    // A name may hold a hyphen.
    let one = |text: &str| services::port_of(text, protocol).ok();
    let range = match one(text) {
        Some(port) => Some((port, port)),
        None => text.split_once('-').and_then(|(from, to)| one(from).zip(one(to))),
    };
    match range {
        Some((from, to)) => Ok((from.min(to), from.max(to))),
        None => fault(word, format!("`{text}` is no port"), "a number from 0 to 65535, or two"),
    }
}

fn no_address<T>(text: &str, family: Family) -> Read<T> {
    let (shown, hint) = match family {
        Family::V4 => ("IPv4", "as 192.0.2.1; names are not looked up"),
        Family::V6 => ("IPv6", "as 2001:db8::1; names are not looked up"),
    };
    fault(2, format!("`{text}` is no {shown} address"), hint)
}

/// One address, all of a network, or all of a range; of IPv6 one.
fn addresses(text: &str, family: Family, mask: Mask) -> Read<Vec<Key>> {
    let one = |text: &str| parsed_address(text, family);
    let (from, to) = match (one(text), text.split_once('/'), text.split_once('-')) {
        (Some(address), ..) => (address, address),
        (_, Some((address, length)), _) => match one(address).zip(length_of(length, family)) {
            Some((address, length)) if family == Family::V4 => {
                (masked(address, length), last_of(address, length))
            }
            Some((address, 128)) => (address, address),
            _ => return no_address(text, family),
        },
        (_, _, Some((from, to))) if family == Family::V4 => match one(from).zip(one(to)) {
            Some(range) => range,
            None => return no_address(text, family),
        },
        _ => return no_address(text, family),
    };
    let key = |address| Key { address: mask.of(address), ..Key::default() };
    if from == to {
        return not_zero(vec![key(from)]);
    }
    let (from, to) = (v4(from), v4(to));
    // Addresses that differ only in the zeros at the mask's end are one element.
    let zeros = v4(mask.of(of_v4(u32::MAX))).trailing_zeros();
    let (first, last) = (u64::from(from.min(to)) >> zeros, u64::from(from.max(to)) >> zeros);
    if last - first >= MOST_AT_ONCE as u64 {
        return fault(2, "so many addresses at once", "a hash:net holds them as one");
    }
    not_zero((first..=last).map(|block| key(of_v4((block << zeros) as u32))).collect())
}

/// Elements that one line may stand for.
const MOST_AT_ONCE: usize = 1 << 20;

fn not_zero(keys: Vec<Key>) -> Read<Vec<Key>> {
    match keys.iter().any(|key| key.address == Address::default()) {
        true => fault(2, "the address 0 cannot be in such a set", ""),
        false => Ok(keys),
    }
}

fn length_of(text: &str, family: Family) -> Option<u8> {
    let length = number::whole(text, bits(family).into()).filter(|length| *length > 0)?;
    u8::try_from(length).ok()
}

fn v4(address: Address) -> u32 {
    let [a, b, c, d, ..] = address;
    u32::from_be_bytes([a, b, c, d])
}

fn of_v4(address: u32) -> Address {
    address_bytes(IpAddr::V4(address.into()))
}

/// The last address of a network of IPv4.
fn last_of(address: Address, length: u8) -> Address {
    let rest = u32::MAX.checked_shr(length.into()).unwrap_or_default();
    of_v4(v4(address) | rest)
}

/// An address, a network, or of IPv4 a range, which falls into networks.
fn networks(text: &str, family: Family) -> Read<Vec<Key>> {
    let key = |address, prefix| Key { address: masked(address, prefix), prefix, ..Key::default() };
    let one = |text: &str| parsed_address(text, family);
    if let Some(address) = one(text) {
        return Ok(vec![key(address, bits(family))]);
    }
    if let Some((address, length)) = text.split_once('/') {
        let Some(address) = one(address) else { return no_address(text, family) };
        return match length_of(length, family) {
            Some(length) => Ok(vec![key(address, length)]),
            None => fault(2, "no such length of a network", &format!("1 to {}", bits(family))),
        };
    }
    let range = text.split_once('-').and_then(|(from, to)| one(from).zip(one(to)));
    let Some((from, to)) = range.filter(|_| family == Family::V4) else {
        return no_address(text, family);
    };
    let (from, to) = (v4(from), v4(to));
    let (mut at, last) = (u64::from(from.min(to)), u64::from(from.max(to)));
    let mut keys = Vec::new();
    while at <= last {
        // The largest network that begins here and does not reach beyond the end.
        let aligned = if at == 0 { 31 } else { at.trailing_zeros().min(31) };
        let fitting = (last - at + 1).ilog2();
        let size = aligned.min(fitting);
        keys.push(key(of_v4(at as u32), (32 - size) as u8));
        at += 1 << size;
    }
    Ok(keys)
}
