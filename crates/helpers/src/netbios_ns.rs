//! NetBIOS' name service: a question to all of a link is answered by anybody on it.
//!
//! Only what this host itself broadcasts counts. Answers come from the service's port, from any
//! address of the link, to where it has asked from: as many as there are, for a few seconds.
//! Kernel counterparts: `nf_conntrack_netbios_ns.c`, `nf_conntrack_broadcast.c`.

use stateward_conntrack::expect::{ExpectClass, ExpectFlags, ExpectMask};
use stateward_conntrack::{Direction, L4Key, Tuple};
use stateward_wire::{Family, protocol};

use crate::{Help, Helper, Memory, Message, Surroundings, announcement};

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetbiosNs;

const CLASS: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 1, timeout: PATIENCE };

/// Seconds for which answers are waited for.
const PATIENCE: u32 = 3;

const PORT: u16 = 137;

impl Helper for NetbiosNs {
    fn name(&self) -> &'static str {
        "netbios-ns"
    }

    fn port(&self) -> Option<u16> {
        Some(PORT)
    }

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn family(&self) -> Option<Family> {
        Some(Family::V4)
    }

    fn help(&self, message: &Message<'_>, _: &mut Memory, around: &mut dyn Surroundings) -> Help {
        let Some(mask) = message.broadcast else { return Help::Pass };
        if message.direction != Direction::Original {
            return Help::Pass;
        }
        let answers = message.tuples[Direction::Reply];
        let L4Key::Ports { destination, .. } = answers.l4() else { return Help::Pass };
        let l4 = L4Key::Ports { source: PORT, destination };
        let ends = (answers.source(), answers.destination());
        let Some(tuple) = Tuple::new(ends.0, ends.1, protocol::UDP, l4, answers.zone()) else {
            return Help::Pass;
        };
        let mask = ExpectMask::new(mask.into(), u16::MAX);
        let mut any = announcement(self.name(), tuple, mask, CLASS);
        any.flags = ExpectFlags::PERMANENT;
        // Whether it is let in or not, the question is asked.
        let _ = around.expect(&any);
        around.refresh(PATIENCE);
        Help::Pass
    }
}
