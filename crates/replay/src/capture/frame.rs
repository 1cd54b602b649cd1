//! What both formats make of a packet record, before its link-layer header is looked at.

use super::Direction;

/// A frame that lies in the window; offsets count from the first unread byte.
pub(super) struct Frame {
    /// Nanoseconds since 1970, or `None` where the format has no room for a time.
    pub(super) time: Option<u64>,
    /// The interface, by its position in the file or section.
    pub(super) declared: usize,
    /// What the record itself says; it wins over the link header.
    pub(super) direction: Option<Direction>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Length of the whole record: where the next one begins.
    pub(super) record: usize,
    /// Length of the frame on the wire.
    pub(super) original: u32,
}
