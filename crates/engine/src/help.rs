//! The helper's turn: last but confirmation, in INPUT and POSTROUTING.
//!
//! A packet of a connection that has a helper is read by it before it leaves, when all that rules
//! and NAT do to it is done. Whether a connection has one says its status; which, the tracker. What
//! a capture has cut is not read: a command that ends where the bytes end would be taken for one
//! that goes on in the next packet. Kernel counterpart: `nf_confirm`.

use core::net::Ipv4Addr;
use core::ops::Range as Place;

use stateward_conntrack::expect::{Announcement, ExpectError, ExpectId, Expectation};
use stateward_conntrack::{Call, CtState, Direction, Flow, PerDir, Status, Tracker, Tuple, Zone};
use stateward_helpers::{Doubt, Help, Helper, Memory, Message, Surroundings};
use stateward_nat::{Chance, seqadj};
use stateward_rules::{Hook, TableName, TableSet};
use stateward_wire::edit::{Edit, End};
use stateward_wire::{Family, Packet, protocol};

use crate::account::{Deed, Station};
use crate::engine::{At, Engine, Port, Why};
use crate::nat::{NatDrop, checksum_field};
use crate::walk::{Ended, Frame, Walker};

/// The helpers that connections may have.
pub(crate) struct Helpers(Vec<Box<dyn Helper + Send>>);

impl Default for Helpers {
    fn default() -> Helpers {
        Helpers(stateward_helpers::all())
    }
}

impl Helpers {
    fn find(&self, name: &str, protocol: u8, family: Family) -> Option<&dyn Helper> {
        let all = self.0.iter().map(|helper| &**helper as &dyn Helper);
        let mut named = all.filter(|helper| helper.name() == name);
        named.find(|helper| {
            helper.protocol() == protocol && helper.family().is_none_or(|of| of == family)
        })
    }
}

impl Helpers {
    /// By how much any of a protocol may make a payload longer; none, if there is none.
    fn growth(&self, protocol: u8, payload: usize) -> Option<usize> {
        let all = self.0.iter().filter(|helper| helper.protocol() == protocol);
        all.map(|helper| helper.growth(payload)).max()
    }
}

/// What a helper has found.
struct Found {
    help: Help,
    memory: Memory,
    /// Places in the payload, and what is to stand there.
    edits: Vec<(Place<usize>, Vec<u8>)>,
    /// TCP's numbers do not follow the edits.
    keeps_numbers: bool,
    /// UDP's port that the packet is sent to, if that is another one.
    redirected: Option<u16>,
    announced: Vec<ExpectId>,
    /// TCP's number of the payload's first byte.
    sequence: u32,
    /// Where the payload begins in the packet.
    payload: usize,
    /// The helper has had the packet put into one piece.
    gathers: bool,
}

impl Engine {
    /// Replaces the helpers, which are the kernel's as they are if nothing is set. Connections
    /// keep theirs by name.
    pub fn set_helpers(&mut self, helpers: Vec<Box<dyn Helper + Send>>) {
        self.helpers = Helpers(helpers);
    }

    /// A rule gives the packet's connection a helper that is not there: said, as of whatever cannot
    /// be evaluated.
    #[cold]
    pub(crate) fn seek_helper(&mut self, name: &str, packet: &Packet<'_>) {
        const RULE: &str = "CT --helper";
        let protocol = packet.upper().map_or(0, |upper| upper.protocol);
        if self.helpers.find(name, protocol, packet.family()).is_some() {
            return;
        }
        self.notes.account.note(|| Station::Did(Deed::NotEvaluated(RULE)));
        if !self.notes.not_evaluated.contains(&RULE) {
            self.notes.not_evaluated.push(RULE);
        }
    }

