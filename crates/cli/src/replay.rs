//! `stateward replay`: captures through the engine, and what is printed of it.

mod args;

use std::io::{self, Write};

use stateward_conntrack::text::{DumpLine, ExpectLine, ExpectProcLine, Output, ProcLine};
use stateward_replay::capture::Capture;
use stateward_replay::explain::{Detail, Explaining, Explanations, Numbers, Others};
use stateward_replay::leaving::Leaving;
use stateward_replay::run::{Input, Meanwhile, Replay, Sink, Step};
use stateward_replay::summary::Summary;
use stateward_replay::text::{Colour, Grouped, Lines, Report, Wanted};
use stateward_replay::trace::{End, JsonLines};
use stateward_replay::verify::Verified;
use stateward_rules::ShowCounters;
use stateward_wire::Family;

use self::args::Source;
pub(crate) use self::args::{Format, ReplayArgs};
use crate::error::Failure;
use crate::machine::Described;
use crate::output;
use crate::progress::Progress;
use crate::reach::{self, Entrance};

/// Replays.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let Described { machine, files } = args.machine.describe()?;
    let sources = args.sources();
    let inputs = open(&sources)?;
    let mut replay =
        Replay::new(machine, inputs, args.machine.has_addresses()).map_err(|name| {
            let hint = "the interfaces of the machine stand in the configuration".to_owned();
            Failure::usage(format!("--in: the machine has no interface `{name}`"), Some(hint))
        })?;
    if args.verify && replay.verify().is_err() {
        let hint = "give the machine's interfaces and routes: --config gateway.toml".to_owned();
        return Err(Failure::usage("--verify needs a machine that routes", Some(hint)));
    }
    let names = files.clone();
    if !args.explain.is_empty() {
        let packets = args.explain.iter().cloned().collect();
        replay.explain(Explaining { packets, files, ..Explaining::default() });
    }
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
    reach::tell(&replay, &names, Entrance::OfCaptures);
    let last = replay.summary().packets;
    if let Some(beyond) = args.explain.iter().filter_map(Numbers::first).find(|one| *one > last) {
        eprintln!("note: --explain: there is no packet {beyond}: the captures hold {last}");
    }
    let (packets, summary) = (replay.summary().packets, replay.summary());
    let verified = replay.verified().map_or(Ok(()), |verified| verified_or_not(&verified));
    let not_evaluated = not_evaluated(summary).and(verified);
    match replay.into_errors() {
        none if none.is_empty() => not_evaluated,
        errors => Err(Failure::captures(&errors, packets)),
    }
}

/// Whether some rules could not be evaluated for packets that met them.
pub(crate) fn not_evaluated(summary: &Summary) -> Result<(), Failure> {
    let names: Vec<_> = summary.not_evaluated.sorted().iter().map(|(name, _)| *name).collect();
    match summary.not_evaluated_packets {
        0 => Ok(()),
        1 => Err(Failure::no(format!(
            "a packet met rules that are not evaluated: {}",
            names.join(", ")
        ))),
        count => Err(Failure::no(format!(
            "{} packets met rules that are not evaluated: {}",
            Grouped(count),
            names.join(", ")
        ))),
    }
}

/// Whether what left was what was predicted.
fn verified_or_not(verified: &Verified) -> Result<(), Failure> {
    match verified.wrong() {
        0 => Ok(()),
        1 => Err(Failure::no("a packet did not leave as predicted")),
        count => Err(Failure::no(format!("{} packets did not leave as predicted", Grouped(count)))),
    }
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
    let colour = output::colour(args.color);
    let explains = !args.explain.is_empty();
    let mut lines = Lines::new(out, wanted, colour);
    if explains {
        let mut sink = Told { lines, explained: Vec::new(), colour, begun: false };
        follow(replay, &mut Both { first: &mut sink, leaving }, progress)?;
        lines = sink.lines;
    } else if wanted == Wanted::NOTHING && leaving.is_none() {
        count(replay, progress);
    } else {
        follow(replay, &mut Both { first: &mut lines, leaving }, progress)?;
    }
    progress.finish();
    let out = lines.get_mut();
    let mut sections = Sections { out, begun: explains || wanted != Wanted::NOTHING };
    if args.table {
        table(args, replay, &mut sections.next())?;
    }
    if args.expectations {
        expectations(replay, &mut sections.next())?;
    }
    if args.counters {
        counters(replay, &mut sections.next())?;
    }
    if args.ipset {
        let now = replay.now();
        write!(sections.next(), "{}", replay.engine().shared().sets.saved(now))?;
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

/// The lines, and the explanation of each packet that is to have one behind its own.
struct Told {
    lines: Lines<Box<dyn Write>>,
    explained: Vec<u8>,
    colour: Colour,
    begun: bool,
}

impl Sink for Told {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        let Self { lines, explained, colour, begun } = self;
        lines.packet(step)?;
        if step.explained.is_none() {
            return Ok(());
        }
        explained.clear();
        if std::mem::replace(begun, true) {
            explained.push(b'\n');
        }
        writeln!(explained, "packet {}", step.number)?;
        let (detail, others) = (Detail::Rules, Others::Silent);
        Explanations::new(&mut *explained, detail, others, *colour).packet(step)?;
        lines.get_mut().write_all(explained)
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        self.lines.meanwhile(meanwhile)
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
fn table(args: &ReplayArgs, replay: &Replay, out: &mut dyn Write) -> io::Result<()> {
    let (tracker, now) = (replay.engine().tracker(), replay.now());
    for (_, id) in replay.table() {
        if let Some(record) = tracker.get(id).filter(|record| args.shows(record.status)) {
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
