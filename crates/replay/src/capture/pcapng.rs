//! pcapng: a file of blocks, in sections, each with its byte order and its interfaces.
//!
//! Blocks that occur once, the section header and the interface description, are parsed by
//! pcap-parser. The three that carry packets (enhanced, simple, and the obsolete one, which
//! pcap-parser does not know) are read here, without the list of options that would be an
//! allocation a packet. All others (names, statistics, secrets, journal entries, custom blocks) are
//! walked over without being kept, however long they are.
//!
//! Invariant: while a section is open its `declared` holds one entry per interface description, in
//! order; a packet names an interface by that position.
//!
//! Source: draft-ietf-opsawg-pcapng.

use std::borrow::Cow;

use pcap_parser::pcapng::{
    BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode, SHB_MAGIC, SPB_MAGIC,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
    parse_sectionheaderblock,
};

use super::error::CaptureErrorKind;
use super::frame::Frame;
use super::interface::{InterfaceRef, Interfaces, MAX_INTERFACES};
use super::order::Order;
use super::window::{self, Window};
use super::{Direction, MAX_PACKET, shortfall};

/// The Packet Block of 2004, which the Enhanced Packet Block replaced.
const OPB_MAGIC: u32 = 2;
/// Type and length in front, length behind.
const FRAMING: u32 = 12;
/// `opt_endofopt` and `epb_flags`; the obsolete block's `pack_flags` has the same number and
/// layout.
const OPTION_END: u16 = 0;
const OPTION_FLAGS: u16 = 2;

/// The open section of a pcapng file.
pub(super) struct Sections {
    pub(super) order: Order,
    declared: Vec<Declared>,
}

/// An interface as its section describes it.
pub(super) struct Declared {
    pub(super) interface: InterfaceRef,
    pub(super) link: u32,
    clock: Clock,
    snap_length: u32,
}

impl Sections {
    /// A file in which no section has begun yet; the first block must be a section header.
    pub(super) fn new() -> Self {
        Self { order: Order::Little, declared: Vec::new() }
    }

    /// The interface at a position of the open section.
    pub(super) fn declared(&self, position: usize) -> Option<&Declared> {
        self.declared.get(position)
    }

    /// The next packet, or `None` at the end of the file. Sections and interfaces on the way are
    /// taken in.
    pub(super) fn next(
        &mut self,
        window: &mut Window,
        interfaces: &mut Interfaces,
    ) -> Result<Option<Frame>, CaptureErrorKind> {
        loop {
            window.begin_record();
            if !window.fill(FRAMING as usize) {
                if window.unread().is_empty() {
                    return super::end(window);
                }
                return Err(shortfall(window, FRAMING.into()));
            }
            let (block, length) = self.head(window.unread())?;
            match block {
                SHB_MAGIC => self.section(window, length)?,
                IDB_MAGIC => self.interface(window, length, interfaces)?,
                EPB_MAGIC | OPB_MAGIC => return self.packet(window, block, length).map(Some),
                SPB_MAGIC => return self.simple(window, length).map(Some),
                _ => self.pass(window, block, length)?,
            }
        }
    }

    /// The type and length of the block at hand. A section header settles the byte order first, its
    /// own length's included.
    fn head(&mut self, bytes: &[u8]) -> Result<(u32, u32), CaptureErrorKind> {
        // The caller has seen to it that these twelve bytes are there.
        let field = |order: Order, at| order.u32(bytes, at).unwrap_or_default();
        let block = field(self.order, 0);
        if block == SHB_MAGIC {
            let mark = field(Order::Little, 8);
            self.order = match mark {
                BOM_MAGIC => Order::Little,
                _ if mark.swap_bytes() == BOM_MAGIC => Order::Big,
                _ => {
                    let magic = mark.to_le_bytes();
                    return Err(CaptureErrorKind::Section { magic, major: None });
                }
            };
        }
        let first = field(self.order, 4);
        let least = match block {
            SHB_MAGIC => 28,
            IDB_MAGIC => 20,
            EPB_MAGIC | OPB_MAGIC => 32,
            SPB_MAGIC => 16,
            _ => FRAMING,
        };
        if first < least || first % 4 != 0 {
            return Err(CaptureErrorKind::BlockLength { block, first, last: None });
        }
        Ok((block, first))
    }

