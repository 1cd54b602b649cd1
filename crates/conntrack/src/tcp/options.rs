//! The TCP options that change how windows are read: scaling and SACK.

use stateward_wire::tcp::{Options, TcpOption};

use super::window::after;
use super::{SideFlags, TcpTrack};
use crate::status::Direction;

/// What a SYN offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offers {
    /// Whether there were any options; without, what is known stays.
    any: bool,
    scale: Option<u8>,
    sack: bool,
}

impl Offers {
    /// RFC 7323: a larger shift is read as this.
    const MAX_SCALE: u8 = 14;

    pub(super) fn read(bytes: &[u8]) -> Offers {
        let mut offers = Offers { any: !bytes.is_empty(), scale: None, sack: false };
        for option in Options::new(bytes) {
            match option {
                TcpOption::WindowScale(shift) => offers.scale = Some(shift.min(Offers::MAX_SCALE)),
                TcpOption::SackPermitted => offers.sack = true,
                _ => {}
            }
        }
        offers
    }

    pub(super) fn scale(self) -> u8 {
        self.scale.unwrap_or(0)
    }

    pub(super) fn flags(self) -> SideFlags {
        let mut flags = SideFlags::default();
        if self.scale.is_some() {
            flags.set(SideFlags::WINDOW_SCALE);
        }
        if self.sack {
            flags.set(SideFlags::SACK_PERMITTED);
        }
        flags
    }

    /// Takes up the offers of a side, forgetting what it was known for.
    pub(super) fn apply(self, track: &mut TcpTrack, side: Direction) {
        if self.any {
            let liberal = track.flags[side].0 & SideFlags::BE_LIBERAL.0;
            track.scale[side] = self.scale();
            track.flags[side] = SideFlags(liberal | self.flags().0);
        }
    }
}

/// The highest right edge of the SACK blocks, or `ack` if none is higher.
#[inline]
pub(super) fn highest_sack(bytes: &[u8], ack: u32) -> u32 {
    /// NOP, NOP, timestamps of ten bytes: what most segments carry, and nothing else.
    const TIMESTAMP_ONLY: [u8; 4] = [1, 1, 8, 10];
    if bytes.is_empty() || (bytes.len() == 12 && bytes.starts_with(&TIMESTAMP_ONLY)) {
        return ack;
    }
    sack_edge(bytes, ack)
}

#[inline(never)]
fn sack_edge(bytes: &[u8], ack: u32) -> u32 {
    for option in Options::new(bytes) {
        if let TcpOption::Sack(blocks) = option {
            // Only the first SACK option counts, as in the kernel.
            return blocks.iter().fold(
                ack,
                |highest, (_, right)| {
                    if after(right, highest) { right } else { highest }
                },
            );
        }
    }
    ack
}
