//! Random rulesets: tables, policies, chains, and rules of everything that can be judged.
//!
//! A match or a target is drawn by a short function of its own: it sees where the rule stands (a
//! [`Place`]) and answers with its options, or with nothing where it cannot stand. To add one, write
//! that function and its line of the table, in [`conditions`] or [`targets`]. Values are few, so
//! that packets meet them often, and such that what they decide does not depend on the real time.
//!
//! Chains lead on but never back. Nothing here knows what rules do: the running kernel is asked.

mod conditions;
mod header;
mod helpers;
pub mod large;
mod nat;
mod targets;

use std::collections::BTreeSet;

use stateward_wire::Family;

use crate::dialogue::Random;

/// Every match and every target that is drawn, `-m limit` and `-j DROP`, once.
pub fn names() -> impl Iterator<Item = String> {
    let matches = conditions::ALL.iter().map(|(name, _)| format!("-m {name}"));
    let named = targets::ALL.iter().filter(|(name, _)| !name.is_empty());
    let names: BTreeSet<String> =
        matches.chain(named.map(|(name, _)| format!("-j {name}"))).collect();
    names.into_iter()
}

/// Where a rule stands, and what its header asks for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The ruleset's.
    pub family: Family,
    /// Its table.
    pub table: &'static str,
    /// Its chain, if that is built in. What only some hooks take cannot stand in others: any hook
    /// may lead to a user's chain.
    pub hook: Option<&'static str>,
    /// What `-p` names without `!`.
    pub protocol: Option<&'static str>,
    /// How many of the user's chains may lead here.
    depth: usize,
}

impl Place {
    /// Something for either family.
    fn either<T>(&self, v4: T, v6: T) -> T {
        match self.family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// Something that only one protocol has.
    fn only(&self, protocol: &str, text: impl FnOnce() -> String) -> Option<String> {
        (self.protocol == Some(protocol)).then(text)
    }
}

/// Draws the options of a match or a target; none where it cannot stand.
type Draw = fn(&mut Random, &Place) -> Option<String>;

/// A match or a target with its name.
type Entry = (&'static str, Draw);

/// One drawn of a table, by its name, that can stand there.
fn draw(random: &mut Random, place: &Place, table: &[Entry]) -> Option<String> {
    const ATTEMPTS: usize = 20;
    (0..ATTEMPTS).find_map(|_| {
        let (_, draw) = random.choose(table)?;
        draw(random, place)
    })
}

/// `! ` in three of ten cases.
fn not(random: &mut Random) -> &'static str {
    if random.chance(30) { "! " } else { "" }
}

/// The user's chains of every table, each of which may lead to those after it.
const CHAINS: [&str; 3] = ["one", "three", "two"];

/// The tables that are loaded, with their hooks. All of them but the last one always: a table that
/// was once there leaves its chains behind in the kernel. A nat table costs a fresh one.
const TABLES: [(&str, &[&str]); 5] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
];

/// A random ruleset of a family, as text for iptables-restore.
pub fn generate(random: &mut Random, family: Family) -> String {
    let has_nat = random.chance(20);
    let tables = TABLES.into_iter().filter(|(table, _)| *table != "nat" || has_nat);
    text(tables_of(random, family, tables))
}

/// A random ruleset whose nat table translates. What the other tables do to packets leaves less of
/// it, so that in two of three they are empty.
pub fn generate_nat(random: &mut Random, family: Family) -> String {
    let others = TABLES.into_iter().filter(|(table, _)| *table != "nat");
    let mut lines = match random.chance(33) {
        true => tables_of(random, family, others),
        false => others.flat_map(|(table, hooks)| empty(table, hooks)).collect(),
    };
    let place = Place { family, table: "nat", hook: None, protocol: None, depth: 0 };
    lines.extend(nat::table(random, place));
    text(lines)
}

/// A random ruleset that gives connections their helpers.
pub fn generate_helping(random: &mut Random, family: Family) -> String {
    helping(random, family, helpers::Translated::No)
}

/// A random ruleset that gives connections their helpers, and whose nat table translates.
pub fn generate_helping_nat(random: &mut Random, family: Family) -> String {
    helping(random, family, helpers::Translated::Yes)
}

