//! `stateward explain`: the examples of the pages are what it prints, word for word, and its errors
//! say what to do. `SNAPSHOTS=overwrite cargo test -p stateward --test explain` writes what it
//! prints now into the pages.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::cmd::{Command, cargo_bin};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The words of a command line: blanks separate, quotes keep together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        match number % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// What a command line prints in the directory of the example, both streams, the second behind the
/// first.
fn printed(line: &str) -> String {
    let mut words = words(line);
    assert_eq!(words.remove(0), "stateward", "{line}");
    let command = Command::new(cargo_bin!("stateward"))
        .current_dir(repository().join("examples/firewall"))
        .env_clear()
        .args(words);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

/// A page whose examples are what is printed now.
fn renewed(page: &str) -> String {
    let mut renewed = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("```console\n") {
        let (block, behind) = after.split_once("```\n").unwrap();
        let command = block.lines().next().unwrap();
        let line = command.strip_prefix("$ ").unwrap();
        renewed += &format!("{before}```console\n{command}\n{}```\n", printed(line));
        rest = behind;
    }
    renewed + rest
}

#[test]
fn the_examples_of_the_pages_are_what_is_printed() {
    for (page, examples) in [("docs/explain.md", 7), ("docs/gateway.md", 1)] {
        let file = repository().join(page);
        let page = fs::read_to_string(&file).unwrap();
        assert!(page.matches("```console").count() >= examples, "{file:?} has lost its examples");
        let renewed = renewed(&page);
        if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
            fs::write(&file, renewed).unwrap();
        } else {
            snapbox::assert_data_eq!(page, snapbox::Data::text(renewed).raw());
        }
    }
}

#[test]
fn programs_get_every_station_and_the_connection_after() {
    let text = printed(
        "stateward explain --config gateway.toml --format json \
         'tcp 192.168.1.9:40000 > 198.51.100.80:443 S' 'tcp 198.51.100.80:443 > 192.168.1.9:40000 S.'",
    );
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second, end] = records.as_slice() else { panic!("{text}") };
    assert!(first.get("explanation").is_none());
    let explanation = &second["explanation"];
    let way = explanation["way"].as_array().unwrap();
    let stations: Vec<_> = way.iter().map(|one| one["station"].as_str().unwrap()).collect();
    let expected = ["table", "rule", "end", "verdict", "conntrack", "routing"];
    assert_eq!(stations[..6], expected, "{stations:?}");
    assert_eq!(way[1]["result"], "passed_over");
    assert_eq!(way[1]["asked"][0]["packet"], "192.168.1.9");
    assert_eq!((&way[1]["file"], &way[1]["line"]), (&"rules.v4".into(), &5.into()));
    assert!(way[4]["before"].as_str().unwrap().contains("SYN_SENT"), "{}", way[4]);
    assert!(explanation["after"].as_str().unwrap().contains("SYN_RECV"), "{explanation}");
    assert_eq!(end["type"], "end");
}

#[test]
fn a_packet_that_the_capture_does_not_hold_is_told() {
    let text = printed("stateward replay --explain 999 ../captures/dns.pcap");
    assert!(text.contains("note: --explain: there is no packet 999: the captures hold "), "{text}");
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    let packet = "'udp 192.168.1.9:40000 > 198.51.100.80:53'";
    let line = format!("stateward explain --config gateway.toml --in dmz0 {packet}");
    assert!(printed(&line).starts_with("error: --in: the machine has no interface `dmz0`"));
    let line = "stateward explain --config gateway.toml 'in dmz0 udp 192.168.1.9:4 > 8.8.8.8:53'";
    assert!(printed(line).starts_with("error: packet 1: the machine has no interface `dmz0`"));
}

#[test]
fn what_ip_lists_is_a_machine() {
    let packet = "'tcp 198.51.100.7:40000 > 203.0.113.1:22 S'";
    let line = |more: &str| printed(&format!("stateward explain --rules rules.v4 {more} {packet}"));
    let listed = line("--addr addr.json --route route.json");
    assert!(listed.contains("routing: to this host"), "{listed}");
    assert!(listed.starts_with("wan0: IP"), "{listed}");
    assert!(line("--route route.json").starts_with("error: --route: the interfaces are missing"));
    assert!(line("--addr route.json").starts_with("error: route.json: these are routes"));
    assert!(line("--addr addr.json --host 192.0.2.1").starts_with("error: --host: --addr"));
    let forwarded = "'tcp 192.168.1.9:4 > 198.51.100.7:443 S'";
    let host = "stateward explain --addr addr.json --sysctl net.ipv4.ip_forward=0";
    let host = printed(&format!("{host} {forwarded}"));
    assert!(host.contains("drop, at routing: this host does not forward"), "{host}");
}

