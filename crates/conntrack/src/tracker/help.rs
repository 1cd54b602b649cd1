//! A connection's helper: who reads its packets, and what that one keeps of it.
//!
//! The tracker runs no helper: whoever walks packets does, just before [`Tracker::confirm`], and
//! gives back what the helper wants to remember. Kernel counterpart: `struct nf_conn_help`.

use super::{Flow, Tracker};
use crate::status::{PerDir, Status};
use crate::time::Span;

/// What a helper keeps of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HelperMemory {
    /// The helper's own; zero at first.
    pub words: [u32; 8],
    /// The connection began elsewhere (it was loaded), and nothing of that direction has been
    /// heard.
    pub unheard: PerDir<bool>,
}

impl Tracker {
    /// The helper of a packet's connection, and what that has kept.
    pub fn helper(&self, flow: &Flow) -> Option<(&'static str, HelperMemory)> {
        let extra = match flow {
            Flow::None => None,
            Flow::Confirmed(id) => self.table.extra_of(self.table.live(*id)?),
            Flow::Unconfirmed(conn) => conn.extra.as_deref(),
        };
        let extra = extra?;
        Some((extra.helper?, extra.memory))
    }

    /// Gives a packet's connection so many seconds from now, unless its timeout is fixed.
    pub fn refresh_connection(&mut self, flow: &mut Flow, seconds: u32) {
        if self.status(flow).has(Status::FIXED_TIMEOUT) {
            return;
        }
        let timeout = Span::secs(seconds);
        match flow {
            Flow::None => {}
            Flow::Confirmed(id) => {
                if let Some(slot) = self.table.slot_of(*id) {
                    self.table.set_deadline(slot, self.now + timeout);
                }
            }
            // Its clock starts when it is confirmed.
            Flow::Unconfirmed(conn) => conn.entry.deadline = timeout.0,
        }
    }

    /// What the helper of a packet's connection wants to keep.
    pub fn set_helper_memory(&mut self, flow: &mut Flow, memory: HelperMemory) {
        match flow {
            Flow::None => {}
            Flow::Confirmed(id) => {
                if let Some(slot) = self.table.slot_of(*id)
                    && let Some(extra) = self.table.extra_mut(slot)
                {
                    extra.memory = memory;
                }
            }
            Flow::Unconfirmed(conn) => conn.extra_mut().memory = memory,
        }
    }
}
