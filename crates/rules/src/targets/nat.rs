//! What the targets of table nat share: addresses and ports to translate to, as they are written
//! and printed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_wire::Family;

use crate::address::{Network, Shown};
use crate::matches::multiport::protocol_has_ports;
use crate::option::{Given, Refusal};
use crate::save::Save;
use crate::{number, protocol, services};

/// Addresses and ports to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatRange {
    /// The lowest and the highest; `None` keeps the address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The lowest and the highest, or ids of ICMP; `None` keeps the port if it is free.
    pub ports: Option<(u16, u16)>,
    /// Ports are shifted: this one becomes the lowest. Zero where the kernel forgets it.
    pub base: Option<u16>,
    /// How a port is chosen.
    pub choice: Choice,
}

/// What a rule makes of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Translation<'a> {
    /// SNAT: the source becomes one of these.
    Source(&'a NatRange),
    /// DNAT: the destination does.
    Destination(&'a NatRange),
    /// MASQUERADE: the source becomes the address of the interface it leaves by.
    Masquerade(&'a NatRange),
    /// REDIRECT: the destination becomes this host.
    Redirect(&'a NatRange),
    /// NETMAP: the end that the hook is about becomes the same host of this network.
    Netmap(&'a Network),
}

/// `--random`, `--random-fully`, `--persistent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// From a random start.
    pub random: bool,
    /// Each at random.
    pub random_fully: bool,
    /// The same address for all connections of a client.
    pub persistent: bool,
}

/// Whether a third port may follow: `1000-2000/100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// It may.
    Kept,
    /// It may, but only that it was there is kept.
    Lost,
    /// It may not.
    Refused,
}

impl NatRange {
    /// `[address[-address]][:port[-port[/base]]]`, IPv6 addresses in brackets if a port follows.
    pub(crate) fn parse(&mut self, given: &Given<'_>, base: Base) -> Result<(), Refusal> {
        let text = given.text;
        let (addresses, ports) = match text.split_once('[') {
            Some((_, inside)) => {
                let closed = inside.split_once(']').filter(|_| given.family() == Family::V6);
                let Some((addresses, after)) = closed else {
                    return Err(Refusal::new(format!("invalid address `{text}`")));
                };
                (addresses, after.split_once(':').map(|(_, ports)| ports))
            }
            // One colon is before a port, several are an IPv6 address.
            None => match text.split_once(':') {
                Some((addresses, ports)) if !ports.contains(':') => (addresses, Some(ports)),
                _ => (text, None),
            },
        };
        if let Some(ports) = ports {
            self.ports(ports, given, base)?;
            if addresses.is_empty() {
                return Ok(());
            }
        }
        let address = |text: &str| strict(given.family(), text);
        self.addresses = Some(match addresses.split_once('-') {
            Some((first, last)) => (address(first)?, address(last)?),
            None => {
                let address = address(addresses)?;
                (address, address)
            }
        });
        Ok(())
    }

    /// `port[-port[/base]]`: by name where nothing else stands.
    pub(crate) fn ports(
        &mut self,
        text: &str,
        given: &Given<'_>,
        base: Base,
    ) -> Result<(), Refusal> {
        let protocol = given.header.protocol.value;
        let has_ports = protocol_has_ports(protocol) && protocol != protocol::UDPLITE;
        if !has_ports && protocol != protocol::ICMP {
            let refusal = Refusal::new("ports need a protocol with ports before them");
            return Err(refusal.hint("add TCP, UDP, SCTP or DCCP: `-p tcp` before the target"));
        }
        let (first, rest) = port(text, 0)?;
        let rest = match rest.chars().next() {
            None => {
                self.ports = Some((first, first));
                return Ok(());
            }
            Some('-') => rest.get(1..).unwrap_or_default(),
            Some(':') => {
                let refusal = Refusal::new(format!("invalid ports `{text}`"));
                return Err(refusal.hint("a dash stands between the first and the last"));
            }
            Some(_) => return Err(Refusal::new(format!("`{rest}` behind a port"))),
        };
        let (last, after) = leading(rest, 0).ok_or_else(|| services::unknown(rest))?;
        if last < first {
            let refusal = Refusal::new(format!("port range `{text}` goes down"));
            return Err(refusal.hint(format!("{last}-{first}?")));
        }
        self.ports = Some((first, last));
        let Some(after) = after.strip_prefix('/') else {
            return match after.is_empty() {
                true => Ok(()),
                false => Err(Refusal::new(format!("`{after}` behind a range of ports"))),
            };
        };
        self.base = Some(match base {
            Base::Refused => return Err(Refusal::new("a range of ports cannot be shifted here")),
            Base::Kept => port(after, 1)?.0,
            Base::Lost => {
                port(after, 1)?;
                0
            }
        });
        Ok(())
    }

    /// ` [first-last]:first-last/base`.
    pub(crate) fn save(&self, save: &mut Save, option: &str) {
        let Self { addresses, ports, base, choice: _ } = self;
        if addresses.is_none() && ports.is_none() {
            return;
        }
        save.flag(option).text(' ');
        if let Some((first, last)) = addresses {
            let brackets = first.is_ipv6() && ports.is_some();
            save.text(if brackets { "[" } else { "" }).text(Shown(*first));
            if last != first {
                save.text('-').text(Shown(*last));
            }
            save.text(if brackets { "]" } else { "" });
        }
        if ports.is_some() {
            save.text(':');
        }
        save_ports(save, *ports, *base);
    }
}

impl Choice {
    /// Reads one of its options.
    pub(crate) fn set(&mut self, option: &str) {
        match option {
            "random" => self.random = true,
            "random-fully" => self.random_fully = true,
            _ => self.persistent = true,
        }
    }

    pub(crate) fn save(self, save: &mut Save) {
        let Self { random, random_fully, persistent } = self;
        let flags =
            [("random", random), ("random-fully", random_fully), ("persistent", persistent)];
        for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
            save.flag(name);
        }
    }
}

/// `first-last/base`.
pub(crate) fn save_ports(save: &mut Save, ports: Option<(u16, u16)>, base: Option<u16>) {
    let Some((first, last)) = ports else { return };
    save.text(first);
    if last != first {
        save.text('-').text(last);
    }
    if let Some(base) = base {
        save.text('/').text(base);
    }
}

/// A port at the beginning of `text`, and what follows.
fn leading(text: &str, least: u16) -> Option<(u16, &str)> {
    let (value, rest) = number::prefix(text)?;
    let port = u16::try_from(value).ok().filter(|port| *port >= least)?;
    Some((port, rest))
}

/// The same, or all of `text` as a service's name.
fn port(text: &str, least: u16) -> Result<(u16, &str), Refusal> {
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let named = || services::port(text).filter(|_| is_name).map(|port| (port, ""));
    leading(text, least).or_else(named).ok_or_else(|| services::unknown(text))
}

/// An address without shortcuts.
fn strict(family: Family, text: &str) -> Result<IpAddr, Refusal> {
    let address = match family {
        Family::V4 => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Family::V6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    };
    address.ok_or_else(|| Refusal::new(format!("bad IP address `{text}`")))
}
