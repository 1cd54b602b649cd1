//! One field of a chain: from a packet's value to the rules that ask for it.

use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::conditions::{Prefix, mask};
use super::sets::{Set, Sets};

/// A prefix holds the rules of the shorter ones, too, while they are no more than this.
const HELD: usize = 32;
/// No node.
const NOWHERE: u32 = u32::MAX;

/// The prefixes of a field as a tree: each knows the next shorter one that covers it and whose rules
/// it does not hold itself.
#[derive(Debug, Default)]
pub(super) struct Field {
    nodes: Vec<Node>,
    sets: Sets,
    /// The length of the longest prefixes.
    longest: u32,
    /// These, by their values.
    exact: HashMap<u128, Node, BuildHasherDefault<Mix>>,
    /// Where another one of the shorter prefixes becomes the longest, ascending.
    bounds: Vec<u128>,
    /// Which one; one more than `bounds`, the first for values below all of them.
    between: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    shorter: u32,
    set: Set,
}

/// Where a value leads: the longest prefix that covers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path(Option<Node>);

impl Field {
    pub(super) fn path(&self, value: u128) -> Path {
        if let Some(node) = self.exact.get(&(value & mask(self.longest))) {
            return Path(Some(*node));
        }
        let at = self.bounds.partition_point(|bound| *bound <= value);
        let node = self.between.get(at).copied().unwrap_or(NOWHERE);
        Path(self.nodes.get(node as usize).copied())
    }

    /// The next word from `place` on with rules of any prefix on the path.
    #[inline]
    pub(super) fn next_word(&self, path: &Path, place: u32) -> Option<(u32, u64)> {
        let mut found: Option<(u32, u64)> = None;
        let mut at = path.0;
        while let Some(node) = at {
            if let Some((next, bits)) = self.sets.next_word(&node.set, place) {
                found = match found {
                    Some((best, _)) if best < next => found,
                    Some((best, also)) if best == next => Some((best, also | bits)),
                    _ => Some((next, bits)),
                };
            }
            at = self.nodes.get(node.shorter as usize).copied();
        }
        found
    }
}

/// A field's prefixes with their rules, before the tree is made.
#[derive(Debug, Default)]
pub(super) struct Builder(Vec<(Prefix, u32)>);

impl Builder {
    pub(super) fn add(&mut self, prefix: Prefix, rule: u32) {
        self.0.push((prefix, rule));
    }

    pub(super) fn build(self) -> Field {
        let Self(mut asked) = self;
        asked.sort_unstable();
        asked.dedup();
        let longest = asked.iter().map(|(prefix, _)| prefix.length).max().unwrap_or_default();
        let mut field = Field { longest, ..Field::default() };
        // What covers the next prefix, the longest last: a prefix comes before those it covers.
        let mut open: Vec<Open> = Vec::new();
        for asked in asked.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((prefix, _)) = asked.first().copied() else { continue };
            close(&mut open, &mut field, |last| !last.covers(prefix.value));
            let node = u32::try_from(field.nodes.len()).unwrap_or(NOWHERE);
            let mut rules: Vec<u32> = asked.iter().map(|(_, rule)| *rule).collect();
            let shorter = match open.last() {
                None => NOWHERE,
                Some(outer) if outer.rules.len() + rules.len() > HELD => outer.node,
                Some(outer) => {
                    rules.extend(&outer.rules);
                    rules.sort_unstable();
                    rules.dedup();
                    outer.shorter
                }
            };
            let set = field.sets.add(&rules);
            if prefix.length == longest {
                field.exact.insert(prefix.value, Node { shorter, set });
            } else {
                field.nodes.push(Node { shorter, set });
                field.begin(prefix.value, node);
                open.push(Open { prefix, node, shorter, rules });
            }
        }
        close(&mut open, &mut field, |_| true);
        field
    }
}

/// A prefix that covers what comes next, and the rules that its node holds.
struct Open {
    prefix: Prefix,
    node: u32,
    shorter: u32,
    rules: Vec<u32>,
}

/// Closes the prefixes that end, from the longest on.
fn close(open: &mut Vec<Open>, field: &mut Field, ends: impl Fn(Prefix) -> bool) {
    while let Some(closed) = open.pop_if(|open| ends(open.prefix)) {
        let outer = open.last().map_or(NOWHERE, |outer| outer.node);
        if let Some(behind) = closed.prefix.last().checked_add(1) {
            field.begin(behind, outer);
        }
    }
}

impl Field {
    /// From `value` on, `node` is the longest of the shorter prefixes.
    fn begin(&mut self, value: u128, node: u32) {
        if self.between.is_empty() {
            self.between.push(NOWHERE);
        }
        if self.bounds.last() == Some(&value) {
            self.bounds.pop();
            self.between.pop();
        }
        if self.between.last() != Some(&node) {
            self.bounds.push(value);
            self.between.push(node);
        }
    }
}

/// A hash for values that rules name, not packets: who sends packets cannot choose what is in the
/// table, and a look for what is not there ends at the first free place.
#[derive(Debug, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let value = word.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            self.write_u64(value);
        }
    }

    fn write_u64(&mut self, value: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ value) * ODD;
        // Both halves are folded into one.
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64((value >> 64) as u64);
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
