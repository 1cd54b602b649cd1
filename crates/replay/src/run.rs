//! The loop: merged captures → virtual clock → engine → sink.
//!
//! The clock is the packets'. Before each packet, what time alone brings about until then happens: entries
//! expire in the order of their deadlines, and each is told with its deadline as its time. Behind the last
//! packet the clock stands still, so that the final table is the one at that instant.
//!
//! Two ways through the same packets give the same numbers. [`Replay::step`] takes one packet and tells a
//! [`Sink`] all about it. [`Replay::burst`] takes as many as the engine takes at once, formats nothing and
//! listens to no events; only the [`Summary`] is kept.
//!
//! Memory is bounded by the table's, whatever the captures' length.

use std::io;

use stateward_conntrack::{ConnId, Event, Instant, Record, Subject};
use stateward_engine::{
    Arrival, BURST, By, Emitted, Engine, From as Origin, InterfaceId, Outcome, Port, Verdict,
};

use crate::capture::{CaptureError, Captured};
use crate::entrance::{Entrance, Entry, Way};
use crate::machine::Machine;
use crate::merge::Merge;
use crate::numbering::Numbering;
use crate::sighting::{Likeness, Sightings};
use crate::summary::{self, Summary};

use stateward_engine::route::Routing;

/// What is told of a replay as it goes.
pub trait Sink {
    /// A packet was read and has had its fate.
    ///
    /// # Errors
    /// When it cannot be written.
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()>;

    /// Time alone brought something about between two packets.
    ///
    /// # Errors
    /// When it cannot be written.
    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()>;
}

/// A packet and all that came of it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// 1, 2, 3 … over all captures.
    pub number: u64,
    /// The packet as captured, with the time its capture gives it.
    pub captured: Captured<'a>,
    /// The capture it is from, by position.
    pub capture: usize,
    /// Where it entered.
    pub port: Port,
    /// The interface it was recorded on, or where it entered if that is not known.
    pub interface: &'a str,
    /// What became of it.
    pub fate: Fate,
    /// The number of its connection.
    pub connection: Option<u64>,
    /// What left, in order.
    pub out: Out<'a>,
    /// What was told.
    pub events: &'a [Told],
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It went through the engine.
    Walked(Outcome),
    /// It is a record of what this replay had emitted.
    Seen,
    /// It was for another machine on the link.
    Elsewhere,
}

/// What time alone brought about.
#[derive(Debug, Clone, Copy)]
pub struct Meanwhile<'a> {
    /// When it was noticed: the time of the next packet. Each event has its own.
    pub now: Instant,
    /// What was told.
    pub events: &'a [Told],
    /// What left.
    pub out: Out<'a>,
}

/// An event with the numbers of its connections.
#[derive(Debug, Clone)]
pub struct Told {
    /// The event.
    pub event: Event,
    /// The number of the connection: for an expectation its master's.
    pub connection: Option<u64>,
}

/// The packets that left.
#[derive(Debug, Clone, Copy)]
pub struct Out<'a> {
    own: Option<(Option<InterfaceId>, &'a [u8])>,
    emitted: &'a [Emitted],
    names: &'a Entrance,
}

/// A packet that left.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// By which interface; `None` where routing is off.
    pub dev: Option<&'a str>,
    /// Who made it.
    pub by: By,
    /// The IP packet; cut where the captured one is.
    pub bytes: &'a [u8],
}

impl<'a> Out<'a> {
    /// The packets in the order they left.
    pub fn iter(&self) -> impl Iterator<Item = Left<'a>> + use<'a> {
        let names = self.names;
        let name = move |dev: Option<InterfaceId>| dev.map(|id| names.name(id));
        let own = self.own.map(|(dev, bytes)| Left { dev: name(dev), by: By::Packet, bytes });
        let emitted = self.emitted.iter().map(move |emitted| Left {
            dev: name(emitted.interface),
            by: emitted.by,
            bytes: &emitted.bytes,
        });
        own.into_iter().chain(emitted)
    }

    /// Whether nothing left.
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.emitted.is_empty()
    }
}

/// A capture to replay.
pub struct Input {
    /// The capture.
    pub capture: crate::capture::Capture,
    /// Where its packets came in, if the user says so.
    pub interface: Option<String>,
}

/// See the module's essay.
pub struct Replay {
    engine: Engine,
    merge: Merge,
    entrance: Entrance,
    sightings: Sightings,
    /// Some capture records directions: sightings are to be expected.
    sights: bool,
    numbering: Numbering,
    summary: Summary,
    scratch: Scratch,
}

/// Buffers that every packet uses again.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    arrivals: Vec<(usize, Port, Instant)>,
    emitted: Vec<Emitted>,
    events: Vec<Event>,
    told: Vec<Told>,
}

