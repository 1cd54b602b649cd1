//! Helpers: what a connection says of the connections to come.
//!
//! Some protocols open a second connection whose ends they agree upon in the first one. A helper
//! reads the first one's packets, one at a time, and announces what it has understood; the tracker
//! takes the second connection for RELATED then. A helper is pure: it gets a [`Message`], its
//! [`Memory`] of the connection, and what it may ask for ([`Surroundings`]); it never looks past
//! its packet and keeps nothing else. It takes time in proportion to the packet, and to what it asks
//! for: behind NAT, for each connection that it announces up to 129 ports are tried, SIP's media up
//! to 32,256 pairs, each of them against all that is expected at that destination.
//!
//! A connection gets its helper when it begins, by a rule (`-j CT --helper ftp`) or from the one
//! that announced it. The helper reads a packet last of all, when it is about to leave; before
//! that, NAT has rewritten its ends. One file here is one helper.
//!
//! # A helper of one's own
//!
//! ```
//! use stateward_conntrack::expect::{ExpectClass, ExpectMask};
//! use stateward_conntrack::{L4Key, Tuple};
//! use stateward_helpers::{Help, Helper, Memory, Message, Surroundings, announcement};
//! use stateward_wire::protocol;
//!
//! /// Each datagram names in its first two bytes the port where the answer's bulk goes.
//! struct Bulk;
//!
//! impl Helper for Bulk {
//!     fn name(&self) -> &'static str {
//!         "bulk"
//!     }
//!
//!     fn protocol(&self) -> u8 {
//!         protocol::UDP
//!     }
//!
//!     fn help(
//!         &self,
//!         message: &Message<'_>,
//!         _: &mut Memory,
//!         around: &mut dyn Surroundings,
//!     ) -> Help {
//!         let Some(port) = message.payload.first_chunk() else { return Help::Pass };
//!         let destination = u16::from_be_bytes(*port);
//!         let class = ExpectClass { number: 0, name: "", max_expected: 1, timeout: 30 };
//!         // From the other end, whatever its port.
//!         let other = message.tuples[!message.direction];
//!         let ends = (other.source(), other.destination());
//!         let l4 = L4Key::Ports { source: 0, destination };
//!         let Some(tuple) = Tuple::new(ends.0, ends.1, protocol::UDP, l4, other.zone()) else {
//!             return Help::Pass;
//!         };
//!         let bulk = announcement(self.name(), tuple, ExpectMask::ADDRESS, class);
//!         Help::expecting(around, &bulk)
//!     }
//! }
//! ```

#![forbid(unsafe_code)]

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;

pub use stateward_conntrack::HelperMemory as Memory;
use stateward_conntrack::expect::{
    Announcement, ExpectClass, ExpectError, ExpectFlags, ExpectId, ExpectMask, Expectation,
    Identical,
};
use stateward_conntrack::{Call, CtState, Direction, PerDir, Status, Tuple};
use stateward_wire::{Family, Packet, TcpHeader, UdpHeader, protocol};

mod amanda;
#[cfg(test)]
mod fake;
mod ftp;
mod irc;
mod nat;
mod netbios_ns;
mod pptp;
mod sane;
mod sip;
mod text;
mod tftp;

pub use amanda::Amanda;
pub use ftp::{Ftp, Trust};
pub use irc::Irc;
pub use netbios_ns::NetbiosNs;
pub use pptp::Pptp;
pub use sane::Sane;
pub use sip::{Peers, Sip};
pub use tftp::Tftp;

/// A packet of a connection that has a helper.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What follows the transport's header, as far as it is there.
    pub payload: &'a [u8],
    /// TCP's sequence number of its first byte, as the sender gave it; 0 for others.
    pub sequence: u32,
    /// Where the packet goes.
    pub direction: Direction,
    /// What the packet is to its connection.
    pub state: CtState,
    /// Both directions of the connection.
    pub tuples: PerDir<Tuple>,
    /// Its status: whether it is translated.
    pub status: Status,
    /// This host sends it to all of a link: the mask of the link's addresses.
    pub broadcast: Option<Ipv4Addr>,
}

