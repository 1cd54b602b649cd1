//! ICMP errors: RELATED to the connection of the packet they quote, or INVALID.
//!
//! Kernel counterpart: `nf_conntrack_inet_error`, called through `nf_conntrack_icmpv4_error` and
//! `nf_conntrack_icmpv6_error`. How a message is read is [`crate::icmp`]'s and [`crate::icmpv6`]'s.

use stateward_wire::{Packet, protocol};

use super::protocols::L4Context;
use super::{Flow, Template, Tracked, Tracker, Unfinished};
use crate::icmp::{self, Message};
use crate::icmpv6;
use crate::reason::Reason;
use crate::seqadj::SeqAdjust;
use crate::status::{CtState, Direction, Status};
use crate::time::Span;
use crate::tuple::Tuple;

impl Tracker {
    /// ICMP errors and messages that are not tracked; `None` for what is looked up by its own
    /// tuple.
    #[inline(never)]
    pub(super) fn track_icmp(
        &mut self,
        packet: &Packet<'_>,
        protocol: u8,
        verify: Option<Unfinished>,
        template: &Template,
    ) -> Option<Tracked> {
        let context = L4Context {
            sysctls: &self.sysctls,
            timeouts: &self.sysctls,
            direction: Direction::Original,
            status: Status::default(),
            is_new: false,
            now: self.now,
            remaining: Span(0),
            verify,
            moved: SeqAdjust::default(),
        };
        let message = match protocol {
            protocol::ICMP => icmp::classify(&context, packet),
            _ => icmpv6::classify(&context, packet),
        };
        let found = match message {
            Ok(Message::Query) => return None,
            Ok(Message::Untracked) => return Some(Tracked::untracked()),
            Ok(Message::Error(quoted)) => {
                let tuple = Tuple::of_embedded(&quoted, template.zone());
                let tuple = tuple.map(|tuple| self.with_source_key(tuple, quoted.l4()));
                let tuple = tuple.and_then(|tuple| tuple.inverse());
                tuple
                    .ok_or(Reason::IcmpUnquotable)
                    .and_then(|tuple| self.related(packet, &tuple, template))
            }
            Err(reason) => Err(reason),
        };
        Some(found.unwrap_or_else(|reason| {
            self.statistics.error += 1;
            Tracked::invalid(reason)
        }))
    }

    /// The connection that an ICMP error is about, by the answer to the packet it quotes.
    fn related(
        &self,
        packet: &Packet<'_>,
        answer: &Tuple,
        template: &Template,
    ) -> Result<Tracked, Reason> {
        let found = self.find_in(self.table.place(answer), answer, template);
        let (slot, direction) = found.ok_or(Reason::IcmpUnrelated)?;
        let tuple = self.table.tuple(slot, direction).ok_or(Reason::IcmpUnrelated)?;
        // Else anybody who can guess a connection could have a third host's packets pass as its.
        if tuple.destination() != packet.destination() {
            return Err(Reason::IcmpOuterDestination);
        }
        let id = self.table.id_of(slot).ok_or(Reason::IcmpUnrelated)?;
        Ok(Tracked {
            state: CtState::Related,
            direction: Some(direction),
            reason: None,
            began: false,
            flow: Flow::Confirmed(id),
            expectation: None,
            drop: None,
        })
    }
}
