//! Packets that may become longer: `-j TCPMSS` puts an option into a SYN that has none, helpers
//! behind NAT put other addresses into payloads.
//!
//! A packet is edited where its caller has put it, and there is no room behind it. Where rules may
//! need some, and of those packets only that they may lengthen, a copy with room walks instead:
//! what it has become is written back, or, if it has become longer, emitted.

use stateward_wire::{Network, Packet, TcpFlags, TcpHeader, protocol};

use crate::engine::{Arrival, By, Emitted, Engine, From, Outcome, Verdict};

/// As many bytes as a TCP header can have of options.
const ROOM: usize = 64;

/// The longest packet: IPv6's, whose header does not count.
const MOST: usize = 40 + u16::MAX as usize;

impl Engine {
    /// A copy with room, if the packet may need it and has not as much behind it.
    #[inline(never)]
    pub(crate) fn with_room(&self, packet: &Packet<'_>, available: usize) -> Option<Vec<u8>> {
        if packet.is_cut() || !states_length(packet) {
            return None;
        }
        let length = self.length_with_room(packet).filter(|length| available < *length)?;
        let mut copy = Vec::with_capacity(length);
        copy.extend_from_slice(packet.bytes());
        copy.resize(length, 0);
        Some(copy)
    }

    /// The bytes that a packet may come to need; none, if nothing makes it longer.
    pub(crate) fn length_with_room(&self, packet: &Packet<'_>) -> Option<usize> {
        let lengthened = self.rules.lengthen(packet.family()) && may_lengthen(packet);
        let room = self.growth(packet).max(lengthened.then_some(ROOM))?;
        // No packet becomes longer than its length can say.
        Some((packet.length() + room).min(MOST.max(packet.length())))
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
