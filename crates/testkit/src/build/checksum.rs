//! The internet checksum (RFC 1071) and SCTP's CRC32c (RFC 9260, appendix A).

use super::Checksum;

/// A one's complement sum being made. Parts of odd length may only come last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) fn new() -> Self {
        Self(0)
    }

    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(2).map(|pair| {
            u64::from(u16::from_be_bytes([
                pair.first().copied().unwrap_or_default(),
                pair.get(1).copied().unwrap_or_default(),
            ]))
        });
        Self(self.0 + words.sum::<u64>())
    }

    pub(super) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    pub(super) fn length(self, length: usize) -> Self {
        Self(self.0 + length as u64)
    }

    /// The sum folded to 16 bits, not complemented.
    pub(super) fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // At most 0xffff after the loop.
        sum as u16
    }
}

/// The internet checksum of `bytes`.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    !Sum::new().add(bytes).folded()
}

/// Writes a checksum into the zeroed field at `at`: `sum` is that of everything it covers, `pseudo`
/// of the pseudo-header alone.
pub(super) fn place(bytes: &mut [u8], at: usize, checksum: Checksum, sum: Sum, pseudo: Sum) {
    let right = !sum.folded();
    let value = match checksum {
        Checksum::Right => right,
        Checksum::Wrong if right ^ 1 == 0 => 2,
        Checksum::Wrong => right ^ 1,
        Checksum::Zero => 0,
        Checksum::Offloaded => pseudo.folded(),
    };
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// The Castagnoli polynomial, reflected.
const CASTAGNOLI: u32 = 0x82f6_3b78;

/// CRC32c of `bytes`; SCTP writes it little-endian.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ CASTAGNOLI } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
