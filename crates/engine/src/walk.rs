//! The order of everything: what a packet meets between its arrival and its end.
//!
//! Each hook is a list of stages in the kernel's priority order. A packet from outside goes through
//! PREROUTING, is routed, and then through INPUT, or through FORWARD and POSTROUTING; one that this
//! host makes through OUTPUT and POSTROUTING, and on through PREROUTING and INPUT if it is for this
//! host itself, tracked once. A stage may end the walk; only a packet that reaches the last stage of
//! INPUT or POSTROUTING leaves a connection behind.

use stateward_conntrack::{Flow, Hook as TrackHook, Tracked, Zone};
use stateward_wire::edit::Edit;
use stateward_wire::{Layout, Network as Header, Packet};

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

/// A packet on its walk.
pub(crate) struct Walker {
    pub(crate) layout: Layout,
    pub(crate) tracked: Option<Tracked>,
    local: bool,
}

/// How the walk ended before its end.
pub(crate) struct End {
    pub(crate) at: At,
    pub(crate) why: Why,
}

impl Engine {
    pub(crate) fn walk(&mut self, arrival: &mut Arrival<'_>, from: From) -> Outcome {
        let packet = match parse(arrival.bytes, arrival.port, from) {
            Ok(packet) => packet,
            Err(malformed) => return Outcome::malformed(malformed, arrival.bytes.len()),
        };
        let mut walker =
            Walker { layout: packet.layout(), tracked: None, local: arrival.port == Port::Local };
        let ended = if walker.local {
            self.from_host(&mut walker, arrival)
        } else {
            self.from_outside(&mut walker, arrival)
        };
        outcome(walker, ended)
    }

    fn from_outside(
        &mut self,
        walker: &mut Walker,
        arrival: &mut Arrival<'_>,
    ) -> Result<Verdict, End> {
        self.run(Hook::Prerouting, walker, arrival)?;
        let Some(packet) = Packet::with_layout(arrival.bytes, walker.layout) else {
            return Ok(Verdict::Malformed);
        };
        match self.network.input(packet.source(), packet.destination()) {
            Decision::Input => {
                self.run(Hook::Input, walker, arrival)?;
                Ok(Verdict::Input)
            }
            Decision::Forward(egress) => {
                self.forward(walker, arrival, egress)?;
                self.run(Hook::Forward, walker, arrival)?;
                self.run(Hook::Postrouting, walker, arrival)?;
                Ok(Verdict::Forward(egress))
            }
            Decision::Drop(reason) => Err(self.refuse(walker, arrival, reason)),
        }
    }

    fn from_host(
        &mut self,
        walker: &mut Walker,
        arrival: &mut Arrival<'_>,
    ) -> Result<Verdict, End> {
        self.run(Hook::Output, walker, arrival)?;
        self.run(Hook::Postrouting, walker, arrival)?;
        let Some(packet) = Packet::with_layout(arrival.bytes, walker.layout) else {
            return Ok(Verdict::Malformed);
        };
        let destination = packet.destination();
        if self.network.is_own(destination) {
            self.run(Hook::Prerouting, walker, arrival)?;
            self.run(Hook::Input, walker, arrival)?;
            return Ok(Verdict::Input);
        }
        Ok(Verdict::Output(self.network.route(destination)))
    }

    /// Runs the stages of a hook in order.
    #[inline]
    fn run(
        &mut self,
        hook: Hook,
        walker: &mut Walker,
        arrival: &mut Arrival<'_>,
    ) -> Result<(), End> {
        for stage in stages(hook) {
            match stage {
                Stage::Track => self.track(hook, walker, arrival)?,
                Stage::Confirm => self.confirm(walker)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn track(
        &mut self,
        hook: Hook,
        walker: &mut Walker,
        arrival: &mut Arrival<'_>,
    ) -> Result<(), End> {
        // What came round by the host itself has been tracked on its way out.
        if walker.tracked.is_some() {
            return Ok(());
        }
        let Some(packet) = Packet::with_layout(arrival.bytes, walker.layout) else {
            return Ok(());
        };
        let at = if hook == Hook::Output { TrackHook::Output } else { TrackHook::Prerouting };
        let tracked = self.tracker.track(&packet, at, Zone::DEFAULT, arrival.now);
        let dropped = tracked.drop;
        walker.tracked = Some(tracked);
        match dropped {
            Some(reason) => Err(End { at: At::Conntrack, why: Why::Drop(reason) }),
            None => Ok(()),
        }
    }

    #[inline]
    fn confirm(&mut self, walker: &mut Walker) -> Result<(), End> {
        let Some(tracked) = &mut walker.tracked else { return Ok(()) };
        self.tracker
            .confirm(&mut tracked.flow)
            .map_err(|reason| End { at: At::Confirm, why: Why::Drop(reason) })
    }

    /// What forwarding does before FORWARD sees the packet: TTL, MTU.
    fn forward(
        &mut self,
        walker: &mut Walker,
        arrival: &mut Arrival<'_>,
        egress: Option<InterfaceId>,
    ) -> Result<(), End> {
        if self.network.routing() == Routing::Off {
            return Ok(());
        }
        if let Err(reason) = self.may_forward(walker, arrival, egress) {
            return Err(self.refuse(walker, arrival, reason));
        }
        Edit::new(arrival.bytes, walker.layout).decrement_ttl();
        Ok(())
    }

    fn may_forward(
        &self,
        walker: &Walker,
        arrival: &Arrival<'_>,
        egress: Option<InterfaceId>,
    ) -> Result<(), RoutingDrop> {
        let Some(packet) = Packet::with_layout(arrival.bytes, walker.layout) else {
            return Ok(());
        };
        if packet.ttl() <= 1 {
            return Err(RoutingDrop::TimeToLive);
        }
        if let core::net::IpAddr::V6(source) = packet.source()
            && source.is_unicast_link_local()
        {
            return Err(RoutingDrop::LinkLocalSource);
        }
        let mtu = egress.and_then(|id| self.network.interface(id)).map_or(u32::MAX, |i| i.mtu);
        if packet.length() > mtu as usize && !may_be_fragmented(&packet) {
            return Err(RoutingDrop::TooBig { mtu });
        }
        Ok(())
    }
}

/// Only IPv4 without "do not fragment" is cut on the way.
fn may_be_fragmented(packet: &Packet<'_>) -> bool {
    matches!(packet.network(), Header::V4(header) if !header.dont_fragment())
}

fn outcome(walker: Walker, ended: Result<Verdict, End>) -> Outcome {
    let (verdict, end) = match ended {
        Ok(verdict) => (verdict, None),
        Err(end) => (Verdict::Drop(end.at), Some(end.why)),
    };
    let length = walker.layout.length();
    let Some(tracked) = walker.tracked else {
        return Outcome { state: None, connection: None, verdict, why: end, length };
    };
    Outcome {
        state: Some(tracked.state),
        connection: connection(&tracked),
        verdict,
        why: end.or(tracked.reason.map(Why::Track)),
        length,
    }
}

fn connection(tracked: &Tracked) -> Option<Connection> {
    let direction = tracked.direction?;
    let id = match &tracked.flow {
        Flow::Confirmed(id) => Some(*id),
        Flow::Unconfirmed(_) | Flow::None => None,
    };
    Some(Connection { id, direction, began: tracked.began })
}
