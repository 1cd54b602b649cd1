//! What `stateward replay` prints, word for word. `SNAPSHOTS=overwrite cargo test -p stateward`
//! accepts what it prints now.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use snapbox::{Data, file, str};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs in a directory with nothing of the user's settings.
fn run_in(directory: &Path, line: &str) -> OutputAssert {
    Command::new(cargo_bin!("stateward"))
        .current_dir(directory)
        .env_clear()
        .args(line.split_whitespace())
        .assert()
}

fn run(line: &str) -> OutputAssert {
    run_in(&repository(), line)
}

#[track_caller]
fn prints(line: &str, expected: Data) {
    run(line).code(0).stdout_eq(expected).stderr_eq("");
}

#[track_caller]
fn fails(line: &str, expected: impl snapbox::IntoData) {
    run(line).code(2).stdout_eq("").stderr_eq(expected);
}

/// A directory with the first bytes of an example capture as `cut.pcap`.
fn with_cut_capture(bytes: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let whole = fs::read(repository().join("examples/captures/udplite.pcap")).unwrap();
    fs::write(directory.path().join("cut.pcap"), &whole[..bytes]).unwrap();
    directory
}

// Sets that rules name.

/// A directory with rules and sets.
fn with_sets(rules: &str, sets: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let capture = repository().join("examples/captures/office.pcap");
    fs::copy(capture, directory.path().join("office.pcap")).unwrap();
    fs::write(directory.path().join("rules.v4"), rules).unwrap();
    fs::write(directory.path().join("sets"), sets).unwrap();
    directory
}

const ADDING: &str = "*filter\n-A FORWARD -p udp -j SET --add-set seen src\nCOMMIT\n";

#[test]
fn sets_are_read_changed_and_printed() {
    let directory = with_sets(ADDING, "create seen hash:net counters\nadd seen 0.0.0.0/1\n");
    let line = "replay --rules rules.v4 --sets sets --ipset --quiet --format text office.pcap";
    let output = run_in(directory.path(), line).code(0);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let head = "create seen hash:net family inet hashsize 1024 maxelem 65536 counters bucketsize 12 \
                initval 0x00000000\nadd seen 0.0.0.0/1 packets 0 bytes 0\n";
    assert!(text.starts_with(head), "{text}");
    let other = "add seen 128.0.0.0/1 packets 1 bytes ";
    assert!(text.contains(other), "{text}");
}

