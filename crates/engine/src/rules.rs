//! Rules on the walk: which tables a packet is asked by, what they see of it, and what is noted.
//!
//! A ruleset of either family replaces the former one whole and keeps the connections. What rules
//! say of a packet besides its fate (the path, lines of the log, what could not be evaluated) is
//! noted until the next packet comes. The nat table is asked by NAT ([`crate::nat`]); what its
//! targets do is [`bind`]'s.

mod around;
mod bind;

use core::cell::Cell;
use core::net::IpAddr;

use stateward_conntrack::TimeoutPolicy;
use stateward_rules::matches::Match;
use stateward_rules::shared::Answers;
use stateward_rules::targets::Extension;
use stateward_rules::targets::reject::Reject;
use stateward_rules::{
    ChainVerdict, CompiledRuleset, Copied, Hook, RuleSpec, Said, Shared, Step, StepName, TableName,
    TableSet, Target, ValidRuleset,
};
use stateward_wire::Family;

use self::around::Around;
use crate::account::{Account, Keep, Station};
use crate::engine::{At, Engine, Verdict, Why};
use crate::route::{Routing, RoutingDrop};
use crate::walk::{Ended, Frame, Walker};

/// The rules of both families.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    v4: Option<CompiledRuleset>,
    v6: Option<CompiledRuleset>,
    /// Whose packets may become longer by them.
    lengthening: Vec<Family>,
    /// Whose connections may get a helper by them.
    assigning: Vec<Family>,
    /// Whose rules ask for labels.
    labelling: Vec<Family>,
}

impl Rules {
    fn of(&self, family: Family) -> Option<&CompiledRuleset> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Whether a family's rules have one of these tables.
    #[inline]
    pub(crate) fn have(&self, family: Family, tables: TableSet) -> bool {
        self.of(family).is_some_and(|rules| rules.has_any(tables))
    }

    /// Whether packets of a family may become longer.
    pub(crate) fn lengthen(&self, family: Family) -> bool {
        self.lengthening.contains(&family)
    }

    /// Whether connections of a family may get a helper.
    pub(crate) fn assign_helpers(&self, family: Family) -> bool {
        self.assigning.contains(&family)
    }

    fn of_mut(&mut self, family: Family) -> &mut Option<CompiledRuleset> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// How a table lets a packet go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passage {
    /// It accepts.
    Accepted,
    /// It wanted to queue it for nobody, and goes on without: with the next hook function, so that
    /// what called the table has nothing to add.
    Bypassed,
}

/// A step of a packet through the rules of a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// Whose rules.
    pub family: Family,
    /// Which of them.
    pub step: Step,
}

/// A line of the kernel's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// Syslog's level, 0 to 7.
    pub level: u8,
    /// The line, with a blank at its end.
    pub text: String,
}

/// What was logged of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logged {
    /// By LOG.
    Line(LogLine),
    /// By NFLOG: listeners got a copy.
    Copied(Copied),
}

/// What the rules said of the last packet, and of those that this host made for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    /// The packet's mark at its end.
    pub mark: u32,
    /// Where a rule ended the packet, or else the last filter rule or policy that let it pass.
    pub decided: Option<Passed>,
    /// All that was met, as TRACE tells it.
    pub path: Vec<Passed>,
    /// What LOG and NFLOG told.
    pub log: Vec<Logged>,
    /// Matches and targets that the packet met and that nobody could evaluate.
    pub not_evaluated: Vec<&'static str>,
    /// Matches that ask what a packet does not tell, and what they were told or have assumed: that
    /// no process has sent it, no socket waits for it, no bridge and no IPsec have carried it.
    pub answers: Answers,
    /// Every station of its way, if that was asked for.
    pub account: Account,
}

impl Notes {
    pub(crate) fn clear(&mut self) {
        let Self { mark, decided, path, log, not_evaluated, answers, account } = self;
        (*mark, *decided) = (0, None);
        path.clear();
        log.clear();
        not_evaluated.clear();
        answers.clear();
        account.clear();
    }
}

