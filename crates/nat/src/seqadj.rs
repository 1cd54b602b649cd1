//! TCP's numbers in a packet whose connection has had its payload edited.
//!
//! The sequence number goes by what was added to its own direction, the acknowledgement and the
//! blocks of SACK options by what was added to the other. A packet whose options cannot be walked is
//! refused, and the kernel drops it. Kernel counterpart: `nf_ct_seq_adjust`.

use stateward_conntrack::{Direction, PerDir, SeqAdjust};
use stateward_wire::edit::{Edit, Field};
use stateward_wire::{Layout, Packet, TcpHeader, protocol};

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
    set(bytes, (layout, field), SEQUENCE, sequence);
    if !acknowledges {
        return Ok(());
    }
    set(bytes, (layout, field), ACKNOWLEDGMENT, acknowledged);
    move_blocks(bytes, (layout, field), upper.offset, &other)
}

/// Bytes from the packet's beginning that [`adjust`] wants to write to.
pub fn written(packet: &Packet<'_>) -> usize {
    let offset = packet.layout().upper().map_or(0, |upper| upper.offset);
    let Some(header) = TcpHeader::view(packet.l4()) else { return 0 };
    let options = if header.flags().ack() { header.header_length() } else { 0 };
    offset + options.max(size_of::<TcpHeader>())
}

fn moved_back(other: &SeqAdjust, number: u32) -> u32 {
    number.wrapping_sub(other.acknowledged(number) as u32)
}

fn set(bytes: &mut [u8], (layout, field): (Layout, Field), within: usize, value: u32) {
    let mut edit = Edit::new(bytes, layout).with_field(field);
    edit.set_upper(within, (value >> 16) as u16);
    edit.set_upper(within + 2, value as u16);
}

/// Moves the edges of SACK's blocks, as acknowledgements are.
fn move_blocks(
    bytes: &mut [u8],
    how: (Layout, Field),
    offset: usize,
    other: &SeqAdjust,
) -> Result<(), Refusal> {
    const EDGE: usize = 4;
    let header = bytes.get(offset..).and_then(TcpHeader::view);
    let end = header.map_or(0, TcpHeader::header_length);
    let mut at = size_of::<TcpHeader>();
    while at < end {
        // What a capture has cut has no more of them.
        let Some(&kind) = bytes.get(offset + at) else { break };
        match kind {
            END => break,
            NOP => at += 1,
            _ if at + 1 == end => return Err(Refusal::Options),
            _ => {
                let Some(&length) = bytes.get(offset + at + 1) else { break };
                let length = usize::from(length);
                if length < 2 || at + length > end {
                    return Err(Refusal::Options);
                }
                if kind == SACK && length > 2 && (length - 2).is_multiple_of(2 * EDGE) {
                    for within in (at + 2..at + length).step_by(EDGE) {
                        let edge = bytes.get(offset + within..).and_then(|rest| rest.first_chunk());
                        let Some(&edge) = edge else { return Ok(()) };
                        let edge = moved_back(other, u32::from_be_bytes(edge));
                        set(bytes, how, within, edge);
                    }
                }
                at += length;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stateward_wire::TcpFlags;
    use stateward_wire::checksum::{Verification, verify_transport};
    use stateward_wire::compose::{self, Tcp};

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

    #[test]
    fn what_a_capture_has_cut_moves_as_far_as_it_is_there() {
        let options = [1, 1, 5, 10, 0, 0, 0x08, 0, 0, 0, 0x09, 0];
        let whole = segment(TcpFlags::ACK, &options);
        let mut expected = whole.clone();
        adjusted(&mut expected, Direction::Original).unwrap();
        let mut moved = PerDir::<SeqAdjust>::default();
        moved[Direction::Original].note(900, 7);
        moved[Direction::Reply].note(1900, -3);
        for length in 40..=whole.len() {
            let mut bytes = whole[..length].to_vec();
            let result = adjusted_cut(&mut bytes, &moved);
            assert_eq!(result, Ok(()), "{length} bytes are there");
            assert_eq!(numbers(&bytes), [1007, 2003]);
            for edge in [44..48, 48..52] {
                let there = edge.end <= length;
                let from = if there { &expected } else { &whole };
                let end = edge.end.min(length);
                let start = edge.start.min(end);
                assert_eq!(bytes[start..end], from[start..end], "{length} bytes are there");
            }
        }
        let mut bytes = segment(TcpFlags::ACK, &[1, 1, 1, 8]);
        bytes.truncate(44);
        assert_eq!(adjusted_cut(&mut bytes, &moved), Err(Refusal::Options), "no room for a length");
    }

    fn adjusted_cut(bytes: &mut [u8], moved: &PerDir<SeqAdjust>) -> Result<(), Refusal> {
        let layout = Packet::parse_cut(bytes).unwrap().layout();
        adjust(bytes, layout, Field::Finished, Direction::Original, moved)
    }
}
