//! Writing pcapng: what left the machine, each packet with a comment that Wireshark shows.
//!
//! One section in little-endian order; one interface description per interface, written when it is
//! first named, of raw IP packets and nanoseconds; one enhanced packet block per packet. No block
//! is kept in memory and nothing is allocated per packet. The blocks are written by hand because
//! pcap-parser's serializer allocates for each.
//!
//! Nothing is ever half written: the bytes go to a new file beside the one asked for, which takes
//! its name in [`Writer::finish`], when all is on the disk. A writer dropped before that removes
//! the new file. What is no regular file (a pipe, `/dev/null`, `-` for the standard output) is
//! written to directly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::capture::Direction;

/// Bytes gathered before they are written.
const BUFFER: usize = 256 * 1024;
/// Attempts to find a name for the new file that nobody has.
const NAMES: u32 = 100;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_RAW: u16 = 101;

const OPTION_COMMENT: u16 = 1;
const OPTION_NAME: u16 = 2;
const OPTION_FLAGS: u16 = 2;
const OPTION_APPLICATION: u16 = 4;
const OPTION_RESOLUTION: u16 = 9;
/// Units of 10⁻⁹ s.
const NANOSECONDS: u8 = 9;

/// An interface of a file being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenInterface(u32);

/// A packet to be written.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The interface, from [`Writer::interface`].
    pub interface: WrittenInterface,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Which way it went, if that is to be said.
    pub direction: Option<Direction>,
    /// The IP packet, as far as it is known.
    pub bytes: &'a [u8],
    /// Its length on the wire; more than `bytes.len()` if the capture it came from was cut.
    pub original_length: u32,
    /// What Wireshark shows as the packet's comment; none if empty. Beyond 65,535 bytes it is cut.
    pub comment: &'a str,
}

/// A pcapng file being written.
pub struct Writer {
    out: BufWriter<Box<dyn Write + Send>>,
    interfaces: u32,
    /// The file that takes its name at the end; none when writing directly.
    pending: Option<Pending>,
}

impl Writer {
    /// Begins a file; `-` is the standard output.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn create(file: &str) -> io::Result<Self> {
        if file == "-" {
            return Self::begin(Box::new(io::stdout()), None);
        }
        // Through a symbolic link the file it points to is replaced, not the link.
        let target = fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
        match fs::metadata(&target) {
            Ok(known) if !known.is_file() => {
                let direct = OpenOptions::new().write(true).open(&target)?;
                Self::begin(Box::new(direct), None)
            }
            _ => {
                let (pending, opened) = Pending::create(target)?;
                Self::begin(Box::new(opened), Some(pending))
            }
        }
    }

    fn begin(out: Box<dyn Write + Send>, pending: Option<Pending>) -> io::Result<Self> {
        let mut writer =
            Self { out: BufWriter::with_capacity(BUFFER, out), interfaces: 0, pending };
        let application = concat!("stateward ", env!("CARGO_PKG_VERSION"));
        let options = option_length(application.len()) + END_OF_OPTIONS.len();
        let length = 28 + options as u32;
        writer.words(&[SECTION_HEADER, length, BYTE_ORDER])?;
        // Version 1.0, and a section whose length is not told.
        writer.out.write_all(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])?;
        writer.option(OPTION_APPLICATION, application.as_bytes())?;
        writer.out.write_all(&END_OF_OPTIONS)?;
        writer.words(&[length])?;
        Ok(writer)
    }

    /// Describes an interface.
    ///
    /// # Errors
    /// When the disk is full or the like.
    pub fn interface(&mut self, name: &str) -> io::Result<WrittenInterface> {
        let name = shortened(name).as_bytes();
        let options = option_length(name.len()) + option_length(1) + END_OF_OPTIONS.len();
        let length = 20 + options as u32;
        self.words(&[INTERFACE_DESCRIPTION, length, u32::from(LINKTYPE_RAW), 0])?;
        self.option(OPTION_NAME, name)?;
        self.option(OPTION_RESOLUTION, &[NANOSECONDS])?;
        self.out.write_all(&END_OF_OPTIONS)?;
        self.words(&[length])?;
        self.interfaces += 1;
        Ok(WrittenInterface(self.interfaces - 1))
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// When the disk is full or the like, or when a packet's length does not fit in 32 bits.
    pub fn packet(&mut self, record: &Record<'_>) -> io::Result<()> {
        let comment = shortened(record.comment);
        let flags = record.direction.map(flags);
        let mut options = 0;
        if !comment.is_empty() {
            options += option_length(comment.len());
        }
        if flags.is_some() {
            options += option_length(4);
        }
        if options > 0 {
            options += END_OF_OPTIONS.len();
        }
        let captured = u32::try_from(record.bytes.len()).map_err(io::Error::other)?;
        let padded = record.bytes.len().next_multiple_of(4);
        let length = u32::try_from(32 + padded + options).map_err(io::Error::other)?;
        let (high, low) = ((record.time >> 32) as u32, record.time as u32);
        let WrittenInterface(interface) = record.interface;
        let original = record.original_length.max(captured);
        self.words(&[ENHANCED_PACKET, length, interface, high, low, captured, original])?;
        self.padded(record.bytes)?;
        if !comment.is_empty() {
            self.option(OPTION_COMMENT, comment.as_bytes())?;
        }
        if let Some(flags) = flags {
            self.option(OPTION_FLAGS, &flags.to_le_bytes())?;
        }
        if options > 0 {
            self.out.write_all(&END_OF_OPTIONS)?;
        }
        self.words(&[length])
    }

    /// Brings everything to the disk and gives the file its name.
    ///
    /// # Errors
    /// When the disk is full or the like; then the file asked for is as it was before.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        match self.pending.take() {
            Some(pending) => pending.commit(),
            None => Ok(()),
        }
    }

    fn words(&mut self, words: &[u32]) -> io::Result<()> {
        words.iter().try_for_each(|word| self.out.write_all(&word.to_le_bytes()))
    }

    fn option(&mut self, code: u16, value: &[u8]) -> io::Result<()> {
        // Values are at most 65,535 bytes: see `shortened`.
        self.out.write_all(&code.to_le_bytes())?;
        self.out.write_all(&(value.len() as u16).to_le_bytes())?;
        self.padded(value)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.out.write_all([0; 3].get(..padding).unwrap_or_default())
    }
}

/// `opt_endofopt`.
const END_OF_OPTIONS: [u8; 4] = [0; 4];

fn option_length(value: usize) -> usize {
    4 + value.next_multiple_of(4)
}

/// `epb_flags`: the direction in bits 0–1, the way of reception in bits 2–4.
fn flags(direction: Direction) -> u32 {
    match direction {
        Direction::In => 1,
        Direction::Out => 2,
        Direction::OtherHost => 1 | 4 << 2,
    }
}

/// As much of a text as an option's length field can say.
fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or(text)
}

/// A file that has not got its name yet.
struct Pending {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Pending {
    fn create(target: PathBuf) -> io::Result<(Self, File)> {
        let Some(name) = target.file_name() else {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "not the name of a file"));
        };
        let directory = target.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut attempt = 0;
        loop {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{attempt}.tmp", std::process::id()));
            let path = directory.join(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let pending = Self { file, path, target };
                    let opened = pending.file.try_clone()?;
                    // Who may not read the old one may not read the new one.
                    if let Ok(known) = fs::metadata(&pending.target) {
                        opened.set_permissions(known.permissions())?;
                    }
                    return Ok((pending, opened));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < NAMES => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        // Nothing is left to be removed.
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Best effort: there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
