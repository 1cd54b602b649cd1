//! Routes of `ip -j route`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};
use stateward_engine::route::Hop;

use super::{File, IpError, IpListing};

/// A route that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) to: IpNet,
    pub(super) dev: Option<String>,
    /// What it does, if it does not lead to a device.
    pub(super) hop: Option<Hop>,
    pub(super) metric: u64,
    pub(super) source: Option<IpAddr>,
    pub(super) via: Option<IpAddr>,
    file: String,
}

impl Found {
    pub(super) fn no_device(&self, dev: &str) -> IpError {
        IpError {
            place: self.file.clone(),
            message: format!("the route to {} leads by `{dev}`, which there is not", self.to),
            hint: Some("--addr takes what `ip -j addr` prints of all interfaces".to_owned()),
        }
    }
}

/// What `ip` says of routes.
const KNOWN: &[&str] = &[
    "type", "dst", "gateway", "via", "dev", "table", "protocol", "scope", "prefsrc", "metric",
    "flags", "pref", "nexthops", "tos", "metrics", "expires", "error", "nhid", "age", "users",
    "used", "cache", "uid", "hoplimit", "mtu", "advmss", "window", "rtt", "initcwnd", "initrwnd",
    "iif",
];

impl IpListing {
    /// Reads what `ip -j route`, `ip -j -6 route` or `ip -j route show table all` prints; `name` is
    /// the file's name in messages.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read_routes(&mut self, name: &str, text: &str) -> Result<(), IpError> {
        let file = File { name, command: "ip -j route" };
        let objects = file.objects(text)?;
        let mut families = [false; 2];
        for object in &objects {
            if object.contains_key("ifname") {
                let hint = Some("addresses go to --addr".to_owned());
                return Err(IpError { hint, ..file.error("these are interfaces") });
            }
            self.note_unknown(&file, object, KNOWN);
            let to = destination(&file, object)?;
            families[usize::from(matches!(to, IpNet::V6(_)))] = true;
            self.route(&file, to, object)?;
        }
        // An empty list is of IPv4, unless there was one already.
        if objects.is_empty() {
            families[usize::from(self.has_routes[0])] = true;
        }
        for (has, found) in self.has_routes.iter_mut().zip(families) {
            *has |= found;
        }
        Ok(())
    }

    fn route(
        &mut self,
        file: &File<'_>,
        to: IpNet,
        object: &Map<String, Value>,
    ) -> Result<(), IpError> {
        let word = |key: &str| object.get(key).and_then(Value::as_str);
        let kind = word("type").unwrap_or("unicast");
        match word("table") {
            None | Some("main" | "local" | "default" | "254" | "255" | "253") => {}
            Some(table) => {
                let name = file.name;
                self.note(format!(
                    "{name}: routes of table {table} do not count: policy rules are not read"
                ));
                return Ok(());
            }
        }
        if word("tos").is_some() {
            self.note(format!("{}: routes for one type of service do not count", file.name));
            return Ok(());
        }
        if has_flag(object, "dead") {
            return Ok(());
        }
        let hop = match kind {
            "unicast" => None,
            "local" | "broadcast" | "anycast" | "multicast" => {
                self.of_this_host(file, kind, to);
                return Ok(());
            }
            "blackhole" => Some(Hop::Blackhole),
            "unreachable" => Some(Hop::Unreachable),
            "prohibit" => Some(Hop::Prohibited),
            "throw" => Some(Hop::Nowhere),
            other => return Err(file.error(format!("`{other}` is no type of route"))),
        };
        let source = match word("prefsrc") {
            None => None,
            Some(text) => match text.parse() {
                Ok(source) => Some(source),
                Err(_) => return Err(file.error(format!("`{text}` is no address"))),
            },
        };
        let dev = word("dev").map(str::to_owned).or_else(|| self.first_hop(file, object));
        if hop.is_none() && dev.is_none() {
            return Err(file.error(format!("the route to {to} has no `dev`")));
        }
        // A gateway of the other family, `via`, is no next hop to be compared with.
        let first = |key: &str| object.get("nexthops")?.as_array()?.first()?.get(key)?.as_str();
        let via = word("gateway").or_else(|| first("gateway")).and_then(|text| text.parse().ok());
        let metric = object.get("metric").and_then(Value::as_u64).unwrap_or(0);
        let file = file.name.to_owned();
        self.routes.push(Found { to, dev, hop, metric, source, via, file });
        Ok(())
    }

    /// The first of several next hops.
    fn first_hop(&mut self, file: &File<'_>, object: &Map<String, Value>) -> Option<String> {
        let hops = object.get("nexthops")?.as_array()?;
        if hops.len() > 1 {
            let name = file.name;
            self.note(format!("{name}: of several next hops the first one is taken"));
        }
        let usable = |hop: &&Value| hop.as_object().is_some_and(|hop| !has_flag(hop, "dead"));
        let first = hops.iter().find(usable)?;
        Some(first.get("dev")?.as_str()?.to_owned())
    }

    /// Routes of table `local`: what is this host's own, and what means all of a link. Addresses of
    /// interfaces are known already.
    fn of_this_host(&mut self, file: &File<'_>, kind: &str, to: IpNet) {
        let whole = to.prefix_len() == to.max_prefix_len();
        match (kind, to) {
            ("local", _) if to.addr().is_loopback() => {}
            ("local" | "anycast", _) if whole => self.own.push(to.addr()),
            ("broadcast", IpNet::V4(to)) if whole && !is_loopback(to.addr()) => {
                self.broadcast.push(to.addr());
            }
            // Groups are joined by programs, and the loopback's broadcast is nobody's.
            ("broadcast" | "multicast", _) => {}
            _ => {
                let name = file.name;
                self.note(format!("{name}: the {kind} route to {to} does not count"));
            }
        }
    }
}

fn is_loopback(address: Ipv4Addr) -> bool {
    address.is_loopback()
}

fn has_flag(object: &Map<String, Value>, flag: &str) -> bool {
    let flags = object.get("flags").and_then(Value::as_array);
    flags.is_some_and(|flags| flags.iter().any(|one| one.as_str() == Some(flag)))
}

/// `default` is of the family of its next hop, its preference (IPv6 alone has one), or its source.
fn destination(file: &File<'_>, object: &Map<String, Value>) -> Result<IpNet, IpError> {
    let Some(text) = object.get("dst").and_then(Value::as_str) else {
        return Err(file.error("a route without `dst`"));
    };
    if text != "default" {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        return net.map_err(|_| file.error(format!("`{text}` is no destination")));
    }
    let six = ["gateway", "prefsrc"].iter().any(|key| {
        let address = object.get(*key).and_then(Value::as_str);
        address.is_some_and(|address| address.contains(':'))
    });
    Ok(match six || object.contains_key("pref") {
        true => IpNet::V6(Ipv6Net::default()),
        false => IpNet::V4(Ipv4Net::default()),
    })
}
