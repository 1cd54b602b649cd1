//! Several captures as one stream in the order of time.
//!
//! Each capture waits with its next packet; [`Merge::advance`] takes the earliest. Packets of the
//! same time come in the order in which the captures were given, those of one capture always in
//! their own order.
//!
//! A capture's own times may run backwards: an interface's queues are read out one after the other,
//! and clocks are set. Such a packet is raised to the latest time its capture has shown and
//! counted; it never moves to another place in its capture. Invariant: the times handed out never
//! decrease.
//!
//! A capture that turns out damaged ends there, and its error is kept; the others are merged to
//! their end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::capture::{Capture, CaptureError, Captured};

/// Captures being merged.
pub struct Merge {
    inputs: Vec<Input>,
    /// Time and position of every capture that waits with a packet.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    errors: Vec<CaptureError>,
    started: bool,
}

/// A packet at its turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coming<'a> {
    /// The capture it is from.
    pub(crate) position: usize,
    /// With its time raised if need be.
    pub(crate) packet: Captured<'a>,
    /// Its time as it was recorded.
    pub(crate) recorded: u64,
}

struct Input {
    capture: Capture,
    /// The latest time it has shown: that of the packet it waits with.
    latest: u64,
    backwards: u64,
}

impl Merge {
    /// Merges captures; on equal times the earlier one in this list comes first.
    pub fn new(captures: Vec<Capture>) -> Self {
        let input = |capture| Input { capture, latest: 0, backwards: 0 };
        let inputs: Vec<_> = captures.into_iter().map(input).collect();
        let waiting = BinaryHeap::with_capacity(inputs.len());
        Self { inputs, waiting, errors: Vec::new(), started: false }
    }

    /// Walks to the next packet; false when all captures are at their end. An error of a capture
    /// does not end the others: see [`errors`](Self::errors).
    ///
    /// The first call reads the first packet of every capture.
    pub fn advance(&mut self) -> bool {
        if !self.started {
            self.started = true;
            for (position, input) in self.inputs.iter_mut().enumerate() {
                if input.advance(&mut self.errors) {
                    self.waiting.push(Reverse((input.latest, position)));
                }
            }
        } else if let Some(mut first) = self.waiting.peek_mut() {
            let Reverse((time, position)) = &mut *first;
            let input = self.inputs.get_mut(*position);
            match input.and_then(|input| input.advance(&mut self.errors).then_some(input.latest)) {
                Some(latest) => *time = latest,
                None => drop(PeekMut::pop(first)),
            }
        }
        !self.waiting.is_empty()
    }

    /// The packet at hand, with its time raised if need be, and the position of its capture. `None`
    /// before the first [`advance`](Self::advance) and after the last.
    pub fn packet(&self) -> Option<(usize, Captured<'_>)> {
        let Reverse((time, position)) = *self.waiting.peek()?;
        let packet = self.inputs.get(position)?.capture.packet();
        Some((position, Captured { time, ..packet }))
    }

    /// The packet at hand, as [`Merge::packet`].
    pub(crate) fn coming(&self) -> Option<Coming<'_>> {
        let (position, packet) = self.packet()?;
        let recorded = self.capture(position)?.packet().time;
        Some(Coming { position, packet, recorded })
    }

    /// The captures, in the order they were given.
    pub fn captures(&self) -> impl ExactSizeIterator<Item = &Capture> {
        self.inputs.iter().map(|input| &input.capture)
    }

    /// The capture at a position.
    pub fn capture(&self, position: usize) -> Option<&Capture> {
        self.inputs.get(position).map(|input| &input.capture)
    }

    /// Packets whose time ran backwards within their capture, for each capture.
    pub fn backwards(&self) -> impl ExactSizeIterator<Item = u64> {
        self.inputs.iter().map(|input| input.backwards)
    }

    /// What ended captures early, in the order it was met.
    pub fn errors(&self) -> &[CaptureError] {
        &self.errors
    }

    /// Gives the errors away.
    pub fn into_errors(self) -> Vec<CaptureError> {
        self.errors
    }
}

impl Input {
    fn advance(&mut self, errors: &mut Vec<CaptureError>) -> bool {
        match self.capture.advance() {
            Ok(false) => return false,
            Err(error) => {
                errors.push(error);
                return false;
            }
            Ok(true) => {}
        }
        let time = self.capture.packet().time;
        if time < self.latest {
            self.backwards += 1;
        } else {
            self.latest = time;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::craft::{Endian, PcapFile, ipv4, open};

    /// A capture of packets at these seconds, each marked with its capture and position.
    fn capture(mark: u8, seconds: &[u32]) -> Capture {
        let mut file = PcapFile::new(Endian::Little, 101);
        for (position, second) in seconds.iter().enumerate() {
            let mut packet = ipv4(position as u8);
            packet[8] = mark;
            file = file.frame((*second, 0), &packet);
        }
        open(&file.bytes).unwrap()
    }

    /// Capture, position in it and second of everything merged.
    fn merged(merge: &mut Merge) -> Vec<(u8, u8, u64)> {
        let mut all = Vec::new();
        while merge.advance() {
            let (position, packet) = merge.packet().unwrap();
            assert_eq!(usize::from(packet.bytes[8]), position);
            all.push((packet.bytes[8], packet.bytes[31], packet.time / 1_000_000_000));
        }
        all
    }

    #[test]
    fn by_time_and_on_equal_times_by_position() {
        let captures = vec![capture(0, &[2, 5, 5]), capture(1, &[1, 5]), capture(2, &[])];
        let mut merge = Merge::new(captures);
        assert!(merge.packet().is_none());
        assert_eq!(merged(&mut merge), [(1, 0, 1), (0, 0, 2), (0, 1, 5), (0, 2, 5), (1, 1, 5)]);
        assert!(merge.packet().is_none());
        assert!(!merge.advance());
    }

    #[test]
    fn times_that_run_backwards_are_raised_and_counted() {
        let mut merge = Merge::new(vec![capture(0, &[3, 1, 2, 4]), capture(1, &[2, 3])]);
        assert_eq!(
            merged(&mut merge),
            [(1, 0, 2), (0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 1, 3), (0, 3, 4)]
        );
        assert_eq!(merge.backwards().collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn a_damaged_capture_does_not_end_the_others() {
        let mut file = PcapFile::new(Endian::Little, 101).frame((1, 0), &ipv4(0)).bytes;
        file.push(0);
        file[24 + 16 + 8] = 0;
        let mut merge = Merge::new(vec![open(&file).unwrap(), capture(1, &[2, 3])]);
        assert_eq!(merged(&mut merge), [(0, 0, 1), (1, 0, 2), (1, 1, 3)]);
        assert_eq!(merge.errors().len(), 1);
        assert!(merge.into_errors()[0].to_string().contains("packet 2 at byte 72"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_time_never_decreases(
            captures in prop::collection::vec(prop::collection::vec(0u32..20, 0..30), 0..8),
        ) {
            let opened =
                captures.iter().enumerate().map(|(mark, times)| capture(mark as u8, times));
            let all = merged(&mut Merge::new(opened.collect()));
            prop_assert_eq!(all.len(), captures.iter().map(Vec::len).sum::<usize>());
            prop_assert!(all.is_sorted_by_key(|packet| packet.2));
            for (mark, times) in captures.iter().enumerate() {
                let positions = all.iter().filter(|packet| usize::from(packet.0) == mark);
                prop_assert!(positions.map(|packet| packet.1).eq(0..times.len() as u8));
            }
        }
    }
}
