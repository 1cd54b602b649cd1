//! Reading captures: pcap and pcapng, plain or compressed, as a stream of IP packets.
//!
//! [`Capture::advance`] walks to the next frame that carries IP and [`Capture::packet`] lends it
//! out of the buffer it was read into; between the two nothing is copied or allocated. What happens
//! on the way:
//!
//! 1. `source` opens the file or standard input and unpacks gzip and zstd, recognised by their
//!    first bytes;
//! 2. `window` reads ahead and keeps the unread bytes in one slice of bounded size;
//! 3. `pcap` or `pcapng` finds the next record: its time, its interface, where its frame lies;
//! 4. `link` takes the link-layer header off. Frames without IP are counted and passed over.
//!
//! A capture is what somebody recorded, not what a kernel saw, and no judgement is made here: a
//! packet's own length fields, checksums and times that run backwards are passed on as they are.
//! Only what a program needs in order to read on at all can fail, and then with everything before
//! it already handed out.
//!
//! Bounds: memory is one window (1 MiB at most), the names of the interfaces ([`MAX_INTERFACES`] at
//! most) and the decoder's; no length field in a file makes it more.

mod error;
mod frame;
mod interface;
mod link;
mod order;
mod pcap;
mod pcapng;
mod source;
mod window;

#[cfg(test)]
mod tests;

use std::io::Read;

use stateward_engine::LinkHeader;

pub use self::error::{CaptureError, CaptureErrorKind};
use self::frame::Frame;
use self::interface::Interfaces;
pub use self::interface::{Interface, InterfaceRef, MAX_INTERFACES};
use self::link::{Link, Skip};
use self::order::Order;
use self::pcap::Records;
use self::pcapng::Sections;
pub use self::source::Compression;
use self::window::Window;

/// Bytes of the longest frame that is read: the snap length tcpdump and Wireshark use for
/// "everything".
pub const MAX_PACKET: usize = 262_144;

/// A packet as it was captured: the IP header and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured<'a> {
    /// Which frame of its file it is, from 1, as Wireshark counts: frames without IP count as well.
    pub number: u64,
    /// Nanoseconds since 1970-01-01 UTC, as recorded.
    pub time: u64,
    /// Where it was captured.
    pub interface: InterfaceRef,
    /// Which way it went, where the capture says so.
    pub direction: Option<Direction>,
    /// Its Ethernet header, if it had one. What the capture does not tell of it is zeroes.
    pub link: Option<LinkHeader>,
    /// What was captured of the IP packet, from its first byte; padding of the link may follow.
    pub bytes: &'a [u8],
    /// Bytes the frame had on the wire behind the link header; at least `bytes.len()`.
    pub original_length: u32,
    /// True if bytes are missing because the capture's snap length cut them off. The lengths in the
    /// IP header have no say in this: a short frame that was captured whole is not cut but
    /// malformed.
    pub cut: bool,
}

/// Which way a packet went, seen from the machine that captured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Received, for this machine or to be forwarded by it.
    In,
    /// Sent.
    Out,
    /// Seen by a promiscuous interface, addressed to another station on the link: the IP stack of
    /// the machine that captured dropped it before netfilter.
    OtherHost,
}

/// What a capture has held so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Frames of any kind.
    pub frames: u64,
    /// IP packets handed out.
    pub packets: u64,
    /// Of those, cut by the snap length.
    pub cut: u64,
    /// ARP frames, passed over.
    pub arp: u64,
    /// Frames of other protocols, passed over.
    pub not_ip: u64,
    /// Frames too short to hold their link header and an IP version, passed over.
    pub short: u64,
}

/// An open capture.
pub struct Capture {
    file: String,
    compression: Option<Compression>,
    window: Window,
    format: Format,
    interfaces: Interfaces,
    counters: Counters,
    current: Current,
    /// Nothing more is read: the end was reached or an error was told.
    finished: bool,
}

enum Format {
    Pcap(Records),
    Pcapng(Sections),
}

