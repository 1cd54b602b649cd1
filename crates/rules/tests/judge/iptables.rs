//! The installed iptables-legacy in a network namespace of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use stateward_wire::Family;

/// A shell in a new network namespace that runs iptables for us, so that each call costs one
/// process.
pub(crate) struct Iptables {
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
    kernel: Kernel,
}

/// Who takes the tables that iptables makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    Running,
    /// `kernel.c`.
    Pretended,
}

/// What became of a file of rules.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The table as it is printed.
    Taken(String),
    Refused {
        status: i32,
        message: String,
    },
}

impl Outcome {
    /// Its rules only.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Taken(text) => {
                let rules: Vec<_> = text.lines().filter(|line| line.starts_with("-A")).collect();
                format!("taken: {}", rules.join(" / "))
            }
            Self::Refused { status, message } => format!("refused ({status}): {message}"),
        }
    }
}

impl Iptables {
    /// Nothing, with a word why, where root or iptables is missing.
    pub(crate) fn start() -> Option<Self> {
        let works = Command::new("unshare")
            .args(["-n", "iptables-legacy-restore", "--version"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output();
        let version = works.ok().filter(|output| output.status.success());
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        if !version.is_some_and(|version| version.contains("1.8.9")) {
            let required =
                std::env::var_os("STATEWARD_REQUIRE_TOOLS").is_some_and(|value| value == "1");
            assert!(
                !required,
                "STATEWARD_REQUIRE_TOOLS=1, but no root or no iptables-legacy 1.8.9"
            );
            eprintln!("skipped: needs root and iptables-legacy 1.8.9");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut shell = Command::new("unshare")
            .args(["-n", "sh"])
            .current_dir(directory.path())
            .env("XTABLES_LOCKFILE", directory.path().join("lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = shell.stdin.take().unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap());
        Some(Self { shell, input, output, directory, kernel: Kernel::Running })
    }

    /// Runs a line of shell and gives its exit status.
    pub(crate) fn run(&mut self, line: &str) -> i32 {
        writeln!(self.input, "{line} >out 2>err </dev/null; echo $?").unwrap();
        let mut status = String::new();
        self.output.read_line(&mut status).unwrap();
        status.trim().parse().unwrap()
    }

    /// Chooses who takes the tables from now on.
    pub(crate) fn pretend(&mut self, kernel: Kernel) {
        self.kernel = kernel;
        let line = match kernel {
            Kernel::Running => "unset LD_PRELOAD".to_owned(),
            Kernel::Pretended => {
                let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judge/kernel.c");
                let compiled = self.run(&format!("cc -shared -fPIC -o kernel.so {source}"));
                assert_eq!(compiled, 0, "{}", self.written("err"));
                "export STATEWARD_TABLE=$PWD/table LD_PRELOAD=$PWD/kernel.so".to_owned()
            }
        };
        self.run(&line);
    }

    /// What the last line wrote.
    pub(crate) fn written(&self, name: &str) -> String {
        let bytes = fs::read(self.directory.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Gives a file to iptables-restore and prints the table.
    pub(crate) fn restore(&mut self, family: Family, table: &str, text: &str) -> Outcome {
        self.restore_with(family, "", &format!("-t {table}"), text)
    }

    /// The same with options for iptables-restore and for iptables-save.
    pub(crate) fn restore_with(
        &mut self,
        family: Family,
        restore: &str,
        save: &str,
        text: &str,
    ) -> Outcome {
        let name = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        fs::write(self.directory.path().join("in"), text).unwrap();
        if self.kernel == Kernel::Pretended {
            let _ = fs::remove_file(self.directory.path().join("table"));
        }
        let status = self.run(&format!("{name}-legacy-restore {restore} in"));
        if status != 0 {
            return Outcome::Refused { status, message: clean(&self.written("err")) };
        }
        self.run(&format!("{name}-legacy-save {save}"));
        let saved = self.written("out");
        let lines = saved.split_inclusive('\n').filter(|line| !line.starts_with('#'));
        Outcome::Taken(lines.collect())
    }
}

impl Drop for Iptables {
    fn drop(&mut self) {
        // The shell ends with its input.
        let _ = self.input.write_all(b"exit\n");
        let _ = self.shell.wait();
    }
}

/// The message without the program's name and advice.
fn clean(message: &str) -> String {
    let useful = |line: &&str| {
        !line.is_empty() && !line.starts_with("Error occurred") && !line.starts_with("Try `")
    };
    let lines: Vec<_> = message.lines().map(without_name).filter(useful).collect();
    lines.join(" ")
}

fn without_name(line: &str) -> &str {
    line.split_once("(legacy): ").map_or(line, |(_, message)| message)
}

/// The options that a message names.
pub(crate) fn facts(message: &str) -> Vec<&str> {
    let separator = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let mut facts: Vec<_> =
        message.split(separator).filter(|word| word.starts_with("--")).collect();
    facts.sort_unstable();
    facts.dedup();
    facts
}
