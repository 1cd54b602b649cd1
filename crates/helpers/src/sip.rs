//! SIP (RFC 3261): telephones that agree, through servers, upon where each listens for media.
//!
//! The body of an INVITE, of its answers and of what may follow (ACK, UPDATE, PRACK) says to which
//! port each kind of media goes; two connections are announced for each, of RTP and of RTCP, the
//! port above. BYE, and an answer that refuses, take them back. REGISTER says where a telephone is
//! to be called: a connection that carries SIP itself is announced, which nobody may open before
//! the server has agreed, and which is there for as long as that says; it gets this helper as well.
//! By default media are expected between those only that talk of them here, and calls from that
//! server only ([`Peers`]).
//!
//! Of a connection three numbers are kept: those of the last INVITE and REGISTER, so that late
//! answers to others are let be, and the port at which a telephone waits for answers if it is not
//! the one it sends from (Cisco's do so): answers are led there, behind NAT.
//!
//! Behind NAT every address of the one side that the other side reads must be the one it knows, in
//! about ten places (`translate`, `media`), and the body's length with them. Each is found in what
//! the one before has left; what has become of the message is written once.
//!
//! A datagram is a message. A TCP segment holds whole messages one after the other, as their
//! lengths say; one that is not whole ends the reading, and none is put together of two segments.
//!
//! What is done for a message is in proportion to its length, but for ports: behind NAT each pair of
//! them may be tried, against those only that others have announced. Of media no more than three
//! are read. Kernel counterparts: `nf_conntrack_sip.c`, `nf_nat_sip.c`.

mod header;
mod media;
mod register;
mod sdp;
mod translate;

use std::borrow::Cow;

use stateward_conntrack::expect::{ExpectClass, ExpectId, Expectation};
use stateward_conntrack::{CtState, L4Key, Tuple};
use stateward_wire::protocol;

use self::header::{CONTENT_LENGTH, CSEQ, Text, VIA_UDP, is_letter, number};
use crate::{Doubt, Help, Helper, Memory, Message, Surroundings, nat};

/// The helper, of one protocol that carries SIP.
#[derive(Clone, Copy, Debug)]
pub struct Sip {
    /// TCP or UDP, by its number.
    pub over: u8,
    /// Seconds that a connection is kept after each message: the module's `sip_timeout`.
    pub timeout: u32,
    /// Who may call a telephone that has registered: `sip_direct_signalling`.
    pub signalling: Peers,
    /// Who may send media, and whither: `sip_direct_media`.
    pub media: Peers,
}

/// Whom a connection is expected from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Peers {
    /// The other end of the connection that announces it; media to its sender only.
    #[default]
    Ends,
    /// Anybody.
    Anybody,
}

impl Sip {
    /// The helper as the kernel has it if nothing is set.
    pub fn over(protocol: u8) -> Sip {
        let peers = Peers::default();
        Sip { over: protocol, timeout: 3600, signalling: peers, media: peers }
    }
}

const fn class(number: u8, name: &'static str, max_expected: u32) -> ExpectClass {
    ExpectClass { number, name, max_expected, timeout: 3 * 60 }
}

const SIGNALLING: ExpectClass = class(0, "signalling", 1);
const AUDIO: ExpectClass = class(1, "audio", 4);
const VIDEO: ExpectClass = class(2, "video", 4);
const IMAGE: ExpectClass = class(3, "image", 2);

/// How an expected connection is translated, by the kernel's name.
const FOLLOWS: &str = "sip";

/// How answers begin.
const VERSION: &[u8] = b"SIP/2.0 ";
/// No message is shorter.
const SHORTEST: usize = b"SIP/2.0 200".len();

/// What is kept of a connection, by its place in the memory.
#[derive(Clone, Copy)]
enum Kept {
    Register,
    Invite,
    ForcedPort,
}

/// What messages are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Invite,
    Update,
    Ack,
    Prack,
    Bye,
    Register,
}

const METHODS: [(&[u8], Method); 6] = [
    (b"INVITE", Method::Invite),
    (b"UPDATE", Method::Update),
    (b"ACK", Method::Ack),
    (b"PRACK", Method::Prack),
    (b"BYE", Method::Bye),
    (b"REGISTER", Method::Register),
];

