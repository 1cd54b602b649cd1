//! TCP: `Flags [P.], seq 1:101, ack 5, win 502, options […], length 100`.

use std::fmt::{self, Write};

use stateward_wire::tcp::{self, TcpOption};
use stateward_wire::{TcpFlags, TcpHeader};

use super::Upper;

/// Flags in the order of their bits, FIN first, as tcpdump prints them.
const LETTERS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];
/// Flags that make the sequence number worth showing without payload.
const NUMBERED: TcpFlags = TcpFlags::SYN.union(TcpFlags::FIN).union(TcpFlags::RST);

pub(super) fn describe(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = TcpHeader::view(upper.bytes) else { return out.write_str("[|tcp]") };
    let header_length = header.header_length();
    if header_length < size_of::<TcpHeader>() {
        return write!(out, "tcp [bad hdr length {header_length} - too short, < 20]");
    }
    let Some(length) = upper.length.checked_sub(header_length) else {
        return write!(out, "tcp [bad hdr length {header_length} - too long, > {}]", upper.length);
    };
    flags(header.flags(), out)?;
    if length > 0 || header.flags().intersects(NUMBERED) {
        let sequence = header.sequence.get();
        write!(out, ", seq {sequence}")?;
        if length > 0 {
            write!(out, ":{}", sequence.wrapping_add(length as u32))?;
        }
    }
    if header.flags().ack() {
        write!(out, ", ack {}", header.acknowledgment)?;
    }
    write!(out, ", win {}", header.window)?;
    if header.flags().contains(TcpFlags::URG) {
        write!(out, ", urg {}", header.urgent)?;
    }
    if header_length > size_of::<TcpHeader>() {
        out.write_str(", options [")?;
        options(upper.bytes, header_length, out)?;
        out.write_str("]")?;
    }
    write!(out, ", length {length}")
}

fn flags(flags: TcpFlags, out: &mut dyn Write) -> fmt::Result {
    out.write_str("Flags [")?;
    for (bit, letter) in LETTERS.into_iter().enumerate() {
        if flags.0 >> bit & 1 != 0 {
            out.write_char(letter)?;
        }
    }
    out.write_str(if flags.0 == 0 { "none]" } else { "]" })
}

fn options(l4: &[u8], header_length: usize, out: &mut dyn Write) -> fmt::Result {
    let mut separator = "";
    let mut walked = size_of::<TcpHeader>();
    for option in tcp::options(l4) {
        out.write_str(separator)?;
        separator = ",";
        walked += option_length(&option);
        self::option(&option, out)?;
    }
    // The walk ends where the list says so, where it is illegal, or where the capture was cut.
    match l4.get(walked) {
        _ if walked >= header_length => Ok(()),
        Some(&tcp::option::END) => write!(out, "{separator}eol"),
        Some(_) if l4.len() >= header_length => write!(out, "{separator}[bad opt]"),
        _ => write!(out, "{separator}[|tcp]"),
    }
}

fn option_length(option: &TcpOption<'_>) -> usize {
    match option {
        TcpOption::Nop => 1,
        TcpOption::SackPermitted => 2,
        TcpOption::WindowScale(_) => 3,
        TcpOption::Mss(_) => 4,
        TcpOption::Timestamps { .. } => 10,
        TcpOption::Sack(blocks) => 2 + 8 * blocks.iter().count(),
        TcpOption::Unknown { data, .. } => 2 + data.len(),
    }
}

fn option(option: &TcpOption<'_>, out: &mut dyn Write) -> fmt::Result {
    match option {
        TcpOption::Nop => out.write_str("nop"),
        TcpOption::Mss(size) => write!(out, "mss {size}"),
        TcpOption::WindowScale(shift) => write!(out, "wscale {shift}"),
        TcpOption::SackPermitted => out.write_str("sackOK"),
        TcpOption::Timestamps { value, echo } => write!(out, "TS val {value} ecr {echo}"),
        TcpOption::Sack(blocks) => {
            write!(out, "sack {} ", blocks.iter().count())?;
            blocks.iter().try_for_each(|(left, right)| write!(out, "{{{left}:{right}}}"))
        }
        TcpOption::Unknown { kind, data } => {
            write!(out, "unknown-{kind}")?;
            if !data.is_empty() {
                out.write_str(" 0x")?;
            }
            data.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
    }
}
