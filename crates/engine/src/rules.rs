//! Rules on the walk: which tables a packet is asked by, what they see of it, and what is noted.
//!
//! A ruleset of either family replaces the former one whole and keeps the connections. What rules
//! say of a packet besides its fate (the path, lines of the log, what could not be evaluated) is
//! noted until the next packet comes. The nat table is asked by NAT ([`crate::nat`]); what its
//! targets do is [`bind`]'s.

mod bind;

use core::cell::{Cell, RefCell};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_conntrack::{
    Counter, CtState, Direction, Instant, L4Key, Labels, PerDir, Standing, Status, Tracked,
    Tracker, Tuple, Zone,
};
use stateward_nat::Chance;
use stateward_rules::matches::Match;
use stateward_rules::matches::pkttype::To;
use stateward_rules::targets::Extension;
use stateward_rules::targets::nat::Translation;
use stateward_rules::targets::reject::Reject;
use stateward_rules::tried::Tried;
use stateward_rules::{
    ChainVerdict, CompiledRuleset, Connection, Context, Copied, Hook, ReversePath, RuleSpec, Said,
    Shared, Step, StepName, TableName, Target, Tracking, ValidRuleset,
};
use stateward_wire::edit::{Edit, Field};
use stateward_wire::{Family, Packet};

use crate::account::{Account, Deed, Keep, Station};
use crate::engine::{At, Engine, Port, Verdict, Why};
use crate::link::LinkHeader;
use crate::nat::{NatDrop, checksum_field};
use crate::route::{InterfaceId, Network};
use crate::walk::{Ended, Frame, Walker};

/// The rules of both families.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    v4: Option<CompiledRuleset>,
    v6: Option<CompiledRuleset>,
    /// Whose packets may become longer by them.
    lengthening: Vec<Family>,
    /// Whose rules ask for labels.
    labelling: Vec<Family>,
}

impl Rules {
    fn of(&self, family: Family) -> Option<&CompiledRuleset> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Whether a family's packets are translated.
    pub(crate) fn has_nat(&self, family: Family) -> bool {
        self.of(family).is_some_and(|rules| rules.has(TableName::Nat))
    }

    /// Whether packets of a family may become longer.
    pub(crate) fn lengthen(&self, family: Family) -> bool {
        self.lengthening.contains(&family)
    }

    fn of_mut(&mut self, family: Family) -> &mut Option<CompiledRuleset> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// A step of a packet through the rules of a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// Whose rules.
    pub family: Family,
    /// Which of them.
    pub step: Step,
}

/// A line of the kernel's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// Syslog's level, 0 to 7.
    pub level: u8,
    /// The line, with a blank at its end.
    pub text: String,
}

/// What was logged of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logged {
    /// By LOG.
    Line(LogLine),
    /// By NFLOG: listeners got a copy.
    Copied(Copied),
}

/// What the rules said of the last packet, and of those that this host made for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    /// The packet's mark at its end.
    pub mark: u32,
    /// Where a rule ended the packet, or else the last filter rule or policy that let it pass.
    pub decided: Option<Passed>,
    /// All that was met, as TRACE tells it.
    pub path: Vec<Passed>,
    /// What LOG and NFLOG told.
    pub log: Vec<Logged>,
    /// Matches and targets that the packet met and that nobody could evaluate.
    pub not_evaluated: Vec<&'static str>,
    /// Matches that were answered by what is assumed where nothing is known: no process has sent
    /// the packet, no socket waits for it, no bridge and no IPsec have carried it.
    pub assumed: Vec<&'static str>,
    /// Every station of its way, if that was asked for.
    pub account: Account,
}

impl Notes {
    pub(crate) fn clear(&mut self) {
        let Self { mark, decided, path, log, not_evaluated, assumed, account } = self;
        (*mark, *decided) = (0, None);
        path.clear();
        log.clear();
        not_evaluated.clear();
        assumed.clear();
        account.clear();
    }
}

