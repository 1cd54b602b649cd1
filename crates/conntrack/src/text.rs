//! Lines: connections and expectations as conntrack(8) 1.4.7 and /proc print them.
//!
//! Each line is a value with a `Display`; nothing is allocated, and no line ends in a newline or a
//! blank. [`EventLine`], [`DumpLine`], [`SaveLine`] and [`ExpectLine`] are the tool's, [`ProcLine`]
//! and [`ExpectProcLine`] the kernel's own. What a line holds follows from what the [`Record`]
//! holds: which attributes an event carries is decided where it is made, not here.
//!
//! The tool and /proc print the same words in the same order but for this: /proc spells IPv6
//! addresses out, knows fewer protocols by name, adds GRE's timeouts, always names the zone, rounds
//! the age differently, and has neither helper nor id nor labels. `Style` is that difference.
//! [`read`] reads lines of either back.

mod address;
mod expect;
mod read;
mod save;
mod time;

use core::fmt;
use std::collections::BTreeMap;

use stateward_wire::{Family, protocol};

pub use address::{Compressed, Expanded};
pub use expect::{ExpectLine, ExpectProcLine};
pub use read::{LineError, read};
pub use save::SaveLine;
pub use time::CalendarTime;

use crate::entry::ConnId;
use crate::event::{Counter, Event, EventKind, GreTimeouts, ProtocolInfo, Record, Subject};
use crate::status::{Direction, Status};
use crate::tcp::TcpInfo;
use crate::time::{Instant, NANOS_PER_SECOND};
use crate::tuple::{L4Key, Tuple, Zone};
use time::Prefix;

/// What labels are called, by their bit: the contents of connlabel.conf.
pub type LabelNames = BTreeMap<u8, String>;

/// What `conntrack -o` adds to a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output<'a> {
    /// `timestamp`: when it happened, before an event.
    pub timestamp: bool,
    /// `extended`: the network protocol.
    pub extended: bool,
    /// `id`.
    pub id: bool,
    /// `ktimestamp`: when the connection started and stopped.
    pub ktimestamp: bool,
    /// `labels`, and what they are called.
    pub labels: Option<&'a LabelNames>,
}

/// The number that stands for a connection in 32 bits, where `id=` and ctnetlink have no room for
/// more: distinct for all entries of a table below 2²⁴ that have been used fewer than 256 times.
pub const fn id(id: ConnId) -> u32 {
    id.slot ^ id.generation.reverse_bits()
}

/// An event as `conntrack -E` (with `expect` or without) prints it.
#[derive(Clone, Copy, Debug)]
pub struct EventLine<'a> {
    /// The event.
    pub event: &'a Event,
    /// What `-o` asks for.
    pub output: Output<'a>,
}

impl fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventLine { event, output } = self;
        let record = match &event.subject {
            Subject::Connection(record) => record,
            Subject::Expectation(expectation) => {
                let timestamp = output.timestamp;
                return expect::event(f, expectation, event.kind, event.at, timestamp);
            }
        };
        if output.timestamp {
            write!(f, "{}", Prefix::Padded(event.at))?;
        }
        write!(f, "{} ", Tag(event.kind))?;
        let style = Style::Tool(*output);
        fmt::Display::fmt(&Line { record, style, now: event.at, uses: None }, f)
    }
}

/// The tag before an event.
struct Tag(EventKind);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            EventKind::New => "    [NEW]",
            EventKind::Update => " [UPDATE]",
            EventKind::Destroy => "[DESTROY]",
        })
    }
}

/// A connection as `conntrack -L` prints it, and `-G`, `-D` and `-U` do.
#[derive(Clone, Copy, Debug)]
pub struct DumpLine<'a> {
    /// The connection, from a dump.
    pub record: &'a Record,
    /// When it is printed, for its age.
    pub now: Instant,
    /// What `use=` says: 1 and one for each connection that this one announced; for `-G` and `-U`
    /// one more.
    pub uses: u32,
    /// What `-o` asks for.
    pub output: Output<'a>,
}

impl fmt::Display for DumpLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DumpLine { record, now, uses, output } = *self;
        fmt::Display::fmt(&Line { record, style: Style::Tool(output), now, uses: Some(uses) }, f)
    }
}

