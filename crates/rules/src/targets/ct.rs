//! `-j CT`: how the tracker shall see the packet's connection.

use stateward_conntrack::expect::ExpectEvents;
use stateward_conntrack::{EventMask, PerDir, Reports, Zone as ZoneId};
use stateward_wire::Family;

use crate::context::{Context, Tracking, ZoneOf};
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol::{self, TCP, UDP};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// What is set up before the tracker sees the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ct {
    /// `--notrack`.
    pub notrack: bool,
    /// `--helper`; empty is none.
    pub helper: String,
    /// `--timeout`: a policy's name; empty is none.
    pub timeout: String,
    /// `--ctevents`: bit N is the kernel's `IPCT_` event N; 0 is all.
    pub events: u16,
    /// `--expevents`: bit 0 is a new expectation; 0 is all.
    pub expected_events: u16,
    /// `--zone`, `--zone-orig`, `--zone-reply`.
    pub zone: Zone,
}

/// The zone of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The zone's number, if the mark does not say it.
    pub id: u16,
    /// The packet's mark is the zone.
    pub mark: bool,
    /// `--zone-orig` was said.
    pub original: bool,
    /// `--zone-reply` was said. Both or neither is both directions.
    pub reply: bool,
}

impl Ct {
    pub(crate) const NAMES: &[&str] = &["CT"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("notrack"),
    OptionSpec::value("helper"),
    OptionSpec::value("timeout"),
    OptionSpec::value("ctevents"),
    OptionSpec::value("expevents"),
    OptionSpec::value("zone"),
    OptionSpec::value("zone-orig"),
    OptionSpec::value("zone-reply"),
];

impl Extension for Ct {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "notrack" => self.notrack = true,
            "helper" => self.helper = given.cut(15),
            "timeout" => self.timeout = given.cut(31),
            "ctevents" => self.events = events(given.text, EVENTS)?,
            "expevents" => self.expected_events = events(given.text, &["new"])?,
            option => {
                self.zone.original |= option == "zone-orig";
                self.zone.reply |= option == "zone-reply";
                self.zone(given)?;
            }
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { notrack, helper, timeout, events, expected_events, zone } = self;
        if *notrack {
            save.flag("notrack");
        }
        for (name, text) in [("helper", helper), ("timeout", timeout)] {
            if !text.is_empty() {
                save.option(name, text);
            }
        }
        for (name, bits, words) in
            [("ctevents", events, EVENTS), ("expevents", expected_events, &["new"])]
        {
            let set = words.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
            let set: Vec<_> = set.map(|(_, word)| *word).collect();
            if !set.is_empty() {
                save.option(name, set.join(","));
            }
        }
        let name = match (zone.original, zone.reply) {
            (true, false) => "zone-orig",
            (false, true) => "zone-reply",
            _ => "zone",
        };
        if zone.mark {
            save.option(name, "mark");
        } else if zone.id != 0 {
            save.option(name, zone.id);
        }
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Raw])
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let header = place.header;
        let named = header.protocol.value != 0 && !header.protocol.inverted;
        if !self.notrack && !self.timeout.is_empty() && !named {
            let why = format!("`--timeout {}` without its protocol", self.timeout);
            return Err(Refusal::table(why).hint("a policy is of one protocol: name it by `-p`"));
        }
        if self.notrack || self.helper.is_empty() {
            return Ok(());
        }
        let refuse = |why: String| Err(Refusal::table(format!("`--helper {}` {why}", self.helper)));
        if !named {
            return refuse("without its protocol".into());
        }
        let serves = |(name, protocol, family): &(&str, u8, Option<Family>)| {
            *name == self.helper
                && *protocol == header.protocol.value
                && family.is_none_or(|family| family == header.family)
        };
        match HELPERS.iter().any(serves) {
            true => Ok(()),
            false => {
                let name = protocol::name(header.protocol.value).unwrap_or("this protocol");
                refuse(format!("for {name}: the kernel has no such helper"))
            }
        }
    }
}

impl Ct {
    fn zone(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        if given.text.eq_ignore_ascii_case("mark") {
            self.zone.mark = true;
            return Ok(());
        }
        self.zone.id = given.u16()?;
        Ok(())
    }
}

