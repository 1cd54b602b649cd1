//! What a connection is translated to, at one of its ends.
//!
//! 1. A source that is in the rule's range already, and unlike all others, stays; one that is not
//!    in the range becomes what it has become for other connections, if that serves.
//! 2. Else it gets an address of the range ([`crate::pool`]),
//! 3. keeps its port if that is in the range and makes it unlike all others,
//! 4. and gets another port if not ([`crate::ports`]).
//!
//! Where no rule has bound an end it is bound to itself ([`bind_to_itself`]): then the address
//! stays, but the port may still have to change, because another connection has been made the same.
//! A connection in the table is never bound. Kernel counterpart: `nf_nat_setup_info`,
//! `get_unique_tuple`.

use core::fmt;
use core::net::IpAddr;

use stateward_conntrack::{Direction, Tracker, Tuple, Unconfirmed};

use crate::chance::Chance;
use crate::range::{Manip, Ports, Range, Request};
use crate::{pool, ports};

/// How an end came to what it is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It is in the range, and no other connection is the same.
    Kept,
    /// As for another connection of the same source.
    Mapped,
    /// An address of the range, and the port as it was.
    Addressed,
    /// The only port of the range, whether others have it or not.
    OnlyPort,
    /// A port that was looked for.
    Searched {
        /// How many were asked for.
        asked: u32,
    },
    /// No port was free: the last that was asked for.
    Exhausted {
        /// How many were asked for.
        asked: u32,
    },
    /// Another connection is the same, and there is nothing to tell them apart by.
    Unchangeable,
}

impl How {
    /// The stable word of it.
    pub const fn code(self) -> &'static str {
        match self {
            How::Kept => "kept",
            How::Mapped => "mapped",
            How::Addressed => "addressed",
            How::OnlyPort => "only_port",
            How::Searched { .. } => "searched",
            How::Exhausted { .. } => "no_free_port",
            How::Unchangeable => "unchangeable",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Kept => f.write_str("it is in the range and free"),
            How::Mapped => f.write_str("as for another connection of the same source"),
            How::Addressed => f.write_str("the address of the range, with its own port"),
            How::OnlyPort => f.write_str("the only port of the range"),
            How::Searched { asked: 1 } => f.write_str("the first port that was tried is free"),
            How::Searched { asked } => write!(f, "the first free one of {asked} ports tried"),
            How::Exhausted { asked } => write!(f, "no free port among {asked} tried"),
            How::Unchangeable => f.write_str("there is no port to choose"),
        }
    }
}

/// An end that was bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Which end.
    pub manip: Manip,
    /// The packets of the original direction as they left before.
    pub before: Tuple,
    /// As they leave now.
    pub after: Tuple,
    /// How that was chosen.
    pub how: How,
}

/// Binds an end of a connection to something in the range.
pub fn bind(
    tracker: &mut Tracker,
    conn: &mut Unconfirmed,
    range: &Range,
    manip: Manip,
    chance: &mut Chance,
) -> Option<Binding> {
    // What leaves looks like the inverse of the answers.
    let current = conn.tuple(Direction::Reply).inverse()?;
    let (tuple, how) = choose(tracker, conn, &current, Request { range, manip }, chance);
    if tuple != current {
        let reply = tuple.inverse()?;
        match how {
            How::Kept | How::Mapped | How::Addressed | How::Searched { .. } => {
                conn.set_free_reply(reply);
            }
            How::OnlyPort | How::Exhausted { .. } | How::Unchangeable => conn.set_reply(reply),
        }
        tracker.reassign(conn);
        conn.set_status(manip.translated(Direction::Original));
    }
    conn.set_status(manip.done());
    Some(Binding { manip, before: current, after: tuple, how })
}

/// Binds an end that no rule has bound to itself, if no connection in the table has any of this
/// one's tuples: what nearly every connection is. Else nothing is done, and it is
/// [`bind_to_itself`]'s.
#[inline]
pub fn bind_as_it_is(tracker: &Tracker, conn: &mut Unconfirmed, manip: Manip) -> bool {
    let alone = tracker.is_alone(conn);
    if alone {
        conn.set_status(manip.done());
    }
    alone
}

/// Binds an end that no rule has bound to its own address.
pub fn bind_to_itself(
    tracker: &mut Tracker,
    conn: &mut Unconfirmed,
    manip: Manip,
    chance: &mut Chance,
) -> Option<Binding> {
    let address = conn.tuple(Direction::Reply).inverse()?.address_at(manip.end());
    bind(tracker, conn, &Range::address(address), manip, chance)
}

fn choose(
    tracker: &mut Tracker,
    conn: &Unconfirmed,
    current: &Tuple,
    request: Request<'_>,
    chance: &mut Chance,
) -> (Tuple, How) {
    let Request { range, manip } = request;
    let keeps = range.choice == Ports::Kept;
    if keeps && manip == Manip::Source {
        if is_in_range(current, range) {
            if !is_taken(tracker, conn, current) {
                return (*current, How::Kept);
            }
        } else if let Some(mapped) = mapped(tracker, conn, current, range)
            && !is_taken(tracker, conn, &mapped)
        {
            return (mapped, How::Mapped);
        }
    }
    // It has one, in one direction or in both.
    let zones = [Direction::Original, Direction::Reply].map(|side| conn.tuple(side).zone());
    let zone = zones.into_iter().find(|zone| zone.0 != 0).unwrap_or_default();
    let tuple = pool::address(current, request, zone);
    if keeps {
        match range.ports {
            None if !is_taken(tracker, conn, &tuple) => return (tuple, How::Addressed),
            Some([low, high])
                if range.base.is_none() && port_is_within(&tuple, manip, [low, high]) =>
            {
                if low == high {
                    return (tuple, How::OnlyPort);
                }
                if !is_taken(tracker, conn, &tuple) {
                    return (tuple, How::Addressed);
                }
            }
            _ => {}
        }
    }
    ports::search(tracker, conn, &tuple, request, chance)
}

/// What the source has become for another connection, the latest that is in the range.
fn mapped(tracker: &Tracker, conn: &Unconfirmed, current: &Tuple, range: &Range) -> Option<Tuple> {
    let end = Manip::Source.end();
    let source = current.in_zone(conn.tuple(Direction::Original).zone());
    tracker
        .of_source(&source)
        .filter_map(|answers| {
            let other = answers.inverse()?;
            let tuple = current.with_address(end, other.address_at(end));
            Some(other.port_at(end).map_or(tuple, |port| tuple.with_port(end, port)))
        })
        .find(|tuple| is_in_range(tuple, range))
}

/// Whether another connection is the same to those who answer.
fn is_taken(tracker: &mut Tracker, conn: &Unconfirmed, tuple: &Tuple) -> bool {
    tuple.inverse().is_none_or(|reply| tracker.is_taken(&reply, conn))
}

/// Whether the source is in the range.
fn is_in_range(tuple: &Tuple, range: &Range) -> bool {
    let within = |[low, high]: [IpAddr; 2]| (low..=high).contains(&tuple.source());
    range.addresses.is_none_or(within)
        && range.ports.is_none_or(|ports| port_is_within(tuple, Manip::Source, ports))
}

fn port_is_within(tuple: &Tuple, manip: Manip, [low, high]: [u16; 2]) -> bool {
    tuple.port_at(manip.end()).is_none_or(|port| (low..=high).contains(&port))
}
