use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stateward_wire::protocol;

use super::*;
use crate::tuple::L4Key;

const AUDIO: ExpectClass = ExpectClass { number: 1, name: "audio", max_expected: 2, timeout: 180 };
const SIGNALLING: ExpectClass =
    ExpectClass { number: 0, name: "signalling", max_expected: 1, timeout: 180 };
const UNBOUNDED: ExpectClass = ExpectClass { number: 2, name: "", max_expected: 0, timeout: 5 };

const NOW: Instant = Instant::from_secs(1_000);

/// The fourth byte of an address is all that differs.
fn address(host: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)).into(),
    }
}

fn udp(source: (u8, u16), destination: (u8, u16), zone: u16) -> Tuple {
    udp_over(Family::V4, source, destination, zone)
}

fn udp_over(family: Family, source: (u8, u16), destination: (u8, u16), zone: u16) -> Tuple {
    let ports = L4Key::Ports { source: source.1, destination: destination.1 };
    let (from, to) = (address(source.0, family), address(destination.0, family));
    Tuple::new(from, to, protocol::UDP, ports, Zone(zone)).unwrap()
}

fn master(slot: u32, zone: u16) -> Master {
    let original = udp((1, 40_000 + slot as u16), (2, 5060), zone);
    let tuples = PerDir([original, original.inverse().unwrap()]);
    Master { id: ConnId { slot, generation: 0 }, tuples, reports: ExpectEvents::ALL }
}

/// One that comes from anywhere to port `port` of host 1.
fn anywhere(port: u16, class: ExpectClass) -> Announcement {
    Announcement {
        tuple: udp((0, 0), (1, port), 0),
        mask: ExpectMask::NONE,
        class,
        flags: ExpectFlags::default(),
        helper: "sip",
        assigns: None,
        nat: None,
        identical: Identical::OfMaster,
    }
}

