//! One line for people about a packet.

use std::fmt::Write;

use stateward_wire::{
    IcmpHeader, Network, Packet, SctpHeader, TcpFlags, TcpHeader, UdpHeader, protocol,
};

/// What a packet is, in a few words.
pub(super) fn describe(bytes: &[u8]) -> String {
    let mut text = String::new();
    match Packet::parse(bytes) {
        Ok(packet) => line(&mut text, &packet),
        Err(malformed) => write!(text, "malformed: {malformed}"),
    }
    // Writing into a string does not fail.
    .unwrap_or_default();
    text
}

fn line(text: &mut String, packet: &Packet<'_>) -> std::fmt::Result {
    write!(text, "{} > {}", packet.source(), packet.destination())?;
    if let Some(fragment) = packet.fragment() {
        write!(text, " fragment {}+{}", fragment.id, fragment.offset)?;
        write!(text, "{}", if fragment.more { "+" } else { "" })?;
    }
    if packet.ttl() != 64 {
        write!(text, " ttl {}", packet.ttl())?;
    }
    if let Network::V4(header) = packet.network()
        && header.header_length() != 20
    {
        write!(text, " options")?;
    }
    let Some(upper) = packet.upper() else { return write!(text, " no upper layer") };
    let l4 = packet.l4();
    match upper.protocol {
        protocol::TCP => tcp(text, l4),
        protocol::UDP | protocol::UDPLITE => {
            let Some(header) = UdpHeader::view(l4) else { return write!(text, " udp, cut") };
            let name = if upper.protocol == protocol::UDP { "udp" } else { "udplite" };
            write!(text, " {name} {} > {}", header.source_port, header.destination_port)?;
            write!(text, " field {} of {}", header.length, l4.len())
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let Some(header) = IcmpHeader::view(l4) else { return write!(text, " icmp, cut") };
            write!(text, " icmp type {} code {}", header.kind, header.code)
        }
        protocol::SCTP => {
            let Some(header) = SctpHeader::view(l4) else { return write!(text, " sctp, cut") };
            write!(text, " sctp {} > {}", header.source_port, header.destination_port)?;
            write!(text, " tag {:#x}", header.verification_tag)?;
            write!(text, " first chunk {:?}", l4.get(12))
        }
        number => write!(text, " protocol {number}, {} bytes", l4.len()),
    }
}

fn tcp(text: &mut String, l4: &[u8]) -> std::fmt::Result {
    let Some(header) = TcpHeader::view(l4) else { return write!(text, " tcp, cut") };
    write!(text, " tcp {} > {} ", header.source_port, header.destination_port)?;
    let flags = header.flags();
    let names = [
        (TcpFlags::FIN, 'F'),
        (TcpFlags::SYN, 'S'),
        (TcpFlags::RST, 'R'),
        (TcpFlags::PSH, 'P'),
        (TcpFlags::ACK, 'A'),
        (TcpFlags::URG, 'U'),
    ];
    for (flag, name) in names {
        if flags.0 & flag.0 != 0 {
            text.push(name);
        }
    }
    let length = l4.len().saturating_sub(header.header_length());
    write!(text, " seq {} ack {} win {}", header.sequence, header.acknowledgment, header.window)?;
    write!(text, " length {length} header {}", header.header_length())
}
