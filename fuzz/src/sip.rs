//! SIP's helper on arbitrary messages of one connection.
//!
//! The first byte of a scenario says over what SIP goes, in which family, and how the connection is
//! translated. What follows are messages, with a byte between them that SIP does not have; the first
//! byte of each says who sends it, and whether both have spoken. What holds is what
//! [`crate::helpers`] says, behind a translation that makes addresses as long as they can be.

use stateward_conntrack::{CtState, Direction, Status};
use stateward_helpers::{Helper, Memory, Message, Peers, Sip};
use stateward_wire::protocol;

use crate::helpers::{Around, Ends};

/// Between messages.
const BETWEEN: u8 = 0xff;

/// Has the helper read the messages.
pub fn sip(bytes: &[u8]) {
    let [how, bytes @ ..] = bytes else { return };
    let peers = if how & 16 == 0 { Peers::Ends } else { Peers::Anybody };
    let over = if how & 1 == 0 { protocol::UDP } else { protocol::TCP };
    let sip = Sip { signalling: peers, media: peers, ..Sip::over(over) };
    let status = match how >> 2 & 3 {
        0 => Status::default(),
        1 => Status::SRC_NAT,
        2 => Status::DST_NAT,
        _ => Status::SRC_NAT | Status::DST_NAT,
    };
    let ends = Ends { v6: how & 2 != 0, ports: [5060, 5060], status };
    let mut around = Around::new(&sip, ends);
    let mut memory = Memory::default();
    for message in bytes.split(|byte| *byte == BETWEEN) {
        let [head, payload @ ..] = message else { continue };
        let message = Message {
            payload,
            sequence: 0,
            direction: if head & 1 == 0 { Direction::Original } else { Direction::Reply },
            state: if head & 2 == 0 { CtState::Established } else { CtState::New },
            tuples: around.tuples,
            status,
            broadcast: None,
        };
        around.begin(payload.len(), sip.growth(payload.len()));
        let _ = sip.help(&message, &mut memory, &mut around);
        around.end();
    }
}
