//! What this host sends on its own account: ICMP errors for packets it cannot forward.
//!
//! An error belongs to the connection of the packet that caused it, as RELATED in the opposite
//! direction, even if that connection is not in the table (kernel `nf_ct_attach`); an error for a
//! packet without a connection is classified like any other. Rate limits are off. Sources: RFC 792,
//! RFC 1122 3.2.2, RFC 4443 2.4; kernel counterpart: `icmp_send`, `icmp6_send`.

use core::net::IpAddr;

use stateward_conntrack::{CtState, Flow, Hook, Instant, Zone};
use stateward_wire::compose::{self, Icmp};
use stateward_wire::{Family, Packet, checksum, protocol};

use crate::engine::{At, By, Emitted, Engine, Port, Why};
use crate::options::{self, Problem};
use crate::route::RoutingDrop;
use crate::walk::{Ended, Walker};

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

/// The error that tells the sender why its packet ended, if there is one.
fn error_for(reason: RoutingDrop, v4: bool) -> Option<Error> {
    let plain = |kind, code| Some(Error { kind, code, rest: [0; 4] });
    match (reason, v4) {
        (RoutingDrop::TimeToLive, true) => plain(11, 0),
        (RoutingDrop::TimeToLive, false) => plain(3, 0),
        (RoutingDrop::NoRoute, true) => plain(3, 0),
        (RoutingDrop::NoRoute, false) => plain(1, 0),
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
        if let Some(error) = error_for(reason, packet.source().is_ipv4()) {
            self.send_error(walker, packet, &error);
        }
        walker.end(At::Routing, Why::Routing(reason))
    }

    pub(crate) fn send_error(
        &mut self,
        walker: &mut Walker<'_>,
        packet: &Packet<'_>,
        error: &Error,
    ) {
        // Of four kinds of options that must be known, one is answered even where many received it.
        let many = packet.destination().is_multicast() && (error.kind, error.code) != (4, 2);
        if many || self.network.is_broadcast(packet.destination()) || !may_be_told(packet) {
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
        let state = self.state_of_answer(walker, &bytes);
        // What this host tells itself does not leave, but comes in.
        if self.network.is_own(to) {
            self.receive_answer(state, &bytes, walker.now);
            return;
        }
        self.emitted.push(Emitted { interface: Some(interface), by: By::Host(state), bytes });
    }

    /// An answer to this host itself has been tracked on its way out; only INVALID leaves no trace
    /// on a packet, so that it is looked at and counted twice.
    fn receive_answer(&mut self, state: CtState, bytes: &[u8], now: Instant) {
        if let (CtState::Invalid, Ok(answer)) = (state, Packet::parse_trusted(bytes)) {
            let mut tracked = self.tracker.track(&answer, Hook::Prerouting, Zone::DEFAULT, now);
            // What was INVALID on its way out is so on its way in.
            let _ = self.tracker.confirm(&mut tracked.flow);
        }
    }

    /// What the answer to the walking packet is to the tracker. It passes OUTPUT and POSTROUTING
    /// itself, where what its connection has collected is told.
    fn state_of_answer(&mut self, walker: &mut Walker<'_>, bytes: &[u8]) -> CtState {
        match walker.tracked.as_mut().map(|tracked| &mut tracked.flow) {
            Some(flow @ Flow::Confirmed(_)) => {
                // A connection that is in the table already cannot fail to be confirmed.
                let _ = self.tracker.confirm(flow);
                CtState::Related
            }
            Some(Flow::Unconfirmed(_)) => CtState::Related,
            Some(Flow::None) | None => match Packet::parse_trusted(bytes) {
                Ok(answer) => {
                    let mut tracked =
                        self.tracker.track(&answer, Hook::Output, Zone::DEFAULT, walker.now);
                    // An error begins nothing, so that nothing can fail; but what its connection
                    // has collected is told.
                    let _ = self.tracker.confirm(&mut tracked.flow);
                    tracked.state
                }
                Err(_) => CtState::Untracked,
            },
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