fn assigns(target: &Target) -> bool {
    matches!(target, Target::Extension(Extension::Ct(ct)) if !ct.helper.is_empty())
}

impl Engine {
    /// Puts rules in force; those of the other family stay, and so does what old and new rules
    /// share by name. Rules that ask what connections have counted turn `nf_conntrack_acct` on, as
    /// in the kernel: connections that begin from then on count.
    pub fn set_rules(&mut self, rules: &ValidRuleset) {
        let mut matches = all(rules).flat_map(|rule| &rule.matches);
        if matches.any(|one| matches!(one, Match::Connbytes(_))) {
            self.tracker.sysctls_mut().acct = true;
        }
        let family = rules.rules().family;
        self.rules.lengthening.retain(|other| *other != family);
        self.rules.assigning.retain(|other| *other != family);
        self.rules.labelling.retain(|other| *other != family);
        let mut matches = all(rules).flat_map(|rule| &rule.matches);
        if matches.any(|one| matches!(one, Match::Connlabel(_))) {
            self.rules.labelling.push(family);
        }
        self.tracker.set_labelling(!self.rules.labelling.is_empty());
        if all(rules).any(|rule| matches!(rule.target, Target::Extension(Extension::Tcpmss(_)))) {
            self.rules.lengthening.push(family);
        }
        if all(rules).any(|rule| assigns(&rule.target)) {
            self.rules.assigning.push(family);
        }
        self.shared.get_mut().adopt(rules);
        *self.rules.of_mut(family) = Some(CompiledRuleset::new(rules));
        self.has_rules = true;
    }

    /// Makes a policy of timeouts, which rules may name from now on (`-j CT --timeout`). What it does
    /// not say it has from the sysctls as they are now.
    pub fn add_timeout_policy(&mut self, policy: &TimeoutPolicy) {
        if let Some(id) = self.tracker.add_timeout_policy(policy) {
            self.shared.get_mut().timeouts.add(policy, id);
        }
    }

    /// Whether an account is kept of the way of the packets to come:
    /// [`Notes::account`](crate::rules::Notes::account). It costs time and memory.
    pub fn set_explaining(&mut self, keep: Keep) {
        self.notes.account.set(keep);
        self.has_rules = self.has_rules() || self.notes.account.is_kept();
    }

    /// The mark that packets come with from now on, as a process or what stands before the hooks may
    /// give one; 0 at first.
    pub fn set_arrival_mark(&mut self, mark: u32) {
        self.arrival_mark = mark;
    }

    /// Whether there are rules of either family.
    pub fn has_rules(&self) -> bool {
        self.rules.v4.is_some() || self.rules.v6.is_some()
    }

    /// The rules of a family with what they have counted.
    pub fn rules(&self, family: Family) -> Option<&CompiledRuleset> {
        self.rules.of(family)
    }

    /// What the rules share: the lists of `-m recent`, the tables of `-m hashlimit`, the sets.
    pub fn shared(&self) -> impl core::ops::Deref<Target = Shared> {
        self.shared.borrow()
    }

    /// What the rules share, to change its settings before rules are set.
    pub fn shared_mut(&mut self) -> &mut Shared {
        self.shared.get_mut()
    }