    /// The turn of the connection's helper, and of its sequence numbers, if it has any of them.
    #[inline]
    pub(crate) fn help(
        &mut self,
        hook: Hook,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        // What was announced may have been given a helper, which its status does not say.
        const EITHER: u16 = Status::HELPER.0 | Status::SEQ_ADJUST.0 | Status::EXPECTED.0;
        let Some(tracked) = walker.tracked.as_ref().filter(|_| self.tracker.helps()) else {
            return Ok(());
        };
        let status = self.tracker.status(&tracked.flow);
        if status.0 & EITHER == 0 {
            return Ok(());
        }
        // An error about the connection is not of it.
        if tracked.state == CtState::Related && tracked.direction == Some(Direction::Reply) {
            return Ok(());
        }
        let before = frame.layout.length();
        if self.tracker.helper(&tracked.flow).is_some() {
            self.ask_helper(walker, frame)?;
        }
        // What this host sends to itself is moved on its way out alone.
        let returns = hook == Hook::Input && walker.port == Port::Local;
        if status.has(Status::SEQ_ADJUST) && !returns {
            self.move_numbers(walker, frame)?;
        }
        match hook == Hook::Postrouting && frame.layout.length() > before {
            true => self.still_fits(before, walker, frame),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn ask_helper(&mut self, walker: &mut Walker<'_>, frame: &mut Frame<'_>) -> Result<(), Ended> {
        let packet = frame.packet()?;
        let broadcast = match (walker.port, walker.egress) {
            (Port::Local, Some(egress)) => {
                self.network.broadcast_mask(egress, packet.destination())
            }
            _ => None,
        };
        if broadcast.is_some() {
            // Its copy that comes back to this host goes first, confirms, and is not read.
            self.confirm(walker)?;
        }
        let Some(tracked) = &mut walker.tracked else { return Ok(()) };
        let Some(direction) = tracked.direction.filter(|_| !packet.is_cut()) else { return Ok(()) };
        let reading = Reading { direction, state: tracked.state, broadcast };
        let Some(found) = self.read(&packet, reading, &mut tracked.flow) else { return Ok(()) };
        let changes = !found.edits.is_empty() || found.redirected.is_some();
        if found.gathers || changes {
            walker.gathered = walker.gathered.max(packet.length());
        }
        self.tracker.set_helper_memory(&mut tracked.flow, found.memory);
        match found.help {
            Help::Drop(doubt) => return Err(walker.drop(At::Helper, Why::Helper(doubt))),
            Help::Doubt(doubt) => walker.doubt = Some(doubt),
            Help::Pass => {}
        }
        if !changes {
            return Ok(());
        }
        self.notes.account.note(|| Station::Did(Deed::Edited));
        if self.edit(frame, &found, (&tracked.flow, direction)).is_some() {
            return Ok(());
        }
        for id in found.announced {
            self.tracker.unexpect(id);
        }
        Err(walker.drop(At::Helper, Why::Helper(Doubt::CannotEdit)))
    }

    /// Has the packet read; none if there is nobody to read it.
    fn read(&mut self, packet: &Packet<'_>, of: Reading, flow: &mut Flow) -> Option<Found> {
        let (name, memory) = self.tracker.helper(flow)?;
        let glimpse = self.tracker.glimpse(flow)?;
        let (family, protocol) = (packet.family(), glimpse.original.protocol());
        let helper = self.helpers.find(name, protocol, family)?;
        let Some((payload, sequence)) = Message::of(packet, protocol) else {
            if let Some(seconds) =
                helper.seconds_on_error().filter(|_| of.state == CtState::Related)
            {
                self.tracker.refresh_connection(flow, seconds);
            }
            return None;
        };
        let message = Message {
            payload,
            sequence,
            direction: of.direction,
            state: of.state,
            tuples: PerDir([glimpse.original, glimpse.reply]),
            status: glimpse.status,
            broadcast: of.broadcast,
        };
        let (edits, announced) = (Vec::new(), Vec::new());
        let payload = packet.length() - payload.len();
        let (help, gathers) = (Help::Pass, helper.gathers(&message));
        let mut found = Found {
            help,
            memory,
            edits,
            keeps_numbers: false,
            redirected: None,
            announced,
            sequence,
            payload,
            gathers,
        };
        let (tracker, chance) = (&mut self.tracker, &mut self.chance);
        let mut memory = found.memory;
        let mut asking = Asking { tracker, flow, chance, found: &mut found };
        let help = helper.help(&message, &mut memory, &mut asking);
        Some(Found { help, memory, ..found })
    }

    /// Does what the helper has asked for, the last of it first, so that places stay what they are;
    /// none if it cannot be done.
    fn edit(
        &mut self,
        frame: &mut Frame<'_>,
        found: &Found,
        (flow, direction): (&Flow, Direction),
    ) -> Option<()> {
        let field = checksum_field(&self.tracker, &frame.packet().ok()?);
        let mut edits: Vec<_> = found.edits.iter().collect();
        edits.sort_by_key(|(place, _)| core::cmp::Reverse(place.start));
        for (place, with) in edits {
            let within = found.payload + place.start..found.payload + place.end;
            let mut edit = Edit::new(frame.bytes, frame.layout).with_field(field);
            frame.layout = edit.replace_payload(within, with)?;
            let longer = with.len() as i32 - place.len() as i32;
            let is_tcp = frame.layout.upper().is_some_and(|upper| upper.protocol == protocol::TCP);
            if is_tcp && !found.keeps_numbers {
                self.tracker.note_longer(flow, direction, found.sequence, longer);
            }
        }
        if let Some(port) = found.redirected {
            let mut edit = Edit::new(frame.bytes, frame.layout).with_field(field);
            edit.set_port(End::Destination, port);
            // As in the kernel, the checksum is computed anew.
            edit.replace_payload(found.payload..found.payload, b"")?;
        }
        Some(())
    }

    /// Moves TCP's numbers by what was added before.
    #[inline(never)]
    fn move_numbers(
        &mut self,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(tracked) = &walker.tracked else { return Ok(()) };
        let (Some(direction), Some(moved)) =
            (tracked.direction, self.tracker.seqadj(&tracked.flow))
        else {
            return Ok(());
        };
        let packet = frame.packet()?;
        walker.gathered = walker.gathered.max(seqadj::written(&packet));
        let field = checksum_field(&self.tracker, &packet);
        seqadj::adjust(frame.bytes, frame.layout, field, direction, &moved)
            .map_err(|why| walker.drop(At::Helper, Why::Nat(NatDrop::Refused(why))))
    }

    /// The bytes by which a helper may make a packet longer, which then needs room behind it; none,
    /// if none reads it. What is not in the table by this tuple may get a helper on its way.
    pub(crate) fn growth(&self, packet: &Packet<'_>) -> Option<usize> {
        let family = packet.family();
        let assigned = (self.rules.assign_helpers(family)
            || self.tracker.assigns()
            || !self.tracker.expectations().is_empty())
            && self.rules.have(family, TableSet::of(&[TableName::Nat]));
        if !self.tracker.helps() && !assigned {
            return None;
        }
        let tuple = Tuple::of(packet, Zone::DEFAULT)?;
        let of = tuple.protocol();
        let (payload, _) = Message::of(packet, of).filter(|(payload, _)| !payload.is_empty())?;
        match self.tracker.reader(&tuple) {
            None if assigned => self.helpers.growth(of, payload.len()),
            None | Some((_, None)) => None,
            Some((status, Some(name))) => {
                let is_translated = status.has(Status::SRC_NAT) || status.has(Status::DST_NAT);
                let helper = self.helpers.find(name, of, family).filter(|_| is_translated)?;
                Some(helper.growth(payload.len()))
            }
        }
    }
}

/// What the packet is to its connection.
#[derive(Clone, Copy)]
struct Reading {
    direction: Direction,
    state: CtState,
    broadcast: Option<Ipv4Addr>,
}

/// What a helper asks for.
struct Asking<'a> {
    tracker: &'a mut Tracker,
    flow: &'a mut Flow,
    chance: &'a mut Chance,
    found: &'a mut Found,
}

impl Surroundings for Asking<'_> {
    fn expect(&mut self, announced: &Announcement) -> Result<ExpectId, ExpectError> {
        let id = self.tracker.expect(self.flow, announced.clone())?;
        if announced.nat.is_some() {
            self.found.announced.push(id);
        }
        Ok(id)
    }

