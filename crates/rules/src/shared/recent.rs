//! `-m recent`'s lists: addresses, each with the times at which it was seen last.
//!
//! A list is one for both families and all tables. It has the mask of the first rule that named it,
//! also for addresses of the other family, of which a mask of IPv4 covers the first four bytes. It remembers 32
//! times an address, or as many as the largest `--hitcount` asks for, raised to a power of two; a
//! rule that asks for more than a list remembers empties it. A full list loses the address that was
//! noted longest ago.
//!
//! Memory: at most `list_total` addresses a list, and a list a name that rules say.
//!
//! Kernel counterpart: `net/netfilter/xt_recent.c`. Where it reads a time before the first one,
//! after 65,536 of them, the last one is read here.

use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use stateward_wire::Family;

use super::{Address, HZ, InFull, Users, address_bytes};
use crate::matches::recent::{Recent, What};

/// The kernel module's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ip_list_tot`: addresses in a list, at least 1.
    pub list_total: u32,
    /// `ip_pkt_list_tot`: times to remember of an address even if no rule asks for so many, at most
    /// 65,535; 0 is 32.
    pub packets_total: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { list_total: 100, packets_total: 0 }
    }
}

/// All lists.
#[derive(Debug, Default)]
pub struct Lists {
    settings: Settings,
    lists: BTreeMap<String, List>,
}

/// One list.
#[derive(Debug)]
pub struct List {
    mask: Address,
    /// How many times are remembered of an address, less one: all bits below a power of two.
    times_mask: u16,
    entries: BTreeMap<Key, Entry>,
    /// The addresses by the time of their last note.
    order: BTreeMap<u64, Key>,
    /// Counts notes.
    turn: u64,
    users: Users,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    family: Family,
    address: Address,
}

#[derive(Debug)]
struct Entry {
    ttl: u8,
    /// Where the next time goes.
    next: u16,
    times: Vec<u64>,
    turn: u64,
}

/// What a rule asks about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) address: IpAddr,
    /// As the packet came, before this host counted it down.
    pub(crate) ttl: u8,
    /// The tick.
    pub(crate) now: u64,
}

impl Lists {
    /// Lists of other sizes than the usual ones; for rules that are put in force from now on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether no rule names a list.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The lists with their names, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &List)> {
        self.lists.iter().map(|(name, list)| (name.as_str(), list))
    }

    /// A rule names a list.
    pub(super) fn join(&mut self, rule: &Recent) {
        let times_mask = self.settings.times_mask(rule.hits);
        let list = self.lists.entry(rule.name.clone()).or_insert_with(|| List {
            mask: mask(rule),
            times_mask,
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            turn: 0,
            users: Users::default(),
        });
        if times_mask > list.times_mask {
            list.times_mask = times_mask;
            list.entries.clear();
            list.order.clear();
        }
    }

    /// The lists that rules of `family` name from now on; what nobody names is gone.
    pub(super) fn keep(&mut self, family: Family, named: &BTreeSet<&str>) {
        self.lists.retain(|name, list| list.users.set(family, named.contains(name.as_str())));
    }

    /// What a rule says of a packet, and what it notes.
    pub(crate) fn ask(&mut self, rule: &Recent, sight: Sight) -> bool {
        let total = self.settings.list_total.max(1) as usize;
        match self.lists.get_mut(&rule.name) {
            Some(list) => rule.what.passes(list.ask(rule, sight, total)),
            None => false,
        }
    }
}

/// Each list as [`List`] shows it and behind its name, as `tail` shows
/// several files.
impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, list)) in self.iter().enumerate() {
            let apart = if number == 0 { "" } else { "\n" };
            write!(f, "{apart}==> /proc/net/xt_recent/{name} <==\n{list}")?;
        }
        Ok(())
    }
}

impl Settings {
    fn times_mask(self, hits: u32) -> u16 {
        const USUAL: u32 = 32;
        let packets = u32::from(self.packets_total);
        let times = match hits {
            hits if packets != 0 && hits < packets => packets,
            0 => USUAL,
            hits => hits,
        };
        times.next_power_of_two().saturating_sub(1).min(u16::MAX.into()) as u16
    }
}

