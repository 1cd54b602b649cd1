//! Our side: what [`Engine`] did with a dialogue.

use std::collections::BTreeMap;

use stateward_conntrack::expect::Announcement;
use stateward_conntrack::text::{DumpLine, Output, ProcLine};
use stateward_conntrack::{
    CtState, Direction, Event, EventMode, Instant, L4Key, ProtocolInfo, Record, Sysctls, Tracker,
    Tuple,
};
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::{OwnSource, ReversePath, SourceCheck};
use stateward_engine::{Arrival, At, By, Config, Emitted, Engine, From, Outcome, Verdict, Why};
use stateward_wire::Packet;

use super::coverage::{Cell, Coverage, Known};
use super::heard::{
    End, Fate, Heard, Left, Numbers, Told, blank_fragment_ids, timeless_lines, without_order,
};
use super::rules;
use super::theirs::Moment;
use crate::dialogue::{Dialogue, Port, Settings, Step};

const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);
/// `nf_conntrack_log_invalid`: the invalid packets of every protocol.
const ALL_PROTOCOLS: u8 = 255;

/// What the engine with this secret does with a dialogue, its packets coming at these moments.
pub(super) fn heard(
    dialogue: &Dialogue,
    moments: &[Moment],
    secret: u64,
    coverage: &mut Coverage,
) -> Heard {
    let mut side = Side {
        engine: engine(&dialogue.settings, secret),
        numbers: Numbers::default(),
        known: Known::default(),
        coverage,
    };
    side.known.settings(side.engine.tracker().sysctls());
    let steps = dialogue.steps.iter().zip(moments);
    let packets = steps.map(|(step, moment)| side.fate(step, moment)).collect();
    let tracker = side.engine.tracker();
    let mut table: Vec<Told> = tracker.dump().map(|record| told(&record, "")).collect();
    table.sort();
    let lines = lines(tracker);
    let statistics = columns(tracker);
    let rules = rules::counted(&side.engine);
    side.coverage.note_rules(&rules);
    Heard { packets, table, lines, rules, statistics }
}

/// The table as /proc and the conntrack tool would print it.
fn lines(tracker: &Tracker) -> Vec<String> {
    let now = tracker.now();
    let output = Output { extended: true, ..Output::default() };
    let lines = tracker.dump().flat_map(|record| {
        let proc = ProcLine { record: &record, now, uses: 2 }.to_string();
        [proc, DumpLine { record: &record, now, uses: 1, output }.to_string()]
    });
    timeless_lines(lines)
}

/// The engine and what is noted beside it.
struct Side<'a> {
    engine: Engine,
    numbers: Numbers,
    known: Known,
    coverage: &'a mut Coverage,
}

impl Side<'_> {
    fn fate(&mut self, step: &Step, moment: &Moment) -> Fate {
        let now = Instant(moment.now);
        let engine = &mut self.engine;
        let port = match step.from {
            Port::Lan => stateward_engine::Port::Interface(LAN),
            Port::Wan => stateward_engine::Port::Interface(WAN),
            Port::Local => stateward_engine::Port::Local,
        };
        for (name, value) in &step.changes {
            set(engine.tracker_mut().sysctls_mut(), name, *value);
        }
        if !step.changes.is_empty() {
            self.known.settings(engine.tracker().sysctls());
        }
        engine.handle_timeout(now);
        let (mut ended, mut given_up) = (Vec::new(), Vec::new());
        engine.take_events(&mut ended);
        engine.take_emitted(&mut given_up);
        let mut given_up: Vec<Left> = given_up.iter().filter_map(left).collect();
        given_up.sort();
        let numbers = &mut self.numbers;
        let expired = ended.iter().filter_map(|event| event_told(event, numbers)).collect();
        let cell = Cell::of(&step.bytes, &self.known, engine.tracker());
        let mut bytes = step.bytes.clone();
        engine.set_nat_wish(moment.wish);
        let outcome =
            engine.process(&mut Arrival { port, bytes: &mut bytes, now, link: None }, From::Wire);
        let tracker = engine.tracker();
        self.coverage.note(&step.bytes, cell, &mut self.known, (&outcome, tracker));
        // Helpers always say why.
        let is_told = matches!(outcome.why, Some(Why::Helper(_)))
            || tells_reason_of(tracker.sysctls().log_invalid, &step.bytes);
        let (mut events, mut emitted) = (Vec::new(), Vec::new());
        engine.take_events(&mut events);
        engine.take_emitted(&mut emitted);
        bytes.truncate(outcome.length);
        let mut out = out(&outcome, bytes, &emitted);
        blank_fragment_ids(&step.bytes, &mut out);
        let fate = Fate {
            state: outcome.state.map(CtState::name),
            direction: outcome.connection.map(|connection| connection.direction.name()),
            end: end(&outcome, out.iter().any(|left| !left.by_host)),
            reasons: reason(&outcome).filter(|_| is_told).into_iter().collect(),
            foreign_reasons: 0,
            expired: without_order(expired),
            given_up,
            events: events.iter().filter_map(|event| event_told(event, numbers)).collect(),
            announced: events.iter().filter_map(announced).collect(),
            out,
            path: rules::path_of(engine),
            answers: emitted.iter().filter_map(answer).collect(),
        };
        self.coverage.note_nat(&step.bytes, &outcome, &fate);
        fate
    }
}

