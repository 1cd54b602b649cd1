//! `-j TCPOPTSTRIP`: TCP options are overwritten with padding.

use stateward_wire::tcp::option;
use stateward_wire::{Family, TcpHeader};

use crate::context::Context;
use crate::evaluate::{Acting, Action, ChainVerdict};
use crate::extension::{BOTH, Demands, Extension};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::tcpmss::{is_later_fragment, option_length};

/// `--strip-options KIND,…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcpoptstrip {
    /// The kinds, in rising order.
    pub kinds: Vec<u8>,
}

impl Tcpoptstrip {
    pub(crate) const NAMES: &[&str] = &["TCPOPTSTRIP"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

impl Extension for Tcpoptstrip {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("strip-options")] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        for word in given.text.split(',') {
            let kind = kind(word)?;
            if self.kinds.contains(&kind) {
                return Err(Refusal::new(format!("TCPOPTSTRIP: `{word}` twice")));
            }
            self.kinds.push(kind);
        }
        self.kinds.sort_unstable();
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let kinds: Vec<_> = self.kinds.iter().map(u8::to_string).collect();
        if !kinds.is_empty() {
            save.option("strip-options", kinds.join(","));
        }
    }

    fn demands(&self) -> Demands {
        Demands { protocols: &[protocol::TCP], ..Demands::tables(&[TableName::Mangle]) }
    }
}

/// A name or a number; the end of the options and padding cannot be taken out.
fn kind(word: &str) -> Result<u8, Refusal> {
    let named = NAMES.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
    let number = || number::whole(word, u8::MAX.into()).and_then(|kind| u8::try_from(kind).ok());
    let kind = named.or_else(number).filter(|kind| *kind > 1);
    kind.ok_or_else(|| {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        let refusal = Refusal::new(format!("TCPOPTSTRIP: bad option `{word}`"));
        refusal.hint(format!("a number from 2 to 255, or one of {}", names.join(", ")))
    })
}

const NAMES: [(&str, u8); 6] =
    [("wscale", 3), ("mss", 2), ("sack-permitted", 4), ("sack", 5), ("timestamp", 8), ("md5", 19)];

impl Acting for Tcpoptstrip {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        const FIXED: usize = size_of::<TcpHeader>();
        if is_later_fragment(context) {
            return Action::Continue;
        }
        let Some(packet) = context.packet() else { return Action::Continue };
        let (l4, length) = (packet.l4(), packet.l4_length());
        let header = TcpHeader::view(l4).map(TcpHeader::header_length);
        if length < FIXED || header.is_some_and(|header| header < FIXED || length < header) {
            return Action::Verdict(ChainVerdict::Drop);
        }
        let whole = packet.length() - length + header.unwrap_or(FIXED);
        // As far as a capture holds them.
        let end = header.unwrap_or_default().min(l4.len());
        let mut all = [0; 60];
        let Some(room) = all.get_mut(..end) else { return Action::Continue };
        room.copy_from_slice(l4.get(..end).unwrap_or_default());
        context.gather(whole);
        let mut edit = context.edit();
        let mut at = FIXED;
        while let Some([kind, length, ..]) = room.get(at..) {
            let next = at + option_length(*kind, *length);
            if next > end {
                break;
            }
            if self.kinds.contains(kind) {
                (at..next).for_each(|at| _ = edit.set_upper_byte(at, option::NOP));
            }
            at = next;
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::checksum::{Verification, verify_transport};
    use stateward_wire::{Packet, tcp};

    use crate::evaluate::tests::{Alone, mangled};
    use crate::extension::BOTH;

    #[test]
    fn options_are_padded_over_and_summed() {
        for family in BOTH {
            let after = |strip: &str, options: &[u8]| {
                let rule = format!("-p tcp -j TCPOPTSTRIP --strip-options {strip}");
                let bytes = mangled(&rule, &mut Alone::syn(*family, options)).unwrap();
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!(verify_transport(&packet, 6), Verification::Good);
                tcp::option_bytes(packet.l4()).to_vec()
            };
            let options = [2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1];
            assert_eq!(after("wscale", &options), [2, 4, 5, 0xb4, 1, 1, 1, 1, 4, 2, 1, 1]);
            assert_eq!(after("mss,sack-permitted", &options), [1, 1, 1, 1, 1, 3, 3, 7, 1, 1, 1, 1]);
            // One that is longer than the header ends the search; no length, and the end of the
            // list, do not.
            assert_eq!(after("9", &[9, 0, 9, 2, 9, 0, 9, 9]), [1, 0, 1, 1, 1, 0, 9, 9]);
        }
    }

    #[test]
    fn a_header_longer_than_its_packet_ends_it() {
        for family in BOTH {
            let mut packet = Alone::syn(*family, &[]);
            *packet.upper(12) = 0x60;
            assert_eq!(mangled("-p tcp -j TCPOPTSTRIP --strip-options 5", &mut packet), None);
        }
    }
}
