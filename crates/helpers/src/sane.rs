//! SANE's network scanners: the server answers the request to start with the port of its data.
//!
//! The request is two numbers of 32 bits, of which the first one says what is asked for; the answer
//! to it, if it is a success, has the port in its second number. Only the answer to the last
//! request counts. Kernel counterpart: `nf_conntrack_sane.c`, which translates nothing behind NAT.

use stateward_conntrack::expect::{ExpectClass, ExpectMask};
use stateward_conntrack::{CtState, Direction, L4Key, Tuple};
use stateward_wire::protocol;

use crate::{Help, Helper, Memory, Message, Surroundings, announcement};

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sane;

const CLASS: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 1, timeout: 5 * 60 };

/// What a request asks for: to start a scan.
const START: [u8; 4] = [0, 0, 0, 7];

/// What has been asked for last: something else, or to start.
const IDLE: u32 = 0;
const STARTING: u32 = 1;

impl Helper for Sane {
    fn name(&self) -> &'static str {
        "sane"
    }

    fn port(&self) -> Option<u16> {
        Some(6566)
    }

    fn protocol(&self) -> u8 {
        protocol::TCP
    }

    fn help(
        &self,
        message: &Message<'_>,
        memory: &mut Memory,
        around: &mut dyn Surroundings,
    ) -> Help {
        if message.state != CtState::Established || message.payload.is_empty() {
            return Help::Pass;
        }
        let [asked, ..] = &mut memory.words;
        if message.direction == Direction::Original {
            if let [a, b, c, d, _, _, _, _] = message.payload {
                *asked = if [*a, *b, *c, *d] == START { STARTING } else { IDLE };
            }
            return Help::Pass;
        }
        if core::mem::replace(asked, IDLE) != STARTING {
            return Help::Pass;
        }
        let [0, 0, 0, 0, 0, 0, high, low, ..] = message.payload else { return Help::Pass };
        let l4 = L4Key::Ports { source: 0, destination: u16::from_be_bytes([*high, *low]) };
        let client = message.tuples[Direction::Original];
        let ends = (client.source(), client.destination());
        match Tuple::new(ends.0, ends.1, protocol::TCP, l4, client.zone()) {
            Some(tuple) => Help::expecting(
                around,
                &announcement(self.name(), tuple, ExpectMask::ADDRESS, CLASS),
            ),
            None => Help::Pass,
        }
    }
}
