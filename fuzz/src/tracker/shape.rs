//! Packets as few bytes: what they are made from, and how they are damaged.

use std::net::IpAddr;

use arbitrary::Arbitrary;
use stateward_conntrack::expect::{Announcement, ExpectClass, ExpectFlags, ExpectMask, Identical};
use stateward_conntrack::{L4Key, Tuple, Zone};
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::{Packet, TcpFlags, checksum, protocol};

use super::Wait;
use super::machine::Door;
use crate::repair;

/// What happens.
#[derive(Debug, Arbitrary)]
pub(crate) enum Step {
    /// A packet comes.
    Packet { wait: Wait, door: Door, shape: Shape, damage: Damage },
    /// A TCP connection is made, and perhaps one side closes it.
    Handshake { ends: Ends, scale: u8, ends_with: Option<bool> },
    /// An SCTP association is made, and perhaps shut down.
    Association { ends: Ends, shut: bool },
    /// A connection announces another one.
    Announce(Announce),
    /// Time passes, and the timers run.
    Wait(Wait),
}

/// What a helper would say.
#[derive(Debug, Arbitrary)]
pub(crate) struct Announce {
    /// Which connection of the dump is the master.
    pub(crate) master: u8,
    ends: Ends,
    udp: bool,
    mask: u8,
    flags: u8,
    class: bool,
    timeout: u8,
    of_any_master: bool,
}

impl Announce {
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        let [(source, source_port), (destination, port)] = self.ends.both();
        let protocol = if self.udp { protocol::UDP } else { protocol::TCP };
        let l4 = L4Key::Ports { source: source_port, destination: port };
        Some(Announcement {
            tuple: Tuple::new(source, destination, protocol, l4, Zone::DEFAULT)?,
            mask: [ExpectMask::NONE, ExpectMask::ADDRESS, ExpectMask::EXACT]
                [usize::from(self.mask % 3)],
            class: ExpectClass {
                number: self.class.into(),
                name: "data",
                max_expected: 2,
                timeout: self.timeout.into(),
            },
            flags: ExpectFlags(u32::from(self.flags & 3)),
            helper: "ftp",
            assigns: self.class.then_some("ftp"),
            nat: None,
            identical: match self.of_any_master {
                true => Identical::OfAnyMaster,
                false => Identical::OfMaster,
            },
        })
    }
}

impl Step {
    /// The packets of this step, and by which door they come; `history` is what came before.
    pub(crate) fn packets(&self, history: &[Vec<u8>]) -> Vec<(Door, Vec<u8>)> {
        let shapes: Vec<(Door, Option<Vec<u8>>)> = match self {
            Step::Packet { door, shape, damage, .. } => {
                let bytes = shape.packet(history).map(|bytes| damage.applied(bytes));
                vec![(*door, bytes)]
            }
            &Step::Handshake { ends, scale, ends_with } => {
                let shapes = handshake(ends, scale, ends_with);
                shapes.into_iter().map(|(door, shape)| (door, shape.packet(&[]))).collect()
            }
            &Step::Association { ends, shut } => association(ends, shut),
            Step::Announce(_) | Step::Wait(_) => Vec::new(),
        };
        shapes.into_iter().filter_map(|(door, bytes)| Some((door, bytes?))).collect()
    }
}

/// SYN, SYN/ACK, ACK; then a FIN or RST of the side that began.
fn handshake(ends: Ends, scale: u8, ends_with: Option<bool>) -> Vec<(Door, Shape)> {
    let (forth, back) = (Ends(ends.0 & !2), Ends(ends.0 | 2));
    let segment = |ends, flags, sequence, acknowledgment| {
        let options = if flags & 2 != 0 { Options::Opening { scale } } else { Options::None };
        let window = 60_000;
        Shape::Tcp { ends, flags, sequence, acknowledgment, window, options, length: 0 }
    };
    let mut all = vec![
        (Door::Lan, segment(forth, 0x02, 0, 0)),
        (Door::Wan, segment(back, 0x12, 0, 1)),
        (Door::Lan, segment(forth, 0x10, 1, 1)),
    ];
    match ends_with {
        Some(true) => all.push((Door::Lan, segment(forth, 0x11, 1, 1))),
        Some(false) => all.push((Door::Lan, segment(forth, 0x14, 1, 1))),
        None => {}
    }
    all
}

