//! The media that a message names, announced and, behind NAT, led to other ports.
//!
//! What a description says of an address before its first media holds for those that say nothing
//! of their own. Of each kind of media that is known, a port of an even number is for RTP, and the
//! one above for RTCP; a port that is odd counts as the even one below. Port 0 is a stream that is
//! not wanted.
//!
//! The same media may be announced in several connections, where several telephones are called at
//! once. Then it is expected already. If it is so behind NAT, and this connection is translated as
//! well, both telephones are on the same side of it, and the other one is told where the first one
//! really is. Kernel counterparts: `process_sdp`, `set_expected_rtp_rtcp`, `nf_nat_sdp_media`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use stateward_conntrack::expect::{
    Announcement, ExpectClass, ExpectError, ExpectId, ExpectMask, ExpectNat, Expectation, Identical,
};
use stateward_conntrack::{Direction, L4Key, Tuple};
use stateward_wire::protocol;

use super::header::{CONTENT_LENGTH, LOWEST, number};
use super::sdp::Line;
use super::{AUDIO, FOLLOWS, IMAGE, Peers, Reading, VIDEO};
use crate::text::compressed;
use crate::{Doubt, announcement};

/// The kinds that are known.
const KINDS: [(&[u8], ExpectClass); 3] =
    [(b"audio ", AUDIO), (b"video ", VIDEO), (b"image ", IMAGE)];

/// So many media of a message are announced.
const MOST: usize = 3;

/// One kind of media.
struct Stream {
    class: ExpectClass,
    port: u16,
    /// The digits of the port.
    digits: Range<usize>,
}

/// Where a stream is to go.
#[derive(Clone, Copy)]
struct Way {
    /// Whom it is expected from.
    from: Option<IpAddr>,
    to: IpAddr,
    port: u16,
    class: ExpectClass,
}

impl Reading<'_, '_> {
    /// Announces the media of a message.
    pub(super) fn media(&mut self) -> Result<(), Doubt> {
        let Some(version) = self.text().sdp(0, Line::Version, None).read() else { return Ok(()) };
        let begin = version.start;
        let session = self.text().sdp_address(begin, Line::Connection);
        let session = session.map(|(_, address)| address);
        let (mut at, mut known) = (begin, session);
        for _ in 0..MOST {
            let Some(stream) = self.stream(&mut at)? else { break };
            let own = self.text().sdp_address(at, Line::Connection);
            let own = own.map(|(_, address)| address);
            let named =
                own.or(session).ok_or(Doubt::Unreadable { what: "the address of media" })?;
            let told = self.expect_stream(named, stream)?;
            if own.is_some() && self.is_translated() {
                self.write_address(at, Line::Connection, told)?;
                self.write_length()?;
            }
            known = Some(told);
        }
        match known.filter(|_| self.is_translated()) {
            Some(address) => self.write_session(begin, address),
            None => Ok(()),
        }
    }

    /// The next media that is of a known kind and wanted; its port begins where reading goes on.
    fn stream(&self, at: &mut usize) -> Result<Option<Stream>, Doubt> {
        let text = self.text();
        while let Some(place) = text.sdp(*at, Line::Media, None).read() {
            let line = text.bytes.get(place.clone()).unwrap_or_default();
            let Some((kind, class)) = KINDS.iter().find(|(kind, _)| line.starts_with(kind)) else {
                *at = place.end;
                continue;
            };
            *at = place.start + kind.len();
            let (port, length) = number(text.from(*at));
            if port == 0 || length == 0 {
                continue;
            }
            let high = Doubt::PortOutOfRange { port };
            let port = u16::try_from(port).ok().filter(|port| *port >= LOWEST).ok_or(high)?;
            return Ok(Some(Stream { class: *class, port, digits: *at..place.end }));
        }
        Ok(None)
    }

    /// Announces one kind of media, and tells which address the other side is to read.
    fn expect_stream(&mut self, to: IpAddr, stream: Stream) -> Result<IpAddr, Doubt> {
        let from = match self.sip.media {
            Peers::Ends if to != self.own().source() => return Ok(to),
            Peers::Ends => Some(self.other().source()),
            Peers::Anybody => None,
        };
        let Stream { class, port, digits } = stream;
        let mut way = Way { from, to, port, class };
        let mut direct = false;
        let expected = loop {
            let Some(found) = self.elsewhere(&way) else { break false };
            let (address, port) = really(&found);
            let destination = found.announced.tuple.destination();
            let moved = address != destination || port != destination_port(&found.announced.tuple);
            if direct || !moved || !self.is_translated() {
                break true;
            }
            (way.to, way.port, direct) = (address, port, true);
        };
        way.port &= !1;
        if direct {
            self.write_port(digits.clone(), way.port)?;
        }
        if !expected {
            if self.is_translated() && !direct {
                return self.expect_translated(way, digits);
            }
            self.expect_both(way)?;
        }
        Ok(way.to)
    }

    /// What another connection with this helper expects of the same.
    fn elsewhere(&self, way: &Way) -> Option<Expectation> {
        let tuple = way.tuple(way.port)?;
        let found = self.around.elsewhere(&tuple)?;
        let master = found.master.tuples[Direction::Original].protocol();
        let same = found.announced.helper == "sip"
            && master == self.sip.over
            && found.announced.class.number == way.class.number;
        same.then(|| found.clone())
    }

