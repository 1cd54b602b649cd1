//! What `stateward replay` can be told.

use std::str::FromStr;

use clap::{Args, ValueEnum, ValueHint};
use stateward_conntrack::Status;
use stateward_replay::text::Wanted;

use crate::machine::MachineArgs;
use crate::output::When;
use stateward_replay::explain::Numbers;

/// Show what connection tracking makes of every packet of a capture
///
/// Reads pcap and pcapng files, plain or compressed with gzip or zstd; several are merged by time.
/// Time is the capture's own.
///
/// Without a configuration routing is off: every packet passes, whatever its addresses.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = COLUMNS)]
pub(crate) struct ReplayArgs {
    /// Captures to replay; `-` reads standard input
    #[arg(value_name = "CAPTURE", value_hint = ValueHint::FilePath, required_unless_present = "input")]
    pub(crate) captures: Vec<String>,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    /// The interface by which a capture's packets came in (`local`: the machine sent them)
    #[arg(long = "in", short, value_name = "IFACE=FILE", help_heading = "The machine")]
    pub(crate) input: Vec<InFile>,

    /// Hold what leaves against the capture: every packet predicted to leave must be in it as it
    /// was sent, and every other that left is told. Needs a capture of all interfaces (`-i any`,
    /// or several files) and the configuration of the machine; where the kernel chose at random,
    /// it is followed
    #[arg(long, help_heading = "Output")]
    pub(crate) verify: bool,

    /// For people or for programs
    #[arg(long, short, value_enum, default_value = "text", help_heading = "Output")]
    pub(crate) format: Format,

    /// The line of each packet also where other output is asked for
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    pub(crate) packets: bool,

    /// The events, as `conntrack -E -o timestamp` prints them
    #[arg(long, short, conflicts_with = "quiet", help_heading = "Output")]
    pub(crate) events: bool,

    /// The final table, as `conntrack -L` prints it
    #[arg(long, short, help_heading = "Output")]
    pub(crate) table: bool,

    /// Of the final table only connections whose source is translated, as `conntrack -L --src-nat`;
    /// with --dst-nat only those that have both translated
    #[arg(long, requires = "table", help_heading = "Output")]
    pub(crate) src_nat: bool,

    /// Of the final table only connections whose destination is translated
    #[arg(long, requires = "table", help_heading = "Output")]
    pub(crate) dst_nat: bool,

    /// Of the final table only connections that are translated in any way
    #[arg(
        long,
        requires = "table",
        conflicts_with_all = ["src_nat", "dst_nat"],
        help_heading = "Output"
    )]
    pub(crate) any_nat: bool,

    /// The final expectations, as `conntrack -L expect` prints them, and with --events theirs
    #[arg(long, help_heading = "Output")]
    pub(crate) expectations: bool,

    /// The final table and expectations, as /proc/net/nf_conntrack and nf_conntrack_expect show
    /// them
    #[arg(long, help_heading = "Output")]
    pub(crate) proc: bool,

    /// The rules at the end with what they counted, as `iptables-save -c` prints them
    #[arg(long, help_heading = "Output")]
    pub(crate) counters: bool,

    /// The lists of `-m recent` at the end, as `tail -n +1 /proc/net/xt_recent/*` prints them
    #[arg(long, help_heading = "Output")]
    pub(crate) recent: bool,

    /// The sets at the end, as `ipset save` prints them
    #[arg(long, help_heading = "Output")]
    pub(crate) ipset: bool,

    /// Explain packets as `stateward explain` does: 3, 5-9, 12- (repeatable)
    #[arg(long, value_name = "N", conflicts_with = "quiet", help_heading = "Output")]
    pub(crate) explain: Vec<Numbers>,

    /// Write what left the machine to a pcapng file, each packet with a comment; `-` writes to
    /// standard output, and what is printed goes to standard error
    #[arg(long, short, value_name = "OUT.pcapng", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) write: Option<String>,

    /// The summary alone, as fast as can be
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Colour words
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(crate) color: When,
}

const COLUMNS: &str = "\
The line of a packet:
  time (UTC), interface, state, connection, direction, verdict, packet as tcpdump prints it | reason

  state       NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED, as `-m conntrack --ctstate` sees it
  connection  #1, #2, … by first appearance
  direction   -> original, <- reply
  verdict     forward, input or output: it reached the end of that path; drop; reject: dropped, and its
              sender told; queue: sent to user space; held: a fragment that waits for the rest; seen: a
              record of what this replay had sent; malformed
  reason      the rule that dropped it; why it is INVALID, ignored or dropped, with the numbers that
              decided; what of the rules could not be evaluated. Lines of LOG stand below.

Exit status: 0 done, 1 packets met rules that are not evaluated, or left otherwise than --verify
predicts, 2 wrong usage or unreadable input. Of a damaged capture everything readable is replayed first.";

/// How the output is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line: packets with all their events, and at the end the tables
    Json,
}

/// `IFACE=FILE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InFile {
    pub(crate) interface: String,
    pub(crate) file: String,
}

impl FromStr for InFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((interface, file)) if !interface.is_empty() && !file.is_empty() => {
                Ok(Self { interface: interface.into(), file: file.into() })
            }
            _ => Err("write it as IFACE=FILE".into()),
        }
    }
}

/// A capture and where its packets came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) interface: Option<&'a str>,
}

