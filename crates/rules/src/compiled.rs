//! Rules laid out to be run: what is read of a rule that does not match lies close together.
//!
//! A ruleset of a hundred thousand rules does not stay in the processor's caches, and what a packet
//! costs is how much memory it touches. A rule here is one line of the cache, a chain's rules lie one
//! behind the other, and so do the tests of their matches. Everything else (names, texts, places) stays in
//! the [`Ruleset`](crate::Ruleset) that was compiled, which has the same chains and rules in the
//! same order.

use core::net::IpAddr;

use stateward_wire::Family;

use crate::address;
use crate::classify::Classifier;
use crate::context::View;
use crate::evaluate::{Acting, Matching};
use crate::matches::Match;
use crate::memory::Own;
use crate::rule::{self, Counters, Header, Interface, RuleSpec, Target, Verdict};
use crate::ruleset::{self, ChainEnd, Hook, Table};

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
    pub(crate) rules: Vec<Rule>,
    pub(crate) tests: Vec<Test>,
    pub(crate) targets: Vec<Box<dyn Acting>>,
    /// Where jumps came from; never deeper than there are chains, into none of which a valid
    /// ruleset leads twice.
    pub(crate) callers: Vec<Place>,
}

/// A place in a table: a chain, and the next rule of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) chain: usize,
    pub(crate) rule: usize,
}

/// A chain: its end, and where its rules are.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) end: ChainEnd,
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// Most chains are short.
    pub(crate) index: Option<Box<Classifier>>,
}

/// A rule: what it asks of the header, where its tests are, what it does, what it has counted.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Rule {
    asks: Asks,
    pub(crate) goal: Goal,
    first_test: u32,
    tests: u16,
    /// A verdict without any condition, which TRACE takes for a chain's end.
    pub(crate) is_tail: bool,
    pub(crate) counters: Counters,
}

/// A match of a rule.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) work: Box<dyn Matching>,
    pub(crate) own: Own,
}

/// A target whose chains are found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    Continue,
    Verdict(Verdict),
    Jump(u32),
    Goto(u32),
    /// Which of the table's targets.
    Extension(u32),
}

impl Program {
    pub(crate) fn new(table: &Table, search: Search) -> Self {
        let built_in = |hook| {
            let is_its = |chain: &ruleset::Chain| matches!(chain.end, ChainEnd::Policy(of, ..) if of == hook);
            table.chains.iter().position(is_its)
        };
        let mut program = Self {
            entries: Hook::ALL.map(built_in),
            chains: Vec::with_capacity(table.chains.len()),
            rules: Vec::with_capacity(table.chains.iter().map(|chain| chain.rules.len()).sum()),
            tests: Vec::new(),
            targets: Vec::new(),
            callers: Vec::with_capacity(table.chains.len()),
        };
        for chain in &table.chains {
            let first = program.rules.len();
            chain.rules.iter().for_each(|rule| program.add(rule, table));
            let index = match search {
                Search::Linear => None,
                Search::Indexed => Classifier::new(&chain.rules).map(Box::new),
            };
            program.chains.push(Chain { end: chain.end, first, len: chain.rules.len(), index });
        }
        program
    }

    fn add(&mut self, rule: &RuleSpec, table: &Table) {
        let chain = |name: &str| table.index(name).map(small);
        let goal = match &rule.target {
            Target::None => Goal::Continue,
            Target::Verdict(verdict) => Goal::Verdict(*verdict),
            // A valid ruleset leads to chains that are there.
            Target::Jump(name) => chain(name).map_or(Goal::Continue, Goal::Jump),
            Target::Goto(name) => chain(name).map_or(Goal::Continue, Goal::Goto),
            Target::Extension(extension) => {
                self.targets.push(extension.work());
                Goal::Extension(small(self.targets.len() - 1))
            }
        };
        let first_test = small(self.tests.len());
        let tests = tested(&rule.matches);
        self.tests
            .extend(tests.map(|one| Test { work: one.work(), own: Own::of(one, rule.position) }));
        // A line of 2¹⁶ matches is longer than any that is read.
        let tests = u16::try_from(self.tests.len() - first_test as usize).unwrap_or(u16::MAX);
        let is_tail = matches!(goal, Goal::Verdict(_))
            && rule.matches.is_empty()
            && rule.header == Header::any(rule.header.family);
        let (asks, counters) = (Asks::of(&rule.header), rule.counters);
        self.rules.push(Rule { asks, goal, first_test, tests, is_tail, counters });
    }

    /// The chain that a hook begins with.
    pub(crate) fn entry(&self, hook: Hook) -> Option<usize> {
        self.entries.get(hook as usize).copied().flatten()
    }

    /// Writes what has been counted into the table that was compiled.
    pub(crate) fn count_into(&self, table: &mut Table) {
        for (counted, chain) in self.chains.iter().zip(&mut table.chains) {
            chain.end = counted.end;
            let counted = self.rules.iter().skip(counted.first);
            for (counted, rule) in counted.zip(&mut chain.rules) {
                rule.counters = counted.counters;
            }
        }
    }
}

/// The matches that are tested: a comment asks for nothing.
pub(crate) fn tested(matches: &[Match]) -> impl Iterator<Item = &Match> {
    matches.iter().filter(|one| !matches!(one, Match::Comment(_)))
}

impl Chain {
    pub(crate) fn rules(&self) -> core::ops::Range<usize> {
        self.first..self.first + self.len
    }
}

impl Rule {
    /// Whether the packet's header is as the rule wants it.
    #[inline]
    pub(crate) fn header_passes(&self, view: &View<'_>) -> Result<bool, Broken> {
        self.asks.passes(view)
    }

    pub(crate) fn tests(&self) -> core::ops::Range<usize> {
        let first = self.first_test as usize;
        first..first + self.tests as usize
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
pub(crate) struct Asks {
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
    /// Whatever takes more room.
    Large(Box<Large>),
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
    fn of(header: &Header) -> Self {
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
            (networks, interfaces) => Self::Large(Box::new(Large { networks, interfaces })),
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
    pub(crate) fn of(header: &Header) -> Self {
        let Header { source, destination, protocol, fragment, .. } = header;
        let bit = |is_inverted: bool, bit: u8| if is_inverted { bit } else { 0 };
        Self {
            ends: Ends::of(header),
            protocol: protocol.value,
            inverted: bit(source.inverted, SOURCE)
                | bit(destination.inverted, DESTINATION)
                | bit(protocol.inverted, PROTOCOL),
            fragment: fragment.map(|fragment| !fragment.inverted),
        }
    }

    /// Whether the packet's header is as it is wanted.
    pub(crate) fn passes(&self, view: &View<'_>) -> Result<bool, Broken> {
        let (within, large) = match &self.ends {
            Ends::V4(networks) => (within_v4(networks, view), None),
            Ends::Large(large) => match &large.networks {
                Networks::V4(networks) => (within_v4(networks, view), Some(large)),
                Networks::V6(networks) => (within_v6(networks, view), Some(large)),
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
        assert!(size_of::<Test>() <= 40, "{}", size_of::<Test>());
    }
}
