//! Making a dialogue as short as it can be while one difference remains.
//!
//! Delta debugging (Zeller 2002): what comes after the difference goes first, then whole flows,
//! then ever smaller runs of packets, then the settings one by one. Every attempt is held before
//! the judge again, so their number is bounded, and so is the time: dialogues with pauses take
//! long.

use std::io;
use std::time::{Duration, Instant};

use super::Judge;
use super::compare::Difference;
use crate::dialogue::Dialogue;

/// Attempts at most.
const ATTEMPTS: usize = 400;
/// When the last attempt begins, at most.
const TIME: Duration = Duration::from_secs(60);

/// A dialogue made short, and how its sides still differ.
pub struct Shrunk {
    /// The dialogue.
    pub dialogue: Dialogue,
    /// The difference.
    pub difference: Difference,
}

struct Shrinker<'a> {
    judge: &'a mut Judge,
    best: Shrunk,
    left: usize,
    begun: Instant,
}

/// Shortens a dialogue on which the sides differ like this.
pub(super) fn shrink(
    judge: &mut Judge,
    dialogue: &Dialogue,
    difference: &Difference,
) -> io::Result<Shrunk> {
    let best = Shrunk { dialogue: dialogue.clone(), difference: difference.clone() };
    let mut shrinker = Shrinker { judge, best, left: ATTEMPTS, begun: Instant::now() };
    shrinker.cut_tail()?;
    shrinker.drop_flows()?;
    shrinker.drop_runs()?;
    shrinker.drop_rules()?;
    shrinker.drop_settings()?;
    Ok(shrinker.best)
}

impl Shrinker<'_> {
    /// Holds a shorter dialogue; keeps it if the same difference is there.
    fn attempt(&mut self, dialogue: Dialogue) -> io::Result<bool> {
        let left = self.left.checked_sub(1).filter(|_| self.begun.elapsed() < TIME);
        let Some(left) = left else { return Ok(false) };
        self.left = left;
        // Some settings are taken only beside others: a threshold below the default of another one.
        let found = match self.judge.hold(&dialogue) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(false),
            found => found?,
        };
        let kind = self.best.difference.kind();
        let Some(difference) = found.into_iter().find(|found| found.kind() == kind) else {
            return Ok(false);
        };
        self.best = Shrunk { dialogue, difference };
        Ok(true)
    }

    fn cut_tail(&mut self) -> io::Result<()> {
        let Some(last) = self.best.difference.step else { return Ok(()) };
        let mut dialogue = self.best.dialogue.clone();
        dialogue.steps.truncate(last + 1);
        self.attempt(dialogue).map(drop)
    }

    fn drop_flows(&mut self) -> io::Result<()> {
        let mut flows: Vec<usize> = self.best.dialogue.steps.iter().map(|step| step.flow).collect();
        flows.sort_unstable();
        flows.dedup();
        for flow in flows {
            let mut dialogue = self.best.dialogue.clone();
            dialogue.steps.retain(|step| step.flow != flow);
            self.attempt(dialogue)?;
        }
        Ok(())
    }

    fn drop_runs(&mut self) -> io::Result<()> {
        let mut length = self.best.dialogue.steps.len() / 2;
        while length > 0 {
            let mut dropped = false;
            let mut end = self.best.dialogue.steps.len();
            while end > 0 {
                let begin = end.saturating_sub(length);
                let mut dialogue = self.best.dialogue.clone();
                dialogue.steps.drain(begin..end.min(dialogue.steps.len()));
                dropped |= self.attempt(dialogue)?;
                end = begin;
            }
            if !dropped || length > 1 {
                length /= 2;
            }
        }
        Ok(())
    }

    /// Rules in halves, quarters …, of either family. Tables and chains stay as they are: what the
    /// kernel has once loaded goes on to be traced.
    fn drop_rules(&mut self) -> io::Result<()> {
        for family in 0..2 {
            let mut length = self.rules(family).len();
            while length > 0 {
                let mut end = self.rules(family).len();
                while end > 0 {
                    let begin = end.saturating_sub(length);
                    let dropped = self.rules(family).get(begin..end).map(<[_]>::to_vec);
                    let keep = |place: &usize| !dropped.iter().flatten().any(|drop| drop == place);
                    self.attempt_lines(family, |place, line| keep(&place).then_some(line))?;
                    end = begin;
                }
                length /= 2;
            }
            self.attempt_lines(family, |_, line| Some(line.replace(" DROP [", " ACCEPT [")))?;
        }
        Ok(())
    }

    /// The places of rules among the lines of a family.
    fn rules(&self, family: usize) -> Vec<usize> {
        let rules = self.best.dialogue.settings.rules.iter().flat_map(|rules| rules.get(family));
        let lines = rules.flat_map(|text| text.lines()).enumerate();
        lines.filter(|(_, line)| line.starts_with("-A")).map(|(place, _)| place).collect()
    }

    /// Attempts other lines for a family.
    fn attempt_lines(
        &mut self,
        family: usize,
        change: impl Fn(usize, String) -> Option<String>,
    ) -> io::Result<()> {
        let mut dialogue = self.best.dialogue.clone();
        let texts = dialogue.settings.rules.as_mut();
        let Some(text) = texts.and_then(|texts| texts.get_mut(family)) else { return Ok(()) };
        let lines = text.lines().map(str::to_owned).enumerate();
        let changed = lines.filter_map(|(place, line)| change(place, line));
        *text = changed.map(|line| line + "\n").collect();
        if dialogue != self.best.dialogue {
            self.attempt(dialogue)?;
        }
        Ok(())
    }

    fn drop_settings(&mut self) -> io::Result<()> {
        for place in (0..self.best.dialogue.settings.sysctls.len()).rev() {
            let mut dialogue = self.best.dialogue.clone();
            dialogue.settings.sysctls.remove(place);
            self.attempt(dialogue)?;
        }
        for place in 0..self.best.dialogue.steps.len() {
            let mut dialogue = self.best.dialogue.clone();
            let Some(step) = dialogue.steps.get_mut(place) else { break };
            if !std::mem::take(&mut step.changes).is_empty() {
                self.attempt(dialogue)?;
            }
        }
        let mut dialogue = self.best.dialogue.clone();
        dialogue.settings.policies.clear();
        if dialogue.settings.rules.take().is_some() {
            self.attempt(dialogue)?;
        }
        let mut dialogue = self.best.dialogue.clone();
        dialogue.settings.unrouted = false;
        dialogue.settings.host = false;
        dialogue.settings.rp_filter = 0;
        dialogue.settings.mtu = None;
        if dialogue.settings != self.best.dialogue.settings {
            self.attempt(dialogue)?;
        }
        Ok(())
    }
}
