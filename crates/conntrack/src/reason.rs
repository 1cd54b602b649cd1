//! Why a packet is INVALID, or passes without being believed: one variant, one word, one sentence.
//!
//! The tracker never builds a string; a [`Reason`] carries the numbers that decided and prints them
//! when somebody asks. [`Reason::code`] is stable and part of the trace's contract;
//! [`Reason::CODES`] lists every word, and `Reason::index` numbers them for the counters.

use core::fmt;

use crate::tcp::{Segment, TcpState};
use crate::{Direction, sctp::SctpState};

/// Why the tracker did not accept a packet as part of a connection, or accepted it without letting
/// it change anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The IP packet has no upper-layer protocol that can be found.
    NoUpperLayer,
    /// The protocol's header is not there in whole.
    ShortHeader {
        /// IP protocol number.
        protocol: u8,
    },
    /// Lengths inside the header contradict the packet's.
    BadLength {
        /// IP protocol number.
        protocol: u8,
    },
    /// The checksum (for SCTP the CRC32c) does not verify.
    BadChecksum {
        /// IP protocol number.
        protocol: u8,
    },
    /// GRE version 1 that does not carry PPP.
    GreNotPpp,
    /// A combination of TCP flags that no TCP sends.
    TcpFlags {
        /// The flag byte.
        flags: u8,
    },
    /// A TCP segment that cannot open a connection, without a connection.
    TcpInvalidNew {
        /// What the segment is.
        segment: Segment,
    },
    /// A TCP connection in its middle, with nf_conntrack_tcp_loose = 0.
    TcpPickupDisabled,
    /// A TCP segment that the connection's state does not allow.
    TcpState {
        /// What the segment is.
        segment: Segment,
        /// Where it goes.
        direction: Direction,
        /// The state it met.
        state: TcpState,
    },
    /// A RST below what the other side has acknowledged.
    TcpRst {
        /// The segment's sequence number.
        seq: u32,
        /// The highest acknowledgement the other side has sent.
        max_ack: u32,
    },
    /// Equation 1: beyond the window of the receiver.
    SeqOverUpperBound {
        /// The segment's sequence number.
        seq: u32,
        /// The highest one allowed.
        maximum: u32,
    },
    /// Equation 3: acknowledges what has not been sent.
    AckOverUpperBound {
        /// The acknowledgement, or the highest SACK edge.
        ack: u32,
        /// The highest one allowed.
        maximum: u32,
    },
    /// Equation 2, ignored: old data again.
    SeqUnderLowerBound {
        /// The end of the segment.
        end: u32,
        /// The lowest one allowed.
        minimum: u32,
    },
    /// Equation 4, ignored: an acknowledgement that comes far too late.
    AckUnderLowerBound {
        /// The acknowledgement, or the highest SACK edge.
        ack: u32,
        /// The lowest one allowed.
        minimum: u32,
    },
    /// Ignored: more bytes than the window allows, by less than a window.
    Overshot {
        /// How many bytes too many.
        bytes: u32,
    },
    /// Ignored: the connection's state may be out of step with the two ends.
    TcpIgnored {
        /// What the segment is.
        segment: Segment,
        /// Where it goes.
        direction: Direction,
        /// The state it met.
        state: TcpState,
    },
    /// Ignored: an acknowledgement that answers a SYN out of place (RFC 5961).
    ChallengeAck,
    /// An ICMP type beyond those that are assigned.
    IcmpUnknownType {
        /// The type.
        kind: u8,
    },
    /// An ICMP message that neither asks nor answers.
    IcmpNoQuery {
        /// The type.
        kind: u8,
    },
    /// An ICMP answer without its question.
    IcmpUnasked {
        /// The type.
        kind: u8,
    },
    /// An ICMP error whose quoted packet has no tuple.
    IcmpUnquotable,
    /// An ICMP error about a connection that is not in the table.
    IcmpUnrelated,
    /// An ICMP error sent to another address than the quoted packet came from.
    IcmpOuterDestination,
    /// An ICMPv6 redirect that did not come from a neighbour.
    RedirectNotLinkLocal,
    /// An ICMPv6 redirect without the redirected packet's header.
    RedirectUnquoted,
    /// An ICMP message in the other IP version.
    IcmpWrongFamily,
    /// SCTP chunks in an order or number that RFC 9260 does not allow.
    SctpChunks,
    /// SCTP chunks that cannot open an association, without an association.
    SctpInvalidNew,
    /// An SCTP verification tag that is not the association's.
    SctpVerificationTag {
        /// The packet's tag.
        tag: u32,
        /// The association's in this direction.
        expected: u32,
    },
    /// An SCTP chunk that the association's state does not allow.
    SctpState {
        /// The chunk's type.
        chunk: u8,
        /// Where it goes.
        direction: Direction,
        /// The state it met.
        state: SctpState,
    },
    /// UDP-Lite without a checksum.
    ChecksumMissing,
}