impl<'a> Message<'a> {
    /// What a packet of the protocol says; none if it is of another one (an ICMP error), or its
    /// header is not whole.
    pub fn of(packet: &Packet<'a>, protocol: u8) -> Option<(&'a [u8], u32)> {
        let upper = packet.upper().filter(|upper| upper.protocol == protocol)?;
        let l4 = packet.l4();
        let (header, sequence) = match upper.protocol {
            protocol::TCP => {
                let header = TcpHeader::view(l4)?;
                (header.header_length(), header.sequence.get())
            }
            protocol::UDP => (UdpHeader::view(l4).map(size_of_val)?, 0),
            _ => return None,
        };
        Some((l4.get(header..)?, sequence))
    }

    /// The sender, as the connection's other end knows it.
    pub fn source(&self) -> IpAddr {
        self.tuples[self.direction].source()
    }
}

/// What a helper may ask for while it reads a packet.
pub trait Surroundings {
    /// Announces a connection.
    ///
    /// # Errors
    /// When the tracker refuses it; the helper decides what becomes of the packet.
    fn expect(&mut self, announced: &Announcement) -> Result<ExpectId, ExpectError>;

    /// The newest that this connection has announced, or the newest that is older than another one.
    fn own_before(&self, before: Option<ExpectId>) -> Option<&Expectation>;

    /// What a packet would fulfil, if another connection has announced it.
    fn elsewhere(&self, tuple: &Tuple) -> Option<&Expectation>;

    /// Takes back what was announced.
    fn withdraw(&mut self, id: ExpectId);

    /// Lets what was announced be fulfilled from now on, for so many seconds.
    fn activate(&mut self, id: ExpectId, seconds: u32);

    /// Announces the GRE packets of a call of PPTP, those of the original direction first, whose
    /// ends give it other keys: both directions, or none.
    ///
    /// # Errors
    /// When the tracker refuses one of them.
    fn expect_call(&mut self, announced: [Announcement; 2]) -> Result<(), ExpectError>;

    /// Ends a call of PPTP: its GRE connection, and what is expected of it.
    fn end_call(&mut self, call: &Call);

    /// Asks for other bytes in place of some of the payload's. It is done after the helper, and
    /// lengths, checksums and sequence numbers follow; if it cannot be done, the packet is dropped.
    /// Places are those of the payload as it came; no two overlap.
    fn replace(&mut self, place: Range<usize>, with: Vec<u8>);

    /// TCP's numbers do not follow what this packet is edited to, as where the kernel forgets it.
    fn keep_numbers(&mut self);

    /// Sends the packet to another port of UDP's. It is done after the helper.
    fn redirect(&mut self, port: u16);

    /// A port from `lowest` on, by chance; never the last one that there is, but for that itself.
    fn port_above(&mut self, lowest: u16) -> u16;

    /// Gives the connection so many seconds from now.
    fn refresh(&mut self, seconds: u32);
}

/// What becomes of a packet that a helper has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Help {
    /// It goes on.
    Pass,
    /// It goes on, and something about it is odd.
    Doubt(Doubt),
    /// It is dropped.
    Drop(Doubt),
}

impl Help {
    /// Announces a connection; if that is refused, the packet is dropped, for what it asks for
    /// would come to nothing.
    pub fn expecting(around: &mut dyn Surroundings, announced: &Announcement) -> Help {
        match around.expect(announced) {
            Ok(_) => Help::Pass,
            Err(error) => Help::Drop(Doubt::Refused(error)),
        }
    }
}

/// What a helper has to say against a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// A command begins here and does not end, or says what cannot be read.
    Partial {
        /// The command.
        command: &'static str,
    },
    /// The connection that it asks for would go to another host than its sender.
    ThirdHost {
        /// To that one.
        host: IpAddr,
    },
    /// What it announces was refused.
    Refused(ExpectError),
    /// It names port 0, or none.
    PortZero,
    /// Behind NAT no port is free for what it announces.
    NoPort,
    /// Behind NAT the address that it names could not be replaced.
    CannotEdit,
    /// Something that it must say is not there, or cannot be read.
    Unreadable {
        /// What.
        what: &'static str,
    },
    /// It names a port at which nobody is believed to listen.
    PortOutOfRange {
        /// This one.
        port: u32,
    },
}