#[test]
fn a_set_that_is_not_given_is_named() {
    let directory = with_sets(ADDING, "create other hash:ip\n");
    let line = "replay --rules rules.v4 --sets sets office.pcap";
    run_in(directory.path(), line).code(2).stderr_eq(str![[r#"
error: rules.v4:2:1: set seen doesn't exist
  |
2 | -A FORWARD -p udp -j SET --add-set seen src
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ there is other

"#]]);
    let directory = with_sets(ADDING, "create seen hash:ip family inet6\nadd seen 1.1.1.1\n");
    run_in(directory.path(), line).code(2).stderr_eq(str![[r#"
error: sets:2:10: `1.1.1.1` is no IPv6 address
  |
2 | add seen 1.1.1.1
  |          ^^^^^^^ as 2001:db8::1; names are not looked up

"#]]);
}

// What is printed of captures.

#[test]
fn office() {
    prints("replay examples/captures/office.pcap", file!["snapshots/office.txt"]);
}

#[test]
fn office_as_the_gateway_sees_it() {
    let line = "replay --config crates/cli/tests/inputs/gateway.toml examples/captures/office.pcap";
    prints(line, file!["snapshots/office-gateway.txt"]);
}

#[test]
fn office_events() {
    prints("replay --events examples/captures/office.pcap", file!["snapshots/office-events.txt"]);
}

#[test]
fn office_table() {
    prints("replay --table examples/captures/office.pcap", file!["snapshots/office-table.txt"]);
}

#[test]
fn table_with_counters_and_times() {
    let line =
        "replay --table --config crates/cli/tests/inputs/gateway.toml examples/captures/ipv6.pcap";
    prints(line, file!["snapshots/ipv6-gateway-table.txt"]);
}

#[test]
fn proc() {
    prints("replay --proc examples/captures/ipv6.pcap", file!["snapshots/ipv6-proc.txt"]);
}

#[test]
fn json() {
    let line = "replay --format json examples/captures/keepalive.pcap";
    prints(line, file!["snapshots/keepalive.json": Text]);
}

#[test]
fn json_of_several_captures_of_a_gateway() {
    let line = "replay --format json --config crates/cli/tests/inputs/gateway.toml \
                examples/captures/udplite.pcap examples/captures/one-way-out.pcap";
    prints(line, file!["snapshots/two-gateway.json": Text]);
}

#[test]
fn json_of_the_summary_alone() {
    let line = "replay --format json --quiet examples/captures/scans.pcap";
    prints(line, file!["snapshots/scans-quiet.json": Text]);
}

#[test]
fn ipv6() {
    prints("replay examples/captures/ipv6.pcap", file!["snapshots/ipv6.txt"]);
}

#[test]
fn fragments() {
    prints("replay examples/captures/fragments.pcap", file!["snapshots/fragments.txt"]);
}

#[test]
fn invalid_packets_and_why() {
    prints("replay examples/captures/scans.pcap", file!["snapshots/scans.txt"]);
    prints("replay examples/captures/resets.pcap", file!["snapshots/resets.txt"]);
    prints("replay examples/captures/half-open.pcap", file!["snapshots/half-open.txt"]);
}

#[test]
fn sctp() {
    prints("replay examples/captures/sctp-multihomed.pcap", file!["snapshots/sctp-multihomed.txt"]);
}

#[test]
fn all_interfaces_with_directions() {
    prints("replay examples/captures/any.pcap", file!["snapshots/any.txt"]);
}

#[test]
fn both_sides_of_a_gateway() {
    let line =
        "replay --config crates/cli/tests/inputs/gateway.toml examples/captures/both-sides.pcapng";
    prints(line, file!["snapshots/both-sides-gateway.txt"]);
    prints("replay examples/captures/both-sides.pcapng", file!["snapshots/both-sides.txt"]);
}

#[test]
fn a_capture_made_on_a_host() {
    let line =
        "replay --host 192.168.1.10 --host fd00:1::10 examples/captures/simultaneous-open.pcap";
    prints(line, file!["snapshots/simultaneous-open-host.txt"]);
}

#[test]
fn where_packets_came_in() {
    let line = "replay --in lan0=examples/captures/one-way-out.pcap \
                --in wan0=examples/captures/one-way-in.pcap";
    prints(line, file!["snapshots/one-way-both.txt"]);
}

#[test]
fn settings_change_what_comes_out() {
    let line = "replay --sysctl nf_conntrack_tcp_loose=0 --sysctl net/netfilter/nf_conntrack_acct=1 \
                --packets --table examples/captures/midstream.pcap";
    prints(line, file!["snapshots/midstream-not-loose.txt"]);
}

#[test]
fn packets_with_their_events() {
    let line = "replay --packets --events --expectations examples/captures/udplite.pcap";
    prints(line, file!["snapshots/udplite-packets-events.txt"]);
}

#[test]
fn colours_are_not_the_only_carrier() {
    prints(
        "replay --color always examples/captures/udplite.pcap",
        file!["snapshots/udplite-colour.txt"],
    );
    let plain = run("replay --color never examples/captures/udplite.pcap");
    let coloured = run("replay --color always examples/captures/udplite.pcap");
    let words = |output: &OutputAssert| {
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        let mut words = String::new();
        let mut parts = text.split('\u{1b}');
        words.push_str(parts.next().unwrap());
        for part in parts {
            words.push_str(part.split_once('m').unwrap().1);
        }
        words
    };
    assert_eq!(words(&plain), words(&coloured));
}

#[test]
fn quiet() {
    prints("replay --quiet examples/captures/offload.pcap", file!["snapshots/offload-quiet.txt"]);
    let line = "replay --quiet --config crates/cli/tests/inputs/gateway.toml \
                examples/captures/offload.pcap";
    prints(line, file!["snapshots/offload-gateway-quiet.txt"]);
}

#[test]
fn packets_are_asked_by_rules() {
    let line = "replay --counters --config crates/cli/tests/inputs/ruled.toml \
                examples/captures/office.pcap";
    prints(line, file!["snapshots/office-ruled.txt"]);
    let line = "replay --format json --config crates/cli/tests/inputs/ruled.toml \
                examples/captures/office.pcap";
    prints(line, file!["snapshots/office-ruled.json"]);
}

#[test]
fn rules_that_are_not_evaluated_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let rules = "*filter\n-A FORWARD -m cpu --cpu 0 -j DROP\nCOMMIT\n";
    fs::write(directory.path().join("rules.v4"), rules).unwrap();
    fs::write(directory.path().join("gateway.toml"), "rules = \"rules.v4\"\n").unwrap();
    let capture = repository().join("examples/captures/http.pcap.gz");
    let line = format!("replay --quiet --config gateway.toml {}", capture.display());
    let run = run_in(directory.path(), &line).code(1);
    run.stderr_eq("error: [..] packets met rules that are not evaluated: cpu\n");
    let line = format!("replay --quiet --rules nowhere.v4 {}", capture.display());
    run_in(directory.path(), &line).code(2).stdout_eq("");
}

#[test]
fn what_is_assumed_of_packets_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let rules = "*filter\n-A FORWARD -m policy --dir in --pol ipsec -j DROP\nCOMMIT\n";
    fs::write(directory.path().join("rules.v4"), rules).unwrap();
    let capture = repository().join("examples/captures/http.pcap.gz");
    let line = format!("replay --quiet --rules rules.v4 {}", capture.display());
    let said = run_in(directory.path(), &line).code(0).get_output().stdout.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("no IPsec on its way (policy)"), "{said}");
    let line = format!("replay --format json --rules rules.v4 {}", capture.display());
    let said = run_in(directory.path(), &line).code(0).get_output().stdout.clone();
    assert!(String::from_utf8(said).unwrap().contains(r#""assumed":["policy"]"#));
}

#[test]
fn what_is_given_of_packets_is_said_with_its_value() {
    let directory = tempfile::tempdir().unwrap();
    let rules = "*filter\n-A INPUT -m policy --dir in --pol ipsec -j DROP\n\
        -A OUTPUT -m owner --uid-owner 1000 -j DROP\nCOMMIT\n";
    fs::write(directory.path().join("rules.v4"), rules).unwrap();
    let config = "rules = \"rules.v4\"\nipsec = []\n[[interface]]\nname = \"eth0\"\n\
        addresses = [\"192.0.2.1/24\"]\n[process]\nuid = 1000\ngid = 100\n";
    fs::write(directory.path().join("gateway.toml"), config).unwrap();
    let explain = |format: &str, packet: &str| {
        let asked = Command::new(cargo_bin!("stateward"))
            .current_dir(directory.path())
            .env_clear()
            .args(["explain", "--config", "gateway.toml", "--format", format, packet])
            .assert();
        String::from_utf8(asked.code(0).get_output().stdout.clone()).unwrap()
    };
    let (leaving, coming) =
        ("udp 192.0.2.1:4000 > 192.0.2.9:53", "udp 192.0.2.9:53 > 192.0.2.1:4000");
    let said = explain("text", leaving);
    assert!(said.contains("given: uid 1000, gid 100 (owner)"), "{said}");
    assert!(said.contains("verdict: drop"), "{said}");
    let said = explain("json", coming);
    assert!(said.contains(r#""given":[{"match":"policy","value":"no IPsec"}]"#), "{said}");
    assert!(said.contains(r#""given":{"policy":1}"#) && !said.contains("assumed"), "{said}");
    let said = explain("text", &format!("{leaving} uid 33 gid 7"));
    assert!(said.contains("given: uid 33, gid 7 (owner)"), "{said}");
    assert!(said.contains("verdict: output"), "{said}");
}

#[test]
fn what_left_can_be_written_and_replayed_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = repository().join("crates/cli/tests/inputs/gateway.toml");
    let capture = repository().join("examples/captures/loss.pcap");
    let (config, capture) = (config.display(), capture.display());
    let line = format!("replay --quiet --write out.pcapng --config {config} {capture}");
    run_in(directory.path(), &line).code(0).stderr_eq("");
    run_in(directory.path(), "replay --quiet out.pcapng")
        .code(0)
        .stdout_eq(file!["snapshots/loss-written-quiet.txt"]);
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else may be left behind");
}

#[test]
fn what_left_has_standard_output_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    let config = repository().join("crates/cli/tests/inputs/gateway.toml");
    let capture = repository().join("examples/captures/loss.pcap");
    let (config, capture) = (config.display(), capture.display());
    let line = format!("replay --quiet --write - --config {config} {capture}");
    let piped = run_in(directory.path(), &line).code(0);
    assert!(piped.get_output().stderr.starts_with(b"253 packets in "));
    fs::write(directory.path().join("out.pcapng"), &piped.get_output().stdout).unwrap();
    run_in(directory.path(), "replay --quiet out.pcapng")
        .code(0)
        .stdout_eq(file!["snapshots/loss-written-quiet.txt"]);
}

#[test]
fn standard_input_is_a_capture() {
    let capture = repository().join("examples/captures/http.pcap.gz");
    Command::new(cargo_bin!("stateward"))
        .env_clear()
        .args(["replay", "--quiet", "-"])
        .stdin(Data::binary(fs::read(capture).unwrap()))
        .assert()
        .code(0)
        .stdout_eq(file!["snapshots/http-quiet.txt"])
        .stderr_eq("");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    for options in [&["replay"][..], &["replay", "--format", "json", "--write", "-"]] {
        let mut child = std::process::Command::new(cargo_bin!("stateward"))
            .current_dir(repository())
            .args(options)
            .arg("examples/captures/loss.pcap")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(!String::from_utf8_lossy(&output.stderr).contains("error: "));
    }
}

// What is wrong, where, and what to do.

#[test]
fn a_capture_that_is_not_there() {
    fails(
        "replay missing.pcap",
        str![[r#"
error: cannot open missing.pcap: No such file or directory (os error 2)
  hint: is the name right? `-` reads standard input

"#]],
    );
}

#[test]
fn what_is_no_capture() {
    fails(
        "replay examples/captures/README.md",
        str![[r#"
error: examples/captures/README.md: this is neither pcap nor pcapng (its first bytes are 23 20 45 78)

"#]],
    );
}

#[test]
fn a_damaged_capture_gives_what_is_readable() {
    let directory = with_cut_capture(400);
    run_in(directory.path(), "replay cut.pcap")
        .code(2)
        .stdout_eq(file!["snapshots/cut.txt"])
        .stderr_eq(str![[r#"
error: cut.pcap: packet 6 at byte 396: the capture ends in the middle of it: 4 of 16 bytes are there
  hint: what could be read was replayed: 3 packets

"#]]);
    let directory = with_cut_capture(20);
    run_in(directory.path(), "replay --quiet cut.pcap").code(2).stdout_eq("");
}

#[test]
fn a_sysctl_that_there_is_not() {
    fails(
        "replay --sysctl net.netfilter.nf_conntrack_tcp_lose=0 examples/captures/office.pcap",
        str![[r#"
error: --sysctl net.netfilter.nf_conntrack_tcp_lose: no such sysctl
  hint: net.netfilter.nf_conntrack_tcp_loose?

"#]],
    );
    fails(
        "replay --sysctl net.ipv4.ip_forward=0 examples/captures/office.pcap",
        str![[r#"
error: --sysctl net.ipv4.ip_forward: no such sysctl
  hint: say `forward = true` or `forward = false` in the configuration

"#]],
    );
    fails(
        "replay --sysctl nf_conntrack_acct=2 examples/captures/office.pcap",
        str![[r#"
error: --sysctl nf_conntrack_acct: the value is out of range: 0 to 1

"#]],
    );
}

#[test]
fn a_bad_configuration_is_shown_where_it_is_bad() {
    let line = |name: &str| {
        format!("replay --config crates/cli/tests/inputs/{name}.toml examples/captures/office.pcap")
    };
    fails(
        &line("unknown-key"),
        str![[r#"
error: crates/cli/tests/inputs/unknown-key.toml:3:1: unknown field `adresses`, expected one of `name`, `addresses`, `mtu`, `mac`, `group`
  |
3 | adresses = ["192.168.1.1/24"]
  | ^^^^^^^^

"#]],
    );
    fails(
        &line("unknown-sysctl"),
        str![[r#"
error: crates/cli/tests/inputs/unknown-sysctl.toml:3:55: `net.netfilter.nf_conntrack_tcp_timeout_establised`: no such sysctl
  |
3 | "net.netfilter.nf_conntrack_tcp_timeout_establised" = 3600
  |                                                       ^^^^ net.netfilter.nf_conntrack_tcp_timeout_established?

"#]],
    );
    fails(
        &line("no-prefix"),
        str![[r#"
error: crates/cli/tests/inputs/no-prefix.toml:3:14: an address needs a prefix length
  |
3 | addresses = ["192.168.1.1"]
  |              ^^^^^^^^^^^^^ 192.168.1.1/24?

"#]],
    );
}

#[test]
fn an_interface_that_the_machine_has_not() {
    fails(
        "replay --config crates/cli/tests/inputs/gateway.toml --in dmz0=examples/captures/office.pcap",
        str![[r#"
error: --in: the machine has no interface `dmz0`
  hint: the interfaces of the machine stand in the configuration

"#]],
    );
}

#[test]
fn a_place_that_cannot_be_written() {
    fails(
        "replay --write nowhere/out.pcapng examples/captures/office.pcap",
        str![[r#"
error: cannot write nowhere/out.pcapng: No such file or directory (os error 2)

"#]],
    );
}

#[test]
fn wrong_usage() {
    run("replay").code(2).stderr_eq(file!["snapshots/usage-no-capture.txt"]);
    run("replay --quiet --events x.pcap").code(2).stderr_eq(file!["snapshots/usage-conflict.txt"]);
    run("replay --sysctl x x.pcap").code(2).stderr_eq(file!["snapshots/usage-sysctl.txt"]);
}

#[test]
fn help() {
    prints("--help", file!["snapshots/help.txt"]);
    prints("replay -h", file!["snapshots/replay-short-help.txt"]);
    prints("replay --help", file!["snapshots/replay-help.txt"]);
}
