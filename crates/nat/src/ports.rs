//! A port, ICMP id or GRE key that makes the connection unlike all others.
//!
//! Without a range of the rule's, a source port stays in its class, because some servers trust low
//! ones: below 512, from 600 to 1023, above. A destination port is never changed then. The search
//! begins at random for sources, at the first of the range for destinations, and behind the base
//! where there is one; it asks for 128 ports in a row at most, then from another random one on for
//! 64, 32, 16 and 8. In the last 32 of each row a SYN may end a closed connection that stands in
//! its way. If nothing is free the last port asked for is taken all the same: its packet is dropped
//! where the connection would enter the table. Kernel counterpart: `nf_nat_l4proto_unique_tuple`.

use stateward_conntrack::{Status, Tracker, Tuple, Unconfirmed};
use stateward_wire::edit::End;
use stateward_wire::protocol;

use crate::chance::Chance;
use crate::choose::How;
use crate::range::{Manip, Ports, Request};

/// Ports asked for in a row, at first.
const MAX_ATTEMPTS: u32 = 128;
/// With so many attempts left a SYN ends what is closed.
const HARDER: u32 = MAX_ATTEMPTS / 4;
/// A row shorter than this is the last.
const SHORTEST: u32 = 16;

/// Ports in order: the first, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Class {
    first: u16,
    size: u32,
}

impl Class {
    fn of([first, last]: [u16; 2]) -> Class {
        let (first, last) = (first.min(last), first.max(last));
        Class { first, size: u32::from(last - first) + 1 }
    }

    /// The nth, from the first again behind the last.
    fn nth(self, n: u16) -> u16 {
        (u32::from(self.first) + u32::from(n) % self.size) as u16
    }

    fn has(self, port: u16) -> bool {
        port.checked_sub(self.first).is_some_and(|n| u32::from(n) < self.size)
    }
}

/// What a connection may be told apart by; none if it stays as it is.
fn class(
    tuple: &Tuple,
    conn: &Unconfirmed,
    Request { range, manip }: Request<'_>,
) -> Option<Class> {
    let given = range.ports.map(Class::of);
    match tuple.protocol() {
        protocol::ICMP | protocol::ICMPV6 => given.or(Some(Class::of([0, u16::MAX]))),
        // Without a helper that has announced it, nobody knows what its keys mean.
        protocol::GRE if !conn.status().has(Status::EXPECTED) => None,
        protocol::GRE => given.or(Some(Class::of([1, u16::MAX]))),
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
            let by_port = || match (manip, tuple.port_at(manip.end())?) {
                (Manip::Destination, _) => None,
                (Manip::Source, ..512) => Some(Class::of([1, 511])),
                (Manip::Source, 512..1024) => Some(Class::of([600, 1023])),
                (Manip::Source, _) => Some(Class::of([1024, u16::MAX])),
            };
            given.or_else(by_port)
        }
        _ => None,
    }
}

/// Finds one that is free, if it can, and says how.
pub(crate) fn search(
    tracker: &mut Tracker,
    conn: &Unconfirmed,
    tuple: &Tuple,
    request: Request<'_>,
    chance: &mut Chance,
) -> (Tuple, How) {
    let Request { range, manip } = request;
    let end = manip.end();
    let (Some(class), Some(port)) = (class(tuple, conn, request), tuple.port_at(end)) else {
        return (*tuple, How::Unchangeable);
    };
    let wish = match manip {
        Manip::Source => chance.wish().source,
        Manip::Destination => chance.wish().destination,
    };
    let mut wish = wish.filter(|port| class.has(*port));
    let random = range.choice == Ports::Random || manip == Manip::Source;
    let mut start = match (range.base, random) {
        (Some(base), _) => Some(port.wrapping_sub(base)),
        (None, false) => Some(0),
        (None, true) => None,
    };
    let mut attempts = class.size.min(MAX_ATTEMPTS);
    let mut search = Search { tracker, conn, tuple, end, class, found: *tuple, asked: 0 };
    loop {
        // Any of the class may be the first of a random start, and so the last of a vain search.
        let is_free = match (start.take(), wish) {
            (Some(first), _) => search.row(first, attempts),
            (None, Some(_)) => wish.take().is_some_and(|wish| search.row_at(wish, attempts)),
            (None, None) => search.row(chance.next(), attempts),
        };
        let Search { found, asked, .. } = search;
        if is_free {
            return (found, How::Searched { asked });
        }
        if attempts >= class.size || attempts < SHORTEST {
            return (found, How::Exhausted { asked });
        }
        attempts /= 2;
    }
}

/// A search under way.
struct Search<'a> {
    tracker: &'a mut Tracker,
    conn: &'a Unconfirmed,
    /// The packets as they would leave with any port.
    tuple: &'a Tuple,
    end: End,
    class: Class,
    /// With the last port that was asked for.
    found: Tuple,
    /// How many were.
    asked: u32,
}

impl Search<'_> {
    /// Asks for ports in a row from the class's nth on; true at the first that is free.
    fn row(&mut self, first: u16, attempts: u32) -> bool {
        (0..attempts).any(|i| {
            let port = self.class.nth(first.wrapping_add(i as u16));
            self.is_free(port, attempts - i)
        })
    }

    /// Asks for a port as if it were the last of a row, then for the others behind it. If all is in
    /// vain, it is what was found.
    fn row_at(&mut self, port: u16, attempts: u32) -> bool {
        let behind = port.wrapping_sub(self.class.first).wrapping_add(1);
        let is_free = self.is_free(port, 1) || self.row(behind, attempts - 1);
        if !is_free {
            self.found = self.tuple.with_port(self.end, port);
        }
        is_free
    }

    /// Asks for a port, with so many attempts left.
    fn is_free(&mut self, port: u16, left: u32) -> bool {
        self.found = self.tuple.with_port(self.end, port);
        self.asked += 1;
        let Some(reply) = self.found.inverse() else { return true };
        !match left {
            ..=HARDER => self.tracker.is_taken_for_good(&reply, self.conn),
            _ => self.tracker.is_taken(&reply, self.conn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_gone_round() {
        let class = Class::of([600, 1023]);
        assert_eq!((class.nth(0), class.nth(423), class.nth(424)), (600, 1023, 600));
        assert!(class.has(600) && class.has(1023) && !class.has(599) && !class.has(1024));
        let all = Class::of([0, u16::MAX]);
        assert_eq!((all.size, all.nth(u16::MAX)), (65_536, u16::MAX));
        assert_eq!(Class::of([9, 3]), Class::of([3, 9]));
    }
}
