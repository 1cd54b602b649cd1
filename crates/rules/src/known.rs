//! What neither a packet nor a capture tells, and somebody may know all the same.
//!
//! Who sends what this host sends (`-m owner`, `cgroup`), which sockets wait for packets
//! (`socket`, TPROXY), by which port of a bridge they came (`physdev`), what IPsec does with them
//! (`policy`). What is given here holds for every packet, and a list is the whole list: what it
//! does not have there is not. Where nothing is given, a match answers by what it assumes. Either
//! way the packet's notes say so, in the words that stand here beside each value.

use core::fmt::Write as _;
use core::net::IpAddr;
use std::sync::Arc;

use stateward_wire::{Family, IcmpHeader, Packet, protocol};

use crate::address::Network;
use crate::context::{Origin, View};
use crate::matches::policy::{Mode, Way};

/// See the module's essay.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Who sends what this host sends and no listed socket does.
    pub sender: Option<Process>,
    /// Who sends the next packet, and the bridge's port by which it came.
    pub next: Next,
    /// All sockets of this host.
    pub sockets: Option<Vec<Socket>>,
    /// By which port of a bridge packets come that come by it: names of interfaces.
    pub ports: Vec<(String, Arc<str>)>,
    /// All that IPsec does.
    pub transforms: Option<Vec<Transform>>,
}

/// What is known of one packet; it goes before what is known of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// Who sends it, if this host does.
    pub sender: Option<Process>,
    /// The bridge's port by which it came.
    pub port: Option<Arc<str>>,
}

/// A process that sends packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Other groups that it is in.
    pub groups: Vec<u32>,
    /// The path of its control group; `/` is all of them.
    pub path: String,
    /// The class that `net_cls` gives it.
    pub class: u32,
}

/// A socket of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// TCP or UDP.
    pub protocol: u8,
    /// Its own end. All zeroes are any address; of IPv6 IPv4's as well.
    pub local: (IpAddr, u16),
    /// The other end, if it is connected.
    pub remote: Option<(IpAddr, u16)>,
    /// Who sends by it; else [`Known::sender`] does.
    pub process: Option<Process>,
    /// It takes packets to addresses that are not this host's.
    pub transparent: bool,
    /// What `-m socket --restore-skmark` gives packets.
    pub mark: u32,
}

/// Whom TPROXY has handed a packet to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// A socket of those that are given: its place among them.
    Listed(usize),
    /// One of which nothing is known, and that it is there is assumed.
    Assumed,
}

/// What IPsec does with packets of two networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Whether it has done so, or will.
    pub way: Way,
    /// The packets' sources, if only some.
    pub source: Option<Network>,
    /// Their destinations.
    pub destination: Option<Network>,
    /// What of them is encapsulated.
    pub mode: Mode,
    /// ESP, AH or IPComp.
    pub protocol: u8,
    /// The tunnel's ends, source and destination.
    pub tunnel: Option<[IpAddr; 2]>,
    /// The policy's number.
    pub reqid: u32,
    /// The association's.
    pub spi: u32,
}

/// What a match was told: the value that it asks for, and how notes say it.
pub(crate) struct Told<T> {
    pub(crate) value: Option<T>,
    pub(crate) words: Arc<str>,
}

impl<T> Told<T> {
    fn new(value: Option<T>, words: impl FnOnce(&T) -> String, without: &str) -> Self {
        let words = value.as_ref().map_or_else(|| without.to_owned(), words);
        Self { value, words: words.into() }
    }
}

impl Known {
    /// The process that sends the packet, told by `words`; `None` if nobody knows.
    pub(crate) fn sender(
        &self,
        view: &View<'_>,
        words: fn(&Process) -> String,
    ) -> Option<Told<&Process>> {
        let Self { sender, next, sockets, .. } = self;
        if sender.is_none() && next.sender.is_none() && sockets.is_none() {
            return None;
        }
        let sending = || {
            let mut sockets = sockets.iter().flatten();
            let socket = sockets.find(|socket| socket.sends(&view.packet));
            let listed = socket.and_then(|socket| socket.process.as_ref());
            next.sender.as_ref().or(listed).or(sender.as_ref())
        };
        let process = (view.context.origin() == Origin::Process).then(sending).flatten();
        Some(Told::new(process, |process| words(process), "no process"))
    }

