//! A packet that belongs to nothing in the table: it may begin a connection.
//!
//! 1. there is room, or room is made ([`super::room`]);
//! 2. the connection gets what the settings give to new ones (counters, timestamps, events);
//! 3. if another connection announced it, it is that one's child ([`super::announce`]);
//! 4. its protocol accepts the packet as a first one.
//!
//! It belongs to the packet from then on. Kernel counterpart: `init_conntrack`.

use stateward_wire::Packet;

use super::protocols::{L4Context, l4_packet};
use super::room::Pressure;
use super::timeout::timeouts_of;
use super::{Flow, Template, Tracked, Tracker, Unfinished, state_of};
use crate::decision::{Accept, L4Decision};
use crate::entry::Flags;
use crate::event::Timestamps;
use crate::index::Place;
use crate::reason::{DropReason, Reason};
use crate::status::{CtState, Direction};
use crate::sysctl::EventMode;
use crate::table::Unconfirmed;
use crate::time::Span;
use crate::tuple::Tuple;

impl Tracker {
    /// A packet that belongs to nothing in the table: it may begin a connection.
    #[inline(never)]
    pub(super) fn begin(
        &mut self,
        (tuple, place): (&Tuple, Place),
        template: &Template,
        packet: &Packet<'_>,
        verify: Option<Unfinished>,
    ) -> Tracked {
        let Some(mut reply) = tuple.inverse() else {
            let kind = packet.l4().first().copied().unwrap_or_default();
            return self.invalid(Reason::IcmpNoQuery { kind });
        };
        if !self.make_room(place) {
            return self.table_full();
        }
        reply.key.zone = template.zones[Direction::Reply].0;
        let mut conn = self.unconfirmed(Unconfirmed::new(*tuple, reply, place));
        self.equip(&mut conn, template);
        // Before the protocol has had its say: what was expected is used up by a bad packet as
        // well.
        let expectation = self.expected(&mut conn);
        match (&expectation, template.helper) {
            (Some(_), _) => {}
            (None, Some(helper)) => {
                conn.assign_helper(helper);
                self.helping = true;
            }
            (None, None) => self.assign(&mut conn),
        }
        let timeouts = timeouts_of(&self.policies, &self.sysctls, template.timeouts);
        let context = L4Context {
            timeouts,
            ..L4Context::of_first(&conn.entry, &self.sysctls, self.now, verify)
        };
        let accept = match l4_packet(&mut conn.entry, &context, packet) {
            L4Decision::Accept(accept) => accept,
            L4Decision::Ignore(reason) => Accept { reason, ..Accept::refresh(Span(0)) },
            L4Decision::Invalid(reason)
            | L4Decision::InvalidChanged(reason, _)
            | L4Decision::InvalidShorten(reason, _) => return self.invalid(reason),
            // Only a connection in the table can end.
            L4Decision::Kill | L4Decision::Repeat => Accept::refresh(Span(0)),
        };
        // Until it is confirmed, the deadline is only a span: its clock starts then.
        conn.entry.deadline = accept.timeout.unwrap_or_default().0;
        conn.entry.cache_event(accept.events);
        count_first(&mut conn, packet);
        Tracked {
            state: state_of(conn.entry.status, Direction::Original),
            direction: Some(Direction::Original),
            reason: accept.reason,
            began: true,
            flow: Flow::Unconfirmed(conn),
            expectation,
            drop: None,
        }
    }

    /// There is no room for another connection.
    #[cold]
    fn table_full(&mut self) -> Tracked {
        self.statistics.count_drop(DropReason::TableFull);
        // One pass at a time.
        let next = self.now + Span::secs(1);
        self.pressure.get_or_insert(Pressure { next, cursor: 0 });
        Tracked {
            state: CtState::New,
            direction: None,
            reason: None,
            began: false,
            flow: Flow::None,
            expectation: None,
            drop: Some(DropReason::TableFull),
        }
    }

    fn unconfirmed(&mut self, fresh: Unconfirmed) -> Box<Unconfirmed> {
        match self.pool.pop() {
            Some(mut conn) => {
                *conn = fresh;
                conn
            }
            None => Box::new(fresh),
        }
    }

    /// What a connection gets from the settings, and from rules, at its birth.
    pub(super) fn equip(&mut self, conn: &mut Unconfirmed, template: &Template) {
        if self.sysctls.acct {
            conn.entry.flags.set(Flags::ACCOUNTING);
        }
        if self.sysctls.timestamp {
            conn.extra_mut().timestamps = Some(Timestamps::default());
        }
        if let Some(policy) = template.timeouts {
            conn.extra_mut().policy = Some(policy);
            conn.entry.flags.set(Flags::POLICY);
        }
        if self.labels {
            conn.entry.flags.set(Flags::LABELS);
        }
        let reports = match self.sysctls.events {
            // Rules that ask for events get them all the same.
            EventMode::Off => template.reports.is_some(),
            EventMode::Always => true,
            EventMode::Listened => self.listening,
        };
        if reports {
            conn.entry.report(template.reports.unwrap_or(Template::ALL));
        }
    }

    /// Forgets the connection of a packet that was dropped, if it was not in the table.
    pub fn forget(&mut self, flow: Flow) {
        if let Flow::Unconfirmed(conn) = flow {
            self.forget_announced(&conn);
            self.forget_key(&conn);
            self.recycle(conn);
        }
    }

    /// Keeps what is no more used for another connection.
    pub(super) fn recycle(&mut self, conn: Box<Unconfirmed>) {
        /// More are never on their way at once, but for bursts that hold on to their flows.
        const POOL: usize = 64;
        if self.pool.len() < POOL {
            self.pool.push(conn);
        }
    }
}

/// Counts the packet that begins a connection, if that counts any.
#[inline]
fn count_first(conn: &mut Unconfirmed, packet: &Packet<'_>) {
    if conn.entry.flags.has(Flags::ACCOUNTING) {
        let counter = &mut conn.counters[Direction::Original];
        counter.packets += 1;
        counter.bytes += packet.length() as u64;
    }
}
