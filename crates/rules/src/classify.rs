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
use field::{Builder, Field, Path};
pub(crate) use key::Key;
use sets::WORD;

/// Chains shorter than this are walked.
const SHORTEST: usize = 12;
/// Fewer rules than this of one shape are asked always: looking for them costs as much.
const SMALLEST_GROUP: usize = 4;
/// No more groups than this; what is rarer is asked always.
const GROUPS: usize = 16;
/// No rule.
const NONE: u32 = u32::MAX;

/// A long chain's rules by what they ask for. See the module's essay.
#[derive(Debug)]
pub(crate) struct Classifier {
    fields: [Field; FIELDS],
    groups: Vec<Group>,
    /// The rule that each bit stands for, [`NONE`] between groups.
    rules: Vec<u32>,
    /// The first rule of each group.
    first: [u32; GROUPS],
}

/// Rules that ask for the same fields.
#[derive(Debug)]
struct Group {
    /// The fields, that with the most values first.
    order: Vec<usize>,
    /// The group's words in the sets.
    words: core::ops::Range<u32>,
    /// How many rules it has.
    len: usize,
}

impl Classifier {
    /// A classifier for a chain's rules; `None` if it is as well walked.
    pub(crate) fn new(rules: &[RuleSpec]) -> Option<Self> {
        if rules.len() < SHORTEST {
            return None;
        }
        let conditions: Vec<_> = rules.iter().map(Conditions::of).collect();
        let shapes = shapes(&conditions);
        if shapes.is_empty() {
            return None;
        }
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); shapes.len() + 1];
        for (number, conditions) in (0u32..).zip(&conditions) {
            let shape = shapes.iter().position(|shape| *shape == conditions.shape());
            members.get_mut(shape.map_or(0, |shape| shape + 1))?.push(number);
        }
        let always = core::iter::once(0);
        let mut made = Self {
            fields: Default::default(),
            groups: Vec::new(),
            rules: Vec::new(),
            first: [NONE; GROUPS],
        };
        let mut builders: [Builder; FIELDS] = Default::default();
        for (shape, members) in always.chain(shapes).zip(members) {
            made.add_group(shape, &members, &conditions, &mut builders)?;
        }
        made.fields = builders.map(Builder::build);
        for group in &mut made.groups {
            let values = |field: &usize| made.fields.get(*field).map_or(0, Field::values);
            group.order.sort_by_key(|field| core::cmp::Reverse(values(field)));
        }
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
        *self.first.get_mut(self.groups.len())? = members.first().copied().unwrap_or(NONE);
        self.rules.extend(members);
        self.rules.resize(self.rules.len().next_multiple_of(WORD), NONE);
        let order = (0..FIELDS).filter(|field| shape & 1 << field != 0).collect();
        let words = start..word_of(self.rules.len());
        self.groups.push(Group { order, words, len: members.len() });
        Some(())
    }

    /// The rules from number `from` on that a packet with `key` may meet.
    pub(crate) fn candidates<'a>(&'a self, key: &'a Key<'a>, from: usize) -> Candidates<'a> {
        let from = u32::try_from(from).unwrap_or(NONE);
        Candidates {
            classifier: self,
            key,
            next: self.first.map(|first| if first == NONE { NONE } else { first.max(from) }),
            found: 0,
            paths: [const { None }; FIELDS],
        }
    }
}

/// The shapes that are worth a group, the most frequent first.
fn shapes(conditions: &[Conditions]) -> Vec<u8> {
    let mut count = [0usize; 1 << FIELDS];
    for conditions in conditions {
        count.get_mut(usize::from(conditions.shape())).into_iter().for_each(|count| *count += 1);
    }
    let shapes = (0u8..).zip(count).skip(1);
    let mut shapes: Vec<_> = shapes.filter(|(_, count)| *count >= SMALLEST_GROUP).collect();
    shapes.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    shapes.truncate(GROUPS - 1);
    shapes.into_iter().map(|(shape, _)| shape).collect()
}

fn word_of(bit: usize) -> u32 {
    u32::try_from(bit / WORD).unwrap_or(u32::MAX)
}

/// The numbers of the rules that a packet may meet, in order.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    classifier: &'a Classifier,
    key: &'a Key<'a>,
    /// No rule of the group below this is left.
    next: [u32; GROUPS],
    /// For which groups `next` is a candidate, not only a bound.
    found: u32,
    /// Where the packet's values lead, of the fields that have been asked.
    paths: [Option<Path>; FIELDS],
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let groups = self.next.get(..self.classifier.groups.len())?;
            let (group, &next) = groups.iter().enumerate().min_by_key(|(_, next)| **next)?;
            if next == NONE {
                return None;
            }
            if self.found & 1 << group != 0 {
                self.found &= !(1 << group);
                *self.next.get_mut(group)? = next + 1;
                return Some(next as usize);
            }
            *self.next.get_mut(group)? = self.search(group, next).unwrap_or(NONE);
            self.found |= 1 << group;
        }
    }
}

impl Candidates<'_> {
    /// The first candidate of a group from rule `from` on.
    fn search(&mut self, group: usize, from: u32) -> Option<u32> {
        let classifier = self.classifier;
        let Group { order, words, len } = classifier.groups.get(group)?;
        let start = words.start as usize * WORD;
        let members = classifier.rules.get(start..start + len)?;
        let skipped = members.partition_point(|rule| *rule < from);
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
        of.next_word(*path, word)
    }
}
