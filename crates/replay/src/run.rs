//! The loop: merged captures → virtual clock → engine → sink.
//!
//! The clock is the packets'. Before each packet, what time alone brings about until then happens:
//! entries expire in the order of their deadlines, and each is told with its deadline as its time.
//! Behind the last packet the clock stands still, so that the final table is the one at that
//! instant.
//!
//! Two ways through the same packets give the same numbers. [`Replay::step`] takes one packet and
//! tells a [`Sink`] all about it. [`Replay::burst`] takes as many as the engine takes at once,
//! formats nothing and listens to no events; only the [`Summary`] is kept.
//!
//! Memory is bounded by the table's, whatever the captures' length.

mod gate;
mod typed;

use std::fmt;
use std::io;

use stateward_conntrack::{ConnId, Event, EventKind, Instant, Record, Subject};
use stateward_engine::account::Keep;
use stateward_engine::route::Routing;
use stateward_engine::rules::{Notes, Passed};
use stateward_engine::{
    Arrival, BURST, By, Emitted, Engine, From as Origin, InterfaceId, LinkHeader, Outcome, Port,
    Verdict,
};

use stateward_rules::StepName;

use self::gate::{Arriving, Gate};
use crate::ahead::Ahead;
use crate::capture::{Capture, CaptureError, Captured};
use crate::entrance::{Entrance, Entry};
use crate::explain::{Explained, Explaining};
use crate::machine::Machine;
use crate::merge::Merge;
use crate::numbering::Numbering;
use crate::sighting::Sighting;
use crate::summary::Summary;
use crate::verify::{Missed, Predictions, Verified};

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

/// Listens to nothing.
struct Nobody;

impl Sink for Nobody {
    fn packet(&mut self, _: &Step<'_>) -> io::Result<()> {
        Ok(())
    }

    fn meanwhile(&mut self, _: &Meanwhile<'_>) -> io::Result<()> {
        Ok(())
    }
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
    /// What rules said of it, if there are any.
    pub ruled: Option<Ruled<'a>>,
    /// Its way in full, if that was asked for.
    pub explained: Option<Explained<'a>>,
}

/// What rules said of a packet.
#[derive(Clone, Copy)]
pub struct Ruled<'a>(&'a Engine);

impl<'a> Ruled<'a> {
    /// Marks, paths, lines of the log.
    pub fn notes(&self) -> &'a Notes {
        self.0.notes()
    }

    /// Where a rule ended the packet, or else the last filter rule or policy that let it pass.
    pub fn decided(&self) -> Option<StepName<'a>> {
        self.name(self.notes().decided?)
    }

    /// All that the packet met.
    pub fn path(&self) -> impl Iterator<Item = StepName<'a>> + use<'a> {
        let engine = self.0;
        engine.notes().path.iter().filter_map(move |passed| engine.name(*passed))
    }

    fn name(&self, passed: Passed) -> Option<StepName<'a>> {
        self.0.name(passed)
    }
}

impl fmt::Debug for Ruled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes().fmt(f)
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It went through the engine.
    Walked(Outcome),
    /// It is a record of what this replay had emitted.
    Seen(Sighting),
    /// It is a record of what left, but not as this replay predicted.
    Missed(Missed),
    /// It was for another machine on the link.
    Elsewhere,
}

/// A machine that does not route cannot be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRouting;

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
    pub capture: Capture,
    /// Where its packets came in, if the user says so.
    pub interface: Option<String>,
}

/// See the module's essay.
pub struct Replay {
    merge: Merge,
    /// Reads it before its turn, where the machine that was captured is to be followed.
    ahead: Option<Ahead>,
    gate: Gate,
    core: Core,
    explaining: Option<Explaining>,
    named: typed::Named,
    /// The interface of typed packets that name none.
    given: Option<String>,
}

/// The engine, the numbers of its connections, and buffers that every packet uses again.
struct Core {
    engine: Engine,
    numbering: Numbering,
    bytes: Vec<u8>,
    /// Length, entry and time of the packets whose bytes follow each other.
    burst: Vec<(usize, Entry, Instant, Option<LinkHeader>)>,
    emitted: Vec<Emitted>,
    events: Vec<Event>,
    told: Vec<Told>,
}

