//! Connections that go straight through their states, to be met there by every kind of segment.

use super::super::random::Random;
use super::{CLIENT, Connection, SERVER, Segment, Stage};
use crate::build::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};

const SYN_ACK: u8 = TCP_SYN | TCP_ACK;
const FIN_ACK: u8 = TCP_FIN | TCP_ACK;

impl Connection {
    /// Plans the tour: an opening of either kind, and a close by either side or a reset.
    pub(super) fn tour(&mut self, random: &mut Random) {
        let mut tour = match random.below(4) {
            0 => vec![(CLIENT, TCP_SYN), (SERVER, TCP_SYN), (CLIENT, SYN_ACK), (SERVER, TCP_ACK)],
            _ => vec![(CLIENT, TCP_SYN), (SERVER, SYN_ACK), (CLIENT, TCP_ACK)],
        };
        let (first, second) = random.pick([(CLIENT, SERVER), (SERVER, CLIENT)]);
        match random.below(6) {
            0 => tour.push((first, TCP_RST)),
            _ => tour.extend([
                (first, FIN_ACK),
                (second, TCP_ACK),
                (second, FIN_ACK),
                (first, TCP_ACK),
            ]),
        }
        if random.chance(30) {
            // Whose host has started anew asks once more before the last acknowledgement, which is
            // the answer to that then.
            let place = tour.len() - 1;
            tour.insert(place, (second, TCP_SYN));
        }
        tour.reverse();
        self.tour = Some(tour);
        (self.hostility, self.loss) = (random.pick([40, 70]), 0);
        self.left = 30;
    }

    /// Says the next segment of the tour; none if there is no tour, or no more of it.
    pub(super) fn visit(&mut self, random: &mut Random) -> Option<Segment> {
        let tour = self.tour.as_mut()?;
        let Some((by, flags)) = tour.pop() else {
            self.tour = None;
            self.stage = Stage::Over;
            return None;
        };
        if flags & TCP_SYN == 0 {
            let segment = self.segment(by, flags, 0);
            return Some(self.say(random, segment));
        }
        if flags == SYN_ACK {
            self.agree();
        }
        let mut segment = self.syn(random, by, flags);
        segment.ack = if flags & TCP_ACK != 0 { self.ends[by].expected } else { 0 };
        // The ends do not know of a SYN after all has been said.
        Some(if self.ends[by].closed { segment } else { self.say(random, segment) })
    }
}
