//! The packet quoted in an ICMP or ICMPv6 error.
//!
//! Conntrack reads a quotation by laxer rules than a packet: neither version nor length nor
//! checksum is looked at, and an IPv4 header length below 20 moves the upper-layer header into the
//! network header. That is followed here to the letter, since it decides whether an error is
//! RELATED or INVALID.

use core::net::IpAddr;

use crate::{Family, Ipv4Header, Ipv6Header, Layout, Network, ipv6};

/// The packet quoted in an ICMP or ICMPv6 error.
#[derive(Clone, Copy, Debug)]
pub struct Embedded<'a> {
    network: Network<'a>,
    bytes: &'a [u8],
    protocol: u8,
    l4_offset: u32,
}

impl<'a> Embedded<'a> {
    /// Reads the quotation in `bytes`, those after the eight bytes of the error's own header.
    ///
    /// None if the fixed IP header is not whole, if the quoted packet is an IPv4 fragment other
    /// than the first or its header ends beyond the bytes, or if the IPv6 extension chain leads
    /// nowhere.
    pub fn parse(bytes: &'a [u8], family: Family) -> Option<Self> {
        match family {
            Family::V4 => {
                let header = Ipv4Header::view(bytes)?;
                let offset = header.header_length();
                if header.fragment_offset() != 0 || offset > bytes.len() {
                    return None;
                }
                let (network, l4_offset) = (Network::V4(header), offset as u32);
                Some(Self { network, bytes, protocol: header.protocol, l4_offset })
            }
            Family::V6 => {
                let header = Ipv6Header::view(bytes)?;
                let (protocol, offset) = ipv6::skip_extensions(bytes, header.next_header).upper?;
                let (network, l4_offset) = (Network::V6(header), offset as u32);
                Some(Self { network, bytes, protocol, l4_offset })
            }
        }
    }

    /// The address family.
    pub fn family(&self) -> Family {
        match self.network {
            Network::V4(_) => Family::V4,
            Network::V6(_) => Family::V6,
        }
    }

    /// All bytes of the quotation.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The quoted network header.
    pub fn network(&self) -> Network<'a> {
        self.network
    }

    /// Source address of the quoted packet.
    pub fn source(&self) -> IpAddr {
        self.network.source()
    }

    /// Destination address of the quoted packet.
    pub fn destination(&self) -> IpAddr {
        self.network.destination()
    }

    /// Upper-layer protocol of the quoted packet.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Where its upper-layer header starts, from the start of the quotation.
    pub fn l4_offset(&self) -> usize {
        self.l4_offset as usize
    }

    /// What is quoted of the upper layer; may be empty.
    pub fn l4(&self) -> &'a [u8] {
        self.bytes.get(self.l4_offset()..).unwrap_or_default()
    }

    /// The offsets, for [`crate::edit::Edit`]; the length is that of the quotation.
    pub fn layout(&self) -> Layout {
        let upper = Some((self.protocol, self.l4_offset));
        Layout::new(self.family(), self.bytes.len() as u32, upper)
    }
}
