//! What this host sends on its own account: ICMP errors for packets it cannot forward.
//!
//! An error belongs to the connection of the packet that caused it, as RELATED in the opposite
//! direction, even if that connection is not in the table (kernel `nf_ct_attach`); an error for a
//! packet without a connection is classified like any other. Rate limits are off. Sources: RFC 792,
//! RFC 1122 3.2.2, RFC 4443 2.4; kernel counterpart: `icmp_send`, `icmp6_send`.

use core::net::IpAddr;

use stateward_conntrack::{CtState, Flow, Tracked, Unfinished};
use stateward_rules::matches::pkttype::To;
use stateward_rules::targets::reject::{Answer, Reject};
use stateward_wire::checksum::{Verification, verify_transport};
use stateward_wire::compose::{self, Icmp};
use stateward_wire::{Family, Packet, TcpFlags, TcpHeader, checksum, protocol};

use crate::account::Station;
use crate::engine::{At, By, Emitted, Engine, Port, Why};
use crate::options::{self, Problem};
use crate::route::{InterfaceId, RoutingDrop};
use crate::walk::{Ended, Frame, Walker};

/// Bytes of the offending packet that an ICMP error quotes at most: 576 with its headers.
const QUOTE_V4: usize = 576 - 20 - 8;
/// The same for ICMPv6: the smallest MTU with its headers.
const QUOTE_V6: usize = 1280 - 40 - 8;

/// The ICMP type that tells of wrong options.
const PARAMETER_PROBLEM_V4: u8 = 12;

/// An ICMP error, in the terms of the packet's family.
pub(crate) struct Error {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: [u8; 4],
}

/// Whether the sender is told even of a packet that many received (RFC 4443, 2.4): of IPv6, what is
/// too big, and of four kinds of options that must be known one.
fn is_told_to_many(packet: &Packet<'_>, error: &Error) -> bool {
    const KIND: u8 = 0xc0;
    const TOLD: u8 = 0x80;
    let option = packet.bytes().get(u32::from_be_bytes(error.rest) as usize);
    let is_option = || option.is_some_and(|option| option & KIND == TOLD);
    packet.source().is_ipv6()
        && match (error.kind, error.code) {
            (2, _) => true,
            (4, 2) => is_option(),
            _ => false,
        }
}

/// The error that tells the sender why its packet ended, if there is one.
fn error_for(reason: RoutingDrop, v4: bool) -> Option<Error> {
    let plain = |kind, code| Some(Error { kind, code, rest: [0; 4] });
    match (reason, v4) {
        (RoutingDrop::TimeToLive, true) => plain(11, 0),
        (RoutingDrop::TimeToLive, false) => plain(3, 0),
        (RoutingDrop::NoRoute, true) => plain(3, 0),
        (RoutingDrop::Unreachable, true) => plain(3, 1),
        (RoutingDrop::Prohibited, true) => plain(3, 13),
        (RoutingDrop::NoRoute | RoutingDrop::Unreachable, false) => plain(1, 0),
        (RoutingDrop::Prohibited, false) => plain(1, 1),
        (RoutingDrop::LinkLocalSource, false) => plain(1, 2),
        (RoutingDrop::TooBig { mtu }, true) => {
            Some(Error { kind: 3, code: 4, rest: [0, 0, (mtu >> 8) as u8, mtu as u8] })
        }
        (RoutingDrop::Options { problem: Some(Problem { code, pointer }) }, true) => {
            Some(Error { kind: PARAMETER_PROBLEM_V4, code, rest: [pointer as u8, 0, 0, 0] })
        }
        (RoutingDrop::Options { problem: Some(Problem { code, pointer }) }, false) => {
            Some(Error { kind: 4, code, rest: pointer.to_be_bytes() })
        }
        (RoutingDrop::TooBig { mtu }, false) => {
            Some(Error { kind: 2, code: 0, rest: mtu.to_be_bytes() })
        }
        _ => None,
    }
}

impl Engine {
    /// Ends a packet's walk at routing, telling its sender if that is the custom.
    #[inline(never)]
    pub(crate) fn refuse(
        &mut self,
        walker: &mut Walker<'_>,
        packet: &Packet<'_>,
        reason: RoutingDrop,
    ) -> Ended {
        self.notes.account.note(|| Station::Refused(reason));
        if let Some(error) = error_for(reason, packet.source().is_ipv4()) {
            self.send_error(walker, packet, &error);
        }
        walker.drop(At::Routing, Why::Routing(reason))
    }

