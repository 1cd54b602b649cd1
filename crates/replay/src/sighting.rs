//! Sightings: packets of a capture that are the machine's own output, recorded as they left.
//!
//! A capture on a router holds each forwarded packet twice. What the replay emits is noted here for
//! a second; a packet recorded as outgoing that equals one of them is its sighting, and no input.
//! Each emitted packet is sighted once at most.
//!
//! Where the capture does not say which way a packet went, the interfaces do. With routing, a
//! sighting is recorded on the interface the packet left by (where that is known): a packet with
//! exactly these bytes, TTL lowered, did not come in. Without, it is recorded on another interface
//! than it came in by; and then nobody knows whether a router took one from the TTL, so that equal
//! means equal but for TTL and IPv4 header checksum.
//!
//! What this host makes itself (ICMP errors) it names at random: there equal means equal but for
//! the IPv4 identification or the IPv6 flow label as well.
//!
//! Bounds: 65,536 packets; beyond, the oldest are forgotten early.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};

use stateward_conntrack::{Instant, Span};
use stateward_engine::InterfaceId;

use crate::entrance::Way;

/// How long an emitted packet may take to appear in the capture.
const WITHIN: Span = Span::secs(1);
/// Emitted packets that are remembered at most.
const MOST: usize = 1 << 16;

/// How well the machine is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// It routes: interface and bytes of what it emits are known.
    Exact,
    /// It is transparent: all bytes but the TTL and the checksum over it are known.
    ButForTtl,
}

/// Where a packet was recorded, and which way it went there.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// The interface, if the capture says.
    pub on: Option<InterfaceId>,
    /// The way.
    pub way: Way,
    /// Its source is an address of this host.
    pub own: bool,
}

/// A packet seen on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Where, if the capture says or it is known by which interface it left.
    pub on: Option<InterfaceId>,
}

/// A packet that is emitted.
#[derive(Debug, Clone, Copy)]
pub struct Emission<'a> {
    /// The interface by which it, or the packet it answers, came in, if that is known.
    pub from: Option<InterfaceId>,
    /// The interface it leaves by, if that is known.
    pub to: Option<InterfaceId>,
    /// Who made it.
    pub maker: Maker,
    /// The IP packet.
    pub bytes: &'a [u8],
}

/// Who made a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// It passes through, or a program on this host made it.
    Other,
    /// This host's kernel.
    Host,
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
    /// With routing the interface they leave by; without, the one they came in by.
    interface: Option<InterfaceId>,
}

impl Sightings {
    /// Nothing emitted yet.
    pub fn new(likeness: Likeness) -> Self {
        let (recent, known) = (VecDeque::new(), HashMap::new());
        Self { likeness, hasher: RandomState::new(), recent, known }
    }

    /// A packet was emitted.
    pub fn emitted(&mut self, emitted: Emission<'_>, now: Instant) {
        let Emission { from, to, maker, bytes } = emitted;
        self.forget(now);
        if self.recent.len() == MOST {
            self.drop_oldest();
        }
        let hash = self.hash(maker, bytes);
        let alike = self.known.entry(hash).or_default();
        alike.waiting += 1;
        alike.interface = match self.likeness {
            Likeness::Exact => to,
            Likeness::ButForTtl => from,
        };
        self.recent.push_back((now, hash));
    }

    /// Whether a packet is the sighting of one emitted before.
    pub fn find(&mut self, recorded: Recorded, bytes: &[u8], now: Instant) -> Option<Sighting> {
        self.forget(now);
        if self.known.is_empty() || !matches!(recorded.way, Way::Out | Way::Unknown) {
            return None;
        }
        let found = self.find_of(Maker::Other, recorded, bytes);
        found.or_else(|| recorded.own.then(|| self.find_of(Maker::Host, recorded, bytes))?)
    }

