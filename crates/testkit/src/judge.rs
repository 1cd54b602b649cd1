//! The judge: a dialogue through the running kernel and through [`Engine`], packet by packet equal.
//!
//! Both sides get the same packets in the same order, by the same interfaces, under the same
//! sysctls; the engine gets each at the instant at which the kernel saw it. Compared are state,
//! direction, where the packet's way ended, the class of the reason, events with exactly their
//! attributes, every byte that left, the rules met, in the end the table, the statistics and the
//! counters of every rule. What rightly differs
//! from run to run is brought to one form or left out where it is read ([`heard`], [`compare`]),
//! nowhere else.
//!
//! [`Engine`]: stateward_engine::Engine

mod campaign;
pub mod case;
mod compare;
mod coverage;
mod describe;
mod heard;
mod ours;
mod reasons;
mod rules;
mod shrink;
mod theirs;

use std::io;

pub use campaign::{Campaign, Finding, Until};
pub use compare::Difference;
pub use coverage::Coverage;
pub use shrink::Shrunk;

use heard::Heard;

use crate::dialogue::Dialogue;
use crate::kernel::Kernel;

/// Holds dialogues.
pub struct Judge {
    kernel: Kernel,
    coverage: Coverage,
    held: u64,
    /// Of the engine's hash, another one with each dialogue that is held once more.
    secret: u64,
}

/// How often a dialogue in which a secret or chance decides is held before its sides are said to
/// differ.
const CHANCES: usize = 4;

/// One in so many dialogues of a campaign ends with a look at the table's lines, which takes as
/// long as the rest.
const LINES_EVERY: u64 = 8;

impl Judge {
    /// A judge with a kernel's namespace to hold dialogues in.
    pub fn new() -> io::Result<Self> {
        Ok(Self { kernel: Kernel::new()?, coverage: Coverage::default(), held: 0, secret: 0 })
    }

    /// Holds a dialogue on both sides and tells where they differ.
    pub fn hold(&mut self, dialogue: &Dialogue) -> io::Result<Vec<Difference>> {
        self.differences(dialogue, true)
    }

    /// As [`Judge::hold`], one dialogue of many.
    fn hold_next(&mut self, dialogue: &Dialogue) -> io::Result<Vec<Difference>> {
        self.held += 1;
        self.differences(dialogue, self.held.is_multiple_of(LINES_EVERY))
    }

    /// In a full table a secret hash decides whether a new connection has a neighbour that gives
    /// way, and the machine when the collector comes to make room. Both are rare in a table as
    /// large and a dialogue as short, so what differs because of them does not differ again under
    /// other secrets.
    fn differences(&mut self, dialogue: &Dialogue, lines: bool) -> io::Result<Vec<Difference>> {
        let mut held = 0;
        loop {
            let ([kernel, engine], _) = self.hear(dialogue, lines)?;
            let mut found = compare::differences(&kernel, &engine);
            found.retain(|one| !is_misread(dialogue, one));
            held += 1;
            // Nor is it the same taken ports again that NAT meets before a free one.
            let is_met = has(dialogue, "*nat\n") && found.iter().all(|one| one.what == "found");
            let is_luck = dialogue.settings.is_full() || is_met;
            if found.is_empty() || !is_luck || held == CHANCES {
                return Ok(found);
            }
            self.secret += 1;
            self.kernel.renew();
        }
    }

    /// Holds a dialogue and tells all that both sides did, packet by packet, for people.
    pub fn tell(&mut self, dialogue: &Dialogue) -> io::Result<String> {
        let ([kernel, engine], sent) = self.hear(dialogue, true)?;
        let mut text = String::new();
        for ((step, theirs), ours) in sent.steps.iter().zip(&kernel.packets).zip(&engine.packets) {
            let line = describe::describe(&step.bytes);
            text += &format!("{line}\n  kernel {theirs:?}\n  engine {ours:?}\n");
        }
        for (name, heard) in [("kernel", &kernel), ("engine", &engine)] {
            text += &format!("{name} {:?}\n  table {:?}\n", heard.statistics, heard.table);
            heard.lines.iter().for_each(|line| text += &format!("  {line}\n"));
        }
        Ok(text)
    }

    /// What the dialogues held so far have touched.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// What the kernel and the engine do with a dialogue, and the dialogue as it was sent.
    fn hear(&mut self, dialogue: &Dialogue, lines: bool) -> io::Result<([Heard; 2], Dialogue)> {
        let mut scenario = theirs::scenario(dialogue);
        (scenario.look.proc, scenario.look.tool) = (lines, lines);
        let outcome = self.kernel.run(&scenario)?;
        let moments = theirs::moments(&outcome, &scenario);
        let kernel = theirs::heard(&outcome, &scenario);
        let sent = theirs::sent(dialogue, &outcome, &scenario);
        let mut engine = ours::heard(&sent, &moments, self.secret, &mut self.coverage);
        if !lines {
            engine.lines.clear();
        }
        let mut both = [kernel, engine];
        if has(dialogue, "--ctevents") {
            both.iter_mut().for_each(Heard::forget_numbers);
        }
        if has(dialogue, "--helper") && has(dialogue, "*nat\n") {
            both.iter_mut().for_each(Heard::forget_broken_errors);
        }
        // How often NAT has found a tuple taken depends on where it begins to look.
        if rules::draws_from_few(dialogue.settings.rules.iter().flatten()) {
            both.iter_mut().for_each(|heard| heard.statistics.retain(|name, _| *name != "found"));
        }
        Ok((both, sent))
    }

    /// Makes a dialogue on which the sides differ like this as short as it can be.
    pub fn shrink(&mut self, dialogue: &Dialogue, difference: &Difference) -> io::Result<Shrunk> {
        shrink::shrink(self, dialogue, difference)
    }
}

/// Whether this is an error of the host's that quotes a SIP message: the kernel's helper reads it as
/// if it were one, and behind NAT rewrites what is quoted (PARITY.md).
fn is_misread(dialogue: &Dialogue, one: &Difference) -> bool {
    /// "SIP/2.0".
    const QUOTED: &str = "5349502f322e30";
    let quotes = |left: &str| left.contains("by host") && left.contains(QUOTED);
    one.what == "what left"
        && has(dialogue, "--helper sip")
        && quotes(&one.kernel)
        && quotes(&one.engine)
}

/// Whether the rules say this.
fn has(dialogue: &Dialogue, words: &str) -> bool {
    dialogue.settings.rules.iter().flatten().any(|text| text.contains(words))
}
