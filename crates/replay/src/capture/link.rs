//! Link-layer headers: where the IP packet in a frame begins, and what the header says about its
//! way.
//!
//! Every link type we read is one function here, from the bytes of a frame to a [`Payload`]. A
//! frame that does not carry IP is not an error but a [`Skip`], which the capture counts. The
//! layouts are those of <https://www.tcpdump.org/linktypes.html>.
//!
//! What is *not* done here: nothing is said about the IP packet itself beyond the version its
//! header begins with. Ethernet's padding stays on; the IP parser trims it, because a length of
//! zero in an IP header may be a superpacket, whose length only the frame knows.

use stateward_engine::LinkHeader;
use stateward_rules::matches::pkttype::To;

use super::Direction;
use super::order::Order;

/// A link-layer header type that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// An IP packet of either version and nothing before it.
    Raw,
    Ipv4,
    Ipv6,
    /// BSD's loopback: the address family, in the byte order of whoever captured.
    Loopback,
    /// Linux's "cooked" capture, version 1.
    Sll,
    /// Version 2, which knows the interface.
    Sll2,
    /// Linux's packet log.
    Nflog,
}

impl Link {
    /// The type for a number in a capture file; `None` for those we do not read.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            // 12 and 14 are what DLT_RAW was on various systems before 101 was assigned.
            12 | 14 | 101 => Self::Raw,
            113 => Self::Sll,
            228 => Self::Ipv4,
            229 => Self::Ipv6,
            239 => Self::Nflog,
            276 => Self::Sll2,
            _ => return None,
        })
    }
}

/// The IP packet in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Offset of its first byte in the frame.
    pub(super) start: usize,
    /// Offset behind its last captured byte.
    pub(super) end: usize,
    /// Its length on the wire, the link's padding included; at least `end - start`.
    pub(super) original: u32,
    pub(super) direction: Option<Direction>,
    /// The interface's number on the machine that captured.
    pub(super) index: Option<u32>,
    /// The Ethernet header, as far as it is there.
    pub(super) link: Option<LinkHeader>,
}

/// Why a frame is not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Arp,
    /// Any other protocol, or a version of IP that contradicts the link header.
    Other,
    /// Too short to say.
    Short,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the two numbers QinQ used before that.
const ETHERTYPES_VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
/// `ARPHRD_NETLINK`: cooked frames of nlmon devices, whose protocol field is no EtherType.
const ARPHRD_NETLINK: u16 = 824;

/// Finds the IP packet in `frame`, of which `original` bytes were on the wire. `order` is the
/// capture file's, which NFLOG's attributes follow.
pub(super) fn strip(
    link: Link,
    order: Order,
    frame: &[u8],
    original: u32,
) -> Result<Payload, Skip> {
    let payload = match link {
        Link::Ethernet => ethernet(frame),
        Link::Raw => Some(Header { version: Ok(None), ..Header::ending(0) }),
        Link::Ipv4 => Some(Header { version: Ok(Some(4)), ..Header::ending(0) }),
        Link::Ipv6 => Some(Header { version: Ok(Some(6)), ..Header::ending(0) }),
        Link::Loopback => loopback(frame),
        Link::Sll => sll(frame),
        Link::Sll2 => sll2(frame),
        Link::Nflog => return nflog(frame, order),
    };
    let header = payload.ok_or(Skip::Short)?;
    agree(header.version?, frame.get(header.end..).unwrap_or_default())?;
    let captured = frame.len() - header.end.min(frame.len());
    let on_the_wire = original.saturating_sub(u32::try_from(header.end).unwrap_or(u32::MAX));
    Ok(Payload {
        start: header.end,
        end: frame.len(),
        original: on_the_wire.max(u32::try_from(captured).unwrap_or(u32::MAX)),
        direction: header.direction,
        index: header.index,
        link: header.link,
    })
}

/// What a link header says.
struct Header {
    /// Its length.
    end: usize,
    /// The version of IP it announces, if it announces one.
    version: Result<Option<u8>, Skip>,
    direction: Option<Direction>,
    index: Option<u32>,
    link: Option<LinkHeader>,
}

impl Header {
    const fn ending(end: usize) -> Self {
        Self { end, version: Err(Skip::Other), direction: None, index: None, link: None }
    }

    /// A header whose EtherType was read from the two bytes in front of `end`; VLAN tags are walked
    /// over.
    fn typed(frame: &[u8], mut ethertype: u16, mut end: usize) -> Option<Self> {
        while ETHERTYPES_VLAN.contains(&ethertype) {
            ethertype = Order::Big.u16(frame, end + 2)?;
            end += 4;
        }
        let version = match ethertype {
            ETHERTYPE_IPV4 => Ok(Some(4)),
            ETHERTYPE_IPV6 => Ok(Some(6)),
            ETHERTYPE_ARP => Err(Skip::Arp),
            _ => Err(Skip::Other),
        };
        Some(Self { version, ..Self::ending(end) })
    }

    /// As a cooked frame of an Ethernet tells it: the source, and of the destination only what kind
    /// it was. One for this host, or for some group, is told as zeroes.
    fn cooked_from(self, hardware: u16, kind: u16, source: Option<&[u8; 6]>) -> Self {
        const ARPHRD_ETHER: u16 = 1;
        let Some(source) = source.filter(|_| hardware == ARPHRD_ETHER) else { return self };
        let (destination, to) = match kind {
            1 => ([0xff; 6], To::Broadcast),
            2 => ([0; 6], To::Multicast),
            _ => ([0; 6], To::Us),
        };
        let header = self.between(destination, *source);
        Self { link: header.link.map(|link| LinkHeader { to, ..link }), ..header }
    }

