//! From what TOML says to what can be: the kernel's own limits, and references that lead somewhere.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use stateward_engine::route::Delivered;
use toml::Spanned;

use super::error::Source;
use super::known;
use super::raw;
use super::timeout;
use super::{Config, ConfigError, InterfaceConfig, KernelVersion, Mac, RouteConfig, Sysctl};

/// `IFNAMSIZ` without its terminating zero.
const NAME_BYTES: usize = 15;
/// `ETH_MIN_MTU`, and the loopback device's MTU, which is the largest there is.
const MTU: std::ops::RangeInclusive<u32> = 68..=65_536;
/// `IPV6_MIN_MTU`: below it the kernel switches IPv6 off.
const MTU_IPV6: u32 = 1_280;
/// The one there is so far.
const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };
/// What a capture calls the machine itself; no interface can be called so.
const LOCAL: &str = "local";

pub(super) fn config(raw: raw::Gateway, source: Source) -> Result<Config, ConfigError> {
    let path = |written: Option<Spanned<String>>| path(&source, written);
    let (rules, rules6, sets) = (path(raw.rules)?, path(raw.rules6)?, path(raw.sets)?);
    let paths = |all: Vec<Spanned<String>>| {
        let all = all.into_iter().filter_map(|written| path(Some(written)).transpose());
        all.collect::<Result<Vec<_>, _>>()
    };
    let ip = raw.ip.addr.first().or(raw.ip.route.first()).cloned();
    let (ip_addresses, ip_routes) = (paths(raw.ip.addr)?, paths(raw.ip.route)?);
    let described = !raw.interface.is_empty() || !raw.route.is_empty();
    if let Some(written) = ip.filter(|_| described) {
        let message = "[ip] and [[interface]] or [[route]] both describe the network";
        return Err(refuse(&source, &written, message, "one of them"));
    }
    let kernel = raw.kernel.map(|written| kernel(&source, &written)).transpose()?;
    let sysctls = sysctls(&source, raw.sysctl)?;
    let interfaces = interfaces(&source, raw.interface)?;
    let routes = routes(&source, raw.route, &interfaces)?;
    let forward = raw.forward;
    let delivered = raw.deliver.iter().map(|written| delivered(&source, written));
    let delivered = delivered.collect::<Result<_, _>>()?;
    let timeouts = timeout::policies(&source, raw.timeout)?;
    let known = known::known(
        &source,
        known::Written {
            process: raw.process,
            sockets: raw.socket,
            bridges: raw.bridge,
            ipsec: raw.ipsec,
        },
    )?;
    Ok(Config {
        rules,
        rules6,
        sets,
        ip_addresses,
        ip_routes,
        kernel,
        forward,
        delivered,
        sysctls,
        interfaces,
        routes,
        timeouts,
        known,
        source,
    })
}

/// A mark and its mask as `ip rule` takes them; without a mask all bits count.
fn delivered(source: &Source, written: &Spanned<String>) -> Result<Delivered, ConfigError> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let text = written.get_ref();
    let (mark, mask) = match text.split_once('/') {
        Some((mark, mask)) => (number(mark), number(mask)),
        None => (number(text), Some(u32::MAX)),
    };
    match (mark, mask) {
        (Some(mark), Some(mask)) if mark & !mask == 0 => Ok(Delivered { mark, mask }),
        (Some(_), Some(_)) => {
            let message = format!("no mark is `{text}`: a bit of it is not in its mask");
            Err(refuse(source, written, message, "as 0x1/0x1"))
        }
        _ => {
            let message = format!("`{text}` is no mark");
            Err(refuse(source, written, message, "as 0x1/0x1, or 1"))
        }
    }
}

/// An error at the place of a value.
pub(super) fn refuse<T>(
    source: &Source,
    at: &Spanned<T>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> ConfigError {
    let hint = hint.into();
    source.error(&at.span(), message.into(), Some(hint).filter(|hint| !hint.is_empty()))
}

fn path(source: &Source, written: Option<Spanned<String>>) -> Result<Option<PathBuf>, ConfigError> {
    match written {
        Some(written) if written.get_ref().is_empty() => {
            Err(refuse(source, &written, "the name of the file is empty", ""))
        }
        written => Ok(written.map(|written| source.directory().join(written.get_ref()))),
    }
}

fn kernel(source: &Source, written: &Spanned<String>) -> Result<KernelVersion, ConfigError> {
    let mut parts = written.get_ref().splitn(3, '.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => match (KernelVersion { major, minor }) {
            KERNEL => Ok(KERNEL),
            other => {
                let message = format!("how Linux {other} behaves is not known");
                Err(refuse(source, written, message, format!("{KERNEL} is, and no other so far")))
            }
        },
        _ => {
            let message = format!("`{}` is no kernel version", written.get_ref());
            Err(refuse(source, written, message, "write it as \"6.18\""))
        }
    }
}

