//! A connection before it is in the table: owned by its packet, freely editable.

use crate::entry::{ConnId, Entry};
use crate::event::{Counter, Labels, Timestamps};
use crate::index::Place;
use crate::policy::PolicyId;
use crate::seqadj::SeqAdjust;
use crate::status::{Direction, PerDir, Status};
use crate::tracker::HelperMemory;
use crate::tuple::{AddressPair, Tuple};

/// What only some connections have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) labels: Option<Labels>,
    /// Whose timeouts it has; [`Flags::POLICY`](crate::entry::Flags::POLICY) is set, too.
    pub(crate) policy: Option<PolicyId>,
    pub(crate) helper: Option<&'static str>,
    /// What the helper keeps of the connection.
    pub(crate) memory: HelperMemory,
    pub(crate) seqadj: PerDir<SeqAdjust>,
    pub(crate) master: Option<(ConnId, Tuple)>,
}

/// A connection that is not in the table yet: it belongs to the packet that began it.
///
/// Rules, NAT and helpers may change it; the table's copy, made by
/// [`Tracker::confirm`](crate::Tracker::confirm), cannot be changed. Dropping it forgets the
/// connection without a trace, as the kernel does with a NEW packet that a rule drops.
#[derive(Clone, PartialEq, Debug)]
pub struct Unconfirmed {
    pub(crate) entry: Entry,
    pub(crate) addresses: PerDir<AddressPair>,
    pub(crate) counters: PerDir<Counter>,
    pub(crate) extra: Option<Box<Extra>>,
    /// Its port has given it its helper, no rule.
    pub(crate) by_port: bool,
    /// Where the original tuple belongs, until that changes: known since the tuple was looked up.
    pub(super) place: Option<Place>,
    /// What [`Table`](super::Table) had counted when it had none of this one's tuples; 0 is never.
    pub(super) alone_at: u64,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        zerocopy::IntoBytes::as_bytes(self) == zerocopy::IntoBytes::as_bytes(other)
    }
}

impl Unconfirmed {
    pub(crate) fn new(original: Tuple, reply: Tuple, place: Place) -> Unconfirmed {
        Unconfirmed {
            entry: Entry::new(original.key, reply.key),
            addresses: PerDir([original.pair, reply.pair]),
            counters: PerDir::default(),
            extra: None,
            by_port: false,
            place: Some(place),
            alone_at: 0,
        }
    }

    /// The tuple of a direction.
    #[inline]
    pub fn tuple(&self, direction: Direction) -> Tuple {
        Tuple { key: *self.entry.key(direction), pair: self.addresses[direction] }
    }

    /// What NAT makes of the answers: the tuple they will be looked up by.
    pub fn set_reply(&mut self, reply: Tuple) {
        self.set_free_reply(reply);
        self.alone_at = 0;
    }

    /// As [`Unconfirmed::set_reply`], of which the tracker has just said that it is not taken.
    pub fn set_free_reply(&mut self, reply: Tuple) {
        self.entry.reply = reply.key;
        self.addresses[Direction::Reply] = reply.pair;
    }

    /// Status bits.
    #[inline]
    pub fn status(&self) -> Status {
        self.entry.status
    }

    /// Sets status bits.
    #[inline]
    pub fn set_status(&mut self, bits: Status) {
        self.entry.status.set(bits);
    }

    /// The mark.
    pub fn mark(&self) -> u32 {
        self.entry.mark
    }

    /// Sets the mark.
    pub fn set_mark(&mut self, mark: u32) {
        self.entry.set_mark(mark);
    }

    /// Has its packets read by a helper from now on.
    pub(crate) fn assign_helper(&mut self, helper: &'static str) {
        self.extra_mut().helper = Some(helper);
        self.entry.status.set(Status::HELPER);
    }

    pub(crate) fn helper(&self) -> Option<&'static str> {
        self.extra.as_deref().and_then(|extra| extra.helper)
    }

    pub(crate) fn lose_helper(&mut self) {
        self.extra_mut().helper = None;
        self.entry.status.0 &= !Status::HELPER.0;
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}

/// It is written anew for each connection that begins.
const _: () = assert!(size_of::<Unconfirmed>() == 4 * 64);