/// INIT, INIT_ACK, COOKIE_ECHO, COOKIE_ACK; then SHUTDOWN.
fn association(ends: Ends, shut: bool) -> Vec<(Door, Option<Vec<u8>>)> {
    let (forth, back) = (Ends(ends.0 & !2).both(), Ends(ends.0 | 2).both());
    let packet = |[from, to]: [(IpAddr, u16); 2], tag, kind, length| {
        let chunk = Chunk { kind, flags: 0, tag: 5, length };
        Some(compose::sctp(from, to, tag, &chunk.bytes()))
    };
    let mut all = vec![
        (Door::Lan, packet(forth, 0, 1, 20)),
        (Door::Wan, packet(back, 5, 2, 20)),
        (Door::Lan, packet(forth, 5, 10, 8)),
        (Door::Wan, packet(back, 5, 11, 4)),
    ];
    if shut {
        all.push((Door::Lan, packet(forth, 5, 7, 8)));
    }
    all
}

/// Who speaks to whom: two hosts with two ports on each side, and the machine itself.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Ends(u8);

impl Ends {
    fn v6(self) -> bool {
        self.0 & 1 != 0
    }

    /// From the side that is right of the machine to the left one.
    fn back(self) -> bool {
        self.0 & 2 != 0
    }

    fn both(self) -> [(IpAddr, u16); 2] {
        let left = match (self.0 >> 2 & 3, self.v6()) {
            (0 | 1, false) => [192, 168, 1, 2].into(),
            (2, false) => [192, 168, 1, 3].into(),
            (_, false) => [192, 168, 1, 1].into(),
            (n, true) => IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 0, 4 - u16::from(n)]),
        };
        let right = match (self.0 >> 4 & 3, self.v6()) {
            (0, false) => [203, 0, 113, 9].into(),
            (1, false) => [198, 51, 100, 9].into(),
            (2, false) => [192, 168, 1, 1].into(),
            (_, false) => [224, 0, 0, 1].into(),
            (2, true) => IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 0, 1]),
            (3, true) => IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]),
            (n, true) => IpAddr::from([0xfd00, 2, 0, 0, 0, 0, 0, 9 + u16::from(n)]),
        };
        let ends = [(left, 1_000 + u16::from(self.0 >> 6 & 1)), (right, 80)];
        if self.back() { [ends[1], ends[0]] } else { ends }
    }
}

/// A packet.
#[derive(Debug, Arbitrary)]
pub(crate) enum Shape {
    /// A segment; sequence and acknowledgment numbers count from where each side began.
    Tcp {
        ends: Ends,
        flags: u8,
        sequence: i8,
        acknowledgment: i8,
        window: u16,
        options: Options,
        length: u8,
    },
    Udp {
        ends: Ends,
        length: u8,
    },
    /// Long enough to be cut on its way.
    Long {
        ends: Ends,
        may_be_cut: bool,
        more: u8,
    },
    Message {
        ends: Ends,
        kind: u8,
        code: u8,
        id: u8,
    },
    /// An ICMP error about an earlier packet.
    Error {
        ends: Ends,
        kind: u8,
        code: u8,
        about: u8,
        quoted: u8,
        /// Of a kind that there is, to whom sent what it is about.
        fitting: bool,
    },
    Sctp {
        ends: Ends,
        tag: u8,
        chunks: [Chunk; 2],
    },
    Gre {
        ends: Ends,
        version: bool,
        key: u8,
    },
    Other {
        ends: Ends,
        protocol: u8,
        payload: [u8; 12],
    },
    /// IPv6 with extension headers before the ports.
    Extended {
        ends: Ends,
        headers: [u8; 3],
        body: [u8; 8],
    },
    Piece {
        ends: Ends,
        id: u8,
        offset: u8,
        more: bool,
        length: u8,
        protocol: u8,
    },
    /// An earlier packet once more.
    Again {
        which: u8,
    },
    Raw(Vec<u8>),
}

/// TCP options.
#[derive(Debug, Arbitrary)]
pub(crate) enum Options {
    None,
    /// What a SYN carries: scale, SACK permitted.
    Opening {
        scale: u8,
    },
    Timestamps,
    Sack {
        from: i8,
        to: i8,
    },
    Raw([u8; 8]),
}

/// An SCTP chunk.
#[derive(Debug, Arbitrary)]
pub(crate) struct Chunk {
    kind: u8,
    flags: u8,
    tag: u8,
    length: u8,
}

/// Where the initial sequence numbers of a side are: near the end of the numbers, so that they
/// wrap.
const FORTH: u32 = 0xffff_f000;
const BACK: u32 = 0x0000_1000;

