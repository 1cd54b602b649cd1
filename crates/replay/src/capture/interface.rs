//! The interfaces of one capture: a table that grows as they appear, and small numbers that refer
//! to it.
//!
//! The same interface may be described several times, once a section; it keeps its number. What
//! makes two descriptions the same is the name if there is one, else the kernel's interface number,
//! else the position in the section.

use std::collections::HashMap;

use super::error::CaptureErrorKind;

/// Interfaces one capture may have. A real machine has some dozens; more is damage or malice, and
/// each costs memory.
pub const MAX_INTERFACES: usize = 65_536;

/// An interface of one capture: its place in [`Capture::interfaces`](super::Capture::interfaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceRef(pub u32);

/// What a capture says about an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The name in a pcapng file, control characters replaced; for LINUX_SLL2 and NFLOG, which know
    /// numbers only, `if` and the number (`if3`). `None` in plain pcap.
    pub name: Option<String>,
    /// The interface's number on the machine that captured, where the link header holds it.
    pub index: Option<u32>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Index(u32),
    Position(usize),
}

/// The table. It only grows.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    table: Vec<Interface>,
    known: HashMap<Key, InterfaceRef>,
    /// The answer to the last question of [`numbered`](Self::numbered), which the next frame asks
    /// again.
    recent: Option<(InterfaceRef, u32, InterfaceRef)>,
}

impl Interfaces {
    pub(super) fn table(&self) -> &[Interface] {
        &self.table
    }

    /// The interface described at a position of a section. The pseudo-device `any` is not a name:
    /// what was captured there came from all of them.
    pub(super) fn declare(
        &mut self,
        position: usize,
        name: Option<&str>,
    ) -> Result<InterfaceRef, CaptureErrorKind> {
        let name = name.map(printable).filter(|name| !name.is_empty() && name != "any");
        let key = name.clone().map_or(Key::Position(position), Key::Name);
        self.enter(key, Interface { name, index: None })
    }

    /// The interface with a kernel's number, seen by a frame on `declared`. A declared name stands,
    /// because then the capture was of that interface alone.
    pub(super) fn numbered(
        &mut self,
        declared: InterfaceRef,
        index: u32,
    ) -> Result<InterfaceRef, CaptureErrorKind> {
        if let Some((asked, number, answer)) = self.recent
            && (asked, number) == (declared, index)
        {
            return Ok(answer);
        }
        let named = self.table.get(declared.0 as usize).is_some_and(|known| known.name.is_some());
        let answer = if named {
            declared
        } else {
            let name = Some(format!("if{index}"));
            self.enter(Key::Index(index), Interface { name, index: Some(index) })?
        };
        self.recent = Some((declared, index, answer));
        Ok(answer)
    }

    fn enter(&mut self, key: Key, interface: Interface) -> Result<InterfaceRef, CaptureErrorKind> {
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        if self.table.len() >= MAX_INTERFACES {
            return Err(CaptureErrorKind::TooManyInterfaces);
        }
        let next = InterfaceRef(u32::try_from(self.table.len()).unwrap_or(u32::MAX));
        self.table.push(interface);
        self.known.insert(key, next);
        Ok(next)
    }
}

/// A name goes to a terminal: whatever would steer it, or the order in which a line is read, is
/// replaced.
fn printable(raw: &str) -> String {
    let steers = |each: char| {
        let marks = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}'];
        let overrides = matches!(each, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        each.is_control() || overrides || marks.contains(&each)
    };
    let raw = raw.trim_end_matches('\0');
    raw.chars().map(|each| if steers(each) { '?' } else { each }).collect()
}
