//! Whole files, held against the installed iptables-restore: taken or refused, and every table
//! printed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]
#![allow(clippy::disallowed_methods, reason = "iptables reads and writes files")]

#[path = "judge/iptables.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod iptables;

use std::fmt::Write as _;

use iptables::{Iptables, Outcome};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{Ruleset, Severity, ShowCounters, Source, TableName};
use stateward_wire::Family;

/// Files that follow one another in one namespace, each with the options of its iptables-restore.
type Steps = &'static [(&'static str, &'static str)];

#[test]
fn files_as_iptables_restore_takes_them() {
    let mut report = String::new();
    for steps in FILES {
        let Some(mut judge) = Iptables::start() else { return };
        let mut before = Ruleset::new(Family::V4);
        for (options, text) in *steps {
            let ours = ours(options, text, &before);
            let theirs = judge.restore_with(Family::V4, options, "-c -t filter", text);
            let outcome = match &ours {
                Ok(rules) => Outcome::Taken(saved(rules, TableName::Filter)),
                Err((status, message)) => {
                    Outcome::Refused { status: *status, message: message.clone() }
                }
            };
            if !agree(&outcome, &theirs) {
                let theirs = shown(&theirs);
                writeln!(
                    report,
                    "{options} {text:?}\n  iptables: {theirs}\n      ours: {}",
                    shown(&outcome)
                )
                .unwrap();
            }
            if let Ok(rules) = ours {
                before = rules;
            }
            for table in before.tables.iter().map(|table| table.name) {
                judge.run(&format!("iptables-legacy-save -c -t {table}"));
                let theirs: String = judge
                    .written("out")
                    .split_inclusive('\n')
                    .filter(|line| !line.starts_with('#'))
                    .collect();
                let ours = saved(&before, table);
                if ours != theirs {
                    writeln!(report, "{options} {text:?} {table}\n{theirs}  ours:\n{ours}")
                        .unwrap();
                }
            }
        }
    }
    assert!(report.is_empty(), "differences:\n{report}");
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Taken(text) => text.replace('\n', " / "),
        Outcome::Refused { .. } => outcome.short(),
    }
}

fn agree(ours: &Outcome, theirs: &Outcome) -> bool {
    match (ours, theirs) {
        (Outcome::Refused { status: one, .. }, Outcome::Refused { status: other, .. }) => {
            one == other
        }
        _ => ours == theirs,
    }
}

fn saved(rules: &Ruleset, table: TableName) -> String {
    rules.table(table).map_or_else(|| empty(table), |table| table.save(ShowCounters::Yes))
}

/// The table as iptables-save finds it when it creates it.
fn empty(table: TableName) -> String {
    stateward_rules::Table::new(table).save(ShowCounters::Yes)
}

fn ours(options: &str, text: &str, before: &Ruleset) -> Result<Ruleset, (i32, String)> {
    let words: Vec<_> = options.split_whitespace().collect();
    let after = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
    let options = RestoreOptions {
        noflush: words.contains(&"--noflush"),
        counters: words.contains(&"--counters"),
        table: after("--table").and_then(TableName::from_name),
        before: Some(before.clone()),
    };
    let source = Source::new("rules", text);
    restore(&source, Family::V4, options).map(|rules| rules.rules().clone()).map_err(
        |diagnostics| {
            let first = diagnostics.first().unwrap();
            let Severity::Error(refuser) = first.severity else { panic!("{first}") };
            (refuser.status().into(), first.message.clone())
        },
    )
}

