//! The trace: one JSON object a line, for programs.
//!
//! The types are the contract's records; what a field means stands there. A record borrows what it
//! shows, is written once, and nothing is gathered for it: lists are walked, numbers and bytes are
//! printed straight into the output.
//!
//! Beyond the contract a packet says which `frame` of its capture it is, as Wireshark counts, and
//! of several captures which `capture`; the end says what the summary says. What leaves the machine
//! by time alone (an ICMP error for fragments that never came together) is a line of type `out`.

mod event;
mod explanation;
mod notes;

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use stateward_conntrack::{CtState, Instant, Tracker};
use stateward_engine::{At, By, Verdict, Why};
use stateward_rules::{ShowCounters, StepName};
use stateward_wire::Family;

pub use self::event::{EntryRecord, Event, EventRecord, ExpectationRecord};
pub use self::explanation::Explanation;
pub use self::notes::{Answers, Log};
use crate::run::{ELSEWHERE, Fate, Left, Meanwhile, Out, Replay, Ruled, Sink, Step};
use crate::summary::{STATES, Summary, Tally};
use crate::verify::{Missed, Verified};

/// A record of type `packet`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "packet")]
pub struct Packet<'a> {
    /// 1, 2, 3 … over all captures.
    pub packet: u64,
    /// As in the capture.
    pub time: Time,
    /// The file, if there are several captures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<&'a str>,
    /// Which frame of its file, from 1; frames without IP count.
    pub frame: u64,
    /// Where it entered.
    #[serde(rename = "in")]
    pub interface: &'a str,
    /// IP length; that of the whole for the fragment that completes it.
    pub length: usize,
    /// The state that rules see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Its direction within the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// The number of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// What became of it.
    pub verdict: &'static str,
    /// Where it ended, or else the last filter rule or policy that accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Place<'a>>,
    /// The sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Sentence>,
    /// The word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<&'static str>,
    /// What left.
    #[serde(skip_serializing_if = "Out::is_empty")]
    pub out: Out<'a>,
    /// The rules it met, and those that this host's answers to it met.
    #[serde(skip_serializing_if = "Path::is_empty")]
    pub trace: Path<'a>,
    /// What was told.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub events: &'a [crate::run::Told],
    /// Lines of the kernel's log.
    #[serde(skip_serializing_if = "Log::is_empty")]
    pub log: Log<'a>,
    /// Matches and targets that it met and that are not evaluated.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub not_evaluated: &'a [&'static str],
    /// Matches that were answered by what is assumed, because a capture cannot know.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub assumed: &'a [&'static str],
    /// Matches that were answered by what is given beside the capture, and what that is.
    #[serde(skip_serializing_if = "Answers::is_empty")]
    pub given: Answers<'a>,
    /// Its mark at its end.
    #[serde(skip_serializing_if = "is_zero")]
    pub mark: u32,
    /// Its way in full, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation<'a>>,
}

impl<'a> Packet<'a> {
    /// The record of a step; `capture` names the packet's file if that is worth saying.
    pub fn of(step: &Step<'a>, capture: Option<&'a str>) -> Self {
        let plain = Self {
            packet: step.number,
            time: Time(step.captured.time),
            capture,
            frame: step.captured.number,
            interface: step.interface,
            length: length(step),
            state: None,
            direction: None,
            connection: step.connection,
            verdict: "seen",
            at: None,
            reason: None,
            reason_code: None,
            out: step.out,
            trace: Path(step.ruled),
            events: step.events,
            log: Log(step.ruled.map_or(&[], |ruled| &ruled.notes().log)),
            not_evaluated: step.ruled.map_or(&[], |ruled| &ruled.notes().not_evaluated),
            assumed: step.ruled.map_or(&[], |ruled| &ruled.notes().answers.assumed),
            given: Answers(step.ruled.map_or(&[], |ruled| &ruled.notes().answers.given)),
            mark: step.ruled.map_or(0, |ruled| ruled.notes().mark),
            explanation: step.explained.map(Explanation),
        };
        match step.fate {
            Fate::Seen(_) => plain,
            Fate::Missed(missed) => Self {
                reason: Some(Sentence::Missed(missed)),
                reason_code: Some(missed.code()),
                ..plain
            },
            Fate::Elsewhere => Self {
                verdict: "drop",
                at: Some(Place::Stage("wire")),
                reason: Some(Sentence::Elsewhere),
                reason_code: Some(ELSEWHERE.0),
                ..plain
            },
            Fate::Walked(outcome) => Self {
                state: outcome.state.map(CtState::name),
                direction: outcome.connection.map(|connection| connection.direction.name()),
                verdict: verdict(outcome.verdict),
                at: match outcome.verdict {
                    Verdict::Drop(at) if at != At::Rule => Some(Place::Stage(at.name())),
                    _ => step.ruled.and_then(|ruled| ruled.decided()).map(Place::Rule),
                },
                reason: outcome.why.map(Sentence::Why),
                reason_code: outcome.why.map(|why| why.code()),
                ..plain
            },
        }
    }
}

