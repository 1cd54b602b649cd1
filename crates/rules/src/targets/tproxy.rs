//! `-j TPROXY`: hands the packet to a socket of this host without changing it.
//!
//! A socket that is connected to the packet's ends has it; else one that listens at the given address
//! and port. If there is none, or it is not transparent, the packet ends here. Which sockets there
//! are a capture does not tell: see [`crate::known`]. Kernel counterpart: `xt_TPROXY.c`.

use std::net::IpAddr;

use stateward_wire::{Family, Packet};

use crate::address::{Shown, unspecified};
use crate::context::Context;
use crate::evaluate::{Acting, Action, ChainVerdict};
use crate::extension::{BOTH, Demands, Extension};
use crate::known::Assigned;
use crate::option::{Given, Masked, OptionSpec, Refusal};
use crate::protocol;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// Which socket, and the packet's new mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tproxy {
    /// `--on-port`; 0 is the packet's own.
    pub port: u16,
    /// `--on-ip`; all zeroes are the address of the interface it came in by.
    pub address: IpAddr,
    /// `--tproxy-mark`: bits of the mask are cleared, then those of the value turned over.
    pub mark: Masked,
}

impl Tproxy {
    pub(crate) const NAMES: &[&str] = &["TPROXY"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { port: 0, address: unspecified(family), mark: Masked { value: 0, mask: 0 } }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("on-port").mandatory(),
    OptionSpec::value("on-ip"),
    OptionSpec::value("tproxy-mark"),
];

impl Extension for Tproxy {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "on-port" => self.port = given.port()?,
            "on-ip" => self.address = given.host()?,
            _ => self.mark = given.masked()?,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { port, address, mark: Masked { value, mask } } = self;
        save.option("on-port", port).option("on-ip", Shown(*address));
        save.option("tproxy-mark", format_args!("{value:#x}/{mask:#x}"));
    }

    fn demands(&self) -> Demands {
        let protocols = &[protocol::TCP, protocol::UDP];
        let tables = Demands::tables(&[TableName::Mangle]).hooks(&[Hook::Prerouting]);
        Demands { protocols, ..tables }
    }
}

impl Acting for Tproxy {
    /// If nothing is known of sockets, the one that the rule was written for is there.
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let Some(assigned) = self.socket(context) else {
            return Action::Verdict(ChainVerdict::Drop);
        };
        let Masked { value, mask } = self.mark;
        context.set_mark((context.mark() & !mask) ^ value);
        context.assign(assigned);
        Action::Verdict(ChainVerdict::Accept)
    }
}

impl Tproxy {
    fn socket(&self, context: &dyn Context) -> Option<Assigned> {
        let packet = context.packet()?;
        let at = self.listener(context, &packet)?;
        let shared = context.shared().borrow();
        let told = shared.known.proxy(&packet, at);
        drop(shared);
        let Some(told) = told else {
            context.assume("TPROXY");
            return Some(Assigned::Assumed);
        };
        context.give("TPROXY", told.words);
        told.value
    }

    /// Where it should listen; `None` if the packet's header is cut.
    fn listener(&self, context: &dyn Context, packet: &Packet<'_>) -> Option<(IpAddr, u16)> {
        let needed = if packet.upper()?.protocol == protocol::TCP { 20 } else { 8 };
        let &[_, _, high, low] = packet.l4().get(..needed)?.first_chunk()?;
        let own = || context.address_of_input().unwrap_or(packet.destination());
        let address = if self.address.is_unspecified() { own() } else { self.address };
        let port = if self.port == 0 { u16::from_be_bytes([high, low]) } else { self.port };
        Some((address, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::{Alone, mangled_in};
    use crate::known::{Known, Socket};
    use crate::shared::Answers;

    const RULE: &str = "-p udp -j TPROXY --on-ip 192.0.2.9 --on-port 3128 --tproxy-mark 1/3";

    fn listening(local: &str) -> Socket {
        let local: core::net::SocketAddr = local.parse().unwrap();
        Socket {
            protocol: protocol::UDP,
            local: (local.ip(), local.port()),
            remote: None,
            process: None,
            transparent: true,
            mark: 0,
        }
    }

    /// What becomes of a packet from 192.0.2.1:4000 to 192.0.2.2:53, its mark, what was told.
    fn handed(rule: &str, sockets: Vec<Socket>) -> (ChainVerdict, u32, String) {
        let mut packet = Alone::udp(53);
        packet.know(Known { sockets: Some(sockets), ..Known::default() });
        packet.set_mark(6);
        let verdict = mangled_in(Hook::Prerouting, rule, &mut packet);
        let mut answers = Answers::default();
        packet.shared().borrow_mut().take_answers(&mut answers);
        (verdict, packet.mark(), answers.given[0].words.to_string())
    }

    #[test]
    fn a_transparent_listener_has_the_packet() {
        for local in ["192.0.2.9:3128", "0.0.0.0:3128", "[::]:3128"] {
            let found = handed(RULE, vec![listening(local)]);
            assert_eq!(found, (ChainVerdict::Accept, 5, format!("udp {local}")));
        }
        let opaque = Socket { transparent: false, ..listening("0.0.0.0:3128") };
        let told = "udp 0.0.0.0:3128, which is not transparent,".to_owned();
        assert_eq!(handed(RULE, vec![opaque]), (ChainVerdict::Drop, 6, told));
        for other in ["192.0.2.9:3129", "192.0.2.2:3128"] {
            let found = handed(RULE, vec![listening(other)]);
            assert_eq!(found, (ChainVerdict::Drop, 6, "no socket".to_owned()));
        }
    }

    #[test]
    fn what_is_not_said_is_the_packet_s_own() {
        let own_port = "-p udp -j TPROXY --on-port 0";
        assert_eq!(handed(own_port, vec![listening("192.0.2.2:53")]).0, ChainVerdict::Accept);
        assert_eq!(handed(own_port, vec![listening("192.0.2.2:54")]).0, ChainVerdict::Drop);
    }

    #[test]
    fn a_connection_has_the_packet_before_a_listener() {
        let ends = |remote: &str| {
            let remote: core::net::SocketAddr = remote.parse().unwrap();
            let remote = Some((remote.ip(), remote.port()));
            Socket { remote, ..listening("192.0.2.2:53") }
        };
        let listener = || listening("0.0.0.0:3128");
        let found = handed(RULE, vec![ends("192.0.2.1:4000"), listener()]);
        assert_eq!(found.2, "udp 192.0.2.2:53 to 192.0.2.1:4000");
        let others = handed(RULE, vec![ends("192.0.2.1:4001"), listener()]);
        assert_eq!(others, (ChainVerdict::Accept, 5, "udp 0.0.0.0:3128".to_owned()));
        // It is not asked whether there is a listener, too.
        let opaque = Socket { transparent: false, ..ends("192.0.2.1:4000") };
        assert_eq!(handed(RULE, vec![opaque, listener()]).0, ChainVerdict::Drop);
    }

    #[test]
    fn a_listener_is_assumed_and_a_cut_header_ends_the_packet() {
        let mut packet = Alone::udp(53);
        assert_eq!(mangled_in(Hook::Prerouting, RULE, &mut packet), ChainVerdict::Accept);
        let mut answers = Answers::default();
        packet.shared().borrow_mut().take_answers(&mut answers);
        assert_eq!(answers.assumed, ["TPROXY"]);
        let mut cut = Alone::of(Family::V4, protocol::UDP, &[0x0f, 0xa0, 0, 53, 0, 8, 0]);
        assert_eq!(mangled_in(Hook::Prerouting, RULE, &mut cut), ChainVerdict::Drop);
    }
}
