//! What left the machine, as pcapng: each packet with a comment that says what it was.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use stateward_conntrack::CtState;
use stateward_engine::By;

use crate::capture::Direction;
use crate::run::{Fate, Left, Meanwhile, Sink, Step};
use crate::write::{Record, Writer, WrittenInterface};

/// The interface of what left while nothing came in and routing is off.
const NOWHERE: &str = "eth0";

/// Writes what leaves.
pub struct Leaving {
    file: String,
    writer: Writer,
    interfaces: HashMap<String, WrittenInterface>,
    comment: String,
}

impl Leaving {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(file: &str) -> io::Result<Self> {
        let writer = Writer::create(file)?;
        let interfaces = HashMap::new();
        Ok(Self { file: file.to_owned(), writer, interfaces, comment: String::new() })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When the disk is full or the like.
    pub fn finish(self) -> io::Result<()> {
        let Self { file, writer, .. } = self;
        writer.finish().map_err(|error| naming(&file, error))
    }

    /// The interface a packet left by. Where routing is off that is not known, and then the one it
    /// came in by stands for it, without a direction.
    fn write(&mut self, left: &Left<'_>, came: &str, time: u64, length: usize) -> io::Result<()> {
        let interface = self.interface(left.dev.unwrap_or(came))?;
        let length = u32::try_from(length.max(left.bytes.len())).unwrap_or(u32::MAX);
        let record = Record {
            interface,
            time,
            direction: left.dev.map(|_| Direction::Out),
            bytes: left.bytes,
            original_length: length,
            comment: &self.comment,
        };
        self.writer.packet(&record).map_err(|error| naming(&self.file, error))
    }

    fn interface(&mut self, name: &str) -> io::Result<WrittenInterface> {
        if let Some(known) = self.interfaces.get(name) {
            return Ok(*known);
        }
        let new = self.writer.interface(name).map_err(|error| naming(&self.file, error))?;
        self.interfaces.insert(name.to_owned(), new);
        Ok(new)
    }

    /// `ESTABLISHED reply #3, forward`, and the reason if there is one.
    fn comment(&mut self, step: &Step<'_>, by: By) {
        let Fate::Walked(outcome) = step.fate else { return };
        let comment = &mut self.comment;
        comment.clear();
        // Writing to a string cannot fail.
        let _ = match by {
            By::Packet => {
                let _ = comment.write_str(outcome.state.map_or("", CtState::name));
                if let (Some(connection), Some(number)) = (outcome.connection, step.connection) {
                    let _ = write!(comment, " {} #{number}", connection.direction.name());
                }
                write!(comment, ", {}", crate::trace::verdict(outcome.verdict))
            }
            By::Host(state) => {
                write!(comment, "{}, from this host about packet {}", state.name(), step.number)
            }
        };
        if let Some(why) = outcome.why {
            let _ = write!(comment, ": {why}");
        }
    }
}

/// Says which file an error is about. Its kind stays: a reader who has seen enough is no error.
fn naming(file: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {file}: {error}"))
}

impl Sink for Leaving {
    fn packet(&mut self, step: &Step<'_>) -> io::Result<()> {
        let Fate::Walked(outcome) = step.fate else { return Ok(()) };
        for left in step.out.iter() {
            self.comment(step, left.by);
            let whole = left.by == By::Packet && !outcome.in_pieces;
            let length = if whole { outcome.length } else { left.bytes.len() };
            self.write(&left, step.interface, step.captured.time, length)?;
        }
        Ok(())
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile<'_>) -> io::Result<()> {
        for left in meanwhile.out.iter() {
            self.comment.clear();
            self.comment.push_str("from this host, whose patience for fragments ended");
            self.write(&left, NOWHERE, meanwhile.now.0, left.bytes.len())?;
        }
        Ok(())
    }
}
