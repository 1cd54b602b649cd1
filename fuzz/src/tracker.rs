//! The engine under arbitrary packets: twice, one by one and in bursts.
//!
//! A scenario is a machine and what happens to it. Its packets are made from shapes that fit
//! together (few hosts and ports, sequence numbers near each other), then damaged, so that mutated
//! bytes reach what lies behind the parsers. After each step hold
//!
//! 1. the table has at most nf_conntrack_max connections, and a dump shows as many as are counted;
//! 2. no two connections share a tuple;
//! 3. a packet's connection can be looked up, and has the packet's addresses;
//! 4. what ends, is doubted, or is INVALID says why;
//! 5. the events told so far rebuild the dump, and what is expected; all of it can be printed;
//! 6. timers that ran leave nothing due;
//! 7. what leaves can be parsed, and fits its link;
//! 8. what is expected is within its limit, and its master lives;
//!
//! and in the end
//!
//! 9. the same packets in bursts came to the same outcomes, events, packets and table;
//! 10. when all timeouts have passed, nothing is left.

mod machine;
mod shape;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Display;

use arbitrary::{Arbitrary, Unstructured};
use stateward_conntrack::expect::{ExpectId, Expectation};
use stateward_conntrack::text::{
    DumpLine, EventLine, ExpectLine, ExpectProcLine, Output, ProcLine, SaveLine,
};
use stateward_conntrack::{
    CtState, Direction, Event, EventKind, EventMode, Flow, Instant, NANOS_PER_SECOND, Record,
    Subject, Tuple,
};
use stateward_engine::{Arrival, By, Emitted, Engine, From, Outcome, Port, Verdict};
use stateward_wire::Packet;

use machine::{Door, Machine};
use shape::{Announce, Step};

/// Steps after which a scenario has shown what it can.
const STEPS: usize = 200;

/// Runs the scenario that the bytes stand for.
pub fn tracker(bytes: &[u8]) {
    let scenario = scenario(bytes);
    let singly = scenario.run(1);
    let in_bursts = scenario.run(usize::from(scenario.machine.burst % 70).max(2));
    for (n, pair) in singly.outcomes.iter().zip(&in_bursts.outcomes).enumerate() {
        assert_eq!(pair.0, pair.1, "packet {n} fares otherwise in a burst");
    }
    assert_eq!(singly, in_bursts, "bursts tell something else");
}

/// What happens to which machine.
#[derive(Debug, Arbitrary)]
pub(crate) struct Scenario {
    machine: Machine,
    steps: Vec<Step>,
}

/// The scenario that the bytes stand for; any bytes stand for one.
pub(crate) fn scenario(bytes: &[u8]) -> Scenario {
    let nothing = || Scenario { machine: Machine::default(), steps: Vec::new() };
    Scenario::arbitrary_take_rest(Unstructured::new(bytes)).unwrap_or_else(|_| nothing())
}

/// All that an engine said.
#[derive(Debug, Default, PartialEq)]
struct Story {
    outcomes: Vec<Outcome>,
    events: Vec<Event>,
    emitted: Vec<Emitted>,
    last_dump: Vec<Record>,
}

impl Scenario {
    fn run(&self, burst: usize) -> Story {
        let mut run = Run {
            machine: &self.machine,
            engine: self.machine.engine(),
            now: Instant::from_secs(10_000),
            history: Vec::new(),
            waiting: Vec::new(),
            burst,
            living: BTreeMap::new(),
            expected: BTreeSet::new(),
            story: Story::default(),
        };
        for step in self.steps.iter().take(STEPS) {
            run.step(step);
        }
        run.end()
    }
}

/// A packet on its way in.
struct Waiting {
    door: Door,
    bytes: Vec<u8>,
    now: Instant,
}

