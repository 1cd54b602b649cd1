//! What a replay has counted: cheap enough to be counted for every packet at any speed.

use stateward_conntrack::{CtState, Instant};
use stateward_engine::{At, Engine, Outcome, Verdict};
use stateward_wire::checksum::{self, Verification, verify_transport};
use stateward_wire::{IcmpHeader, Packet, SctpHeader, TcpHeader, UdpHeader, protocol};

/// The states in the order they are told.
pub const STATES: [CtState; 5] =
    [CtState::New, CtState::Established, CtState::Related, CtState::Invalid, CtState::Untracked];

/// Numbers of a replay so far.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// IP packets read.
    pub packets: u64,
    /// Connections that appeared, those dropped before they got into the table included.
    pub connections: u64,
    /// Packets by state, in the order of [`STATES`].
    pub states: [u64; STATES.len()],
    /// Packets by what became of them.
    pub verdicts: Verdicts,
    /// INVALID packets by the word of the reason.
    pub invalid: Tally,
    /// Dropped packets by the word of the reason.
    pub dropped: Tally,
    /// Packets that met matches or targets that are not evaluated.
    pub not_evaluated_packets: u64,
    /// These matches and targets, by name.
    pub not_evaluated: Tally,
    /// Packets of which something was assumed, by the match that asked.
    pub assumed: Tally,
    /// Packets of which something was given beside the capture, by the match that asked.
    pub given: Tally,
    /// Packets whose transport checksum was left to the sender's network card.
    pub unfinished: u64,
    /// Packets cut by the capture's snap length.
    pub cut: u64,
    /// Packets longer than their interface's MTU: put together by a network card or not cut yet.
    pub superpackets: u64,
    /// Packets whose time ran backwards within their capture.
    pub backwards: u64,
    /// Connections in the table at most.
    pub peak: u64,
    /// Times of the first and the last packet.
    pub span: Option<(Instant, Instant)>,
}

/// Packets by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdicts {
    /// Went on to another host.
    pub forward: u64,
    /// Delivered to this host.
    pub input: u64,
    /// Sent by this host.
    pub output: u64,
    /// Dropped on the way.
    pub drop: u64,
    /// Dropped by a rule that tells the sender.
    pub reject: u64,
    /// Sent to user space by a rule.
    pub queue: u64,
    /// Fragments that wait for the rest, or waited.
    pub held: u64,
    /// Records of what this replay had emitted.
    pub seen: u64,
    /// No IP packets that the kernel would let in.
    pub malformed: u64,
}

/// Counts by a word, in the order the words first came; there are few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    fn count(&mut self, word: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => self.0.push((word, 1)),
        }
    }

    /// Words and counts, most frequent first, equal ones by word.
    pub fn sorted(&self) -> Vec<(&'static str, u64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by_key(|&(word, count)| (std::cmp::Reverse(count), word));
        sorted
    }
}

impl Summary {
    /// A packet was read.
    #[inline]
    pub(crate) fn read(&mut self, now: Instant, cut: bool, is_super: bool) {
        self.packets += 1;
        self.cut += u64::from(cut);
        self.superpackets += u64::from(is_super);
        match &mut self.span {
            Some((_, last)) => *last = now,
            None => self.span = Some((now, now)),
        }
    }

    /// A packet has walked.
    #[inline]
    pub(crate) fn walked(&mut self, outcome: &Outcome, engine: &Engine) {
        if let Some(state) = outcome.state
            && let Some(count) = self.states.get_mut(position(state))
        {
            *count += 1;
        }
        self.connections +=
            u64::from(outcome.connection.is_some_and(|connection| connection.began));
        self.peak = self.peak.max(engine.tracker().count() as u64);
        if engine.has_rules() {
            self.ruled(engine);
        }
        let verdicts = &mut self.verdicts;
        match outcome.verdict {
            Verdict::Forward(_) => verdicts.forward += 1,
            Verdict::Input => verdicts.input += 1,
            Verdict::Output(_) => verdicts.output += 1,
            Verdict::Held => verdicts.held += 1,
            Verdict::Malformed => verdicts.malformed += 1,
            Verdict::Drop(At::Rule) => {
                verdicts.drop += 1;
                self.dropped.count("rule");
            }
            Verdict::Drop(_) => {
                verdicts.drop += 1;
                self.dropped.count(outcome.why.map_or("", |why| why.code()));
            }
            Verdict::Reject => verdicts.reject += 1,
            Verdict::Queue(_) => verdicts.queue += 1,
        }
        if outcome.state == Some(CtState::Invalid) {
            self.invalid.count(outcome.why.map_or("", |why| why.code()));
        }
    }

    #[inline(never)]
    fn ruled(&mut self, engine: &Engine) {
        let notes = engine.notes();
        self.not_evaluated_packets += u64::from(!notes.not_evaluated.is_empty());
        notes.not_evaluated.iter().for_each(|name| self.not_evaluated.count(name));
        notes.answers.assumed.iter().for_each(|name| self.assumed.count(name));
        // Of a packet that this host answers a match may be told twice.
        let mut told: Vec<_> = notes.answers.given.iter().map(|given| given.extension).collect();
        told.dedup();
        told.into_iter().for_each(|name| self.given.count(name));
    }

    /// A packet was not for this machine.
    pub(crate) fn passed_by(&mut self, word: &'static str) {
        self.verdicts.drop += 1;
        self.dropped.count(word);
    }
}

fn position(state: CtState) -> usize {
    match state {
        CtState::New => 0,
        CtState::Established => 1,
        CtState::Related => 2,
        CtState::Invalid => 3,
        CtState::Untracked => 4,
    }
}

/// Whether a packet's transport checksum was left to the sender's network card. The packet's bytes
/// are summed only where the field looks like it.
#[inline]
pub(crate) fn is_unfinished(bytes: &[u8]) -> bool {
    let Ok(packet) = Packet::parse_cut(bytes) else { return false };
    let Some(upper) = packet.upper() else { return false };
    let l4 = packet.l4();
    let field = match upper.protocol {
        protocol::TCP => TcpHeader::view(l4).map(|header| header.checksum.get()),
        protocol::UDP => UdpHeader::view(l4).map(|header| header.checksum.get()),
        protocol::ICMPV6 => IcmpHeader::view(l4).map(|header| header.checksum.get()),
        protocol::SCTP => {
            let is_zero = SctpHeader::view(l4).is_some_and(|header| header.checksum == [0; 4]);
            return is_zero && judged_unfinished(&packet, upper.protocol);
        }
        _ => None,
    };
    let Some(field) = field else { return false };
    let without_length = checksum::pseudo_header(packet.network(), upper.protocol, 0);
    let with_length = without_length.u32(l4.len() as u32);
    (field == with_length.fold() || field == without_length.fold())
        && judged_unfinished(&packet, upper.protocol)
}

#[cold]
fn judged_unfinished(packet: &Packet<'_>, protocol: u8) -> bool {
    verify_transport(packet, protocol) == Verification::Unfinished
}
