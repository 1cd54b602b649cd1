//! Amanda's backup: the machine that is saved says on which ports it waits for the server.
//!
//! Its answer holds a line `CONNECT DATA 1025 MESG 1026 INDEX 1027`; the server connects to each of
//! them by TCP. The answer may take long, and so the connection gets a timeout of its own with each
//! packet of the reply direction. Kernel counterpart: `nf_conntrack_amanda.c`.

use core::ops::Range;

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

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn help(&self, message: &Message<'_>, _: &mut Memory, around: &mut dyn Surroundings) -> Help {
        if message.direction == Direction::Original {
            return Help::Pass;
        }
        around.refresh(PATIENCE);
        let Some((line, at)) = line(message.payload) else { return Help::Pass };
        let server = message.tuples[Direction::Original];
        let mut help = Help::Pass;
        for (port, digits) in STREAMS.iter().filter_map(|stream| port_of(line, stream)) {
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
                        let place = at + digits.start..at + digits.end;
                        around.replace(place, port.to_string());
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

/// What stands behind CONNECT, to the end of the line, and where.
fn line(payload: &[u8]) -> Option<(&[u8], usize)> {
    let at = find(payload, CONNECT)? + CONNECT.len();
    let rest = payload.get(at..)?;
    Some((rest.get(..find(rest, b"\n")?)?, at))
}

/// The port of a stream, 0 if what stands there is none, and its digits' place in the line.
fn port_of(line: &[u8], stream: &[u8]) -> Option<(u16, Range<usize>)> {
    let at = find(line, stream)? + stream.len();
    let digits = line.get(at..)?;
    let (port, length) = number(digits.get(..DIGITS).unwrap_or(digits));
    Some((port as u16, at..at + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stand_behind_their_streams() {
        let text =
            b"Amanda 2.5 REP\nOPTIONS x;\nCONNECT DATA 1025 MESG 1026 INDEX 1027\nx DATA 9\n";
        let (line, _) = line(text).unwrap();
        assert_eq!(line, b"DATA 1025 MESG 1026 INDEX 1027");
        let ports = STREAMS.map(|stream| port_of(line, stream).map(|(port, _)| port));
        assert_eq!(ports, [Some(1025), Some(1026), Some(1027), None]);
        assert_eq!(port_of(b"DATA x", b"DATA "), Some((0, 5..5)));
        assert_eq!(port_of(b"DATA 102578", b"DATA "), Some((10257, 5..10)));
        assert_eq!(port_of(b"DATA ", b"DATA "), Some((0, 5..5)));
    }

    #[test]
    fn without_a_line_there_is_nothing() {
        assert_eq!(line(b"CONNECT DATA 1025"), None);
        assert_eq!(line(b"CONNEC"), None);
        assert_eq!(line(b"CONNECT \n"), Some((&b""[..], 8)));
    }
}
