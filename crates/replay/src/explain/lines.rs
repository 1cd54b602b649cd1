//! The explanation for people.
//!
//! ```text
//! wan0: IP 198.51.100.7.40000 > 203.0.113.1.22: Flags [S], seq 1000, win 64240, length 0
//!
//! conntrack: NEW
//!   before: not in the table
//!
//! filter INPUT
//!   rules.v4:5  -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
//!               no: --ctstate RELATED,ESTABLISHED (NEW)
//! …
//! ```
//!
//! A rule that was met says what it asked for and what the packet had, one that was passed over the
//! first option that failed. Chains stand under the rule that led to them, by two blanks deeper,
//! as far as a line has room.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use stateward_conntrack::{CtState, Direction};
use stateward_engine::account::{Classified, Deed, Station, Way};
use stateward_engine::rules::Passed;
use stateward_engine::{At, By, Outcome, Verdict};
use stateward_rules::shared::{Answers, Given};
use stateward_rules::tried::{Asked, Fate as RuleFate, Tried};
use stateward_rules::{ChainEnd, ChainVerdict, Policy, TableName};

use super::{After, Explained, Written};
use crate::describe::Described;
use crate::run::{ELSEWHERE, Fate, Meanwhile, Sink, Step};
use crate::text::{Colour, Paint};
use crate::trace;
use stateward_wire::protocol;

/// How deep a chain stands at most; below that its depth is said, because a ruleset may have any
/// number of chains that each lead to the next.
const DEEPEST: usize = 20;

/// Which rules are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Those that were met.
    Path,
    /// Those that were passed over, too.
    Rules,
}

/// What is said of packets that are not to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Nothing.
    Silent,
    /// A line.
    Brief,
}

/// Prints explanations.
pub struct Explanations<W: Write> {
    out: W,
    detail: Detail,
    others: Others,
    colour: Colour,
    text: String,
    /// Something has been printed.
    begun: bool,
}

impl<W: Write> Explanations<W> {
    /// Explanations of the packets that are to be explained.
    pub fn new(out: W, detail: Detail, others: Others, colour: Colour) -> Self {
        Self { out, detail, others, colour, text: String::new(), begun: false }
    }

    /// What they go to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

impl<W: Write> Sink for Explanations<W> {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        let Self { detail, others, colour, begun, .. } = *self;
        let text = &mut self.text;
        text.clear();
        match step.explained {
            Some(explained) => {
                let apart = if begun { "\n" } else { "" };
                text.push_str(apart);
                let mut page = Page { text, explained, detail, colour, chains: Vec::new() };
                page.whole(step)
            }
            None if others == Others::Brief => brief(text, step),
            None => Ok(()),
        }
        .map_err(io::Error::other)?;
        self.begun |= !self.text.is_empty();
        self.out.write_all(self.text.as_bytes())
    }

