//! SCTP: associations by their chunks and verification tags.
//!
//! A packet carries several chunks, and each may move the state; the tag in the common header must
//! be the one the receiver chose, which INIT and INIT_ACK announce. A HEARTBEAT opens a further path
//! of an association whose handshake went another way. Kernel counterpart:
//! `nf_conntrack_proto_sctp.c`. Source: RFC 9260 (section numbers below are its).

mod chunks;
mod states;

use core::fmt;

use stateward_wire::sctp::chunk;
use stateward_wire::{Packet, SctpHeader, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::decision::{Accept, L4Decision};
use crate::event::EventMask;
use crate::reason::Reason;
use crate::status::{Direction, PerDir};
use crate::sysctl::span;
use crate::tracker::L4Context;
use chunks::{Chunk, Chunks, Kinds, Signal};

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
    /// The tag that packets of each direction must carry; 0 while unknown.
    tag: PerDir<u32>,
    state: u8,
    /// A HEARTBEAT with another tag: 0 none, else 1 + its direction.
    doubted: u8,
    /// Whether each direction has sent an INIT that no COOKIE_ACK has ended.
    init_seen: PerDir<u8>,
    _unused: [u32; 11],
}

impl SctpTrack {
    pub(crate) fn state(&self) -> SctpState {
        SctpState::from_u8(self.state)
    }

    pub(crate) fn info(&self, with_tags: bool) -> SctpInfo {
        SctpInfo { state: self.state(), tags: with_tags.then_some(self.tag) }
    }

    fn doubt(&mut self, direction: Direction) {
        self.doubted = 1 + direction as u8;
    }

    fn believe(&mut self) {
        self.doubted = 0;
    }

    fn doubts(&self, direction: Direction) -> bool {
        self.doubted == 1 + direction as u8
    }