struct Run<'a> {
    machine: &'a Machine,
    engine: Engine,
    now: Instant,
    /// Packets that went in, for what refers to them.
    history: Vec<Vec<u8>>,
    waiting: Vec<Waiting>,
    burst: usize,
    /// What the events make of the table.
    living: BTreeMap<u64, Tuple>,
    expected: BTreeSet<ExpectId>,
    story: Story,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Packet { wait, .. } => self.now = wait.after(self.now),
            Step::Wait(wait) => {
                self.now = wait.after(self.now);
                self.process();
                self.time_passes();
            }
            Step::Announce(announce) => {
                self.process();
                self.announce(announce);
            }
            Step::Handshake { .. } | Step::Association { .. } => {}
        }
        for (door, bytes) in step.packets(&self.history) {
            self.history.push(bytes.clone());
            self.waiting.push(Waiting { door, bytes, now: self.now });
            if self.waiting.len() >= self.burst {
                self.process();
            }
        }
    }

    fn announce(&mut self, announce: &Announce) {
        let master = self.engine.tracker().dump().nth(announce.master.into());
        let (Some(master), Some(announcement)) = (master, announce.announcement()) else { return };
        let mut flow = Flow::Confirmed(master.id);
        let tracker = self.engine.tracker_mut();
        let before = tracker.expectations().count();
        if let Err(refused) = tracker.expect(&mut flow, announcement) {
            assert!(tracker.expectations().count() <= before && !refused.to_string().is_empty());
        }
        let Run { machine, engine, living, expected, story, .. } = self;
        After { machine, engine, living, expected, story }.all();
    }

    fn process(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let from = self.machine.from();
        let Run { machine, engine, living, expected, story, .. } = self;
        let doors: Vec<Door> = waiting.iter().map(|packet| packet.door).collect();
        let originals: Vec<Vec<u8>> = waiting.iter().map(|packet| packet.bytes.clone()).collect();
        let mut arrivals: Vec<Arrival<'_>> = waiting
            .iter_mut()
            .map(|Waiting { door, bytes, now }| Arrival {
                port: door.port(),
                bytes,
                now: *now,
                link: None,
            })
            .collect();
        if let [arrival] = arrivals.as_mut_slice() {
            let outcome = engine.process(arrival, from);
            let mut after = After { machine, engine, living, expected, story };
            after.packet(outcome, &originals[0]);
        } else {
            engine.process_burst(&mut arrivals, from, |engine, n, outcome| {
                let mut after = After { machine, engine, living, expected, story };
                after.packet(outcome, &originals[n]);
            });
        }
        for ((packet, door), outcome) in waiting.iter().zip(doors).zip(self.latest(waiting.len())) {
            self.check_left_in_place(&packet.bytes, door, outcome);
        }
    }

    fn latest(&self, count: usize) -> impl Iterator<Item = &Outcome> {
        let all = &self.story.outcomes;
        all[all.len() - count..].iter()
    }

    /// 7, for what leaves in the buffer it came in.
    fn check_left_in_place(&self, bytes: &[u8], door: Door, outcome: &Outcome) {
        if outcome.in_pieces || door.port() == Port::Local || self.machine.from() != From::Wire {
            return;
        }
        if let Verdict::Forward(egress) = outcome.verdict {
            let packet = Packet::parse(bytes).expect("what is forwarded is a packet");
            assert_eq!(packet.length(), outcome.length);
            let mtu = egress.and_then(|egress| self.engine.network().interface(egress));
            assert!(mtu.is_none_or(|to| packet.length() <= to.mtu as usize), "does not fit");
        }
    }

    fn time_passes(&mut self) {
        self.engine.handle_timeout(self.now);
        // A pass over a table that was too full comes in slices.
        for _ in 0..64 {
            if self.engine.next_timeout().is_none_or(|next| next > self.engine.tracker().now()) {
                break;
            }
            self.engine.handle_timeout(self.now);
        }
        let next = self.engine.next_timeout();
        assert!(next.is_none_or(|next| next > self.engine.tracker().now()), "{next:?} is due");
        self.print();
        let Run { machine, engine, living, expected, story, .. } = self;
        After { machine, engine, living, expected, story }.all();
    }

    /// 5, the lines.
    fn print(&self) {
        let tracker = self.engine.tracker();
        let now = tracker.now();
        for record in &tracker.dump().collect::<Vec<_>>() {
            check_line(&DumpLine { record, now, uses: 1, output: OUTPUT });
            check_line(&ProcLine { record, now, uses: 2 });
            check_line(&SaveLine { kind: EventKind::New, record });
        }
        for expectation in tracker.expectations().iter() {
            assert!(expectation.deadline > now);
            check_line(&ExpectLine { expectation, now, timestamp: true });
            check_line(&ExpectProcLine { expectation, now });
        }
    }

    fn end(mut self) -> Story {
        self.process();
        self.time_passes();
        self.story.last_dump = self.engine.tracker().dump().collect();
        let mut rounds = 0;
        while let Some(next) = self.engine.next_timeout() {
            self.now = self.now.max(next);
            self.time_passes();
            rounds += 1;
            assert!(rounds < 100_000, "time passes and nothing ends");
        }
        assert_eq!(self.engine.tracker().count(), 0, "something lives for ever");
        assert!(self.engine.tracker().expectations().is_empty());
        self.story
    }
}

