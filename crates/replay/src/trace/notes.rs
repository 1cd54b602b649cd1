//! What rules noted of a packet: the log's lines, and what matches were told of it.

use serde::Serialize;
use serde::ser::Serializer;
use stateward_engine::rules::{LogLine, Logged};
use stateward_rules::Copied;
use stateward_rules::shared::Given;

/// Lines of the kernel's log, and what listeners were given.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a>(pub &'a [Logged]);

impl Log<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Log<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Line<'a> {
            Log { level: u8, text: &'a str },
            Nflog { group: u16, prefix: &'a str, length: usize },
        }
        serializer.collect_seq(self.0.iter().map(|logged| match logged {
            Logged::Line(LogLine { level, text }) => Line::Log { level: *level, text },
            Logged::Copied(Copied { group, prefix, length }) => {
                Line::Nflog { group: *group, prefix, length: *length }
            }
        }))
    }
}

/// Matches that were answered by what is given, each with what it was told.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a>(pub &'a [Given]);

impl Answers<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Answers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Answer<'a> {
            r#match: &'a str,
            value: &'a str,
        }
        let answers = self.0.iter();
        serializer.collect_seq(
            answers.map(|Given { extension, words }| Answer { r#match: extension, value: words }),
        )
    }
}
