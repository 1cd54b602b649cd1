//! What no capture tells and the configuration does: `[process]`, `[[socket]]`, `[[bridge]]`,
//! `[[ipsec]]`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use stateward_rules::address::Network;
use stateward_rules::known::{Known, Process, Socket, Transform};
use stateward_rules::matches::policy::{Mode, Way};
use stateward_wire::protocol;
use toml::Spanned;

use super::ConfigError;
use super::error::Source;
use super::raw;
use super::validate::{name, refuse};

/// As it stands in the file.
pub(super) struct Written {
    pub(super) process: Option<raw::Process>,
    pub(super) sockets: Option<Vec<raw::Socket>>,
    pub(super) bridges: Vec<raw::Bridge>,
    pub(super) ipsec: Option<Vec<raw::Ipsec>>,
}

/// Everything that is known beside the packets.
pub(super) fn known(source: &Source, written: Written) -> Result<Known, ConfigError> {
    let Written { process: sender, sockets, bridges, ipsec } = written;
    let sockets = sockets.map(|all| all.into_iter().map(|one| socket(source, one)).collect());
    let transforms = ipsec.map(|all| all.iter().map(|one| transform(source, one)).collect());
    let mut ports: Vec<(String, std::sync::Arc<str>)> = Vec::with_capacity(bridges.len());
    for raw::Bridge { name: bridge, port } in &bridges {
        name(source, bridge)?;
        name(source, port)?;
        if ports.iter().any(|(known, _)| known == bridge.get_ref()) {
            let message = format!("a port of `{}` is given already", bridge.get_ref());
            return Err(refuse(source, bridge, message, "packets come by one of them"));
        }
        ports.push((bridge.get_ref().clone(), port.get_ref().as_str().into()));
    }
    Ok(Known {
        sender: sender.map(process),
        sockets: sockets.transpose()?,
        ports,
        transforms: transforms.transpose()?,
        ..Known::default()
    })
}

fn process(raw: raw::Process) -> Process {
    let plain = Process::of(raw.uid);
    Process {
        group: raw.gid.unwrap_or(plain.group),
        groups: raw.groups,
        path: raw.cgroup.unwrap_or(plain.path),
        class: raw.classid.unwrap_or(plain.class),
        user: plain.user,
    }
}

fn socket(source: &Source, raw: raw::Socket) -> Result<Socket, ConfigError> {
    let protocol = match raw.protocol.get_ref().as_str() {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        other => {
            let message = format!("`{other}` has no sockets here");
            return Err(refuse(source, &raw.protocol, message, "tcp or udp"));
        }
    };
    let local = end(source, &raw.local)?;
    let remote = raw.remote.as_ref().map(|written| end(source, written)).transpose()?;
    let process = raw.process.map(process);
    Ok(Socket { protocol, local, remote, process, transparent: raw.transparent, mark: raw.mark })
}

fn end(source: &Source, written: &Spanned<String>) -> Result<(IpAddr, u16), ConfigError> {
    let parsed: Result<SocketAddr, _> = written.get_ref().parse();
    parsed.map(|end| (end.ip(), end.port())).map_err(|_| {
        let message = format!("`{}` is no end of a connection", written.get_ref());
        refuse(source, written, message, "as 0.0.0.0:22 or [2001:db8::1]:22")
    })
}

fn transform(source: &Source, raw: &raw::Ipsec) -> Result<Transform, ConfigError> {
    let way = match raw.direction.get_ref().as_str() {
        "in" => Way::In,
        "out" => Way::Out,
        other => {
            let message = format!("`{other}` is no direction");
            return Err(refuse(source, &raw.direction, message, "in or out"));
        }
    };
    let networks = [&raw.source, &raw.destination].map(Option::as_ref);
    let [from, to] = networks.map(|written| written.map(|one| network(source, one)).transpose());
    let protocol = match &raw.protocol {
        None => protocol::ESP,
        Some(written) => match written.get_ref().as_str() {
            "esp" => protocol::ESP,
            "ah" => protocol::AH,
            "ipcomp" => 108,
            other => {
                let message = format!("`{other}` is not of IPsec");
                return Err(refuse(source, written, message, "esp, ah or ipcomp"));
            }
        },
    };
    let tunnel = raw.tunnel.as_ref().map(|written| ends(source, written)).transpose()?;
    let mode = if tunnel.is_some() { Mode::Tunnel } else { Mode::Transport };
    let (reqid, spi) = (raw.reqid, raw.spi);
    Ok(Transform { way, source: from?, destination: to?, mode, protocol, tunnel, reqid, spi })
}

/// The source of a tunnel, and its destination.
fn ends(source: &Source, written: &Spanned<[String; 2]>) -> Result<[IpAddr; 2], ConfigError> {
    let [from, to] = written.get_ref().each_ref().map(|text| text.parse());
    match (from, to) {
        (Ok(from), Ok(to)) => Ok([from, to]),
        _ => {
            let hint = "its source and its destination, as [\"203.0.113.9\", \"203.0.113.1\"]";
            Err(refuse(source, written, "these are not the ends of a tunnel", hint))
        }
    }
}

fn network(source: &Source, written: &Spanned<String>) -> Result<Network, ConfigError> {
    let text = written.get_ref();
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = parsed.map_err(|_| {
        refuse(source, written, format!("`{text}` is no network"), "as 198.51.100.0/24")
    })?;
    Ok(Network { address: net.trunc().addr(), mask: net.netmask() })
}
