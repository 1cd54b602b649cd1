//! What helpers have in common behind NAT: a connection that follows its master.
//!
//! What the payload says is true for the sender's side only. The other side is told the address by
//! which it knows the sender, and a port that nobody else has announced there: the sender's own if
//! it is free, else one of those above, by chance. The connection that comes to it is led to where
//! the sender really listens. Kernel counterparts: `nf_nat_exp_find_port`, `nf_nat_follow_master`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_conntrack::expect::{Announcement, ExpectError, ExpectNat};
use stateward_conntrack::{Direction, L4Key, Status, Tuple};

use crate::{Doubt, Message, Surroundings};

/// So many ports are tried.
const ATTEMPTS: u16 = 128;

/// Whether the connection is translated.
pub(crate) fn is_translated(message: &Message<'_>) -> bool {
    message.status.has(Status::SRC_NAT) || message.status.has(Status::DST_NAT)
}

/// A connection that goes in `direction` of its master, really to `port`.
pub(crate) fn follow(mut announced: Announcement, direction: Direction, port: u16) -> Announcement {
    let address = match announced.tuple.destination() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let function = "nat-follow-master";
    announced.nat = Some(ExpectNat { direction, address, port, function });
    announced
}

/// Announces it for the first port that is free, beginning with its own, which is returned.
pub(crate) fn announce(
    around: &mut dyn Surroundings,
    mut announced: Announcement,
) -> Result<u16, Doubt> {
    let L4Key::Ports { destination: lowest, .. } = announced.tuple.l4() else {
        return Err(Doubt::NoPort);
    };
    let mut left = (u16::MAX - lowest).min(ATTEMPTS);
    let mut port = lowest;
    loop {
        announced.tuple = toward(&announced.tuple, port).ok_or(Doubt::NoPort)?;
        match around.expect(&announced) {
            // Port 0 cannot be told.
            Ok(_) => return if port == 0 { Err(Doubt::NoPort) } else { Ok(port) },
            Err(ExpectError::Clash) if left > 0 => left -= 1,
            Err(_) => return Err(Doubt::NoPort),
        }
        port = around.port_above(lowest);
    }
}

fn toward(tuple: &Tuple, destination: u16) -> Option<Tuple> {
    let l4 = L4Key::Ports { source: 0, destination };
    Tuple::new(tuple.source(), tuple.destination(), tuple.protocol(), l4, tuple.zone())
}
