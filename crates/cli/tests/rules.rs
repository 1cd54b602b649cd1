//! What `stateward rules` prints, word for word. `SNAPSHOTS=overwrite cargo test -p stateward`
//! accepts what it prints now.

use std::path::Path;

use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use snapbox::{Data, file};

fn run(line: &str) -> OutputAssert {
    Command::new(cargo_bin!("stateward"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs/rules"))
        .env_clear()
        .args(line.split_whitespace())
        .assert()
}

#[track_caller]
fn prints(line: &str, expected: Data) {
    run(line).code(0).stdout_eq(expected).stderr_eq("");
}

#[test]
fn as_iptables_save_prints_it() {
    prints("rules print good.v4", file!["snapshots/rules-good.txt"]);
    prints("rules print --counters good.v4", file!["snapshots/rules-good-counters.txt"]);
    prints("rules print good.v6", file!["snapshots/rules-good6.txt"]);
}

#[test]
fn a_script_of_commands() {
    prints("rules print firewall.sh", file!["snapshots/rules-script.txt"]);
}

#[test]
fn everything_that_is_wrong() {
    run("rules check good.v4 wrong.v4 loop.sh")
        .code(1)
        .stdout_eq(file!["snapshots/rules-wrong.txt"])
        .stderr_eq("error: 9 errors in wrong.v4, 4 errors in loop.sh\n");
    run("rules print wrong.v4")
        .code(2)
        .stdout_eq("")
        .stderr_eq(file!["snapshots/rules-wrong-print.txt"]);
}

#[test]
fn nothing_is_wrong() {
    prints("rules check good.v6", Data::text(""));
}

#[test]
fn what_iptables_takes_and_nobody_wants() {
    prints("rules check good.v4 firewall.sh careless.v4", file!["snapshots/rules-warnings.txt"]);
}

#[test]
fn a_file_that_is_not_there() {
    run("rules check missing.v4").code(2).stdout_eq("").stderr_eq(
        "error: cannot read missing.v4: No such file or directory (os error 2)
  hint: is the name right? `-` reads standard input
",
    );
}

#[test]
fn help() {
    prints("rules --help", file!["snapshots/rules-help.txt"]);
    prints("rules check --help", file!["snapshots/rules-check-help.txt"]);
    prints("rules print --help", file!["snapshots/rules-print-help.txt"]);
}