    fn find_of(&mut self, maker: Maker, recorded: Recorded, bytes: &[u8]) -> Option<Sighting> {
        let hash = self.hash(maker, bytes);
        let alike = self.known.get_mut(&hash)?;
        if alike.waiting == 0 || !alike.may_be_at(recorded, self.likeness) {
            return None;
        }
        alike.waiting -= 1;
        alike.sighted += 1;
        let left_by = alike.interface.filter(|_| self.likeness == Likeness::Exact);
        Some(Sighting { on: recorded.on.or(left_by) })
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

    fn hash(&self, maker: Maker, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        let end = bytes.len();
        // IPv4: identification at 4, TTL at 8, checksum at 10. IPv6: flow label at 1, hop limit at
        // 7.
        let known = match (maker, self.likeness, bytes.first().map(|first| first >> 4)) {
            (Maker::Host, _, Some(4)) => [0..4, 6..8, 9..10, 12..end],
            (Maker::Host, _, Some(6)) => [0..1, 4..7, 8..end, 0..0],
            (_, Likeness::ButForTtl, Some(4)) => [0..8, 9..10, 12..end, 0..0],
            (_, Likeness::ButForTtl, Some(6)) => [0..7, 8..end, 0..0, 0..0],
            _ => [0..end, 0..0, 0..0, 0..0],
        };
        for part in known {
            hasher.write(bytes.get(part).unwrap_or_default());
        }
        hasher.write_u8(maker as u8);
        hasher.finish()
    }
}

impl Waiting {
    fn may_be_at(&self, recorded: Recorded, likeness: Likeness) -> bool {
        match (likeness, recorded.way, self.interface, recorded.on) {
            (Likeness::Exact, _, Some(left_by), Some(on)) => left_by == on,
            (Likeness::Exact, ..) | (Likeness::ButForTtl, Way::Out, ..) => true,
            (Likeness::ButForTtl, _, Some(came_by), Some(on)) => came_by != on,
            (Likeness::ButForTtl, ..) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: Option<InterfaceId> = Some(InterfaceId(0));
    const WAN: Option<InterfaceId> = Some(InterfaceId(1));

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    fn out(on: Option<InterfaceId>) -> Recorded {
        Recorded { on, way: Way::Out, own: false }
    }

    fn unknown(on: Option<InterfaceId>) -> Recorded {
        Recorded { on, way: Way::Unknown, own: false }
    }

    fn via(to: Option<InterfaceId>, bytes: &[u8]) -> Emission<'_> {
        Emission { from: LAN, to, maker: Maker::Other, bytes }
    }

    fn packet(ttl: u8) -> Vec<u8> {
        let mut bytes = crate::craft::ipv4(1);
        bytes[8] = ttl;
        bytes
    }

    #[test]
    fn each_emitted_packet_is_sighted_once_and_within_a_second() {
        let mut sightings = Sightings::new(Likeness::Exact);
        sightings.emitted(via(WAN, &packet(63)), at(0));
        assert_eq!(sightings.find(out(WAN), &packet(64), at(1)), None);
        assert_eq!(sightings.find(out(LAN), &packet(63), at(1)), None);
        assert!(sightings.find(out(WAN), &packet(63), at(1000)).is_some());
        assert_eq!(sightings.find(out(WAN), &packet(63), at(1000)), None);
        sightings.emitted(via(WAN, &packet(63)), at(2000));
        assert_eq!(sightings.find(out(WAN), &packet(63), at(3001)), None);
    }

    #[test]
    fn a_packet_sent_again_is_sighted_again() {
        let mut sightings = Sightings::new(Likeness::Exact);
        sightings.emitted(via(WAN, &packet(63)), at(0));
        sightings.emitted(via(WAN, &packet(63)), at(500));
        assert!(sightings.find(out(WAN), &packet(63), at(600)).is_some());
        // The first one is forgotten now; it is the one that was sighted.
        assert!(sightings.find(out(WAN), &packet(63), at(1200)).is_some());
        assert_eq!(sightings.find(out(WAN), &packet(63), at(1300)), None);
    }

    #[test]
    fn what_came_in_is_no_sighting() {
        for likeness in [Likeness::Exact, Likeness::ButForTtl] {
            let mut sightings = Sightings::new(likeness);
            sightings.emitted(via(WAN, &packet(63)), at(0));
            let came_in = Recorded { on: WAN, way: Way::In, own: true };
            assert_eq!(sightings.find(came_in, &packet(63), at(1)), None);
        }
    }

    #[test]
    fn without_a_direction_the_interface_decides() {
        let mut routed = Sightings::new(Likeness::Exact);
        routed.emitted(via(WAN, &packet(63)), at(0));
        assert_eq!(routed.find(unknown(LAN), &packet(63), at(1)), None);
        assert_eq!(routed.find(unknown(None), &packet(63), at(1)), Some(Sighting { on: WAN }));

        let mut transparent = Sightings::new(Likeness::ButForTtl);
        transparent.emitted(via(None, &packet(64)), at(0));
        assert_eq!(transparent.find(unknown(LAN), &packet(64), at(1)), None);
        assert_eq!(transparent.find(unknown(None), &packet(64), at(1)), None);
        assert!(transparent.find(unknown(WAN), &packet(63), at(1)).is_some());
    }

    #[test]
    fn without_routing_the_ttl_may_differ() {
        let mut sightings = Sightings::new(Likeness::ButForTtl);
        sightings.emitted(via(None, &packet(64)), at(0));
        assert!(sightings.find(out(WAN), &packet(63), at(1)).is_some());
        let mut v6 = crate::craft::ipv6(1);
        sightings.emitted(via(None, &v6), at(1));
        v6[7] = v6[7].wrapping_sub(1);
        assert!(sightings.find(out(WAN), &v6, at(1)).is_some());
        v6[39] ^= 1;
        sightings.emitted(via(None, &v6), at(1));
        v6[39] ^= 1;
        assert_eq!(sightings.find(out(WAN), &v6, at(1)), None);
    }

    #[test]
    fn what_the_host_made_may_be_named_otherwise() {
        let mut sightings = Sightings::new(Likeness::Exact);
        fn made(bytes: &[u8]) -> Emission<'_> {
            Emission { maker: Maker::Host, ..via(WAN, bytes) }
        }
        let own = Recorded { own: true, ..out(WAN) };
        let mut bytes = packet(64);
        sightings.emitted(made(&bytes), at(0));
        bytes[5] ^= 1;
        assert_eq!(sightings.find(out(WAN), &bytes, at(1)), None);
        assert!(sightings.find(own, &bytes, at(1)).is_some());
        assert_eq!(sightings.find(own, &bytes, at(1)), None);
        bytes = crate::craft::ipv6(1);
        sightings.emitted(made(&bytes), at(1));
        bytes[3] ^= 1;
        assert!(sightings.find(own, &bytes, at(2)).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut sightings = Sightings::new(Likeness::Exact);
        for number in 0..3 * MOST as u32 {
            sightings.emitted(via(WAN, &number.to_be_bytes()), at(0));
        }
        assert_eq!((sightings.recent.len(), sightings.known.len()), (MOST, MOST));
        sightings.forget(at(1001));
        assert_eq!((sightings.recent.len(), sightings.known.len()), (0, 0));
    }
}