impl Shape {
    fn packet(&self, history: &[Vec<u8>]) -> Option<Vec<u8>> {
        Some(match self {
            &Shape::Tcp { ends, flags, sequence, acknowledgment, window, ref options, length } => {
                let [source, destination] = ends.both();
                let (own, other) = if ends.back() { (BACK, FORTH) } else { (FORTH, BACK) };
                compose::tcp(&Tcp {
                    source,
                    destination,
                    sequence: own.wrapping_add_signed(spread(sequence)),
                    acknowledgment: other.wrapping_add_signed(spread(acknowledgment)),
                    flags: TcpFlags(flags),
                    window,
                    options: &options.bytes(other),
                    payload: &[0x55; 255][..length.into()],
                })
            }
            &Shape::Udp { ends, length } => {
                let [source, destination] = ends.both();
                compose::udp(source, destination, &[0x55; 255][..length.into()])
            }
            &Shape::Long { ends, may_be_cut, more } => {
                let [source, destination] = ends.both();
                let payload = vec![0x55; 1_200 + 4 * usize::from(more)];
                let mut bytes = compose::udp(source, destination, &payload);
                if may_be_cut && !ends.v6() {
                    bytes[6] = 0;
                    repair(&mut bytes);
                }
                bytes
            }
            &Shape::Message { ends, kind, code, id } => {
                let [(source, _), (destination, _)] = ends.both();
                let rest = compose::echo(id.into(), 1);
                compose::icmp(&Icmp { source, destination, kind, code, rest, body: &[0x55; 24] })
            }
            &Shape::Error { ends, kind, code, about, quoted, fitting } => {
                let [(mut source, _), (mut destination, _)] = ends.both();
                let about = earlier(history, about)?;
                let body = about.get(..quoted.into()).unwrap_or(about);
                let mut kind = kind;
                if fitting && let Ok(packet) = Packet::parse_trusted(about) {
                    (source, destination) = (packet.destination(), packet.source());
                    let kinds =
                        if source.is_ipv4() { [3, 4, 5, 11, 12] } else { [1, 2, 3, 4, 137] };
                    kind = kinds[usize::from(kind) % 5];
                }
                compose::icmp(&Icmp { source, destination, kind, code, rest: [0; 4], body })
            }
            &Shape::Sctp { ends, tag, ref chunks } => {
                let [source, destination] = ends.both();
                let bytes: Vec<u8> = chunks.iter().flat_map(Chunk::bytes).collect();
                compose::sctp(source, destination, tag.into(), &bytes)
            }
            &Shape::Gre { ends, version, key } => {
                let [(source, _), (destination, _)] = ends.both();
                let header = match version {
                    false => [0x20, 0, 8, 0, 0, 0, 0, key],
                    true => [0x30, 1, 0x88, 0x0b, 0, 4, 0, key],
                };
                let payload = [&header[..], &[0, 0, 0, 1, 9, 9, 9, 9]].concat();
                compose::ip(source, destination, protocol::GRE, &payload)
            }
            &Shape::Other { ends, protocol, payload } => {
                let [(source, _), (destination, _)] = ends.both();
                compose::ip(source, destination, protocol, &payload)
            }
            &Shape::Extended { ends, headers, body } => {
                let [(source, _), (destination, _)] = Ends(ends.0 | 1).both();
                compose::ip(source, destination, headers[0], &extensions(headers, body))
            }
            &Shape::Piece { ends, id, offset, more, length, protocol } => {
                piece(ends, id, usize::from(offset) * 8, more, usize::from(length), protocol)
            }
            &Shape::Again { which } => earlier(history, which)?.clone(),
            Shape::Raw(bytes) => bytes.clone(),
        })
    }
}

/// Near at hand for small numbers, further than any window for large ones.
fn spread(at: i8) -> i32 {
    match at {
        -64..=64 => at.into(),
        _ => i32::from(at) * 1_024,
    }
}

/// One of the packets that came before, counted from the latest.
fn earlier(history: &[Vec<u8>], which: u8) -> Option<&Vec<u8>> {
    history.iter().rev().nth(which.into())
}

impl Options {
    /// The option bytes; `other` is where the other side's numbers begin.
    fn bytes(&self, other: u32) -> Vec<u8> {
        match *self {
            Options::None => Vec::new(),
            Options::Opening { scale } => vec![3, 3, scale, 1, 4, 2, 1, 1],
            Options::Timestamps => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1],
            Options::Sack { from, to } => {
                let edge = |at: i8| other.wrapping_add_signed(spread(at)).to_be_bytes();
                [&[1, 1, 5, 10][..], &edge(from), &edge(to)].concat()
            }
            Options::Raw(bytes) => bytes.to_vec(),
        }
    }
}

