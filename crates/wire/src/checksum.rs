//! The Internet checksum (RFC 1071): whole, by increments (RFC 1624), and the verdict on a packet's
//! own.
//!
//! A ones'-complement sum does not care about byte order but for its final 16 bits, so [`Sum`] adds
//! the bytes as eight-byte words, lowest byte first, and swaps once at the end.
//!
//! Incremental updates are RFC 1624's equation 3, HC' = ~(~HC + ~m + m'), gathered in a [`Delta`],
//! because one change of address updates both the IPv4 header's checksum and the transport's.

use crate::{Network, Packet};

#[cfg(test)]
mod tests;
mod verify;

pub use verify::{Verification, is_good, verify_transport};

/// A running ones'-complement sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`, as if a zero byte followed if they are odd.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        Self::ZERO.bytes(bytes)
    }

    /// Adds `bytes`. What was added before must have been of even length.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        /// From here on the vector unit is faster than a chain of carries.
        const LONG: usize = 128;
        if bytes.len() >= LONG {
            return self.plus(Self::long(bytes));
        }
        let word = |sum: Self, word: &[u8; 8]| sum.plus(Self(u64::from_le_bytes(*word)));
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut sum = self;
        for block in blocks {
            sum = block.as_chunks::<8>().0.iter().fold(sum, word);
        }
        let (words, tail) = rest.as_chunks::<8>();
        sum = words.iter().fold(sum, word);
        match tail {
            [] => sum,
            _ => sum.plus(Self::tail(bytes, tail)),
        }
    }

    #[inline(never)]
    fn long(bytes: &[u8]) -> Self {
        let (words, tail) = bytes.as_chunks::<8>();
        let mut sum = 0_u64;
        // Adding halves cannot overflow before 2^32 words, and leaves the loop to the vector unit.
        for word in words {
            let word = u64::from_le_bytes(*word);
            sum += (word & 0xffff_ffff) + (word >> 32);
        }
        Self(sum).plus(Self::tail(bytes, tail))
    }

    /// What is left of `bytes` after its whole words: read with the bytes before it, if there are
    /// enough, which are shifted out.
    #[inline]
    fn tail(bytes: &[u8], tail: &[u8]) -> Self {
        let sum = match bytes.last_chunk::<8>() {
            Some(last) => {
                u64::from_le_bytes(*last).checked_shr(64 - 8 * tail.len() as u32).unwrap_or(0)
            }
            None => tail.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        Self(sum)
    }

    /// Adds four bytes.
    #[inline]
    pub fn word(self, bytes: [u8; 4]) -> Self {
        self.plus(Self(u64::from(u32::from_le_bytes(bytes))))
    }

    /// Adds a number of 16 bits.
    #[inline]
    pub fn u16(self, value: u16) -> Self {
        self.plus(Self(u64::from(value.swap_bytes())))
    }

    /// Adds a number of 32 bits.
    #[inline]
    pub fn u32(self, value: u32) -> Self {
        self.plus(Self(u64::from(value.swap_bytes())))
    }

    /// Adds another sum.
    #[inline]
    pub fn plus(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        Self(sum + u64::from(carry))
    }

    /// The sum in 16 bits, not complemented. It is 0 only if nothing but zeros was added.
    #[inline]
    pub fn fold(self) -> u16 {
        // Adding a number to itself with its halves exchanged leaves the sum of the halves, carry
        // and all, in the upper one.
        let sum = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        let sum = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        (sum as u16).swap_bytes()
    }

    /// The checksum: the complement of [`Self::fold`].
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The checksum of `bytes`, in which the field itself must be zero.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::of(bytes).checksum()
}

/// Whether `header`, an IPv4 header with its options, has the right checksum.
#[inline]
pub fn ipv4_header_is_good(header: &[u8]) -> bool {
    let sum = match header.first_chunk::<20>() {
        Some(fixed) if header.len() == fixed.len() => fixed_header(fixed),
        _ => Sum::of(header),
    };
    sum.fold() == 0xffff
}

/// As [`ipv4_header_is_good`] for a header without options.
#[inline]
pub(crate) fn fixed_header_is_good(header: &[u8; 20]) -> bool {
    fixed_header(header).fold() == 0xffff
}

/// The sum of a header without options: three loads.
#[inline]
fn fixed_header(header: &[u8; 20]) -> Sum {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = *header;
    let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let high = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
    let last = u64::from(u32::from_le_bytes([q, r, s, t]));
    Sum(low).plus(Sum(high)).plus(Sum(last))
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 put before their header: addresses,
/// protocol and upper-layer length.
#[inline]
pub fn pseudo_header(network: Network<'_>, protocol: u8, length: usize) -> Sum {
    let addresses = match network {
        Network::V4(header) => Sum::ZERO.word(header.source).word(header.destination),
        Network::V6(header) => Sum::of(&header.source).bytes(&header.destination),
    };
    addresses.u16(u16::from(protocol)).u32(length as u32)
}

/// The right value of the transport checksum of `packet`, whose field must be zero now. `covered`
/// bytes of the upper layer are summed (all but for UDP-Lite).
#[inline]
pub fn transport(packet: &Packet<'_>, protocol: u8, covered: &[u8]) -> u16 {
    pseudo_header(packet.network(), protocol, packet.l4_length()).bytes(covered).checksum()
}

/// A checksum of 0 as UDP sends it: 0xffff, since 0 means none.
#[inline]
pub const fn udp(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The CRC32c of an SCTP packet, its own field counted as zero, in the field's byte order.
pub fn sctp(l4: &[u8]) -> [u8; 4] {
    static TABLE: crc::Crc<u32, crc::Table<16>> =
        crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);
    let mut digest = TABLE.digest();
    digest.update(l4.get(..8).unwrap_or(l4));
    digest.update(&[0; 4]);
    digest.update(l4.get(12..).unwrap_or_default());
    digest.finalize().to_le_bytes()
}

/// What a checksum's covered bytes changed by: old ones out, new ones in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Delta(Sum);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(Sum::ZERO);

    /// A change of 16 bits at an even offset.
    #[inline]
    pub fn u16(self, old: u16, new: u16) -> Self {
        Self(self.0.u16(!old).u16(new))
    }

    /// A change of 32 bits at an even offset.
    #[inline]
    pub fn u32(self, old: u32, new: u32) -> Self {
        Self(self.0.u32(!old).u32(new))
    }

    /// A change of bytes at an even offset, of the same even length: an address.
    #[inline]
    pub fn bytes<const N: usize>(self, old: &[u8; N], new: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(2)) };
        Self(self.0.bytes(&old.map(|byte| !byte)).bytes(new))
    }

    /// The checksum that was `checksum` before the change.
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        self.0.u16(!checksum).checksum()
    }

    /// As [`Self::apply`] for a field that holds the pseudo-header's sum, not complemented: see
    /// [`Verification::Unfinished`].
    #[inline]
    pub fn apply_unfinished(self, field: u16) -> u16 {
        self.0.u16(field).fold()
    }
}

/// The checksum after 16 of the covered bits changed.
#[inline]
pub fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    Delta::NONE.u16(old, new).apply(checksum)
}

/// The checksum after 32 of the covered bits changed.
#[inline]
pub fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    Delta::NONE.u32(old, new).apply(checksum)
}
