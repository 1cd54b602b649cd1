//! A file of rules as text with lines, so that everything said about it can show the place.

use crate::diagnostic::{Diagnostic, Refuser, Severity};
use crate::option::Refusal;

/// Where a rule or a chain was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// From 1; 0 is nowhere: made, not read.
    pub line: u32,
}

/// A file's name and text.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    /// A file that is called `name` where something is said about it.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, lines: text.split_inclusive('\n').collect() }
    }

    /// The lines with their ends, and their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u32, &'a str)> + use<'a, '_> {
        (1..).zip(self.lines.iter().copied())
    }

    /// How many lines there are.
    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }

    /// What is said about bytes of a line.
    pub(crate) fn error(&self, place: Place, refusal: Refusal) -> Diagnostic {
        let Refusal { message, hint, refuser } = refusal;
        self.diagnostic(place, Severity::Error(refuser), message, hint)
    }

    /// A warning about a whole line.
    pub(crate) fn warning(&self, line: u32, message: String, hint: Option<String>) -> Diagnostic {
        self.diagnostic(self.whole(line), Severity::Warning, message, hint)
    }

    /// A refusal by the kernel of what stands in a line.
    pub(crate) fn refused(&self, line: u32, message: String, hint: Option<String>) -> Diagnostic {
        self.diagnostic(self.whole(line), Severity::Error(Refuser::Table), message, hint)
    }

    /// All of a line but the blanks around it.
    pub(crate) fn whole(&self, line: u32) -> Place {
        let text = self.text(line);
        let start = text.len() - text.trim_start().len();
        Place { line, start, length: text.trim().len() }
    }

    fn text(&self, line: u32) -> &'a str {
        let index = (line as usize).wrapping_sub(1);
        self.lines.get(index).copied().unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    fn diagnostic(
        &self,
        place: Place,
        severity: Severity,
        message: String,
        hint: Option<String>,
    ) -> Diagnostic {
        let Place { line, start, length } = place;
        let shown = self.text(line);
        let characters = |to: usize| shown.char_indices().filter(|(at, _)| *at < to).count();
        let before = characters(start);
        let count = |characters| u32::try_from(characters).unwrap_or(u32::MAX);
        Diagnostic {
            severity,
            file: self.name.to_owned(),
            line,
            column: count(before).saturating_add(1),
            width: count(characters(start.saturating_add(length)) - before).max(1),
            shown: shown.to_owned(),
            message,
            hint,
        }
    }
}

/// Bytes of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u32,
    pub(crate) start: usize,
    pub(crate) length: usize,
}
