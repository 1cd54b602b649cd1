//! The kernel's side: what it did with a dialogue.

use std::time::{Duration, UNIX_EPOCH};

use stateward_nat::Wish;
use stateward_wire::protocol::{ICMP, ICMPV6};

use super::heard::{
    End, Fate, Heard, Left, Numbers, Told, blank_fragment_ids, timeless_lines, without_order,
};
use super::ours::zone_words;
use super::rules;
use crate::adapt::{self, Ends, Manner};
use crate::dialogue::{Dialogue, Settings};
use crate::kernel;
use crate::kernel::{
    Checkpoint, CtState, Direction, Entry, Event, Hook, Key, Look, Observation, Outcome, Scenario,
    Step, Tuple, Walk,
};

/// The scenario that holds a dialogue.
pub(super) fn scenario(dialogue: &Dialogue) -> Scenario {
    let Settings { sysctls, rules, policies, .. } = &dialogue.settings;
    let named = |(name, value): &(String, u64)| {
        (format!("net.netfilter.nf_conntrack_{name}"), value.to_string())
    };
    let expires = dialogue.steps.iter().any(|step| step.pause != Duration::ZERO);
    // What NAT chooses is told, or else to be looked up.
    let untold = sysctls.iter().any(|(name, _)| name == "events")
        || rules.iter().flatten().any(|text| text.contains("--ctevents"));
    let answers = dialogue.steps.iter().any(|step| step.manner != Manner::AsIs);
    let each_table = expires || (answers && untold);
    let mut steps = Vec::new();
    let mut when = Duration::ZERO;
    for step in &dialogue.steps {
        if step.pause != Duration::ZERO {
            when += step.pause;
            steps.push(Step::SleepUntil(when));
        }
        let changes = step.changes.iter().map(named);
        steps.extend(changes.map(|(name, value)| Step::Sysctl(name, value)));
        let (from, bytes) = (step.from.into(), step.bytes.clone());
        steps.push(match step.manner {
            Manner::AsIs => Step::Packet { from, bytes },
            manner => Step::Answer { from, bytes, manner },
        });
    }
    let mut sysctls: Vec<_> = sysctls.iter().map(named).collect();
    if dialogue.settings.host {
        let forwarding = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
        sysctls.extend(forwarding.map(|name| (name.to_owned(), "0".to_owned())));
    }
    if dialogue.settings.rp_filter != 0 {
        let asked = dialogue.settings.rp_filter.to_string();
        sysctls.push(("net.ipv4.conf.all.rp_filter".to_owned(), asked));
    }
    Scenario {
        sysctls,
        links: links(&dialogue.settings),
        steps,
        policies: policies.clone(),
        rules4: rules.as_ref().map(|[v4, _]| v4.clone()),
        rules6: rules.as_ref().map(|[_, v6]| v6.clone()),
        look: Look { each_table, trace: rules.is_some(), ..Look::default() },
        ..Scenario::default()
    }
}

fn links(settings: &Settings) -> Vec<String> {
    let mut links = Vec::new();
    if settings.unrouted {
        links.push("route del default dev wan0".to_owned());
        links.push("route del ::/0 dev wan0".to_owned());
    }
    if let Some(mtu) = settings.mtu {
        links.push(format!("link set wan0 mtu {mtu}"));
    }
    if settings.host && links.is_empty() {
        // Whether it forwards changes more than that, so that it cannot be undone.
        links.push("link set lo up".to_owned());
    }
    links
}

/// The dialogue with its packets as the kernel got them.
pub(super) fn sent(dialogue: &Dialogue, outcome: &Outcome, scenario: &Scenario) -> Dialogue {
    let mut sent = dialogue.clone();
    for (step, packet) in sent.steps.iter_mut().zip(packets(outcome, scenario)) {
        step.from = packet.from.into();
        step.bytes = packet.bytes.to_vec();
    }
    sent
}

/// What the kernel did with one packet.
struct Seen<'a> {
    from: kernel::Port,
    bytes: &'a [u8],
    seen: &'a Observation,
    /// Events that no packet caused, since the packet before.
    expired: Vec<&'a Event>,
    /// What left meanwhile.
    given_up: Vec<Left>,
}

/// When a packet came, and what NAT chose for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Nanoseconds since 1970.
    pub(super) now: u64,
    /// The ports, or the ICMP identifier, that its connection has got.
    pub(super) wish: Wish,
}

