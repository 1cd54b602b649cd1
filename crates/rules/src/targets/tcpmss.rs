//! `-j TCPMSS`: the maximum segment size that a SYN tells is set or held down.

use stateward_wire::tcp::option;
use stateward_wire::{Family, TcpHeader};

use crate::context::Context;
use crate::evaluate::{Acting, Action, ChainVerdict};
use crate::extension::{BOTH, Extension, Place};
use crate::matches::Match;
use crate::matches::tcp::Flags;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::protocol;
use crate::rule::Header;
use crate::ruleset::Hook;
use crate::save::Save;

/// `--set-mss N` or `--clamp-mss-to-pmtu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcpmss {
    /// The size.
    pub mss: Mss,
    /// Whose rules these are: IPv6's headers are longer.
    pub family: Family,
}

/// Where the size comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// The rule.
    Fixed(u16),
    /// What the path takes without fragments.
    Path,
}

impl Tcpmss {
    pub(crate) const NAMES: &[&str] = &["TCPMSS"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { mss: Mss::Path, family }
    }
}

/// Of both the last one counts.
const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("set-mss"), OptionSpec::flag("clamp-mss-to-pmtu")];

impl Extension for Tcpmss {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let headers = match self.family {
            Family::V4 => 20,
            Family::V6 => 40,
        };
        self.mss = match given.option {
            "set-mss" => Mss::Fixed(given.number(0..=65_535 - headers)? as u16),
            _ => Mss::Path,
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => {
                Err(Refusal::new("TCPMSS: an option is missing")
                    .hint("`--clamp-mss-to-pmtu`, mostly"))
            }
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.mss {
            Mss::Fixed(size) => save.option("set-mss", size),
            Mss::Path => save.flag("clamp-mss-to-pmtu"),
        };
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let knows = [Hook::Forward, Hook::Output, Hook::Postrouting];
        if self.mss == Mss::Path && place.hooks.iter().any(|hook| !knows.contains(hook)) {
            let refusal = Refusal::table("TCPMSS: `--clamp-mss-to-pmtu` where no way out is known");
            return Err(refusal.hint("it works from FORWARD, OUTPUT and POSTROUTING"));
        }
        let header = place.header;
        if header.protocol.value != protocol::TCP || header.protocol.inverted {
            return Err(Refusal::table("`-j TCPMSS` without its protocol").hint("add `-p tcp`"));
        }
        if !place.matches.iter().any(finds_syn) {
            let refusal = Refusal::table("`-j TCPMSS` for packets that are no SYN");
            return Err(refusal.hint("add `--tcp-flags SYN,RST SYN`"));
        }
        Ok(())
    }
}

/// A match that lets nothing pass but SYNs, in the kernel's eyes.
fn finds_syn(one: &Match) -> bool {
    let Match::Tcp(tcp) = one else { return false };
    let Flags { compare, .. } = tcp.flags.value;
    compare & 0x02 != 0 && !tcp.flags.inverted
}

impl Acting for Tcpmss {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        if is_later_fragment(context) {
            return Action::Continue;
        }
        context.gather(context.packet().map_or(0, |packet| packet.length()));
        match self.change(context) {
            Change::None => {}
            Change::Unknown => return Action::NotEvaluated,
            Change::Drop => return Action::Verdict(ChainVerdict::Drop),
            Change::Lower { within, mss } => _ = context.edit().set_upper(within, mss),
            Change::Add(mss) => {
                let [high, low] = mss.to_be_bytes();
                context.insert_tcp_option([option::MSS, MSS_LENGTH, high, low]);
            }
        }
        Action::Continue
    }
}

/// What becomes of a SYN.
enum Change {
    None,
    /// Without a way out nothing is known of its size.
    Unknown,
    /// The header is broken, or the path takes no segments at all.
    Drop,
    /// The size at this place of the header is more.
    Lower {
        within: usize,
        mss: u16,
    },
    /// There is none.
    Add(u16),
}

const MSS_LENGTH: u8 = 4;

impl Tcpmss {
    fn change(&self, context: &dyn Context) -> Change {
        const FIXED: usize = size_of::<TcpHeader>();
        const LONGEST: usize = 60;
        let Some(packet) = context.packet() else { return Change::None };
        let (l4, length) = (packet.l4(), packet.l4_length());
        if length < FIXED {
            return Change::Drop;
        }
        // Else a capture has cut it.
        let Some(header) = TcpHeader::view(l4).map(TcpHeader::header_length) else {
            return Change::None;
        };
        if length < header || header < FIXED {
            return Change::Drop;
        }
        let mss = match self.mss {
            Mss::Fixed(mss) => mss,
            Mss::Path => match context.path_mtu() {
                None => return Change::Unknown,
                Some(mtu) => match mtu.checked_sub(self.headers()) {
                    None | Some(0) => return Change::Drop,
                    Some(mss) => mss as u16,
                },
            },
        };
        let options = l4.get(FIXED..header).unwrap_or_default();
        match mss_option(options) {
            // It is never raised.
            Some((_, told)) if told <= mss => Change::None,
            Some((at, _)) => Change::Lower { within: FIXED + at, mss },
            // Data would have to be moved, or there is no room.
            None if length > header || header >= LONGEST || options.len() < header - FIXED => {
                Change::None
            }
            None => Change::Add(mss.min(self.default())),
        }
    }