impl Engine {
    /// Puts rules in force; those of the other family stay, and so does what old and new rules
    /// share by name. Rules that ask what connections have counted turn `nf_conntrack_acct` on, as
    /// in the kernel: connections that begin from then on count.
    pub fn set_rules(&mut self, rules: &ValidRuleset) {
        let mut matches = all(rules).flat_map(|rule| &rule.matches);
        if matches.any(|one| matches!(one, Match::Connbytes(_))) {
            self.tracker.sysctls_mut().acct = true;
        }
        let family = rules.rules().family;
        self.rules.lengthening.retain(|other| *other != family);
        self.rules.labelling.retain(|other| *other != family);
        let mut matches = all(rules).flat_map(|rule| &rule.matches);
        if matches.any(|one| matches!(one, Match::Connlabel(_))) {
            self.rules.labelling.push(family);
        }
        self.tracker.set_labelling(!self.rules.labelling.is_empty());
        if all(rules).any(|rule| matches!(rule.target, Target::Extension(Extension::Tcpmss(_)))) {
            self.rules.lengthening.push(family);
        }
        self.shared.get_mut().adopt(rules);
        *self.rules.of_mut(family) = Some(CompiledRuleset::new(rules));
        self.has_rules = true;
    }

    /// Whether an account is kept of the way of the packets to come:
    /// [`Notes::account`](crate::rules::Notes::account). It costs time and memory.
    pub fn set_explaining(&mut self, keep: Keep) {
        self.notes.account.set(keep);
        self.has_rules = self.has_rules() || self.notes.account.is_kept();
    }

    /// The mark that packets come with from now on, as a process or what stands before the hooks may
    /// give one; 0 at first.
    pub fn set_arrival_mark(&mut self, mark: u32) {
        self.arrival_mark = mark;
    }

    /// Whether there are rules of either family.
    pub fn has_rules(&self) -> bool {
        self.rules.v4.is_some() || self.rules.v6.is_some()
    }

    /// The rules of a family with what they have counted.
    pub fn rules(&self, family: Family) -> Option<&CompiledRuleset> {
        self.rules.of(family)
    }

    /// What the rules share: the lists of `-m recent`, the tables of `-m hashlimit`, the sets.
    pub fn shared(&self) -> impl core::ops::Deref<Target = Shared> {
        self.shared.borrow()
    }

    /// What the rules share, to change its settings before rules are set.
    pub fn shared_mut(&mut self) -> &mut Shared {
        self.shared.get_mut()
    }

    /// What the rules said of the last packet.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The name of a step, as TRACE writes it.
    pub fn name(&self, passed: Passed) -> Option<StepName<'_>> {
        Some(self.rules.of(passed.family)?.name(passed.step))
    }

    /// Asks tables in turn. The walk goes on if they accept.
    #[inline(never)]
    pub(crate) fn ask_all(
        &mut self,
        hook: Hook,
        tables: &[TableName],
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        tables.iter().try_for_each(|table| match table {
            TableName::Nat if !self.rules.has_nat(frame.layout.family()) => Ok(()),
            TableName::Nat => self.nat(hook, walker, frame),
            _ => self.ask_rules((hook, *table), walker, frame),
        })
    }

    /// Asks one table.
    pub(crate) fn ask_rules(
        &mut self,
        (hook, table): (Hook, TableName),
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let family = frame.layout.family();
        let Engine { rules, tracker, network, notes, shared, chance, .. } = self;
        let Some(linear) = rules.of_mut(family).as_mut().filter(|linear| linear.has(table)) else {
            return Ok(());
        };
        shared.get_mut().begin(walker.now);
        notes.account.note(|| Station::Asked { hook, table, family });
        let mut around = Around {
            frame,
            walker,
            tracker,
            network,
            notes,
            shared,
            hook,
            rejected: None,
            chance,
            refused: None,
            labelled: Cell::new(0),
        };
        let Said { verdict, step } = linear.ask(table, hook, &mut around);
        around.label();
        let (rejected, refused) = (around.rejected, around.refused);
        self.shared.get_mut().take_assumed(&mut self.notes.assumed);
        let passed = step.map(|step| Passed { family, step });
        self.notes.account.note(|| Station::Said { verdict, by: passed });
        match verdict {
            ChainVerdict::Accept => {
                if table == TableName::Filter {
                    self.notes.decided = passed;
                }
                Ok(())
            }
            ChainVerdict::Queue { bypass: true, .. } => Ok(()),
            ChainVerdict::Queue { number, bypass: false } => {
                self.notes.decided = passed;
                Err(walker.end(Verdict::Queue(number), None))
            }
            ChainVerdict::Drop => {
                if let Some(why) = refused {
                    return Err(walker.drop(At::Nat, Why::Nat(why)));
                }
                self.notes.decided = passed;
                let Some(how) = rejected else {
                    return Err(walker.end(Verdict::Drop(At::Rule), None));
                };
                self.reject(walker, frame, &how);
                // What the answer met is its own.
                self.notes.decided = passed;
                Err(walker.end(Verdict::Reject, None))
            }
        }
    }
}