/// What is looked at after a step.
struct After<'a> {
    machine: &'a Machine,
    engine: &'a mut Engine,
    living: &'a mut BTreeMap<u64, Tuple>,
    expected: &'a mut BTreeSet<ExpectId>,
    story: &'a mut Story,
}

impl After<'_> {
    fn packet(&mut self, outcome: Outcome, bytes: &[u8]) {
        self.check_outcome(&outcome);
        if let Ok(packet) = Packet::parse_cut(bytes) {
            self.check_connection(&outcome, &packet);
        }
        self.story.outcomes.push(outcome);
        self.all();
    }

    /// 4.
    fn check_outcome(&self, outcome: &Outcome) {
        let ended = matches!(outcome.verdict, Verdict::Drop(_) | Verdict::Malformed);
        let invalid = outcome.state == Some(CtState::Invalid);
        if ended || invalid {
            let why = outcome.why.expect("no reason");
            assert!(!why.code().is_empty() && !why.to_string().is_empty());
        }
        let tracked =
            matches!(outcome.state, Some(CtState::New | CtState::Established | CtState::Related));
        assert!(tracked || outcome.connection.is_none(), "{outcome:?}");
        if matches!(outcome.verdict, Verdict::Held | Verdict::Malformed) {
            assert_eq!(outcome.state, None);
        }
    }

    /// 3.
    fn check_connection(&self, outcome: &Outcome, packet: &Packet<'_>) {
        let Some(connection) = outcome.connection else { return };
        let Some(record) = connection.id.and_then(|id| self.engine.tracker().get(id)) else {
            return;
        };
        if outcome.state == Some(CtState::Related) {
            return;
        }
        let tuple = match connection.direction {
            Direction::Original => record.original,
            Direction::Reply => record.reply,
        };
        assert_eq!(tuple.source(), packet.source());
        assert_eq!(tuple.destination(), packet.destination());
    }

    fn all(&mut self) {
        let before = self.story.events.len();
        self.engine.take_events(&mut self.story.events);
        for event in &self.story.events[before..] {
            follow(self.living, self.expected, event);
            check_line(&EventLine { event, output: OUTPUT });
        }
        let before = self.story.emitted.len();
        self.engine.take_emitted(&mut self.story.emitted);
        for emitted in &self.story.emitted[before..] {
            self.check_emitted(emitted);
        }
        self.check_table();
    }

    /// 7, for what is emitted.
    fn check_emitted(&self, emitted: &Emitted) {
        let Ok(packet) = Packet::parse_trusted(&emitted.bytes) else {
            // What a capture's machine saw and what its capture holds are not the same.
            assert!(self.machine.from() == From::Capture, "no packet is emitted: {emitted:?}");
            return;
        };
        if let By::Host(_) = emitted.by {
            assert!(Packet::parse(&emitted.bytes).is_ok(), "{emitted:?}");
        }
        let link = emitted.interface.and_then(|id| self.engine.network().interface(id));
        assert!(link.is_none_or(|link| packet.length() <= link.mtu as usize), "{emitted:?}");
    }

    /// 1, 2 and 5.
    fn check_table(&self) {
        let tracker = self.engine.tracker();
        assert!(tracker.count() <= tracker.sysctls().max as usize);
        let dump: Vec<Record> = tracker.dump().collect();
        assert_eq!(dump.len(), tracker.count());
        let mut tuples = HashSet::new();
        for record in &dump {
            // A flow between a host and itself may be its own answer.
            let both = [record.original, record.reply];
            let distinct = if both[0] == both[1] { 1 } else { 2 };
            for tuple in &both[..distinct] {
                let addresses = (tuple.source(), tuple.destination());
                let told_apart = (addresses, tuple.protocol(), tuple.l4(), tuple.zone());
                assert!(tuples.insert(told_apart), "two connections have {tuple:?}");
            }
        }
        if tracker.sysctls().events == EventMode::Always {
            let dumped: BTreeMap<u64, Tuple> =
                dump.iter().map(|record| (record.id.as_u64(), record.original)).collect();
            assert_eq!(&dumped, self.living, "the events tell of another table");
            let expected: BTreeSet<ExpectId> =
                tracker.expectations().iter().map(|expectation| expectation.id).collect();
            assert_eq!(&expected, self.expected, "the events tell of other expectations");
        }
        self.check_expectations();
    }

    /// 8.
    fn check_expectations(&self) {
        let tracker = self.engine.tracker();
        let all = tracker.expectations();
        assert!(all.count() <= tracker.sysctls().expect_max as usize);
        assert_eq!(all.is_empty(), all.count() == 0);
        assert_eq!(all.iter().count(), all.count());
        for expectation in all.iter() {
            let master = tracker.get(expectation.master.id).expect("its master is gone");
            assert_eq!(master.original, expectation.master.tuples[Direction::Original]);
            assert!(all.of(expectation.master.id).any(|of| of.id == expectation.id));
        }
    }
}