    /// Bytes of the headers without options.
    const fn headers(&self) -> u32 {
        match self.family {
            Family::V4 => 20 + 20,
            Family::V6 => 40 + 20,
        }
    }

    /// What a peer takes that tells nothing (RFC 1122, 4.2.2.6; RFC 8200, 8.3).
    const fn default(&self) -> u16 {
        match self.family {
            Family::V4 => 536,
            Family::V6 => 1220,
        }
    }
}

/// Where the size stands that the options tell, and the size.
fn mss_option(options: &[u8]) -> Option<(usize, u16)> {
    let mut at = 0;
    while let Some([kind, length, high, low]) = options.get(at..)?.first_chunk() {
        if (*kind, *length) == (option::MSS, MSS_LENGTH) {
            return Some((at + 2, u16::from_be_bytes([*high, *low])));
        }
        at += option_length(*kind, *length);
    }
    None
}

/// How long an option counts in the kernel's eyes: a length of 0 is 1.
pub(super) fn option_length(kind: u8, length: u8) -> usize {
    match (kind, length) {
        (option::END | option::NOP, _) | (_, 0) => 1,
        (_, length) => length.into(),
    }
}

/// Whether the packet is a fragment other than the first.
pub(super) fn is_later_fragment(context: &dyn Context) -> bool {
    let fragment = context.packet().and_then(|packet| packet.fragment());
    fragment.is_some_and(|fragment| fragment.offset > 0)
}

#[cfg(test)]
mod tests {
    use stateward_wire::checksum::{Verification, verify_transport};
    use stateward_wire::{Family, Packet, tcp};

    use crate::evaluate::tests::{Alone, mangled};

    const SYNS: &str = "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS";

    /// The options of a SYN behind a rule, whose checksum is good.
    fn after(rule: &str, packet: &mut Alone) -> Vec<u8> {
        let bytes = mangled(&format!("{SYNS} {rule}"), packet).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.length(), bytes.len());
        assert_eq!(verify_transport(&packet, 6), Verification::Good);
        tcp::option_bytes(packet.l4()).to_vec()
    }

    #[test]
    fn a_size_is_held_down_and_never_raised() {
        for family in [Family::V4, Family::V6] {
            let mut packet = Alone::syn(family, &[2, 4, 5, 0xb4, 1, 1, 4, 2]);
            assert_eq!(after("--set-mss 1400", &mut packet), [2, 4, 5, 0x78, 1, 1, 4, 2]);
            assert_eq!(packet.gathered, packet.bytes().len());
            assert_eq!(after("--set-mss 1401", &mut packet), [2, 4, 5, 0x78, 1, 1, 4, 2]);
        }
    }

    #[test]
    fn the_path_says_how_much_fits() {
        for (family, low) in [(Family::V4, 0xd8), (Family::V6, 0xc4)] {
            let mut packet = Alone::syn(family, &[1, 1, 2, 4, 5, 0xb4, 0, 0]);
            packet.path_mtu = Some(1280);
            assert_eq!(after("--clamp-mss-to-pmtu", &mut packet), [1, 1, 2, 4, 4, low, 0, 0]);
            packet.path_mtu = Some(if family == Family::V4 { 40 } else { 60 });
            assert_eq!(mangled(&format!("{SYNS} --clamp-mss-to-pmtu"), &mut packet), None);
        }
    }

    #[test]
    fn a_syn_that_tells_none_gets_one_that_is_not_above_the_default() {
        let mut packet = Alone::syn(Family::V4, &[4, 2, 1, 1]);
        assert_eq!(after("--set-mss 1400", &mut packet), [2, 4, 2, 24, 4, 2, 1, 1]);
        let mut packet = Alone::syn(Family::V6, &[]);
        assert_eq!(after("--set-mss 100", &mut packet), [2, 4, 0, 100]);
        let mut packet = Alone::syn(Family::V6, &[1; 40]);
        assert_eq!(after("--set-mss 100", &mut packet), [1; 40]);
    }

    #[test]
    fn a_header_longer_than_its_packet_ends_it() {
        let mut packet = Alone::syn(Family::V4, &[]);
        *packet.upper(12) = 0x60;
        assert_eq!(mangled(&format!("{SYNS} --set-mss 1"), &mut packet), None);
    }
}