/// A table and what it told.
struct Fixture {
    table: Expectations,
    events: Vec<Event>,
    now: Instant,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { table: Expectations::new(), events: Vec::new(), now: NOW }
    }

    fn log(&mut self) -> (&mut Expectations, Log<'_>) {
        (&mut self.table, Log { at: self.now, events: &mut self.events })
    }

    fn expect(&mut self, master: Master, what: Announcement) -> Result<ExpectId, ExpectError> {
        let (table, log) = self.log();
        table.insert(master, what, 4096, log)
    }

    /// The destination ports of what is expected, oldest first.
    fn ports(&self) -> Vec<u16> {
        self.table.iter().map(|expectation| port(&expectation.announced)).collect()
    }

    /// What was told since the last call, as `+port` and `-port`.
    fn told(&mut self) -> String {
        let told = self.events.drain(..).map(|event| {
            let sign = if event.kind == EventKind::New { '+' } else { '-' };
            format!("{sign}{}", port(&event.expectation().unwrap().announced))
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

fn port(announced: &Announcement) -> u16 {
    announced.tuple.key.destination_port
}

#[test]
fn a_full_class_evicts_the_oldest_of_its_master() {
    let mut f = Fixture::new();
    for port in [1, 2, 3] {
        f.expect(master(0, 0), anywhere(port, AUDIO)).unwrap();
    }
    assert_eq!(f.told(), "+1 +2 -1 +3");
    f.expect(master(0, 0), anywhere(4, SIGNALLING)).unwrap();
    f.expect(master(1, 0), anywhere(5, AUDIO)).unwrap();
    assert_eq!(f.ports(), [2, 3, 4, 5], "other classes and masters have room of their own");
}

#[test]
fn the_same_again_replaces_what_was_there() {
    let mut f = Fixture::new();
    let first = f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    f.now = NOW + Span::secs(10);
    let second = f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    assert_eq!(f.told(), "+1 -1 +1");
    assert!(f.table.get(first).is_none());
    assert_eq!(f.table.get(second).unwrap().deadline, NOW + Span::secs(190));
}

#[test]
fn the_same_of_another_class_is_there_already() {
    let mut f = Fixture::new();
    f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    assert_eq!(f.expect(master(0, 0), anywhere(1, SIGNALLING)), Err(ExpectError::Already));
}

#[test]
fn the_same_of_another_master_clashes_unless_it_may_serve_both() {
    let mut f = Fixture::new();
    f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    assert_eq!(f.expect(master(1, 0), anywhere(1, AUDIO)), Err(ExpectError::Clash));
    let shared = Announcement { identical: Identical::OfAnyMaster, ..anywhere(1, AUDIO) };
    assert_eq!(f.expect(master(1, 0), shared), Err(ExpectError::Already));
    assert_eq!(f.ports(), [1]);
}

#[test]
fn what_overlaps_is_refused_and_changes_nothing() {
    let mut f = Fixture::new();
    f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    f.expect(master(0, 0), anywhere(2, AUDIO)).unwrap();
    let from_one = Announcement {
        tuple: udp((9, 9), (1, 1), 0),
        mask: ExpectMask::EXACT,
        ..anywhere(1, AUDIO)
    };
    assert_eq!(f.expect(master(0, 0), from_one), Err(ExpectError::Clash));
    assert_eq!(f.ports(), [1, 2], "no room was made for it either");
}

#[test]
fn two_sources_may_be_expected_at_one_destination() {
    let mut f = Fixture::new();
    let from = |host| Announcement {
        tuple: udp((host, 0), (1, 1), 0),
        mask: ExpectMask::ADDRESS,
        ..anywhere(1, AUDIO)
    };
    let eight = f.expect(master(0, 0), from(8)).unwrap();
    let nine = f.expect(master(1, 0), from(9)).unwrap();
    let found = |host| {
        let tuple = udp((host, 777), (1, 1), 0);
        f.table.find(&tuple, Zone::DEFAULT).map(|expectation| expectation.id)
    };
    assert_eq!([found(8), found(9), found(10)], [Some(eight), Some(nine), None]);
}

#[test]
fn a_mask_is_the_same_however_it_is_written() {
    let mut f = Fixture::new();
    let in_full = ExpectMask::new("255.255.255.255".parse().unwrap(), 0);
    for mask in [ExpectMask::ADDRESS, in_full] {
        f.expect(master(0, 0), Announcement { mask, ..anywhere(1, AUDIO) }).unwrap();
    }
    assert_eq!(f.told(), "+1 -1 +1", "replaced, not a clash");
}

#[test]
fn zones_do_not_see_each_other() {
    let mut f = Fixture::new();
    let mut one_sided = master(1, 7);
    one_sided.tuples[Direction::Reply].key.zone = 0;
    let plain = f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    let zoned = f.expect(one_sided, anywhere(1, AUDIO)).unwrap();
    // The zone counts that the packet is in, not the one of its tuple's first direction.
    let found = |zone, tuple: Tuple| f.table.find(&tuple, Zone(zone)).map(|found| found.id);
    assert_eq!(found(0, udp((3, 3), (1, 1), 0)), Some(plain));
    assert_eq!(found(7, udp((3, 3), (1, 1), 7)), Some(zoned));
    assert_eq!(found(7, udp((3, 3), (1, 1), 0)), Some(zoned));
    assert_eq!(found(8, udp((3, 3), (1, 1), 8)), None);
}

#[test]
fn the_global_limit_is_asked_after_room_was_made() {
    let mut f = Fixture::new();
    for port in [1, 2] {
        f.expect(master(0, 0), anywhere(port, AUDIO)).unwrap();
    }
    let (table, log) = f.log();
    table.insert(master(0, 0), anywhere(3, AUDIO), 2, log).unwrap();
    let (table, log) = f.log();
    let refused = table.insert(master(1, 0), anywhere(4, AUDIO), 2, log);
    assert_eq!(refused, Err(ExpectError::TableFull));
    assert_eq!(f.told(), "+1 +2 -1 +3");
}

#[test]
fn a_lowered_class_limit_is_refused_after_one_has_given_way() {
    let mut f = Fixture::new();
    for port in [1, 2] {
        f.expect(master(0, 0), anywhere(port, AUDIO)).unwrap();
    }
    let lowered = ExpectClass { max_expected: 1, ..AUDIO };
    assert_eq!(f.expect(master(0, 0), anywhere(3, lowered)), Err(ExpectError::ClassFull));
    assert_eq!(f.ports(), [2]);
}

#[test]
fn an_arrival_uses_up_all_but_the_permanent() {
    let mut f = Fixture::new();
    let once = f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    let lasting = Announcement { flags: ExpectFlags::PERMANENT, ..anywhere(2, AUDIO) };
    let lasting = f.expect(master(0, 0), lasting).unwrap();
    f.told();
    let (table, log) = f.log();
    assert_eq!(table.arrive(once, log).unwrap().id, once);
    let (table, log) = f.log();
    assert_eq!(table.arrive(lasting, log).unwrap().id, lasting);
    let (table, log) = f.log();
    assert_eq!(table.arrive(once, log), None);
    assert_eq!(f.told(), "-1");
    assert_eq!(*f.table.statistics(), ExpectStatistics { new: 2, create: 2, delete: 1 });
}

#[test]
fn the_inactive_is_found_once_it_is_active() {
    let mut f = Fixture::new();
    let waiting = Announcement { flags: ExpectFlags::INACTIVE, ..anywhere(1, AUDIO) };
    let id = f.expect(master(0, 0), waiting).unwrap();
    let tuple = udp((3, 3), (1, 1), 0);
    assert!(f.table.find(&tuple, Zone::DEFAULT).is_none());
    assert!(f.table.activate(id));
    assert_eq!(f.table.find(&tuple, Zone::DEFAULT).unwrap().id, id);
}

#[test]
fn the_end_of_a_master_takes_the_newest_first() {
    let mut f = Fixture::new();
    for (slot, port) in [(0, 1), (1, 2), (0, 3)] {
        f.expect(master(slot, 0), anywhere(port, AUDIO)).unwrap();
    }
    f.told();
    let (table, log) = f.log();
    table.remove_of(master(0, 0).id, log);
    assert_eq!((f.told(), f.ports()), ("-3 -1".into(), vec![2]));
}

#[test]
fn time_ends_them_in_the_order_of_their_deadlines_and_not_before() {
    let mut f = Fixture::new();
    let slow = f.expect(master(0, 0), anywhere(1, AUDIO)).unwrap();
    f.expect(master(0, 0), anywhere(2, SIGNALLING)).unwrap();
    f.expect(master(0, 0), anywhere(3, UNBOUNDED)).unwrap();
    assert!(f.table.refresh(slow, Span::secs(200), NOW));
    f.told();
    assert_eq!(f.table.next_deadline(), Some(NOW + Span::secs(5)));
    f.table.expire(NOW + Span(Span::secs(5).0 - 1), &mut f.events);
    assert_eq!(f.told(), "");
    f.table.expire(NOW + Span::secs(1_000), &mut f.events);
    let at: Vec<_> = f.events.iter().map(|event| NOW.until(event.at).as_secs()).collect();
    assert_eq!((f.told(), at), ("-3 -2 -1".into(), vec![5, 180, 200]));
    assert!(f.table.is_empty() && f.table.next_deadline().is_none());
}

#[test]
fn a_master_that_reports_nothing_tells_nothing_here_either() {
    for (reports, told) in [(ExpectEvents::NONE, ""), (ExpectEvents::NEW, "+1")] {
        let mut f = Fixture::new();
        f.expect(Master { reports, ..master(0, 0) }, anywhere(1, AUDIO)).unwrap();
        let (table, log) = f.log();
        table.clear(log);
        assert_eq!(f.told(), told);
    }
}

// Against a list that is searched from end to end. Sources are two bits of address and two of port,
// so that "a packet could match both" can be tried out with every packet there is.

const LIMIT: u32 = 7;
const CLASSES: [ExpectClass; 3] = [SIGNALLING, AUDIO, UNBOUNDED];
/// Masters: the last one is in a zone.
const ZONES: [u16; 3] = [0, 0, 5];

#[derive(Clone, Debug)]
struct Said {
    master: usize,
    class: usize,
    family: Family,
    source: (u8, u16),
    mask: (u8, u16),
    port: u16,
    flags: u32,
    shared: bool,
}

impl Said {
    fn announcement(&self) -> Announcement {
        let mask = match self.family {
            Family::V4 => Ipv4Addr::new(255, 255, 255, 252 | self.mask.0).into(),
            Family::V6 => Ipv6Addr::from_bits(u128::MAX << 2 | u128::from(self.mask.0)).into(),
        };
        let shared = if self.shared { Identical::OfAnyMaster } else { Identical::OfMaster };
        Announcement {
            tuple: udp_over(self.family, self.source, (1, self.port), 99),
            mask: ExpectMask::new(mask, 0xfffc | self.mask.1),
            flags: ExpectFlags(self.flags),
            identical: shared,
            ..anywhere(0, CLASSES[self.class])
        }
    }

    /// Whether a packet of that family from `source` to `port` in the zone is one of these.
    fn matches(&self, family: Family, source: (u8, u16), port: u16, zone: u16) -> bool {
        let (host, from) = source;
        self.family == family
            && ZONES[self.master] == zone
            && self.port == port
            && self.source.0 & self.mask.0 == host & self.mask.0
            && self.source.1 & self.mask.1 == from & self.mask.1
    }

    fn overlaps(&self, other: &Said) -> bool {
        packets().any(|(family, source, port, zone)| {
            self.matches(family, source, port, zone) && other.matches(family, source, port, zone)
        })
    }

    fn is_same(&self, other: &Said) -> bool {
        ZONES[self.master] == ZONES[other.master]
            && (self.family, self.source, self.mask, self.port)
                == (other.family, other.source, other.mask, other.port)
    }
}

/// Every packet there is.
fn packets() -> impl Iterator<Item = (Family, (u8, u16), u16, u16)> {
    (0..256u16).map(|bits| {
        let family = if bits & 1 == 0 { Family::V4 } else { Family::V6 };
        let zone = if bits & 2 == 0 { 0 } else { 5 };
        (family, ((bits >> 2 & 3) as u8, bits >> 4 & 3), bits >> 6 & 1, zone)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Say(Said),
    Arrive(usize),
    Remove(usize),
    Refresh(usize, u32),
    Activate(usize),
    End(usize),
    Confirm(usize),
    Wait(u32),
    Clear,
}

fn said() -> impl Strategy<Value = Said> {
    let source = (0u8..4, 0u16..4);
    let mask = (0u8..4, 0u16..4);
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    (0usize..3, 0usize..3, family, source, mask, 0u16..2, 0u32..4, any::<bool>()).prop_map(
        |(master, class, family, source, mask, port, flags, shared)| Said {
            master,
            class,
            family,
            source,
            mask,
            port,
            flags,
            shared,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => said().prop_map(Step::Say),
        4 => (0usize..256).prop_map(Step::Arrive),
        1 => (0usize..9).prop_map(Step::Remove),
        2 => (0usize..9, 0u32..300).prop_map(|(nth, seconds)| Step::Refresh(nth, seconds)),
        1 => (0usize..9).prop_map(Step::Activate),
        1 => (0usize..3).prop_map(Step::End),
        1 => (0usize..3).prop_map(Step::Confirm),
        2 => (0u32..100).prop_map(Step::Wait),
        1 => Just(Step::Clear),
    ]
}

/// The list.
#[derive(Default)]
struct Model {
    list: Vec<(ExpectId, Said, Instant)>,
}

impl Model {
    /// What an announcement pushes out, or why it is refused, and then what it has pushed out.
    fn judge(&self, said: &Said) -> (Vec<ExpectId>, Result<(), ExpectError>) {
        let others = || self.list.iter().filter(|(_, other, _)| other.overlaps(said));
        let same = others().find(|(_, other, _)| {
            other.is_same(said) && (said.shared || other.master == said.master)
        });
        let mut out = Vec::new();
        match same {
            Some((id, other, _)) if (other.master, other.class) == (said.master, said.class) => {
                out.push(*id);
            }
            Some(_) => return (out, Err(ExpectError::Already)),
            None if others().next().is_some() => return (out, Err(ExpectError::Clash)),
            None => {}
        }
        let class = CLASSES[said.class];
        let peers: Vec<_> = self
            .list
            .iter()
            .filter(|(id, other, _)| {
                !out.contains(id) && (other.master, other.class) == (said.master, said.class)
            })
            .map(|(id, ..)| *id)
            .collect();
        if class.max_expected != 0 && peers.len() >= class.max_expected as usize {
            out.push(peers[0]);
        }
        let full = self.list.len() - out.len() >= LIMIT as usize;
        (out, if full { Err(ExpectError::TableFull) } else { Ok(()) })
    }

    fn drop(&mut self, gone: &[ExpectId]) {
        self.list.retain(|(id, ..)| !gone.contains(id));
    }

    fn nth(&self, n: usize) -> ExpectId {
        self.list.get(n).map_or(ExpectId(u64::MAX), |(id, ..)| *id)
    }
}

proptest! {
    #[test]
    fn the_table_does_what_a_list_would(steps in proptest::collection::vec(step(), 1..120)) {
        let mut f = Fixture::new();
        let mut model = Model::default();
        let mut masters: Vec<_> = (0..3).map(|n| master(n as u32, ZONES[n])).collect();
        // What the events say is there.
        let mut told = Vec::new();
        for step in steps {
            match step {
                Step::Say(said) => {
                    let (gone, expected) = model.judge(&said);
                    model.drop(&gone);
                    let (table, log) = f.log();
                    let got = table.insert(masters[said.master], said.announcement(), LIMIT, log);
                    prop_assert_eq!(got.map(|_| ()), expected);
                    if let Ok(id) = got {
                        let deadline = f.now + Span::secs(CLASSES[said.class].timeout);
                        model.list.push((id, said, deadline));
                    }
                }
                Step::Arrive(n) => {
                    let (family, source, port, zone) = packets().nth(n).unwrap();
                    let tuple = udp_over(family, source, (1, port), zone);
                    let found = f.table.find(&tuple, Zone(zone)).map(|found| found.id);
                    if let Some(id) = found {
                        let (table, log) = f.log();
                        let arrived = table.arrive(id, log).unwrap();
                        if !arrived.announced.flags.has(ExpectFlags::PERMANENT) {
                            model.drop(&[id]);
                        }
                    }
                }
                Step::Remove(n) => {
                    let id = model.nth(n);
                    let (table, mut log) = f.log();
                    let removed = table.remove(id, &mut log).is_some();
                    prop_assert_eq!(removed, n < model.list.len());
                    model.drop(&[id]);
                }
                Step::Refresh(n, seconds) => {
                    let done = f.table.refresh(model.nth(n), Span::secs(seconds), f.now);
                    prop_assert_eq!(done, n < model.list.len());
                    if let Some((.., deadline)) = model.list.get_mut(n) {
                        *deadline = f.now + Span::secs(seconds);
                    }
                }
                Step::Activate(n) => {
                    f.table.activate(model.nth(n));
                    if let Some((_, said, _)) = model.list.get_mut(n) {
                        said.flags &= !2;
                    }
                }
                Step::End(n) => {
                    let (table, log) = f.log();
                    table.remove_of(masters[n].id, log);
                    model.list.retain(|(_, said, _)| said.master != n);
                }
                Step::Confirm(n) => {
                    let before = masters[n].id;
                    masters[n].id.generation += 1;
                    f.table.confirmed(before, masters[n].id);
                }
                Step::Wait(seconds) => {
                    f.now = f.now + Span::secs(seconds);
                    f.table.expire(f.now, &mut f.events);
                    model.list.retain(|(.., deadline)| *deadline > f.now);
                    let ends: Vec<_> = f.events.iter().map(|event| event.at).collect();
                    prop_assert!(ends.is_sorted());
                }
                Step::Clear => {
                    let (table, log) = f.log();
                    table.clear(log);
                    model.list.clear();
                }
            }
            for event in f.events.drain(..) {
                let id = event.expectation().unwrap().id;
                match event.kind {
                    EventKind::New => told.push(id),
                    _ => told.retain(|other| *other != id),
                }
            }
            agrees(&f.table, &model, &masters)?;
            prop_assert_eq!(&told, &f.table.iter().map(|one| one.id).collect::<Vec<_>>());
        }
    }
}

fn agrees(table: &Expectations, model: &Model, masters: &[Master]) -> Result<(), TestCaseError> {
    prop_assert!(table.count() <= LIMIT as usize);
    prop_assert_eq!(table.is_empty(), model.list.is_empty());
    prop_assert_eq!(table.next_deadline(), model.list.iter().map(|(.., end)| *end).min());
    let ours: Vec<_> = table.iter().map(|one| (one.id, one.deadline, one.master.id)).collect();
    let theirs: Vec<_> =
        model.list.iter().map(|(id, said, end)| (*id, *end, masters[said.master].id)).collect();
    prop_assert_eq!(ours, theirs);
    for (n, master) in masters.iter().enumerate() {
        let ours: Vec<_> = table.of(master.id).map(|one| one.id).collect();
        let theirs: Vec<_> = model.list.iter().filter(|(_, said, _)| said.master == n).collect();
        prop_assert_eq!(ours, theirs.iter().map(|(id, ..)| *id).collect::<Vec<_>>());
        for class in CLASSES.iter().filter(|class| class.max_expected != 0) {
            let count = theirs.iter().filter(|(_, said, _)| CLASSES[said.class] == *class).count();
            prop_assert!(count <= class.max_expected as usize);
        }
    }
    for (family, source, port, zone) in packets() {
        let tuple = udp_over(family, source, (1, port), zone);
        let found = table.find(&tuple, Zone(zone)).map(|one| one.id);
        let mut matching =
            model.list.iter().filter(|(_, said, _)| said.matches(family, source, port, zone));
        let first = matching.next();
        prop_assert!(matching.next().is_none(), "two overlap");
        let active = first.filter(|(_, said, _)| said.flags & 2 == 0);
        prop_assert_eq!(found, active.map(|(id, ..)| *id));
    }
    Ok(())
}
