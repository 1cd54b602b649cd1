//! The model held against the machine that was captured: what was predicted to leave, and what
//! left.
//!
//! Every packet that the replay sends out of an interface is a prediction. Within a second the
//! capture should show it there, byte for byte: then it is seen. What is recorded as it leaves and
//! is no prediction was either a prediction's packet that left otherwise (told by what a gateway
//! leaves alone, [`likeness`]), or nobody predicted it; what this host's own programs send is
//! neither. A prediction that nothing came of was never seen, unless its interface was not
//! captured, or the capture ended before anything else left by it.
//!
//! Bounds: 65,536 predictions wait at most, with their first 128 bytes; the first 20 differences
//! are kept to be shown.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use stateward_conntrack::{Instant, Span};
use stateward_engine::InterfaceId;

use crate::likeness;
use crate::sighting::{Emission, Maker};

/// How long a predicted packet may take to appear.
const WITHIN: Span = Span::secs(1);
/// Predictions that wait at most.
const MOST: usize = 1 << 16;
/// Bytes of each that are kept: what tells where it went.
const KEPT: usize = 128;
/// Differences that are kept.
const SHOWN: usize = 20;

/// What came of predictions.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Predicted to leave by an interface that was captured.
    pub predicted: u64,
    /// Seen as predicted.
    pub seen: u64,
    /// Seen, but otherwise than predicted.
    pub otherwise: u64,
    /// Never seen.
    pub never: u64,
    /// The capture ended too early to tell.
    pub open: u64,
    /// Seen, though nobody predicted it.
    pub unpredicted: u64,
    /// The first of what was not as predicted.
    #[serde(skip)]
    pub differences: Vec<Difference>,
}

impl Verified {
    /// How many packets were not as predicted.
    pub const fn wrong(&self) -> u64 {
        self.otherwise + self.never + self.unpredicted
    }
}

/// A packet that was not as predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The packet that was predicted to leave, or what became of it: its number, the interface and
    /// the first bytes.
    pub predicted: Option<Left>,
    /// What was recorded.
    pub recorded: Option<Left>,
}

/// A packet that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The number of the packet that it was, or of its record.
    pub number: u64,
    /// By which interface, if that is known.
    pub by: Option<InterfaceId>,
    /// Its first bytes.
    pub head: Vec<u8>,
}

/// A record that leaves, and whose prediction is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) number: u64,
    pub(crate) on: Option<InterfaceId>,
    /// Its source is this host.
    pub(crate) own: bool,
    pub(crate) bytes: &'a [u8],
}

/// Predictions, and what came of them so far.
#[derive(Debug, Default)]
pub(crate) struct Predictions {
    /// In their order.
    waiting: VecDeque<Waiting>,
    /// How many came before the first of them.
    past: u64,
    /// Their places, by likeness and by their first bytes.
    places: Places,
    /// Counts and differences of each interface.
    interfaces: Vec<OfInterface>,
    /// Records that were not predicted, wherever.
    unpredicted: u64,
    differences: Vec<(Option<InterfaceId>, Difference)>,
}

/// Places in their order, by a number that several have. Those of what was seen meanwhile stay
/// until they are come across.
type Places = HashMap<u64, VecDeque<u64>>;

#[derive(Debug)]
struct Waiting {
    at: Instant,
    /// What it is found by: its likeness, its first bytes.
    keys: [u64; 2],
    /// None once it was seen.
    prediction: Option<Prediction>,
}

#[derive(Debug)]
struct Prediction {
    to: InterfaceId,
    left: Left,
}

#[derive(Debug, Default, Clone)]
struct OfInterface {
    predicted: u64,
    seen: u64,
    otherwise: u64,
    never: u64,
    /// The last packet that was recorded as it left.
    last: Option<u64>,
}

impl Predictions {
    /// A packet leaves, because of the packet of this number.
    pub(crate) fn predict(&mut self, number: u64, emission: &Emission<'_>, now: Instant) {
        let Some(to) = emission.to else { return };
        self.forget(now);
        if self.waiting.len() == MOST {
            self.drop_oldest();
        }
        let keys = [likeness::of(emission.bytes, emission.maker), exactly(emission.bytes)];
        let place = self.past + self.waiting.len() as u64;
        for key in keys {
            self.places.entry(key).or_default().push_back(place);
        }
        self.interface(to).predicted += 1;
        let left = Left::of(number, Some(to), emission.bytes);
        let prediction = Some(Prediction { to, left });
        self.waiting.push_back(Waiting { at: now, keys, prediction });
    }

    /// A record is the sighting of a packet that was predicted.
    pub(crate) fn saw(&mut self, record: &Record<'_>, now: Instant) {
        self.forget(now);
        let found = self
            .take(exactly(record.bytes))
            .or_else(|| self.take(likeness::of(record.bytes, Maker::Host)));
        if let Some(Prediction { to, .. }) = found {
            let of = self.interface(to);
            (of.seen, of.last) = (of.seen + 1, Some(record.number));
        }
    }

