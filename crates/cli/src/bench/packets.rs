//! The packets of the benchmark: made from a template by patching what tells connections apart.

use stateward_conntrack::{CtState, Span};
use stateward_engine::Verdict;
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::edit::{Edit, End};
use stateward_wire::{Packet, TcpFlags, checksum, protocol};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Proto;

/// Which packet of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// The one that begins it.
    First,
    /// TCP's SYN/ACK.
    Answer,
    /// TCP's first segment after the handshake: nothing has come from the other side yet.
    Handshake,
    /// Any later one, from the side that began.
    Original,
    /// Any later one, from the other side.
    Reply,
}

/// Makes packets.
pub(super) struct Maker {
    proto: Proto,
    ipv6: bool,
    first: Vec<u8>,
    answer: Vec<u8>,
    handshake: Vec<u8>,
    original: Vec<u8>,
    reply: Vec<u8>,
}

/// MSS, SACK permitted, timestamps, NOP, window scale.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

impl Maker {
    pub(super) fn new(proto: Proto, ipv6: bool) -> Maker {
        let (client, server) = ends(0, ipv6);
        let forth = |way| template(proto, way, client, server);
        let back = |way| template(proto, way, server, client);
        Maker {
            proto,
            ipv6,
            first: forth(Way::First),
            answer: back(Way::Answer),
            handshake: forth(Way::Handshake),
            original: forth(Way::Original),
            reply: back(Way::Reply),
        }
    }

    /// The packets that bring a connection to where it stays. UDP needs one of each side that
    /// comes more than two seconds after the first.
    pub(super) fn opening(&self) -> Vec<Way> {
        match self.proto {
            Proto::Tcp => vec![Way::First, Way::Answer, Way::Handshake, Way::Reply, Way::Original],
            Proto::Udp => vec![Way::First, Way::Reply, Way::Original],
            Proto::Icmp => vec![Way::First, Way::Reply],
        }
    }

    /// How long a connection lives that only began.
    pub(super) fn patience(&self) -> Span {
        match self.proto {
            Proto::Tcp => Span::secs(121),
            Proto::Udp | Proto::Icmp => Span::secs(31),
        }
    }

    /// Whether connections that stay end as soon as those that only began.
    pub(super) fn all_end_alike(&self) -> bool {
        self.proto == Proto::Icmp
    }

    fn of(&self, way: Way) -> &[u8] {
        match way {
            Way::First => &self.first,
            Way::Answer => &self.answer,
            Way::Handshake => &self.handshake,
            Way::Original => &self.original,
            Way::Reply => &self.reply,
        }
    }

    /// Writes a packet over `bytes`.
    fn make(&self, bytes: &mut Vec<u8>, connection: u32, way: Way) {
        bytes.clear();
        bytes.extend_from_slice(self.of(way));
        let ((client, client_port), (server, _)) = ends(connection, self.ipv6);
        let (source, destination, end) = match way {
            Way::First | Way::Handshake | Way::Original => (client, server, End::Source),
            Way::Answer | Way::Reply => (server, client, End::Destination),
        };
        let Ok(packet) = Packet::parse(bytes) else { return };
        let layout = packet.layout();
        let mut edit = Edit::new(bytes, layout);
        edit.set_address(End::Source, source);
        edit.set_address(End::Destination, destination);
        if self.proto == Proto::Icmp {
            set_icmp_id(bytes, client_port);
        } else {
            edit.set_port(end, client_port);
        }
    }
}

/// Addresses and ports of a connection: 2¹⁶ − 1024 ports a client, then the next client.
fn ends(connection: u32, ipv6: bool) -> ((IpAddr, u16), (IpAddr, u16)) {
    const PORTS: u32 = 64_000;
    let host = connection / PORTS;
    let port = (1024 + connection % PORTS) as u16;
    if ipv6 {
        let [a, b, c, d] = host.to_be_bytes();
        let (ab, cd) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let client = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, ab, cd.wrapping_add(2));
        let server = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2);
        ((client.into(), port), (server.into(), 80))
    } else {
        let client = Ipv4Addr::from_bits(0x0a00_0002 + host);
        ((client.into(), port), (Ipv4Addr::new(198, 51, 100, 2).into(), 80))
    }
}

