//! Helpers by port: what the kernel did until Linux 6.0, where nothing else says who reads a
//! connection.
//!
//! The port is that of the answers' source, so that a service is known by where it really is: a
//! connection gets its helper when it begins, and another one, or none, when NAT leads it
//! elsewhere. What a rule gives stays, and what was announced has what its announcement says.
//! Kernel counterpart: `__nf_ct_try_assign_helper`.

use stateward_wire::Family;

use super::Tracker;
use crate::status::{Direction, Status};
use crate::table::Unconfirmed;

/// Connections whose server has this port get this helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The helper's name.
    pub helper: &'static str,
    /// TCP or UDP, by its number.
    pub protocol: u8,
    /// Of connections of this family only.
    pub family: Option<Family>,
    /// The server's port.
    pub port: u16,
}

impl Tracker {
    /// Has connections get helpers by port, those of the list; with an empty one, as at first, only
    /// rules give them.
    pub fn set_assigned(&mut self, assigned: Vec<Assigned>) {
        self.assigned = assigned;
    }

    /// Whether any connection may get a helper by its port.
    #[inline]
    pub fn assigns(&self) -> bool {
        !self.assigned.is_empty()
    }

    /// A connection begins to which no rule has given a helper.
    #[inline]
    pub(super) fn assign(&mut self, conn: &mut Unconfirmed) {
        if let Some(helper) = self.assigned_to(conn) {
            conn.assign_helper(helper);
            conn.by_port = true;
            self.helping = true;
        }
    }

    /// NAT has led a connection elsewhere. Another helper cannot follow one that has been there.
    #[inline]
    pub fn reassign(&mut self, conn: &mut Unconfirmed) {
        let status = conn.status();
        let has_own = status.has(Status::HELPER) && !conn.by_port;
        if self.assigned.is_empty() || status.has(Status::EXPECTED) || has_own {
            return;
        }
        let other = self.assigned_to(conn);
        match (conn.helper(), other) {
            (before, after) if before == after => {}
            (None, Some(_)) => self.assign(conn),
            _ => conn.lose_helper(),
        }
    }

    fn assigned_to(&self, conn: &Unconfirmed) -> Option<&'static str> {
        if self.assigned.is_empty() {
            return None;
        }
        let server = conn.tuple(Direction::Reply);
        let found = self.assigned.iter().find(|assigned| {
            assigned.protocol == server.protocol()
                && assigned.port == server.key.source_port
                && assigned.family.is_none_or(|family| family == server.family())
        });
        found.map(|assigned| assigned.helper)
    }
}
