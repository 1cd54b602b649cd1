//! Rules as they are run: the kernel's walk through a table, rule by rule.
//!
//! This is what `ipt_do_table` and `ip6t_do_table` do, in their order. A rule is met when its header and all its matches are; it counts, and its target decides or lets
//! the packet go on. A jump remembers where it came from, a goto does not. The end of a user's
//! chain leads back; the end of a built-in chain is its policy, and so is a RETURN there.
//!
//! Three things are the kernel's and easily taken for mistakes: a header too short for a match ends
//! the packet at once (hotdrop), whatever the rules after it; a verdict without any condition is
//! told by TRACE as its chain's `policy` or `return`, though it is a rule; and what a rule changes
//! is seen by the next.
//!
//! A long chain's rules need not all be asked: its classifier (`classify.rs`) names those that the
//! packet may meet, and only these are tested. [`CompiledRuleset::linear`] goes without; it is the
//! reference that the other is held against.

use crate::classify::{Classifier, Key};
use crate::context::{Context, Step, StepKind, StepName, View};
use crate::matches::Match;
use crate::memory::{Memory, Own};
use crate::rule::{Counters, Header, RuleSpec, Target, Verdict};
use crate::ruleset::{Chain, ChainEnd, Hook, Policy, Ruleset, Table, TableName};
use crate::targets::Extension as TargetExtension;
use crate::tried::{Fate, Tried};
use crate::validate::ValidRuleset;

/// What a table says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainVerdict {
    /// It passes this table.
    Accept,
    /// It ends here.
    Drop,
    /// It goes to user space.
    Queue {
        /// To which of its queues.
        number: u16,
        /// Whether it passes where nobody listens.
        bypass: bool,
    },
}

/// A table's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What becomes of the packet.
    pub verdict: ChainVerdict,
    /// The rule or the policy that said so; none where a broken packet ended.
    pub step: Option<Step>,
}

/// Why a match cannot say yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The packet is broken: it ends here.
    Hotdrop,
    /// The same, but an inverted question takes it for met: the rule counts and its target works
    /// before the packet ends.
    HotdropMet,
    /// Nobody has taught it yet.
    NotEvaluated,
}

/// A match at work.
pub(crate) trait Matching {
    /// Whether the packet has what the rule asks for.
    fn passes(&self, _: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Err(Stop::NotEvaluated)
    }
}

/// What a target makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The next rule is asked.
    Continue,
    /// The table has decided.
    Verdict(ChainVerdict),
    /// Nobody has taught it yet.
    NotEvaluated,
}

/// A target at work.
pub(crate) trait Acting {
    /// Does what the rule says.
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::NotEvaluated
    }
}

/// A ruleset's tables, ready to be asked. See the module's essay.
#[derive(Debug)]
pub struct CompiledRuleset {
    tables: Vec<Program>,
    rules: Ruleset,
}

/// How the rules that a packet meets are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Search {
    /// Each is asked.
    Linear,
    /// Those that a classifier names are asked.
    Indexed,
}

/// One table.
#[derive(Debug)]
struct Program {
    name: TableName,
    /// The built-in chains, by hook.
    entries: [Option<usize>; 5],
    chains: Vec<Compiled>,
    /// Where jumps came from; never deeper than there are chains, into none of which a valid
    /// ruleset leads twice.
    callers: Vec<Place>,
}

#[derive(Debug)]
struct Compiled {
    name: String,
    end: ChainEnd,
    rules: Vec<Rule>,
    index: Option<Classifier>,
}

#[derive(Debug)]
struct Rule {
    header: Header,
    matches: Vec<(Match, Own)>,
    goal: Goal,
    counters: Counters,
    /// Nothing is asked of the packet.
    unconditional: bool,
}

/// A target whose chains are found.
#[derive(Debug)]
enum Goal {
    Continue,
    Verdict(Verdict),
    Jump(usize),
    Goto(usize),
    Extension(TargetExtension),
}

/// A place in a table: a chain, and the next rule of it.
#[derive(Clone, Copy, Debug)]
struct Place {
    chain: usize,
    rule: usize,
}

/// How the search for the next rule that the packet meets ended.
enum Met {
    Rule(usize),
    End,
    Hotdrop,
    /// The rule is met, and the packet ends with it whatever its target says.
    Last(usize),
}

impl CompiledRuleset {
    /// The rules, with the counters they were written with.
    pub fn new(rules: &ValidRuleset) -> Self {
        Self::searched(rules, Search::Indexed)
    }

    /// The same, asked rule by rule: it answers as [`Self::new`]'s does, only slower.
    pub fn linear(rules: &ValidRuleset) -> Self {
        Self::searched(rules, Search::Linear)
    }