    /// Waits for a whole block that must be held at once, and checks the second copy of its length.
    fn hold(&self, window: &mut Window, block: u32, first: u32) -> Result<usize, CaptureErrorKind> {
        let length = first as usize;
        if length > window::LIMIT {
            return Err(CaptureErrorKind::RecordTooLong { claimed: first.into() });
        }
        if !window.fill(length) {
            return Err(shortfall(window, first.into()));
        }
        self.check_trailer(window.unread(), length - 4, block, first)?;
        Ok(length)
    }

    fn check_trailer(
        &self,
        bytes: &[u8],
        at: usize,
        block: u32,
        first: u32,
    ) -> Result<(), CaptureErrorKind> {
        match self.order.u32(bytes, at) {
            Some(last) if last == first => Ok(()),
            last => Err(CaptureErrorKind::BlockLength { block, first, last }),
        }
    }

    fn section(&mut self, window: &mut Window, first: u32) -> Result<(), CaptureErrorKind> {
        let length = self.hold(window, SHB_MAGIC, first)?;
        let bytes = window.unread().get(..length).unwrap_or_default();
        let major = match parse_sectionheaderblock(bytes) {
            Ok((_, section)) => section.major_version,
            Err(_) => 0,
        };
        if major != 1 {
            return Err(CaptureErrorKind::Section { magic: [0; 4], major: Some(major) });
        }
        self.declared.clear();
        window.consume(length);
        Ok(())
    }

    fn interface(
        &mut self,
        window: &mut Window,
        first: u32,
        interfaces: &mut Interfaces,
    ) -> Result<(), CaptureErrorKind> {
        let length = self.hold(window, IDB_MAGIC, first)?;
        let bytes = window.unread().get(..length).unwrap_or_default();
        let parsed = match self.order {
            Order::Little => parse_interfacedescriptionblock_le(bytes),
            Order::Big => parse_interfacedescriptionblock_be(bytes),
        };
        let Ok((_, description)) = parsed else { return Err(CaptureErrorKind::Interface) };
        if self.declared.len() >= MAX_INTERFACES {
            return Err(CaptureErrorKind::TooManyInterfaces);
        }
        let interface = interfaces.declare(self.declared.len(), name(&description).as_deref())?;
        let declared = Declared {
            interface,
            link: description.linktype.0.cast_unsigned(),
            clock: Clock::new(self.order, &description)?,
            snap_length: description.snaplen,
        };
        self.declared.push(declared);
        window.consume(length);
        Ok(())
    }

    /// An enhanced packet block or its predecessor: they differ in how the interface is written.
    fn packet(
        &self,
        window: &mut Window,
        block: u32,
        first: u32,
    ) -> Result<Frame, CaptureErrorKind> {
        const START: usize = 28;
        let record = self.hold(window, block, first)?;
        let bytes = window.unread().get(..record).unwrap_or_default();
        let field = |at| self.order.u32(bytes, at).unwrap_or_default();
        let interface = match block {
            OPB_MAGIC => self.order.u16(bytes, 8).unwrap_or_default().into(),
            _ => field(8),
        };
        let declared = self.described(interface)?;
        let (captured, original) = (field(20) as usize, field(24));
        let padded = captured.next_multiple_of(4);
        if captured > MAX_PACKET {
            return Err(CaptureErrorKind::RecordTooLong { claimed: captured as u64 });
        }
        if START + padded + 4 > record {
            return Err(CaptureErrorKind::Overfull { packet: captured, block: record });
        }
        let options = bytes.get(START + padded..record - 4).unwrap_or_default();
        let units = u64::from(field(12)) << 32 | u64::from(field(16));
        Ok(Frame {
            time: Some(declared.clock.nanoseconds(units)),
            declared: interface as usize,
            direction: flags(self.order, options).and_then(direction),
            start: START,
            end: START + captured,
            record,
            original,
        })
    }

    /// A simple packet block: no time, no options, always the section's first interface, and the
    /// captured length follows from that interface's snap length.
    fn simple(&self, window: &mut Window, first: u32) -> Result<Frame, CaptureErrorKind> {
        const START: usize = 12;
        let record = self.hold(window, SPB_MAGIC, first)?;
        let declared = self.described(0)?;
        let original = self.order.u32(window.unread(), 8).unwrap_or_default();
        let snap = if declared.snap_length == 0 { u32::MAX } else { declared.snap_length };
        let captured = (original.min(snap) as usize).min(record - START - 4);
        if captured > MAX_PACKET {
            return Err(CaptureErrorKind::RecordTooLong { claimed: captured as u64 });
        }
        Ok(Frame {
            time: None,
            declared: 0,
            direction: None,
            start: START,
            end: START + captured,
            record,
            original,
        })
    }

