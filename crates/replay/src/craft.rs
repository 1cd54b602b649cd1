//! Captures made by hand, for the tests: every variety, and damage on demand.

use std::io::Cursor;

use crate::capture::{Capture, CaptureError, Captured};

/// Byte order of what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    pub(crate) const BOTH: [Self; 2] = [Self::Little, Self::Big];

    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub(crate) fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// A pcap file under construction.
pub(crate) struct PcapFile {
    pub(crate) bytes: Vec<u8>,
    endian: Endian,
    modified: bool,
}

impl PcapFile {
    /// Microseconds.
    pub(crate) fn new(endian: Endian, link: u32) -> Self {
        Self::with_magic(endian, 0xa1b2_c3d4, link)
    }

    pub(crate) fn with_magic(endian: Endian, magic: u32, link: u32) -> Self {
        let mut bytes = endian.u32(magic).to_vec();
        bytes.extend(endian.u16(2));
        bytes.extend(endian.u16(4));
        bytes.extend([0; 8]);
        bytes.extend(endian.u32(262_144));
        bytes.extend(endian.u32(link));
        Self { bytes, endian, modified: magic == 0xa1b2_cd34 }
    }

    /// A record with a time in seconds and the file's fraction of one.
    pub(crate) fn record(mut self, time: (u32, u32), frame: &[u8], original: u32) -> Self {
        for field in [time.0, time.1, frame.len() as u32, original] {
            self.bytes.extend(self.endian.u32(field));
        }
        if self.modified {
            self.bytes.extend([0; 8]);
        }
        self.bytes.extend(frame);
        self
    }

    /// A record captured whole.
    pub(crate) fn frame(self, time: (u32, u32), frame: &[u8]) -> Self {
        self.record(time, frame, frame.len() as u32)
    }
}

/// A pcapng file under construction.
pub(crate) struct PcapngFile {
    pub(crate) bytes: Vec<u8>,
    endian: Endian,
}

impl PcapngFile {
    pub(crate) fn new(endian: Endian) -> Self {
        Self { bytes: Vec::new(), endian }.section(endian)
    }

    pub(crate) fn section(mut self, endian: Endian) -> Self {
        self.endian = endian;
        let mut body = endian.u32(0x1a2b_3c4d).to_vec();
        body.extend(endian.u16(1));
        body.extend(endian.u16(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    pub(crate) fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let padded = body.len().next_multiple_of(4);
        let length = self.endian.u32(padded as u32 + 12);
        self.bytes.extend(self.endian.u32(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(length);
        self
    }

    fn options(&self, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (code, value) in options {
            bytes.extend(self.endian.u16(*code));
            bytes.extend(self.endian.u16(value.len() as u16));
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            bytes.extend([0; 4]);
        }
        bytes
    }

    pub(crate) fn interface(self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> Self {
        let mut body = self.endian.u16(link).to_vec();
        body.extend([0; 2]);
        body.extend(self.endian.u32(snap));
        body.extend(self.options(options));
        self.block(1, &body)
    }

    /// An enhanced packet block, captured whole.
    pub(crate) fn packet(
        self,
        interface: u32,
        units: u64,
        frame: &[u8],
        options: &[(u16, &[u8])],
    ) -> Self {
        let mut body = self.endian.u32(interface).to_vec();
        let length = self.endian.u32(frame.len() as u32);
        body.extend(self.endian.u32((units >> 32) as u32));
        body.extend(self.endian.u32(units as u32));
        body.extend(length);
        body.extend(length);
        body.extend(frame);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(self.options(options));
        self.block(6, &body)
    }

    /// The obsolete packet block, with a drop count.
    pub(crate) fn old_packet(self, interface: u16, units: u64, frame: &[u8]) -> Self {
        let mut body = self.endian.u16(interface).to_vec();
        body.extend(self.endian.u16(7));
        body.extend(self.endian.u32((units >> 32) as u32));
        body.extend(self.endian.u32(units as u32));
        body.extend(self.endian.u32(frame.len() as u32));
        body.extend(self.endian.u32(frame.len() as u32));
        body.extend(frame);
        self.block(2, &body)
    }

    pub(crate) fn simple_packet(self, frame: &[u8], original: u32) -> Self {
        let mut body = self.endian.u32(original).to_vec();
        body.extend(frame);
        self.block(3, &body)
    }
}

/// An IPv4 packet of UDP whose payload is its number; lengths right, checksums zero.
pub(crate) fn ipv4(number: u8) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 32, 0, number, 0, 0, 64, 17, 0, 0];
    bytes.extend([192, 0, 2, 1, 198, 51, 100, 2]);
    bytes.extend([0x9c, 0x40, 0, 53, 0, 12, 0, 0, 0, 0, 0, number]);
    bytes
}

/// The same over IPv6.
pub(crate) fn ipv6(number: u8) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 12, 17, 64];
    for last in [1, 2] {
        bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    bytes.extend([0x9c, 0x40, 0, 53, 0, 12, 0, 0, 0, 0, 0, number]);
    bytes
}

/// Puts link-layer bytes in front.
pub(crate) fn framed(header: &[u8], packet: &[u8]) -> Vec<u8> {
    [header, packet].concat()
}

/// An Ethernet header with an EtherType.
pub(crate) fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut header = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    header.extend(ethertype.to_be_bytes());
    header
}

/// A packet as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) time: u64,
    pub(crate) interface: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) original: u32,
    pub(crate) cut: bool,
}

impl From<Captured<'_>> for Seen {
    fn from(packet: Captured<'_>) -> Self {
        Self {
            number: packet.number,
            time: packet.time,
            interface: packet.interface.0,
            bytes: packet.bytes.to_vec(),
            original: packet.original_length,
            cut: packet.cut,
        }
    }
}

pub(crate) fn open(bytes: &[u8]) -> Result<Capture, CaptureError> {
    Capture::from_reader("test.pcap", Cursor::new(bytes.to_vec()))
}

/// All that can be read, and the error at its end.
pub(crate) fn read(bytes: &[u8]) -> (Vec<Seen>, Option<CaptureError>) {
    let mut capture = match open(bytes) {
        Ok(capture) => capture,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut seen = Vec::new();
    loop {
        match capture.advance() {
            Ok(true) => seen.push(capture.packet().into()),
            Ok(false) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

/// Says that a test is skipped for want of a program; with STATEWARD_REQUIRE_TOOLS=1 that fails.
pub(crate) fn skip_without(program: &str) {
    let required = std::env::var_os("STATEWARD_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "STATEWARD_REQUIRE_TOOLS=1, but {program} is not installed");
    eprintln!("skipped: {program} is not installed");
}
