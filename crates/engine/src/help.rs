//! The helper's turn: last but confirmation, in INPUT and POSTROUTING.
//!
//! A packet of a connection that has a helper is read by it before it leaves, when all that rules
//! and NAT do to it is done. Whether a connection has one says its status; which, the tracker. What
//! a capture has cut is not read: a command that ends where the bytes end would be taken for one
//! that goes on in the next packet. Kernel counterpart: `nf_confirm`.

use core::net::Ipv4Addr;

use stateward_conntrack::expect::{Announcement, ExpectError, ExpectId};
use stateward_conntrack::{CtState, Direction, Flow, PerDir, Status, Tracker};
use stateward_helpers::{Help, Helper, Memory, Message, Surroundings};
use stateward_wire::{Family, Packet};

use crate::account::{Deed, Station};
use crate::engine::{At, Engine, Port, Why};
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

/// What a helper has found.
struct Found {
    help: Help,
    memory: Memory,
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

    /// The helper's turn, if the packet's connection has one.
    #[inline]
    pub(crate) fn help(
        &mut self,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(tracked) = &walker.tracked else { return Ok(()) };
        match self.tracker.status(&tracked.flow).has(Status::HELPER) {
            true => self.ask_helper(walker, frame),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn ask_helper(&mut self, walker: &mut Walker<'_>, frame: &mut Frame<'_>) -> Result<(), Ended> {
        let packet = frame.packet()?;
        let Some(tracked) = &mut walker.tracked else { return Ok(()) };
        let Some(direction) = tracked.direction else { return Ok(()) };
        // An error about the connection is not of it.
        if tracked.state == CtState::Related && direction == Direction::Reply || packet.is_cut() {
            return Ok(());
        }
        let broadcast = match (walker.port, walker.egress) {
            (Port::Local, Some(egress)) => {
                self.network.broadcast_mask(egress, packet.destination())
            }
            _ => None,
        };
        let reading = Reading { direction, state: tracked.state, broadcast };
        let Some(Found { help, memory }) = self.read(&packet, reading, &mut tracked.flow) else {
            return Ok(());
        };
        self.tracker.set_helper_memory(&mut tracked.flow, memory);
        match help {
            Help::Pass => Ok(()),
            Help::Doubt(doubt) => {
                walker.doubt = Some(doubt);
                Ok(())
            }
            Help::Drop(doubt) => Err(walker.drop(At::Helper, Why::Helper(doubt))),
        }
    }

    /// Has the packet read; none if there is nobody to read it.
    fn read(&mut self, packet: &Packet<'_>, of: Reading, flow: &mut Flow) -> Option<Found> {
        let (name, mut memory) = self.tracker.helper(flow)?;
        let glimpse = self.tracker.glimpse(flow)?;
        let (family, protocol) = (packet.family(), glimpse.original.protocol());
        let helper = self.helpers.find(name, protocol, family)?;
        let (payload, sequence) = Message::of(packet, protocol)?;
        let message = Message {
            payload,
            sequence,
            direction: of.direction,
            state: of.state,
            tuples: PerDir([glimpse.original, glimpse.reply]),
            status: glimpse.status,
            broadcast: of.broadcast,
        };
        let mut asking = Asking { tracker: &mut self.tracker, flow };
        let help = helper.help(&message, &mut memory, &mut asking);
        Some(Found { help, memory })
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
}

impl Surroundings for Asking<'_> {
    fn expect(&mut self, announced: &Announcement) -> Result<ExpectId, ExpectError> {
        self.tracker.expect(self.flow, announced.clone())
    }

    fn refresh(&mut self, seconds: u32) {
        self.tracker.refresh_connection(self.flow, seconds);
    }
}