impl Helper for Sip {
    fn name(&self) -> &'static str {
        "sip"
    }

    fn port(&self) -> Option<u16> {
        Some(5060)
    }

    fn protocol(&self) -> u8 {
        self.over
    }

    fn gathers(&self, message: &Message<'_>) -> bool {
        !message.payload.is_empty() && self.listens(message)
    }

    fn growth(&self, payload: usize) -> usize {
        // The shortest place is `[::]` behind `sip:` and a comma, the longest text half a hundred.
        payload.saturating_mul(6)
    }

    fn seconds_on_error(&self) -> Option<u32> {
        (self.over != protocol::TCP).then_some(self.timeout)
    }

    fn help(
        &self,
        message: &Message<'_>,
        memory: &mut Memory,
        around: &mut dyn Surroundings,
    ) -> Help {
        if !self.gathers(message) {
            return Help::Pass;
        }
        around.refresh(self.timeout);
        if message.payload.len() < SHORTEST {
            return Help::Pass;
        }
        let text = Cow::Borrowed(message.payload);
        let mut reading = Reading { sip: self, message, memory, around, text };
        let read = match self.over {
            protocol::TCP => reading.segment(),
            _ => reading.datagram(),
        };
        read.map_or_else(Help::Drop, |()| Help::Pass)
    }
}

impl Sip {
    fn listens(&self, message: &Message<'_>) -> bool {
        self.over != protocol::TCP || message.state == CtState::Established
    }
}

/// A packet that is being read.
struct Reading<'a, 'm> {
    sip: &'a Sip,
    message: &'a Message<'m>,
    memory: &'a mut Memory,
    around: &'a mut dyn Surroundings,
    /// One message, as far as it has been rewritten.
    text: Cow<'m, [u8]>,
}