    /// A record of what left is nobody's sighting. Says why, unless a program of this host may
    /// have sent it.
    pub(crate) fn missed(&mut self, record: &Record<'_>, now: Instant) -> Option<Missed> {
        self.forget(now);
        if let Some(on) = record.on {
            self.interface(on).last = Some(record.number);
        }
        let recorded = Some(Left::of(record.number, record.on, record.bytes));
        let mut found = self.take(likeness::of(record.bytes, Maker::Other));
        if found.is_none() && record.own {
            found = self.take(likeness::of(record.bytes, Maker::Host));
        }
        match found {
            Some(Prediction { to, left }) => {
                self.interface(to).otherwise += 1;
                self.keep(Some(to), Difference { predicted: Some(left), recorded });
                Some(Missed::Otherwise)
            }
            // A program of this host may have sent it.
            None if record.own => None,
            None => {
                self.unpredicted += 1;
                self.keep(None, Difference { predicted: None, recorded });
                Some(Missed::Unpredicted)
            }
        }
    }

    /// The first that waits under a key.
    fn take(&mut self, key: u64) -> Option<Prediction> {
        let places = self.places.get_mut(&key)?;
        loop {
            let place = places.pop_front()?;
            let slot = usize::try_from(place.checked_sub(self.past)?).ok()?;
            let prediction = self.waiting.get_mut(slot)?.prediction.take();
            if prediction.is_some() {
                return prediction;
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|waiting| waiting.at + WITHIN < now) {
            self.drop_oldest();
        }
    }

    /// What has waited longest was never seen, if it still waits.
    fn drop_oldest(&mut self) {
        let Some(Waiting { keys, prediction, .. }) = self.waiting.pop_front() else { return };
        let place = self.past;
        self.past += 1;
        for key in keys {
            let Some(places) = self.places.get_mut(&key) else { continue };
            if places.front() == Some(&place) {
                places.pop_front();
            }
            if places.is_empty() {
                self.places.remove(&key);
            }
        }
        let Some(Prediction { to, left }) = prediction else { return };
        self.interface(to).never += 1;
        self.keep(Some(to), Difference { predicted: Some(left), recorded: None });
    }

    fn interface(&mut self, id: InterfaceId) -> &mut OfInterface {
        let number = usize::from(id.0);
        if self.interfaces.len() <= number {
            self.interfaces.resize(number + 1, OfInterface::default());
        }
        // There is one since the line before.
        &mut self.interfaces[number]
    }

    /// Keeps a difference, if there is room. Interfaces that turn out not to be captured must not
    /// fill it.
    fn keep(&mut self, on: Option<InterfaceId>, difference: Difference) {
        let of_it = self.differences.iter().filter(|(other, _)| *other == on).count();
        if of_it < SHOWN {
            self.differences.push((on, difference));
        }
    }

    /// What came of all, at the end of captures that hold packets of the interfaces for which
    /// `captured` says so.
    pub(crate) fn verified(&self, captured: impl Fn(InterfaceId) -> bool) -> Verified {
        let mut all = Verified { unpredicted: self.unpredicted, ..Verified::default() };
        let counts = |id: &InterfaceId| captured(*id);
        for (number, of) in (0..).zip(&self.interfaces) {
            if counts(&InterfaceId(number)) {
                all.predicted += of.predicted;
                all.seen += of.seen;
                all.otherwise += of.otherwise;
                all.never += of.never;
            }
        }
        let kept = self.differences.iter().filter(|(on, _)| on.as_ref().is_none_or(counts));
        all.differences = kept.map(|(_, difference)| difference.clone()).collect();
        let waiting = self.waiting.iter().filter_map(|waiting| waiting.prediction.as_ref());
        for Prediction { to, left } in waiting.filter(|waiting| counts(&waiting.to)) {
            let last = self.interfaces.get(usize::from(to.0)).and_then(|of| of.last);
            if last.is_some_and(|last| last > left.number) {
                all.never += 1;
                all.differences.push(Difference { predicted: Some(left.clone()), recorded: None });
            } else {
                all.open += 1;
            }
        }
        let number = |difference: &Difference| {
            let Difference { predicted, recorded } = difference;
            recorded.as_ref().or(predicted.as_ref()).map(|left| left.number)
        };
        all.differences.sort_by_key(number);
        all.differences.truncate(SHOWN);
        all
    }
}

/// Why a record was no sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Its packet was predicted to leave otherwise.
    Otherwise,
    /// Nobody predicted it.
    Unpredicted,
}

