//! Rules laid out to be run: what is read of a rule that does not match lies close together.
//!
//! A ruleset of a hundred thousand rules does not stay in the processor's caches, and what a packet
//! costs is how much memory it touches. A rule here is one line of the cache, with its match if it
//! has but one, and a chain's rules lie one behind the other. Matches that ask the same are one:
//! the many rules of a chain of services differ in their addresses, not in `-m tcp --dport 443`.
//! Everything else (names, texts, places) stays in the [`Ruleset`](crate::Ruleset) that was
//! compiled, which has the same chains and rules in the same order.

use core::fmt::{self, Write as _};
use core::hash::{BuildHasherDefault, Hash, Hasher};
use core::net::IpAddr;

use hashbrown::HashMap;
use stateward_conntrack::prefetch;
use stateward_wire::Family;

use crate::address;
use crate::classify::{Classifier, Mix, SHORTEST};
use crate::context::{Context, Step, View};
use crate::evaluate::{Acting, Action, Matching, Stop};
use crate::matches::Match;
use crate::memory::{Memory, Own};
use crate::rule::{self, Counters, Header, Interface, RuleSpec, Target, Verdict};
use crate::ruleset::{ChainEnd, Hook, Table};
use crate::targets::Extension;
use crate::targets::dnat::Dnat;

/// How the rules that a packet meets are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Search {
    /// Each is asked.
    Linear,
    /// Those that a classifier names are asked.
    Indexed,
}

/// One table.
#[derive(Debug)]
pub(crate) struct Program {
    /// The built-in chains, by hook.
    entries: [Option<usize>; 5],
    pub(crate) chains: Vec<Chain>,
    /// The chains' ends.
    pub(crate) ends: Vec<ChainEnd>,
    /// How the rules of long chains are found.
    pub(crate) indexes: Vec<Classifier>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) conditions: Conditions,
    pub(crate) targets: Vec<Work>,
    /// Where jumps came from; never deeper than there are chains, into none of which a valid
    /// ruleset leads twice.
    pub(crate) callers: Vec<Place>,
    /// What a packet has met and nobody has been told of yet.
    pub(crate) steps: Vec<Step>,
}

/// What rules ask for that their lines have no room for.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    large: Vec<Large>,
    /// The tests of rules that have several.
    tests: Vec<Test>,
    works: Vec<Box<dyn Matching>>,
    owns: Vec<Own>,
}

/// A place in a table: a chain, and the next rule of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) chain: Chain,
    pub(crate) rule: usize,
}

/// A chain: where its rules are, and how they are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) number: u32,
    first: u32,
    len: u32,
    /// Which of the table's indexes; none where rules are asked one by one, as in most chains.
    pub(crate) index: u32,
}

/// A chain as a jump knows it: most are so short that this is all there is to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) number: u32,
    pub(crate) first: u32,
    /// [`Reached::LONG`] if the chain itself must be asked.
    pub(crate) len: u8,
}

/// A target at work. That of each service of a balancer is another, so they lie side by side.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) enum Work {
    Dnat(Dnat),
    Other(Box<dyn Acting>),
}

/// No index, no memory.
const NONE: u32 = u32::MAX;

/// A rule: what it asks of the header and for, what it does, what it has counted.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Rule {
    asks: Asks,
    pub(crate) goal: Goal,
    tests: Tests,
    pub(crate) counters: Counters,
}

/// A rule's matches.
#[derive(Clone, Copy, Debug)]
enum Tests {
    One(Test),
    Many { first: u32, len: u16 },
}

/// A match of a rule: which work, and which memory, [`NONE`] if it remembers nothing.
#[derive(Clone, Copy, Debug)]
struct Test {
    work: u32,
    own: u32,
}

/// A target whose chains are found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    Continue,
    Verdict(Verdict),
    /// The same without any condition, which TRACE takes for a chain's end.
    Tail(Verdict),
    /// [`Reached`]'s fields, so that the enum's tag lies with the shortest.
    Jump {
        number: u32,
        first: u32,
        len: u8,
    },
    Goto {
        number: u32,
        first: u32,
        len: u8,
    },
    /// Which of the table's targets.
    Extension(u32),
}

