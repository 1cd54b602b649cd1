//! `stateward replay --verify`: real gateways with NAT sent exactly what is predicted, and what is
//! not as predicted is told.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use snapbox::{file, str};

/// Those whose rules name helpers, with what conntrack told beside the capture.
const HELPED: [&str; 3] = ["helpers", "helpers-nat", "telephones"];

fn gateways() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gateways")
}

fn verify(directory: &Path, more: &str) -> OutputAssert {
    let capture = "replay --verify --config gateway.toml capture.pcapng";
    Command::new(cargo_bin!("stateward"))
        .current_dir(directory)
        .env_clear()
        .args(capture.split_whitespace())
        .args(more.split_whitespace())
        .assert()
}

/// What came of the predictions, as the JSON summary has it.
fn counts(assert: OutputAssert) -> serde_json::Value {
    let output = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let end: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    end["verified"].clone()
}

/// An example, with other rules.
fn altered(name: &str, from: &str, to: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(gateways().join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
    }
    let rules = directory.path().join("rules.v4");
    let text = fs::read_to_string(&rules).unwrap();
    assert!(text.contains(from), "the example's rules are others now");
    fs::write(rules, text.replace(from, to)).unwrap();
    directory
}

#[test]
fn every_packet_left_real_gateways_as_predicted() {
    let mut all = 0;
    for name in ["home-router", "load-balancer", "docker"].iter().chain(&HELPED) {
        let counts = counts(verify(&gateways().join(name), "--format json --quiet").code(0));
        assert_eq!(counts["predicted"], counts["seen"], "{name}: {counts}");
        for wrong in ["otherwise", "never", "open", "unpredicted"] {
            assert_eq!(counts[wrong], 0, "{name}: {counts}");
        }
        all += counts["seen"].as_u64().unwrap();
    }
    assert!(all > 1700, "the captures hold little: {all} packets");
}

/// Events in their order: what they say without their seconds, and these. Ends of connections are
/// left out: when the kernel finds that one has expired is the machine's affair.
fn told<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, u64)> {
    let told = lines.filter_map(|line| {
        let mut words: Vec<_> = line.split_whitespace().collect();
        // `[NEW] 300 proto=17 ...` is an expectation, `[NEW] udp 17 30 ...` a connection.
        let seconds = if words[1].parse::<u64>().is_ok() { 1 } else { 3 };
        let ends = seconds == 3 && words[0] == "[DESTROY]";
        let seconds = words.remove(seconds).parse().ok()?;
        (!ends).then(|| (words.join(" "), seconds))
    });
    told.collect()
}

#[test]
fn real_sessions_with_helpers_are_told_as_conntrack_told_them() {
    for name in HELPED {
        let directory = gateways().join(name);
        let assert = verify(&directory, "--events --expectations").code(0);
        let output = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let events = output.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]\t"));
        let ours = told(events.map(|(_, event)| event));
        let (expected, mut connected): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|(line, _)| line.contains(" proto="));
        let theirs = |file| told(fs::read_to_string(directory.join(file)).unwrap().lines());
        assert!(expected.len() > 50, "{name}: few expectations: {}", expected.len());
        let mut connections = theirs("connections.txt");
        // Those of different connections may be heard in another order.
        connected.sort_unstable();
        connections.sort_unstable();
        equal(&expected, &theirs("expectations.txt"), name);
        equal(&connected, &connections, name);
    }
}

/// Equal events; a tick may end between a packet and its event.
fn equal(ours: &[(String, u64)], theirs: &[(String, u64)], name: &str) {
    let lines = |told: &[(String, u64)]| told.iter().map(|told| told.0.clone()).collect::<Vec<_>>();
    assert_eq!(lines(ours), lines(theirs), "{name}");
    for ((line, one), (_, other)) in ours.iter().zip(theirs) {
        assert!(one.abs_diff(*other) <= 1, "{name}: {line}: {one} seconds, not {other}");
    }
}

#[test]
fn what_leaves_otherwise_is_shown_beside_what_was_predicted() {
    let directory = altered(
        "home-router",
        "--to-destination 192.168.1.10:22",
        "--to-destination 192.168.1.20:22",
    );
    verify(directory.path(), "--quiet")
        .code(1)
        .stdout_eq(file!["snapshots/verify-otherwise.txt"])
        .stderr_eq(file!["snapshots/verify-otherwise-error.txt"]);
}

#[test]
fn what_the_rules_drop_and_the_gateway_did_not_is_told_of_its_packet() {
    let rule = "-A FORWARD -i lan0 -j ACCEPT";
    let directory = altered("home-router", rule, "-A FORWARD -i lan0 -p udp -j ACCEPT");
    let counts = counts(verify(directory.path(), "--format json --quiet").code(1));
    assert!(counts["unpredicted"].as_u64().unwrap() > 0, "{counts}");
    let assert = verify(directory.path(), "--packets").code(1);
    let output = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert!(output.contains("| left, though nothing predicted it"), "{output}");
}

#[test]
fn a_machine_that_does_not_route_predicts_nothing() {
    let capture = gateways().join("docker/capture.pcapng");
    Command::new(cargo_bin!("stateward"))
        .env_clear()
        .args(["replay", "--verify"])
        .arg(capture)
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error: --verify needs a machine that routes
  hint: give the machine's interfaces and routes: --config gateway.toml

"#]]);
}