impl Doubt {
    /// Every code, in the order of [`Doubt::index`].
    pub const CODES: [&'static str; 8] = [
        "helper_partial",
        "helper_third_host",
        "helper_refused",
        "helper_port_zero",
        "helper_no_port",
        "helper_cannot_edit",
        "helper_unreadable",
        "helper_port_out_of_range",
    ];

    /// The stable word of this reason.
    pub fn code(&self) -> &'static str {
        Doubt::CODES.get(self.index()).copied().unwrap_or_default()
    }

    /// Its number, for counters.
    pub const fn index(&self) -> usize {
        match self {
            Doubt::Partial { .. } => 0,
            Doubt::ThirdHost { .. } => 1,
            Doubt::Refused(_) => 2,
            Doubt::PortZero => 3,
            Doubt::NoPort => 4,
            Doubt::CannotEdit => 5,
            Doubt::Unreadable { .. } => 6,
            Doubt::PortOutOfRange { .. } => 7,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Partial { command } => {
                write!(f, "`{command}` begins here and does not end, or cannot be read")
            }
            Doubt::ThirdHost { host } => {
                write!(f, "it names {host}, which is not its sender: nothing is expected there")
            }
            Doubt::NoPort => f.write_str("no port is free for the connection that it announces"),
            Doubt::CannotEdit => f.write_str("the address that it names could not be replaced"),
            Doubt::Unreadable { what } => write!(f, "{what} is missing, or cannot be read"),
            Doubt::PortOutOfRange { port } => {
                write!(f, "it names port {port}: only 1024 to 65535 are believed")
            }
            Doubt::PortZero => f.write_str("it names no port: nothing is expected there"),
            Doubt::Refused(error) => write!(f, "what it announces cannot be expected: {error}"),
        }
    }
}

/// A helper; the crate's essay has an example.
pub trait Helper {
    /// Its name in rules and tables.
    fn name(&self) -> &'static str;

    /// The protocol whose packets it reads.
    fn protocol(&self) -> u8;

    /// The family whose packets it reads, if one only.
    fn family(&self) -> Option<Family> {
        None
    }

    /// The port of its protocol's servers, by which connections may get it.
    fn port(&self) -> Option<u16> {
        None
    }

    /// Whether it wants a packet in one piece, whatever it finds there: one that came in fragments
    /// does not leave in the same ones then.
    fn gathers(&self, message: &Message<'_>) -> bool {
        let _ = message;
        false
    }

    /// The most bytes by which it makes a payload of this length longer.
    fn growth(&self, payload: usize) -> usize {
        let _ = payload;
        64
    }

    /// The seconds that the connection gets when an ICMP error about it passes in its first
    /// direction, if it gets any: the kernel takes such an error for a message.
    fn seconds_on_error(&self) -> Option<u32> {
        None
    }

    /// Reads a packet of a connection in either direction, the first one included.
    fn help(
        &self,
        message: &Message<'_>,
        memory: &mut Memory,
        around: &mut dyn Surroundings,
    ) -> Help;
}

/// A connection that a helper announces with nothing special about it: no flags, no helper of its
/// own, no translation.
pub fn announcement(
    helper: &'static str,
    tuple: Tuple,
    mask: ExpectMask,
    class: ExpectClass,
) -> Announcement {
    Announcement {
        tuple,
        mask,
        class,
        flags: ExpectFlags::default(),
        helper,
        assigns: None,
        nat: None,
        identical: Identical::default(),
    }
}

/// The kernel's helpers, as they are if nothing is set.
pub fn all() -> Vec<Box<dyn Helper + Send>> {
    vec![
        Box::new(Amanda),
        Box::new(Ftp::default()),
        Box::new(Irc::default()),
        Box::new(NetbiosNs),
        Box::new(Pptp),
        Box::new(Sane),
        Box::new(Sip::over(protocol::TCP)),
        Box::new(Sip::over(protocol::UDP)),
        Box::new(Tftp),
    ]
}
