//! What IP carries: TCP, UDP and UDP-Lite, ICMP, SCTP, GRE, or bytes of any protocol.

use super::checksum::{self, Sum, crc32c};
use super::{Checksum, clamp, padded};

/// FIN.
pub const TCP_FIN: u8 = 0x01;
/// SYN.
pub const TCP_SYN: u8 = 0x02;
/// RST.
pub const TCP_RST: u8 = 0x04;
/// PSH.
pub const TCP_PSH: u8 = 0x08;
/// ACK.
pub const TCP_ACK: u8 = 0x10;
/// URG.
pub const TCP_URG: u8 = 0x20;
/// ECE.
pub const TCP_ECE: u8 = 0x40;
/// CWR.
pub const TCP_CWR: u8 = 0x80;

/// What a packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP or UDP-Lite.
    Udp(Udp),
    /// ICMP, or ICMPv6 in an IPv6 packet.
    Icmp(Icmp),
    /// SCTP.
    Sctp(Sctp),
    /// GRE.
    Gre(Gre),
    /// Anything.
    Raw {
        /// IP protocol number.
        protocol: u8,
        /// What follows the IP header.
        bytes: Vec<u8>,
    },
}

/// A TCP segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The eight flags.
    pub flags: u8,
    /// The four reserved bits.
    pub reserved: u8,
    /// Window, unscaled. None is 65535.
    pub window: Option<u16>,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, padded with zeroes to a multiple of 4 bytes.
    pub options: Vec<TcpOption>,
    /// Payload.
    pub payload: Vec<u8>,
    /// Checksum.
    pub checksum: Checksum,
    /// Header length in words, if not the right one.
    pub header_words: Option<u8>,
}

/// A TCP option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpOption {
    /// One byte of padding.
    NoOperation,
    /// Maximum segment size.
    MaximumSegment(u16),
    /// Window scale.
    WindowScale(u8),
    /// Selective acknowledgements are welcome.
    SackPermitted,
    /// Selective acknowledgements, left and right edges.
    Sack(Vec<(u32, u32)>),
    /// Timestamp and its echo.
    Timestamp(u32, u32),
    /// Any bytes, also such as are no option.
    Raw(Vec<u8>),
}

/// A UDP datagram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// Checksum.
    pub checksum: Checksum,
    /// The length field, if not the right one.
    pub length: Option<u16>,
    /// Makes it UDP-Lite with this checksum coverage; 0 covers everything.
    pub coverage: Option<u16>,
}

/// An ICMP or ICMPv6 message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second word: identifier and sequence number, an MTU, a gateway.
    pub rest: u32,
    /// What follows, for errors the quoted packet.
    pub body: Vec<u8>,
    /// Checksum.
    pub checksum: Checksum,
}

/// An SCTP packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sctp {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Verification tag.
    pub tag: u32,
    /// Chunks.
    pub chunks: Vec<Chunk>,
    /// Checksum.
    pub checksum: Checksum,
}

/// An SCTP chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// What follows the length.
    pub value: Vec<u8>,
    /// The length field, if not the right one.
    pub length: Option<u16>,
}

impl Chunk {
    /// INIT (`ack` false) or INIT ACK with this initiate tag.
    pub fn init(ack: bool, tag: u32) -> Self {
        let mut value = tag.to_be_bytes().to_vec();
        value.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
        Self { kind: if ack { 2 } else { 1 }, value, ..Self::default() }
    }

    /// A chunk of this type without flags.
    pub fn new(kind: u8, value: &[u8]) -> Self {
        Self { kind, value: value.to_vec(), ..Self::default() }
    }
}

/// A GRE packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gre {
    /// The first two bytes verbatim: C, R, K, S, s bits, recursion, flags, version.
    pub flags: u16,
    /// Ethertype of the payload.
    pub protocol: u16,
    /// What follows: optional fields and payload.
    pub rest: Vec<u8>,
}

impl Gre {
    /// Version 0, with a key or without.
    pub fn plain(key: Option<u32>, payload: &[u8]) -> Self {
        let mut rest = key.map(|key| key.to_be_bytes().to_vec()).unwrap_or_default();
        rest.extend_from_slice(payload);
        Self { flags: if key.is_some() { 0x2000 } else { 0 }, protocol: 0x0800, rest }
    }

    /// Version 1, as PPTP uses it: payload length, call id, sequence number.
    pub fn pptp(call: u16, sequence: u32, payload: &[u8]) -> Self {
        let mut rest = clamp(payload.len()).to_be_bytes().to_vec();
        rest.extend_from_slice(&call.to_be_bytes());
        rest.extend_from_slice(&sequence.to_be_bytes());
        rest.extend_from_slice(payload);
        Self { flags: 0x3001, protocol: 0x880b, rest }
    }
}

