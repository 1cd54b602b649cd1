//! The gate: what a packet is before the engine sees it, and what is remembered of what left.

use std::net::IpAddr;

use stateward_conntrack::Instant;
use stateward_engine::route::Routing;
use stateward_engine::{By, Emitted, Engine, InterfaceId, Port};
use stateward_wire::Packet;

use super::{ELSEWHERE, Fate};
use crate::capture::{Captured, Interface};
use crate::entrance::{Entrance, Entry, Way};
use crate::merge::Coming;
use crate::sighting::{Emission, Likeness, Maker, Recorded, Sighting, Sightings};
use crate::summary::{self, Summary};
use crate::verify::{Predictions, Record};

/// Where packets come in: what each is before the engine sees it, and what it counts as.
pub(super) struct Gate {
    pub(super) entrance: Entrance,
    sightings: Sightings,
    /// Sightings are to be expected: packets are recorded in more than one place or direction.
    pub(super) sights: bool,
    /// What leaves is held against the capture.
    pub(super) predictions: Option<Predictions>,
    /// The packet at hand was recorded as it left, or must have been: its source is not where it
    /// was recorded. Known only where predictions are held against it.
    leaves: bool,
    pub(super) summary: Summary,
}

/// A packet at the gate.
#[derive(Clone, Copy)]
pub(super) struct Arriving<'a> {
    /// The capture it is from, by position.
    pub(super) capture: usize,
    /// With the time of its capture.
    pub(super) captured: Captured<'a>,
    /// The clock: that time, unless the clock is ahead of it.
    pub(super) now: Instant,
    pub(super) entry: Entry,
}

/// A packet without what its link has added behind it: that, another link adds otherwise or not.
fn unpadded(bytes: &[u8]) -> &[u8] {
    Packet::parse_cut(bytes).map_or(bytes, |packet| packet.bytes())
}

/// Whether a packet of which the capture does not say which way it went has left: its source is
/// this host, or behind another interface.
fn left(engine: &Engine, entry: &Entry, packet: &Captured<'_>) -> bool {
    if entry.port == Port::Local {
        return true;
    }
    let source = Packet::parse_cut(packet.bytes).ok().map(|packet| packet.source());
    // Every link has addresses of its own; nothing routes to them.
    let is_of_link = |source: &IpAddr| match source {
        IpAddr::V4(source) => source.is_link_local() || source.is_unspecified(),
        IpAddr::V6(source) => source.is_unicast_link_local() || source.is_unspecified(),
    };
    let source = source.filter(|source| !is_of_link(source));
    let behind = source.and_then(|source| engine.network().route(source));
    entry.recorded.is_some() && behind.is_some() && behind != entry.recorded
}

impl Gate {
    pub(super) fn new(entrance: Entrance, given: &[Option<String>], routing: Routing) -> Self {
        let (likeness, routes) = match routing {
            Routing::Off => (Likeness::ButForTtl, false),
            Routing::Host | Routing::Forwarding => (Likeness::Exact, true),
        };
        let mut places = given.iter().flatten();
        let first = places.next();
        let several = places.any(|place| Some(place) != first);
        let sightings = Sightings::new(likeness);
        let sights = several || routes;
        Self {
            entrance,
            sightings,
            sights,
            predictions: None,
            leaves: false,
            summary: Summary::default(),
        }
    }

    /// The packet that the captures have come to.
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        coming: Coming<'a>,
        interfaces: &[Interface],
        engine: &Engine,
    ) -> Arriving<'a> {
        let Coming { position, packet, recorded } = coming;
        let now = Instant(packet.time);
        // The clock never runs backwards; what is shown is what was recorded.
        let captured = Captured { time: recorded, ..packet };
        let entry = self.entrance.of(engine.network(), position, interfaces, &captured);
        self.summary.read(now, captured.cut, captured.original_length > entry.mtu);
        self.sights |= captured.direction.is_some() || interfaces.len() > 1;
        self.leaves = self.predictions.is_some()
            && (entry.way == Way::Out
                || entry.way == Way::Unknown && left(engine, &entry, &packet));
        Arriving { capture: position, captured, now, entry }
    }

    /// What becomes of a packet that does not come in.
    #[inline]
    pub(super) fn turned_away(&mut self, arriving: &Arriving<'_>) -> Option<Fate> {
        let Arriving { captured, now, entry, .. } = arriving;
        if entry.way == Way::Elsewhere {
            self.summary.passed_by(ELSEWHERE.0);
            return Some(Fate::Elsewhere);
        }
        let own = entry.port == Port::Local;
        let recorded = Recorded { on: entry.recorded, way: entry.way, own };
        let bytes = unpadded(captured.bytes);
        let record = Record { number: self.summary.packets, on: entry.recorded, own, bytes };
        if self.sights
            && let Some(sighting) = self.sightings.find(recorded, bytes, *now)
        {
            self.summary.verdicts.seen += 1;
            if let Some(predictions) = &mut self.predictions {
                predictions.saw(&Record { on: sighting.on, ..record }, *now);
            }
            return Some(Fate::Seen(sighting));
        }
        if self.leaves
            && let Some(predictions) = &mut self.predictions
            && let Some(missed) = predictions.missed(&record, *now)
        {
            self.summary.verdicts.seen += 1;
            return Some(Fate::Missed(missed));
        }
        self.summary.unfinished += u64::from(summary::is_unfinished(captured.bytes));
        None
    }

    /// Remembers what left, to know its sighting.
    pub(super) fn note(
        &mut self,
        entry: Option<&Entry>,
        own: Option<(Option<InterfaceId>, &[u8])>,
        emitted: &[Emitted],
        now: Instant,
    ) {
        if !self.sights {
            return;
        }
        // What was recorded on its way out already will not be recorded so again.
        let by_itself = entry.is_some_and(|entry| entry.way == Way::Out || self.leaves);
        let from = entry.and_then(|entry| entry.recorded);
        if let Some((to, bytes)) = own.filter(|_| !by_itself) {
            self.emitted(Emission { from, to, maker: Maker::Other, bytes }, now);
        }
        for &Emitted { interface: to, by, ref bytes } in emitted {
            let maker = match by {
                By::Packet if by_itself => continue,
                By::Packet => Maker::Other,
                By::Host(_) => Maker::Host,
            };
            self.emitted(Emission { from, to, maker, bytes }, now);
        }
    }

    fn emitted(&mut self, emission: Emission<'_>, now: Instant) {
        self.sightings.emitted(emission, now);
        if let Some(predictions) = &mut self.predictions {
            predictions.predict(self.summary.packets, &emission, now);
        }
    }

    /// The interface to show.
    pub(super) fn shown(&self, entry: &Entry, fate: Fate) -> &str {
        match fate {
            Fate::Seen(Sighting { on: Some(interface) }) => self.entrance.name(interface),
            _ => self.entrance.port_name(entry.port),
        }
    }
}