fn sysctls(source: &Source, raw: raw::Sysctls) -> Result<Vec<Sysctl>, ConfigError> {
    let mut all: Vec<_> =
        raw.0.into_iter().map(|(name, value, span)| Sysctl { name, value, span }).collect();
    // TOML's tables come sorted by name; the file's order is what the user sees.
    all.sort_by_key(|sysctl| sysctl.span.start);
    let mut names = HashSet::new();
    for sysctl in &all {
        if !names.insert(sysctl.name.as_str()) {
            let message = format!("`{}` is set twice", sysctl.name);
            return Err(source.error(&sysctl.span, message, None));
        }
    }
    Ok(all)
}

fn interfaces(
    source: &Source,
    raw: Vec<raw::Interface>,
) -> Result<Vec<InterfaceConfig>, ConfigError> {
    let mut names = HashSet::new();
    let mut all = Vec::with_capacity(raw.len());
    for written in raw {
        let interface = interface(source, &written)?;
        if !names.insert(interface.name.clone()) {
            let message = format!("there is an interface `{}` already", interface.name);
            return Err(refuse(source, &written.name, message, "names are unique"));
        }
        all.push(interface);
    }
    Ok(all)
}

fn interface(source: &Source, raw: &raw::Interface) -> Result<InterfaceConfig, ConfigError> {
    name(source, &raw.name)?;
    let mut addresses = Vec::with_capacity(raw.addresses.len());
    for written in &raw.addresses {
        let address = address(source, written)?;
        if addresses.iter().any(|known: &IpNet| known.addr() == address.addr()) {
            let message = format!("`{}` has this address already", raw.name.get_ref());
            return Err(refuse(source, written, message, ""));
        }
        addresses.push(address);
    }
    if let Some(written) = &raw.mtu {
        mtu(source, written, &addresses)?;
    }
    let mac = raw.mac.as_ref().map(|written| mac(source, written)).transpose()?;
    let mtu = raw.mtu.as_ref().map(|mtu| *mtu.get_ref());
    Ok(InterfaceConfig { name: raw.name.get_ref().clone(), addresses, mtu, mac, group: raw.group })
}

/// The kernel's `dev_valid_name`.
pub(super) fn name(source: &Source, written: &Spanned<String>) -> Result<(), ConfigError> {
    let name = written.get_ref();
    let forbidden = |each: char| each == '/' || each == ':' || each.is_ascii_whitespace();
    if name.is_empty() || name.len() > NAME_BYTES {
        let message = format!("`{name}` has {} bytes", name.len());
        return Err(refuse(source, written, message, "an interface's name has 1 to 15"));
    }
    if name == "." || name == ".." || name.contains(forbidden) {
        let message = format!("`{name}` cannot be the name of an interface");
        let hint = "the kernel allows neither `/`, `:` nor spaces";
        return Err(refuse(source, written, message, hint));
    }
    if name == LOCAL {
        let hint = "in captures and traces it means the machine itself";
        return Err(refuse(source, written, "no interface can be called `local`", hint));
    }
    Ok(())
}

fn address(source: &Source, written: &Spanned<String>) -> Result<IpNet, ConfigError> {
    let text = written.get_ref();
    text.parse().map_err(|_| {
        let (message, hint) = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(plain)) => ("an address needs a prefix length", format!("{plain}/24?")),
            Ok(IpAddr::V6(plain)) => ("an address needs a prefix length", format!("{plain}/64?")),
            Err(_) => ("this is no address with a prefix length", "as 192.0.2.1/24".to_owned()),
        };
        refuse(source, written, message, hint)
    })
}

fn mtu(source: &Source, written: &Spanned<u32>, addresses: &[IpNet]) -> Result<(), ConfigError> {
    let mtu = *written.get_ref();
    if !MTU.contains(&mtu) {
        let message = format!("an MTU of {mtu} is not possible");
        return Err(refuse(source, written, message, "68 to 65536"));
    }
    let six = addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
    if six && mtu < MTU_IPV6 {
        let message = format!("an MTU of {mtu} is too small for an interface with IPv6 addresses");
        return Err(refuse(source, written, message, "at least 1280"));
    }
    Ok(())
}