impl<'m> Reading<'_, 'm> {
    fn text(&self) -> Text<'_> {
        Text { bytes: &self.text, family: self.own().family() }
    }

    /// The ends as the packet's direction has them, and as the other one has.
    fn own(&self) -> Tuple {
        self.message.tuples[self.message.direction]
    }

    fn other(&self) -> Tuple {
        self.message.tuples[!self.message.direction]
    }

    fn is_translated(&self) -> bool {
        nat::is_translated(self.message)
    }

    fn recall(&self, kept: Kept) -> u32 {
        self.memory.words.get(kept as usize).copied().unwrap_or_default()
    }

    fn keep(&mut self, kept: Kept, value: u32) {
        if let Some(word) = self.memory.words.get_mut(kept as usize) {
            *word = value;
        }
    }

    /// The port at which the sender of requests waits for answers, if it has said so.
    fn forced_port(&self) -> Option<u16> {
        let port = self.recall(Kept::ForcedPort) as u16;
        (port != 0).then_some(port)
    }

    fn datagram(&mut self) -> Result<(), Doubt> {
        self.read()?;
        let text = core::mem::take(&mut self.text);
        if let Cow::Owned(text) = text {
            self.rewrite(&text);
        }
        Ok(())
    }

    fn segment(&mut self) -> Result<(), Doubt> {
        let payload: &'m [u8] = self.message.payload;
        let (mut rest, mut rewritten) = (payload, None);
        while let Some(length) = whole(Text { bytes: rest, family: self.own().family() }) {
            let Some((first, others)) = rest.split_at_checked(length) else {
                // As in the kernel, though the segment may have become longer.
                self.around.keep_numbers();
                break;
            };
            self.text = Cow::Borrowed(first);
            self.read()?;
            let text = core::mem::take(&mut self.text);
            if rewritten.is_none() && matches!(text, Cow::Owned(_)) {
                let before = payload.len() - rest.len();
                rewritten = Some(payload.get(..before).unwrap_or_default().to_vec());
            }
            if let Some(rewritten) = &mut rewritten {
                rewritten.extend_from_slice(&text);
            }
            rest = others;
        }
        if let Some(mut rewritten) = rewritten {
            rewritten.extend_from_slice(rest);
            self.rewrite(&rewritten);
        }
        Ok(())
    }

    /// Asks for another payload: for what of it is another.
    fn rewrite(&mut self, text: &[u8]) {
        let old = self.message.payload;
        let same = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| {
            pairs.take_while(|(one, other)| one == other).count()
        };
        let begin = same(&mut old.iter().zip(text));
        let shorter = old.len().min(text.len()) - begin;
        let end = same(&mut old.iter().rev().zip(text.iter().rev())).min(shorter);
        let place = begin..old.len() - end;
        let with = text.get(begin..text.len() - end).unwrap_or_default();
        self.around.replace(place, with.to_vec());
    }

    /// Reads the message that `text` is.
    fn read(&mut self) -> Result<(), Doubt> {
        match self.text().has(0, VERSION) {
            true => self.answer(),
            false => self.request(),
        }?;
        if self.is_translated() { self.translate() } else { Ok(()) }
    }

    fn request(&mut self) -> Result<(), Doubt> {
        let own = self.own();
        if let Some(via) = self.text().first(&VIA_UDP)
            && via.address == own.source()
            && via.port != ports(&own)[0]
        {
            self.keep(Kept::ForcedPort, via.port.into());
        }
        let text = self.text();
        let begins = |(name, _): &&(&[u8], Method)| {
            let behind = text.from(name.len());
            text.has(0, name) && matches!(behind, [b' ', next, ..] if is_letter(*next))
        };
        let Some((_, method)) = METHODS.iter().find(begins) else { return Ok(()) };
        let (number, _) = sequence(text)?;
        match method {
            Method::Invite => {
                self.withdraw_media();
                self.media()?;
                self.keep(Kept::Invite, number);
                Ok(())
            }
            Method::Bye => {
                self.withdraw_media();
                Ok(())
            }
            Method::Register => self.register(number),
            Method::Update | Method::Ack | Method::Prack => self.media(),
        }
    }

    fn answer(&mut self) -> Result<(), Doubt> {
        let text = self.text();
        if text.bytes.len() < SHORTEST {
            return Ok(());
        }
        let code = match number(text.from(VERSION.len())) {
            (0, _) => return Err(Doubt::Unreadable { what: "the status code" }),
            (code, _) => code,
        };
        let (number, end) = sequence(text)?;
        let asked = METHODS.iter().find(|(name, _)| text.has(end + 1, name));
        match asked.map(|(_, method)| method) {
            Some(Method::Register) => self.registered(number, code),
            Some(Method::Invite | Method::Update | Method::Prack) => {
                if matches!(code, 100..300) {
                    return self.media();
                }
                if self.recall(Kept::Invite) == number {
                    self.withdraw_media();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes back all media that this connection has announced.
    fn withdraw_media(&mut self) {
        let mut before = None;
        while let Some(id) =
            self.newest(before, |one| one.announced.class.number != SIGNALLING.number)
        {
            self.around.withdraw(id);
            before = Some(id);
        }
    }

    /// The newest of this connection's that is such, of those that are older than another one.
    fn newest(
        &self,
        mut before: Option<ExpectId>,
        which: impl Fn(&Expectation) -> bool,
    ) -> Option<ExpectId> {
        loop {
            let next = self.around.own_before(before)?;
            if which(next) {
                return Some(next.id);
            }
            before = Some(next.id);
        }
    }
}

/// A message's sequence number, and where it ends.
fn sequence(text: Text<'_>) -> Result<(u32, usize), Doubt> {
    let unreadable = Doubt::Unreadable { what: "CSeq" };
    let place = text.header(0, &CSEQ).read().ok_or(unreadable)?;
    match number(text.from(place.start)) {
        (_, 0) => Err(unreadable),
        (number, _) => Ok((number, place.end)),
    }
}

/// The bytes of the message that this begins with, if it says how many they are; they need not all
/// be here.
fn whole(text: Text<'_>) -> Option<usize> {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    let place = text.header(0, &CONTENT_LENGTH).read()?;
    let (body, digits) = number(text.from(place.start));
    let body = usize::try_from(body).ok().filter(|body| digits > 0 && *body <= text.bytes.len())?;
    let end = place.start + digits;
    let blank = crate::text::find(text.from(end), BLANK_LINE)?;
    Some(end + blank + BLANK_LINE.len() + body)
}

/// The ports of a tuple: source and destination.
fn ports(tuple: &Tuple) -> [u16; 2] {
    match tuple.l4() {
        L4Key::Ports { source, destination } => [source, destination],
        _ => [0; 2],
    }
}
