//! Which rules of a long chain a packet may meet at all, without asking each of them.
//!
//! A [`Classifier`] never decides: it names candidates, in the rules' order, and whoever asks tests
//! each one as the linear walk would. It may name a rule that the packet does not meet; it must
//! never pass over one that it does, nor one that would end a broken packet. So it looks only at
//! what a rule tests before anything that remembers, stops or is not evaluated
//! (`conditions.rs`), and only at packets whose headers are whole (`key.rs`); others are walked
//! linearly.
//!
//! # How
//!
//! Six fields can be asked for: source, destination, source port, destination port (each with the
//! protocol before it), and the two interfaces. Whatever a rule asks of one of them is a handful of
//! prefixes: a network is one, a range of ports up to thirty, `eth+` is a prefix of the name's
//! bytes. For each field ([`field::Field`]) a packet's value leads to the longest prefix that
//! covers it and from there to the shorter ones; each of them holds the set of its rules, as words
//! of 64 bits with their places (`sets.rs`).
//!
//! Rules that ask for the same fields form a group, and a group's rules lie together in the sets'
//! numbering. Within a group every rule asks for every field, so that a packet whose source no rule
//! names is through after one look, and the other groups' rules cost nothing. Where several fields
//! have rules, their sets are intersected word by word. Groups are asked only when their next rule
//! could be the chain's next: a rule at the top that accepts what is established spares the rest.
//!
//! Memory is linear in the rules (times the prefixes of their ranges); what a packet costs grows
//! with the number of groups, which is bounded, and with the rules that its own values select.

mod conditions;
mod field;
mod key;
mod sets;
#[cfg(test)]
mod tests;

use crate::rule::RuleSpec;
use conditions::{Conditions, FIELDS, Prefix};
pub(crate) use field::Mix;
use field::{Builder, Field, Path};
pub(crate) use key::Key;
use sets::WORD;

/// Chains shorter than this are walked.
pub(crate) const SHORTEST: usize = 12;
/// Fewer rules than this of one shape are not worth a group.
const SMALLEST_GROUP: usize = 4;
/// Groups of the most frequent shapes. What is rarer joins a group that looks at less of it.
const SHAPES: usize = 10;
/// One more group for each field alone, and one for rules that ask for none.
const GROUPS: usize = SHAPES + FIELDS + 1;
/// No rule.
const NONE: u32 = u32::MAX;

/// A long chain's rules by what they ask for. See the module's essay.
#[derive(Debug)]
pub(crate) struct Classifier {
    fields: [Field; FIELDS],
    /// In the order of their first rules.
    groups: Vec<Group>,
    /// The rule that each bit stands for, [`NONE`] between groups.
    rules: Vec<u32>,
}

/// Rules that ask for the same fields.
#[derive(Debug)]
struct Group {
    /// The fields, that first which selects the fewest rules.
    order: Vec<usize>,
    /// The group's words in the sets.
    words: core::ops::Range<u32>,
    /// How many rules it has.
    len: usize,
    /// The first of them.
    first: u32,
}

impl Classifier {
    /// A classifier for a chain's rules; `None` if it is as well walked.
    pub(crate) fn new(rules: &[RuleSpec]) -> Option<Self> {
        if rules.len() < SHORTEST {
            return None;
        }
        let conditions: Vec<_> = rules.iter().map(Conditions::of).collect();
        let groups = grouped(&conditions);
        if groups.iter().all(|(shape, _)| *shape == 0) {
            return None;
        }
        let fields = Default::default();
        let mut made = Self { fields, groups: Vec::new(), rules: Vec::new() };
        let mut builders: [Builder; FIELDS] = Default::default();
        for (shape, members) in groups {
            made.add_group(shape, &members, &conditions, &mut builders)?;
        }
        made.fields = builders.map(Builder::build);
        Some(made)
    }

    fn add_group(
        &mut self,
        shape: u8,
        members: &[u32],
        conditions: &[Conditions],
        builders: &mut [Builder; FIELDS],
    ) -> Option<()> {
        let start = word_of(self.rules.len());
        for (bit, rule) in (self.rules.len()..).zip(members) {
            let asked = &conditions.get(*rule as usize)?.asked;
            for (field, builder) in builders.iter_mut().enumerate() {
                if shape & 1 << field != 0 {
                    let bit = u32::try_from(bit).ok()?;
                    asked.of(field).for_each(|prefix: Prefix| builder.add(prefix, bit));
                }
            }
        }
        let first = members.first().copied()?;
        self.rules.extend(members);
        self.rules.resize(self.rules.len().next_multiple_of(WORD), NONE);
        let mut order: Vec<_> = (0..FIELDS).filter(|field| shape & 1 << field != 0).collect();
        let selected = |field: &usize| -> u64 {
            let asked = members.iter().filter_map(|rule| conditions.get(*rule as usize));
            asked.map(|conditions| conditions.asked.likelihood(*field)).sum()
        };
        order.sort_by_cached_key(selected);
        let words = start..word_of(self.rules.len());
        self.groups.push(Group { order, words, len: members.len(), first });
        Some(())
    }

