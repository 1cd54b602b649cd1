//! An ICMP error about a connection: what it quotes is translated back, itself forth.
//!
//! The error goes against the packet it quotes. Whoever gets it must find the packet that it has
//! sent: so the end that the hook is not about is rewritten inside, to what the other direction's
//! tuple says, and outside the end that it is about, as of any packet of the connection. A hook
//! has something to do only if the connection is translated at that end.
//!
//! The kernel drops an error whose checksum is wrong at every hook that has nat's turn, translated
//! or not, because it computes the checksum of what it has changed anew. It drops redirects about
//! connections that are translated, since routes behind them mean other addresses.

use stateward_conntrack::{Direction, PerDir, Status, Tuple};
use stateward_wire::checksum::{self, Sum, Verification, verify_transport};
use stateward_wire::edit::{End, Field};
use stateward_wire::icmp::{self, IcmpHeader};
use stateward_wire::{
    Embedded, Family, Ipv4Header, Ipv6Header, Layout, Packet, U16, Upper, protocol,
};

use super::{Piece, Refusal};
use crate::Manip;

/// What an error is about.
#[derive(Clone, Copy, Debug)]
pub struct Related<'a> {
    /// Both tuples of the connection.
    pub tuples: &'a PerDir<Tuple>,
    /// The connection's status.
    pub status: Status,
    /// In which direction of the connection the error goes.
    pub direction: Direction,
}

/// Translates an ICMP or ICMPv6 error in `bytes`, at a hook that is about one end.
///
/// # Errors
/// When the kernel drops it: see [`Refusal`].
pub fn icmp_error(
    bytes: &mut [u8],
    layout: Layout,
    field: Field,
    manip: Manip,
    related: Related<'_>,
) -> Result<(), Refusal> {
    let upper = layout.upper().ok_or(Refusal::Short)?;
    let inside = upper.offset + size_of::<IcmpHeader>();
    let quoted = match layout.family() {
        Family::V4 => size_of::<Ipv4Header>(),
        Family::V6 => size_of::<Ipv6Header>(),
    };
    if layout.length() < inside + quoted {
        return Err(Refusal::Short);
    }
    let packet = Packet::with_layout(bytes, layout).ok_or(Refusal::Network)?;
    if verify_transport(&packet, upper.protocol) == Verification::Bad {
        return Err(Refusal::IcmpChecksum);
    }
    if is_redirect(&packet, upper) && may_be_translated(related.status) {
        return Err(Refusal::Redirect);
    }
    if !related.status.has(manip.translated(related.direction)) {
        return Ok(());
    }
    let before = Sum::of(packet.l4());
    translate_quotation(bytes, layout, inside, !manip.end(), related)?;
    if field == Field::Finished {
        sum_up(bytes, layout, upper, before);
    }
    let to = related.tuples[!related.direction].endpoint(!manip.end());
    super::rewrite(bytes, layout, field, manip.end(), to)
}

fn is_redirect(packet: &Packet<'_>, upper: Upper) -> bool {
    let kind = packet.l4().first().copied();
    match upper.protocol {
        protocol::ICMP => kind == Some(icmp::v4::REDIRECT),
        _ => kind == Some(icmp::v6::REDIRECT),
    }
}

/// Whether a connection is translated, or not yet bound at both ends.
fn may_be_translated(status: Status) -> bool {
    !status.has(Status::SRC_NAT_DONE | Status::DST_NAT_DONE)
        || status.has(Status::SRC_NAT)
        || status.has(Status::DST_NAT)
}

fn translate_quotation(
    bytes: &mut [u8],
    layout: Layout,
    inside: usize,
    end: End,
    related: Related<'_>,
) -> Result<(), Refusal> {
    let available = layout.length().min(bytes.len());
    let bytes = bytes.get_mut(inside..available).ok_or(Refusal::Short)?;
    // What cannot be read has an address all the same.
    let upper = Embedded::parse(bytes, layout.family())
        .map(|quoted| Upper { protocol: quoted.protocol(), offset: quoted.l4_offset() });
    let length = layout.length() - inside;
    let (family, field) = (layout.family(), Field::Finished);
    let to = related.tuples[!related.direction].endpoint(end);
    Piece { bytes, length, upper, family, field }.rewrite(end, to)
}

/// Computes the checksum anew; of a message that was cut by a capture, whose sum was `before`,
/// moves it.
fn sum_up(bytes: &mut [u8], layout: Layout, upper: Upper, before: Sum) {
    let Some(packet) = Packet::with_layout(bytes, layout) else { return };
    let Some(header) = IcmpHeader::view(packet.l4()) else { return };
    let field = header.checksum.get();
    let now = Sum::of(packet.l4());
    let sum = match packet.is_cut() {
        true => now.u16(!before.fold()).u16(!field).checksum(),
        false => {
            let others = now.u16(!field);
            match upper.protocol {
                protocol::ICMP => others.checksum(),
                _ => checksum::pseudo_header(packet.network(), upper.protocol, packet.l4_length())
                    .plus(others)
                    .checksum(),
            }
        }
    };
    let l4 = bytes.get_mut(upper.offset..).unwrap_or_default();
    if let Some(header) = IcmpHeader::view_mut(l4) {
        header.checksum = U16::new(sum);
    }
}
