//! The walk against what the running kernel's TRACE and counters showed for the same rules.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use stateward_conntrack::{
    Counter, CtState, Direction, Instant, Labels, PerDir, Standing, Status, Tuple, Zone,
};
use stateward_wire::edit::Edit;
use stateward_wire::{Family, Packet, TcpFlags, compose};

use super::*;
use crate::context::{Connection, Copied, Tracking};
use crate::matches::pkttype::To;
use crate::restore::{RestoreOptions, restore};
use crate::shared::Shared;
use crate::targets::nat::Translation;
use crate::targets::reject::Reject;
use crate::{ShowCounters, Source};

/// A packet on its own.
pub(crate) struct Alone {
    bytes: Vec<u8>,
    link_header: Option<[u8; 14]>,
    interfaces: [&'static str; 2],
    state: Option<CtState>,
    mark: u32,
    now: Instant,
    passed: Vec<Step>,
    logged: Vec<String>,
    rejected: usize,
    translated: Vec<String>,
    standing: Option<Standing>,
    shared: Rc<RefCell<Shared>>,
    connection: Option<Connection>,
    /// What the connection has counted.
    pub(crate) counters: Option<PerDir<Counter>>,
    /// What listeners got of it.
    pub(crate) copied: Vec<Copied>,
    /// The connection's labels.
    pub(crate) labels: Cell<Option<Labels>>,
    /// Whose helper announced the connection.
    pub(crate) announcing_helper: Option<&'static str>,
    /// How much of it was needed in one piece.
    pub(crate) gathered: usize,
    /// To whom the link sent it.
    pub(crate) sent_to: To,
    /// How the tracker shall see it.
    pub(crate) tracking: Option<Tracking>,
    /// What its ways take.
    pub(crate) path_mtu: Option<u32>,
}

impl Alone {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let (passed, logged) = (Vec::new(), Vec::new());
        let now = Instant::from_secs(1);
        Self {
            bytes,
            link_header: None,
            interfaces: ["lan0", "wan0"],
            state: Some(CtState::New),
            mark: 0,
            now,
            passed,
            logged,
            rejected: 0,
            translated: Vec::new(),
            shared: Rc::default(),
            standing: None,
            connection: None,
            counters: None,
            copied: Vec::new(),
            labels: Cell::new(None),
            announcing_helper: None,
            gathered: 0,
            sent_to: To::Us,
            tracking: None,
            path_mtu: Some(1500),
        }
    }

    /// The same packet so many seconds after the epoch.
    pub(crate) fn at(self, second: u64) -> Self {
        Self { now: Instant::from_secs(second), ..self }
    }

    /// Gives it a connection of this mark.
    pub(crate) fn connect(&mut self, mark: u32) {
        let Some(packet) = self.packet() else { return };
        let original = Tuple::of(&packet, Zone::DEFAULT).unwrap();
        let reply = original.inverse().unwrap();
        let (direction, status) = (Direction::Original, Status::default());
        self.connection = Some(Connection { direction, status, original, reply, expires: 0, mark });
    }

    /// The mark of its connection, and its own.
    pub(crate) fn marks(&mut self) -> (Option<u32>, &mut u32) {
        (self.connection.map(|connection| connection.mark), &mut self.mark)
    }

    pub(crate) fn at_millis(self, millis: u64) -> Self {
        Self { now: Instant(millis * 1_000_000), ..self }
    }

    pub(crate) fn set_state(&mut self, state: CtState) {
        self.state = Some(state);
    }

    /// How all connections stand.
    pub(crate) fn set_standing(&mut self, standing: Option<Standing>) {
        self.standing = standing;
    }

