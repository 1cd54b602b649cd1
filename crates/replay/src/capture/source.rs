//! Where a capture's bytes come from: a file or the standard input, unpacked on the way if its
//! first bytes are those of gzip or zstd. Names and suffixes do not matter.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};

use super::error::CaptureErrorKind;
use super::window::Window;

/// How a capture was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Compressed bytes handed to a decoder at once.
const COMPRESSED_CHUNK: usize = 128 * 1024;

/// Opens the file, or the standard input for `-`.
pub(super) fn open(file: &str) -> Result<Box<dyn Read + Send>, CaptureErrorKind> {
    if file == "-" {
        // Not locked: a lock cannot move to another thread, and reads of 128 KiB bypass its buffer
        // anyway.
        return Ok(Box::new(io::stdin()));
    }
    match File::open(file) {
        Ok(opened) => Ok(Box::new(opened)),
        Err(error) => Err(CaptureErrorKind::Open(error)),
    }
}

/// Looks at the first four bytes and puts the decoder they ask for in between.
pub(super) fn unpack(
    mut input: Box<dyn Read + Send>,
) -> Result<(Window, Option<Compression>), CaptureErrorKind> {
    let mut magic = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut magic).map_err(CaptureErrorKind::Read)?;
    let compression = compression(&magic);
    let Some(found) = compression else { return Ok((Window::new(input, &magic), None)) };
    let whole = BufReader::with_capacity(COMPRESSED_CHUNK, Cursor::new(magic).chain(input));
    let decoder: Box<dyn Read + Send> = match found {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Zstd => Box::new(
            zstd::stream::read::Decoder::with_buffer(whole)
                .map_err(CaptureErrorKind::Decompress)?,
        ),
    };
    Ok((Window::new(decoder, &[]), compression))
}

fn compression(magic: &[u8]) -> Option<Compression> {
    match magic {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        // A frame, or one of the sixteen skippable frames that may come first.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Compression::Zstd),
        _ => None,
    }
}

/// Tells damage in the compressed data from a failing disk: only the latter has an error number.
pub(super) fn read_failure(error: io::Error, compression: Option<Compression>) -> CaptureErrorKind {
    if compression.is_some() && error.raw_os_error().is_none() {
        CaptureErrorKind::Decompress(error)
    } else {
        CaptureErrorKind::Read(error)
    }
}
