//! The Ethernet header and VLAN tags (802.1Q, 802.1ad).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an 802.1ad (provider) tag.
pub const PROVIDER_VLAN: u16 = 0x88a8;
/// EtherType that early provider bridges used for the outer tag.
pub const OLD_PROVIDER_VLAN: u16 = 0x9100;

/// More tags than this on one frame are not read.
const MOST_TAGS: usize = 8;

/// An Ethernet II header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination station.
    pub destination: [u8; 6],
    /// Source station.
    pub source: [u8; 6],
    /// EtherType of what follows.
    pub ethertype: U16,
}
views!(EthernetHeader);

/// A VLAN tag: what stands between two EtherTypes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub control: U16,
    /// EtherType of what follows.
    pub ethertype: U16,
}
views!(VlanTag);

impl VlanTag {
    /// The VLAN identifier.
    #[inline]
    pub fn identifier(&self) -> u16 {
        self.control.get() & 0x0fff
    }
}

/// Whether `ethertype` announces a VLAN tag.
#[inline]
pub const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | PROVIDER_VLAN | OLD_PROVIDER_VLAN)
}

/// The EtherType and payload of a frame, past its VLAN tags; none if the headers are cut.
#[inline]
pub fn payload(frame: &[u8]) -> Option<(u16, &[u8])> {
    let header = EthernetHeader::view(frame)?;
    let rest = frame.get(size_of::<EthernetHeader>()..)?;
    untag(header.ethertype.get(), rest)
}

/// Takes the VLAN tags off `rest`, which `ethertype` introduces: also for link layers that keep the
/// EtherType elsewhere (Linux "cooked" captures).
pub fn untag(mut ethertype: u16, mut rest: &[u8]) -> Option<(u16, &[u8])> {
    for _ in 0..MOST_TAGS {
        if !is_vlan(ethertype) {
            break;
        }
        ethertype = VlanTag::view(rest)?.ethertype.get();
        rest = rest.get(size_of::<VlanTag>()..)?;
    }
    Some((ethertype, rest))
}