/// In three of four the rest is empty, of the nat table in one of two.
fn helping(random: &mut Random, family: Family, translated: helpers::Translated) -> String {
    let mut lines = Vec::new();
    for (table, hooks) in TABLES {
        let place = Place { family, table, hook: None, protocol: None, depth: 0 };
        let others = match table {
            "nat" if translated == helpers::Translated::No => continue,
            "nat" if random.chance(50) => nat::table(random, place),
            "nat" => empty(table, hooks),
            _ if random.chance(25) => tables_of(random, family, [(table, hooks)].into_iter()),
            _ => empty(table, hooks),
        };
        let begin = others.iter().take_while(|line| line.starts_with(['*', ':'])).count();
        let (head, rest) = others.split_at(begin);
        lines.extend_from_slice(head);
        lines.extend(helpers::first(random, place, translated));
        lines.extend_from_slice(rest);
    }
    text(lines)
}

/// The lines of a table in which there is nothing.
fn empty(table: &str, hooks: &[&str]) -> Vec<String> {
    let hooks = hooks.iter().map(|hook| format!(":{hook} ACCEPT [0:0]"));
    [format!("*{table}")].into_iter().chain(hooks).chain(["COMMIT".to_owned()]).collect()
}

fn text(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The lines of tables, each with its hooks.
fn tables_of(
    random: &mut Random,
    family: Family,
    tables: impl Iterator<Item = (&'static str, &'static [&'static str])>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, hooks) in tables {
        lines.push(format!("*{table}"));
        for hook in hooks {
            let policy = if table != "nat" && random.chance(15) { "DROP" } else { "ACCEPT" };
            lines.push(format!(":{hook} {policy} [0:0]"));
        }
        lines.extend(CHAINS.map(|chain| format!(":{chain} - [0:0]")));
        let place = Place { family, table, hook: None, protocol: None, depth: 0 };
        for hook in hooks {
            let place = Place { hook: Some(hook), ..place };
            (0..random.below(5)).for_each(|_| lines.push(rule(random, hook, place)));
        }
        for (number, chain) in CHAINS.into_iter().enumerate() {
            let place = Place { depth: number + 1, ..place };
            (0..random.below(4)).for_each(|_| lines.push(rule(random, chain, place)));
        }
        lines.push("COMMIT".to_owned());
    }
    lines
}

fn rule(random: &mut Random, chain: &str, place: Place) -> String {
    let header::Header { protocol, text } = header::draw(random, &place);
    let place = Place { protocol, ..place };
    let mut words = vec![format!("-A {chain}"), text];
    if random.chance(30) {
        words.extend(draw(random, &place, &conditions::of_headers(&place)));
    }
    for _ in 0..random.below(3) {
        // A second match of one name is another match.
        words.extend(draw(random, &place, conditions::ALL));
    }
    let target = match random.chance(25) {
        true => targets::chain(random, CHAINS.get(place.depth..).unwrap_or_default()),
        false => draw(random, &place, targets::ALL),
    };
    words.extend(target);
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_rulesets() {
        let of = |seed| generate(&mut Random::new(seed), Family::V4);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn everything_of_the_tables_is_drawn() {
        let mut random = Random::new(1);
        let text: String = (0..400)
            .map(|round| {
                let family = if round % 2 == 0 { Family::V4 } else { Family::V6 };
                generate(&mut random, family)
            })
            .collect();
        for (name, _) in conditions::ALL {
            assert!(text.contains(&format!("-m {name} ")), "-m {name}");
        }
        for (name, _) in targets::ALL.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(text.contains(&format!("-j {name}")), "-j {name}");
        }
    }

    #[test]
    fn nat_tables_translate_in_every_way() {
        let mut random = Random::new(1);
        let [mut v4, mut v6] = [String::new(), String::new()];
        for _ in 0..200 {
            v4 += &generate_nat(&mut random, Family::V4);
            v6 += &generate_nat(&mut random, Family::V6);
        }
        for text in [v4, v6] {
            let options = ["--random-fully", "--random\n", "--persistent", "--to-ports", "/50"];
            for word in options.into_iter().chain(nat::TARGETS.iter().map(|(name, _)| *name)) {
                assert!(text.contains(word), "{word}");
            }
        }
    }
}
