//! The machine that packets go through: what can be told of it, and how it is made of that. One
//! definition for every command.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueHint};
use stateward_replay::config::Config;
use stateward_replay::explain::Files;
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

    /// iptables rules for IPv4, as iptables-save writes them, or a script of iptables commands
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) rules: Option<PathBuf>,

    /// ip6tables rules for IPv6
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) rules6: Option<PathBuf>,

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
        let own = self.host.iter().copied();
        let mut rules = [self.rules.clone(), self.rules6.clone()];
        let mut machine = match &self.config {
            None => Machine::transparent(own),
            Some(file) => {
                let config = Config::load(file)?;
                if !config.interfaces.is_empty() && !self.host.is_empty() {
                    let hint = "its addresses are those of its interfaces".to_owned();
                    let message = format!("--host: {} describes the machine", file.display());
                    return Err(Failure::usage(message, Some(hint)));
                }
                let machine = Machine::from_config(&config, own)?;
                let [v4, v6] = rules;
                rules = [v4.or(config.rules), v6.or(config.rules6)];
                machine
            }
        };
        for (file, family) in rules.iter().zip([Family::V4, Family::V6]) {
            if let Some(file) = file {
                machine.rules.push(rules::to_run(file, family)?);
            }
        }
        for assignment in &self.sysctl {
            machine.set(&assignment.name, &assignment.value).map_err(|error| {
                let message = format!("--sysctl {}: {error}", assignment.name);
                Failure::usage(message, machine::hint(&assignment.name, error))
            })?;
        }
        let [v4, v6] = rules.map(|file| file.map(|file| file.display().to_string()));
        Ok(Described { machine, files: Files { v4, v6 } })
    }
}