impl Chunk {
    fn bytes(&self) -> Vec<u8> {
        let length = u16::from(self.length % 64);
        let mut bytes = vec![self.kind, self.flags];
        bytes.extend(length.to_be_bytes());
        bytes.extend(u32::from(self.tag).to_be_bytes());
        bytes.resize(usize::from(length).max(4).next_multiple_of(4), 0);
        bytes
    }
}

/// Three extension headers, of which the first one's kind stands in the IPv6 header, then ports.
fn extensions([_, second, third]: [u8; 3], body: [u8; 8]) -> Vec<u8> {
    let mut bytes = vec![second, 0, body[0], body[1], body[2], body[3], 0, 0];
    bytes.extend([third, body[4] % 2, body[5], body[6], 1, 0, 0, 0]);
    bytes.extend([protocol::UDP, 0, 5, 2, 0, 0, 0, body[7]]);
    bytes.extend([3, 232, 0, 80, 0, 12, 0, 0, 1, 2, 3, 4]);
    bytes
}

/// A fragment of a packet whose bytes are the same at the same place.
fn piece(ends: Ends, id: u8, offset: usize, more: bool, length: usize, protocol: u8) -> Vec<u8> {
    let [(source, source_port), (destination, destination_port)] = ends.both();
    let [a, b] = source_port.to_be_bytes();
    let [c, d] = destination_port.to_be_bytes();
    let byte = |at: usize| [a, b, c, d].get(at).copied().unwrap_or(at as u8);
    let data: Vec<u8> = (offset..offset + length).map(byte).collect();
    let (place, more) = (offset as u16, u16::from(more));
    if ends.v6() {
        let [high, low] = (place | more).to_be_bytes();
        let payload = [&[protocol, 0, high, low, 0, 0, 0, id][..], &data].concat();
        return compose::ip(source, destination, stateward_wire::protocol::FRAGMENT, &payload);
    }
    let mut bytes = compose::ip(source, destination, protocol, &data);
    bytes[4..6].copy_from_slice(&u16::from(id).to_be_bytes());
    bytes[6..8].copy_from_slice(&((place / 8) | (more << 13)).to_be_bytes());
    repair(&mut bytes);
    bytes
}

/// What happens to a packet's bytes on the way.
#[derive(Debug, Arbitrary)]
pub(crate) enum Damage {
    None,
    /// Bytes change; then the IPv4 header checksum is made right again, or is not.
    Bytes {
        edits: [(u8, u8); 2],
        repaired: bool,
    },
    /// The last hop.
    LastHop,
    /// Bytes are missing at the end, and the lengths know it or do not.
    Cut {
        keep: u8,
        told: bool,
    },
    /// Link-layer padding.
    Padding(u8),
    /// The transport checksum is left to the network card.
    Unfinished,
}

impl Damage {
    fn applied(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match *self {
            Damage::None => {}
            Damage::Bytes { edits, repaired } => {
                for (at, value) in edits {
                    if let Some(byte) = bytes.get_mut(usize::from(at)) {
                        *byte = value;
                    }
                }
                if repaired {
                    repair(&mut bytes);
                }
            }
            Damage::LastHop => {
                let at = if bytes.first().is_some_and(|first| first >> 4 == 6) { 7 } else { 8 };
                if let Some(ttl) = bytes.get_mut(at) {
                    *ttl = 1;
                }
                repair(&mut bytes);
            }
            Damage::Cut { keep, told } => {
                bytes.truncate(keep.into());
                if told {
                    shorten(&mut bytes);
                }
            }
            Damage::Padding(length) => bytes.resize(bytes.len() + usize::from(length), 0),
            Damage::Unfinished => unfinish(&mut bytes),
        }
        bytes
    }
}

/// States as length what is there.
fn shorten(bytes: &mut [u8]) {
    let length = bytes.len() as u16;
    match bytes.first().map(|first| first >> 4) {
        Some(4) if length >= 20 => {
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            repair(bytes);
        }
        Some(6) if length >= 40 => {
            bytes[4..6].copy_from_slice(&(length - 40).to_be_bytes());
        }
        _ => {}
    }
}

/// Leaves just the pseudo-header's sum in the checksum field.
fn unfinish(bytes: &mut [u8]) {
    let Ok(packet) = Packet::parse_trusted(bytes) else { return };
    let Some(upper) = packet.upper() else { return };
    let at = match upper.protocol {
        protocol::TCP => upper.offset + 16,
        protocol::UDP | protocol::UDPLITE => upper.offset + 6,
        _ => return,
    };
    let sum = checksum::pseudo_header(packet.network(), upper.protocol, packet.l4_length()).fold();
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