impl Replay {
    /// A replay of captures by a machine.
    ///
    /// # Errors
    /// With the name, if an interface is named that the machine has not.
    pub fn new(machine: Machine, inputs: Vec<Input>, own: bool) -> Result<Self, String> {
        let given: Vec<_> = inputs.iter().map(|input| input.interface.clone()).collect();
        let network = &machine.network;
        let own = own || network.interfaces().iter().any(|known| !known.addresses.is_empty());
        let entrance = Entrance::new(network, &given, own)?;
        let likeness = match network.routing() {
            Routing::Off => Likeness::ButForTtl,
            Routing::Host | Routing::Forwarding => Likeness::Exact,
        };
        Ok(Self {
            engine: machine.engine(),
            merge: Merge::new(inputs.into_iter().map(|input| input.capture).collect()),
            entrance,
            sightings: Sightings::new(likeness),
            sights: false,
            numbering: Numbering::default(),
            summary: Summary::default(),
            scratch: Scratch::default(),
        })
    }

    /// Whether connections that begin from now on report events. They should when packets are stepped
    /// through, and need not for bursts.
    pub fn set_listening(&mut self, listening: bool) {
        self.engine.tracker_mut().set_listening(listening);
    }

    /// The next packet; false when there is none any more.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn step(&mut self, sink: &mut dyn Sink) -> io::Result<bool> {
        if !self.merge.advance() {
            self.summary.backwards = self.merge.backwards().sum();
            return Ok(false);
        }
        let Some((position, packet)) = self.merge.packet() else { return Ok(false) };
        let Some(capture) = self.merge.capture(position) else { return Ok(false) };
        let now = Instant(packet.time);
        // The clock never runs backwards; what is shown is what was recorded.
        let captured = Captured { time: capture.packet().time, ..packet };
        let entry =
            self.entrance.of(self.engine.network(), position, capture.interfaces(), &captured);
        let is_super = captured.original_length > self.entrance.mtu(entry.port);
        self.summary.read(now, captured.cut, is_super);
        self.sights |= captured.direction.is_some();

        let Scratch { bytes, emitted, events, told, .. } = &mut self.scratch;
        self.engine.handle_timeout(now);
        emitted.clear();
        self.engine.take_emitted(emitted);
        self.engine.take_events(events);
        number(events, told, &mut self.numbering, None);
        let out = Out { own: None, emitted, names: &self.entrance };
        if !told.is_empty() || !emitted.is_empty() {
            sink.meanwhile(&Meanwhile { now, events: told, out })?;
        }
        emitted.clear();
        told.clear();