fn events(text: &str, words: &[&str]) -> Result<u16, Refusal> {
    text.split(',').try_fold(0, |bits, word| {
        let at = words.iter().position(|known| *known == word).ok_or_else(|| {
            let refusal = Refusal::new(format!("unknown event `{word}`"));
            refusal.hint(format!("one of {}", words.join(", ")))
        })?;
        Ok(bits | 1 << at)
    })
}

/// By the kernel's numbers.
const EVENTS: &[&str] = &[
    "new",
    "related",
    "destroy",
    "reply",
    "assured",
    "protoinfo",
    "helper",
    "mark",
    "natseqinfo",
    "secmark",
];

/// The kernel's helpers: name, protocol, and the family if it is for one only.
pub(crate) const HELPERS: &[(&str, u8, Option<Family>)] = &[
    ("amanda", UDP, None),
    ("ftp", TCP, None),
    ("tftp", UDP, None),
    ("sip", TCP, None),
    ("sip", UDP, None),
    ("irc", TCP, Some(Family::V4)),
    ("pptp", TCP, Some(Family::V4)),
    ("sane", TCP, None),
    ("netbios-ns", UDP, Some(Family::V4)),
    ("snmp", UDP, Some(Family::V4)),
    ("snmp_trap", UDP, Some(Family::V4)),
    ("RAS", UDP, None),
    ("Q.931", TCP, None),
    ("H.245", UDP, None),
];

impl Acting for Ct {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        if self.notrack {
            context.untrack();
            return Action::Continue;
        }
        let timeouts = match self.timeout.as_str() {
            "" => None,
            name => context.shared().borrow().timeouts.find(name),
        };
        if timeouts.is_none() && !self.timeout.is_empty() {
            context.not_evaluated("CT --timeout");
        }
        context.track_as(Tracking { timeouts, ..self.tracking() });
        Action::Continue
    }
}

impl Ct {
    fn tracking(&self) -> Tracking {
        let Zone { id, mark, original, reply } = self.zone;
        let named = if mark { ZoneOf::Mark } else { ZoneOf::Rule(ZoneId(id)) };
        let of = |said: bool| if said || original == reply { named } else { ZoneOf::default() };
        let (connection, expectations) = (self.events, self.expected_events);
        // What is not asked for is not told once something is.
        let reports = (connection != 0 || expectations != 0).then_some(Reports {
            connection: EventMask(connection),
            expectations: ExpectEvents(expectations as u8),
        });
        let helper = HELPERS.iter().map(|(name, ..)| *name).find(|name| *name == self.helper);
        Tracking { zones: PerDir([of(original), of(reply)]), reports, helper, timeouts: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::{Alone, raw};

    fn tracking(rule: &str) -> Tracking {
        let mut packet = Alone::udp(53);
        raw(&format!("-j CT {rule}"), &mut packet);
        packet.tracking.unwrap()
    }

    #[test]
    fn a_zone_is_of_one_direction_or_of_both() {
        let none = ZoneOf::default();
        let five = ZoneOf::Rule(ZoneId(5));
        assert_eq!(tracking("--zone 5").zones, PerDir([five, five]));
        assert_eq!(tracking("--zone-orig 5").zones, PerDir([five, none]));
        assert_eq!(tracking("--zone-reply 5").zones, PerDir([none, five]));
        assert_eq!(tracking("--zone-reply mark").zones, PerDir([none, ZoneOf::Mark]));
        assert_eq!(tracking(""), Tracking::default());
    }

    #[test]
    fn events_that_are_not_asked_for_are_not_told() {
        let reports = tracking("--ctevents new,destroy").reports.unwrap();
        assert_eq!(reports.connection, EventMask::NEW.with(EventMask::DESTROY));
        assert_eq!(reports.expectations, ExpectEvents::NONE);
        let reports = tracking("--expevents new").reports.unwrap();
        assert_eq!(reports.connection, EventMask::NONE);
        assert_eq!(reports.expectations, ExpectEvents::NEW);
    }
}