impl Replay {
    /// A replay of captures by a machine; `own` if it has addresses beside those of its interfaces.
    ///
    /// # Errors
    /// With the name, if an interface is named that the machine has not.
    pub fn new(machine: Machine, inputs: Vec<Input>, own: bool) -> Result<Self, String> {
        let given: Vec<_> = inputs.iter().map(|input| input.interface.clone()).collect();
        let network = &machine.network;
        let own = own || network.interfaces().iter().any(|known| !known.addresses.is_empty());
        let entrance = Entrance::new(network, &given, own)?;
        let gate = Gate::new(entrance, &given, network.routing());
        let merge = Merge::new(inputs.into_iter().map(|input| input.capture).collect());
        let core = Core::new(machine.engine());
        let (explaining, named, given) = (None, typed::Named::default(), None);
        Ok(Self { merge, ahead: None, gate, core, explaining, named, given })
    }

    /// Has what leaves held against what the captures say has left ([`verify`](crate::verify)), and
    /// follows the captured machine where it chose at random.
    ///
    /// # Errors
    /// Where routing is off: nothing says then by which interface packets leave.
    pub fn verify(&mut self) -> Result<(), NotRouting> {
        if self.core.engine.network().routing() == Routing::Off {
            return Err(NotRouting);
        }
        (self.ahead, self.gate.predictions) =
            (Some(Ahead::default()), Some(Predictions::default()));
        Ok(())
    }

    /// What came of the predictions, if they are verified.
    pub fn verified(&self) -> Option<Verified> {
        let predictions = self.gate.predictions.as_ref()?;
        let mut named = Vec::new();
        for capture in self.merge.captures() {
            named.extend(capture.interfaces().iter().filter_map(|known| known.name.as_deref()));
        }
        let entrance = &self.gate.entrance;
        Some(predictions.verified(|id| named.contains(&entrance.name(id))))
    }

    /// Has packets explained: their [`Step`] holds all of their way.
    pub fn explain(&mut self, explaining: Explaining) {
        self.explaining = Some(explaining);
    }

    /// Whether connections that begin from now on report events. They should when packets are
    /// stepped through, and need not for bursts.
    pub fn set_listening(&mut self, listening: bool) {
        self.core.engine.tracker_mut().set_listening(listening);
    }

