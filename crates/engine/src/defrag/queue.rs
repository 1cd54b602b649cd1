//! The fragments of one packet: what both families do with them (`inet_fragment.c`).
//!
//! Fragments lie in *runs*: a run grows only by a fragment that continues the one with the highest
//! end; any other starts a run of its own, even where two then touch. Runs decide what a duplicate
//! is: bytes that lie inside one run are a duplicate and ignored, bytes inside two that touch are
//! an overlap and fatal. So the order of arrival matters, as it does in Linux.

use std::collections::BTreeMap;

use stateward_conntrack::Instant;

use super::{DropReason, Origins};

/// What an IPv4 queue itself counts against the memory threshold, in bytes: measured on Linux 6.18.
pub(super) const IPV4_COST: u64 = 200;
/// The same for an IPv6 queue of conntrack's.
pub(super) const IPV6_COST: u64 = 184;

/// What a received packet of `length` bytes costs Linux: measured with packets written to a TUN
/// device, from 8 to 60,000 bytes, all of which this gives exactly.
pub(super) fn cost(length: usize) -> u64 {
    /// `struct sk_buff`.
    const DESCRIPTOR: u64 = 256;
    /// Headroom and `struct skb_shared_info`.
    const MARGIN: u64 = 384;
    /// The buffer that small heads come from.
    const SMALLEST: u64 = 576;
    const PAGE: u64 = 4096;
    let length = length as u64 + MARGIN;
    let buffer = match length {
        ..=SMALLEST => SMALLEST,
        length if length <= 2 * PAGE => length.next_power_of_two(),
        length => length.next_multiple_of(PAGE),
    };
    buffer + DESCRIPTOR
}

/// A source of IPv4 fragments.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// How many queues it has.
    pub queues: u32,
    /// How many fragments it sent.
    pub fragments: u32,
}

/// One fragment's data.
#[derive(Debug)]
struct Piece {
    /// Stated bytes.
    length: u32,
    /// The bytes there are: fewer in a cut capture.
    data: Vec<u8>,
}

/// Fragments that arrived in order, each continuing the one before.
#[derive(Debug)]
struct Run {
    end: u32,
    pieces: Vec<Piece>,
}

/// The fragment with the highest end: by its run, and its end.
#[derive(Clone, Copy, Debug)]
struct Tail {
    run: u32,
    end: u32,
}

/// The first fragment's headers, up to its data, as they came.
#[derive(Debug)]
pub(super) struct First {
    pub header: Vec<u8>,
    /// IPv6: offset of the byte that announces the fragment header.
    pub announced: usize,
}

/// A fragment to add to a queue.
pub(super) struct Arrival<'a> {
    /// The packet as captured, headers and all.
    pub bytes: &'a [u8],
    /// Stated length of that packet.
    pub length: usize,
    /// Where its data starts in it.
    pub data_at: usize,
    /// Where the data belongs.
    pub start: u32,
    pub end: u32,
    /// IPv6: offset of the byte that announces the fragment header.
    pub announced: usize,
    pub interface: u32,
    pub ecn: u8,
}

/// The fragments of one packet.
#[derive(Debug)]
pub(super) struct Queue {
    /// Deadline and serial number: the queue's place in the pool's timers.
    pub timer: (Instant, u64),
    pub interface: u32,
    runs: BTreeMap<u32, Run>,
    tail: Option<Tail>,
    first: Option<First>,
    /// The end of the packet as far as it is known.
    pub length: u32,
    /// Whether the last fragment has arrived, so that `length` is final.
    pub last_in: bool,
    /// Bytes that have arrived.
    have: u32,
    ecn: u8,
    /// The largest fragment, as the family counts it.
    pub largest: u32,
    /// IPv4: the largest fragment that forbade fragmenting.
    pub largest_unfragmentable: u32,
    /// IPv4: the source's count of fragments when this queue last got one.
    pub fragments_seen: u32,
    pub memory: u64,
}

