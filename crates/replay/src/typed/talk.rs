//! What both ends of a flow have said so far, so that what comes next need not be typed in full.

use std::collections::HashMap;

use super::Flow;

/// The first sequence number of whoever is not told another one.
const FIRST: u32 = 1_000;

/// One end's numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// Its first sequence number.
    pub(super) first: u32,
    /// Its next one.
    pub(super) next: u32,
    /// SCTP: the tag that packets to it carry.
    pub(super) tag: u32,
}

impl Default for Said {
    fn default() -> Self {
        Self { first: FIRST, next: FIRST, tag: 0 }
    }
}

/// Every end by the flow that it sends.
#[derive(Debug, Default)]
pub(super) struct Talks {
    ends: HashMap<Flow, Said>,
}

impl Talks {
    /// What the sender of `flow` has said.
    pub(super) fn sender(&mut self, flow: &Flow) -> &mut Said {
        self.ends.entry(*flow).or_default()
    }

    /// What the other end has said.
    pub(super) fn receiver(&mut self, flow: &Flow) -> &mut Said {
        let Flow { source, destination } = *flow;
        self.sender(&Flow { source: destination, destination: source })
    }
}
