//! The machine that a replay stands in for: its settings and its network.
//!
//! With a configuration that describes interfaces, packets are routed as that machine would route
//! them. Without, routing is off: there are only the interfaces that the captures name, everything
//! transits, and the machine has no addresses but those the user says it has.

mod ipv4_conf;
mod modules;

use std::net::IpAddr;

use stateward_conntrack::TimeoutPolicy;
use stateward_conntrack::{Span, SysctlError, Sysctls};
use stateward_engine::defrag::Limits;
use stateward_engine::route::{Interface, Link, Network, Route, Routing};
use stateward_engine::source::SourceCheck;
use stateward_engine::{self as engine, InterfaceId};
use stateward_rules::known::Known;
use stateward_rules::shared::recent;
use stateward_rules::{Sets, ValidRuleset};

use self::ipv4_conf::Ipv4Conf;
use self::modules::Modules;
use crate::config::{Config, ConfigError};

/// The MTU of an interface that nothing is known about.
pub const DEFAULT_MTU: u32 = 1500;

/// See the module's essay.
pub struct Machine {
    /// Settings of connection tracking.
    pub sysctls: Sysctls,
    /// Settings of IPv4 reassembly.
    pub ipv4_fragments: Limits,
    /// Interfaces, addresses, routes.
    pub network: Network,
    /// Parameters of the kernel's module xt_recent.
    pub recent: recent::Settings,
    /// The sets that rules name.
    pub sets: Sets,
    /// The policies of timeouts that rules name.
    pub timeouts: Vec<TimeoutPolicy>,
    /// What no capture tells.
    pub known: Known,
    /// Rules, at most one set of a family.
    pub rules: Vec<ValidRuleset>,
    ipv4_conf: Ipv4Conf,
    modules: Modules,
}

impl Machine {
    /// A machine about which nothing is known but that it has these addresses.
    pub fn transparent(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            sysctls: Sysctls::default(),
            ipv4_fragments: Limits::IPV4,
            network: Network::transparent(Vec::new(), own),
            recent: recent::Settings::default(),
            sets: Sets::default(),
            timeouts: Vec::new(),
            known: Known::default(),
            rules: Vec::new(),
            ipv4_conf: Ipv4Conf::default(),
            modules: Modules::default(),
        }
    }

    /// The machine a configuration describes. One without interfaces describes settings alone; the
    /// machine is transparent then and has the addresses `own`.
    ///
    /// # Errors
    /// When it sets a sysctl that there is not, or to a value the kernel would refuse.
    pub fn from_config(
        config: &Config,
        own: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, ConfigError> {
        let mut machine = Self::transparent(own);
        if !config.interfaces.is_empty() {
            machine.network = network(config);
        }
        machine.configure(config)?;
        Ok(machine)
    }

    /// The machine with a network that `ip` has described; the configuration says the rest.
    ///
    /// # Errors
    /// As [`Machine::from_config`].
    pub fn on(network: Network, config: Option<&Config>) -> Result<Self, ConfigError> {
        let mut machine = Self { network, ..Self::transparent([]) };
        config.map_or(Ok(()), |config| machine.configure(config))?;
        Ok(machine)
    }

    fn configure(&mut self, config: &Config) -> Result<(), ConfigError> {
        self.known = config.known.clone();
        self.timeouts.clone_from(&config.timeouts);
        config.delivered.iter().for_each(|marked| self.network.deliver(*marked));
        for sysctl in &config.sysctls {
            self.set(&sysctl.name, &sysctl.value).map_err(|error| {
                let message = format!("`{}`: {error}", sysctl.name);
                ConfigError {
                    hint: hint(&sysctl.name, error),
                    ..config.sysctl_error(sysctl, message)
                }
            })?;
        }
        Ok(())
    }

    /// Sets a sysctl.
    ///
    /// # Errors
    /// When there is none of this name, or the kernel would refuse the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let dotted = name.trim().replace('/', ".");
        if let Some(of_fragments) = dotted.strip_prefix("net.ipv4.ipfrag_") {
            return self.set_fragments(of_fragments, value);
        }
        if let Some(parameter) = dotted.strip_prefix("xt_recent.") {
            return self.set_recent(parameter, value);
        }
        if let Some(set) = self.modules.set(&dotted, value) {
            return set;
        }
        match dotted.strip_prefix("net.ipv4.conf.") {
            Some(of_interface) => self.ipv4_conf.set(&self.network, of_interface, value),
            None => self.sysctls.set(name, value),
        }
    }

    fn set_fragments(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let number: u64 = value.trim().parse().map_err(|_| SysctlError::NotANumber)?;
        let within = |maximum: u64| {
            let small = u32::try_from(number.min(maximum)).unwrap_or(u32::MAX);
            let fits = number <= maximum;
            if fits { Ok(small) } else { Err(SysctlError::OutOfRange { minimum: 0, maximum }) }
        };
        match name {
            "time" => self.ipv4_fragments.timeout = Span::secs(within(i32::MAX as u64)?),
            "max_dist" => self.ipv4_fragments.max_distance = within(i32::MAX as u64)?,
            "high_thresh" => self.ipv4_fragments.high_threshold = number,
            _ => return Err(SysctlError::Unknown),
        }
        Ok(())
    }

    /// A module's parameter, by its name on the kernel's command line.
    fn set_recent(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let number: u64 = value.trim().parse().map_err(|_| SysctlError::NotANumber)?;
        let beyond = |minimum, maximum| SysctlError::OutOfRange { minimum, maximum };
        match name {
            "ip_list_tot" => {
                let total = u32::try_from(number).ok().filter(|total| *total > 0);
                self.recent.list_total = total.ok_or(beyond(1, u32::MAX.into()))?;
            }
            "ip_pkt_list_tot" => {
                self.recent.packets_total =
                    u16::try_from(number).map_err(|_| beyond(0, u16::MAX.into()))?;
            }
            _ => return Err(SysctlError::Unknown),
        }
        Ok(())
    }

    /// An engine for this machine. Unfinished checksums are right: a capture may have been made on
    /// the sending host.
    pub fn engine(mut self) -> engine::Engine {
        self.ipv4_conf.apply(&mut self.network);
        let tracker = stateward_conntrack::Config {
            sysctls: self.sysctls,
            unfinished: stateward_conntrack::Unfinished::Good,
            ..stateward_conntrack::Config::default()
        };
        let ipv4_fragments = Some(self.ipv4_fragments);
        let network = self.network;
        let mut engine = engine::Engine::new(engine::Config { tracker, network, ipv4_fragments });
        engine.set_helpers(self.modules.helpers());
        engine.tracker_mut().set_assigned(self.modules.assigned());
        engine.shared_mut().recent.set(self.recent);
        engine.shared_mut().sets = self.sets;
        engine.shared_mut().known = self.known;
        self.timeouts.iter().for_each(|policy| engine.add_timeout_policy(policy));
        self.rules.iter().for_each(|rules| engine.set_rules(rules));
        engine
    }
}

