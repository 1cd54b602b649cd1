//! The engine before the judge: every case on which it once differed from the running kernel, and
//! random dialogues, without rules, under random ones, behind random NAT and with helpers, for as long as
//! STATEWARD_JUDGE_SECONDS says (20), from the seed STATEWARD_JUDGE_SEED (1).
//!
//! A run long enough also fails if there is anything that it never touched; how often what should
//! be is a matter for a longer one (`testkit judge --minutes`).
//!
//! A difference prints its seed and its shortest case, and leaves the case in `cases`, where it
//! stays. Without root or netfilter these tests say so and pass; with STATEWARD_REQUIRE_KERNEL=1
//! that fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use testkit::dialogue::Plan;
use testkit::judge::{Campaign, Judge, Until, case};
use testkit::kernel;

/// Packets in which nothing can be left out by chance: what is rarest comes thirty times in as
/// many.
const LONG_RUN: u64 = 200_000;

fn cases() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn number(variable: &str, usual: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(usual, |value| value.parse().unwrap_or_else(|_| panic!("{variable}={value}")))
}

#[test]
fn what_once_differed_is_equal() {
    if !kernel::is_there() {
        return;
    }
    let mut judge = Judge::new().expect("a namespace");
    let mut files: Vec<PathBuf> =
        fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failures = String::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "txt")) {
        let dialogue = case::read(&fs::read_to_string(file).unwrap()).unwrap();
        for difference in judge.hold(&dialogue).unwrap() {
            failures += &format!("{}: {difference}\n", file.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Connections that expire while nothing is said, several dialogues at a time: most of it is
/// waiting.
#[test]
fn dialogues_in_which_connections_expire_are_equal() {
    const AT_ONCE: u64 = 6;
    /// Dialogues of each seed are numbered from it on.
    const APART: u64 = 1_000_000;
    if !kernel::is_there() {
        return;
    }
    let time = Duration::from_secs(number("STATEWARD_JUDGE_SECONDS", 20).min(30));
    let seed = number("STATEWARD_JUDGE_SEED", 1);
    let plan = Plan { expiry: true, packets: 60, ..Plan::default() };
    let campaigns = (1..=AT_ONCE).map(|n| {
        let plan = plan.clone();
        thread::spawn(move || {
            let mut campaign = Campaign::new(plan, seed + n * APART).expect("a namespace");
            campaign.run(Until::Time(time), |_| {}).unwrap();
            failures(&campaign)
        })
    });
    let campaigns: Vec<_> = campaigns.collect();
    let failures: String = campaigns.into_iter().map(|one| one.join().unwrap()).collect();
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn random_dialogues_are_equal() {
    if !kernel::is_there() {
        return;
    }
    let seconds = number("STATEWARD_JUDGE_SECONDS", 20);
    let seed = number("STATEWARD_JUDGE_SEED", 1);
    let plan = Plan { ruled: 0, natted: 0, helped: 0, ..Plan::default() };
    let mut campaign = Campaign::new(plan, seed).expect("a namespace");
    campaign.run(Until::Time(Duration::from_secs(seconds)), |_| {}).unwrap();
    let coverage = campaign.coverage();
    println!("{coverage}{campaign}");
    coverage.gaps().iter().for_each(|gap| println!("too few: {gap}"));
    let mut failures = failures(&campaign);
    if coverage.packets() >= LONG_RUN {
        failures.extend(coverage.untouched().iter().map(|gap| format!("untouched: {gap}\n")));
    }
    assert!(failures.is_empty(), "{failures}{campaign}");
}

#[test]
fn rules_decide_as_the_kernel_decides() {
    if !kernel::is_there() {
        return;
    }
    let seconds = number("STATEWARD_JUDGE_SECONDS", 20);
    let plan = Plan { ruled: 100, natted: 0, helped: 0, ..Plan::default() };
    let seed = number("STATEWARD_JUDGE_SEED", 1);
    let mut campaign = Campaign::new(plan, seed).expect("a namespace");
    campaign.run(Until::Time(Duration::from_secs(seconds)), |_| {}).unwrap();
    println!("{}{campaign}", campaign.coverage());
    let mut failures = failures(&campaign);
    if campaign.coverage().packets() >= LONG_RUN {
        failures.extend(campaign.coverage().unused_rules().map(|gap| format!("unused: {gap}\n")));
    }
    assert!(failures.is_empty(), "{failures}{campaign}");
}

/// The time is divided: what helpers edit, they edit behind NAT.
#[test]
fn connections_are_translated_as_by_the_kernel() {
    if !kernel::is_there() {
        return;
    }
    let seconds = number("STATEWARD_JUDGE_SECONDS", 20);
    let (seconds, helped) = (seconds - seconds / 3, seconds / 3);
    let plan = Plan { natted: 100, helped: 0, ..Plan::default() };
    let seed = number("STATEWARD_JUDGE_SEED", 1);
    let mut campaign = Campaign::new(plan, seed).expect("a namespace");
    campaign.run(Until::Time(Duration::from_secs(seconds)), |_| {}).unwrap();
    let coverage = campaign.coverage();
    println!("{coverage}{campaign}");
    let mut failures = failures(&campaign);
    if coverage.packets() >= LONG_RUN {
        failures.extend(coverage.untranslated().map(|gap| format!("untouched: {gap}\n")));
    }
    failures += &helped_connections(Duration::from_secs(helped), seed);
    assert!(failures.is_empty(), "{failures}{campaign}");
}

/// Dialogues of connections that have helpers, half of them behind NAT.
fn helped_connections(time: Duration, seed: u64) -> String {
    let plan = Plan { natted: 50, helped: 100, ..Plan::default() };
    let mut campaign = Campaign::new(plan, seed).expect("a namespace");
    campaign.run(Until::Time(time), |_| {}).unwrap();
    println!("{campaign}");
    failures(&campaign)
}

/// What differed, which is also left in `cases`.
fn failures(campaign: &Campaign) -> String {
    let mut failures = String::new();
    for (kind, finding) in campaign.found() {
        fs::write(cases().join(finding.name()).with_extension("txt"), finding.case()).unwrap();
        failures += &format!("seeds {:?}: {kind}\n{}\n", finding.seeds, finding.case());
    }
    failures
}
