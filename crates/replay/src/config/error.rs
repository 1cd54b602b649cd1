//! Errors of a configuration file, with the line shown.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::picture::Picture;

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Where in it, if it could be read at all.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// Characters that are meant, at least 1.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

impl ConfigError {
    pub(super) fn unplaced(file: &Path, message: String) -> Self {
        Self { file: file.to_owned(), place: None, message, hint: None }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        let Some(place) = &self.place else { return write!(f, "{file}: {}", self.message) };
        let Place { line, column, width, text } = place;
        writeln!(f, "{file}:{line}:{column}: {}", self.message)?;
        let margin = line.to_string();
        Picture { margin: &margin, text, column: column.saturating_sub(1), width: *width }
            .fmt(f)?;
        match &self.hint {
            Some(hint) => write!(f, " {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// A text and its name, to show places of.
#[derive(Debug, Clone)]
pub(super) struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    pub(super) fn new(file: &Path, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    /// The directory that paths in the text are relative to.
    pub(super) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn error(
        &self,
        span: &Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> ConfigError {
        ConfigError { file: self.file.clone(), place: Some(self.place(span)), message, hint }
    }

    pub(super) fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message().trim().replace('\n', "; ");
        match error.span() {
            Some(span) => self.error(&span, message, None),
            None => ConfigError::unplaced(&self.file, message),
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let (before, after) = self.text.split_at(start);
        let head = before.rsplit('\n').next().unwrap_or_default();
        let tail = after.split('\n').next().unwrap_or_default().trim_end();
        let end = self.text.floor_char_boundary(span.end).clamp(start, start + tail.len());
        let meant = self.text.get(start..end).unwrap_or_default();
        Place {
            line: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            width: meant.chars().count().max(1),
            text: format!("{head}{tail}"),
        }
    }
}