impl Missed {
    /// The stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Otherwise => "left_otherwise",
            Self::Unpredicted => "not_predicted",
        }
    }

    /// The sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Otherwise => "left otherwise than predicted",
            Self::Unpredicted => "left, though nothing predicted it",
        }
    }
}

impl Left {
    fn of(number: u64, by: Option<InterfaceId>, bytes: &[u8]) -> Self {
        Self { number, by, head: head(bytes).to_vec() }
    }
}

/// The key of exactly these bytes.
fn exactly(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn head(bytes: &[u8]) -> &[u8] {
    bytes.get(..KEPT).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: InterfaceId = InterfaceId(0);
    const WAN: InterfaceId = InterfaceId(1);

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    /// A packet marked with a number, from a port.
    fn packet(number: u8, port: u16) -> Vec<u8> {
        let mut bytes = crate::craft::ipv4(number);
        bytes[20..22].copy_from_slice(&port.to_be_bytes());
        bytes
    }

    fn predict(predictions: &mut Predictions, number: u64, bytes: &[u8], now: Instant) {
        let emission = Emission { from: Some(LAN), to: Some(WAN), maker: Maker::Other, bytes };
        predictions.predict(number, &emission, now);
    }

    fn record(number: u64, bytes: &[u8]) -> Record<'_> {
        Record { number, on: Some(WAN), own: false, bytes }
    }

    fn numbers(verified: &Verified) -> [u64; 6] {
        let Verified { predicted, seen, otherwise, never, open, unpredicted, .. } = *verified;
        [predicted, seen, otherwise, never, open, unpredicted]
    }

    #[test]
    fn what_is_seen_left_otherwise_never_and_unasked_is_counted_apart() {
        let mut predictions = Predictions::default();
        for number in 1..=4 {
            predict(&mut predictions, number, &packet(number as u8, 40_000), at(0));
        }
        predictions.saw(&record(5, &packet(1, 40_000)), at(1));
        let other = packet(2, 1024);
        assert_eq!(predictions.missed(&record(6, &other), at(1)), Some(Missed::Otherwise));
        let unasked = packet(9, 1);
        assert_eq!(predictions.missed(&record(7, &unasked), at(1)), Some(Missed::Unpredicted));
        // Of the two that wait one is older than what was recorded last; both are.
        let verified = predictions.verified(|_| true);
        assert_eq!(numbers(&verified), [4, 1, 1, 2, 0, 1]);
        assert_eq!(verified.wrong(), 4);
        let first = verified.differences.first().unwrap();
        assert_eq!(first.predicted.as_ref().unwrap().number, 3);
        let otherwise = verified
            .differences
            .iter()
            .find(|difference| difference.predicted.as_ref().is_some_and(|left| left.number == 2));
        assert_eq!(otherwise.unwrap().recorded.as_ref().unwrap().head, other);
    }

    #[test]
    fn a_second_is_the_patience_and_the_end_of_the_capture_is_forgiven() {
        let mut predictions = Predictions::default();
        predict(&mut predictions, 1, &packet(1, 1), at(0));
        predict(&mut predictions, 2, &packet(2, 1), at(1001));
        assert_eq!(numbers(&predictions.verified(|_| true)), [2, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn interfaces_that_were_not_captured_are_left_out() {
        let mut predictions = Predictions::default();
        for number in 0..3 * SHOWN as u64 {
            predict(&mut predictions, number, &packet(number as u8, 1), at(number * 2000));
        }
        assert_eq!(predictions.verified(|id| id == LAN), Verified::default());
        let verified = predictions.verified(|id| id == WAN);
        assert_eq!((verified.never, verified.differences.len()), (3 * SHOWN as u64 - 1, SHOWN));
    }

    #[test]
    fn what_programs_of_this_host_send_needs_no_prediction() {
        let mut predictions = Predictions::default();
        let own = Record { own: true, ..record(1, &[]) };
        assert_eq!(predictions.missed(&own, at(0)), None);
        assert_eq!(numbers(&predictions.verified(|_| true)), [0; 6]);
    }

    #[test]
    fn equal_packets_are_seen_one_by_one_and_memory_is_bounded() {
        let mut predictions = Predictions::default();
        for number in 0..2 {
            predict(&mut predictions, number, &packet(1, 1), at(0));
        }
        predictions.saw(&record(3, &packet(1, 1)), at(1));
        assert_eq!(numbers(&predictions.verified(|_| true)), [2, 1, 0, 1, 0, 0]);
        for number in 0..2 * MOST as u64 {
            predict(&mut predictions, number, &number.to_be_bytes(), at(2));
        }
        assert_eq!(predictions.waiting.len(), MOST);
        assert!(predictions.places.len() <= 2 * MOST);
        let places: usize = predictions.places.values().map(VecDeque::len).sum();
        assert_eq!(places, 2 * MOST);
        assert!(predictions.differences.len() <= 2 * SHOWN);
    }
}
