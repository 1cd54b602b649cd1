//! SCTP: associations by their chunks and verification tags.
//!
//! A state says what has been *seen*, as with TCP: CLOSED that an INIT went by (or the
//! association's end), COOKIE_WAIT that it was answered, ESTABLISHED that the cookie was
//! acknowledged. The tag in the common header is the one that the receiver chose in its INIT or
//! INIT_ACK; it is all that keeps a stranger out, for transmission sequence numbers are not looked
//! at. HEARTBEAT_SENT is a path whose handshake went another way (multihoming): its tags are learnt
//! from what goes by.
//!
//! A packet carries several chunks, each with an effect of its own, and takes this way:
//!
//! 1. [`check`]: the header, its CRC32c, and chunks that may stand together ([`chunks`]);
//! 2. [`open`]: without an entry, may it start one, and which tags does it tell?
//! 3. [`Tags::check`]: the rule for the tag of an ordinary packet ([`tags`]);
//! 4. [`take`], chunk by chunk: the chunk's own rule for the tag, the state it leads to
//!    ([`states`]), the tag it announces;
//! 5. [`settle`]: the timeout of the last state.
//!
//! A chunk that is refused makes the packet INVALID, but what the chunks before it did stays done.
//! The addresses that an INIT or ASCONF lists are not read: a further path is an entry of its own.
//!
//! Kernel counterpart: `nf_conntrack_proto_sctp.c`. Source: RFC 9260 (section numbers below are
//! its).

mod chunks;
mod states;
mod tags;
#[cfg(test)]
mod tests;

use core::fmt;

use stateward_wire::sctp::chunk;
use stateward_wire::{Packet, SctpHeader, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::decision::{Accept, L4Decision};
use crate::entry::L4State;
use crate::event::EventMask;
use crate::reason::Reason;
use crate::status::{Direction, PerDir};
use crate::sysctl::span;
use crate::time::Span;
use crate::tracker::L4Context;
use chunks::{Chunk, Chunks, Kinds, Signal};
use tags::{Heartbeat, Tags};

/// The state of an association, numbered as the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum SctpState {
    /// Nothing seen.
    None = 0,
    /// An INIT, or the end of the association.
    Closed = 1,
    /// An INIT_ACK.
    CookieWait = 2,
    /// A COOKIE_ECHO.
    CookieEchoed = 3,
    /// A COOKIE_ACK, or the answer to a HEARTBEAT.
    Established = 4,
    /// A SHUTDOWN of the original direction.
    ShutdownSent = 5,
    /// A SHUTDOWN of the reply direction.
    ShutdownRecd = 6,
    /// A SHUTDOWN_ACK.
    ShutdownAckSent = 7,
    /// A HEARTBEAT on a new path.
    HeartbeatSent = 8,
}

impl SctpState {
    /// Every state, in the order of their numbers.
    pub const ALL: [SctpState; 9] = [
        SctpState::None,
        SctpState::Closed,
        SctpState::CookieWait,
        SctpState::CookieEchoed,
        SctpState::Established,
        SctpState::ShutdownSent,
        SctpState::ShutdownRecd,
        SctpState::ShutdownAckSent,
        SctpState::HeartbeatSent,
    ];

    /// The name that `conntrack -L` prints.
    pub const fn name(self) -> &'static str {
        match self {
            SctpState::None => "NONE",
            SctpState::Closed => "CLOSED",
            SctpState::CookieWait => "COOKIE_WAIT",
            SctpState::CookieEchoed => "COOKIE_ECHOED",
            SctpState::Established => "ESTABLISHED",
            SctpState::ShutdownSent => "SHUTDOWN_SENT",
            SctpState::ShutdownRecd => "SHUTDOWN_RECD",
            SctpState::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            SctpState::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    /// As [`crate::tcp::TcpState`]: may be dropped early even if ASSURED.
    pub(crate) const fn is_closing(self) -> bool {
        matches!(
            self,
            SctpState::ShutdownSent | SctpState::ShutdownRecd | SctpState::ShutdownAckSent
        )
    }

    fn from_u8(number: u8) -> SctpState {
        SctpState::ALL.get(usize::from(number)).copied().unwrap_or(SctpState::None)
    }
}

impl fmt::Display for SctpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The SCTP part of an entry.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SctpTrack {
    tags: Tags,
    state: u8,
    _odd: u8,
    _even: u16,
    _unused: [u32; 10],
}

impl SctpTrack {
    /// The view of an entry's protocol part.
    pub(crate) fn of(state: &L4State) -> &SctpTrack {
        zerocopy::transmute_ref!(state)
    }