    pub(crate) fn udp(port: u16) -> Self {
        let end = |last, port| (IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
        Self::new(compose::udp(end(1, 4000), end(2, port), b"1234"))
    }

    /// Any protocol's header and what follows it, from 192.0.2.1 or 2001:db8::1 to the next
    /// address.
    pub(crate) fn of(family: Family, protocol: u8, upper: &[u8]) -> Self {
        let end = |last| match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())),
        };
        Self::new(compose::ip(end(1), end(2), protocol, upper))
    }

    /// UDP from port 4000, in IPv4 and in IPv6.
    pub(crate) fn udp_of(family: Family, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        Self::of(family, 17, &[0x0f, 0xa0, high, low, 0, 8, 0, 0])
    }

    /// A TCP header from port 4000, no flag of which is set.
    pub(crate) fn tcp_of(family: Family, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        let mut header = [0; 20];
        header[..4].copy_from_slice(&[0x0f, 0xa0, high, low]);
        header[12] = 0x50;
        Self::of(family, 6, &header)
    }

    /// The byte that was called type of service, or the traffic class.
    pub(crate) fn set_tos(&mut self, tos: u8) {
        if self.bytes[0] >> 4 == 6 {
            self.bytes[0] = 0x60 | tos >> 4;
            self.bytes[1] = tos << 4;
            return;
        }
        self.bytes[1] = tos;
        self.sum_up();
    }

    /// A SYN with these options and a good checksum.
    pub(crate) fn syn(family: Family, options: &[u8]) -> Self {
        let end = |last, port| (Self::of(family, 6, &[]).ends(last), port);
        Self::new(compose::tcp(&compose::Tcp {
            source: end(0, 4000),
            destination: end(1, 80),
            sequence: 1,
            acknowledgment: 0,
            flags: TcpFlags::SYN,
            window: 1000,
            options,
            payload: &[],
        }))
    }

    fn ends(&self, number: usize) -> IpAddr {
        let packet = Packet::parse(&self.bytes).unwrap();
        [packet.source(), packet.destination()][number]
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the first bytes behind the addresses true again.
    pub(crate) fn sum_up(&mut self) {
        let header = &mut self.bytes[..20];
        header[10..12].copy_from_slice(&[0, 0]);
        let sum = stateward_wire::checksum::of(header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
    }

    /// The last eight bytes of an IPv6 packet's source address.
    pub(crate) fn set_source_end(&mut self, end: [u8; 8]) {
        self.bytes[16..24].copy_from_slice(&end);
    }

    /// Where it comes in and leaves.
    pub(crate) fn set_interfaces(&mut self, interfaces: [&'static str; 2]) {
        self.interfaces = interfaces;
    }

    /// What rules did: the steps met, the lines logged, the mark.
    pub(crate) fn traces(&self) -> (&[Step], &[String], u32) {
        (&self.passed, &self.logged, self.mark)
    }

    /// What is known beside it.
    pub(crate) fn know(&mut self, known: crate::known::Known) {
        self.shared.borrow_mut().known = known;
    }

    /// The Ethernet header it came with.
    pub(crate) fn set_link_header(&mut self, header: [u8; 14]) {
        self.link_header = Some(header);
    }

    /// A byte of the header behind the network header.
    pub(crate) fn upper(&mut self, at: usize) -> &mut u8 {
        let network = if self.bytes[0] >> 4 == 6 { 40 } else { 20 };
        &mut self.bytes[network + at]
    }
}

impl Context for Alone {
    fn packet(&self) -> Option<Packet<'_>> {
        Packet::parse(&self.bytes).ok()
    }
    fn edit(&mut self) -> Edit<'_> {
        let layout = Packet::parse(&self.bytes).unwrap().layout();
        Edit::new(&mut self.bytes, layout)
    }
    fn insert_tcp_option(&mut self, option: [u8; 4]) {
        let layout = Packet::parse(&self.bytes).unwrap().layout();
        self.bytes.extend([0; 4]);
        assert!(Edit::new(&mut self.bytes, layout).insert_tcp_option(option).is_some());
    }
    fn gather(&mut self, length: usize) {
        self.gathered = self.gathered.max(length);
    }
    fn path_mtu(&self) -> Option<u32> {
        self.path_mtu
    }
    fn input(&self) -> &str {
        self.interfaces[0]
    }
    fn output(&self) -> &str {
        self.interfaces[1]
    }
    fn link_header(&self) -> Option<&[u8; 14]> {
        self.link_header.as_ref()
    }
    fn station(&self) -> Option<[u8; 6]> {
        let [_, _, _, _, _, _, source @ .., _, _] = self.link_header?;
        Some(source)
    }
    fn sent_to(&self) -> To {
        self.sent_to
    }
    fn now(&self) -> Instant {
        self.now
    }
    fn state(&self) -> Option<CtState> {
        self.state
    }
    fn connection(&self) -> Option<Connection> {
        self.connection
    }
    fn counters(&self) -> Option<PerDir<Counter>> {
        self.counters
    }
    fn labels(&self) -> Option<Labels> {
        self.labels.get()
    }
    fn add_label(&self, label: u16) {
        self.labels.set(self.labels.get().map(|labels| labels | 1 << label));
    }
    fn announcing_helper(&self) -> Option<&'static str> {
        self.announcing_helper
    }
    fn set_connection_mark(&mut self, mark: u32) {
        if let Some(connection) = &mut self.connection {
            connection.mark = mark;
        }
    }
    fn standing(&self, _: &Tuple) -> Option<Standing> {
        self.standing
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn shared(&self) -> &RefCell<Shared> {
        &self.shared
    }
    fn untrack(&mut self) {
        self.state = Some(CtState::Untracked);
    }
    fn track_as(&mut self, tracking: Tracking) {
        self.tracking = Some(tracking);
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
    fn restore_mark(&self, _: u32) {}
    fn address_types(&self, address: IpAddr, _: Option<&str>) -> u16 {
        if address == IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)) { 1 << 2 } else { 1 << 1 }
    }
    fn log(&mut self, _: u8, text: String) {
        self.logged.push(text);
    }
    fn copy(&mut self, copied: Copied) {
        self.copied.push(copied);
    }
    fn translate(&mut self, to: Translation<'_>) -> Option<ChainVerdict> {
        self.translated.push(format!("{to:?}"));
        Some(ChainVerdict::Accept)
    }
    fn reject(&mut self, _: &Reject) {
        self.rejected += 1;
    }
    fn not_evaluated(&mut self, extension: &'static str) {
        panic!("{extension}");
    }
    fn passed(&mut self, steps: &[Step]) {
        self.passed.extend(steps);
    }
}