    /// The socket that waits for the packet; `None` if nobody knows.
    pub(crate) fn socket(&self, packet: &Packet<'_>) -> Option<Told<&Socket>> {
        let sockets = self.sockets.as_ref()?;
        let ends = Ends::of(packet).or_else(|| Ends::quoted(packet));
        let found = ends.and_then(|ends| Some(best(sockets, |one| one.takes(&ends))?.1));
        Some(Told::new(found, |socket| socket.words(), "no socket"))
    }

    /// The socket to which TPROXY has handed the packet.
    pub(crate) fn handed(&self, assigned: Assigned) -> Option<Told<&Socket>> {
        let Assigned::Listed(place) = assigned else { return None };
        let socket = self.sockets.as_ref()?.get(place);
        Some(Told::new(socket, |socket| socket.words(), "no socket"))
    }

    /// The socket to which TPROXY hands a packet: the one that is connected to its ends, or else one
    /// that listens at `at`; `None` if nobody knows.
    pub(crate) fn proxy(&self, packet: &Packet<'_>, at: (IpAddr, u16)) -> Option<Told<Assigned>> {
        let sockets = self.sockets.as_ref()?;
        let found = Ends::of(packet).and_then(|ends| {
            let connected = |one: &Socket| one.remote.is_some() && !one.is_everywhere();
            let established = best(sockets, |one| one.takes(&ends));
            let at = Ends { local: at, ..ends };
            // UDP finds one socket, which may be connected and is no listener then.
            let waits = |one: &Socket| one.protocol == protocol::UDP || one.remote.is_none();
            let listening = || best(sockets, |one| waits(one) && one.takes(&at));
            let listening = || listening().filter(|(_, one)| one.remote.is_none());
            established.filter(|(_, one)| connected(one)).or_else(listening)
        });
        let words = found.map_or("no socket".to_owned(), |(_, socket)| match socket.transparent {
            true => socket.words(),
            false => format!("{}, which is not transparent,", socket.words()),
        });
        let value = found.filter(|(_, socket)| socket.transparent);
        let value = value.map(|(place, _)| Assigned::Listed(place));
        Some(Told { value, words: words.into() })
    }

    /// The bridge's port by which the packet came; `None` if nobody knows.
    pub(crate) fn port(&self, ingress: &str) -> Option<Told<&Arc<str>>> {
        let Self { next, ports, .. } = self;
        if next.port.is_none() && ports.is_empty() {
            return None;
        }
        let of_bridge = || ports.iter().find(|(bridge, _)| bridge == ingress).map(|(_, port)| port);
        let port = next.port.as_ref().or_else(of_bridge).filter(|_| !ingress.is_empty());
        Some(Told::new(port, |port| format!("port {port}"), "no bridge"))
    }

    /// What IPsec does with the packet; `None` if nobody knows.
    pub(crate) fn transform(&self, view: &View<'_>, way: Way) -> Option<Told<&Transform>> {
        let fits = |transform: &&Transform| {
            let within = |network: Option<Network>, address| {
                network.is_none_or(|network| network.contains(address))
            };
            transform.way == way
                && within(transform.source, view.source)
                && within(transform.destination, view.destination)
        };
        let found = self.transforms.as_ref()?.iter().find(fits);
        Some(Told::new(found, |transform| transform.words(), "no IPsec"))
    }
}

impl Process {
    /// A user's process; its group has the user's number.
    pub fn of(user: u32) -> Self {
        Self { user, group: user, groups: Vec::new(), path: "/".to_owned(), class: 0 }
    }

    pub(crate) fn owner_words(&self) -> String {
        let Self { user, group, groups, .. } = self;
        let mut words = format!("uid {user}, gid {group}");
        for group in groups {
            // Writing to a string does not fail.
            let _ = write!(words, " {group}");
        }
        words
    }

