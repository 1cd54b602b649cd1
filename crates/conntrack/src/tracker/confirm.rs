//! Confirmation: a new connection whose packet nothing dropped enters the table.
//!
//! Two packets may begin one flow before either is confirmed; the second joins the first's
//! connection where the protocol has no state to lose, and is dropped where it has. Kernel
//! counterpart: `__nf_conntrack_confirm`, `nf_ct_resolve_clash`.

use stateward_wire::protocol;

use super::protocols::has_tracker;
use super::{Flow, Tracker};
use crate::entry::ConnId;
use crate::event::EventMask;
use crate::reason::DropReason;
use crate::status::{Direction, PerDir, Status};
use crate::table::{Extra, InsertError, Unconfirmed};
use crate::time::Span;

impl Tracker {
    /// Ends the way of a packet that nothing dropped: a new connection enters the table, and
    /// collected events are told. On an error the packet must be dropped.
    #[inline]
    pub fn confirm(&mut self, flow: &mut Flow) -> Result<(), DropReason> {
        match flow {
            Flow::None => Ok(()),
            Flow::Confirmed(id) => {
                if self.table.live(*id).is_some_and(|entry| entry.pending != 0) {
                    self.deliver(id.slot);
                }
                Ok(())
            }
            Flow::Unconfirmed(_) => self.confirm_new(flow),
        }
    }

    #[inline(never)]
    fn confirm_new(&mut self, flow: &mut Flow) -> Result<(), DropReason> {
        let Flow::Unconfirmed(mut conn) = core::mem::take(flow) else { return Ok(()) };
        let entered = match self.insert(&mut conn) {
            Ok(id) => {
                self.recycle(conn);
                *flow = Flow::Confirmed(id);
                return Ok(());
            }
            Err(InsertError::Taken(slot, direction)) => {
                self.resolve_clash(&conn, slot, direction).ok_or(DropReason::Clash)
            }
            Err(InsertError::Full) => Err(DropReason::TableFull),
            Err(InsertError::ChainTooLong) => {
                self.statistics.chaintoolong += 1;
                Err(DropReason::ChainTooLong)
            }
        };
        self.forget(Flow::Unconfirmed(conn));
        match entered {
            Ok(id) => {
                *flow = Flow::Confirmed(id);
                Ok(())
            }
            Err(reason) => {
                self.statistics.insert_failed += 1;
                self.statistics.count_drop(reason);
                Err(reason)
            }
        }
    }

    fn insert(&mut self, conn: &mut Unconfirmed) -> Result<ConnId, InsertError> {
        let timeout = Span(conn.entry.deadline);
        conn.entry.deadline = (self.now + timeout).0;
        conn.entry.status.set(Status::CONFIRMED);
        if let Some(Extra { timestamps: Some(timestamps), .. }) = conn.extra.as_deref_mut() {
            timestamps.start = self.now;
        }
        let expected = conn.entry.status.has(Status::EXPECTED);
        conn.entry.cache_event(if expected { EventMask::RELATED } else { EventMask::NEW });
        if conn.extra.as_deref().is_some_and(|extra| extra.helper.is_some()) {
            conn.entry.cache_event(EventMask::HELPER);
        }
        let inserted = self.table.insert(conn, self.now);
        match inserted {
            Ok(id) => {
                self.deliver(id.slot);
                self.keep_announced(conn, id);
            }
            Err(_) => conn.entry.deadline = timeout.0,
        }
        inserted
    }

    /// Two packets began the same flow before either was confirmed. Where the protocol has no state
    /// to lose, the second joins the connection of the first.
    fn resolve_clash(
        &mut self,
        conn: &Unconfirmed,
        winner: u32,
        direction: Direction,
    ) -> Option<ConnId> {
        let joins = matches!(
            conn.entry.original.protocol,
            protocol::UDP | protocol::UDPLITE | protocol::GRE
        ) || !has_tracker(conn.entry.original.protocol);
        if !joins {
            return None;
        }
        let same = self.table.tuple(winner, direction) == Some(conn.tuple(Direction::Original))
            && self.table.tuple(winner, !direction) == Some(conn.tuple(Direction::Reply));
        if !same {
            return None;
        }
        // It counts as what it was taken for, a first packet, even where it is the first one's
        // answer.
        let PerDir([counter, _]) = conn.counters;
        self.account(winner, Direction::Original, counter.bytes as usize);
        self.statistics.clash_resolve += 1;
        self.table.id_of(winner)
    }
}
