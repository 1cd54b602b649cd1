//! IPv4's rules of reassembly (`ip_fragment.c`).
//!
//! What is peculiar: any contradiction costs the whole queue; data of a fragment that is not the
//! last is rounded down to a multiple of eight; a packet of fragments that forbade fragmenting
//! forbids it itself if the largest of them did; a source that sends many fragments makes its older
//! queues start afresh (`ipfrag_max_dist`), so that identifications that come round again do no
//! harm.

use stateward_conntrack::Instant;
use stateward_wire::{Fragment, Ipv4Header, Network, Packet, U16, checksum, ipv4};

use super::queue::{Arrival, Queue};
use super::{DropReason, Key, Outcome, Place, Pool, Reassembled};

/// Takes a fragment.
pub(super) fn push(
    pool: &mut Pool,
    packet: &Packet<'_>,
    fragment: Fragment,
    place: Place,
    now: Instant,
) -> Outcome {
    let Network::V4(header) = packet.network() else { return Outcome::Whole };
    let key = Key {
        source: packet.source(),
        destination: packet.destination(),
        id: fragment.id,
        protocol: header.protocol,
        side: place.side,
        zone: place.zone,
        interface: 0,
    };
    pool.counters.required += 1;
    let Some(mut queue) = pool.take(&key, now) else {
        pool.counters.failed += 1;
        return Outcome::Dropped(DropReason::Memory);
    };
    if is_passed_over(pool, &key, &mut queue) {
        restart(pool, &key, &mut queue, now);
    }
    let before = queue.memory;
    let result = add(&mut queue, packet, header, fragment, place.interface);
    pool.memory += queue.memory - before;
    match result {
        Err(DropReason::Duplicate) => {
            pool.keep(key, queue);
            Outcome::Dropped(DropReason::Duplicate)
        }
        Err(reason) => fail(pool, &key, &queue, reason),
        Ok(()) if queue.is_complete() => match whole(&queue) {
            Err(reason) => fail(pool, &key, &queue, reason),
            Ok(reassembled) => {
                pool.discard(&key, &queue);
                pool.counters.complete += 1;
                Outcome::Complete(reassembled)
            }
        },
        Ok(()) => {
            pool.keep(key, queue);
            Outcome::Held
        }
    }
}

fn fail(pool: &mut Pool, key: &Key, queue: &Queue, reason: DropReason) -> Outcome {
    pool.discard(key, queue);
    pool.counters.failed += 1;
    pool.counters.overlaps += u64::from(reason == DropReason::Overlap);
    Outcome::Dropped(reason)
}

/// Counts the fragment for its source, and tells whether too many others came since the queue's
/// latest one.
fn is_passed_over(pool: &mut Pool, key: &Key, queue: &mut Queue) -> bool {
    let limit = pool.limits.max_distance;
    let Some(peer) = pool.peers.get_mut(&key.source).filter(|_| limit != 0) else { return false };
    peer.fragments = peer.fragments.wrapping_add(1);
    let passed = peer.fragments.wrapping_sub(queue.fragments_seen);
    queue.fragments_seen = peer.fragments;
    !queue.is_empty() && passed > limit
}

/// The queue forgets its fragments, and its time begins anew.
fn restart(pool: &mut Pool, key: &Key, queue: &mut Queue, now: Instant) {
    pool.counters.failed += 1;
    pool.deadlines.remove(&queue.timer);
    let before = queue.memory;
    pool.opened += 1;
    queue.restart((now + pool.limits.timeout, pool.opened), pool.queue_cost);
    pool.memory = pool.memory.saturating_sub(before - queue.memory);
    pool.deadlines.insert(queue.timer, *key);
}

fn add(
    queue: &mut Queue,
    packet: &Packet<'_>,
    header: &Ipv4Header,
    fragment: Fragment,
    interface: u32,
) -> Result<(), DropReason> {
    let header_length = header.header_length();
    let start = fragment.offset as u32;
    let mut end = start + packet.length().saturating_sub(header_length) as u32;
    if fragment.more {
        end &= !7;
    }
    if !queue.ends(end, fragment.more) {
        return Err(DropReason::End);
    }
    if end == start {
        return Err(DropReason::Empty);
    }
    queue.add(&Arrival {
        bytes: packet.bytes(),
        length: packet.length(),
        data_at: header_length,
        start,
        end,
        announced: 0,
        interface,
        ecn: header.tos,
    })?;
    let size = end - start + header_length as u32;
    queue.largest = queue.largest.max(size);
    if fragment.df {
        queue.largest_unfragmentable = queue.largest_unfragmentable.max(size);
    }
    Ok(())
}

/// The whole packet of a complete queue.
fn whole(queue: &Queue) -> Result<Reassembled, DropReason> {
    let congested = queue.ecn().ok_or(DropReason::MixedEcn)?;
    let header = queue.first().map(|first| first.header.as_slice()).unwrap_or_default();
    let length =
        u16::try_from(header.len() + queue.length as usize).map_err(|_| DropReason::TooLong)?;
    let (mut bytes, mut origins, incomplete) = queue.glue(header);
    let unfragmentable = queue.largest == queue.largest_unfragmentable;
    origins.set_unfragmentable(unfragmentable);
    let header_length = header.len();
    if let Some(header) = Ipv4Header::view_mut(&mut bytes) {
        header.total_length = U16::new(length);
        header.tos |= congested;
        let flags = if unfragmentable { ipv4::DONT_FRAGMENT } else { 0 };
        header.fragmentation = U16::new(flags);
        header.checksum = U16::ZERO;
    }
    let checksum = checksum::of(bytes.get(..header_length).unwrap_or_default());
    if let Some(header) = Ipv4Header::view_mut(&mut bytes) {
        header.checksum = U16::new(checksum);
    }
    Ok(Reassembled { bytes, origins, incomplete })
}
