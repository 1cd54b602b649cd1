//! `stateward replay --verify`: real gateways with NAT sent exactly what is predicted, and what is
//! not as predicted is told.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use snapbox::{file, str};

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
    for name in ["home-router", "load-balancer", "docker", "telephones"] {
        let counts = counts(verify(&gateways().join(name), "--format json --quiet").code(0));
        assert_eq!(counts["predicted"], counts["seen"], "{name}: {counts}");
        for wrong in ["otherwise", "never", "open", "unpredicted"] {
            assert_eq!(counts[wrong], 0, "{name}: {counts}");
        }
        all += counts["seen"].as_u64().unwrap();
    }
    assert!(all > 500, "the captures hold little: {all} packets");
}

#[test]
fn calls_are_expected_as_a_real_gateway_expected_them() {
    let directory = gateways().join("telephones");
    let heard = verify(&directory, "--events --expectations").code(0);
    let output = String::from_utf8(heard.get_output().stdout.clone()).unwrap();
    // Without the time, which the gateway was not asked for, and the table in the end.
    let events = output.lines().filter(|line| line.contains("mask-src=")).filter_map(|line| {
        let (_, event) = line.strip_prefix('[')?.split_once(']')?;
        Some(event.trim())
    });
    let told = fs::read_to_string(directory.join("expectations.txt")).unwrap();
    let told: Vec<_> = told.lines().map(str::trim).collect();
    assert!(told.len() > 50, "the gateway was told little: {} events", told.len());
    assert_eq!(events.collect::<Vec<_>>(), told);
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
