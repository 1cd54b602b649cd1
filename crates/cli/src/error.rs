//! How a command fails: what is wrong, where, what to do, and the exit code.
//!
//! 0 is done, 1 is "the answer is no", 2 is wrong usage or unreadable input. A broken pipe is no
//! failure: the reader had enough.

use std::fmt;
use std::io;
use std::process::ExitCode;

use stateward_replay::capture::{CaptureError, CaptureErrorKind};
use stateward_replay::config::ConfigError;
use stateward_replay::text::Grouped;

use crate::bench::BenchError;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The answer is no.
    No,
    /// Wrong usage or unreadable input.
    Input,
    /// The output cannot be written.
    Output,
    /// Nobody reads the output any more.
    BrokenPipe,
}

impl Failure {
    /// The user asked for what cannot be.
    pub(crate) fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind: Kind::Input, message: message.into(), hint }
    }

    /// What was asked about is not as it should be.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self { kind: Kind::No, message: message.into(), hint: None }
    }

    /// The output cannot be written.
    pub(crate) fn output(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::BrokenPipe,
            _ => Kind::Output,
        };
        // An error that names its file says it all.
        let message = match error.get_ref() {
            Some(_) => error.to_string(),
            None => format!("cannot write the output: {error}"),
        };
        Self { kind, message, hint: None }
    }

    /// Some captures could not be read to their end; what could be read was replayed.
    pub(crate) fn captures(errors: &[CaptureError], replayed: u64) -> Self {
        let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let hint = match replayed {
            0 => None,
            1 => Some("what could be read was replayed: 1 packet".to_owned()),
            _ => Some(format!("what could be read was replayed: {} packets", Grouped(replayed))),
        };
        let kind = Kind::Input;
        Self { kind, message: messages.join("\nerror: "), hint: hint.or(advice(errors)) }
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.kind == Kind::BrokenPipe
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::BrokenPipe => ExitCode::SUCCESS,
            Kind::No => ExitCode::from(1),
            Kind::Input | Kind::Output => ExitCode::from(2),
        }
    }

    /// Says it on standard error.
    pub(crate) fn print(&self) {
        eprint!("{self}");
    }
}

/// What to do about a capture that cannot be read at all.
fn advice(errors: &[CaptureError]) -> Option<String> {
    let [error] = errors else { return None };
    match &error.kind {
        CaptureErrorKind::Open(cause) if cause.kind() == io::ErrorKind::NotFound => {
            Some("is the name right? `-` reads standard input".into())
        }
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => writeln!(f, "  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        Self::captures(&[error], 0)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        // It shows its own hint beside the place.
        Self { kind: Kind::Input, message: error.to_string(), hint: None }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let message = error.to_string();
        match error {
            BenchError::Wrong(_) => Self { kind: Kind::No, message, hint: None },
            BenchError::Usage(_) => Self::usage(message, None),
            BenchError::Rules(failure) => *failure,
            BenchError::Io(error) => Self::output(error),
        }
    }
}
