//! Tables of chains of rules, and what each command of iptables does to them. This is the table as
//! the commands see it, before the kernel is asked: a chain may still jump nowhere sensible.

use std::fmt;

use stateward_wire::Family;

use crate::command::hints::nearest;
use crate::command::{Draft, Named, Way};
use crate::option::Refusal;
use crate::rule::{Counters, RuleSpec, Target, Test, Verdict};
use crate::source::Position;
use crate::targets::Extension;

/// The rules of one family: tables in the order in which the input names them first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruleset {
    /// Whose rules these are.
    pub family: Family,
    /// At most one of each name.
    pub tables: Vec<Table>,
}

impl Ruleset {
    /// No tables: everything passes.
    pub const fn new(family: Family) -> Self {
        Self { family, tables: Vec::new() }
    }

    /// The table called `name`, if the rules have it.
    pub fn table(&self, name: TableName) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Puts `table` in the place of the one of its name, or behind all others.
    pub(crate) fn put(&mut self, table: Table) {
        match self.tables.iter_mut().find(|old| old.name == table.name) {
            Some(old) => *old = table,
            None => self.tables.push(table),
        }
    }
}

/// The five tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableName {
    /// Before the tracker.
    Raw,
    /// Changes packets.
    Mangle,
    /// Asked once a connection.
    Nat,
    /// Decides.
    Filter,
    /// Mandatory access control, after filter.
    Security,
}

impl TableName {
    /// All of them, in the order in which a packet meets them.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter, Self::Security];

    /// The table that is written `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
            Self::Security => "security",
        }
    }

    /// Its built-in chains in the kernel's order.
    pub const fn hooks(self) -> &'static [Hook] {
        use Hook::{Forward, Input, Output, Postrouting, Prerouting};
        match self {
            Self::Raw => &[Prerouting, Output],
            Self::Mangle => &[Prerouting, Input, Forward, Output, Postrouting],
            Self::Nat => &[Prerouting, Input, Output, Postrouting],
            Self::Filter | Self::Security => &[Input, Forward, Output],
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where in a packet's way a built-in chain is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// Before it leaves.
    Postrouting,
}

impl Hook {
    /// All of them, in the kernel's order.
    pub const ALL: [Self; 5] =
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    /// The chain's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One table: its built-in chains, then the user's by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Which one.
    pub name: TableName,
    /// Built-in chains in the kernel's order, then the user's chains by name.
    pub chains: Vec<Chain>,
}

/// One chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// What happens at its end: a built-in chain's policy, or back to the caller.
    pub end: ChainEnd,
    /// In the order in which they are asked.
    pub rules: Vec<RuleSpec>,
    /// Where it was created, or was given its policy.
    pub position: Position,
}

impl PartialEq for Chain {
    /// Places do not count, counters of rules do.
    fn eq(&self, other: &Self) -> bool {
        let Self { name, end, rules, position: _ } = self;
        let counters =
            |rules: &[RuleSpec]| rules.iter().map(|rule| rule.counters).collect::<Vec<_>>();
        *name == other.name
            && *end == other.end
            && rules.len() == other.rules.len()
            && rules.iter().zip(&other.rules).all(|(one, other)| one.is_same(other))
            && counters(rules) == counters(&other.rules)
    }
}

/// What happens at the end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// A built-in chain decides by its policy.
    Policy(Hook, Policy, Counters),
    /// A user's chain goes back to where it was called from.
    Return,
}

/// A built-in chain's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// What nothing has decided passes.
    Accept,
    /// What nothing has decided is dropped.
    Drop,
}

impl Policy {
    fn from_word(word: &str) -> Option<Self> {
        match Verdict::from_word(word) {
            Some(Verdict::Accept) => Some(Self::Accept),
            Some(Verdict::Drop) => Some(Self::Drop),
            _ => None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        })
    }
}

impl Table {
    /// The table as the kernel makes it: built-in chains that accept.
    pub fn new(name: TableName) -> Self {
        let chain = |hook: &Hook| Chain {
            name: hook.name().to_owned(),
            end: ChainEnd::Policy(*hook, Policy::Accept, Counters::default()),
            rules: Vec::new(),
            position: Position::default(),
        };
        Self { name, chains: name.hooks().iter().map(chain).collect() }
    }

