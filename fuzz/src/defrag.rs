//! Reassembly under arbitrary fragments, and cutting what it gives.
//!
//! Hold after each fragment: the memory is bounded, what is complete can be parsed, cut again it
//! fits, and its pieces put together are the same packet. In the end nothing is left.

use arbitrary::{Arbitrary, Unstructured};
use stateward_conntrack::{Instant, NANOS_PER_SECOND, Span};
use stateward_engine::defrag::{Cut, Defrag, Limits, Outcome, Place, Reassembled, Side, cut};
use stateward_wire::{Family, Packet, compose, protocol};

use crate::repair;

/// More than the longest packet that a queue can cost, with its bookkeeping.
const ONE_PACKET: u64 = 200_000;

/// Runs the scenario that the bytes stand for.
pub fn defrag(bytes: &[u8]) {
    let scenario = scenario(bytes);
    let limits = Limits {
        timeout: Span::secs(u32::from(scenario.timeout)),
        high_threshold: u64::from(scenario.kilobytes) << 10,
        max_distance: u32::from(scenario.max_distance),
    };
    let mut defrag = Defrag::new(limits, limits);
    let mut now = Instant::from_secs(1);
    for step in scenario.steps.iter().take(500) {
        now = Instant(now.0 + u64::from(step.wait) * NANOS_PER_SECOND / 4);
        while let Some(expired) = defrag.handle_timeout(now) {
            let first = expired.first_fragment.as_deref().map(Packet::parse_cut);
            assert!(!matches!(first, Some(Err(_))), "{expired:?}");
        }
        assert!(defrag.next_deadline().is_none_or(|next| next > now));
        let bytes = step.bytes();
        let parsed = match step.capture {
            true => Packet::parse_cut(&bytes),
            false => Packet::parse(&bytes),
        };
        let Ok(packet) = parsed else { continue };
        let place = Place {
            side: if step.outgoing { Side::Outgoing } else { Side::Incoming },
            interface: u32::from(step.interface % 2),
            zone: 0,
        };
        match defrag.push(&packet, place, now) {
            Outcome::Complete(whole) => check(&whole, scenario.mtu, scenario.gather),
            Outcome::Dropped(reason) => assert!(!reason.describe().is_empty()),
            Outcome::Held => assert!(defrag.waiting(packet.family()) > 0),
            Outcome::Whole => {}
        }
        for family in [Family::V4, Family::V6] {
            assert!(defrag.memory(family) <= limits.high_threshold + ONE_PACKET);
            assert_eq!(defrag.waiting(family) == 0, defrag.memory(family) == 0);
        }
    }
    now = Instant(now.0 + 300 * NANOS_PER_SECOND);
    while defrag.handle_timeout(now).is_some() {}
    assert_eq!(defrag.next_deadline(), None);
    for family in [Family::V4, Family::V6] {
        assert_eq!((defrag.waiting(family), defrag.memory(family)), (0, 0));
    }
}

fn check(whole: &Reassembled, mtu: u8, gather: u16) {
    let packet = Packet::parse(&whole.bytes).expect("what was put together is a packet");
    assert_eq!(packet.length(), whole.bytes.len());
    let sum: usize = whole.origins.pieces().iter().map(|&piece| piece as usize).sum();
    assert_eq!(sum, whole.bytes.len());
    assert!(packet.family() == Family::V6 || !packet.is_fragment());
    let mtu = 1_280 + usize::from(mtu);
    let mut gathered = whole.origins.clone();
    gathered.gather(gather.into());
    let mut forgotten = whole.origins.clone();
    forgotten.forget_pieces();
    for origins in [Some(&whole.origins), Some(&gathered), Some(&forgotten), None] {
        if let Cut::Fragments(pieces) = cut(&whole.bytes, origins, mtu, 9) {
            put_together(&pieces, &whole.bytes, mtu);
        }
    }
}

/// The pieces fit, and are the packet.
fn put_together(pieces: &[Vec<u8>], bytes: &[u8], mtu: usize) {
    let mut again = Defrag::default();
    let place = Place { side: Side::Incoming, interface: 0, zone: 0 };
    let mut complete = None;
    for piece in pieces {
        let packet = Packet::parse(piece).expect("a piece is a packet");
        assert!(piece.len() <= mtu, "a piece of {} bytes on a link of {mtu}", piece.len());
        match again.push(&packet, place, Instant::from_secs(1)) {
            Outcome::Complete(whole) => complete = Some(whole.bytes),
            Outcome::Whole => complete = Some(piece.clone()),
            Outcome::Held => assert!(complete.is_none()),
            Outcome::Dropped(reason) => panic!("a piece is dropped: {}", reason.describe()),
        }
    }
    let complete = complete.expect("the pieces are not all of the packet");
    assert_eq!(complete.len(), bytes.len());
    // Behind more than 255 bytes of headers Linux writes the next header to a wrong place.
    let first = pieces.first().and_then(|piece| Packet::parse(piece).ok());
    if first.is_none_or(|first| first.fragment_header().unwrap_or(0) <= 255) {
        let payload = |bytes: &[u8]| Packet::parse(bytes).map(|packet| packet.l4().to_vec());
        assert_eq!(payload(&complete), payload(bytes));
    }
}

