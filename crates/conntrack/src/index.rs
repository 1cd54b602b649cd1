//! The index: from the hash of a tuple to the slots that may hold it, one cache line a look.
//!
//! A bucket is one line of nine (tag, slot) pairs. The hash gives the bucket and a 16-bit tag; a
//! tag that is equal by chance costs one look at an entry (1 in 7,000 looks at a full bucket). A
//! bucket that is full sends what comes next to its neighbour and counts it in `overflow`, so that
//! a miss is known after one line wherever nothing overflowed, which at the sizes below is nearly
//! everywhere. Removing counts back along the same way: there are no tombstones and nothing is ever
//! rehashed.
//!
//! The hash is keyed with a secret seed (SipHash-1-3, as the kernel uses), so that nobody can
//! choose ports that meet in one bucket. It is symmetric: a tuple and its inverse meet in one
//! place, and a connection without NAT is found by one key from both sides.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::entry::NONE;
use crate::memory::Region;
use crate::prefetch::prefetch;
use crate::tuple::{Key, Tuple};

/// Pairs in a bucket.
const WIDTH: usize = 9;

/// How many buckets an insertion may look at before it gives up (`chaintoolong`).
const MAX_PROBES: usize = 64;

/// One cache line of the index.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    tags: [u16; WIDTH],
    /// One bit a pair that is in use.
    used: u16,
    slots: [u32; WIDTH],
    /// Pairs that belong here or before, and live further on. Stays at its maximum once there.
    overflow: u16,
    _unused: [u16; 3],
}

/// Where a tuple belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    bucket: u32,
    tag: u16,
}

impl Place {
    #[cfg(test)]
    pub(crate) fn bucket(self) -> usize {
        self.bucket as usize
    }
}

/// The secret of the hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seed(pub(crate) u64, pub(crate) u64);

impl Seed {
    /// The hash function that this seed picks.
    fn hasher(self) -> Hasher {
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        first_half_round(&mut v);
        Hasher(v)
    }
}

/// SipHash-1-3 of whole words, as far as it goes before the first word. The general hasher spends
/// as much on its buffer for odd bytes as on the rounds (profile: 11 % of a packet's time); a test
/// holds the rounds equal to its.
struct Hasher([u64; 4]);