    /// The next packet; false when there is none any more.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn step(&mut self, sink: &mut dyn Sink) -> io::Result<bool> {
        let Self { merge, ahead, gate, core, explaining, .. } = self;
        let more = match ahead {
            Some(ahead) => ahead.advance(merge),
            None => merge.advance(),
        };
        gate.summary.backwards = match ahead {
            Some(ahead) => ahead.backwards,
            None => merge.backwards().sum(),
        };
        if !more {
            return Ok(false);
        }
        if let Some(ends) = ahead.as_mut().and_then(Ahead::left_as) {
            core.engine.set_nat_wish(ends.wish());
        }
        let coming = match ahead {
            Some(ahead) => ahead.coming(),
            None => merge.coming(),
        };
        let Some(coming) = coming else { return Ok(false) };
        let interfaces = merge.capture(coming.position).map_or(&[][..], Capture::interfaces);
        let arriving = gate.next(coming, interfaces, &core.engine);
        arrive((gate, core), explaining.as_ref(), &arriving, sink)?;
        Ok(true)
    }

    /// The next packets, at most as many as the engine takes at once; false when there are none any
    /// more.
    pub fn burst(&mut self) -> bool {
        if self.ahead.is_some() {
            // Nobody listens, so nothing can fail.
            return self.step(&mut Nobody).unwrap_or_default();
        }
        let more = self.gather();
        let Self { merge, gate, core, .. } = self;
        let Core { engine, bytes, burst, emitted, events, .. } = core;
        let mut arrivals = Vec::with_capacity(burst.len());
        let mut rest = bytes.as_mut_slice();
        for (length, entry, now, link) in burst.iter() {
            let split = std::mem::take(&mut rest).split_at_mut_checked(*length);
            let Some((bytes, behind)) = split else { break };
            rest = behind;
            arrivals.push(Arrival { port: entry.port, bytes, now: *now, link: link.as_ref() });
        }
        let mut last = None;
        engine.process_burst(&mut arrivals, Origin::Capture, |engine, _, outcome| {
            gate.summary.walked(&outcome, engine);
            emitted.clear();
            engine.take_emitted(emitted);
            if engine.tracker().has_events() {
                engine.take_events(events);
                events.clear();
            }
            last = Some(outcome);
        });
        if let (Some(outcome), Some(arrival), Some((_, entry, now, _))) =
            (last, arrivals.last(), burst.last())
        {
            let own = left(&outcome).map(|dev| (dev, without_padding(arrival.bytes, &outcome)));
            gate.note(Some(entry), own, emitted, *now);
        }
        gate.summary.backwards = merge.backwards().sum();
        more
    }

    /// Fills a burst; false at the captures' end. While sightings are to be expected a burst is one
    /// packet: whether the next one is a sighting shows when that is through.
    fn gather(&mut self) -> bool {
        let Self { merge, gate, core, .. } = self;
        core.bytes.clear();
        core.burst.clear();
        while core.burst.len() < BURST {
            if !merge.advance() {
                return false;
            }
            let Some(coming) = merge.coming() else { return false };
            let interfaces = merge.capture(coming.position).map_or(&[][..], Capture::interfaces);
            let arriving = gate.next(coming, interfaces, &core.engine);
            if gate.sights {
                // What leaves by time alone may be this packet. Nobody listens, so nothing can
                // fail.
                let _ = core.let_time_pass(gate, arriving.now, &mut Nobody);
            }
            if gate.turned_away(&arriving).is_some() {
                continue;
            }
            let Arriving { captured, entry, now, .. } = arriving;
            core.bytes.extend_from_slice(captured.bytes);
            core.burst.push((captured.bytes.len(), entry, now, captured.link));
            if gate.sights {
                break;
            }
        }
        true
    }

    /// The numbers so far.
    pub fn summary(&self) -> &Summary {
        &self.gate.summary
    }

    /// The engine, to see its table and its counters.
    pub fn engine(&self) -> &Engine {
        &self.core.engine
    }

    /// The captures.
    pub fn merge(&self) -> &Merge {
        &self.merge
    }

    /// Where packets enter: the names of the interfaces.
    pub fn entrance(&self) -> &Entrance {
        &self.gate.entrance
    }

    /// The time of the last packet.
    pub fn now(&self) -> Instant {
        self.gate.summary.span.map_or(Instant::default(), |(_, last)| last)
    }

    /// The connections in the table in the order of their numbers; without, if they were not
    /// numbered.
    pub fn table(&self) -> Vec<(Option<u64>, ConnId)> {
        let numbered = |record: Record| (self.core.numbering.number(record.id), record.id);
        let mut all: Vec<_> = self.core.engine.tracker().dump().map(numbered).collect();
        all.sort_by_key(|&(number, _)| number);
        all
    }

    /// What ended captures early.
    pub fn into_errors(self) -> Vec<CaptureError> {
        self.merge.into_errors()
    }
}

