//! One line a packet, for people.
//!
//! ```text
//! 20:58:21.508562 lan0  NEW         #1    ->  forward  IP 192.168.1.10.40001 > 203.0.113.5.80: Flags [S], …
//! 20:58:21.509113 lan0  ESTABLISHED #1    <-  forward  IP 203.0.113.5.80 > 192.168.1.10.40001: Flags [S.], …
//! 20:58:22.000917 lan0  INVALID     -         forward  IP … length 0  | the sequence number 4711 is …
//! ```
//!
//! Time, interface, state, connection, direction and verdict come first, because their widths are
//! known; what may be of any length, the packet in tcpdump's manner and the reason behind a bar,
//! comes last. So the columns stand below each other for addresses of every length and in every
//! window. Times are UTC, and a line names the date where it changes. Colour repeats what the words
//! say.

mod report;

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use stateward_conntrack::text::{EventLine, Output};
use stateward_conntrack::{CtState, Direction};
use stateward_engine::rules::Logged;
use stateward_engine::{At, Outcome, Verdict};
use stateward_rules::Copied;
use stateward_rules::shared::Given;

use crate::describe::Described;
use crate::run::{ELSEWHERE, Fate, Meanwhile, Sink, Step, Told};
use crate::trace;

pub use self::report::{Grouped, Report};

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// A line a packet.
    pub packets: bool,
    /// A line an event, as `conntrack -E -o timestamp` prints them.
    pub events: bool,
    /// Among them those of expectations, as `conntrack -E expect -o timestamp` prints them.
    pub expectations: bool,
}

impl Wanted {
    /// No line at all.
    pub const NOTHING: Wanted = Wanted { packets: false, events: false, expectations: false };
}

/// Whether words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// With ANSI colours.
    Always,
}

/// Prints lines.
pub struct Lines<W: Write> {
    out: W,
    wanted: Wanted,
    colour: Colour,
    line: String,
    /// The day of the last line, since 1970.
    day: Option<u64>,
    /// The widest interface so far.
    interface: usize,
    /// The widest connection number so far.
    connection: usize,
}

/// Room for the name of an interface at most: the kernel's have 15 characters, a capture's any.
const WIDEST: usize = 64;

impl<W: Write> Lines<W> {
    /// Lines of what is wanted.
    pub fn new(out: W, wanted: Wanted, colour: Colour) -> Self {
        Self { out, wanted, colour, line: String::new(), day: None, interface: 5, connection: 4 }
    }

    /// What the lines go to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// The line of a packet.
    fn compose(&mut self, step: &Step<'_>) -> fmt::Result {
        let (captured, connection) = (&step.captured, Number(step.connection));
        let (state, direction, verdict) = match step.fate {
            Fate::Walked(outcome) => {
                let direction = outcome.connection.map(|connection| connection.direction);
                (outcome.state, direction, trace::verdict(outcome.verdict))
            }
            Fate::Seen(_) | Fate::Missed(_) => (None, None, "seen"),
            Fate::Elsewhere => (None, None, "drop"),
        };
        let arrow = match direction {
            Some(Direction::Original) => "->",
            Some(Direction::Reply) => "<-",
            None => "  ",
        };
        let name = state.map_or("-", CtState::name);
        self.interface = self.interface.max(step.interface.chars().count().min(WIDEST));
        self.connection = self.connection.max(connection.width());
        let Self { line, colour, interface, connection: numbers, day, .. } = self;
        let paint = |style| Paint { style, colour: *colour };

        let (today, clock) = (captured.time / NANOS_PER_DAY, Clock(captured.time));
        if *day != Some(today) {
            *day = Some(today);
            writeln!(line, "{}", Date(today))?;
        }
        write!(line, "{clock} {:<interface$} ", step.interface)?;
        paint(style_of(state)).around(line, format_args!("{name:<11}"))?;
        write!(line, " {connection:<numbers$} {arrow} ")?;
        paint(style_of_fate(&step.fate)).around(line, format_args!("{verdict:<9}"))?;
        write!(line, " {}", Described(captured.bytes))?;
        match step.fate {
            Fate::Walked(outcome) => reason(line, step, &outcome, &paint(style_of(state))),
            Fate::Elsewhere => write!(line, "  | wire: {}", ELSEWHERE.1),
            Fate::Missed(missed) => write!(line, "  | {}", missed.sentence()),
            Fate::Seen(_) => Ok(()),
        }
    }

