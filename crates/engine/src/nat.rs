//! NAT on the walk: asks for a binding, once for each end of a connection, and translates packets.
//!
//! In PREROUTING and OUTPUT destinations are translated, in INPUT and POSTROUTING sources, if the
//! packet's family has a nat table; without one not even the packets of connections that are bound
//! already. The first packets of a connection, those that are NEW or RELATED, ask the table as long
//! as the end is not bound; what no rule binds is bound to itself. All packets of a connection are
//! then rewritten by its tuples. Packets without a connection pass by. Kernel counterpart:
//! `nf_nat_inet_fn` and those that call it.

use core::fmt;
use core::net::IpAddr;

use stateward_conntrack::{CtState, Direction, Flow, Tracked, Tracker, Unfinished};
use stateward_nat::rewrite::{self, Refusal, Related};
use stateward_nat::{How, Manip, bind_as_it_is, bind_to_itself};
use stateward_rules::{Hook, TableName};
use stateward_wire::checksum::{Verification, verify_transport};
use stateward_wire::edit::Field;
use stateward_wire::{Family, Packet, protocol};

use crate::account::{self, Station};
use crate::engine::{At, Engine, Why};
use crate::route::Routing;
use crate::rules::Passage;
use crate::walk::{Ended, Frame, Walker};

/// Why NAT dropped a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatDrop {
    /// MASQUERADE and REDIRECT: the interface has no address.
    NoAddress,
    /// A connection that is masqueraded leaves by another interface than it did.
    InterfaceChanged,
    /// No port was free.
    NoFreePort {
        /// How many were asked for.
        asked: u32,
    },
    /// The only port that the rule gives is another connection's.
    PortTaken,
    /// It cannot be translated.
    Refused(Refusal),
}

impl NatDrop {
    /// The stable word of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            NatDrop::NoAddress => "nat_no_address",
            NatDrop::InterfaceChanged => "nat_interface_changed",
            NatDrop::NoFreePort { .. } => "nat_no_free_port",
            NatDrop::PortTaken => "nat_port_taken",
            NatDrop::Refused(why) => why.code(),
        }
    }
}

impl fmt::Display for NatDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NatDrop::NoAddress => f.write_str("nat: the interface has no address"),
            NatDrop::InterfaceChanged => {
                f.write_str("nat: the masqueraded connection would leave by another interface")
            }
            NatDrop::NoFreePort { asked } => {
                write!(f, "nat: no free port: {asked} were tried, and others have them all")
            }
            NatDrop::PortTaken => {
                f.write_str("nat: no free port: another connection has the only one there is")
            }
            NatDrop::Refused(why) => write!(f, "nat: {why}"),
        }
    }
}

/// A packet of a connection at a hook.
#[derive(Clone, Copy)]
struct Crossing {
    hook: Hook,
    direction: Direction,
}

/// Which end a hook translates.
pub(crate) const fn manip(hook: Hook) -> Manip {
    match hook {
        Hook::Prerouting | Hook::Output => Manip::Destination,
        Hook::Input | Hook::Forward | Hook::Postrouting => Manip::Source,
    }
}

impl Engine {
    /// The turn of NAT in a hook.
    pub(crate) fn nat(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(Tracked { state, direction: Some(direction), flow, .. }) = &walker.tracked else {
            return Ok(());
        };
        let (direction, manip) = (*direction, manip(hook));
        let (mut status, mut masquerade) = self.tracker.bound(flow);
        if matches!(state, CtState::New | CtState::Related) {
            if *state == CtState::Related && is_own_icmp(frame) {
                return self.translate_error(Crossing { hook, direction }, walker, frame);
            }
            if !status.has(manip.done()) {
                if self.choose(hook, walker, frame)? == Passage::Bypassed {
                    return Ok(());
                }
                let flow = walker.tracked.as_ref().map(|tracked| &tracked.flow);
                if let Some(flow) = flow {
                    (status, masquerade) = self.tracker.bound(flow);
                }
            }
        }
        if let (Some(interface), Hook::Postrouting, Direction::Original) =
            (masquerade, hook, direction)
        {
            self.check_interface(interface, walker, frame)?;
        }
        if status.has(manip.translated(direction)) {
            self.rewrite(Crossing { hook, direction }, walker, frame)?;
        }
        Ok(())
    }