/// When the kernel saw each packet of the dialogue.
pub(super) fn moments(outcome: &Outcome, scenario: &Scenario) -> Vec<Moment> {
    let start = outcome.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let packets = packets(outcome, scenario).into_iter();
    let moment = |packet: Seen<'_>| Moment {
        now: (start + packet.seen.begun).as_nanos() as u64,
        wish: Wish {
            announced: announced_elsewhere(packet.seen),
            ..wish(packet.seen, packet.bytes)
        },
    };
    packets.map(moment).collect()
}

/// What NAT chose for a packet: what is told of the connection that it began (not all of which is
/// written into packets), else the packet as it was where it was seen last.
fn wish(seen: &Observation, bytes: &[u8]) -> Wish {
    let told = seen.events.iter().find(|event| event.name() == "NEW").and_then(Event::connection);
    let listed = || began_with(seen.table.as_deref()?, bytes);
    if let Some(reply) = told.or_else(listed).and_then(|entry| entry.reply) {
        let [source, destination] = match reply.key {
            Key::Ports { source, destination } | Key::Keys { source, destination } => {
                [destination, source]
            }
            // What answers has one identifier: the second binding's, if both chose one.
            Key::Icmp { id, .. } => [id, bound_before(seen).unwrap_or(id)],
            Key::None => return Wish::NONE,
        };
        return Wish { source: Some(source), destination: Some(destination), ..Wish::NONE };
    }
    let last = seen.walks.first().and_then(|walk| walk.sightings.last());
    let Some((last, ends)) = last.and_then(|last| Some((last, adapt::ends(&last.bytes)?))) else {
        return Wish::NONE;
    };
    let [source, destination] = match ends.protocol {
        ICMP | ICMPV6 => [ends.keys[0], bound_before(seen).unwrap_or(ends.keys[0])],
        _ => ends.keys,
    };
    // What ended before its source was bound does not tell to what: a rule's answer to it may have
    // bound that.
    let is_bound = matches!(last.hook, Hook::Input | Hook::Postrouting);
    Wish { source: is_bound.then_some(source), destination: Some(destination), ..Wish::NONE }
}

/// The ports that helpers took in place of those that were not free.
fn announced_elsewhere(seen: &Observation) -> [Option<u16>; 4] {
    let mut wished = [None; 4];
    let begun = seen.events.iter().filter(|event| event.name() == "EXP_NEW");
    let expected = begun.filter_map(Event::expectation);
    let ports = expected.filter_map(|expectation| {
        let told = port_toward(expectation.tuple.as_ref()?)?;
        let own = port_from(expectation.nat?.tuple.as_ref()?)?;
        (told != own).then_some(told)
    });
    wished.iter_mut().zip(ports).for_each(|(wish, port)| *wish = Some(port));
    wished
}

/// The port that a tuple goes to.
fn port_toward(tuple: &Tuple) -> Option<u16> {
    match tuple.key {
        Key::Ports { destination, .. } => Some(destination),
        _ => None,
    }
}

/// The port that a tuple comes from.
fn port_from(tuple: &Tuple) -> Option<u16> {
    match tuple.key {
        Key::Ports { source, .. } => Some(source),
        _ => None,
    }
}

fn packets<'a>(outcome: &'a Outcome, scenario: &'a Scenario) -> Vec<Seen<'a>> {
    let mut packets = Vec::new();
    let (mut expired, mut given_up) = (Vec::new(), Vec::new());
    for (step, seen) in scenario.steps.iter().zip(&outcome.observations) {
        expired.extend(&seen.expired);
        match step {
            Step::Packet { from, bytes } | Step::Answer { from, bytes, .. } => {
                let sent = seen.sent.as_ref();
                let (from, bytes) = sent.map_or((*from, bytes), |(from, bytes)| (*from, bytes));
                let expired = std::mem::take(&mut expired);
                let given_up = std::mem::take(&mut given_up);
                packets.push(Seen { from, bytes, seen, expired, given_up });
            }
            _ => {
                expired.extend(&seen.events);
                given_up.extend(out(seen, false));
            }
        }
    }
    packets
}

