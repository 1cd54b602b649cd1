//! Where the kernel is random: a seeded generator, and what a driver wishes it to say.
//!
//! A replay that is held against a real machine knows what that machine's generator said: the port
//! stands in the packet that left. It may wish for it. A wish is granted only where the kernel's
//! choice is random, and only inside the set that the kernel chooses from; else it does nothing.

/// The ports, ICMP ids or GRE keys that the next packet's connection should get, and those that it
/// announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    /// In the source.
    pub source: Option<u16>,
    /// In the destination.
    pub destination: Option<u16>,
    /// What helpers announce in place of ports that are not free, in this order.
    pub announced: [Option<u16>; 4],
}

impl Wish {
    /// Nothing is wished for.
    pub const NONE: Wish = Wish { source: None, destination: None, announced: [None; 4] };
}

/// The generator. Equal seeds choose alike.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
    wish: Wish,
}

impl Chance {
    /// A generator that begins here.
    pub const fn new(seed: u64) -> Chance {
        Chance { state: seed, wish: Wish::NONE }
    }

    /// Wishes for the packet that comes next, instead of what was wished before.
    pub const fn set_wish(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// What is wished for.
    pub const fn wish(&self) -> Wish {
        self.wish
    }

    /// A number below `bound`, up to 65536; 0 if that is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(bound)) >> 16) as u32
    }

    /// A port from `lowest` on, the wished one if there is one; never the last that there is, but for
    /// that itself.
    pub fn port_above(&mut self, lowest: u16) -> u16 {
        let wished = self.wish.announced.iter_mut().find_map(Option::take);
        wished
            .filter(|port| *port >= lowest)
            .unwrap_or_else(|| lowest + self.below(u32::from(u16::MAX - lowest)) as u16)
    }

    /// The next number: SplitMix64's (Steele, Lea, Flood 2014), of which the upper bits are taken.
    pub(crate) fn next(&mut self) -> u16 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 48) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_come_about_as_often() {
        let mut chance = Chance::new(7);
        let mut seen = [0u32; 16];
        (0..160_000).for_each(|_| seen[usize::from(chance.next() >> 12)] += 1);
        assert!(seen.iter().all(|count| (9_500..10_500).contains(count)), "{seen:?}");
    }

    #[test]
    fn equal_seeds_choose_alike_and_others_do_not() {
        let first = |seed| {
            let mut chance = Chance::new(seed);
            [chance.next(), chance.next(), chance.next(), chance.next()]
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
