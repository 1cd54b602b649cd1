//! Chains and interfaces that rules name and that no packet of a replay can reach, with what would
//! make them reachable: mostly the machine has not been described.
//!
//! Only what follows from the machine is said, not what these packets happened not to reach: a
//! machine without addresses has no INPUT, one without routes sends nothing out by a name, and what
//! it has not cannot be named.

use stateward_engine::Engine;
use stateward_engine::route::Routing;
use stateward_rules::{Chain, ChainEnd, Hook, Interface, Policy, RuleSpec, Ruleset, Test};
use stateward_wire::Family;

use crate::explain::Files;
use crate::run::Replay;

/// Something that rules name and nothing reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// What, and where it is named.
    pub message: String,
    /// What would make it reachable.
    pub remedy: Remedy,
}

/// What would make something reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The machine's own addresses.
    Addresses,
    /// Its routes.
    Routes,
    /// Where packets come in.
    Entrance,
    /// The interface, in the machine's description.
    Interface,
    /// Forwarding.
    Forwarding,
}

/// Everything that the rules of a replay name in vain.
pub fn unreached(replay: &Replay, files: &Files) -> Vec<Unreached> {
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        if let Some(rules) = replay.engine().rules(family) {
            let rules = rules.counted();
            let search = Search { replay, file: files.of(family), rules: &rules };
            search.chains(&mut found);
            search.interfaces(&mut found);
        }
    }
    found
}

struct Search<'a> {
    replay: &'a Replay,
    file: &'a str,
    rules: &'a Ruleset,
}

impl Search<'_> {
    fn engine(&self) -> &Engine {
        self.replay.engine()
    }

    fn routing(&self) -> Routing {
        self.engine().network().routing()
    }

    fn all(&self) -> impl Iterator<Item = &Chain> {
        self.rules.tables.iter().flat_map(|table| &table.chains)
    }

    /// Whether rules do anything in a hook.
    fn uses(&self, hook: Hook) -> bool {
        let does = |chain: &Chain| match chain.end {
            ChainEnd::Policy(of, policy, _) => {
                of == hook && (!chain.rules.is_empty() || policy == Policy::Drop)
            }
            ChainEnd::Return => false,
        };
        self.all().any(does)
    }

    fn chains(&self, found: &mut Vec<Unreached>) {
        let file = self.file;
        match self.routing() {
            Routing::Off if !self.engine().network().has_addresses() => {
                // What this host sends may have been said to be so.
                let verdicts = &self.replay.summary().verdicts;
                // And what came may have been handed to a socket, or delivered by its mark.
                let came = [(Hook::Input, verdicts.input), (Hook::Output, verdicts.output)];
                let unused = came.into_iter().filter(|(_, count)| *count == 0);
                let used: Vec<_> = unused
                    .filter(|(hook, _)| self.uses(*hook))
                    .map(|(hook, _)| hook.name())
                    .collect();
                if !used.is_empty() {
                    let message = format!(
                        "{file}: no packet comes to {}: the machine has no address",
                        used.join(" and ")
                    );
                    found.push(Unreached { message, remedy: Remedy::Addresses });
                }
            }
            Routing::Host if self.uses(Hook::Forward) => {
                let message =
                    format!("{file}: no packet comes to FORWARD: the machine does not forward");
                found.push(Unreached { message, remedy: Remedy::Forwarding });
            }
            Routing::Off | Routing::Host | Routing::Forwarding => {}
        }
    }

    fn interfaces(&self, found: &mut Vec<Unreached>) {
        let names = self.replay.entrance().names();
        let known =
            |asked: &Interface| asked.covers("lo") || names.iter().any(|name| asked.covers(name));
        let mut told: Vec<String> = Vec::new();
        for rule in self.all().flat_map(|chain| &chain.rules) {
            let header = &rule.header;
            let ways = [("in", &header.input), ("out", &header.output)];
            for (way, asked) in ways {
                let Some(Test { value, inverted: false }) = asked else { continue };
                let nothing_leaves = way == "out" && self.routing() == Routing::Off;
                let name = format!("{way} {value}");
                if (known(value) && !nothing_leaves) || told.contains(&name) {
                    continue;
                }
                told.push(name);
                found.push(self.interface(rule, way, value, &names));
            }
        }
    }

    fn interface(
        &self,
        rule: &RuleSpec,
        way: &str,
        asked: &Interface,
        names: &[&str],
    ) -> Unreached {
        let (file, line) = (self.file, rule.position.line);
        let names = names.join(", ");
        let (message, remedy) = match (self.routing(), way) {
            (Routing::Off, "out") => {
                (format!("without routes nothing leaves by `{asked}`"), Remedy::Routes)
            }
            (Routing::Off, _) if names.is_empty() => {
                (format!("nothing comes in by `{asked}`"), Remedy::Entrance)
            }
            (Routing::Off, _) => (
                format!("nothing comes in by `{asked}`: packets come in by {names}"),
                Remedy::Entrance,
            ),
            (Routing::Host | Routing::Forwarding, _) => (
                format!("the machine has no interface `{asked}`: it has {names}"),
                Remedy::Interface,
            ),
        };
        Unreached { message: format!("{file}:{line}: {message}"), remedy }
    }
}
