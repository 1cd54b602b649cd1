//! A packet in fragments: in order and out of it, doubled, overlapping, with pieces missing.

use super::random::Random;
use crate::build;

/// Fragments of a laid out packet, in the order in which they arrive.
pub(super) fn scatter(random: &mut Random, packet: &[u8]) -> Vec<Vec<u8>> {
    let size = random.pick([8, 16, 64, 256, 512, 1280]);
    // A handful is enough to go wrong.
    let size = size.max(packet.len() / 6);
    let mut pieces = match random.below(25) {
        0 if !is_v6(packet) => too_long(packet),
        _ => build::fragments(packet, size, random.word()),
    };
    if pieces.is_empty() {
        return vec![packet.to_vec()];
    }
    if random.chance(50) {
        shuffle(random, &mut pieces);
    }
    let place = random.below(pieces.len());
    match random.below(16) {
        0 | 1 => drop(pieces.remove(place)),
        2 | 3 => {
            let twice = pieces.get(place).cloned().unwrap_or_default();
            pieces.insert(random.below(pieces.len()), twice);
        }
        4 | 5 => move_by(random, &mut pieces, place),
        6 => {
            // A piece whose end is not where the next one begins.
            if let Some(piece) = pieces.get_mut(place) {
                shorten(piece);
            }
        }
        7 => {
            if let Some(piece) = pieces.get_mut(place) {
                change_more(piece);
            }
        }
        8 => {
            // Beyond the longest packet there is.
            if let Some(piece) = pieces.last_mut() {
                set_offset(piece, random.pick([65_528, 65_520, 65_000]));
            }
        }
        9 => {
            if let Some(piece) = pieces.get_mut(place) {
                set_congestion(piece, random.below(4) as u8);
            }
        }
        10 => {
            if let Some(piece) = pieces.get_mut(place).filter(|piece| is_v6(piece)) {
                cut_header(piece, 1 + random.below(7));
            }
        }
        11 => {
            if let Some(piece) = pieces.get_mut(place) {
                empty(piece);
            }
        }
        _ => {}
    }
    pieces
}

/// Two IPv4 pieces that make more than any packet can hold.
fn too_long(packet: &[u8]) -> Vec<Vec<u8>> {
    const HALF: usize = 32_768;
    let header = usize::from(packet.first().copied().unwrap_or_default() & 0xf) * 4;
    let mut whole = packet.get(..header).unwrap_or_default().to_vec();
    whole.resize(header + 2 * HALF, 0);
    build::fragments(&whole, HALF, 0)
}

fn shuffle(random: &mut Random, pieces: &mut [Vec<u8>]) {
    for last in (1..pieces.len()).rev() {
        pieces.swap(last, random.below(last + 1));
    }
}

/// One more piece that overlaps its neighbours.
fn move_by(random: &mut Random, pieces: &mut Vec<Vec<u8>>, place: usize) {
    let Some(mut piece) = pieces.get(place).cloned() else { return };
    let offset = offset(&piece).wrapping_add(random.pick([8, 16]));
    set_offset(&mut piece, offset & 0xfff8);
    pieces.insert(random.below(pieces.len()), piece);
}

fn is_v6(piece: &[u8]) -> bool {
    piece.first().is_some_and(|first| first >> 4 == 6)
}

fn word(piece: &[u8], at: usize) -> u16 {
    let bytes = piece.get(at..at + 2).and_then(|bytes| bytes.first_chunk());
    u16::from_be_bytes(bytes.copied().unwrap_or_default())
}

fn set_word(piece: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = piece.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

/// Where the fragment field is.
fn field(piece: &[u8]) -> usize {
    if is_v6(piece) { 42 } else { 6 }
}

fn offset(piece: &[u8]) -> u16 {
    match is_v6(piece) {
        true => word(piece, 42) & 0xfff8,
        false => word(piece, 6) << 3,
    }
}

fn set_offset(piece: &mut [u8], offset: u16) {
    let old = word(piece, field(piece));
    let new = match is_v6(piece) {
        true => old & 7 | offset & 0xfff8,
        false => old & 0xe000 | offset >> 3,
    };
    set_word(piece, field(piece), new);
    sum_up(piece);
}

fn change_more(piece: &mut [u8]) {
    let bit = if is_v6(piece) { 1 } else { build::MORE_FRAGMENTS };
    let old = word(piece, field(piece));
    set_word(piece, field(piece), old ^ bit);
    sum_up(piece);
}

/// Takes a byte from the end, so that the length is no multiple of eight.
fn shorten(piece: &mut Vec<u8>) {
    piece.pop();
    let at = if is_v6(piece) { 4 } else { 2 };
    let length = word(piece, at).saturating_sub(1);
    set_word(piece, at, length);
    sum_up(piece);
}

/// Sets the bits of explicit congestion notification.
fn set_congestion(piece: &mut [u8], bits: u8) {
    let (at, shift) = if is_v6(piece) { (1, 4) } else { (1, 0) };
    if let Some(byte) = piece.get_mut(at) {
        *byte = *byte & !(3 << shift) | bits << shift;
    }
    sum_up(piece);
}

/// Leaves so many bytes of an IPv6 fragment header.
fn cut_header(piece: &mut Vec<u8>, kept: usize) {
    const FIXED: usize = 40;
    piece.truncate(FIXED + kept);
    set_word(piece, 4, kept as u16);
}

/// Leaves the headers alone.
fn empty(piece: &mut Vec<u8>) {
    const V6_FIXED: usize = 40;
    const V6_FRAGMENT: usize = 8;
    if is_v6(piece) {
        piece.truncate(V6_FIXED + V6_FRAGMENT);
        set_word(piece, 4, V6_FRAGMENT as u16);
        return;
    }
    let header = piece.first().copied().unwrap_or_default() & 0xf;
    piece.truncate(usize::from(header) * 4);
    set_word(piece, 2, u16::from(header) * 4);
    sum_up(piece);
}

/// The IPv4 header's checksum again.
fn sum_up(piece: &mut [u8]) {
    if is_v6(piece) {
        return;
    }
    let header = usize::from(piece.first().copied().unwrap_or_default() & 0xf) * 4;
    set_word(piece, 10, 0);
    let sum = build::internet_checksum(piece.get(..header).unwrap_or_default());
    set_word(piece, 10, sum);
}
