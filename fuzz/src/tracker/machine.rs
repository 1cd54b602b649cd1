//! The machine that a scenario happens to.

use arbitrary::Arbitrary;
use stateward_conntrack::{EventMode, Unfinished};
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::SourceCheck;
use stateward_engine::{Config, Engine, From, Port};

/// Where a packet enters.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Door {
    Lan,
    Wan,
    Local,
}

impl Door {
    pub(crate) fn port(self) -> Port {
        match self {
            Door::Lan => Port::Interface(InterfaceId(0)),
            Door::Wan => Port::Interface(InterfaceId(1)),
            Door::Local => Port::Local,
        }
    }
}

/// Settings, as few bytes.
#[derive(Debug, Default, Arbitrary)]
pub(crate) struct Machine {
    max: u8,
    seed: u8,
    pub(crate) burst: u8,
    mtu: u8,
    routing: Role,
    events: Listeners,
    capture: bool,
    unfinished_is_good: bool,
    unchecked: bool,
    acct: bool,
    timestamp: bool,
    strict: bool,
    liberal: bool,
    ignore_invalid_rst: bool,
    /// Seconds that take the place of most timeouts, so that they pass within a scenario.
    timeouts: Option<u8>,
}

#[derive(Debug, Default, Clone, Copy, Arbitrary)]
enum Role {
    #[default]
    Transparent,
    Host,
    Router,
}

#[derive(Debug, Default, Clone, Copy, Arbitrary)]
enum Listeners {
    #[default]
    Always,
    Sometimes,
    Never,
}

impl Machine {
    pub(crate) fn from(&self) -> From {
        if self.capture { From::Capture } else { From::Wire }
    }

    pub(crate) fn engine(&self) -> Engine {
        let mut config = Config::default();
        config.tracker.seed = [u64::from(self.seed), 7];
        if self.unfinished_is_good {
            config.tracker.unfinished = Unfinished::Good;
        }
        let sysctls = &mut config.tracker.sysctls;
        sysctls.max = u32::from(self.max % 48) + 1;
        sysctls.checksum = !self.unchecked;
        sysctls.acct = self.acct;
        sysctls.timestamp = self.timestamp;
        sysctls.tcp_loose = !self.strict;
        sysctls.tcp_be_liberal = self.liberal;
        sysctls.tcp_ignore_invalid_rst = self.ignore_invalid_rst;
        sysctls.events = match self.events {
            Listeners::Always => EventMode::Always,
            Listeners::Sometimes => EventMode::Listened,
            Listeners::Never => EventMode::Off,
        };
        if let Some(seconds) = self.timeouts.map(u32::from) {
            sysctls.udp_timeout = seconds;
            sysctls.icmp_timeout = seconds;
            sysctls.generic_timeout = seconds;
            sysctls.gre_timeout = seconds;
            sysctls.tcp.syn_sent = seconds;
            sysctls.tcp.established = seconds;
            sysctls.tcp.time_wait = seconds;
            sysctls.frag6_timeout = seconds;
        }
        config.network = self.network();
        let mut engine = Engine::new(config);
        engine.tracker_mut().set_listening(matches!(self.events, Listeners::Sometimes));
        engine
    }

    fn network(&self) -> Network {
        let own = ["192.168.1.1", "fd00:1::1"];
        let routing = match self.routing {
            Role::Transparent => {
                let names = vec!["lan0".into(), "wan0".into()];
                return Network::transparent(names, own.iter().filter_map(|own| own.parse().ok()));
            }
            Role::Host => Routing::Host,
            Role::Router => Routing::Forwarding,
        };
        let interface = |name: &str, addresses: [&str; 2], mtu| Interface {
            name: name.into(),
            addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
            mtu,
            group: 0,
            link: Link::Ethernet,
            source_check: SourceCheck::default(),
        };
        // IPv6 asks for 1,280 of every link.
        let mtu = 1_280 + u32::from(self.mtu);
        let interfaces = vec![
            interface("lan0", ["192.168.1.1/24", "fd00:1::1/64"], 1_500),
            interface("wan0", ["203.0.113.1/24", "fd00:2::1/64"], mtu),
        ];
        let route = "198.51.100.0/24".parse();
        let routes: Vec<Route> =
            route.map(|to| Route { to, dev: InterfaceId(1), via: None }).into_iter().collect();
        Network::new(interfaces, &routes, routing)
    }
}
