//! Sets of rules as words of bits with the words' places: empty words take no room.

/// Bits in a word.
pub(super) const WORD: usize = 64;

/// Many sets, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Sets {
    places: Vec<u32>,
    bits: Vec<u64>,
}

/// One of them: its first word, which often is all of it, and where the others are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    place: u32,
    start: u32,
    bits: u64,
    end: u32,
}

impl Sets {
    /// Adds a set of ascending numbers.
    pub(super) fn add(&mut self, numbers: &[u32]) -> Set {
        let start = self.places.len();
        let mut set = Set { place: u32::MAX, bits: 0, start: at(start), end: at(start) };
        for number in numbers {
            let place = number / WORD as u32;
            let bit = 1u64 << (number % WORD as u32);
            if set.bits == 0 || set.place == place {
                (set.place, set.bits) = (place, set.bits | bit);
                continue;
            }
            let is_there = self.places.len() > start && self.places.last() == Some(&place);
            match self.bits.last_mut().filter(|_| is_there) {
                Some(bits) => *bits |= bit,
                None => {
                    self.places.push(place);
                    self.bits.push(bit);
                }
            }
        }
        set.end = at(self.places.len());
        set
    }

    /// The first word of `set` at `place` or behind it.
    #[inline]
    pub(super) fn next_word(&self, set: &Set, place: u32) -> Option<(u32, u64)> {
        if set.place >= place {
            return Some((set.place, set.bits));
        }
        let places = self.places.get(set.start as usize..set.end as usize)?;
        let first = *places.first()?;
        // Dense sets are where they would be without gaps.
        let guess = place.saturating_sub(first) as usize;
        let at = match places.get(guess) {
            Some(found) if *found == place || guess == 0 => guess,
            _ => places.partition_point(|one| *one < place),
        };
        Some((*places.get(at)?, *self.bits.get(set.start as usize + at)?))
    }
}

fn at(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
