//! `-j NFQUEUE`: hands the packet to user space, which decides.

use core::net::IpAddr;

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action, ChainVerdict};
use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// To which queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nfqueue {
    /// The queue, or the first of several.
    pub first: u16,
    /// `--queue-balance`: the last of them.
    pub last: Option<u16>,
    /// `--queue-bypass`: the packet passes where nobody listens.
    pub bypass: bool,
    /// `--queue-cpu-fanout`: the processor chooses the queue, not the packet.
    pub by_processor: bool,
}

impl Nfqueue {
    pub(crate) const NAMES: &[&str] = &["NFQUEUE"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("queue-num").excludes(&["queue-balance"]),
    OptionSpec::value("queue-balance").excludes(&["queue-num"]),
    OptionSpec::flag("queue-bypass"),
    OptionSpec::flag("queue-cpu-fanout").requires(&["queue-balance"]),
];

impl Extension for Nfqueue {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "queue-num" => self.first = given.u16()?,
            "queue-balance" => {
                let (first, last) = given.range(u16::MAX.into())?;
                if !given.text.contains(':') || first >= last {
                    return Err(given.bad().hint("the first and the last queue: 0:3"));
                }
                (self.first, self.last) = (first as u16, Some(last as u16));
            }
            "queue-bypass" => self.bypass = true,
            _ => self.by_processor = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { first, last, bypass, by_processor } = self;
        match last {
            Some(last) => _ = save.option("queue-balance", format_args!("{first}:{last}")),
            None => _ = save.option("queue-num", first),
        }
        for (name, _) in [("queue-bypass", bypass), ("queue-cpu-fanout", by_processor)]
            .iter()
            .filter(|(_, given)| **given)
        {
            save.flag(name);
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        match (self.first, self.last) {
            (0, Some(u16::MAX)) => {
                let refusal = Refusal::table("NFQUEUE: there are no 65536 queues");
                Err(refusal.hint("leave one out: 0:65534"))
            }
            _ => Ok(()),
        }
    }
}

impl Acting for Nfqueue {
    /// Which of several queues takes the packet is chosen by its addresses and is not the kernel's
    /// choice, which is another at each start.
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        // There is one processor here, the first.
        if self.by_processor {
            return Action::Verdict(ChainVerdict::Queue {
                number: self.first,
                bypass: self.bypass,
            });
        }
        let count = u32::from(self.last.unwrap_or(self.first) - self.first) + 1;
        let packet = context.packet();
        let ends = packet.map(|packet| [packet.source(), packet.destination()]);
        let sum = ends.into_iter().flatten().map(sum).fold(0u32, |sum, one| sum.wrapping_add(one));
        let number = self.first + (sum % count) as u16;
        Action::Verdict(ChainVerdict::Queue { number, bypass: self.bypass })
    }
}

/// A number that both directions of a connection have in common, if those of its ends are added.
fn sum(address: IpAddr) -> u32 {
    let word = |word: &[u8]| word.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
    match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => address.octets().chunks(4).map(word).fold(0, u32::wrapping_add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::{Alone, verdict};

    #[test]
    fn one_queue_or_one_of_several() {
        let queued = |rule: &str, packet: &mut Alone| match verdict(rule, packet) {
            ChainVerdict::Queue { number, bypass } => (number, bypass),
            other => panic!("{other:?}"),
        };
        for family in BOTH {
            let mut packet = Alone::udp_of(*family, 53);
            assert_eq!(queued("-j NFQUEUE --queue-num 7 --queue-bypass", &mut packet), (7, true));
            let (number, bypass) = queued("-j NFQUEUE --queue-balance 3:5", &mut packet);
            assert!((3..=5).contains(&number) && !bypass);
            assert_eq!(queued("-j NFQUEUE --queue-balance 3:5", &mut packet), (number, false));
        }
    }
}
