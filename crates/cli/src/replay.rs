//! `stateward replay`: captures through the engine, and what is printed of it.

mod args;

use std::io::{self, Write};

use stateward_conntrack::text::{DumpLine, ExpectLine, ExpectProcLine, Output, ProcLine};
use stateward_replay::capture::Capture;
use stateward_replay::config::Config;
use stateward_replay::leaving::Leaving;
use stateward_replay::machine::{self, Machine};
use stateward_replay::run::{Input, Meanwhile, Replay, Sink, Step};
use stateward_replay::summary::Summary;
use stateward_replay::text::{Grouped, Lines, Report, Wanted};
use stateward_replay::trace::{End, JsonLines};
use stateward_rules::ShowCounters;
use stateward_wire::Family;

pub(crate) use self::args::ReplayArgs;
use self::args::{Format, Source};
use crate::error::Failure;
use crate::output;
use crate::progress::Progress;
use crate::rules;

/// Replays.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let machine = machine(args)?;
    let sources = args.sources();
    let inputs = open(&sources)?;
    let mut replay = Replay::new(machine, inputs, !args.host.is_empty()).map_err(|name| {
        let hint = "the interfaces of the machine stand in the configuration".to_owned();
        Failure::usage(format!("--in: the machine has no interface `{name}`"), Some(hint))
    })?;
    let mut progress = Progress::new(sources.iter().map(|source| source.file), args.is_silent());
    let mut leaving = leaving(args)?;
    let out = match args.write.as_deref() {
        // The capture has standard output to itself.
        Some("-") => Box::new(io::stderr()),
        _ => output::stdout(),
    };
    match args.format {
        Format::Json => json(args, &mut replay, &sources, out, leaving.as_mut(), &mut progress),
        Format::Text => text(args, &mut replay, out, leaving.as_mut(), &mut progress),
    }
    .map_err(Failure::output)?;
    progress.finish();
    if let Some(leaving) = leaving {
        leaving.finish().map_err(Failure::output)?;
    }
    let (packets, summary) = (replay.summary().packets, replay.summary());
    let not_evaluated = not_evaluated(summary);
    match replay.into_errors() {
        none if none.is_empty() => not_evaluated,
        errors => Err(Failure::captures(&errors, packets)),
    }
}

/// Whether some rules could not be evaluated for packets that met them.
fn not_evaluated(summary: &Summary) -> Result<(), Failure> {
    let names: Vec<_> = summary.not_evaluated.sorted().iter().map(|(name, _)| *name).collect();
    match summary.not_evaluated_packets {
        0 => Ok(()),
        count => Err(Failure::no(format!(
            "{} packets met rules that are not evaluated: {}",
            Grouped(count),
            names.join(", ")
        ))),
    }
}

/// The machine that the arguments describe.
fn machine(args: &ReplayArgs) -> Result<Machine, Failure> {
    let own = args.host.iter().copied();
    let mut rules = [args.rules.clone(), args.rules6.clone()];
    let mut machine = match &args.config {
        None => Machine::transparent(own),
        Some(file) => {
            let config = Config::load(file)?;
            if !config.interfaces.is_empty() && !args.host.is_empty() {
                let hint = "its addresses are those of its interfaces".to_owned();
                let message = format!("--host: {} describes the machine", file.display());
                return Err(Failure::usage(message, Some(hint)));
            }
            let machine = Machine::from_config(&config, own)?;
            let [v4, v6] = rules;
            rules = [v4.or(config.rules), v6.or(config.rules6)];
            machine
        }
    };
    for (file, family) in rules.iter().zip([Family::V4, Family::V6]) {
        if let Some(file) = file {
            machine.rules.push(rules::to_run(file, family)?);
        }
    }
    for assignment in &args.sysctl {
        machine.set(&assignment.name, &assignment.value).map_err(|error| {
            let message = format!("--sysctl {}: {error}", assignment.name);
            Failure::usage(message, machine::hint(&assignment.name, error))
        })?;
    }
    Ok(machine)
}

