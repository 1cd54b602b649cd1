//! Addresses as the C library prints them for the tool, and as the kernel prints them in /proc.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

/// IPv6 with its longest run of zeros left out, as `inet_ntop` does.
#[derive(Clone, Copy, Debug)]
pub struct Compressed(pub IpAddr);

impl fmt::Display for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(address) => match embedded_v4(address) {
                Some([a, b, c, d]) => write!(f, "::{a}.{b}.{c}.{d}"),
                None => address.fmt(f),
            },
            IpAddr::V4(address) => address.fmt(f),
        }
    }
}

/// The C library takes `::a.b.c.d` (RFC 4291, 2.5.5.1) for an IPv4 address unless that begins with
/// two zeros, `core::net` never. Both agree on `::ffff:a.b.c.d`.
fn embedded_v4(address: Ipv6Addr) -> Option<[u8; 4]> {
    let low = u32::try_from(address.to_bits()).ok()?;
    (low > 0xffff).then(|| low.to_be_bytes())
}

/// IPv6 with every digit.
#[derive(Clone, Copy, Debug)]
pub struct Expanded(pub IpAddr);

impl fmt::Display for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IpAddr::V6(address) = self.0 else { return self.0.fmt(f) };
        let [first, rest @ ..] = address.segments();
        write!(f, "{first:04x}")?;
        rest.iter().try_for_each(|segment| write!(f, ":{segment:04x}"))
    }
}