    pub(crate) fn send_error(
        &mut self,
        walker: &mut Walker<'_>,
        packet: &Packet<'_>,
        error: &Error,
    ) {
        let many = packet.destination().is_multicast()
            || walker.link.is_some_and(|link| link.to != To::Us);
        let told = !many || is_told_to_many(packet, error);
        if !told || self.network.is_broadcast(packet.destination()) || !may_be_told(packet) {
            return;
        }
        let to = packet.source();
        // RFC 4443, 2.4: an anycast address does not name one sender.
        if self.network.is_anycast(to) {
            return;
        }
        let Some(interface) = self.network.route_back(to, walker.port) else { return };
        // RFC 4443, 2.2: an IPv6 router speaks from where the packet came in.
        let speaks = match walker.port {
            Port::Interface(ingress) if to.is_ipv6() => ingress,
            _ => interface,
        };
        let asked = Some(packet.destination()).filter(|asked| self.network.is_own(*asked));
        let source = asked
            .or_else(|| self.network.preferred_source(to).filter(|_| to.is_ipv4()))
            .or_else(|| self.network.address_on(speaks, to))
            .or_else(|| self.network.address_on(interface, to));
        let Some(source) = source else { return };
        let quote = if to.is_ipv4() { QUOTE_V4 } else { QUOTE_V6 };
        let mut body = packet.bytes().get(..quote).unwrap_or(packet.bytes()).to_vec();
        let &Error { kind, code, rest } = error;
        // Options that are wrong have been read no further.
        if kind != PARAMETER_PROBLEM_V4 {
            options::clear_quoted(&mut body);
        }
        let mut bytes =
            compose::icmp(&Icmp { source, destination: to, kind, code, rest, body: &body });
        dress(&mut bytes, packet.tos());
        self.answer(walker, interface, bytes);
    }

    /// Answers a packet that a rule refuses.
    #[inline(never)]
    pub(crate) fn reject(&mut self, walker: &mut Walker<'_>, frame: &Frame<'_>, how: &Reject) {
        let Ok(packet) = frame.packet() else { return };
        if !may_be_rejected(&packet, self.tracker.unfinished()) {
            return;
        }
        match how.with {
            Answer::Unreachable(code) => {
                let kind = if packet.source().is_ipv4() { 3 } else { 1 };
                self.send_error(walker, &packet, &Error { kind, code, rest: [0; 4] });
            }
            Answer::TcpReset => self.send_reset(walker, &packet),
        }
    }

    /// RFC 9293, 3.10.7.1: as if there were no connection.
    fn send_reset(&mut self, walker: &mut Walker<'_>, packet: &Packet<'_>) {
        let (to, from) = (packet.source(), packet.destination());
        let to_many = from.is_multicast() || self.network.is_broadcast(from);
        let is_tcp = packet.upper().is_some_and(|upper| upper.protocol == protocol::TCP);
        let Some(header) = TcpHeader::view(packet.l4()).filter(|_| is_tcp && !to_many) else {
            return;
        };
        let flags = header.flags();
        let Some(interface) = self.network.route_back(to, walker.port) else { return };
        if flags.contains(TcpFlags::RST) {
            return;
        }
        let (sequence, acknowledgment, answer) = if flags.contains(TcpFlags::ACK) {
            (header.acknowledgment.get(), 0, TcpFlags::RST)
        } else {
            let beyond = [TcpFlags::SYN, TcpFlags::FIN].map(|one| u32::from(flags.contains(one)));
            // A header longer than its packet leaves less than nothing.
            let payload = packet.l4_length().wrapping_sub(header.header_length()) as u32;
            let next = header.sequence.get().wrapping_add(payload);
            let next = next.wrapping_add(beyond[0]).wrapping_add(beyond[1]);
            (0, next, TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0))
        };
        let bytes = compose::tcp(&compose::Tcp {
            source: (from, header.destination_port.get()),
            destination: (to, header.source_port.get()),
            sequence,
            acknowledgment,
            flags: answer,
            window: 0,
            options: &[],
            payload: &[],
        });
        if let Some(tracked) = &walker.tracked {
            self.tracker.set_closing(&tracked.flow);
        }
        self.answer(walker, interface, bytes);
    }

    /// What this host answers a packet goes its own way, as RELATED to the packet's connection, or
    /// to whatever the tracker finds if that has none.
    fn answer(&mut self, walker: &mut Walker<'_>, interface: InterfaceId, mut bytes: Vec<u8>) {
        let Ok(packet) = Packet::parse_trusted(&bytes) else { return };
        let (layout, to) = (packet.layout(), packet.destination());
        let mut way = Walker::new(walker.now, Port::Local);
        way.comes_back = self.network.is_own(to);
        way.egress = Some(interface).filter(|_| !way.comes_back);
        way.insists = walker.is_untracked();
        way.answers = true;
        let asked = walker.tracked.as_mut().filter(|tracked| tracked.flow != Flow::None);
        let attached = asked.is_some();
        way.tracked = asked.map(|tracked| Tracked {
            state: CtState::Related,
            direction: tracked.direction.map(|direction| !direction),
            flow: core::mem::take(&mut tracked.flow),
            ..Tracked::untracked()
        });
        let decided = self.notes.decided;
        self.notes.account.note(|| Station::Answers);
        let departed = self.depart(&mut way, &mut Frame { bytes: &mut bytes, layout });
        self.notes.account.note(|| Station::Answered);
        self.notes.decided = decided;
        let state = way.tracked.as_ref().map_or(CtState::Untracked, |tracked| tracked.state);
        let flow = way.tracked.take().map_or(Flow::None, |tracked| tracked.flow);
        match (&mut walker.tracked, flow) {
            (Some(tracked), flow) if attached => tracked.flow = flow,
            (_, flow @ Flow::Unconfirmed(_)) => self.tracker.forget(flow),
            _ => {}
        }
        // What this host tells itself does not leave.
        if departed.is_ok() && !way.comes_back {
            // NAT may have sent it elsewhere.
            self.emitted.push(Emitted { interface: way.egress, by: By::Host(state), bytes });
        }
    }
}

