//! What a rule lets NAT choose from.

use core::net::IpAddr;

use stateward_conntrack::{Direction, Status};
use stateward_wire::edit::End;

/// Which end of the connection's first packet is translated. The end of its answers is the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Manip {
    /// SNAT, MASQUERADE: in POSTROUTING and INPUT.
    Source,
    /// DNAT, REDIRECT: in PREROUTING and OUTPUT.
    Destination,
}

impl Manip {
    /// The end of a header that it is about, in both directions: a hook looks at one end.
    pub const fn end(self) -> End {
        match self {
            Manip::Source => End::Source,
            Manip::Destination => End::Destination,
        }
    }

    /// The bit of a connection whose packets of a direction are translated at this end: answers go
    /// to the source that has been translated, and come from the destination.
    pub const fn translated(self, direction: Direction) -> Status {
        match (self, direction) {
            (Manip::Source, Direction::Original) | (Manip::Destination, Direction::Reply) => {
                Status::SRC_NAT
            }
            (Manip::Destination, Direction::Original) | (Manip::Source, Direction::Reply) => {
                Status::DST_NAT
            }
        }
    }

    /// The bit of a connection that is bound at this end.
    pub const fn done(self) -> Status {
        match self {
            Manip::Source => Status::SRC_NAT_DONE,
            Manip::Destination => Status::DST_NAT_DONE,
        }
    }
}

/// Whether a port that would serve is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ports {
    /// It is.
    #[default]
    Kept,
    /// `--random` and `--random-fully`, which have come to mean the same: it is not.
    Random,
}

/// Whether a client has the same address towards all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spread {
    /// It depends on the server as well.
    #[default]
    ByServer,
    /// `--persistent`.
    Persistent,
}

/// Addresses and ports to choose from (kernel `nf_nat_range2`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// The lowest and the highest; none keeps the address.
    pub addresses: Option<[IpAddr; 2]>,
    /// The lowest and the highest port, ICMP id or GRE key; none keeps it if it is free.
    pub ports: Option<[u16; 2]>,
    /// The port that becomes the lowest of the range, the others following it.
    pub base: Option<u16>,
    /// How a port is looked for.
    pub choice: Ports,
    /// How an address is.
    pub spread: Spread,
}

impl Range {
    /// One address, and the port as it comes.
    pub fn address(address: IpAddr) -> Range {
        Range { addresses: Some([address; 2]), ..Range::default() }
    }
}

/// What is asked for one end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) range: &'a Range,
    pub(crate) manip: Manip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_translated_at_one_end_is_so_at_the_other_on_its_way_back() {
        let [original, reply] = [Direction::Original, Direction::Reply];
        let bits = |manip: Manip| [original, reply].map(|way| manip.translated(way));
        assert_eq!(bits(Manip::Source), [Status::SRC_NAT, Status::DST_NAT]);
        assert_eq!(bits(Manip::Destination), [Status::DST_NAT, Status::SRC_NAT]);
        assert_eq!(Manip::Source.done(), Status::SRC_NAT_DONE);
        assert_eq!(Manip::Destination.done(), Status::DST_NAT_DONE);
    }
}
