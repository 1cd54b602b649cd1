//! The chunks of a packet: what they are, and whether a packet may hold them together.
//!
//! A packet is walked as the kernel walks it, not as a careful endpoint would: a chunk's length is
//! believed as far as it says where the next one begins. Lengths of 1 to 3 step over one header, a
//! length beyond the end is the last chunk, and what is left of less than a header is overlooked.

use stateward_wire::SctpHeader;
use stateward_wire::sctp::{ChunkHeader, InitValue, chunk};

/// The chunks that the state tables know; the others leave the state as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Signal {
    Init = 0,
    InitAck = 1,
    Abort = 2,
    Shutdown = 3,
    ShutdownAck = 4,
    Error = 5,
    CookieEcho = 6,
    CookieAck = 7,
    ShutdownComplete = 8,
    Heartbeat = 9,
    HeartbeatAck = 10,
}

impl Signal {
    /// What a chunk type is; `None` for DATA, SACK and all that is not about the association.
    pub(super) const fn of(kind: u8) -> Option<Signal> {
        Some(match kind {
            chunk::INIT => Signal::Init,
            chunk::INIT_ACK => Signal::InitAck,
            chunk::ABORT => Signal::Abort,
            chunk::SHUTDOWN => Signal::Shutdown,
            chunk::SHUTDOWN_ACK => Signal::ShutdownAck,
            chunk::ERROR => Signal::Error,
            chunk::COOKIE_ECHO => Signal::CookieEcho,
            chunk::COOKIE_ACK => Signal::CookieAck,
            chunk::SHUTDOWN_COMPLETE => Signal::ShutdownComplete,
            chunk::HEARTBEAT => Signal::Heartbeat,
            chunk::HEARTBEAT_ACK => Signal::HeartbeatAck,
            _ => return None,
        })
    }
}

/// One chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    /// Its type.
    pub(super) kind: u8,
    /// The T bit (8.5.1): the packet's tag is the one its sender has been told, not its receiver's.
    pub(super) reflected: bool,
    /// The initiate tag of an INIT or INIT_ACK whose fixed part is there in whole.
    pub(super) initiate_tag: Option<u32>,
    length: u16,
}

impl Chunk {
    pub(super) const fn signal(&self) -> Option<Signal> {
        Signal::of(self.kind)
    }
}

/// The walk over the chunks of an SCTP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks<'a> {
    l4: &'a [u8],
    at: usize,
}

impl Chunks<'_> {
    /// Of the packet `l4`, common header included.
    pub(super) const fn of(l4: &[u8]) -> Chunks<'_> {
        Chunks { l4, at: size_of::<SctpHeader>() }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    #[inline]
    fn next(&mut self) -> Option<Chunk> {
        let rest = self.l4.get(self.at..)?;
        let header = ChunkHeader::view(rest)?;
        let length = header.length.get();
        // A length of 0 would never end; the packet is refused before anybody walks on.
        self.at += usize::from(length).max(1).next_multiple_of(4);
        let initiate_tag = match header.kind {
            chunk::INIT | chunk::INIT_ACK => rest
                .get(size_of::<ChunkHeader>()..)
                .and_then(InitValue::view)
                .map(|value| value.initiate_tag.get()),
            _ => None,
        };
        Some(Chunk {
            kind: header.kind,
            reflected: header.flags & chunk::TAG_REFLECTED != 0,
            initiate_tag,
            length,
        })
    }
}

/// The chunk types of one packet. Only those below 16 are ever asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kinds(u16);

impl Kinds {
    /// What `chunks` are together, if a packet may hold them (5.1, 6.10): at least one; INIT,
    /// INIT_ACK and SHUTDOWN_COMPLETE alone; a cookie first. A chunk of length 0 is none.
    pub(super) fn of(chunks: Chunks<'_>) -> Option<Kinds> {
        let mut kinds = None;
        let mut lonely = false;
        for chunk in chunks {
            lonely |= matches!(
                chunk.signal(),
                Some(Signal::Init | Signal::InitAck | Signal::ShutdownComplete)
            );
            let leads = matches!(chunk.signal(), Some(Signal::CookieEcho | Signal::CookieAck));
            if (kinds.is_some() && (lonely || leads)) || chunk.length == 0 {
                return None;
            }
            kinds.get_or_insert(Kinds(0)).insert(chunk.kind);
        }
        kinds
    }

    /// Whether one of the chunks is of this type.
    pub(super) const fn has(self, kind: u8) -> bool {
        kind < 16 && self.0 >> kind & 1 == 1
    }

    /// Whether one of the chunks is of one of these types.
    pub(super) fn has_any(self, kinds: &[u8]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }

    const fn insert(&mut self, kind: u8) {
        if kind < 16 {
            self.0 |= 1 << kind;
        }
    }
}
