//! Why bytes are not an IP packet. Cheap by construction: no strings are built on the reject path.

/// What makes Linux drop bytes before any hook sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Fewer bytes than the network header.
    TooShort,
    /// Neither IPv4 nor IPv6.
    Version,
    /// An IPv4 header length below 20 bytes.
    HeaderLength,
    /// The IPv4 header checksum is wrong.
    HeaderChecksum,
    /// The stated IPv4 total length does not cover the header.
    Length,
    /// The stated length goes beyond the bytes.
    Truncated,
}

impl Malformed {
    /// Every variant, for counters and their names.
    pub const ALL: [Self; 6] = [
        Self::TooShort,
        Self::Version,
        Self::HeaderLength,
        Self::HeaderChecksum,
        Self::Length,
        Self::Truncated,
    ];

    /// The fixed sentence for this reason.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::TooShort => "fewer bytes than an IP header",
            Self::Version => "the IP version is neither 4 nor 6",
            Self::HeaderLength => "the IPv4 header length is below 20 bytes",
            Self::HeaderChecksum => "the IPv4 header checksum is wrong",
            Self::Length => "the stated length does not cover the IP header",
            Self::Truncated => "the stated length goes beyond the end of the packet",
        }
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.describe())
    }
}

impl core::error::Error for Malformed {}