/// The identifier of an echo when its destination had been bound.
fn bound_before(seen: &Observation) -> Option<u16> {
    const ECHO: u16 = 8;
    const ECHO_V6: u16 = 128;
    let mut sightings = seen.walks.first()?.sightings.iter();
    let bound = sightings.find(|sighting| {
        let hook = matches!(sighting.hook, Hook::Prerouting | Hook::Output);
        hook && sighting.checkpoint == Checkpoint::Leave
    })?;
    let [id, question] = adapt::ends(&bound.bytes)?.keys;
    matches!(question, ECHO | ECHO_V6).then_some(id)
}

/// The connection of a table that a packet belongs to in the original direction.
fn began_with<'a>(table: &'a [Entry], bytes: &[u8]) -> Option<&'a Entry> {
    let ends = adapt::ends(bytes)?;
    table.iter().find(|entry| {
        entry.original.is_some_and(|tuple| {
            let keys = match tuple.key {
                Key::Ports { source, destination } => [source, destination],
                Key::Icmp { kind, id, .. } => [id, kind.into()],
                Key::Keys { .. } | Key::None => [0; 2],
            };
            let Ends { protocol, source, destination, .. } = ends;
            (tuple.protocol, tuple.source, tuple.destination, keys)
                == (protocol, source, destination, ends.keys)
        })
    })
}

/// What the kernel did.
pub(super) fn heard(outcome: &Outcome, scenario: &Scenario) -> Heard {
    let mut numbers = Numbers::default();
    let packets = packets(outcome, scenario).iter().map(|seen| fate(seen, &mut numbers)).collect();
    let mut table: Vec<Told> = outcome.table.iter().map(|entry| told(entry, "")).collect();
    table.sort();
    let lines = outcome.proc_table.iter().chain(&outcome.tool_table).cloned();
    let lines = timeless_lines(lines);
    let statistics = outcome.statistics.clone();
    Heard { packets, table, lines, rules: rules::counted_by_kernel(outcome), statistics }
}

fn fate(packet: &Seen<'_>, numbers: &mut Numbers) -> Fate {
    let Seen { from, bytes, seen, expired, given_up } = packet;
    let expired = expired.iter().filter_map(|event| event_told(event, numbers)).collect();
    let mut given_up = given_up.clone();
    given_up.sort();
    let events = seen.events.iter().filter_map(|event| event_told(event, numbers)).collect();
    // What is refused on arrival has no walk; the first is that of the host's answer then.
    let from_host = *from == kernel::Port::Local;
    let is_own = |walk: &&Walk| walk.hooks().first() == Some(&Hook::Prerouting) || from_host;
    let own = seen.walks.first().filter(is_own);
    // What the host tells itself does not leave.
    let left = |walk: usize| seen.out.iter().any(|out| out.walk == Some(walk));
    let answers = seen.walks.iter().enumerate().skip(usize::from(own.is_some()));
    let mut out = out(seen, own.is_some());
    blank_fragment_ids(bytes, &mut out);
    Fate {
        state: own.and_then(Walk::state).map(state),
        direction: own.and_then(Walk::direction).map(direction),
        end: own.map_or(End::Refused, |walk| end(walk, seen)),
        reasons: seen.invalid().iter().map(|words| words.to_string()).collect(),
        foreign_reasons: answers.clone().filter(|(_, walk)| is_invalid(walk)).count(),
        expired: without_order(expired),
        given_up,
        events,
        announced: seen.events.iter().filter_map(announced).collect(),
        out,
        path: rules::path_of_kernel(seen),
        answers: answers.filter(|(n, _)| left(*n)).map(|(_, walk)| answer(walk)).collect(),
    }
}

fn is_invalid(walk: &Walk) -> bool {
    walk.state() == Some(CtState::Invalid)
}

fn event_told(event: &Event, numbers: &mut Numbers) -> Option<Told> {
    let entry = event.connection()?;
    let mut told = told(entry, event.name());
    told.connection = numbers.number(told.event, entry.id.unwrap_or_default().into());
    Some(told)
}

