//! The table beside the obvious design: a slab under a `hashbrown::HashTable` with both keys.
//!
//! The same entries, the same hash function, the same connections in the same random order: both
//! must find the same. The baseline keeps no timers, so that its insertions do less. What each
//! costs is printed; to measure, give as many connections as the essay of [`table`](crate::table)
//! has figures for, on a machine with nothing else to do:
//!
//!     STATEWARD_BASELINE=1000000 cargo test --release -p stateward-conntrack -- --nocapture
//!     baseline

use std::net::Ipv4Addr;
use std::time::Instant as Clock;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use stateward_wire::protocol;
use zerocopy::IntoBytes;

use super::*;
use crate::tuple::{L4Key, Zone};

/// Connections, unless the environment asks for another number.
const FEW: u32 = 5_000;
const BURST: usize = 32;
const ROUNDS: usize = 9;

/// A slab of entries and, for each of both keys, its slot and direction.
struct Baseline {
    slab: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: SipHasher13,
}

impl Baseline {
    fn new() -> Baseline {
        Baseline {
            slab: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: SipHasher13::new_with_keys(1, 2),
        }
    }

    fn hash(hasher: &SipHasher13, key: &Key) -> u64 {
        hasher.hash(key.as_bytes())
    }

    fn key(slab: &[Entry], item: u32) -> &Key {
        let entry = &slab[(item >> 1) as usize];
        if item & 1 == 0 { &entry.original } else { &entry.reply }
    }

    fn find(&mut self, key: &Key) -> Option<&mut Entry> {
        let hash = Baseline::hash(&self.hasher, key);
        let item = self.index.find(hash, |&item| Baseline::key(&self.slab, item) == key)?;
        self.slab.get_mut((item >> 1) as usize)
    }

    fn insert(&mut self, original: Key, reply: Key) {
        if self.find(&original).is_some() {
            return;
        }
        let entry = Entry::new(original, reply);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = entry;
                slot
            }
            None => {
                self.slab.push(entry);
                self.slab.len() as u32 - 1
            }
        };
        let Baseline { slab, index, hasher, .. } = self;
        for item in [slot << 1, slot << 1 | 1] {
            let hash = Baseline::hash(hasher, Baseline::key(slab, item));
            index.insert_unique(hash, item, |&item| {
                Baseline::hash(hasher, Baseline::key(slab, item))
            });
        }
    }

    fn remove(&mut self, original: &Key, reply: &Key) {
        let Baseline { slab, index, hasher, free } = self;
        for key in [original, reply] {
            let hash = Baseline::hash(hasher, key);
            let found = index.find_entry(hash, |&item| Baseline::key(slab, item) == key);
            let (item, _) = found.unwrap().remove();
            if item & 1 == 0 {
                free.push(item >> 1);
            }
        }
    }
}

fn tuple(n: u32) -> Tuple {
    let client = Ipv4Addr::from_bits(0x0a00_0002 + n / 64_000);
    let server = Ipv4Addr::new(198, 51, 100, 2);
    let l4 = L4Key::Ports { source: 1024 + (n % 64_000) as u16, destination: 80 };
    Tuple::new(client.into(), server.into(), protocol::TCP, l4, Zone::DEFAULT).unwrap()
}

/// Tuples of the first `connections` at random, either direction.
fn at_random(connections: u32, count: usize, seed: &mut u64) -> Vec<Tuple> {
    let mut random = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    };
    let mut one = || {
        let random = random();
        let tuple = tuple((((random >> 32) * u64::from(connections)) >> 32) as u32);
        if random & 1 == 0 { tuple } else { tuple.inverse().unwrap() }
    };
    (0..count).map(|_| one()).collect()
}

/// What a packet does at least: both lines of its entry are read and written.
fn touch(entry: &mut Entry) {
    entry.deadline += 1;
    entry.l4[0] = entry.l4[0].wrapping_add(1);
}

