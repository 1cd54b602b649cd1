//! Options of the network header: what a packet may not say in them.
//!
//! IPv6's hop-by-hop options are read on arrival, before any hook; IPv4's after PREROUTING, once it
//! is known where the packet goes. Most mean nothing here. Those that contradict their lengths end
//! the packet, as does an IPv4 source route (accept_source_route 0) and an IPv6 option that its
//! upper bits forbid to overlook. What a router would write into options (routes, timestamps) is
//! not written: PARITY.md. But what comes after the end of IPv4's options is zero from there on.
//!
//! Kernel counterpart: `ip_options_compile`, `ip6_parse_tlv`. Sources: RFC 791, 3.1; RFC 8200, 4.2;
//! RFC 2675 (jumbograms); RFC 4942, 2.1.9.5 (padding).

use stateward_wire::{Ipv4Header, Network as Header, Packet, U16, checksum, protocol};

use crate::route::RoutingDrop;

/// The place in a packet that its sender is told of: the ICMP code and the offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem {
    /// ICMPv6: 0 for a wrong field, 2 for an option that must be known; ICMP: 0.
    pub code: u8,
    /// Bytes from the start of the packet.
    pub pointer: u32,
}

const fn wrong(problem: Option<Problem>) -> RoutingDrop {
    RoutingDrop::Options { problem }
}

const fn wrong_at(pointer: usize) -> RoutingDrop {
    wrong(Some(Problem { code: 0, pointer: pointer as u32 }))
}

/// IPv4's options, if the packet has any.
#[inline]
pub(crate) fn after_routing(packet: &Packet<'_>) -> Result<(), RoutingDrop> {
    const FIXED: usize = 20;
    match packet.network() {
        Header::V4(header) if header.header_length() > FIXED => {
            v4(packet.bytes().get(FIXED..header.header_length()).unwrap_or_default(), FIXED)
        }
        _ => Ok(()),
    }
}

/// IPv6's hop-by-hop options, if the packet has any.
#[inline]
pub(crate) fn on_arrival(packet: &Packet<'_>) -> Result<(), RoutingDrop> {
    const FIXED: usize = 40;
    match packet.network() {
        Header::V6(header) if header.next_header == protocol::HOP_BY_HOP => {
            hop_by_hop(packet, packet.bytes().get(FIXED..).unwrap_or_default(), FIXED)
        }
        _ => Ok(()),
    }
}

/// Makes zero what comes after the end of IPv4's options, which are right, in a packet that goes on.
/// True if the header is to be summed up again, which happens behind FORWARD.
#[inline]
pub(crate) fn clear_after_end(packet: &mut [u8]) -> bool {
    /// IPv4, and a header without options.
    const PLAIN: u8 = 0x45;
    packet.first().is_some_and(|first| *first > PLAIN && first >> 4 == 4) && clear_quoted(packet)
}

/// The checksum of an IPv4 header whose options were changed.
#[cold]
pub(crate) fn sum_up(packet: &mut [u8]) {
    let Some(header) = Ipv4Header::view_mut(packet) else { return };
    header.checksum = U16::ZERO;
    let length = header.header_length();
    let sum = checksum::of(packet.get(..length).unwrap_or_default());
    if let Some(header) = Ipv4Header::view_mut(packet) {
        header.checksum = U16::new(sum);
    }
}

/// The same without a new checksum: so an error quotes it. Whether anything was not zero yet.
pub(crate) fn clear_quoted(packet: &mut [u8]) -> bool {
    const FIXED: usize = 20;
    let length = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
        _ => return false,
    };
    let options = packet.get_mut(FIXED..length).unwrap_or_default();
    let mut at = 0;
    loop {
        at += match options.get(at) {
            Some(&kind::END) => break,
            Some(&kind::NO_OPERATION) => 1,
            // What is wrong has no end, and is not followed.
            Some(_) => match options.get(at + 1) {
                Some(&length) if length >= 2 => usize::from(length),
                _ => return false,
            },
            None => return false,
        };
    }
    let rest = options.get_mut(at..).unwrap_or_default();
    let changed = rest.iter().any(|byte| *byte != 0);
    rest.fill(0);
    changed
}

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const LOOSE_ROUTE: u8 = 131;
    pub(super) const STRICT_ROUTE: u8 = 137;
    pub(super) const ROUTER_ALERT: u8 = 148;
}

/// Options of which there may be one.
#[derive(Default)]
struct Once {
    record_route: bool,
    timestamp: bool,
    source_route: bool,
}

fn v4(mut options: &[u8], mut at: usize) -> Result<(), RoutingDrop> {
    let mut once = Once::default();
    while let Some(&kind) = options.first() {
        let length = match kind {
            kind::END => break,
            kind::NO_OPERATION => 1,
            _ => {
                let length = usize::from(options.get(1).copied().unwrap_or_default());
                let option = options.get(..length).filter(|_| length >= 2).ok_or(wrong_at(at))?;
                fault(option, &mut once).map_or(Ok(()), |place| Err(wrong_at(at + place)))?;
                length
            }
        };
        options = options.get(length..).unwrap_or_default();
        at += length;
    }
    if once.source_route { Err(RoutingDrop::SourceRoute) } else { Ok(()) }
}

