//! The installed iptables as the judge of every option of every extension.
//!
//! `tests/cases/NAME.txt` says what is tried:
//!
//! ```text
//! match tcp            or: target REJECT
//! families 4 6
//! table filter         the default; chain FORWARD is the default as well
//! chain FORWARD
//! with -p tcp          stands before the match or target; several lines are tried one by one
//! needs --name x       options that a second round adds to each case
//! setup ipset …        a command that is run before, in the judge's own network namespace
//! before -A …          a rule that stands before each case
//! kernel pretended     the running kernel has it not: iptables alone is the judge (`kernel.c`)
//!
//! --dport              an option, and values, one a line as in a file of rules
//!   80
//!   "a b"
//! --syn                an option without values takes none
//!
//! rule -p tcp -j DROP  whole rules, tried as they are
//! ```
//!
//! Each value is tried plain and behind `!`; the first one also twice; each option also without its
//! value. Then come random combinations. `STATEWARD_CASES=tcp,udp` tries only these files,
//! `STATEWARD_SEED=N` other combinations, and `STATEWARD_REASONS=1` shows where both refuse but
//! name other options.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]
#![allow(clippy::disallowed_methods, reason = "iptables reads and writes files")]

#[path = "judge/cases.rs"]
mod cases;
#[path = "judge/iptables.rs"]
mod iptables;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use cases::{Case, CaseFile};
use iptables::{Iptables, Outcome};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{Severity, ShowCounters, Source};
use stateward_wire::Family;

#[test]
fn every_option_as_the_installed_iptables_takes_it() {
    if Iptables::start().is_none() {
        return;
    }
    let files = CaseFile::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"));
    let files = Mutex::new(files);
    let told = Mutex::new((0, String::new()));
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    // Each in a namespace of its own.
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut judge = Iptables::start().unwrap();
                let next = || files.lock().unwrap().pop();
                while let Some(file) = next() {
                    let (compared, report) = judged(&mut judge, &file);
                    let mut told = told.lock().unwrap();
                    told.0 += compared;
                    told.1 += &report;
                }
            });
        }
    });
    let (compared, report) = told.into_inner().unwrap();
    println!("{compared} cases compared with iptables");
    let differences = report.lines().count();
    assert!(report.is_empty(), "{differences} differences in {compared} cases:\n{report}");
}

/// How many cases a file has, and what differs.
fn judged(judge: &mut Iptables, file: &CaseFile) -> (usize, String) {
    let mut report = String::new();
    let mut compared = 0;
    file.set_up(judge);
    judge.pretend(file.kernel);
    for missing in file.missing_options(judge) {
        writeln!(report, "{}: --help lists --{missing}, but no case has it", file.name).unwrap();
    }
    for family in file.families.clone() {
        let cases = file.cases(family);
        compared += cases.len();
        compare(judge, file, &cases, &mut report);
    }
    (compared, report)
}

/// What we make of a file: the table printed, or the first refusal.
fn ours(family: Family, text: &str) -> Outcome {
    let source = Source::new("rules", text);
    match restore(&source, family, RestoreOptions::default()) {
        Ok(rules) => Outcome::Taken(rules.rules().save(ShowCounters::No)),
        Err(diagnostics) => {
            let first = diagnostics.first().unwrap();
            let Severity::Error(refuser) = first.severity else { panic!("{first}") };
            let message = format!("{} ({})", first.message, first.hint.as_deref().unwrap_or(""));
            Outcome::Refused { status: refuser.status().into(), message }
        }
    }
}

fn compare(judge: &mut Iptables, file: &CaseFile, cases: &[Case], report: &mut String) {
    let ours: Vec<_> = cases.iter().map(|case| ours(case.family, &case.text())).collect();
    // What we take goes to iptables by the dozen: only if that differs, one by one.
    let mut alone: Vec<usize> = Vec::new();
    let mut taken: Vec<usize> = Vec::new();
    for (at, outcome) in ours.iter().enumerate() {
        match outcome {
            Outcome::Taken(_) => taken.push(at),
            Outcome::Refused { .. } => alone.push(at),
        }
    }
    for group in taken.chunks(40) {
        let lines: Vec<&str> = group.iter().map(|at| cases[*at].line.as_str()).collect();
        let text = file.text(&lines);
        let family = cases[group[0]].family;
        let together = self::ours(family, &text);
        if judge.restore(family, &file.table, &text) != together {
            alone.extend(group);
        }
    }
    for at in alone {
        let case = &cases[at];
        let theirs = judge.restore(case.family, &file.table, &case.text());
        if let Some(difference) = difference(&theirs, &ours[at]) {
            writeln!(report, "{} {:?} {}\n{difference}", file.name, case.family, case.line)
                .unwrap();
        }
    }
}

fn difference(theirs: &Outcome, ours: &Outcome) -> Option<String> {
    match (theirs, ours) {
        (Outcome::Taken(theirs), Outcome::Taken(ours)) if theirs == ours => None,
        (
            Outcome::Refused { status: their, message: theirs },
            Outcome::Refused { status, message },
        ) if their == status => {
            let asked = std::env::var_os("STATEWARD_REASONS").is_some();
            let other =
                asked && !theirs.is_empty() && iptables::facts(theirs) != iptables::facts(message);
            other.then(|| format!("  reason: {theirs}\n    ours: {message}"))
        }
        _ => Some(format!("  iptables: {}\n      ours: {}", theirs.short(), ours.short())),
    }
}
