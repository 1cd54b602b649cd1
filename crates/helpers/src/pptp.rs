//! PPTP (RFC 2637): the control connection agrees upon calls, whose packets are GRE's.
//!
//! Each end gives a call an id, which the other end's packets carry. When both are known, GRE is
//! expected from either side, and the tracker learns which id belongs to which
//! ([`Surroundings::expect_call`]). A call that is disconnected takes its GRE connection with it.
//!
//! Only control messages that begin a segment are read, whole ones, and such as may come in the
//! session's state; others pass as they are. The side that has opened the connection is believed to
//! be the client, and only its latest call is known.
//!
//! Behind NAT two clients may have chosen the same id. So in the request the client's is replaced by
//! the port that it has been given, and put back in all that the server says of it. Who answers a
//! call of the server's keeps its own id, but what the server says then is still replaced: by the
//! id of its latest request, or 0.
//!
//! Kernel counterparts: `nf_conntrack_pptp.c`, `nf_nat_pptp.c`; IPv4 only.

use core::net::{IpAddr, Ipv4Addr};

use stateward_conntrack::expect::{Announcement, ExpectClass, ExpectMask, ExpectNat};
use stateward_conntrack::{Call, CtState, Direction, L4Key, Tuple};
use stateward_wire::{Family, protocol};

use crate::{Help, Helper, Memory, Message, Surroundings, announcement, nat};

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pptp;

const CLASS: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 2, timeout: 5 * 60 };

/// How a call's GRE connection follows its control connection: [`ExpectNat::function`].
const FUNCTION: &str = "pptp";

/// What stands behind a control message's length: its kind, and a number known to all.
const CONTROL: [u8; 6] = [0, 1, 0x1a, 0x2b, 0x3c, 0x4d];
/// Where a message's body begins.
const BODY: usize = 12;

/// Messages.
mod message {
    pub(super) const START_REQUEST: u16 = 1;
    pub(super) const START_REPLY: u16 = 2;
    pub(super) const STOP_REQUEST: u16 = 3;
    pub(super) const STOP_REPLY: u16 = 4;
    pub(super) const ECHO_REQUEST: u16 = 5;
    pub(super) const ECHO_REPLY: u16 = 6;
    pub(super) const OUT_REQUEST: u16 = 7;
    pub(super) const OUT_REPLY: u16 = 8;
    pub(super) const IN_REQUEST: u16 = 9;
    pub(super) const IN_REPLY: u16 = 10;
    pub(super) const IN_CONNECTED: u16 = 11;
    pub(super) const CLEAR_REQUEST: u16 = 12;
    pub(super) const DISCONNECTED: u16 = 13;
    pub(super) const WAN_ERROR: u16 = 14;
    pub(super) const LINK_INFO: u16 = 15;
}

/// Bytes of the body of each message, by its number.
const SIZES: [usize; 16] = [0, 144, 144, 4, 4, 0, 0, 156, 20, 208, 12, 16, 4, 136, 28, 12];

/// What a result says: it is done.
const DONE: u8 = 1;

/// How far a session is; the order counts.
mod session {
    pub(super) const NONE: u32 = 0;
    pub(super) const ERROR: u32 = 1;
    pub(super) const STOPPING: u32 = 2;
    pub(super) const REQUESTED: u32 = 3;
    pub(super) const CONFIRMED: u32 = 4;
}

/// How far a call is.
mod call {
    pub(super) const NONE: u32 = 0;
    pub(super) const OUT_REQUESTED: u32 = 1;
    pub(super) const OUT_CONFIRMED: u32 = 2;
    pub(super) const IN_REQUESTED: u32 = 3;
    pub(super) const IN_REPLIED: u32 = 4;
    pub(super) const IN_CONFIRMED: u32 = 5;
    pub(super) const CLEARING: u32 = 6;
}

/// A control message.
struct Control<'a> {
    kind: u16,
    body: &'a [u8],
}

impl<'a> Control<'a> {
    fn read(payload: &'a [u8]) -> Option<Control<'a>> {
        let (header, body) = payload.split_at_checked(BODY)?;
        let [_, _, begin @ .., high, low, _, _] = header else { return None };
        let kind = u16::from_be_bytes([*high, *low]);
        let size = SIZES.get(usize::from(kind)).copied().unwrap_or_default();
        (begin == CONTROL && body.len() >= size).then_some(Control { kind, body })
    }

    /// The number at a place of the body; messages are as long as they must be.
    fn id(&self, at: usize) -> u16 {
        let id = self.body.get(at..).and_then(|rest| rest.first_chunk().copied());
        u16::from_be_bytes(id.unwrap_or_default())
    }

    fn is_done(&self, at: usize) -> bool {
        self.body.get(at) == Some(&DONE)
    }
}

impl Helper for Pptp {
    fn name(&self) -> &'static str {
        "pptp"
    }

    fn port(&self) -> Option<u16> {
        Some(1723)
    }

    fn protocol(&self) -> u8 {
        protocol::TCP
    }

    fn family(&self) -> Option<Family> {
        Some(Family::V4)
    }

    fn growth(&self, _: usize) -> usize {
        0
    }

    fn help(
        &self,
        message: &Message<'_>,
        memory: &mut Memory,
        around: &mut dyn Surroundings,
    ) -> Help {
        let call = memory.call.get_or_insert_default();
        if message.state != CtState::Established {
            return Help::Pass;
        }
        let Some(control) = Control::read(message.payload) else { return Help::Pass };
        let [session, state, ..] = &mut memory.words;
        let mut control = Reading { control, message, session, state, call };
        match message.direction {
            Direction::Original => control.outbound(around),
            Direction::Reply => control.inbound(around),
        };
        Help::Pass
    }
}

