//! `-j ECN`: changes what the IP header and TCP say about congestion. IPv4 only.

use stateward_wire::{Family, Network, Packet, TcpFlags, TcpHeader, protocol};

use crate::context::Context;
use crate::evaluate::{Acting, Action, ChainVerdict};
use crate::extension::{Demands, Extension, Place, V4};
use crate::matches::ecn::tcp_only;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// What is written where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ecn {
    /// `--ecn-tcp-ece`; `--ecn-tcp-remove` takes both.
    pub echo: Option<u8>,
    /// `--ecn-tcp-cwr`.
    pub reduced: Option<u8>,
    /// `--ecn-ip-ect`: 0 to 3.
    pub codepoint: Option<u8>,
}

impl Ecn {
    pub(crate) const NAMES: &[&str] = &["ECN"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }

    fn asks_tcp(&self) -> bool {
        self.echo.is_some() || self.reduced.is_some()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("ecn-tcp-remove").excludes(&["ecn-tcp-cwr", "ecn-tcp-ece"]),
    OptionSpec::value("ecn-tcp-cwr").excludes(&["ecn-tcp-remove"]),
    OptionSpec::value("ecn-tcp-ece").excludes(&["ecn-tcp-remove"]),
    OptionSpec::value("ecn-ip-ect"),
];

impl Extension for Ecn {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "ecn-tcp-remove" => {
                *self = Self { echo: Some(0), reduced: Some(0), codepoint: None };
            }
            "ecn-tcp-cwr" => self.reduced = Some(given.number(0..=1)? as u8),
            "ecn-tcp-ece" => self.echo = Some(given.number(0..=1)? as u8),
            _ => self.codepoint = Some(given.number(0..=3)? as u8),
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("ECN: an option is missing").hint("`--ecn-tcp-remove`")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { echo, reduced, codepoint } = self;
        if (*echo, *reduced, *codepoint) == (Some(0), Some(0), None) {
            save.flag("ecn-tcp-remove");
        } else {
            for (name, value) in [("ecn-tcp-ece", echo), ("ecn-tcp-cwr", reduced)] {
                if let Some(value) = value {
                    save.option(name, value);
                }
            }
        }
        if let Some(value) = codepoint {
            save.option("ecn-ip-ect", value);
        }
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        tcp_only("ECN", self.asks_tcp(), place)
    }
}

impl Acting for Ecn {
    /// A packet whose TCP header is cut cannot be changed as was asked for, and is dropped.
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        const CONGESTION: u8 = 0x03;
        let Some(packet) = context.packet() else { return Action::Continue };
        let (tos, is_tcp) = (packet.tos(), self.asks_tcp() && is_tcp(&packet));
        let header =
            TcpHeader::view(packet.l4()).map(|header| [header.offset_reserved, header.flags]);
        if let Some(codepoint) = self.codepoint {
            context.edit_header().set_tos(tos & !CONGESTION | codepoint);
        }
        if !is_tcp {
            return Action::Continue;
        }
        let Some([offset, flags]) = header else { return Action::Verdict(ChainVerdict::Drop) };
        let set = |flags: u8, bit: TcpFlags, value: Option<u8>| match value {
            Some(0) => flags & !bit.0,
            Some(_) => flags | bit.0,
            None => flags,
        };
        let changed = set(set(flags, TcpFlags::ECE, self.echo), TcpFlags::CWR, self.reduced);
        if changed != flags {
            context.edit().set_upper(FLAGS, u16::from_be_bytes([offset, changed]));
        }
        Action::Continue
    }
}

/// Where TCP's header has its length and its flags.
const FLAGS: usize = 12;

fn is_tcp(packet: &Packet<'_>) -> bool {
    matches!(packet.network(), Network::V4(header) if header.protocol == protocol::TCP)
}

#[cfg(test)]
mod tests {
    use stateward_wire::checksum::{self, Verification, verify_transport};
    use stateward_wire::{Family, Packet, TcpFlags, TcpHeader};

    use crate::evaluate::tests::{Alone, mangled};

    fn syn() -> Alone {
        let mut packet = Alone::tcp_of(Family::V4, 80);
        *packet.upper(13) = 0xc2;
        let bytes = packet.bytes().to_vec();
        let sum = checksum::transport(&Packet::parse(&bytes).unwrap(), 6, &bytes[20..]);
        [*packet.upper(16), *packet.upper(17)] = sum.to_be_bytes();
        packet
    }

    #[test]
    fn flags_and_codepoint_are_changed_with_their_checksums() {
        let after = |rule: &str| {
            let bytes = mangled(&format!("-p tcp -j ECN {rule}"), &mut syn()).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(verify_transport(&packet, 6), Verification::Good);
            (packet.tos(), TcpHeader::view(packet.l4()).unwrap().flags())
        };
        assert_eq!(after("--ecn-tcp-remove"), (0, TcpFlags(0x02)));
        assert_eq!(after("--ecn-tcp-cwr 0"), (0, TcpFlags(0x42)));
        assert_eq!(after("--ecn-tcp-ece 0 --ecn-tcp-cwr 1"), (0, TcpFlags(0x82)));
        assert_eq!(after("--ecn-ip-ect 3"), (3, TcpFlags(0xc2)));
    }

    #[test]
    fn a_cut_header_ends_the_packet() {
        let mut packet = Alone::of(Family::V4, 6, &[0; 12]);
        assert_eq!(mangled("-p tcp -j ECN --ecn-tcp-remove", &mut packet), None);
        assert!(mangled("-p tcp -j ECN --ecn-ip-ect 1", &mut packet).is_some());
    }
}