/// A connection as /proc/net/nf_conntrack prints it.
#[derive(Clone, Copy, Debug)]
pub struct ProcLine<'a> {
    /// The connection, from a dump.
    pub record: &'a Record,
    /// When it is printed, for its age.
    pub now: Instant,
    /// What `use=` says: 2 and one for each connection that this one announced.
    pub uses: u32,
}

impl fmt::Display for ProcLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcLine { record, now, uses } = *self;
        fmt::Display::fmt(&Line { record, style: Style::Proc, now, uses: Some(uses) }, f)
    }
}

/// Whose line it is.
#[derive(Clone, Copy)]
enum Style<'a> {
    Tool(Output<'a>),
    Proc,
}

/// A connection in either style. Every word but the first brings the blank before it.
struct Line<'a> {
    record: &'a Record,
    style: Style<'a>,
    now: Instant,
    uses: Option<u32>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { record, style, .. } = self;
        let zones = Zones::of(record);
        self.protocols(f)?;
        self.timeout(f)?;
        self.state(f)?;
        self.direction(f, Direction::Original)?;
        if let Zones::Apart { original: Some(zone), .. } = zones {
            write!(f, " zone-orig={}", zone.0)?;
        }
        self.counter(f, Direction::Original)?;
        if !record.status.has(Status::SEEN_REPLY) {
            f.write_str(" [UNREPLIED]")?;
        }
        self.direction(f, Direction::Reply)?;
        if let Zones::Apart { reply: Some(zone), .. } = zones {
            write!(f, " zone-reply={}", zone.0)?;
        }
        self.counter(f, Direction::Reply)?;
        f.write_str(standing(record.status))?;
        if let Some(mark) = record.mark {
            write!(f, " mark={mark}")?;
        }
        match (zones, style) {
            (Zones::Common(Zone::DEFAULT), Style::Tool(_)) | (Zones::Apart { .. }, _) => {}
            (Zones::Common(zone), _) => write!(f, " zone={}", zone.0)?,
        }
        self.times(f)?;
        self.tail(f)
    }
}

impl Line<'_> {
    fn protocols(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tuple = &self.record.original;
        match self.style {
            Style::Tool(Output { extended: false, .. }) => {}
            _ => match tuple.family() {
                Family::V4 => f.write_str("ipv4     2 ")?,
                Family::V6 => f.write_str("ipv6     10 ")?,
            },
        }
        let number = tuple.protocol();
        let name = match (self.style, number) {
            // Without a tracker the kernel has no name for it.
            (Style::Proc, protocol::DCCP) => "unknown",
            _ => protocol_name(number),
        };
        write!(f, "{name:<8} {number}")
    }

    fn timeout(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = matches!(self.style, Style::Proc) && self.is_offloaded();
        match self.record.timeout {
            Some(seconds) if !hidden => write!(f, " {seconds}"),
            _ => Ok(()),
        }
    }

    fn state(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.style, self.record.protocol) {
            (Style::Proc, Some(ProtocolInfo::Tcp(_))) if self.is_offloaded() => Ok(()),
            (_, Some(ProtocolInfo::Tcp(TcpInfo { state, .. }))) => write!(f, " {}", state.name()),
            (_, Some(ProtocolInfo::Sctp(info))) => write!(f, " {}", info.state.name()),
            (_, None) => Ok(()),
        }?;
        match (self.style, self.record.gre) {
            (Style::Proc, Some(GreTimeouts { timeout, stream_timeout })) => {
                write!(f, " timeout={timeout}, stream_timeout={stream_timeout}")
            }
            _ => Ok(()),
        }
    }

    fn is_offloaded(&self) -> bool {
        self.record.status.has(Status::OFFLOAD)
    }

    fn direction(&self, f: &mut fmt::Formatter<'_>, direction: Direction) -> fmt::Result {
        let tuple = match direction {
            Direction::Original => &self.record.original,
            Direction::Reply => &self.record.reply,
        };
        match self.style {
            Style::Tool(_) => {
                let (source, destination) = (Compressed(tuple.source()), tuple.destination());
                write!(f, " src={source} dst={}", Compressed(destination))?;
                ports(f, tuple)
            }
            Style::Proc => {
                let (source, destination) = (Expanded(tuple.source()), tuple.destination());
                write!(f, " src={source} dst={}", Expanded(destination))?;
                ports_of_tracked(f, tuple.l4())
            }
        }
    }

    fn counter(&self, f: &mut fmt::Formatter<'_>, direction: Direction) -> fmt::Result {
        let Some(counters) = &self.record.counters else { return Ok(()) };
        let Counter { packets, bytes } = counters[direction];
        write!(f, " packets={packets} bytes={bytes}")
    }

    /// The age, and with `ktimestamp` when it began and ended.
    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(times) = self.record.timestamps else { return Ok(()) };
        let end = times.stop.unwrap_or(self.now);
        let second = |instant: Instant| instant.0 / NANOS_PER_SECOND;
        let Style::Tool(output) = self.style else {
            return write!(f, " delta-time={}", times.start.until(end).as_secs());
        };
        // The tool takes both to the second first.
        write!(f, " delta-time={}", second(end).saturating_sub(second(times.start)))?;
        if !output.ktimestamp {
            return Ok(());
        }
        write!(f, " [start={}]", CalendarTime(times.start))?;
        match times.stop {
            Some(stop) => write!(f, " [stop={}]", CalendarTime(stop)),
            None => Ok(()),
        }
    }

    fn tail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { record, style, uses, .. } = self;
        if let (Style::Tool(_), Some(helper)) = (style, record.helper) {
            write!(f, " helper={helper}")?;
        }
        if let Some(uses) = uses {
            write!(f, " use={uses}")?;
        }
        let Style::Tool(output) = style else { return Ok(()) };
        if output.id {
            write!(f, " id={}", id(record.id))?;
        }
        match (output.labels, record.labels) {
            (Some(names), Some(bits)) if bits != 0 => labels(f, names, bits),
            _ => Ok(()),
        }
    }
}

