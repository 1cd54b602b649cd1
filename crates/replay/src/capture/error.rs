//! What can be wrong with a capture, and the sentence that says so.
//!
//! A capture is a file somebody made elsewhere, often with a program that was killed. Whatever is
//! readable is handed out first; then comes exactly one [`CaptureError`], which names the file, the
//! packet and the byte where reading stopped, so that the user can look at that place with another
//! tool.

use std::fmt;
use std::io;

use super::source::Compression;

/// Why reading a capture stopped before its end.
#[derive(Debug)]
pub struct CaptureError {
    /// The file as the user named it; `-` is the standard input.
    pub file: String,
    /// Offset of the record or block that could not be read, in bytes of the uncompressed capture.
    pub offset: u64,
    /// Number of the frame that could not be read; the first frame of a file is 1. 0 when the file
    /// could not be opened or is no capture.
    pub packet: u64,
    /// Set when the capture was compressed: `offset` then counts decompressed bytes.
    pub compression: Option<Compression>,
    /// What was wrong.
    pub kind: CaptureErrorKind,
}

/// The kinds of damage, each with the numbers that show it.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureErrorKind {
    /// The file cannot be opened.
    Open(io::Error),
    /// The operating system failed to read on.
    Read(io::Error),
    /// The gzip or zstd data is damaged or ends too early.
    Decompress(io::Error),
    /// There is not a single byte.
    Empty,
    /// The first bytes are those of no capture format we read.
    NotACapture {
        /// The first four bytes.
        magic: [u8; 4],
    },
    /// The capture ends in the middle of a header, a record or a block.
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that ought to be.
        want: u64,
    },
    /// A record claims to be longer than any packet.
    RecordTooLong {
        /// The length it claims.
        claimed: u64,
    },
    /// A pcapng block's length is no multiple of four, or too small for its kind, or its two copies
    /// differ.
    BlockLength {
        /// The block's type code.
        block: u32,
        /// The length in front of the block.
        first: u32,
        /// The length behind it, where that was read.
        last: Option<u32>,
    },
    /// A pcapng packet is longer than the block that holds it.
    Overfull {
        /// Bytes the packet claims.
        packet: usize,
        /// Bytes of the whole block.
        block: usize,
    },
    /// A pcapng section announces neither byte order, or a version we do not know.
    Section {
        /// The byte-order magic as it lies in the file.
        magic: [u8; 4],
        /// The major version, if the byte order was legible.
        major: Option<u16>,
    },
    /// A pcapng interface description cannot be parsed.
    Interface,
    /// A pcapng packet names an interface that its section has not described.
    UnknownInterface {
        /// The number it names.
        interface: u32,
    },
    /// A pcapng interface counts time in units we cannot turn into nanoseconds.
    TimeResolution {
        /// The `if_tsresol` byte.
        resolution: u8,
    },
    /// Packets of this link-layer header type cannot be read.
    LinkType {
        /// The number as tcpdump.org lists it.
        link: u32,
    },
    /// More interfaces than [`MAX_INTERFACES`](super::MAX_INTERFACES), which no real capture has.
    TooManyInterfaces,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CaptureErrorKind as Kind;
        let file: &str = if self.file == "-" { "standard input" } else { &self.file };
        match &self.kind {
            Kind::Open(error) => return write!(f, "cannot open {file}: {error}"),
            Kind::Empty => return write!(f, "{file}: the file is empty"),
            Kind::NotACapture { magic } => return not_a_capture(f, file, *magic),
            _ => {}
        }
        match self.packet {
            0 => write!(f, "{file}: header at byte {}", self.offset)?,
            packet => write!(f, "{file}: packet {packet} at byte {}", self.offset)?,
        }
        if let Some(compression) = self.compression {
            write!(f, " of the decompressed {compression} data")?;
        }
        write!(f, ": {}", self.kind)
    }
}

fn not_a_capture(f: &mut fmt::Formatter<'_>, file: &str, magic: [u8; 4]) -> fmt::Result {
    let [a, b, c, d] = magic;
    write!(f, "{file}: this is neither pcap nor pcapng")?;
    match magic {
        [0xfd, b'7', b'z', b'X'] => {
            write!(f, " but xz; unpack it first, only gzip and zstd are read")
        }
        [b'B', b'Z', b'h', _] => {
            write!(f, " but bzip2; unpack it first, only gzip and zstd are read")
        }
        [0x04, 0x22, 0x4d, 0x18] => {
            write!(f, " but lz4; unpack it first, only gzip and zstd are read")
        }
        [b'P', b'K', 3, 4] => write!(f, " but a zip archive; unpack it first"),
        [b's', b'n', b'o', b'o'] => write!(f, " but snoop; `editcap -F pcapng` converts it"),
        _ => write!(f, " (its first bytes are {a:02x} {b:02x} {c:02x} {d:02x})"),
    }
}

impl fmt::Display for CaptureErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "cannot be opened: {error}"),
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::Decompress(error) => {
                write!(f, "the compressed data is damaged or cut off: {error}")
            }
            Self::Empty => write!(f, "the file is empty"),
            Self::NotACapture { .. } => write!(f, "this is neither pcap nor pcapng"),
            Self::Truncated { have, want } => {
                write!(f, "the capture ends in the middle of it: {have} of {want} bytes are there")
            }
            Self::RecordTooLong { claimed } => write!(
                f,
                "its record claims {claimed} bytes, more than a packet can have ({}): damaged \
                 from here on",
                super::MAX_PACKET
            ),
            Self::BlockLength { block, first, last: None } => write!(
                f,
                "a block of type {block:#010x} claims an impossible length of {first} bytes: \
                 damaged from here on"
            ),
            Self::BlockLength { block, first, last: Some(last) } => write!(
                f,
                "a block of type {block:#010x} claims {first} bytes in front and {last} behind: \
                 damaged from here on"
            ),
            Self::Overfull { packet, block } => write!(
                f,
                "a packet of {packet} bytes does not fit in its block of {block}: damaged from \
                 here on"
            ),
            Self::Section { major: Some(major), .. } => {
                write!(f, "a section of pcapng version {major}; only version 1 is known")
            }
            Self::Section { magic: [a, b, c, d], major: None } => write!(
                f,
                "a section header without a byte-order mark (there is {a:02x} {b:02x} {c:02x} \
                 {d:02x})"
            ),
            Self::Interface => write!(f, "an interface description is damaged"),
            Self::UnknownInterface { interface } => {
                write!(f, "it names interface {interface}, which its section has not described")
            }
            Self::TimeResolution { resolution } => {
                write!(
                    f,
                    "an interface counts time in unknown units (if_tsresol {resolution:#04x})"
                )
            }
            Self::LinkType { link } => write!(
                f,
                "link type {link} is not one of those we read: Ethernet 1, RAW 12, 14 and 101, \
                 IPV4 228, \
                 IPV6 229, NULL 0, LOOP 108, LINUX_SLL 113, LINUX_SLL2 276, NFLOG 239"
            ),
            Self::TooManyInterfaces => {
                write!(f, "it is the first of more than {} interfaces", super::MAX_INTERFACES)
            }
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            CaptureErrorKind::Open(error)
            | CaptureErrorKind::Read(error)
            | CaptureErrorKind::Decompress(error) => Some(error),
            _ => None,
        }
    }
}