    fn flush_line(&mut self) -> io::Result<()> {
        self.line.push('\n');
        let written = self.out.write_all(self.line.as_bytes());
        self.line.clear();
        written
    }

    fn events(&mut self, events: &[Told]) -> io::Result<()> {
        if !self.wanted.events {
            return Ok(());
        }
        for told in events {
            if told.event.expectation().is_some() && !self.wanted.expectations {
                continue;
            }
            let output = Output { timestamp: true, ..Output::default() };
            let line = EventLine { event: &told.event, output };
            write!(self.line, "{line}").map_err(io::Error::other)?;
            self.flush_line()?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Lines<W> {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        if self.wanted.packets {
            self.compose(step).map_err(io::Error::other)?;
            self.flush_line()?;
        }
        self.events(step.events)
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        self.events(meanwhile.events)
    }
}

/// The number of a connection.
#[derive(Clone, Copy)]
struct Number(Option<u64>);

impl Number {
    fn width(self) -> usize {
        self.0.map_or(1, |number| number.checked_ilog10().unwrap_or(0) as usize + 2)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padding = f.width().unwrap_or(0).saturating_sub(self.width());
        match self.0 {
            Some(number) => write!(f, "#{number}{:padding$}", ""),
            None => write!(f, "-{:padding$}", ""),
        }
    }
}

/// Nanoseconds of a day.
const NANOS_PER_DAY: u64 = 86_400 * 1_000_000_000;

/// The time of day, in UTC and to the microsecond.
#[derive(Clone, Copy)]
pub(crate) struct Clock(pub(crate) u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 % NANOS_PER_DAY / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{hour:02}:{minute:02}:{second:02}.{micros:06}")
    }
}

/// A day by its number since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Date(pub(crate) u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0);
        write!(f, "{year:04}-{month:02}-{day:02} UTC")
    }
}

/// Year, month and day of the Gregorian calendar, counted in eras of 400 years that begin in March,
/// so that the leap day is the last day of a year (Howard Hinnant, `civil_from_days`).
fn civil(day: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let day = day + 719_468;
    let (era, day) = (day / ERA, day % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let in_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, in_month)
}

/// The last column: where and why, what could not be evaluated; then lines of the kernel's log.
fn reason(line: &mut String, step: &Step<'_>, outcome: &Outcome, paint: &Paint) -> fmt::Result {
    let mut parts = "  | ";
    let mut apart = || std::mem::replace(&mut parts, "; ");
    let decided = step.ruled.and_then(|ruled| ruled.decided());
    match (outcome.verdict, decided) {
        (Verdict::Drop(At::Rule) | Verdict::Reject | Verdict::Queue(_), Some(rule)) => {
            write!(line, "{}{rule}", apart())?;
        }
        (Verdict::Drop(At::Rule), None) => {
            write!(line, "{}too short for a rule's match", apart())?;
        }
        (Verdict::Drop(at), _) => write!(line, "{}{}", apart(), at.name())?,
        _ => {}
    }
    if let Some(why) = outcome.why {
        let at_stage = matches!(outcome.verdict, Verdict::Drop(at) if at != At::Rule);
        line.push_str(if at_stage { ": " } else { apart() });
        paint.around(line, format_args!("{why}"))?;
    }
    let Some(notes) = step.ruled.map(|ruled| ruled.notes()) else { return Ok(()) };
    for name in &notes.not_evaluated {
        write!(line, "{}{name} not evaluated", apart())?;
    }
    for name in &notes.answers.assumed {
        write!(line, "{}{} assumed", apart(), assumption(name))?;
    }
    for Given { extension, words } in &notes.answers.given {
        write!(line, "{}{words} given ({extension})", apart())?;
    }
    for logged in &notes.log {
        match logged {
            Logged::Line(logged) => write!(line, "\n    log: {}", logged.text.trim_end())?,
            Logged::Copied(Copied { group, prefix, length }) => {
                write!(line, "\n    nflog: group {group}, {length} bytes: {prefix}")?;
            }
        }
    }
    Ok(())
}

