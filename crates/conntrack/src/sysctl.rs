//! The sysctls of connection tracking, by the kernel's names, with its defaults, units and bounds.
//!
//! One row of `rows` a sysctl: that is the list, the reader, the writer and the bounds in one. The
//! tracker reads the fields; [`Sysctls::set`] is how text (a command line, gateway.toml) gets in.
//! As in the kernel a changed timeout reaches an entry with its next packet.

use core::fmt;

use crate::sctp;
use crate::tcp;
use crate::time::Span;

/// `net.netfilter.nf_conntrack_events`: who gets events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EventMode {
    /// Nobody.
    Off = 0,
    /// Every connection reports.
    Always = 1,
    /// Connections report that were made while somebody listened.
    Listened = 2,
}

/// Every sysctl under `net.netfilter.nf_conntrack_*` that Linux 6.18 has.
///
/// Timeouts are in seconds. Read-only ones (`count`) are not here: ask the tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sysctls {
    /// Entries at most; 0 is no limit.
    pub max: u32,
    /// Buckets of the kernel's hash table: printed, and the base of `expect_max`'s default.
    pub buckets: u32,
    /// Expectations at most, over all connections.
    pub expect_max: u32,
    /// New connections count packets and bytes.
    pub acct: bool,
    /// New connections note when they start and stop.
    pub timestamp: bool,
    /// Which connections report events.
    pub events: EventMode,
    /// Checksums are verified where packets come in.
    pub checksum: bool,
    /// The protocol whose invalid packets are logged; 255 is all, 0 none.
    pub log_invalid: u8,
    /// TCP connections are picked up in their middle.
    pub tcp_loose: bool,
    /// TCP segments outside the window are accepted; only RSTs are still checked.
    pub tcp_be_liberal: bool,
    /// A RST below the acknowledged data is accepted.
    pub tcp_ignore_invalid_rst: bool,
    /// Identical ACKs before `tcp_timeout_max_retrans` applies.
    pub tcp_max_retrans: u8,
    /// TCP timeouts.
    pub tcp: tcp::Timeouts,
    /// UDP and UDP-Lite, one way.
    pub udp_timeout: u32,
    /// UDP and UDP-Lite, both ways.
    pub udp_timeout_stream: u32,
    /// ICMP queries.
    pub icmp_timeout: u32,
    /// ICMPv6 queries.
    pub icmpv6_timeout: u32,
    /// GRE, one way.
    pub gre_timeout: u32,
    /// GRE, both ways.
    pub gre_timeout_stream: u32,
    /// Protocols without a tracker.
    pub generic_timeout: u32,
    /// SCTP timeouts.
    pub sctp: sctp::Timeouts,
    /// How long the pieces of an IPv6 packet wait for the rest.
    pub frag6_timeout: u32,
    /// Bytes to which the memory for IPv6 fragments is brought back.
    pub frag6_low_thresh: u64,
    /// Bytes at which IPv6 fragments are dropped.
    pub frag6_high_thresh: u64,
}

impl Default for Sysctls {
    fn default() -> Sysctls {
        Sysctls {
            max: 262_144,
            buckets: 262_144,
            expect_max: 4096,
            acct: false,
            timestamp: false,
            events: EventMode::Listened,
            checksum: true,
            log_invalid: 0,
            tcp_loose: true,
            tcp_be_liberal: false,
            tcp_ignore_invalid_rst: false,
            tcp_max_retrans: 3,
            tcp: tcp::Timeouts::default(),
            udp_timeout: 30,
            udp_timeout_stream: 120,
            icmp_timeout: 30,
            icmpv6_timeout: 30,
            gre_timeout: 30,
            gre_timeout_stream: 180,
            generic_timeout: 600,
            sctp: sctp::Timeouts::default(),
            frag6_timeout: 60,
            frag6_low_thresh: 3_145_728,
            frag6_high_thresh: 4_194_304,
        }
    }
}

/// Why a sysctl was not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SysctlError {
    /// There is no sysctl of this name.
    Unknown,
    /// It can be read but not written.
    ReadOnly,
    /// The value is not a number.
    NotANumber,
    /// The number is outside the bounds the kernel allows.
    OutOfRange {
        /// The smallest value.
        minimum: u64,
        /// The largest value.
        maximum: u64,
    },
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SysctlError::Unknown => f.write_str("no such sysctl"),
            SysctlError::ReadOnly => f.write_str("this sysctl is read-only"),
            SysctlError::NotANumber => f.write_str("the value is not a number"),
            SysctlError::OutOfRange { minimum, maximum } => {
                write!(f, "the value is out of range: {minimum} to {maximum}")
            }
        }
    }
}