    fn own_before(&self, before: Option<ExpectId>) -> Option<&Expectation> {
        self.tracker.own_before(self.flow, before)
    }

    fn elsewhere(&self, tuple: &Tuple) -> Option<&Expectation> {
        self.tracker.expected_elsewhere(self.flow, tuple)
    }

    fn withdraw(&mut self, id: ExpectId) {
        self.tracker.unexpect(id);
    }

    fn activate(&mut self, id: ExpectId, seconds: u32) {
        self.tracker.refresh_expectation(id, seconds);
        self.tracker.activate_expectation(id);
    }

    fn replace(&mut self, place: Place<usize>, with: Vec<u8>) {
        self.found.edits.push((place, with));
    }

    fn expect_call(&mut self, announced: [Announcement; 2]) -> Result<(), ExpectError> {
        self.tracker.expect_call(self.flow, announced)
    }

    fn end_call(&mut self, call: &Call) {
        self.tracker.end_call(self.flow, call);
    }

    fn keep_numbers(&mut self) {
        self.found.keeps_numbers = true;
    }

    fn redirect(&mut self, port: u16) {
        self.found.redirected = Some(port);
    }

    fn port_above(&mut self, lowest: u16) -> u16 {
        self.chance.port_above(lowest)
    }

    fn refresh(&mut self, seconds: u32) {
        self.tracker.refresh_connection(self.flow, seconds);
    }
}