/// What comes, and what is allowed.
#[derive(Debug, Default, Arbitrary)]
pub(crate) struct Scenario {
    timeout: u8,
    kilobytes: u8,
    max_distance: u8,
    mtu: u8,
    gather: u16,
    steps: Vec<Step>,
}

/// The scenario that the bytes stand for; any bytes stand for one.
pub(crate) fn scenario(bytes: &[u8]) -> Scenario {
    Scenario::arbitrary_take_rest(Unstructured::new(bytes)).unwrap_or_default()
}

#[derive(Debug, Arbitrary)]
struct Step {
    /// Quarters of a second.
    wait: u8,
    outgoing: bool,
    interface: u8,
    capture: bool,
    piece: Piece,
    edit: Option<(u8, u8)>,
    keep: Option<u8>,
}

#[derive(Debug, Arbitrary)]
enum Piece {
    V4 { id: bool, offset: u8, flags: u8, length: u8, long: u8, tos: u8, options: u8, protocol: u8 },
    V6 { id: bool, offset: u8, more: bool, length: u8, long: u8, class: u8, before: u8, next: u8 },
    Raw(Vec<u8>),
}

impl Step {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.piece.bytes();
        if let Some((at, value)) = self.edit
            && let Some(byte) = bytes.get_mut(usize::from(at))
        {
            *byte = value;
        }
        if !matches!(self.piece, Piece::Raw(_)) {
            repair(&mut bytes);
        }
        if let Some(keep) = self.keep {
            bytes.truncate(keep.into());
        }
        bytes
    }
}

/// The place of a fragment: near the beginning, or near the longest packet's end.
fn place(offset: u8) -> u16 {
    match offset {
        0..240 => u16::from(offset) * 8,
        240.. => (0x1fff - u16::from(255 - offset) * 37) * 8,
    }
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        let data = |length: u8, long: u8, offset: u8| -> Vec<u8> {
            let length = usize::from(length) + usize::from(long / 16) * 256;
            (0..length).map(|at| (at + usize::from(offset) * 8) as u8).collect()
        };
        match *self {
            Piece::V4 { id, offset, flags, length, long, tos, options, protocol } => {
                let data = data(length, long, offset);
                let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
                let mut bytes = compose::ipv4(source, destination, protocol, &data);
                let options = usize::from(options % 11) * 4;
                bytes.splice(20..20, std::iter::repeat_n(1, options));
                bytes[0] = 0x45 + (options / 4) as u8;
                bytes[1] = tos;
                let total = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&total.to_be_bytes());
                bytes[5] = id.into();
                let place = (place(offset) / 8) | (u16::from(flags & 3) << 13);
                bytes[6..8].copy_from_slice(&place.to_be_bytes());
                bytes
            }
            Piece::V6 { id, offset, more, length, long, class, before, next } => {
                let [high, low] = (place(offset) | u16::from(more)).to_be_bytes();
                let fragment = [next, 0, high, low, 0, 0, 0, id.into()];
                let mut payload = [&fragment[..], &data(length, long, offset)].concat();
                let kinds = [protocol::HOP_BY_HOP, protocol::DEST, protocol::ROUTING];
                let mut first = protocol::FRAGMENT;
                if let Some(&kind) = kinds.get(usize::from(before % 6)) {
                    payload.splice(0..0, [protocol::FRAGMENT, 0, 1, 4, 0, 0, 0, 0]);
                    first = kind;
                }
                let (source, destination) = match before / 6 % 2 {
                    0 => ([0xfd00, 1, 0, 0, 0, 0, 0, 1], [0xfd00, 2, 0, 0, 0, 0, 0, 2]),
                    _ => ([0xfe80, 0, 0, 0, 0, 0, 0, 1], [0xfe80, 0, 0, 0, 0, 0, 0, 2]),
                };
                let mut bytes = compose::ipv6(source.into(), destination.into(), first, &payload);
                bytes[0] |= class >> 4;
                bytes[1] |= class << 4;
                bytes
            }
            Piece::Raw(ref bytes) => bytes.clone(),
        }
    }
}
