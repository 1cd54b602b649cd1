//! Timers: an entry's deadline is the truth, the wheel holds hints.
//!
//! Every entry is in exactly one list of a hierarchical wheel, by the tick of the deadline it had
//! when it was put there. A packet that moves the deadline away writes only the entry: when the
//! list comes up, the entry is put where it belongs by then. Only a deadline that comes *nearer*
//! than the hint moves the entry at once. Lists are linked through the entries (`next`,
//! `previous`), so that the wheel allocates nothing and a connection costs no more than these eight
//! bytes.
//!
//! Ticks are coarse (67 ms), deadlines are exact: when a tick begins, its list moves into a heap
//! ordered by deadline, and entries leave it one by one as time passes them.
//!
//! Life of a hint: list of a level → (cascade, as its time nears) → list of a nearer level → heap
//! of the current tick → expired, or a list again because a packet had moved the deadline.

use std::collections::BinaryHeap;

use core::cmp::Reverse;

use crate::entry::{Entry, NONE};
use crate::time::Instant;

/// Nanoseconds of a tick, as a shift: 2²⁶ ns = 67 ms.
const TICK_SHIFT: u32 = 26;
/// Lists of a level, as a shift.
const LEVEL_SHIFT: u32 = 6;
const LISTS: usize = 1 << LEVEL_SHIFT;
/// Levels: 64⁵ ticks are 2.3 years; what lies beyond waits in the last list and is put off again.
const LEVELS: usize = 5;
const HORIZON: u64 = 1 << (LEVEL_SHIFT * LEVELS as u32);

/// In `previous` of a list's first entry: this bit and the list's number.
const HEAD: u32 = 1 << 31;
/// In `hint`: the entry is in the heap of the current tick, or in no list.
const UNLISTED: u32 = u32::MAX;

