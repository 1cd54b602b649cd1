//! Addresses of `ip -j addr`.
//!
//! An address may have a peer, who is at the other end of a link of two. IPv4's network is the
//! peer's then, and the own address stands alone; IPv6 has the own one's network and the peer.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::{File, IpError};

/// An address of an interface.
pub(super) struct Address {
    /// With the network that it is in.
    pub(super) own: IpNet,
    pub(super) peer: Option<Peer>,
}

/// What is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Where the route leads to that the peer implies.
    pub(super) to: IpNet,
    /// The address that this host speaks from there, if the route says so.
    pub(super) source: Option<IpAddr>,
}

impl Address {
    /// Reads one of `addr_info`; none if it is of a family that is not IP, or left out by `-4` or
    /// `-6`.
    pub(super) fn read(
        file: &File<'_>,
        interface: &str,
        info: &Value,
    ) -> Result<Option<Self>, IpError> {
        let word = |key: &str| info.get(key).and_then(Value::as_str);
        let length = info.get("prefixlen").and_then(Value::as_u64);
        let (Some(local), Some(length)) = (word("local"), length) else { return Ok(None) };
        let net = |text: &str| {
            let net = text.parse().ok().zip(u8::try_from(length).ok());
            let net = net.and_then(|(address, length)| IpNet::new(address, length).ok());
            let bad = || file.error(format!("`{text}/{length}` of `{interface}` is no address"));
            net.ok_or_else(bad)
        };
        let own = net(local)?;
        let peer = word("address").map(net).transpose()?.filter(|peer| *peer != own);
        Ok(Some(match (own, peer) {
            (_, None) => Self { own, peer: None },
            (IpNet::V4(_), Some(peer @ IpNet::V4(_))) => {
                let peer = Peer { to: peer.trunc(), source: Some(own.addr()) };
                Self { own: own.addr().into(), peer: Some(peer) }
            }
            (IpNet::V6(_), Some(peer @ IpNet::V6(_))) => {
                let peer = Peer { to: peer.addr().into(), source: None };
                Self { own, peer: Some(peer) }
            }
            (_, Some(peer)) => {
                let (own, peer) = (own.addr(), peer.addr());
                let message = format!("`{own}` and its peer `{peer}` are of two families");
                return Err(file.error(message));
            }
        }))
    }
}

impl Peer {
    /// What means all of the peer's network, which a network of two addresses or one has not.
    pub(super) fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.to {
            IpNet::V4(net) if net.prefix_len() < 31 => Some(net.broadcast()),
            _ => None,
        }
    }
}
