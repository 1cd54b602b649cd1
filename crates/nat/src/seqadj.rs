//! TCP's numbers in a packet whose connection has had its payload edited.
//!
//! The sequence number goes by what was added to its own direction, the acknowledgement and the
//! blocks of SACK options by what was added to the other. A packet whose options cannot be walked is
//! refused, and the kernel drops it. Kernel counterpart: `nf_ct_seq_adjust`.

use stateward_conntrack::{Direction, PerDir, SeqAdjust};
use stateward_wire::edit::{Edit, Field};
use stateward_wire::{Layout, TcpHeader, Upper, protocol};

use crate::rewrite::Refusal;

const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;

/// TCP options: the end of them, a filler, SACK.
const END: u8 = 0;
const NOP: u8 = 1;
const SACK: u8 = 5;

/// Moves the numbers of a segment in `direction`.
///
/// # Errors
/// When the kernel drops it: see [`Refusal`].
pub fn adjust(
    bytes: &mut [u8],
    layout: Layout,
    field: Field,
    direction: Direction,
    moved: &PerDir<SeqAdjust>,
) -> Result<(), Refusal> {
    let Some(upper) = layout.upper().filter(|upper| upper.protocol == protocol::TCP) else {
        return Ok(());
    };
    if layout.length() < upper.offset + size_of::<TcpHeader>() {
        return Err(Refusal::Short);
    }
    let Some(header) = bytes.get(upper.offset..).and_then(TcpHeader::view).copied() else {
        return Ok(());
    };
    let (own, other) = (moved[direction], moved[!direction]);
    let sequence = header.sequence.get();
    let sequence = sequence.wrapping_add(own.offset(sequence) as u32);
    let acknowledges = header.flags().ack();
    let acknowledged = moved_back(&other, header.acknowledgment.get());
    let blocks = if acknowledges { blocks(bytes, upper, &header) } else { Ok(Vec::new()) };
    set(bytes, (layout, field), SEQUENCE, sequence);
    if !acknowledges {
        return Ok(());
    }
    set(bytes, (layout, field), ACKNOWLEDGMENT, acknowledged);
    for within in blocks? {
        let at = upper.offset + within;
        if let Some(edge) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let edge = moved_back(&other, u32::from_be_bytes(*edge));
            set(bytes, (layout, field), within, edge);
        }
    }
    Ok(())
}

fn moved_back(other: &SeqAdjust, number: u32) -> u32 {
    number.wrapping_sub(other.acknowledged(number) as u32)
}

fn set(bytes: &mut [u8], (layout, field): (Layout, Field), within: usize, value: u32) {
    let mut edit = Edit::new(bytes, layout).with_field(field);
    edit.set_upper(within, (value >> 16) as u16);
    edit.set_upper(within + 2, value as u16);
}

/// Where in the header the edges of SACK's blocks are.
fn blocks(bytes: &[u8], upper: Upper, header: &TcpHeader) -> Result<Vec<usize>, Refusal> {
    const EDGE: usize = 4;
    let mut edges = Vec::new();
    let (mut at, end) = (size_of::<TcpHeader>(), header.header_length());
    let byte = |at: usize| bytes.get(upper.offset + at).copied();
    while at < end {
        // What a capture has cut has no more of them.
        let Some(kind) = byte(at) else { break };
        match kind {
            END => break,
            NOP => at += 1,
            _ => {
                let length = usize::from(byte(at + 1).unwrap_or_default());
                if at + 1 == end || length < 2 || at + length > end {
                    return Err(Refusal::Options);
                }
                if kind == SACK && length > 2 && (length - 2).is_multiple_of(2 * EDGE) {
                    edges.extend((at + 2..at + length).step_by(EDGE));
                }
                at += length;
            }
        }
    }
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use stateward_wire::checksum::{Verification, verify_transport};
    use stateward_wire::compose::{self, Tcp};
    use stateward_wire::{Packet, TcpFlags};

    use super::*;

    fn segment(flags: TcpFlags, options: &[u8]) -> Vec<u8> {
        compose::tcp(&Tcp {
            source: ([192, 0, 2, 1].into(), 4000),
            destination: ([192, 0, 2, 2].into(), 21),
            sequence: 1000,
            acknowledgment: 2000,
            flags,
            window: 500,
            options,
            payload: b"x",
        })
    }

    fn adjusted(bytes: &mut [u8], direction: Direction) -> Result<(), Refusal> {
        let mut moved = PerDir::<SeqAdjust>::default();
        moved[Direction::Original].note(900, 7);
        moved[Direction::Reply].note(1900, -3);
        let layout = Packet::parse(bytes).unwrap().layout();
        adjust(bytes, layout, Field::Finished, direction, &moved)
    }

    fn numbers(bytes: &[u8]) -> [u32; 2] {
        [24, 28].map(|at| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap()))
    }

    #[test]
    fn numbers_move_by_direction() {
        for (direction, expected) in
            [(Direction::Original, [1007, 2003]), (Direction::Reply, [1000, 1993])]
        {
            let mut bytes = segment(TcpFlags::ACK, &[]);
            adjusted(&mut bytes, direction).unwrap();
            assert_eq!(numbers(&bytes), expected);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(verify_transport(&packet, protocol::TCP), Verification::Good);
        }
        let mut bytes = segment(TcpFlags::RST, &[]);
        adjusted(&mut bytes, Direction::Original).unwrap();
        assert_eq!(numbers(&bytes), [1007, 2000], "nothing is acknowledged");
    }

    #[test]
    fn edges_of_blocks_move_as_acknowledgements_do() {
        let options = [1, 1, 5, 10, 0, 0, 0x08, 0, 0, 0, 0x09, 0];
        let mut bytes = segment(TcpFlags::ACK, &options);
        adjusted(&mut bytes, Direction::Original).unwrap();
        assert_eq!(bytes[44..52], [0, 0, 0x08, 3, 0, 0, 0x09, 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(verify_transport(&packet, protocol::TCP), Verification::Good);
    }

    #[test]
    fn options_that_cannot_be_walked_are_refused() {
        for options in [[5, 1, 0, 0], [8, 10, 0, 0], [1, 1, 1, 8]] {
            let mut bytes = segment(TcpFlags::ACK, &options);
            assert_eq!(adjusted(&mut bytes, Direction::Original), Err(Refusal::Options));
        }
        for options in [[0, 9, 9, 9], [1, 1, 1, 0], [5, 2, 5, 2]] {
            let mut bytes = segment(TcpFlags::ACK, &options);
            assert_eq!(adjusted(&mut bytes, Direction::Original), Ok(()));
        }
    }
}
