//! How iptables-save writes words: quoted if they hold anything but letters, digits, `-` and `_`.

use std::fmt::{self, Write as _};

/// A line of iptables-save that grows.
#[derive(Debug, Default)]
pub(crate) struct Save {
    text: String,
}

impl Save {
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// ` !` if the option is inverted.
    pub(crate) fn inverted(&mut self, inverted: bool) -> &mut Self {
        if inverted {
            self.text.push_str(" !");
        }
        self
    }

    /// ` --NAME`.
    pub(crate) fn flag(&mut self, name: &str) -> &mut Self {
        self.text.push_str(" --");
        self.text.push_str(name);
        self
    }

    /// ` --NAME VALUE`.
    pub(crate) fn option(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.flag(name).word(value)
    }

    /// ` VALUE`.
    pub(crate) fn word(&mut self, value: impl fmt::Display) -> &mut Self {
        // Writing to a string does not fail.
        let _ = write!(self.text, " {value}");
        self
    }

    /// The text alone.
    pub(crate) fn text(&mut self, value: impl fmt::Display) -> &mut Self {
        let _ = write!(self.text, "{value}");
        self
    }

    /// ` TEXT`, in quotes if it needs them.
    pub(crate) fn quoted(&mut self, text: &str) -> &mut Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !text.is_empty() && text.chars().all(plain) {
            return self.word(text);
        }
        self.text.push_str(" \"");
        for character in text.chars() {
            if matches!(character, '"' | '\\' | '\'') {
                self.text.push('\\');
            }
            self.text.push(character);
        }
        self.text.push('"');
        self
    }
}
