//! What a packet is looked up by.

use std::cell::OnceCell;

use crate::address;
use crate::context::View;
use crate::matches::multiport::protocol_has_ports;
use crate::matches::udp::ports_of;
use crate::protocol::{DCCP, SCTP, TCP};
use stateward_wire::Family;

/// Which field is which.
pub(super) const SOURCE: usize = 0;
pub(super) const DESTINATION: usize = 1;
pub(super) const SOURCE_PORT: usize = 2;
pub(super) const DESTINATION_PORT: usize = 3;
pub(super) const INPUT: usize = 4;
pub(super) const OUTPUT: usize = 5;

/// A packet's values of the six fields, each in the upper bits of its number.
pub(crate) struct Key<'a> {
    view: &'a View<'a>,
    source: u128,
    destination: u128,
    ports: [u128; 2],
    interfaces: [OnceCell<u128>; 2],
}

impl<'a> Key<'a> {
    /// `None` if a match could find the packet broken where it looks for ports: the header is cut, or
    /// in another fragment.
    pub(crate) fn of(view: &'a View<'a>) -> Option<Self> {
        let protocol = view.protocol()?;
        let header = view.packet.l4();
        let ports = match protocol_has_ports(protocol) {
            true => ports_of(header.get(..shortest(protocol))?),
            false => [0, 0],
        };
        Some(Self {
            source: address_value(view.source),
            destination: address_value(view.destination),
            ports: ports.map(|port| port_value(protocol, port)),
            view,
            interfaces: Default::default(),
        })
    }

    pub(super) fn value(&self, field: usize) -> u128 {
        match field {
            SOURCE => self.source,
            DESTINATION => self.destination,
            SOURCE_PORT => self.ports[0],
            DESTINATION_PORT => self.ports[1],
            INPUT => *self.interfaces[0].get_or_init(|| name_value(self.view.input())),
            _ => *self.interfaces[1].get_or_init(|| name_value(self.view.output())),
        }
    }
}

/// What the matches of a protocol with ports want of its header.
fn shortest(protocol: u8) -> usize {
    match protocol {
        TCP => 20,
        SCTP | DCCP => 12,
        _ => 8,
    }
}

pub(super) fn address_value(address: core::net::IpAddr) -> u128 {
    match Family::of(address) {
        Family::V4 => address::bits(address) << 96,
        Family::V6 => address::bits(address),
    }
}

/// The protocol, then the port.
pub(super) fn port_value(protocol: u8, port: u16) -> u128 {
    u128::from(protocol) << 120 | u128::from(port) << 104
}

/// The name's first sixteen bytes: no interface of a rule has more than fifteen.
pub(super) fn name_value(name: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    u128::from_be_bytes(bytes)
}
