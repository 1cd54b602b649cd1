//! Which sysctls a packet concerns: those that the kernel reads, or that matter for what it does,
//! when it comes to such a packet.

use stateward_conntrack::{CtState, ProtocolInfo, Record};
use stateward_engine::{Outcome, Why};

use super::packet::{Class, Protocol};

/// A packet, and what became of it.
pub(super) struct Met {
    class: Class,
    /// It began a connection, or would have if there had been room.
    begins: bool,
    doubted: bool,
    /// The state in which it left its connection.
    state: Option<&'static str>,
    connected: bool,
}

impl Met {
    pub(super) fn new(class: Class, outcome: &Outcome, record: Option<&Record>) -> Self {
        let state = record.and_then(|record| match record.protocol? {
            ProtocolInfo::Tcp(tcp) => Some(tcp.state.name()),
            ProtocolInfo::Sctp(sctp) => Some(sctp.state.name()),
        });
        let refused = matches!(outcome.why, Some(Why::Drop(_)));
        Self {
            class,
            begins: refused || outcome.state == Some(CtState::New),
            doubted: matches!(outcome.why, Some(Why::Track(_))),
            state,
            connected: record.is_some(),
        }
    }

    /// Whether this is about the sysctl of this name.
    pub(super) fn concerns(&self, name: &str) -> bool {
        if let Some(state) = name.strip_prefix("tcp_timeout_") {
            let state = match state {
                // They cut the timeouts of every state.
                "max_retrans" | "unacknowledged" => return self.is_connected([Protocol::Tcp]),
                state => state,
            };
            return self.is_connected([Protocol::Tcp]) && self.is_in(state);
        }
        if let Some(state) = name.strip_prefix("sctp_timeout_") {
            return self.is_connected([Protocol::Sctp]) && self.is_in(state);
        }
        match name {
            "tcp_loose" => self.begins && self.is([Protocol::Tcp]),
            "udp_timeout" | "udp_timeout_stream" => {
                self.is_connected([Protocol::Udp, Protocol::UdpLite])
            }
            "icmp_timeout" => self.is_connected([Protocol::Icmp]) && !self.class.is_v6(),
            "icmpv6_timeout" => self.is_connected([Protocol::Icmp]) && self.class.is_v6(),
            "gre_timeout" | "gre_timeout_stream" => self.is_connected([Protocol::Gre]),
            "generic_timeout" => {
                let without = [Protocol::Dccp, Protocol::Esp, Protocol::Ah, Protocol::Another];
                self.is_connected(without)
            }
            "log_invalid" => self.doubted,
            "max" | "buckets" | "acct" | "timestamp" | "events" => self.begins,
            _ if name.starts_with("frag6_") => self.class.is_v6() && self.is([Protocol::Fragment]),
            _ if name.starts_with("tcp_") => self.is_connected([Protocol::Tcp]),
            _ => true,
        }
    }

    fn is<const N: usize>(&self, protocols: [Protocol; N]) -> bool {
        self.class.protocol().is_some_and(|protocol| protocols.contains(&protocol))
    }

    fn is_connected<const N: usize>(&self, protocols: [Protocol; N]) -> bool {
        self.connected && self.is(protocols)
    }

    /// Whether that is the state, in the words of a sysctl.
    fn is_in(&self, state: &str) -> bool {
        self.state.is_some_and(|name| name.eq_ignore_ascii_case(state))
    }
}
