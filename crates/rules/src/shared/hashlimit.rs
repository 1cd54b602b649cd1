//! `-m hashlimit`'s tables: a bucket for each source, destination, or pair of them.
//!
//! A table belongs to a family and a name. How it counts (what tells its buckets apart, whether it
//! measures, the rate, the burst, how many and for how long) is what the first rule of the name
//! says; later rules only say which side of the limit they are on, and whether they count packets
//! or bytes.
//!
//! Three ways of counting. Packets: a bucket has credit, which time adds to and a packet takes its
//! cost from. Bytes: the same, credit being for one second, and a packet that does not fit may have
//! the bucket filled again as often as the burst says, ever. Measured: packets or bytes are counted
//! over an interval; a whole interval above the rate closes the next one.
//!
//! A bucket that nobody has asked for goes when the collector passes, which it does at each
//! interval since the table's first packet. A table that is full ends what would need a new bucket.
//!
//! Kernel counterpart: `net/netfilter/xt_hashlimit.c`, revision 3.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use stateward_wire::{Family, protocol};

use super::{Address, HZ, InFull, Users, address_bytes, masked, ticks};
use crate::context::View;
use crate::evaluate::Stop;
use crate::matches::connlimit::Bound;
use crate::matches::hashlimit::{Hashlimit, Rate, credits};

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    tables: BTreeMap<(Family, String), Table>,
}

/// One table.
#[derive(Debug)]
pub struct Table {
    /// The rule that made it.
    rule: Hashlimit,
    /// Buckets at most.
    most: usize,
    buckets: BTreeMap<Key, Bucket>,
    /// The tick of the next collection; none before the first packet.
    collect: Option<u64>,
    users: Users,
}

/// What tells buckets apart. What the table's mode does not ask for is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: Address,
    destination: Address,
    ports: [u16; 2],
}

#[derive(Debug)]
struct Bucket {
    /// The tick after which it may be collected.
    expires: u64,
    /// The tick of the last change.
    since: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Credit {
        credit: u64,
        /// The most there can be; for bytes, how often it may still be filled.
        cap: u64,
        cost: u64,
    },
    Measure {
        current: u64,
        exceeded: bool,
        rate: u64,
        burst: u64,
        /// In ticks.
        interval: u64,
    },
}

mod mode {
    pub(super) const DESTINATION: u8 = 1;
    pub(super) const DESTINATION_PORT: u8 = 2;
    pub(super) const SOURCE: u8 = 4;
    pub(super) const SOURCE_PORT: u8 = 8;
}

/// What a bucket of bytes gets in a tick, and can hold: a second.
const BYTES_PER_TICK: u64 = 1 << 24;
const BYTES_FULL: u64 = BYTES_PER_TICK * HZ;
/// What a bucket of packets gets in a tick.
const PER_TICK: u64 = 1 << 39;

impl Tables {
    /// A rule names a table.
    pub(super) fn join(&mut self, rule: &Hashlimit) {
        self.tables.entry((rule.family, rule.name.clone())).or_insert_with(|| Table::new(rule));
    }

    /// The tables that rules of `family` name from now on; what nobody names is gone.
    pub(super) fn keep(&mut self, family: Family, named: &BTreeSet<&str>) {
        self.tables.retain(|(of, name), table| {
            let used = *of == family && named.contains(name.as_str());
            *of != family || table.users.set(family, used)
        });
    }

    /// The tables with their families and names.
    pub fn iter(&self) -> impl Iterator<Item = (Family, &str, &Table)> {
        self.tables.iter().map(|((family, name), table)| (*family, name.as_str(), table))
    }

    /// Whether a packet is within the limit.
    pub(crate) fn ask(&mut self, rule: &Hashlimit, view: &View<'_>) -> Result<bool, Stop> {
        // Names are few: they are compared, not copied to look them up.
        let same = |(family, name): &(Family, String)| *family == rule.family && *name == rule.name;
        match self.tables.iter_mut().find(|(key, _)| same(key)) {
            Some((_, table)) => table.ask(rule, view),
            None => Ok(false),
        }
    }
}