fn template(proto: Proto, way: Way, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Vec<u8> {
    match proto {
        Proto::Tcp => tcp(way, source, destination),
        Proto::Udp => compose::udp(source, destination, &[0; 40]),
        Proto::Icmp => {
            let v6 = source.0.is_ipv6();
            let kind = match (way, v6) {
                (Way::First | Way::Handshake | Way::Original, false) => 8,
                (Way::Answer | Way::Reply, false) => 0,
                (Way::First | Way::Handshake | Way::Original, true) => 128,
                (Way::Answer | Way::Reply, true) => 129,
            };
            compose::icmp(&Icmp {
                source: source.0,
                destination: destination.0,
                kind,
                code: 0,
                rest: [0; 4],
                body: &[0; 36],
            })
        }
    }
}

/// A handshake, then the same segment of 20 bytes again and again from each side: always in the
/// window, always acknowledging what the other side sends.
fn tcp(way: Way, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Vec<u8> {
    const CLIENT: u32 = 1_000;
    const SERVER: u32 = 5_000;
    const LENGTH: u32 = 20;
    let data = [0; LENGTH as usize];
    let ack_and_push = TcpFlags::ACK | TcpFlags::PSH;
    let stamped = |flags, numbers| Tcp::stamped(source, destination, flags, numbers);
    let opening = |flags, numbers| Tcp { options: &SYN_OPTIONS, ..stamped(flags, numbers) };
    let later = |numbers| Tcp { payload: &data, ..stamped(ack_and_push, numbers) };
    compose::tcp(&match way {
        Way::First => opening(TcpFlags::SYN, [CLIENT, 0]),
        Way::Answer => opening(TcpFlags::SYN | TcpFlags::ACK, [SERVER, CLIENT + 1]),
        Way::Handshake => later([CLIENT + 1, SERVER + 1]),
        Way::Original => later([CLIENT + 1, SERVER + 1 + LENGTH]),
        Way::Reply => later([SERVER + 1, CLIENT + 1 + LENGTH]),
    })
}

/// Sets the id of an ICMP message and its checksum.
fn set_icmp_id(bytes: &mut [u8], id: u16) {
    let Ok(packet) = Packet::parse_trusted(bytes) else { return };
    let Some(upper) = packet.upper() else { return };
    debug_assert!(matches!(upper.protocol, protocol::ICMP | protocol::ICMPV6));
    let Some(header) = bytes.get_mut(upper.offset..).and_then(|l4| l4.first_chunk_mut::<8>())
    else {
        return;
    };
    let old = u16::from_be_bytes([header[4], header[5]]);
    let sum = u16::from_be_bytes([header[2], header[3]]);
    let sum = checksum::update_u16(sum, old, id).to_be_bytes();
    header[2..4].copy_from_slice(&sum);
    header[4..6].copy_from_slice(&id.to_be_bytes());
}

/// State and verdict of a packet.
type Seen = Option<(Option<CtState>, Verdict)>;

/// Packets made and not yet processed, in buffers that are used again.
pub(super) struct Batch {
    buffers: Vec<Vec<u8>>,
    ways: Vec<Way>,
    outcomes: Vec<Seen>,
}

impl Batch {
    pub(super) fn new(maker: &Maker, size: usize) -> Batch {
        let longest = [Way::First, Way::Answer, Way::Original, Way::Reply]
            .into_iter()
            .map(|way| maker.of(way).len())
            .max()
            .unwrap_or(0);
        Batch {
            buffers: vec![Vec::with_capacity(longest); size],
            ways: Vec::with_capacity(size),
            outcomes: Vec::with_capacity(size),
        }
    }

    pub(super) fn clear(&mut self) {
        self.ways.clear();
        self.outcomes.clear();
    }

    pub(super) fn push(&mut self, maker: &Maker, connection: u32, way: Way) {
        if let Some(buffer) = self.buffers.get_mut(self.ways.len()) {
            maker.make(buffer, connection, way);
            self.ways.push(way);
            self.outcomes.push(None);
        }
    }

    /// The packets, and where their outcomes go.
    pub(super) fn buffers(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut [Seen]) {
        let filled = self.buffers.iter_mut().take(self.ways.len());
        (filled.map(|buffer| buffer.as_mut_slice()), &mut self.outcomes)
    }

    pub(super) fn outcomes(&self) -> impl Iterator<Item = (Way, &Seen)> {
        self.ways.iter().copied().zip(&self.outcomes)
    }
}