/// The packet at hand; offsets count from the window's first unread byte.
#[derive(Debug, Clone, Copy)]
struct Current {
    time: u64,
    interface: InterfaceRef,
    direction: Option<Direction>,
    link: Option<LinkHeader>,
    start: usize,
    end: usize,
    original: u32,
    /// Length of the record, consumed by the next [`Capture::advance`].
    record: usize,
}

impl Capture {
    /// Opens a file, or the standard input for `-`, and reads as far as the first header.
    ///
    /// # Errors
    /// When the file cannot be opened or does not begin as a capture does.
    pub fn open(file: &str) -> Result<Self, CaptureError> {
        match source::open(file) {
            Ok(input) => Self::read_from(file, input),
            Err(kind) => Err(at_the_beginning(file, kind)),
        }
    }

    /// Reads a capture from anything; `file` is its name in error messages.
    ///
    /// # Errors
    /// When it does not begin as a capture does.
    pub fn from_reader(
        file: &str,
        input: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        Self::read_from(file, Box::new(input))
    }

    fn read_from(file: &str, input: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        let (mut window, compression) =
            source::unpack(input).map_err(|kind| at_the_beginning(file, kind))?;
        let mut interfaces = Interfaces::default();
        let format = Format::open(&mut window, &mut interfaces).map_err(|kind| CaptureError {
            compression,
            kind: attribute(kind, compression),
            ..at_the_beginning(file, CaptureErrorKind::Empty)
        })?;
        Ok(Self {
            file: file.to_owned(),
            compression,
            window,
            format,
            interfaces,
            counters: Counters::default(),
            current: Current::NONE,
            finished: false,
        })
    }

    /// Walks to the next IP packet; false at the end of the capture, and from then on.
    ///
    /// # Errors
    /// When the capture cannot be read any further. The error is told once; after it the capture is
    /// at its end.
    pub fn advance(&mut self) -> Result<bool, CaptureError> {
        if self.finished {
            return Ok(false);
        }
        loop {
            self.window.consume(self.current.record);
            self.current.record = 0;
            match self.next_frame() {
                Ok(Some(true)) => return Ok(true),
                Ok(Some(false)) => {}
                Ok(None) => {
                    self.finish();
                    return Ok(false);
                }
                Err(kind) => {
                    let error = self.error(kind);
                    self.finish();
                    return Err(error);
                }
            }
        }
    }

    /// The packet [`advance`](Self::advance) walked to; before the first and behind the last one it
    /// is empty, with the number 0.
    pub fn packet(&self) -> Captured<'_> {
        let current = &self.current;
        let bytes = self.window.unread().get(current.start..current.end).unwrap_or_default();
        Captured {
            number: if current.record == 0 { 0 } else { self.counters.frames },
            time: current.time,
            interface: current.interface,
            direction: current.direction,
            link: current.link,
            bytes,
            original_length: current.original,
            cut: current.is_cut(),
        }
    }

    /// The interfaces seen so far, in the order of their [`InterfaceRef`]s.
    pub fn interfaces(&self) -> &[Interface] {
        self.interfaces.table()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The name the capture was opened by.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// How far reading has come, in bytes of the uncompressed capture.
    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// One frame: `Some(true)` if it carries IP, `Some(false)` if it was passed over, `None` at the
    /// end.
    fn next_frame(&mut self) -> Result<Option<bool>, CaptureErrorKind> {
        let Some(frame) = self.format.next(&mut self.window, &mut self.interfaces)? else {
            return Ok(None);
        };
        let (link, declared, order) = self.format.of(&frame);
        let link = Link::from_number(link).ok_or(CaptureErrorKind::LinkType { link })?;
        let time = frame.time.unwrap_or(self.current.time);
        let bytes = self.window.unread().get(frame.start..frame.end).unwrap_or_default();
        let payload = match link::strip(link, order, bytes, frame.original) {
            Ok(payload) => payload,
            Err(skip) => {
                self.counters.skip(skip);
                self.current = Current { time, record: frame.record, ..Current::NONE };
                return Ok(Some(false));
            }
        };
        self.current = Current {
            time,
            interface: match payload.index {
                Some(index) => self.interfaces.numbered(declared, index)?,
                None => declared,
            },
            direction: frame.direction.or(payload.direction),
            link: payload.link,
            start: frame.start + payload.start,
            end: frame.start + payload.end,
            original: payload.original,
            record: frame.record,
        };
        self.counters.frames += 1;
        self.counters.packets += 1;
        self.counters.cut += u64::from(self.current.is_cut());
        Ok(Some(true))
    }

    fn finish(&mut self) {
        self.finished = true;
        self.current = Current { time: self.current.time, ..Current::NONE };
    }

    fn error(&self, kind: CaptureErrorKind) -> CaptureError {
        CaptureError {
            file: self.file.clone(),
            offset: self.window.record(),
            packet: self.counters.frames + 1,
            compression: self.compression,
            kind: attribute(kind, self.compression),
        }
    }
}