#[test]
fn a_long_row_of_chains_is_not_ever_deeper() {
    // More than a formatter's width can be, at two blanks a chain.
    const CHAINS: usize = 33_000;
    let made: String = (1..=CHAINS).map(|chain| format!(":C{chain} - [0:0]\n")).collect();
    let jumps = (1..CHAINS).map(|chain| format!("-A C{chain} -j C{}\n", chain + 1));
    let jumps: String = jumps.collect();
    let rules = format!(
        "*filter\n:INPUT ACCEPT [0:0]\n{made}-A INPUT -j C1\n{jumps}-A C{CHAINS} -j DROP\nCOMMIT\n"
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("row.v4");
    fs::write(&file, rules).unwrap();
    let (file, packet) = (file.display(), "'udp 198.51.100.7:40000 > 203.0.113.1:53'");
    let text = printed(&format!("stateward explain --host 203.0.113.1 --rules {file} {packet}"));
    let indent = |of: &str| {
        let line = text.lines().find(|line| line.ends_with(of)).unwrap_or_else(|| panic!("{of}"));
        line.len() - line.trim_start().len()
    };
    assert_eq!([indent("-j C1"), indent("filter C1"), indent("-j C2")], [2, 2, 4]);
    assert_eq!([indent("filter C20"), indent("-j C21")], [40, 42]);
    assert_eq!([indent("filter C21 (21 chains deep)"), indent("-j C22")], [40, 42]);
    assert_eq!([indent("filter C33000 (33000 chains deep)"), indent("-j DROP")], [40, 42]);
}

#[test]
fn what_rules_name_in_vain_is_said_with_the_flag_that_helps() {
    let packet = "'tcp 198.51.100.7:40000 > 203.0.113.1:22 S'";
    let line = |more: &str| printed(&format!("stateward explain --rules rules.v4 {more} {packet}"));
    let notes = |text: &str| -> Vec<String> {
        let of = |line: &&str| line.starts_with("note: ") || line.starts_with("  hint: ");
        text.lines().filter(of).map(str::to_owned).collect()
    };
    let expected = [
        "note: rules.v4: no packet comes to INPUT: the machine has no address",
        "  hint: --host ADDRESS says which address is its own; --config or --addr describe all of it",
        "note: rules.v4:5: nothing comes in by `lan0`: packets come in by wan0",
        "  hint: --in IFACE says where packets come in; --config or --addr describe the machine",
        "note: rules.v4:21: without routes nothing leaves by `wan0`",
        "  hint: --config describes interfaces and routes, or --addr and --route, what `ip -j` prints",
    ];
    assert_eq!(notes(&line("--in wan0")), expected);
    assert_eq!(notes(&line("--in wan0 --host 203.0.113.1")), expected[2..]);
    assert!(notes(&line("--config gateway.toml")).is_empty());
    let other = "--addr addr.json --rules6 other.v6";
    let expected = [
        "note: other.v6:6: the machine has no interface `eth9`: it has lan0, wan0",
        "  hint: its interfaces are those of --config or --addr",
    ];
    assert_eq!(notes(&line(other)), expected);
}

#[test]
fn the_hour_and_the_mark_can_be_said() {
    let rules = "--rules ../../crates/cli/tests/inputs/hours.v4";
    let verdict = |more: &str, packet: &str| {
        let text = printed(&format!("stateward explain {rules} {more} '{packet}'"));
        let verdict = text.lines().find_map(|line| line.strip_prefix("verdict: "));
        verdict.unwrap_or(&text).to_owned()
    };
    let packet = "tcp 198.51.100.7:40000 > 203.0.113.1:22 S";
    let file = "../../crates/cli/tests/inputs/hours.v4";
    let passed = format!("forward, let pass by filter:FORWARD:rule:2 ({file}:11)");
    assert_eq!(verdict("--time 2026-11-20T10:00", packet), passed);
    let dropped = format!("drop, by filter:FORWARD:policy:3 ({file}:8)");
    for closed in ["2026-11-20T17:30", "2026-11-21T10:00"] {
        assert_eq!(verdict(&format!("--time {closed}"), packet), dropped);
    }
    let marked = format!("{packet} mark 0x7");
    let passed = format!("forward, let pass by filter:FORWARD:rule:1 ({file}:10)");
    assert_eq!(verdict("--time 2026-11-21T10:00", &marked), passed);
    let untracked = "stateward explain --path 'udp 198.51.100.7:40000 > 203.0.113.1:53'";
    let untracked = printed(&format!("{untracked} {rules}"));
    assert!(untracked.contains("conntrack: UNTRACKED, decided before"), "{untracked}");
}
