//! The machine that packets go through: what can be told of it, and how it is made of that. One
//! definition for every command.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueHint};
use stateward_engine::route::{Network, Routing};
use stateward_replay::config::Config;
use stateward_replay::explain::Files;
use stateward_replay::ip::{IpError, IpListing};
use stateward_replay::machine::{self, Machine};
use stateward_wire::Family;

use crate::error::Failure;
use crate::rules;

/// The machine.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "The machine")]
pub(crate) struct MachineArgs {
    /// The machine to stand in for (gateway.toml): interfaces, routes, sysctls
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// What `ip -j addr` prints on the machine, instead of a configuration's interfaces (repeatable,
    /// also for `ip -j link`)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) addr: Vec<PathBuf>,

    /// What `ip -j route` or `ip -j -6 route` prints on the machine (repeatable)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) route: Vec<PathBuf>,

    /// iptables rules for IPv4, as iptables-save writes them, or a script of iptables commands
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) rules: Option<PathBuf>,

    /// ip6tables rules for IPv6
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) rules6: Option<PathBuf>,

    /// The sets that rules name, as `ipset save` writes them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sets: Option<PathBuf>,

    /// A setting of connection tracking, as net.netfilter.nf_conntrack_tcp_loose=0
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<Assignment>,

    /// An address of the machine itself, without a configuration
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Vec<IpAddr>,
}

/// `NAME=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self { name: name.trim().into(), value: value.trim().into() })
            }
            _ => Err("write it as NAME=VALUE".into()),
        }
    }
}

/// A machine, and the files its rules are from.
pub(crate) struct Described {
    pub(crate) machine: Machine,
    pub(crate) files: Files,
}

impl MachineArgs {
    /// Whether it has addresses beside those of its interfaces.
    pub(crate) fn has_addresses(&self) -> bool {
        !self.host.is_empty()
    }

    /// The machine that the arguments describe.
    pub(crate) fn describe(&self) -> Result<Described, Failure> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let mut machine = self.machine(config.as_ref())?;
        let of_config = config.as_ref().is_some_and(|config| !config.ip_addresses.is_empty());
        let listed = of_config || !self.addr.is_empty();
        let (v4, v6, sets) =
            config.map_or((None, None, None), |config| (config.rules, config.rules6, config.sets));
        if let Some(file) = self.sets.as_ref().or(sets.as_ref()) {
            machine.sets = rules::sets(file)?;
        }
        let rules = [self.rules.clone().or(v4), self.rules6.clone().or(v6)];
        for (file, family) in rules.iter().zip([Family::V4, Family::V6]) {
            if let Some(file) = file {
                let rules = rules::to_run(file, family, Some(&machine))?;
                machine.rules.push(rules);
            }
        }
        for assignment in self.sysctl.iter().filter(|one| !(listed && one.is_forwarding())) {
            machine.set(&assignment.name, &assignment.value).map_err(|error| {
                let message = format!("--sysctl {}: {error}", assignment.name);
                Failure::usage(message, machine::hint(&assignment.name, error))
            })?;
        }
        let [v4, v6] = rules.map(|file| file.map(|file| file.display().to_string()));
        Ok(Described { machine, files: Files { v4, v6 } })
    }

    /// Without rules, and without the settings of the command line.
    fn machine(&self, config: Option<&Config>) -> Result<Machine, Failure> {
        let own = || self.host.iter().copied();
        let network = self.listing(config)?;
        let described = match (config, &network) {
            (_, Some(_)) => Some("--addr".to_owned()),
            (Some(config), None) if !config.interfaces.is_empty() => {
                self.config.as_ref().map(|file| file.display().to_string())
            }
            _ => None,
        };
        if let Some(described) = described.filter(|_| !self.host.is_empty()) {
            let hint = "its addresses are those of its interfaces".to_owned();
            let message = format!("--host: {described} describes the machine");
            return Err(Failure::usage(message, Some(hint)));
        }
        Ok(match (network, config) {
            (Some(network), config) => Machine::on(network, config)?,
            (None, Some(config)) => Machine::from_config(config, own())?,
            (None, None) => Machine::transparent(own()),
        })
    }

    /// The network of `ip`'s listings, those of the command line before those of the configuration.
    fn listing(&self, config: Option<&Config>) -> Result<Option<Network>, Failure> {
        let of_config = config.map(|config| (&config.ip_addresses, &config.ip_routes));
        let empty = Vec::new();
        let (addresses, routes) = match (self.addr.is_empty() && self.route.is_empty(), of_config) {
            (true, Some(of_config)) => of_config,
            (true, None) => (&empty, &empty),
            (false, _) => (&self.addr, &self.route),
        };
        if addresses.is_empty() && routes.is_empty() {
            return Ok(None);
        }
        if addresses.is_empty() {
            let hint = "--addr takes what `ip -j addr` prints".to_owned();
            return Err(Failure::usage("--route: the interfaces are missing", Some(hint)));
        }
        let mut listing = IpListing::default();
        let refused = |error: IpError| Failure::usage(error.to_string(), error.hint);
        for file in addresses {
            let text = rules::read(file)?;
            listing.read_addresses(&file.display().to_string(), &text).map_err(refused)?;
        }
        for file in routes {
            let text = rules::read(file)?;
            listing.read_routes(&file.display().to_string(), &text).map_err(refused)?;
        }
        let forward = match self.sysctl.iter().rfind(|one| one.is_forwarding()) {
            Some(one) => one.value != "0",
            None => config.and_then(|config| config.forward).unwrap_or(true),
        };
        let routing = if forward { Routing::Forwarding } else { Routing::Host };
        let network = listing.network(routing).map_err(refused)?;
        listing.notes().iter().for_each(|note| eprintln!("note: {note}"));
        Ok(Some(network))
    }
}

impl Assignment {
    fn is_forwarding(&self) -> bool {
        self.name.replace('/', ".") == "net.ipv4.ip_forward"
    }
}
