//! Verification tags: what each direction must carry, and how that is learnt.
//!
//! An ordinary packet carries the tag that its receiver announced (8.5). INIT, ABORT,
//! SHUTDOWN_COMPLETE, COOKIE_ECHO and the heartbeats have rules of their own (8.5.1), and a packet
//! that holds one of them is not held to the ordinary rule as a whole: an ERROR bundled with a
//! HEARTBEAT passes with any tag that the HEARTBEAT passes with. A SHUTDOWN_ACK is asked for no tag
//! at all.
//!
//! Tags come from four sources: an INIT or INIT_ACK announces one; on a path whose handshake we did
//! not see, the first HEARTBEAT and HEARTBEAT_ACK of a direction tell it; the packet that opens an
//! entry out of the blue tells what its answer will carry; and a HEARTBEAT with a strange tag,
//! answered with another strange one, tells that the association has begun anew elsewhere.

use stateward_wire::sctp::chunk;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Seen;
use crate::reason::Reason;
use crate::status::{Direction, PerDir};

/// The tags of an association.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Tags {
    /// What packets of each direction carry; 0 while unknown.
    expected: PerDir<u32>,
    /// Whether each direction has sent an INIT since the last COOKIE_ACK.
    init_seen: PerDir<u8>,
    /// The latest HEARTBEAT had a tag that was not expected: 1 + its direction. Else 0.
    doubted: u8,
    _unused: u8,
}

/// What a HEARTBEAT's tag is worth.
pub(super) enum Heartbeat {
    /// It is the one expected, or the first one.
    Believed,
    /// It is another one; the answer will show whether there is something to it.
    Doubted(Reason),
}

/// Refuses a packet whose tag is not `expected`.
#[inline]
pub(super) fn must_be(seen: &Seen<'_>, expected: u32) -> Result<(), Reason> {
    if seen.tag == expected {
        Ok(())
    } else {
        Err(Reason::SctpVerificationTag { tag: seen.tag, expected })
    }
}

impl Tags {
    pub(super) fn expected(&self) -> PerDir<u32> {
        self.expected
    }

    /// The rule for a packet without a chunk that has its own.
    #[inline]
    pub(super) fn check(&self, seen: &Seen<'_>) -> Result<(), Reason> {
        const OWN_RULE: [u8; 7] = [
            chunk::INIT,
            chunk::HEARTBEAT,
            chunk::HEARTBEAT_ACK,
            chunk::ABORT,
            chunk::SHUTDOWN_ACK,
            chunk::COOKIE_ECHO,
            chunk::SHUTDOWN_COMPLETE,
        ];
        if seen.kinds.has_any(&OWN_RULE) { Ok(()) } else { self.check_own(seen) }
    }

    /// 8.5: the tag that the receiver announced.
    #[inline]
    pub(super) fn check_own(&self, seen: &Seen<'_>) -> Result<(), Reason> {
        must_be(seen, self.expected[seen.direction])
    }

    /// 8.5.1, rules B and C, for ABORT and SHUTDOWN_COMPLETE: with the T bit the sender has no
    /// association and reflects the tag of the packet it answers.
    pub(super) fn check_end(&self, seen: &Seen<'_>, reflected: bool) -> Result<(), Reason> {
        let owner = if reflected { !seen.direction } else { seen.direction };
        must_be(seen, self.expected[owner])
    }

    /// Packets of `direction` carry `tag`.
    pub(super) fn learn(&mut self, direction: Direction, tag: u32) {
        self.expected[direction] = tag;
    }

    /// The sender in `direction` wants to be addressed by `tag`.
    pub(super) fn announce(&mut self, direction: Direction, tag: u32) {
        self.expected[!direction] = tag;
    }

    /// Whether the sender in `direction` is addressed by `tag` already.
    pub(super) fn is_known(&self, direction: Direction, tag: u32) -> bool {
        self.expected[!direction] == tag
    }

    /// An INIT that is no repetition: its INIT_ACK may tell another tag than the one in use.
    pub(super) fn begin(&mut self, direction: Direction) {
        // After a collision (both have sent one, 5.2.1) this side begins anew: no collision then.
        if self.init_seen[direction] != 0 && self.init_seen[!direction] != 0 {
            self.init_seen[!direction] = 0;
        }
        self.init_seen[direction] = 1;
    }

    /// An INIT_ACK. It may announce a tag where it answers an INIT, but not replace one that is in
    /// use: without an INIT before it, or in a collision, where the sender's own INIT told the tag.
    pub(super) fn init_ack(&mut self, direction: Direction, tag: u32) -> Result<(), Reason> {
        let known = self.expected[!direction];
        let asked = self.init_seen[!direction] != 0;
        let collision = asked && self.init_seen[direction] != 0;
        if tag != known && (collision || !asked && known != 0) {
            return Err(Reason::SctpVerificationTag { tag, expected: known });
        }
        self.announce(direction, tag);
        Ok(())
    }

    /// A COOKIE_ACK.
    pub(super) fn handshake_done(&mut self) {
        self.init_seen = PerDir::default();
    }

    /// A HEARTBEAT. DATA beside a strange tag is an attempt to get past the ordinary rule.
    pub(super) fn heartbeat(&mut self, seen: &Seen<'_>) -> Result<Heartbeat, Reason> {
        let Err(reason) = self.familiar(seen) else { return Ok(Heartbeat::Believed) };
        if seen.kinds.has(chunk::DATA) {
            return Err(reason);
        }
        self.doubted = 1 + seen.direction as u8;
        Ok(Heartbeat::Doubted(reason))
    }

    /// A HEARTBEAT_ACK. If both the HEARTBEAT and the answer are strange, the two ends agree, and
    /// we take up the answer's tag. The other direction's is forgotten: its next HEARTBEAT tells
    /// it, and until then its ordinary packets are INVALID.
    pub(super) fn heartbeat_ack(&mut self, seen: &Seen<'_>) -> Result<(), Reason> {
        let Err(reason) = self.familiar(seen) else { return Ok(()) };
        let answers = self.doubted == 1 + (!seen.direction) as u8;
        if seen.kinds.has(chunk::DATA) || !answers {
            return Err(reason);
        }
        self.doubted = 0;
        self.learn(seen.direction, seen.tag);
        self.learn(!seen.direction, 0);
        Ok(())
    }

    /// Whether a heartbeat has its direction's tag. The first one tells it, and settles no doubt.
    fn familiar(&mut self, seen: &Seen<'_>) -> Result<(), Reason> {
        if self.expected[seen.direction] == 0 {
            self.learn(seen.direction, seen.tag);
            return Ok(());
        }
        self.check_own(seen)?;
        self.doubted = 0;
        Ok(())
    }
}