fn announced(event: &Event) -> Option<String> {
    let expectation = event.expectation()?;
    let mask = expectation.mask.as_ref();
    let source = mask.map(|mask| match mask.key {
        Key::Ports { source, .. } | Key::Keys { source, .. } => (mask.source, source),
        Key::Icmp { id, .. } => (mask.source, id),
        Key::None => (mask.source, 0),
    });
    let source = source.map_or_else(|| "none".to_owned(), |source| format!("{source:?}"));
    let nat = expectation.nat.and_then(|nat| {
        let tuple = nat.tuple?;
        let port = match tuple.key {
            Key::Ports { source, .. } | Key::Keys { source, .. } => source,
            Key::Icmp { id, .. } => id,
            Key::None => 0,
        };
        Some((tuple.source, port, nat.direction.unwrap_or_default()))
    });
    Some(format!(
        "{} {} {} mask {source} of {} class {} flags {} nat {nat:?}",
        event.name(),
        expectation.helper.as_deref().unwrap_or_default(),
        words(expectation.tuple.as_ref(), expectation.zone),
        words(expectation.master.as_ref(), None),
        expectation.class.unwrap_or_default(),
        expectation.flags.unwrap_or_default(),
    ))
}

/// What a packet that the host made was to conntrack.
fn answer(walk: &Walk) -> &'static str {
    walk.state().map_or("unclassified", state)
}

const fn state(state: CtState) -> &'static str {
    match state {
        CtState::New => "NEW",
        CtState::Established => "ESTABLISHED",
        CtState::Related => "RELATED",
        CtState::Invalid => "INVALID",
        CtState::Untracked => "UNTRACKED",
    }
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Original => "original",
        Direction::Reply => "reply",
    }
}

fn end(walk: &Walk, seen: &Observation) -> End {
    if seen.out.iter().any(|out| out.walk == Some(0)) {
        return End::Left;
    }
    if walk.reached(Hook::Input, Checkpoint::Delivered) {
        return End::Delivered;
    }
    if walk.swallowed_by_defragmentation() {
        return End::Defragmentation;
    }
    match (walk.hooks().last(), walk.state()) {
        (_, None) => End::Tracker,
        (Some(Hook::Prerouting | Hook::Output | Hook::Forward), _) => End::Routing,
        _ => End::Confirm,
    }
}

fn out(seen: &Observation, walked: bool) -> Vec<Left> {
    let left = seen
        .out
        .iter()
        .map(|out| Left::new(out.port.into(), !walked || out.walk != Some(0), out.bytes.clone()));
    left.collect()
}

fn told(entry: &Entry, event: &'static str) -> Told {
    let counters = |side: usize| {
        let counters = entry.counters.get(side).copied().flatten();
        counters.map(|counters| (counters.packets, counters.bytes))
    };
    let mut present: Vec<String> = entry.present.iter().map(|name| name.to_string()).collect();
    // The number of its holders differs from look to look.
    present.retain(|name| name != "USE");
    // What has moved sequence numbers shows in the packets; nothing prints it.
    present.retain(|name| !name.starts_with("SEQ_ADJ"));
    Told {
        event,
        original: words(entry.original.as_ref(), entry.zone),
        reply: words(entry.reply.as_ref(), entry.zone),
        master: entry.master.as_ref().map(|master| words(Some(master), None)),
        connection: 0,
        status: entry.status.map(|status| status.0),
        timeout: entry.timeout,
        protocol: protocol(entry),
        mark: entry.mark,
        counters: [counters(0), counters(1)],
        start: entry.lifetime.and_then(|lifetime| lifetime.start),
        stop: entry.lifetime.and_then(|lifetime| lifetime.stop),
        told: entry.event_time,
        helper: entry.helper.clone(),
        labels: entry.labels.clone(),
        present: present.into_iter().collect(),
    }
}

fn words(tuple: Option<&Tuple>, zone: Option<u16>) -> String {
    let Some(tuple) = tuple else { return "no tuple".to_owned() };
    let key = match tuple.key {
        Key::Ports { source, destination } => format!("{source}>{destination}"),
        Key::Keys { source, destination } => format!("key {source}>{destination}"),
        Key::Icmp { kind, code, id } => format!("type {kind} code {code} id {id}"),
        Key::None => String::new(),
    };
    let zone = zone_words(zone.or(tuple.zone).unwrap_or_default());
    format!("{}>{} {} {key}{zone}", tuple.source, tuple.destination, tuple.protocol)
}

fn protocol(entry: &Entry) -> Option<String> {
    if let Some(tcp) = entry.tcp {
        let state = tcp.state.map_or("?", |state| state.name());
        let flags = tcp.flags.map(|flags| flags.map(|(flags, _)| flags));
        return Some(format!("{state} scale {:?} flags {flags:x?}", tcp.window_scale));
    }
    let sctp = entry.sctp?;
    let state = sctp.state.map_or("?", |state| state.name());
    Some(format!("{state} tags {:x?}", sctp.tags))
}
