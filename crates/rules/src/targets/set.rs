//! `-j SET`: puts a packet's addresses and ports into a set of ipset's, or takes them out; or gives
//! the packet what the set holds for them.

use stateward_wire::Family;

use crate::context::{Context, View};
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Extension, Place};
use crate::matches::set::Named;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// What is done with which set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// `--add-set`.
    pub add: Option<Named>,
    /// `--exist`: an element that is there is renewed.
    pub renew: bool,
    /// `--timeout`: in seconds.
    pub timeout: Option<u32>,
    /// `--del-set`.
    pub delete: Option<Named>,
    /// `--map-set`.
    pub map: Option<Named>,
    /// `--map-mark`: the packet's mark.
    pub mark: bool,
    /// `--map-prio`: its class for queueing.
    pub priority: bool,
    /// `--map-queue`: the interface's queue.
    pub queue: bool,
}

impl Set {
    pub(crate) const NAMES: &[&str] = &["SET"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

/// A `!` is read and means nothing.
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("add-set").invertible(),
    OptionSpec::value("del-set").invertible(),
    OptionSpec::flag("exist").invertible().repeatable(),
    OptionSpec::value("timeout").invertible().repeatable(),
    OptionSpec::value("map-set").invertible(),
    OptionSpec::flag("map-mark").invertible().repeatable(),
    OptionSpec::flag("map-prio").invertible().repeatable(),
    OptionSpec::flag("map-queue").invertible().repeatable(),
];

const OF_ADD: [&str; 2] = ["exist", "timeout"];
const OF_MAP: [&str; 3] = ["map-mark", "map-prio", "map-queue"];

impl Extension for Set {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "add-set" => self.add = Some(Named::parse(given)?),
            "del-set" => self.delete = Some(Named::parse(given)?),
            "map-set" => self.map = Some(Named::parse(given)?),
            "exist" => self.renew = true,
            "timeout" => {
                let value = number::whole(given.text, (u32::MAX - 1).into());
                let refusal = || given.bad().hint("a number from 0 to 4294967294");
                self.timeout = Some(value.ok_or_else(refusal)? as u32);
            }
            "map-mark" => self.mark = true,
            "map-prio" => self.priority = true,
            _ => self.queue = true,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        if self.add.is_none() && self.delete.is_none() && self.map.is_none() {
            let refusal = Refusal::new("SET: an option is missing");
            return Err(refusal.hint("`--add-set`, `--del-set` or `--map-set`"));
        }
        let beside = |names: &[&str], with: &str| {
            let stray = names.iter().find(|name| seen.has(name) && !seen.has(with));
            stray.map(|name| Refusal::new(format!("SET: `--{name}` goes with `--{with}` only")))
        };
        if let Some(refusal) = beside(&OF_ADD, "add-set").or_else(|| beside(&OF_MAP, "map-set")) {
            return Err(refusal);
        }
        if self.map.is_some() && !OF_MAP.iter().any(|name| seen.has(name)) {
            let refusal = Refusal::new("SET: `--map-set` without what the packet shall get");
            return Err(refusal.hint("`--map-mark`, `--map-prio` or `--map-queue`"));
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { add, renew, timeout, delete, map, mark, priority, queue } = self;
        if let Some(set) = add {
            set.save(save, "add-set");
        }
        if *renew {
            save.flag("exist");
        }
        if let Some(timeout) = timeout {
            save.option("timeout", timeout);
        }
        if let Some(set) = delete {
            set.save(save, "del-set");
        }
        if let Some(set) = map {
            set.save(save, "map-set");
        }
        for (name, _) in OF_MAP.iter().zip([mark, priority, queue]).filter(|(_, given)| **given) {
            save.flag(name);
        }
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        if self.map.is_none() {
            return Ok(());
        }
        if place.table != TableName::Mangle {
            let refusal = Refusal::table(format!("`--map-set` in table {}", place.table));
            return Err(refusal.hint("it belongs into mangle"));
        }
        let inbound = [Hook::Prerouting, Hook::Input];
        let hook = place.hooks.iter().find(|hook| inbound.contains(hook));
        match hook.filter(|_| self.priority || self.queue) {
            Some(hook) => {
                Err(Refusal::table(format!("`--map-prio` and `--map-queue` where {hook} leads")))
            }
            None => Ok(()),
        }
    }
}

impl Acting for Set {
    /// Adds, deletes, and gives the packet what a set holds for it: of that its mark. Class and queue
    /// mean nothing here.
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let mark = View::new(context).and_then(|view| {
            let mut shared = view.context.shared().borrow_mut();
            shared.sets.change(self, &view)
        });
        if let Some(mark) = mark {
            context.set_mark(mark);
        }
        Action::Continue
    }
}