fn network(config: &Config) -> Network {
    let interfaces: Vec<_> = config
        .interfaces
        .iter()
        .map(|known| Interface {
            name: known.name.clone(),
            addresses: known.addresses.clone(),
            mtu: known.mtu.unwrap_or(DEFAULT_MTU),
            link: Link::Ethernet,
            source_check: SourceCheck::default(),
            group: known.group.unwrap_or_default(),
        })
        .collect();
    let number = |name: &str| {
        let position = interfaces.iter().position(|interface| interface.name == name);
        position.and_then(|position| u16::try_from(position).ok()).map(InterfaceId)
    };
    let routes: Vec<_> = config
        .routes
        .iter()
        // The configuration was refused if a route leads through an interface that is not there.
        .filter_map(|route| Some(Route { to: route.to, dev: number(&route.dev)?, via: route.via }))
        .collect();
    let routing = match config.forward {
        Some(false) => Routing::Host,
        Some(true) | None => Routing::Forwarding,
    };
    Network::new(interfaces, &routes, routing)
}

/// What to do about a sysctl that was refused.
pub fn hint(name: &str, error: SysctlError) -> Option<String> {
    if error != SysctlError::Unknown {
        return None;
    }
    if matches!(name, "net.ipv4.ip_forward" | "net.ipv6.conf.all.forwarding") {
        return Some("say `forward = true` or `forward = false` in the configuration".into());
    }
    let known = |name: &str| format!("net.netfilter.nf_conntrack_{name}");
    let nearest = Sysctls::NAMES
        .iter()
        .map(|short| (known(short), distance(name, short)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    match nearest {
        Some((nearest, likeness)) if likeness > 0.85 => Some(format!("{nearest}?")),
        _ => Some("names are those of `sysctl -a`, as net.netfilter.nf_conntrack_tcp_loose".into()),
    }
}

/// How much the end of a name is like a sysctl's, 0 to 1.
fn distance(name: &str, short: &str) -> f64 {
    let dotted = name.replace('/', ".");
    let tail = dotted.rsplit('.').next().unwrap_or_default();
    strsim::jaro_winkler(tail.trim_start_matches("nf_conntrack_"), short)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use stateward_engine::source::{OwnSource, ReversePath};

    use super::*;

    fn refused(text: &str) -> ConfigError {
        let config = Config::parse(Path::new("gateway.toml"), text).unwrap();
        Machine::from_config(&config, []).err().unwrap()
    }

    #[test]
    fn sysctls_of_a_configuration_are_refused_at_their_place() {
        let error = refused("[sysctl]\n\"net.netfilter.nf_conntrack_tcp_lose\" = 0\n");
        let place = error.place.clone().unwrap();
        assert_eq!(
            (place.line, error.hint.as_deref()),
            (2, Some("net.netfilter.nf_conntrack_tcp_loose?"))
        );
        assert!(error.to_string().contains("no such sysctl"), "{error}");
        let error = refused("[sysctl]\n\"net.netfilter.nf_conntrack_acct\" = 2\n");
        assert!(error.to_string().contains("out of range: 0 to 1"), "{error}");
    }

    #[test]
    fn settings_of_reassembly_are_taken() {
        let mut machine = Machine::transparent([]);
        machine.set("net.ipv4.ipfrag_time", "5").unwrap();
        machine.set("net/ipv4/ipfrag_high_thresh", "1").unwrap();
        assert_eq!(machine.ipv4_fragments.timeout, Span::secs(5));
        assert_eq!(machine.ipv4_fragments.high_threshold, 1);
        assert_eq!(machine.set("net.ipv4.ipfrag_secret", "1"), Err(SysctlError::Unknown));
        assert_eq!(machine.set("net.ipv4.ipfrag_time", "x"), Err(SysctlError::NotANumber));
    }

    #[test]
    fn parameters_of_modules_are_taken() {
        let mut machine = Machine::transparent([]);
        machine.set("xt_recent.ip_list_tot", "7").unwrap();
        machine.set("xt_recent.ip_pkt_list_tot", "65535").unwrap();
        assert_eq!((machine.recent.list_total, machine.recent.packets_total), (7, 65_535));
        let refused = machine.set("xt_recent.ip_list_tot", "0");
        assert_eq!(refused, Err(SysctlError::OutOfRange { minimum: 1, maximum: u32::MAX.into() }));
        assert!(machine.set("xt_recent.ip_pkt_list_tot", "65536").is_err());
        assert_eq!(machine.set("xt_recent.ip_list_perms", "1"), Err(SysctlError::Unknown));
    }

    #[test]
    fn the_documented_example_is_a_machine() {
        let page = include_str!("../../../docs/gateway.md");
        let example = page.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
        let config = Config::parse(Path::new("gateway.toml"), example).unwrap();
        let machine = Machine::from_config(&config, []).unwrap();
        assert_eq!(machine.sysctls.tcp.established, 86_400);
        let engine = machine.engine();
        let wan = engine.network().interface(InterfaceId(1)).unwrap();
        assert_eq!(wan.source_check.reverse_path, ReversePath::Loose);
        assert_eq!(engine.network().route("8.8.8.8".parse().unwrap()), Some(InterfaceId(1)));
    }

    #[test]
    fn of_what_is_asked_of_sources_the_strictest_holds() {
        let text = "
            [[interface]]
            name = \"lan0\"
            [[interface]]
            name = \"wan0.7\"
            [sysctl]
            \"net.ipv4.conf.all.rp_filter\" = 1
            \"net.ipv4.conf.default.rp_filter\" = 2
            \"net.ipv4.conf.lan0.rp_filter\" = 0
            \"net.ipv4.conf.wan0/7.accept_local\" = 1
        ";
        let config = Config::parse(Path::new("gateway.toml"), text).unwrap();
        let mut machine = Machine::from_config(&config, []).unwrap();
        let unknown = machine.set("net.ipv4.conf.dmz0.rp_filter", "1");
        assert_eq!(unknown, Err(SysctlError::Unknown));
        let wrong = machine.set("net.ipv4.conf.lan0.rp_filter", "on");
        assert_eq!(wrong, Err(SysctlError::NotANumber));
        let engine = machine.engine();
        let checks: Vec<_> = engine.network().interfaces().iter().map(|i| i.source_check).collect();
        let (strict, loose) = (ReversePath::Strict, ReversePath::Loose);
        assert_eq!(
            checks,
            [
                SourceCheck { reverse_path: strict, own: OwnSource::Refused },
                SourceCheck { reverse_path: loose, own: OwnSource::Accepted },
            ]
        );
    }

    #[test]
    fn helpers_are_given_by_port_where_that_is_asked_for() {
        let engine = |settings: &[(&str, &str)]| {
            let mut machine = Machine::transparent([]);
            settings.iter().for_each(|(name, value)| machine.set(name, value).unwrap());
            machine.engine()
        };
        let ports = ("nf_conntrack_ftp.ports", "2121");
        assert!(!engine(&[ports]).tracker().assigns());
        assert!(engine(&[ports, ("net/netfilter/nf_conntrack_helper", "1")]).tracker().assigns());
    }

    #[test]
    fn interfaces_and_routes_make_a_router() {
        let text = "
            [[interface]]
            name = \"lan0\"
            addresses = [\"192.168.1.1/24\"]
            [[interface]]
            name = \"wan0\"
            addresses = [\"203.0.113.1/24\"]
            [[route]]
            to = \"default\"
            dev = \"wan0\"
        ";
        let config = Config::parse(Path::new("gateway.toml"), text).unwrap();
        let network = Machine::from_config(&config, []).unwrap().network;
        assert_eq!(network.routing(), Routing::Forwarding);
        assert_eq!(network.route("198.51.100.7".parse().unwrap()), Some(InterfaceId(1)));
        assert!(network.is_own("192.168.1.1".parse().unwrap()));
    }
}
