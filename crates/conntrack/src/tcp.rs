//! TCP: the state of a connection as the machine in the middle sees it.
//!
//! Every packet passes through us but may be lost behind us, and we may have missed what came
//! before. So a state says what has been *seen*: FIN_WAIT that a FIN of either side went by,
//! CLOSE_WAIT that it was acknowledged, LAST_ACK that the other side's FIN went by too. A packet
//! takes this way:
//!
//! 1. [`check`]: is this a TCP segment at all (length, checksum, flags)?
//! 2. [`open`]: without an entry, may it start one?
//! 3. [`states`]: what would it do to the state?
//! 4. [`special_cases`]: segments whose meaning depends on what went before them (a SYN or RST out
//!    of place, challenge ACKs, simultaneous open, reuse of a closed connection).
//! 5. [`window`]: does it fit what both sides have sent and acknowledged?
//! 6. [`settle`]: the new state and timeout.
//!
//! Kernel counterpart: `nf_conntrack_proto_tcp.c`. Sources: RFC 9293, RFC 7323 (scaling), RFC 2018
//! (SACK), RFC 5961 (challenge ACK), and van Rooij's "Real Stateful TCP Packet Filtering".

mod options;
mod states;
mod window;

use core::fmt;

use stateward_wire::{Packet, TcpFlags, TcpHeader, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::decision::{Accept, L4Decision};
use crate::entry::L4State;
use crate::event::EventMask;
use crate::reason::Reason;
use crate::status::{Direction, PerDir, Status};
use crate::sysctl::{Sysctls, span};
use crate::time::Span;
use crate::tracker::L4Context;
use options::Offers;
use states::Next;
use window::{Verdict, Window};

/// The state of a TCP connection, numbered as the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// Nothing seen.
    None = 0,
    /// A SYN of the original direction.
    SynSent = 1,
    /// A SYN/ACK.
    SynRecv = 2,
    /// The handshake's last ACK, or a packet of a connection picked up in its middle.
    Established = 3,
    /// A FIN.
    FinWait = 4,
    /// The ACK of the first FIN.
    CloseWait = 5,
    /// A FIN of the other side.
    LastAck = 6,
    /// The ACK of the second FIN.
    TimeWait = 7,
    /// A RST.
    Close = 8,
    /// A SYN from both sides.
    SynSent2 = 9,
}

impl TcpState {
    /// Every state, in the order of their numbers.
    pub const ALL: [TcpState; 10] = [
        TcpState::None,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::FinWait,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::TimeWait,
        TcpState::Close,
        TcpState::SynSent2,
    ];

