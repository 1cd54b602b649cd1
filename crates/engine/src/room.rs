//! Packets that may become longer: `-j TCPMSS` puts an option into a SYN that has none, helpers
//! behind NAT put other addresses into payloads.
//!
//! A packet is edited where its caller has put it, and there is no room behind it. Where rules may
//! need some, and of those packets only that they may lengthen, a copy with room walks instead:
//! what it has become is written back, or, if it has become longer, emitted.

use stateward_wire::{Network, Packet, TcpFlags, TcpHeader, protocol};

use crate::engine::{Arrival, By, Emitted, Engine, From, Outcome, Verdict};

/// As many bytes as a TCP header can have of options, or an address's text may grow by.
pub(crate) const ROOM: usize = 64;

impl Engine {
    /// A copy with room, if the packet may need it and has not as much behind it.
    #[inline(never)]
    pub(crate) fn with_room(&self, packet: &Packet<'_>, available: usize) -> Option<Vec<u8>> {
        if available >= packet.length() + ROOM || packet.is_cut() || !states_length(packet) {
            return None;
        }
        let lengthened = self.rules.lengthen(packet.family()) && may_lengthen(packet);
        if !lengthened && !self.may_be_edited(packet) {
            return None;
        }
        let mut copy = Vec::with_capacity(packet.length() + ROOM);
        copy.extend_from_slice(packet.bytes());
        copy.resize(packet.length() + ROOM, 0);
        Some(copy)
    }

    /// The copy walks.
    pub(crate) fn walk_copy(
        &mut self,
        mut copy: Vec<u8>,
        arrival: &mut Arrival<'_>,
        from: From,
    ) -> Outcome {
        let mut stead =
            Arrival { bytes: &mut copy, port: arrival.port, now: arrival.now, link: arrival.link };
        let mut outcome = self.walk(&mut stead, from, None);
        let packet = copy.get(..outcome.length).unwrap_or(&copy);
        if let Some(place) = arrival.bytes.get_mut(..packet.len()) {
            place.copy_from_slice(packet);
            return outcome;
        }
        if let Verdict::Forward(interface) | Verdict::Output(interface) = outcome.verdict
            && !outcome.in_pieces
        {
            copy.truncate(outcome.length);
            self.emitted.push(Emitted { interface, by: By::Packet, bytes: copy });
            outcome.in_pieces = true;
        }
        outcome
    }
}

/// Only SYNs without data get another option.
fn may_lengthen(packet: &Packet<'_>) -> bool {
    let is_tcp = packet.upper().is_some_and(|upper| upper.protocol == protocol::TCP);
    let Some(header) = TcpHeader::view(packet.l4()).filter(|_| is_tcp) else { return false };
    header.flags().contains(TcpFlags::SYN) && header.header_length() == packet.l4_length()
}

/// A superpacket states no length: all behind it would be its own.
fn states_length(packet: &Packet<'_>) -> bool {
    match packet.network() {
        Network::V4(header) => header.total_length.get() != 0,
        Network::V6(header) => header.payload_length.get() != 0,
    }
}