/// What was tried, and is kept.
#[rustfmt::skip]
const FILES: &[Steps] = &[
    &[("", "*filter\n:a -\n:b - [0:0]\n-A a -j DROP\n-A FORWARD -j a\nCOMMIT\n"), ("--noflush", "*filter\n:a -\n-A b -j ACCEPT\nCOMMIT\n"), ("--noflush", "*filter\n-A a -j RETURN\n-D FORWARD -j a\n-X b\nCOMMIT\n"), ("--noflush", "*filter\n-D FORWARD -j a\n-F b\n-X b\nCOMMIT\n"), ("", "*filter\nCOMMIT\n")],
    &[("--counters", "*filter\n:FORWARD DROP [5:6]\n[1:2] -A FORWARD -j ACCEPT\n[3:4] -I FORWARD -j DROP\nCOMMIT\n"), ("--noflush", "*filter\n-Z FORWARD 1\nCOMMIT\n"), ("--noflush --counters", "*filter\n[7:8] -A FORWARD\n-P INPUT DROP\n-R FORWARD 1 -j RETURN -c 9 10\nCOMMIT\n"), ("--noflush", "*filter\n-Z\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD DROP [1:1]\nCOMMIT\n*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n"), ("", "*filter\nCOMMIT\n"), ("--table filter", "*nat\n:x -\n-A x -j FOO\nCOMMIT\n*filter\n-A INPUT -j DROP\nCOMMIT\n")],
    &[("--counters", "*filter\n[1:2] -D FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n[1:2] -N x\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\n-A FORWARD -j DROP\n-A FORWARD -j ACCEPT\n-D FORWARD -j ACCEPT\n-I FORWARD 2 -s 1.1.1.1,2.2.2.2\n-R FORWARD 1 -p tcp --dport 5\n-C FORWARD -p tcp --dport 5\n-D FORWARD 2\nCOMMIT\n")],
    &[("", "*filter\n-N one\n-N two\n-A one -j two\n-A two -j RETURN\n-A FORWARD -g one\n-E two three\n-P INPUT DROP\n-F three\n-D one -j three\n-X three\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n:c -\n-A a -j b\n-A b -j c\n-A c -j a\n-A INPUT -j c\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n:c -\n-A a -j b\n-A a -j c\n-A b -j c\n-A INPUT -j a\n-A FORWARD -j b\n-A FORWARD -j a\nCOMMIT\n")],
    &[("", "*filter\n:a -\n-A INPUT -g a\n-A a -g a\nCOMMIT\n")],
    &[("", "*filter\n:REJECT -\n-A FORWARD -j REJECT\nCOMMIT\n")],
    &[("", "*filter\n:REJECT -\n-A FORWARD -j REJECT --reject-with tcp-reset\nCOMMIT\n")],
    &[("", "*filter\n:Z -\n:a -\n:_ -\n:1 -\n:B -\nCOMMIT\n")],
    &[("", "*filter\n-N x y\nCOMMIT\n")],
    &[("", "*filter\n-X x y\nCOMMIT\n")],
    &[("", "*filter\n-F FORWARD x\nCOMMIT\n")],
    &[("", "*filter\n-P FORWARD ACCEPT x\nCOMMIT\n")],
    &[("", "*filter\n-FFORWARD\n-Fnone\nCOMMIT\n")],
    &[("", "*filter\n--flush=FORWARD\n--policy INPUT DROP\n--new-chain x\n--delete-chain x\nCOMMIT\n")],
    &[("", "*filter\n-Z FORWARD 1\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD\n-Z FORWARD 1\n-Z FORWARD 2\nCOMMIT\n")],
    &[("", "*filter\n-L FORWARD\n-S\n-L -Z\nCOMMIT\n")],
    &[("", "*filter\n-L nochain\nCOMMIT\n")],
    &[("", "*filter\n-S nochain\nCOMMIT\n")],
    &[("", "*filter\n-E nochain x\nCOMMIT\n")],
    &[("", "*filter\n-X nochain\nCOMMIT\n")],
    &[("", "*filter\n-Z nochain\nCOMMIT\n")],
    &[("", "*filter\n-P nochain DROP\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT # no comment\nCOMMIT\n")],
    &[("", "*filter\n# comment\n#comment\n\n-A FORWARD -j ACCEPT\nCOMMIT\n# end\n")],
    &[("", "*filter\n-I FORWARD 0x1 -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n-I FORWARD -1 -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n-D FORWARD 4294967296\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD ACCEPT [0:0] x\n:x - [0:0] y z\nCOMMIT\n")],
    &[("", "*filter\n: FORWARD ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD\tDROP\t[0:0]\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m comment --comment x -m comment --comment y -j ACCEPT\n-D FORWARD -m comment --comment y -m comment --comment x -j ACCEPT\nCOMMIT\n")],
    &[("", "*raw\n-A PREROUTING -j DROP\nCOMMIT\n*mangle\n-A FORWARD -j MARK --set-mark 1\nCOMMIT\n*filter\n-A INPUT -j DROP\nCOMMIT\n")],
    &[("", "*nat\n-A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("", "*raw\n-A INPUT -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD DROP [5:6]\n:u - [0:0]\n-A u -j ACCEPT\n-A FORWARD -j u\nCOMMIT\n")],
    &[("", "*filter\nCOMMIT\n")],
    &[("--counters", "*filter\n:FORWARD ACCEPT [5:6]\nCOMMIT\n")],
    &[("--counters", "*filter\n:FORWARD ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n:FORWARD ACCEPT [x:y]\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD ACCEPT [x:y]\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD FOO\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD QUEUE\nCOMMIT\n")],
    &[("", "*filter\n:FORWARD -\nCOMMIT\n")],
    &[("", "*filter\n:u ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n:u -\n:u -\nCOMMIT\n")],
    &[("", "*filter\n:ACCEPT -\n:-x -\n:!a -\nCOMMIT\n")],
    &[("", "*filter\n:LOG -\n-A FORWARD -j LOG\nCOMMIT\n")],
    &[("", "*filter\n:aaaaaaaaaaaaaaaaaaaaaaaaaaaaa -\nCOMMIT\n")],
    &[("", "*filter\n:aaaaaaaaaaaaaaaaaaaaaaaaaaaa -\nCOMMIT\n")],
    &[("", "*filter\n:\nCOMMIT\n")],
    &[("", "*foo\nCOMMIT\n")],
    &[("", "*\nCOMMIT\n")],
    &[("", "* filter\nCOMMIT\n")],
    &[("", "*filter x\nCOMMIT\n")],
    &[("", "COMMIT\n")],
    &[("", "-A FORWARD\n")],
    &[("", "*filter\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\nCOMMIT")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\nCOMMIT \n")],
    &[("", "*filter\n -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\r\nCOMMIT\n")],
    &[("", "*filter\n*nat\nCOMMIT\n")],
    &[("", " # x\n*filter\nCOMMIT\n")],
    &[("", "   \n*filter\n  \nCOMMIT\n")],
    &[("--counters", "*filter\n[1:2] -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n[1:2]-A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n[1:x] -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n[1] -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n[1] -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n[] -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n[1:2 -A FORWARD -j ACCEPT\nCOMMIT\n")],
    &[("--counters", "*filter\n-A FORWARD -j ACCEPT -c 3 4\nCOMMIT\n")],
    &[("--counters", "*filter\n[1:2] -A FORWARD -j ACCEPT -c 3 4\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m comment --comment \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m comment --comment \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m comment --comment \"unclosed\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp -m tcp \nCOMMIT\n")],
    &[("", "*filter\nfoo\nCOMMIT\n")],
    &[("", "*filter\n--append FORWARD\nCOMMIT\n*filter\n-A FORWARD -j DROP\nCOMMIT\n")],
    &[("", "*filter\n:z -\n:a -\n:m -\n-A z -j DROP\n-A a\n-E m b\n-E z c\n-A FORWARD -j c\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n-A a -j b\n-A b -j a\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n-A a -j b\n-A b -j a\n-A FORWARD -j a\nCOMMIT\n")],
    &[("", "*filter\n:a -\n-A a -g a\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n-A FORWARD -j a\n-X a\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n-A a -j DROP\n-X a\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n-A a -j DROP\n-X\nCOMMIT\n")],
    &[("", "*filter\n:a -\n:b -\n-E a b\nCOMMIT\n")],
    &[("", "*filter\n:a -\n-E a ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n:a -\n-E a -b\nCOMMIT\n")],
    &[("", "*filter\n:a -\n-E a bbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nCOMMIT\n")],
    &[("", "*filter\n-I FORWARD -j ACCEPT -s 1.1.1.1,2.2.2.2\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\n-D FORWARD 1 -j ACCEPT\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -j ACCEPT\n-D FORWARD 1 2\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -t filter\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD --table filter\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m comment --comment \"-t\"\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -m comment --comment --t\nCOMMIT\n")],
    &[("", "*nat\n-A PREROUTING -j LOG\nCOMMIT\n")],
    &[("", "*filter\n-A INPUT -j RETURN -m comment --comment x\n-A INPUT -j QUEUE\nCOMMIT\n")],
    &[("", "*filter\n:A -\n-P A DROP\nCOMMIT\n")],
    &[("", "*filter\n-P FORWARD DROP -c 3 4\nCOMMIT\n")],
    &[("", "*filter\n:a.b -\n:a/b -\n:a\"b -\n-A FORWARD -j a\"b\nCOMMIT\n")],
    &[("", "*filter\n-C FORWARD -j ACCEPT\n-S\n-L\nCOMMIT\n")],
    &[("", "*filter\n-D FORWARD -j ACCEPT -s 1.1.1.1,2.2.2.2\nCOMMIT\n")],
    &[("", "*filter\n-A FORWARD -s 1.1.1.1\n-D FORWARD -s 1.1.1.1,2.2.2.2\nCOMMIT\n")],
    &[("", "*filter\n:INPUT DROP\n:OUTPUT DROP\nCOMMIT\n*mangle\n:OUTPUT DROP\nCOMMIT\n")],
    &[("", "*nat\n:PREROUTING DROP\n:POSTROUTING DROP\n:OUTPUT ACCEPT\nCOMMIT\n*security\nCOMMIT\n*raw\nCOMMIT\n")],
    &[("--table filter", "*nat\n:PREROUTING DROP\nCOMMIT\n")],
    &[("--table filter", "*filter\n:FORWARD DROP\nCOMMIT\n*nat\nfoo")],
    &[("", "*nat\n-A PREROUTING -j DROP\nCOMMIT\n")],
    &[("", "*nat\n-A nochain -j DROP\nCOMMIT\n")],
    &[("", "*nat\n-A PREROUTING -g DROP\nCOMMIT\n")],
    &[("", "*nat\n-D PREROUTING -j DROP\nCOMMIT\n")],
    &[("", "*nat\n-P PREROUTING DROP\nCOMMIT\n")],
    &[("", "*nat\n-P PREROUTING ACCEPT\n:OUTPUT DROP\nCOMMIT\n")],
    &[("", "*nat\n-A PREROUTING -j REJECT\nCOMMIT\n")],
    &[("", "*nat\n-A PREROUTING -j DROP -o eth0\nCOMMIT\n")],
];
