//! What a table's rules see of a packet on its walk, and do to it: the engine's [`Context`].

use core::cell::{Cell, RefCell};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_conntrack::{
    Counter, CtState, Direction, Instant, L4Key, Labels, PerDir, Standing, Status, Tracked,
    Tracker, Tuple, Zone,
};
use stateward_nat::Chance;
use stateward_rules::known::Assigned;
use stateward_rules::matches::pkttype::To;
use stateward_rules::targets::nat::Translation;
use stateward_rules::targets::reject::Reject;
use stateward_rules::tried::Tried;
use stateward_rules::{
    ChainVerdict, Connection, Context, Copied, Hook, Origin, ReversePath, Shared, Step, Tracking,
};
use stateward_wire::edit::{Edit, Field};
use stateward_wire::{Family, Packet};

use super::{LogLine, Logged, Notes, Passed};
use crate::account::{Deed, Station};
use crate::engine::Port;
use crate::link::LinkHeader;
use crate::nat::{NatDrop, checksum_field};
use crate::route::{InterfaceId, Network};
use crate::walk::{Frame, Walker};

/// What a table's rules see and do.
pub(super) struct Around<'a, 'f, 'w> {
    pub(super) frame: &'a mut Frame<'f>,
    pub(super) walker: &'a mut Walker<'w>,
    pub(super) tracker: &'a mut Tracker,
    pub(super) network: &'a Network,
    pub(super) notes: &'a mut Notes,
    pub(super) shared: &'a RefCell<Shared>,
    pub(super) hook: Hook,
    pub(super) rejected: Option<Reject>,
    /// Where NAT is random.
    pub(super) chance: &'a mut Chance,
    /// Why NAT drops it.
    pub(super) refused: Option<NatDrop>,
    /// What matches have given the connection, which gets it when the table has spoken.
    pub(super) labelled: Cell<Labels>,
    /// The mark that a match has given the packet.
    pub(super) restored: Cell<Option<u32>>,
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
    pub(super) fn label(&mut self) {
        let labels = self.labelled.get();
        if labels != 0
            && let Some(tracked) = &mut self.walker.tracked
        {
            self.tracker.add_labels(&mut tracked.flow, labels);
        }
    }

    /// Gives the packet the mark that a match has given it.
    pub(super) fn remark(&mut self) {
        if let Some(mark) = self.restored.take() {
            self.set_mark(mark);
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

    fn edit_header(&mut self) -> Edit<'_> {
        self.notes.account.note(|| Station::Did(Deed::Edited));
        Edit::new(self.frame.bytes, self.frame.layout)
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
        self.restored.get().unwrap_or(self.walker.mark)
    }

    fn restore_mark(&self, mark: u32) {
        self.restored.set(Some(mark));
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
        self.restored.set(None);
        self.walker.mark = mark;
    }

    fn origin(&self) -> Origin {
        match self.walker.port {
            Port::Interface(_) => Origin::Elsewhere,
            Port::Local if self.walker.answers => Origin::Host,
            Port::Local => Origin::Process,
        }
    }

    fn ingress(&self) -> &str {
        match self.walker.port {
            Port::Interface(id) => self.network.interface(id).map_or("", |one| &one.name),
            Port::Local => "",
        }
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

    fn address_of_input(&self) -> Option<IpAddr> {
        let family = self.frame.layout.family();
        match self.walker.port {
            Port::Interface(id) => self.network.first_address(id, family),
            // What comes back to this host came in by its loopback.
            Port::Local => Some(match family {
                Family::V4 => Ipv4Addr::LOCALHOST.into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            }),
        }
    }

    fn assign(&mut self, socket: Assigned) {
        self.walker.assigned = Some(socket);
    }

    fn assigned(&self) -> Option<Assigned> {
        self.walker.assigned
    }

    fn not_evaluated(&mut self, extension: &'static str) {
        self.notes.account.note(|| Station::Did(Deed::NotEvaluated(extension)));
        if !self.notes.not_evaluated.contains(&extension) {
            self.notes.not_evaluated.push(extension);
        }
    }

    fn passed(&mut self, steps: &[Step]) {
        let family = self.frame.layout.family();
        let passed = steps.iter().map(|step| Passed { family, step: *step });
        passed.clone().for_each(|met| self.notes.account.note(|| Station::Met(met)));
        self.notes.path.extend(passed);
    }

    fn explains(&self) -> bool {
        self.notes.account.is_kept()
    }

    fn tried(&mut self, step: Step, tried: Tried) {
        let rule = Passed { family: self.frame.layout.family(), step };
        self.notes.account.note(|| Station::Tried { rule, tried });
    }
}
