//! `-m ecn`: what the IP header and TCP say about congestion.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::protocol;
use crate::rule::{Header, Test};
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ecn {
    /// `--ecn-tcp-ece`.
    pub echo: Option<Test<()>>,
    /// `--ecn-tcp-cwr`.
    pub reduced: Option<Test<()>>,
    /// `--ecn-ip-ect`: 0 to 3.
    pub codepoint: Option<Test<u8>>,
}

impl Ecn {
    pub(crate) const NAMES: &[&str] = &["ecn"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("ecn-tcp-cwr").invertible(),
    OptionSpec::flag("ecn-tcp-ece").invertible(),
    OptionSpec::value("ecn-ip-ect").invertible(),
];

impl Extension for Ecn {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let flag = Test { value: (), inverted: given.inverted };
        match given.option {
            "ecn-tcp-cwr" => self.reduced = Some(flag),
            "ecn-tcp-ece" => self.echo = Some(flag),
            _ => {
                let value = given.number(0..=3)? as u8;
                self.codepoint = Some(Test { value, inverted: given.inverted });
            }
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("ecn: an option is missing")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { echo, reduced, codepoint } = self;
        if let Some(Test { inverted, .. }) = echo {
            save.inverted(*inverted).flag("ecn-tcp-ece");
        }
        if let Some(Test { inverted, .. }) = reduced {
            save.inverted(*inverted).flag("ecn-tcp-cwr");
        }
        if let Some(Test { value, inverted }) = codepoint {
            save.inverted(*inverted).option("ecn-ip-ect", value);
        }
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let asks_tcp = self.echo.is_some() || self.reduced.is_some();
        tcp_only("ecn", asks_tcp, place)
    }
}

/// What is asked of TCP needs `-p tcp`.
pub(crate) fn tcp_only(
    name: &str,
    asks: impl Into<bool>,
    place: &Place<'_>,
) -> Result<(), Refusal> {
    let protocol = place.header.protocol;
    let is_tcp = protocol.value == protocol::TCP && !protocol.inverted;
    match asks.into() && !is_tcp {
        true => {
            Err(Refusal::table(format!("{name}: TCP's flags without TCP")).hint("add `-p tcp`"))
        }
        false => Ok(()),
    }
}

impl Matching for Ecn {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        const FLAGS: usize = 13;
        let codepoint = view.packet.tos() & 3;
        if self.codepoint.is_some_and(|asked| !asked.passes(asked.value == codepoint)) {
            return Ok(false);
        }
        if self.echo.is_none() && self.reduced.is_none() {
            return Ok(true);
        }
        let Some(header) = view.supposed_upper().first_chunk::<20>() else { return Ok(false) };
        let has = |asked: Option<Test<()>>, bit: u8| {
            asked.is_none_or(|asked| asked.passes(header[FLAGS] & bit != 0))
        };
        Ok(has(self.echo, 0x40) && has(self.reduced, 0x80))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};
    use crate::extension::BOTH;

    #[test]
    fn codepoint_and_flags() {
        for family in BOTH {
            let mut packet = Alone::tcp_of(*family, 80);
            packet.set_tos(0x02);
            *packet.upper(13) |= 0x40;
            assert_eq!(met("-p tcp -m ecn --ecn-ip-ect 2 --ecn-tcp-ece", &mut packet), Some(true));
            assert_eq!(met("-p tcp -m ecn --ecn-tcp-cwr", &mut packet), Some(false));
            assert_eq!(met("-p tcp -m ecn ! --ecn-tcp-cwr", &mut packet), Some(true));
            assert_eq!(met("-m ecn --ecn-ip-ect 1", &mut packet), Some(false));
        }
    }
}
