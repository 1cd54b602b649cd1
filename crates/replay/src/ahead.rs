//! Looking ahead: what left the real machine, read before the packet is replayed that became it.
//!
//! Where the kernel chose at random (a port, an address of a range), only the capture knows what.
//! The packet it sent on stands a moment behind the one that came in. So packets are read a second
//! ahead of their turn, and those recorded as they left are found by what a gateway leaves alone
//! ([`likeness`]).
//!
//! Who captures on several interfaces gets their queues one after the other, an answer before its
//! question. What is read ahead is therefore put in the order of its times.
//!
//! Bounds: 16,384 packets or 64 MiB of them are read ahead, and buffers of 2 KiB are used again; a
//! line that is busier than that is looked at less far ahead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use stateward_engine::LinkHeader;

use crate::capture::{Captured, Direction, InterfaceRef};
use crate::likeness::{self, Ends};
use crate::merge::{Coming, Merge};
use crate::sighting::Maker;

/// How far, in nanoseconds.
const FAR: u64 = 1_000_000_000;
/// How many packets at most.
const MOST: usize = 1 << 14;
/// How many of their bytes at most.
const MOST_BYTES: usize = 1 << 26;
/// Buffers that have room for more are given back.
const BUFFER: usize = 1 << 11;

/// A packet's place: its time, and how many were read before it.
type Turn = (u64, u64);

/// Packets read before their turn.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    held: BTreeMap<Turn, Held>,
    /// How many have been read.
    read: u64,
    /// The time of the latest, and of the latest that has had its turn.
    latest: u64,
    clock: u64,
    /// By likeness, those that leave the machine.
    leaving: HashMap<u64, BTreeSet<Turn>>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    begun: bool,
    ended: bool,
    /// Packets that came too late for their turn.
    pub(crate) backwards: u64,
}

/// A packet before its turn: [`Coming`] with bytes of its own.
#[derive(Debug)]
struct Held {
    position: usize,
    number: u64,
    interface: InterfaceRef,
    direction: Option<Direction>,
    link: Option<LinkHeader>,
    bytes: Vec<u8>,
    original_length: u32,
    cut: bool,
    likeness: u64,
}

impl Ahead {
    /// Walks to the next packet; false when there is none any more.
    pub(crate) fn advance(&mut self, merge: &mut Merge) -> bool {
        if std::mem::replace(&mut self.begun, true) {
            self.drop_front();
        }
        while !self.ended && self.wants_more() {
            if !merge.advance() {
                self.ended = true;
            } else if let Some(coming) = merge.coming() {
                self.hold(&coming);
            }
        }
        let Some(((time, _), _)) = self.held.first_key_value() else { return false };
        self.backwards += u64::from(*time < self.clock);
        self.clock = self.clock.max(*time);
        true
    }

    fn wants_more(&self) -> bool {
        let Some(((first, _), _)) = self.held.first_key_value() else { return true };
        self.latest.saturating_sub(*first) <= FAR
            && self.held.len() < MOST
            && self.bytes < MOST_BYTES
    }

    fn hold(&mut self, coming: &Coming<'_>) {
        let Coming { position, packet, recorded } = *coming;
        let likeness = likeness::of(packet.bytes, Maker::Other);
        let turn = (recorded, self.read);
        self.read += 1;
        self.latest = self.latest.max(recorded);
        if matches!(packet.direction, Some(Direction::Out) | None) {
            self.leaving.entry(likeness).or_default().insert(turn);
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet.bytes);
        self.bytes += bytes.len();
        let Captured { number, interface, direction, link, original_length, cut, .. } = packet;
        let held = Held {
            position,
            number,
            interface,
            direction,
            link,
            bytes,
            original_length,
            cut,
            likeness,
        };
        self.held.insert(turn, held);
    }

    fn drop_front(&mut self) {
        let Some((turn, Held { bytes, likeness, .. })) = self.held.pop_first() else { return };
        self.bytes -= bytes.len();
        if bytes.capacity() <= BUFFER {
            self.spare.push(bytes);
        }
        let Some(turns) = self.leaving.get_mut(&likeness) else { return };
        turns.remove(&turn);
        if turns.is_empty() {
            self.leaving.remove(&likeness);
        }
    }

