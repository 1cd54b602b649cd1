//! A table of connections from a file: what `conntrack -L` printed on some machine, or
//! /proc/net/nf_conntrack.

use std::collections::HashMap;
use std::fmt;

use stateward_conntrack::text::{LineError, read};
use stateward_conntrack::{ConnId, Given, Instant, Tracker};

use crate::picture::Picture;

/// The connections of a file, each with its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Dump {
    file: String,
    entries: Vec<(u32, Given)>,
}

/// Which connections were loaded, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    file: String,
    lines: HashMap<ConnId, u32>,
}

/// A line that is no connection, or one that cannot be in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpError {
    file: String,
    line: u32,
    text: String,
    error: LineError,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, text, error: LineError { at, length, message } } = self;
        let before = text.get(..*at).unwrap_or(text).chars().count();
        writeln!(f, "{file}:{line}:{}: {message}", before + 1)?;
        let margin = line.to_string();
        Picture { margin: &margin, text, column: before, width: *length }.fmt(f)
    }
}

impl std::error::Error for DumpError {}

impl Dump {
    /// Reads a text; `file` is its name in messages.
    ///
    /// # Errors
    /// With every line that is no connection.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<DumpError>> {
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            match read(text) {
                Ok(Some(given)) => entries.push((line, given)),
                Ok(None) => {}
                Err(error) => {
                    let (file, text) = (file.to_owned(), text.to_owned());
                    errors.push(DumpError { file, line, text, error });
                }
            }
        }
        if errors.is_empty() { Ok(Self { file: file.to_owned(), entries }) } else { Err(errors) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Puts them into a table.
    pub(crate) fn load(
        &self,
        tracker: &mut Tracker,
        now: Instant,
    ) -> Result<Loaded, Box<DumpError>> {
        let mut lines = HashMap::with_capacity(self.entries.len());
        for (line, given) in &self.entries {
            let id = tracker.load(given, now).map_err(|error| {
                let message = error.to_string();
                let error = LineError { at: 0, length: 1, message };
                let text = format!("{} …", given.original.source());
                Box::new(DumpError { file: self.file.clone(), line: *line, text, error })
            })?;
            lines.insert(id, *line);
        }
        Ok(Loaded { file: self.file.clone(), lines })
    }
}

impl Loaded {
    /// The connections in the order of their lines.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnId> + use<> {
        let mut all: Vec<_> = self.lines.iter().map(|(id, line)| (*line, *id)).collect();
        all.sort_by_key(|(line, _)| *line);
        all.into_iter().map(|(_, id)| id)
    }

    /// Where a connection is from, as `FILE:LINE`; `None` if it began since.
    pub fn place(&self, id: ConnId) -> Option<String> {
        self.lines.get(&id).map(|line| format!("{}:{line}", self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "udp 17 29 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=2 src=192.0.2.2 dst=192.0.2.1 sport=2 dport=1 mark=0 use=1";

    #[test]
    fn every_line_that_cannot_be_read_is_told() {
        let text = format!("{ENTRY}\n\nudp 17 x\n{ENTRY} colour=red\n");
        let errors = Dump::parse("table.txt", &text).unwrap_err();
        let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "table.txt:3:8: `x` is not known\n  |\n3 | udp 17 x\n  |        ^");
        let place = format!("table.txt:4:{}: `colour=red` is not known", ENTRY.len() + 2);
        assert!(shown[1].starts_with(&place), "{}", shown[1]);
        assert_eq!(shown.len(), 2);
    }

    #[test]
    fn labels_are_those_with_numbers() {
        let mut tracker = Tracker::new(stateward_conntrack::Config::default());
        let dump = Dump::parse("table.txt", &format!("{ENTRY} labels=3,customer,127,128\n"));
        dump.unwrap().load(&mut tracker, Instant::from_secs(1)).unwrap();
        let record = tracker.dump().next().unwrap();
        assert_eq!(record.labels, Some(1 << 3 | 1 << 127));
    }

    #[test]
    fn an_entry_can_be_there_once() {
        let mut tracker = Tracker::new(stateward_conntrack::Config::default());
        let dump = Dump::parse("table.txt", &format!("{ENTRY}\n{ENTRY}\n")).unwrap();
        assert_eq!(dump.count(), 2);
        let error = dump.load(&mut tracker, Instant::from_secs(1)).unwrap_err().to_string();
        assert!(
            error.starts_with("table.txt:2:1: there is a connection with this tuple"),
            "{error}"
        );
        let once = Dump::parse("table.txt", ENTRY).unwrap();
        let mut tracker = Tracker::new(stateward_conntrack::Config::default());
        let loaded = once.load(&mut tracker, Instant::from_secs(1)).unwrap();
        let id = tracker.dump().next().unwrap().id;
        assert_eq!(loaded.place(id).as_deref(), Some("table.txt:1"));
    }
}
