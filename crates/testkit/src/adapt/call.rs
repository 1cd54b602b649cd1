//! Calls of PPTP: ids that an end knows otherwise than they were given.

use super::ends::{Layout, TCP, word};

const GRE: u8 = 47;
/// What a control message has behind its length.
const CONTROL: [u8; 6] = [0, 1, 0x1a, 0x2b, 0x3c, 0x4d];
const BODY: usize = 12;

/// Where a whole segment's payload begins, and the kind of the control message that it is.
fn control(bytes: &[u8], layout: &Layout) -> Option<(usize, u16)> {
    if layout.protocol != TCP || layout.is_piece {
        return None;
    }
    let begin = layout.transport + usize::from(bytes.get(layout.transport + 12)? >> 4) * 4;
    let is_control = bytes.get(begin + 2..begin + 8)? == CONTROL;
    is_control.then_some((begin, word(bytes, begin + 8)?))
}

/// The id that a client gives a call.
pub(super) fn requested(bytes: &[u8], layout: &Layout) -> Option<u16> {
    const OUT_REQUEST: u16 = 7;
    let (begin, _) = control(bytes, layout).filter(|(_, kind)| *kind == OUT_REQUEST)?;
    word(bytes, begin + BODY)
}

/// Where a server names the client's id.
pub(super) fn client(bytes: &[u8], layout: &Layout) -> Option<usize> {
    const OUT_REPLY: u16 = 8;
    match control(bytes, layout)? {
        (begin, OUT_REPLY) => Some(begin + BODY + 2),
        (begin, 11 | 13..=15) => Some(begin + BODY),
        _ => None,
    }
}

/// Where a GRE packet names its receiver's id.
pub(super) fn receiver(bytes: &[u8], layout: &Layout) -> Option<usize> {
    let at = layout.transport;
    let is_call = layout.protocol == GRE && layout.offset == 0 && bytes.get(at + 1)? & 7 == 1;
    is_call.then_some(at + 6)
}