    pub(crate) fn state(&self) -> SctpState {
        SctpState::from_u8(self.state)
    }

    /// An entry of which the state alone is known: its tags are 0.
    pub(crate) fn load(entry: &mut L4State, state: SctpState) {
        let track: &mut SctpTrack = zerocopy::transmute_mut!(entry);
        *track = SctpTrack { state: state as u8, ..SctpTrack::default() };
    }

    pub(crate) fn info(&self, with_tags: bool) -> SctpInfo {
        SctpInfo { state: self.state(), tags: with_tags.then(|| self.tags.expected()) }
    }
}

/// What events and dumps tell of an association.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SctpInfo {
    /// The state.
    pub state: SctpState,
    /// The verification tag of each direction; absent from DESTROY events.
    pub tags: Option<PerDir<u32>>,
}

/// SCTP's timeouts in seconds, one a sysctl.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// `nf_conntrack_sctp_timeout_closed`.
    pub closed: u32,
    /// `nf_conntrack_sctp_timeout_cookie_wait`.
    pub cookie_wait: u32,
    /// `nf_conntrack_sctp_timeout_cookie_echoed`.
    pub cookie_echoed: u32,
    /// `nf_conntrack_sctp_timeout_established`.
    pub established: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_sent`.
    pub shutdown_sent: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_recd`.
    pub shutdown_recd: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_ack_sent`.
    pub shutdown_ack_sent: u32,
    /// `nf_conntrack_sctp_timeout_heartbeat_sent`.
    pub heartbeat_sent: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            closed: 10,
            cookie_wait: 3,
            cookie_echoed: 3,
            established: 210,
            shutdown_sent: 3,
            shutdown_recd: 3,
            shutdown_ack_sent: 3,
            heartbeat_sent: 30,
        }
    }
}

impl Timeouts {
    /// The field behind `nf_conntrack_sctp_timeout_<name>`.
    pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "closed" => &mut self.closed,
            "cookie_wait" => &mut self.cookie_wait,
            "cookie_echoed" => &mut self.cookie_echoed,
            "established" => &mut self.established,
            "shutdown_sent" => &mut self.shutdown_sent,
            "shutdown_recd" => &mut self.shutdown_recd,
            "shutdown_ack_sent" => &mut self.shutdown_ack_sent,
            "heartbeat_sent" => &mut self.heartbeat_sent,
            _ => return None,
        })
    }

    fn of(&self, state: SctpState) -> u32 {
        /// No sysctl reaches it. Only an entry that an administrator made is ever in NONE.
        const NONE: u32 = 10;
        match state {
            SctpState::None => NONE,
            SctpState::Closed => self.closed,
            SctpState::CookieWait => self.cookie_wait,
            SctpState::CookieEchoed => self.cookie_echoed,
            SctpState::Established => self.established,
            SctpState::ShutdownSent => self.shutdown_sent,
            SctpState::ShutdownRecd => self.shutdown_recd,
            SctpState::ShutdownAckSent => self.shutdown_ack_sent,
            SctpState::HeartbeatSent => self.heartbeat_sent,
        }
    }
}

/// A packet whose header and chunks are in order.
struct Seen<'a> {
    l4: &'a [u8],
    direction: Direction,
    tag: u32,
    kinds: Kinds,
}

impl Seen<'_> {
    fn chunks(&self) -> Chunks<'_> {
        Chunks::of(self.l4)
    }
}

/// One packet of an association, or of one that would be.
pub(crate) fn packet(
    track: &mut SctpTrack,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    let seen = match check(context, packet) {
        Ok(seen) => seen,
        Err(reason) => return L4Decision::Invalid(reason),
    };
    let opened = if context.is_new { open(track, &seen) } else { Ok(()) };
    if let Err(reason) = opened.and_then(|()| track.tags.check(&seen)) {
        return L4Decision::Invalid(reason);
    }
    let mut accept = Accept::refresh(Span(0));
    for chunk in seen.chunks() {
        if let Err(reason) = take(track, context, &seen, &chunk, &mut accept) {
            // What came before stays done, and is told with the next packet that passes.
            return L4Decision::InvalidChanged(reason, accept);
        }
    }
    settle(track, context, accept)
}

fn check<'a>(context: &L4Context<'_>, packet: &'a Packet<'_>) -> Result<Seen<'a>, Reason> {
    let l4 = packet.l4();
    let header = SctpHeader::view(l4).ok_or(Reason::ShortHeader { protocol: protocol::SCTP })?;
    context.verify_checksum(packet, protocol::SCTP)?;
    let kinds = Kinds::of(Chunks::of(l4)).ok_or(Reason::SctpChunks)?;
    let tag = header.verification_tag.get();
    Ok(Seen { l4, direction: context.direction, tag, kinds })
}

/// The first packet of an entry: kernel `sctp_new`. More opens than INIT and HEARTBEAT: the middle
/// of a handshake, SHUTDOWN and ERROR (with the tag 0, for no other is known yet), HEARTBEAT_ACK,
/// and SHUTDOWN_ACK, which a SHUTDOWN_COMPLETE will answer (8.4, rule 5). What carries data does
/// not.
fn open(track: &mut SctpTrack, seen: &Seen<'_>) -> Result<(), Reason> {
    *track = SctpTrack::default();
    // Of no use to anybody when they come out of the blue (8.4).
    if seen.kinds.has_any(&[chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK]) {
        return Err(Reason::SctpInvalidNew);
    }
    for chunk in seen.chunks() {
        match chunk.signal().ok_or(Reason::SctpInvalidNew)? {
            Signal::Heartbeat => track.tags.learn(Direction::Original, seen.tag),
            // Its answer reflects the tag.
            Signal::ShutdownAck => track.tags.learn(Direction::Reply, seen.tag),
            _ => {}
        }
    }
    Ok(())
}

fn initiate_tag(chunk: &Chunk) -> Result<u32, Reason> {
    chunk.initiate_tag.ok_or(Reason::BadLength { protocol: protocol::SCTP })
}

/// One chunk.
fn take(
    track: &mut SctpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    chunk: &Chunk,
    accept: &mut Accept,
) -> Result<(), Reason> {
    let Some(signal) = chunk.signal() else { return Ok(()) };
    let direction = seen.direction;
    match signal {
        Signal::Init => tags::must_be(seen, 0)?,
        Signal::Abort | Signal::ShutdownComplete => track.tags.check_end(seen, chunk.reflected)?,
        Signal::CookieEcho => track.tags.check_own(seen)?,
        Signal::CookieAck => track.tags.handshake_done(),
        Signal::Heartbeat => {
            if let Heartbeat::Doubted(reason) = track.tags.heartbeat(seen)? {
                // One a packet may be in doubt.
                accept.timeout = None;
                let first = accept.reason.replace(reason).is_none();
                return if first { Ok(()) } else { Err(reason) };
            }
        }
        Signal::HeartbeatAck => track.tags.heartbeat_ack(seen)?,
        // The ordinary rule has been applied, unless another chunk of the packet lifts it; a
        // SHUTDOWN_ACK lifts it for itself, since it may answer for an association that is gone.
        Signal::InitAck | Signal::Shutdown | Signal::ShutdownAck | Signal::Error => {}
    }
    let old = track.state();
    let Some(new) = states::next(direction, signal, old) else {
        return Err(Reason::SctpState { chunk: chunk.kind, direction, state: old });
    };
    match signal {
        Signal::Init => {
            let tag = initiate_tag(chunk)?;
            // A late or repeated INIT is known by its tag, which `open` has taken from a first one.
            if old == SctpState::None || !track.tags.is_known(direction, tag) {
                track.tags.begin(direction);
            }
            track.tags.announce(direction, tag);
            // An INIT sent again does not keep the entry: else a client that uses its port again,
            // or a NAT in front of it, would hold it for ever.
            if old == new && new == SctpState::Closed && !context.is_new {
                accept.timeout = None;
            }
        }
        Signal::InitAck => track.tags.init_ack(direction, initiate_tag(chunk)?)?,
        _ => {}
    }
    track.state = new as u8;
    if old != new {
        accept.events = EventMask::PROTOINFO;
        accept.assured |= new == SctpState::Established;
    }
    Ok(())
}

/// Every chunk has been taken: the timeout of the state they lead to, unless one is in doubt.
fn settle(track: &SctpTrack, context: &L4Context<'_>, accept: Accept) -> L4Decision {
    let full = span(context.timeouts.sctp.of(track.state()));
    L4Decision::Accept(Accept { timeout: accept.timeout.and(Some(full)), ..accept })
}
