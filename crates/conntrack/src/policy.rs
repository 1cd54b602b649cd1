//! Policies of timeouts: what `nfct add timeout` makes and `-j CT --timeout` gives to connections.
//!
//! A policy is of one protocol and one family. A connection that has begun with one has its
//! timeouts instead of the sysctls', for as long as it lives; other settings go on to be the
//! sysctls'. What a policy does not say it has from the sysctls as they were when it was made.
//! Kernel counterpart: `nfnetlink_cttimeout.c`, and `nf_ct_timeout_lookup` in each protocol.

use stateward_wire::{Family, protocol};

use crate::sysctl::Sysctls;
use crate::tracker::has_tracker;

/// A policy of timeouts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeoutPolicy {
    name: String,
    family: Family,
    protocol: u8,
    /// States and seconds.
    given: Vec<(&'static str, u32)>,
}

/// A policy of a tracker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PolicyId(pub(crate) u16);

impl TimeoutPolicy {
    /// What stands for all protocols without a tracker of their own.
    pub const GENERIC: u8 = 255;

    /// A policy that says nothing yet, for connections of `protocol`; one that has no tracker of its
    /// own counts as [`TimeoutPolicy::GENERIC`].
    pub fn new(name: &str, family: Family, protocol: u8) -> Self {
        let (name, protocol) = (name.to_owned(), Self::tracker_of(protocol));
        Self { name, family, protocol, given: Vec::new() }
    }

    /// The protocol whose policies connections of `protocol` may have.
    pub fn tracker_of(protocol: u8) -> u8 {
        if has_tracker(protocol) { protocol } else { Self::GENERIC }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose connections may have it.
    pub fn is_for(&self, family: Family, protocol: u8) -> bool {
        self.family == family && self.protocol == Self::tracker_of(protocol)
    }

    /// The states that have a timeout of their own, as nfct calls them.
    pub fn states(&self) -> &'static [&'static str] {
        match self.protocol {
            protocol::TCP => &[
                "syn_sent",
                "syn_recv",
                "established",
                "fin_wait",
                "close_wait",
                "last_ack",
                "time_wait",
                "close",
                "syn_sent2",
                "retrans",
                "unacknowledged",
            ],
            protocol::UDP | protocol::UDPLITE | protocol::GRE => &["unreplied", "replied"],
            protocol::SCTP => &[
                "closed",
                "cookie_wait",
                "cookie_echoed",
                "established",
                "shutdown_sent",
                "shutdown_recd",
                "shutdown_ack_sent",
            ],
            _ => &["timeout"],
        }
    }

    /// Sets the seconds of a state, whichever case its name is written in; false if there is none.
    pub fn set(&mut self, state: &str, seconds: u32) -> bool {
        let known = self.states().iter().find(|known| known.eq_ignore_ascii_case(state));
        self.given.extend(known.map(|known| (*known, seconds)));
        known.is_some()
    }

    /// The settings with what the policy says instead: of these only its protocol's timeouts count.
    pub(crate) fn over(&self, sysctls: &Sysctls) -> Sysctls {
        let mut sysctls = sysctls.clone();
        for (state, seconds) in &self.given {
            if let Some(field) = self.field(&mut sysctls, state) {
                *field = *seconds;
            }
        }
        sysctls
    }

    fn field<'a>(&self, sysctls: &'a mut Sysctls, state: &str) -> Option<&'a mut u32> {
        match (self.protocol, state) {
            (protocol::TCP, "syn_sent2") => Some(&mut sysctls.tcp.syn_sent2),
            (protocol::TCP, "retrans") => Some(&mut sysctls.tcp.max_retrans),
            (protocol::TCP, _) => sysctls.tcp.by_name(state),
            (protocol::SCTP, _) => sysctls.sctp.by_name(state),
            (protocol::GRE, "replied") => Some(&mut sysctls.gre_timeout_stream),
            (protocol::GRE, _) => Some(&mut sysctls.gre_timeout),
            (protocol::UDP | protocol::UDPLITE, "replied") => Some(&mut sysctls.udp_timeout_stream),
            (protocol::UDP | protocol::UDPLITE, _) => Some(&mut sysctls.udp_timeout),
            (protocol::ICMP, _) => Some(&mut sysctls.icmp_timeout),
            (protocol::ICMPV6, _) => Some(&mut sysctls.icmpv6_timeout),
            _ => Some(&mut sysctls.generic_timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_every_protocol_is_a_timeout_of_its_own() {
        for protocol in [1, 6, 17, 47, 58, 132, 136, 50] {
            let plain = TimeoutPolicy::new("p", Family::V4, protocol);
            let mut seen = vec![Sysctls::default()];
            for state in plain.states() {
                let mut policy = plain.clone();
                assert!(policy.set(&state.to_uppercase(), 7777), "{protocol} {state}");
                let sysctls = policy.over(&Sysctls::default());
                assert!(!seen.contains(&sysctls), "{protocol} {state}");
                seen.push(sysctls);
            }
            assert!(!plain.clone().set("max_retrans", 1) && !plain.clone().set("", 1));
        }
    }

    #[test]
    fn a_protocol_without_a_tracker_is_generic() {
        let policy = |protocol| TimeoutPolicy::new("p", Family::V6, protocol);
        assert!(policy(255).is_for(Family::V6, 50) && policy(50).is_for(Family::V6, 51));
        assert!(!policy(255).is_for(Family::V6, 6) && !policy(6).is_for(Family::V4, 6));
    }
}
