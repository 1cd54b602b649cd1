//! SIP's headers: where a value begins and ends, and what it says.
//!
//! A header begins a line; lines that begin with a blank go on with the one before. Some have a
//! short name. Values may be rows, with commas between them. Addresses count as read only with what
//! follows them: a text that ends with an address or a port has none, for it may go on elsewhere.
//!
//! Places are offsets into the message, which is all that is looked at. Each function goes over the
//! bytes once, forward; a row of contacts remembers what it has looked for, so that reading all of
//! it takes time in proportion to its length. Letters are Latin-1's, as the kernel has them.

use core::net::IpAddr;
use core::ops::Range;

use stateward_wire::Family;

use crate::text::{same_word, v4_prefix, v6_prefix};

/// Where a SIP server listens that names no port.
pub(super) const PORT: u16 = 5060;

/// The lowest port that anybody is believed to listen at.
pub(super) const LOWEST: u16 = 1024;

/// A message, or what it is to become.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) family: Family,
}

/// A header that is looked for.
pub(super) struct Header {
    name: &'static [u8],
    short: Option<u8>,
    /// What its value is behind.
    behind: &'static [u8],
    value: fn(Text<'_>, usize) -> Option<Range<usize>>,
}

const fn uri(name: &'static [u8], short: u8) -> Header {
    let value = |text: Text<'_>, at| text.behind_user(at, &mut User::default());
    Header { name, short: Some(short), behind: b"sip:", value }
}

const fn via(behind: &'static [u8]) -> Header {
    Header { name: b"Via", short: Some(b'v'), behind, value: |text, at| text.host(at) }
}

const fn digits(name: &'static [u8], short: Option<u8>) -> Header {
    Header { name, short, behind: b"", value: |text, at| text.digits(at) }
}

pub(super) const FROM: Header = uri(b"From", b'f');
pub(super) const TO: Header = uri(b"To", b't');
pub(super) const CONTACT: Header = uri(b"Contact", b'm');
pub(super) const VIA_UDP: Header = via(b"UDP ");
pub(super) const VIA_TCP: Header = via(b"TCP ");
pub(super) const CSEQ: Header = digits(b"CSeq", None);
pub(super) const EXPIRES: Header = digits(b"Expires", None);
pub(super) const CONTENT_LENGTH: Header = digits(b"Content-Length", Some(b'l'));

/// What became of looking for something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Nothing,
    /// It is there, and says what cannot be read; its value begins here.
    Unread(usize),
    At(Range<usize>),
}

impl Found {
    pub(super) fn read(self) -> Option<Range<usize>> {
        match self {
            Found::At(place) => Some(place),
            Found::Nothing | Found::Unread(_) => None,
        }
    }
}

/// An address with a port, and the bytes that say so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Host {
    pub(super) place: Range<usize>,
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// Whether an IPv6 address must stand in brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Brackets {
    Needed,
    Optional,
}

/// Where the names of users end in a line, as far as that is known.
#[derive(Default)]
pub(super) struct User {
    /// Whatever begins here has the same answer.
    known: Range<usize>,
    /// If there is a user's name, what stands behind it: an address, or none.
    host: Option<Option<Range<usize>>>,
}

/// The letters of Latin-1.
pub(super) fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0xc0 && !matches!(byte, 0xd7 | 0xf7)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