/// Where a packet ended or was let pass.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A part of the engine.
    Stage(&'static str),
    /// A rule or a policy.
    Rule(StepName<'a>),
}

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stage(name) => serializer.serialize_str(name),
            Self::Rule(name) => serializer.collect_str(name),
        }
    }
}

/// The rules a packet met.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a>(Option<Ruled<'a>>);

impl Path<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_none_or(|ruled| ruled.notes().path.is_empty())
    }
}

impl Serialize for Path<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// A name as TRACE writes it.
        struct Name<'a>(StepName<'a>);
        impl Serialize for Name<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        serializer.collect_seq(self.0.iter().flat_map(Ruled::path).map(Name))
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// IP length, also of a packet that did not get to the engine.
fn length(step: &Step<'_>) -> usize {
    let bytes = step.captured.bytes;
    match step.fate {
        Fate::Walked(outcome) => outcome.length,
        Fate::Seen(_) | Fate::Missed(_) | Fate::Elsewhere => {
            stateward_wire::Packet::parse_cut(bytes).map_or(bytes.len(), |packet| packet.length())
        }
    }
}

/// The contract's word for a verdict.
pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Forward(_) => "forward",
        Verdict::Input => "input",
        Verdict::Output(_) => "output",
        Verdict::Drop(_) => "drop",
        Verdict::Reject => "reject",
        Verdict::Queue(_) => "queue",
        Verdict::Held => "held",
        Verdict::Malformed => "malformed",
    }
}

/// Why, as a sentence.
#[derive(Debug, Clone, Copy)]
pub enum Sentence {
    /// The engine's.
    Why(Why),
    /// It was not as predicted.
    Missed(Missed),
    /// It was for another machine on the link.
    Elsewhere,
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Why(why) => why.fmt(f),
            Self::Missed(missed) => f.write_str(missed.sentence()),
            Self::Elsewhere => f.write_str(ELSEWHERE.1),
        }
    }
}

impl Serialize for Sentence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Nanoseconds since 1970, printed as decimal seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Instant(self.0))
    }
}

/// Bytes in hexadecimal.
#[derive(Debug, Clone, Copy)]
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 128];
        for bytes in self.0.chunks(text.len() / 2) {
            let (pairs, _) = text.as_chunks_mut::<2>();
            for (pair, byte) in pairs.iter_mut().zip(bytes) {
                // Both are below 16.
                *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            }
            let digits = text.get(..2 * bytes.len()).unwrap_or_default();
            f.write_str(std::str::from_utf8(digits).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for Left<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            dev: Option<&'a str>,
            by: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<&'static str>,
            bytes: Hex<'a>,
        }
        let (by, state) = match self.by {
            By::Packet => ("packet", None),
            By::Host(state) => ("host", Some(state.name())),
        };
        Record { dev: self.dev, by, state, bytes: Hex(self.bytes) }.serialize(serializer)
    }
}

/// The record of type `end`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "end")]
pub struct End<'a> {
    /// The connections in the table, by their numbers; absent if packets were only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Table<'a>>,
    /// The expectations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expectations: Option<Expectations<'a>>,
    /// The IPv4 ruleset as `iptables-save -c` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<String>,
    /// The IPv6 ruleset as `ip6tables-save -c` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters6: Option<String>,
    /// The lists of `-m recent`, as `tail -n +1 /proc/net/xt_recent/*` prints them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<String>,
    /// The sets, as `ipset save` prints them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<String>,
    /// Packets that met matches or targets that are not evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_evaluated: Option<&'a crate::summary::Tally>,
    /// Packets of which something was assumed, by the match that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed: Option<&'a crate::summary::Tally>,
    /// Packets of which something was given, by the match that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<&'a crate::summary::Tally>,
    /// What came of predictions, if they were verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Counters of the tracker.
    pub statistics: Statistics<'a>,
    /// IP packets read.
    pub packets: u64,
    /// Connections that appeared.
    pub connections: u64,
    /// Packets by state.
    pub states: States<'a>,
    /// Packets by verdict.
    pub verdicts: crate::summary::Verdicts,
    /// Packets whose checksum was left to the sender's network card.
    pub unfinished_checksums: u64,
    /// Packets cut by the snap length.
    pub cut: u64,
    /// Packets longer than their interface's MTU.
    pub superpackets: u64,
    /// Packets whose time ran backwards.
    pub backwards: u64,
    /// Connections in the table at most.
    pub peak: u64,
}

