//! Netlink messages and attributes, as bytes: walked with every length checked, composed with
//! padding.
//!
//! Nothing here knows what an attribute means. A message or attribute whose length does not fit its
//! surroundings ends the walk; the decoders then see an absent attribute, never a panic.

/// Nested attributes carry this bit in their kind.
const NESTED: u16 = 0x8000;
/// Both flag bits (nested, network byte order) that are no part of the kind.
const KIND_MASK: u16 = 0x3fff;
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// One netlink message: its header's fields and what follows the header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The four bytes every nfnetlink message starts with, and its attributes.
    pub(super) fn netfilter(&self) -> Option<(Family, Attributes<'a>)> {
        let (header, attributes) = self.payload.split_at_checked(4)?;
        let group = u16::from_be_bytes([*header.get(2)?, *header.get(3)?]);
        Some((Family { number: *header.first()?, group }, Attributes(attributes)))
    }

    /// The errno of an error message; 0 is an acknowledgement.
    pub(super) fn errno(&self) -> Option<i32> {
        self.payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes).wrapping_neg())
    }
}

/// The fixed header of an nfnetlink message: address family and resource id (the group, for NFLOG).
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) number: u8,
    pub(super) group: u16,
}

/// The messages of one datagram, in order.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header: [u8; MESSAGE_HEADER] = *self.0.first_chunk()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let payload = self.0.get(MESSAGE_HEADER..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
        })
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub(super) fn nested(&self) -> Attributes<'a> {
        Attributes(self.payload)
    }

    pub(super) fn u8(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    pub(super) fn be16(&self) -> Option<u16> {
        self.payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(super) fn be32(&self) -> Option<u32> {
        self.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn be64(&self) -> Option<u64> {
        self.payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// The text up to its closing zero byte.
    pub(super) fn text(&self) -> String {
        let end = self.payload.iter().position(|byte| *byte == 0).unwrap_or(self.payload.len());
        String::from_utf8_lossy(self.payload.get(..end).unwrap_or_default()).into_owned()
    }
}

/// The attributes of one level, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [l0, l1, k0, k1]: [u8; ATTRIBUTE_HEADER] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(Attribute { kind: u16::from_ne_bytes([k0, k1]) & KIND_MASK, payload })
    }
}

/// A request being composed: an nfnetlink message and its attributes.
pub(super) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// `kind` is subsystem << 8 | message; `group` the resource id, 0 but for NFLOG.
    pub(super) fn new(kind: u16, flags: u16, family: u8, group: u16) -> Self {
        let [high, low] = group.to_be_bytes();
        Self { kind, flags, body: vec![family, 0, high, low] }
    }

    /// Appends one attribute that holds attributes.
    pub(super) fn nested(self, kind: u16, payload: &[u8]) -> Self {
        self.attribute(kind | NESTED, payload)
    }

    /// Appends one attribute. Payloads are a few bytes, so the 16-bit length cannot overflow.
    pub(super) fn attribute(mut self, kind: u16, payload: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + payload.len()).unwrap_or(u16::MAX);
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(payload);
        self.body.resize(padded(self.body.len()), 0);
        self
    }

    pub(super) fn bytes(&self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(MESSAGE_HEADER + self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(MESSAGE_HEADER + self.body.len());
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&self.flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_composed_is_read_back() {
        let bytes = Request::new(0x0102, 0x5, 2, 7)
            .attribute(1, &[9])
            .attribute(4, &[1, 2, 3, 4, 5])
            .bytes(42);
        let message = Messages(&bytes).next().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (0x0102, 5, 42));
        let (family, attributes) = message.netfilter().unwrap();
        assert_eq!((family.number, family.group), (2, 7));
        let read: Vec<_> = attributes.map(|a| (a.kind, a.payload.to_vec())).collect();
        assert_eq!(read, [(1, vec![9]), (4, vec![1, 2, 3, 4, 5])]);
    }

    #[test]
    fn no_cut_or_lying_length_panics() {
        let bytes = Request::new(1, 2, 2, 0).attribute(1, &[1, 2, 3]).attribute(2, &[4]).bytes(1);
        for cut in 0..bytes.len() {
            for byte in [0, 1, 3, 255] {
                let mut lie = bytes.get(..cut).unwrap().to_vec();
                lie.push(byte);
                for message in Messages(&lie).take(100) {
                    let attributes = message.netfilter().map(|(_, attributes)| attributes);
                    assert!(attributes.into_iter().flatten().count() <= lie.len());
                }
            }
        }
    }
}
