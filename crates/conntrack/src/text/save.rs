//! `-o save`: a connection as the command line that makes it again.
//!
//! The tool leaves out what it has no option for (mark, labels, helper), and of the reply direction
//! says `-g` and `-n` for the addresses that NAT changed, `-r` and `-q` for the others.

use core::fmt;

use stateward_wire::protocol;

use super::address::Compressed;
use super::{Zones, protocol_name};
use crate::event::{EventKind, ProtocolInfo, Record};
use crate::sctp::SctpInfo;
use crate::status::{Direction, Status};
use crate::tcp::TcpInfo;
use crate::tuple::{L4Key, Zone};

/// A connection as `conntrack -o save` prints it.
#[derive(Clone, Copy, Debug)]
pub struct SaveLine<'a> {
    /// Which command: `-A`, which is also a dump's, `-U` or `-D`.
    pub kind: EventKind,
    /// The connection.
    pub record: &'a Record,
}

impl fmt::Display for SaveLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        f.write_str(match self.kind {
            EventKind::New => "-A",
            EventKind::Update => "-U",
            EventKind::Destroy => "-D",
        })?;
        if let Some(seconds) = record.timeout {
            write!(f, " -t {seconds}")?;
        }
        status(f, record.status)?;
        zones(f, record)?;
        addresses(f, record)?;
        l4(f, record)?;
        match record.protocol {
            Some(ProtocolInfo::Tcp(TcpInfo { state, .. })) => {
                write!(f, " --state {}", state.name())
            }
            Some(ProtocolInfo::Sctp(info)) => sctp(f, &info),
            None => Ok(()),
        }
    }
}

fn status(f: &mut fmt::Formatter<'_>, status: Status) -> fmt::Result {
    const WORDS: [(Status, &str); 4] = [
        (Status::EXPECTED, "EXPECTED"),
        (Status::SEEN_REPLY, "SEEN_REPLY"),
        (Status::ASSURED, "ASSURED"),
        (Status::FIXED_TIMEOUT, "FIXED_TIMEOUT"),
    ];
    let mut before = " -u ";
    for (_, word) in WORDS.into_iter().filter(|&(bit, _)| status.has(bit)) {
        write!(f, "{before}{word}")?;
        before = ",";
    }
    if before == "," { Ok(()) } else { f.write_str(" -u UNSET") }
}

fn zones(f: &mut fmt::Formatter<'_>, record: &Record) -> fmt::Result {
    match Zones::of(record) {
        Zones::Common(Zone::DEFAULT) => Ok(()),
        Zones::Common(zone) => write!(f, " -w {}", zone.0),
        Zones::Apart { original, reply } => {
            if let Some(zone) = original {
                write!(f, " --orig-zone {}", zone.0)?;
            }
            match reply {
                Some(zone) => write!(f, " --reply-zone {}", zone.0),
                None => Ok(()),
            }
        }
    }
}

fn addresses(f: &mut fmt::Formatter<'_>, record: &Record) -> fmt::Result {
    let (source, destination) = (record.original.source(), record.original.destination());
    let (answers, answered) = (record.reply.source(), record.reply.destination());
    let translated = |done, changed| record.status.has(done) && changed;
    let from = match translated(Status::DST_NAT_DONE, answers != destination) {
        true => "-g",
        false => "-r",
    };
    let to = match translated(Status::SRC_NAT_DONE, answered != source) {
        true => "-n",
        false => "-q",
    };
    write!(f, " -s {} -d {}", Compressed(source), Compressed(destination))?;
    write!(f, " {from} {} {to} {}", Compressed(answers), Compressed(answered))
}

fn l4(f: &mut fmt::Formatter<'_>, record: &Record) -> fmt::Result {
    let number = record.original.protocol();
    match protocol_name(number) {
        "unknown" => write!(f, " -p {number}")?,
        name => write!(f, " -p {name}")?,
    }
    match record.original.l4() {
        L4Key::Ports { source, destination } => {
            write!(f, " --sport {source} --dport {destination}")?;
        }
        L4Key::Icmp { kind, code, id } => {
            let name = if number == protocol::ICMP { "icmp" } else { "icmpv6" };
            write!(f, " --{name}-type {kind} --{name}-code {code} --{name}-id {id}")?;
        }
        L4Key::Gre { source, destination } => {
            write!(f, " --srckey {source} --dstkey {destination}")?;
        }
        L4Key::None => {}
    }
    match record.reply.l4() {
        L4Key::Ports { source, destination } => {
            write!(f, " --reply-port-src {source} --reply-port-dst {destination}")
        }
        L4Key::Gre { source, destination } => {
            write!(f, " --reply-key-src {source} --reply-key-dst {destination}")
        }
        L4Key::Icmp { .. } | L4Key::None => Ok(()),
    }
}

fn sctp(f: &mut fmt::Formatter<'_>, info: &SctpInfo) -> fmt::Result {
    write!(f, " --state {}", info.state.name())?;
    let Some(tags) = info.tags else { return Ok(()) };
    let (original, reply) = (tags[Direction::Original], tags[Direction::Reply]);
    write!(f, " --orig-vtag {original} --reply-vtag {reply}")
}
