//! What the modules of helpers are given: parameters, by their names on the kernel's command line,
//! and whether connections get their helpers by port.

use stateward_conntrack::{Assigned, SysctlError};
use stateward_helpers::{Amanda, Ftp, Helper, Irc, NetbiosNs, Peers, Pptp, Sane, Sip, Tftp, Trust};
use stateward_wire::protocol;

/// The settings, the modules' own at first.
#[derive(Debug, Clone)]
pub(super) struct Modules {
    /// `nf_conntrack_helper`.
    automatic: bool,
    ftp: Ftp,
    irc: Irc,
    sip: Sip,
    /// `ports` of the modules that were given some.
    ports: Vec<(String, Vec<u16>)>,
}

impl Default for Modules {
    fn default() -> Modules {
        Modules {
            automatic: false,
            ftp: Ftp::default(),
            irc: Irc::default(),
            sip: Sip::over(protocol::UDP),
            ports: Vec::new(),
        }
    }
}

/// Ports that a module takes.
const MOST_PORTS: u64 = 8;

impl Modules {
    /// Sets what has this name; none if it is nothing of theirs.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Option<Result<(), SysctlError>> {
        if matches!(name, "net.netfilter.nf_conntrack_helper" | "nf_conntrack.nf_conntrack_helper")
        {
            return Some(number(value, 0, 1).map(|on| self.automatic = on == 1));
        }
        let (module, parameter) = name.strip_prefix("nf_conntrack_")?.split_once('.')?;
        if parameter == "ports" && matches!(module, "ftp" | "irc" | "sane" | "sip" | "tftp") {
            return Some(ports(value).map(|ports| {
                self.ports.retain(|(known, _)| known != module);
                self.ports.push((module.to_owned(), ports));
            }));
        }
        let most = u64::from(u32::MAX);
        Some(match (module, parameter) {
            ("ftp", "loose") => number(value, 0, 1)
                .map(|on| self.ftp.trust = if on == 1 { Trust::Loose } else { Trust::Sender }),
            ("irc", "max_dcc_channels") => {
                number(value, 1, 255).map(|number| self.irc.max_dcc_channels = number)
            }
            ("irc", "dcc_timeout") => {
                number(value, 0, most).map(|seconds| self.irc.dcc_timeout = seconds)
            }
            ("sip", "sip_timeout") => {
                number(value, 0, most).map(|seconds| self.sip.timeout = seconds)
            }
            ("sip", "sip_direct_signalling") => {
                number(value, 0, 1).map(|on| self.sip.signalling = peers(on))
            }
            ("sip", "sip_direct_media") => number(value, 0, 1).map(|on| self.sip.media = peers(on)),
            _ => return None,
        })
    }

    /// The helpers with what they were given.
    pub(super) fn helpers(&self) -> Vec<Box<dyn Helper + Send>> {
        vec![
            Box::new(Amanda),
            Box::new(self.ftp),
            Box::new(self.irc),
            Box::new(NetbiosNs),
            Box::new(Pptp),
            Box::new(Sane),
            Box::new(Sip { over: protocol::TCP, ..self.sip }),
            Box::new(Sip { over: protocol::UDP, ..self.sip }),
            Box::new(Tftp),
        ]
    }

    /// The ports by which connections get their helpers, if they do.
    pub(super) fn assigned(&self) -> Vec<Assigned> {
        if !self.automatic {
            return Vec::new();
        }
        let mut assigned = Vec::new();
        for helper in self.helpers() {
            let own: Vec<u16> = helper.port().into_iter().collect();
            let given = self.ports.iter().find(|(module, _)| module == helper.name());
            let ports = given.map_or(&own, |(_, ports)| ports);
            assigned.extend(ports.iter().map(|port| Assigned {
                helper: helper.name(),
                protocol: helper.protocol(),
                family: helper.family(),
                port: *port,
            }));
        }
        assigned
    }
}

fn peers(direct: u32) -> Peers {
    if direct == 1 { Peers::Ends } else { Peers::Anybody }
}

