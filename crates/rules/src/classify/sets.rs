//! Sets of rules as words of bits with the words' places: empty words take no room.

/// Bits in a word.
pub(super) const WORD: usize = 64;

/// Many sets, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Sets {
    places: Vec<u32>,
    bits: Vec<u64>,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set {
    start: u32,
    end: u32,
}

impl Sets {
    /// Adds a set of ascending numbers.
    pub(super) fn add(&mut self, numbers: &[u32]) -> Set {
        let start = self.places.len();
        for number in numbers {
            let place = number / WORD as u32;
            let bit = 1u64 << (number % WORD as u32);
            let is_there = self.places.len() > start && self.places.last() == Some(&place);
            match self.bits.last_mut().filter(|_| is_there) {
                Some(bits) => *bits |= bit,
                None => {
                    self.places.push(place);
                    self.bits.push(bit);
                }
            }
        }
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Set { start: place(start), end: place(self.places.len()) }
    }

    /// The first word of `set` at `place` or behind it.
    #[inline]
    pub(super) fn next_word(&self, set: Set, place: u32) -> Option<(u32, u64)> {
        let Set { start, end } = set;
        let places = self.places.get(start as usize..end as usize)?;
        let first = *places.first()?;
        // Dense sets, and sets of one word, are where they would be without gaps.
        let guess = place.saturating_sub(first) as usize;
        let at = match places.get(guess) {
            Some(found) if *found == place || guess == 0 => guess,
            _ => places.partition_point(|one| *one < place),
        };
        Some((*places.get(at)?, *self.bits.get(start as usize + at)?))
    }
}
