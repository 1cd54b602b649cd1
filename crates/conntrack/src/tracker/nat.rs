//! What NAT asks of the tracker: whether a tuple is taken, what a source has been mapped to, how a
//! connection is bound.
//!
//! NAT's own part is small here: a binding is in the tuples and the status of a connection. Kernel
//! counterparts: `nf_conntrack_tuple_taken`, `find_appropriate_src`, `nf_nat_used_tuple_harder`,
//! `nf_nat_oif_changed`.

use stateward_wire::edit::End;
use stateward_wire::protocol;

use super::{Flow, Tracker};
use crate::entry::{Entry, Flags};
use crate::status::{Direction, PerDir, Status};
use crate::table::Unconfirmed;
use crate::tcp::{self, TcpState, TcpTrack};
use crate::tuple::{Endpoint, Tuple};

const DIRECTIONS: [Direction; 2] = [Direction::Original, Direction::Reply];

/// What a connection must not be if its tuple is to be given to another.
const KEPT: Status = Status(Status::FIXED_TIMEOUT.0 | Status::DYING.0);

impl Tracker {
    /// The status of a packet's connection, also of the one that the packet has just ended.
    #[inline]
    pub fn status(&self, flow: &Flow) -> Status {
        match flow {
            Flow::None => Status::default(),
            Flow::Confirmed(id) => match self.table.live(*id) {
                Some(entry) => entry.status,
                None => self.last_of(*id).map_or(Status::default(), |last| last.seen.status),
            },
            Flow::Unconfirmed(conn) => conn.status(),
        }
    }

    /// What NAT asks of every packet of a connection: its status, and the interface by which it
    /// leaves if it is masqueraded, as [`Unconfirmed::set_masquerade`] was told.
    #[inline]
    pub fn bound(&self, flow: &Flow) -> (Status, Option<u16>) {
        let entry = match flow {
            Flow::Confirmed(id) => self.table.live(*id),
            Flow::Unconfirmed(conn) => Some(&conn.entry),
            Flow::None => None,
        };
        match entry {
            Some(entry) => (entry.status, entry.flags.masquerade()),
            None => (self.status(flow), None),
        }
    }

    /// What an end of a direction's packets is once they are translated: the other end of the
    /// answers to them.
    #[inline]
    pub fn translated(&self, flow: &Flow, direction: Direction, end: End) -> Option<Endpoint> {
        let entry = match flow {
            Flow::None => return None,
            Flow::Confirmed(id) => self.table.live(*id),
            Flow::Unconfirmed(conn) => Some(&conn.entry),
        };
        let key = entry.map(|entry| entry.key(!direction));
        if let Some(key) = key.filter(|key| key.version == 4) {
            return Some(key.endpoint(!end));
        }
        Some(self.tuples(flow)?[!direction].endpoint(!end))
    }

    /// Both tuples of a packet's connection, also of the one that the packet has just ended.
    #[inline]
    pub fn tuples(&self, flow: &Flow) -> Option<PerDir<Tuple>> {
        let [original, reply] = match flow {
            Flow::None => return None,
            Flow::Unconfirmed(conn) => DIRECTIONS.map(|way| Some(conn.tuple(way))),
            Flow::Confirmed(id) => match self.table.slot_of(*id) {
                Some(slot) => DIRECTIONS.map(|way| self.table.tuple(slot, way)),
                None => {
                    let seen = self.last_of(*id)?.seen;
                    [Some(seen.original), Some(seen.reply)]
                }
            },
        };
        Some(PerDir([original?, reply?]))
    }

    /// Whether no connection in the table has a tuple of this one's: then nobody has the reply that
    /// it has now, in whatever sense. Nothing is counted.
    #[inline]
    pub fn is_alone(&self, conn: &mut Unconfirmed) -> bool {
        self.table.is_alone(conn)
    }

    /// Whether a connection in the table has `reply` in either direction, other than another one of
    /// the same packets. It is counted as found. Where each direction has a zone of its own the
    /// kernel looks for it among the answers alone.
    pub fn is_taken(&mut self, reply: &Tuple, conn: &Unconfirmed) -> bool {
        let found = match reply.key.zone == conn.entry.original.zone {
            true => self.table.find(reply),
            false => self.table.find_one(reply, Direction::Reply),
        };
        let taken = found.is_some_and(|(slot, _)| {
            let its = self.table.tuple(slot, Direction::Original);
            its != Some(conn.tuple(Direction::Original))
        });
        self.statistics.found += u64::from(taken);
        taken
    }