    /// The rules from number `from` on that a packet with `key` may meet.
    pub(crate) fn candidates<'a>(&'a self, key: &'a Key<'a>, from: usize) -> Candidates<'a> {
        Candidates {
            classifier: self,
            key,
            from: u32::try_from(from).unwrap_or(NONE),
            asked: 0,
            next: [NONE; GROUPS],
            passed: 0,
            paths: [const { None }; FIELDS],
        }
    }
}

/// The rules of each group with the fields that it looks at, in the order of their first rules.
fn grouped(conditions: &[Conditions]) -> Vec<(u8, Vec<u32>)> {
    let mut count = [0usize; 1 << FIELDS];
    for conditions in conditions {
        count.get_mut(usize::from(conditions.shape())).into_iter().for_each(|count| *count += 1);
    }
    let mut frequent: Vec<_> = (0u8..).zip(count).skip(1).collect();
    frequent.retain(|(_, count)| *count >= SMALLEST_GROUP);
    frequent.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    frequent.truncate(SHAPES);
    let mut groups: Vec<(u8, Vec<u32>)> = Vec::with_capacity(GROUPS);
    for (number, conditions) in (0u32..).zip(conditions) {
        let shape = conditions.shape();
        let worth =
            frequent.iter().map(|(worth, _)| *worth).filter(|worth| worth & shape == *worth);
        // As much of it as a group of others looks at, or else the field that comes first.
        let widest = worth.max_by_key(|worth| worth.count_ones());
        let shape = widest.unwrap_or(shape & shape.wrapping_neg());
        match groups.iter_mut().find(|(of, _)| *of == shape) {
            Some((_, members)) => members.push(number),
            None => groups.push((shape, vec![number])),
        }
    }
    groups
}

fn word_of(bit: usize) -> u32 {
    u32::try_from(bit / WORD).unwrap_or(u32::MAX)
}

/// The numbers of the rules that a packet may meet, in order.
pub(crate) struct Candidates<'a> {
    classifier: &'a Classifier,
    key: &'a Key<'a>,
    from: u32,
    /// How many of the groups have been asked. Those behind them have no rule before `first`.
    asked: usize,
    /// The next candidate of each group that has been asked.
    next: [u32; GROUPS],
    /// Groups whose candidate has been named, a bit each: they have none before the one behind it.
    passed: u32,
    /// Where the packet's values lead, of the fields that have been asked.
    paths: [Option<Path>; FIELDS],
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let found = self.next.get(..self.asked)?.iter().enumerate();
            let (group, next) = match found.min_by_key(|(_, next)| **next) {
                Some((group, next)) => (group, *next),
                None => (0, NONE),
            };
            let unasked = self.classifier.groups.get(self.asked);
            if unasked.is_some_and(|unasked| unasked.first < next) {
                let found = self.search(self.asked, self.from).unwrap_or(NONE);
                *self.next.get_mut(self.asked)? = found;
                self.asked += 1;
                continue;
            }
            if next == NONE {
                return None;
            }
            if self.passed & 1 << group == 0 {
                self.passed |= 1 << group;
                *self.next.get_mut(group)? = next + 1;
                return Some(next as usize);
            }
            *self.next.get_mut(group)? = self.search(group, next).unwrap_or(NONE);
            self.passed &= !(1 << group);
        }
    }
}

impl Candidates<'_> {
    /// The first candidate of a group from rule `from` on.
    fn search(&mut self, group: usize, from: u32) -> Option<u32> {
        let classifier = self.classifier;
        let Group { order, words, len, .. } = classifier.groups.get(group)?;
        let start = words.start as usize * WORD;
        let members = classifier.rules.get(start..start + len)?;
        // A walk begins with the first, and members lie far apart.
        let skipped = match members.first().is_none_or(|first| *first >= from) {
            true => 0,
            false => members.partition_point(|rule| *rule < from),
        };
        if order.is_empty() {
            return members.get(skipped).copied();
        }
        let first = words.start + word_of(skipped);
        let mut mask = u64::MAX << (skipped % WORD);
        let mut word = first;
        'words: while word < words.end {
            let mut bits = if word == first { mask } else { u64::MAX };
            for field in order {
                let (at, found) = self.rules_of(*field, word)?;
                if at > word {
                    word = at;
                    continue 'words;
                }
                bits &= found;
            }
            if bits != 0 {
                let bit = word as usize * WORD + bits.trailing_zeros() as usize;
                return classifier.rules.get(bit).copied();
            }
            mask = u64::MAX;
            word += 1;
        }
        None
    }

    /// The next word from `word` on in which rules ask for the packet's value of `field`, and
    /// which.
    fn rules_of(&mut self, field: usize, word: u32) -> Option<(u32, u64)> {
        let of = self.classifier.fields.get(field)?;
        let path = self.paths.get_mut(field)?;
        let path = path.get_or_insert_with(|| of.path(self.key.value(field)));
        of.next_word(path, word)
    }
}