    fn searched(rules: &ValidRuleset, search: Search) -> Self {
        let rules = rules.rules().clone();
        let tables = rules.tables.iter().map(|table| Program::new(table, search)).collect();
        Self { tables, rules }
    }

    /// Whether there is something to ask in `table`.
    pub fn has(&self, table: TableName) -> bool {
        self.tables.iter().any(|program| program.name == table)
    }

    /// What `table` says of the packet in `hook`, and where it was said. A table that the ruleset
    /// does not have, or that is not asked in this hook, accepts.
    pub fn ask(&mut self, table: TableName, hook: Hook, context: &mut dyn Context) -> Said {
        let program = self.tables.iter_mut().find(|program| program.name == table);
        match program.and_then(|program| Some((program.entry(hook)?, program))) {
            Some((entry, program)) => program.walk(entry, hook, context),
            None => Said { verdict: ChainVerdict::Accept, step: None },
        }
    }

    /// The name of a step of a packet through these rules.
    pub fn name(&self, step: Step) -> StepName<'_> {
        let program = self.tables.iter().find(|program| program.name == step.table);
        let chain = program.and_then(|program| program.chains.get(step.chain as usize));
        StepName { step, chain: chain.map_or("", |chain| &chain.name) }
    }

    /// The chain of a step, and the rule itself unless it is the chain's end.
    pub fn place(&self, step: Step) -> Option<(&Chain, Option<&RuleSpec>)> {
        let table = self.rules.table(step.table)?;
        let chain = table.chains.get(step.chain as usize)?;
        let rule = (step.number as usize).checked_sub(1).and_then(|at| chain.rules.get(at));
        Some((chain, rule))
    }

    /// The rules with what they have counted.
    pub fn counted(&self) -> Ruleset {
        let mut rules = self.rules.clone();
        for (program, table) in self.tables.iter().zip(&mut rules.tables) {
            for (counted, chain) in program.chains.iter().zip(&mut table.chains) {
                chain.end = counted.end;
                for (counted, rule) in counted.rules.iter().zip(&mut chain.rules) {
                    rule.counters = counted.counters;
                }
            }
        }
        rules
    }
}

impl Program {
    fn new(table: &Table, search: Search) -> Self {
        let chain = |chain: &Chain| Compiled {
            name: chain.name.clone(),
            end: chain.end,
            rules: chain.rules.iter().map(|rule| Rule::new(rule, table)).collect(),
            index: match search {
                Search::Linear => None,
                Search::Indexed => Classifier::new(&chain.rules),
            },
        };
        let chains: Vec<_> = table.chains.iter().map(chain).collect();
        let built_in = |hook| {
            let is_its =
                |chain: &Chain| matches!(chain.end, ChainEnd::Policy(of, ..) if of == hook);
            table.chains.iter().position(is_its)
        };
        let callers = Vec::with_capacity(chains.len());
        Self { name: table.name, entries: Hook::ALL.map(built_in), chains, callers }
    }

    fn entry(&self, hook: Hook) -> Option<usize> {
        self.entries.get(hook as usize).copied().flatten()
    }

    fn walk(&mut self, entry: usize, hook: Hook, context: &mut dyn Context) -> Said {
        let mut at = Place { chain: entry, rule: 0 };
        self.callers.clear();
        loop {
            let number = match self.meet(at, context) {
                Met::Hotdrop => return Said { verdict: ChainVerdict::Drop, step: None },
                Met::Rule(number) => number,
                Met::Last(number) => return self.last(Place { rule: number, ..at }, hook, context),
                Met::End => match self.leave(at.chain, entry, context) {
                    Ok(caller) => {
                        at = caller;
                        continue;
                    }
                    Err(said) => return said,
                },
            };
            let next = Place { chain: at.chain, rule: number + 1 };
            let step = self.count_rule(at.chain, number, context);
            let decided = |verdict| Said { verdict, step };
            let Some(goal) = self.goal(at.chain, number) else {
                return decided(ChainVerdict::Accept);
            };
            match goal {
                Goal::Continue => at = next,
                Goal::Verdict(Verdict::Accept) => return decided(ChainVerdict::Accept),
                Goal::Verdict(Verdict::Drop) => return decided(ChainVerdict::Drop),
                Goal::Verdict(Verdict::Queue) => {
                    return decided(ChainVerdict::Queue { number: 0, bypass: false });
                }
                Goal::Verdict(Verdict::Return) => match self.callers.pop() {
                    Some(caller) => at = caller,
                    None => return self.end(entry, context),
                },
                Goal::Jump(chain) => {
                    at = Place { chain: *chain, rule: 0 };
                    self.callers.push(next);
                }
                Goal::Goto(chain) => at = Place { chain: *chain, rule: 0 },
                Goal::Extension(target) => match target.work().act(context, hook) {
                    Action::Verdict(verdict) => return decided(verdict),
                    Action::Continue => at = next,
                    Action::NotEvaluated => {
                        context.not_evaluated(target.name());
                        at = next;
                    }
                },
            }
        }
    }