impl Hasher {
    #[inline(always)]
    fn hash(&self, first: u64, rest: &[u64]) -> u64 {
        let mut v = self.0;
        v[3] ^= first;
        second_half_round(&mut v);
        v[0] ^= first;
        for &word in rest {
            v[3] ^= word;
            sip_round(&mut v);
            v[0] ^= word;
        }
        // Without SipHash's last block, the length: it tells inputs of different lengths apart, and
        // here each family has one. A round is a sixth of the whole.
        v[2] ^= 0xff;
        for _ in 0..3 {
            sip_round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline]
fn sip_round(v: &mut [u64; 4]) {
    first_half_round(v);
    second_half_round(v);
}

/// What a round does before it needs the word, which goes into the last quarter.
#[inline]
fn first_half_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
}

#[inline]
fn second_half_round(v: &mut [u64; 4]) {
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// The index.
pub(crate) struct Index {
    buckets: Region<Bucket>,
    hasher: Hasher,
}

impl Index {
    /// Buckets for `capacity` connections: 3.5 pairs each on average without NAT, 7 with.
    pub(crate) fn buckets_for(capacity: usize) -> usize {
        (capacity * 2 / 7).max(16)
    }

    /// An index over zeroed memory; at least one bucket.
    pub(crate) fn new(buckets: Region<Bucket>, seed: Seed) -> Index {
        debug_assert!(!buckets.is_empty());
        Index { buckets, hasher: seed.hasher() }
    }

    /// Where a tuple, and its inverse, belong. Inlined where the tuple is made: read back from
    /// memory in other pieces than it was written in, it would be waited for.
    #[inline(always)]
    pub(crate) fn place(&self, tuple: &Tuple) -> Place {
        let hash = match tuple.key.version {
            4 => self.hash(tuple.key.words()),
            _ => self.hash_v6(*tuple),
        };
        self.place_by(hash)
    }

    /// The hash of a tuple's source alone.
    pub(crate) fn hash_of_source(&self, tuple: &Tuple) -> u64 {
        let source = tuple.source_only();
        match source.key.version {
            4 => self.hash(source.key.words_of_ports()),
            _ => self.hash_v6(source),
        }
    }

    /// As [`Index::place`] for a key of IPv4 and a protocol with ports.
    #[inline(always)]
    pub(crate) fn place_of_ports(&self, key: &Key) -> Place {
        self.place_by(self.hash(key.words_of_ports()))
    }

    #[inline(always)]
    fn place_by(&self, hash: u64) -> Place {
        // Lemire's reduction: the high half picks the bucket, the low bits are the tag.
        let bucket = (((hash >> 32) * self.buckets.len() as u64) >> 32) as u32;
        Place { bucket, tag: hash as u16 }
    }

    #[inline(never)]
    fn hash_v6(&self, tuple: Tuple) -> u64 {
        self.hash(tuple.key.words_v6(&tuple.pair))
    }

    #[inline(always)]
    fn hash<const WORDS: usize>(&self, words: [u64; WORDS]) -> u64 {
        let [first, rest @ ..] = words.as_slice() else { return 0 };
        self.hasher.hash(*first, rest)
    }

    /// Starts fetching the line of a place.
    #[inline]
    pub(crate) fn prefetch(&self, place: Place) {
        if let Some(bucket) = self.buckets.get(place.bucket as usize) {
            prefetch(bucket);
        }
    }

    /// The first slot that may hold the tuple at `place`: a hint for fetching it early.
    #[inline]
    pub(crate) fn first_candidate(&self, place: Place) -> Option<u32> {
        let bucket = self.buckets.get(place.bucket as usize)?;
        let matches = bucket.matches(place.tag);
        bucket.slots.get(matches.trailing_zeros() as usize).copied()
    }

    /// The first slot at `place` for which `is_it` gives something, and what it gives.
    #[inline(always)]
    pub(crate) fn find<T>(
        &self,
        place: Place,
        mut is_it: impl FnMut(u32) -> Option<T>,
    ) -> Option<(u32, T)> {
        let bucket = self.buckets.get(place.bucket as usize)?;
        let found = bucket.find(place.tag, &mut is_it);
        if found.is_none() && bucket.overflow != 0 {
            return self.find_further(place, is_it);
        }
        found
    }

    /// In the buckets after the first, for as long as something overflowed from each.
    #[inline(never)]
    fn find_further<T>(
        &self,
        place: Place,
        mut is_it: impl FnMut(u32) -> Option<T>,
    ) -> Option<(u32, T)> {
        let mut at = place.bucket as usize;
        for _ in 1..MAX_PROBES {
            at = self.after(at);
            let bucket = self.buckets.get(at)?;
            let found = bucket.find(place.tag, &mut is_it);
            if found.is_some() || bucket.overflow == 0 {
                return found;
            }
        }
        None
    }

    /// Puts a slot at `place`. False: there is no room near.
    #[must_use]
    pub(crate) fn insert(&mut self, place: Place, slot: u32) -> bool {
        let Some(distance) = self.room(place) else { return false };
        let mut at = place.bucket as usize;
        for _ in 0..distance {
            if let Some(bucket) = self.buckets.get_mut(at) {
                bucket.overflow = bucket.overflow.saturating_add(1);
            }
            at = self.after(at);
        }
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.put(place.tag, slot);
        }
        true
    }

    /// Buckets to go from `place` to one with room.
    fn room(&self, place: Place) -> Option<usize> {
        let mut at = place.bucket as usize;
        for distance in 0..MAX_PROBES.min(self.buckets.len()) {
            if !self.buckets.get(at)?.is_full() {
                return Some(distance);
            }
            at = self.after(at);
        }
        None
    }

    /// Takes a slot from `place`; does nothing if it is not there.
    pub(crate) fn remove(&mut self, place: Place, slot: u32) {
        let home = place.bucket as usize;
        let mut at = home;
        for distance in 0..MAX_PROBES {
            let Some(bucket) = self.buckets.get_mut(at) else { return };
            if bucket.take(place.tag, slot) {
                self.forget_overflow(home, distance);
                return;
            }
            at = self.after(at);
        }
    }

    fn forget_overflow(&mut self, home: usize, distance: usize) {
        let mut at = home;
        for _ in 0..distance {
            if let Some(bucket) = self.buckets.get_mut(at)
                && bucket.overflow != u16::MAX
            {
                bucket.overflow = bucket.overflow.saturating_sub(1);
            }
            at = self.after(at);
        }
    }

    /// The slots in the `n`th bucket from `place` on.
    pub(crate) fn neighbours(&self, place: Place, n: usize) -> impl Iterator<Item = u32> + use<> {
        let at = (place.bucket as usize + n) % self.buckets.len();
        let bucket = self.buckets.get(at).copied();
        (0..WIDTH).filter_map(move |pair| {
            let bucket = bucket.as_ref()?;
            (bucket.used >> pair & 1 == 1).then(|| bucket.slots.get(pair).copied())?
        })
    }

    /// How many pairs the fullest bucket holds, with what overflowed from it.
    #[cfg(test)]
    pub(crate) fn fullest(&self) -> usize {
        let load = |bucket: &Bucket| bucket.used.count_ones() as usize + bucket.overflow as usize;
        self.buckets.iter().map(load).max().unwrap_or(0)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }
}

impl Bucket {
    /// One bit for each used pair that has this tag. Written so that the compiler compares the tags
    /// at once: 20 instructions, where bits gathered from 64-bit words take 50.
    #[inline]
    fn matches(&self, tag: u16) -> u16 {
        let mut matches = 0;
        for (pair, other) in self.tags.iter().enumerate() {
            matches |= u16::from(*other == tag) << pair;
        }
        matches & self.used
    }