/// Rules of FORWARD that share things, and packets that meet them in turn.
pub(crate) struct Sharing {
    rules: CompiledRuleset,
    shared: Rc<RefCell<Shared>>,
}

impl Sharing {
    /// Each rule as what stands behind `-A FORWARD`.
    pub(crate) fn new(of_forward: &[&str]) -> Self {
        let lines: String = of_forward.iter().map(|rule| format!("-A FORWARD {rule}\n")).collect();
        let rules = rules(&format!("*filter\n{lines}COMMIT\n"));
        let shared = Rc::new(RefCell::new(Shared::default()));
        shared.borrow_mut().adopt(&rules);
        Self { rules: CompiledRuleset::new(&rules), shared }
    }

    pub(crate) fn is_dropped(&mut self, mut packet: Alone) -> bool {
        packet.shared = Rc::clone(&self.shared);
        let said = self.rules.ask(TableName::Filter, Hook::Forward, &mut packet);
        said.verdict == ChainVerdict::Drop
    }

    pub(crate) fn shared(&self) -> std::cell::RefMut<'_, Shared> {
        self.shared.borrow_mut()
    }
}

fn rules(text: &str) -> ValidRuleset {
    let source = Source::new("rules.v4", text);
    restore(&source, Family::V4, RestoreOptions::default()).unwrap()
}

/// Whether a packet of FORWARD meets what stands behind `-A FORWARD`; `None` if it ends there
/// (hotdrop).
pub(crate) fn met(rule: &str, packet: &mut Alone) -> Option<bool> {
    met_by(&mut asked_for(rule, packet.packet().unwrap().family()), packet)
}

