//! Cutting a packet into fragments, right ones.

use super::checksum::internet_checksum;
use super::{MORE_FRAGMENTS, clamp};

const V6_HEADER: usize = 40;
const V6_FRAGMENT_HEADER: u8 = 44;

/// Cuts a laid out packet into fragments that carry at most `size` bytes each, rounded down to a
/// multiple of 8. IPv4 keeps its identification (and repeats its options); IPv6 gets `id`, and its
/// extension headers are taken as part of what is cut.
pub fn fragments(packet: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let size = (size / 8 * 8).max(8);
    match packet.first().map(|byte| byte >> 4) {
        Some(6) => v6(packet, size, id),
        Some(_) => v4(packet, size),
        None => Vec::new(),
    }
}

fn v4(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let words = packet.first().copied().unwrap_or_default() & 0xf;
    let Some((header, body)) = packet.split_at_checked(usize::from(words) * 4) else {
        return vec![packet.to_vec()];
    };
    pieces(body, size)
        .map(|(offset, piece, more)| {
            let mut fragment = header.to_vec();
            let field = clamp(offset / 8) | if more { MORE_FRAGMENTS } else { 0 };
            write16(&mut fragment, 2, clamp(header.len() + piece.len()));
            write16(&mut fragment, 6, field);
            write16(&mut fragment, 10, 0);
            let sum = internet_checksum(&fragment);
            write16(&mut fragment, 10, sum);
            fragment.extend_from_slice(piece);
            fragment
        })
        .collect()
}

fn v6(packet: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let Some((header, body)) = packet.split_at_checked(V6_HEADER) else {
        return vec![packet.to_vec()];
    };
    pieces(body, size)
        .map(|(offset, piece, more)| {
            let mut fragment = header.to_vec();
            let next = header.get(6).copied().unwrap_or_default();
            write16(&mut fragment, 4, clamp(8 + piece.len()));
            fragment.splice(6..7, [V6_FRAGMENT_HEADER]);
            fragment.extend_from_slice(&[next, 0]);
            fragment.extend_from_slice(&(clamp(offset) | u16::from(more)).to_be_bytes());
            fragment.extend_from_slice(&id.to_be_bytes());
            fragment.extend_from_slice(piece);
            fragment
        })
        .collect()
}

/// Offset, bytes and whether more follow, of each piece.
fn pieces(body: &[u8], size: usize) -> impl Iterator<Item = (usize, &[u8], bool)> {
    let offsets = (0..).step_by(size);
    let count = body.len();
    offsets.zip(body.chunks(size)).map(move |(at, piece)| (at, piece, at + piece.len() < count))
}

fn write16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
