//! What is to be expected of a choice, and Pearson's chi-square of what came.

use std::fmt;

use super::Counts;

/// How seldom chance alone is to fail a test: in one of 100,000 cases. The quantile of the normal
/// distribution that belongs to it.
pub(crate) const LEVEL: f64 = 4.265;
/// Groups of ports that are counted as one, at most.
const GROUPS: usize = 64;

/// The probability of each port of a range: that the first free one from a random one on is it.
pub(crate) struct Expected {
    first: u16,
    probabilities: Vec<f64>,
}

/// A sum of squares, and how large chance alone makes it in nearly all cases.
pub(crate) struct Square {
    sum: f64,
    freedom: usize,
    /// Something came that never should.
    impossible: u64,
}

impl Expected {
    /// Of the ports of a range, but for those that are taken.
    pub(crate) fn of([first, last]: [u16; 2], taken: &[u16]) -> Self {
        let size = usize::from(last - first) + 1;
        let mut weights = vec![0u32; size];
        for drawn in 0..=usize::from(u16::MAX) {
            let free = (0..size)
                .map(|further| (drawn % size + further) % size)
                .find(|place| !taken.contains(&(first + *place as u16)));
            weights[free.expect("one is free")] += 1;
        }
        let probabilities = weights.iter().map(|weight| f64::from(*weight) / 65_536.0).collect();
        Self { first, probabilities }
    }

    /// The group that a port counts into, if it is in the range.
    fn group(&self, port: u16) -> Option<usize> {
        let place = usize::from(port.checked_sub(self.first)?);
        let size = self.probabilities.len();
        (place < size).then(|| place * GROUPS.min(size) / size)
    }

    fn groups(&self) -> Vec<f64> {
        let mut groups = vec![0.0; GROUPS.min(self.probabilities.len())];
        for (place, probability) in self.probabilities.iter().enumerate() {
            let group = self.group(self.first + place as u16).expect("it is in the range");
            groups[group] += probability;
        }
        groups
    }

    fn count(&self, counts: &Counts) -> (Vec<f64>, u64) {
        let mut groups = vec![0.0; GROUPS.min(self.probabilities.len())];
        let mut impossible = 0;
        for (port, count) in counts {
            let group = self.group(*port);
            let possible = self.probabilities.get(usize::from(port.wrapping_sub(self.first)));
            match group.filter(|_| possible.is_some_and(|possible| *possible > 0.0)) {
                Some(group) => groups[group] += *count as f64,
                None => impossible += count,
            }
        }
        (groups, impossible)
    }

    /// How far what came is from this.
    pub(crate) fn square(&self, counts: &Counts) -> Square {
        let (came, impossible) = self.count(counts);
        let all: f64 = came.iter().sum();
        let groups: Vec<(f64, f64)> =
            came.into_iter().zip(self.groups()).filter(|(_, p)| *p > 0.0).collect();
        let square = |(came, p): &(f64, f64)| (came - p * all).powi(2) / (p * all);
        Square {
            sum: groups.iter().map(square).sum(),
            freedom: groups.len().saturating_sub(1),
            impossible,
        }
    }

    /// How far two are from each other.
    pub(crate) fn between(&self, one: &Counts, other: &Counts) -> Square {
        let ((ones, odd), (others, odder)) = (self.count(one), self.count(other));
        let all = |counts: &[f64]| counts.iter().sum::<f64>();
        let ratio = (all(&others) / all(&ones)).sqrt();
        let groups: Vec<(f64, f64)> =
            ones.into_iter().zip(others).filter(|(a, b)| a + b > 0.0).collect();
        let square = |(a, b): &(f64, f64)| (ratio * a - b / ratio).powi(2) / (a + b);
        Square {
            sum: groups.iter().map(square).sum(),
            freedom: groups.len().saturating_sub(1),
            impossible: odd + odder,
        }
    }
}

impl Square {
    /// What chance alone exceeds in one of 100,000 cases (Wilson and Hilferty 1931).
    fn limit(&self) -> f64 {
        let part = 2.0 / (9.0 * self.freedom.max(1) as f64);
        self.freedom as f64 * (1.0 - part + LEVEL * part.sqrt()).powi(3)
    }

    /// Whether chance explains it.
    pub(crate) fn is_likely(&self) -> bool {
        self.impossible == 0 && self.sum <= self.limit()
    }
}

impl fmt::Display for Square {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sum, freedom, impossible } = self;
        write!(
            f,
            "chi-square {sum:.1} of {freedom} degrees of freedom, at most {:.1}",
            self.limit()
        )?;
        if *impossible > 0 {
            write!(f, ", and {impossible} that cannot be")?;
        }
        Ok(())
    }
}
