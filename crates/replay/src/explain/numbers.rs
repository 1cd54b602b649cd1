//! Numbers of packets: `3`, `5-9`, `12-`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Some packets, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(Vec<RangeInclusive<u64>>);

impl Numbers {
    /// All there are.
    pub fn all() -> Self {
        Self(vec![1..=u64::MAX])
    }

    /// One packet.
    pub fn one(number: u64) -> Self {
        Self(vec![number..=number])
    }

    /// The first of them.
    pub fn first(&self) -> Option<u64> {
        self.0.iter().map(|range| *range.start()).min()
    }

    /// Whether a packet is among them.
    pub fn has(&self, number: u64) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }
}

impl FromIterator<Numbers> for Numbers {
    fn from_iter<I: IntoIterator<Item = Numbers>>(parts: I) -> Self {
        Self(parts.into_iter().flat_map(|part| part.0).collect())
    }
}

/// A text is no number of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumbersError;

impl fmt::Display for NumbersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packets are counted from 1: as 3, 5-9 or 12-")
    }
}

impl std::error::Error for NumbersError {}

impl FromStr for Numbers {
    type Err = NumbersError;

    fn from_str(text: &str) -> Result<Self, NumbersError> {
        let number = |text: &str| match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(NumbersError),
        };
        let part = |part: &str| match part.split_once('-') {
            None => number(part).map(|one| one..=one),
            Some((first, "")) => number(first).map(|first| first..=u64::MAX),
            Some((first, last)) => match (number(first)?, number(last)?) {
                (first, last) if first <= last => Ok(first..=last),
                _ => Err(NumbersError),
            },
        };
        text.split(',').map(part).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_single_or_ranges() {
        let numbers: Numbers = "3,5-7,100-".parse().unwrap();
        let found: Vec<_> = (1..12).filter(|number| numbers.has(*number)).collect();
        assert_eq!(found, [3, 5, 6, 7]);
        assert!(numbers.has(100) && numbers.has(u64::MAX) && !numbers.has(99));
        for wrong in ["", "0", "x", "7-5", "-3", "1,,2", "1-2-3"] {
            assert_eq!(wrong.parse::<Numbers>(), Err(NumbersError), "{wrong}");
        }
    }
}