    /// The name that `conntrack -L` prints.
    pub const fn name(self) -> &'static str {
        match self {
            TcpState::None => "NONE",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRecv => "SYN_RECV",
            TcpState::Established => "ESTABLISHED",
            TcpState::FinWait => "FIN_WAIT",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Close => "CLOSE",
            TcpState::SynSent2 => "SYN_SENT2",
        }
    }

    /// A connection in this state may be dropped early even if ASSURED, and its numbers are no
    /// longer trusted: one of the sides is done with it.
    pub(crate) const fn is_closing(self) -> bool {
        matches!(
            self,
            TcpState::FinWait
                | TcpState::CloseWait
                | TcpState::LastAck
                | TcpState::TimeWait
                | TcpState::Close
        )
    }

    #[inline]
    fn from_u8(number: u8) -> TcpState {
        match number {
            1 => TcpState::SynSent,
            2 => TcpState::SynRecv,
            3 => TcpState::Established,
            4 => TcpState::FinWait,
            5 => TcpState::CloseWait,
            6 => TcpState::LastAck,
            7 => TcpState::TimeWait,
            8 => TcpState::Close,
            9 => TcpState::SynSent2,
            _ => TcpState::None,
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a segment is to the state table: the strongest of its flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Segment {
    /// SYN without ACK.
    Syn = 0,
    /// SYN with ACK.
    SynAck = 1,
    /// FIN.
    Fin = 2,
    /// ACK alone.
    Ack = 3,
    /// RST.
    Rst = 4,
    /// None of these.
    None = 5,
}

impl Segment {
    #[inline]
    fn of(flags: TcpFlags) -> Segment {
        if !flags.intersects(TcpFlags::RST.union(TcpFlags::SYN).union(TcpFlags::FIN)) {
            return if flags.ack() { Segment::Ack } else { Segment::None };
        }
        if flags.rst() {
            Segment::Rst
        } else if !flags.syn() {
            Segment::Fin
        } else if flags.ack() {
            Segment::SynAck
        } else {
            Segment::Syn
        }
    }

    fn from_u8(number: u8) -> Segment {
        match number {
            0 => Segment::Syn,
            1 => Segment::SynAck,
            2 => Segment::Fin,
            3 => Segment::Ack,
            4 => Segment::Rst,
            _ => Segment::None,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Segment::Syn => "a SYN",
            Segment::SynAck => "a SYN/ACK",
            Segment::Fin => "a FIN",
            Segment::Ack => "an ACK",
            Segment::Rst => "a RST",
            Segment::None => "a segment without flags",
        })
    }
}

/// Options and memories of one side, as ctnetlink shows them (`IP_CT_TCP_FLAG_*`).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub(crate) struct SideFlags(pub(crate) u8);

impl SideFlags {
    /// Offered window scaling.
    pub(crate) const WINDOW_SCALE: SideFlags = SideFlags(0x01);
    /// Understands SACK.
    pub(crate) const SACK_PERMITTED: SideFlags = SideFlags(0x02);
    /// Sent the first FIN.
    pub(crate) const CLOSE_INIT: SideFlags = SideFlags(0x04);
    /// Its window is not checked.
    pub(crate) const BE_LIBERAL: SideFlags = SideFlags(0x08);
    /// Has sent data that was not acknowledged.
    pub(crate) const DATA_UNACKNOWLEDGED: SideFlags = SideFlags(0x10);
    /// `max_ack` holds a value.
    pub(crate) const MAX_ACK_SET: SideFlags = SideFlags(0x20);
    /// In `last_flags`: an ACK may be a challenge, not the last one.
    pub(crate) const EXPECT_CHALLENGE_ACK: SideFlags = SideFlags(0x40);
    /// In `last_flags`: both sides sent a SYN.
    pub(crate) const SIMULTANEOUS_OPEN: SideFlags = SideFlags(0x80);

    #[inline]
    pub(crate) const fn has(self, flag: SideFlags) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: SideFlags) {
        self.0 |= flag.0;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flag: SideFlags) {
        self.0 &= !flag.0;
    }
}

/// The TCP part of an entry: 56 bytes.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TcpTrack {
    /// Highest sequence number sent, plus length.
    end: PerDir<u32>,
    /// Highest one the other side's window allows.
    max_end: PerDir<u32>,
    /// Largest window announced, scaled; 0 while the side has not been seen.
    max_window: PerDir<u32>,
    /// Highest acknowledgement sent.
    max_ack: PerDir<u32>,
    scale: PerDir<u8>,
    flags: PerDir<SideFlags>,
    /// The last segment that was let through without being believed, or the last plain ACK: its
    /// sequence number, acknowledgement, end, window, direction, kind and options.
    last_seq: u32,
    last_ack: u32,
    last_end: u32,
    last_window: u16,
    last_direction: u8,
    last_segment: u8,
    last_scale: u8,
    last_flags: SideFlags,
    /// How often the same ACK has been seen.
    retransmissions: u8,
    state: u8,
}

/// What events and dumps tell of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// The state.
    pub state: TcpState,
    /// Window scale and flags of each side; absent from DESTROY events.
    pub sides: Option<PerDir<TcpSide>>,
}

/// One side of a TCP connection, as ctnetlink tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpSide {
    /// Shift count of the window.
    pub window_scale: u8,
    /// The kernel's `IP_CT_TCP_FLAG_*` bits.
    pub flags: u8,
}

impl TcpTrack {
    /// The view of an entry's protocol part.
    pub(crate) fn of(state: &L4State) -> &TcpTrack {
        zerocopy::transmute_ref!(state)
    }

    pub(crate) fn state(&self) -> TcpState {
        TcpState::from_u8(self.state)
    }

    pub(crate) fn info(&self, with_sides: bool) -> TcpInfo {
        let side = |direction: Direction| TcpSide {
            window_scale: self.scale[direction],
            flags: self.flags[direction].0,
        };
        let sides = PerDir([side(Direction::Original), side(Direction::Reply)]);
        TcpInfo { state: self.state(), sides: with_sides.then_some(sides) }
    }

