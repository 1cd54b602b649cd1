//! A packet's explanation for programs: the field `explanation` of its record.

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use stateward_conntrack::CtState;
use stateward_engine::account::{Classified, Deed, Station, Way};
use stateward_engine::rules::Passed;
use stateward_nat::{AtEnd, Binding, Manip};
use stateward_rules::tried::{Asked, Fate, Tried};
use stateward_rules::{ChainEnd, ChainVerdict, Policy};
use stateward_wire::Family;

use crate::explain::{After, Explained};

/// All of a packet's way.
#[derive(Debug, Clone, Copy)]
pub struct Explanation<'a>(pub Explained<'a>);

impl Serialize for Explanation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("way", &Stations(self.0))?;
        match self.0.after() {
            After::None => {}
            After::Stands(record) => {
                map.serialize_entry("after", &self.0.line(&record).to_string())?;
            }
            After::Ended => map.serialize_entry("after", "ended")?,
            After::Forgotten => map.serialize_entry("after", "forgotten")?,
        }
        map.end()
    }
}

struct Stations<'a>(Explained<'a>);

impl Serialize for Stations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(None)?;
        for station in self.0.stations() {
            if let Some(one) = Written::of(&self.0, station) {
                all.serialize_element(&one)?;
            }
        }
        all.end()
    }
}

/// A station as it is written.
#[derive(Serialize)]
#[serde(tag = "station", rename_all = "snake_case")]
enum Written<'a> {
    Conntrack {
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        direction: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        loaded: Option<String>,
    },
    Known {
        state: &'static str,
    },
    Refused {
        reason: String,
        reason_code: &'static str,
    },
    Routing {
        to: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        dev: Option<&'a str>,
    },
    Table {
        table: &'static str,
        hook: &'static str,
        family: &'static str,
    },
    Rule {
        #[serde(flatten)]
        place: Place<'a>,
        result: &'static str,
        asked: Vec<OptionRecord<'a>>,
    },
    End {
        #[serde(flatten)]
        place: Place<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<&'static str>,
    },
    Deed {
        deed: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    Verdict {
        verdict: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
    Bound {
        end: &'static str,
        before: String,
        after: String,
        how: &'static str,
        why: String,
    },
    Answer,
    AnswerEnds,
    Entered,
}

#[derive(Serialize)]
struct OptionRecord<'a> {
    option: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<&'a str>,
}

/// Where a rule or a chain's end stands.
#[derive(Serialize)]
struct Place<'a> {
    at: String,
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl<'a> Place<'a> {
    fn of(explained: &Explained<'a>, passed: Passed) -> Option<Self> {
        let written = explained.written(passed)?;
        Some(Self {
            at: written.name.to_string(),
            file: written.file,
            line: Some(written.line).filter(|line| *line > 0),
            rule: written.rule.map(|rule| rule.text().trim().to_owned()),
        })
    }
}

impl<'a> Written<'a> {
    fn of(explained: &Explained<'a>, station: &'a Station) -> Option<Self> {
        Some(match station {
            Station::Tracked(classified) => Self::conntrack(explained, classified),
            Station::Known(state) => Self::Known { state: state.name() },
            Station::Refused(reason) => {
                Self::Refused { reason: reason.to_string(), reason_code: reason.code() }
            }
            Station::Routed(way) => {
                let (to, dev) = match way {
                    Way::Input => ("input", None),
                    Way::Loopback => ("loopback", None),
                    Way::Forward(id) => ("forward", *id),
                    Way::Output(id) => ("output", *id),
                };
                Self::Routing { to, dev: dev.and_then(|id| explained.interface(id)) }
            }
            Station::Asked { hook, table, family } => {
                let family = match family {
                    Family::V4 => "ipv4",
                    Family::V6 => "ipv6",
                };
                Self::Table { table: table.name(), hook: hook.name(), family }
            }
            Station::Tried { rule, tried: Tried { fate, asked } } => {
                let result = match fate {
                    Fate::Met => "met",
                    Fate::PassedOver => "passed_over",
                    Fate::NotEvaluated => "not_evaluated",
                    Fate::Broken => "too_short",
                };
                let option = |Asked { option, packet }: &'a Asked| OptionRecord {
                    option,
                    packet: packet.as_deref(),
                };
                let asked = asked.iter().map(option).collect();
                Self::Rule { place: Place::of(explained, *rule)?, result, asked }
            }
            Station::Met(passed) => return Self::end(explained, *passed),
            Station::Did(deed) => Self::deed(deed),
            Station::Said { verdict, by } => {
                let verdict = match verdict {
                    ChainVerdict::Accept => "accept",
                    ChainVerdict::Drop => "drop",
                    ChainVerdict::Queue { .. } => "queue",
                };
                let by = by.and_then(|passed| explained.written(passed));
                Self::Verdict { verdict, at: by.map(|written| written.name.to_string()) }
            }
            Station::Bound(binding) => Self::bound(binding),
            Station::Answers => Self::Answer,
            Station::Answered => Self::AnswerEnds,
            Station::Entered => Self::Entered,
        })
    }

    fn conntrack(explained: &Explained<'a>, classified: &Classified) -> Self {
        let Classified { state, direction, reason, before } = classified;
        Self::Conntrack {
            state: state.map(CtState::name),
            direction: direction.map(|direction| direction.name()),
            reason: reason.map(|reason| reason.to_string()),
            before: before.as_ref().map(|record| explained.line(record).to_string()),
            loaded: before.as_ref().and_then(|record| explained.origin(record)),
        }
    }

    fn bound(binding: &Binding) -> Self {
        let Binding { manip, before, after, how } = binding;
        let end = match manip {
            Manip::Source => "source",
            Manip::Destination => "destination",
        };
        let [before, after] = [before, after].map(|tuple| AtEnd(tuple, manip.end()).to_string());
        Self::Bound { end, before, after, how: how.code(), why: how.to_string() }
    }

    /// A chain's end; a rule that was met has been told of as a rule.
    fn end(explained: &Explained<'a>, passed: Passed) -> Option<Self> {
        let written = explained.written(passed)?;
        if written.rule.is_some() {
            return None;
        }
        let policy = match written.chain.end {
            ChainEnd::Policy(_, Policy::Accept, _) => Some("ACCEPT"),
            ChainEnd::Policy(_, Policy::Drop, _) => Some("DROP"),
            ChainEnd::Return => None,
        };
        Some(Self::End { place: Place::of(explained, passed)?, policy })
    }

    fn deed(deed: &Deed) -> Self {
        let (deed, value) = match deed {
            Deed::Marked(mark) => ("mark", Some(format!("{mark:#x}"))),
            Deed::ConnectionMarked(mark) => ("connection_mark", Some(format!("{mark:#x}"))),
            Deed::Untracked => ("untrack", None),
            Deed::Edited => ("edit", None),
            Deed::Logged(line) => ("log", Some(line.clone())),
            Deed::Rejected => ("reject", None),
            Deed::NotEvaluated(name) => ("not_evaluated", Some((*name).to_owned())),
        };
        Self::Deed { deed, value }
    }
}