    fn meanwhile(&mut self, _: &Meanwhile<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// `1: IP …: NEW, forward`.
fn brief(text: &mut String, step: &Step<'_>) -> fmt::Result {
    let (state, verdict) = match step.fate {
        Fate::Walked(outcome) => (outcome.state, trace::verdict(outcome.verdict)),
        Fate::Seen(_) | Fate::Missed(_) => (None, "seen"),
        Fate::Elsewhere => (None, "drop"),
    };
    let state = state.map_or(String::new(), |state| format!("{}, ", state.name()));
    let (number, packet) = (step.number, Described(step.captured.bytes));
    writeln!(text, "packet {number}, {}: {packet}: {state}{verdict}", step.interface)
}

/// One explanation.
struct Page<'t, 'a> {
    text: &'t mut String,
    explained: Explained<'a>,
    detail: Detail,
    colour: Colour,
    /// The chains that the packet is in, of the table that is asked.
    chains: Vec<u32>,
}

impl Page<'_, '_> {
    fn whole(&mut self, step: &Step<'_>) -> fmt::Result {
        let from = match step.interface {
            "local" => "from this host",
            name => name,
        };
        writeln!(self.text, "{from}: {}", Described(step.captured.bytes))?;
        let stations = self.explained.stations();
        let width = stations.iter().filter_map(|station| self.place_of(station)).max();
        let mut rest = stations;
        while let Some((station, after)) = rest.split_first() {
            rest = after;
            match station {
                Station::Asked { table, hook, .. } => {
                    let end =
                        after.iter().position(|station| matches!(station, Station::Said { .. }));
                    let (of_table, behind) = after.split_at(end.map_or(after.len(), |end| end + 1));
                    rest = behind;
                    let title = format!("{table} {hook}");
                    self.table(*table, &title, of_table, width.unwrap_or(0))?;
                }
                station => self.station(station)?,
            }
        }
        self.ending(step)
    }

    /// How much room the place of a station's rule takes.
    fn place_of(&self, station: &Station) -> Option<usize> {
        let passed = match station {
            Station::Tried { rule, .. } => rule,
            Station::Met(passed) => passed,
            _ => return None,
        };
        Some(place(&self.explained.written(*passed)?).len())
    }

    /// What happens outside of tables.
    fn station(&mut self, station: &Station) -> fmt::Result {
        match station {
            Station::Tracked(classified) => self.tracked(classified),
            Station::Routed(way) => {
                let name = |id: &Option<_>| id.and_then(|id| self.explained.interface(id));
                let to = match way {
                    Way::Input => "to this host".to_owned(),
                    Way::Loopback => "from this host to itself".to_owned(),
                    Way::Forward(id) => match name(id) {
                        Some(name) => format!("onwards, out by {name}"),
                        None => "onwards (there is no routing: see --config, --addr)".to_owned(),
                    },
                    Way::Output(id) => match name(id) {
                        Some(name) => format!("out by {name}"),
                        None => "out".to_owned(),
                    },
                };
                writeln!(self.text, "\nrouting: {to}")
            }
            Station::Refused(reason) => writeln!(self.text, "\nrouting: {reason}"),
            Station::Known(state) => {
                write!(self.text, "\nconntrack: ")?;
                let style = crate::text::style_of(Some(*state));
                let name = format_args!("{}", state.name());
                Paint::new(style, self.colour).around(self.text, name)?;
                writeln!(self.text, ", decided before")
            }
            // What stays as it is goes without saying.
            Station::Bound(binding) if binding.before != binding.after => {
                writeln!(self.text, "\nnat: {binding}")
            }
            Station::Answers => writeln!(self.text, "\nthis host answers; the answer's own way:"),
            Station::Answered => writeln!(self.text, "\n(end of the answer's way)"),
            _ => Ok(()),
        }
    }

    fn tracked(&mut self, classified: &Classified) -> fmt::Result {
        let Classified { state, direction, reason, before } = classified;
        let state_name = state.map_or("no room for a new connection", CtState::name);
        let style = crate::text::style_of(*state);
        write!(self.text, "\nconntrack: ")?;
        Paint::new(style, self.colour).around(self.text, format_args!("{state_name}"))?;
        match direction {
            Some(Direction::Original) => self.text.push_str(", in the original direction"),
            Some(Direction::Reply) => self.text.push_str(", in the reply direction"),
            None => {}
        }
        self.text.push('\n');
        if let Some(reason) = reason {
            writeln!(self.text, "  {reason}")?;
        }
        match (before, state) {
            (Some(record), _) => {
                writeln!(self.text, "  before: {}", self.explained.line(record))?;
                let Some(origin) = self.explained.origin(record) else { return Ok(()) };
                let liberal = match record.original.protocol() {
                    protocol::TCP => ": liberal, its sequence numbers are not known",
                    _ => "",
                };
                writeln!(self.text, "          (from {origin}{liberal})")
            }
            (None, Some(CtState::Untracked | CtState::Related)) => Ok(()),
            (None, _) => writeln!(self.text, "  before: not in the table"),
        }
    }

    /// A table, from the first rule that is tried to its answer.
    fn table(
        &mut self,
        name: TableName,
        title: &str,
        stations: &[Station],
        width: usize,
    ) -> fmt::Result {
        self.chains.clear();
        let tried = stations.iter().any(|station| matches!(station, Station::Tried { .. }));
        let [.., Station::Said { verdict, by }] = stations else { return Ok(()) };
        if !tried && *verdict == ChainVerdict::Accept {
            return writeln!(self.text, "\n{title}: no rules, accepted");
        }
        writeln!(self.text, "\n{title}")?;
        for station in stations {
            match station {
                Station::Tried { rule, tried } => self.tried(*rule, tried, (name, width))?,
                Station::Met(passed) => self.end_of_chain(*passed, (name, width))?,
                Station::Did(deed) => self.deed(deed)?,
                Station::Bound(binding) => self.does(format_args!("{binding}"))?,
                _ => {}
            }
        }
        let said = match (verdict, by) {
            (ChainVerdict::Accept, _) => "accepted".to_owned(),
            (ChainVerdict::Drop, Some(_)) => "dropped".to_owned(),
            (ChainVerdict::Drop, None) => "dropped: too short for the match above".to_owned(),
            (ChainVerdict::Queue { number, .. }, _) => format!("to user space, queue {number}"),
        };
        let style = match verdict {
            ChainVerdict::Accept => AnsiColor::Green.on_default(),
            ChainVerdict::Drop => AnsiColor::Red.on_default().bold(),
            ChainVerdict::Queue { .. } => AnsiColor::Yellow.on_default(),
        };
        self.text.push_str("  => ");
        Paint::new(style, self.colour).around(self.text, format_args!("{said}"))?;
        self.text.push('\n');
        Ok(())
    }

    /// Which chain a step is in: says so where it changes, and gives the indent.
    fn enter(&mut self, passed: Passed, table: TableName) -> usize {
        let chain = passed.step.chain;
        match self.chains.iter().position(|known| *known == chain) {
            Some(at) => self.chains.truncate(at + 1),
            None => {
                self.chains.push(chain);
                let depth = self.chains.len() - 1;
                if depth > 0
                    && let Some(written) = self.explained.written(passed)
                {
                    let name = &written.chain.name;
                    let indent = self.indent() - 2;
                    let _ = write!(self.text, "{:indent$}{table} {name}", "");
                    self.text.push_str(&match depth > DEEPEST {
                        true => format!(" ({depth} chains deep)\n"),
                        false => "\n".to_owned(),
                    });
                }
            }
        }
        self.indent()
    }

    /// Where the rules of the chain stand that the packet is in.
    fn indent(&self) -> usize {
        2 * self.chains.len().min(DEEPEST + 1)
    }

    fn tried(
        &mut self,
        rule: Passed,
        tried: &Tried,
        (table, width): (TableName, usize),
    ) -> fmt::Result {
        if self.detail == Detail::Path && tried.fate != RuleFate::Met {
            return Ok(());
        }
        let indent = self.enter(rule, table);
        let Some(written) = self.explained.written(rule) else { return Ok(()) };
        let rule = written.rule.map(|rule| rule.text()).unwrap_or_default();
        let (place, rule) = (place(&written), rule.trim());
        let rule = if rule.is_empty() { "(counts every packet)" } else { rule };
        let style = match tried.fate {
            RuleFate::Met => Style::new().bold(),
            _ => Style::new(),
        };
        write!(self.text, "{:indent$}{place:width$}  ", "")?;
        Paint::new(style, self.colour).around(self.text, format_args!("{rule}"))?;
        let (answer, style) = match tried.fate {
            RuleFate::Met => ("yes", AnsiColor::Green.on_default()),
            RuleFate::PassedOver => ("no", Style::new().dimmed()),
            RuleFate::NotEvaluated => {
                ("not evaluated, counts as no", AnsiColor::Yellow.on_default())
            }
            RuleFate::Broken => ("too short for it", AnsiColor::Red.on_default()),
        };
        write!(self.text, "\n{:1$}", "", indent + width + 2)?;
        Paint::new(style, self.colour).around(self.text, format_args!("{answer}"))?;
        let asked = match (tried.fate, tried.asked.as_slice()) {
            (RuleFate::Met, all) => all,
            (_, [.., last]) => std::slice::from_ref(last),
            (_, []) => &[],
        };
        let mut before = ": ";
        for Asked { option, packet } in asked {
            write!(self.text, "{before}{option}")?;
            if let Some(packet) = packet {
                write!(self.text, " ({packet})")?;
            }
            before = ", ";
        }
        self.text.push('\n');
        Ok(())
    }

    /// A chain's end; the rules that were met have been told of.
    fn end_of_chain(&mut self, passed: Passed, (table, width): (TableName, usize)) -> fmt::Result {
        let Some(written) = self.explained.written(passed) else { return Ok(()) };
        if written.rule.is_some() {
            return Ok(());
        }
        let indent = self.enter(passed, table);
        match written.chain.end {
            ChainEnd::Policy(_, policy, _) => {
                let policy = match policy {
                    Policy::Accept => "ACCEPT",
                    Policy::Drop => "DROP",
                };
                let place = place(&written);
                writeln!(self.text, "{:indent$}{place:width$}  policy {policy}", "")
            }
            ChainEnd::Return if self.detail == Detail::Path => Ok(()),
            ChainEnd::Return => {
                writeln!(self.text, "{:1$}end of the chain", "", indent + width + 2)
            }
        }
    }

    fn deed(&mut self, deed: &Deed) -> fmt::Result {
        let what = match deed {
            Deed::Marked(mark) => format!("sets the packet's mark to {mark:#x}"),
            Deed::ConnectionMarked(mark) => format!("sets the connection's mark to {mark:#x}"),
            Deed::Untracked => "hides the packet from connection tracking".to_owned(),
            Deed::Edited => "changes the packet".to_owned(),
            Deed::Logged(line) => format!("logs: {}", line.trim_end()),
            Deed::Rejected => "refuses the packet, and tells the sender".to_owned(),
            Deed::NotEvaluated(name) => format!("{name} is not evaluated yet"),
        };
        self.does(format_args!("{what}"))
    }

    fn does(&mut self, what: fmt::Arguments<'_>) -> fmt::Result {
        writeln!(self.text, "{:1$}-> {what}", "", self.indent())
    }

    /// The verdict, the connection, what leaves.
    fn ending(&mut self, step: &Step<'_>) -> fmt::Result {
        write!(self.text, "\nverdict: ")?;
        match step.fate {
            Fate::Walked(outcome) => self.verdict(step, &outcome)?,
            Fate::Seen(_) => self.text.push_str("none: this is a packet that left before\n"),
            Fate::Missed(missed) => writeln!(self.text, "none: this packet {}", missed.sentence())?,
            Fate::Elsewhere => writeln!(self.text, "drop: {}", ELSEWHERE.1)?,
        }
        if let Some(ruled) = step.ruled {
            self.answers(&ruled.notes().answers)?;
        }
        let after = match self.explained.after() {
            After::None => None,
            After::Stands(record) => Some(self.explained.line(&record).to_string()),
            After::Ended => Some("ended by this packet".to_owned()),
            After::Forgotten => Some("none, its first packet did not get through".to_owned()),
        };
        if let Some(after) = after {
            writeln!(self.text, "connection after: {after}")?;
        }
        for left in step.out.iter() {
            let by = if let By::Host(_) = left.by { "this host answers" } else { "leaves" };
            let dev = left.dev.map_or(String::new(), |dev| format!(" by {dev}"));
            writeln!(self.text, "{by}{dev}: {}", Described(left.bytes))?;
        }
        Ok(())
    }

    /// What matches were told that neither the packet nor a capture tells.
    fn answers(&mut self, answers: &Answers) -> fmt::Result {
        for name in &answers.assumed {
            writeln!(self.text, "assumed: {}", crate::text::assumption(name))?;
        }
        for Given { extension, words } in &answers.given {
            writeln!(self.text, "given: {words} ({extension})")?;
        }
        Ok(())
    }

    fn verdict(&mut self, step: &Step<'_>, outcome: &Outcome) -> fmt::Result {
        let word = trace::verdict(outcome.verdict);
        let style = crate::text::style_of_fate(&step.fate);
        Paint::new(style, self.colour).around(self.text, format_args!("{word}"))?;
        let by_rule = matches!(
            outcome.verdict,
            Verdict::Drop(At::Rule) | Verdict::Reject | Verdict::Queue(_)
        );
        let meaning = match outcome.verdict {
            Verdict::Input => " (delivered to this host)",
            Verdict::Held => " (a fragment that waits for the rest)",
            _ => "",
        };
        self.text.push_str(meaning);
        let decided = step.ruled.and_then(|ruled| ruled.notes().decided);
        if let Some(written) = decided.and_then(|passed| self.explained.written(passed)) {
            let by = if by_rule { "by" } else { "let pass by" };
            write!(self.text, ", {by} {} ({})", written.name, place(&written))?;
        }
        match outcome.verdict {
            Verdict::Drop(at) if at != At::Rule => write!(self.text, ", at {}", at.name())?,
            _ => {}
        }
        // What a rule has decided has its reason above.
        if let Some(why) = outcome.why.filter(|_| !by_rule) {
            write!(self.text, ": {why}")?;
        }
        self.text.push('\n');
        Ok(())
    }
}

/// `rules.v4:12`; the file alone where the line is not known.
fn place(written: &Written<'_>) -> String {
    match written.line {
        0 => written.file.to_owned(),
        line => format!("{}:{line}", written.file),
    }
}
