//! Arbitrary text as a file of rules and as a script: it ends in rules or in diagnostics, and
//! neither asks for more than the text holds.

use stateward_conntrack::Instant;
use stateward_rules::lint::lint;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::shell::script;
use stateward_rules::{Diagnostic, Ruleset, Sets, ShowCounters, Source, TableName};
use stateward_wire::Family;

/// The first byte chooses the family and iptables-restore's options; the rest is the text.
pub fn rules(bytes: &[u8]) {
    let (choice, text) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let text = String::from_utf8_lossy(text);
    let source = Source::new("fuzz", &text);
    let family = if choice & 1 == 0 { Family::V4 } else { Family::V6 };
    let options = RestoreOptions {
        noflush: choice & 2 != 0,
        counters: choice & 4 != 0,
        table: (choice & 8 != 0).then_some(TableName::Filter),
        before: None,
    };
    if let Ok(sets) = Sets::parse(&source) {
        // What is printed of sets is read again, and printed the same.
        let printed = sets.saved(Instant::default()).to_string();
        let again = Sets::parse(&Source::new("printed", &printed)).expect("what was printed");
        assert_eq!(again.saved(Instant::default()).to_string(), printed);
    }
    match restore(&source, family, options) {
        Ok(rules) => {
            let text_length = text.len();
            let ruleset = rules.rules();
            printed(ruleset, text_length);
            told(&lint(&source, &rules), &text);
            // What is run is what is valid, and validity does not depend on how it came about.
            assert!(ruleset.clone().validate().is_ok());
        }
        Err(found) => {
            assert!(found.iter().any(Diagnostic::is_error));
            told(&found, &text);
        }
    }
    match script(&source) {
        Ok(script) => {
            for rules in script.v4.iter().chain(&script.v6) {
                told(&lint(&source, rules), &text);
                assert!(!rules.rules().save(ShowCounters::Yes).is_empty());
            }
        }
        Err(found) => told(&found, &text),
    }
}

/// A table is printed from its name to its COMMIT, and no longer than its rules can make it:
/// several addresses on one line multiply.
fn printed(rules: &Ruleset, text: usize) {
    let saved = rules.save(ShowCounters::Yes);
    assert_eq!(saved.matches("\nCOMMIT\n").count().min(1), usize::from(!rules.tables.is_empty()));
    assert!(saved.len() <= 1_024 + 64 * (text + 64) * (text + 64), "{} of {text}", saved.len());
}

/// Each stands where the text has a place, and can be shown.
fn told(found: &[Diagnostic], text: &str) {
    let lines = text.lines().count().max(1);
    for one in found {
        assert!(one.line as usize <= lines, "{one}");
        assert!(one.column as usize <= one.shown.chars().count() + 1, "{one}");
        assert!(one.to_string().contains("fuzz:"));
    }
}
