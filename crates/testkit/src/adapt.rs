//! Answers to what really arrived: dialogues through a machine that translates addresses.
//!
//! A flow of a [`dialogue`] says what its ends would say if nobody stood between them. Behind NAT
//! an end sees its peer as somebody else, and speaks to that one. So a step may be *adapted*: its
//! packet is rewritten, right before it is sent, by what the packets of the other direction looked
//! like where they arrived (as the running kernel let them leave, or delivered them): addresses,
//! ports, ICMP identifiers, the port of the machine it enters by, and what an ICMP error quotes.
//! Payloads, too, may arrive otherwise than they were said: acknowledgements count what arrived, and
//! who was told where somebody listens connects to there. Checksums stay as right or as wrong as
//! they were.
//!
//! Nothing here knows what NAT does: an answer is believed to come from where the question went. A
//! [`Manner`] says what is done otherwise now and then, so that the machine also meets packets that
//! no peer would send. What a host cannot send as it stands goes out unadapted.
//!
//! [`dialogue`]: crate::dialogue

mod call;
mod ends;
mod rewrite;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::dialogue::Port;

pub use ends::Ends;

use ends::Layout;

/// How a step's packet answers what its sender has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manner {
    /// Not at all: its bytes are sent as they stand.
    #[default]
    AsIs,
    /// As its sender would.
    Adapted,
    /// To the next port, or with the next identifier.
    Elsewhere,
    /// From somebody nobody has spoken to.
    Third,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AsIs, Self::Adapted, Self::Elsewhere, Self::Third];

    /// Its name in a kept case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::Adapted => "adapted",
            Self::Elsewhere => "elsewhere",
            Self::Third => "third",
        }
    }
}

/// What each end has seen of its peers.
#[derive(Debug, Default)]
pub struct Views {
    /// Where packets with these ends arrived, and with which ends.
    arrived: BTreeMap<Ends, (Port, Ends)>,
    /// The same for packets of whose transport header nothing is there, with the ends it last had.
    pieces: BTreeMap<(u8, IpAddr, IpAddr), Ends>,
    /// Up to which sequence number something arrived, and how many more bytes than were said.
    grown: BTreeMap<Ends, (u32, u32)>,
    /// Where others were told that somebody listens.
    listeners: BTreeMap<(u8, SocketAddr), SocketAddr>,
    /// The ids of clients' latest calls, as they were said and as they arrived.
    calls: BTreeMap<Ends, [u16; 2]>,
}

impl Views {
    /// The packet to be sent instead of one that was said, and where it enters.
    pub fn adapt(&self, from: Port, said: &[u8], manner: Manner) -> (Port, Vec<u8>) {
        let as_it_stands = (from, said.to_vec());
        if manner == Manner::AsIs {
            return as_it_stands;
        }
        let Some(layout) = Layout::of(said) else { return as_it_stands };
        let adapted = match layout.quotes(said) {
            Some(quote) => self.error(from, said, &layout, quote),
            None => self.answer(from, said, &layout, manner),
        };
        adapted.filter(|(port, bytes)| is_sendable(*port, bytes)).unwrap_or(as_it_stands)
    }

    /// Learns what became of an adapted packet: where it arrived, and how it looked there.
    pub fn note(&mut self, said: &[u8], arrived: Option<(Port, &[u8])>) {
        let Some((port, arrived)) = arrived else { return };
        let (Some(of), Some(seen)) = (ends(said), ends(arrived)) else { return };
        self.pieces.insert((of.protocol, of.source, of.destination), of);
        self.arrived.insert(of, (port, seen));
        let id = |bytes| call::requested(bytes, &Layout::of(bytes)?);
        if let (Some(said), Some(arrived)) = (id(said), id(arrived)) {
            self.calls.insert(of, [said, arrived]);
        }
        let end = |bytes| Layout::of(bytes).and_then(|layout| layout.end(bytes));
        let (Some(said), Some(arrived)) = (end(said), end(arrived)) else { return };
        let (latest, grown) = self.grown.entry(of).or_insert((said, 0));
        if said.wrapping_sub(*latest) as i32 >= 0 {
            (*latest, *grown) = (said, arrived.wrapping_sub(said));
        }
    }

    /// Learns that somebody listens at a port of its own, or has a call of this id, and by which
    /// address others were told so.
    pub fn listens(&mut self, protocol: u8, at: SocketAddr, told: SocketAddr) {
        self.listeners.insert((protocol, at), told);
    }