/// A packet has come to the gate.
fn arrive(
    (gate, core): (&mut Gate, &mut Core),
    explaining: Option<&Explaining>,
    arriving: &Arriving<'_>,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    let &Arriving { captured, now, entry, .. } = arriving;
    let number = gate.summary.packets;
    let explaining = explaining.map(|all| (all, all.packets.has(number)));
    if let Some((_, wanted)) = explaining {
        core.engine.set_explaining(if wanted { Keep::Everything } else { Keep::Nothing });
    }
    core.let_time_pass(gate, now, sink)?;
    let mut connection = None;
    let mut own = None;
    let fate = match gate.turned_away(arriving) {
        Some(fate) => fate,
        None => {
            let outcome = core.walk(arriving);
            gate.summary.walked(&outcome, &core.engine);
            connection = core.number(&outcome);
            core.drain(connection);
            own = left(&outcome).map(|dev| (dev, without_padding(&core.bytes, &outcome)));
            gate.note(Some(&entry), own, &core.emitted, now);
            Fate::Walked(outcome)
        }
    };
    let walked = matches!(fate, Fate::Walked(_));
    let wanted = explaining.filter(|(_, wanted)| *wanted);
    sink.packet(&Step {
        number,
        captured,
        capture: arriving.capture,
        port: entry.port,
        interface: gate.shown(&entry, fate),
        fate,
        connection,
        out: Out { own, emitted: &core.emitted, names: &gate.entrance },
        events: &core.told,
        ruled: walked.then(|| core.ruled()).flatten(),
        explained: wanted.map(|(all, _)| Explained::new(&core.engine, all, fate)),
    })
}

/// The word and the sentence for a packet that was for another machine on the link.
pub const ELSEWHERE: (&str, &str) = ("not_for_us", "addressed to another machine on the link");

impl Core {
    fn ruled(&self) -> Option<Ruled<'_>> {
        self.engine.has_rules().then_some(Ruled(&self.engine))
    }

    fn new(engine: Engine) -> Self {
        Self {
            engine,
            numbering: Numbering::default(),
            bytes: Vec::new(),
            burst: Vec::new(),
            emitted: Vec::new(),
            events: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Has the engine do what is due by the time of a packet, one deadline after the other, so that
    /// a whole table that expires in a long silence is not gathered before it is told.
    fn let_time_pass(
        &mut self,
        gate: &mut Gate,
        now: Instant,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        let mut before = None;
        while let Some(due) = self.engine.next_timeout().filter(|&due| due <= now) {
            // A deadline that stays where it is may be a hint that only a later time settles.
            let until = if before == Some(due) { now } else { due };
            before = Some(due);
            self.clear();
            self.engine.handle_timeout(until);
            self.drain(None);
            if !self.told.is_empty() || !self.emitted.is_empty() {
                let out = Out { own: None, emitted: &self.emitted, names: &gate.entrance };
                sink.meanwhile(&Meanwhile { now: until, events: &self.told, out })?;
                gate.note(None, None, &self.emitted, until);
            }
            if until == now {
                break;
            }
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.emitted.clear();
        self.told.clear();
    }

    fn walk(&mut self, arriving: &Arriving<'_>) -> Outcome {
        self.bytes.clear();
        self.bytes.extend_from_slice(arriving.captured.bytes);
        let (port, now, link) =
            (arriving.entry.port, arriving.now, arriving.captured.link.as_ref());
        let mut arrival = Arrival { port, bytes: &mut self.bytes, now, link };
        self.engine.process(&mut arrival, Origin::Capture)
    }

    /// The number of a packet's connection.
    fn number(&mut self, outcome: &Outcome) -> Option<u64> {
        self.numbering.of_packet(&outcome.connection?, self.engine.tracker())
    }

    /// Takes what the engine emitted and told, and gives events the numbers of their connections.
    /// `current` is that of the packet at hand, whose connection may not be in the table when it
    /// announces another one.
    fn drain(&mut self, current: Option<u64>) {
        let Self { engine, numbering, emitted, events, told, .. } = self;
        engine.take_emitted(emitted);
        engine.take_events(events);
        for event in events.drain(..) {
            let connection = match &event.subject {
                Subject::Connection(record) => numbering.number(record.id),
                Subject::Expectation(expectation) => {
                    numbering.number(expectation.master.id).or(current)
                }
            };
            told.push(Told { event, connection });
        }
        for told in told {
            if let (Subject::Connection(record), EventKind::Destroy) =
                (&told.event.subject, told.event.kind)
            {
                numbering.forget(record.id);
            }
        }
    }
}

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

#[cfg(test)]
mod tests;
