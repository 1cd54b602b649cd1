//! What a helper says about a connection to come.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_wire::Family;

use crate::status::Direction;
use crate::tuple::Tuple;

/// A connection to come, as a helper announces it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Its first packet. The zone does not matter: it will be the master's.
    pub tuple: Tuple,
    /// How much of the source must agree; the destination must agree in full.
    pub mask: ExpectMask,
    /// The class it counts in.
    pub class: ExpectClass,
    /// What is special about it.
    pub flags: ExpectFlags,
    /// The helper that announces it: the master's.
    pub helper: &'static str,
    /// The helper that the connection will get.
    pub assigns: Option<&'static str>,
    /// How its addresses follow those of its master.
    pub nat: Option<ExpectNat>,
    /// Who else may expect the same.
    pub identical: Identical,
}

impl Announcement {
    /// Whether both expect the very same packets, the destination being known to be equal.
    pub(super) fn is_same(&self, other: &Announcement) -> bool {
        self.tuple == other.tuple && self.mask == other.mask
    }

    /// Whether a packet could match both, the destination being known to be equal.
    pub(super) fn overlaps(&self, other: &Announcement) -> bool {
        self.mask.intersection(other.mask).matches(&self.tuple, &other.tuple)
    }
}

/// A class of expectations of a helper: what may be announced at a time, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectClass {
    /// Its number within the helper.
    pub number: u8,
    /// Its name as /proc prints it after the helper's; may be empty.
    pub name: &'static str,
    /// Expectations of one master at a time; 0 is no limit.
    pub max_expected: u32,
    /// Seconds.
    pub timeout: u32,
}

/// Which expectation of the same packets is taken for the new one's predecessor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Identical {
    /// One of the same master: it is replaced. Another master's is a clash.
    #[default]
    OfMaster,
    /// Another master's serves as well, and stays: a SIP call may share its media with another one.
    OfAnyMaster,
}

/// Flags of an expectation, numbered as the kernel's `NF_CT_EXPECT_*` and as ctnetlink carries
/// them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ExpectFlags(pub u32);

impl ExpectFlags {
    /// Outlives the connections that fulfil it.
    pub const PERMANENT: ExpectFlags = ExpectFlags(1);
    /// Not fulfilled by anything yet.
    pub const INACTIVE: ExpectFlags = ExpectFlags(2);
    /// Made by a helper in user space.
    pub const USERSPACE: ExpectFlags = ExpectFlags(4);

    /// Names in the order of the bits, as the tool and the trace print them.
    pub const NAMES: [&'static str; 3] = ["PERMANENT", "INACTIVE", "USERSPACE"];

    /// Whether every bit of `bits` is set.
    pub const fn has(self, bits: ExpectFlags) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, bits: ExpectFlags) -> ExpectFlags {
        ExpectFlags(self.0 | bits.0)
    }

    pub(super) fn clear(&mut self, bits: ExpectFlags) {
        self.0 &= !bits.0;
    }

    /// The names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ExpectFlags::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| name)
    }
}

/// How much of a source must agree, bit by bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectMask {
    /// IPv4's are the low 32 bits.
    address: u128,
    port: u16,
}

impl ExpectMask {
    /// Any source.
    pub const NONE: ExpectMask = ExpectMask { address: 0, port: 0 };
    /// The source address, from any port.
    pub const ADDRESS: ExpectMask = ExpectMask { address: u128::MAX, port: 0 };
    /// The source address and port (ICMP id, GRE source key).
    pub const EXACT: ExpectMask = ExpectMask { address: u128::MAX, port: u16::MAX };

    /// A mask of any bits.
    pub fn new(address: IpAddr, port: u16) -> ExpectMask {
        let address = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        ExpectMask { address, port }
    }

    /// The mask of the source address, as an address of the expectation's family.
    pub fn address(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::from_bits(self.address as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(self.address).into(),
        }
    }

    /// The mask of the source port.
    pub const fn port(self) -> u16 {
        self.port
    }

    /// Without the bits that addresses of the family do not have, so that equal masks compare so.
    pub(super) fn within(self, family: Family) -> ExpectMask {
        match family {
            Family::V4 => ExpectMask { address: self.address & u128::from(u32::MAX), ..self },
            Family::V6 => self,
        }
    }

    fn intersection(self, other: ExpectMask) -> ExpectMask {
        ExpectMask { address: self.address & other.address, port: self.port & other.port }
    }

    /// Whether two sources of one family agree where the mask has bits.
    pub(super) fn matches(self, one: &Tuple, other: &Tuple) -> bool {
        let address = source_bits(one) ^ source_bits(other);
        let port = one.key.source_port ^ other.key.source_port;
        address & self.address == 0 && port & self.port == 0
    }
}

fn source_bits(tuple: &Tuple) -> u128 {
    match tuple.family() {
        Family::V4 => u128::from(tuple.key.source),
        Family::V6 => u128::from_be_bytes(tuple.pair[0]),
    }
}

/// How an expected connection's addresses follow those of its master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectNat {
    /// The direction of the master that the connection goes in.
    pub direction: Direction,
    /// Where the connection really goes, behind NAT.
    pub address: IpAddr,
    /// The port (or whatever the protocol has in its place) it really goes to.
    pub port: u16,
    /// What does the following, by the kernel's name (`nat-follow-master`, `sip`, …).
    pub function: &'static str,
}
