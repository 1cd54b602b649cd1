//! Standard output: buffered by lines for a terminal, else in large pieces, and coloured or not.

use std::env;
use std::io::{self, BufWriter, IsTerminal, LineWriter, Write};

use clap::ValueEnum;
use stateward_replay::text::Colour;

/// Bytes gathered before they are written to what is no terminal.
const BUFFER: usize = 64 * 1024;

/// When words are coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Standard output.
pub(crate) fn stdout() -> Box<dyn Write> {
    let out = io::stdout();
    if out.is_terminal() {
        Box::new(LineWriter::new(out.lock()))
    } else {
        Box::new(BufWriter::with_capacity(BUFFER, out.lock()))
    }
}

/// Whether standard output is to be coloured.
pub(crate) fn colour(when: When) -> Colour {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    match when {
        When::Always => Colour::Always,
        When::Auto if io::stdout().is_terminal() && !plain => Colour::Always,
        When::Auto | When::Never => Colour::Never,
    }
}
