//! `gateway.toml`: the machine a replay stands in for.
//!
//! The file is read in two steps. `raw` is what TOML may say, every value with its place in the
//! text and unknown keys refused; `validate` turns that into the plain types below, which hold only
//! what the kernel would accept: interface names it allows, addresses with prefixes, routes without
//! host bits through interfaces that exist. What only other parts can judge, the names and ranges
//! of sysctls and the content of the files named here, is left to them; [`Config::sysctl_error`]
//! lets them complain as this module does.
//!
//! An error is one [`ConfigError`]: file, line and column, the line itself with the place marked,
//! and what to do.

mod error;
mod known;
mod raw;
#[cfg(test)]
mod tests;
mod timeout;
mod validate;

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use stateward_conntrack::TimeoutPolicy;
use stateward_engine::route::Delivered;
use stateward_rules::known::Known;

pub use self::error::ConfigError;
use self::error::Source;

/// What `gateway.toml` says, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The iptables-save text for IPv4. Paths are relative to the file's directory, here already
    /// joined.
    pub rules: Option<PathBuf>,
    /// The same for IPv6.
    pub rules6: Option<PathBuf>,
    /// The `ipset save` text.
    pub sets: Option<PathBuf>,
    /// What `ip -j addr` printed, instead of interfaces.
    pub ip_addresses: Vec<PathBuf>,
    /// What `ip -j route` and `ip -j -6 route` printed, instead of routes.
    pub ip_routes: Vec<PathBuf>,
    /// The kernel to behave as.
    pub kernel: Option<KernelVersion>,
    /// Whether packets for others are forwarded.
    pub forward: Option<bool>,
    /// What is delivered to the machine whatever its destination.
    pub delivered: Vec<Delivered>,
    /// Sysctls, in the order of the file.
    pub sysctls: Vec<Sysctl>,
    /// Interfaces, in the order of the file; no two have the same name.
    pub interfaces: Vec<InterfaceConfig>,
    /// Routes beside those the addresses imply, in the order of the file; no two lead to the same
    /// prefix.
    pub routes: Vec<RouteConfig>,
    /// Policies of timeouts; no two have the same name.
    pub timeouts: Vec<TimeoutPolicy>,
    /// What no capture tells: processes, sockets, a bridge's ports, IPsec.
    pub known: Known,
    source: Source,
}

/// A kernel's version, as far as behaviour depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.18.
    pub major: u16,
    /// 18 of 6.18.
    pub minor: u16,
}

/// A sysctl as it is written; whether it exists is for its owner to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// With dots: `net.netfilter.nf_conntrack_tcp_loose`.
    pub name: String,
    /// As one would write it to /proc; `true` and `false` are 1 and 0.
    pub value: String,
    span: Range<usize>,
}

/// An interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// 1 to 15 bytes, as the kernel allows.
    pub name: String,
    /// Own addresses, each with the prefix of its network.
    pub addresses: Vec<IpNet>,
    /// Bytes of the longest IP packet, 68 to 65,536; the kernel's 1500 if absent.
    pub mtu: Option<u32>,
    /// The Ethernet address.
    pub mac: Option<Mac>,
    /// What `-m devgroup` matches.
    pub group: Option<u32>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// Where to; no host bits are set.
    pub to: IpNet,
    /// The name of one of the interfaces.
    pub dev: String,
    /// The next hop, if the network is not on the link.
    pub via: Option<IpAddr>,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or says something that cannot be.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file)
            .map_err(|error| ConfigError::unplaced(file, format!("cannot be read: {error}")))?;
        Self::parse(file, &text)
    }

    /// Reads a text; `file` is its name in error messages, and relative paths start at its
    /// directory.
    ///
    /// # Errors
    /// When it is not TOML, or says something that cannot be.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let raw: raw::Gateway = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        validate::config(raw, source)
    }

    /// The interface of a name.
    pub fn interface(&self, name: &str) -> Option<&InterfaceConfig> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// An error about a sysctl, shown at its place: for whoever knows which ones there are.
    pub fn sysctl_error(&self, sysctl: &Sysctl, message: impl Into<String>) -> ConfigError {
        self.source.error(&sysctl.span, message.into(), None)
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