impl<'a> End<'a> {
    /// The end of a replay; with its tables if its packets were numbered.
    pub fn of(replay: &'a Replay, with_tables: bool) -> Self {
        let summary = replay.summary();
        let counters = |family| {
            let rules = replay.engine().rules(family)?;
            Some(rules.counted().save(ShowCounters::Yes))
        };
        let shared = replay.engine().shared();
        let (recent, sets) = (&shared.recent, &shared.sets);
        Self {
            recent: (!recent.is_empty()).then(|| recent.to_string()),
            sets: (!sets.is_empty()).then(|| sets.saved(replay.now()).to_string()),
            counters: counters(Family::V4),
            counters6: counters(Family::V6),
            not_evaluated: (summary.not_evaluated_packets > 0).then_some(&summary.not_evaluated),
            assumed: (!summary.assumed.sorted().is_empty()).then_some(&summary.assumed),
            given: (!summary.given.sorted().is_empty()).then_some(&summary.given),
            table: with_tables.then_some(Table(replay)),
            expectations: with_tables.then(|| Expectations(replay.engine().tracker())),
            verified: replay.verified(),
            statistics: Statistics { tracker: replay.engine().tracker(), summary },
            packets: summary.packets,
            connections: summary.connections,
            states: States(summary),
            verdicts: summary.verdicts,
            unfinished_checksums: summary.unfinished,
            cut: summary.cut,
            superpackets: summary.superpackets,
            backwards: summary.backwards,
            peak: summary.peak,
        }
    }
}

/// The final table.
pub struct Table<'a>(&'a Replay);

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.table()).finish()
    }
}

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (connection, id) in self.0.table() {
            if let Some(record) = self.0.engine().tracker().get(id) {
                list.serialize_element(&EntryRecord::in_table(&record, connection, self.0.now()))?;
            }
        }
        list.end()
    }
}

/// The final expectations.
pub struct Expectations<'a>(&'a Tracker);

impl fmt::Debug for Expectations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.expectations().iter()).finish()
    }
}

impl Serialize for Expectations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let now = self.0.now();
        let all = self.0.expectations().iter();
        serializer.collect_seq(all.map(|each| ExpectationRecord::in_table(each, now)))
    }
}

/// The columns of `conntrack -S`, and what was INVALID and dropped by reason.
pub struct Statistics<'a> {
    tracker: &'a Tracker,
    summary: &'a Summary,
}

impl fmt::Debug for Statistics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tracker.statistics().fmt(f)
    }
}

impl Serialize for Statistics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let statistics = self.tracker.statistics();
        let expect = self.tracker.expectations().statistics();
        let mut map = serializer.serialize_map(None)?;
        let columns = [
            // Today's kernels do not count `insert`, nor restarts of a search.
            ("found", statistics.found),
            ("invalid", statistics.invalid),
            ("insert", 0),
            ("insert_failed", statistics.insert_failed),
            ("drop", statistics.drop),
            ("early_drop", statistics.early_drop),
            ("error", statistics.error),
            ("search_restart", 0),
            ("clash_resolve", statistics.clash_resolve),
            ("chaintoolong", statistics.chaintoolong),
            ("expect_new", expect.new),
            ("expect_create", expect.create),
            ("expect_delete", expect.delete),
        ];
        for (name, value) in columns {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("INVALID", &self.summary.invalid)?;
        map.serialize_entry("DROP", &self.summary.dropped)?;
        map.end()
    }
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.sorted())
    }
}

/// Packets by state.
#[derive(Debug)]
pub struct States<'a>(&'a Summary);

impl Serialize for States<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(STATES.iter().map(|state| state.name()).zip(self.0.states))
    }
}

/// What left by time alone.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "out")]
struct Alone<'a> {
    time: Time,
    out: Out<'a>,
}

/// Writes the trace.
pub struct JsonLines<W: Write> {
    out: W,
    /// The captures' names, if there are several.
    captures: Vec<String>,
}

impl<W: Write> JsonLines<W> {
    /// A trace of captures with these names.
    pub fn new(out: W, mut captures: Vec<String>) -> Self {
        if captures.len() < 2 {
            captures.clear();
        }
        Self { out, captures }
    }

    /// The last line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&mut self, end: &End<'_>) -> io::Result<()> {
        line(&mut self.out, end)?;
        self.out.flush()
    }
}

fn line(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

impl<W: Write> Sink for JsonLines<W> {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        let Self { out, captures } = self;
        line(out, &Packet::of(step, captures.get(step.capture).map(String::as_str)))
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        for told in meanwhile.events {
            line(&mut self.out, &Event::alone(told))?;
        }
        if !meanwhile.out.is_empty() {
            line(&mut self.out, &Alone { time: Time(meanwhile.now.0), out: meanwhile.out })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_in_hexadecimal() {
        let bytes: Vec<u8> = (0..=255).collect();
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Hex(&bytes).to_string(), expected);
        assert_eq!(Hex(&[]).to_string(), "");
    }

    #[test]
    fn times_are_decimal_seconds_to_the_nanosecond() {
        let time = serde_json::to_string(&Time(1_795_206_875_508_562_001)).unwrap();
        assert_eq!(time, "\"1795206875.508562001\"");
    }
}
