//! GRE: one flow for each pair of addresses, but for PPTP, which tells its calls apart.
//!
//! Only version 1 (PPTP, RFC 2637) has keys here: the destination key is the call id, the source
//! key is known only from the control connection ([`crate::calls`]). Version 0, keyed or not, has
//! none. The timeouts are those of the moment the entry was made. Kernel counterpart: `nf_conntrack_proto_gre.c`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::decision::{Accept, L4Decision};
use crate::entry::L4State;
use crate::status::Status;
use crate::sysctl::{Sysctls, span};
use crate::tracker::L4Context;

/// The GRE part of an entry: seconds.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct GreTrack {
    pub(crate) timeout: u32,
    pub(crate) stream_timeout: u32,
    _unused: [u32; 12],
}

impl GreTrack {
    /// An entry that has the settings' timeouts.
    pub(crate) fn load(entry: &mut L4State, sysctls: &Sysctls) {
        let track: &mut GreTrack = zerocopy::transmute_mut!(entry);
        track.timeout = sysctls.gre_timeout;
        track.stream_timeout = sysctls.gre_timeout_stream;
    }
}

/// The destination key of a packet; `None` where the kernel finds no tuple.
pub(crate) fn destination_key(l4: &[u8]) -> Option<u16> {
    const VERSION: u8 = 0x07;
    const PPP: [u8; 2] = [0x88, 0x0b];
    // Shorter than any GRE header: treated as a protocol without keys.
    let Some([_, version, protocol_high, protocol_low]) = l4.first_chunk::<4>() else {
        return Some(0);
    };
    if version & VERSION != 1 {
        return Some(0);
    }
    let Some(header) = l4.first_chunk::<8>() else { return Some(0) };
    if [*protocol_high, *protocol_low] != PPP {
        return None;
    }
    Some(u16::from_be_bytes([header[6], header[7]]))
}

/// Whether a packet names its receiver's end of a call.
pub(crate) fn is_of_call(l4: &[u8]) -> bool {
    matches!(l4, [_, version, 0x88, 0x0b, _, _, _, _, ..] if version & 0x07 == 1)
}

/// One packet of a flow.
pub(crate) fn packet(track: &mut GreTrack, context: &L4Context<'_>) -> L4Decision {
    if context.is_new {
        track.timeout = context.timeouts.gre_timeout;
        track.stream_timeout = context.timeouts.gre_timeout_stream;
    }
    if !context.status.has(Status::SEEN_REPLY) {
        return L4Decision::Accept(Accept::refresh(span(track.timeout)));
    }
    let mut accept = Accept::refresh(span(track.stream_timeout));
    accept.assured = !context.status.has(Status::ASSURED) && !context.status.has(Status::NAT_CLASH);
    L4Decision::Accept(accept)
}