    /// The chain called `name`.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.get(self.index(name)?)
    }

    /// Which of the chains is called `name`.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        let (built_in, own) = self.chains.split_at_checked(self.built_in())?;
        let found = own.binary_search_by(|chain| chain.name.as_str().cmp(name)).ok();
        let own = found.map(|at| at + built_in.len());
        own.or_else(|| built_in.iter().position(|chain| chain.name == name))
    }

    fn built_in(&self) -> usize {
        self.name.hooks().len()
    }

    fn chain_mut(&mut self, name: &str) -> Result<&mut Chain, Refusal> {
        let table = self.name;
        let found = self.index(name).and_then(|at| self.chains.get_mut(at));
        found.ok_or_else(|| missing(table, name))
    }

    /// All rules and all user's chains go; policies stay.
    pub(crate) fn clear(&mut self) {
        self.chains.truncate(self.built_in());
        for chain in &mut self.chains {
            chain.rules.clear();
            chain.position = Position::default();
        }
    }

    /// `-N`.
    pub(crate) fn create(&mut self, name: &str, position: Position) -> Result<(), Refusal> {
        if Verdict::from_word(name).is_some() {
            return Err(Refusal::table(format!("a chain cannot be called `{name}`")));
        }
        if self.chain(name).is_some() {
            let table = self.name;
            return Err(Refusal::table(format!("table {table} already has a chain `{name}`")));
        }
        let end = ChainEnd::Return;
        self.add(Chain { name: name.to_owned(), end, rules: Vec::new(), position });
        Ok(())
    }

    fn add(&mut self, chain: Chain) {
        let own = self.chains.get(self.built_in()..).unwrap_or_default();
        let place = own.partition_point(|other| other.name < chain.name);
        self.chains.insert(self.built_in() + place, chain);
    }

    /// `-L` and `-S`: the chain must be there.
    pub(crate) fn look(&mut self, name: Option<&str>) -> Result<(), Refusal> {
        name.map_or(Ok(()), |name| self.chain_mut(name).map(|_| ()))
    }

    /// What the policies have counted is lost with every change of the table.
    pub(crate) fn forget_policies(&mut self) {
        for chain in &mut self.chains {
            if let ChainEnd::Policy(_, _, counters) = &mut chain.end {
                *counters = Counters::default();
            }
        }
    }

    /// `-F`.
    pub(crate) fn flush(&mut self, name: Option<&str>) -> Result<(), Refusal> {
        match name {
            Some(name) => self.chain_mut(name)?.rules.clear(),
            None => self.chains.iter_mut().for_each(|chain| chain.rules.clear()),
        }
        Ok(())
    }

    /// `-X`.
    pub(crate) fn delete_chain(&mut self, name: Option<&str>) -> Result<(), Refusal> {
        let Some(name) = name else {
            let own = self.chains.get(self.built_in()..).unwrap_or_default();
            let names: Vec<_> = own.iter().map(|chain| chain.name.clone()).collect();
            return names.iter().try_for_each(|name| self.delete_chain(Some(name)));
        };
        let chain = self.chain_mut(name)?;
        if matches!(chain.end, ChainEnd::Policy(..)) {
            return Err(Refusal::table(format!("{name} is built in: it cannot be deleted")));
        }
        if !chain.rules.is_empty() {
            let refusal = Refusal::table(format!("chain `{name}` still has rules"));
            return Err(refusal.hint(format!("`-F {name}` before it")));
        }
        if self.is_used(name) {
            return Err(Refusal::table(format!("rules still lead to chain `{name}`")));
        }
        self.chains.retain(|chain| chain.name != name);
        Ok(())
    }

    fn is_used(&self, name: &str) -> bool {
        let leads = |rule: &RuleSpec| match &rule.target {
            Target::Jump(chain) | Target::Goto(chain) => chain == name,
            _ => false,
        };
        self.chains.iter().any(|chain| chain.rules.iter().any(leads))
    }

    /// `-E`.
    pub(crate) fn rename(&mut self, old: &str, new: &str) -> Result<(), Refusal> {
        if self.chain(new).is_some() || Verdict::from_word(new).is_some() {
            return Err(Refusal::table(format!("`{new}` is taken")));
        }
        if matches!(self.chain_mut(old)?.end, ChainEnd::Policy(..)) {
            return Err(Refusal::table(format!("{old} is built in: it cannot be renamed")));
        }
        let Some(at) = self.chains.iter().position(|chain| chain.name == old) else {
            return Ok(());
        };
        let mut chain = self.chains.remove(at);
        chain.name = new.to_owned();
        self.add(chain);
        for rule in self.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
            match &mut rule.target {
                Target::Jump(chain) | Target::Goto(chain) if chain == old => {
                    *chain = new.to_owned()
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `-P`.
    pub(crate) fn set_policy(
        &mut self,
        name: &str,
        word: &str,
        counters: Option<Counters>,
        position: Position,
    ) -> Result<(), Refusal> {
        let chain = self.chain_mut(name)?;
        let ChainEnd::Policy(hook, ..) = chain.end else {
            let refusal = Refusal::table(format!("chain `{name}` cannot have a policy"));
            return Err(refusal.hint("only built-in chains have one: end it with a rule"));
        };
        let Some(policy) = Policy::from_word(word) else {
            let refusal = Refusal::table(format!("`{word}` is no policy"));
            return Err(refusal.hint("a policy is ACCEPT or DROP"));
        };
        chain.end = ChainEnd::Policy(hook, policy, counters.unwrap_or_default());
        chain.position = position;
        Ok(())
    }

    /// `-Z`.
    pub(crate) fn zero(&mut self, name: Option<&str>, number: Option<u32>) -> Result<(), Refusal> {
        let zero = |chain: &mut Chain| {
            for rule in &mut chain.rules {
                rule.counters = Counters::default();
            }
            if let ChainEnd::Policy(_, _, counters) = &mut chain.end {
                *counters = Counters::default();
            }
        };
        match (name, number) {
            (None, _) => self.chains.iter_mut().for_each(zero),
            (Some(name), None) => zero(self.chain_mut(name)?),
            (Some(name), Some(number)) => {
                let chain = self.chain_mut(name)?;
                let length = chain.rules.len();
                let rule = chain.rules.get_mut(index(number));
                rule.ok_or_else(|| no_rule(name, number, length))?.counters = Counters::default();
            }
        }
        Ok(())
    }

    /// `-A`.
    pub(crate) fn append(&mut self, name: &str, rules: Vec<RuleSpec>) -> Result<(), Refusal> {
        self.chain_mut(name)?.rules.extend(rules);
        Ok(())
    }

    /// `-I`: each at `number`, so that several come to stand in reverse.
    pub(crate) fn insert(
        &mut self,
        name: &str,
        number: u32,
        rules: Vec<RuleSpec>,
    ) -> Result<(), Refusal> {
        let chain = self.chain_mut(name)?;
        let length = chain.rules.len();
        if index(number) > length {
            return Err(no_rule(name, number, length));
        }
        for rule in rules {
            chain.rules.insert(index(number), rule);
        }
        Ok(())
    }

    /// `-R`.
    pub(crate) fn replace(
        &mut self,
        name: &str,
        number: u32,
        rules: Vec<RuleSpec>,
    ) -> Result<(), Refusal> {
        let chain = self.chain_mut(name)?;
        let length = chain.rules.len();
        let place = chain.rules.get_mut(index(number));
        let place = place.ok_or_else(|| no_rule(name, number, length))?;
        rules.into_iter().for_each(|rule| *place = rule);
        Ok(())
    }

    /// `-D` with a number.
    pub(crate) fn delete_number(&mut self, name: &str, number: u32) -> Result<(), Refusal> {
        let chain = self.chain_mut(name)?;
        let length = chain.rules.len();
        if index(number) >= length {
            return Err(no_rule(name, number, length));
        }
        chain.rules.remove(index(number));
        Ok(())
    }

    /// `-D` and `-C`: the first rule equal to each of `rules` is there, and goes if `keep` is not
    /// said.
    pub(crate) fn find(
        &mut self,
        name: &str,
        rules: &[RuleSpec],
        then: Found,
    ) -> Result<(), Refusal> {
        let chain = self.chain_mut(name)?;
        for rule in rules {
            let Some(at) = chain.rules.iter().position(|other| other.is_same(rule)) else {
                let refusal = Refusal::table(format!("chain {name} has no such rule"));
                return Err(
                    refusal.hint("the rule must be written as it was added, option by option")
                );
            };
            if then == Found::Deleted {
                chain.rules.remove(at);
            }
        }
        Ok(())
    }

    /// The rules that a draft stands for, now that it is known which names are chains.
    pub(crate) fn rules(
        &self,
        draft: Draft,
        position: Position,
    ) -> Result<Vec<RuleSpec>, (Option<usize>, Refusal)> {
        let word = draft.target.as_ref().map(|target| target.word);
        let target = match draft.target {
            None => Target::None,
            Some(named) => self.target(named).map_err(|refusal| (word, refusal))?,
        };
        let rule = RuleSpec {
            header: draft.header,
            matches: draft.matches,
            target,
            counters: draft.counters.unwrap_or_default(),
            position,
        };
        let mut rules = Vec::new();
        for source in &draft.sources {
            for destination in &draft.destinations {
                let mut rule = rule.clone();
                let header = &mut rule.header;
                header.source = Test { value: *source, ..header.source };
                header.destination = Test { value: *destination, ..header.destination };
                rules.push(rule);
            }
        }
        Ok(rules)
    }

    /// All that `-j` can name.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = vec!["ACCEPT", "DROP", "RETURN", "QUEUE"];
        names.extend(self.chains.iter().map(|chain| chain.name.as_str()));
        // What is for one family only is a hint for the other as well.
        for family in [Family::V4, Family::V6] {
            names.extend(Extension::known(family));
        }
        names
    }

    /// A chain comes before an extension of the same name.
    fn target(&self, named: Named) -> Result<Target, Refusal> {
        let Named { name, way, extension, word: _ } = named;
        match self.chain(&name).map(|chain| chain.end) {
            Some(ChainEnd::Policy(..)) => {
                let refusal =
                    Refusal::table(format!("no rule can lead to {name}, which is built in"));
                return Err(refusal.hint("move the rules into a chain of your own"));
            }
            Some(ChainEnd::Return) if way == Way::Goto => return Ok(Target::Goto(name)),
            Some(ChainEnd::Return) => return Ok(Target::Jump(name)),
            None => {}
        }
        if way == Way::Goto {
            return Err(Refusal::new(format!("`{name}` is not a chain")).hint("`-g` wants a chain"));
        }
        match (Verdict::from_word(&name), extension) {
            (Some(verdict), _) => Ok(Target::Verdict(verdict)),
            (None, Some(extension)) => Ok(Target::Extension(extension)),
            (None, None) => {
                let table = self.name;
                let refusal = Refusal::new(format!("no target or chain is called `{name}`"));
                let names = self.names();
                let alike = names.iter().find(|known| known.eq_ignore_ascii_case(&name));
                if let Some(alike) = alike {
                    return Err(refusal.hint(format!("`{alike}`?")));
                }
                if let Some(near) = nearest(&name, &names) {
                    return Err(refusal.hint(format!("`{near}`?")));
                }
                Err(refusal
                    .hint(format!("table {table} must create a chain before a rule uses it")))
            }
        }
    }
}

/// What becomes of a rule that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Deleted,
    Kept,
}

fn index(number: u32) -> usize {
    (number as usize).saturating_sub(1)
}

fn missing(table: TableName, name: &str) -> Refusal {
    let refusal = Refusal::table(format!("table {table} has no chain `{name}`"));
    let built_in = TableName::ALL.iter().flat_map(|table| table.hooks());
    let elsewhere = built_in.into_iter().any(|hook| hook.name() == name);
    let lower = |hook: &&Hook| hook.name().eq_ignore_ascii_case(name);
    match table.hooks().iter().find(lower) {
        Some(hook) => refusal.hint(format!("built-in chains are written in capitals: {hook}")),
        None if elsewhere => refusal.hint(format!("{name} belongs to other tables")),
        None => {
            let names: Vec<_> = table.hooks().iter().map(|hook| hook.name()).collect();
            refusal.hint(match nearest(&name.to_ascii_uppercase(), &names) {
                Some(near) => format!("`{near}`?"),
                None => format!("create it with `:{name} - [0:0]` or `-N {name}` before"),
            })
        }
    }
}

fn no_rule(chain: &str, number: u32, length: usize) -> Refusal {
    Refusal::table(format!("chain {chain} has no rule {number}: it has {length}"))
}