impl Program {
    pub(crate) fn new(table: &Table, search: Search) -> Self {
        let built_in = |hook| {
            table
                .chains
                .iter()
                .position(|chain| matches!(chain.end, ChainEnd::Policy(of, ..) if of == hook))
        };
        let mut program = Self {
            entries: Hook::ALL.map(built_in),
            chains: Vec::with_capacity(table.chains.len()),
            ends: table.chains.iter().map(|chain| chain.end).collect(),
            indexes: Vec::new(),
            rules: Vec::with_capacity(table.chains.iter().map(|chain| chain.rules.len()).sum()),
            conditions: Conditions::default(),
            targets: Vec::new(),
            callers: Vec::with_capacity(table.chains.len()),
            steps: Vec::new(),
        };
        let mut first = 0;
        for (number, chain) in (0..).zip(&table.chains) {
            let len = small(chain.rules.len());
            let index = match search {
                Search::Linear => None,
                Search::Indexed => Classifier::new(&chain.rules),
            };
            let index = index.map_or(NONE, |index| push(&mut program.indexes, index));
            program.chains.push(Chain { number, first, len, index });
            first += len;
        }
        let mut known = Known::default();
        let rules = table.chains.iter().flat_map(|chain| &chain.rules);
        rules.for_each(|rule| program.add(rule, table, &mut known));
        program
    }

    fn add<'a>(&mut self, rule: &'a RuleSpec, table: &Table, known: &mut Known<'a>) {
        let chain = |name: &str| self.chains.get(table.index(name)?).map(Reached::of);
        let is_tail = rule.matches.is_empty() && rule.header == Header::any(rule.header.family);
        let goal = match &rule.target {
            Target::None => Goal::Continue,
            Target::Verdict(verdict) if is_tail => Goal::Tail(*verdict),
            Target::Verdict(verdict) => Goal::Verdict(*verdict),
            // A valid ruleset leads to chains that are there.
            Target::Jump(name) => match chain(name) {
                Some(Reached { number, first, len }) => Goal::Jump { number, first, len },
                None => Goal::Continue,
            },
            Target::Goto(name) => match chain(name) {
                Some(Reached { number, first, len }) => Goal::Goto { number, first, len },
                None => Goal::Continue,
            },
            Target::Extension(extension) => {
                Goal::Extension(push(&mut self.targets, Work::of(extension)))
            }
        };
        let asks = Asks::of(&rule.header, &mut self.conditions.large);
        let tests = self.conditions.tests_of(rule, known);
        self.rules.push(Rule { asks, goal, tests, counters: rule.counters });
    }

    /// The chain of a jump. Its rules, if there are few, are on their way here.
    #[inline]
    pub(crate) fn reach(&self, Reached { number, first, len }: Reached) -> Option<Chain> {
        if len == Reached::LONG {
            return self.chains.get(number as usize).copied();
        }
        let chain = Chain { number, first, len: len.into(), index: NONE };
        self.rules.get(chain.rules())?.iter().take(Reached::FETCHED).for_each(prefetch);
        Some(chain)
    }

    /// The chain that a hook begins with.
    pub(crate) fn entry(&self, hook: Hook) -> Option<Chain> {
        let number = self.entries.get(hook as usize).copied().flatten()?;
        self.chains.get(number).copied()
    }

    /// Writes what has been counted into the table that was compiled.
    pub(crate) fn count_into(&self, table: &mut Table) {
        let chains = self.chains.iter().zip(&self.ends);
        for ((counted, end), chain) in chains.zip(&mut table.chains) {
            chain.end = *end;
            let counted = self.rules.get(counted.rules()).unwrap_or_default();
            for (counted, rule) in counted.iter().zip(&mut chain.rules) {
                rule.counters = counted.counters;
            }
        }
    }
}

/// The matches that are tested: a comment asks for nothing.
pub(crate) fn tested(matches: &[Match]) -> impl Iterator<Item = &Match> {
    matches.iter().filter(|one| !matches!(one, Match::Comment(_)))
}

/// Matches that other rules have as well.
type Known<'a> = HashMap<Hashed<'a>, u32, BuildHasherDefault<Mix>>;

/// A match by what it asks for.
#[derive(PartialEq, Eq)]
struct Hashed<'a>(&'a Match);

impl Hash for Hashed<'_> {
    /// By the text that tells equal ones from others: no match has a hash of its own.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        struct Text<'a, H>(&'a mut H);

        impl<H: Hasher> fmt::Write for Text<'_, H> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }

        // Nothing fails that writes into a hasher.
        let _ = write!(Text(hasher), "{:?}", self.0);
    }
}

