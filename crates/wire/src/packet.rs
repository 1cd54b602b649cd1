//! A parsed IP packet: a view over its bytes and the offsets that everybody needs.
//!
//! What is decided here is only what Linux decides before the first hook: is this an IP packet, how
//! long is it, where does the upper-layer header start. Upper-layer headers are not looked at.
//! Three doors lead in: [`Packet::parse`] for packets from a wire, [`Packet::parse_trusted`] for
//! those this machine made, [`Packet::parse_cut`] for captures.
//!
//! Invariant: `bytes` holds at least the network header (IPv4: with options) and never more than
//! the stated length; link-layer padding is gone.

use core::net::IpAddr;

use crate::ipv6::FragmentHeader;
use crate::{Family, Ipv4Header, Ipv6Header, Malformed, checksum, ipv4, ipv6};

/// The network header of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Network<'a> {
    /// IPv4, its fixed part.
    V4(&'a Ipv4Header),
    /// IPv6, its fixed part.
    V6(&'a Ipv6Header),
}

/// The upper-layer protocol of a packet and where its header starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// IP protocol number.
    pub protocol: u8,
    /// Bytes from the start of the network header.
    pub offset: usize,
}

/// What a packet says about being a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits for IPv4, 32 for IPv6.
    pub id: u32,
    /// Where this piece belongs in the fragmentable part, in bytes.
    pub offset: usize,
    /// More fragments follow.
    pub more: bool,
    /// IPv4's "do not fragment"; false for IPv6.
    pub df: bool,
}

/// Where the parts of a packet are: what [`Packet`] knows besides the bytes, so that they can be
/// borrowed again, mutably too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Stated length.
    length: u32,
    /// Offset of the upper-layer header; 0 (the network header is there) if there is none.
    upper: u32,
    /// Offset of the IPv6 fragment header; 0 if there is none.
    fragment: u32,
    protocol: u8,
    family: Family,
}

impl Layout {
    pub(crate) const fn new(family: Family, length: u32, upper: Option<(u8, u32)>) -> Self {
        let (protocol, upper) = match upper {
            Some(upper) => upper,
            None => (0, 0),
        };
        Self { length, upper, fragment: 0, protocol, family }
    }

    /// The layout of the packet with so many more bytes in its upper layer; none if that is longer
    /// than a packet can be.
    pub(crate) fn longer(self, by: usize) -> Option<Self> {
        let length = self.length.checked_add(u32::try_from(by).ok()?)?;
        (length <= u32::from(u16::MAX)).then_some(Self { length, ..self })
    }

    /// The layout of the packet with another length; none if a packet cannot be as long.
    pub(crate) fn resized(self, length: usize) -> Option<Self> {
        let length = u16::try_from(length).ok()?;
        Some(Self { length: length.into(), ..self })
    }

    /// The address family.
    #[inline]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Stated length of the packet in bytes.
    #[inline]
    pub const fn length(&self) -> usize {
        self.length as usize
    }

    /// Upper-layer protocol and offset, as [`Packet::upper`].
    #[inline]
    pub const fn upper(&self) -> Option<Upper> {
        if self.upper == 0 {
            return None;
        }
        Some(Upper { protocol: self.protocol, offset: self.upper as usize })
    }
}

/// A parsed IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    network: Network<'a>,
    bytes: &'a [u8],
    layout: Layout,
}

/// Where bytes come from, and so what is asked of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Wire,
    Local,
    Capture,
}