/// The zones of a connection, as they are printed.
#[derive(Clone, Copy)]
enum Zones {
    /// Of both directions.
    Common(Zone),
    /// Of each direction that has one.
    Apart { original: Option<Zone>, reply: Option<Zone> },
}

impl Zones {
    fn of(record: &Record) -> Zones {
        let (original, reply) = (record.original.zone(), record.reply.zone());
        if original == reply {
            return Zones::Common(original);
        }
        let named = |zone: Zone| (zone != Zone::DEFAULT).then_some(zone);
        Zones::Apart { original: named(original), reply: named(reply) }
    }
}

/// How firmly a connection stands.
const fn standing(status: Status) -> &'static str {
    if status.has(Status::HW_OFFLOAD) {
        " [HW_OFFLOAD]"
    } else if status.has(Status::OFFLOAD) {
        " [OFFLOAD]"
    } else if status.has(Status::ASSURED) {
        " [ASSURED]"
    } else {
        ""
    }
}

/// Labels by name. Those without one are passed over, and if that leaves none, the tool cuts the
/// equals sign off instead of the last comma.
fn labels(f: &mut fmt::Formatter<'_>, names: &LabelNames, bits: u128) -> fmt::Result {
    f.write_str(" labels")?;
    let mut before = '=';
    for (bit, name) in names {
        let is_set = bits.checked_shr(u32::from(*bit)).is_some_and(|bits| bits & 1 == 1);
        if is_set && !name.is_empty() {
            write!(f, "{before}{name}")?;
            before = ',';
        }
    }
    Ok(())
}

/// The tool's name of a protocol.
pub const fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMP => "icmp",
        protocol::ICMPV6 => "icmpv6",
        protocol::SCTP => "sctp",
        protocol::GRE => "gre",
        protocol::UDPLITE => "udplite",
        protocol::DCCP => "dccp",
        _ => "unknown",
    }
}

/// What tells flows apart, as the tool prints it.
fn ports(f: &mut fmt::Formatter<'_>, tuple: &Tuple) -> fmt::Result {
    match tuple.protocol() {
        // Has no ports in the kernel any more; the tool still expects some.
        protocol::DCCP => f.write_str(" sport=0 dport=0"),
        _ => ports_of_tracked(f, tuple.l4()),
    }
}

fn ports_of_tracked(f: &mut fmt::Formatter<'_>, l4: L4Key) -> fmt::Result {
    match l4 {
        L4Key::Ports { source, destination } => write!(f, " sport={source} dport={destination}"),
        L4Key::Icmp { kind, code, id } => write!(f, " type={kind} code={code} id={id}"),
        L4Key::Gre { source, destination } => {
            write!(f, " srckey={source:#x} dstkey={destination:#x}")
        }
        L4Key::None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
