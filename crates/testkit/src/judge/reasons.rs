//! Reasons: the kernel's words and our codes, brought to the same classes.
//!
//! The kernel says its words through `nf_conntrack_log_invalid`, for most reasons, not for all. The
//! class of a reason is our code for it; [`of_kernel`] names the codes that the words allow.

/// Beginnings or parts of the kernel's words, and the codes that mean the same.
const WORDS: [(&str, &[&str]); 42] = [
    ("invalid tcp flag combination", &["tcp_flags"]),
    ("truncated packet", &["bad_length"]),
    ("truncated/malformed packet", &["bad_length"]),
    ("invalid checksum coverage", &["bad_length"]),
    ("checksum missing", &["checksum_missing"]),
    ("short packet", &["short_header"]),
    ("short redirect", &["short_header"]),
    ("bad checksum", &["bad_checksum"]),
    ("bad CRC", &["bad_checksum"]),
    ("do_basic_checks failed", &["sctp_chunks"]),
    ("Invalid, old_state", &["sctp_state"]),
    ("bad hw icmp checksum", &["bad_checksum"]),
    ("ICMPv6 checksum failed", &["bad_checksum"]),
    ("invalid new", &["tcp_invalid_new"]),
    ("invalid rst", &["tcp_rst"]),
    ("challenge-ack ignored", &["challenge_ack"]),
    ("SEQ is over upper bound", &["seq_over_upper_bound"]),
    ("ACK is over upper bound", &["ack_over_upper_bound"]),
    ("SEQ is under lower bound", &["seq_under_lower_bound"]),
    ("ignored ACK under lower bound", &["ack_under_lower_bound"]),
    ("bytes more than expected", &["overshot"]),
    ("ignored, state", &["tcp_ignored"]),
    ("invalid, state", &["tcp_state"]),
    ("invalid icmp type", &["icmp_unknown_type"]),
    ("outer daddr", &["icmp_outer_destination"]),
    ("invalid saddr or hoplimit for redirect", &["redirect_not_link_local"]),
    ("redirect without options", &["redirect_unquoted"]),
    ("redirect", &["redirect_unquoted"]),
    ("icmp packet inner", &["icmp_unrelated", "icmp_unquotable"]),
    ("partial matching", &["helper_partial"]),
    ("cannot add expectation", &["helper_refused", "helper_no_port", "helper_cannot_edit"]),
    ("all ports in use", &["helper_no_port"]),
    ("cannot mangle", &["helper_cannot_edit"]),
    ("cannot NAT SIP message", &["helper_cannot_edit"]),
    ("cannot parse", &["helper_unreadable"]),
    ("wrong port", &["helper_port_out_of_range"]),
    ("cannot get", &["helper_unreadable"]),
    ("unconfirmed", &[]),
    ("failed to", &[]),
    ("sctp", &[]),
    ("verification tag", &["sctp_verification_tag"]),
    ("vtag", &["sctp_verification_tag"]),
];

/// Whether what the kernel said of a packet and the code we gave for it are the same reason. A
/// packet from this host to itself is looked at twice if it is INVALID, and may be so for two
/// reasons.
pub(super) fn agree(kernel: &[String], code: Option<&String>, state: Option<&str>) -> bool {
    let Some(code) = code.map(String::as_str) else { return kernel.is_empty() };
    if kernel.is_empty() {
        return SILENT.contains(&code) || (state != Some("INVALID") && UNCHECKED.contains(&code));
    }
    kernel.iter().any(|words| {
        let known = WORDS.iter().find(|(part, _)| words.contains(part));
        known.is_some_and(|(_, codes)| codes.contains(&code))
    })
}

/// Codes of which the kernel says nothing.
const SILENT: [&str; 16] = [
    "tcp_pickup_disabled",
    "short_header",
    "icmp_no_query",
    "icmp_unasked",
    "icmp_unquotable",
    "icmp_unrelated",
    "no_upper_layer",
    "gre_not_ppp",
    "icmp_wrong_family",
    "helper_port_zero",
    "helper_third_host",
    "helper_cannot_edit",
    // Said of some packets only.
    "bad_length",
    "sctp_chunks",
    "sctp_invalid_new",
    "sctp_verification_tag",
];

/// Codes of which the kernel says nothing where the window of a side is not checked.
const UNCHECKED: [&str; 5] = [
    "seq_over_upper_bound",
    "ack_over_upper_bound",
    "seq_under_lower_bound",
    "ack_under_lower_bound",
    "overshot",
];