/// What is assumed of a packet of which nothing is known, when this match asks.
pub(crate) fn assumption(name: &'static str) -> &'static str {
    match name {
        "owner" => "no process as its sender (owner)",
        "cgroup" => "no process as its sender (cgroup)",
        "socket" => "no socket that waits for it (socket)",
        "TPROXY" => "a transparent socket that waits for it (TPROXY)",
        "physdev" => "no bridge on its way (physdev)",
        "policy" => "no IPsec on its way (policy)",
        "rpfilter" => "a route back to its source (rpfilter)",
        other => other,
    }
}

/// What is given of packets when this match asks.
pub(crate) fn knowledge(name: &'static str) -> &'static str {
    match name {
        "owner" => "their sender (owner)",
        "cgroup" => "their sender (cgroup)",
        "socket" => "the socket that waits for them (socket)",
        "TPROXY" => "the transparent socket that waits for them (TPROXY)",
        "physdev" => "the bridge's port by which they came (physdev)",
        "policy" => "what IPsec does with them (policy)",
        other => other,
    }
}

/// Puts a style around text, if colours are wanted.
pub(crate) struct Paint {
    style: Style,
    colour: Colour,
}

impl Paint {
    pub(crate) fn new(style: Style, colour: Colour) -> Self {
        Self { style, colour }
    }

    pub(crate) fn around(&self, out: &mut String, text: fmt::Arguments<'_>) -> fmt::Result {
        match self.colour {
            Colour::Never => out.write_fmt(text),
            Colour::Always => write!(out, "{}{text}{}", self.style, self.style.render_reset()),
        }
    }
}

pub(crate) fn style_of(state: Option<CtState>) -> Style {
    match state {
        Some(CtState::New) => AnsiColor::Cyan.on_default(),
        Some(CtState::Established) => AnsiColor::Green.on_default(),
        Some(CtState::Related) => AnsiColor::Blue.on_default(),
        Some(CtState::Invalid) => AnsiColor::Red.on_default().bold(),
        Some(CtState::Untracked) => AnsiColor::Yellow.on_default(),
        None => Style::new(),
    }
}

pub(crate) fn style_of_fate(fate: &Fate) -> Style {
    match fate {
        Fate::Walked(outcome) => match outcome.verdict {
            Verdict::Drop(_) | Verdict::Reject | Verdict::Malformed => {
                AnsiColor::Red.on_default().bold()
            }
            Verdict::Held => Style::new().dimmed(),
            Verdict::Queue(_) => AnsiColor::Yellow.on_default(),
            Verdict::Forward(_) | Verdict::Input | Verdict::Output(_) => Style::new(),
        },
        Fate::Elsewhere | Fate::Missed(_) => AnsiColor::Red.on_default().bold(),
        Fate::Seen(_) => Style::new().dimmed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let dates = [
            (0, "1970-01-01 UTC"),
            (59, "1970-03-01 UTC"),
            (11_016, "2000-02-29 UTC"),
            (11_017, "2000-03-01 UTC"),
            (20_777, "2026-11-20 UTC"),
            (47_541, "2100-03-01 UTC"),
            (213_503, "2554-07-21 UTC"),
        ];
        for (day, expected) in dates {
            assert_eq!(Date(day).to_string(), expected);
        }
    }

    #[test]
    fn the_clock_is_utc_to_the_microsecond() {
        assert_eq!(Clock(1_795_206_875_508_562_999).to_string(), "20:34:35.508562");
        assert_eq!(Clock(0).to_string(), "00:00:00.000000");
    }

    #[test]
    fn numbers_fill_their_column() {
        assert_eq!(format!("{:<4}|", Number(Some(7))), "#7  |");
        assert_eq!(format!("{:<4}|", Number(Some(100_000))), "#100000|");
        assert_eq!(format!("{:<4}|", Number(None)), "-   |");
    }
}
