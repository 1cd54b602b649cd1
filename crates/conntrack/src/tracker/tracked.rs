//! What the tracker made of a packet: its state, and the connection it belongs to.
//!
//! What a packet carries through the hooks, as the kernel's `skb->_nfct` and `ctinfo` do. A connection
//! that the packet began is its own until [`Tracker::confirm`](super::Tracker::confirm).

use crate::entry::ConnId;
use crate::expect::Expectation;
use crate::reason::{DropReason, Reason};
use crate::status::{CtState, Direction};
use crate::table::Unconfirmed;

/// The connection a packet belongs to.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Flow {
    /// None: INVALID or UNTRACKED.
    #[default]
    None,
    /// One in the table.
    Confirmed(ConnId),
    /// One that the packet began, and owns. Give it back with [`Tracker::forget`](super::Tracker::forget) when the packet is
    /// dropped, and no packet allocates in steady state.
    Unconfirmed(Box<Unconfirmed>),
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