    /// The packet at hand.
    pub(crate) fn coming(&self) -> Option<Coming<'_>> {
        let ((recorded, _), held) = self.held.first_key_value()?;
        let packet = Captured {
            number: held.number,
            time: self.clock,
            interface: held.interface,
            direction: held.direction,
            link: held.link,
            bytes: &held.bytes,
            original_length: held.original_length,
            cut: held.cut,
        };
        Some(Coming { position: held.position, packet, recorded: *recorded })
    }

    /// The ends with which the packet at hand left the real machine, if it did and was recorded.
    /// Each record is told once.
    pub(crate) fn left_as(&mut self) -> Option<Ends> {
        /// A bridge and its ports record the same packet several times.
        const LOOKED_AT: usize = 8;
        let (now, front) = self.held.first_key_value()?;
        if front.direction == Some(Direction::Out) {
            return None;
        }
        let (turns, came_as) = (self.leaving.get_mut(&front.likeness)?, Ends::of(&front.bytes)?);
        // It was told already: it is what left.
        if front.direction.is_none() && !turns.contains(now) {
            return None;
        }
        let behind = turns.range((Bound::Excluded(now), Bound::Unbounded)).take(LOOKED_AT);
        let mut others = behind.filter_map(|turn| {
            let other = self.held.get(turn)?;
            let ends = Ends::of(&other.bytes).filter(|ends| {
                other.direction.is_some() || other.interface != front.interface || *ends != came_as
            })?;
            Some((*turn, ends))
        });
        let (turn, ends) = others.next()?;
        turns.remove(&turn);
        Some(ends)
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::edit::Edit;
    use stateward_wire::{Packet, compose};

    use super::*;
    use crate::craft::{Endian, PcapngFile, open};

    /// Raw IP, microseconds.
    fn capture(packets: &[(u32, u64, &[u8])]) -> Merge {
        let mut file = PcapngFile::new(Endian::Little);
        for name in ["lan0", "wan0"] {
            file = file.interface(101, 0, &[(2, name.as_bytes())]);
        }
        for (interface, time, bytes) in packets {
            file = file.packet(*interface, *time, bytes, &[]);
        }
        Merge::new(vec![open(&file.bytes).unwrap()])
    }

    fn packet(mark: u8, source: (&str, u16)) -> Vec<u8> {
        let (source, server) = ((source.0.parse().unwrap(), source.1), "198.51.100.2".parse());
        compose::udp(source, (server.unwrap(), 53), &[mark; 4])
    }

    fn asked(mark: u8) -> Vec<u8> {
        packet(mark, ("192.168.1.10", 40_000))
    }

    /// The packet as a router with NAT sends it on.
    fn translated(mark: u8, port: u16) -> Vec<u8> {
        let mut bytes = packet(mark, ("203.0.113.1", port));
        let layout = Packet::parse(&bytes).unwrap().layout();
        Edit::new(&mut bytes, layout).decrement_ttl();
        bytes
    }

    fn ports(ahead: &mut Ahead, merge: &mut Merge) -> Vec<(u64, Option<u16>)> {
        let mut all = Vec::new();
        while ahead.advance(merge) {
            let time = ahead.coming().unwrap().packet.time / 1000;
            all.push((time, ahead.left_as().and_then(|ends| ends.source.1)));
        }
        all
    }

    #[test]
    fn the_queues_of_interfaces_are_brought_into_order_and_questions_find_what_became_of_them() {
        let (one, two) = (asked(1), asked(2));
        let (one_out, two_out) = (translated(1, 1024), translated(2, 1025));
        let mut merge =
            capture(&[(1, 11, &one_out), (1, 21, &two_out), (0, 10, &one), (0, 20, &two)]);
        let mut ahead = Ahead::default();
        let expected = [(10, Some(1024)), (11, None), (20, Some(1025)), (21, None)];
        assert_eq!(ports(&mut ahead, &mut merge), expected);
        assert_eq!((ahead.backwards, ahead.bytes, ahead.leaving.len()), (0, 0, 0));
    }

    #[test]
    fn a_packet_sent_again_is_followed_again_and_what_comes_too_late_is_raised() {
        let (one, out) = (asked(1), translated(1, 1024));
        let again = translated(1, 1024);
        let mut merge = capture(&[
            (0, 10, &one),
            (1, 11, &out),
            (0, 12, &one),
            (1, 13, &again),
            (0, 3_000_000, &one),
            (0, 14, &one),
        ]);
        let mut ahead = Ahead::default();
        let expected = [
            (10, Some(1024)),
            (11, None),
            (12, Some(1024)),
            (13, None),
            (14, None),
            (3_000_000, None),
        ];
        assert_eq!(ports(&mut ahead, &mut merge), expected);
        assert_eq!(ahead.backwards, 0);
        let mut merge =
            capture(&[(0, 10, &one), (0, 3_000_000, &one), (0, 5_000_000, &one), (0, 14, &one)]);
        let mut ahead = Ahead::default();
        let expected = [(10, None), (3_000_000, None), (3_000_000, None), (5_000_000, None)];
        assert_eq!(ports(&mut ahead, &mut merge), expected);
        assert_eq!(ahead.backwards, 1);
    }

    #[test]
    fn little_is_read_ahead_of_a_busy_line() {
        let packets = vec![asked(1); 3 * MOST];
        let packets: Vec<_> = packets.iter().map(|bytes| (0, 10, bytes.as_slice())).collect();
        let (mut merge, mut ahead) = (capture(&packets), Ahead::default());
        let mut all = 0;
        while ahead.advance(&mut merge) {
            assert!(ahead.held.len() <= MOST);
            all += 1;
        }
        assert_eq!(all, 3 * MOST);
    }
}
