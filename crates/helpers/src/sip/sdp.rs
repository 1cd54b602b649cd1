//! What SIP messages carry (SDP, RFC 4566): which media, and where.
//!
//! A description begins with the version; what is said of all media stands before the first one.
//! Lines do not go on, and addresses stand in no brackets.

use core::net::IpAddr;
use core::ops::Range;

use stateward_wire::Family;

use super::header::{Found, Text};

/// A line that is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Version,
    Owner,
    Connection,
    Media,
}

impl Line {
    const fn name(self) -> &'static [u8] {
        match self {
            Line::Version => b"v=",
            Line::Owner => b"o=",
            Line::Connection => b"c=",
            Line::Media => b"m=",
        }
    }
}

impl Text<'_> {
    /// The value of the first such line that begins behind this place, and before `end`.
    pub(super) fn sdp(self, mut at: usize, line: Line, end: Option<Line>) -> Found {
        while let Some(line_end) = self.line_end(at) {
            let Some(begin) = self.next_line(line_end) else { break };
            if end.is_some_and(|end| self.has(begin, end.name())) {
                break;
            }
            if self.has(begin, line.name()) {
                let value = begin + line.name().len();
                return self.sdp_value(value, line).map_or(Found::Unread(value), Found::At);
            }
            at = begin + 1;
        }
        Found::Nothing
    }

    fn sdp_value(self, at: usize, line: Line) -> Option<Range<usize>> {
        match line {
            Line::Version => self.digits(at),
            Line::Media => self.media(at),
            Line::Owner | Line::Connection => {
                let begin = self.behind_network(at)?;
                Some(begin..self.bare_address(begin)?.1)
            }
        }
    }

    /// A kind of media and a port.
    fn media(self, at: usize) -> Option<Range<usize>> {
        let kind = self.from(at).iter().take_while(|byte| super::header::is_letter(**byte)).count();
        let blank = at + kind;
        self.from(blank).starts_with(b" ").then(|| {
            let end = self.digits(blank + 1).map_or(blank + 1, |digits| digits.end);
            at..end
        })
    }

    /// Behind the word that says of which family an address is; letters count as they are.
    fn behind_network(self, at: usize) -> Option<usize> {
        let word: &[u8] = match self.family {
            Family::V4 => b"IN IP4 ",
            Family::V6 => b"IN IP6 ",
        };
        let end = self.line_end(at).unwrap_or(self.bytes.len());
        let last = self.bytes.len().checked_sub(word.len())?.min(end);
        (at..last).find(|at| self.from(*at).starts_with(word)).map(|at| at + word.len())
    }

    /// The address of such a line, and the bytes that say so.
    pub(super) fn sdp_address(self, at: usize, line: Line) -> Option<(Range<usize>, IpAddr)> {
        let place = self.sdp(at, line, Some(Line::Media)).read()?;
        let (address, _) = self.bare_address(place.start)?;
        Some((place, address))
    }
}
