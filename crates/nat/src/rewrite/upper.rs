//! What each protocol has in its header that tells flows apart, and which checksum covers it.

use stateward_wire::checksum::{self, Delta};
use stateward_wire::edit::{End, Field};
use stateward_wire::gre::{GreHeader, PptpHeader};
use stateward_wire::icmp::{self, IcmpHeader};
use stateward_wire::{SctpHeader, TcpHeader, Upper, protocol};

use super::{Piece, Refusal};

/// Bytes of the upper layer that protocols with ports must have: what an ICMP error quotes at
/// least.
const QUOTED: usize = 8;

/// Where the checksum lies in the header.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
const ICMP_CHECKSUM: usize = 2;

/// What becomes of an end.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// Its new port, id or key.
    pub(super) port: u16,
    /// By how much its address moves a checksum.
    pub(super) address: Delta,
}

/// A value that a checksum covers, replaced.
#[derive(Clone, Copy)]
struct Replaced {
    old: u16,
    new: u16,
}

impl Piece<'_> {
    #[inline]
    pub(super) fn rewrite_upper(
        &mut self,
        upper: Upper,
        end: End,
        change: Change,
    ) -> Result<(), Refusal> {
        match upper.protocol {
            protocol::TCP => {
                let port = self.set_port(upper, end, change)?;
                // A quotation may end before the checksum.
                if self.has(upper, size_of::<TcpHeader>()) {
                    self.adjust(upper.offset + TCP_CHECKSUM, change.address, port);
                }
                Ok(())
            }
            protocol::UDP => self.rewrite_udp(upper, end, change),
            protocol::UDPLITE => {
                let port = self.set_port(upper, end, change)?;
                self.adjust_udp(upper.offset + UDP_CHECKSUM, change.address, port);
                Ok(())
            }
            protocol::SCTP => self.rewrite_sctp(upper, end, change),
            protocol::ICMP => self.rewrite_icmp(upper, change),
            protocol::ICMPV6 => self.rewrite_icmpv6(upper, change),
            protocol::GRE => self.rewrite_gre(upper, end, change),
            _ => Ok(()),
        }
    }

    #[inline]
    fn rewrite_udp(&mut self, upper: Upper, end: End, change: Change) -> Result<(), Refusal> {
        let field = self.word(upper.offset + UDP_CHECKSUM);
        let port = self.set_port(upper, end, change)?;
        if field != Some(0) {
            self.adjust_udp(upper.offset + UDP_CHECKSUM, change.address, port);
        }
        Ok(())
    }

    fn rewrite_sctp(&mut self, upper: Upper, end: End, change: Change) -> Result<(), Refusal> {
        self.set_port(upper, end, change)?;
        let whole = self.bytes.len() >= self.length;
        if self.field == Field::Unfinished || !whole || !self.has(upper, size_of::<SctpHeader>()) {
            return Ok(());
        }
        // A CRC has no increments worth having. It is computed even where no port changes.
        if let Some(l4) = self.bytes.get_mut(upper.offset..self.length) {
            let crc = checksum::sctp(l4);
            if let Some(header) = SctpHeader::view_mut(l4) {
                header.checksum = crc;
            }
        }
        Ok(())
    }

    fn rewrite_icmp(&mut self, upper: Upper, change: Change) -> Result<(), Refusal> {
        self.require(upper, size_of::<IcmpHeader>())?;
        if let Some(header) = self.icmp(upper)
            && icmp::v4::has_identifier(header.kind)
        {
            let id = self.set_identifier(upper, change.port);
            self.adjust(upper.offset + ICMP_CHECKSUM, Delta::NONE, id);
        }
        Ok(())
    }

    fn rewrite_icmpv6(&mut self, upper: Upper, change: Change) -> Result<(), Refusal> {
        self.require(upper, size_of::<IcmpHeader>())?;
        let id = match self.icmp(upper) {
            Some(header) if icmp::v6::has_identifier(header.kind) => {
                self.set_identifier(upper, change.port)
            }
            _ => None,
        };
        self.adjust(upper.offset + ICMP_CHECKSUM, change.address, id);
        Ok(())
    }

    /// The header names the receiver's key only, and only PPTP's version has one that is
    /// translated.
    fn rewrite_gre(&mut self, upper: Upper, end: End, change: Change) -> Result<(), Refusal> {
        self.require(upper, size_of::<PptpHeader>())?;
        let l4 = self.bytes.get_mut(upper.offset..).unwrap_or_default();
        let version = GreHeader::view(l4).map_or(0, GreHeader::version);
        match (end, version) {
            (End::Source, _) | (End::Destination, 0) => Ok(()),
            (End::Destination, 1) => {
                if let Some(header) = PptpHeader::view_mut(l4) {
                    header.call_id.set(change.port);
                }
                Ok(())
            }
            (End::Destination, _) => Err(Refusal::GreVersion),
        }
    }

    /// Whether the stated length covers so many bytes of the upper layer.
    #[inline]
    fn has(&self, upper: Upper, bytes: usize) -> bool {
        self.length >= upper.offset + bytes
    }

    #[inline]
    fn require(&self, upper: Upper, bytes: usize) -> Result<(), Refusal> {
        if self.has(upper, bytes) { Ok(()) } else { Err(Refusal::Short) }
    }

    fn icmp(&self, upper: Upper) -> Option<IcmpHeader> {
        IcmpHeader::view(self.bytes.get(upper.offset..)?).copied()
    }

    #[inline]
    fn word(&self, offset: usize) -> Option<u16> {
        self.bytes.get(offset..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
    }

    #[inline]
    fn replace(&mut self, offset: usize, new: u16) -> Option<Replaced> {
        let slot = self.bytes.get_mut(offset..)?.first_chunk_mut::<2>()?;
        let old = u16::from_be_bytes(*slot);
        *slot = new.to_be_bytes();
        Some(Replaced { old, new })
    }

    #[inline]
    fn set_port(
        &mut self,
        upper: Upper,
        end: End,
        change: Change,
    ) -> Result<Option<Replaced>, Refusal> {
        self.require(upper, QUOTED)?;
        let within = match end {
            End::Source => 0,
            End::Destination => 2,
        };
        Ok(self.replace(upper.offset + within, change.port))
    }

    fn set_identifier(&mut self, upper: Upper, id: u16) -> Option<Replaced> {
        const IDENTIFIER: usize = 4;
        self.replace(upper.offset + IDENTIFIER, id)
    }

    /// Moves the checksum at `offset`, if it is there. What a card finishes covers the value by
    /// itself.
    #[inline]
    fn adjust(&mut self, offset: usize, address: Delta, value: Option<Replaced>) -> Option<()> {
        let slot = self.bytes.get_mut(offset..)?.first_chunk_mut::<2>()?;
        let field = u16::from_be_bytes(*slot);
        let moved = match (self.field, value) {
            (Field::Unfinished, _) => address.apply_unfinished(field),
            (Field::Finished, None) => address.apply(field),
            (Field::Finished, Some(value)) => address.u16(value.old, value.new).apply(field),
        };
        *slot = moved.to_be_bytes();
        Some(())
    }

    #[inline]
    fn adjust_udp(&mut self, offset: usize, address: Delta, value: Option<Replaced>) {
        self.adjust(offset, address, value);
        if self.word(offset) == Some(0) {
            self.replace(offset, u16::MAX);
        }
    }
}