/// The median over rounds of nanoseconds for each of `count`.
#[expect(clippy::disallowed_methods, reason = "measures")]
fn nanoseconds(count: usize, mut round: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Clock::now();
            round();
            began.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn enter(table: &mut Table, n: u32) -> u32 {
    let tuple = tuple(n);
    let place = table.place(&tuple);
    let mut conn = Unconfirmed::new(tuple, tuple.inverse().unwrap(), place);
    conn.entry.deadline = Instant::from_secs(120 + u64::from(n)).0;
    table.insert(&mut conn, Instant::default()).unwrap().slot
}

/// What the table costs: nanoseconds a lookup, and an insertion with its removal; bytes an entry.
fn measure_table(connections: u32, spare: u32, wanted: &[Tuple]) -> (Table, [f64; 3]) {
    let capacity = connections + spare;
    let mut table = Table::new(capacity as usize, Seed(1, 2), &mut Arena::none());
    for n in 0..connections {
        enter(&mut table, n);
    }
    let look = nanoseconds(wanted.len(), || {
        for burst in wanted.chunks(BURST) {
            let mut places = [None; BURST];
            for (tuple, to) in burst.iter().zip(&mut places) {
                let place = table.place(tuple);
                table.prefetch(place);
                *to = Some(place);
            }
            for &place in places.iter().flatten() {
                table.prefetch_entry(place);
            }
            for (tuple, place) in burst.iter().zip(places.into_iter().flatten()) {
                let (slot, _) = table.find_at(place, tuple).unwrap();
                touch(table.entry_mut(slot).unwrap());
            }
        }
    });
    let change = nanoseconds(spare as usize, || {
        let slots: Vec<u32> = (connections..capacity).map(|n| enter(&mut table, n)).collect();
        slots.into_iter().for_each(|slot| table.unlink(slot));
    });
    let index = Index::buckets_for(capacity as usize) * size_of::<Bucket>();
    let bytes = size_of::<Entry>() as f64 + index as f64 / f64::from(capacity);
    (table, [look, change, bytes])
}

/// As [`measure_table`] for the baseline.
fn measure_baseline(connections: u32, spare: u32, wanted: &[Tuple]) -> (Baseline, [f64; 3]) {
    let mut baseline = Baseline::new();
    for n in 0..connections {
        let tuple = tuple(n);
        baseline.insert(tuple.key, tuple.inverse().unwrap().key);
    }
    let look = nanoseconds(wanted.len(), || {
        for tuple in wanted {
            touch(baseline.find(&tuple.key).unwrap());
        }
    });
    let change = nanoseconds(spare as usize, || {
        for n in connections..connections + spare {
            let tuple = tuple(n);
            baseline.insert(tuple.key, tuple.inverse().unwrap().key);
        }
        for n in connections..connections + spare {
            let tuple = tuple(n);
            baseline.remove(&tuple.key, &tuple.inverse().unwrap().key);
        }
    });
    let index = baseline.index.allocation_size() as f64 / f64::from(connections);
    (baseline, [look, change, size_of::<Entry>() as f64 + index])
}

#[test]
fn the_table_finds_what_a_slab_under_hashbrown_finds() {
    let asked = std::env::var("STATEWARD_BASELINE").ok().and_then(|number| number.parse().ok());
    let connections = asked.unwrap_or(FEW);
    let spare = (connections / 16).max(100);
    let mut seed = 88_172_645_463_325_252;
    let wanted = at_random(connections, connections as usize, &mut seed);

    let (table, ours) = measure_table(connections, spare, &wanted);
    let (mut baseline, theirs) = measure_baseline(connections, spare, &wanted);
    for (name, [look, change, bytes]) in [("table", ours), ("baseline", theirs)] {
        println!("{name}: lookup {look:.0} ns, in and out {change:.0} ns, {bytes:.0} bytes");
    }
    for tuple in (0..connections + spare).map(tuple) {
        let there = baseline.find(&tuple.key).map(|entry| entry.original);
        let slot = table.find(&tuple).map(|(slot, _)| slot);
        let here = slot.and_then(|slot| table.entry(slot)).map(|entry| entry.original);
        assert_eq!(here, there, "{tuple:?}");
    }
}