/// An engine between the kernel driver's two interfaces.
fn engine(settings: &Settings, secret: u64) -> Engine {
    /// A dialogue has no more connections, and a small table is soon made.
    const SMALL: u32 = 4096;
    /// So large that hardly ever one connection is another's neighbour, as in the kernel.
    const LARGE: u32 = 1 << 20;
    let sysctls = sysctls(settings);
    let max = if settings.is_full() { LARGE } else { SMALL };
    let tracker = stateward_conntrack::Config {
        sysctls: Sysctls { max, ..sysctls.clone() },
        seed: [secret, 0],
        ..Default::default()
    };
    let network = network(settings);
    let mut engine = Engine::new(Config { tracker, network, ..Config::default() });
    *engine.tracker_mut().sysctls_mut() = sysctls;
    engine.tracker_mut().set_listening(true);
    let policies = settings.policies.iter().filter_map(|words| rules::policy(words));
    policies.for_each(|policy| engine.add_timeout_policy(&policy));
    let rules = settings.rules.as_ref().map_or(Ok(Vec::new()), rules::read);
    assert_eq!(rules.as_ref().err(), None, "rules that the kernel takes");
    rules.iter().flatten().for_each(|rules| engine.set_rules(rules));
    engine
}

/// The kernel driver's, and what the settings say.
fn sysctls(settings: &Settings) -> Sysctls {
    let mut sysctls = Sysctls {
        acct: true,
        events: EventMode::Always,
        log_invalid: ALL_PROTOCOLS,
        ..Sysctls::default()
    };
    for (name, value) in &settings.sysctls {
        set(&mut sysctls, name, *value);
    }
    sysctls
}

fn network(settings: &Settings) -> Network {
    let reverse_path = match settings.rp_filter {
        0 => ReversePath::Any,
        1 => ReversePath::Strict,
        _ => ReversePath::Loose,
    };
    let interface = |name: &str, addresses: [&str; 2], mtu| Interface {
        name: name.to_owned(),
        addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        mtu,
        link: Link::PointToPoint,
        source_check: SourceCheck { reverse_path, own: OwnSource::Accepted },
        group: 0,
    };
    let mtu = settings.mtu.map_or(1500, u32::from);
    let interfaces = vec![
        interface("lan0", ["192.168.1.1/24", "fd00:1::1/64"], 1500),
        interface("wan0", ["203.0.113.1/24", "fd00:2::1/64"], mtu),
    ];
    let defaults = ["0.0.0.0/0", "::/0"].iter().filter_map(|to| to.parse().ok());
    let mut routes: Vec<Route> = defaults.map(|to| Route { to, dev: WAN, via: None }).collect();
    if settings.unrouted {
        routes.clear();
    }
    let routing = if settings.host { Routing::Host } else { Routing::Forwarding };
    Network::new(interfaces, &routes, routing)
}

/// Whether the kernel says why a packet is INVALID when it is told to for this protocol alone.
fn tells_reason_of(log_invalid: u8, bytes: &[u8]) -> bool {
    let upper = Packet::parse(bytes).ok().and_then(|packet| packet.upper());
    log_invalid == ALL_PROTOCOLS || upper.is_some_and(|upper| upper.protocol == log_invalid)
}

/// The tracker's reason, or the helper's; routing's hides it.
fn reason(outcome: &Outcome) -> Option<String> {
    match outcome.why {
        Some(Why::Track(reason)) => Some(reason.code().to_owned()),
        Some(Why::Helper(doubt)) => Some(doubt.code().to_owned()),
        _ => None,
    }
}

fn set(sysctls: &mut Sysctls, name: &str, value: u64) {
    let set = sysctls.set(&format!("nf_conntrack_{name}"), &value.to_string());
    assert_eq!(set, Ok(()), "a sysctl that the kernel has: {name}={value}");
}

fn answer(emitted: &Emitted) -> Option<&'static str> {
    match emitted.by {
        By::Packet => None,
        By::Host(state) => Some(state.name()),
    }
}