impl std::error::Error for SysctlError {}

/// A field of [`Sysctls`], so that one row serves reading and writing.
enum Field<'a> {
    Bool(&'a mut bool),
    Byte(&'a mut u8),
    Number(&'a mut u32),
    Bytes(&'a mut u64),
    Events(&'a mut EventMode),
}

/// The largest value of a signed 32-bit sysctl.
const INT_MAX: u64 = i32::MAX as u64;

impl Sysctls {
    /// Names without their `net.netfilter.nf_conntrack_` prefix, in the kernel's order.
    pub const NAMES: [&'static str; 40] = [
        "acct",
        "buckets",
        "checksum",
        "events",
        "expect_max",
        "frag6_high_thresh",
        "frag6_low_thresh",
        "frag6_timeout",
        "generic_timeout",
        "gre_timeout",
        "gre_timeout_stream",
        "icmp_timeout",
        "icmpv6_timeout",
        "log_invalid",
        "max",
        "sctp_timeout_closed",
        "sctp_timeout_cookie_echoed",
        "sctp_timeout_cookie_wait",
        "sctp_timeout_established",
        "sctp_timeout_heartbeat_sent",
        "sctp_timeout_shutdown_ack_sent",
        "sctp_timeout_shutdown_recd",
        "sctp_timeout_shutdown_sent",
        "tcp_be_liberal",
        "tcp_ignore_invalid_rst",
        "tcp_loose",
        "tcp_max_retrans",
        "tcp_timeout_close",
        "tcp_timeout_close_wait",
        "tcp_timeout_established",
        "tcp_timeout_fin_wait",
        "tcp_timeout_last_ack",
        "tcp_timeout_max_retrans",
        "tcp_timeout_syn_recv",
        "tcp_timeout_syn_sent",
        "tcp_timeout_time_wait",
        "tcp_timeout_unacknowledged",
        "timestamp",
        "udp_timeout",
        "udp_timeout_stream",
    ];

    /// Sets a sysctl from its text. The name may be written with dots or slashes, in full
    /// (`net.netfilter.nf_conntrack_max`, `net/nf_conntrack_max`) or from `nf_conntrack_` on.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let short = short_name(name).ok_or(SysctlError::Unknown)?;
        if short == "count" {
            return Err(SysctlError::ReadOnly);
        }
        let field = self.field(&short).ok_or(SysctlError::Unknown)?;
        let number: u64 = value.trim().parse().map_err(|_| SysctlError::NotANumber)?;
        let (minimum, maximum) = match field {
            Field::Bool(_) => (0, 1),
            Field::Byte(_) => (0, 255),
            Field::Number(_) => (0, INT_MAX),
            Field::Bytes(_) => (0, u64::MAX),
            Field::Events(_) => (0, 2),
        };
        if number < minimum || number > maximum {
            return Err(SysctlError::OutOfRange { minimum, maximum });
        }
        match field {
            Field::Bool(flag) => *flag = number == 1,
            Field::Byte(byte) => *byte = number as u8,
            Field::Number(field) => *field = number as u32,
            Field::Bytes(field) => *field = number,
            Field::Events(mode) => {
                *mode = match number {
                    0 => EventMode::Off,
                    1 => EventMode::Always,
                    _ => EventMode::Listened,
                }
            }
        }
        Ok(())
    }

    /// The value of a sysctl as /proc prints it; `None` when there is none of this name.
    pub fn value(&self, name: &str) -> Option<u64> {
        let short = short_name(name)?;
        // Reading goes through the same row as writing; the copy is off every packet's way.
        let mut copy = self.clone();
        Some(match copy.field(&short)? {
            Field::Bool(flag) => u64::from(*flag),
            Field::Byte(byte) => u64::from(*byte),
            Field::Number(number) => u64::from(*number),
            Field::Bytes(bytes) => *bytes,
            Field::Events(mode) => *mode as u64,
        })
    }

    fn field(&mut self, short: &str) -> Option<Field<'_>> {
        Some(match short {
            "acct" => Field::Bool(&mut self.acct),
            "buckets" => Field::Number(&mut self.buckets),
            "checksum" => Field::Bool(&mut self.checksum),
            "events" => Field::Events(&mut self.events),
            "expect_max" => Field::Number(&mut self.expect_max),
            "frag6_high_thresh" => Field::Bytes(&mut self.frag6_high_thresh),
            "frag6_low_thresh" => Field::Bytes(&mut self.frag6_low_thresh),
            "frag6_timeout" => Field::Number(&mut self.frag6_timeout),
            "generic_timeout" => Field::Number(&mut self.generic_timeout),
            "gre_timeout" => Field::Number(&mut self.gre_timeout),
            "gre_timeout_stream" => Field::Number(&mut self.gre_timeout_stream),
            "icmp_timeout" => Field::Number(&mut self.icmp_timeout),
            "icmpv6_timeout" => Field::Number(&mut self.icmpv6_timeout),
            "log_invalid" => Field::Byte(&mut self.log_invalid),
            "max" => Field::Number(&mut self.max),
            "tcp_be_liberal" => Field::Bool(&mut self.tcp_be_liberal),
            "tcp_ignore_invalid_rst" => Field::Bool(&mut self.tcp_ignore_invalid_rst),
            "tcp_loose" => Field::Bool(&mut self.tcp_loose),
            "tcp_max_retrans" => Field::Byte(&mut self.tcp_max_retrans),
            "timestamp" => Field::Bool(&mut self.timestamp),
            "udp_timeout" => Field::Number(&mut self.udp_timeout),
            "udp_timeout_stream" => Field::Number(&mut self.udp_timeout_stream),
            _ => {
                let seconds = match short.strip_prefix("tcp_timeout_") {
                    Some(state) => self.tcp.by_name(state)?,
                    None => self.sctp.by_name(short.strip_prefix("sctp_timeout_")?)?,
                };
                Field::Number(seconds)
            }
        })
    }
}

/// A timeout sysctl as a span.
pub(crate) const fn span(seconds: u32) -> Span {
    Span::secs(seconds)
}

/// `net.netfilter.nf_conntrack_x`, `net/netfilter/nf_conntrack_x`, `net.nf_conntrack_max` and
/// `nf_conntrack_x` all mean `x`.
fn short_name(name: &str) -> Option<String> {
    let dotted = name.trim().replace('/', ".");
    let tail = dotted.strip_prefix("net.").unwrap_or(&dotted);
    if tail == "nf_conntrack_max" {
        return Some("max".into());
    }
    let tail = match dotted.strip_prefix("net.") {
        Some(rest) => rest.strip_prefix("netfilter.")?,
        None => tail,
    };
    tail.strip_prefix("nf_conntrack_").map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_and_writes() {
        let mut sysctls = Sysctls::default();
        for name in Sysctls::NAMES {
            let full = format!("net.netfilter.nf_conntrack_{name}");
            let before = sysctls.value(&full).unwrap_or_else(|| panic!("{full}"));
            let other = if before == 1 { 0 } else { 1 };
            sysctls.set(&full, &other.to_string()).unwrap();
            assert_eq!(sysctls.value(&full), Some(other), "{full}");
        }
    }

    #[test]
    fn names_are_taken_as_sysctl_takes_them() {
        let mut sysctls = Sysctls::default();
        for name in ["net.nf_conntrack_max", "net/netfilter/nf_conntrack_max", "nf_conntrack_max"] {
            sysctls.set(name, "77").unwrap();
            assert_eq!(sysctls.max, 77);
            sysctls.max = 1;
        }
        assert_eq!(sysctls.set("nf_conntrack_helper", "1"), Err(SysctlError::Unknown));
        assert_eq!(sysctls.set("net.ipv4.ip_forward", "1"), Err(SysctlError::Unknown));
        assert_eq!(
            sysctls.set("net.netfilter.nf_conntrack_count", "1"),
            Err(SysctlError::ReadOnly)
        );
    }

    #[test]
    fn bounds_are_the_kernels() {
        let mut sysctls = Sysctls::default();
        let out = |minimum, maximum| Err(SysctlError::OutOfRange { minimum, maximum });
        assert_eq!(sysctls.set("nf_conntrack_acct", "2"), out(0, 1));
        assert_eq!(sysctls.set("nf_conntrack_events", "3"), out(0, 2));
        assert_eq!(sysctls.set("nf_conntrack_tcp_max_retrans", "256"), out(0, 255));
        assert_eq!(sysctls.set("nf_conntrack_udp_timeout", "x"), Err(SysctlError::NotANumber));
    }
}