    /// A rule that counts, and whose target works, though its packet is broken.
    fn last(&mut self, at: Place, hook: Hook, context: &mut dyn Context) -> Said {
        self.count_rule(at.chain, at.rule, context);
        if let Some(Goal::Extension(target)) = self.goal(at.chain, at.rule) {
            target.work().act(context, hook);
        }
        Said { verdict: ChainVerdict::Drop, step: None }
    }

    /// The end of a chain: back to where it was called from, or what its or the first chain's
    /// policy says.
    fn leave(
        &mut self,
        chain: usize,
        entry: usize,
        context: &mut dyn Context,
    ) -> Result<Place, Said> {
        let said = self.end(chain, context);
        if chain == entry {
            return Err(said);
        }
        match self.callers.pop() {
            Some(caller) => Ok(caller),
            None => Err(self.end(entry, context)),
        }
    }

    /// The next rule from `at` on whose conditions the packet meets.
    fn meet(&mut self, at: Place, context: &mut dyn Context) -> Met {
        let Some(Compiled { rules, index, .. }) = self.chains.get_mut(at.chain) else {
            return Met::End;
        };
        let Some(view) = View::new(context) else { return Met::Hotdrop };
        // Who wants an account wants it of every rule.
        let explains = context.explains();
        let index = index.as_ref().filter(|_| !explains);
        let key = index.and_then(|index| Some((index, Key::of(&view)?)));
        let (unknown, tried) = (Vec::new(), Vec::new());
        let mut trial = Trial { view: &view, explains, unknown, tried };
        let met = match &key {
            Some((index, key)) => trial.first_met(rules, index.candidates(key, at.rule)),
            None => trial.first_met(rules, at.rule..),
        };
        let Trial { unknown, tried, .. } = trial;
        let (table, chain) = (self.name, self::index(at.chain));
        for (number, tried) in tried {
            let step = Step { table, chain, kind: StepKind::Rule, number: one_based(number) };
            context.tried(step, tried);
        }
        unknown.into_iter().for_each(|name| context.not_evaluated(name));
        met
    }

    fn goal(&self, chain: usize, number: usize) -> Option<&Goal> {
        Some(&self.chains.get(chain)?.rules.get(number)?.goal)
    }

    /// Counts and tells the rule that was met.
    fn count_rule(
        &mut self,
        chain: usize,
        number: usize,
        context: &mut dyn Context,
    ) -> Option<Step> {
        let table = self.name;
        let Compiled { end, rules, .. } = self.chains.get_mut(chain)?;
        let rule = rules.get_mut(number)?;
        rule.counters.count(context);
        let kind = match (rule.is_tail(), end) {
            (false, _) => StepKind::Rule,
            (true, ChainEnd::Policy(..)) => StepKind::Policy,
            (true, ChainEnd::Return) => StepKind::Return,
        };
        let step = Step { table, chain: index(chain), kind, number: one_based(number) };
        context.passed(step);
        Some(step)
    }

    /// Counts and tells the end of a chain. Of a user's chain it says nothing.
    fn end(&mut self, chain: usize, context: &mut dyn Context) -> Said {
        let accepted = Said { verdict: ChainVerdict::Accept, step: None };
        let table = self.name;
        let Some(Compiled { end, rules, .. }) = self.chains.get_mut(chain) else { return accepted };
        let kind = match end {
            ChainEnd::Return => StepKind::Return,
            ChainEnd::Policy(..) => StepKind::Policy,
        };
        let step = Step { table, chain: index(chain), kind, number: one_based(rules.len()) };
        context.passed(step);
        let ChainEnd::Policy(_, policy, counters) = end else { return accepted };
        counters.count(context);
        let verdict = match policy {
            Policy::Accept => ChainVerdict::Accept,
            Policy::Drop => ChainVerdict::Drop,
        };
        Said { verdict, step: Some(step) }
    }
}

/// A search for the next rule that a packet meets.
struct Trial<'a> {
    view: &'a View<'a>,
    explains: bool,
    /// What could not be evaluated.
    unknown: Vec<&'static str>,
    /// An account of the rules, where one is wanted.
    tried: Vec<(usize, Tried)>,
}