    fn answer(
        &self,
        from: Port,
        said: &[u8],
        layout: &Layout,
        manner: Manner,
    ) -> Option<(Port, Vec<u8>)> {
        let ends = match layout.ends(said) {
            Some(ends) => ends,
            None => {
                let (source, destination) = layout.addresses(said)?;
                self.pieces.get(&(layout.protocol, destination, source))?.inverse()
            }
        };
        let (port, mut to) = match self.arrived.get(&ends.inverse()) {
            Some((port, seen)) => (*port, seen.inverse()),
            None => {
                let told = self.told(&ends, said, layout)?;
                (from, Ends { destination: told.ip(), ..ends }.toward(told.port()))
            }
        };
        match manner {
            Manner::Elsewhere => to = to.elsewhere(),
            Manner::Third => to.source = third(to.source),
            Manner::AsIs | Manner::Adapted => {}
        }
        let mut bytes = said.to_vec();
        self.name_calls(&mut bytes, layout, &ends);
        rewrite::rewrite(&mut bytes, layout, &ends, &to);
        if let Some((_, grown)) = self.grown.get(&ends.inverse()) {
            rewrite::acknowledge(&mut bytes, layout, *grown);
        }
        Some((port, bytes))
    }

    /// Where somebody was told that the receiver of a packet listens.
    fn told(&self, ends: &Ends, said: &[u8], layout: &Layout) -> Option<SocketAddr> {
        let [_, port] = ends.keys;
        let id = call::receiver(said, layout).and_then(|at| ends::word(said, at));
        let at = SocketAddr::new(ends.destination, id.unwrap_or(port));
        self.listeners.get(&(ends.protocol, at)).copied()
    }

    /// Names calls by the ids that the sender knows.
    fn name_calls(&self, bytes: &mut [u8], layout: &Layout, ends: &Ends) {
        if let (Some(at), Some([said, arrived])) =
            (call::client(bytes, layout), self.calls.get(&ends.inverse()))
            && ends::word(bytes, at) == Some(*said)
        {
            rewrite::put_word(bytes, layout, at, *arrived);
        }
        if let (Some(at), Some(told)) =
            (call::receiver(bytes, layout), self.told(ends, bytes, layout))
        {
            rewrite::put_word(bytes, layout, at, told.port());
        }
    }

    /// An error quotes what arrived and goes to whom it came from. Who tells it is the one it was
    /// for, or a machine on the way.
    fn error(
        &self,
        from: Port,
        said: &[u8],
        layout: &Layout,
        quote: usize,
    ) -> Option<(Port, Vec<u8>)> {
        let (source, destination) = layout.addresses(said)?;
        let quoted = said.get(quote..)?;
        let inner = Layout::of(quoted)?;
        let ends = inner.ends(quoted)?;
        let (port, seen) = self.arrived.get(&ends)?;
        let is_ends_own = source == ends.destination;
        let teller = if is_ends_own { seen.destination } else { source };
        let hearer = if destination == ends.source { seen.source } else { destination };
        let outer = Ends { protocol: layout.protocol, source, destination, keys: [0; 2] };
        let to = Ends { source: teller, destination: hearer, ..outer };
        let mut bytes = said.to_vec();
        rewrite::rewrite(&mut bytes, layout, &outer, &to);
        rewrite::rewrite_quoted(&mut bytes, layout, quote, |quoted| {
            rewrite::rewrite(quoted, &inner, &ends, seen);
        });
        Some((if is_ends_own { *port } else { from }, bytes))
    }
}

/// The ends of a packet, if it shows them and is not an error.
pub fn ends(bytes: &[u8]) -> Option<Ends> {
    Layout::of(bytes).and_then(|layout| layout.ends(bytes))
}

/// Whether a packet is an ICMP error that quotes another.
pub fn is_error(bytes: &[u8]) -> bool {
    Layout::of(bytes).is_some_and(|layout| layout.quotes(bytes).is_some())
}

/// Where in an ICMP error lie its checksum, what would be numbers and checksum of a TCP header, and
/// the checksum of a quoted TCP segment. Nowhere in another packet.
#[cfg(target_os = "linux")]
pub(crate) fn broken_of_error(bytes: &[u8]) -> Vec<usize> {
    let Some(layout) = Layout::of(bytes) else { return Vec::new() };
    let Some(quote) = layout.quotes(bytes) else { return Vec::new() };
    let at = layout.transport;
    let inner = bytes.get(quote..).and_then(Layout::of);
    let sum =
        inner.map_or(0..0, |inner| quote + inner.transport + 16..quote + inner.transport + 18);
    [at + 2..at + 12, at + 16..at + 18, sum].into_iter().flatten().collect()
}

/// A neighbour of a station to whom nobody has spoken.
fn third(address: IpAddr) -> IpAddr {
    const OTHER: u8 = 0x40;
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d ^ OTHER].into()
        }
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[15] ^= OTHER;
            octets.into()
        }
    }
}

/// Whether a packet can be sent so: through a socket of the machine only what is short and true.
fn is_sendable(from: Port, bytes: &[u8]) -> bool {
    from != Port::Local || Layout::of(bytes).is_some_and(|layout| layout.is_plain(bytes))
}

#[cfg(test)]
mod tests;
