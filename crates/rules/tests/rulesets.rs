//! Whole rulesets, put together by a seed from all that the cases know to be taken: what the
//! installed iptables makes of them, and what is printed read again. And texts that are cut and
//! mixed: whatever they are, reading them ends with rules or with diagnostics.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]
#![allow(clippy::disallowed_methods, reason = "iptables reads and writes files")]

#[path = "judge/cases.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod cases;
#[path = "judge/iptables.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod iptables;

use std::path::Path;

use cases::{CaseFile, Random, seed};
use iptables::{Iptables, Kernel, Outcome};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::shell::script;
use stateward_rules::{ShowCounters, Source};
use stateward_wire::Family;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Those whose rules the running kernel takes wherever they stand.
fn case_files() -> Vec<CaseFile> {
    let all = CaseFile::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"));
    let free = |file: &CaseFile| file.kernel == Kernel::Running && file.before.is_empty();
    all.into_iter().filter(free).collect()
}

/// What is printed of a file, if it is taken.
fn printed(family: Family, text: &str, counters: ShowCounters) -> Option<String> {
    let source = Source::new("rules", text);
    let options =
        RestoreOptions { counters: counters == ShowCounters::Yes, ..RestoreOptions::default() };
    restore(&source, family, options).ok().map(|rules| rules.rules().save(counters))
}

/// Lines that are taken and can be read again: their table, and the rule behind the chain's name.
fn taken(files: &[CaseFile], family: Family) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| file.families.contains(&family)) {
        for case in file.cases(family) {
            // What iptables itself prints so that it cannot read it (names with blanks, empty
            // lists) is printed so here as well.
            let once = printed(family, &case.text(), ShowCounters::No);
            let again = once.as_deref().and_then(|text| printed(family, text, ShowCounters::No));
            let fits = once.is_some() && once == again;
            let rule = case.line.strip_prefix("-A ").and_then(|line| line.split_once(' '));
            // Quotes that stay open would swallow the lines that follow.
            if let (true, Some((_, rule))) = (fits, rule)
                && rule.matches('"').count() % 2 == 0
            {
                lines.push((file.table.clone(), rule.to_owned()));
            }
        }
    }
    lines
}

/// A table of user's chains, of which nothing leads to any, so that every rule is at home in all of
/// them.
fn ruleset(lines: &[(String, String)], random: &mut Random) -> String {
    let mut text = String::new();
    for table in ["raw", "mangle", "nat", "filter"] {
        let own: Vec<_> = lines.iter().filter(|(name, _)| name == table).collect();
        if own.is_empty() {
            continue;
        }
        let chains = ["a", "Z", "chain-3", "in_put", "0"];
        text += &format!("*{table}\n");
        for chain in chains {
            text += &format!(":{chain} - [0:0]\n");
        }
        text += ":OUTPUT DROP [7:8]\n";
        for _ in 0..random.below(120) + 1 {
            let (chain, (_, rule)) = (random.choose(&chains), *random.choose(&own));
            match random.below(12) {
                0 => text += &format!("[{}:{}] ", random.below(1000), random.below(1 << 40)),
                1 => text += &format!("-I {chain} {rule}\n"),
                _ => {}
            }
            text += &format!("-A {chain} {rule}\n");
        }
        text += "-A OUTPUT -j RETURN\nCOMMIT\n";
    }
    text
}

#[test]
fn rulesets_are_printed_as_iptables_prints_them_and_read_again() {
    let Some(mut judge) = Iptables::start() else { return };
    let files = case_files();
    files.iter().for_each(|file| file.set_up(&mut judge));
    let seed = seed();
    println!("seed {seed}");
    let mut compared = 0;
    for family in FAMILIES {
        let lines = taken(&files, family);
        let mut random = Random(seed);
        for _ in 0..30 {
            let text = ruleset(&lines, &mut random);
            let Some(ours) = printed(family, &text, ShowCounters::Yes) else { continue };
            assert_eq!(printed(family, &ours, ShowCounters::Yes), Some(ours.clone()), "{text}");
            let tables = ours.split_inclusive("COMMIT\n");
            judge.restore_with(family, "--counters", "-c", &text);
            for table in tables {
                let name = table.trim_start_matches('*').lines().next().unwrap();
                let theirs =
                    judge.restore_with(family, "--counters", &format!("-c -t {name}"), &text);
                assert_eq!(theirs, Outcome::Taken(table.to_owned()), "{text}");
                compared += table.lines().filter(|line| line.contains("-A ")).count();
            }
        }
    }
    println!("{compared} rules in rulesets compared");
    assert!(compared > 5_000, "{compared}");
}

/// `testkit/rulesets`: what programs that Debian does not have make of their settings.
#[test]
fn rulesets_as_programs_make_them_are_printed_back() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/rulesets");
    let mut judge = Iptables::start();
    for (family, name) in [(Family::V4, "openwrt.v4"), (Family::V6, "openwrt.v6")] {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        assert!(text.lines().filter(|line| line.starts_with("-A")).count() >= 50);
        let bare = |text: String| text.replace(" [0:0]", "");
        let ours = printed(family, &text, ShowCounters::No).map(bare);
        assert_eq!(ours, Some(bare(text.clone())), "{name}");
        let Some(judge) = &mut judge else { continue };
        for table in text.split_inclusive("COMMIT\n") {
            let table_name = table.trim_start_matches('*').lines().next().unwrap();
            let theirs = judge.restore(family, table_name, &text);
            assert_eq!(theirs, Outcome::Taken(table.to_owned()), "{name}");
        }
    }
}

#[test]
fn whatever_is_read_ends_with_rules_or_diagnostics() {
    let mut random = Random(seed());
    let files = case_files();
    for family in FAMILIES {
        let all: Vec<_> = files
            .iter()
            .filter(|file| file.families.contains(&family))
            .flat_map(|file| file.cases(family).into_iter().map(|case| case.line))
            .collect();
        for _ in 0..3_000 {
            let mut text = String::from("*filter\n:a -\n");
            for _ in 0..random.below(6) {
                let one = random.choose(all.as_slice());
                let other = random.choose(all.as_slice());
                text += &mixed(one, other, &mut random);
                text.push('\n');
            }
            text += "COMMIT\n";
            let cut = random.below(text.len() * 3);
            let text: String = text.chars().take(if cut == 0 { 20 } else { cut }).collect();
            let source = Source::new("rules", &text);
            let told = match restore(&source, family, RestoreOptions::default()) {
                Ok(rules) => stateward_rules::lint::lint(&source, &rules),
                Err(found) => {
                    assert!(!found.is_empty());
                    found
                }
            };
            let shown: String = told.iter().map(ToString::to_string).collect();
            assert!(told.is_empty() || shown.contains("rules:"), "{shown}");
            let _ = script(&Source::new("rules", &text.replace("-A", "iptables -A")));
        }
    }
}

/// The beginning of one line, the end of another, and perhaps something strange between them.
fn mixed(one: &str, other: &str, random: &mut Random) -> String {
    let part = |text: &str, random: &mut Random| random.below(text.chars().count() + 1);
    let (head, tail) = (part(one, random), part(other, random));
    let strange =
        ["", "", " ! ", "\"", "\\", "é", "-", "--", " -m ", "\u{0}", "$", "'", " = ", "\r"];
    let begin: String = one.chars().take(head).collect();
    let end: String = other.chars().skip(tail).collect();
    format!("{begin}{}{end}", random.choose(&strange))
}
