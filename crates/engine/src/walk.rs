//! The order of everything: what a packet meets between its arrival and its end.
//!
//! Each hook is a list of stages in the kernel's priority order. Before PREROUTING and OUTPUT, at
//! −400, fragments are put together; the whole then walks in the stead of its last piece. A packet from outside goes through
//! PREROUTING, is routed, and then through INPUT, or through FORWARD and POSTROUTING; one that this
//! host makes through OUTPUT and POSTROUTING, and on through PREROUTING and INPUT if it is for this
//! host itself, tracked once. A stage may end the walk; only a packet that reaches the last stage of
//! INPUT or POSTROUTING leaves a connection behind.

use stateward_conntrack::{Approach, CtState, Flow, Hook as TrackHook, Instant, Tracked};
use stateward_wire::edit::Edit;
use stateward_wire::{Layout, Packet};

use crate::engine::{Arrival, At, Connection, Engine, From, Outcome, Port, Verdict, Why, parse};
use crate::route::{Decision, InterfaceId, Routing, RoutingDrop};

/// The kernel's hooks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What stands in a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// −200: the tracker classifies.
    Track,
    /// Last: the tracker confirms.
    Confirm,
}

/// Every hook's stages, by priority.
const fn stages(hook: Hook) -> &'static [Stage] {
    match hook {
        Hook::Prerouting | Hook::Output => &[Stage::Track],
        Hook::Forward => &[],
        Hook::Input | Hook::Postrouting => &[Stage::Confirm],
    }
}

/// What was worked out of a packet's bytes alone when its burst came in.
#[derive(Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) layout: Layout,
    pub(crate) approach: Approach,
}

/// What the walk knows of a packet besides its bytes.
pub(crate) struct Walker<'a> {
    pub(crate) tracked: Option<Tracked>,
    /// Where the tracker will look, if the packet came in a burst.
    pub(crate) approach: Option<&'a Approach>,
    pub(crate) now: Instant,
    pub(crate) port: Port,
    /// Length of the largest fragment or segment, if it was put together.
    pub(crate) largest_piece: Option<usize>,
    /// Bytes are missing in its middle: no checksum can be judged.
    pub(crate) incomplete: bool,
}

impl Walker<'_> {
    pub(crate) fn new(now: Instant, port: Port) -> Self {
        Walker { tracked: None, approach: None, now, port, largest_piece: None, incomplete: false }
    }
}

/// How the walk ended before its end.
pub(crate) struct End {
    pub(crate) at: At,
    pub(crate) why: Why,
}

impl Engine {
    #[inline]
    pub(crate) fn walk(
        &mut self,
        arrival: &mut Arrival<'_>,
        from: From,
        prepared: Option<&Prepared>,
    ) -> Outcome {
        let known = prepared.and_then(|known| Packet::with_layout(arrival.bytes, known.layout));
        let packet = match known {
            Some(packet) => packet,
            None => match parse(arrival.bytes, arrival.port, from) {
                Ok(packet) => packet,
                Err(malformed) => return Outcome::malformed(malformed, arrival.bytes.len()),
            },
        };
        if arrival.port != Port::Local
            && let Some(reason) = self.network.on_arrival(&packet)
        {
            let mut walker = Walker::new(arrival.now, arrival.port);
            let End { at, why } = self.refuse(&mut walker, &packet, reason);
            return Outcome::unseen(Verdict::Drop(at), why, packet.length());
        }
        if packet.is_fragment()
            && let Some(outcome) = self.walk_fragment(&packet, arrival.port, arrival.now)
        {
            return outcome;
        }
        let approach = prepared.map(|known| &known.approach);
        let largest_piece = match from {
            From::Capture => self.network.pieces_of_superpacket(&packet, arrival.port),
            From::Wire => None,
        };
        let mut walker =
            Walker { approach, largest_piece, ..Walker::new(arrival.now, arrival.port) };
        let layout = packet.layout();
        let ended = self.pass(&mut walker, &packet);
        let mut in_pieces = false;
        if let Ok(Verdict::Forward(Some(egress))) = ended {
            Edit::new(arrival.bytes, layout).decrement_ttl();
            let bytes = arrival.bytes.get(..layout.length()).unwrap_or(arrival.bytes);
            // A superpacket is cut by the card that sends it, and shown as one.
            in_pieces = largest_piece.is_none() && self.leave_in_pieces(bytes, None, egress);
        }
        self.outcome(walker, ended, layout.length(), in_pieces)
    }

    #[inline(always)]
    pub(crate) fn pass(
        &mut self,
        walker: &mut Walker<'_>,
        packet: &Packet<'_>,
    ) -> Result<Verdict, End> {
        match walker.port {
            Port::Local => self.send(walker, packet),
            Port::Interface(ingress) => self.receive(walker, packet, ingress),
        }
    }

