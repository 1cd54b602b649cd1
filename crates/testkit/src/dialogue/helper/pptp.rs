//! What the ends of a PPTP control connection say, and the packets of its calls.

use super::super::Said;
use super::super::random::Random;
use super::super::world::Station;
use super::words::{CLIENT, SERVER, Text};
use crate::build::{Gre, Packet, Transport};

/// Bytes of a message's body, by its kind.
const SIZES: [usize; 16] = [0, 144, 144, 4, 4, 4, 8, 156, 20, 208, 12, 16, 4, 136, 28, 12];

/// A control message whose body begins with these bytes.
fn message(kind: u16, begin: &[u8]) -> Vec<u8> {
    let size = SIZES.get(usize::from(kind)).copied().unwrap_or(4);
    let mut bytes = ((12 + size) as u16).to_be_bytes().to_vec();
    bytes.extend([0, 1, 0x1a, 0x2b, 0x3c, 0x4d]);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(begin);
    bytes.resize(12 + size, 0);
    bytes
}

/// A message that announces nothing.
pub(super) fn greeting(random: &mut Random) -> Vec<u8> {
    let kind = random.pick([1, 2, 3, 4, 5, 6, 14, 15, 0, 16]);
    let begin = random.pick([[0, 0, 1], [1, 0, 0], [0, 7, 0], [0, 0, 2]]);
    message(kind, &begin)
}

/// A call from its request to its end, or a part of that.
pub(super) fn call(random: &mut Random) -> Vec<Text> {
    let ids = [random.pick([7, 8, 40000]), random.pick([9, 9, 7, 815])];
    let [client, server] = ids.map(u16::to_be_bytes);
    let peer = if random.chance(8) { [0, 1] } else { client };
    let done = if random.chance(92) { 1 } else { 2 };
    let said = |by, kind, begin: &[u8]| Text { by, bytes: message(kind, begin), listens: None };
    let listens = |text: Text, id: u16| Text { listens: Some(id), ..text };
    let mut texts = Vec::new();
    if random.chance(60) {
        texts.extend([said(CLIENT, 1, &[]), said(SERVER, 2, &[0, 0, done])]);
    }
    let reply = [server, peer, [done, 0]].concat();
    match random.below(8) {
        0..=4 => texts.extend([
            listens(said(CLIENT, 7, &client), ids[CLIENT]),
            listens(said(SERVER, 8, &reply), ids[SERVER]),
        ]),
        5 | 6 => texts.extend([
            listens(said(SERVER, 9, &server), ids[SERVER]),
            listens(said(CLIENT, 10, &[client, server, [done, 0]].concat()), ids[CLIENT]),
            said(SERVER, 11, &peer),
        ]),
        _ => {}
    }
    if random.chance(25) {
        texts.extend([said(CLIENT, 12, &client), said(SERVER, 13, &server)]);
    }
    if random.chance(10) {
        texts.extend([said(CLIENT, 3, &[1]), said(SERVER, 4, &[done])]);
    }
    texts
}

/// Packets of a call, there and back, to these ids; now and then of another kind of GRE.
pub(super) fn visit(random: &mut Random, [from, to]: [Station; 2], ids: [u16; 2]) -> Vec<Said> {
    let odd = random.below(20);
    let packet = |from: Station, to: Station, id| {
        let mut gre = Gre::pptp(id, 1, b"ppp");
        match odd {
            0 => gre = Gre::plain(None, b"ip"),
            1 => gre.protocol = 0x0800,
            _ => {}
        }
        Said { from: from.port, packet: Packet::new(from.address, to.address, Transport::Gre(gre)) }
    };
    let [there, back] = [packet(from, to, ids[0]), packet(to, from, ids[1])];
    vec![there.clone(), back.clone(), there, back]
}