    /// What the rules said of the last packet.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The name of a step, as TRACE writes it.
    pub fn name(&self, passed: Passed) -> Option<StepName<'_>> {
        Some(self.rules.of(passed.family)?.name(passed.step))
    }

    /// Asks tables in turn. The walk goes on if they accept.
    #[inline(never)]
    pub(crate) fn ask_all(
        &mut self,
        hook: Hook,
        tables: &[TableName],
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), Ended> {
        let family = frame.layout.family();
        tables.iter().try_for_each(|table| match table {
            _ if !self.rules.have(family, TableSet::of(&[*table])) => Ok(()),
            TableName::Nat => self.nat(hook, walker, frame),
            TableName::Mangle if hook == Hook::Output => self.mangle_sent(walker, frame),
            _ => self.ask_rules((hook, *table), walker, frame).map(drop),
        })
    }

    /// Asks mangle of what this host sends. A packet whose mark, type of service or addresses that
    /// changes is routed again (`ip_route_me_harder`). Since no route asks for any of these but the
    /// destination, it goes where it went; but what goes to all of an IPv4 link goes now by the
    /// interface that has its source, or nowhere.
    fn mangle_sent(&mut self, walker: &mut Walker<'_>, frame: &mut Frame<'_>) -> Result<(), Ended> {
        let before = routed_by(walker, frame)?;
        self.ask_rules((Hook::Output, TableName::Mangle), walker, frame)?;
        let after = routed_by(walker, frame)?;
        let (.., [source, destination]) = after;
        let nowhere = before != after
            && source.is_ipv4()
            && self.network.routing() != Routing::Off
            && self.network.is_of_link(destination)
            && self.network.speaker(source).is_none();
        match nowhere {
            true => Err(walker.drop(At::Routing, Why::Routing(RoutingDrop::NoRoute))),
            false => Ok(()),
        }
    }

    /// Asks one table. The walk goes on if it answers at all.
    pub(crate) fn ask_rules(
        &mut self,
        (hook, table): (Hook, TableName),
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<Passage, Ended> {
        let family = frame.layout.family();
        let Engine { rules, tracker, network, notes, shared, chance, .. } = self;
        let Some(linear) = rules.of_mut(family).as_mut().filter(|linear| linear.has(table)) else {
            return Ok(Passage::Accepted);
        };
        shared.get_mut().begin(walker.now);
        notes.account.note(|| Station::Asked { hook, table, family });
        let mut around = Around {
            frame,
            walker,
            tracker,
            network,
            notes,
            shared,
            hook,
            rejected: None,
            chance,
            refused: None,
            labelled: Cell::new(0),
            restored: Cell::new(None),
        };
        let Said { verdict, step } = linear.ask(table, hook, &mut around);
        around.label();
        around.remark();
        let (rejected, refused) = (around.rejected, around.refused);
        self.shared.get_mut().take_answers(&mut self.notes.answers);
        let passed = step.map(|step| Passed { family, step });
        self.notes.account.note(|| Station::Said { verdict, by: passed });
        match verdict {
            ChainVerdict::Accept => {
                if table == TableName::Filter {
                    self.notes.decided = passed;
                }
                Ok(Passage::Accepted)
            }
            ChainVerdict::Queue { bypass: true, .. } => Ok(Passage::Bypassed),
            ChainVerdict::Queue { number, bypass: false } => {
                self.notes.decided = passed;
                Err(walker.end(Verdict::Queue(number), None))
            }
            ChainVerdict::Drop => match refused {
                Some(why) => Err(walker.drop(At::Nat, Why::Nat(why))),
                None => Err(self.drop_by_rule(passed, rejected, walker, frame)),
            },
        }
    }

    /// A rule or policy drops the packet, and answers it if it rejects.
    #[cold]
    fn drop_by_rule(
        &mut self,
        by: Option<Passed>,
        rejected: Option<Reject>,
        walker: &mut Walker<'_>,
        frame: &mut Frame<'_>,
    ) -> Ended {
        self.notes.decided = by;
        let Some(how) = rejected else {
            return walker.end(Verdict::Drop(At::Rule), None);
        };
        self.reject(walker, frame, &how);
        // What the answer met is its own.
        self.notes.decided = by;
        walker.end(Verdict::Reject, None)
    }
}

/// What the kernel asks routes with: the mark, the type of service, both addresses.
fn routed_by(walker: &Walker<'_>, frame: &Frame<'_>) -> Result<(u32, u8, [IpAddr; 2]), Ended> {
    let packet = frame.packet()?;
    Ok((walker.mark, packet.tos(), [packet.source(), packet.destination()]))
}

/// All rules, whether packets can come to them or not.
fn all(rules: &ValidRuleset) -> impl Iterator<Item = &RuleSpec> {
    let chains = rules.rules().tables.iter().flat_map(|table| &table.chains);
    chains.flat_map(|chain| &chain.rules)
}
