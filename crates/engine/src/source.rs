//! Source addresses of IPv4 packets: who may say what on which link (RFC 3704).
//!
//! A packet for this host, for all of a link, or on its way through is asked for its source when it
//! is known where it goes, so that one without a route has another fate. By itself only this host's
//! own addresses are refused (`accept_local` 0); with `rp_filter` the routes are asked, too:
//! whether they lead back to the link that the packet came from (strict), or anywhere at all
//! (loose). IPv6 is never asked. Kernel counterpart: `fib_validate_source`.

use core::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use stateward_rules as rules;

use crate::route::{InterfaceId, Link, Network, Routing, RoutingDrop};

/// `rp_filter`: whether the routes must lead back to a source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum ReversePath {
    /// 0: no.
    #[default]
    Any,
    /// 1: by the interface that the packet came in by.
    Strict,
    /// 2: by any interface.
    Loose,
}

/// `accept_local`: whether this host's own addresses may come in from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnSource {
    /// 0: they are martians.
    #[default]
    Refused,
    /// 1: they may.
    Accepted,
}

/// What an interface asks of sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceCheck {
    /// `rp_filter`, the greater of the interface's and that of all.
    pub reverse_path: ReversePath,
    /// `accept_local`, the interface's or that of all.
    pub own: OwnSource,
}

impl Network {
    /// Whether a packet of this source may come in here.
    #[inline]
    pub(crate) fn validate_source(
        &self,
        source: Ipv4Addr,
        ingress: InterfaceId,
    ) -> Result<(), RoutingDrop> {
        let Some(interface) = self.interface(ingress) else { return Ok(()) };
        let check = interface.source_check;
        let own = source.is_loopback() || self.is_own(source.into());
        if own && check.own == OwnSource::Refused {
            return Err(RoutingDrop::MartianSource);
        }
        match check.reverse_path {
            ReversePath::Any => Ok(()),
            asked => self.validate_reverse_path(source, ingress, asked),
        }
    }

    #[inline(never)]
    fn validate_reverse_path(
        &self,
        source: Ipv4Addr,
        ingress: InterfaceId,
        asked: ReversePath,
    ) -> Result<(), RoutingDrop> {
        if self.is_broadcast(source.into()) {
            return Err(RoutingDrop::MartianSource);
        }
        let way = self.holder_of(source).or_else(|| self.route(source.into()));
        let leads_back = match way {
            // The loopback interface is none of these.
            _ if source.is_loopback() => asked == ReversePath::Loose,
            None => false,
            Some(way) if way == ingress => true,
            // Elsewhere is enough, unless nobody could be answered from here.
            Some(_) => asked == ReversePath::Loose && self.has_ipv4(ingress),
        };
        if leads_back { Ok(()) } else { Err(RoutingDrop::ReversePath) }
    }

    /// Whether the routes lead back to a source, as `rpfilter` asks, of IPv6 as well; `None`
    /// without routing. Kernel counterparts: `rpfilter_lookup_reverse`, `rpfilter_lookup_reverse6`.
    pub(crate) fn leads_back(
        &self,
        source: IpAddr,
        ingress: InterfaceId,
        how: rules::ReversePath,
    ) -> Option<bool> {
        if self.routing() == Routing::Off {
            return None;
        }
        let way = match source {
            _ if source.is_unspecified() && source.is_ipv6() => return Some(true),
            // Where there are neighbours, their link is routed to.
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                let on_link = self.interface(ingress)?.link == Link::Ethernet;
                return Some(on_link || self.route(source) == Some(ingress));
            }
            _ if self.is_anycast(source) => return Some(false),
            IpAddr::V6(_) if self.is_local(source) => return Some(how.local),
            _ if self.is_local(source) && !how.local => return Some(false),
            // Its route is by no interface of these.
            IpAddr::V4(v4) if v4.is_loopback() => return Some(how.loose),
            IpAddr::V4(v4) if !v4.is_broadcast() && self.is_broadcast(source) => None,
            IpAddr::V4(v4) => self.holder_of(v4).or_else(|| self.route(source)),
            IpAddr::V6(_) => self.route(source),
        };
        Some(way.is_some_and(|way| how.loose || way == ingress))
    }

    /// The interface that has this address.
    fn holder_of(&self, address: Ipv4Addr) -> Option<InterfaceId> {
        let address = IpAddr::V4(address);
        let mut holders = self.interfaces().iter().zip(0..).filter(|(interface, _)| {
            interface.addresses.iter().any(|known| known.addr() == address)
        });
        holders.next().map(|(_, number)| InterfaceId(number))
    }

    fn has_ipv4(&self, id: InterfaceId) -> bool {
        let addresses = self.interface(id).map(|interface| interface.addresses.as_slice());
        addresses.is_some_and(|known| known.iter().any(|net| matches!(net, IpNet::V4(_))))
    }
}