/// Where in an option, which is whole, something is wrong.
fn fault(option: &[u8], once: &mut Once) -> Option<usize> {
    let byte = |at: usize| option.get(at).copied().map(usize::from);
    let (kind, length) = (option.first().copied()?, option.len());
    match kind {
        kind::LOOSE_ROUTE | kind::STRICT_ROUTE => match byte(2) {
            None => Some(1),
            Some(..=3) => Some(2),
            Some(_) => core::mem::replace(&mut once.source_route, true).then_some(0),
        },
        kind::RECORD_ROUTE => {
            if core::mem::replace(&mut once.record_route, true) {
                return Some(0);
            }
            let Some(next) = byte(2) else { return Some(1) };
            (next < 4 || (next <= length && next + 3 > length)).then_some(2)
        }
        kind::TIMESTAMP => {
            if core::mem::replace(&mut once.timestamp, true) {
                return Some(0);
            }
            let (Some(next), Some(flags)) = (byte(2), byte(3)) else { return Some(1) };
            timestamp_fault(next, flags, length)
        }
        kind::ROUTER_ALERT => (length < 4).then_some(1),
        _ => None,
    }
}

fn timestamp_fault(next: usize, flags: usize, length: usize) -> Option<usize> {
    /// With addresses, given or to be filled in.
    const ADDRESSED: [usize; 2] = [1, 3];
    let (form, overflow) = (flags & 0xf, flags >> 4);
    if next < 5 {
        return Some(2);
    }
    if next > length {
        return (form != 3 && overflow == 15).then_some(3);
    }
    let room = if ADDRESSED.contains(&form) { 7 } else { 3 };
    (next + room > length).then_some(2)
}

mod tlv {
    pub(super) const PAD_1: u8 = 0;
    pub(super) const PAD_N: u8 = 1;
    pub(super) const ROUTER_ALERT: u8 = 5;
    pub(super) const JUMBO: u8 = 0xc2;
    /// Linux's `max_hbh_opts_number`.
    pub(super) const MAXIMUM: usize = 8;
    /// Padding never needs more.
    pub(super) const MAXIMUM_PADDING: usize = 7;
}

/// `header` begins at `start` and may be cut.
fn hop_by_hop(packet: &Packet<'_>, header: &[u8], start: usize) -> Result<(), RoutingDrop> {
    let length = (usize::from(header.get(1).copied().unwrap_or_default()) + 1) * 8;
    let whole = header.get(..length).ok_or(wrong(None))?;
    let (mut at, mut padding, mut count) = (2, 0, 0);
    while let Some(&kind) = whole.get(at) {
        if kind == tlv::PAD_1 {
            padding += 1;
            at += 1;
        } else {
            let length = usize::from(*whole.get(at + 1).ok_or(wrong(None))?) + 2;
            let option = whole.get(at..at + length).ok_or(wrong(None))?;
            if kind == tlv::PAD_N {
                padding += length;
                if option.iter().skip(2).any(|byte| *byte != 0) {
                    return Err(wrong(None));
                }
            } else {
                (padding, count) = (0, count + 1);
                judge(packet, option, start + at)?;
            }
            at += length;
        }
        if padding > tlv::MAXIMUM_PADDING || count > tlv::MAXIMUM {
            return Err(wrong(None));
        }
    }
    Ok(())
}

/// One option other than padding, which begins at `at`.
fn judge(packet: &Packet<'_>, option: &[u8], at: usize) -> Result<(), RoutingDrop> {
    let kind = option.first().copied().unwrap_or_default();
    match kind {
        tlv::ROUTER_ALERT if option.len() == 4 => Ok(()),
        tlv::ROUTER_ALERT => Err(wrong(None)),
        tlv::JUMBO => jumbo(packet, option, at),
        _ => match kind >> 6 {
            0 => Ok(()),
            1 => Err(wrong(None)),
            // To many only the third of four kinds is answered.
            3 if packet.destination().is_multicast() => Err(wrong(None)),
            _ => Err(wrong(Some(Problem { code: 2, pointer: at as u32 }))),
        },
    }
}

