//! What an address is to this host: `addrtype`'s question.
//!
//! IPv4 knows one kind an address. IPv6 asks the address for its form and the routes for the rest,
//! so that several bits may be set; with a device, only that device's addresses and routes are
//! asked, and what no route leads to by it is UNREACHABLE. Kernel counterparts:
//! `inet_dev_addr_type`, `match_lookup_rt6`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::{Interface, Network, Way};

const UNSPEC: u16 = 1 << 0;
const UNICAST: u16 = 1 << 1;
const LOCAL: u16 = 1 << 2;
const BROADCAST: u16 = 1 << 3;
const ANYCAST: u16 = 1 << 4;
const MULTICAST: u16 = 1 << 5;
const UNREACHABLE: u16 = 1 << 7;

impl Network {
    /// The mask of the link to all of which an address stands, if it stands for all of it.
    pub(crate) fn broadcast_mask(
        &self,
        egress: super::InterfaceId,
        address: IpAddr,
    ) -> Option<Ipv4Addr> {
        let links = self.interface(egress)?.addresses.iter();
        links.filter(|link| link.prefix_len() < 31).find_map(|link| match link {
            IpNet::V4(link) if link.broadcast() == address => Some(link.netmask()),
            _ => None,
        })
    }

    /// What an address is to this host, as one bit of the kernel's `RTN_` types; IPv6 may set
    /// several. With `device`, what is another interface's is not ours.
    pub(crate) fn address_types(&self, address: IpAddr, device: Option<&str>) -> u16 {
        match address {
            IpAddr::V4(address) => self.kind_v4(address, device),
            IpAddr::V6(address) => self.kinds_v6(address, device),
        }
    }

    /// The addresses of the device, or of all.
    fn addresses<'a>(&'a self, device: Option<&'a str>) -> impl Iterator<Item = &'a IpNet> {
        let asked = move |interface: &&Interface| device.is_none_or(|name| interface.name == name);
        self.interfaces.iter().filter(asked).flat_map(|interface| &interface.addresses)
    }

    fn kind_v4(&self, address: Ipv4Addr, device: Option<&str>) -> u16 {
        let is_broadcast = |net: &IpNet| matches!(net, IpNet::V4(net) if net.prefix_len() < 31 && net.broadcast() == address);
        let is_here = |net: &IpNet| net.addr() == IpAddr::V4(address);
        let unnamed = device.is_none() && self.is_own(address.into());
        let loops = address.is_loopback() && device.is_none_or(|name| name == "lo");
        if address.is_unspecified() || address.is_broadcast() {
            BROADCAST
        } else if address.is_multicast() {
            MULTICAST
        } else if unnamed || loops || self.addresses(device).any(is_here) {
            LOCAL
        } else if self.addresses(device).any(is_broadcast) {
            BROADCAST
        } else {
            UNICAST
        }
    }

    fn kinds_v6(&self, address: Ipv6Addr, device: Option<&str>) -> u16 {
        if address.is_multicast() {
            return MULTICAST;
        }
        let form = if address.is_unspecified() { UNSPEC } else { UNICAST };
        let Some(route) = self.leads_to(address, device) else { return form | UNREACHABLE };
        let unnamed = device.is_none() && self.is_local(address.into());
        if self.is_anycast(address.into()) || is_first_of(route, address) {
            form | ANYCAST
        } else if unnamed || self.addresses(device).any(|net| net.addr() == address) {
            form | LOCAL
        } else {
            form
        }
    }

    /// The network of the route that leads there, by the device if one is given.
    fn leads_to(&self, address: Ipv6Addr, device: Option<&str>) -> Option<Ipv6Net> {
        let host = Ipv6Net::from(address);
        let Some(asked) = device else {
            if self.is_local(address.into()) {
                return Some(host);
            }
            return self.v6.get_lpm(&host).filter(|(_, way)| way.out.is_ok()).map(|(net, _)| net);
        };
        let name = |dev| self.interface(dev).map(|interface| interface.name.as_str());
        let by = |way: &Way| way.out.is_ok_and(|dev| name(dev) == Some(asked));
        self.v6.cover(&host).filter(|(_, way)| by(way)).map(|(net, _)| net).last()
    }
}

/// Whether the address is a network's first, which stands for any of its routers (RFC 4291, 2.6.1).
/// The kernel takes that of every route for one, even `::` of the default route.
fn is_first_of(net: Ipv6Net, address: Ipv6Addr) -> bool {
    net.prefix_len() < 127 && net.network() == address
}
