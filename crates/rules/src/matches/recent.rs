//! `-m recent`: lists of addresses with the times at which they were seen.

use std::net::IpAddr;

use stateward_wire::Family;

use crate::address::{self, Shown};
use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::matches::hashlimit::is_file_name;
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;
use crate::shared::recent::Sight;
use crate::shared::ticks;

/// What is done with which list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// `--set`, `--rcheck`, `--update` or `--remove`.
    pub what: Test<What>,
    /// `--seconds`: seen within so many; 0 is ever.
    pub seconds: u32,
    /// `--reap`: older entries are thrown away.
    pub reap: bool,
    /// `--hitcount`: seen so often; 0 is once.
    pub hits: u32,
    /// `--rttl`: with the same hop counter.
    pub ttl: bool,
    /// `--name`, at most 199 bytes.
    pub name: String,
    /// `--mask`: the bits of an address that count.
    pub mask: IpAddr,
    /// `--mask` was given, if only as what is usual: beyond the four bytes of a mask of IPv4 it
    /// covers nothing of the IPv6 addresses in the same list, the usual one all.
    pub masked: bool,
    /// `--rsource` or `--rdest`.
    pub side: Side,
}

/// What is done with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The address is noted; always matches.
    Set,
    /// Is it there?
    Check,
    /// Is it there? If so it is noted again.
    Update,
    /// Is it there? If so it is taken out.
    Remove,
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

impl Recent {
    pub(crate) const NAMES: &[&str] = &["recent"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self {
            what: Test::plain(What::Check),
            seconds: 0,
            reap: false,
            hits: 0,
            ttl: false,
            name: "DEFAULT".to_owned(),
            mask: address::mask(family, 128),
            masked: false,
            side: Side::Source,
        }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("set").invertible().excludes(&["rcheck", "update", "remove", "rttl"]),
    OptionSpec::flag("rcheck").invertible().excludes(&["set", "update", "remove"]),
    OptionSpec::flag("update").invertible().excludes(&["set", "rcheck", "remove"]),
    OptionSpec::flag("remove").invertible().excludes(&["set", "rcheck", "update", "rttl"]),
    OptionSpec::value("seconds"),
    OptionSpec::flag("reap").requires(&["seconds"]),
    OptionSpec::value("hitcount"),
    OptionSpec::flag("rttl").excludes(&["set", "remove"]),
    OptionSpec::value("name"),
    OptionSpec::flag("rsource"),
    OptionSpec::flag("rdest"),
    OptionSpec::value("mask"),
];

const WHATS: [(&str, What); 4] = [
    ("set", What::Set),
    ("rcheck", What::Check),
    ("update", What::Update),
    ("remove", What::Remove),
];

const ROOM: usize = 199;
const MOST_HITS: u32 = 65_535;

impl Extension for Recent {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        if let Some((_, value)) = WHATS.iter().find(|(name, _)| *name == given.option) {
            self.what = Test { value: *value, inverted: given.inverted };
            return Ok(());
        }
        match given.option {
            "seconds" => self.seconds = given.number(1..=u32::MAX.into())? as u32,
            "reap" => self.reap = true,
            "hitcount" => self.hits = given.u32()?,
            "rttl" => self.ttl = true,
            "name" => self.name = given.cut(ROOM),
            "rsource" => self.side = Side::Source,
            "rdest" => self.side = Side::Destination,
            _ => (self.mask, self.masked) = (given.host()?, true),
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match WHATS.iter().any(|(name, _)| seen.has(name)) {
            true => Ok(()),
            false => {
                let message = "recent: `--set`, `--rcheck`, `--update` or `--remove` must be given";
                Err(Refusal::new(message))
            }
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { what, seconds, reap, hits, ttl, name, mask, masked: _, side } = self;
        if let Some((name, _)) = WHATS.iter().find(|(_, value)| *value == what.value) {
            save.inverted(what.inverted).flag(name);
        }
        if *seconds != 0 {
            // More than 2³¹ are printed as a negative number.
            save.option("seconds", *seconds as i32);
        }
        if *reap {
            save.flag("reap");
        }
        if *hits != 0 {
            save.option("hitcount", hits);
        }
        if *ttl {
            save.flag("rttl");
        }
        save.option("name", name).option("mask", Shown(*mask));
        save.flag(match side {
            Side::Source => "rsource",
            Side::Destination => "rdest",
        });
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        let changes = matches!(self.what.value, What::Set | What::Remove);
        if changes && (self.seconds != 0 || self.hits != 0 || self.ttl || self.reap) {
            let refusal = Refusal::table("recent: `--set` and `--remove` ask for nothing");
            return Err(refusal.hint("`--seconds`, `--hitcount` go with `--update` or `--rcheck`"));
        }
        if self.hits > MOST_HITS {
            let message = format!("recent: `--hitcount {}` is more than {MOST_HITS}", self.hits);
            return Err(Refusal::table(message));
        }
        is_file_name("recent", &self.name)
    }
}

impl Matching for Recent {
    /// Of a packet on its way out that this host did not make, the hop counted down is added again.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let address = match self.side {
            Side::Source => view.source,
            Side::Destination => view.destination,
        };
        let is_forwarded = !view.output().is_empty() && !view.input().is_empty();
        let ttl = view.packet.ttl().wrapping_add(is_forwarded.into());
        let sight = Sight { address, ttl, now: ticks(view.context.now()) };
        Ok(view.context.shared().borrow_mut().recent.ask(self, sight))
    }
}