fn jumbo(packet: &Packet<'_>, option: &[u8], at: usize) -> Result<(), RoutingDrop> {
    const FIXED: usize = 40;
    let [_, 4, stated @ ..] = option else { return Err(wrong(None)) };
    let Some(stated) = stated.first_chunk::<4>().filter(|_| at % 4 == 2) else {
        return Err(wrong(None));
    };
    let stated = u32::from_be_bytes(*stated);
    if stated <= u32::from(u16::MAX) {
        return Err(wrong_at(at + 2));
    }
    match packet.network() {
        Header::V6(header) if header.payload_length.get() != 0 => Err(wrong_at(at)),
        _ if stated as usize > packet.length().saturating_sub(FIXED) => Err(wrong(None)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each option as Linux 6.18 takes it; the number is the pointer of its ICMP error.
    #[test]
    fn ipv4_options_are_wrong_where_the_kernel_says_so() {
        const RIGHT: [&[u8]; 8] = [
            &[1, 1, 0, 0],
            &[148, 4, 0, 0],
            &[148, 4, 0, 9],
            &[7, 7, 8, 9, 9, 9, 9, 0],
            &[68, 8, 5, 0, 0, 0, 0, 0],
            &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[25, 4, 0, 0],
            // What comes after the end does not count.
            &[0, 7, 1, 1],
        ];
        for options in RIGHT {
            assert_eq!(v4(options, 20), Ok(()), "{options:?}");
        }
        let wrong: [(&[u8], usize); 13] = [
            (&[1, 1, 1, 25], 23),
            (&[25, 0, 0, 0], 20),
            (&[1, 25, 4, 0], 21),
            (&[131, 2, 0, 0], 21),
            (&[131, 3, 3, 0], 22),
            (&[131, 3, 4, 131, 3, 4, 0, 0], 23),
            (&[7, 2, 0, 0], 21),
            (&[7, 3, 3, 0], 22),
            (&[7, 6, 4, 0, 0, 0, 0, 0], 22),
            (&[68, 3, 5, 0], 21),
            (&[68, 4, 4, 0], 22),
            (&[68, 8, 5, 1, 0, 0, 0, 0], 22),
            (&[68, 4, 5, 0xf0], 23),
        ];
        for (options, pointer) in wrong {
            assert_eq!(v4(options, 20), Err(wrong_at(pointer)), "{options:?}");
        }
        assert_eq!(v4(&[137, 7, 4, 1, 2, 3, 4, 0], 20), Err(RoutingDrop::SourceRoute));
    }

    #[test]
    fn after_the_end_comes_nothing() {
        let cleared = |options: [u8; 8]| {
            let mut bytes = [&[0x47; 1][..], &[0; 19], &options].concat();
            let changed = clear_quoted(&mut bytes);
            (<[u8; 8]>::try_from(&bytes[20..]).unwrap(), changed)
        };
        assert_eq!(cleared([1, 0, 7, 7, 9, 0, 0, 1]), ([1, 0, 0, 0, 0, 0, 0, 0], true));
        assert_eq!(cleared([3, 6, 9, 9, 9, 9, 0, 1]), ([3, 6, 9, 9, 9, 9, 0, 0], true));
        assert_eq!(cleared([3, 6, 9, 9, 9, 9, 0, 0]), ([3, 6, 9, 9, 9, 9, 0, 0], false));
        assert_eq!(cleared([1; 8]), ([1; 8], false));
        assert_eq!(cleared([9, 1, 0, 1, 1, 1, 1, 1]), ([9, 1, 0, 1, 1, 1, 1, 1], false));
    }

    fn with_options(destination: u8, options: &[u8]) -> Result<(), RoutingDrop> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, options.len() as u8, 0, 64];
        bytes.extend_from_slice(&[0xfd; 16]);
        bytes.extend_from_slice(&[destination; 16]);
        bytes.extend_from_slice(options);
        on_arrival(&Packet::parse(&bytes).unwrap())
    }

    #[test]
    fn hop_by_hop_options_end_a_packet_where_the_kernel_says_so() {
        let silent = Err(wrong(None));
        let told = |code, pointer| Err(wrong(Some(Problem { code, pointer })));
        let rows: [(&[u8], Result<(), RoutingDrop>); 13] = [
            (&[59, 0, 1, 4, 0, 0, 0, 0], Ok(())),
            (&[59, 0, 0, 0, 0, 0, 0, 0], Ok(())),
            (&[59, 0, 5, 2, 0, 0, 1, 0], Ok(())),
            (&[59, 0, 0x1e, 4, 1, 2, 3, 4], Ok(())),
            (&[59, 0, 0x5e, 4, 0, 0, 0, 0], silent),
            (&[59, 0, 0x9e, 4, 0, 0, 0, 0], told(2, 42)),
            (&[59, 0, 0xde, 4, 0, 0, 0, 0], told(2, 42)),
            // Padding that holds something, is too long, or leads out of the header.
            (&[59, 0, 1, 4, 0, 0, 0, 9], silent),
            (&[59, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], silent),
            (&[59, 0, 1, 5, 0, 0, 0, 0], silent),
            (&[59, 1, 1, 4, 0, 0, 0, 0], silent),
            // A jumbogram of a length that needs none.
            (&[59, 0, 0xc2, 4, 0, 0, 0, 9], told(0, 44)),
            (&[59, 0, 0xc2, 4, 0, 1, 0, 0], told(0, 42)),
        ];
        for (options, expected) in rows {
            assert_eq!(with_options(0xfd, options), expected, "{options:?}");
        }
        let to_many = with_options(0xff, &[59, 0, 0xde, 4, 0, 0, 0, 0]);
        assert_eq!(to_many, silent);
    }
}