/// All rules, whether packets can come to them or not.
fn all(rules: &ValidRuleset) -> impl Iterator<Item = &RuleSpec> {
    let chains = rules.rules().tables.iter().flat_map(|table| &table.chains);
    chains.flat_map(|chain| &chain.rules)
}

/// What a table's rules see and do.
struct Around<'a, 'f, 'w> {
    frame: &'a mut Frame<'f>,
    walker: &'a mut Walker<'w>,
    tracker: &'a mut Tracker,
    network: &'a Network,
    notes: &'a mut Notes,
    shared: &'a RefCell<Shared>,
    hook: Hook,
    rejected: Option<Reject>,
    /// Where NAT is random.
    chance: &'a mut Chance,
    /// Why NAT drops it.
    refused: Option<NatDrop>,
    /// What matches have given the connection, which gets it when the table has spoken.
    labelled: Cell<Labels>,
}

/// What comes back to this host came in by this.
const LOOPBACK: &str = "lo";

/// The Ethernet header that it puts before packets.
const LOOPBACK_V4: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00];
const LOOPBACK_V6: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd];
/// What the interface that leads back to this host carries.
const LOOPBACK_MTU: u32 = 65_536;

impl Around<'_, '_, '_> {
    /// Where the packet would leave as this hook sees it, and whether it would come back: OUTPUT does
    /// not learn that NAT has sent it elsewhere.
    fn way_out(&self) -> (Option<InterfaceId>, bool) {
        let now = (self.walker.egress, self.walker.comes_back);
        self.walker.planned.filter(|_| self.hook == Hook::Output).unwrap_or(now)
    }

    /// Gives the connection what matches have given it.
    fn label(&mut self) {
        let labels = self.labelled.get();
        if labels != 0
            && let Some(tracked) = &mut self.walker.tracked
        {
            self.tracker.add_labels(&mut tracked.flow, labels);
        }
    }

    /// The connection that stands for one that is to be found or made: nobody's, and confirmed.
    fn template(&self) -> Option<Connection> {
        let none: IpAddr = match self.frame.layout.family() {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let tuple = Tuple::new(none, none, 0, L4Key::None, Zone::DEFAULT)?;
        Some(Connection {
            direction: Direction::Original,
            status: Status::CONFIRMED | Status::TEMPLATE,
            original: tuple,
            reply: tuple,
            expires: 0,
            mark: 0,
        })
    }
}

