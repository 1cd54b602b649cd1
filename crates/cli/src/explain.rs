//! `stateward explain`: what becomes of a packet that somebody types, and why.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueHint};
use stateward_replay::explain::{Detail, Explaining, Explanations, Numbers, Others};
use stateward_replay::run::{Replay, Sink};
use stateward_replay::table::{Dump, Loaded};
use stateward_replay::trace::{End, JsonLines};
use stateward_replay::typed::{Typed, Typist};

use crate::error::Failure;
use crate::machine::{Described, MachineArgs};
use crate::output::{self, When};
use crate::reach::{self, Entrance};
use crate::replay::{Format, not_evaluated};

/// Say what becomes of a packet, and which rule decides, and why
///
/// Every table, chain and rule that the packet meets, the rules it passes over with the first
/// option that did not match, its connection before and after, the verdict, and what leaves.
///
/// Packets before the last one build state: a handshake, a request.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = LANGUAGE)]
pub(crate) struct ExplainArgs {
    /// Packets in their order, each as one argument; the last one is explained
    #[arg(value_name = "PACKET", required = true)]
    pub(crate) packets: Vec<String>,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    /// The interface by which packets come in that name none (`local`: the machine sends them)
    #[arg(long = "in", short, value_name = "IFACE", help_heading = "The machine")]
    pub(crate) interface: Option<String>,

    /// Connections that there are already: the output of `conntrack -L -o extended`, or
    /// /proc/net/nf_conntrack; `-` is standard input
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "The machine")]
    pub(crate) table: Option<PathBuf>,

    /// When the first packet comes (UTC), as 2026-11-21T18:30; else now
    #[arg(long, value_name = "TIME", value_parser = time_of, help_heading = "The machine")]
    pub(crate) time: Option<u64>,

    /// Explain every packet, not the last one alone
    #[arg(long, short, help_heading = "Output")]
    pub(crate) all: bool,

    /// Leave out the rules that were passed over
    #[arg(long, short, help_heading = "Output")]
    pub(crate) path: bool,

    /// For people or for programs
    #[arg(long, short, value_enum, default_value = "text", help_heading = "Output")]
    pub(crate) format: Format,

    /// Colour words
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(crate) color: When,
}

const LANGUAGE: &str = "\
A packet is [+TIME] [in IFACE] PROTOCOL SOURCE > DESTINATION [WORD …]:
  tcp 198.51.100.7:40000 > 203.0.113.1:22 S        flags as tcpdump writes them: S S. . P. F. R
  tcp [2001:db8::7]:40000 > [2001:db8::1]:22 P. length 100
  +2s in wan0 udp 192.0.2.53:53 > 203.0.113.1:4000 two seconds later, by wan0
  icmp 198.51.100.7 > 203.0.113.1 echo-request id 7
  icmp 198.51.100.1 > 203.0.113.1 port-unreachable about udp 203.0.113.1:4000 > 192.0.2.53:53
  sctp 198.51.100.7:5000 > 203.0.113.1:5001 init   esp, gre, 47 …: by name or number

Words: seq, ack, win, mss, wscale, sackok (TCP), type, code, id, seq, mtu, about (ICMP), tag (SCTP); length,
data \"TEXT\", ttl, tos, mark, uid, gid, port (all). What is not said is what an ordinary end would send: S, S. and . are a handshake.

Exit status: 0 done, 1 packets met rules that are not evaluated, 2 wrong usage or unreadable input.";

/// Explains.
pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let packets = read(&args.packets)?;
    let Described { machine, files } = args.machine.describe()?;
    let mut replay =
        Replay::of_typed(machine, args.interface.clone(), args.machine.has_addresses())
            .map_err(|name| no_interface("--in", &name))?;
    for (number, packet) in (1..).zip(&packets) {
        if let Some(name) = &packet.interface
            && !replay.entrance().takes(name)
        {
            return Err(no_interface(&format!("packet {number}"), name));
        }
    }
    let numbers = if args.all { Numbers::all() } else { Numbers::one(packets.len() as u64) };
    let time = args.time.unwrap_or_else(now);
    let loaded = match &args.table {
        Some(file) => load(&mut replay, file, time)?,
        None => Loaded::default(),
    };
    let names = files.clone();
    replay.explain(Explaining { packets: numbers, files, loaded });
    let out = output::stdout();
    match args.format {
        Format::Text => {
            let detail = if args.path { Detail::Path } else { Detail::Rules };
            let colour = output::colour(args.color);
            let mut sink = Explanations::new(out, detail, Others::Brief, colour);
            feed(&mut replay, &packets, time, &mut sink)?;
            sink.get_mut().flush().map_err(Failure::output)?;
        }
        Format::Json => {
            replay.set_listening(true);
            let mut sink = JsonLines::new(out, Vec::new());
            feed(&mut replay, &packets, time, &mut sink)?;
            sink.end(&End::of(&replay, true)).map_err(Failure::output)?;
        }
    }
    reach::tell(&replay, &names, Entrance::OfPackets);
    not_evaluated(replay.summary())
}

