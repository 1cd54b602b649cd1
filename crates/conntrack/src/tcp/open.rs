//! The first segment of an entry: a SYN, or with nf_conntrack_tcp_loose the middle of a connection.
//!
//! Kernel counterpart: `tcp_new`.

use super::Seen;
use super::options::Offers;
use super::states::{self, Next, Segment, TcpState};
use super::track::{SideFlags, TcpTrack};
use crate::reason::Reason;
use crate::status::{Direction, PerDir};
use crate::sysctl::Sysctls;

/// The first segment of an entry: kernel `tcp_new`.
#[inline(never)]
pub(super) fn open(track: &mut TcpTrack, seen: &Seen<'_>, sysctls: &Sysctls) -> Result<(), Reason> {
    let new = states::next(Direction::Original, seen.segment, TcpState::None);
    let Next::State(new) = new else {
        return Err(Reason::TcpInvalidNew { segment: seen.segment });
    };
    let side = Direction::Original;
    *track = TcpTrack::default();
    track.last_segment = Segment::None as u8;
    track.end[side] = seen.end;
    track.max_end[side] = seen.end;
    track.max_window[side] = u32::from(seen.window).max(1);
    if new == TcpState::SynSent {
        Offers::read(seen.options).apply(track, side);
    } else if !sysctls.tcp_loose {
        return Err(Reason::TcpPickupDisabled);
    } else {
        // In the middle of a connection: scaling and the other side's numbers are unknown, so
        // that its window cannot be checked.
        track.max_end[side] = seen.end.wrapping_add(track.max_window[side]);
        let flags = SideFlags(SideFlags::SACK_PERMITTED.0 | SideFlags::BE_LIBERAL.0);
        track.flags = PerDir([flags; 2]);
    }
    Ok(())
}