impl<'a> Text<'a> {
    fn at(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn from(self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    /// The same, as if it ended here.
    fn until(self, end: usize) -> Text<'a> {
        Text { bytes: self.bytes.get(..end).unwrap_or(self.bytes), ..self }
    }

    /// Whether a word stands here, in upper or lower case.
    pub(super) fn has(self, at: usize, word: &[u8]) -> bool {
        self.from(at).get(..word.len()).is_some_and(|here| same_word(here, word))
    }

    /// Where the line after the end that is here begins, if it has a first byte.
    pub(super) fn next_line(self, end: usize) -> Option<usize> {
        let crlf = self.at(end) == Some(b'\r') && self.at(end + 1) == Some(b'\n');
        let begin = end + 1 + usize::from(crlf);
        (begin < self.bytes.len()).then_some(begin)
    }

    /// Where the line ends that this is in, or the text.
    pub(super) fn line_end(self, at: usize) -> Option<usize> {
        self.from(at).iter().position(|byte| is_end(*byte)).map(|length| at + length)
    }

    fn blanks(self, at: usize) -> usize {
        at + self.from(at).iter().take_while(|byte| is_blank(**byte)).count()
    }

    /// Where the line goes on behind the end that is here.
    fn go_on(self, end: usize) -> Option<usize> {
        let next = self.next_line(end)?;
        is_blank(self.at(next)?).then(|| self.blanks(next))
    }

    fn skip_blanks(self, at: usize) -> Option<usize> {
        let at = self.blanks(at);
        let at = if is_end(self.at(at)?) { self.go_on(at)? } else { at };
        (at < self.bytes.len()).then_some(at)
    }

    /// Looks for a word in the header that this is in. It does not count if the text ends with it.
    fn search(self, mut at: usize, word: &[u8]) -> Option<usize> {
        let within = self.until(self.bytes.len().checked_sub(word.len())?);
        while let Some(byte) = within.at(at) {
            if is_end(byte) {
                // The kernel has gone past the first byte behind the blanks.
                at = within.go_on(at)? + 1;
                continue;
            }
            if self.has(at, word) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// The first header of a kind in a line that begins behind this place.
    pub(super) fn header(self, mut at: usize, header: &Header) -> Found {
        while let Some(end) = self.line_end(at) {
            let Some(begin) = self.next_line(end) else { break };
            // The next line's end may be where this one begins.
            at = begin;
            let goes_on = self.at(begin).is_some_and(is_blank);
            let Some(name_end) = self.named(begin, header).filter(|_| !goes_on) else {
                // The kernel has gone past this byte.
                at += 1;
                continue;
            };
            return match self.value_of(name_end) {
                None => Found::Nothing,
                Some(value) => self.read(value, header),
            };
        }
        Found::Nothing
    }

    fn named(self, at: usize, header: &Header) -> Option<usize> {
        if self.has(at, header.name) {
            return Some(at + header.name.len());
        }
        let short = header.short?;
        let ends = self.at(at + 1).is_some_and(|byte| !is_letter(byte));
        (self.has(at, &[short]) && ends).then_some(at + 1)
    }

    /// Behind the colon.
    fn value_of(self, name_end: usize) -> Option<usize> {
        let colon = self.skip_blanks(name_end).filter(|at| self.at(*at) == Some(b':'))?;
        self.skip_blanks(colon + 1)
    }

    fn read(self, value: usize, header: &Header) -> Found {
        let begin = match header.behind {
            b"" => Some(value),
            behind => self.search(value, behind).map(|at| at + behind.len()),
        };
        match begin.and_then(|begin| (header.value)(self, begin)) {
            Some(place) => Found::At(place),
            None => Found::Unread(value),
        }
    }

    /// The first address in a header of a kind that can be read.
    pub(super) fn first(self, header: &Header) -> Option<Host> {
        self.first_from(0, header)
    }

    fn first_from(self, mut at: usize, header: &Header) -> Option<Host> {
        loop {
            match self.header(at, header) {
                Found::Nothing => return None,
                Found::Unread(value) => at = value,
                Found::At(place) => return self.host_at(place.start),
            }
        }
    }

    /// The number that is the first in a header of a kind.
    pub(super) fn number(self, header: &Header) -> Option<u32> {
        let place = self.header(0, header).read()?;
        Some(number(self.from(place.start)).0)
    }

    pub(super) fn digits(self, at: usize) -> Option<Range<usize>> {
        let length = self.from(at).iter().take_while(|byte| byte.is_ascii_digit()).count();
        (length > 0).then(|| at..at + length)
    }

    /// An address as SIP writes it.
    pub(super) fn address(self, at: usize, brackets: Brackets) -> Option<(IpAddr, usize)> {
        if self.family == Family::V4 {
            return self.bare_address(at);
        }
        let opens = self.at(at) == Some(b'[');
        let (address, end) = self.bare_address(at + usize::from(opens))?;
        let closes = self.at(end) == Some(b']');
        let stands = opens && closes || brackets == Brackets::Optional;
        stands.then_some((address, end + usize::from(closes)))
    }

    pub(super) fn bare_address(self, at: usize) -> Option<(IpAddr, usize)> {
        let bytes = self.from(at);
        let (address, length) = match self.family {
            Family::V4 => v4_prefix(bytes).map(|(address, length)| (address.into(), length))?,
            Family::V6 => v6_prefix(bytes).map(|(address, length)| (address.into(), length))?,
        };
        Some((address, at + length))
    }

    /// An address, with a port or without.
    pub(super) fn host_at(self, at: usize) -> Option<Host> {
        let (address, end) = self.address(at, Brackets::Needed)?;
        let (port, end) = self.port(end)?;
        Some(Host { place: at..end, address, port })
    }

    fn host(self, at: usize) -> Option<Range<usize>> {
        self.host_at(at).map(|host| host.place)
    }

    /// The port behind an address, and where it ends.
    fn port(self, at: usize) -> Option<(u16, usize)> {
        const DIGITS: usize = 5;
        if self.at(at)? != b':' {
            return Some((PORT, at));
        }
        let place = self.digits(at + 1).filter(|digits| digits.len() <= DIGITS)?;
        let port = u16::try_from(number(self.from(place.start)).0).ok()?;
        (port >= LOWEST && place.end < self.bytes.len()).then_some((port, place.end))
    }

    /// The address of a URI: behind the user's name, if it has one.
    fn behind_user(self, at: usize, user: &mut User) -> Option<Range<usize>> {
        if !user.known.contains(&at) {
            let ends = |byte: &u8| *byte == b'@' || is_end(*byte);
            let length = self.from(at).iter().position(ends);
            let end = length.map_or(self.bytes.len(), |length| at + length);
            let named = self.at(end) == Some(b'@');
            *user = User { known: at..end + 1, host: named.then(|| self.host(end + 1)) };
        }
        match &user.host {
            Some(host) => host.clone(),
            None => self.host(at),
        }
    }

    /// Where the parameters end of the value that this is in.
    fn value_end(self, at: usize) -> Text<'a> {
        self.search(at, b",").map_or(self, |end| self.until(end))
    }

    /// What stands behind a parameter's name, and to where its value may reach.
    fn parameter(self, at: usize, name: &[u8]) -> Option<(usize, Text<'a>)> {
        let within = self.value_end(at);
        Some((within.search(at, name)? + name.len(), within))
    }

    /// The protocol that the value says it is for, as its bytes begin.
    pub(super) fn transport(self, at: usize) -> Option<&'a [u8]> {
        self.parameter(at, b"transport=").map(|(value, _)| self.from(value))
    }

    /// A parameter that is an address.
    pub(super) fn address_parameter(
        self,
        at: usize,
        name: &[u8],
        brackets: Brackets,
    ) -> Option<(Range<usize>, IpAddr)> {
        let (value, within) = self.parameter(at, name)?;
        let (address, end) = within.address(value, brackets)?;
        Some((value..end, address))
    }

    /// A parameter that is a number.
    pub(super) fn number_parameter(self, at: usize, name: &[u8]) -> Found {
        let Some((value, within)) = self.parameter(at, name) else { return Found::Nothing };
        match number(within.from(value)) {
            (_, 0) => Found::Unread(value),
            (_, length) => Found::At(value..value + length),
        }
    }

    /// The address in a request's first line, and all of it must be there.
    pub(super) fn request(self) -> Option<Host> {
        const SIP: &[u8] = b"sip:";
        let method = self.bytes.iter().take_while(|byte| is_letter(**byte)).count();
        let begin = method + 1;
        if method == 0 || begin >= self.bytes.len() {
            return None;
        }
        let last = self.bytes.len().saturating_sub(SIP.len());
        let mut at = begin;
        while at < last {
            if is_end(self.at(at)?) {
                return None;
            }
            if self.has(at, SIP) {
                at += SIP.len();
                break;
            }
            at += 1;
        }
        let place = self.behind_user(at, &mut User::default())?;
        self.host_at(place.start)
    }
}

/// A row of contacts, in one header or in several.
#[derive(Default)]
pub(super) struct Contacts {
    at: usize,
    /// The last one was in a header that may have more.
    within: bool,
    user: User,
}

impl Contacts {
    /// The next one that can be read.
    pub(super) fn next(&mut self, text: Text<'_>) -> Option<Host> {
        let host = match self.in_row(text) {
            Some(place) => text.host_at(place.start),
            None => text.first_from(self.at, &CONTACT),
        }?;
        (self.at, self.within) = (host.place.end, true);
        Some(host)
    }

    fn in_row(&mut self, text: Text<'_>) -> Option<Range<usize>> {
        const SIP: &[u8] = b"sip:";
        while core::mem::take(&mut self.within) {
            let comma = text.search(self.at, b",")?;
            let begin = text.search(comma, SIP)? + SIP.len();
            let place = text.behind_user(begin, &mut self.user);
            if place.is_some() {
                return place;
            }
            (self.at, self.within) = (begin, true);
        }
        None
    }
}

/// The digits at the start as a number, and how many there are; none of either if it is too large.
pub(super) fn number(bytes: &[u8]) -> (u32, usize) {
    /// Of the largest number, and one more.
    const MOST: usize = 11;
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).take(MOST + 1).count();
    let digits = bytes.iter().take(length);
    let number = digits.fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match u32::try_from(number) {
        Ok(number) if length <= MOST => (number, length),
        _ => (0, 0),
    }
}
