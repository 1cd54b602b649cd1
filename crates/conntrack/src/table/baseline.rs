//! The table beside the obvious design: a slab under a `hashbrown::HashTable` with both keys.
//!
//! The same entries, the same hash function, the same connections in the same random order. The
//! baseline keeps no timers, so that its insertions do less. To measure, on a machine with nothing
//! else to do:
//!
//!     cargo test --release -p stateward-conntrack -- --ignored --nocapture baseline

use std::net::Ipv4Addr;
use std::time::Instant as Clock;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use stateward_wire::protocol;
use zerocopy::IntoBytes;

use super::*;
use crate::tuple::L4Key;

const CONNECTIONS: u32 = 1_000_000;
const SPARE: u32 = 65_536;
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

/// Tuples of connections at random, either direction.
fn at_random(count: usize, seed: &mut u64) -> Vec<Tuple> {
    let mut random = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    };
    let mut one = || {
        let random = random();
        let tuple = tuple((((random >> 32) * u64::from(CONNECTIONS)) >> 32) as u32);
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

#[test]
#[ignore = "measures; run it in release and alone"]
fn the_table_beside_a_slab_under_hashbrown() {
    const LOOKUPS: usize = 1 << 20;
    let mut seed = 88_172_645_463_325_252;
    let capacity = CONNECTIONS + SPARE;
    let fresh = CONNECTIONS..capacity;

    let mut table = Table::new(capacity as usize, Seed(1, 2), &mut Arena::none());
    for n in 0..CONNECTIONS {
        enter(&mut table, n);
    }
    let wanted = at_random(LOOKUPS, &mut seed);
    let look = nanoseconds(LOOKUPS, || {
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
    let change = nanoseconds(SPARE as usize, || {
        let slots: Vec<u32> = fresh.clone().map(|n| enter(&mut table, n)).collect();
        slots.into_iter().for_each(|slot| table.unlink(slot));
    });
    let bytes = size_of::<Entry>() as f64
        + (Index::buckets_for(capacity as usize) * size_of::<Bucket>()) as f64
            / f64::from(capacity);
    println!("table:    lookup {look:.0} ns, insert and remove {change:.0} ns, {bytes:.0} bytes");
    drop(table);

    let mut baseline = Baseline::new();
    for n in 0..CONNECTIONS {
        let tuple = tuple(n);
        baseline.insert(tuple.key, tuple.inverse().unwrap().key);
    }
    let look = nanoseconds(LOOKUPS, || {
        for tuple in &wanted {
            touch(baseline.find(&tuple.key).unwrap());
        }
    });
    let change = nanoseconds(SPARE as usize, || {
        for n in fresh.clone() {
            let tuple = tuple(n);
            baseline.insert(tuple.key, tuple.inverse().unwrap().key);
        }
        for n in fresh.clone() {
            let tuple = tuple(n);
            baseline.remove(&tuple.key, &tuple.inverse().unwrap().key);
        }
    });
    let bytes = size_of::<Entry>() as f64
        + baseline.index.allocation_size() as f64 / f64::from(CONNECTIONS);
    println!("baseline: lookup {look:.0} ns, insert and remove {change:.0} ns, {bytes:.0} bytes");
}
