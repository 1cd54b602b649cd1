//! The protocols that need a line or two each: UDP, UDP-Lite, DCCP, GRE, ESP, AH, IGMP.

use std::fmt::{self, Write};
use std::net::Ipv4Addr;

use stateward_wire::gre::{self, GreHeader, PptpHeader};
use stateward_wire::ipsec::{AhHeader, EspHeader};
use stateward_wire::{DccpHeader, UdpHeader, protocol};

use super::Upper;

/// EtherTypes of what GRE carries.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

pub(super) fn udp(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    const HEADER: usize = size_of::<UdpHeader>();
    let Some(header) = UdpHeader::view(upper.bytes) else { return out.write_str("[|udp]") };
    let stated = usize::from(header.length.get());
    match stated.checked_sub(HEADER) {
        // A superpacket's length field can be zero.
        None if stated == 0 => write!(out, "UDP, length {}", upper.length.saturating_sub(HEADER)),
        None => write!(out, "UDP, bad length {stated} < 8"),
        Some(length) if stated > upper.length && !upper.fragment => {
            write!(out, "UDP, bad length {length} > {}", upper.length.saturating_sub(HEADER))
        }
        Some(length) => write!(out, "UDP, length {length}"),
    }
}

pub(super) fn udplite(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    const HEADER: usize = size_of::<UdpHeader>();
    let Some(header) = UdpHeader::view(upper.bytes) else { return out.write_str("[|udplite]") };
    let length = upper.length.saturating_sub(HEADER);
    match header.coverage(upper.length) {
        Some(coverage) => write!(out, "UDP-Lite, coverage {coverage}, length {length}"),
        None => write!(out, "UDP-Lite, bad coverage {}, length {length}", header.length),
    }
}

/// Packet types by number; what is above is reserved.
const DCCP_TYPES: [&str; 10] = [
    "DCCP-Request",
    "DCCP-Response",
    "DCCP-Data",
    "DCCP-Ack",
    "DCCP-DataAck",
    "DCCP-CloseReq",
    "DCCP-Close",
    "DCCP-Reset",
    "DCCP-Sync",
    "DCCP-SyncAck",
];

pub(super) fn dccp(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = DccpHeader::view(upper.bytes) else { return out.write_str("[|dccp]") };
    out.write_str("DCCP ")?;
    match DCCP_TYPES.get(usize::from(header.kind())) {
        Some(name) => out.write_str(name)?,
        None => write!(out, "packet-type-{}", header.kind())?,
    }
    let short = u32::from(header.sequence_high) << 16 | u32::from(header.sequence.get());
    let low = upper.bytes.get(size_of::<DccpHeader>()..).and_then(<[u8]>::first_chunk);
    match low.filter(|_| header.extended()) {
        // The sixteen bits after the type are the high ones of forty-eight.
        Some(low) => {
            let high = u64::from(header.sequence.get());
            write!(out, " seq {}", high << 32 | u64::from(u32::from_be_bytes(*low)))?;
        }
        None => write!(out, " seq {short}")?,
    }
    write!(out, ", length {}", upper.length.saturating_sub(header.header_length()))
}

pub(super) fn gre(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = GreHeader::view(upper.bytes) else { return out.write_str("[|gre]") };
    match header.version() {
        0 => gre_plain(upper, header, out),
        1 => gre_pptp(upper, out),
        version => write!(out, "GREv{version}, length {}", upper.length),
    }
}

fn gre_plain(upper: &Upper<'_>, header: &GreHeader, out: &mut dyn Write) -> fmt::Result {
    out.write_str("GREv0")?;
    let Some(options) = gre::options(upper.bytes) else {
        return write!(out, ", length {}", upper.length);
    };
    if let Some(key) = options.key {
        write!(out, ", key={key:#x}")?;
    }
    if let Some(sequence) = options.sequence {
        write!(out, ", seq {sequence}")?;
    }
    write!(out, ", length {}: ", upper.length)?;
    let payload = upper.bytes.get(options.payload_offset..).unwrap_or_default();
    match header.protocol.get() {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => upper.inner(payload, out),
        other => write!(out, "gre-proto-{other:#x}"),
    }
}

fn gre_pptp(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = PptpHeader::view(upper.bytes) else { return out.write_str("[|gre]") };
    write!(out, "GREv1, call {}", header.call_id)?;
    if let Some((sequence, acknowledgment)) = PptpHeader::numbers(upper.bytes) {
        if let Some(sequence) = sequence {
            write!(out, ", seq {sequence}")?;
        }
        if let Some(acknowledgment) = acknowledgment {
            write!(out, ", ack {acknowledgment}")?;
        }
    }
    match header.payload_length.get() {
        0 => write!(out, ", no-payload, length {}", upper.length),
        _ => write!(out, ", length {}: PPP", upper.length),
    }
}

pub(super) fn esp(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = EspHeader::view(upper.bytes) else { return out.write_str("[|esp]") };
    let (spi, sequence) = (header.spi.get(), header.sequence.get());
    write!(out, "ESP(spi={spi:#010x},seq={sequence:#x}), length {}", upper.length)
}

/// Only IPv4 comes here: behind IPv6 an authentication header is one of the extension headers.
pub(super) fn ah(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    ah_numbers(upper.bytes, out)?;
    let Some(header) = AhHeader::view(upper.bytes) else { return Ok(()) };
    let length = (usize::from(header.length) + 2) * 4;
    let Some(bytes) = upper.bytes.get(length..) else { return out.write_str(" [|ah]") };
    out.write_char(' ')?;
    let (protocol, stated) = (header.next_header, upper.length.saturating_sub(length));
    if protocol == protocol::AH {
        // One is enough: a chain of them could be as long as the packet.
        return write!(out, "AH, length {stated}");
    }
    Upper { protocol, bytes, length: stated, ..*upper }.describe(out)
}

/// `AH(spi=…,seq=…):`
pub(super) fn ah_numbers(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    match AhHeader::view(bytes) {
        Some(header) => {
            write!(out, "AH(spi={:#010x},seq={:#x}):", header.spi.get(), header.sequence.get())
        }
        None => out.write_str("[|ah]"),
    }
}

/// Query, and the reports and the leave of versions 1 to 3.
pub(super) fn igmp(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    /// A query longer than this is of version 3.
    const SHORT: usize = 8;
    let Some([kind, code, _, _, group @ ..]) = upper.bytes.first_chunk::<SHORT>() else {
        return out.write_str("[|igmp]");
    };
    let group = Ipv4Addr::from_octets(*group);
    match kind {
        0x11 if upper.length > SHORT => out.write_str("igmp query v3")?,
        0x11 => write!(out, "igmp query v{}", if *code == 0 { 1 } else { 2 })?,
        0x12 => return write!(out, "igmp v1 report {group}"),
        0x16 => return write!(out, "igmp v2 report {group}"),
        0x17 => return write!(out, "igmp leave {group}"),
        0x22 => {
            let [.., high, low] = group.octets();
            let records = u16::from_be_bytes([high, low]);
            return write!(out, "igmp v3 report, {records} group record(s)");
        }
        other => return write!(out, "igmp-{other}"),
    }
    match group.is_unspecified() {
        true => Ok(()),
        false => write!(out, " [gaddr {group}]"),
    }
}