impl Transport {
    /// Its IP protocol number.
    pub(super) fn protocol(&self, v6: bool) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp(Udp { coverage: Some(_), .. }) => 136,
            Self::Udp(_) => 17,
            Self::Icmp(_) if v6 => 58,
            Self::Icmp(_) => 1,
            Self::Sctp(_) => 132,
            Self::Gre(_) => 47,
            Self::Raw { protocol, .. } => *protocol,
        }
    }

    /// Replaces the payload: of SCTP the first chunk's value, of GRE everything after the first
    /// word.
    pub(super) fn set_payload(&mut self, payload: &[u8]) {
        let place = match self {
            Self::Tcp(tcp) => &mut tcp.payload,
            Self::Udp(udp) => &mut udp.payload,
            Self::Icmp(icmp) => &mut icmp.body,
            Self::Sctp(sctp) => match sctp.chunks.first_mut() {
                Some(chunk) => &mut chunk.value,
                None => return,
            },
            Self::Gre(gre) => &mut gre.rest,
            Self::Raw { bytes, .. } => bytes,
        };
        payload.clone_into(place);
    }

    /// Lays it out; `pseudo` gives the pseudo-header's sum for a length.
    pub(super) fn bytes(&self, pseudo: &dyn Fn(usize) -> Sum) -> Vec<u8> {
        match self {
            Self::Tcp(tcp) => tcp.bytes(pseudo),
            Self::Udp(udp) => udp.bytes(pseudo),
            Self::Icmp(icmp) => icmp.bytes(pseudo),
            Self::Sctp(sctp) => sctp.bytes(),
            Self::Gre(gre) => gre.bytes(),
            Self::Raw { bytes, .. } => bytes.clone(),
        }
    }
}

impl Tcp {
    fn bytes(&self, pseudo: &dyn Fn(usize) -> Sum) -> Vec<u8> {
        let options: Vec<u8> = self.options.iter().flat_map(TcpOption::bytes).collect();
        let options = padded(&options, 4);
        let words = self.header_words.unwrap_or((5 + options.len() / 4).to_le_bytes()[0]);
        let mut bytes = ports(self.source_port, self.destination_port);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.ack.to_be_bytes());
        bytes.extend_from_slice(&[words << 4 | self.reserved & 0xf, self.flags]);
        bytes.extend_from_slice(&self.window.unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.urgent.to_be_bytes());
        bytes.extend_from_slice(&options);
        bytes.extend_from_slice(&self.payload);
        let pseudo = pseudo(bytes.len());
        let sum = pseudo.add(&bytes);
        checksum::place(&mut bytes, 16, self.checksum, sum, pseudo);
        bytes
    }
}

impl TcpOption {
    fn bytes(&self) -> Vec<u8> {
        let of = |kind: u8, value: &[u8]| {
            let mut bytes = vec![kind, (value.len() + 2).to_le_bytes()[0]];
            bytes.extend_from_slice(value);
            bytes
        };
        match self {
            Self::NoOperation => vec![1],
            Self::MaximumSegment(size) => of(2, &size.to_be_bytes()),
            Self::WindowScale(shift) => of(3, &[*shift]),
            Self::SackPermitted => of(4, &[]),
            Self::Sack(blocks) => {
                let edges = blocks.iter().flat_map(|(left, right)| [*left, *right]);
                of(5, &edges.flat_map(u32::to_be_bytes).collect::<Vec<u8>>())
            }
            Self::Timestamp(value, echo) => {
                of(8, &[value.to_be_bytes(), echo.to_be_bytes()].concat())
            }
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

impl Udp {
    fn bytes(&self, pseudo: &dyn Fn(usize) -> Sum) -> Vec<u8> {
        let whole = 8 + self.payload.len();
        let field = self.length.or(self.coverage).unwrap_or_else(|| clamp(whole));
        let mut bytes = ports(self.source_port, self.destination_port);
        bytes.extend_from_slice(&field.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.payload);
        let covered = match self.coverage {
            None | Some(0) => whole,
            Some(coverage) => usize::from(coverage).min(whole),
        };
        let pseudo = pseudo(whole);
        let sum = pseudo.add(bytes.get(..covered).unwrap_or_default());
        checksum::place(&mut bytes, 6, self.checksum, sum, pseudo);
        // A right checksum that comes out as zero is sent as all ones; zero means none.
        if self.checksum == Checksum::Right && bytes.get(6..8) == Some(&[0, 0]) {
            bytes.splice(6..8, [0xff, 0xff]);
        }
        bytes
    }
}

impl Icmp {
    fn bytes(&self, pseudo: &dyn Fn(usize) -> Sum) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.code, 0, 0];
        bytes.extend_from_slice(&self.rest.to_be_bytes());
        bytes.extend_from_slice(&self.body);
        let pseudo = pseudo(bytes.len());
        let sum = pseudo.add(&bytes);
        checksum::place(&mut bytes, 2, self.checksum, sum, pseudo);
        bytes
    }
}

impl Sctp {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = ports(self.source_port, self.destination_port);
        bytes.extend_from_slice(&self.tag.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for chunk in &self.chunks {
            let length = chunk.length.unwrap_or_else(|| clamp(4 + chunk.value.len()));
            bytes.extend_from_slice(&[chunk.kind, chunk.flags]);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&padded(&chunk.value, 4));
        }
        let crc = match self.checksum {
            Checksum::Right => crc32c(&bytes),
            Checksum::Wrong => crc32c(&bytes) ^ 1,
            Checksum::Zero | Checksum::Offloaded => 0,
        };
        bytes.splice(8..12, crc.to_le_bytes());
        bytes
    }
}

impl Gre {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = ports(self.flags, self.protocol);
        bytes.extend_from_slice(&self.rest);
        bytes
    }
}

/// Two 16-bit fields.
fn ports(first: u16, second: u16) -> Vec<u8> {
    [first.to_be_bytes(), second.to_be_bytes()].concat()
}
