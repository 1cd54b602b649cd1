//! The order of everything: what a packet meets between its arrival and its end.
//!
//! Each hook is a list of stages in the kernel's priority order. Before PREROUTING and OUTPUT, at
//! −400, fragments are put together; the whole then walks in the stead of its last piece. A packet
//! from outside goes through PREROUTING, is routed, and then through INPUT, or through FORWARD and
//! POSTROUTING; one that this host makes through OUTPUT and POSTROUTING, and on through PREROUTING
//! and INPUT if it is for this host itself, tracked once. A stage may end the walk; only a packet
//! that reaches the last stage of INPUT or POSTROUTING leaves a connection behind.

use stateward_conntrack::{
    Approach, CtState, Direction, DropReason, Flow, Hook as TrackHook, Instant, PerDir, Template,
    Tracked, Zone,
};
use stateward_helpers::Doubt;
use stateward_rules::known::Assigned;
use stateward_rules::matches::pkttype::To;
use stateward_rules::{Hook, TableName, TableSet, Tracking, ZoneOf};
use stateward_wire::edit::Edit;
use stateward_wire::{Layout, Packet};

use crate::account::{self, Classified, Station};
use crate::engine::{Arrival, At, Connection, Engine, From, Outcome, Port, Verdict, Why, parse};
use crate::link::LinkHeader;
use crate::nat::NatDrop;
use crate::options;
use crate::route::{Decision, InterfaceId, Routing, RoutingDrop};

/// What stands in a hook: the tracker's turn, and the tables of rules before and after it. The
/// tables' priorities are −300 raw, −150 mangle, −100 (destinations) and 100 (sources) nat, 0
/// filter, 50 security.
struct Stages {
    before: &'static [TableName],
    tracker: Option<Turn>,
    after: &'static [TableName],
}

/// What the tracker does in a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// −200: it classifies.
    Track,
    /// Last: the connection's helper reads it, and it confirms.
    Confirm,
}

/// Every hook's stages, by priority.
const fn stages(hook: Hook) -> Stages {
    use TableName::{Filter, Mangle, Nat, Raw, Security};
    let (before, tracker, after): (&'static [TableName], _, &'static [TableName]) = match hook {
        Hook::Prerouting => (&[Raw], Some(Turn::Track), &[Mangle, Nat]),
        Hook::Input => (&[Mangle, Filter, Security, Nat], Some(Turn::Confirm), &[]),
        Hook::Forward => (&[Mangle, Filter, Security], None, &[]),
        Hook::Output => (&[Raw], Some(Turn::Track), &[Mangle, Nat, Filter, Security]),
        Hook::Postrouting => (&[Mangle, Nat], Some(Turn::Confirm), &[]),
    };
    Stages { before, tracker, after }
}

/// What was worked out of a packet's bytes alone when its burst came in.
#[derive(Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) layout: Layout,
    pub(crate) approach: Approach,
}

/// A packet's bytes on the walk: what stages read, and what they may edit.
pub(crate) struct Frame<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) layout: Layout,
}

impl Frame<'_> {
    /// The packet as it is now. No edit makes it shorter, so that it is always there.
    #[inline(always)]
    pub(crate) fn packet(&self) -> Result<Packet<'_>, Ended> {
        Packet::with_layout(self.bytes, self.layout).ok_or(Ended)
    }
}

