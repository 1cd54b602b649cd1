//! The end of a connection: its deadline comes, or something else ends it.
//!
//! [`Tracker::unlink`] is how every connection ends, whatever the cause; it tells the DESTROY
//! event. Kernel counterpart: `nf_ct_gc_expired`, `nf_ct_delete`.

use stateward_wire::protocol;

use super::{Flow, Tracker};
use crate::entry::{ConnId, Entry, Flags};
use crate::event::{Event, EventKind, EventMask, Subject};
use crate::expect::Log;
use crate::policy::{PolicyId, TimeoutPolicy};
use crate::status::Status;
use crate::sysctl::Sysctls;
use crate::tcp::TcpTrack;
use crate::tell::{self, Telling};
use crate::time::{Instant, Span};

impl Tracker {
    /// Ends what has reached its deadline by `now`, in the order of the deadlines. The work is
    /// bounded by the number of entries that end and by those whose deadline had been moved.
    #[inline]
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.table.is_due(self.now) || self.expectations.is_due(self.now) {
            self.expire();
        }
        if self.pressure.is_some() {
            self.relieve();
        }
    }

    /// When [`Tracker::handle_timeout`] has something to do, at the earliest.
    pub fn next_timeout(&self) -> Option<Instant> {
        let relief = self.pressure.map(|pressure| pressure.next);
        let deadlines = [self.table.next_deadline(), self.expectations.next_deadline(), relief];
        deadlines.into_iter().flatten().min()
    }

    #[inline(never)]
    fn expire(&mut self) {
        while let Some(slot) = self.table.pop_expired(self.now) {
            let deadline = self.table.entry(slot).map_or(self.now, Entry::deadline);
            self.expectations.expire(deadline, &mut self.events);
            self.unlink(slot, deadline);
        }
        self.expectations.expire(self.now, &mut self.events);
    }

    /// A TCP connection that this host has reset, for a rule, is closed (kernel
    /// `nf_conntrack_tcp_set_closing`). It is told with the reset, which belongs to it.
    pub fn set_closing(&mut self, flow: &Flow) {
        let Flow::Confirmed(id) = flow else { return };
        if self.table.live(*id).is_none() {
            return;
        }
        let Some(entry) = self.table.entry_mut(id.slot) else { return };
        if entry.original.protocol != protocol::TCP || !TcpTrack::close(&mut entry.l4) {
            return;
        }
        entry.cache_event(EventMask::PROTOINFO);
        let timeouts = timeouts_of(&self.policies, &self.sysctls, self.policy_of(id.slot));
        let close = Span::secs(timeouts.tcp.close);
        self.table.set_deadline(id.slot, self.now + close);
    }

    /// Makes a policy, which connections may begin with from now on; `None` if there are 65,536.
    /// What it does not say it has from the sysctls as they are now.
    pub fn add_timeout_policy(&mut self, policy: &TimeoutPolicy) -> Option<PolicyId> {
        let id = u16::try_from(self.policies.len()).ok().map(PolicyId)?;
        self.policies.push(policy.over(&self.sysctls));
        Some(id)
    }

    /// The policy of an entry.
    #[inline]
    pub(super) fn policy_of(&self, slot: u32) -> Option<PolicyId> {
        let entry = self.table.entry(slot).filter(|entry| entry.flags.has(Flags::POLICY))?;
        self.table.extra_of(entry)?.policy
    }

    /// Ends a connection, whatever the cause: out of the table, and told.
    #[inline(never)]
    pub(super) fn unlink(&mut self, slot: u32, at: Instant) {
        // One that ends may have taken this one with it.
        let found = self.table.entry_mut(slot).filter(|entry| !entry.is_free());
        let Some(entry) = found else { return };
        let id = ConnId { slot, generation: entry.generation };
        if entry.flags.has(Flags::EVENTS) {
            entry.status.set(Status::DYING);
        }
        if entry.reports(EventMask::DESTROY) {
            let message = Telling::Event(EventKind::Destroy, EventMask::DESTROY);
            let record = tell::record(&self.table, slot, message, at);
            if let Some(record) = record {
                let subject = Subject::Connection(record);
                self.events.push(Event { kind: EventKind::Destroy, at, subject });
            }
        }
        self.end_calls(slot, at);
        self.table.unlink(slot);
        if !self.expectations.is_empty() {
            self.expectations.remove_of(id, Log { at, events: &mut self.events });
        }
    }
}

/// The settings whose timeouts count for a connection.
#[inline]
pub(super) fn timeouts_of<'a>(
    policies: &'a [Sysctls],
    sysctls: &'a Sysctls,
    policy: Option<PolicyId>,
) -> &'a Sysctls {
    policy.and_then(|PolicyId(id)| policies.get(usize::from(id))).unwrap_or(sysctls)
}
