//! What the tracker made of a packet: its state, and the connection it belongs to.
//!
//! What a packet carries through the hooks, as the kernel's `skb->_nfct` and `ctinfo` do. A
//! connection that the packet began is its own until [`Tracker::confirm`].

use super::Tracker;
use crate::entry::{ConnId, Flags};
use crate::event::{Counter, EventMask, Labels, ProtocolInfo};
use crate::expect::Expectation;
use crate::reason::{DropReason, Reason};
use crate::status::{CtState, Direction, PerDir, Status};
use crate::table::Unconfirmed;
use crate::tcp::TcpState;
use crate::tell;
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
                    return self.last_of(*id).map(|last| last.seen);
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

/// What rules ask of few connections, and what they change.
impl Tracker {
    /// Sets the mark of a packet's connection, if it has one.
    pub fn set_mark(&mut self, flow: &mut Flow, mark: u32) {
        match flow {
            Flow::None => {}
            Flow::Confirmed(id) => {
                if let Some(slot) = self.table.slot_of(*id)
                    && let Some(entry) = self.table.entry_mut(slot)
                {
                    entry.set_mark(mark);
                }
            }
            Flow::Unconfirmed(conn) => conn.set_mark(mark),
        }
    }

    /// What a packet's connection has counted, the packet included; `None` if it does not count.
    pub fn counters(&self, flow: &Flow) -> Option<PerDir<Counter>> {
        match flow {
            Flow::None => None,
            Flow::Confirmed(id) => match self.table.slot_of(*id) {
                Some(slot) => self.table.counters(slot),
                None => self.last_of(*id)?.counters,
            },
            Flow::Unconfirmed(conn) => {
                conn.entry.flags.has(Flags::ACCOUNTING).then_some(conn.counters)
            }
        }
    }

    /// Whether connections that begin from now on have room for labels, because rules ask for some.
    pub fn set_labelling(&mut self, labels: bool) {
        self.labels = labels;
    }

    /// The labels of a packet's connection; `None` if it has no room for any.
    pub fn labels(&self, flow: &Flow) -> Option<Labels> {
        let (entry, extra) = match flow {
            Flow::None => return None,
            Flow::Confirmed(id) => match self.table.live(*id) {
                Some(entry) => (entry, self.table.extra_of(entry)),
                None => return self.last_of(*id)?.labels,
            },
            Flow::Unconfirmed(conn) => (&conn.entry, conn.extra.as_deref()),
        };
        let labels = extra.and_then(|extra| extra.labels).unwrap_or_default();
        entry.flags.has(Flags::LABELS).then_some(labels)
    }

    /// Gives a packet's connection labels, if it has room for them.
    pub fn add_labels(&mut self, flow: &mut Flow, labels: Labels) {
        let had = match self.labels(flow) {
            Some(had) if had | labels != had => had | labels,
            _ => return,
        };
        match flow {
            Flow::None => {}
            Flow::Confirmed(id) => {
                let Some(slot) = self.table.slot_of(*id) else { return };
                if let Some(extra) = self.table.extra_mut(slot) {
                    extra.labels = Some(had);
                }
                if let Some(entry) = self.table.entry_mut(slot) {
                    entry.cache_event(EventMask::LABEL);
                }
            }
            Flow::Unconfirmed(conn) => {
                conn.extra_mut().labels = Some(had);
                conn.entry.cache_event(EventMask::LABEL);
            }
        }
    }

    /// The helper of the connection that announced a packet's connection.
    pub fn announcing_helper(&self, flow: &Flow) -> Option<&'static str> {
        let extra = match flow {
            Flow::None => None,
            Flow::Confirmed(id) => self.table.extra_of(self.table.live(*id)?),
            Flow::Unconfirmed(conn) => conn.extra.as_deref(),
        };
        let (master, _) = extra?.master?;
        self.table.extra_of(self.table.live(master)?)?.helper
    }

    /// The connection that a packet ended last, if that is the one.
    pub(super) fn last_of(&self, id: ConnId) -> Option<&Last> {
        self.ended.as_ref().filter(|last| last.id == id)
    }
}

/// A connection that a packet has ended, as the packet's rules see it still.
pub(super) struct Last {
    pub(super) id: ConnId,
    pub(super) seen: Glimpse,
    pub(super) counters: Option<PerDir<Counter>>,
    pub(super) labels: Option<Labels>,
}

/// How a connection in the table stands, for those who count connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// ASSURED and so on.
    pub status: Status,
    /// Whether it still counts.
    pub life: Life,
}

/// Whether a connection is still one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It is.
    Open,
    /// TCP in TIME_WAIT or CLOSE: only its ports are still kept.
    Closed,
}

impl Tracker {
    /// How the connection stands that has this tuple in either direction; `None` if there is none.
    pub fn standing(&self, tuple: &Tuple) -> Option<Standing> {
        let (slot, _) = self.table.find(tuple)?;
        let entry = self.table.entry(slot)?;
        let life = match tell::protocol_info(entry, false) {
            Some(ProtocolInfo::Tcp(tcp))
                if matches!(tcp.state, TcpState::TimeWait | TcpState::Close) =>
            {
                Life::Closed
            }
            _ => Life::Open,
        };
        Some(Standing { status: entry.status, life })
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
