//! SCTP: every chunk with the fields that a state machine looks at.

use std::fmt::{self, Write};

use stateward_wire::SctpHeader;
use stateward_wire::sctp::{self, Chunk, InitValue, chunk};

use super::Upper;

/// Chunks shown; a packet of many tiny ones would make an endless line.
const SHOWN: usize = 16;

pub(super) fn describe(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    out.write_str("sctp")?;
    if SctpHeader::view(upper.bytes).is_none() {
        return out.write_str(" [|sctp]");
    }
    let mut chunks = sctp::chunks(upper.bytes);
    for (number, chunk) in chunks.by_ref().take(SHOWN).enumerate() {
        let separator = if number == 0 { "" } else { "," };
        write!(out, "{separator} ({}) ", number + 1)?;
        self::chunk(&chunk, out)?;
    }
    if chunks.is_illegal() {
        return out.write_str(" [|sctp]");
    }
    if chunks.next().is_some() { out.write_str(", …") } else { Ok(()) }
}

fn chunk(chunk: &Chunk<'_>, out: &mut dyn Write) -> fmt::Result {
    match name(chunk.kind) {
        Some(name) => write!(out, "[{name}]")?,
        None => write!(out, "[Unknown chunk type: {:#x}]", chunk.kind)?,
    }
    match chunk.kind {
        chunk::DATA => data(chunk, out),
        chunk::INIT | chunk::INIT_ACK => init(chunk, out),
        chunk::SACK => sack(chunk, out),
        chunk::SHUTDOWN => match word(chunk.value, 0) {
            Some(tsn) => write!(out, " [cum ack {tsn}]"),
            None => Ok(()),
        },
        chunk::ABORT | chunk::SHUTDOWN_COMPLETE if chunk.flags & chunk::TAG_REFLECTED != 0 => {
            out.write_str(" (T)")
        }
        _ => Ok(()),
    }
}

fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        chunk::DATA => "DATA",
        chunk::INIT => "INIT",
        chunk::INIT_ACK => "INIT ACK",
        chunk::SACK => "SACK",
        chunk::HEARTBEAT => "HB REQ",
        chunk::HEARTBEAT_ACK => "HB ACK",
        chunk::ABORT => "ABORT",
        chunk::SHUTDOWN => "SHUTDOWN",
        chunk::SHUTDOWN_ACK => "SHUTDOWN ACK",
        chunk::ERROR => "OP ERR",
        chunk::COOKIE_ECHO => "COOKIE ECHO",
        chunk::COOKIE_ACK => "COOKIE ACK",
        chunk::ECN_ECHO => "ECN ECHO",
        chunk::CWR => "CWR",
        chunk::SHUTDOWN_COMPLETE => "SHUTDOWN COMPLETE",
        chunk::AUTH => "AUTH",
        chunk::ASCONF_ACK => "ASCONF-ACK",
        chunk::RECONF => "RE-CONFIG",
        chunk::FORWARD_TSN => "FORWARD CUM TSN",
        chunk::ASCONF => "ASCONF",
        _ => return None,
    })
}

fn init(chunk: &Chunk<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(init) = InitValue::view(chunk.value) else { return Ok(()) };
    let InitValue { initiate_tag, window, outbound_streams, inbound_streams, initial_tsn } = init;
    write!(out, " [init tag: {initiate_tag}] [rwnd: {window}] [OS: {outbound_streams}]")?;
    write!(out, " [MIS: {inbound_streams}] [init TSN: {initial_tsn}]")
}

fn data(chunk: &Chunk<'_>, out: &mut dyn Write) -> fmt::Result {
    let mut separator = " ";
    for (bit, letter) in [(4, "(U)"), (2, "(B)"), (1, "(E)")] {
        if chunk.flags & bit != 0 {
            write!(out, "{separator}{letter}")?;
            separator = "";
        }
    }
    let value = chunk.value;
    let (Some(tsn), Some(stream), Some(protocol)) =
        (word(value, 0), word(value, 4), word(value, 8))
    else {
        return Ok(());
    };
    let (stream, sequence) = (stream >> 16, stream & 0xffff);
    write!(out, " [TSN: {tsn}] [SID: {stream}] [SSEQ {sequence}] [PPID {protocol:#x}]")
}

fn sack(chunk: &Chunk<'_>, out: &mut dyn Write) -> fmt::Result {
    let value = chunk.value;
    let (Some(tsn), Some(window), Some(counts)) = (word(value, 0), word(value, 4), word(value, 8))
    else {
        return Ok(());
    };
    let (gaps, duplicates) = (counts >> 16, counts & 0xffff);
    write!(out, " [cum ack {tsn}] [a_rwnd {window}] [#gap acks {gaps}] [#dup tsns {duplicates}]")
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}
