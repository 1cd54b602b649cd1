//! Commands in the calling thread's network namespace, which every child inherits.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// What a command said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `argv`, with `input` as its standard input, to its end, whatever that is.
pub(super) fn run(argv: &[&str], input: &str) -> io::Result<CommandOutput> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a command without words"));
    };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{program}: {error}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(named)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that refuses its input closes it early; its exit code says so then.
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(named(error)),
            _ => {}
        }
    }
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(named)?;
    Ok(CommandOutput {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

/// Runs `argv` and returns its standard output; any exit code but 0 is an error with its words.
pub(super) fn succeed(argv: &[&str], input: &str) -> io::Result<String> {
    let output = run(argv, input)?;
    if output.code == Some(0) {
        return Ok(output.stdout);
    }
    let words = output.stderr.trim_end();
    Err(io::Error::other(format!("{}: exit code {:?}: {words}", argv.join(" "), output.code)))
}