    fn described(&self, interface: u32) -> Result<&Declared, CaptureErrorKind> {
        let unknown = CaptureErrorKind::UnknownInterface { interface };
        self.declared.get(interface as usize).ok_or(unknown)
    }

    /// Walks over a block that is not kept.
    fn pass(&self, window: &mut Window, block: u32, first: u32) -> Result<(), CaptureErrorKind> {
        let body = u64::from(first) - 4;
        let had = window.skip(body);
        if had < body || !window.fill(4) {
            let have = had + window.unread().len() as u64;
            return Err(super::short_of(window, have, first.into()));
        }
        self.check_trailer(window.unread(), 0, block, first)?;
        window.consume(4);
        Ok(())
    }
}

/// The `if_name` option.
fn name<'a>(description: &'a InterfaceDescriptionBlock<'_>) -> Option<Cow<'a, str>> {
    let option = description.options.iter().find(|option| option.code == OptionCode::IfName)?;
    option.as_bytes().ok().map(String::from_utf8_lossy)
}

/// The value of the flags option, if there is one.
fn flags(order: Order, mut options: &[u8]) -> Option<u32> {
    loop {
        let code = order.u16(options, 0)?;
        let length = usize::from(order.u16(options, 2)?);
        match code {
            OPTION_END => return None,
            OPTION_FLAGS => return order.u32(options, 4),
            _ => options = options.get(4 + length.next_multiple_of(4)..)?,
        }
    }
}

/// Bits 0–1 are the direction, bits 2–4 how the frame was addressed (4: to somebody else).
fn direction(flags: u32) -> Option<Direction> {
    match (flags & 3, flags >> 2 & 7) {
        (1, 4) => Some(Direction::OtherHost),
        (1, _) => Some(Direction::In),
        (2, _) => Some(Direction::Out),
        _ => None,
    }
}

/// How an interface counts time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    unit: Unit,
    /// Nanoseconds to add.
    offset: i128,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    /// Nanoseconds a unit.
    Nanoseconds(u64),
    /// Units a nanosecond.
    PerNanosecond(u64),
    /// A second is two to this power of units.
    Binary(u8),
}

impl Clock {
    /// The unit and offset of an interface description. They are taken from the options:
    /// pcap-parser's own fields take the offset for little-endian always and know no binary units.
    fn new(
        order: Order,
        description: &InterfaceDescriptionBlock<'_>,
    ) -> Result<Self, CaptureErrorKind> {
        let value = |code| {
            let option = description.options.iter().find(|option| option.code == code)?;
            option.as_bytes().ok()
        };
        let resolution = value(OptionCode::IfTsresol).and_then(<[u8]>::first).map_or(6, |raw| *raw);
        let seconds = value(OptionCode::IfTsoffset).and_then(|raw| order.i64(raw)).unwrap_or(0);
        Ok(Self { unit: Unit::new(resolution)?, offset: i128::from(seconds) * 1_000_000_000 })
    }

    /// Nanoseconds since 1970; what lies before that or beyond 64 bits becomes the nearest that
    /// fits.
    fn nanoseconds(self, units: u64) -> u64 {
        let exact = match self.unit {
            Unit::Nanoseconds(each) => u128::from(units) * u128::from(each),
            Unit::PerNanosecond(each) => u128::from(units / each),
            Unit::Binary(power) => (u128::from(units) * 1_000_000_000) >> power,
        };
        // Below 2^94 and 2^93: the sum cannot overflow.
        let shifted = exact.cast_signed() + self.offset;
        u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)
    }
}

impl Unit {
    fn new(resolution: u8) -> Result<Self, CaptureErrorKind> {
        let power = resolution & 0x7f;
        Ok(match resolution {
            0..=9 => Self::Nanoseconds(10u64.pow(9 - u32::from(power))),
            10..=28 => Self::PerNanosecond(10u64.pow(u32::from(power) - 9)),
            0x80.. => Self::Binary(power),
            _ => return Err(CaptureErrorKind::TimeResolution { resolution }),
        })
    }
}
