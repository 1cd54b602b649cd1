//! The machine as its own kernel tells of it: what `ip -j addr`, `ip -j link`, `ip -j route` and
//! `ip -j -6 route` print.
//!
//! What is read: interfaces with their addresses, MTU and kind; routes with their metric, next hop,
//! preferred source and type. An interface that is down has no addresses, a loopback counts for the
//! addresses beside its own, and of several routes to one network the least metric wins, as in the
//! kernel. Without a list of a family's routes, its addresses imply theirs. What is passed over is
//! said in [`IpListing::notes`]: routes of other tables (policy rules are not read), routes for one
//! type of service, all but the first of several next hops, and keys that nobody knows.

mod address;
mod route;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::{Map, Value};
use stateward_engine::InterfaceId;
use stateward_engine::route::{Hop, Interface, Link, Listed, Network, Routing};

use self::address::{Address, Peer};
use self::route::Found;
use crate::machine::DEFAULT_MTU;

/// Interfaces and routes as `ip -j` lists them.
#[derive(Debug, Clone, Default)]
pub struct IpListing {
    /// In the order of their ids; at most [`MOST_INTERFACES`].
    interfaces: Vec<Interface>,
    /// Who is at the other end of their addresses, of those that have such.
    peers: BTreeMap<InterfaceId, Vec<Peer>>,
    ids: HashMap<String, InterfaceId>,
    routes: Vec<Found>,
    /// Whether there is a list of IPv4's and of IPv6's routes.
    has_routes: [bool; 2],
    own: Vec<IpAddr>,
    broadcast: Vec<Ipv4Addr>,
    notes: Vec<String>,
}

/// More interfaces have no ids.
const MOST_INTERFACES: usize = u16::MAX as usize;

/// Notes that are worth reading; a file can give cause for any number.
const MOST_NOTES: usize = 100;
/// The place of the last one, which says that there are more.
const LAST_NOTE: usize = MOST_NOTES - 1;

/// Why a file is not what `ip -j` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpError {
    /// The file, and where in it.
    place: String,
    message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for IpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for IpError {}

/// A file that is being read.
struct File<'a> {
    name: &'a str,
    command: &'static str,
}

impl File<'_> {
    fn error(&self, message: impl Into<String>) -> IpError {
        let hint = Some(format!("it is to be what `{}` prints", self.command));
        IpError { place: self.name.to_owned(), message: message.into(), hint }
    }

    /// The objects of the list that the file is.
    fn objects(&self, text: &str) -> Result<Vec<Map<String, Value>>, IpError> {
        let read: Value = serde_json::from_str(text).map_err(|error| {
            let place = format!("{}:{}:{}", self.name, error.line(), error.column());
            IpError { place, ..self.error("this is not JSON") }
        })?;
        let Value::Array(all) = read else { return Err(self.error("this is no list")) };
        let object = |value| match value {
            Value::Object(object) => Ok(object),
            _ => Err(self.error("the list holds something else than objects")),
        };
        all.into_iter().map(object).collect()
    }
}

/// What `ip` says of interfaces and addresses beyond what counts here.
const OF_LINKS: &[&str] = &[
    "ifindex",
    "ifname",
    "flags",
    "mtu",
    "qdisc",
    "operstate",
    "group",
    "txqlen",
    "link_type",
    "address",
    "broadcast",
    "addr_info",
    "linkmode",
    "link",
    "link_index",
    "link_netnsid",
    "master",
    "altnames",
    "permaddr",
    "promiscuity",
    "allmulti",
    "min_mtu",
    "max_mtu",
    "linkinfo",
    "num_tx_queues",
    "num_rx_queues",
    "gso_max_size",
    "gso_max_segs",
    "tso_max_size",
    "tso_max_segs",
    "gro_max_size",
    "gso_ipv4_max_size",
    "gro_ipv4_max_size",
    "inet6_addr_gen_mode",
    "parentbus",
    "parentdev",
    "stats",
    "stats64",
    "ifalias",
    "event",
    "protodown",
    "proto_down",
    "vfinfo_list",
    "xdp",
    "link_pointtopoint",
    "phys_port_id",
    "phys_port_name",
    "phys_switch_id",
    "carrier_changes",
    "carrier_up_count",
    "carrier_down_count",
    "new_netnsid",
];

impl IpListing {
    /// Whether there are interfaces.
    pub fn has_interfaces(&self) -> bool {
        !self.interfaces.is_empty()
    }

