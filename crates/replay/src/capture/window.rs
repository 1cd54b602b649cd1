//! A window over a stream of bytes: what has been read and not yet used lies in one slice.
//!
//! The formats ask for as many bytes as they need ([`Window::fill`]), look at them
//! ([`Window::unread`]) and move on ([`Window::consume`]). The buffer starts at [`START`] bytes and
//! grows only when one record needs more, never beyond [`LIMIT`]; whatever a length field claims,
//! no more memory than that is taken. A read asks the operating system for all the space there is
//! but is satisfied with what the format needs, so that a capture arriving through a pipe is seen
//! packet by packet.
//!
//! Invariant: `start <= end <= buffer.len()`, and `passed + start` is the stream's offset of
//! `unread()`.

use std::io::{self, Read};

/// Bytes of the buffer at first: large enough that system calls do not count, small enough for the
/// cache.
const START: usize = 128 * 1024;
/// Bytes the buffer may grow to: one packet with the longest options, rounded up.
pub(super) const LIMIT: usize = 1024 * 1024;

pub(super) struct Window {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    passed: u64,
    record: u64,
    ended: bool,
    failure: Option<io::Error>,
}

impl Window {
    /// A window over `source` whose first bytes, `prefix`, have been read already.
    pub(super) fn new(source: Box<dyn Read + Send>, prefix: &[u8]) -> Self {
        let mut buffer = prefix.to_vec();
        buffer.resize(START.max(prefix.len()), 0);
        let end = prefix.len();
        Self { source, buffer, start: 0, end, passed: 0, record: 0, ended: false, failure: None }
    }

    /// What has been read and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The stream's offset of the first unread byte.
    pub(super) fn offset(&self) -> u64 {
        self.passed + self.start as u64
    }

    /// Notes that a record begins at the first unread byte.
    pub(super) fn begin_record(&mut self) {
        self.record = self.offset();
    }

    /// Where the record at hand begins, also when part of it has been consumed.
    pub(super) fn record(&self) -> u64 {
        self.record
    }

    /// Reads until `want` bytes are unread; false if the stream ends or fails before, or if `want`
    /// is more than [`LIMIT`].
    pub(super) fn fill(&mut self, want: usize) -> bool {
        self.end - self.start >= want || self.read_on(want)
    }

    fn read_on(&mut self, want: usize) -> bool {
        if want > LIMIT {
            return false;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.passed += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if want > self.buffer.len() {
            self.buffer.resize(want.next_power_of_two().min(LIMIT), 0);
        }
        while self.end < want && !self.ended {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(space) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read.min(space.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(error);
                    self.ended = true;
                }
            }
        }
        self.end >= want
    }

    /// Moves on by `count` unread bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Moves on by `count` bytes of the stream without keeping them; returns how many were there.
    pub(super) fn skip(&mut self, count: u64) -> u64 {
        let mut left = count;
        loop {
            let step = left.min((self.end - self.start) as u64);
            self.start += step as usize;
            left -= step;
            if left == 0 || !self.fill(1) {
                return count - left;
            }
        }
    }

    /// The error that ended the stream, if it was not its end; told once.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }
}
