//! A connection as the kernel's netlink messages describe it, every attribute decoded.
//!
//! An entry of the table, an event about it and the connection of a logged packet have the same
//! attributes, all of them optional. Which ones a message carries is itself behaviour (an UPDATE
//! has a TCP state only if that changed), therefore [`Entry::present`] names them all, down to the
//! innermost.
//!
//! Counterpart: `linux/netfilter/nfnetlink_conntrack.h`, `enum ctattr_type` and its nested enums.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Attributes};

/// The names of the attributes a message carried: the kernel's without their `CTA_`, such as
/// `TUPLE_ORIG`, `TUPLE_ORIG/PROTO_SRC_PORT`, `PROTOINFO_TCP_STATE`. Padding is left out.
pub type Present = BTreeSet<Cow<'static, str>>;

/// One connection. A field is `None` when the message had no such attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// 2 for IPv4, 10 for IPv6: the message's own header.
    pub family: u8,
    /// The tuple of the packets that opened the connection.
    pub original: Option<Tuple>,
    /// The tuple that answers are expected to have.
    pub reply: Option<Tuple>,
    /// The original tuple of the connection that expected this one.
    pub master: Option<Tuple>,
    /// The status bits.
    pub status: Option<Status>,
    /// Seconds until it expires, rounded down.
    pub timeout: Option<u32>,
    /// What the TCP tracker knows.
    pub tcp: Option<Tcp>,
    /// What the SCTP tracker knows.
    pub sctp: Option<Sctp>,
    /// The connection mark.
    pub mark: Option<u32>,
    /// The zone, when it holds for both directions.
    pub zone: Option<u16>,
    /// The kernel's id of the entry, a keyed hash: it differs from run to run.
    pub id: Option<u32>,
    /// The reference count. It depends on how the entry was looked up: 1 in a dump, 2 when asked
    /// for.
    pub uses: Option<u32>,
    /// Packets and bytes, of the original and the reply direction.
    pub counters: [Option<Counters>; 2],
    /// When it began and ended.
    pub lifetime: Option<Lifetime>,
    /// The name of its helper.
    pub helper: Option<String>,
    /// The label bits, as bytes.
    pub labels: Option<Vec<u8>>,
    /// What NAT helpers did to its sequence numbers, of both directions.
    pub sequence_adjustment: [Option<SequenceAdjustment>; 2],
    /// The security mark.
    pub secmark: Option<u32>,
    /// The security context's name.
    pub security_context: Option<String>,
    /// What the SYN proxy knows.
    pub synproxy: Option<Synproxy>,
    /// When the event was made, ns since 1970.
    pub event_time: Option<u64>,
    /// The names of all attributes the message had.
    pub present: Present,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// What the protocol adds.
    pub key: Key,
    /// The zone, when it holds for this direction only.
    pub zone: Option<u16>,
}

/// What a protocol adds to the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// TCP, UDP, UDP-Lite, SCTP.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// GRE: the call ids of version 1, else zero.
    Keys {
        /// Source key.
        source: u16,
        /// Destination key.
        destination: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// Identifier.
        id: u16,
    },
    /// Any other protocol.
    None,
}

/// The TCP tracker's state, and of both directions the window scale and the flags with their mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tcp {
    /// The state.
    pub state: Option<TcpState>,
    /// Window scales.
    pub window_scale: [Option<u8>; 2],
    /// Flags and their mask.
    pub flags: [Option<(u8, u8)>; 2],
}

/// The SCTP tracker's state and both verification tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sctp {
    /// The state.
    pub state: Option<SctpState>,
    /// Verification tags.
    pub tags: [Option<u32>; 2],
}

/// Packets and bytes of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP headers included.
    pub bytes: u64,
}

/// Begin and end, ns since 1970; the end is only in DESTROY.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// When the entry was confirmed.
    pub start: Option<u64>,
    /// When it was destroyed.
    pub stop: Option<u64>,
}

/// How far one direction's sequence numbers are shifted, and from where on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceAdjustment {
    /// Sequence number of the latest shift.
    pub position: u32,
    /// Shift of what comes before it.
    pub before: i32,
    /// Shift of what comes after it.
    pub after: i32,
}

/// The SYN proxy's numbers of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Synproxy {
    /// Initial sequence number.
    pub initial_sequence: u32,
    /// Initial timestamp.
    pub initial_timestamp: u32,
    /// Timestamp offset.
    pub timestamp_offset: u32,
}