    fn last_segment(&self) -> Segment {
        Segment::from_u8(self.last_segment)
    }

    fn last_direction(&self) -> Direction {
        Direction::from_u8(self.last_direction)
    }

    fn remember(&mut self, segment: Segment, direction: Direction) {
        self.last_segment = segment as u8;
        self.last_direction = direction as u8;
    }
}

/// TCP's timeouts in seconds, one a sysctl.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// `nf_conntrack_tcp_timeout_syn_sent`.
    pub syn_sent: u32,
    /// `nf_conntrack_tcp_timeout_syn_recv`.
    pub syn_recv: u32,
    /// `nf_conntrack_tcp_timeout_established`.
    pub established: u32,
    /// `nf_conntrack_tcp_timeout_fin_wait`.
    pub fin_wait: u32,
    /// `nf_conntrack_tcp_timeout_close_wait`.
    pub close_wait: u32,
    /// `nf_conntrack_tcp_timeout_last_ack`.
    pub last_ack: u32,
    /// `nf_conntrack_tcp_timeout_time_wait`.
    pub time_wait: u32,
    /// `nf_conntrack_tcp_timeout_close`.
    pub close: u32,
    /// `nf_conntrack_tcp_timeout_max_retrans`: the most after repeated ACKs or a closed window.
    pub max_retrans: u32,
    /// `nf_conntrack_tcp_timeout_unacknowledged`: the most while data waits for its ACK.
    pub unacknowledged: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            syn_sent: 120,
            syn_recv: 60,
            established: 432_000,
            fin_wait: 120,
            close_wait: 60,
            last_ack: 30,
            time_wait: 120,
            close: 10,
            max_retrans: 300,
            unacknowledged: 300,
        }
    }
}

impl Timeouts {
    /// SYN_SENT2 has no sysctl; the kernel keeps two minutes.
    const SYN_SENT2: u32 = 120;

    /// The field behind `nf_conntrack_tcp_timeout_<name>`.
    pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "syn_sent" => &mut self.syn_sent,
            "syn_recv" => &mut self.syn_recv,
            "established" => &mut self.established,
            "fin_wait" => &mut self.fin_wait,
            "close_wait" => &mut self.close_wait,
            "last_ack" => &mut self.last_ack,
            "time_wait" => &mut self.time_wait,
            "close" => &mut self.close,
            "max_retrans" => &mut self.max_retrans,
            "unacknowledged" => &mut self.unacknowledged,
            _ => return None,
        })
    }

    #[inline]
    fn of(&self, state: TcpState) -> u32 {
        // Nearly all segments, spared the jump through a table.
        if state == TcpState::Established {
            return self.established;
        }
        match state {
            // No connection stays in NONE; the kernel's table has SYN_SENT's value there.
            TcpState::None | TcpState::SynSent => self.syn_sent,
            TcpState::SynRecv => self.syn_recv,
            TcpState::Established => self.established,
            TcpState::FinWait => self.fin_wait,
            TcpState::CloseWait => self.close_wait,
            TcpState::LastAck => self.last_ack,
            TcpState::TimeWait => self.time_wait,
            TcpState::Close => self.close,
            TcpState::SynSent2 => Timeouts::SYN_SENT2,
        }
    }
}

/// A segment as the tracker needs it: read once, all numbers in host order.
struct Seen<'a> {
    header: &'a TcpHeader,
    /// The header's options, as many as are there.
    options: &'a [u8],
    segment: Segment,
    direction: Direction,
    seq: u32,
    /// `seq` plus payload, plus one each for SYN and FIN.
    end: u32,
    ack: u32,
    window: u16,
}

impl Seen<'_> {
    #[inline]
    fn flags(&self) -> TcpFlags {
        self.header.flags()
    }
}

/// One segment of a connection, or of one that would be.
#[inline]
pub(crate) fn packet(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    let seen = match check(context, packet) {
        Ok(seen) => seen,
        Err(reason) => return L4Decision::Invalid(reason),
    };
    if context.is_new
        && let Err(reason) = open(track, &seen, context.sysctls)
    {
        return L4Decision::Invalid(reason);
    }
    let old = track.state();
    let step = match states::next(seen.direction, seen.segment, old) {
        // What nearly every segment of a living connection is.
        Next::State(TcpState::Established) => Step::Examine { old, new: TcpState::Established },
        next => special_cases(track, context, &seen, old, next),
    };
    match step {
        Step::Examine { old, new } => examine(track, context, &seen, old, new),
        Step::Settle { new } => settle(track, context, &seen, old, new),
        Step::Done(decision) => decision,
    }
}