    #[inline]
    fn find<T>(&self, tag: u16, is_it: &mut impl FnMut(u32) -> Option<T>) -> Option<(u32, T)> {
        let mut matches = self.matches(tag);
        while matches != 0 {
            let pair = matches.trailing_zeros() as usize;
            matches &= matches - 1;
            let slot = self.slots.get(pair).copied().unwrap_or(NONE);
            if let Some(found) = is_it(slot) {
                return Some((slot, found));
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        self.used == (1 << WIDTH) - 1
    }

    fn put(&mut self, tag: u16, slot: u32) {
        let pair = (!self.used).trailing_zeros() as usize;
        if let (Some(tags), Some(slots)) = (self.tags.get_mut(pair), self.slots.get_mut(pair)) {
            *tags = tag;
            *slots = slot;
            self.used |= 1 << pair;
        }
    }

    fn take(&mut self, tag: u16, slot: u32) -> bool {
        let mut matches = self.matches(tag);
        while matches != 0 {
            let pair = matches.trailing_zeros() as usize;
            matches &= matches - 1;
            if self.slots.get(pair) == Some(&slot) {
                self.used &= !(1 << pair);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(buckets: usize) -> Index {
        Index::new(Region::zeroed(buckets), Seed(1, 2))
    }

    #[test]
    fn a_bucket_is_one_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    #[test]
    fn the_hash_is_siphash_1_3() {
        use core::hash::Hasher;
        let seed = Seed(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        for n in 0..1000u64 {
            // The judge's last block, given as a word.
            let words = [n.wrapping_mul(0x9e37_79b9_7f4a_7c15), !n, 16 << 56];
            let mut judge = siphasher::sip::SipHasher13::new_with_keys(seed.0, seed.1);
            judge.write(words[..2].as_bytes());
            assert_eq!(seed.hasher().hash(words[0], &words[1..]), judge.finish());
        }
    }

    #[test]
    fn what_overflows_is_found_and_can_be_removed_again() {
        let mut index = index(16);
        let place = Place { bucket: 15, tag: 7 };
        for slot in 0..25 {
            assert!(index.insert(place, slot));
        }
        for slot in 0..25 {
            assert!(index.find(place, |s| (s == slot).then_some(())).is_some());
        }
        for slot in (0..25).rev() {
            index.remove(place, slot);
            assert!(index.find(place, |s| (s == slot).then_some(())).is_none());
        }
        assert_eq!(index.fullest(), 0, "no trace is left");
    }

    #[test]
    fn a_full_index_refuses() {
        let mut index = index(16);
        let place = Place { bucket: 3, tag: 7 };
        let fitted = (0..200).filter(|&slot| index.insert(place, slot)).count();
        assert_eq!(fitted, 16 * WIDTH);
    }
}
