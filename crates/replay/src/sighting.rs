//! Sightings: packets of a capture that are the machine's own output, recorded as they left.
//!
//! A capture on a router holds each forwarded packet twice. What the replay emits is noted here for a
//! second; a packet recorded as outgoing that equals one of them (and leaves by the same interface, as far
//! as both are known) is its sighting, and no input. Each emitted packet is sighted once at most. With
//! routing off the replay does not know whether a router took one from the TTL, so that equal means equal
//! but for TTL and IPv4 header checksum.
//!
//! Bounds: 65,536 packets; beyond, the oldest are forgotten early.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};

use stateward_conntrack::{Instant, Span};
use stateward_engine::InterfaceId;

/// How long an emitted packet may take to appear in the capture.
const WITHIN: Span = Span::secs(1);
/// Emitted packets that are remembered at most.
const MOST: usize = 1 << 16;

/// Whether the bytes of a sighting are known exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Every byte.
    Exact,
    /// All but the time to live and the checksum over it.
    ButForTtl,
}

/// Packets that were emitted a moment ago.
#[derive(Debug)]
pub struct Sightings {
    likeness: Likeness,
    hasher: RandomState,
    recent: VecDeque<(Instant, u64)>,
    known: HashMap<u64, Waiting>,
}

/// Emitted packets that look alike.
#[derive(Debug, Default, Clone, Copy)]
struct Waiting {
    /// Not sighted yet.
    waiting: u32,
    /// Sighted, but still in the queue of recent ones.
    sighted: u32,
}

impl Sightings {
    /// Nothing emitted yet.
    pub fn new(likeness: Likeness) -> Self {
        let (recent, known) = (VecDeque::new(), HashMap::new());
        Self { likeness, hasher: RandomState::new(), recent, known }
    }

    /// A packet was emitted by an interface, if that is known.
    pub fn emitted(&mut self, dev: Option<InterfaceId>, bytes: &[u8], now: Instant) {
        self.forget(now);
        if self.recent.len() == MOST {
            self.drop_oldest();
        }
        let hash = self.hash(dev, bytes);
        self.known.entry(hash).or_default().waiting += 1;
        self.recent.push_back((now, hash));
    }

    /// Whether a packet that was recorded as it left is the sighting of one emitted before.
    pub fn is_sighting(&mut self, dev: Option<InterfaceId>, bytes: &[u8], now: Instant) -> bool {
        self.forget(now);
        let hash = self.hash(dev, bytes);
        match self.known.get_mut(&hash) {
            Some(alike) if alike.waiting > 0 => {
                alike.waiting -= 1;
                alike.sighted += 1;
                true
            }
            _ => false,
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|&(at, _)| at + WITHIN < now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, hash)) = self.recent.pop_front() else { return };
        let Entry::Occupied(mut known) = self.known.entry(hash) else { return };
        let alike = known.get_mut();
        // The oldest is the first to be sighted.
        match alike.sighted {
            0 => alike.waiting = alike.waiting.saturating_sub(1),
            _ => alike.sighted -= 1,
        }
        if alike.waiting + alike.sighted == 0 {
            known.remove();
        }
    }

    fn hash(&self, dev: Option<InterfaceId>, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        // Without routing nobody knows by which interface a packet leaves.
        let dev = dev.filter(|_| self.likeness == Likeness::Exact);
        hasher.write_u32(dev.map_or(u32::MAX, |id| u32::from(id.0)));
        match (self.likeness, bytes.first().map(|first| first >> 4)) {
            (Likeness::ButForTtl, Some(4)) => {
                // TTL is byte 8, the checksum bytes 10 and 11.
                for part in [0..8, 9..10, 12..bytes.len()] {
                    hasher.write(bytes.get(part).unwrap_or_default());
                }
            }
            (Likeness::ButForTtl, Some(6)) => {
                for part in [0..7, 8..bytes.len()] {
                    hasher.write(bytes.get(part).unwrap_or_default());
                }
            }
            _ => hasher.write(bytes),
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAN: Option<InterfaceId> = Some(InterfaceId(1));

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    fn packet(ttl: u8) -> Vec<u8> {
        let mut bytes = crate::craft::ipv4(1);
        bytes[8] = ttl;
        bytes
    }

    #[test]
    fn each_emitted_packet_is_sighted_once_and_within_a_second() {
        let mut sightings = Sightings::new(Likeness::Exact);
        sightings.emitted(WAN, &packet(63), at(0));
        assert!(!sightings.is_sighting(WAN, &packet(64), at(1)));
        assert!(!sightings.is_sighting(Some(InterfaceId(0)), &packet(63), at(1)));
        assert!(sightings.is_sighting(WAN, &packet(63), at(1000)));
        assert!(!sightings.is_sighting(WAN, &packet(63), at(1000)));
        sightings.emitted(WAN, &packet(63), at(2000));
        assert!(!sightings.is_sighting(WAN, &packet(63), at(3001)));
    }

    #[test]
    fn a_packet_sent_again_is_sighted_again() {
        let mut sightings = Sightings::new(Likeness::Exact);
        sightings.emitted(WAN, &packet(63), at(0));
        sightings.emitted(WAN, &packet(63), at(500));
        assert!(sightings.is_sighting(WAN, &packet(63), at(600)));
        // The first one is forgotten now; it is the one that was sighted.
        assert!(sightings.is_sighting(WAN, &packet(63), at(1200)));
        assert!(!sightings.is_sighting(WAN, &packet(63), at(1300)));
    }

    #[test]
    fn without_routing_the_ttl_may_differ() {
        let mut sightings = Sightings::new(Likeness::ButForTtl);
        sightings.emitted(None, &packet(64), at(0));
        assert!(sightings.is_sighting(WAN, &packet(63), at(1)));
        let mut v6 = crate::craft::ipv6(1);
        sightings.emitted(None, &v6, at(1));
        v6[7] -= 1;
        assert!(sightings.is_sighting(WAN, &v6, at(1)));
        v6[39] ^= 1;
        sightings.emitted(None, &v6, at(1));
        v6[39] ^= 1;
        assert!(!sightings.is_sighting(WAN, &v6, at(1)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut sightings = Sightings::new(Likeness::Exact);
        for number in 0..3 * MOST as u32 {
            sightings.emitted(WAN, &number.to_be_bytes(), at(0));
        }
        assert_eq!((sightings.recent.len(), sightings.known.len()), (MOST, MOST));
        sightings.forget(at(1001));
        assert_eq!((sightings.recent.len(), sightings.known.len()), (0, 0));
    }
}