/// The status bits of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Names of the bits, lowest first.
    const NAMES: [&str; 16] = [
        "EXPECTED",
        "SEEN_REPLY",
        "ASSURED",
        "CONFIRMED",
        "SRC_NAT",
        "DST_NAT",
        "SEQ_ADJUST",
        "SRC_NAT_DONE",
        "DST_NAT_DONE",
        "DYING",
        "FIXED_TIMEOUT",
        "TEMPLATE",
        "NAT_CLASH",
        "HELPER",
        "OFFLOAD",
        "HW_OFFLOAD",
    ];

    /// The names of the bits that are set.
    pub fn names(self) -> Vec<&'static str> {
        (0u32..)
            .zip(Self::NAMES)
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, n)| n)
            .collect()
    }

    /// Whether the bit of this name is set.
    pub fn has(self, name: &str) -> bool {
        self.names().contains(&name)
    }
}

/// A state of the TCP tracker, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpState(pub u8);

impl TcpState {
    const NAMES: [&str; 10] = [
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ];

    /// Its name as the conntrack tool prints it.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("?")
    }
}

/// A state of the SCTP tracker, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SctpState(pub u8);

impl SctpState {
    const NAMES: [&str; 10] = [
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
        "HEARTBEAT_ACKED",
    ];

    /// Its name as the conntrack tool prints it.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("?")
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src={} dst={} proto={}", self.source, self.destination, self.protocol)?;
        match self.key {
            Key::Ports { source, destination } => write!(f, " sport={source} dport={destination}"),
            Key::Keys { source, destination } => {
                write!(f, " srckey={source:#x} dstkey={destination:#x}")
            }
            Key::Icmp { kind, code, id } => write!(f, " type={kind} code={code} id={id}"),
            Key::None => Ok(()),
        }
    }
}

impl fmt::Display for Entry {
    /// For people: timeout, state, tuples and status; the rest is in the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(timeout) = self.timeout {
            write!(f, "{timeout} ")?;
        }
        if let Some(state) = self.state() {
            write!(f, "{state} ")?;
        }
        for tuple in [self.original, self.reply].into_iter().flatten() {
            write!(f, "{tuple} ")?;
        }
        write!(f, "[{}]", self.status.unwrap_or_default().names().join(","))
    }
}

impl Entry {
    /// The name of its TCP or SCTP state, if the message had one.
    pub fn state(&self) -> Option<&'static str> {
        let tcp = self.tcp.and_then(|tcp| tcp.state).map(TcpState::name);
        tcp.or_else(|| self.sctp.and_then(|sctp| sctp.state).map(SctpState::name))
    }

    /// Decodes the attributes of one message about a connection of `family`.
    pub(super) fn decode(family: u8, attributes: Attributes<'_>) -> Self {
        let mut entry = Self { family, ..Self::default() };
        for attribute in attributes {
            entry.add(&attribute);
        }
        entry
    }

    fn add(&mut self, attribute: &Attribute<'_>) {
        let Some(name) = attribute_name(attribute.kind) else {
            self.present.insert(Cow::Owned(format!("unknown {}", attribute.kind)));
            return;
        };
        self.present.insert(Cow::Borrowed(name));
        let present = &mut self.present;
        match name {
            "TUPLE_ORIG" => self.original = tuple(attribute, name, present),
            "TUPLE_REPLY" => self.reply = tuple(attribute, name, present),
            "TUPLE_MASTER" => self.master = tuple(attribute, name, present),
            "STATUS" => self.status = attribute.be32().map(Status),
            "TIMEOUT" => self.timeout = attribute.be32(),
            "PROTOINFO" => self.add_protocol(attribute),
            "MARK" => self.mark = attribute.be32(),
            "ZONE" => self.zone = attribute.be16(),
            "ID" => self.id = attribute.be32(),
            "USE" => self.uses = attribute.be32(),
            "COUNTERS_ORIG" => self.counters[0] = Some(counters(attribute)),
            "COUNTERS_REPLY" => self.counters[1] = Some(counters(attribute)),
            "TIMESTAMP" => self.lifetime = Some(lifetime(attribute, present)),
            "HELP" => self.helper = first(attribute, 1).map(|name| name.text()),
            "LABELS" => self.labels = Some(attribute.payload.to_vec()),
            "SEQ_ADJ_ORIG" => self.sequence_adjustment[0] = Some(adjustment(attribute)),
            "SEQ_ADJ_REPLY" => self.sequence_adjustment[1] = Some(adjustment(attribute)),
            "SECMARK" => self.secmark = attribute.be32(),
            "SECCTX" => self.security_context = first(attribute, 1).map(|name| name.text()),
            "SYNPROXY" => self.synproxy = Some(synproxy(attribute)),
            "TIMESTAMP_EVENT" => self.event_time = attribute.be64(),
            _ => {}
        }
    }

    fn add_protocol(&mut self, attribute: &Attribute<'_>) {
        for protocol in attribute.nested() {
            match protocol.kind {
                1 => self.tcp = Some(tcp(&protocol, &mut self.present)),
                3 => self.sctp = Some(sctp(&protocol, &mut self.present)),
                kind => {
                    self.present.insert(Cow::Owned(format!("PROTOINFO unknown {kind}")));
                }
            }
        }
    }
}