impl Current {
    const NONE: Self = Self {
        time: 0,
        interface: InterfaceRef(0),
        direction: None,
        link: None,
        start: 0,
        end: 0,
        original: 0,
        record: 0,
    };

    fn is_cut(&self) -> bool {
        self.end - self.start < self.original as usize
    }
}

impl Counters {
    fn skip(&mut self, why: Skip) {
        self.frames += 1;
        match why {
            Skip::Arp => self.arp += 1,
            Skip::Other => self.not_ip += 1,
            Skip::Short => self.short += 1,
        }
    }
}

impl Format {
    /// Tells the format by its first bytes.
    fn open(window: &mut Window, interfaces: &mut Interfaces) -> Result<Self, CaptureErrorKind> {
        let known = window.fill(4);
        let Some(magic) = window.unread().first_chunk::<4>().copied().filter(|_| known) else {
            let empty = window.unread().is_empty();
            return Err(match shortfall(window, 4) {
                CaptureErrorKind::Truncated { .. } if empty => CaptureErrorKind::Empty,
                other => other,
            });
        };
        if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            return Ok(Self::Pcapng(Sections::new()));
        }
        if !pcap::is_pcap(magic) {
            return Err(CaptureErrorKind::NotACapture { magic });
        }
        let records = Records::open(window)?;
        interfaces.declare(0, None)?;
        Ok(Self::Pcap(records))
    }

    fn next(
        &mut self,
        window: &mut Window,
        interfaces: &mut Interfaces,
    ) -> Result<Option<Frame>, CaptureErrorKind> {
        match self {
            Self::Pcap(records) => records.next(window),
            Self::Pcapng(sections) => sections.next(window, interfaces),
        }
    }

    /// The link type, interface and byte order of a frame.
    fn of(&self, frame: &Frame) -> (u32, InterfaceRef, Order) {
        match self {
            Self::Pcap(records) => (records.link, InterfaceRef(0), records.order),
            Self::Pcapng(sections) => match sections.declared(frame.declared) {
                Some(declared) => (declared.link, declared.interface, sections.order),
                // A frame is only made for a declared interface.
                None => (u32::MAX, InterfaceRef(0), sections.order),
            },
        }
    }
}

fn at_the_beginning(file: &str, kind: CaptureErrorKind) -> CaptureError {
    CaptureError { file: file.to_owned(), offset: 0, packet: 0, compression: None, kind }
}

/// Says of a failed read whether the compressed data or the disk is to blame.
fn attribute(kind: CaptureErrorKind, compression: Option<Compression>) -> CaptureErrorKind {
    match kind {
        CaptureErrorKind::Read(error) => source::read_failure(error, compression),
        other => other,
    }
}

/// Why the window could not be filled with `want` bytes.
fn shortfall(window: &mut Window, want: u64) -> CaptureErrorKind {
    let have = window.unread().len() as u64;
    short_of(window, have, want)
}

/// The same where part of the `want` bytes has been consumed already.
fn short_of(window: &mut Window, have: u64, want: u64) -> CaptureErrorKind {
    match window.take_failure() {
        Some(error) => CaptureErrorKind::Read(error),
        None => CaptureErrorKind::Truncated { have, want },
    }
}

/// The stream is at its end between two records, unless it failed there.
fn end(window: &mut Window) -> Result<Option<Frame>, CaptureErrorKind> {
    match window.take_failure() {
        Some(error) => Err(CaptureErrorKind::Read(error)),
        None => Ok(None),
    }
}