    /// Asks the table, and binds what it has not bound to itself, unless it has queued the packet
    /// for nobody: that ends the turn of NAT.
    #[inline(never)]
    fn choose(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<Passage, Ended> {
        let passage = self.ask_rules((hook, TableName::Nat), walker, frame)?;
        let manip = manip(hook);
        let Some(Tracked { flow: Flow::Unconfirmed(conn), .. }) = &mut walker.tracked else {
            return Ok(passage);
        };
        if passage == Passage::Bypassed || conn.status().has(manip.done()) {
            return Ok(passage);
        }
        // An account says how it was bound.
        if !self.notes.account.is_kept() && bind_as_it_is(&self.tracker, conn, manip) {
            return Ok(passage);
        }
        let bound = bind_to_itself(&mut self.tracker, conn, manip, &mut self.chance);
        if let Some(binding) = bound {
            walker.starved = starved(binding.how).or(walker.starved);
            self.notes.account.note(|| Station::Bound(binding));
        }
        Ok(passage)
    }

    /// A connection that is masqueraded ends where its packets begin to leave by another interface:
    /// they would have the wrong address.
    fn check_interface(
        &mut self,
        interface: u16,
        walker: &mut Walker<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(tracked) = &walker.tracked else { return Ok(()) };
        if walker.egress.is_none_or(|egress| egress.0 == interface) {
            return Ok(());
        }
        self.tracker.end(&tracked.flow, Direction::Original, frame.layout.length());
        Err(walker.drop(At::Nat, Why::Nat(NatDrop::InterfaceChanged)))
    }

    /// Makes one end of the packet what its connection's tuples say.
    #[inline(always)]
    fn rewrite(
        &mut self,
        Crossing { hook, direction }: Crossing,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(tracked) = &walker.tracked else { return Ok(()) };
        let end = manip(hook).end();
        let to = self.tracker.translated(&tracked.flow, direction, end);
        let Some(to) = to else { return Ok(()) };
        self.change(hook, walker, frame, |frame, field| {
            rewrite::rewrite(frame.bytes, frame.layout, field, end, to).map(|()| written(frame))
        })
    }

    /// An ICMP error about a connection is translated outside and inside, and asks no rule.
    #[inline(never)]
    fn translate_error(
        &mut self,
        Crossing { hook, direction }: Crossing,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(tracked) = &walker.tracked else { return Ok(()) };
        let status = self.tracker.status(&tracked.flow);
        let Some(tuples) = self.tracker.tuples(&tracked.flow) else { return Ok(()) };
        let related = Related { tuples: &tuples, status, direction };
        self.change(hook, walker, frame, |frame, field| {
            rewrite::icmp_error(frame.bytes, frame.layout, field, manip(hook), related)
                .map(|()| written(frame).max(looked_into(frame)))
        })
    }

    /// Changes a packet's bytes, which may be refused or lead it elsewhere; `change` answers how
    /// many of its first bytes it needs in one piece.
    #[inline(always)]
    fn change(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
        change: impl FnOnce(&mut Frame<'_>, Field) -> Result<usize, Refusal>,
    ) -> Result<(), Ended> {
        let packet = frame.packet()?;
        let field = checksum_field(&self.tracker, &packet);
        let before = if hook == Hook::Output { Some(packet.destination()) } else { None };
        match change(frame, field) {
            Ok(needed) => walker.gathered = walker.gathered.max(needed),
            Err(why) => return Err(walker.drop(At::Nat, Why::Nat(NatDrop::Refused(why)))),
        }
        match before {
            Some(before) => self.route_again(before, walker, frame),
            None => Ok(()),
        }
    }

    /// Where a packet of this host goes, if its destination has changed: another port alone takes
    /// it nowhere else.
    #[inline(never)]
    fn route_again(
        &mut self,
        before: IpAddr,
        walker: &mut Walker<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Ended> {
        let packet = frame.packet()?;
        let (from, to) = (packet.source(), packet.destination());
        if to == before {
            return Ok(());
        }
        let own = self.network.is_local(to);
        let egress = if own { None } else { self.network.way_again(from, to, walker.egress) };
        if egress.is_none() && !own && self.network.routing() != Routing::Off {
            return Err(walker.drop(At::Routing, Why::Routing(self.network.refusal(to))));
        }
        walker.planned = Some((walker.egress, walker.comes_back));
        (walker.egress, walker.comes_back) = (egress, own);
        self.notes.account.note(|| {
            let out = account::Way::Output(egress);
            Station::Routed(if own { account::Way::Loopback } else { out })
        });
        Ok(())
    }
}

/// What is to be said if the connection cannot enter the table for its binding.
pub(crate) fn starved(how: How) -> Option<NatDrop> {
    match how {
        How::OnlyPort | How::Exhausted { asked: 1 } => Some(NatDrop::PortTaken),
        How::Exhausted { asked } => Some(NatDrop::NoFreePort { asked }),
        How::Kept | How::Mapped | How::Addressed | How::Searched { .. } | How::Unchangeable => None,
    }
}

/// Whether it is the family's own ICMP.
fn is_own_icmp(frame: &Frame<'_>) -> bool {
    let icmp = match frame.layout.family() {
        Family::V4 => protocol::ICMP,
        Family::V6 => protocol::ICMPV6,
    };
    frame.layout.upper().is_some_and(|upper| upper.protocol == icmp)
}

/// Bytes from the packet's beginning that a translation writes to.
fn written(frame: &Frame<'_>) -> usize {
    let Some(upper) = frame.layout.upper() else { return 0 };
    let there = frame.layout.length().saturating_sub(upper.offset);
    let (whole, least) = match upper.protocol {
        protocol::TCP => (20, 8),
        protocol::SCTP => (12, 8),
        _ => (8, 8),
    };
    upper.offset + if there >= whole { whole } else { least.min(there) }
}

/// Bytes of an ICMP error that NAT wants in one piece, whether it translates it or not: down to the
/// quoted packet's header, without options.
fn looked_into(frame: &Frame<'_>) -> usize {
    const ICMP: usize = 8;
    let quoted = match frame.layout.family() {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    frame.layout.upper().map_or(0, |upper| upper.offset + ICMP + quoted)
}

/// What the transport's checksum field holds: of a captured packet it may have been left to the
/// sender's network card.
pub(crate) fn checksum_field(tracker: &Tracker, packet: &Packet<'_>) -> Field {
    if tracker.unfinished() == Unfinished::Bad {
        return Field::Finished;
    }
    let protocol = packet.upper().map_or(0, |upper| upper.protocol);
    match verify_transport(packet, protocol) {
        Verification::Unfinished => Field::Unfinished,
        _ => Field::Finished,
    }
}