impl Table {
    fn new(rule: &Hashlimit) -> Self {
        /// Of a machine with more than 1 GiB of memory.
        const SIZE: u32 = 8192;
        let size = if rule.size == 0 { SIZE } else { rule.size };
        let most = if rule.most == 0 { size.saturating_mul(8) } else { rule.most.max(size) };
        Self {
            rule: rule.clone(),
            most: most as usize,
            buckets: BTreeMap::new(),
            collect: None,
            users: Users::default(),
        }
    }

    fn ask(&mut self, rule: &Hashlimit, view: &View<'_>) -> Result<bool, Stop> {
        let now = ticks(view.context.now());
        let key = key(&self.rule, view).ok_or(Stop::Hotdrop)?;
        self.collect(now);
        let is_full = self.buckets.len() >= self.most;
        let bucket = match self.buckets.entry(key) {
            std::collections::btree_map::Entry::Occupied(found) => {
                let bucket = found.into_mut();
                bucket.earn(now, &self.rule);
                bucket
            }
            std::collections::btree_map::Entry::Vacant(_) if is_full => return Err(Stop::Hotdrop),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Bucket { expires: now, since: now, kind: Kind::of(&self.rule) })
            }
        };
        bucket.expires = now.saturating_add(in_ticks(self.rule.expire));
        let is_within = bucket.take(rule, view.packet.length() as u64);
        Ok(is_within == (rule.bound == Bound::UpTo))
    }

    /// What the collector has done by now: only its last pass matters, as nobody asked since.
    fn collect(&mut self, now: u64) {
        let interval = in_ticks(self.rule.collect).max(1);
        let next = *self.collect.get_or_insert(now.saturating_add(interval));
        let Some(late) = now.checked_sub(next) else { return };
        let pass = now - late % interval;
        self.collect = Some(pass.saturating_add(interval));
        self.buckets.retain(|_, bucket| bucket.expires > pass);
    }
}

impl Kind {
    fn of(rule: &Hashlimit) -> Self {
        let burst = u64::from(rule.burst);
        let interval = || u64::from(rule.measure.unwrap_or(1).wrapping_mul(HZ as u32));
        let measure = |rate, burst| Self::Measure {
            current: 0,
            exceeded: false,
            rate,
            burst,
            interval: interval(),
        };
        match rule.rate {
            Rate::Measured(rate) => measure(rate, burst.wrapping_add(rate)),
            Rate::Bytes(cost) if rule.measure.is_some() => {
                let rate = u32::MAX.checked_div(cost).unwrap_or(u32::MAX);
                let rate = u64::from(rate).wrapping_sub(1) << 4;
                measure(rate, if burst == 0 { rate } else { burst.wrapping_mul(rate) })
            }
            Rate::Bytes(cost) => {
                let cost = (u64::from(cost) * BYTES_FULL) >> 32;
                Self::Credit { credit: BYTES_FULL, cap: burst, cost }
            }
            Rate::Packets(every) => {
                let full = credits(every.wrapping_mul(burst));
                Self::Credit { credit: full, cap: full, cost: credits(every) }
            }
        }
    }
}

impl Bucket {
    /// What time has added.
    fn earn(&mut self, now: u64, rule: &Hashlimit) {
        let passed = now.saturating_sub(self.since);
        if passed == 0 {
            return;
        }
        match &mut self.kind {
            Kind::Measure { current, exceeded, rate, interval, .. } => {
                if passed < *interval {
                    return;
                }
                *exceeded = current.wrapping_mul(*interval) > passed.wrapping_mul(*rate);
                *current = 0;
            }
            Kind::Credit { credit, .. } if matches!(rule.rate, Rate::Bytes(_)) => {
                let sum = credit.wrapping_add(BYTES_PER_TICK.wrapping_mul(passed));
                *credit = if sum <= *credit { BYTES_FULL } else { sum.min(BYTES_FULL) };
            }
            Kind::Credit { credit, cap, .. } => {
                *credit = credit.wrapping_add(PER_TICK.wrapping_mul(passed)).min(*cap);
            }
        }
        self.since = now;
    }