/// What the walk knows of a packet besides its bytes.
pub(crate) struct Walker<'a> {
    pub(crate) tracked: Option<Tracked>,
    /// It was INVALID when it left for this host itself.
    pub(crate) was_invalid: bool,
    /// How the tracker is to see it, if a rule has said so and it has not yet.
    pub(crate) tracking: Option<Tracking>,
    /// Where the tracker will look, if the packet came in a burst.
    pub(crate) approach: Option<&'a Approach>,
    pub(crate) now: Instant,
    pub(crate) port: Port,
    /// What the link told of it.
    pub(crate) link: Option<&'a LinkHeader>,
    /// Length of the largest fragment or segment, if it was put together.
    pub(crate) largest_piece: Option<usize>,
    /// Bytes are missing in its middle: no checksum can be judged.
    pub(crate) incomplete: bool,
    /// Where it leaves, once that is known.
    pub(crate) egress: Option<InterfaceId>,
    /// This host sends it to itself.
    pub(crate) comes_back: bool,
    /// Where it would have left, and whether to this host itself, before NAT sent it elsewhere: the
    /// rest of OUTPUT goes on to see that.
    pub(crate) planned: Option<(Option<InterfaceId>, bool)>,
    /// The mark that rules give it.
    pub(crate) mark: u32,
    /// Its IPv4 header has options that were changed, and still the checksum of before.
    pub(crate) unsummed: bool,
    /// So many of its first bytes have been needed in one piece.
    pub(crate) gathered: usize,
    /// This host answers what was UNTRACKED: the answer is tracked whatever rules say, because the
    /// kernel takes it for attached to something (`nf_ct_attach`).
    pub(crate) insists: bool,
    /// What the connection's helper has to say against it.
    pub(crate) doubt: Option<Doubt>,
    /// Why its connection may not get into the table.
    pub(crate) starved: Option<NatDrop>,
    /// This host answers a packet by it.
    pub(crate) answers: bool,
    /// The socket that a rule has handed it to.
    pub(crate) assigned: Option<Assigned>,
    /// Where and why it ended, once it has [`Ended`].
    pub(crate) end: Option<End>,
}

impl Walker<'_> {
    pub(crate) fn new(now: Instant, port: Port) -> Self {
        Walker {
            tracked: None,
            was_invalid: false,
            tracking: None,
            approach: None,
            now,
            port,
            link: None,
            largest_piece: None,
            incomplete: false,
            egress: None,
            comes_back: false,
            planned: None,
            mark: 0,
            unsummed: false,
            gathered: 0,
            insists: false,
            doubt: None,
            starved: None,
            answers: false,
            assigned: None,
            end: None,
        }
    }

    /// Whether the tracker knows nothing of the packet, and no rule has said how to see it. INVALID
    /// leaves no trace on a packet that comes back to this host.
    pub(crate) fn is_unseen(&self) -> bool {
        let seen = self.tracked.as_ref().is_some_and(|tracked| tracked.state != CtState::Invalid);
        !seen && !self.insists && self.tracking.is_none()
    }

    /// What the tracker is told, now that it looks.
    fn template(&mut self) -> Option<Template> {
        let Tracking { zones, reports, helper, timeouts } = self.tracking.take()?;
        let zone = |zone| match zone {
            ZoneOf::Rule(zone) => zone,
            ZoneOf::Mark => Zone(self.mark as u16),
        };
        Some(Template { zones: PerDir(zones.0.map(zone)), reports, helper, timeouts })
    }

    /// The tracker was told to leave it alone.
    pub(crate) fn is_untracked(&self) -> bool {
        self.tracked.as_ref().is_some_and(|tracked| tracked.state == CtState::Untracked)
    }

    /// Ends the walk before its end.
    #[cold]
    pub(crate) fn end(&mut self, verdict: Verdict, why: Option<Why>) -> Ended {
        self.end = Some(End { verdict, why });
        Ended
    }

    /// Drops the packet for a reason other than a rule.
    #[cold]
    pub(crate) fn drop(&mut self, at: At, why: Why) -> Ended {
        self.end(Verdict::Drop(at), Some(why))
    }
}

/// How the walk ended before its end.
#[derive(Clone, Copy)]
pub(crate) struct End {
    verdict: Verdict,
    why: Option<Why>,
}

/// The walk has ended before its end; the walker knows where and why, so that what is handed up
/// from stage to stage fits a register.
#[derive(Clone, Copy)]
pub(crate) struct Ended;

/// Where routing sends a packet.
enum Way {
    Input,
    Forward(Option<InterfaceId>),
}

