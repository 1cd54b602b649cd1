//! A connection's helper: who reads its packets, and what that one keeps of it.
//!
//! The tracker runs no helper: whoever walks packets does, just before [`Tracker::confirm`], and
//! gives back what the helper wants to remember. Kernel counterpart: `struct nf_conn_help`.

use super::{Flow, Tracker};
use crate::calls::Call;
use crate::seqadj::SeqAdjust;
use crate::status::{Direction, PerDir, Status};
use crate::time::Span;
use crate::tuple::Tuple;

/// What a helper keeps of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HelperMemory {
    /// The helper's own; zero at first.
    pub words: [u32; 8],
    /// The connection began elsewhere (it was loaded), and nothing of that direction has been
    /// heard.
    pub unheard: PerDir<bool>,
    /// The call of PPTP that ends with the connection.
    pub call: Option<Call>,
}

impl Tracker {
    /// Whether any connection has had a helper: else nobody needs to ask for one.
    #[inline]
    pub fn helps(&self) -> bool {
        self.helping
    }

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

    /// The status and the helper of the connection that has this tuple in either direction; `None`
    /// if there is none.
    pub fn reader(&self, tuple: &Tuple) -> Option<(Status, Option<&'static str>)> {
        let (slot, _) = self.table.find(tuple)?;
        let entry = self.table.entry(slot)?;
        Some((entry.status, self.table.extra_of(entry).and_then(|extra| extra.helper)))
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

    /// What is added to the sequence numbers of a packet's connection; none if nothing is.
    pub fn seqadj(&self, flow: &Flow) -> Option<PerDir<SeqAdjust>> {
        let Flow::Confirmed(id) = flow else { return None };
        let entry = self.table.live(*id).filter(|entry| entry.status.has(Status::SEQ_ADJUST))?;
        Some(self.table.extra_of(entry)?.seqadj)
    }

    /// The payload of a TCP segment has become longer by so much, from the number it begins with.
    pub fn note_longer(&mut self, flow: &Flow, direction: Direction, number: u32, longer: i32) {
        let Flow::Confirmed(id) = flow else { return };
        let Some(slot) = self.table.slot_of(*id).filter(|_| longer != 0) else { return };
        if let Some(entry) = self.table.entry_mut(slot) {
            entry.status.set(Status::SEQ_ADJUST);
        }
        if let Some(extra) = self.table.extra_mut(slot) {
            extra.seqadj[direction].note(number, longer);
        }
    }

    /// By what acknowledgements in a direction of a connection in the table are off.
    #[inline]
    pub(super) fn moved(&self, slot: u32, direction: Direction) -> SeqAdjust {
        match self.table.entry(slot) {
            Some(entry) if entry.status.has(Status::SEQ_ADJUST) => {
                let extra = self.table.extra_of(entry);
                extra.map(|extra| extra.seqadj[!direction]).unwrap_or_default()
            }
            _ => SeqAdjust::default(),
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
