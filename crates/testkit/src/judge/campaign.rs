//! Many dialogues, one seed after the other, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::coverage::Coverage;
use super::{Judge, Shrunk, case};
use crate::dialogue::{Dialogue, Plan};

/// Dialogues held and differences found.
pub struct Campaign {
    judge: Judge,
    plan: Plan,
    first: u64,
    next: u64,
    /// Differences, one of each kind, shortened.
    found: BTreeMap<String, Finding>,
}

/// One kind of difference.
pub struct Finding {
    /// The seeds of the dialogues that had it before any other difference.
    pub seeds: Vec<u64>,
    /// The first of them, shortened.
    pub shrunk: Shrunk,
}

impl Finding {
    /// A name for its case.
    pub fn name(&self) -> String {
        let seed = self.seeds.first().copied().unwrap_or_default();
        format!("{}-{seed}", self.shrunk.difference.what.replace(' ', "_"))
    }

    /// The case to keep.
    pub fn case(&self) -> String {
        case::write(&self.shrunk.dialogue, &self.shrunk.difference.to_string())
    }
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After this many packets.
    Packets(u64),
}

impl Campaign {
    /// Dialogues of a plan, from a seed on.
    pub fn new(plan: Plan, seed: u64) -> io::Result<Self> {
        let judge = Judge::new()?;
        Ok(Self { judge, plan, first: seed, next: seed, found: BTreeMap::new() })
    }

    /// Holds dialogues; `progress` is called after each.
    pub fn run(&mut self, until: Until, mut progress: impl FnMut(&Self)) -> io::Result<()> {
        let begun = Instant::now();
        while !match until {
            Until::Time(time) => begun.elapsed() >= time,
            Until::Packets(packets) => self.coverage().packets() >= packets,
        } {
            self.hold_next()?;
            progress(self);
        }
        Ok(())
    }

    fn hold_next(&mut self) -> io::Result<()> {
        let seed = self.next;
        self.next += 1;
        let dialogue = Dialogue::generate(seed, &self.plan);
        let Some(difference) = self.judge.hold_next(&dialogue)?.into_iter().next() else {
            return Ok(());
        };
        let kind = difference.kind();
        match self.found.get_mut(&kind) {
            Some(finding) => finding.seeds.push(seed),
            None => {
                let shrunk = self.judge.shrink(&dialogue, &difference)?;
                self.found.insert(kind, Finding { seeds: vec![seed], shrunk });
            }
        }
        Ok(())
    }

    /// What was touched.
    pub fn coverage(&self) -> &Coverage {
        &self.judge.coverage
    }

    /// What differed: kind and first case.
    pub fn found(&self) -> impl Iterator<Item = (&str, &Finding)> {
        self.found.iter().map(|(kind, finding)| (kind.as_str(), finding))
    }

    /// Dialogues held.
    pub fn held(&self) -> u64 {
        self.next - self.first
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = self.coverage().packets();
        write!(f, "{} dialogues from seed {}, {packets} packets", self.held(), self.first)?;
        match self.found.values().map(|finding| finding.seeds.len()).sum::<usize>() {
            0 => write!(f, ", no difference"),
            count => write!(f, ", {count} differ in {} ways", self.found.len()),
        }
    }
}
