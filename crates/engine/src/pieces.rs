//! Fragments on the walk: put together where they come in, cut again where they leave.
//!
//! [`defrag`](crate::defrag) decides what belongs together and how a whole is cut; this is where
//! the walk asks it.

use stateward_conntrack::Instant;
use stateward_wire::{Family, Packet};

use crate::defrag::{self, Cut, Expired, Origins, Place, Reassembled, Side, cut};
use crate::engine::{At, By, Emitted, Engine, Outcome, Port, Verdict, Why};
use crate::host::Error;
use crate::link::LinkHeader;
use crate::room::ROOM;
use crate::route::InterfaceId;
use crate::walk::{Ended, Frame, Walker};

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
        if self.tracker.helps() || self.rules.lengthen(layout.family()) {
            bytes.resize(bytes.len() + ROOM, 0);
        }
        let mut frame = Frame { bytes: &mut bytes, layout };
        let ended = self.pass(&mut walker, &mut frame);
        let length = frame.layout.length();
        bytes.truncate(length);
        origins.gather(walker.gathered.min(came));
        let mut in_pieces = false;
        match ended {
            Ok(Verdict::Forward(Some(egress)) | Verdict::Output(Some(egress))) => {
                in_pieces = self.leave_in_pieces(&bytes, Some(&origins), egress);
            }
            // Without routing nothing is known of the next link: as they came.
            Ok(Verdict::Forward(None) | Verdict::Output(None)) => {
                in_pieces = self.emit_pieces(&bytes, Some(&origins), usize::MAX, None);
            }
            _ => {}
        }
        if let Ok(Verdict::Forward(egress) | Verdict::Output(egress)) = ended
            && !in_pieces
        {
            // The whole fits: it is not what stands in the arrival's buffer.
            self.emitted.push(Emitted { interface: egress, by: By::Packet, bytes });
            in_pieces = true;
        }
        match ended {
            Ok(verdict) => self.outcome(&mut walker, verdict, length, in_pieces),
            Err(Ended) => self.ended(&mut walker, length),
        }
    }

    /// Cuts a packet for the link it leaves by, if it must be; what leaves is then emitted.
    #[inline]
    pub(crate) fn leave_in_pieces(
        &mut self,
        bytes: &[u8],
        origins: Option<&Origins>,
        egress: InterfaceId,
    ) -> bool {
        let mtu = self.network.interface(egress).map_or(usize::MAX, |to| to.mtu as usize);
        if origins.is_none() && bytes.len() <= mtu {
            return false;
        }
        self.emit_pieces(bytes, origins, mtu, Some(egress))
    }

    fn emit_pieces(
        &mut self,
        bytes: &[u8],
        origins: Option<&Origins>,
        mtu: usize,
        interface: Option<InterfaceId>,
    ) -> bool {
        let id = self.draw();
        match cut(bytes, origins, mtu, id) {
            Cut::Fragments(pieces) => {
                let emitted =
                    pieces.into_iter().map(|bytes| Emitted { interface, by: By::Packet, bytes });
                self.emitted.extend(emitted);
                true
            }
            Cut::Whole => false,
            // Nothing leaves. What is too big has been refused before POSTROUTING.
            Cut::TooBig | Cut::Impossible => true,
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