    /// Whether a packet of `length` bytes is within the limit; if so it takes what it costs.
    fn take(&mut self, rule: &Hashlimit, length: u64) -> bool {
        let is_bytes = matches!(rule.rate, Rate::Bytes(_));
        match &mut self.kind {
            Kind::Measure { current, exceeded, burst, .. } => {
                *current = current.wrapping_add(if is_bytes { length } else { 1 });
                !*exceeded && *current <= *burst
            }
            Kind::Credit { credit, cap, cost } => {
                let cost = if is_bytes { bytes_cost(length, *cost) } else { *cost };
                if is_bytes && *credit < cost && *cap > 0 {
                    *cap -= 1;
                    *credit = BYTES_FULL;
                }
                let left = credit.checked_sub(cost);
                *credit = left.unwrap_or(*credit);
                left.is_some()
            }
        }
    }
}

/// Sixteen bytes, or what is begun of them, are the unit; one more is always counted.
fn bytes_cost(length: u64, cost: u64) -> u64 {
    ((length >> 4) + 1).wrapping_mul(cost).min(BYTES_FULL)
}

/// Milliseconds in ticks, of which one that is begun counts.
const fn in_ticks(milliseconds: u32) -> u64 {
    (milliseconds as u64).div_ceil(1000 / HZ)
}

/// The bucket of a packet; none if it lacks the ports that are asked for.
fn key(rule: &Hashlimit, view: &View<'_>) -> Option<Key> {
    let mut key = Key::default();
    let has = |bit| rule.mode & bit != 0;
    if has(mode::SOURCE) {
        key.source = masked(address_bytes(view.source), rule.source_length);
    }
    if has(mode::DESTINATION) {
        key.destination = masked(address_bytes(view.destination), rule.destination_length);
    }
    if has(mode::SOURCE_PORT | mode::DESTINATION_PORT) {
        let ports = ports(view)?;
        if has(mode::SOURCE_PORT) {
            key.ports[0] = ports[0];
        }
        if has(mode::DESTINATION_PORT) {
            key.ports[1] = ports[1];
        }
    }
    Some(key)
}

/// Both ports; zero where the protocol has none.
fn ports(view: &View<'_>) -> Option<[u16; 2]> {
    let (protocol, upper) = match (view.packet.upper(), view.packet.family()) {
        (Some(upper), _) => (upper.protocol, view.packet.l4()),
        (None, Family::V6) if view.is_later_fragment() => return Some([0; 2]),
        (None, _) => return None,
    };
    let upper = match protocol {
        protocol::TCP
        | protocol::UDP
        | protocol::DCCP
        | protocol::ESP
        | protocol::SCTP
        | protocol::UDPLITE => upper,
        protocol::AH => upper.get(4..)?,
        _ => return Some([0; 2]),
    };
    let &[a, b, c, d] = upper.first_chunk()?;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}

/// As /proc/net/ipt_hashlimit/NAME shows it at the tick of the last packet, but that the buckets
/// come in the order of their addresses and that nothing is added for the time since.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes| InFull { family: self.rule.family, bytes };
        for (key, bucket) in &self.buckets {
            let Key { source, destination, ports: [from, to] } = *key;
            let (source, destination) = (shown(source), shown(destination));
            let (one, two, three) = match bucket.kind {
                Kind::Credit { credit, cap, cost } => (credit, cap, cost),
                Kind::Measure { current, exceeded, rate, interval, .. } => {
                    ((interval / HZ) | (u64::from(exceeded) << 32), current, rate)
                }
            };
            let left = bucket.expires.saturating_sub(bucket.since) / HZ;
            writeln!(f, "{left} {source}:{from}->{destination}:{to} {one} {two} {three}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