impl Conditions {
    fn tests_of<'a>(&mut self, rule: &'a RuleSpec, known: &mut Known<'a>) -> Tests {
        let mut tests = tested(&rule.matches).map(|one| {
            let work =
                *known.entry(Hashed(one)).or_insert_with(|| push(&mut self.works, one.work()));
            let own = match Own::of(one, rule.position) {
                Own::Nothing => NONE,
                own => push(&mut self.owns, own),
            };
            Test { work, own }
        });
        match (tests.next(), tests.next()) {
            (Some(one), None) => Tests::One(one),
            (first, second) => {
                let begin = self.tests.len();
                self.tests.extend(first.into_iter().chain(second).chain(tests));
                // A line of 2¹⁶ matches is longer than any that is read.
                let len = u16::try_from(self.tests.len() - begin).unwrap_or(u16::MAX);
                Tests::Many { first: small(begin), len }
            }
        }
    }

    /// Whether the packet's header is as the rule wants it.
    #[inline]
    pub(crate) fn header_passes(&self, rule: &Rule, view: &View<'_>) -> Result<bool, Broken> {
        rule.asks.passes(&self.large, view)
    }

    /// What the match of this number of a rule says of a packet; `None` if the rule has no more.
    #[inline]
    pub(crate) fn test(
        &mut self,
        rule: &Rule,
        number: usize,
        view: &View<'_>,
    ) -> Option<Result<bool, Stop>> {
        let Test { work, own } = match rule.tests {
            Tests::One(test) if number == 0 => test,
            Tests::Many { first, len } if number < usize::from(len) => {
                *self.tests.get(first as usize + number)?
            }
            _ => return None,
        };
        let mut nothing = Own::Nothing;
        let own = self.owns.get_mut(own as usize).unwrap_or(&mut nothing);
        Some(self.works.get(work as usize)?.passes(view, &mut Memory { own }))
    }
}

/// Whether the packet's header is as a rule's header wants it.
pub(crate) fn header_passes(header: &Header, view: &View<'_>) -> Result<bool, Broken> {
    let mut large = Vec::new();
    Asks::of(header, &mut large).passes(&large, view)
}

impl Chain {
    pub(crate) fn rules(&self) -> core::ops::Range<usize> {
        self.first as usize..(self.first + self.len) as usize
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of a rule among the table's.
    pub(crate) fn place(&self, number: usize) -> usize {
        self.first as usize + number
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Reached {
    /// The length from which on a chain may have an index.
    const LONG: u8 = SHORTEST as u8;
    /// So many rules are asked for at once: more than a service has endpoints, usually.
    const FETCHED: usize = 4;

    fn of(chain: &Chain) -> Self {
        let len = u8::try_from(chain.len).map_or(Self::LONG, |len| len.min(Self::LONG));
        Self { number: chain.number, first: chain.first, len }
    }
}

impl Work {
    fn of(extension: &Extension) -> Self {
        match extension {
            Extension::Dnat(dnat) => Self::Dnat(dnat.clone()),
            other => Self::Other(other.work()),
        }
    }

    pub(crate) fn act(&self, context: &mut dyn Context, hook: Hook) -> Action {
        match self {
            Self::Dnat(dnat) => dnat.act(context, hook),
            Self::Other(work) => work.act(context, hook),
        }
    }
}

/// The packet is broken.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The rule is not met.
    Unmet,
    /// It is, as [`Stop::HotdropMet`](crate::evaluate::Stop) says.
    Met,
}

/// A header's tests.
#[derive(Debug)]
struct Asks {
    ends: Ends,
    /// 0 is any.
    protocol: u8,
    /// [`SOURCE`] and so on.
    inverted: u8,
    fragment: Option<bool>,
}

/// Bits of what is turned around.
const SOURCE: u8 = 1;
const DESTINATION: u8 = 2;
const PROTOCOL: u8 = 4;

/// Source and destination, each an address and a mask, and the interfaces.
#[derive(Debug)]
enum Ends {
    /// IPv4 and any interface.
    V4([[u32; 2]; 2]),
    /// Whatever takes more room, and which of them.
    Large(u32),
}

#[derive(Debug)]
struct Large {
    networks: Networks,
    interfaces: [Option<rule::Test<Interface>>; 2],
}

#[derive(Debug)]
enum Networks {
    V4([[u32; 2]; 2]),
    V6([[u128; 2]; 2]),
}

impl Ends {
    fn of(header: &Header, large: &mut Vec<Large>) -> Self {
        let both = [header.source.value, header.destination.value];
        let networks = match header.family {
            Family::V4 => Networks::V4(both.map(|network| {
                [network.address, network.mask].map(|one| address::bits(one) as u32)
            })),
            Family::V6 => {
                Networks::V6(both.map(|network| [network.address, network.mask].map(address::bits)))
            }
        };
        match (networks, [header.input.clone(), header.output.clone()]) {
            (Networks::V4(networks), [None, None]) => Self::V4(networks),
            (networks, interfaces) => Self::Large(push(large, Large { networks, interfaces })),
        }
    }
}

fn within_v4(networks: &[[u32; 2]; 2], view: &View<'_>) -> Option<[bool; 2]> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (view.source, view.destination) else {
        return None;
    };
    let [from, to] = networks;
    let within = |[network, mask]: &[u32; 2], bits: u32| bits & mask == *network;
    Some([within(from, source.to_bits()), within(to, destination.to_bits())])
}

fn within_v6(networks: &[[u128; 2]; 2], view: &View<'_>) -> Option<[bool; 2]> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (view.source, view.destination) else {
        return None;
    };
    let [from, to] = networks;
    let within = |[network, mask]: &[u128; 2], bits: u128| bits & mask == *network;
    Some([within(from, source.to_bits()), within(to, destination.to_bits())])
}