    #[inline(always)]
    fn receive(
        &mut self,
        walker: &mut Walker<'_>,
        packet: &Packet<'_>,
        ingress: InterfaceId,
    ) -> Result<Verdict, End> {
        self.run(Hook::Prerouting, walker, packet)?;
        match self.network.input(packet, ingress) {
            Decision::Input => {
                self.run(Hook::Input, walker, packet)?;
                Ok(Verdict::Input)
            }
            Decision::Forward(egress) => {
                let largest = walker.largest_piece;
                if let Err(reason) = self.network.may_forward(packet, ingress, egress, largest) {
                    return Err(self.refuse(walker, packet, reason));
                }
                self.run(Hook::Forward, walker, packet)?;
                self.run(Hook::Postrouting, walker, packet)?;
                Ok(Verdict::Forward(egress))
            }
            Decision::Drop(reason) => Err(self.refuse(walker, packet, reason)),
        }
    }

    #[inline(never)]
    fn send(&mut self, walker: &mut Walker<'_>, packet: &Packet<'_>) -> Result<Verdict, End> {
        let destination = packet.destination();
        let (egress, own) = (self.network.route(destination), self.network.is_own(destination));
        // The process that sends it is told, before any hook.
        if egress.is_none() && !own && self.network.routing() != Routing::Off {
            return Err(End { at: At::Routing, why: Why::Routing(RoutingDrop::NoRoute) });
        }
        self.run(Hook::Output, walker, packet)?;
        self.run(Hook::Postrouting, walker, packet)?;
        if own {
            self.run(Hook::Prerouting, walker, packet)?;
            self.run(Hook::Input, walker, packet)?;
            return Ok(Verdict::Input);
        }
        Ok(Verdict::Output(egress))
    }

    /// Runs the stages of a hook in order.
    #[inline(always)]
    fn run(&mut self, hook: Hook, walker: &mut Walker<'_>, packet: &Packet<'_>) -> Result<(), End> {
        for stage in stages(hook) {
            match stage {
                Stage::Track => self.track(hook, walker, packet)?,
                Stage::Confirm => self.confirm(walker)?,
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn track(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        packet: &Packet<'_>,
    ) -> Result<(), End> {
        // What came round by the host itself has been tracked on its way out; only INVALID leaves
        // no trace on a packet, so that it is found and counted twice.
        if walker.tracked.as_ref().is_some_and(|tracked| tracked.state != CtState::Invalid) {
            return Ok(());
        }
        let unverified = hook == Hook::Output || walker.incomplete;
        let at = if unverified { TrackHook::Output } else { TrackHook::Prerouting };
        let tracked = walker.tracked.insert(Tracked::untracked());
        self.tracker.track_from(walker.approach, packet, at, walker.now, tracked);
        let dropped = tracked.drop;
        match dropped {
            Some(reason) => Err(End { at: At::Conntrack, why: Why::Drop(reason) }),
            None => Ok(()),
        }
    }

    #[inline(always)]
    fn confirm(&mut self, walker: &mut Walker<'_>) -> Result<(), End> {
        let Some(tracked) = &mut walker.tracked else { return Ok(()) };
        self.tracker
            .confirm(&mut tracked.flow)
            .map_err(|reason| End { at: At::Confirm, why: Why::Drop(reason) })
    }

    #[inline(always)]
    pub(crate) fn outcome(
        &mut self,
        walker: Walker<'_>,
        ended: Result<Verdict, End>,
        length: usize,
        in_pieces: bool,
    ) -> Outcome {
        let (verdict, end) = match ended {
            Ok(verdict) => (verdict, None),
            Err(end) => (Verdict::Drop(end.at), Some(end.why)),
        };
        let Some(tracked) = walker.tracked else {
            return Outcome { state: None, connection: None, verdict, why: end, length, in_pieces };
        };
        let connection = connection(&tracked);
        let (state, reason) = (tracked.state, tracked.reason);
        if let Flow::Unconfirmed(_) = tracked.flow {
            self.tracker.forget(tracked.flow);
        }
        let why = end.or(reason.map(Why::Track));
        Outcome { state: Some(state), connection, verdict, why, length, in_pieces }
    }
}

#[inline]
fn connection(tracked: &Tracked) -> Option<Connection> {
    let direction = tracked.direction?;
    let id = match &tracked.flow {
        Flow::Confirmed(id) => Some(*id),
        Flow::Unconfirmed(_) | Flow::None => None,
    };
    Some(Connection { id, direction, began: tracked.began })
}
