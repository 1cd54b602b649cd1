//! Events and entries in the trace: exactly the attributes that the tracker's records carry.

use std::net::IpAddr;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use stateward_conntrack::expect::Expectation;
use stateward_conntrack::text::{DumpLine, EventLine, ExpectLine, Output};
use stateward_conntrack::{
    Counter, Instant, L4Key, PerDir, ProtocolInfo, Record, Status, Subject, Tuple,
};
use stateward_wire::Family;

use super::Time;
use crate::run::Told;

/// A record of type `event`, or an element of a packet's `events`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "event")]
pub struct Event<'a> {
    /// When, for what time alone caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// `NEW`, `UPDATE`, `DESTROY`, `EXP_NEW`, `EXP_DESTROY`.
    pub event: &'static str,
    /// What it is about.
    #[serde(flatten)]
    pub subject: EventRecord<'a>,
}

/// What an event is about.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum EventRecord<'a> {
    /// A connection.
    Connection(EntryRecord<'a>),
    /// An expectation.
    Expectation(ExpectationRecord<'a>),
}

impl<'a> Event<'a> {
    /// An event of a packet.
    pub fn of(told: &'a Told) -> Self {
        let event = &told.event;
        let text = Text::Event(EventLine { event, output: Output::default() });
        let subject = match &event.subject {
            Subject::Connection(record) => {
                EventRecord::Connection(EntryRecord::of(record, told.connection, text))
            }
            Subject::Expectation(expectation) => {
                EventRecord::Expectation(ExpectationRecord::of(expectation, event.at, text))
            }
        };
        Self { time: None, event: event.name(), subject }
    }

    /// An event on a line of its own.
    pub fn alone(told: &'a Told) -> Self {
        Self { time: Some(Time(told.event.at.0)), ..Self::of(told) }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Event::of(self).serialize(serializer)
    }
}

/// The tool's line.
#[derive(Debug, Clone, Copy)]
enum Text<'a> {
    Event(EventLine<'a>),
    Dump(DumpLine<'a>),
    Expectation(ExpectLine<'a>),
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Event(line) => serializer.collect_str(line),
            Self::Dump(line) => serializer.collect_str(line),
            Self::Expectation(line) => serializer.collect_str(line),
        }
    }
}

/// A connection.
#[derive(Debug, Serialize)]
pub struct EntryRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    family: u8,
    original: Ends,
    reply: Ends,
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<Ends>,
    status: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
    #[serde(flatten)]
    protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<LabelBits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counters: Option<[[u64; 2]; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Time>,
    /// When it happened, as the kernel's message says it (`CTA_TIMESTAMP_EVENT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<Time>,
    text: Text<'a>,
}

impl<'a> EntryRecord<'a> {
    /// An entry of the table as it is at `now`.
    pub fn in_table(record: &'a Record, connection: Option<u64>, now: Instant) -> Self {
        let text = Text::Dump(DumpLine { record, now, uses: 1, output: Output::default() });
        Self::of(record, connection, text)
    }

    fn of(record: &'a Record, connection: Option<u64>, text: Text<'a>) -> Self {
        // Taken apart in full, so that no attribute is forgotten.
        let Record {
            id: _,
            original,
            reply,
            status,
            timeout,
            protocol,
            // Not in the contract: /proc alone prints it.
            gre: _,
            mark,
            counters,
            timestamps,
            event_time,
            labels,
            helper,
            master,
        } = record;
        Self {
            connection,
            family: family(original),
            original: Ends(*original),
            reply: Ends(*reply),
            master: master.map(Ends),
            status: Names(*status),
            timeout: *timeout,
            protocol: Protocol(*protocol),
            mark: *mark,
            zone: zone(original, reply),
            helper: *helper,
            labels: labels.map(LabelBits),
            counters: counters
                .map(|PerDir(each)| each.map(|Counter { packets, bytes }| [packets, bytes])),
            start: timestamps.map(|times| Time(times.start.0)),
            stop: timestamps.and_then(|times| times.stop).map(|stop| Time(stop.0)),
            event_time: event_time.map(|at| Time(at.0)),
            text,
        }
    }
}

fn family(tuple: &Tuple) -> u8 {
    match tuple.family() {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// The zone of both directions, or of the one that is in one.
fn zone(original: &Tuple, reply: &Tuple) -> Option<u16> {
    [original, reply].into_iter().map(|tuple| tuple.zone().0).find(|&zone| zone != 0)
}

/// One direction: addresses, protocol and what its flows are told apart by.
#[derive(Debug, Clone, Copy)]
struct Ends(Tuple);

impl Serialize for Ends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tuple = &self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("src", &tuple.source())?;
        map.serialize_entry("dst", &tuple.destination())?;
        map.serialize_entry("proto", &tuple.protocol())?;
        match tuple.l4() {
            L4Key::Ports { source, destination } => {
                map.serialize_entry("sport", &source)?;
                map.serialize_entry("dport", &destination)?;
            }
            L4Key::Icmp { kind, code, id } => {
                map.serialize_entry("type", &kind)?;
                map.serialize_entry("code", &code)?;
                map.serialize_entry("id", &id)?;
            }
            L4Key::Gre { source, destination } => {
                map.serialize_entry("srckey", &source)?;
                map.serialize_entry("dstkey", &destination)?;
            }
            L4Key::None => {}
        }
        map.end()
    }
}

/// The names of status bits.
#[derive(Debug, Clone, Copy)]
struct Names(Status);

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.names())
    }
}

