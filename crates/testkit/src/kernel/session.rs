//! One scenario in a namespace: set up, step, look, put back.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::attribute::Message;
use super::command;
use super::entry::Entry;
use super::event::Event;
use super::log::{self, Gathered, Hook, Walk};
use super::machine::KernelLog;
use super::namespace::Namespace;
use super::opened;
use super::scenario::{Emitted, Observation, Outcome, Port, Scenario, Step};
use super::sysctl::Saved;
use super::table::{self, Known, Statistics};
use crate::adapt::{Manner, Views};

/// After this much idle time something can have expired: then the next step looks first.
const STALE: Duration = Duration::from_millis(2);

/// A scenario being run.
pub(super) struct Session<'a> {
    namespace: &'a mut Namespace,
    scenario: &'a Scenario,
    saved: Saved,
    tables: [Vec<String>; 2],
    started: Instant,
    /// When the latest step was done.
    busy: Instant,
    known: Known,
    kernel_log: Option<KernelLog>,
    views: Views,
    sockets: Vec<OwnedFd>,
    spoilt: bool,
}

/// What a run leaves behind.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Whether the namespace must not be used again.
    pub(super) spoilt: bool,
}

const TOOLS: [[&str; 2]; 2] = [
    ["iptables-legacy-restore", "iptables-legacy-save"],
    ["ip6tables-legacy-restore", "ip6tables-legacy-save"],
];

/// Runs `scenario`. After an error the namespace must not be used again.
pub(super) fn run(namespace: &mut Namespace, scenario: &Scenario) -> io::Result<Ended> {
    let now = Instant::now();
    let mut session = Session {
        namespace,
        scenario,
        saved: Saved::default(),
        tables: [Vec::new(), Vec::new()],
        started: now,
        busy: now,
        known: Known::default(),
        kernel_log: None,
        views: Views::default(),
        sockets: Vec::new(),
        spoilt: scenario.spoils(),
    };
    session.set_up()?;
    let before = table::statistics(&mut session.namespace.requests)?;
    let started = SystemTime::now();
    session.started = Instant::now();
    let mut observations = Vec::with_capacity(scenario.steps.len());
    for step in &scenario.steps {
        observations.push(session.step(step)?);
    }
    let mut outcome = session.look(&before)?;
    outcome.started = started;
    outcome.observations = observations;
    session.put_back()?;
    Ok(Ended { outcome, spoilt: session.spoilt })
}

