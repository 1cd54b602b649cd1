//! What the link told of a packet that came in: its Ethernet header, and to whom the frame was.

use stateward_rules::matches::pkttype::To;

/// An Ethernet header without its VLAN tags, as the kernel leaves it to its hooks, and what the
/// receiving station made of its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkHeader {
    /// Destination, source, EtherType of the packet.
    pub bytes: [u8; 14],
    /// To whom the frame was sent.
    pub to: To,
}

impl LinkHeader {
    /// That of a frame for this host, for all, or for a group, as its destination says.
    pub fn new(bytes: [u8; 14]) -> Self {
        let [destination @ .., _, _, _, _, _, _, _, _] = bytes;
        let to = match destination {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => To::Broadcast,
            [first, ..] if first & 1 != 0 => To::Multicast,
            _ => To::Us,
        };
        Self { bytes, to }
    }

    /// The station it came from.
    pub fn source(&self) -> [u8; 6] {
        let [_, _, _, _, _, _, source @ .., _, _] = self.bytes;
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_says_to_whom() {
        let to = |destination: [u8; 6]| {
            let mut bytes = [7; 14];
            bytes[..6].copy_from_slice(&destination);
            let header = LinkHeader::new(bytes);
            assert_eq!(header.source(), [7; 6]);
            header.to
        };
        assert_eq!(to([0xff; 6]), To::Broadcast);
        assert_eq!(to([0x01, 0, 0x5e, 0, 0, 1]), To::Multicast);
        assert_eq!(to([0x02, 0, 0x5e, 0, 0, 1]), To::Us);
    }
}
