//! The account of a packet's way: every station, in order, for whoever explains it.
//!
//! Nothing is kept unless somebody asks for it before the packet comes
//! ([`Engine::set_explaining`](crate::Engine::set_explaining)). The account is the walk's own: what
//! is noted here happened, and nothing is worked out a second time.

use stateward_conntrack::{CtState, Direction, Reason, Record};
use stateward_nat::Binding;
use stateward_rules::tried::Tried;
use stateward_rules::{ChainVerdict, Hook, TableName};
use stateward_wire::Family;

use crate::route::{InterfaceId, RoutingDrop};
use crate::rules::Passed;

/// What a packet met, in order; empty unless it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    keep: Keep,
    stations: Vec<Station>,
}

/// Whether an account is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// Nobody asks.
    #[default]
    Nothing,
    /// Every station.
    Everything,
}

impl Account {
    /// The stations of the last packet, and of the answers that this host made to it.
    pub fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// Whether one is kept.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.keep == Keep::Everything
    }

    pub(crate) fn set(&mut self, keep: Keep) {
        self.keep = keep;
        self.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.stations.clear();
    }

    #[inline]
    pub(crate) fn note(&mut self, station: impl FnOnce() -> Station) {
        if self.is_kept() {
            self.stations.push(station());
        }
    }
}

/// A station of a packet's way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Station {
    /// The tracker has classified it.
    Tracked(Box<Classified>),
    /// The tracker leaves it what it is already: a rule has hidden it, or it was tracked on its way
    /// out, or it is this host's answer to a packet that was.
    Known(CtState),
    /// Routing has decided.
    Routed(Way),
    /// Routing has thrown it away.
    Refused(RoutingDrop),
    /// A table is asked.
    Asked {
        /// In which hook.
        hook: Hook,
        /// Which one.
        table: TableName,
        /// Whose rules.
        family: Family,
    },
    /// A rule was tried.
    Tried {
        /// Which one.
        rule: Passed,
        /// What it asked, and what became of it.
        tried: Tried,
    },
    /// A rule that was met, or a chain's end.
    Met(Passed),
    /// What a rule did.
    Did(Deed),
    /// The table has answered, and who of it.
    Said {
        /// The answer.
        verdict: ChainVerdict,
        /// The rule or the policy; none where a broken packet ended.
        by: Option<Passed>,
    },
    /// This host answers: what follows, up to [`Station::Answered`], is the answer's way.
    Answers,
    /// The answer has come to its end.
    Answered,
    /// NAT has bound an end of the connection.
    Bound(Binding),
    /// The connection that the packet began has entered the table.
    Entered,
}

/// What the tracker made of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classified {
    /// The state that rules see; none if there was no room for a new connection.
    pub state: Option<CtState>,
    /// The packet's direction in its connection.
    pub direction: Option<Direction>,
    /// Why, where there is something to say.
    pub reason: Option<Reason>,
    /// Its connection as it was before, if it was in the table.
    pub before: Option<Record>,
}

/// Where routing sends a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To this host.
    Input,
    /// Onwards; the interface is known when routing is on.
    Forward(Option<InterfaceId>),
    /// Out, as this host's own.
    Output(Option<InterfaceId>),
    /// From this host to itself.
    Loopback,
}

/// What a rule did to a packet or about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Set its mark.
    Marked(u32),
    /// Set its connection's mark.
    ConnectionMarked(u32),
    /// Hid it from the tracker.
    Untracked,
    /// Changed its bytes.
    Edited,
    /// Wrote a line of the log.
    Logged(String),
    /// Asked for an answer to the sender.
    Rejected,
    /// Nothing: nobody can evaluate it yet.
    NotEvaluated(&'static str),
}
