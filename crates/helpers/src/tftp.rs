//! TFTP (RFC 1350): the answer to a request comes from a port of the server's choice.
//!
//! The request goes to port 69, the data from any other port to the one that the request came from.
//! So a request to read or to write announces it: from the server, to where the client has asked
//! from. Nothing in the packet has to be edited behind NAT. Kernel counterpart:
//! `nf_conntrack_tftp.c`.

use stateward_conntrack::expect::{ExpectClass, ExpectMask};
use stateward_conntrack::{Direction, L4Key, Tuple};
use stateward_wire::protocol;

use crate::{Help, Helper, Memory, Message, Surroundings, announcement, nat};

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tftp;

const CLASS: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 1, timeout: 5 * 60 };

/// Opcodes: a request to read, to write.
const READ: u16 = 1;
const WRITE: u16 = 2;

impl Helper for Tftp {
    fn name(&self) -> &'static str {
        "tftp"
    }

    fn port(&self) -> Option<u16> {
        Some(69)
    }

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn help(&self, message: &Message<'_>, _: &mut Memory, around: &mut dyn Surroundings) -> Help {
        let opcode = message.payload.first_chunk().map(|opcode| u16::from_be_bytes(*opcode));
        if !matches!(opcode, Some(READ | WRITE)) {
            return Help::Pass;
        }
        let answers = message.tuples[Direction::Reply];
        let L4Key::Ports { destination, .. } = answers.l4() else { return Help::Pass };
        let l4 = L4Key::Ports { source: 0, destination };
        let ends = (answers.source(), answers.destination());
        let Some(tuple) = Tuple::new(ends.0, ends.1, protocol::UDP, l4, answers.zone()) else {
            return Help::Pass;
        };
        let mut data = announcement(self.name(), tuple, ExpectMask::ADDRESS, CLASS);
        let asked = message.tuples[Direction::Original].l4();
        if let (true, L4Key::Ports { source, .. }) = (nat::is_translated(message), asked) {
            data = nat::follow(data, Direction::Reply, source);
        }
        Help::expecting(around, &data)
    }
}