impl Reason {
    /// Every code, in the order of [`Reason::index`].
    pub const CODES: [&'static str; 31] = [
        "no_upper_layer",
        "short_header",
        "bad_length",
        "bad_checksum",
        "gre_not_ppp",
        "tcp_flags",
        "tcp_invalid_new",
        "tcp_pickup_disabled",
        "tcp_state",
        "tcp_rst",
        "seq_over_upper_bound",
        "ack_over_upper_bound",
        "seq_under_lower_bound",
        "ack_under_lower_bound",
        "overshot",
        "tcp_ignored",
        "challenge_ack",
        "icmp_unknown_type",
        "icmp_no_query",
        "icmp_unasked",
        "icmp_unquotable",
        "icmp_unrelated",
        "icmp_outer_destination",
        "redirect_not_link_local",
        "redirect_unquoted",
        "icmp_wrong_family",
        "sctp_chunks",
        "sctp_invalid_new",
        "sctp_verification_tag",
        "sctp_state",
        "checksum_missing",
    ];

    /// The stable word of this reason.
    pub fn code(&self) -> &'static str {
        Reason::CODES.get(self.index()).copied().unwrap_or_default()
    }

    /// Position in [`Reason::CODES`], for counters.
    pub(crate) const fn index(&self) -> usize {
        match self {
            Reason::NoUpperLayer => 0,
            Reason::ShortHeader { .. } => 1,
            Reason::BadLength { .. } => 2,
            Reason::BadChecksum { .. } => 3,
            Reason::GreNotPpp => 4,
            Reason::TcpFlags { .. } => 5,
            Reason::TcpInvalidNew { .. } => 6,
            Reason::TcpPickupDisabled => 7,
            Reason::TcpState { .. } => 8,
            Reason::TcpRst { .. } => 9,
            Reason::SeqOverUpperBound { .. } => 10,
            Reason::AckOverUpperBound { .. } => 11,
            Reason::SeqUnderLowerBound { .. } => 12,
            Reason::AckUnderLowerBound { .. } => 13,
            Reason::Overshot { .. } => 14,
            Reason::TcpIgnored { .. } => 15,
            Reason::ChallengeAck => 16,
            Reason::IcmpUnknownType { .. } => 17,
            Reason::IcmpNoQuery { .. } => 18,
            Reason::IcmpUnasked { .. } => 19,
            Reason::IcmpUnquotable => 20,
            Reason::IcmpUnrelated => 21,
            Reason::IcmpOuterDestination => 22,
            Reason::RedirectNotLinkLocal => 23,
            Reason::RedirectUnquoted => 24,
            Reason::IcmpWrongFamily => 25,
            Reason::SctpChunks => 26,
            Reason::SctpInvalidNew => 27,
            Reason::SctpVerificationTag { .. } => 28,
            Reason::SctpState { .. } => 29,
            Reason::ChecksumMissing => 30,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::NoUpperLayer => f.write_str("no upper-layer header can be found"),
            Reason::ShortHeader { protocol } => {
                write!(f, "the {} header is cut short", Name(protocol))
            }
            Reason::BadLength { protocol } => {
                write!(f, "the {} header's lengths contradict the packet", Name(protocol))
            }
            Reason::BadChecksum { protocol } => {
                write!(f, "the {} checksum is wrong", Name(protocol))
            }
            Reason::GreNotPpp => f.write_str("GRE version 1 does not carry PPP"),
            Reason::TcpFlags { flags } => {
                write!(f, "no TCP sends this combination of flags: {flags:#04x}")
            }
            Reason::TcpInvalidNew { segment } => {
                write!(f, "{segment} cannot open a connection and belongs to none")
            }
            Reason::TcpPickupDisabled => {
                f.write_str("ACK of an unknown connection, and nf_conntrack_tcp_loose is 0")
            }
            Reason::TcpState { segment, direction, state } => {
                write!(f, "{segment} ({}) does not fit in {state}", direction.name())
            }
            Reason::TcpRst { seq, max_ack } => {
                write!(f, "RST {seq} is below what the other side has acknowledged: {max_ack}")
            }
            Reason::SeqOverUpperBound { seq, maximum } => {
                write!(f, "sequence {seq} is beyond the receiver's window: maximum {maximum}")
            }
            Reason::AckOverUpperBound { ack, maximum } => {
                write!(f, "acknowledges {ack}, but only {maximum} has been sent")
            }
            Reason::SeqUnderLowerBound { end, minimum } => {
                write!(f, "ends at {end}, before the window: minimum {minimum}; ignored")
            }
            Reason::AckUnderLowerBound { ack, minimum } => {
                write!(f, "acknowledges {ack}, long out of date: minimum {minimum}; ignored")
            }
            Reason::Overshot { bytes } => {
                write!(f, "{bytes} bytes more than the receiver's window allows; ignored")
            }
            Reason::TcpIgnored { segment, direction, state } => {
                write!(f, "{segment} ({}) in {state} may be out of step; ignored", direction.name())
            }
            Reason::ChallengeAck => {
                f.write_str("a challenge ACK answering a SYN out of place; ignored")
            }
            Reason::IcmpUnknownType { kind } => write!(f, "ICMP type {kind} is not assigned"),
            Reason::IcmpNoQuery { kind } => {
                write!(f, "ICMP type {kind} neither asks nor answers")
            }
            Reason::IcmpUnasked { kind } => {
                write!(f, "ICMP type {kind} cannot open a connection and belongs to none")
            }
            Reason::IcmpUnquotable => f.write_str("the quoted packet has no tuple"),
            Reason::IcmpUnrelated => {
                f.write_str("the quoted packet belongs to no connection in the table")
            }
            Reason::IcmpOuterDestination => {
                f.write_str("the error is not addressed to the sender of the quoted packet")
            }
            Reason::RedirectNotLinkLocal => f.write_str("the redirect is not from a neighbour"),
            Reason::RedirectUnquoted => f.write_str("the redirect does not quote a packet"),
            Reason::IcmpWrongFamily => f.write_str("ICMP of the other IP version"),
            Reason::SctpChunks => f.write_str("the order or number of SCTP chunks is not allowed"),
            Reason::SctpInvalidNew => {
                f.write_str("these SCTP chunks cannot open an association and belong to none")
            }
            Reason::SctpVerificationTag { tag, expected } => {
                write!(f, "verification tag {tag:#010x} is not the association's {expected:#010x}")
            }
            Reason::SctpState { chunk, direction, state } => {
                write!(f, "SCTP chunk {chunk} ({}) does not fit in {state}", direction.name())
            }
            Reason::ChecksumMissing => f.write_str("UDP-Lite has no checksum"),
        }
    }
}