impl Context for Around<'_, '_, '_> {
    fn packet(&self) -> Option<Packet<'_>> {
        Packet::with_layout(self.frame.bytes, self.frame.layout)
    }

    fn edit(&mut self) -> Edit<'_> {
        self.notes.account.note(|| Station::Did(Deed::Edited));
        let packet = Packet::with_layout(self.frame.bytes, self.frame.layout);
        let field = packet.map_or(Field::Finished, |one| checksum_field(self.tracker, &one));
        Edit::new(self.frame.bytes, self.frame.layout).with_field(field)
    }

    fn insert_tcp_option(&mut self, option: [u8; 4]) {
        // Where there is no room, the capture has cut the packet.
        if let Some(longer) = self.edit().insert_tcp_option(option) {
            self.frame.layout = longer;
        }
    }

    fn gather(&mut self, length: usize) {
        self.walker.gathered = self.walker.gathered.max(length);
    }

    fn path_mtu(&self) -> Option<u32> {
        let there = match self.walker.egress {
            Some(id) => self.network.interface(id)?.mtu,
            None if self.walker.comes_back => LOOPBACK_MTU,
            None => return None,
        };
        let source = self.packet()?.source();
        let back = match self.network.route(source) {
            _ if self.network.is_local(source) => LOOPBACK_MTU,
            Some(id) => self.network.interface(id)?.mtu,
            None => u32::MAX,
        };
        // No IPv4 packet is longer.
        let most = if source.is_ipv4() { u16::MAX.into() } else { u32::MAX };
        Some(there.min(back).min(most))
    }

    fn input(&self) -> &str {
        match (self.walker.port, self.hook) {
            (Port::Interface(id), _) => {
                self.network.interface(id).map_or("", |interface| &interface.name)
            }
            (Port::Local, Hook::Prerouting | Hook::Input) => LOOPBACK,
            (Port::Local, _) => "",
        }
    }

    fn output(&self) -> &str {
        let (egress, comes_back) = self.way_out();
        match (egress, self.hook) {
            (_, Hook::Prerouting | Hook::Input) => "",
            (Some(id), _) => self.network.interface(id).map_or("", |interface| &interface.name),
            (None, _) if comes_back => LOOPBACK,
            (None, _) => "",
        }
    }

    fn link_header(&self) -> Option<&[u8; 14]> {
        match (self.walker.port, self.hook, self.frame.layout.family()) {
            (Port::Interface(_), ..) => self.walker.link.map(|link| &link.bytes),
            (Port::Local, Hook::Prerouting | Hook::Input, Family::V4) => Some(&LOOPBACK_V4),
            (Port::Local, Hook::Prerouting | Hook::Input, Family::V6) => Some(&LOOPBACK_V6),
            (Port::Local, ..) => None,
        }
    }

    fn station(&self) -> Option<[u8; 6]> {
        match self.walker.port {
            Port::Interface(_) => self.walker.link.map(LinkHeader::source),
            Port::Local => None,
        }
    }

    fn sent_to(&self) -> To {
        self.walker.link.map_or(To::Us, |link| link.to)
    }

    fn now(&self) -> Instant {
        self.walker.now
    }

    fn state(&self) -> Option<CtState> {
        // What it is to be seen as is a connection of its own until it is seen.
        if self.walker.tracking.is_some() {
            return Some(CtState::New);
        }
        self.walker.tracked.as_ref().map(|tracked| tracked.state)
    }

    fn connection(&self) -> Option<Connection> {
        if self.walker.tracking.is_some() {
            return self.template();
        }
        let tracked = self.walker.tracked.as_ref()?;
        let seen = self.tracker.glimpse(&tracked.flow)?;
        Some(Connection {
            direction: tracked.direction?,
            status: seen.status,
            original: seen.original,
            reply: seen.reply,
            expires: seen.expires,
            mark: seen.mark,
        })
    }

    fn counters(&self) -> Option<PerDir<Counter>> {
        self.tracker.counters(&self.walker.tracked.as_ref()?.flow)
    }

    fn labels(&self) -> Option<Labels> {
        let flow = &self.walker.tracked.as_ref()?.flow;
        self.tracker.labels(flow).map(|labels| labels | self.labelled.get())
    }

    fn add_label(&self, label: u16) {
        let bit = 1_u128.checked_shl(label.into()).unwrap_or(0);
        self.labelled.set(self.labelled.get() | bit);
    }

    fn announcing_helper(&self) -> Option<&'static str> {
        self.tracker.announcing_helper(&self.walker.tracked.as_ref()?.flow)
    }

    fn set_connection_mark(&mut self, mark: u32) {
        self.notes.account.note(|| Station::Did(Deed::ConnectionMarked(mark)));
        if let Some(tracked) = &mut self.walker.tracked {
            self.tracker.set_mark(&mut tracked.flow, mark);
        }
    }

    fn standing(&self, tuple: &Tuple) -> Option<Standing> {
        self.tracker.standing(tuple)
    }

    fn mark(&self) -> u32 {
        self.walker.mark
    }

    fn shared(&self) -> &RefCell<Shared> {
        self.shared
    }

    fn untrack(&mut self) {
        if self.walker.is_unseen() {
            self.notes.account.note(|| Station::Did(Deed::Untracked));
            self.walker.was_invalid |= self.walker.tracked.is_some();
            let reason = self.walker.tracked.as_ref().and_then(|tracked| tracked.reason);
            self.walker.tracked = Some(Tracked { reason, ..Tracked::untracked() });
        }
    }

    fn track_as(&mut self, tracking: Tracking) {
        if self.walker.is_unseen() {
            self.walker.tracking = Some(tracking);
        }
    }

    fn set_mark(&mut self, mark: u32) {
        self.notes.account.note(|| Station::Did(Deed::Marked(mark)));
        self.walker.mark = mark;
    }

    fn address_types(&self, address: IpAddr, device: Option<&str>) -> u16 {
        self.network.address_types(address, device)
    }

    fn log(&mut self, level: u8, text: String) {
        self.notes.account.note(|| Station::Did(Deed::Logged(text.clone())));
        self.notes.log.push(Logged::Line(LogLine { level, text }));
    }

    fn copy(&mut self, copied: Copied) {
        let Copied { group, prefix, length } = &copied;
        let told = || Deed::Logged(format!("{length} bytes to group {group} {prefix:?}"));
        self.notes.account.note(|| Station::Did(told()));
        self.notes.log.push(Logged::Copied(copied));
    }

    fn translate(&mut self, to: Translation<'_>) -> Option<ChainVerdict> {
        self.bind(to)
    }

    fn reject(&mut self, how: &Reject) {
        self.notes.account.note(|| Station::Did(Deed::Rejected));
        self.rejected = Some(how.clone());
    }

    fn leads_back(&self, how: ReversePath) -> Option<bool> {
        let Port::Interface(ingress) = self.walker.port else { return Some(true) };
        self.network.leads_back(self.packet()?.source(), ingress, how)
    }

    fn groups(&self) -> [u32; 2] {
        let ingress = match self.walker.port {
            Port::Interface(id) => Some(id),
            Port::Local => None,
        };
        [ingress, self.way_out().0].map(|id| {
            let interface = id.and_then(|id| self.network.interface(id));
            interface.map_or(0, |interface| interface.group)
        })
    }

    fn not_evaluated(&mut self, extension: &'static str) {
        self.notes.account.note(|| Station::Did(Deed::NotEvaluated(extension)));
        if !self.notes.not_evaluated.contains(&extension) {
            self.notes.not_evaluated.push(extension);
        }
    }

    fn passed(&mut self, step: Step) {
        let family = self.frame.layout.family();
        self.notes.account.note(|| Station::Met(Passed { family, step }));
        self.notes.path.push(Passed { family, step });
    }

    fn explains(&self) -> bool {
        self.notes.account.is_kept()
    }

    fn tried(&mut self, step: Step, tried: Tried) {
        let rule = Passed { family: self.frame.layout.family(), step };
        self.notes.account.note(|| Station::Tried { rule, tried });
    }
}