impl<'a> Packet<'a> {
    /// Reads a packet that came from a wire, as `ip_rcv` and `ipv6_rcv` do: the IPv4 header
    /// checksum must be right and no stated byte may be missing. Bytes beyond the stated length are
    /// padding and are trimmed.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_from(bytes, Origin::Wire)
    }

    /// Reads a packet this machine made: as [`Self::parse`] without the test of the IPv4 header
    /// checksum.
    #[inline]
    pub fn parse_trusted(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_from(bytes, Origin::Local)
    }

    /// Reads a packet from a capture, which is not quite what the machine saw. As [`Self::parse`],
    /// but
    /// - fewer bytes than stated are fine (the capture's snap length): see [`Self::is_cut`];
    /// - a stated IPv4 total length or IPv6 payload length of 0 means all the bytes: a superpacket
    ///   too long for the field;
    /// - an IPv4 header checksum of 0 was left to the sender's network card.
    #[inline]
    pub fn parse_cut(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_from(bytes, Origin::Capture)
    }

    /// What nearly every packet is: whole IPv4, without options and not a fragment. `None` is for
    /// the doors above to judge; what this reads, each of them reads alike.
    #[inline(always)]
    pub fn parse_plain(bytes: &'a [u8]) -> Option<Self> {
        const FIXED: usize = size_of::<Ipv4Header>();
        let header = Ipv4Header::view(bytes)?;
        let fixed = bytes.first_chunk::<FIXED>()?;
        let length = usize::from(header.total_length.get());
        if header.version_ihl != 0x45
            || header.fragmentation.get() & !ipv4::DONT_FRAGMENT != 0
            || length < FIXED
            || !checksum::fixed_header_is_good(fixed)
        {
            return None;
        }
        let bytes = bytes.get(..length)?;
        let upper = Some((header.protocol, FIXED as u32));
        let layout = Layout::new(Family::V4, length as u32, upper);
        Some(Self { network: Network::V4(header), bytes, layout })
    }

    /// A packet whose `bytes` were parsed before, with the layout found then; none if they are too
    /// short for a header now. The offsets are believed: other bytes give wrong answers, never a
    /// panic.
    #[inline]
    pub fn with_layout(bytes: &'a [u8], layout: Layout) -> Option<Self> {
        let network = match layout.family {
            Family::V4 => Network::V4(Ipv4Header::view(bytes)?),
            Family::V6 => Network::V6(Ipv6Header::view(bytes)?),
        };
        let bytes = bytes.get(..layout.length()).unwrap_or(bytes);
        Some(Self { network, bytes, layout })
    }

    #[inline(always)]
    fn parse_from(bytes: &'a [u8], origin: Origin) -> Result<Self, Malformed> {
        match bytes.first() {
            None => Err(Malformed::TooShort),
            Some(first) => match first >> 4 {
                4 => Self::parse_ipv4(bytes, origin),
                6 => Self::parse_ipv6(bytes, origin),
                _ => Err(Malformed::Version),
            },
        }
    }

    #[inline(always)]
    fn parse_ipv4(bytes: &'a [u8], origin: Origin) -> Result<Self, Malformed> {
        let header = Ipv4Header::view(bytes).ok_or(Malformed::TooShort)?;
        let header_length = header.header_length();
        if header_length < size_of::<Ipv4Header>() {
            return Err(Malformed::HeaderLength);
        }
        let whole = bytes.get(..header_length).ok_or(Malformed::TooShort)?;
        let offloaded = origin == Origin::Capture && header.checksum.get() == 0;
        if origin != Origin::Local && !offloaded && !checksum::ipv4_header_is_good(whole) {
            return Err(Malformed::HeaderChecksum);
        }
        let mut length = usize::from(header.total_length.get());
        if length == 0 && origin == Origin::Capture {
            length = bytes.len();
        }
        if length < header_length {
            return Err(Malformed::Length);
        }
        let bytes = trim(bytes, length, origin)?;
        let upper = match header.fragment_offset() {
            0 => Some((header.protocol, header_length as u32)),
            _ => None,
        };
        let layout = Layout::new(Family::V4, length as u32, upper);
        Ok(Self { network: Network::V4(header), bytes, layout })
    }

    #[inline(always)]
    fn parse_ipv6(bytes: &'a [u8], origin: Origin) -> Result<Self, Malformed> {
        const FIXED: usize = size_of::<Ipv6Header>();
        let header = Ipv6Header::view(bytes).ok_or(Malformed::TooShort)?;
        let payload = usize::from(header.payload_length.get());
        // A payload length of 0 before hop-by-hop options announces a jumbogram: Linux then goes by
        // the bytes.
        let jumbo = payload == 0
            && (origin == Origin::Capture || header.next_header == crate::protocol::HOP_BY_HOP);
        let length = if jumbo { bytes.len() } else { FIXED + payload };
        let bytes = trim(bytes, length, origin)?;
        let plain = Some((header.next_header, FIXED as u32));
        let mut layout = Layout::new(Family::V6, length as u32, plain);
        if ipv6::is_extension(header.next_header) {
            let chain = ipv6::skip_extensions(bytes, header.next_header);
            let upper = chain.upper.map(|(protocol, offset)| (protocol, offset as u32));
            layout = Layout::new(Family::V6, length as u32, upper);
            layout.fragment = chain.fragment.map_or(0, |place| place.offset as u32);
        }
        Ok(Self { network: Network::V6(header), bytes, layout })
    }

    /// The packet's bytes, trimmed to [`Self::length`]; fewer if the capture was cut.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The stated length of the packet in bytes, network header included.
    #[inline]
    pub fn length(&self) -> usize {
        self.layout.length()
    }

    /// Whether bytes are missing: only a capture's packet can be cut.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.length()
    }

    /// The address family.
    #[inline]
    pub fn family(&self) -> Family {
        self.layout.family
    }

    /// The network header.
    #[inline]
    pub fn network(&self) -> Network<'a> {
        self.network
    }

    /// The offsets, to be used again with [`Self::with_layout`] or [`crate::edit::Edit`].
    #[inline]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> IpAddr {
        self.network.source()
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> IpAddr {
        self.network.destination()
    }

    /// IPv4 time to live or IPv6 hop limit.
    #[inline]
    pub fn ttl(&self) -> u8 {
        match self.network {
            Network::V4(header) => header.ttl,
            Network::V6(header) => header.hop_limit,
        }
    }

    /// IPv4 type of service or IPv6 traffic class.
    #[inline]
    pub fn tos(&self) -> u8 {
        match self.network {
            Network::V4(header) => header.tos,
            Network::V6(header) => header.traffic_class(),
        }
    }

    /// The upper-layer protocol and where it starts.
    ///
    /// None for a fragment other than the first and for an IPv6 chain that is broken or says that
    /// nothing follows. The offset may equal or pass [`Self::length`]; [`Self::l4`] is empty then.
    #[inline]
    pub fn upper(&self) -> Option<Upper> {
        self.layout.upper()
    }

    /// The captured bytes of the upper layer, its header first; empty if there is none.
    #[inline]
    pub fn l4(&self) -> &'a [u8] {
        match self.layout.upper {
            0 => &[],
            offset => self.bytes.get(offset as usize..).unwrap_or_default(),
        }
    }

    /// The stated length of the upper layer, its header included; 0 if there is none.
    #[inline]
    pub fn l4_length(&self) -> usize {
        match self.layout.upper {
            0 => 0,
            offset => self.length().saturating_sub(offset as usize),
        }
    }

    /// Whether [`Self::fragment`] has something to say: cheap enough to ask of every packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        match self.network {
            Network::V4(header) => header.fragmentation.get() & 0x3fff != 0,
            Network::V6(_) => self.layout.fragment != 0,
        }
    }

    /// The packet's place among fragments: IPv4 if it is not whole, IPv6 if it has a fragment
    /// header (which an "atomic fragment" has, too).
    #[inline]
    pub fn fragment(&self) -> Option<Fragment> {
        match self.network {
            Network::V4(header) => ipv4_fragment(header),
            Network::V6(_) => self.ipv6_fragment(),
        }
    }

    /// Where the first IPv6 fragment header starts, from the start of the packet. It may be cut:
    /// [`Self::fragment`] is none then.
    #[inline]
    pub fn fragment_header(&self) -> Option<usize> {
        match self.layout.fragment {
            0 => None,
            offset => Some(offset as usize),
        }
    }

    fn ipv6_fragment(&self) -> Option<Fragment> {
        let header = FragmentHeader::view(self.bytes.get(self.fragment_header()?..)?)?;
        Some(Fragment {
            id: header.identification.get(),
            offset: header.offset(),
            more: header.more(),
            df: false,
        })
    }
}

impl Network<'_> {
    /// Source address.
    #[inline]
    pub fn source(&self) -> IpAddr {
        match self {
            Self::V4(header) => IpAddr::V4(header.source()),
            Self::V6(header) => IpAddr::V6(header.source()),
        }
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> IpAddr {
        match self {
            Self::V4(header) => IpAddr::V4(header.destination()),
            Self::V6(header) => IpAddr::V6(header.destination()),
        }
    }
}

fn ipv4_fragment(header: &Ipv4Header) -> Option<Fragment> {
    let (offset, more) = (header.fragment_offset(), header.more_fragments());
    (offset != 0 || more).then(|| Fragment {
        id: u32::from(header.identification.get()),
        offset,
        more,
        df: header.dont_fragment(),
    })
}

/// The bytes that belong to a packet of the stated length.
#[inline(always)]
fn trim(bytes: &[u8], length: usize, origin: Origin) -> Result<&[u8], Malformed> {
    match bytes.get(..length) {
        Some(bytes) => Ok(bytes),
        None if origin == Origin::Capture => Ok(bytes),
        None => Err(Malformed::Truncated),
    }
}

#[cfg(test)]
mod tests;
