//! Other ends for a packet, its checksums as right or as wrong as before.
//!
//! Edits are made where they lie in this piece of a packet; what lies in another piece is edited
//! there, by the same ends.

use std::net::IpAddr;

use super::ends::{Ends, ICMP, ICMPV6, Layout, SCTP, TCP, UDP, UDP_LITE, word};
use crate::build::crc32c;

/// Gives a packet with the ends `from` the ends `to`.
pub(super) fn rewrite(bytes: &mut [u8], layout: &Layout, from: &Ends, to: &Ends) {
    let was_right = sctp_sum(bytes, layout).is_some_and(|(sum, at)| {
        bytes.get(at..at + 4).is_some_and(|field| field == sum.to_le_bytes())
    });
    let addresses = |ends: &Ends| [octets(ends.source), octets(ends.destination)].concat();
    let (old, new) = (addresses(from), addresses(to));
    let at = if layout.is_v6 { 8 } else { 12 };
    put(bytes, at, &new);
    if !layout.is_v6 {
        update(bytes, 10, &old, &new);
    }
    let (keys, checksum, is_pseudo): (&[usize], usize, bool) = match layout.protocol {
        TCP => (&[0, 2], 16, true),
        UDP | UDP_LITE => (&[0, 2], 6, true),
        SCTP => (&[0, 2], usize::MAX, false),
        ICMP if !layout.is_v6 => (&[4], 2, false),
        ICMPV6 if layout.is_v6 => (&[4], 2, true),
        _ => return,
    };
    // An error has no identifier.
    let keys = if layout.quotes(bytes).is_some() { &[] } else { keys };
    let (mut old, mut new) = if is_pseudo { (old, new) } else { (Vec::new(), Vec::new()) };
    for (place, (before, after)) in keys.iter().zip(from.keys.iter().zip(&to.keys)) {
        old.extend(before.to_be_bytes());
        new.extend(after.to_be_bytes());
        if let Some(at) = within(layout, *place) {
            put(bytes, at, &after.to_be_bytes());
        }
    }
    if let Some(at) = within(layout, checksum).filter(|at| is_summed(bytes, layout, *at)) {
        update(bytes, at, &old, &new);
        if layout.protocol == UDP && word(bytes, at) == Some(0) {
            put(bytes, at, &[0xff; 2]);
        }
    }
    if let Some((sum, at)) = sctp_sum(bytes, layout).filter(|_| was_right) {
        put(bytes, at, &sum.to_le_bytes());
    }
}

/// Lets a whole TCP segment acknowledge so many more bytes.
pub(super) fn acknowledge(bytes: &mut [u8], layout: &Layout, grown: u32) {
    const ACK: u8 = 0x10;
    let at = layout.transport + 8;
    let is_acknowledging = bytes.get(layout.transport + 13).is_some_and(|flags| flags & ACK != 0);
    if layout.protocol != TCP || layout.is_piece || !is_acknowledging {
        return;
    }
    let Some(old) = bytes.get(at..).and_then(|rest| rest.first_chunk().copied()) else { return };
    let new = u32::from_be_bytes(old).wrapping_add(grown).to_be_bytes();
    put(bytes, at, &new);
    update(bytes, layout.transport + 16, &old, &new);
}

/// Changes a word of a TCP segment's payload, or of a protocol without a checksum.
pub(super) fn put_word(bytes: &mut [u8], layout: &Layout, at: usize, to: u16) {
    let Some(old) = word(bytes, at) else { return };
    put(bytes, at, &to.to_be_bytes());
    if layout.protocol != TCP {
        return;
    }
    // Which byte of a word of the sum it begins with.
    let odd = (at - layout.transport) % 2;
    let [old, new] = [old, to].map(|number| match odd {
        0 => number.to_be_bytes().to_vec(),
        _ => [&[0][..], &number.to_be_bytes(), &[0]].concat(),
    });
    update(bytes, layout.transport + 16, &old, &new);
}

/// Changes what an ICMP error quotes, and the error's checksum by that.
pub(super) fn rewrite_quoted(
    bytes: &mut [u8],
    layout: &Layout,
    quote: usize,
    change: impl FnOnce(&mut [u8]),
) {
    let Some(quoted) = bytes.get_mut(quote..) else { return };
    let old = quoted.to_vec();
    change(quoted);
    let new = quoted.to_vec();
    update(bytes, layout.transport + 2, &old, &new);
}

/// UDP without a checksum stays without one.
fn is_summed(bytes: &[u8], layout: &Layout, at: usize) -> bool {
    layout.protocol != UDP || word(bytes, at) != Some(0)
}

/// Where a place of the transport header lies in this piece.
fn within(layout: &Layout, place: usize) -> Option<usize> {
    place.checked_sub(layout.offset)?.checked_add(layout.transport)
}

/// The right CRC of a whole SCTP packet, and where it stands.
fn sctp_sum(bytes: &[u8], layout: &Layout) -> Option<(u32, usize)> {
    if layout.protocol != SCTP || layout.is_piece {
        return None;
    }
    let length = match layout.is_v6 {
        true => usize::from(word(bytes, 4)?) + 40,
        false => usize::from(word(bytes, 2)?),
    };
    let mut packet = bytes.get(layout.transport..length)?.to_vec();
    packet.get_mut(8..12)?.fill(0);
    Some((crc32c(&packet), layout.transport + 8))
}

/// An internet checksum after some of what it covers has changed (RFC 1624, equation 3).
fn update(bytes: &mut [u8], at: usize, old: &[u8], new: &[u8]) {
    let Some(checksum) = word(bytes, at) else { return };
    let words = |bytes: &[u8]| {
        bytes
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high] => u16::from_be_bytes([*high, 0]),
                _ => 0,
            })
            .collect::<Vec<_>>()
    };
    let mut sum = u64::from(!checksum);
    sum += words(old).into_iter().map(|word| u64::from(!word)).sum::<u64>();
    sum += words(new).into_iter().map(u64::from).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // At most 0xffff after the loop.
    put(bytes, at, &(!(sum as u16)).to_be_bytes());
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