/// Whether the segment can be one at all: kernel `tcp_error`.
#[inline]
fn check<'a>(context: &L4Context<'_>, packet: &Packet<'a>) -> Result<Seen<'a>, Reason> {
    let l4 = packet.l4();
    let header = TcpHeader::view(l4).ok_or(Reason::ShortHeader { protocol: protocol::TCP })?;
    let header_length = header.header_length();
    if header_length < size_of::<TcpHeader>() || header_length > packet.l4_length() {
        return Err(Reason::BadLength { protocol: protocol::TCP });
    }
    context.verify_checksum(packet, protocol::TCP)?;
    let flags = header.flags();
    if !states::flags_are_legal(flags) {
        return Err(Reason::TcpFlags { flags: flags.0 });
    }
    let seq = header.sequence.get();
    let length = (packet.l4_length() - header_length) as u32
        + u32::from(flags.syn())
        + u32::from(flags.fin());
    Ok(Seen {
        header,
        options: l4.get(size_of::<TcpHeader>()..header_length.min(l4.len())).unwrap_or_default(),
        segment: Segment::of(flags),
        direction: context.direction,
        seq,
        end: seq.wrapping_add(length),
        ack: header.acknowledgment.get(),
        window: header.window.get(),
    })
}

/// The first segment of an entry: kernel `tcp_new`.
#[inline(never)]
fn open(track: &mut TcpTrack, seen: &Seen<'_>, sysctls: &Sysctls) -> Result<(), Reason> {
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

/// Where a segment goes from the state table.
enum Step {
    /// To the window test, and on to this state; the old one may have been corrected.
    Examine { old: TcpState, new: TcpState },
    /// Past the window test.
    Settle { new: TcpState },
    /// Nowhere.
    Done(L4Decision),
}

/// Segments whose meaning depends on what went before.
#[inline(never)]
fn special_cases(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    next: Next,
) -> Step {
    let new = match next {
        Next::Invalid => {
            let Seen { segment, direction, .. } = *seen;
            return Step::Done(L4Decision::Invalid(Reason::TcpState {
                segment,
                direction,
                state: old,
            }));
        }
        Next::Ignore => return out_of_step(track, seen, old),
        Next::State(new) => new,
    };
    match new {
        // A SYN where the connection is over: a new one with the same ports (RFC 9293, 3.6.1),
        // if we know who closed the old one, or the same side reset it.
        TcpState::SynSent if old >= TcpState::TimeWait => {
            let closed = track.flags[Direction::Original].has(SideFlags::CLOSE_INIT)
                || track.flags[Direction::Reply].has(SideFlags::CLOSE_INIT);
            let reset =
                track.last_direction() == seen.direction && track.last_segment() == Segment::Rst;
            if closed || reset {
                return Step::Done(L4Decision::Repeat);
            }
            out_of_step(track, seen, old)
        }
        TcpState::TimeWait if is_challenge_ack(track, seen, old) => {
            track.last_flags.clear(SideFlags::EXPECT_CHALLENGE_ACK);
            Step::Done(L4Decision::Ignore(Some(Reason::ChallengeAck)))
        }
        TcpState::SynSent2 => {
            track.last_flags.set(SideFlags::SIMULTANEOUS_OPEN);
            Step::Examine { old, new }
        }
        // The state table alone cannot tell that after two SYNs this ACK completes the handshake.
        TcpState::SynRecv
            if seen.direction == Direction::Reply
                && seen.segment == Segment::Ack
                && track.last_flags.has(SideFlags::SIMULTANEOUS_OPEN) =>
        {
            Step::Examine { old, new: TcpState::Established }
        }
        TcpState::Close if seen.segment == Segment::Rst => reset(track, context, seen, old),
        _ => Step::Examine { old, new },
    }
}

/// An ACK in LAST_ACK that answers a SYN we let pass (RFC 5961), not the FIN.
fn is_challenge_ack(track: &TcpTrack, seen: &Seen<'_>, old: TcpState) -> bool {
    old == TcpState::LastAck
        && seen.segment == Segment::Ack
        && track.last_direction() != seen.direction
        && track.last_segment() == Segment::Syn
        && track.last_flags.has(SideFlags::EXPECT_CHALLENGE_ACK)
}

/// A segment that passes because the two ends may know better than we do: its numbers are kept,
/// so that the answer tells whether they do.
fn out_of_step(track: &mut TcpTrack, seen: &Seen<'_>, old: TcpState) -> Step {
    let last = track.last_direction();
    if seen.segment == Segment::SynAck
        && track.last_segment() == Segment::Syn
        && last != seen.direction
        && seen.ack == track.last_end
    {
        resynchronise(track, seen.direction);
        return Step::Examine { old: TcpState::SynSent, new: TcpState::SynRecv };
    }
    track.remember(seen.segment, seen.direction);
    track.last_seq = seen.seq;
    track.last_end = seen.end;
    track.last_window = seen.window;
    if seen.segment == Segment::Syn && seen.direction == Direction::Original {
        let offers = Offers::read(seen.options);
        track.last_flags = offers.flags();
        track.last_scale = offers.scale();
        // In LAST_ACK the answer may be an ACK that is not the last one.
        if old == TcpState::LastAck {
            track.last_flags.set(SideFlags::EXPECT_CHALLENGE_ACK);
        }
    }
    if old == TcpState::SynSent
        && seen.segment == Segment::Ack
        && seen.direction == Direction::Reply
    {
        track.last_ack = seen.ack;
    }
    let Seen { segment, direction, .. } = *seen;
    Step::Done(L4Decision::Ignore(Some(Reason::TcpIgnored { segment, direction, state: old })))
}

/// The SYN/ACK from `direction` acknowledges a SYN that we had let pass: the two ends agree, and
/// we take up the numbers of that SYN.
fn resynchronise(track: &mut TcpTrack, direction: Direction) {
    let client = track.last_direction();
    track.last_flags.clear(SideFlags::EXPECT_CHALLENGE_ACK);
    track.end[client] = track.last_end;
    track.max_end[client] = track.last_end;
    track.max_window[client] = u32::from(track.last_window).max(1);
    track.scale[client] = track.last_scale;
    track.flags[client] = track.last_flags;

    track.end[direction] = 0;
    track.max_end[direction] = 0;
    track.max_window[direction] = 0;
    track.max_ack[direction] = 0;
    track.scale[direction] = 0;
    track.flags[direction] = SideFlags(track.flags[direction].0 & SideFlags::BE_LIBERAL.0);
}

/// A RST. Blind resets must not end a connection (RFC 5961): the sequence number has to be exactly
/// the next one, unless the connection is over anyway.
fn reset(track: &mut TcpTrack, context: &L4Context<'_>, seen: &Seen<'_>, old: TcpState) -> Step {
    let close = TcpState::Close;
    if old.is_closing() {
        return Step::Settle { new: close };
    }
    // Both ends are known to have met: before that nobody sends challenge ACKs.
    let established = old == TcpState::Established && context.status.has(Status::ASSURED);
    let (last, last_direction) = (track.last_segment(), track.last_direction());
    // A SYN that was let pass makes the acknowledgement we know of worthless.
    if track.flags[!seen.direction].has(SideFlags::MAX_ACK_SET) && last != Segment::Syn {
        let max_ack = track.max_ack[!seen.direction];
        // Sequence number 0 before the handshake is done: most likely the answer to a SYN.
        if seen.seq == 0 && !established {
            return Step::Examine { old, new: close };
        }
        if window::before(seen.seq, max_ack) && !context.sysctls.tcp_ignore_invalid_rst {
            let reason = Reason::TcpRst { seq: seen.seq, max_ack };
            return Step::Done(L4Decision::Invalid(reason));
        }
        let train =
            last == Segment::Ack && last_direction == seen.direction && seen.seq == track.last_end;
        if !established || seen.seq == max_ack || train {
            return Step::Examine { old, new: close };
        }
        // Not exactly the next one: the other side may answer with a challenge ACK and live on.
        return after_ignored(track, context, seen, old, old);
    }
    after_ignored(track, context, seen, old, close)
}

/// A RST that may answer a segment we had let pass without believing it; then the window test
/// would compare it with the wrong numbers.
fn after_ignored(
    track: &TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    new: TcpState,
) -> Step {
    let last = track.last_segment();
    let replied = context.status.has(Status::SEEN_REPLY)
        && last == Segment::Syn
        && track.last_direction() != seen.direction;
    let half_open = !context.status.has(Status::ASSURED) && last == Segment::Ack;
    if (replied || half_open) && seen.ack == track.last_end {
        return Step::Settle { new };
    }
    let challenged = old == TcpState::SynSent
        && last == Segment::Ack
        && track.last_direction() == Direction::Reply
        && seen.seq == track.last_ack;
    if challenged { Step::Settle { new } } else { Step::Examine { old, new } }
}

/// The window test and what follows from it.
#[inline]
fn examine(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    new: TcpState,
) -> L4Decision {
    let window = Window { liberal: context.sysctls.tcp_be_liberal, state: track.state() };
    match window.test(track, seen) {
        Verdict::Accept => settle(track, context, seen, old, new),
        Verdict::Ignore(reason) => L4Decision::Ignore(Some(reason)),
        Verdict::Invalid(reason) => invalid(track, context, seen, reason),
    }
}

/// Out of the window. If both sides end the connection with numbers we do not believe, it would
/// stay in the table for days: it is given no longer than unacknowledged data.
#[inline(never)]
fn invalid(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    reason: Reason,
) -> L4Decision {
    /// Below this the end is near enough.
    const ENOUGH: Span = Span::secs(120);
    let ends = |segment| matches!(segment, Segment::Rst | Segment::Fin);
    let fixed = context.status.has(Status::FIXED_TIMEOUT);
    if !context.status.has(Status::ASSURED) || fixed || !ends(seen.segment) {
        return L4Decision::Invalid(reason);
    }
    if track.last_direction() != seen.direction && ends(track.last_segment()) {
        let limit = span(context.sysctls.tcp.unacknowledged);
        if context.remaining >= ENOUGH && context.remaining > limit {
            return L4Decision::InvalidShorten(reason, limit);
        }
    } else {
        track.remember(seen.segment, seen.direction);
    }
    L4Decision::Invalid(reason)
}

/// The segment is believed: the new state and its timeout.
#[inline(always)]
fn settle(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    new: TcpState,
) -> L4Decision {
    track.remember(seen.segment, seen.direction);
    track.state = new as u8;
    if old != new && new == TcpState::FinWait {
        track.flags[seen.direction].set(SideFlags::CLOSE_INIT);
    }
    let mut accept = Accept::refresh(timeout(track, context.sysctls, seen.segment, new));
    if old != new {
        accept.events = EventMask::PROTOINFO;
    }
    if !context.status.has(Status::SEEN_REPLY) {
        if seen.flags().rst() {
            return L4Decision::Kill;
        }
        // A SYN sent again does not keep the entry: else a client that reuses its port, or a NAT
        // in front of it, would hold it for ever.
        if seen.segment == Segment::Syn && old == TcpState::SynSent {
            accept.timeout = None;
            return L4Decision::Accept(accept);
        }
        // Picked up in the middle and one-sided so far.
        let limit = span(context.sysctls.tcp.unacknowledged);
        if new == TcpState::Established {
            accept.timeout = accept.timeout.map(|timeout| timeout.min(limit));
        }
    } else if !context.status.has(Status::ASSURED)
        && matches!(old, TcpState::SynRecv | TcpState::Established)
        && new == TcpState::Established
    {
        accept.assured = true;
    }
    L4Decision::Accept(accept)
}

/// The timeout of a state, cut down while the connection does not move.
#[inline]
fn timeout(track: &TcpTrack, sysctls: &Sysctls, segment: Segment, new: TcpState) -> Span {
    let timeouts = &sysctls.tcp;
    let full = timeouts.of(new);
    let unacknowledged = (track.flags[Direction::Original].0 | track.flags[Direction::Reply].0)
        & SideFlags::DATA_UNACKNOWLEDGED.0
        != 0;
    let seconds = if track.retransmissions >= sysctls.tcp_max_retrans && full > timeouts.max_retrans
    {
        timeouts.max_retrans
    } else if segment == Segment::Rst {
        timeouts.close
    } else if unacknowledged && full > timeouts.unacknowledged {
        timeouts.unacknowledged
    } else if track.last_window == 0 && full > timeouts.max_retrans {
        timeouts.max_retrans
    } else {
        full
    };
    span(seconds)
}