/// Whether a packet passes a rule of mangle that stands in the chain of a hook.
pub(crate) fn met_in(hook: Hook, rule: &str, packet: &mut Alone) -> bool {
    let text = format!("*mangle\n-A {hook} {rule} -j DROP\nCOMMIT\n");
    let family = packet.packet().unwrap().family();
    let rules = restore(&Source::new("rules", &text), family, RestoreOptions::default());
    let mut linear = CompiledRuleset::new(&rules.unwrap());
    linear.ask(TableName::Mangle, hook, packet).verdict == ChainVerdict::Drop
}

/// What mangle says of a packet by one rule of a hook.
pub(crate) fn mangled_in(hook: Hook, rule: &str, packet: &mut Alone) -> ChainVerdict {
    let text = format!("*mangle\n-A {hook} {rule}\nCOMMIT\n");
    let family = packet.packet().unwrap().family();
    let rules = restore(&Source::new("rules", &text), family, RestoreOptions::default());
    CompiledRuleset::new(&rules.unwrap()).ask(TableName::Mangle, hook, packet).verdict
}

/// What a packet of FORWARD comes to by one rule, of which everything behind `-A FORWARD` is given.
pub(crate) fn verdict(rule: &str, packet: &mut Alone) -> ChainVerdict {
    let text = format!("*filter\n-A FORWARD {rule}\nCOMMIT\n");
    let family = packet.packet().unwrap().family();
    let rules = restore(&Source::new("rules", &text), family, RestoreOptions::default());
    let mut linear = CompiledRuleset::new(&rules.unwrap());
    linear.ask(TableName::Filter, Hook::Forward, packet).verdict
}

/// What a packet has become by a rule of mangle's FORWARD, of which everything behind `-A FORWARD`
/// is given; `None` if it ends there.
pub(crate) fn mangled(rule: &str, packet: &mut Alone) -> Option<Vec<u8>> {
    let text = format!("*mangle\n-A FORWARD {rule}\nCOMMIT\n");
    let family = packet.packet().unwrap().family();
    let rules = restore(&Source::new("rules", &text), family, RestoreOptions::default());
    let said = CompiledRuleset::new(&rules.unwrap()).ask(TableName::Mangle, Hook::Forward, packet);
    (said.verdict == ChainVerdict::Accept).then(|| packet.bytes.clone())
}

/// Asks a rule of raw's PREROUTING, of which everything behind `-A PREROUTING` is given.
pub(crate) fn raw(rule: &str, packet: &mut Alone) {
    packet.state = None;
    let text = format!("*raw\n-A PREROUTING {rule}\nCOMMIT\n");
    CompiledRuleset::new(&rules(&text)).ask(TableName::Raw, Hook::Prerouting, packet);
}

/// [`met`] for packets one after the other.
pub(crate) fn met_in_turn(rule: &str, packets: impl IntoIterator<Item = Alone>) -> Vec<bool> {
    let mut linear = asked_for(rule, Family::V4);
    packets.into_iter().map(|mut packet| met_by(&mut linear, &mut packet).unwrap()).collect()
}

fn asked_for(rule: &str, family: Family) -> CompiledRuleset {
    let text = format!("*filter\n-A FORWARD {rule} -j DROP\nCOMMIT\n");
    let rules = restore(&Source::new("rules", &text), family, RestoreOptions::default());
    CompiledRuleset::new(&rules.unwrap())
}

fn met_by(linear: &mut CompiledRuleset, packet: &mut Alone) -> Option<bool> {
    packet.passed.clear();
    let Said { verdict, .. } = linear.ask(TableName::Filter, Hook::Forward, packet);
    match (verdict, packet.passed.is_empty()) {
        (ChainVerdict::Drop, true) => None,
        (verdict, _) => Some(verdict == ChainVerdict::Drop),
    }
}

