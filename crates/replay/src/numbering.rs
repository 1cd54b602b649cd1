//! Connection numbers: 1, 2, 3 … by first appearance, as the trace shows them.
//!
//! A number is drawn when a packet begins a connection and never used again, also if something
//! drops that packet and the connection never gets into the table. Entries of the table are found
//! by their [`ConnId`]; the number is let go when the entry's DESTROY has been told. Where
//! connections report no events (`nf_conntrack_events = 0`), what has left the table is swept out
//! when more than twice as many are known as there are entries, so that memory is bounded by the
//! table either way.

use std::collections::HashMap;

use stateward_conntrack::{ConnId, Tracker};
use stateward_engine::Connection;

/// Numbers known beyond twice the table's entries before it is worth looking for the dead.
const SLACK: usize = 4096;

/// The connections in the table and their numbers.
#[derive(Debug, Default)]
pub struct Numbering {
    numbers: HashMap<ConnId, u64>,
    last: u64,
}

impl Numbering {
    /// The number of a packet's connection, which is its first if it began it.
    pub fn of_packet(&mut self, connection: &Connection, tracker: &Tracker) -> Option<u64> {
        let known = connection.id.and_then(|id| self.number(id));
        if known.is_some() || !connection.began {
            return known;
        }
        self.last += 1;
        if let Some(id) = connection.id {
            if self.numbers.len() > 2 * tracker.count() + SLACK {
                self.numbers.retain(|&id, _| tracker.get(id).is_some());
            }
            self.numbers.insert(id, self.last);
        }
        Some(self.last)
    }

    /// An entry that was there before the first packet.
    pub fn add(&mut self, id: ConnId) {
        self.last += 1;
        self.numbers.insert(id, self.last);
    }

    /// The number of an entry.
    pub fn number(&self, id: ConnId) -> Option<u64> {
        self.numbers.get(&id).copied()
    }

    /// The entry is gone and has been told about.
    pub fn forget(&mut self, id: ConnId) {
        self.numbers.remove(&id);
    }

    /// Numbers that are known.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.numbers.len()
    }

    /// Connections that have appeared.
    pub fn count(&self) -> u64 {
        self.last
    }
}
