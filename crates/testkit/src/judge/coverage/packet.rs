//! What a packet counts as.

use std::fmt;

use stateward_conntrack::{Tuple, Zone};
use stateward_wire::{Packet, TcpFlags, TcpHeader, protocol};

/// A protocol in a family, or what is in the way of knowing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A protocol of its own, in IPv4 or IPv6.
    Of(Family, Protocol),
    /// IPv4 or IPv6, and nothing behind it that can be found.
    Nothing(Family),
    /// Not even that.
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    UdpLite,
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp,
    Sctp,
    Gre,
    Dccp,
    Esp,
    Ah,
    Another,
    Fragment,
}

impl Protocol {
    const ALL: [Self; 11] = [
        Self::Tcp,
        Self::Udp,
        Self::UdpLite,
        Self::Icmp,
        Self::Sctp,
        Self::Gre,
        Self::Dccp,
        Self::Esp,
        Self::Ah,
        Self::Another,
        Self::Fragment,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::UdpLite => "UDP-Lite",
            Self::Icmp => "ICMP",
            Self::Sctp => "SCTP",
            Self::Gre => "GRE",
            Self::Dccp => "DCCP",
            Self::Esp => "ESP",
            Self::Ah => "AH",
            Self::Another => "another protocol",
            Self::Fragment => "fragment",
        }
    }
}

impl Class {
    /// Every protocol, in both families; but in IPv6, AH is a header among others, and what comes
    /// behind it counts.
    pub(super) fn protocols() -> impl Iterator<Item = Self> {
        let families = [Family::V4, Family::V6].into_iter();
        families
            .flat_map(|family| Protocol::ALL.map(|protocol| Self::Of(family, protocol)))
            .filter(|class| *class != Self::Of(Family::V6, Protocol::Ah))
    }

    pub(super) fn of(packet: Option<&Packet<'_>>) -> Self {
        let Some(packet) = packet else { return Self::Malformed };
        let (family, icmp) = match packet.source().is_ipv4() {
            true => (Family::V4, protocol::ICMP),
            false => (Family::V6, protocol::ICMPV6),
        };
        if packet.fragment().is_some() {
            return Self::Of(family, Protocol::Fragment);
        }
        let Some(upper) = packet.upper() else { return Self::Nothing(family) };
        let protocol = match upper.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            protocol::UDPLITE => Protocol::UdpLite,
            protocol::SCTP => Protocol::Sctp,
            protocol::GRE => Protocol::Gre,
            protocol::DCCP => Protocol::Dccp,
            protocol::ESP => Protocol::Esp,
            protocol::AH => Protocol::Ah,
            number if number == icmp => Protocol::Icmp,
            _ => Protocol::Another,
        };
        Self::Of(family, protocol)
    }

    /// The protocol, if it can be known.
    pub(super) fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Of(_, protocol) => Some(protocol),
            Self::Nothing(_) | Self::Malformed => None,
        }
    }

    pub(super) fn is_v6(self) -> bool {
        matches!(self, Self::Of(Family::V6, _) | Self::Nothing(Family::V6))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |family: &Family| if *family == Family::V4 { "IPv4" } else { "IPv6" };
        match self {
            Self::Of(Family::V6, Protocol::Icmp) => f.write_str("IPv6 ICMPv6"),
            Self::Of(family, protocol) => write!(f, "{} {}", name(family), protocol.name()),
            Self::Nothing(family) => write!(f, "{} nothing to be found", name(family)),
            Self::Malformed => f.write_str("malformed"),
        }
    }
}

/// The row of the TCP tables that a packet means, and its tuple.
pub(super) fn segment(packet: &Packet<'_>) -> Option<(usize, Tuple)> {
    let upper = packet.upper().filter(|upper| upper.protocol == protocol::TCP)?;
    let tuple = Tuple::of(packet, Zone::DEFAULT).filter(|_| upper.offset < packet.length())?;
    let flags = TcpHeader::view(packet.l4())?.flags();
    let row = match flags {
        flags if flags.0 & TcpFlags::RST.0 != 0 => 4,
        flags if flags.0 & TcpFlags::SYN.0 != 0 && flags.0 & TcpFlags::ACK.0 != 0 => 1,
        flags if flags.0 & TcpFlags::SYN.0 != 0 => 0,
        flags if flags.0 & TcpFlags::FIN.0 != 0 => 2,
        flags if flags.0 & TcpFlags::ACK.0 != 0 => 3,
        _ => return None,
    };
    Some((row, tuple))
}