fn number(value: &str, minimum: u64, maximum: u64) -> Result<u32, SysctlError> {
    let number: u64 = value.trim().parse().map_err(|_| SysctlError::NotANumber)?;
    let beyond = SysctlError::OutOfRange { minimum, maximum };
    let within = (minimum..=maximum).contains(&number);
    u32::try_from(number).ok().filter(|_| within).ok_or(beyond)
}

/// `21,2121`.
fn ports(value: &str) -> Result<Vec<u16>, SysctlError> {
    let ports = value.split(',').map(|port| number(port, 1, u16::MAX.into()));
    let ports: Vec<u32> = ports.collect::<Result<_, _>>()?;
    if ports.len() as u64 > MOST_PORTS {
        return Err(SysctlError::OutOfRange { minimum: 1, maximum: MOST_PORTS });
    }
    // None is above the maximum.
    Ok(ports.into_iter().map(|port| port as u16).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(modules: &mut Modules, name: &str, value: &str) -> Option<Result<(), SysctlError>> {
        modules.set(name, value)
    }

    #[test]
    fn ports_count_where_helpers_are_given_by_port() {
        let mut modules = Modules::default();
        assert_eq!(set(&mut modules, "nf_conntrack_ftp.ports", "2121, 21"), Some(Ok(())));
        assert!(modules.assigned().is_empty());
        assert_eq!(set(&mut modules, "net.netfilter.nf_conntrack_helper", "1"), Some(Ok(())));
        let of = |name: &str| {
            let assigned = modules.assigned().into_iter().filter(|one| one.helper == name);
            assigned.map(|one| (one.protocol, one.port)).collect::<Vec<_>>()
        };
        assert_eq!(of("ftp"), [(protocol::TCP, 2121), (protocol::TCP, 21)]);
        assert_eq!(of("sip"), [(protocol::TCP, 5060), (protocol::UDP, 5060)]);
        for (name, port) in [("amanda", 10080), ("irc", 6667), ("netbios-ns", 137)] {
            assert_eq!(of(name).first().map(|one| one.1), Some(port), "{name}");
        }
        for (name, port) in [("pptp", 1723), ("sane", 6566), ("tftp", 69)] {
            assert_eq!(of(name).first().map(|one| one.1), Some(port), "{name}");
        }
    }

    #[test]
    fn parameters_have_their_modules_bounds() {
        let mut modules = Modules::default();
        let beyond = |minimum, maximum| Some(Err(SysctlError::OutOfRange { minimum, maximum }));
        assert_eq!(set(&mut modules, "nf_conntrack_ftp.loose", "1"), Some(Ok(())));
        assert_eq!(modules.ftp.trust, Trust::Loose);
        assert_eq!(set(&mut modules, "nf_conntrack_ftp.loose", "2"), beyond(0, 1));
        assert_eq!(set(&mut modules, "nf_conntrack_irc.max_dcc_channels", "256"), beyond(1, 255));
        assert_eq!(set(&mut modules, "nf_conntrack_irc.max_dcc_channels", "3"), Some(Ok(())));
        assert_eq!(set(&mut modules, "nf_conntrack_irc.dcc_timeout", "9"), Some(Ok(())));
        assert_eq!((modules.irc.max_dcc_channels, modules.irc.dcc_timeout), (3, 9));
        assert_eq!(set(&mut modules, "nf_conntrack_sip.sip_direct_media", "0"), Some(Ok(())));
        assert_eq!(modules.sip.media, Peers::Anybody);
        assert_eq!(set(&mut modules, "nf_conntrack_ftp.ports", "0"), beyond(1, 65535));
        assert_eq!(set(&mut modules, "nf_conntrack_ftp.ports", "1,2,3,4,5,6,7,8,9"), beyond(1, 8));
        let word = Some(Err(SysctlError::NotANumber));
        assert_eq!(set(&mut modules, "nf_conntrack_tftp.ports", "tftp"), word);
        for name in ["nf_conntrack_pptp.ports", "nf_conntrack_ftp.lose", "net.netfilter.x"] {
            assert_eq!(set(&mut modules, name, "1"), None, "{name}");
        }
    }
}