    /// As [`Tracker::is_taken`], where only a closed connection stands in the way of a SYN: it ends,
    /// if the SYN's numbers are beyond its own, so that nobody takes the packets of the one for
    /// those of the other. Nothing is counted, as in the kernel.
    pub fn is_taken_for_good(&mut self, reply: &Tuple, conn: &Unconfirmed) -> bool {
        if conn.entry.original.protocol != protocol::TCP
            || TcpTrack::of(&conn.entry.l4).state() != TcpState::SynSent
        {
            return self.is_taken(reply, conn);
        }
        let Some((slot, direction)) = self.holder(reply, conn) else { return false };
        let gives_way = direction == Direction::Reply
            && self.table.entry(slot).is_some_and(|old| gives_way(old, &conn.entry));
        if gives_way {
            self.unlink(slot, self.now);
        }
        !gives_way
    }

    /// The connection that has the tuple, which is of the reply's zone. If packets of the other
    /// direction are of another zone, the kernel looks for it among those first, unlike where
    /// nothing is to end.
    fn holder(&self, reply: &Tuple, conn: &Unconfirmed) -> Option<(u32, Direction)> {
        let zone = conn.entry.original.zone;
        if reply.key.zone == zone {
            return self.table.find(reply);
        }
        let mut elsewhere = *reply;
        elsewhere.key.zone = zone;
        let found = |tuple, direction| self.table.find_one(tuple, direction);
        found(&elsewhere, Direction::Original).or_else(|| found(reply, Direction::Reply))
    }

    /// The answers of connections of the tuple's source that NAT has bound, the latest first, and
    /// not more than a fixed number of them.
    pub fn of_source(&self, tuple: &Tuple) -> impl Iterator<Item = Tuple> + '_ {
        self.table.of_source(tuple)
    }

    /// Ends a packet's connection; the packet counts once more, as in the kernel.
    pub fn end(&mut self, flow: &Flow, direction: Direction, bytes: usize) {
        if let Flow::Confirmed(id) = flow
            && let Some(slot) = self.table.slot_of(*id)
        {
            self.account(slot, direction, bytes);
            self.unlink(slot, self.now);
        }
    }
}

/// Whether a closed connection may end for the sake of a SYN that would have its tuple.
fn gives_way(old: &Entry, new: &Entry) -> bool {
    old.original.protocol == protocol::TCP
        && old.status.0 & KEPT.0 == 0
        && old.status.has(Status::SRC_NAT)
        && tcp::is_over_and_behind(TcpTrack::of(&old.l4), TcpTrack::of(&new.l4))
}

impl Unconfirmed {
    /// Remembers the interface by which the connection leaves under an address of it.
    pub fn set_masquerade(&mut self, interface: u16) {
        self.entry.flags.set_masquerade(interface);
    }
}

const _: () = assert!(Flags::ALL.0 == (1 << Flags::INTERFACE) - 1, "flags are below the interface");

impl Flags {
    /// Where the interface of a masqueraded connection stands, counted from 1. There is no room
    /// for more than 511 interfaces: of those that do not fit nothing is remembered.
    const INTERFACE: u32 = 7;
    const INTERFACES: u16 = (1 << (u16::BITS - Self::INTERFACE)) - 1;

    pub(crate) fn set_masquerade(&mut self, interface: u16) {
        let number = if interface < Self::INTERFACES { interface + 1 } else { 0 };
        self.0 = self.0 & ((1 << Self::INTERFACE) - 1) | number << Self::INTERFACE;
    }

    #[inline]
    pub(crate) const fn masquerade(self) -> Option<u16> {
        (self.0 >> Self::INTERFACE).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_fits_beside_the_flags() {
        let mut flags = Flags(0);
        let others = [Flags::ACCOUNTING, Flags::TWO_KEYS, Flags::LABELS];
        others.iter().for_each(|flag| flags.set(*flag));
        let before = flags;
        assert_eq!(flags.masquerade(), None);
        for interface in [0, 1, 7, 510] {
            flags.set_masquerade(interface);
            assert_eq!(flags.masquerade(), Some(interface));
            assert!(others.iter().all(|flag| flags.has(*flag)));
            assert!(!flags.has(Flags::EVENTS));
        }
        flags.set_masquerade(511);
        assert_eq!((flags, flags.masquerade()), (before, None));
    }
}