const fn attribute_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "TUPLE_ORIG",
        2 => "TUPLE_REPLY",
        3 => "STATUS",
        4 => "PROTOINFO",
        5 => "HELP",
        6 => "NAT_SRC",
        7 => "TIMEOUT",
        8 => "MARK",
        9 => "COUNTERS_ORIG",
        10 => "COUNTERS_REPLY",
        11 => "USE",
        12 => "ID",
        13 => "NAT_DST",
        14 => "TUPLE_MASTER",
        15 => "SEQ_ADJ_ORIG",
        16 => "SEQ_ADJ_REPLY",
        17 => "SECMARK",
        18 => "ZONE",
        19 => "SECCTX",
        20 => "TIMESTAMP",
        21 => "MARK_MASK",
        22 => "LABELS",
        23 => "LABELS_MASK",
        24 => "SYNPROXY",
        27 => "TIMESTAMP_EVENT",
        _ => return None,
    })
}

/// Decodes a tuple and notes under `name` which of its attributes were there. A tuple without both
/// addresses or without a protocol (an expectation's mask has one, though) is none.
pub(super) fn tuple(
    attribute: &Attribute<'_>,
    name: &'static str,
    present: &mut Present,
) -> Option<Tuple> {
    let (mut source, mut destination, mut zone) = (None, None, None);
    let mut protocol = ProtocolPart::default();
    for part in attribute.nested() {
        match part.kind {
            1 => (source, destination) = addresses(&part),
            2 => protocol = ProtocolPart::decode(&part, name, present),
            3 => {
                present.insert(Cow::Owned(format!("{name}/ZONE")));
                zone = part.be16();
            }
            kind => {
                present.insert(Cow::Owned(format!("{name}/unknown {kind}")));
            }
        }
    }
    Some(Tuple {
        source: source?,
        destination: destination?,
        protocol: protocol.number?,
        key: protocol.key(),
        zone,
    })
}

fn addresses(attribute: &Attribute<'_>) -> (Option<IpAddr>, Option<IpAddr>) {
    let (mut source, mut destination) = (None, None);
    for part in attribute.nested() {
        let v4 = || part.payload.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b)));
        let v6 = || part.payload.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b)));
        match part.kind {
            1 => source = v4(),
            2 => destination = v4(),
            3 => source = v6(),
            4 => destination = v6(),
            _ => {}
        }
    }
    (source, destination)
}

/// The protocol's attributes of a tuple, before it is known which go together.
#[derive(Default)]
struct ProtocolPart {
    number: Option<u8>,
    ports: [Option<u16>; 2],
    icmp: [Option<u8>; 2],
    icmp_id: Option<u16>,
}

const GRE: u8 = 47;

impl ProtocolPart {
    fn decode(attribute: &Attribute<'_>, name: &'static str, present: &mut Present) -> Self {
        let mut part = Self::default();
        for field in attribute.nested() {
            let field_name = match field.kind {
                1 => "PROTO_NUM",
                2 => "PROTO_SRC_PORT",
                3 => "PROTO_DST_PORT",
                4 => "PROTO_ICMP_ID",
                5 => "PROTO_ICMP_TYPE",
                6 => "PROTO_ICMP_CODE",
                7 => "PROTO_ICMPV6_ID",
                8 => "PROTO_ICMPV6_TYPE",
                9 => "PROTO_ICMPV6_CODE",
                _ => "unknown",
            };
            present.insert(Cow::Owned(format!("{name}/{field_name}")));
            match field.kind {
                1 => part.number = field.u8(),
                2 => part.ports[0] = field.be16(),
                3 => part.ports[1] = field.be16(),
                4 | 7 => part.icmp_id = field.be16(),
                5 | 8 => part.icmp[0] = field.u8(),
                6 | 9 => part.icmp[1] = field.u8(),
                _ => {}
            }
        }
        part
    }

