//! One packet's way in full: every table, chain and rule it met, why each rule was met or was not,
//! its connection before and after, what became of it.
//!
//! The engine keeps the account ([`stateward_engine::account`]); here it is put into words, `lines`
//! for people and [`crate::trace`] for programs. Nothing is worked out again.

mod lines;
mod numbers;

use stateward_conntrack::text::{DumpLine, Output};
use stateward_conntrack::{ConnId, Record};
use stateward_engine::account::Station;
use stateward_engine::rules::Passed;
use stateward_engine::{Engine, Outcome};
use stateward_rules::{Chain, RuleSpec, StepName};
use stateward_wire::Family;

pub use self::lines::{Detail, Explanations, Others};
pub use self::numbers::{Numbers, NumbersError};
use crate::run::Fate;
use crate::table::Loaded;

/// What is to be explained, and what the files are called that the rules are from.
#[derive(Debug, Clone, Default)]
pub struct Explaining {
    /// Which packets.
    pub packets: Numbers,
    /// The names of the files.
    pub files: Files,
    /// Connections that were there before the first packet.
    pub loaded: Loaded,
}

/// The files of the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// IPv4's.
    pub v4: Option<String>,
    /// IPv6's.
    pub v6: Option<String>,
}

impl Files {
    /// That of a family's rules.
    pub fn of(&self, family: Family) -> &str {
        let name = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        name.as_deref().unwrap_or("rules")
    }
}

/// A packet's way, to be told before the next packet comes.
#[derive(Clone, Copy)]
pub struct Explained<'a> {
    engine: &'a Engine,
    all: &'a Explaining,
    outcome: Option<Outcome>,
}

/// What has become of a packet's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// It has none.
    None,
    /// It is in the table.
    Stands(Box<Record>),
    /// The packet ended it.
    Ended,
    /// It began with the packet, and ended with it.
    Forgotten,
}

/// A rule or a chain's end as it was written.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// Its name, as TRACE has it.
    pub name: StepName<'a>,
    /// The chain.
    pub chain: &'a Chain,
    /// The rule; none at the chain's end.
    pub rule: Option<&'a RuleSpec>,
    /// The file it is from.
    pub file: &'a str,
    /// Where in it; 0 if that is not known.
    pub line: u32,
}

impl<'a> Explained<'a> {
    pub(crate) fn new(engine: &'a Engine, explaining: &'a Explaining, fate: Fate) -> Self {
        let outcome = match fate {
            Fate::Walked(outcome) => Some(outcome),
            Fate::Seen(_) | Fate::Missed(_) | Fate::Elsewhere => None,
        };
        Self { engine, all: explaining, outcome }
    }

    /// The stations of its way; none of a packet that never came in.
    pub fn stations(&self) -> &'a [Station] {
        match self.outcome {
            Some(_) => self.engine.notes().account.stations(),
            None => &[],
        }
    }

    /// Where a step is written.
    pub fn written(&self, passed: Passed) -> Option<Written<'a>> {
        let rules = self.engine.rules(passed.family)?;
        let (chain, rule) = rules.place(passed.step)?;
        let position = rule.map_or(chain.position, |rule| rule.position);
        let name = self.engine.name(passed)?;
        let file = self.all.files.of(passed.family);
        Some(Written { name, chain, rule, file, line: position.line })
    }

    /// What has become of its connection.
    pub fn after(&self) -> After {
        let Some(connection) = self.outcome.and_then(|outcome| outcome.connection) else {
            return After::None;
        };
        match connection.id.map(|id| self.record(id)) {
            None => After::Forgotten,
            Some(None) => After::Ended,
            Some(Some(record)) => After::Stands(Box::new(record)),
        }
    }

    fn record(&self, id: ConnId) -> Option<Record> {
        self.engine.tracker().get(id)
    }

    /// A connection as `conntrack -L` prints it.
    pub fn line<'r>(&self, record: &'r Record) -> DumpLine<'r> {
        let now = self.engine.tracker().now();
        DumpLine { record, now, uses: 1, output: Output::default() }
    }

    /// Where a connection was loaded from, if it was there before the first packet.
    pub fn origin(&self, record: &Record) -> Option<String> {
        self.all.loaded.place(record.id)
    }

    /// The name of an interface.
    pub fn interface(&self, id: stateward_engine::InterfaceId) -> Option<&'a str> {
        self.engine.network().interface(id).map(|interface| interface.name.as_str())
    }
}

impl std::fmt::Debug for Explained<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stations().fmt(f)
    }
}
