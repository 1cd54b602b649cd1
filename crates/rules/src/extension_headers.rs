//! IPv6 extension headers as matches look for them, which is not how a packet's upper header is
//! found: a header counts where it stands in the chain, and a chain that is cut short is a broken
//! packet.

use crate::evaluate::Stop;

/// Hop-by-hop options.
pub(crate) const HOP: u8 = 0;
/// Routing.
pub(crate) const ROUTING: u8 = 43;
/// Fragment.
pub(crate) const FRAGMENT: u8 = 44;
/// ESP: nothing behind it can be read.
pub(crate) const ESP: u8 = 50;
/// Authentication.
pub(crate) const AUTH: u8 = 51;
/// Nothing follows.
pub(crate) const NONE: u8 = 59;
/// Destination options.
pub(crate) const DESTINATION: u8 = 60;

const FIXED: usize = 40;
/// Of a routing header so much is looked at, whatever is looked for.
const ROUTING_FIXED: usize = 4;

/// One header of the chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtensionHeader<'a> {
    /// From its first byte to the packet's end; at least two bytes.
    pub(crate) bytes: &'a [u8],
    /// What follows it.
    pub(crate) next: u8,
    /// Its length as it says itself.
    pub(crate) length: usize,
}

impl<'a> ExtensionHeader<'a> {
    /// All of it. A packet that ends before its header does is broken.
    pub(crate) fn whole(&self) -> Result<&'a [u8], Stop> {
        self.bytes.get(..self.length).ok_or(Stop::Hotdrop)
    }
}

/// The first header of the kind, if the chain has one. Behind a later fragment's header nothing is
/// looked for.
pub(crate) fn find(packet: &[u8], kind: u8) -> Result<Option<ExtensionHeader<'_>>, Stop> {
    let Some(mut next) = packet.get(6).copied() else { return Err(Stop::Hotdrop) };
    let mut rest = packet.get(FIXED..).unwrap_or_default();
    while matches!(next, HOP | ROUTING | FRAGMENT | AUTH | DESTINATION) {
        let header = header(next, rest).ok_or(Stop::Hotdrop)?;
        if next == ROUTING && rest.len() < ROUTING_FIXED {
            return Err(Stop::Hotdrop);
        }
        if next == kind {
            return Ok(Some(header));
        }
        if next == FRAGMENT && is_later(header.bytes).ok_or(Stop::Hotdrop)? {
            return Ok(None);
        }
        rest = rest.get(header.length..).unwrap_or_default();
        next = header.next;
    }
    Ok(None)
}

/// The header of this kind that `bytes` begin with.
pub(crate) fn header(kind: u8, bytes: &[u8]) -> Option<ExtensionHeader<'_>> {
    let [next, length] = *bytes.first_chunk()?;
    let length = match kind {
        FRAGMENT => 8,
        AUTH => (usize::from(length) + 2) * 4,
        _ => (usize::from(length) + 1) * 8,
    };
    Some(ExtensionHeader { bytes, next, length })
}

fn is_later(fragment: &[u8]) -> Option<bool> {
    let [_, _, high, low] = *fragment.first_chunk()?;
    Some(u16::from_be_bytes([high, low]) & !7 != 0)
}
