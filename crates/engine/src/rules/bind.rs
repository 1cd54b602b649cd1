//! What the targets of the nat table do: they say what to choose from, and NAT chooses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_conntrack::{Flow, Tracked};
use stateward_nat::{Manip, Ports, Range, Spread, bind};
use stateward_rules::address::Network as Masked;
use stateward_rules::targets::nat::{NatRange, Translation};
use stateward_rules::{ChainVerdict, Hook};

use super::Around;
use crate::account::Station;
use crate::engine::Port;
use crate::nat::{self, NatDrop};
use crate::route::Routing;

impl Around<'_, '_, '_> {
    /// Binds the end of the connection that the hook is about. `None` if nobody knows the address
    /// that it should get.
    pub(super) fn bind(&mut self, to: Translation<'_>) -> Option<ChainVerdict> {
        let manip = nat::manip(self.hook);
        let range = match to {
            Translation::Source(range) | Translation::Destination(range) => range_of(range),
            Translation::Netmap(network) => Range::address(self.netmapped(network, manip)?),
            Translation::Masquerade(range) => {
                if self.has_no_source() {
                    return Some(ChainVerdict::Accept);
                }
                match self.own_source()? {
                    Some(own) => Range { addresses: Some([own; 2]), ..range_of(range) },
                    None => return Some(self.refuse(NatDrop::NoAddress)),
                }
            }
            Translation::Redirect(range) => match self.own_destination()? {
                Some(own) => Range { addresses: Some([own; 2]), ..range_of(range) },
                None => return Some(self.refuse(NatDrop::NoAddress)),
            },
        };
        let Some(Tracked { flow: Flow::Unconfirmed(conn), .. }) = &mut self.walker.tracked else {
            // What is in the table already stays what it is.
            return Some(ChainVerdict::Accept);
        };
        if let (Translation::Masquerade(_), Some(egress)) = (to, self.walker.egress) {
            conn.set_masquerade(egress.0);
        }
        if let Some(binding) = bind(self.tracker, conn, &range, manip, self.chance) {
            self.walker.starved = nat::starved(binding.how).or(self.walker.starved);
            self.notes.account.note(|| Station::Bound(binding));
        }
        Some(ChainVerdict::Accept)
    }

    fn refuse(&mut self, why: NatDrop) -> ChainVerdict {
        self.refused = Some(why);
        ChainVerdict::Drop
    }

    /// Nobody who has such a source waits for an answer: it is not masqueraded.
    fn has_no_source(&self) -> bool {
        let seen = self.walker.tracked.as_ref().and_then(|one| self.tracker.glimpse(&one.flow));
        seen.is_some_and(|seen| seen.original.source() == IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// The address of the interface by which the packet leaves, if it has one; `None` if nobody
    /// knows that interface.
    fn own_source(&self) -> Option<Option<IpAddr>> {
        let known = self.walker.egress.is_some() || self.walker.comes_back;
        let to = self.frame.packet().ok()?.destination();
        known.then(|| self.network.speaks_as(self.walker.egress, to))
    }

    /// The address under which this host gets what is redirected to it, in the same way.
    fn own_destination(&self) -> Option<Option<IpAddr>> {
        let to = self.frame.packet().ok()?.destination();
        let loopback = match to {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        match (self.hook, self.walker.port) {
            (Hook::Output, _) | (_, Port::Local) => Some(Some(loopback)),
            (_, Port::Interface(_)) if self.network.routing() == Routing::Off => None,
            (_, Port::Interface(ingress)) => Some(self.network.receives_as(ingress, to)),
        }
    }

    /// The packet's address with the network's bits.
    fn netmapped(&self, network: &Masked, manip: Manip) -> Option<IpAddr> {
        let packet = self.frame.packet().ok()?;
        let own = match manip {
            Manip::Source => packet.source(),
            Manip::Destination => packet.destination(),
        };
        Some(match (own, network.address, network.mask) {
            (IpAddr::V4(own), IpAddr::V4(to), IpAddr::V4(mask)) => (own & !mask | to & mask).into(),
            (IpAddr::V6(own), IpAddr::V6(to), IpAddr::V6(mask)) => (own & !mask | to & mask).into(),
            _ => own,
        })
    }
}

fn range_of(written: &NatRange) -> Range {
    let NatRange { addresses, ports, base, choice } = written;
    Range {
        addresses: addresses.map(|(low, high)| [low, high]),
        ports: ports.map(|(low, high)| [low, high]),
        base: *base,
        choice: if choice.random || choice.random_fully { Ports::Random } else { Ports::Kept },
        spread: if choice.persistent { Spread::Persistent } else { Spread::ByServer },
    }
}
