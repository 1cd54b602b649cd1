//! What is wrong with a file of rules: where, shown, why, and what was probably meant.

use std::fmt;

/// One thing to say about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether iptables would have refused the file.
    pub severity: Severity,
    /// The file's name as the caller gave it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// How many characters are marked, at least 1.
    pub width: u32,
    /// The whole line, without its end.
    pub shown: String,
    /// What is wrong, without an end of sentence.
    pub message: String,
    /// What was meant, or what to do.
    pub hint: Option<String>,
}

/// What a diagnostic means for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// iptables takes it, but it is not what its author wants.
    Warning,
    /// iptables refuses it, and which part of iptables.
    Error(Refuser),
}

/// Who refuses, which is iptables' exit status as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuser {
    /// The command cannot be understood: 2.
    Language,
    /// The command is understood, but the table or the kernel does not take it: 1.
    Table,
}

impl Refuser {
    /// iptables' exit status.
    pub const fn status(self) -> u8 {
        match self {
            Self::Language => 2,
            Self::Table => 1,
        }
    }
}

impl Diagnostic {
    /// Whether the file cannot be used.
    pub fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error(_))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, line, column, width, shown, message, hint } = self;
        let word = match severity {
            Severity::Warning => "warning",
            Severity::Error(_) => "error",
        };
        let margin = line.to_string();
        let blank = " ".repeat(margin.len());
        // Tabs stay tabs, so that the mark stands below its place.
        let before = shown.chars().take(column.saturating_sub(1) as usize);
        let before: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        let mark = "^".repeat(*width as usize);
        writeln!(f, "{word}: {file}:{line}:{column}: {message}")?;
        writeln!(f, "{blank} |")?;
        writeln!(f, "{margin} | {shown}")?;
        write!(f, "{blank} | {before}{mark}")?;
        match hint {
            Some(hint) => writeln!(f, " {hint}"),
            None => writeln!(f),
        }
    }
}