/// The wheel. Entries are passed in: it owns none.
pub(crate) struct Wheel {
    heads: [[u32; LISTS]; LEVELS],
    /// One bit a list that is not empty.
    occupied: [u64; LEVELS],
    /// The current tick: every list before it is empty.
    tick: u64,
    /// Entries of the current tick: deadline, slot, generation.
    due: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Nothing happens before this instant.
    next: u64,
    started: bool,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel {
            heads: [[NONE; LISTS]; LEVELS],
            occupied: [0; LEVELS],
            tick: 0,
            due: BinaryHeap::new(),
            next: u64::MAX,
            started: false,
        }
    }

    /// Whether `now` may have passed a deadline: one comparison for nearly every packet.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.0 >= self.next
    }

    /// The earliest instant at which [`Wheel::pop`] may have something to do.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.next != u64::MAX).then_some(Instant(self.next))
    }

    /// Puts an entry under its deadline; it must be in no list.
    pub(crate) fn insert(&mut self, entries: &mut [Entry], slot: u32, now: Instant) {
        if !self.started {
            self.tick = now.0 >> TICK_SHIFT;
            self.started = true;
        }
        self.place(entries, slot);
    }

    /// Whether an entry's deadline comes before the tick at which the wheel looks at it: then
    /// [`Wheel::sooner`] must be told.
    #[inline]
    pub(crate) fn is_sooner(&self, entry: &Entry) -> bool {
        let tick = entry.deadline >> TICK_SHIFT;
        match entry.hint {
            // In the heap: whatever comes after this tick can wait until the heap gives it out.
            UNLISTED => tick <= self.tick,
            // Hints lie at most the wheel's horizon ahead, so that the difference fits.
            hint => ((tick as u32).wrapping_sub(hint) as i32) < 0,
        }
    }

    /// Takes note that an entry's deadline comes sooner than the wheel would look.
    #[inline(never)]
    pub(crate) fn sooner(&mut self, entries: &mut [Entry], slot: u32) {
        let Some(entry) = entries.get(slot as usize) else { return };
        if entry.hint == UNLISTED {
            // In the heap under another deadline: looked at again under this one if it is sooner.
            self.due.push(Reverse((entry.deadline, slot, entry.generation)));
            self.next = self.next.min(entry.deadline);
            return;
        }
        self.remove(entries, slot);
        self.place(entries, slot);
    }

    /// Takes an entry out of its list.
    pub(crate) fn remove(&mut self, entries: &mut [Entry], slot: u32) {
        let Some(entry) = entries.get_mut(slot as usize) else { return };
        let (next, previous) = (entry.next, entry.previous);
        let listed = entry.hint != UNLISTED;
        entry.next = NONE;
        entry.previous = NONE;
        entry.hint = UNLISTED;
        if !listed {
            // Its place in the heap is known by the generation to be void.
            return;
        }
        if let Some(entry) = entries.get_mut(next as usize) {
            entry.previous = previous;
        }
        if previous & HEAD == 0 {
            if let Some(entry) = entries.get_mut(previous as usize) {
                entry.next = next;
            }
            return;
        }
        let (level, list) = split(previous & !HEAD);
        self.set_head(level, list, next);
    }

    /// The next entry whose deadline `now` has reached, out of every list; `None` when all are in
    /// the future.
    pub(crate) fn pop(&mut self, entries: &mut [Entry], now: Instant) -> Option<u32> {
        loop {
            while let Some(&Reverse((deadline, slot, generation))) = self.due.peek() {
                if deadline > now.0 {
                    self.next = deadline;
                    return None;
                }
                self.due.pop();
                let Some(entry) = entries.get(slot as usize) else { continue };
                // Gone, or moved to a list meanwhile.
                if entry.is_free() || entry.generation != generation || entry.hint != UNLISTED {
                    continue;
                }
                if entry.deadline <= now.0 {
                    return Some(slot);
                }
                self.place(entries, slot);
            }
            if !self.advance(entries, now) {
                return None;
            }
        }
    }

    /// Goes to the next tick that holds something, if `now` has reached it.
    fn advance(&mut self, entries: &mut [Entry], now: Instant) -> bool {
        let Some(next) = self.next_occupied() else {
            self.next = u64::MAX;
            self.tick = self.tick.max(now.0 >> TICK_SHIFT);
            return false;
        };
        if next > now.0 >> TICK_SHIFT {
            self.next = next << TICK_SHIFT;
            return false;
        }
        self.tick = next;
        // From the far levels to the near ones, so that what comes down a level is met again.
        for level in (0..LEVELS).rev() {
            let list = list_at(next, level);
            // A level's list comes up when all nearer digits of the tick are zero.
            if level > 0 && next & ((1 << (LEVEL_SHIFT * level as u32)) - 1) != 0 {
                continue;
            }
            self.unload(entries, level, list);
        }
        true
    }

    /// Puts every entry of a list where it belongs now.
    fn unload(&mut self, entries: &mut [Entry], level: usize, list: usize) {
        let mut slot = self.heads[level][list];
        self.set_head(level, list, NONE);
        while let Some(entry) = entries.get_mut(slot as usize) {
            let next = entry.next;
            entry.next = NONE;
            entry.previous = NONE;
            entry.hint = UNLISTED;
            self.place(entries, slot);
            slot = next;
        }
    }

    /// The first tick after the current one that holds something, or at which a far list comes up.
    fn next_occupied(&self) -> Option<u64> {
        (0..LEVELS).filter_map(|level| self.next_on(level)).min()
    }

    fn next_on(&self, level: usize) -> Option<u64> {
        let occupied = self.occupied[level];
        if occupied == 0 {
            return None;
        }
        let shift = LEVEL_SHIFT * level as u32;
        let here = self.tick >> shift;
        // Lists after the current one, then those of the next turn.
        let position = (here as u32 + 1) % LISTS as u32;
        let distance = u64::from(occupied.rotate_right(position).trailing_zeros()) + 1;
        Some((here + distance) << shift)
    }

    /// Puts an entry that is in no list into the one of its deadline, or into the heap.
    fn place(&mut self, entries: &mut [Entry], slot: u32) {
        let Some(entry) = entries.get_mut(slot as usize) else { return };
        let tick = entry.deadline >> TICK_SHIFT;
        if tick <= self.tick {
            entry.hint = UNLISTED;
            self.due.push(Reverse((entry.deadline, slot, entry.generation)));
            self.next = self.next.min(entry.deadline);
            return;
        }
        let tick = tick.min(self.tick + HORIZON - 1);
        let distance = tick ^ self.tick;
        let level = ((63 - distance.leading_zeros()) / LEVEL_SHIFT) as usize;
        // The far end of the wheel may be on a level that does not exist: the last one, whose
        // lists are looked at once a turn.
        let level = level.min(LEVELS - 1);
        let list = list_at(tick, level);
        // The number that means "in no list" is taken for the one before, which is soon enough.
        entry.hint = (tick as u32).min(UNLISTED - 1);
        entry.previous = HEAD | (level * LISTS + list) as u32;
        entry.next = self.heads[level][list];
        let after = entry.next;
        if let Some(after) = entries.get_mut(after as usize) {
            after.previous = slot;
        }
        self.set_head(level, list, slot);
        let starts = tick >> (LEVEL_SHIFT * level as u32) << (LEVEL_SHIFT * level as u32);
        self.next = self.next.min(starts << TICK_SHIFT);
    }

    fn set_head(&mut self, level: usize, list: usize, slot: u32) {
        self.heads[level][list] = slot;
        if slot == NONE {
            self.occupied[level] &= !(1 << list);
        } else {
            self.occupied[level] |= 1 << list;
        }
    }
}

/// The list of a level that a tick falls into.
const fn list_at(tick: u64, level: usize) -> usize {
    (tick >> (LEVEL_SHIFT * level as u32)) as usize & (LISTS - 1)
}

/// Level and list from their common number.
const fn split(number: u32) -> (usize, usize) {
    let number = number as usize % (LEVELS * LISTS);
    (number / LISTS, number % LISTS)
}

#[cfg(test)]
mod tests;