impl Engine {
    /// One packet from its arrival to its end; `prepared` if it came in a burst.
    #[inline(never)]
    pub(crate) fn walk(
        &mut self,
        arrival: &mut Arrival<'_>,
        from: From,
        prepared: Option<&Prepared>,
    ) -> Outcome {
        if self.has_rules {
            self.notes.clear();
        }
        let known = prepared.and_then(|known| Packet::with_layout(arrival.bytes, known.layout));
        let packet = match known {
            Some(packet) => packet,
            None => match parse(arrival.bytes, arrival.port, from) {
                Ok(packet) => packet,
                Err(malformed) => return Outcome::malformed(malformed, arrival.bytes.len()),
            },
        };
        if self.has_rules
            && let Some(copy) = self.with_room(&packet, arrival.bytes.len())
        {
            return self.walk_copy(copy, arrival, from);
        }
        let Port::Interface(ingress) = arrival.port else {
            return self.walk_out(arrival, packet.layout(), prepared);
        };
        if let Some(reason) = self.network.on_arrival(&packet) {
            return self.turn_away(arrival, &packet, reason);
        }
        if packet.is_fragment()
            && let Some(outcome) =
                self.walk_fragment(&packet, arrival.port, arrival.now, arrival.link)
        {
            return outcome;
        }
        let mut walker = Walker::new(arrival.now, arrival.port);
        walker.mark = self.arrival_mark;
        walker.link = arrival.link;
        walker.approach = prepared.map(|known| &known.approach);
        if from == From::Capture {
            walker.largest_piece = self.network.pieces_of_superpacket(&packet, arrival.port);
        }
        let layout = packet.layout();
        let mut frame = Frame { bytes: &mut *arrival.bytes, layout };
        let verdict = match self.receive(&mut walker, &mut frame, ingress) {
            Ok(verdict) => verdict,
            Err(Ended) => return self.ended(&mut walker, frame.layout.length()),
        };
        let in_pieces = match verdict {
            Verdict::Forward(Some(egress)) => self.leave(&frame, &walker, egress),
            _ => false,
        };
        self.outcome(&mut walker, verdict, frame.layout.length(), in_pieces)
    }

    /// As [`Engine::walk`] for a packet that this host makes.
    #[inline(never)]
    fn walk_out(
        &mut self,
        arrival: &mut Arrival<'_>,
        layout: Layout,
        prepared: Option<&Prepared>,
    ) -> Outcome {
        let (port, now) = (arrival.port, arrival.now);
        let mut frame = Frame { bytes: &mut *arrival.bytes, layout };
        let mut walker = Walker::new(now, port);
        if let Ok(packet) = frame.packet()
            && packet.is_fragment()
        {
            // A piece that goes nowhere is not waited for.
            if let Err(Ended) = self.way_out(&mut walker, &packet) {
                return self.ended(&mut walker, packet.length());
            }
            if let Some(outcome) = self.walk_fragment(&packet, port, now, None) {
                return outcome;
            }
        }
        walker.mark = self.arrival_mark;
        walker.approach = prepared.map(|known| &known.approach);
        match self.send(&mut walker, &mut frame) {
            Ok(verdict) => self.outcome(&mut walker, verdict, frame.layout.length(), false),
            Err(Ended) => self.ended(&mut walker, frame.layout.length()),
        }
    }

    /// A forwarded packet leaves; true if it does so in pieces.
    #[inline(never)]
    fn leave(&mut self, frame: &Frame<'_>, walker: &Walker<'_>, egress: InterfaceId) -> bool {
        let bytes = frame.bytes.get(..frame.layout.length()).unwrap_or(frame.bytes);
        // A superpacket is cut by the card that sends it, and shown as one.
        walker.largest_piece.is_none() && self.leave_in_pieces(bytes, None, egress)
    }

    /// A packet that is thrown away before any hook.
    #[cold]
    fn turn_away(
        &mut self,
        arrival: &Arrival<'_>,
        packet: &Packet<'_>,
        reason: RoutingDrop,
    ) -> Outcome {
        let link = arrival.link;
        let mut walker = Walker { link, ..Walker::new(arrival.now, arrival.port) };
        let Ended = self.refuse(&mut walker, packet, reason);
        Outcome::unseen(Verdict::Drop(At::Routing), Why::Routing(reason), packet.length())
    }

