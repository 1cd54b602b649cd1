//! IPv6's rules of reassembly, those of conntrack's own queues (`nf_conntrack_reasm.c`).
//!
//! What is peculiar: some fragments are let through as they are, to be judged by whoever comes
//! next: a first fragment without the whole upper-layer header, one that is not the last and whose
//! end is no multiple of eight (that one ends its queue as well), anything in a packet of stated
//! length zero. A fragment that contradicts the packet's end is dropped alone. The fragments'
//! next-header fields need not agree; the first one's counts. A fragment that is the whole packet
//! ("atomic") just loses its fragment header.

use core::net::IpAddr;

use stateward_conntrack::Instant;
use stateward_wire::ipv6::{self, FragmentHeader, FragmentPlace};
use stateward_wire::{Ipv6Header, Network, Packet, U16, protocol};

use super::queue::{Arrival, Queue};
use super::{DropReason, Key, Outcome, Place, Pool, Reassembled};

const FIXED: usize = size_of::<Ipv6Header>();
const FRAGMENT: usize = size_of::<FragmentHeader>();
/// The longest payload that the length field can state.
const LONGEST: usize = u16::MAX as usize;

/// A fragment, with what its headers say.
struct Fragment<'a> {
    packet: &'a Packet<'a>,
    network: &'a Ipv6Header,
    header: &'a FragmentHeader,
    place: FragmentPlace,
}

/// Takes a packet whose fragment header starts at `offset`.
pub(super) fn push(
    pool: &mut Pool,
    packet: &Packet<'_>,
    offset: usize,
    place: Place,
    now: Instant,
) -> Outcome {
    let Network::V6(network) = packet.network() else { return Outcome::Whole };
    if network.payload_length.get() == 0 || is_truncated_first(packet, offset) {
        return Outcome::Whole;
    }
    let chain = ipv6::skip_extensions(packet.bytes(), network.next_header);
    let rest = packet.bytes().get(offset..).unwrap_or_default();
    let (Some(header), Some(found)) = (FragmentHeader::view(rest), chain.fragment) else {
        return Outcome::Dropped(DropReason::Header);
    };
    let fragment = Fragment { packet, network, header, place: found };
    let key = key(&fragment, place);
    pool.counters.required += 1;
    let Some(mut queue) = pool.take(&key, now) else {
        pool.counters.failed += 1;
        return Outcome::Dropped(DropReason::Memory);
    };
    let before = queue.memory;
    let result = add(&mut queue, &fragment, place.interface);
    pool.memory += queue.memory - before;
    settle(pool, key, queue, result)
}

/// What an attempt to add a fragment leads to, other than its being held.
enum Refusal {
    /// The fragment alone is dropped.
    Fragment(DropReason),
    /// The queue goes with it.
    Queue(DropReason),
    /// The queue ends, but the fragment passes as it is.
    Pass,
}

fn settle(pool: &mut Pool, key: Key, queue: Queue, result: Result<(), Refusal>) -> Outcome {
    let reason = match result {
        Ok(()) if queue.is_complete() => match whole(&queue) {
            Ok(reassembled) => {
                pool.discard(&key, &queue);
                pool.counters.complete += 1;
                return Outcome::Complete(reassembled);
            }
            Err(reason) => reason,
        },
        Ok(()) => {
            pool.keep(key, queue);
            return Outcome::Held;
        }
        Err(Refusal::Fragment(reason)) => {
            pool.keep(key, queue);
            return Outcome::Dropped(reason);
        }
        Err(Refusal::Pass) => {
            pool.discard(&key, &queue);
            pool.counters.failed += 1;
            return Outcome::Whole;
        }
        Err(Refusal::Queue(reason)) => reason,
    };
    pool.discard(&key, &queue);
    pool.counters.failed += 1;
    pool.counters.overlaps += u64::from(reason == DropReason::Overlap);
    Outcome::Dropped(reason)
}

fn key(fragment: &Fragment<'_>, place: Place) -> Key {
    let destination = fragment.network.destination();
    // An address of the link means another host on each.
    let of_the_link = destination.is_multicast() || destination.is_unicast_link_local();
    Key {
        source: fragment.packet.source(),
        destination: IpAddr::V6(destination),
        id: fragment.header.identification.get(),
        protocol: 0,
        side: place.side,
        zone: place.zone,
        interface: if of_the_link { place.interface } else { 0 },
    }
}

/// Whether this is a first fragment without all headers up to the upper layer's (RFC 8200, 4.5).
/// Of an unknown upper layer one byte is asked.
fn is_truncated_first(packet: &Packet<'_>, offset: usize) -> bool {
    // The chain from the fragment header on is what the packet's own chain ends with.
    let Some(upper) = packet.upper().filter(|upper| upper.offset >= offset) else { return false };
    let header = match upper.protocol {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMPV6 => 8,
        _ => 1,
    };
    upper.offset + header > packet.length()
}

fn add(queue: &mut Queue, fragment: &Fragment<'_>, interface: u32) -> Result<(), Refusal> {
    let data_at = fragment.place.offset + FRAGMENT;
    let start = fragment.header.offset();
    let more = fragment.header.more();
    let end = start + fragment.packet.length().saturating_sub(data_at);
    if end > LONGEST {
        return Err(Refusal::Fragment(DropReason::TooFar));
    }
    if more && !end.is_multiple_of(8) {
        return Err(Refusal::Pass);
    }
    let (from, to) = (start as u32, end as u32);
    if !queue.ends(to, more) {
        return Err(Refusal::Fragment(DropReason::End));
    }
    if end == start {
        return Err(Refusal::Fragment(DropReason::Empty));
    }
    let arrival = Arrival {
        bytes: fragment.packet.bytes(),
        length: fragment.packet.length(),
        data_at,
        start: from,
        end: to,
        announced: fragment.place.announced,
        interface,
        ecn: fragment.network.traffic_class(),
    };
    queue.add(&arrival).map_err(|reason| match reason {
        DropReason::Duplicate => Refusal::Fragment(reason),
        reason => Refusal::Queue(reason),
    })?;
    queue.largest = queue.largest.max(fragment.packet.length() as u32);
    Ok(())
}

/// The whole packet of a complete queue: the first fragment's headers without the fragment header,
/// and the data.
fn whole(queue: &Queue) -> Result<Reassembled, DropReason> {
    let congested = queue.ecn().ok_or(DropReason::MixedEcn)?;
    let Some(first) = queue.first() else { return Err(DropReason::Header) };
    let kept = first.header.len().saturating_sub(FRAGMENT);
    let payload = u16::try_from(kept.saturating_sub(FIXED) + queue.length as usize)
        .map_err(|_| DropReason::TooLong)?;
    let (header, fragment) = first.header.split_at_checked(kept).unwrap_or_default();
    let (mut bytes, origins, incomplete) = queue.glue(header);
    let next = fragment.first().copied().unwrap_or(protocol::NONE);
    // Linux 6.18 keeps this offset in eight bits: after more than 255 bytes of other extension
    // headers the wrong byte changes. So it does here.
    if let Some(announcing) = bytes.get_mut(first.announced & 0xff) {
        *announcing = next;
    }
    if let Some(header) = Ipv6Header::view_mut(&mut bytes) {
        header.payload_length = U16::new(payload);
        let class = header.version_class_flow.get() | u32::from(congested) << 20;
        header.version_class_flow.set(class);
    }
    Ok(Reassembled { bytes, origins, incomplete })
}
