//! `-j REJECT`: the packet ends here and its sender is told.

use crate::context::Context;
use crate::evaluate::{Acting, Action, ChainVerdict};
use stateward_wire::Family;

use crate::extension::{BOTH, Demands, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// `--reject-with TYPE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Whose rules these are.
    pub family: Family,
    /// The answer.
    pub with: Answer,
}

/// How the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ICMP destination unreachable with this code; for IPv6 ICMPv6.
    Unreachable(u8),
    /// A TCP RST.
    TcpReset,
}

impl Reject {
    pub(crate) const NAMES: &[&str] = &["REJECT"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        let port_unreachable = match family {
            Family::V4 => 3,
            Family::V6 => 4,
        };
        Self { family, with: Answer::Unreachable(port_unreachable) }
    }

    const fn types(family: Family) -> &'static [(&'static str, &'static str, Answer)] {
        match family {
            Family::V4 => TYPES,
            Family::V6 => TYPES6,
        }
    }
}

impl Extension for Reject {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("reject-with")] }
    }

    /// The first whose name or second name begins so, in any case.
    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let text = given.text;
        let begins = |name: &str| {
            name.get(..text.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(text))
        };
        let types = Self::types(self.family);
        let found = types.iter().find(|(name, alias, _)| begins(name) || begins(alias));
        let Some((_, _, answer)) = found else {
            let names: Vec<_> = types.iter().map(|(name, ..)| *name).collect();
            let refusal = Refusal::new(format!("unknown reject type `{text}`"));
            return Err(refusal.hint(format!("one of {}", names.join(", "))));
        };
        self.with = *answer;
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let types = Self::types(self.family);
        if let Some((name, ..)) = types.iter().find(|(_, _, answer)| *answer == self.with) {
            save.option("reject-with", name);
        }
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Filter]).hooks(&[Hook::Input, Hook::Forward, Hook::Output])
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let protocol = place.header.protocol;
        if self.with == Answer::TcpReset && (protocol.value != protocol::TCP || protocol.inverted) {
            let refusal = Refusal::table("`--reject-with tcp-reset` without its protocol");
            return Err(refusal.hint("add `-p tcp`"));
        }
        Ok(())
    }
}

/// Names, second names, and the codes of ICMP, in iptables' order.
const TYPES: &[(&str, &str, Answer)] = &[
    ("icmp-net-unreachable", "net-unreach", Answer::Unreachable(0)),
    ("icmp-host-unreachable", "host-unreach", Answer::Unreachable(1)),
    ("icmp-proto-unreachable", "proto-unreach", Answer::Unreachable(2)),
    ("icmp-port-unreachable", "port-unreach", Answer::Unreachable(3)),
    ("icmp-net-prohibited", "net-prohib", Answer::Unreachable(9)),
    ("icmp-host-prohibited", "host-prohib", Answer::Unreachable(10)),
    ("tcp-reset", "tcp-rst", Answer::TcpReset),
    ("icmp-admin-prohibited", "admin-prohib", Answer::Unreachable(13)),
];

/// The same of ICMPv6.
const TYPES6: &[(&str, &str, Answer)] = &[
    ("icmp6-no-route", "no-route", Answer::Unreachable(0)),
    ("icmp6-adm-prohibited", "adm-prohibited", Answer::Unreachable(1)),
    ("icmp6-addr-unreachable", "addr-unreach", Answer::Unreachable(3)),
    ("icmp6-port-unreachable", "port-unreach", Answer::Unreachable(4)),
    ("tcp-reset", "tcp-reset", Answer::TcpReset),
    ("icmp6-policy-fail", "policy-fail", Answer::Unreachable(5)),
    ("icmp6-reject-route", "reject-route", Answer::Unreachable(6)),
];

impl Acting for Reject {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context.reject(self);
        Action::Verdict(ChainVerdict::Drop)
    }
}