    #[inline(never)]
    pub(crate) fn pass(
        &mut self,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<Verdict, Ended> {
        match walker.port {
            Port::Local => self.send(walker, frame),
            Port::Interface(ingress) => self.receive(walker, frame, ingress),
        }
    }

    #[inline(always)]
    fn receive(
        &mut self,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
        ingress: InterfaceId,
    ) -> Result<Verdict, Ended> {
        self.run(Hook::Prerouting, walker, frame)?;
        let way = match self.network.routing() {
            // Whether the routes lead to the socket nobody knows: it was meant to have it.
            Routing::Off if walker.assigned.is_some() => Way::Input,
            Routing::Off if self.network.is_delivered(walker.mark) => Way::Input,
            Routing::Off if !self.network.has_addresses() => Way::Forward(None),
            Routing::Off if self.network.is_own(frame.packet()?.destination()) => Way::Input,
            Routing::Off => Way::Forward(None),
            Routing::Host | Routing::Forwarding => self.route(walker, frame, ingress)?,
        };
        match way {
            Way::Input => {
                self.notes.account.note(|| Station::Routed(account::Way::Input));
                self.run(Hook::Input, walker, frame)?;
                Ok(Verdict::Input)
            }
            Way::Forward(egress) => {
                walker.egress = egress;
                self.notes.account.note(|| Station::Routed(account::Way::Forward(egress)));
                self.run(Hook::Forward, walker, frame)?;
                if walker.unsummed {
                    options::sum_up(frame.bytes);
                }
                self.run(Hook::Postrouting, walker, frame)?;
                Ok(Verdict::Forward(egress))
            }
        }
    }

    /// Routing, for a packet that came in from outside. One that goes on has one hop less from
    /// here.
    #[inline(never)]
    fn route(
        &mut self,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
        ingress: InterfaceId,
    ) -> Result<Way, Ended> {
        let packet = frame.packet()?;
        match self.network.input(&packet, ingress, walker.mark) {
            Decision::Input => Ok(Way::Input),
            Decision::Forward(_) if walker.link.is_some_and(|link| link.to != To::Us) => {
                let reason = RoutingDrop::NotAddressed;
                Err(walker.drop(At::Routing, Why::Routing(reason)))
            }
            Decision::Forward(_) if walker.assigned.is_some() => {
                Err(walker.drop(At::Routing, Why::Routing(RoutingDrop::Assigned)))
            }
            Decision::Forward(egress) => {
                let largest = walker.largest_piece;
                if let Err(reason) = self.network.may_forward(&packet, ingress, egress, largest) {
                    return Err(self.refuse(walker, &packet, reason));
                }
                Edit::new(frame.bytes, frame.layout).decrement_ttl();
                walker.unsummed = options::clear_after_end(frame.bytes);
                Ok(Way::Forward(egress))
            }
            Decision::Drop(reason) => Err(self.refuse(walker, &packet, reason)),
        }
    }

    #[inline(never)]
    fn send(&mut self, walker: &mut Walker<'_>, frame: &mut Frame<'_>) -> Result<Verdict, Ended> {
        self.way_out(walker, &frame.packet()?)?;
        self.notes.account.note(|| {
            let out = account::Way::Output(walker.egress);
            Station::Routed(if walker.comes_back { account::Way::Loopback } else { out })
        });
        self.depart(walker, frame)?;
        // NAT may have sent it elsewhere.
        Ok(if walker.comes_back { Verdict::Input } else { Verdict::Output(walker.egress) })
    }

    /// Where what a process of this host sends goes. Where it goes nowhere, the process is told,
    /// before any hook.
    fn way_out(&self, walker: &mut Walker<'_>, packet: &Packet<'_>) -> Result<(), Ended> {
        let (source, destination) = (packet.source(), packet.destination());
        let egress = self.network.way_out(source, destination);
        let own = self.network.is_local(destination);
        if egress.is_none() && !own && self.network.routing() != Routing::Off {
            return Err(walker.drop(At::Routing, Why::Routing(self.network.refusal(destination))));
        }
        (walker.egress, walker.comes_back) = (if own { None } else { egress }, own);
        Ok(())
    }

    /// What this host made goes out, and comes in again if it is for this host.
    #[inline(never)]
    pub(crate) fn depart(
        &mut self,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        self.run(Hook::Output, walker, frame)?;
        self.run(Hook::Postrouting, walker, frame)?;
        if walker.comes_back {
            let packet = frame.packet()?;
            if let Err(reason) = self.network.on_return(&packet) {
                return Err(self.refuse(walker, &packet, reason));
            }
            self.run(Hook::Prerouting, walker, frame)?;
            self.run(Hook::Input, walker, frame)?;
        }
        Ok(())
    }

    /// Runs the stages of a hook in order.
    #[inline(always)]
    fn run(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let Stages { before, tracker, after } = stages(hook);
        let family = frame.layout.family();
        if self.has_rules && self.rules.have(family, TableSet::of(before)) {
            self.ask_all(hook, before, walker, frame)?;
        }
        match tracker {
            Some(Turn::Track) => {
                self.track(hook, walker, frame)?;
                self.follow_master(walker);
            }
            Some(Turn::Confirm) => {
                self.help(hook, walker, frame)?;
                self.confirm(walker)?;
            }
            None => {}
        }
        if self.has_rules && self.rules.have(family, TableSet::of(after)) {
            self.ask_all(hook, after, walker, frame)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn track(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Ended> {
        // What came round by the host itself has been tracked on its way out; only INVALID leaves
        // no trace on a packet, so that it is found and counted twice.
        if let Some(Tracked { state, .. }) = &walker.tracked
            && *state != CtState::Invalid
        {
            self.notes.account.note(|| Station::Known(*state));
            return Ok(());
        }
        let unverified = hook == Hook::Output || walker.incomplete;
        let at = if unverified { TrackHook::Output } else { TrackHook::Prerouting };
        let packet = frame.packet()?;
        let template = walker.template();
        if let Some(helper) = template.and_then(|template| template.helper) {
            self.seek_helper(helper, &packet);
        }
        // Who comes here with something was INVALID.
        walker.was_invalid = walker.tracked.is_some();
        let tracked = walker.tracked.insert(Tracked::untracked());
        let explains = self.notes.account.is_kept();
        let before = if explains { self.tracker.find(&packet, walker.now) } else { None };
        match template {
            None => self.tracker.track_from(walker.approach, &packet, at, walker.now, tracked),
            Some(template) => *tracked = self.tracker.track(&packet, at, template, walker.now),
        }
        self.notes.account.note(|| {
            let &mut Tracked { state, direction, reason, drop, .. } = tracked;
            let state = Some(state).filter(|_| drop.is_none());
            Station::Tracked(Box::new(Classified { state, direction, reason, before }))
        });
        match tracked.drop {
            Some(reason) => {
                // It ends before any rule sees what it would have been.
                walker.tracked = None;
                Err(walker.drop(At::Conntrack, Why::Drop(reason)))
            }
            None => Ok(()),
        }
    }

    #[inline(always)]
    pub(crate) fn confirm(&mut self, walker: &mut Walker<'_>) -> Result<(), Ended> {
        let Some(tracked) = &mut walker.tracked else { return Ok(()) };
        if tracked.direction == Some(Direction::Reply)
            && let Flow::Unconfirmed(_) = tracked.flow
        {
            // An answer that this host makes does not confirm what it answers.
            return Ok(());
        }
        let began = matches!(tracked.flow, Flow::Unconfirmed(_));
        match self.tracker.confirm(&mut tracked.flow) {
            Ok(()) => {
                if began {
                    self.notes.account.note(|| Station::Entered);
                }
                Ok(())
            }
            Err(reason) => {
                let starved = walker.starved.filter(|_| reason == DropReason::Clash);
                Err(walker.drop(At::Confirm, starved.map_or(Why::Drop(reason), Why::Nat)))
            }
        }
    }

    /// What became of a packet that came to the end of its way.
    #[inline(always)]
    pub(crate) fn outcome(
        &mut self,
        walker: &mut Walker<'_>,
        verdict: Verdict,
        length: usize,
        in_pieces: bool,
    ) -> Outcome {
        self.notes.mark = walker.mark;
        let Some(tracked) = &walker.tracked else {
            return Outcome {
                state: None,
                connection: None,
                verdict,
                why: None,
                length,
                in_pieces,
            };
        };
        // What comes back to this host as INVALID is looked at again, where rules may say otherwise
        // how; it stays what it was first.
        let (state, connection) = match walker.was_invalid {
            true => (Some(CtState::Invalid), None),
            false => (Some(tracked.state), connection(tracked)),
        };
        let why = tracked.reason.map(Why::Track).or(walker.doubt.map(Why::Helper));
        Outcome { state, connection, verdict, why, length, in_pieces }
    }

    /// What became of a packet whose walk [`Ended`].
    #[inline(never)]
    pub(crate) fn ended(&mut self, walker: &mut Walker<'_>, length: usize) -> Outcome {
        let (verdict, why) = match walker.end {
            Some(End { verdict, why }) => (verdict, why),
            None => (Verdict::Drop(At::Routing), None),
        };
        if let Some(tracked) = &mut walker.tracked
            && let Flow::Unconfirmed(_) = tracked.flow
        {
            self.tracker.forget(core::mem::take(&mut tracked.flow));
        }
        let outcome = self.outcome(walker, verdict, length, false);
        Outcome { why: why.or(outcome.why), ..outcome }
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