    /// What was passed over, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads what `ip -j addr` or `ip -j link` prints; `name` is the file's name in messages.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read_addresses(&mut self, name: &str, text: &str) -> Result<(), IpError> {
        let file = File { name, command: "ip -j addr" };
        for object in file.objects(text)? {
            if object.contains_key("dst") {
                let hint = Some("routes go to --route".to_owned());
                return Err(IpError { hint, ..file.error("these are routes") });
            }
            // An object without a name is what `ip` prints of what it left out.
            let Some(Value::String(ifname)) = object.get("ifname") else {
                match object.is_empty() {
                    true => continue,
                    false => return Err(file.error("an interface without `ifname`")),
                }
            };
            self.note_unknown(&file, &object, OF_LINKS);
            let interface = self.interface(&file, ifname, &object)?;
            let Some((interface, peers)) = interface else { continue };
            self.enter(&file, interface, peers)?;
        }
        Ok(())
    }

    /// Adds an interface, or what is new of one that is there.
    fn enter(
        &mut self,
        file: &File<'_>,
        interface: Interface,
        peers: Vec<Peer>,
    ) -> Result<(), IpError> {
        let known = self.number(&interface.name);
        let known = known.and_then(|id| Some((id, self.interfaces.get_mut(usize::from(id.0))?)));
        let id = match known {
            // `ip link` beside `ip addr`.
            Some((_, known)) if interface.addresses.is_empty() => {
                (known.mtu, known.link) = (interface.mtu, interface.link);
                return Ok(());
            }
            Some((id, known)) => {
                *known = interface;
                id
            }
            None => {
                let next = u16::try_from(self.interfaces.len()).ok();
                let next = next.filter(|next| usize::from(*next) < MOST_INTERFACES);
                let Some(next) = next else {
                    let message = format!("there are more than {MOST_INTERFACES} interfaces");
                    return Err(IpError { hint: None, ..file.error(message) });
                };
                self.ids.insert(interface.name.clone(), InterfaceId(next));
                self.interfaces.push(interface);
                InterfaceId(next)
            }
        };
        self.peers.insert(id, peers);
        Ok(())
    }

    /// One interface; none if it is a loopback without addresses that count.
    fn interface(
        &mut self,
        file: &File<'_>,
        name: &str,
        object: &Map<String, Value>,
    ) -> Result<Option<(Interface, Vec<Peer>)>, IpError> {
        let flag = |flag: &str| {
            let flags = object.get("flags").and_then(Value::as_array);
            flags.is_some_and(|flags| flags.iter().any(|one| one.as_str() == Some(flag)))
        };
        let mut all = Vec::new();
        for info in object.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            all.extend(Address::read(file, name, info)?);
        }
        let loopback = flag("LOOPBACK");
        if loopback {
            all.retain(|address| !address.own.addr().is_loopback());
        }
        if !flag("UP") && !all.is_empty() {
            self.note(format!("`{name}` is down: its addresses do not count"));
            all.clear();
        }
        let peers = all.iter().filter_map(|address| address.peer).collect();
        let addresses: Vec<_> = all.into_iter().map(|address| address.own).collect();
        if loopback && addresses.is_empty() {
            return Ok(None);
        }
        let mtu = object.get("mtu").and_then(Value::as_u64);
        let mtu = mtu.and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or(DEFAULT_MTU);
        let link = match flag("NOARP") || flag("POINTOPOINT") || loopback {
            true => Link::PointToPoint,
            false => Link::Ethernet,
        };
        Ok(Some((Interface { addresses, mtu, link, ..Interface::named(name) }, peers)))
    }

    /// The network that has been read.
    ///
    /// # Errors
    /// When a route leads by an interface that is not there.
    pub fn network(&self, routing: Routing) -> Result<Network, IpError> {
        let mut routes = self.implied();
        let mut listed: Vec<&Found> = self.routes.iter().collect();
        listed.sort_by_key(|found| found.metric);
        for found in listed {
            let hop = match (found.hop, &found.dev) {
                (Some(hop), _) => hop,
                (None, Some(dev)) if dev == "lo" => continue,
                (None, Some(dev)) => {
                    Hop::Out(self.number(dev).ok_or_else(|| found.no_device(dev))?)
                }
                (None, None) => continue,
            };
            let (source, via) = (found.source, found.via);
            routes.push(Listed { to: found.to, hop, source, via });
        }
        let mut network = Network::listed(self.interfaces.clone(), &routes, routing);
        self.own.iter().for_each(|own| network.add_own(*own));
        let of_peers = self.peers.values().flatten().filter_map(Peer::broadcast);
        self.broadcast.iter().copied().chain(of_peers).for_each(|all| network.add_broadcast(all));
        Ok(network)
    }

    /// The routes that addresses imply, of a family whose routes are not listed.
    fn implied(&self) -> Vec<Listed> {
        let mut routes = Vec::new();
        for (interface, number) in self.interfaces.iter().zip(0..) {
            let id = InterfaceId(number);
            let hop = Hop::Out(id);
            let links = interface.addresses.iter().map(|net| net.trunc());
            let via = None;
            routes.extend(links.map(|to| Listed { to, hop, source: None, via }));
            let peers = self.peers.get(&id).into_iter().flatten();
            routes.extend(peers.map(|&Peer { to, source }| Listed { to, hop, source, via }));
        }
        routes.retain(|route| !self.has_routes[usize::from(matches!(route.to, IpNet::V6(_)))]);
        routes
    }

    fn number(&self, name: &str) -> Option<InterfaceId> {
        self.ids.get(name).copied()
    }

    fn note_unknown(&mut self, file: &File<'_>, object: &Map<String, Value>, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.note(format!("{}: `{key}` is not known and does not count", file.name));
        }
    }

    /// Says something once, while there is room.
    fn note(&mut self, note: String) {
        match self.notes.len() {
            MOST_NOTES.. => {}
            _ if self.notes.contains(&note) => {}
            LAST_NOTE => self.notes.push("more does not count; it is not said".to_owned()),
            _ => self.notes.push(note),
        }
    }
}

#[cfg(test)]
mod tests;