/// What is there as the events tell it.
fn follow(living: &mut BTreeMap<u64, Tuple>, expected: &mut BTreeSet<ExpectId>, event: &Event) {
    let record = match &event.subject {
        Subject::Connection(record) => record,
        Subject::Expectation(Expectation { id, .. }) => {
            let changed = match event.kind {
                EventKind::New => expected.insert(*id),
                EventKind::Destroy => expected.remove(id),
                EventKind::Update => false,
            };
            assert!(changed, "{event:?}");
            return;
        }
    };
    let id = record.id.as_u64();
    match event.kind {
        EventKind::New => {
            assert_eq!(living.insert(id, record.original), None, "made twice: {event:?}");
        }
        EventKind::Update => assert_eq!(living.get(&id), Some(&record.original), "{event:?}"),
        EventKind::Destroy => assert_eq!(living.remove(&id), Some(record.original), "{event:?}"),
    }
}

/// Everything that a line can hold.
const OUTPUT: Output<'static> =
    Output { timestamp: true, extended: true, id: true, ktimestamp: true, labels: None };

fn check_line(line: &dyn Display) {
    let line = line.to_string();
    assert!(!line.is_empty() && !line.contains('\n') && !line.ends_with(' '), "{line:?}");
}

/// How long nothing happens.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Wait {
    No,
    Micros(u16),
    Seconds(u8),
    Hours(u8),
    /// Clocks of captures go backwards, too.
    Back(u8),
}

impl Wait {
    fn after(self, now: Instant) -> Instant {
        let nanos = match self {
            Wait::No => 10_000,
            Wait::Micros(micros) => u64::from(micros) * 1_000,
            Wait::Seconds(seconds) => u64::from(seconds) * NANOS_PER_SECOND,
            Wait::Hours(hours) => u64::from(hours) * 3_600 * NANOS_PER_SECOND,
            Wait::Back(seconds) => {
                return Instant(now.0.saturating_sub(u64::from(seconds) * NANOS_PER_SECOND));
            }
        };
        Instant(now.0.saturating_add(nanos))
    }
}
