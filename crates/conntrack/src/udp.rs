//! UDP and UDP-Lite: no state but who has spoken.
//!
//! UDP is a stream, with the longer timeout and ASSURED, once a packet comes more than two seconds
//! after the first and a reply has been seen: a DNS exchange never is. UDP-Lite is one with the
//! second packet after the reply. Kernel counterpart: `nf_conntrack_proto_udp.c`. Sources: RFC 768,
//! RFC 3828.

use stateward_wire::{Packet, UdpHeader, checksum, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::decision::{Accept, L4Decision};
use crate::reason::Reason;
use crate::status::Status;
use crate::sysctl::span;
use crate::time::{Instant, Span};
use crate::tracker::{Circumstances, L4Context};

/// How long after the first packet a flow counts as a stream.
const STREAM_AFTER: Span = Span::secs(2);

/// The UDP part of an entry.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct UdpTrack {
    /// Nanoseconds, low word first: later packets make the flow a stream.
    stream_from: [u32; 2],
    _unused: [u32; 12],
}

impl UdpTrack {
    fn stream_from(&self) -> Instant {
        Instant(u64::from(self.stream_from[0]) | u64::from(self.stream_from[1]) << 32)
    }

    fn set_stream_from(&mut self, instant: Instant) {
        self.stream_from = [instant.0 as u32, (instant.0 >> 32) as u32];
    }
}

/// What nearly every datagram is: one of a stream. Gives the new timeout, as [`packet`] would;
/// `None`, and nothing done, for any other. The caller knows that the connection is ASSURED and has
/// SEEN_REPLY.
#[inline(always)]
pub(crate) fn steady(
    track: &UdpTrack,
    circumstances: Circumstances<'_>,
    packet: &Packet<'_>,
) -> Option<Span> {
    if circumstances.now <= track.stream_from() {
        return None;
    }
    let header = UdpHeader::view(packet.l4())?;
    let length = usize::from(header.length.get());
    if length > packet.l4_length() || length < size_of::<UdpHeader>() {
        return None;
    }
    let verify = circumstances.verify && header.checksum.get() != 0;
    if verify && !checksum::is_good(packet, protocol::UDP) {
        return None;
    }
    Some(span(circumstances.sysctls.udp_timeout_stream))
}

/// One UDP datagram.
#[inline]
pub(crate) fn packet(
    track: &mut UdpTrack,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    if let Err(reason) = check(context, packet) {
        return L4Decision::Invalid(reason);
    }
    if context.is_new {
        track.set_stream_from(context.now + STREAM_AFTER);
    }
    let timeouts = context.timeouts;
    if !context.status.has(Status::SEEN_REPLY) || context.now <= track.stream_from() {
        return L4Decision::Accept(Accept::refresh(span(timeouts.udp_timeout)));
    }
    let mut accept = Accept::refresh(span(timeouts.udp_timeout_stream));
    // What lost a race is gone soon and protects nothing.
    accept.assured = !context.status.has(Status::ASSURED) && !context.status.has(Status::NAT_CLASH);
    L4Decision::Accept(accept)
}

#[inline]
fn check(context: &L4Context<'_>, packet: &Packet<'_>) -> Result<(), Reason> {
    const PROTOCOL: u8 = protocol::UDP;
    let header = UdpHeader::view(packet.l4()).ok_or(Reason::ShortHeader { protocol: PROTOCOL })?;
    let length = usize::from(header.length.get());
    if length > packet.l4_length() || length < size_of::<UdpHeader>() {
        return Err(Reason::BadLength { protocol: PROTOCOL });
    }
    // 0 is "not computed", which the kernel lets pass for IPv6 too.
    if header.checksum.get() == 0 {
        return Ok(());
    }
    context.verify_checksum(packet, PROTOCOL)
}

/// One UDP-Lite datagram.
pub(crate) fn lite_packet(context: &L4Context<'_>, packet: &Packet<'_>) -> L4Decision {
    if let Err(reason) = check_lite(context, packet) {
        return L4Decision::Invalid(reason);
    }
    if !context.status.has(Status::SEEN_REPLY) {
        return L4Decision::Accept(Accept::refresh(span(context.timeouts.udp_timeout)));
    }
    let mut accept = Accept::refresh(span(context.timeouts.udp_timeout_stream));
    accept.assured = !context.status.has(Status::ASSURED) && !context.status.has(Status::NAT_CLASH);
    L4Decision::Accept(accept)
}

fn check_lite(context: &L4Context<'_>, packet: &Packet<'_>) -> Result<(), Reason> {
    const PROTOCOL: u8 = protocol::UDPLITE;
    let header = UdpHeader::view(packet.l4()).ok_or(Reason::ShortHeader { protocol: PROTOCOL })?;
    // The length field is the checksum's coverage; 0 is all.
    let coverage = usize::from(header.length.get());
    if coverage > packet.l4_length() || (coverage != 0 && coverage < size_of::<UdpHeader>()) {
        return Err(Reason::BadLength { protocol: PROTOCOL });
    }
    if header.checksum.get() == 0 {
        return Err(Reason::ChecksumMissing);
    }
    context.verify_checksum(packet, PROTOCOL)
}