    fn key(&self) -> Key {
        if let [Some(kind), Some(code)] = self.icmp {
            return Key::Icmp { kind, code, id: self.icmp_id.unwrap_or_default() };
        }
        match self.ports {
            [Some(source), Some(destination)] if self.number == Some(GRE) => {
                Key::Keys { source, destination }
            }
            [Some(source), Some(destination)] => Key::Ports { source, destination },
            _ => Key::None,
        }
    }
}

fn tcp(attribute: &Attribute<'_>, present: &mut Present) -> Tcp {
    let mut tcp = Tcp::default();
    for part in attribute.nested() {
        let pair = || part.payload.first_chunk::<2>().map(|&[flags, mask]| (flags, mask));
        let name = match part.kind {
            1 => "PROTOINFO_TCP_STATE",
            2 => "PROTOINFO_TCP_WSCALE_ORIGINAL",
            3 => "PROTOINFO_TCP_WSCALE_REPLY",
            4 => "PROTOINFO_TCP_FLAGS_ORIGINAL",
            5 => "PROTOINFO_TCP_FLAGS_REPLY",
            _ => "PROTOINFO_TCP unknown",
        };
        present.insert(Cow::Borrowed(name));
        match part.kind {
            1 => tcp.state = part.u8().map(TcpState),
            2 => tcp.window_scale[0] = part.u8(),
            3 => tcp.window_scale[1] = part.u8(),
            4 => tcp.flags[0] = pair(),
            5 => tcp.flags[1] = pair(),
            _ => {}
        }
    }
    tcp
}

fn sctp(attribute: &Attribute<'_>, present: &mut Present) -> Sctp {
    let mut sctp = Sctp::default();
    for part in attribute.nested() {
        let name = match part.kind {
            1 => "PROTOINFO_SCTP_STATE",
            2 => "PROTOINFO_SCTP_VTAG_ORIGINAL",
            3 => "PROTOINFO_SCTP_VTAG_REPLY",
            _ => "PROTOINFO_SCTP unknown",
        };
        present.insert(Cow::Borrowed(name));
        match part.kind {
            1 => sctp.state = part.u8().map(SctpState),
            2 => sctp.tags[0] = part.be32(),
            3 => sctp.tags[1] = part.be32(),
            _ => {}
        }
    }
    sctp
}

fn counters(attribute: &Attribute<'_>) -> Counters {
    let field = |kind| first(attribute, kind).and_then(|field| field.be64()).unwrap_or_default();
    Counters { packets: field(1), bytes: field(2) }
}

fn lifetime(attribute: &Attribute<'_>, present: &mut Present) -> Lifetime {
    let mut field = |kind, name| {
        let time = first(attribute, kind).and_then(|field| field.be64());
        if time.is_some() {
            present.insert(Cow::Borrowed(name));
        }
        time
    };
    Lifetime { start: field(1, "TIMESTAMP_START"), stop: field(2, "TIMESTAMP_STOP") }
}

fn adjustment(attribute: &Attribute<'_>) -> SequenceAdjustment {
    let field = |kind| first(attribute, kind).and_then(|field| field.be32()).unwrap_or_default();
    SequenceAdjustment {
        position: field(1),
        before: field(2).cast_signed(),
        after: field(3).cast_signed(),
    }
}

fn synproxy(attribute: &Attribute<'_>) -> Synproxy {
    let field = |kind| first(attribute, kind).and_then(|field| field.be32()).unwrap_or_default();
    Synproxy { initial_sequence: field(1), initial_timestamp: field(2), timestamp_offset: field(3) }
}

/// The first attribute of this kind inside `attribute`.
pub(super) fn first<'a>(attribute: &Attribute<'a>, kind: u16) -> Option<Attribute<'a>> {
    attribute.nested().find(|inner| inner.kind == kind)
}
