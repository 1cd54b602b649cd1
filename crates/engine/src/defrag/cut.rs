//! Cuts a packet again on its way out (`ip_do_fragment`, `ip6_fragment`).
//!
//! A packet that was put together leaves in fragments no larger than the largest it came in, lest a
//! path that carried those be asked to carry more. Linux keeps the fragments it got in a list, and
//! where nobody disturbed that list it sends exactly those again ("the fast path"); otherwise it
//! cuts anew at the largest size. What disturbs it is work on the bytes beyond the first piece:
//! [`Origins::gather`] and [`Origins::forget_pieces`].
//!
//! IPv4 always cuts again, and the fast path forgets "do not fragment"; IPv6 does not cut what fits
//! the largest fragment it came in, and draws a new identification.

use stateward_wire::ipv6::{ExtensionHeader, FragmentHeader};
use stateward_wire::{Ipv4Header, Ipv6Header, U16, U32, checksum, ipv4, ipv6, protocol};

/// What a reassembled packet was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// Bytes of the packet that each fragment contributed, in order: the first one with all headers
    /// (but IPv6's fragment header), the others data only. Their sum is the packet's length.
    pieces: Vec<u32>,
    /// Length of the largest fragment, headers and all.
    largest: usize,
    /// IPv4: the largest fragment forbade fragmenting.
    unfragmentable: bool,
}

impl Origins {
    pub(super) fn new(pieces: Vec<u32>, largest: usize) -> Self {
        Self { pieces, largest, unfragmentable: false }
    }

    pub(super) fn set_unfragmentable(&mut self, unfragmentable: bool) {
        self.unfragmentable = unfragmentable;
    }

    /// Length of the largest fragment, its headers included: no fragment leaves larger, and if it
    /// is larger than the MTU the packet is too big.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// What each fragment contributed to the packet, in order: the first with the headers.
    pub fn pieces(&self) -> &[u32] {
        &self.pieces
    }

    /// Somebody needed the first `length` bytes of the packet in one piece to write to them: NAT to
    /// rewrite a header, for example. If the first fragment was shorter, the fragments have
    /// changed.
    pub fn gather(&mut self, length: usize) {
        let whole: u64 = self.pieces.iter().copied().map(u64::from).sum();
        if length as u64 > whole {
            return;
        }
        let Some((first, others)) = self.pieces.split_first_mut() else { return };
        let mut wanted = u32::try_from(length).unwrap_or(u32::MAX).saturating_sub(*first);
        for other in others {
            let moved = wanted.min(*other);
            *first += moved;
            *other -= moved;
            wanted -= moved;
        }
        let mut headers = true;
        self.pieces.retain(|&piece| core::mem::take(&mut headers) || piece != 0);
    }

    /// Somebody needed the whole packet in one piece (a helper that reads or edits the payload, a
    /// target that edits TCP options): it will be cut at the largest size only.
    pub fn forget_pieces(&mut self) {
        let whole = self.pieces.iter().fold(0_u32, |sum, piece| sum.saturating_add(*piece));
        self.pieces.clear();
        self.pieces.push(whole);
    }

    /// Whether the packet of `length` bytes, of which `repeated` stand in every fragment, can leave
    /// in its old pieces with at most `room` bytes of data each.
    fn fit(&self, length: usize, repeated: usize, room: usize) -> bool {
        let sum: usize = self.pieces.iter().map(|&piece| piece as usize).sum();
        let Some((&first, others)) = self.pieces.split_first() else { return false };
        let Some(first) = (first as usize).checked_sub(repeated) else { return false };
        let Some((&last, middle)) = others.split_last() else { return false };
        sum == length
            && first <= room
            && first % 8 == 0
            && last as usize <= room
            && middle.iter().all(|&piece| piece as usize <= room && piece % 8 == 0)
    }
}

/// How a packet leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As it is.
    Whole,
    /// In these fragments.
    Fragments(Vec<Vec<u8>>),
    /// Not at all: an ICMP error tells the source the MTU.
    TooBig,
    /// Not at all, and silently: its extension headers cannot be repeated.
    Impossible,
}

