//! Fragments on the walk: put together where they come in, cut again where they leave.
//!
//! [`defrag`](crate::defrag) decides what belongs together and how a whole is cut; this is where
//! the walk asks it.

use stateward_conntrack::Instant;
use stateward_wire::{Family, Network as Header, Packet};

use crate::defrag::{self, Cut, Expired, Origins, Place, Reassembled, Side, cut};
use crate::engine::{At, By, Emitted, Engine, Outcome, Port, Verdict, Why};
use crate::host::Error;
use crate::link::LinkHeader;
use crate::route::{InterfaceId, RoutingDrop};
use crate::walk::{Ended, Frame, Walker};

/// How a packet has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// It has not: it may as it is.
    Whole,
    InPieces,
    /// It cannot, and its sender is to be told.
    TooBig,
    /// It cannot.
    Impossible,
}

impl Engine {
    /// A fragment: waits, is dropped, or brings the whole on its way. `None`: it goes on as it is.
    #[inline(never)]
    pub(crate) fn walk_fragment(
        &mut self,
        packet: &Packet<'_>,
        port: Port,
        now: Instant,
        link: Option<&LinkHeader>,
    ) -> Option<Outcome> {
        self.handle_timeout(now);
        let now = self.tracker.now();
        let place = match port {
            Port::Interface(InterfaceId(id)) => {
                Place { side: Side::Incoming, interface: u32::from(id), zone: 0 }
            }
            Port::Local => Place { side: Side::Outgoing, interface: 0, zone: 0 },
        };
        let ended = |verdict, why| Outcome {
            state: None,
            connection: None,
            verdict,
            why,
            length: packet.length(),
            in_pieces: false,
        };
        self.defrag.set_checksums(self.tracker.sysctls().checksum);
        match self.defrag.push(packet, place, now) {
            defrag::Outcome::Whole => None,
            defrag::Outcome::Held => Some(ended(Verdict::Held, None)),
            defrag::Outcome::Dropped(reason) => {
                Some(ended(Verdict::Drop(At::Defrag), Some(Why::Defrag(reason))))
            }
            defrag::Outcome::Complete(whole) => Some(self.walk_whole(whole, port, now, link)),
        }
    }

    /// The link's header is that of the last piece.
    fn walk_whole(
        &mut self,
        whole: Reassembled,
        port: Port,
        now: Instant,
        link: Option<&LinkHeader>,
    ) -> Outcome {
        let Reassembled { mut bytes, mut origins, incomplete } = whole;
        let packet = match Packet::parse_trusted(&bytes) {
            Ok(packet) => packet,
            Err(malformed) => return Outcome::malformed(malformed, bytes.len()),
        };
        let largest_piece = Some(origins.largest());
        let mark = self.arrival_mark;
        let mut walker = Walker { largest_piece, incomplete, link, mark, ..Walker::new(now, port) };
        let (layout, came) = (packet.layout(), packet.length());
        if let Some(length) = self.length_with_room(&packet) {
            bytes.resize(length.max(bytes.len()), 0);
        }
        let mut frame = Frame { bytes: &mut bytes, layout };
        let ended = self.pass(&mut walker, &mut frame);
        let length = frame.layout.length();
        bytes.truncate(length);
        origins.gather(walker.gathered.min(came));
        let left = ended.and_then(|verdict| {
            self.whole_leaves(&mut walker, bytes, &origins, verdict).map(|pieces| (verdict, pieces))
        });
        match left {
            Ok((verdict, in_pieces)) => self.outcome(&mut walker, verdict, length, in_pieces),
            Err(Ended) => self.ended(&mut walker, length),
        }
    }

    /// What was put together leaves, if it does; true if so, for it is not what stands in the
    /// arrival's buffer.
    fn whole_leaves(
        &mut self,
        walker: &mut Walker<'_>,
        bytes: Vec<u8>,
        origins: &Origins,
        verdict: Verdict,
    ) -> Result<bool, Ended> {
        let (Verdict::Forward(interface) | Verdict::Output(interface)) = verdict else {
            return Ok(false);
        };
        // Without routing nothing is known of the next link: as they came.
        let mtu = interface.map_or(usize::MAX, |egress| self.mtu(egress));
        match self.emit_pieces(&bytes, Some(origins), mtu, interface) {
            Left::InPieces | Left::Impossible => {}
            Left::Whole => self.emitted.push(Emitted { interface, by: By::Packet, bytes }),
            Left::TooBig => {
                let packet = Packet::parse_trusted(&bytes).map_err(|_| Ended)?;
                return Err(self.cannot_leave(walker, &packet, mtu));
            }
        }
        Ok(true)
    }

