//! A recording of what Linux did with random fragments, held against what is done here.

use std::collections::VecDeque;

use super::*;

/// What Linux 6.18 did with random fragments, many of them wrong, is what is done here.
#[test]
fn the_recording_is_reproduced() {
    let bytes = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs.map(|p| u8::from_str_radix(str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    };
    let mut defrag = Defrag::default();
    let mut emitted: VecDeque<Vec<u8>> = VecDeque::new();
    let mut now = Instant(0);
    for (number, line) in include_str!("recorded.txt").lines().enumerate() {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["in", interface, packet] => {
                assert_eq!(emitted.pop_front(), None, "before line {}", number + 1);
                now = now + Span(10_000);
                let packet = bytes(packet);
                let place = Place { interface: interface.parse().unwrap(), ..PLACE };
                let outcome = defrag.push(&Packet::parse(&packet).unwrap(), place, now);
                emitted = sent(&packet, outcome).into_iter().map(zeroed).collect();
            }
            ["out", packet] => {
                assert_eq!(emitted.pop_front(), Some(bytes(packet)), "line {}", number + 1);
            }
            _ => assert!(line.starts_with('#')),
        }
    }
    assert!(defrag.counters(Family::V4).overlaps > 0 && defrag.counters(Family::V6).overlaps > 0);
}

/// What leaves for a packet that was routed to a link of 1,500 bytes.
fn sent(packet: &[u8], outcome: Outcome) -> Vec<Vec<u8>> {
    let (packet, origins) = match outcome {
        Outcome::Whole => (packet.to_vec(), None),
        Outcome::Complete(whole) => (whole.bytes, Some(whole.origins)),
        Outcome::Held | Outcome::Dropped(_) => return Vec::new(),
    };
    match cut(&packet, origins.as_ref(), 1500, 0) {
        Cut::Whole => vec![packet],
        Cut::Fragments(fragments) => fragments,
        Cut::TooBig | Cut::Impossible => Vec::new(),
    }
}

/// The packet as the recording shows it.
fn zeroed(mut bytes: Vec<u8>) -> Vec<u8> {
    match Packet::parse(&bytes).unwrap().family() {
        Family::V4 => {
            let header = Ipv4Header::view_mut(&mut bytes).unwrap();
            (header.ttl, header.checksum) = (0, U16::ZERO);
        }
        Family::V6 => {
            let fragment = Packet::parse(&bytes).unwrap().fragment_header();
            if let Some(id) = fragment.and_then(|at| bytes.get_mut(at + 4..at + 8)) {
                id.fill(0);
            }
            Ipv6Header::view_mut(&mut bytes).unwrap().hop_limit = 0;
        }
    }
    bytes
}