/// Filter rules, a packet in FORWARD: verdict and path.
fn forward(text: &str, packet: &mut Alone) -> (ChainVerdict, Vec<String>) {
    let rules = rules(&format!("*filter\n{text}COMMIT\n"));
    let mut linear = CompiledRuleset::new(&rules);
    let Said { verdict, step } = linear.ask(TableName::Filter, Hook::Forward, packet);
    assert_eq!(step, packet.passed.last().copied());
    let name = |step: &Step| linear.name(*step).to_string();
    let path = packet.passed.iter().map(|step| name(step).trim_start_matches("filter:").to_owned());
    (verdict, path.collect())
}

#[test]
fn a_jump_comes_back_and_a_goto_does_not() {
    let text = ":A - [0:0]\n:B - [0:0]\n\
                -A FORWARD -p udp -j A\n\
                -A FORWARD -p udp -g B\n\
                -A FORWARD -j DROP\n\
                -A A -p tcp -j DROP\n\
                -A B -p udp -m comment --comment x\n";
    let (verdict, path) = forward(text, &mut Alone::udp(53));
    assert_eq!(verdict, ChainVerdict::Accept);
    assert_eq!(
        path,
        [
            "FORWARD:rule:1",
            "A:return:2",
            "FORWARD:rule:2",
            "B:rule:1",
            "B:return:2",
            "FORWARD:policy:4"
        ]
    );
}

#[test]
fn a_return_in_a_built_in_chain_is_its_policy() {
    let text = ":FORWARD DROP [0:0]\n-A FORWARD -p udp -j RETURN\n-A FORWARD -j ACCEPT\n";
    let (verdict, path) = forward(text, &mut Alone::udp(53));
    assert_eq!((verdict, path.len()), (ChainVerdict::Drop, 2));
    assert_eq!(path[1], "FORWARD:policy:3");
}

#[test]
fn a_verdict_without_conditions_is_told_as_the_end_of_its_chain() {
    let text = ":A - [0:0]\n-A FORWARD -j A\n-A A -j ACCEPT\n";
    let (_, path) = forward(text, &mut Alone::udp(53));
    assert_eq!(path, ["FORWARD:rule:1", "A:return:1"]);
    let (_, path) = forward("-A FORWARD -j DROP\n", &mut Alone::udp(53));
    assert_eq!(path, ["FORWARD:policy:1"]);
}

#[test]
fn what_a_rule_changes_the_next_one_sees() {
    let text = "-A FORWARD -m mark --mark 0x5 -j DROP\n\
                -A FORWARD -m limit --limit 1/second --limit-burst 1 -j LOG --log-prefix \"hi \"\n";
    let table =
        format!("*mangle\n{}COMMIT\n*filter\n{text}COMMIT\n", "-A FORWARD -j MARK --set-mark 5\n");
    let rules = rules(&table);
    let mut linear = CompiledRuleset::new(&rules);
    let mut packet = Alone::udp(53);
    assert_eq!(
        linear.ask(TableName::Mangle, Hook::Forward, &mut packet).verdict,
        ChainVerdict::Accept
    );
    assert_eq!(packet.mark, 5);
    assert_eq!(
        linear.ask(TableName::Filter, Hook::Forward, &mut packet).verdict,
        ChainVerdict::Drop
    );
    assert!(packet.logged.is_empty());
}

#[test]
fn a_bucket_fills_with_time() {
    let text = "*filter\n-A FORWARD -m limit --limit 2/second --limit-burst 3 -j LOG\nCOMMIT\n";
    let mut linear = CompiledRuleset::new(&rules(text));
    let mut packet = Alone::udp(53);
    let mut logged_at = |millis: u64, linear: &mut CompiledRuleset| {
        packet.now = Instant(1_000_000_000 + millis * 1_000_000);
        packet.logged.clear();
        linear.ask(TableName::Filter, Hook::Forward, &mut packet);
        packet.logged.len()
    };
    let burst: Vec<_> = [0, 0, 0, 0, 400, 500, 501, 1000, 9000, 9000, 9000, 9000]
        .iter()
        .map(|at| logged_at(*at, &mut linear))
        .collect();
    assert_eq!(burst, [1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0]);
}

