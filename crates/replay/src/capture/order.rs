//! Numbers of either byte order, read from slices that may be too short.

/// Byte order of a capture file or of a section of one: that of the machine that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) })
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    }

    pub(super) fn i64(self, bytes: &[u8]) -> Option<i64> {
        let raw = *bytes.first_chunk()?;
        Some(if self == Self::Little { i64::from_le_bytes(raw) } else { i64::from_be_bytes(raw) })
    }
}