    /// With an Ethernet header between these stations.
    fn between(self, destination: [u8; 6], source: [u8; 6]) -> Self {
        let ethertype = match self.version {
            Ok(Some(6)) => ETHERTYPE_IPV6,
            _ => ETHERTYPE_IPV4,
        };
        let mut bytes = [0; 14];
        let fields = destination.into_iter().chain(source).chain(ethertype.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        Self { link: Some(LinkHeader::new(bytes)), ..self }
    }
}

/// The kernel hands a frame to IPv4 or IPv6 by its link header, and that one drops it if the
/// header's first four bits say otherwise.
fn agree(announced: Option<u8>, packet: &[u8]) -> Result<(), Skip> {
    let version = packet.first().ok_or(Skip::Short)? >> 4;
    let right = announced.map_or(matches!(version, 4 | 6), |announced| announced == version);
    if right { Ok(()) } else { Err(Skip::Other) }
}

fn ethernet(frame: &[u8]) -> Option<Header> {
    let header = Header::typed(frame, Order::Big.u16(frame, 12)?, 14)?;
    let (destination, rest) = frame.split_first_chunk()?;
    Some(header.between(*destination, *rest.first_chunk()?))
}

fn loopback(frame: &[u8]) -> Option<Header> {
    // A family is a small number, so that only one of the two byte orders can make sense.
    let little = Order::Little.u32(frame, 0)?;
    let family = if little > 0xffff { little.swap_bytes() } else { little };
    let version = match family {
        2 => Ok(Some(4)),
        // AF_INET6 of Linux; NetBSD and OpenBSD; FreeBSD; macOS.
        10 | 24 | 28 | 30 => Ok(Some(6)),
        _ => Err(Skip::Other),
    };
    Some(Header { version, ..Header::ending(4) })
}

fn sll(frame: &[u8]) -> Option<Header> {
    let kind = Order::Big.u16(frame, 0)?;
    let hardware = Order::Big.u16(frame, 2)?;
    let header = cooked(frame, hardware, Order::Big.u16(frame, 14)?, 16)?;
    let source = frame.get(6..).and_then(|rest| rest.first_chunk());
    Some(Header { direction: direction(kind), ..header.cooked_from(hardware, kind, source) })
}

fn sll2(frame: &[u8]) -> Option<Header> {
    let index = Order::Big.u32(frame, 4)?;
    let hardware = Order::Big.u16(frame, 8)?;
    let kind = u16::from(*frame.get(10)?);
    frame.get(19)?;
    let header = cooked(frame, hardware, Order::Big.u16(frame, 0)?, 20)?;
    let source = frame.get(12..).and_then(|rest| rest.first_chunk());
    let header = header.cooked_from(hardware, kind, source);
    Some(Header { direction: direction(kind), index: Some(index), ..header })
}

fn cooked(frame: &[u8], hardware: u16, protocol: u16, end: usize) -> Option<Header> {
    if hardware == ARPHRD_NETLINK {
        return Some(Header::ending(end));
    }
    Header::typed(frame, protocol, end)
}

/// `sll_pkttype` of packet(7).
fn direction(kind: u16) -> Option<Direction> {
    match kind {
        0..=2 => Some(Direction::In),
        3 => Some(Direction::OtherHost),
        4 => Some(Direction::Out),
        _ => None,
    }
}

/// `NFULA_IFINDEX_INDEV`, `NFULA_IFINDEX_OUTDEV` and `NFULA_PAYLOAD`.
const NFLOG_IN: u16 = 4;
const NFLOG_OUT: u16 = 5;
const NFLOG_PAYLOAD: u16 = 9;

/// Attributes of a type, a length that includes their own four bytes, and padding to four; the
/// payload comes last. A packet with an input device came in there, also if it is on its way out
/// again.
fn nflog(frame: &[u8], order: Order) -> Result<Payload, Skip> {
    let version = match frame.first().ok_or(Skip::Short)? {
        2 => Some(4),
        10 => Some(6),
        _ => return Err(Skip::Other),
    };
    let (mut came, mut goes) = (None, None);
    let mut at = 4;
    loop {
        let length = usize::from(order.u16(frame, at).ok_or(Skip::Short)?);
        let kind = order.u16(frame, at + 2).ok_or(Skip::Short)?;
        match kind {
            NFLOG_IN => came = Order::Big.u32(frame, at + 4),
            NFLOG_OUT => goes = Order::Big.u32(frame, at + 4),
            NFLOG_PAYLOAD => {
                let start = at + 4;
                agree(version, frame.get(start..).unwrap_or_default())?;
                let original = length.saturating_sub(4);
                return Ok(Payload {
                    start,
                    end: frame.len().min(start + original),
                    original: u32::try_from(original).unwrap_or(u32::MAX),
                    direction: came.map(|_| Direction::In).or(goes.map(|_| Direction::Out)),
                    index: came.or(goes),
                    link: None,
                });
            }
            _ => {}
        }
        if length < 4 {
            return Err(Skip::Other);
        }
        at += length.next_multiple_of(4);
    }
}