/// The connections of a file.
fn load(replay: &mut Replay, file: &Path, time: u64) -> Result<Loaded, Failure> {
    let text = crate::rules::read(file)?;
    let dump = Dump::parse(&file.display().to_string(), &text).map_err(|errors| {
        let shown: Vec<_> = errors.iter().take(ERRORS).map(ToString::to_string).collect();
        let more = errors.len().saturating_sub(ERRORS);
        let hint = (more > 0).then(|| format!("{more} further lines cannot be read"));
        Failure::usage(shown.join("\nerror: "), hint)
    })?;
    replay.load(&dump, time).map_err(|error| Failure::usage(error.to_string(), None))
}

/// Lines of a file that are shown if they cannot be read.
const ERRORS: usize = 10;

fn feed(
    replay: &mut Replay,
    packets: &[Typed],
    mut time: u64,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    for packet in packets {
        time = time.saturating_add(packet.after.0);
        replay.take(packet, time, sink).map_err(Failure::output)?;
    }
    Ok(())
}

/// The first packet comes now: rules may ask for the hour.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// `2026-11-21`, `2026-11-21T18:30` or `2026-11-21T18:30:05`, in nanoseconds since 1970.
fn time_of(text: &str) -> Result<u64, String> {
    let wrong = || "write it as 2026-11-21T18:30 or 2026-11-21T18:30:05".to_owned();
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, separator: char| -> Result<Vec<u64>, String> {
        text.split(separator).map(|part| part.parse().map_err(|_| wrong())).collect()
    };
    let date = numbers(date, '-')?;
    let clock = numbers(clock.trim_end_matches('Z'), ':')?;
    let (&[year @ 1970..=2500, month @ 1..=12, day @ 1..=31], [hour, minute, rest @ ..]) =
        (date.as_slice(), clock.as_slice())
    else {
        return Err(wrong());
    };
    let second = match rest {
        [] => 0,
        [second] => *second,
        _ => return Err(wrong()),
    };
    if *hour > 23 || *minute > 59 || second > 59 {
        return Err(wrong());
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Ok(seconds * 1_000_000_000)
}

/// Days from 1970 to a date of the Gregorian calendar, counted in years that begin in March (Howard
/// Hinnant, `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// All packets, or all that is wrong with them.
fn read(texts: &[String]) -> Result<Vec<Typed>, Failure> {
    let mut typist = Typist::default();
    let (mut packets, mut errors) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(texts) {
        match typist.read(text) {
            Ok(packet) => packets.push(packet),
            Err(error) if texts.len() == 1 => errors.push(format!("the packet: {error}")),
            Err(error) => errors.push(format!("packet {number}: {error}")),
        }
    }
    if errors.is_empty() {
        Ok(packets)
    } else {
        Err(Failure::usage(errors.join("\nerror: "), None))
    }
}

fn no_interface(what: &str, name: &str) -> Failure {
    let hint = "the interfaces of the machine stand in the configuration".to_owned();
    Failure::usage(format!("{what}: the machine has no interface `{name}`"), Some(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let seconds = |text| time_of(text).map(|nanos| nanos / 1_000_000_000);
        assert_eq!(seconds("1970-01-01"), Ok(0));
        assert_eq!(seconds("2000-02-29T00:00"), Ok(951_782_400));
        assert_eq!(seconds("2026-11-21T18:30:05"), Ok(1_795_285_805));
        assert_eq!(seconds("2026-11-21 18:30:05Z"), Ok(1_795_285_805));
        for wrong in ["", "now", "2026-13-01", "2026-11-21T24:00", "2026-11-21T18", "1-1-1"] {
            assert!(time_of(wrong).is_err(), "{wrong}");
        }
    }
}
