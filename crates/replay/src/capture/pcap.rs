//! pcap: one header, then records of a fixed header and a frame.
//!
//! All five varieties are read: microseconds and nanoseconds, each in both byte orders, and
//! Kuznetsov's "modified" pcap, whose record headers are eight bytes longer, in both byte orders as
//! well.

use pcap_parser::PcapError;
use pcap_parser::nom::{Err as Nom, IResult, Needed};
use pcap_parser::pcap::{
    LegacyPcapBlock, PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified,
    parse_pcap_header,
};

use super::error::CaptureErrorKind;
use super::frame::Frame;
use super::order::Order;
use super::window::Window;
use super::{MAX_PACKET, shortfall};

/// The file header's length.
const HEADER: usize = 24;
/// Modified pcap, written big-endian; pcap-parser knows the little-endian one alone.
const MODIFIED_BIG: [u8; 4] = [0xa1, 0xb2, 0xcd, 0x34];
/// The microsecond magic, big-endian.
const PLAIN_BIG: [u8; 4] = [0xa1, 0xb2, 0xc3, 0xd4];
/// The bits of the link-type field that hold the link type; the others tell of a frame check
/// sequence.
const LINK_BITS: u32 = 0x03ff_ffff;

type ParseRecord = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// The records of a pcap file whose header has been read.
pub(super) struct Records {
    parse: ParseRecord,
    /// Length of a record's header.
    header: usize,
    /// Nanoseconds in a unit of the record's fraction of a second.
    unit: u64,
    /// The file's link type.
    pub(super) link: u32,
    pub(super) order: Order,
}

/// True if a capture that begins so is pcap.
pub(super) fn is_pcap(magic: [u8; 4]) -> bool {
    magic == MODIFIED_BIG
        || matches!(u32::from_le_bytes(magic), 0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34)
        || matches!(u32::from_be_bytes(magic), 0xa1b2_c3d4 | 0xa1b2_3c4d)
}

impl Records {
    /// Reads the file header.
    pub(super) fn open(window: &mut Window) -> Result<Self, CaptureErrorKind> {
        if !window.fill(HEADER) {
            return Err(shortfall(window, HEADER as u64));
        }
        let mut bytes: [u8; HEADER] = match window.unread().first_chunk() {
            Some(bytes) => *bytes,
            None => return Err(shortfall(window, HEADER as u64)),
        };
        let modified_big = bytes.starts_with(&MODIFIED_BIG);
        if modified_big {
            bytes[..4].copy_from_slice(&PLAIN_BIG);
        }
        let Ok((_, header)) = parse_pcap_header(&bytes) else {
            let [a, b, c, d, ..] = bytes;
            return Err(CaptureErrorKind::NotACapture { magic: [a, b, c, d] });
        };
        window.consume(HEADER);
        Ok(Self::new(&header, modified_big))
    }

    fn new(header: &PcapHeader, modified_big: bool) -> Self {
        let order = if header.is_bigendian() { Order::Big } else { Order::Little };
        let (parse, length): (ParseRecord, usize) = match order {
            Order::Big if modified_big => (parse_modified_big, 24),
            Order::Big => (parse_pcap_frame_be, 16),
            Order::Little if header.is_modified_format() => (parse_pcap_frame_modified, 24),
            Order::Little => (parse_pcap_frame, 16),
        };
        let unit = if header.is_nanosecond_precision() { 1 } else { 1_000 };
        let link = header.network.0.cast_unsigned() & LINK_BITS;
        Self { parse, header: length, unit, link, order }
    }

    /// The next record, or `None` at the end of the file.
    pub(super) fn next(&self, window: &mut Window) -> Result<Option<Frame>, CaptureErrorKind> {
        window.begin_record();
        loop {
            let have = window.unread().len();
            let missing = match (self.parse)(window.unread()) {
                Ok((_, record)) if record.data.len() <= MAX_PACKET => {
                    return Ok(Some(self.frame(&record)));
                }
                Ok((_, record)) => {
                    return Err(CaptureErrorKind::RecordTooLong { claimed: record.caplen.into() });
                }
                Err(Nom::Incomplete(Needed::Size(missing))) => missing.get(),
                // The parsers fail in no other way.
                Err(_) => 1,
            };
            let want = have + missing;
            if want > self.header + MAX_PACKET {
                return Err(CaptureErrorKind::RecordTooLong {
                    claimed: (want - self.header) as u64,
                });
            }
            if !window.fill(want) {
                return if window.unread().is_empty() {
                    super::end(window)
                } else {
                    Err(shortfall(window, want as u64))
                };
            }
        }
    }

    fn frame(&self, record: &LegacyPcapBlock<'_>) -> Frame {
        let fraction = u64::from(record.ts_usec) * self.unit;
        let end = self.header + record.data.len();
        Frame {
            time: Some(u64::from(record.ts_sec) * 1_000_000_000 + fraction),
            declared: 0,
            direction: None,
            start: self.header,
            end,
            record: end,
            original: record.origlen,
        }
    }
}

fn parse_modified_big(bytes: &[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>> {
    let incomplete = |have: usize, want: usize| Nom::Incomplete(Needed::new(want - have));
    let field = |at| Order::Big.u32(bytes, at).ok_or(incomplete(bytes.len().min(23), 24));
    let (ts_sec, ts_usec, caplen, origlen) = (field(0)?, field(4)?, field(8)?, field(12)?);
    let rest = bytes.get(24..).ok_or(incomplete(bytes.len().min(23), 24))?;
    let Some((data, rest)) = rest.split_at_checked(caplen as usize) else {
        return Err(incomplete(rest.len(), caplen as usize));
    };
    Ok((rest, LegacyPcapBlock { ts_sec, ts_usec, caplen, origlen, data }))
}