    /// What others expect already serves as well.
    fn expect_both(&mut self, way: Way) -> Result<(), Doubt> {
        let no_tuple = Doubt::Unreadable { what: "the address of media" };
        let rtp = way.announcement(way.port).ok_or(no_tuple)?;
        let rtcp = way.announcement(way.port + 1).ok_or(no_tuple)?;
        let first = match self.around.expect(&rtp) {
            Ok(id) => Some(id),
            Err(ExpectError::Already) => None,
            Err(error) => return Err(Doubt::Refused(error)),
        };
        match self.around.expect(&rtcp) {
            Ok(_) | Err(ExpectError::Already) => Ok(()),
            Err(error) => {
                if let Some(first) = first {
                    self.around.withdraw(first);
                }
                Err(Doubt::Refused(error))
            }
        }
    }

    /// Announces both at the address that the other side knows, at the first pair of ports that is
    /// free from the sender's on.
    fn expect_translated(&mut self, way: Way, digits: Range<usize>) -> Result<IpAddr, Doubt> {
        let (own, known) = (self.own().source(), self.other().destination());
        let to = if own == known { way.to } else { known };
        let outside = Way { to, ..way };
        for port in (way.port..=u16::MAX).step_by(2) {
            let pair = [(port, way.port), (port | 1, way.port | 1)]
                .map(|(port, really)| Some(self.led(outside.announcement(port)?, way.to, really)));
            let [Some(rtp), Some(rtcp)] = pair else { return Err(Doubt::NoPort) };
            let ids = match self.expect_pair(&rtp, &rtcp) {
                Ok(ids) => ids,
                Err(ExpectError::Clash) => continue,
                Err(_) => return Err(Doubt::NoPort),
            };
            if port != way.port
                && let Err(doubt) = self.write_port(digits, port)
            {
                ids.into_iter().for_each(|id| self.around.withdraw(id));
                return Err(doubt);
            }
            return Ok(to);
        }
        Err(Doubt::NoPort)
    }

    /// Announces the second one after the first, which is taken back where that is refused.
    fn expect_pair(
        &mut self,
        rtp: &Announcement,
        rtcp: &Announcement,
    ) -> Result<[ExpectId; 2], ExpectError> {
        let first = self.around.expect(rtp)?;
        match self.around.expect(rtcp) {
            Ok(second) => Ok([first, second]),
            Err(error) => {
                self.around.withdraw(first);
                Err(error)
            }
        }
    }

    /// As it is announced behind NAT: it really goes here.
    pub(super) fn led(&self, announced: Announcement, address: IpAddr, port: u16) -> Announcement {
        let direction = !self.message.direction;
        let nat = ExpectNat { direction, address, port, function: FOLLOWS };
        Announcement { nat: Some(nat), ..announced }
    }
}

/// What is written of a description.
impl Reading<'_, '_> {
    fn write_port(&mut self, digits: Range<usize>, port: u16) -> Result<(), Doubt> {
        self.write(digits, &port.to_string());
        self.write_length()
    }

    fn write_address(&mut self, at: usize, line: Line, address: IpAddr) -> Result<(), Doubt> {
        let place = self.text().sdp(at, line, Some(Line::Media)).read().ok_or(Doubt::CannotEdit)?;
        self.write(place, &text_of(address));
        Ok(())
    }

    /// The owner must be there; the address of all media need not.
    fn write_session(&mut self, begin: usize, address: IpAddr) -> Result<(), Doubt> {
        self.write_address(begin, Line::Owner, address)?;
        // That it is not there is no reason to drop the packet.
        let _ = self.write_address(begin, Line::Connection, address);
        self.write_length()
    }

    /// The body begins with the name of the version's line.
    fn write_length(&mut self) -> Result<(), Doubt> {
        const NAME: usize = b"v=".len();
        let text = self.text();
        let version = text.sdp(0, Line::Version, None).read().ok_or(Doubt::CannotEdit)?;
        let length = text.bytes.len() - version.start + NAME;
        let place = text.header(0, &CONTENT_LENGTH).read().ok_or(Doubt::CannotEdit)?;
        self.write(place, &length.to_string());
        Ok(())
    }
}

impl Way {
    fn tuple(&self, port: u16) -> Option<Tuple> {
        let from = self.from.unwrap_or_else(|| unspecified(self.to));
        let l4 = L4Key::Ports { source: 0, destination: port };
        Tuple::new(from, self.to, protocol::UDP, l4, Default::default())
    }

    fn announcement(&self, port: u16) -> Option<Announcement> {
        let mask = if self.from.is_some() { ExpectMask::ADDRESS } else { ExpectMask::NONE };
        let plain = announcement("sip", self.tuple(port)?, mask, self.class);
        Some(Announcement { identical: Identical::OfAnyMaster, ..plain })
    }
}

/// Where what is expected really goes; nowhere if it is not translated, as in the kernel.
fn really(found: &Expectation) -> (IpAddr, u16) {
    let nowhere = (unspecified(found.announced.tuple.destination()), 0);
    found.announced.nat.map_or(nowhere, |nat| (nat.address, nat.port))
}

fn destination_port(tuple: &Tuple) -> u16 {
    super::ports(tuple)[1]
}

/// No address, of the family of another one.
pub(super) fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// An address as descriptions have it.
pub(super) fn text_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => compressed(address),
    }
}
