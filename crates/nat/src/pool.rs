//! An address out of several: by a hash of the packet's addresses, the same on every machine.
//!
//! A client meets a server from the same address each time, or with `--persistent` all servers. The
//! hash is Jenkins' lookup3 (public domain) without a secret, over the words of the source, begun
//! from the destination's last word and the zone; it picks each word of the address in turn, within
//! the range for as long as the words before are the highest address's. The kernel's words are as
//! they lie in memory: here as on a little-endian machine. Kernel counterpart:
//! `find_best_ips_proto`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_conntrack::{Tuple, Zone};

use crate::range::{Manip, Request, Spread};

/// The tuple with an address of the range at an end, if the range has addresses.
pub(crate) fn address(tuple: &Tuple, request: Request<'_>, zone: Zone) -> Tuple {
    let end = request.manip.end();
    let Some([low, high]) = request.range.addresses else { return *tuple };
    if low == high {
        return tuple.with_address(end, low);
    }
    let picked = match (low, high) {
        (IpAddr::V4(_), IpAddr::V4(_)) => pick::<1>([low, high], tuple, request, zone),
        _ => pick::<4>([low, high], tuple, request, zone),
    };
    tuple.with_address(end, picked)
}

/// Of an address of `WORDS` words.
fn pick<const WORDS: usize>(
    [low, high]: [IpAddr; 2],
    tuple: &Tuple,
    Request { range, manip }: Request<'_>,
    zone: Zone,
) -> IpAddr {
    let spread = range.spread;
    let mut towards = words(tuple.destination());
    let last = towards[WORDS - 1];
    let begin = match spread {
        Spread::Persistent => 0,
        Spread::ByServer => last.to_le() ^ u32::from(zone.0),
    };
    let mut hash = jhash2(words(tuple.source()).map(u32::to_le), begin);
    let (low, high) = (words(low), words(high));
    let (mut picked, mut within) = ([0u32; 4], true);
    for i in 0..WORDS {
        let (least, distance) = match within {
            true => {
                let [least, most] = [low[i], high[i]].map(u32::from_be);
                (least, most.wrapping_sub(least).wrapping_add(1))
            }
            false => (0, u32::MAX),
        };
        let scaled = (u64::from(hash) * u64::from(distance)) >> 32;
        picked[i] = least.wrapping_add(scaled as u32).to_be();
        within &= picked[i] == high[i];
        // The kernel writes the address where it is, and reads it there.
        if manip == Manip::Destination {
            towards[i] = picked[i];
        }
        if spread == Spread::ByServer {
            hash ^= towards[i].to_le();
        }
    }
    let mut octets = [0; 16];
    for (place, word) in octets.chunks_exact_mut(4).zip(picked) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    match WORDS {
        1 => Ipv4Addr::from_bits(u32::from_be(picked[0])).into(),
        _ => Ipv6Addr::from(octets).into(),
    }
}

/// An address as the kernel keeps it: four words of memory, the rest of them zero.
fn words(address: IpAddr) -> [u32; 4] {
    let mut words = [0; 4];
    let mut fill = |octets: &[u8]| {
        for (word, bytes) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
    };
    match address {
        IpAddr::V4(address) => fill(&address.octets()),
        IpAddr::V6(address) => fill(&address.octets()),
    }
    words
}

/// Jenkins' lookup3 over four words.
fn jhash2(words: [u32; 4], begin: u32) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(16).wrapping_add(begin);
    let [mut a, mut b, mut c] = [words[0], words[1], words[2]].map(|word| start.wrapping_add(word));
    // One round of mixing, then the last word and the final rounds.
    for (x, y, z) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(x);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(y);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(z);
        b = b.wrapping_add(a);
    }
    a = a.wrapping_add(words[3]);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}
