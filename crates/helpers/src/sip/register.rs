//! Telephones that say where they are to be called.
//!
//! The request announces the call, for none yet: it becomes possible when the answer agrees, and
//! lasts as long as that says. A telephone may say so for itself only, and through the protocol
//! that it registers by. A lifetime of 0 takes back what was said before, as does an answer that
//! refuses. Kernel counterparts: `process_register_request`, `process_register_response`,
//! `nf_nat_sip_expect`.

use core::net::IpAddr;

use stateward_conntrack::expect::{Announcement, ExpectFlags, ExpectMask, Expectation};
use stateward_conntrack::{L4Key, Status, Tuple};
use stateward_wire::protocol;

use super::header::{CONTACT, Contacts, EXPIRES, Found, Host, Text, number};
use super::media::unspecified;
use super::{Kept, Peers, Reading, SIGNALLING, ports};
use crate::{Doubt, Help, announcement, nat};

const LIFETIME: &[u8] = b"expires=";

impl Reading<'_, '_> {
    pub(super) fn register(&mut self, sequence: u32) -> Result<(), Doubt> {
        // Who is called cannot register in the same connection.
        if self.message.status.has(Status::EXPECTED) {
            return Ok(());
        }
        let text = self.text();
        let general = text.number(&EXPIRES).unwrap_or(0);
        let Some(contact) = text.first(&CONTACT) else { return Ok(()) };
        if contact.address != self.own().source() || !self.is_of_protocol(&contact) {
            return Ok(());
        }
        if lifetime(text, &contact, general)? != 0 {
            self.expect_calls(contact)?;
        }
        self.keep(Kept::Register, sequence);
        Ok(())
    }

    pub(super) fn registered(&mut self, sequence: u32, code: u32) -> Result<(), Doubt> {
        if self.recall(Kept::Register) != sequence || matches!(code, 100..200) {
            return Ok(());
        }
        if !(matches!(code, 200..300) && self.renew_calls()?) {
            self.withdraw_calls();
        }
        Ok(())
    }

    /// Lets be called whom the answer names, and tells whether there is such a one.
    fn renew_calls(&mut self) -> Result<bool, Doubt> {
        let general = self.text().number(&EXPIRES).unwrap_or(0);
        let mut contacts = Contacts::default();
        while let Some(contact) = contacts.next(self.text()) {
            if contact.address != self.own().destination() || !self.is_of_protocol(&contact) {
                continue;
            }
            let seconds = lifetime(self.text(), &contact, general)?;
            if seconds == 0 {
                return Ok(false);
            }
            let protocol = self.sip.over;
            let calls = |one: &Expectation| {
                let tuple = &one.announced.tuple;
                one.announced.class.number == SIGNALLING.number
                    && tuple.destination() == contact.address
                    && tuple.protocol() == protocol
                    && ports(tuple)[1] == contact.port
            };
            if let Some(id) = self.newest(None, calls) {
                self.around.activate(id, seconds);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn withdraw_calls(&mut self) {
        let calls = |one: &Expectation| one.announced.class.number == SIGNALLING.number;
        if let Some(id) = self.newest(None, calls) {
            self.around.withdraw(id);
        }
    }

    /// Whether a contact is to be called by the protocol of this connection.
    fn is_of_protocol(&self, contact: &Host) -> bool {
        let Some(named) = self.text().transport(contact.place.end) else { return true };
        let begins = |name: &[u8]| {
            named.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        };
        match self.sip.over {
            protocol::TCP => begins(b"TCP"),
            _ => begins(b"UDP"),
        }
    }

    fn expect_calls(&mut self, contact: Host) -> Result<(), Doubt> {
        let from = match self.sip.signalling {
            Peers::Ends => Some(self.other().source()),
            Peers::Anybody => None,
        };
        let tuple = |to: IpAddr, port| {
            let l4 = L4Key::Ports { source: 0, destination: port };
            let source = from.unwrap_or_else(|| unspecified(to));
            Tuple::new(source, to, self.sip.over, l4, self.other().zone())
        };
        let mask = if from.is_some() { ExpectMask::ADDRESS } else { ExpectMask::NONE };
        let calls = |to, port| {
            let plain = announcement("sip", tuple(to, port)?, mask, SIGNALLING);
            let flags = ExpectFlags::PERMANENT.with(ExpectFlags::INACTIVE);
            Some(Announcement { flags, assigns: Some("sip"), ..plain })
        };
        let no_tuple = Doubt::Unreadable { what: "Contact" };
        if !self.is_translated() {
            let calls = calls(contact.address, contact.port).ok_or(no_tuple)?;
            return match Help::expecting(self.around, &calls) {
                Help::Drop(doubt) => Err(doubt),
                Help::Pass | Help::Doubt(_) => Ok(()),
            };
        }
        // The port that the other side knows stands for the one that answers go to.
        let (own, other) = (self.own(), self.other());
        let known =
            if own.source() == other.destination() { contact.address } else { other.destination() };
        let answers = self.forced_port().unwrap_or(ports(&own)[0]);
        let port = if contact.port == answers { ports(&other)[1] } else { contact.port };
        let outside = calls(known, port).ok_or(no_tuple)?;
        let led = self.led(outside, contact.address, contact.port);
        let port = nat::announce(self.around, led)?;
        if (known, port) != (contact.address, contact.port) {
            self.write_host(contact.place, known, port);
        }
        Ok(())
    }
}

/// For how long a contact is to be called: as it says itself, or all are.
fn lifetime(text: Text<'_>, contact: &Host, general: u32) -> Result<u32, Doubt> {
    match text.number_parameter(contact.place.end, LIFETIME) {
        Found::Nothing => Ok(general),
        Found::At(place) => Ok(number(text.from(place.start)).0),
        Found::Unread(_) => Err(Doubt::Unreadable { what: "expires" }),
    }
}
