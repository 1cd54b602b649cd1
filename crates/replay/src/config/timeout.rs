//! `[[timeout]]`: the policies that `nfct add timeout` makes, for `-j CT --timeout`.

use stateward_conntrack::TimeoutPolicy;
use stateward_wire::{Family, protocol};
use toml::Spanned;

use super::ConfigError;
use super::error::Source;
use super::raw;
use super::validate::refuse;

/// `CTNL_TIMEOUT_NAME_MAX` without its terminating zero, which iptables cuts names to.
const NAME_BYTES: usize = 31;
/// Later the kernel's clock, of 250 ticks a second, takes for past.
const SECONDS: u32 = i32::MAX as u32 / 250;

/// The protocols that nfct names, and what has no tracker of its own.
const PROTOCOLS: [(&str, u8); 8] = [
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("udplite", protocol::UDPLITE),
    ("icmp", protocol::ICMP),
    ("icmpv6", protocol::ICMPV6),
    ("sctp", protocol::SCTP),
    ("gre", protocol::GRE),
    ("generic", TimeoutPolicy::GENERIC),
];

/// All policies.
pub(super) fn policies(
    source: &Source,
    all: Vec<raw::Timeout>,
) -> Result<Vec<TimeoutPolicy>, ConfigError> {
    let mut policies: Vec<TimeoutPolicy> = Vec::with_capacity(all.len());
    for raw in all {
        let name = raw.name.get_ref();
        if name.is_empty() || name.len() > NAME_BYTES {
            let message = format!("`{name}` cannot be the name of a policy");
            return Err(refuse(source, &raw.name, message, "1 to 31 bytes"));
        }
        if policies.iter().any(|known| known.name() == name) {
            let message = format!("there is a policy `{name}` already");
            return Err(refuse(source, &raw.name, message, "each has a name of its own"));
        }
        policies.push(policy(source, &raw)?);
    }
    Ok(policies)
}

fn policy(source: &Source, raw: &raw::Timeout) -> Result<TimeoutPolicy, ConfigError> {
    let family = match raw.l3.get_ref().as_str() {
        "inet" => Family::V4,
        "inet6" => Family::V6,
        other => {
            let message = format!("`{other}` is no protocol of the network layer");
            return Err(refuse(source, &raw.l3, message, "inet or inet6"));
        }
    };
    let known = PROTOCOLS.iter().find(|(name, _)| name == raw.l4.get_ref());
    let (_, number) = known.ok_or_else(|| {
        let message = format!("Linux 6.18 has no timeouts of `{}`", raw.l4.get_ref());
        let names = PROTOCOLS.map(|(name, _)| name).join(", ");
        refuse(source, &raw.l4, message, format!("one of {names}"))
    })?;
    let mut policy = TimeoutPolicy::new(raw.name.get_ref(), family, *number);
    for (state, seconds) in &raw.states {
        set(source, &mut policy, state, seconds)?;
    }
    Ok(policy)
}

fn set(
    source: &Source,
    policy: &mut TimeoutPolicy,
    state: &str,
    seconds: &Spanned<u32>,
) -> Result<(), ConfigError> {
    if *seconds.get_ref() > SECONDS {
        let message = format!("{} seconds are too many", seconds.get_ref());
        return Err(refuse(source, seconds, message, format!("{SECONDS} at most")));
    }
    match policy.set(state, *seconds.get_ref()) {
        true => Ok(()),
        false => {
            let message = format!("`{state}` has no timeout there");
            let hint = format!("one of {}", policy.states().join(", "));
            Err(refuse(source, seconds, message, hint))
        }
    }
}