/// A protocol's name in a sentence.
struct Name(u8);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use stateward_wire::protocol as p;
        f.write_str(match self.0 {
            p::TCP => "TCP",
            p::UDP => "UDP",
            p::UDPLITE => "UDP-Lite",
            p::ICMP => "ICMP",
            p::ICMPV6 => "ICMPv6",
            p::SCTP => "SCTP",
            p::GRE => "GRE",
            _ => "upper-layer",
        })
    }
}

/// Why a packet that the tracker saw must be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// nf_conntrack_max is reached and nothing near could be dropped early.
    TableFull,
    /// At confirm, another connection had taken the tuple.
    Clash,
    /// At confirm, the index had no room near the tuple's place.
    ChainTooLong,
}

impl DropReason {
    /// Every code, in the order of [`DropReason::index`].
    pub const CODES: [&'static str; 3] = ["table_full", "clash", "chain_too_long"];

    /// The stable word of this reason.
    pub fn code(&self) -> &'static str {
        DropReason::CODES.get(self.index()).copied().unwrap_or_default()
    }

    pub(crate) const fn index(&self) -> usize {
        *self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // The kernel's own line, which operators search their logs for.
            DropReason::TableFull => "nf_conntrack: table full, dropping packet",
            DropReason::Clash => "another connection took the same tuple first",
            DropReason::ChainTooLong => "too many connections share one place of the index",
        })
    }
}
