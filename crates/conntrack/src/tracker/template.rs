//! What rules say of a connection before the tracker sees its packet: `-j CT`.
//!
//! Kernel counterpart: the template that `xt_CT` hangs on a packet, and `nf_ct_zone_tmpl`.

use crate::event::EventMask;
use crate::expect::ExpectEvents;
use crate::policy::PolicyId;
use crate::status::{Direction, PerDir};
use crate::tuple::Zone;

/// How a packet is to be tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Template {
    /// The zone of each direction: where the packet is looked up, and what a connection that it
    /// begins belongs to.
    pub zones: PerDir<Zone>,
    /// The events that a connection reports that the packet begins; `None` is all, if it reports
    /// any.
    pub reports: Option<Reports>,
    /// The helper of a connection that the packet begins, unless another one has announced it.
    pub helper: Option<&'static str>,
    /// The timeouts of a connection that the packet begins.
    pub timeouts: Option<PolicyId>,
}

/// Of what a connection reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reports {
    /// What happens to it: told if one of these is among the causes.
    pub connection: EventMask,
    /// What happens to those that it announces.
    pub expectations: ExpectEvents,
}

impl Template {
    pub(super) const ALL: Reports =
        Reports { connection: EventMask(u16::MAX), expectations: ExpectEvents::ALL };

    /// The zone in which packets are looked up that begin something.
    pub(super) fn zone(&self) -> Zone {
        self.zones[Direction::Original]
    }
}

impl From<Zone> for Template {
    fn from(zone: Zone) -> Self {
        Template { zones: PerDir([zone; 2]), ..Template::default() }
    }
}
