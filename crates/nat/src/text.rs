//! Bindings in words.

use core::fmt;
use core::net::IpAddr;

use stateward_conntrack::{L4Key, Tuple};
use stateward_wire::edit::End;

use crate::choose::Binding;
use crate::range::Manip;

/// One end of a tuple: `192.0.2.1:80`, `[2001:db8::1]:80`, `192.0.2.1 id 7`.
#[derive(Clone, Copy, Debug)]
pub struct AtEnd<'a>(pub &'a Tuple, pub End);

impl fmt::Display for AtEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AtEnd(tuple, end) = *self;
        let address = tuple.address_at(end);
        match (tuple.l4(), tuple.port_at(end)) {
            (L4Key::Ports { .. }, Some(port)) if address.is_ipv6() => {
                write!(f, "[{address}]:{port}")
            }
            (L4Key::Ports { .. }, Some(port)) => write!(f, "{address}:{port}"),
            (L4Key::Icmp { .. }, Some(id)) => write!(f, "{address} id {id}"),
            (L4Key::Gre { .. }, Some(key)) => write!(f, "{address} key {key:#x}"),
            _ => IpAddr::fmt(&address, f),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { manip, before, after, how } = self;
        let name = match manip {
            Manip::Source => "source",
            Manip::Destination => "destination",
        };
        let [before, after] = [before, after].map(|tuple| AtEnd(tuple, manip.end()));
        match self.before == self.after {
            true => write!(f, "the {name} stays {after}: {how}"),
            false => write!(f, "the {name} {before} becomes {after}: {how}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use stateward_conntrack::Zone;

    use super::*;
    use crate::choose::How;

    #[test]
    fn a_binding_says_what_became_of_what_and_why() {
        let [client, own, server] =
            ["10.0.0.1", "192.0.2.1", "192.0.2.9"].map(|text| text.parse().unwrap());
        let ports = L4Key::Ports { source: 5000, destination: 53 };
        let before = Tuple::new(client, server, 17, ports, Zone::DEFAULT).unwrap();
        let after = before.with_address(End::Source, own);
        let how = How::Addressed;
        let manip = Manip::Source;
        assert_eq!(
            Binding { manip, before, after, how }.to_string(),
            "the source 10.0.0.1:5000 becomes 192.0.2.1:5000: the address of the range, with its own port"
        );
        let how = How::Kept;
        assert_eq!(
            Binding { manip, before, after: before, how }.to_string(),
            "the source stays 10.0.0.1:5000: it is in the range and free"
        );
    }

    #[test]
    fn an_end_is_written_as_its_protocol_has_it() {
        let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let at = |protocol, l4| {
            AtEnd(&Tuple::new(a, b, protocol, l4, Zone::DEFAULT).unwrap(), End::Destination)
                .to_string()
        };
        let ports = L4Key::Ports { source: 1, destination: 2 };
        assert_eq!(at(6, ports), "[2001:db8::2]:2");
        assert_eq!(at(58, L4Key::Icmp { kind: 128, code: 0, id: 7 }), "2001:db8::2 id 7");
        assert_eq!(at(50, L4Key::None), "2001:db8::2");
    }
}