impl Large {
    fn interfaces_pass(&self, view: &View<'_>) -> bool {
        let [input, output] = &self.interfaces;
        input.as_ref().is_none_or(|input| input.passes(input.value.covers(view.input())))
            && output
                .as_ref()
                .is_none_or(|output| output.passes(output.value.covers(view.output())))
    }
}

impl Asks {
    fn of(header: &Header, large: &mut Vec<Large>) -> Self {
        let Header { source, destination, protocol, fragment, .. } = header;
        let bit = |is_inverted: bool, bit: u8| if is_inverted { bit } else { 0 };
        Self {
            ends: Ends::of(header, large),
            protocol: protocol.value,
            inverted: bit(source.inverted, SOURCE)
                | bit(destination.inverted, DESTINATION)
                | bit(protocol.inverted, PROTOCOL),
            fragment: fragment.map(|fragment| !fragment.inverted),
        }
    }

    /// Whether the packet's header is as it is wanted.
    fn passes(&self, large: &[Large], view: &View<'_>) -> Result<bool, Broken> {
        let (within, large) = match &self.ends {
            Ends::V4(networks) => (within_v4(networks, view), None),
            Ends::Large(number) => match large.get(*number as usize) {
                Some(large) => match &large.networks {
                    Networks::V4(networks) => (within_v4(networks, view), Some(large)),
                    Networks::V6(networks) => (within_v6(networks, view), Some(large)),
                },
                None => (None, None),
            },
        };
        // The other family.
        let Some([source, destination]) = within else { return Ok(false) };
        let passes = |equal: bool, bit: u8| equal != (self.inverted & bit != 0);
        if !passes(source, SOURCE) || !passes(destination, DESTINATION) {
            return Ok(false);
        }
        if large.is_some_and(|large| !large.interfaces_pass(view)) {
            return Ok(false);
        }
        if self.protocol != 0 {
            let of_packet = view.protocol().ok_or(Broken::Unmet)?;
            if !passes(self.protocol == of_packet, PROTOCOL) {
                return Ok(false);
            }
        }
        Ok(self.fragment.is_none_or(|wanted| wanted == view.is_later_fragment()))
    }
}

/// Adds one, and says which it is.
fn push<T>(all: &mut Vec<T>, one: T) -> u32 {
    all.push(one);
    small(all.len() - 1)
}

/// No ruleset has more of anything.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_small() {
        assert!(size_of::<Rule>() <= 64, "{}", size_of::<Rule>());
        assert!(size_of::<Chain>() <= 16, "{}", size_of::<Chain>());
        assert!(size_of::<Work>() <= 64, "{}", size_of::<Work>());
    }
}