/// Cuts `packet` for a link that takes `mtu` bytes.
///
/// `origins` is what it was put together from, if it was. `id` is the identification of the
/// fragments of an IPv6 packet, which Linux draws at random; IPv4 keeps its own.
pub fn cut(packet: &[u8], origins: Option<&Origins>, mtu: usize, id: u32) -> Cut {
    match packet.first().map(|first| first >> 4) {
        Some(4) => cut_ipv4(packet, origins, mtu),
        Some(6) => cut_ipv6(packet, origins, mtu, id),
        _ => Cut::Impossible,
    }
}

fn cut_ipv4(packet: &[u8], origins: Option<&Origins>, mtu: usize) -> Cut {
    if packet.len() <= mtu && origins.is_none() {
        return Cut::Whole;
    }
    let Some(header) = Ipv4Header::view(packet) else { return Cut::Impossible };
    let largest = origins.map_or(usize::MAX, Origins::largest);
    if header.dont_fragment() && largest > mtu {
        return Cut::TooBig;
    }
    let repeated = header.header_length();
    let Some(room) = mtu.min(largest).checked_sub(repeated).filter(|room| *room >= 8) else {
        return Cut::Impossible;
    };
    let whole_before = header.fragment_offset() == 0 && !header.more_fragments();
    let old = origins.filter(|old| whole_before && old.fit(packet.len(), repeated, room));
    let flags = match (old, origins) {
        (None, Some(origins)) if origins.unfragmentable => ipv4::DONT_FRAGMENT,
        _ => 0,
    };
    let sizes = sizes(packet.len(), old, repeated, room);
    let last = if header.more_fragments() { ipv4::MORE_FRAGMENTS } else { 0 };
    let base = header.fragment_offset();
    let Some((mut head, data)) = packet.split_at_checked(repeated).map(|(h, d)| (h.to_vec(), d))
    else {
        return Cut::Impossible;
    };
    let mut fragments = Vec::with_capacity(sizes.len());
    let mut at = 0;
    for (number, size) in sizes.iter().enumerate() {
        let more = if number + 1 < sizes.len() { ipv4::MORE_FRAGMENTS } else { last };
        let offset = ((base + at) / 8) as u16 & ipv4::OFFSET_MASK;
        let piece = data.get(at..at + size).unwrap_or_default();
        fragments.push(ipv4_fragment(&head, offset | more | flags, piece));
        if number == 0 {
            keep_copied_options(&mut head);
        }
        at += size;
    }
    Cut::Fragments(fragments)
}

fn ipv4_fragment(head: &[u8], fragmentation: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(head.len() + data.len());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(data);
    let length = bytes.len() as u16;
    if let Some(header) = Ipv4Header::view_mut(&mut bytes) {
        header.total_length = U16::new(length);
        header.fragmentation = U16::new(fragmentation);
        header.checksum = U16::ZERO;
    }
    let checksum = checksum::of(bytes.get(..head.len()).unwrap_or_default());
    if let Some(header) = Ipv4Header::view_mut(&mut bytes) {
        header.checksum = U16::new(checksum);
    }
    bytes
}

/// Overwrites the options that belong into the first fragment only with NOPs.
fn keep_copied_options(head: &mut [u8]) {
    const COPIED: u8 = 0x80;
    let mut rest = head.get_mut(size_of::<Ipv4Header>()..).unwrap_or_default();
    while let Some(&kind) = rest.first() {
        let length = match (kind, rest.get(1)) {
            (ipv4::option::END, _) => return,
            (ipv4::option::NOP, _) => 1,
            (_, Some(&length)) if length >= 2 => usize::from(length),
            _ => return,
        };
        let Some((option, after)) = rest.split_at_mut_checked(length) else { return };
        if kind & COPIED == 0 {
            option.fill(ipv4::option::NOP);
        }
        rest = after;
    }
}

/// Bytes of data of each fragment: the old pieces, or as much as there is room for.
fn sizes(length: usize, old: Option<&Origins>, repeated: usize, room: usize) -> Vec<usize> {
    if let Some(old) = old {
        let headers = |number| if number == 0 { repeated } else { 0 };
        let pieces = old.pieces.iter().enumerate();
        return pieces.map(|(number, &piece)| piece as usize - headers(number)).collect();
    }
    let mut left = length.saturating_sub(repeated);
    let mut sizes = Vec::with_capacity(left / room + 1);
    while left > 0 {
        let size = if left > room { room & !7 } else { left };
        sizes.push(size);
        left -= size;
    }
    sizes
}

