//! `-j TCPOPTSTRIP`: TCP options are overwritten with padding.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::ruleset::TableName;
use crate::save::Save;

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

impl Acting for Tcpoptstrip {}
