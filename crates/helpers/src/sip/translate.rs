//! What NAT makes of a message's own addresses, when all else is done.
//!
//! The first line of a request, the topmost Via with its parameters, every contact, From and To: an
//! address with a port that is one end of the connection, as the packet's direction has it, becomes
//! what the other direction has in its place. The topmost Via alone is the sender's in a request,
//! and the receiver's in an answer. Kernel counterpart: `nf_nat_sip`.

use core::net::IpAddr;
use core::ops::Range;

use stateward_conntrack::Direction;
use stateward_wire::protocol;

use super::header::{Brackets, Contacts, FROM, Found, Host, LOWEST, TO, VIA_TCP, VIA_UDP, number};
use super::media::text_of;
use super::{Reading, ports};
use crate::Doubt;

/// How answers begin; what comes behind does not matter here.
const ANSWER: &[u8] = b"SIP/2.0";

impl Reading<'_, '_> {
    pub(super) fn translate(&mut self) -> Result<(), Doubt> {
        let is_answer = self.text().has(0, ANSWER);
        if let Some(host) = self.text().request().filter(|_| !is_answer) {
            self.map(host);
        }
        self.translate_via(is_answer);
        self.translate_contacts();
        for header in [FROM, TO] {
            if let Some(host) = self.text().first(&header) {
                self.map(host);
            }
        }
        match self.forced_port().filter(|_| self.message.direction == Direction::Reply) {
            // Telephones that want it speak UDP.
            Some(_) if self.sip.over != protocol::UDP => Err(Doubt::CannotEdit),
            Some(port) => {
                self.around.redirect(port);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn translate_via(&mut self, is_answer: bool) {
        let header = if self.sip.over == protocol::TCP { VIA_TCP } else { VIA_UDP };
        let Some(via) = self.text().first(&header) else { return };
        let (own, other) = (self.own(), self.other());
        let [source, destination] = ports(&own);
        let end = match is_answer {
            true => (own.destination(), destination),
            false => (own.source(), source),
        };
        if (via.address, via.port) != end {
            return;
        }
        let at = self.map(via);
        self.map_parameter((at, b"maddr="), own.source(), other.destination(), Brackets::Needed);
        self.map_parameter(
            (at, b"received="),
            own.destination(),
            other.source(),
            Brackets::Optional,
        );
        self.map_port(at, destination, ports(&other)[0]);
    }

    /// An address in a parameter becomes another one, if it is this one.
    fn map_parameter(
        &mut self,
        (at, name): (usize, &[u8]),
        from: IpAddr,
        to: IpAddr,
        brackets: Brackets,
    ) {
        let found = self.text().address_parameter(at, name, brackets);
        let Some((place, _)) = found.filter(|(_, address)| *address == from && from != to) else {
            return;
        };
        let bare = text_of(to);
        match to {
            IpAddr::V6(_) if brackets == Brackets::Needed => {
                self.write(place, &format!("[{bare}]"))
            }
            _ => self.write(place, &bare),
        }
    }

    fn map_port(&mut self, at: usize, from: u16, to: u16) {
        let text = self.text();
        let Found::At(place) = text.number_parameter(at, b"rport=") else { return };
        let port = number(text.from(place.start)).0;
        if port == u32::from(from) && from >= LOWEST && from != to {
            self.write(place, &to.to_string());
        }
    }

    /// All of them are found before any is written: a row of them is gone over once.
    fn translate_contacts(&mut self) {
        let mut contacts = Contacts::default();
        let mut written: Vec<(Range<usize>, String)> = Vec::new();
        while let Some(contact) = contacts.next(self.text()) {
            if let Some((address, port)) = self.mapped(&contact) {
                written.push((contact.place, host_text(address, port)));
            }
        }
        let Some((last, _)) = written.last() else { return };
        let mut text = Vec::with_capacity(self.text.len() + written.len() * 8);
        let (end, mut from) = (last.end, 0);
        for (place, with) in &written {
            text.extend_from_slice(self.text.get(from..place.start).unwrap_or_default());
            text.extend_from_slice(with.as_bytes());
            from = place.end;
        }
        text.extend_from_slice(self.text.get(end..).unwrap_or_default());
        self.text = text.into();
    }

    /// Writes what the other side knows an end by, if this is one; where it ends then.
    fn map(&mut self, host: Host) -> usize {
        match self.mapped(&host) {
            Some((address, port)) => self.write_host(host.place, address, port),
            None => host.place.end,
        }
    }

    fn mapped(&self, host: &Host) -> Option<(IpAddr, u16)> {
        let (own, other) = (self.own(), self.other());
        let ([source, destination], [far, near]) = (ports(&own), ports(&other));
        let named = (host.address, host.port);
        let mapped = if named == (own.source(), source) {
            (other.destination(), near)
        } else if named == (own.destination(), destination) {
            (other.source(), self.forced_port().unwrap_or(far))
        } else {
            return None;
        };
        (mapped != named).then_some(mapped)
    }

    pub(super) fn write_host(&mut self, place: Range<usize>, address: IpAddr, port: u16) -> usize {
        let text = host_text(address, port);
        let end = place.start + text.len();
        self.write(place, &text);
        end
    }

    /// Puts a text in the place of another one.
    pub(super) fn write(&mut self, place: Range<usize>, with: &str) {
        if place.start <= place.end && place.end <= self.text.len() {
            self.text.to_mut().splice(place, with.bytes());
        }
    }
}

fn host_text(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(_) => format!("{}:{port}", text_of(address)),
        IpAddr::V6(_) => format!("[{}]:{port}", text_of(address)),
    }
}