    fn mtu(&self, egress: InterfaceId) -> usize {
        self.network.interface(egress).map_or(usize::MAX, |to| to.mtu as usize)
    }

    /// Cuts a packet for the link it leaves by, if it must be; what leaves is then emitted.
    #[inline]
    pub(crate) fn leave_in_pieces(
        &mut self,
        bytes: &[u8],
        origins: Option<&Origins>,
        egress: InterfaceId,
    ) -> bool {
        let mtu = self.mtu(egress);
        // What is too big has been refused: by routing, or where a helper made it longer.
        let stays = origins.is_none() && bytes.len() <= mtu;
        !stays && self.emit_pieces(bytes, origins, mtu, Some(egress)) != Left::Whole
    }

    /// A helper has lengthened a packet that came in one piece and was `before` bytes: if it may
    /// not be cut and has become too big for the link it leaves by, its sender is told.
    pub(crate) fn still_fits(
        &mut self,
        before: usize,
        walker: &mut Walker<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Ended> {
        let Some(egress) = walker.egress.filter(|_| walker.largest_piece.is_none()) else {
            return Ok(());
        };
        let packet = frame.packet()?;
        let may_be_cut = match packet.network() {
            Header::V4(header) => !header.dont_fragment(),
            Header::V6(_) => false,
        };
        let mtu = self.mtu(egress);
        // What was longer before is cut by the card that sends it.
        if may_be_cut || before > mtu || packet.length() <= mtu {
            return Ok(());
        }
        Err(self.cannot_leave(walker, &packet, mtu))
    }

    /// Its sender is told that it is too big, when all was done to it.
    #[cold]
    fn cannot_leave(&mut self, walker: &mut Walker<'_>, packet: &Packet<'_>, mtu: usize) -> Ended {
        let reason = RoutingDrop::TooBig { mtu: u32::try_from(mtu).unwrap_or(u32::MAX) };
        let Ended = self.refuse(walker, packet, reason);
        walker.drop(At::Confirm, Why::Routing(reason))
    }

    fn emit_pieces(
        &mut self,
        bytes: &[u8],
        origins: Option<&Origins>,
        mtu: usize,
        interface: Option<InterfaceId>,
    ) -> Left {
        let id = self.draw();
        match cut(bytes, origins, mtu, id) {
            Cut::Fragments(pieces) => {
                let emitted =
                    pieces.into_iter().map(|bytes| Emitted { interface, by: By::Packet, bytes });
                self.emitted.extend(emitted);
                Left::InPieces
            }
            Cut::Whole => Left::Whole,
            Cut::TooBig => Left::TooBig,
            Cut::Impossible => Left::Impossible,
        }
    }

    /// A packet did not come together in time: its sender is told, if the first piece came. For
    /// IPv4 only of packets to this host, since a router must not.
    pub(crate) fn give_up(&mut self, expired: &Expired, now: Instant) {
        let Some(first) = &expired.first_fragment else { return };
        let error = match expired.family {
            Family::V4 if !self.network.is_own(expired.destination) => return,
            Family::V4 => Error { kind: 11, code: 1, rest: [0; 4] },
            Family::V6 => Error { kind: 3, code: 1, rest: [0; 4] },
        };
        if expired.side == Side::Outgoing {
            return;
        }
        // A capture may hold less of it than came.
        if let Ok(packet) = Packet::parse_cut(first) {
            let port = Port::Interface(InterfaceId(expired.interface as u16));
            self.send_error(&mut Walker::new(now, port), &packet, &error);
        }
    }

    /// A number that names the fragments of one IPv6 packet (xorshift64*).
    fn draw(&mut self) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}