impl Trial<'_> {
    /// The first of the rules of these numbers that the packet meets.
    fn first_met(&mut self, rules: &mut [Rule], numbers: impl Iterator<Item = usize>) -> Met {
        for number in numbers {
            let Some(rule) = rules.get_mut(number) else { return Met::End };
            match self.meets(rule, number) {
                Ok(false) => {}
                Ok(true) => return Met::Rule(number),
                Err(Broken::Unmet) => return Met::Hotdrop,
                Err(Broken::Met) => return Met::Last(number),
            }
        }
        Met::End
    }

    fn meets(&mut self, rule: &mut Rule, number: usize) -> Result<bool, Broken> {
        let (mut passed, before) = (0, self.unknown.len());
        let meets = rule.passes(self.view, &mut self.unknown, &mut passed);
        if self.explains {
            let fate = fate(&meets, self.unknown.len() > before);
            let tried = Tried::of(&rule.header, &rule.matches, passed, fate, self.view);
            self.tried.push((number, tried));
        }
        meets
    }
}

/// A match found the packet broken.
pub(crate) enum Broken {
    /// The rule is not met.
    Unmet,
    /// It is, as [`Stop::HotdropMet`] says.
    Met,
}

/// How a rule ended.
fn fate(passes: &Result<bool, Broken>, unknown: bool) -> Fate {
    match passes {
        Ok(true) => Fate::Met,
        Ok(false) if unknown => Fate::NotEvaluated,
        Ok(false) => Fate::PassedOver,
        Err(_) => Fate::Broken,
    }
}

impl Rule {
    fn new(rule: &RuleSpec, table: &Table) -> Self {
        let chain = |name: &str| table.index(name);
        let goal = match &rule.target {
            Target::None => Goal::Continue,
            Target::Verdict(verdict) => Goal::Verdict(*verdict),
            // A valid ruleset leads to chains that are there.
            Target::Jump(name) => chain(name).map_or(Goal::Continue, Goal::Jump),
            Target::Goto(name) => chain(name).map_or(Goal::Continue, Goal::Goto),
            Target::Extension(extension) => Goal::Extension(extension.clone()),
        };
        Self {
            header: rule.header.clone(),
            matches: rule
                .matches
                .iter()
                .map(|one| (one.clone(), Own::of(one, rule.position)))
                .collect(),
            goal,
            counters: rule.counters,
            unconditional: rule.matches.is_empty()
                && rule.header == Header::any(rule.header.family),
        }
    }

    /// What TRACE takes for a chain's end.
    fn is_tail(&self) -> bool {
        self.unconditional && matches!(self.goal, Goal::Verdict(_))
    }

    /// Counts in `passed` how many matches did.
    fn passes(
        &mut self,
        view: &View<'_>,
        unknown: &mut Vec<&'static str>,
        passed: &mut usize,
    ) -> Result<bool, Broken> {
        if !header_passes(&self.header, view)? {
            return Ok(false);
        }
        let mut broken = false;
        for (one, own) in &mut self.matches {
            match one.work().passes(view, &mut Memory { own }) {
                Ok(true) => *passed += 1,
                Err(Stop::HotdropMet) => broken = true,
                Ok(false) if !broken => return Ok(false),
                Ok(false) | Err(Stop::Hotdrop) => return Err(Broken::Unmet),
                Err(Stop::NotEvaluated) => {
                    unknown.push(one.name());
                    return Ok(false);
                }
            }
        }
        if broken { Err(Broken::Met) } else { Ok(true) }
    }
}

pub(crate) fn header_passes(header: &Header, view: &View<'_>) -> Result<bool, Broken> {
    let Header { family, source, destination, input, output, protocol, fragment } = header;
    if *family != view.family()
        || !source.passes(source.value.contains(view.source))
        || !destination.passes(destination.value.contains(view.destination))
    {
        return Ok(false);
    }
    if let Some(input) = input
        && !input.passes(input.value.covers(view.input))
    {
        return Ok(false);
    }
    if let Some(output) = output
        && !output.passes(output.value.covers(view.output))
    {
        return Ok(false);
    }
    if protocol.value != 0 {
        let Some(of_packet) = view.protocol() else {
            return if view.is_later_fragment() { Ok(false) } else { Err(Broken::Unmet) };
        };
        if !protocol.passes(protocol.value == of_packet) {
            return Ok(false);
        }
    }
    Ok(fragment.is_none_or(|fragment| fragment.passes(view.is_later_fragment())))
}

fn index(chain: usize) -> u32 {
    u32::try_from(chain).unwrap_or(u32::MAX)
}

fn one_based(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1)
}

impl Counters {
    fn count(&mut self, context: &dyn Context) {
        let length = context.packet().map_or(0, |packet| packet.length());
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(length as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests;