    fn init(&mut self, direction: Direction, tag: u32) {
        // Both have sent one and this side does again: a new beginning, no collision.
        if self.init_seen[direction] != 0 && self.init_seen[!direction] != 0 {
            self.init_seen[!direction] = 0;
        }
        self.init_seen[direction] = 1;
        self.tag[!direction] = tag;
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
        match state {
            // No association stays in NONE; the kernel's table has CLOSED's value there.
            SctpState::None | SctpState::Closed => self.closed,
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
    if context.is_new
        && let Err(reason) = open(track, &seen)
    {
        return L4Decision::Invalid(reason);
    }
    if let Err(reason) = common_tag(track, &seen) {
        return L4Decision::Invalid(reason);
    }
    let mut before = Before::default();
    for chunk in seen.chunks() {
        if let Err(reason) = take(track, context, &seen, &chunk, &mut before) {
            return refuse(track, &before, reason);
        }
    }
    settle(track, context, &before)
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

/// What the chunks before have brought about.
#[derive(Default)]
struct Before {
    events: EventMask,
    assured: bool,
    /// The packet passes, but does not count: the reason, if there is one to tell.
    ignored: Option<Option<Reason>>,
}

fn check<'a>(context: &L4Context<'_>, packet: &'a Packet<'_>) -> Result<Seen<'a>, Reason> {
    let l4 = packet.l4();
    let header = SctpHeader::view(l4).ok_or(Reason::ShortHeader { protocol: protocol::SCTP })?;
    context.verify_checksum(packet, protocol::SCTP)?;
    Ok(Seen {
        l4,
        direction: context.direction,
        tag: header.verification_tag.get(),
        kinds: Kinds::of(Chunks::of(l4)).ok_or(Reason::SctpChunks)?,
    })
}

/// The first packet of an entry: kernel `sctp_new`.
fn open(track: &mut SctpTrack, seen: &Seen<'_>) -> Result<(), Reason> {
    *track = SctpTrack::default();
    // 8.4: what answers an association that we do not know asks for no answer itself.
    if seen.kinds.has_any(&[chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK]) {
        return Err(Reason::SctpInvalidNew);
    }
    for chunk in seen.chunks() {
        match chunk.signal().ok_or(Reason::SctpInvalidNew)? {
            Signal::Init => {
                zero_tag(seen)?;
                track.tag[Direction::Reply] = initiate_tag(&chunk)?;
            }
            Signal::Heartbeat => track.tag[Direction::Original] = seen.tag,
            _ => track.tag[Direction::Reply] = seen.tag,
        }
    }
    Ok(())
}

/// The tag of a packet none of whose chunks has a rule of its own (8.5).
fn common_tag(track: &SctpTrack, seen: &Seen<'_>) -> Result<(), Reason> {
    const EXEMPT: [u8; 7] = [
        chunk::INIT,
        chunk::SHUTDOWN_COMPLETE,
        chunk::COOKIE_ECHO,
        chunk::ABORT,
        chunk::SHUTDOWN_ACK,
        chunk::HEARTBEAT,
        chunk::HEARTBEAT_ACK,
    ];
    if seen.kinds.has_any(&EXEMPT) {
        return Ok(());
    }
    matching_tag(seen, track.tag[seen.direction])
}

fn zero_tag(seen: &Seen<'_>) -> Result<(), Reason> {
    matching_tag(seen, 0)
}

fn matching_tag(seen: &Seen<'_>, expected: u32) -> Result<(), Reason> {
    if seen.tag == expected {
        return Ok(());
    }
    Err(Reason::SctpVerificationTag { tag: seen.tag, expected })
}

fn initiate_tag(chunk: &Chunk) -> Result<u32, Reason> {
    chunk.initiate_tag.ok_or(Reason::BadLength { protocol: protocol::SCTP })
}

/// One chunk: its tag, the state it leads to, and the tags it announces.
fn take(
    track: &mut SctpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    chunk: &Chunk,
    before: &mut Before,
) -> Result<(), Reason> {
    let direction = seen.direction;
    let Some(signal) = chunk.signal() else { return Ok(()) };
    match signal {
        Signal::Init => zero_tag(seen)?,
        Signal::Abort | Signal::ShutdownComplete => {
            let owner = if chunk.reflected { !direction } else { direction };
            matching_tag(seen, track.tag[owner])?;
        }
        Signal::CookieEcho => matching_tag(seen, track.tag[direction])?,
        Signal::CookieAck => track.init_seen = PerDir::default(),
        Signal::Heartbeat => {
            if let Some(reason) = heartbeat(track, seen, before)? {
                before.ignored = Some(Some(reason));
                return Ok(());
            }
        }
        Signal::HeartbeatAck => heartbeat_ack(track, seen, before)?,
        _ => {}
    }
    let old = track.state();
    let Some(new) = states::next(direction, signal, old) else {
        return Err(Reason::SctpState { chunk: chunk.kind, direction, state: old });
    };
    match signal {
        Signal::Init => {
            track.init(direction, initiate_tag(chunk)?);
            if old == SctpState::Closed && new == SctpState::Closed && !context.is_new {
                before.ignored = Some(None);
            }
        }
        Signal::InitAck => init_ack(track, direction, initiate_tag(chunk)?)?,
        _ => {}
    }
    track.state = new as u8;
    if old != new {
        before.events = EventMask::PROTOINFO;
        before.assured |= new == SctpState::Established;
    }
    Ok(())
}

/// A HEARTBEAT
fn heartbeat(
    track: &mut SctpTrack,
    seen: &Seen<'_>,
    before: &Before,
) -> Result<Option<Reason>, Reason> {
    let own = &mut track.tag[seen.direction];
    if *own == 0 {
        *own = seen.tag;
    } else if let Err(reason) = matching_tag(seen, *own) {
        if seen.kinds.has(chunk::DATA) || before.ignored.is_some() {
            return Err(reason);
        }
        track.doubt(seen.direction);
        return Ok(Some(reason));
    } else {
        track.believe();
    }
    Ok(None)
}

fn heartbeat_ack(track: &mut SctpTrack, seen: &Seen<'_>, before: &Before) -> Result<(), Reason> {
    let direction = seen.direction;
    if track.tag[direction] == 0 {
        track.tag[direction] = seen.tag;
    } else if let Err(reason) = matching_tag(seen, track.tag[direction]) {
        let answers = track.doubts(!direction);
        if seen.kinds.has(chunk::DATA) || before.ignored.is_some() || !answers {
            return Err(reason);
        }
        track.believe();
        track.tag[direction] = seen.tag;
        track.tag[!direction] = 0;
    } else {
        track.believe();
    }
    Ok(())
}

fn init_ack(track: &mut SctpTrack, direction: Direction, tag: u32) -> Result<(), Reason> {
    let expected = track.tag[!direction];
    let seen =
        PerDir([track.init_seen[Direction::Original] != 0, track.init_seen[Direction::Reply] != 0]);
    let unasked = !seen[!direction] && expected != 0;
    let collision = seen[direction] && seen[!direction];
    if (unasked || collision) && tag != expected {
        return Err(Reason::SctpVerificationTag { tag, expected });
    }
    track.tag[!direction] = tag;
    Ok(())
}

/// A later chunk is refused.
fn refuse(track: &mut SctpTrack, before: &Before, reason: Reason) -> L4Decision {
    let _ = (track, before);
    L4Decision::Invalid(reason)
}

/// All chunks are taken: the timeout of the last one's state.
fn settle(track: &mut SctpTrack, context: &L4Context<'_>, before: &Before) -> L4Decision {
    if let Some(reason) = before.ignored {
        return L4Decision::Ignore(reason);
    }
    let mut accept = Accept::refresh(span(context.sysctls.sctp.of(track.state())));
    accept.events = before.events;
    accept.assured = before.assured;
    L4Decision::Accept(accept)
}