fn open(sources: &[Source<'_>]) -> Result<Vec<Input>, Failure> {
    sources
        .iter()
        .map(|source| {
            let capture = Capture::open(source.file)?;
            Ok(Input { capture, interface: source.interface.map(str::to_owned) })
        })
        .collect()
}

fn leaving(args: &ReplayArgs) -> Result<Option<Leaving>, Failure> {
    let Some(file) = &args.write else { return Ok(None) };
    Leaving::create(file)
        .map(Some)
        .map_err(|error| Failure::usage(format!("cannot write {file}: {error}"), None))
}

fn text(
    args: &ReplayArgs,
    replay: &mut Replay,
    out: Box<dyn Write>,
    leaving: Option<&mut Leaving>,
    progress: &mut Progress,
) -> io::Result<()> {
    let wanted = args.wanted();
    let mut lines = Lines::new(out, wanted, output::colour(args.color));
    if wanted == Wanted::NOTHING && leaving.is_none() {
        count(replay, progress);
    } else {
        follow(replay, &mut Both { first: &mut lines, leaving }, progress)?;
    }
    progress.finish();
    let out = lines.get_mut();
    let mut sections = Sections { out, begun: wanted != Wanted::NOTHING };
    if args.table {
        table(replay, &mut sections.next())?;
    }
    if args.expectations {
        expectations(replay, &mut sections.next())?;
    }
    if args.counters {
        counters(replay, &mut sections.next())?;
    }
    if args.recent {
        write!(sections.next(), "{}", replay.engine().shared().recent)?;
    }
    if args.proc {
        proc(replay, &mut sections.next())?;
    }
    if args.has_summary() {
        write!(sections.next(), "{}", Report(replay))?;
    }
    out.flush()
}

fn json(
    args: &ReplayArgs,
    replay: &mut Replay,
    sources: &[Source<'_>],
    out: Box<dyn Write>,
    leaving: Option<&mut Leaving>,
    progress: &mut Progress,
) -> io::Result<()> {
    let captures = sources.iter().map(|source| source.file.to_owned()).collect();
    let mut lines = JsonLines::new(out, captures);
    if args.quiet && leaving.is_none() {
        count(replay, progress);
    } else {
        follow(replay, &mut Both { first: &mut lines, leaving }, progress)?;
    }
    progress.finish();
    lines.end(&End::of(replay, !args.quiet))
}

/// Every packet, told.
fn follow(replay: &mut Replay, sink: &mut dyn Sink, progress: &mut Progress) -> io::Result<()> {
    replay.set_listening(true);
    while replay.step(sink)? {
        progress.tick(replay);
    }
    Ok(())
}

/// Every packet, only counted.
fn count(replay: &mut Replay, progress: &mut Progress) {
    while replay.burst() {
        progress.tick(replay);
    }
}

/// What is printed, and what is written to a capture.
struct Both<'a> {
    first: &'a mut dyn Sink,
    leaving: Option<&'a mut Leaving>,
}

impl Sink for Both<'_> {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        self.first.packet(step)?;
        self.leaving.as_mut().map_or(Ok(()), |leaving| leaving.packet(step))
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        self.first.meanwhile(meanwhile)?;
        self.leaving.as_mut().map_or(Ok(()), |leaving| leaving.meanwhile(meanwhile))
    }
}

/// Parts of the output, with an empty line between two of which both print something.
struct Sections<'a> {
    out: &'a mut dyn Write,
    begun: bool,
}

impl Sections<'_> {
    fn next(&mut self) -> Section<'_> {
        Section {
            out: self.out,
            apart: std::mem::replace(&mut self.begun, false),
            begun: &mut self.begun,
        }
    }
}

/// A part of the output that begins when something is printed.
struct Section<'a> {
    out: &'a mut dyn Write,
    /// An empty line is due first.
    apart: bool,
    begun: &'a mut bool,
}

impl Write for Section<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.apart, false) {
            self.out.write_all(b"\n")?;
        }
        *self.begun = true;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // What printed nothing leaves the line to the next one.
        *self.begun |= self.apart;
    }
}

/// As `iptables-save -c` and `ip6tables-save -c`.
fn counters(replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| replay.engine().rules(family))
        .try_for_each(|rules| out.write_all(rules.counted().save(ShowCounters::Yes).as_bytes()))
}

/// As `conntrack -L`.
fn table(replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    let (tracker, now) = (replay.engine().tracker(), replay.now());
    for (_, id) in replay.table() {
        if let Some(record) = tracker.get(id) {
            let line = DumpLine { record: &record, now, uses: 1, output: Output::default() };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// As `conntrack -L expect`.
fn expectations(replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    let now = replay.now();
    for expectation in replay.engine().tracker().expectations().iter() {
        writeln!(out, "{}", ExpectLine { expectation, now, timestamp: false })?;
    }
    Ok(())
}

/// As /proc/net/nf_conntrack, and behind it /proc/net/nf_conntrack_expect.
fn proc(replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    let (tracker, now) = (replay.engine().tracker(), replay.now());
    for (_, id) in replay.table() {
        if let Some(record) = tracker.get(id) {
            writeln!(out, "{}", ProcLine { record: &record, now, uses: 2 })?;
        }
    }
    for expectation in tracker.expectations().iter() {
        writeln!(out, "{}", ExpectProcLine { expectation, now })?;
    }
    Ok(())
}