impl List {
    fn ask(&mut self, rule: &Recent, sight: Sight, total: usize) -> bool {
        let key = self.key(sight.address);
        let ttl = if rule.ttl { sight.ttl } else { 0 };
        let is_same = |entry: &&Entry| ttl == 0 || entry.ttl == 0 || entry.ttl == ttl;
        let Some(entry) = self.entries.get(&key).filter(is_same) else {
            if rule.what.value == What::Set {
                self.begin(key, sight, total);
            }
            return rule.what.value == What::Set;
        };
        match rule.what.value {
            What::Set => {
                self.note(key, sight);
                true
            }
            What::Remove => {
                self.remove(key);
                true
            }
            What::Check | What::Update => {
                let since = sight.now.wrapping_sub(rule.seconds.wrapping_mul(HZ as u32).into());
                let is_met = entry.is_met(rule, since);
                // What an inverted rule says when it passes counts as well.
                let updates = rule.what.value == What::Update && rule.what.passes(is_met);
                if rule.reap {
                    self.reap(since, updates.then_some(key));
                }
                if updates {
                    self.note(key, sight);
                }
                is_met
            }
        }
    }

    fn key(&self, address: IpAddr) -> Key {
        let mut key = Key { family: Family::of(address), address: address_bytes(address) };
        key.address.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte &= mask);
        key
    }

    fn begin(&mut self, key: Key, sight: Sight, total: usize) {
        if self.entries.len() >= total
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.turn += 1;
        self.order.insert(self.turn, key);
        let entry = Entry { ttl: sight.ttl, next: 1, times: vec![sight.now], turn: self.turn };
        self.entries.insert(key, entry);
    }

    fn note(&mut self, key: Key, sight: Sight) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let next = entry.next & self.times_mask;
        match entry.times.get_mut(usize::from(next)) {
            Some(time) => *time = sight.now,
            None => entry.times.push(sight.now),
        }
        entry.next = next.wrapping_add(1);
        entry.ttl = sight.ttl;
        self.turn += 1;
        self.order.remove(&core::mem::replace(&mut entry.turn, self.turn));
        self.order.insert(self.turn, key);
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.order.remove(&entry.turn);
        }
    }

    /// Throws the address away that was noted longest ago, if that was before `since` and it is not
    /// about to be noted.
    fn reap(&mut self, since: u64, updated: Option<Key>) {
        let Some((_, &oldest)) = self.order.first_key_value() else { return };
        let last = self.entries.get(&oldest).map(|entry| entry.last(self.times_mask));
        if updated != Some(oldest) && last.is_some_and(|last| is_after(since, last)) {
            self.remove(oldest);
        }
    }
}

impl Entry {
    fn is_met(&self, rule: &Recent, since: u64) -> bool {
        let counts = |time: &&u64| rule.seconds == 0 || !is_after(since, **time);
        let needed = rule.hits.max(1) as usize;
        self.times.iter().filter(counts).take(needed).count() == needed
    }

    fn last(&self, times_mask: u16) -> u64 {
        let last = self.next.wrapping_sub(1) & times_mask;
        self.times.get(usize::from(last)).copied().unwrap_or_default()
    }
}

/// As the kernel compares times, which may wrap.
const fn is_after(time: u64, other: u64) -> bool {
    (other.wrapping_sub(time) as i64) < 0
}

/// Behind a mask of IPv4 that nobody wrote all bits are set.
fn mask(rule: &Recent) -> Address {
    let mut all = address_bytes(rule.mask);
    if !rule.masked {
        all[4..].fill(u8::MAX);
    }
    all
}

/// As /proc/net/xt_recent/NAME shows it, but that the addresses come in the order of their last
/// notes: the kernel's order is that of a secret hash.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in self.order.values() {
            let Some(entry) = self.entries.get(key) else { continue };
            let Entry { ttl, next, times, .. } = entry;
            let address = InFull { family: key.family, bytes: key.address };
            let last = entry.last(self.times_mask);
            write!(f, "src={address} ttl: {ttl} last_seen: {last} oldest_pkt: {next}")?;
            for (number, time) in times.iter().enumerate() {
                write!(f, "{} {time}", if number == 0 { "" } else { "," })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