fn cut_ipv6(packet: &[u8], origins: Option<&Origins>, mtu: usize, id: u32) -> Cut {
    /// No link takes less, so fragments need not be smaller.
    const LEAST_MTU: usize = 1280;
    const FRAGMENT: usize = size_of::<FragmentHeader>();
    let Some(origins) = origins else {
        return if packet.len() <= mtu { Cut::Whole } else { Cut::TooBig };
    };
    if packet.len() <= mtu.min(origins.largest()) {
        return Cut::Whole;
    }
    if origins.largest() > mtu {
        return Cut::TooBig;
    }
    let linear = origins.pieces.first().map_or(packet.len(), |&piece| piece as usize);
    let Some(part) = unfragmentable_part(packet.get(..linear).unwrap_or(packet)) else {
        return Cut::Impossible;
    };
    let repeated = part.length;
    let largest = origins.largest().max(LEAST_MTU);
    let Some(room) = largest.checked_sub(repeated + FRAGMENT).filter(|room| *room >= 8) else {
        return Cut::TooBig;
    };
    let old = Some(origins).filter(|old| old.fit(packet.len(), repeated, room));
    let sizes = sizes(packet.len(), old, repeated, room);
    let Some((head, data)) = packet.split_at_checked(repeated) else { return Cut::Impossible };
    let mut fragments = Vec::with_capacity(sizes.len());
    let mut at = 0;
    for (number, size) in sizes.iter().enumerate() {
        let more = u16::from(number + 1 < sizes.len());
        let header = FragmentHeader {
            next_header: part.next_header,
            reserved: 0,
            offset_more: U16::new(at as u16 | more),
            identification: U32::new(id),
        };
        let piece = data.get(at..at + size).unwrap_or_default();
        fragments.push(ipv6_fragment(head, part.announced, &header, piece));
        at += size;
    }
    Cut::Fragments(fragments)
}

fn ipv6_fragment(head: &[u8], announced: usize, fragment: &FragmentHeader, data: &[u8]) -> Vec<u8> {
    let FragmentHeader { next_header, reserved, offset_more, identification } = *fragment;
    let mut bytes = Vec::with_capacity(head.len() + size_of::<FragmentHeader>() + data.len());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(&[next_header, reserved]);
    bytes.extend_from_slice(&offset_more.to_bytes());
    bytes.extend_from_slice(&identification.to_bytes());
    bytes.extend_from_slice(data);
    if let Some(byte) = bytes.get_mut(announced) {
        *byte = protocol::FRAGMENT;
    }
    let payload = bytes.len().saturating_sub(size_of::<Ipv6Header>()) as u16;
    if let Some(header) = Ipv6Header::view_mut(&mut bytes) {
        header.payload_length = U16::new(payload);
    }
    bytes
}

/// The headers that every fragment repeats.
struct Unfragmentable {
    length: usize,
    /// What follows them.
    next_header: u8,
    /// Offset of the byte that says so.
    announced: usize,
}

/// Finds where the fragmentable part of an IPv6 packet starts, the way Linux does on output: after
/// hop-by-hop, routing, and destination options that do not follow a routing header. `packet` is
/// what is there in one piece.
fn unfragmentable_part(packet: &[u8]) -> Option<Unfragmentable> {
    const NEXT_HEADER: usize = 6;
    let mut next_header = Ipv6Header::view(packet)?.next_header;
    let (mut at, mut announced) = (size_of::<Ipv6Header>(), NEXT_HEADER);
    let mut routed = false;
    while at <= packet.len() {
        match next_header {
            protocol::HOP_BY_HOP => {}
            protocol::ROUTING => routed = true,
            protocol::DEST if !routed => {}
            _ => return Some(Unfragmentable { length: at, next_header, announced }),
        }
        let (before, header) = (at, ExtensionHeader::view(packet.get(at..)?)?);
        at += ipv6::extension_length(next_header, header.length);
        (announced, next_header) = (before, header.next_header);
    }
    None
}