fn end(outcome: &Outcome, leaves: bool) -> End {
    match outcome.verdict {
        Verdict::Malformed => End::Refused,
        // Thrown away on arrival, before any hook.
        Verdict::Drop(At::Routing) if outcome.state.is_none() => End::Refused,
        Verdict::Held | Verdict::Drop(At::Defrag) => End::Defragmentation,
        Verdict::Drop(At::Conntrack) => End::Tracker,
        Verdict::Drop(At::Routing) => End::Routing,
        Verdict::Drop(At::Confirm | At::Helper) => End::Confirm,
        Verdict::Drop(At::Rule | At::Nat) | Verdict::Reject | Verdict::Queue(_) => End::Rule,
        Verdict::Input => End::Delivered,
        // It cannot be cut as its next link asks for.
        Verdict::Forward(Some(_)) | Verdict::Output(Some(_)) if !leaves => End::Confirm,
        Verdict::Forward(_) | Verdict::Output(_) => End::Left,
    }
}

fn out(outcome: &Outcome, bytes: Vec<u8>, emitted: &[Emitted]) -> Vec<Left> {
    let mut out = Vec::new();
    if let Verdict::Forward(Some(to)) | Verdict::Output(Some(to)) = outcome.verdict
        && !outcome.in_pieces
    {
        out.push(Left::new(port(to), false, bytes));
    }
    out.extend(emitted.iter().filter_map(left));
    out.sort_by_key(|left| left.port != Port::Lan);
    out
}

fn left(emitted: &Emitted) -> Option<Left> {
    let by_host = emitted.by != By::Packet;
    Some(Left::new(port(emitted.interface?), by_host, emitted.bytes.clone()))
}

fn port(interface: InterfaceId) -> Port {
    if interface == LAN { Port::Lan } else { Port::Wan }
}

fn event_told(event: &Event, numbers: &mut Numbers) -> Option<Told> {
    let record = event.connection()?;
    let mut told = told(record, event.name());
    told.connection = numbers.number(told.event, record.id.as_u64());
    Some(told)
}

fn told(record: &Record, event: &'static str) -> Told {
    let counters = record.counters.map(|sides| sides.0.map(|side| (side.packets, side.bytes)));
    let counters = counters.map_or([None, None], |sides| sides.map(Some));
    Told {
        event,
        original: words(&record.original),
        reply: words(&record.reply),
        master: record.master.as_ref().map(unzoned),
        connection: 0,
        status: Some(u32::from(record.status.0)),
        timeout: record.timeout,
        protocol: record.protocol.map(protocol),
        mark: record.mark,
        counters,
        start: record.timestamps.map(|times| times.start.0),
        stop: record.timestamps.and_then(|times| times.stop).map(|stop| stop.0),
        told: record.event_time.map(|told| told.0),
        helper: record.helper.map(ToOwned::to_owned),
        labels: record.labels.map(|labels| labels.to_le_bytes().to_vec()),
        present: present(record),
    }
}

fn announced(event: &Event) -> Option<String> {
    let expectation = event.expectation()?;
    let Announcement { tuple, mask, class, flags, helper, nat, .. } = &expectation.announced;
    let source = (mask.address(tuple.family()), mask.port());
    // All zeroes are not told.
    let nat = nat.filter(|nat| !nat.address.is_unspecified() || nat.port != 0);
    let nat = nat.map(|nat| (nat.address, nat.port, nat.direction as u32));
    Some(format!(
        "{} {helper} {} mask {source:?} of {} class {} flags {} nat {nat:?}",
        event.name(),
        unzoned(tuple),
        unzoned(&expectation.master.tuples[Direction::Original]),
        class.number,
        flags.0,
    ))
}

fn words(tuple: &Tuple) -> String {
    unzoned(tuple) + &zone_words(tuple.zone().0)
}

/// A tuple where the kernel does not tell its zone: a master's, and one that is expected.
fn unzoned(tuple: &Tuple) -> String {
    let key = match tuple.l4() {
        L4Key::Ports { source, destination } => format!("{source}>{destination}"),
        L4Key::Gre { source, destination } => format!("key {source}>{destination}"),
        L4Key::Icmp { kind, code, id } => format!("type {kind} code {code} id {id}"),
        L4Key::None => String::new(),
    };
    format!("{}>{} {} {key}", tuple.source(), tuple.destination(), tuple.protocol())
}

/// The zone of a tuple, if it is not the usual one.
pub(super) fn zone_words(zone: u16) -> String {
    if zone == 0 { String::new() } else { format!(" zone {zone}") }
}