/// A control message and what is known of its connection. Its functions answer with nothing where
/// the message may not come now.
struct Reading<'a> {
    control: Control<'a>,
    message: &'a Message<'a>,
    session: &'a mut u32,
    state: &'a mut u32,
    call: &'a mut Call,
}

impl Reading<'_> {
    /// What the client says.
    fn outbound(&mut self, around: &mut dyn Surroundings) -> Option<()> {
        let control = &self.control;
        let [client, server] = &mut self.call.ids.0;
        let is_up = *self.session == session::CONFIRMED;
        match control.kind {
            message::START_REQUEST if *self.session == session::NONE => {
                *self.session = session::REQUESTED;
            }
            message::STOP_REQUEST => *self.session = session::STOPPING,
            message::OUT_REQUEST if is_up => {
                *self.state = call::OUT_REQUESTED;
                *client = control.id(0);
            }
            message::IN_REPLY
                if matches!(*self.state, call::IN_REQUESTED | call::IN_REPLIED)
                    && control.id(2) == *server =>
            {
                *self.state = call::NONE;
                if control.is_done(4) {
                    *self.state = call::IN_REPLIED;
                    *client = control.id(0);
                }
            }
            message::CLEAR_REQUEST if is_up => *self.state = call::CLEARING,
            message::LINK_INFO | message::ECHO_REQUEST | message::ECHO_REPLY => {}
            _ => return None,
        }
        if nat::is_translated(self.message) {
            self.hide_client(around);
        }
        Some(())
    }

    /// The server gets the client's port for its id.
    fn hide_client(&mut self, around: &mut dyn Surroundings) {
        let [client, _] = &mut self.call.ids.0;
        match self.control.kind {
            message::OUT_REQUEST => {
                let L4Key::Ports { destination, .. } = self.message.tuples[Direction::Reply].l4()
                else {
                    return;
                };
                self.call.own[Direction::Original] = core::mem::replace(client, destination);
            }
            message::IN_REPLY | message::CLEAR_REQUEST => {}
            _ => return,
        }
        around.replace(BODY..BODY + 2, client.to_be_bytes().to_vec());
    }

    /// What the server says.
    fn inbound(&mut self, around: &mut dyn Surroundings) -> Option<()> {
        let control = &self.control;
        let [client, server] = &mut self.call.ids.0;
        let is_up = *self.session == session::CONFIRMED;
        match control.kind {
            message::START_REPLY if *self.session >= session::REQUESTED => {
                *self.session =
                    if control.is_done(2) { session::CONFIRMED } else { session::ERROR };
            }
            message::STOP_REPLY if *self.session <= session::STOPPING => {
                *self.session = if control.is_done(0) { session::NONE } else { session::ERROR };
            }
            message::OUT_REPLY
                if is_up
                    && matches!(*self.state, call::OUT_REQUESTED | call::OUT_CONFIRMED)
                    && control.id(2) == *client =>
            {
                *self.state = call::NONE;
                if control.is_done(4) {
                    *self.state = call::OUT_CONFIRMED;
                    *server = control.id(0);
                    self.expect(around);
                }
            }
            message::IN_REQUEST if is_up => {
                *self.state = call::IN_REQUESTED;
                *server = control.id(0);
            }
            message::IN_CONNECTED
                if is_up
                    && matches!(*self.state, call::IN_REPLIED | call::IN_CONFIRMED)
                    && control.id(0) == *client =>
            {
                *self.state = call::IN_CONFIRMED;
                self.expect(around);
            }
            message::DISCONNECTED => {
                *self.state = call::NONE;
                around.end_call(self.call);
            }
            message::WAN_ERROR
            | message::LINK_INFO
            | message::ECHO_REQUEST
            | message::ECHO_REPLY => {}
            _ => return None,
        }
        if nat::is_translated(self.message) {
            self.show_client(around);
        }
        Some(())
    }

    /// The client gets its id back.
    fn show_client(&self, around: &mut dyn Surroundings) {
        let at = match self.control.kind {
            message::OUT_REPLY => 2,
            message::IN_CONNECTED
            | message::WAN_ERROR
            | message::DISCONNECTED
            | message::LINK_INFO => 0,
            _ => return,
        };
        let client = self.call.own[Direction::Original];
        around.replace(BODY + at..BODY + at + 2, client.to_be_bytes().to_vec());
    }

    /// GRE is expected from both sides. That it cannot be does not matter to the message.
    fn expect(&mut self, around: &mut dyn Surroundings) {
        if nat::is_translated(self.message) {
            self.call.own[Direction::Reply] = self.call.ids[Direction::Reply];
        }
        let announced =
            [Direction::Original, Direction::Reply].map(|direction| self.toward(direction));
        if let [Some(original), Some(reply)] = announced {
            let _ = around.expect_call([original, reply]);
        }
    }

    /// What is expected in a direction of the control connection.
    fn toward(&self, direction: Direction) -> Option<Announcement> {
        let Call { ids, own } = *self.call;
        let translated = nat::is_translated(self.message);
        // Packets come as their sender has its own id, and knows the other one.
        let source = if translated { own[direction] } else { ids[direction] };
        let destination = ids[!direction];
        let ends = self.message.tuples[direction];
        let l4 = L4Key::Gre { source, destination };
        let tuple = Tuple::new(ends.source(), ends.destination(), protocol::GRE, l4, ends.zone())?;
        let mut announced = announcement(Pptp.name(), tuple, ExpectMask::EXACT, CLASS);
        // The client's id on the other side.
        let port = match direction {
            Direction::Original => ids[Direction::Original],
            Direction::Reply => own[Direction::Original],
        };
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let nat = ExpectNat { direction, address, port, function: FUNCTION };
        announced.nat = translated.then_some(nat);
        Some(announced)
    }
}

#[cfg(test)]
mod tests;
