//! Amanda's backup: the machine that is saved says on which ports it waits for the server.
//!
//! Its answer holds a line `CONNECT DATA 1025 MESG 1026 INDEX 1027`; the server connects to each of
//! them by TCP. The answer may take long, and so the connection gets a timeout of its own with each
//! packet of the reply direction. Kernel counterpart: `nf_conntrack_amanda.c`.

use core::ops::Range;
use std::borrow::Cow;

use stateward_conntrack::expect::{ExpectClass, ExpectMask};
use stateward_conntrack::{Direction, L4Key, Tuple};
use stateward_wire::protocol;

use crate::text::{find, number};
use crate::{Help, Helper, Memory, Message, Surroundings, announcement, nat};

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amanda;

const CLASS: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 4, timeout: 180 };

/// Seconds that the server waits for an answer.
const PATIENCE: u32 = 300;

const CONNECT: &[u8] = b"CONNECT ";
const STREAMS: [&[u8]; 4] = [b"DATA ", b"MESG ", b"INDEX ", b"STATE "];

/// So many digits of a port are read.
const DIGITS: usize = 5;

impl Helper for Amanda {
    fn name(&self) -> &'static str {
        "amanda"
    }

    fn port(&self) -> Option<u16> {
        Some(10080)
    }

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn help(&self, message: &Message<'_>, _: &mut Memory, around: &mut dyn Surroundings) -> Help {
        if message.direction == Direction::Original {
            return Help::Pass;
        }
        around.refresh(PATIENCE);
        let Some(mut line) = Line::find(message.payload) else { return Help::Pass };
        let server = message.tuples[Direction::Original];
        let mut help = Help::Pass;
        for stream in STREAMS {
            let Some((port, digits)) = line.port_of(stream) else { continue };
            if port == 0 {
                break;
            }
            let l4 = L4Key::Ports { source: 0, destination: port };
            let ends = (server.source(), server.destination());
            let Some(tuple) = Tuple::new(ends.0, ends.1, protocol::TCP, l4, server.zone()) else {
                break;
            };
            let stream = announcement(self.name(), tuple, ExpectMask::ADDRESS, CLASS);
            // One that is refused spoils the packet, and not the others.
            if nat::is_translated(message) {
                let announced = nat::follow(stream, Direction::Original, port);
                help = match nat::announce(around, announced) {
                    Ok(port) => {
                        let port = port.to_string();
                        around.replace(line.replace(digits, &port), port.into_bytes());
                        Help::Pass
                    }
                    Err(doubt) => Help::Drop(doubt),
                };
            } else if let refused @ Help::Drop(_) = Help::expecting(around, &stream) {
                help = refused;
            }
        }
        help
    }
}

/// What stands behind CONNECT, to the end of the line. Where that is does not change when a port gets
/// longer or shorter: then less or more than the line is read for the next one.
struct Line<'a> {
    text: Cow<'a, [u8]>,
    /// Where the line lies in the text.
    place: Range<usize>,
    /// Where ports were replaced, in the text as it is, and how much longer they have become.
    moved: [(usize, isize); STREAMS.len()],
    replaced: usize,
}

impl<'a> Line<'a> {
    fn find(payload: &'a [u8]) -> Option<Line<'a>> {
        let at = find(payload, CONNECT)? + CONNECT.len();
        let place = at..at + find(payload.get(at..)?, b"\n")?;
        let text = Cow::Borrowed(payload);
        Some(Line { text, place, moved: Default::default(), replaced: 0 })
    }

    /// The port of a stream, 0 if what stands there is none, and its digits' place in the text.
    fn port_of(&self, stream: &[u8]) -> Option<(u16, Range<usize>)> {
        let end = self.place.end.min(self.text.len());
        let line = self.text.get(self.place.start..end)?;
        let at = find(line, stream)? + stream.len();
        let digits = line.get(at..)?;
        let (port, length) = number(digits.get(..DIGITS).unwrap_or(digits));
        let at = self.place.start + at;
        Some((port as u16, at..at + length))
    }

    /// Writes another port over digits of the text, and tells where they lay in the payload.
    fn replace(&mut self, digits: Range<usize>, port: &str) -> Range<usize> {
        let longer = port.len() as isize - digits.len() as isize;
        let before = self.moved.iter().take(self.replaced).filter(|(at, _)| *at < digits.start);
        let moved: isize = before.map(|(_, longer)| longer).sum();
        let was = digits.start.saturating_add_signed(-moved);
        for (at, _) in self.moved.iter_mut().filter(|(at, _)| *at > digits.start) {
            *at = at.saturating_add_signed(longer);
        }
        if let Some(place) = self.moved.get_mut(self.replaced) {
            *place = (digits.start, longer);
            self.replaced += 1;
        }
        let length = digits.len();
        self.text.to_mut().splice(digits, port.bytes());
        was..was + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stand_behind_their_streams() {
        let text =
            b"Amanda 2.5 REP\nOPTIONS x;\nCONNECT DATA 1025 MESG 1026 INDEX 1027\nx DATA 9\n";
        let line = Line::find(text).unwrap();
        assert_eq!(&line.text[line.place.clone()], b"DATA 1025 MESG 1026 INDEX 1027");
        let ports = STREAMS.map(|stream| line.port_of(stream).map(|(port, _)| port));
        assert_eq!(ports, [Some(1025), Some(1026), Some(1027), None]);
        let data = |text: &[u8]| Line::find(text).unwrap().port_of(b"DATA ");
        assert_eq!(data(b"CONNECT DATA x\n"), Some((0, 13..13)));
        assert_eq!(data(b"CONNECT DATA 102578\n"), Some((10257, 13..18)));
        assert_eq!(data(b"CONNECT DATA \n"), Some((0, 13..13)));
    }

    #[test]
    fn without_a_line_there_is_nothing() {
        assert!(Line::find(b"CONNECT DATA 1025").is_none());
        assert!(Line::find(b"CONNEC").is_none());
        assert_eq!(Line::find(b"CONNECT \n").map(|line| line.place), Some(8..8));
    }

    #[test]
    fn a_port_that_gets_longer_pushes_the_rest_out_of_the_line() {
        let text = b"CONNECT MESG 1025 DATA 1026 INDEX 1027\n";
        let mut line = Line::find(text).unwrap();
        let data = line.port_of(b"DATA ").unwrap();
        assert_eq!(data, (1026, 23..27));
        assert_eq!(line.replace(data.1, "50000"), 23..27);
        let mesg = line.port_of(b"MESG ").unwrap();
        assert_eq!(mesg, (1025, 13..17));
        assert_eq!(line.replace(mesg.1, "7"), 13..17, "before the other");
        let index = line.port_of(b"INDEX ").unwrap();
        assert_eq!(index, (1027, 32..36));
        assert_eq!(line.replace(index.1, "8"), 34..38, "behind both");
        assert_eq!(&*line.text, b"CONNECT MESG 7 DATA 50000 INDEX 8\n");
        let mut line = Line::find(b"CONNECT DATA 1 MESG 1026\n").unwrap();
        let (_, digits) = line.port_of(b"DATA ").unwrap();
        line.replace(digits, "50000");
        assert_eq!(line.port_of(b"MESG "), Some((0, 24..24)), "all but the word is out");
    }
}
