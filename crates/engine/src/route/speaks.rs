//! From which of its addresses this host speaks, as MASQUERADE and REDIRECT ask.
//!
//! IPv4 takes the first address of the interface whose network holds the next hop, else the first
//! of the interface, else the first of any (kernel `inet_select_addr`). IPv6 weighs all addresses
//! against the destination (RFC 6724, 5; kernel `ipv6_dev_get_saddr`).

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Interface, InterfaceId, Network};

impl Network {
    /// The address under which a packet to `to` leaves by an interface, or comes back to this host.
    pub(crate) fn speaks_as(&self, out: Option<InterfaceId>, to: IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(to) => self.speaks_v4(out, to).map(IpAddr::V4),
            IpAddr::V6(to) => self.speaks_v6(out, to).map(IpAddr::V6),
        }
    }

    fn speaks_v4(&self, out: Option<InterfaceId>, to: Ipv4Addr) -> Option<Ipv4Addr> {
        let next_hop = match self.way(to.into()).and_then(|way| way.via) {
            Some(IpAddr::V4(via)) => via,
            _ => to,
        };
        let own = || out.and_then(|out| self.interface(out)).into_iter().flat_map(primaries);
        let near = own().find(|net| net.contains(&next_hop));
        let first = || self.interfaces.iter().find_map(|other| primaries(other).next());
        near.or_else(|| own().next()).or_else(first).map(|net| net.addr())
    }

    fn speaks_v6(&self, out: Option<InterfaceId>, to: Ipv6Addr) -> Option<Ipv6Addr> {
        if to.is_loopback() {
            return Some(to);
        }
        let wanted = scope(to);
        let weight = |on_link: bool, net: &Ipv6Net| {
            let own = net.addr();
            // What reaches far enough is the better the less far it reaches.
            let reach = scope(own);
            let reach = if reach >= wanted { -reach } else { reach - 128 };
            let alike = (u128::from(own) ^ u128::from(to)).leading_zeros();
            let alike = alike.min(u32::from(net.prefix_len()));
            (own == to, reach, on_link, label(own) == label(to), alike)
        };
        let all = self.interfaces.iter().enumerate().flat_map(|(number, interface)| {
            let on_link = out.is_some_and(|out| number == usize::from(out.0));
            by_scope(interface).into_iter().map(move |net| (on_link, net))
        });
        // Nobody speaks to a neighbour from another link.
        let may = |on_link: bool| on_link || wanted > LINK_LOCAL;
        let weighed = all
            .filter(|(on_link, _)| may(*on_link))
            .enumerate()
            .map(|(number, (on_link, net))| (weight(on_link, &net), Reverse(number), net.addr()));
        weighed.max_by_key(|(weight, number, _)| (*weight, *number)).map(|(_, _, own)| own)
    }

    /// The address of this host that what came in by an interface is redirected to.
    pub(crate) fn receives_as(&self, ingress: InterfaceId, to: IpAddr) -> Option<IpAddr> {
        let interface = self.interface(ingress)?;
        match to {
            IpAddr::V4(_) => primaries(interface).next().map(|net| net.addr().into()),
            IpAddr::V6(to) => {
                let near = reach(to);
                let serves = |own: &Ipv6Addr| near == 0 || reach(*own) & near != 0;
                let own = by_scope(interface).into_iter().map(|net| net.addr());
                own.filter(|own| own.to_ipv4_mapped().is_none()).find(serves).map(IpAddr::V6)
            }
        }
    }
}

/// IPv4 addresses, but for those that are in the network of an earlier one.
fn primaries(interface: &Interface) -> impl Iterator<Item = &Ipv4Net> {
    let all = || {
        interface.addresses.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
    };
    all()
        .enumerate()
        .filter(move |(number, net)| {
            let mut before = all().take(*number);
            !before
                .any(|other| other.prefix_len() == net.prefix_len() && other.contains(&net.addr()))
        })
        .map(|(_, net)| net)
}

/// IPv6 addresses as the kernel lists them: what reaches farther comes first.
fn by_scope(interface: &Interface) -> Vec<Ipv6Net> {
    let six = interface.addresses.iter().filter_map(|net| match net {
        IpNet::V6(net) => Some(*net),
        IpNet::V4(_) => None,
    });
    let mut listed: Vec<_> = six.collect();
    listed.sort_by_key(|net| Reverse(scope(net.addr())));
    listed
}

const LINK_LOCAL: i32 = 2;
const SITE_LOCAL: i32 = 5;
const GLOBAL: i32 = 14;

/// How far an address reaches (RFC 4291, 2.7).
fn scope(address: Ipv6Addr) -> i32 {
    match address.octets() {
        [0xff, flags, ..] => i32::from(flags & 0xf),
        _ if address.is_unicast_link_local() || address.is_loopback() => LINK_LOCAL,
        [0xfe, 0xc0..=0xff, ..] => SITE_LOCAL,
        _ => GLOBAL,
    }
}

/// Of what reaches less than globally one bit for how far (kernel `ipv6_addr_scope`).
fn reach(address: Ipv6Addr) -> u8 {
    match (address.octets(), address.segments()) {
        ([0xff, flags, ..], _) => match flags & 0xf {
            1 => 1,
            2 => 2,
            5 => 4,
            _ => 0,
        },
        (_, [0, 0, 0, 0, 0, 0, 0, 1]) => 1,
        (_, [0xfe80..=0xfebf, ..]) => 2,
        (_, [0xfec0..=0xfeff, ..]) => 4,
        // An IPv4 address in an IPv6 one; the unspecified address reaches nowhere.
        (_, [0, 0, 0, 0, 0, 0, high, low]) if (high, low) != (0, 0) => 8,
        _ => 0,
    }
}

/// The kernel's labels, which are near those of RFC 6724, 2.1: addresses of one kind speak to each
/// other.
fn label(address: Ipv6Addr) -> u32 {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 0,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        [0, 0, 0, 0, 0, 0xffff, ..] => 4,
        [0x2001, 0, ..] => 6,
        [0x2001, 0x10..=0x1f, ..] => 7,
        [0x2002, ..] => 2,
        [0xfc00..=0xfdff, ..] => 5,
        [0xfec0..=0xfeff, ..] => 11,
        _ => 1,
    }
}