#[test]
fn a_cut_header_ends_the_packet_whatever_follows() {
    let mut packet = Alone::udp(53);
    packet.bytes.truncate(24);
    packet.bytes[3] = 24;
    packet.sum_up();
    let text = "-A FORWARD -p udp -m udp --dport 1 -j ACCEPT\n-A FORWARD -j ACCEPT\n";
    let (verdict, path) = forward(text, &mut packet);
    assert_eq!((verdict, path.len()), (ChainVerdict::Drop, 0));
}

#[test]
fn what_was_met_is_counted() {
    let text = "*filter\n:FORWARD DROP [1:100]\n:A - [0:0]\n\
                [7:700] -A FORWARD -p udp -j A\n\
                -A A -d 192.0.2.9/32 -j ACCEPT\n\
                -A A -m addrtype --dst-type LOCAL -j RETURN\nCOMMIT\n";
    let source = Source::new("rules.v4", text);
    let options = RestoreOptions { counters: true, ..RestoreOptions::default() };
    let rules = restore(&source, Family::V4, options).unwrap();
    let mut linear = CompiledRuleset::new(&rules);
    let mut packet = Alone::udp(53);
    assert_eq!(
        linear.ask(TableName::Filter, Hook::Forward, &mut packet).verdict,
        ChainVerdict::Drop
    );
    let saved = linear.counted().save(ShowCounters::Yes);
    for line in [
        ":FORWARD DROP [2:132]",
        "[8:732] -A FORWARD -p udp -j A",
        "[0:0] -A A -d 192.0.2.9/32 -j ACCEPT",
        "[1:32] -A A -m addrtype --dst-type LOCAL -j RETURN",
    ] {
        assert!(saved.contains(line), "{saved}");
    }
}

#[test]
fn a_packet_is_rejected_and_a_line_logged() {
    let text = "-A FORWARD -i lan+ ! -o lan0 -j LOG --log-prefix \"no: \"\n\
                -A FORWARD -p udp -m multiport --dports 1,50:60 -j REJECT\n";
    let mut packet = Alone::udp(53);
    let (verdict, _) = forward(text, &mut packet);
    assert_eq!((verdict, packet.rejected), (ChainVerdict::Drop, 1));
    assert_eq!(
        packet.logged,
        ["no: IN=lan0 OUT=wan0 MAC= SRC=192.0.2.1 DST=192.0.2.2 LEN=32 TOS=0x00 PREC=0x00 TTL=64 \
          ID=0 DF PROTO=UDP SPT=4000 DPT=53 LEN=12 "]
    );
}

#[test]
fn hops_and_sizes_are_asked_for_and_changed() {
    let table = "*mangle\n-A FORWARD -m ttl --ttl-gt 63 -j TTL --ttl-dec 60\n\
                 -A FORWARD -m ttl --ttl-eq 4 -m length --length 30:32 -j TTL --ttl-inc 255\nCOMMIT\n";
    let mut packet = Alone::udp(53);
    let before = packet.bytes.clone();
    CompiledRuleset::new(&rules(table)).ask(TableName::Mangle, Hook::Forward, &mut packet);
    assert_eq!(packet.bytes[8], 255);
    assert!(Packet::parse(&packet.bytes).is_ok(), "the header's checksum is kept");
    assert_ne!(packet.bytes, before);
}

#[test]
fn what_shall_not_be_tracked_is_not() {
    let table = "*raw\n-A PREROUTING -p udp -j CT --notrack\nCOMMIT\n";
    let mut packet = Alone::udp(53);
    packet.state = None;
    CompiledRuleset::new(&rules(table)).ask(TableName::Raw, Hook::Prerouting, &mut packet);
    assert_eq!(packet.state, Some(CtState::Untracked));
}