impl Queue {
    pub(super) fn new(timer: (Instant, u64), cost: u64) -> Self {
        Self {
            timer,
            interface: 0,
            runs: BTreeMap::new(),
            tail: None,
            first: None,
            length: 0,
            last_in: false,
            have: 0,
            ecn: 0,
            largest: 0,
            largest_unfragmentable: 0,
            fragments_seen: 0,
            memory: cost,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_none()
    }

    /// Forgets all fragments. Linux does not forget the sizes of the largest ones.
    pub(super) fn restart(&mut self, timer: (Instant, u64), cost: u64) {
        let forgotten = core::mem::replace(self, Self::new(timer, cost));
        self.largest = forgotten.largest;
        self.largest_unfragmentable = forgotten.largest_unfragmentable;
        self.fragments_seen = forgotten.fragments_seen;
    }

    /// Takes note of where a fragment ends. False if that contradicts what is known; an IPv6 queue
    /// lives on then.
    pub(super) fn ends(&mut self, end: u32, more: bool) -> bool {
        if !more {
            if end < self.length || (self.last_in && end != self.length) {
                return false;
            }
            self.last_in = true;
            self.length = end;
        } else if end > self.length {
            if self.last_in {
                return false;
            }
            self.length = end;
        }
        true
    }

    /// Adds a fragment, which is not empty.
    pub(super) fn add(&mut self, arrival: &Arrival<'_>) -> Result<(), DropReason> {
        let run = self.place(arrival.start, arrival.end)?;
        let length = arrival.end - arrival.start;
        let data = arrival.bytes.get(arrival.data_at..).unwrap_or_default();
        let data = data.get(..length as usize).unwrap_or(data).to_vec();
        let run = self.runs.entry(run).or_insert(Run { end: arrival.start, pieces: Vec::new() });
        run.pieces.push(Piece { length, data });
        run.end = arrival.end;
        if arrival.start == 0 {
            let header = arrival.bytes.get(..arrival.data_at).unwrap_or_default().to_vec();
            self.first = Some(First { header, announced: arrival.announced });
        }
        self.have += length;
        self.memory += cost(arrival.length);
        self.interface = arrival.interface;
        self.ecn |= 1 << (arrival.ecn & 3);
        Ok(())
    }

    /// The start of the run that a fragment belongs to, or what is wrong with it.
    fn place(&mut self, start: u32, end: u32) -> Result<u32, DropReason> {
        let Some(tail) = self.tail else {
            self.tail = Some(Tail { run: start, end });
            return Ok(start);
        };
        if end > tail.end {
            if start < tail.end {
                return Err(DropReason::Overlap);
            }
            let run = if start == tail.end { tail.run } else { start };
            self.tail = Some(Tail { run, end });
            return Ok(run);
        }
        // The only run that can hold it, or overlap it from the left, is the last to start before
        // its end.
        match self.runs.range(..end).next_back() {
            Some((&from, run)) if run.end > start => match from <= start && end <= run.end {
                true => Err(DropReason::Duplicate),
                false => Err(DropReason::Overlap),
            },
            _ => Ok(start),
        }
    }

    /// Whether every byte has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.first.is_some() && self.last_in && self.have == self.length
    }

    /// What RFC 3168 makes of the fragments' ECN fields: bits to set in the whole packet's, or none
    /// if it must be dropped. Congestion experienced by one is experienced by all; with a fragment
    /// that does not know ECN, all must not.
    pub(super) fn ecn(&self) -> Option<u8> {
        const NOT_CAPABLE: u8 = 1 << 0;
        const CAPABLE: u8 = 1 << 1 | 1 << 2;
        const CONGESTED: u8 = 1 << 3;
        let seen = |mask: u8| self.ecn & mask != 0;
        if seen(NOT_CAPABLE) && seen(CAPABLE | CONGESTED) {
            return None;
        }
        Some(if seen(CONGESTED) && seen(CAPABLE) { 3 } else { 0 })
    }

    pub(super) fn first(&self) -> Option<&First> {
        self.first.as_ref()
    }

    /// The first fragment as it came.
    pub(super) fn first_fragment(&self) -> Option<Vec<u8>> {
        let piece = self.runs.get(&0)?.pieces.first()?;
        let mut bytes = self.first.as_ref()?.header.clone();
        bytes.extend_from_slice(&piece.data);
        Some(bytes)
    }

    /// All fragments' data behind `header`. The second part says whether bytes were missing.
    pub(super) fn glue(&self, header: &[u8]) -> (Vec<u8>, Origins, bool) {
        let mut bytes = Vec::with_capacity(header.len() + self.length as usize);
        bytes.extend_from_slice(header);
        let mut pieces = Vec::with_capacity(self.runs.values().map(|run| run.pieces.len()).sum());
        let mut incomplete = false;
        for piece in self.runs.values().flat_map(|run| &run.pieces) {
            let before = bytes.len();
            bytes.extend_from_slice(&piece.data);
            incomplete |= piece.data.len() < piece.length as usize;
            bytes.resize(before + piece.length as usize, 0);
            // The first one carries the headers.
            let carried = if pieces.is_empty() { header.len() } else { 0 };
            pieces.push(piece.length + carried as u32);
        }
        let largest = self.largest as usize;
        (bytes, Origins::new(pieces, largest), incomplete)
    }
}