/// The numbers of the labels that are set.
#[derive(Debug, Clone, Copy)]
struct LabelBits(u128);

impl Serialize for LabelBits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..u128::BITS).filter(|bit| self.0 >> bit & 1 == 1))
    }
}

/// `tcp` or `sctp`, if there is something to tell.
#[derive(Debug, Clone, Copy)]
struct Protocol(Option<ProtocolInfo>);

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Tcp {
            state: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            wscale: Option<[u8; 2]>,
            #[serde(skip_serializing_if = "Option::is_none")]
            flags: Option<[u8; 2]>,
        }
        #[derive(Serialize)]
        struct Sctp {
            state: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            vtag: Option<[u32; 2]>,
        }
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Some(ProtocolInfo::Tcp(info)) => {
                let sides = info.sides.map(|PerDir(sides)| sides);
                let wscale = sides.map(|sides| sides.map(|side| side.window_scale));
                let flags = sides.map(|sides| sides.map(|side| side.flags));
                map.serialize_entry("tcp", &Tcp { state: info.state.name(), wscale, flags })?;
            }
            Some(ProtocolInfo::Sctp(info)) => {
                let vtag = info.tags.map(|PerDir(tags)| tags);
                map.serialize_entry("sctp", &Sctp { state: info.state.name(), vtag })?;
            }
            None => {}
        }
        map.end()
    }
}

/// An expectation.
#[derive(Debug, Serialize)]
pub struct ExpectationRecord<'a> {
    expectation: u64,
    family: u8,
    tuple: Ends,
    mask: Mask,
    master: Ends,
    timeout: u64,
    helper: &'static str,
    class: u8,
    flags: Vec<&'static str>,
    text: Text<'a>,
}

#[derive(Debug, Serialize)]
struct Mask {
    src: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    sport: Option<u16>,
}

impl<'a> ExpectationRecord<'a> {
    /// An expectation of the table as it is at `now`.
    pub fn in_table(expectation: &'a Expectation, now: Instant) -> Self {
        let line = ExpectLine { expectation, now, timestamp: false };
        Self::of(expectation, now, Text::Expectation(line))
    }

    fn of(expectation: &'a Expectation, now: Instant, text: Text<'a>) -> Self {
        let announced = &expectation.announced;
        let family_of = announced.tuple.family();
        let has_ports = matches!(announced.tuple.l4(), L4Key::Ports { .. });
        Self {
            expectation: expectation.id.as_u64(),
            family: family(&announced.tuple),
            tuple: Ends(announced.tuple),
            mask: Mask {
                src: announced.mask.address(family_of),
                sport: has_ports.then(|| announced.mask.port()),
            },
            master: Ends(expectation.master.tuples.0[0]),
            timeout: now.until(expectation.deadline).as_timeout(),
            helper: announced.helper,
            class: announced.class.number,
            flags: announced.flags.names().collect(),
            text,
        }
    }
}