impl Session<'_> {
    fn set_up(&mut self) -> io::Result<()> {
        let own = |(name, _): &&(String, String)| !super::SHARED.contains(&name.as_str());
        for (name, value) in self.scenario.sysctls.iter().filter(own) {
            self.saved.change(name, value)?;
        }
        if !self.scenario.links.is_empty() {
            command::succeed(&["ip", "-batch", "-"], &self.scenario.links.join("\n"))?;
        }
        if let Some(sets) = &self.scenario.sets {
            command::succeed(&["ipset", "restore"], sets)?;
        }
        for policy in &self.scenario.policies {
            let mut words = vec!["nfct", "add", "timeout"];
            words.extend(policy.split_whitespace());
            command::succeed(&words, "")?;
        }
        let rules = [&self.scenario.rules4, &self.scenario.rules6];
        for (family, text) in rules.into_iter().enumerate() {
            if let Some(text) = text {
                self.load(family, text)?;
            }
        }
        for group in &self.scenario.nflog_groups {
            log::bind(&mut self.namespace.log, *group)?;
        }
        if self.scenario.look.trace {
            command::succeed(&["nft", "-f", "-"], TRACE_ON)?;
        }
        if self.scenario.look.kernel_log {
            self.saved.change("net.netfilter.nf_log.2", "NONE")?;
            self.saved.change("net.netfilter.nf_log.10", "NONE")?;
            self.kernel_log = Some(KernelLog::open()?);
        }
        self.drain()?;
        self.collect(&mut Observation::default())
    }

    fn load(&mut self, family: usize, text: &str) -> io::Result<()> {
        let tables = text.lines().map(str::trim_end).filter(|line| line.starts_with('*'));
        for table in tables {
            if let Some(known) = self.tables.get_mut(family) {
                known.push(table.to_owned());
            }
        }
        let [restore, _] = TOOLS.get(family).ok_or(io::ErrorKind::InvalidInput)?;
        command::succeed(&[restore], text).map(drop)
    }

    fn step(&mut self, step: &Step) -> io::Result<Observation> {
        let is_packet =
            matches!(step, Step::Packet { .. } | Step::Answer { .. } | Step::Send { .. });
        if let Some(pace) = self.scenario.pace.filter(|_| is_packet) {
            thread::sleep(pace);
        }
        let mut observation = Observation::default();
        if self.busy.elapsed() > STALE {
            if self.scenario.look.each_table {
                self.dump()?;
            }
            observation.expired = self.drain()?.events;
        }
        observation.begun = self.started.elapsed();
        self.act(step, &mut observation)?;
        observation.done = self.started.elapsed();
        let seen = self.drain()?;
        observation.events = seen.events;
        observation.walks = seen.gathered.walks;
        observation.remarks = seen.gathered.remarks;
        if self.scenario.look.each_table {
            observation.table = Some(self.dump()?);
            observation.events.extend(self.drain()?.events);
        }
        self.collect(&mut observation)?;
        if let Step::Answer { bytes, manner: Manner::Adapted, .. } = step {
            let arrived = observation.arrived().map(|(port, bytes)| (port.into(), bytes));
            self.views.note(bytes, arrived);
            let begun = observation.events.iter().filter(|event| event.name() == "EXP_NEW");
            for expectation in begun.filter_map(Event::expectation) {
                if let Some((protocol, at, told)) = expectation.listener(bytes) {
                    self.views.listens(protocol, at, told);
                }
            }
        }
        self.busy = Instant::now();
        // What defragmentation holds outlives the scenario.
        self.spoilt |= observation.held();
        Ok(observation)
    }

    fn act(&mut self, step: &Step, observation: &mut Observation) -> io::Result<()> {
        match step {
            Step::Packet { from, bytes } => observation.refused = self.send(*from, bytes)?,
            Step::Answer { from, bytes, manner } => {
                let (from, bytes) = self.views.adapt((*from).into(), bytes, *manner);
                observation.refused = self.send(from.into(), &bytes)?;
                observation.sent = Some((from.into(), bytes));
            }
            Step::Sleep(time) => thread::sleep(*time),
            Step::SleepUntil(time) => thread::sleep(time.saturating_sub(self.started.elapsed())),
            Step::Sysctl(name, value) => self.saved.change(name, value)?,
            Step::FlushTable => table::flush(&mut self.namespace.requests)?,
            Step::Rules4(text) => self.load(0, text)?,
            Step::Rules6(text) => self.load(1, text)?,
            Step::Open(wanted) => self.sockets.push(wanted.open()?),
            Step::Send { socket, to, payload } => {
                let from = self.sockets.get(*socket).ok_or(io::ErrorKind::InvalidInput)?;
                observation.refused = refusal(opened::send(from, *to, payload))?;
            }
            Step::Command { argv, input } => {
                let words: Vec<&str> = argv.iter().map(String::as_str).collect();
                observation.command = Some(command::run(&words, input)?);
            }
        }
        Ok(())
    }

    fn send(&self, from: Port, bytes: &[u8]) -> io::Result<Option<i32>> {
        refusal(match from {
            Port::Lan => self.namespace.lan.send(bytes),
            Port::Wan => self.namespace.wan.send(bytes),
            Port::Local => self.namespace.local.send(bytes),
        })
    }

    fn dump(&mut self) -> io::Result<Vec<Entry>> {
        self.known.look(&mut self.namespace.requests)
    }

    fn drain(&mut self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let loopback = self.namespace.loopback;
        let known = &mut self.known;
        self.namespace.events.drain(|message| {
            known.note(message);
            seen.events.extend(Event::decode(message));
        })?;
        let mut failed = None;
        self.namespace.log.drain(|message: &Message<'_>| {
            failed = seen.gathered.add(message, loopback).err().or(failed.take());
        })?;
        failed.map_or(Ok(seen), Err)
    }

    fn collect(&mut self, observation: &mut Observation) -> io::Result<()> {
        let ports = [(Port::Lan, &mut self.namespace.lan), (Port::Wan, &mut self.namespace.wan)];
        for (port, device) in ports {
            while let Some(bytes) = device.receive()? {
                let walk = walk_of(&bytes, device.index, &observation.walks);
                observation.out.push(Emitted { port, bytes, walk });
            }
        }
        if let Some(log) = &mut self.kernel_log {
            observation.kernel_log = log.drain()?;
        }
        Ok(())
    }

    fn look(&mut self, before: &Statistics) -> io::Result<Outcome> {
        let table = self.dump()?;
        let expired = self.drain()?.events;
        let expectations = table::expectations(&mut self.namespace.requests)?;
        let lines = |name| -> io::Result<Vec<String>> {
            let text = fs::read_to_string(format!("/proc/thread-self/net/{name}"))?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        let (mut proc_table, mut proc_expectations, mut tool_table) = Default::default();
        if self.scenario.look.proc {
            proc_table = lines("nf_conntrack")?;
            proc_expectations = lines("nf_conntrack_expect")?;
        }
        if self.scenario.look.tool {
            let text = command::succeed(&["conntrack", "-L", "-o", "extended"], "")?;
            tool_table = text.lines().map(str::to_owned).collect();
        }
        let mut statistics = table::statistics(&mut self.namespace.requests)?;
        for (name, value) in &mut statistics {
            *value -= before.get(name).copied().unwrap_or_default().min(*value);
        }
        let [rules4, rules6] = [self.save(0)?, self.save(1)?];
        table::flush(&mut self.namespace.requests)?;
        let flushed = self.drain()?.events;
        Ok(Outcome {
            started: SystemTime::UNIX_EPOCH,
            observations: Vec::new(),
            expired,
            table,
            expectations,
            proc_table,
            proc_expectations,
            tool_table,
            statistics,
            rules4,
            rules6,
            flushed,
        })
    }

    fn save(&self, family: usize) -> io::Result<Option<String>> {
        match (self.tables.get(family), TOOLS.get(family)) {
            (Some(tables), Some([_, save])) if !tables.is_empty() => {
                command::succeed(&[save, "-c"], "").map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Makes the namespace as it was, unless it will not be used again.
    fn put_back(&mut self) -> io::Result<()> {
        if self.spoilt {
            return Ok(());
        }
        self.saved.restore()?;
        for (tables, [restore, _]) in self.tables.iter().zip(TOOLS) {
            if !tables.is_empty() {
                let text: String = tables.iter().map(|table| empty(table)).collect();
                command::succeed(&[restore], &text)?;
            }
        }
        if self.scenario.sets.is_some() {
            command::succeed(&["ipset", "destroy"], "")?;
        }
        for group in &self.scenario.nflog_groups {
            log::unbind(&mut self.namespace.log, *group)?;
        }
        if self.scenario.look.trace {
            command::succeed(&["nft", "-f", "-"], TRACE_OFF)?;
        }
        Ok(())
    }
}

const TRACE_ON: &str = "table inet judge_trace {
    chain prerouting { type filter hook prerouting priority -399; meta nftrace set 1; }
    chain output { type filter hook output priority -399; meta nftrace set 1; }
}";
const TRACE_OFF: &str = "delete table inet judge_trace";

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    gathered: Gathered,
}

/// The text that empties a table, named with its star, and opens its policies.
fn empty(table: &str) -> String {
    let chains: &[&str] = match table {
        "*raw" => &["PREROUTING", "OUTPUT"],
        "*nat" => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
        "*mangle" => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
        _ => &["INPUT", "FORWARD", "OUTPUT"],
    };
    let policies: String = chains.iter().map(|chain| format!(":{chain} ACCEPT [0:0]\n")).collect();
    format!("{table}\n{policies}COMMIT\n")
}

/// What the kernel says to a packet it does not take is an observation; other errors are the
/// judge's.
fn refusal(sent: io::Result<()>) -> io::Result<Option<i32>> {
    match sent {
        Ok(()) => Ok(None),
        Err(error) => error.raw_os_error().map(Some).ok_or(error),
    }
}

/// The walk that a packet seen leaving by interface `index` ends: the one that was last seen in
/// POSTROUTING with the same addresses, protocol and (IPv4) identification.
fn walk_of(bytes: &[u8], index: u32, walks: &[Walk]) -> Option<usize> {
    let identity = identity(bytes)?;
    walks.iter().position(|walk| {
        let last = walk.sightings.iter().rev().find(|sighting| sighting.hook == Hook::Postrouting);
        last.is_some_and(|sighting| {
            sighting.output == Some(index) && self::identity(&sighting.bytes) == Some(identity)
        })
    })
}

/// Addresses and, for IPv4, identification and protocol: what fragments of a packet share with it.
fn identity(bytes: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    if bytes.first()? >> 4 == 6 {
        return Some((bytes.get(8..40)?, &[], 0));
    }
    Some((bytes.get(12..20)?, bytes.get(4..6)?, *bytes.get(9)?))
}