    pub(crate) fn group_words(&self) -> String {
        format!("{}, classid {}", self.path, self.class)
    }

    /// Whether its control group is the one of a path, or stands below it.
    pub(crate) fn is_below(&self, path: &str) -> bool {
        let parts = |path: &'_ str| {
            let parts = path.split('/').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect::<Vec<_>>()
        };
        parts(&self.path).starts_with(&parts(path))
    }
}

/// The ends of a packet as a socket here has them.
struct Ends {
    protocol: u8,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

impl Ends {
    /// Of a packet that comes.
    fn of(packet: &Packet<'_>) -> Option<Self> {
        let protocol = packet.upper()?.protocol;
        let has_sockets = matches!(protocol, protocol::TCP | protocol::UDP);
        let &[a, b, c, d] = packet.l4().first_chunk().filter(|_| has_sockets)?;
        let ports = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let [from, to] = ports;
        let (local, remote) = ((packet.destination(), to), (packet.source(), from));
        Some(Self { protocol, local, remote })
    }

    /// Of a packet that has left, and that the ICMP error quotes.
    fn quoted(packet: &Packet<'_>) -> Option<Self> {
        let upper = packet.upper()?;
        let kind = IcmpHeader::view(packet.l4())?.kind;
        let is_error = match upper.protocol {
            protocol::ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
            protocol::ICMPV6 => kind < 128,
            _ => false,
        };
        let quoted = packet.l4().get(size_of::<IcmpHeader>()..).filter(|_| is_error)?;
        let Self { protocol, local, remote } = Self::of(&Packet::parse_cut(quoted).ok()?)?;
        Some(Self { protocol, local: remote, remote: local })
    }
}

/// Of the sockets that fit a packet the one that the kernel finds, and its place: an address before
/// all addresses, a connection before who waits for all, one of IPv4 before one of both families.
fn best(sockets: &[Socket], fits: impl Fn(&Socket) -> bool) -> Option<(usize, &Socket)> {
    let fitting = sockets.iter().enumerate().filter(|(_, socket)| fits(socket));
    fitting.max_by_key(|(_, one)| {
        let (own, _) = one.local;
        (!own.is_unspecified(), one.remote.is_some(), own.is_ipv4())
    })
}

impl Socket {
    fn takes(&self, ends: &Ends) -> bool {
        self.protocol == ends.protocol
            && self.is_at(ends.local)
            && self.remote.is_none_or(|remote| remote == ends.remote)
    }

    /// Whether the packet may be sent by it.
    fn sends(&self, packet: &Packet<'_>) -> bool {
        let turned = |ends: Ends| Ends { local: ends.remote, remote: ends.local, ..ends };
        Ends::of(packet).map(turned).is_some_and(|ends| self.takes(&ends))
    }

    fn is_at(&self, (address, port): (IpAddr, u16)) -> bool {
        let (own, own_port) = self.local;
        let family = Family::of(own) == Family::of(address) || own.is_ipv6();
        own_port == port && (own == address || own.is_unspecified() && family)
    }

    /// Whether it waits at all addresses, which `-m socket` does not count without `--nowildcard`.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.local.0.is_unspecified()
    }

    fn words(&self) -> String {
        let end = |(address, port): (IpAddr, u16)| core::net::SocketAddr::new(address, port);
        let protocol = if self.protocol == protocol::TCP { "tcp" } else { "udp" };
        let local = end(self.local);
        match self.remote {
            Some(remote) => format!("{protocol} {local} to {}", end(remote)),
            None => format!("{protocol} {local}"),
        }
    }
}

impl Transform {
    fn words(&self) -> String {
        let name = crate::protocol::name(self.protocol).unwrap_or("IPsec");
        let mode = match self.mode {
            Mode::Transport => "transport",
            Mode::Tunnel => "tunnel",
        };
        match self.tunnel {
            Some([source, destination]) => format!("{name} {mode} {source} to {destination}"),
            None => format!("{name} {mode}"),
        }
    }
}

#[cfg(test)]
mod tests;