        let mut connection = None;
        let mut own = None;
        let seen = self.sights
            && entry.way == Way::Out
            && self.sightings.is_sighting(entry.recorded, captured.bytes, now);
        let fate = if seen {
            self.summary.verdicts.seen += 1;
            Fate::Seen
        } else if entry.way == Way::Elsewhere {
            self.summary.passed_by(ELSEWHERE.0);
            Fate::Elsewhere
        } else {
            self.summary.unfinished += u64::from(summary::is_unfinished(captured.bytes));
            bytes.clear();
            bytes.extend_from_slice(captured.bytes);
            let mut arrival = Arrival { port: entry.port, bytes, now };
            let outcome = self.engine.process(&mut arrival, Origin::Capture);
            self.summary.walked(&outcome, self.engine.tracker());
            connection = outcome.connection.and_then(|connection| {
                self.numbering.of_packet(&connection, self.engine.tracker())
            });
            self.engine.take_emitted(emitted);
            self.engine.take_events(events);
            number(events, told, &mut self.numbering, connection);
            own = left(&outcome).map(|dev| (dev, without_padding(bytes, &outcome)));
            Fate::Walked(outcome)
        };
        let out = Out { own, emitted, names: &self.entrance };
        if self.sights {
            note(&mut self.sightings, own, emitted, now);
        }
        let interface = match (entry.port, entry.recorded) {
            (Port::Interface(_), Some(recorded)) if fate == Fate::Seen => {
                self.entrance.name(recorded)
            }
            (port, _) => self.entrance.port_name(port),
        };
        sink.packet(&Step {
            number: self.summary.packets,
            captured,
            capture: position,
            port: entry.port,
            interface,
            fate,
            connection,
            out,
            events: told,
        })?;
        told.clear();
        Ok(true)
    }

    /// The next packets, at most as many as the engine takes at once; false when there are none any
    /// more.
    pub fn burst(&mut self) -> bool {
        let Self { engine, merge, entrance, sightings, sights, summary, scratch, .. } = self;
        let Scratch { bytes, arrivals, emitted, events, .. } = scratch;
        bytes.clear();
        arrivals.clear();
        let mut more = true;
        while arrivals.len() < BURST {
            more = merge.advance();
            let Some((position, captured)) = merge.packet().filter(|_| more) else { break };
            let Some(capture) = merge.capture(position) else { break };
            let now = Instant(captured.time);
            let Entry { port, recorded, way } =
                entrance.of(engine.network(), position, capture.interfaces(), &captured);
            summary.read(now, captured.cut, captured.original_length > entrance.mtu(port));
            *sights |= captured.direction.is_some();
            if way == Way::Elsewhere {
                summary.passed_by(ELSEWHERE.0);
                continue;
            }
            if way == Way::Out && sightings.is_sighting(recorded, captured.bytes, now) {
                summary.verdicts.seen += 1;
                continue;
            }
            summary.unfinished += u64::from(summary::is_unfinished(captured.bytes));
            bytes.extend_from_slice(captured.bytes);
            arrivals.push((captured.bytes.len(), port, now));
            // Whether the next one is a sighting shows when this one is through.
            if *sights {
                break;
            }
        }
        let mut rest = bytes.as_mut_slice();
        let mut burst = Vec::with_capacity(arrivals.len());
        for &(length, port, now) in arrivals.iter() {
            let Some((bytes, behind)) = std::mem::take(&mut rest).split_at_mut_checked(length)
            else {
                break;
            };
            rest = behind;
            burst.push(Arrival { port, bytes, now });
        }
        let mut last = None;
        engine.process_burst(&mut burst, Origin::Capture, |engine, _, outcome| {
            summary.walked(&outcome, engine.tracker());
            emitted.clear();
            engine.take_emitted(emitted);
            if engine.tracker().has_events() {
                engine.take_events(events);
                events.clear();
            }
            last = Some(outcome);
        });
        if *sights && let (Some(outcome), Some(arrival)) = (last, burst.last()) {
            let own = left(&outcome).map(|dev| (dev, without_padding(arrival.bytes, &outcome)));
            note(sightings, own, emitted, arrival.now);
        }
        if !more {
            summary.backwards = merge.backwards().sum();
        }
        more
    }

    /// The numbers so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The engine, to see its table and its counters.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The captures.
    pub fn merge(&self) -> &Merge {
        &self.merge
    }

    /// Where packets enter: the names of the interfaces.
    pub fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// The time of the last packet.
    pub fn now(&self) -> Instant {
        self.summary.span.map_or(Instant::default(), |(_, last)| last)
    }

    /// The connections in the table in the order of their numbers; without, if they were not numbered.
    pub fn table(&self) -> Vec<(Option<u64>, ConnId)> {
        let numbered = |record: Record| (self.numbering.number(record.id), record.id);
        let mut all: Vec<_> = self.engine.tracker().dump().map(numbered).collect();
        all.sort_by_key(|&(number, _)| number);
        all
    }

    /// What ended captures early.
    pub fn into_errors(self) -> Vec<CaptureError> {
        self.merge.into_errors()
    }
}

/// The word and the sentence for a packet that was for another machine on the link.
pub const ELSEWHERE: (&str, &str) = ("not_for_us", "addressed to another machine on the link");

/// Where the arrival's own bytes went, if they left.
fn left(outcome: &Outcome) -> Option<Option<InterfaceId>> {
    match outcome.verdict {
        Verdict::Forward(dev) | Verdict::Output(dev) if !outcome.in_pieces => Some(dev),
        _ => None,
    }
}

/// A packet's bytes without what the link put behind them.
fn without_padding<'a>(bytes: &'a [u8], outcome: &Outcome) -> &'a [u8] {
    bytes.get(..outcome.length).unwrap_or(bytes)
}

/// Remembers what left.
fn note(
    sightings: &mut Sightings,
    own: Option<(Option<InterfaceId>, &[u8])>,
    emitted: &[Emitted],
    now: Instant,
) {
    if let Some((dev, bytes)) = own {
        sightings.emitted(dev, bytes, now);
    }
    for emitted in emitted {
        sightings.emitted(emitted.interface, &emitted.bytes, now);
    }
}

/// Gives events the numbers of their connections. `current` is that of the packet at hand, whose
/// connection may not be in the table when it announces another one.
fn number(
    events: &mut Vec<Event>,
    told: &mut Vec<Told>,
    numbering: &mut Numbering,
    current: Option<u64>,
) {
    for event in events.drain(..) {
        let connection = match &event.subject {
            Subject::Connection(record) => numbering.number(record.id),
            Subject::Expectation(expectation) => {
                numbering.number(expectation.master.id).or(current)
            }
        };
        told.push(Told { event, connection });
    }
    for told in told.iter() {
        if let (Some(record), stateward_conntrack::EventKind::Destroy) =
            (told.event.connection(), told.event.kind)
        {
            numbering.forget(record.id);
        }
    }
}