fn mac(source: &Source, written: &Spanned<String>) -> Result<Mac, ConfigError> {
    let mut bytes = [0; 6];
    let mut parts = written.get_ref().split(':');
    let complete = bytes.iter_mut().all(|byte| {
        let part = parts.next().filter(|part| matches!(part.len(), 1..=2));
        let digits = part.filter(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let value = digits.and_then(|part| u8::from_str_radix(part, 16).ok());
        *byte = value.unwrap_or_default();
        value.is_some()
    });
    if complete && parts.next().is_none() {
        return Ok(Mac(bytes));
    }
    let message = format!("`{}` is no Ethernet address", written.get_ref());
    Err(refuse(source, written, message, "as 02:00:5e:10:00:01"))
}

fn routes(
    source: &Source,
    raw: Vec<raw::Route>,
    interfaces: &[InterfaceConfig],
) -> Result<Vec<RouteConfig>, ConfigError> {
    let mut known = connected(interfaces);
    let mut all = Vec::with_capacity(raw.len());
    for written in raw {
        let route = route(source, &written, interfaces)?;
        if let Some(dev) = known.insert(route.to, route.dev.clone()) {
            let message = format!("there is a route to {} already, through `{dev}`", route.to);
            return Err(refuse(source, &written.to, message, ""));
        }
        all.push(route);
    }
    Ok(all)
}

/// The IPv4 networks that the kernel has a route to by an address, and takes no second one to. (Of
/// IPv6 it takes one, which does not count; an address alone is no network.)
fn connected(interfaces: &[InterfaceConfig]) -> HashMap<IpNet, String> {
    let mut known = HashMap::new();
    for interface in interfaces {
        let networks = interface.addresses.iter().map(IpNet::trunc);
        for net in networks.filter(|net| net.addr().is_ipv4() && net.prefix_len() < 32) {
            known.entry(net).or_insert_with(|| interface.name.clone());
        }
    }
    known
}

fn route(
    source: &Source,
    raw: &raw::Route,
    interfaces: &[InterfaceConfig],
) -> Result<RouteConfig, ConfigError> {
    let dev = raw.dev.get_ref();
    if !interfaces.iter().any(|interface| interface.name == *dev) {
        let names: Vec<_> = interfaces.iter().map(|known| format!("`{}`", known.name)).collect();
        let hint = match names.is_empty() {
            true => "the file describes no [[interface]]".to_owned(),
            false => format!("there is {}", names.join(", ")),
        };
        return Err(refuse(source, &raw.dev, format!("no interface is called `{dev}`"), hint));
    }
    let via = raw.via.as_ref().map(|written| next_hop(source, written)).transpose()?;
    let to = destination(source, &raw.to, via)?;
    // The kernel knows IPv4 routes through IPv6 neighbours, but not the opposite.
    if let (IpNet::V6(_), Some(IpAddr::V4(_)), Some(written)) = (to, via, &raw.via) {
        let message = "an IPv6 network cannot be reached through an IPv4 address";
        return Err(refuse(source, written, message, ""));
    }
    Ok(RouteConfig { to, dev: dev.clone(), via })
}

fn next_hop(source: &Source, written: &Spanned<String>) -> Result<IpAddr, ConfigError> {
    written.get_ref().parse().map_err(|_| {
        let message = format!("`{}` is no address", written.get_ref());
        refuse(source, written, message, "as 203.0.113.254, without a prefix length")
    })
}

/// `default` is of the next hop's family, IPv4 if there is none, as ip(8) takes it. An address
/// alone is a route to that host.
fn destination(
    source: &Source,
    written: &Spanned<String>,
    via: Option<IpAddr>,
) -> Result<IpNet, ConfigError> {
    let text = written.get_ref();
    if text == "default" {
        return Ok(match via {
            Some(IpAddr::V6(_)) => IpNet::V6(Ipv6Net::default()),
            _ => IpNet::V4(Ipv4Net::default()),
        });
    }
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(to) = parsed else {
        let message = format!("`{text}` is no network");
        return Err(refuse(source, written, message, "\"default\", or as 198.51.100.0/24"));
    };
    if to.trunc() != to {
        let message = format!("`{text}` has bits set behind its prefix");
        return Err(refuse(source, written, message, format!("{}?", to.trunc())));
    }
    Ok(to)
}