/// A packet whose checksum is wrong, or cannot be there, is nobody's to answer. A protocol that
/// nobody knows is taken for one that is summed as a whole (kernel `nf_reject_verify_csum`).
fn may_be_rejected(packet: &Packet<'_>, unfinished: Unfinished) -> bool {
    let Some(upper) = packet.upper() else { return false };
    // IPv6 asks for something behind its headers.
    if packet.family() == Family::V6 && packet.l4().is_empty() {
        return false;
    }
    if packet.is_cut() {
        return true;
    }
    match (packet.family(), upper.protocol) {
        (_, protocol::TCP | protocol::UDP)
        | (Family::V4, protocol::ICMP)
        | (Family::V6, protocol::ICMPV6) => match verify_transport(packet, upper.protocol) {
            Verification::Good | Verification::Zero => true,
            Verification::Unfinished => unfinished == Unfinished::Good,
            Verification::Bad | Verification::Unverifiable => false,
        },
        (_, protocol::UDPLITE | protocol::SCTP | protocol::GRE | protocol::AH | protocol::ESP) => {
            true
        }
        // Nothing but zeroes is believed as well.
        (Family::V4, _) => matches!(checksum::of(packet.l4()), 0 | 0xffff),
        (Family::V6, number) => {
            let l4 = packet.l4();
            let sum = checksum::pseudo_header(packet.network(), number, l4.len());
            sum.bytes(l4).fold() == 0
        }
    }
}

/// RFC 1122, 3.2.2: no errors about errors, later fragments, or packets that nobody sent.
fn may_be_told(packet: &Packet<'_>) -> bool {
    /// Of those up to here only questions and answers may be told about; above there may be errors.
    const LAST_TYPE: u8 = 18;
    let upper = packet.upper().map(|upper| upper.protocol);
    let kind = packet.l4().first().copied();
    let is_error = match (packet.family(), upper) {
        (Family::V4, None) => true,
        (Family::V4, Some(protocol::ICMP)) => {
            kind.is_none_or(|kind| !matches!(kind, 0 | 8 | 13..=LAST_TYPE))
        }
        // A piece that shows nothing of it is taken for none.
        (Family::V6, Some(protocol::ICMPV6)) => kind.map_or(!is_piece(packet), |kind| kind < 128),
        _ => false,
    };
    let from_one = match packet.source() {
        IpAddr::V4(from) => !from.is_multicast() && !from.is_broadcast() && !from.is_unspecified(),
        IpAddr::V6(from) => !from.is_multicast() && !from.is_unspecified(),
    };
    !is_error && from_one
}

/// Whether an IPv6 packet is one of several pieces, as far as its fragment header is there.
fn is_piece(packet: &Packet<'_>) -> bool {
    let place = packet.fragment_header().and_then(|at| packet.bytes().get(at + 2..at + 4));
    place.is_some_and(|place| place != [0, 0])
}

/// ICMP errors carry the precedence of network control and the type of service they answer, and may
/// be fragmented.
fn dress(bytes: &mut [u8], tos: u8) {
    const INTERNETWORK_CONTROL: u8 = 0xc0;
    const TYPE_OF_SERVICE: u8 = 0x1e;
    let Some(header) = bytes.first_chunk_mut::<20>() else { return };
    if header[0] >> 4 != 4 {
        return;
    }
    header[1] = INTERNETWORK_CONTROL | (tos & TYPE_OF_SERVICE);
    header[6] = 0;
    header[7] = 0;
    header[10] = 0;
    header[11] = 0;
    let sum = checksum::of(header).to_be_bytes();
    header[10] = sum[0];
    header[11] = sum[1];
}