impl ReplayArgs {
    /// The captures in the order they were named. `--in` says where a capture's packets came in;
    /// one that is not named otherwise is added by it.
    pub(crate) fn sources(&self) -> Vec<Source<'_>> {
        let interface = |file: &str| {
            let given = self.input.iter().find(|given| given.file == file);
            given.map(|given| given.interface.as_str())
        };
        let named = self.captures.iter().map(String::as_str);
        let added = self.input.iter().map(|given| given.file.as_str());
        let added = added.filter(|file| !self.captures.iter().any(|named| named == file));
        named.chain(added).map(|file| Source { file, interface: interface(file) }).collect()
    }

    /// Whether a connection of this status is shown of the table.
    pub(crate) fn shows(&self, status: Status) -> bool {
        let (source, destination) = (status.has(Status::SRC_NAT), status.has(Status::DST_NAT));
        if self.any_nat {
            return source || destination;
        }
        (source || !self.src_nat) && (destination || !self.dst_nat)
    }

    /// Whether the packets' lines were not asked for, because other output was.
    fn asks_for_parts(&self) -> bool {
        self.events || self.table || self.expectations || self.proc || !self.explain.is_empty()
    }

    /// The lines to print while it goes.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            packets: self.packets || !(self.quiet || self.asks_for_parts()),
            events: self.events,
            expectations: self.events && self.expectations,
        }
    }

    /// Whether the summary is printed: to people who did not ask for something else.
    pub(crate) fn has_summary(&self) -> bool {
        self.quiet || self.wanted().packets
    }

    /// Whether nothing is printed while it goes.
    pub(crate) fn is_silent(&self) -> bool {
        match self.format {
            Format::Text => self.wanted() == Wanted::NOTHING,
            Format::Json => self.quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: ReplayArgs,
    }

    fn parse(line: &str) -> Result<ReplayArgs, clap::Error> {
        Line::try_parse_from(["replay"].into_iter().chain(line.split_whitespace()))
            .map(|line| line.args)
    }

    #[test]
    fn a_capture_is_enough_and_needed() {
        let args = parse("a.pcap").unwrap();
        assert_eq!(args.sources(), [Source { file: "a.pcap", interface: None }]);
        assert!(args.wanted().packets && args.has_summary());
        assert!(parse("").is_err());
        assert!(parse("--in lan0=a.pcap").is_ok());
    }

    #[test]
    fn in_says_where_a_capture_came_in_or_adds_one() {
        let args = parse("a.pcap b.pcap --in lan0=b.pcap --in wan0=c=d.pcap").unwrap();
        let expected = [("a.pcap", None), ("b.pcap", Some("lan0")), ("c=d.pcap", Some("wan0"))];
        let sources = expected.map(|(file, interface)| Source { file, interface });
        assert_eq!(args.sources(), sources);
        assert!(parse("--in lan0").is_err());
        assert!(parse("--in =a.pcap").is_err());
    }

    #[test]
    fn what_is_asked_for_takes_the_place_of_the_packets() {
        for parts in ["--events", "--table", "--expectations", "--proc"] {
            let args = parse(&format!("a.pcap {parts}")).unwrap();
            assert!(!args.wanted().packets && !args.has_summary(), "{parts}");
            let args = parse(&format!("a.pcap --packets {parts}")).unwrap();
            assert!(args.wanted().packets && args.has_summary(), "{parts}");
        }
    }

    #[test]
    fn views_of_nat_are_conntracks() {
        let none = Status::default();
        let both = Status(Status::SRC_NAT.0 | Status::DST_NAT.0);
        let all = [none, Status::SRC_NAT, Status::DST_NAT, both];
        for (options, expected) in [
            ("", [true, true, true, true]),
            ("--src-nat", [false, true, false, true]),
            ("--dst-nat", [false, false, true, true]),
            ("--src-nat --dst-nat", [false, false, false, true]),
            ("--any-nat", [false, true, true, true]),
        ] {
            let args = parse(&format!("a.pcap --table {options}")).unwrap();
            assert_eq!(all.map(|status| args.shows(status)), expected, "{options}");
        }
        assert!(parse("a.pcap --table --any-nat --src-nat").is_err());
        assert!(parse("a.pcap --any-nat").is_err());
    }

    #[test]
    fn quiet_is_the_summary_alone() {
        let args = parse("a.pcap --quiet").unwrap();
        assert!(args.wanted() == Wanted::NOTHING && args.has_summary());
        assert!(parse("a.pcap --quiet --events").is_err());
        assert!(parse("a.pcap --quiet --packets").is_err());
    }

    #[test]
    fn assignments_have_a_name_and_a_value() {
        let args = parse("a.pcap -s nf_conntrack_acct=1 --sysctl net/netfilter/x=2").unwrap();
        let names: Vec<_> = args.machine.sysctl.iter().map(|each| each.name.as_str()).collect();
        assert_eq!(names, ["nf_conntrack_acct", "net/netfilter/x"]);
        for wrong in ["nf_conntrack_acct", "=1", "nf_conntrack_acct="] {
            assert!(parse(&format!("a.pcap --sysctl {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_the_host_are_addresses() {
        let args = parse("a.pcap --host 192.0.2.1 --host 2001:db8::1").unwrap();
        assert_eq!(args.machine.host.len(), 2);
        assert!(parse("a.pcap --host example.org").is_err());
    }
}
