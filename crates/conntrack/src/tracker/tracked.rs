//! What the tracker made of a packet: its state, and the connection it belongs to.
//!
//! What a packet carries through the hooks, as the kernel's `skb->_nfct` and `ctinfo` do. A
//! connection that the packet began is its own until [`Tracker::confirm`].

use super::Tracker;
use crate::entry::ConnId;
use crate::expect::Expectation;
use crate::reason::{DropReason, Reason};
use crate::status::{CtState, Direction, Status};
use crate::table::Unconfirmed;
use crate::tuple::Tuple;

/// The connection a packet belongs to.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Flow {
    /// None: INVALID or UNTRACKED.
    #[default]
    None,
    /// One in the table.
    Confirmed(ConnId),
    /// One that the packet began, and owns. Give it back with [`Tracker::forget`] when the packet
    /// is dropped, and no packet allocates in steady state.
    Unconfirmed(Box<Unconfirmed>),
}

/// What rules see of a connection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Glimpse {
    /// The tuple of the direction that began it.
    pub original: Tuple,
    /// The tuple of the answers.
    pub reply: Tuple,
    /// ASSURED and so on.
    pub status: Status,
    /// Its mark.
    pub mark: u32,
    /// Whole seconds until it ends; 0 of one that is not in the table yet, as the kernel has it.
    pub expires: u32,
}

impl Tracker {
    /// What rules see of a packet's connection, also of the one that the packet has just ended;
    /// `None` if it has none.
    pub fn glimpse(&self, flow: &Flow) -> Option<Glimpse> {
        let directions = [Direction::Original, Direction::Reply];
        match flow {
            Flow::None => None,
            Flow::Confirmed(id) => {
                let Some(entry) = self.table.live(*id) else {
                    return self.ended.filter(|(ended, _)| ended == id).map(|(_, last)| last);
                };
                let [original, reply] = directions.map(|way| self.table.tuple(id.slot, way));
                let left = self.now.until(entry.deadline()).as_timeout();
                Some(Glimpse {
                    original: original?,
                    reply: reply?,
                    status: entry.status,
                    mark: entry.mark,
                    expires: u32::try_from(left).unwrap_or(u32::MAX),
                })
            }
            Flow::Unconfirmed(conn) => {
                let [original, reply] = directions.map(|way| conn.tuple(way));
                let (status, mark) = (conn.entry.status, conn.entry.mark);
                Some(Glimpse { original, reply, status, mark, expires: 0 })
            }
        }
    }
}

/// What the tracker made of a packet.
#[derive(Clone, PartialEq, Debug)]
pub struct Tracked {
    /// The state that rules see.
    pub state: CtState,
    /// The direction, when the packet belongs to a connection.
    pub direction: Option<Direction>,
    /// Why the packet is INVALID, or passes without being believed.
    pub reason: Option<Reason>,
    /// The packet began its connection.
    pub began: bool,
    /// Its connection.
    pub flow: Flow,
    /// What the connection fulfils, if it began with this packet: NAT and helpers go by it.
    pub expectation: Option<Box<Expectation>>,
    /// The packet must be dropped.
    pub drop: Option<DropReason>,
}

impl Tracked {
    pub(super) fn invalid(reason: Reason) -> Tracked {
        Tracked {
            state: CtState::Invalid,
            direction: None,
            reason: Some(reason),
            began: false,
            flow: Flow::None,
            expectation: None,
            drop: None,
        }
    }

    /// What a packet is before it is tracked.
    pub const fn untracked() -> Tracked {
        Tracked {
            state: CtState::Untracked,
            direction: None,
            reason: None,
            began: false,
            flow: Flow::None,
            expectation: None,
            drop: None,
        }
    }
}