fn protocol(info: ProtocolInfo) -> String {
    match info {
        ProtocolInfo::Tcp(tcp) => {
            let (scale, flags) = match tcp.sides {
                None => ([None; 2], [None; 2]),
                Some(sides) => (
                    sides.0.map(|side| Some(side.window_scale)),
                    sides.0.map(|side| Some(side.flags)),
                ),
            };
            format!("{} scale {scale:?} flags {flags:x?}", tcp.state)
        }
        ProtocolInfo::Sctp(sctp) => {
            let tags = sctp.tags.map_or([None; 2], |tags| tags.0.map(Some));
            format!("{} tags {tags:x?}", sctp.state)
        }
    }
}

/// The attributes that a message with this record has.
fn present(record: &Record) -> std::collections::BTreeSet<String> {
    let mut names = vec!["STATUS", "ID"];
    let mut tuples = Vec::new();
    let zone = record.original.zone().0;
    let one_zone = zone != 0 && record.reply.zone().0 == zone;
    if one_zone {
        names.push("ZONE");
    }
    let sides = [("TUPLE_ORIG", Some(&record.original)), ("TUPLE_REPLY", Some(&record.reply))];
    for (name, tuple) in sides.into_iter().chain([("TUPLE_MASTER", record.master.as_ref())]) {
        let Some(tuple) = tuple else { continue };
        names.push(name);
        let fields: &[&str] = match tuple.l4() {
            L4Key::Icmp { .. } if tuple.protocol() == 58 => {
                &["PROTO_ICMPV6_ID", "PROTO_ICMPV6_TYPE", "PROTO_ICMPV6_CODE"]
            }
            L4Key::Icmp { .. } => &["PROTO_ICMP_ID", "PROTO_ICMP_TYPE", "PROTO_ICMP_CODE"],
            L4Key::None => &[],
            _ => &["PROTO_SRC_PORT", "PROTO_DST_PORT"],
        };
        tuples.push(format!("{name}/PROTO_NUM"));
        if tuple.zone().0 != 0 && !one_zone && name != "TUPLE_MASTER" {
            tuples.push(format!("{name}/ZONE"));
        }
        tuples.extend(fields.iter().map(|field| format!("{name}/{field}")));
    }
    let mut add = |there: bool, more: &[&'static str]| {
        if there {
            names.extend(more);
        }
    };
    add(record.timeout.is_some(), &["TIMEOUT"]);
    add(record.mark.is_some(), &["MARK"]);
    add(record.counters.is_some(), &["COUNTERS_ORIG", "COUNTERS_REPLY"]);
    add(record.timestamps.is_some(), &["TIMESTAMP", "TIMESTAMP_START"]);
    add(record.timestamps.is_some_and(|times| times.stop.is_some()), &["TIMESTAMP_STOP"]);
    add(record.event_time.is_some(), &["TIMESTAMP_EVENT"]);
    add(record.labels.is_some(), &["LABELS"]);
    add(record.helper.is_some(), &["HELP"]);
    match record.protocol {
        Some(ProtocolInfo::Tcp(tcp)) => {
            add(true, &["PROTOINFO", "PROTOINFO_TCP_STATE"]);
            add(
                tcp.sides.is_some(),
                &[
                    "PROTOINFO_TCP_WSCALE_ORIGINAL",
                    "PROTOINFO_TCP_WSCALE_REPLY",
                    "PROTOINFO_TCP_FLAGS_ORIGINAL",
                    "PROTOINFO_TCP_FLAGS_REPLY",
                ],
            );
        }
        Some(ProtocolInfo::Sctp(sctp)) => {
            add(true, &["PROTOINFO", "PROTOINFO_SCTP_STATE"]);
            add(
                sctp.tags.is_some(),
                &["PROTOINFO_SCTP_VTAG_ORIGINAL", "PROTOINFO_SCTP_VTAG_REPLY"],
            );
        }
        None => {}
    }
    names.into_iter().map(str::to_owned).chain(tuples).collect()
}

fn columns(tracker: &Tracker) -> BTreeMap<&'static str, u64> {
    let (statistics, expected) = (tracker.statistics(), tracker.expectations().statistics());
    BTreeMap::from([
        ("invalid", statistics.invalid),
        ("insert_failed", statistics.insert_failed),
        ("drop", statistics.drop),
        ("early_drop", statistics.early_drop),
        ("error", statistics.error),
        ("clash_resolve", statistics.clash_resolve),
        ("chaintoolong", statistics.chaintoolong),
        ("found", statistics.found),
        ("insert", 0),
        ("search_restart", 0),
        ("expect_new", expected.new),
        ("expect_create", expected.create),
        ("expect_delete", expected.delete),
    ])
}
