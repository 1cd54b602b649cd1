//! What telephones and their servers say: calls, registrations, and what else SIP is for.
//!
//! Addresses are mostly the speaker's and the listener's, as they know themselves and each other
//! where nobody translates; else those by which gateways are known. Ports are of few, so that calls
//! get into each other's way.

use std::net::{IpAddr, SocketAddr};

use super::super::random::Random;
use super::super::world;
use super::words::{CLIENT, SERVER, Text};

/// Who speaks to whom, over what.
struct Speech {
    speaker: SocketAddr,
    listener: SocketAddr,
    transport: &'static str,
}

const METHODS: [&str; 6] = ["INVITE", "UPDATE", "ACK", "PRACK", "BYE", "OPTIONS"];

/// Something that announces nothing.
pub(super) fn greeting(random: &mut Random) -> Vec<u8> {
    let texts = [
        "\r\n\r\n",
        "OPTIONS sip:x SIP/2.0\r\nCSeq: 9 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        "SIP/2.0 100 Trying\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
        "SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
    ];
    random.pick(texts).as_bytes().to_vec()
}

/// A call or a registration, or parts of one.
pub(super) fn call(random: &mut Random, ends: [SocketAddr; 2], tcp: bool) -> Vec<Text> {
    let transport = if tcp { "TCP" } else { "UDP" };
    let by = if random.chance(75) { CLIENT } else { SERVER };
    let [asks, answers] =
        [by, 1 - by].map(|by| Speech { speaker: ends[by], listener: ends[1 - by], transport });
    let number = random.pick([1, 1, 1, 2, 7]);
    if random.chance(30) {
        let port = random.pick([asks.speaker.port(), 5060, 4000]);
        let said = |by, bytes| Text { by, bytes, listens: Some(port) };
        let mut texts = vec![said(by, asks.register(random, number, port))];
        if random.chance(80) {
            texts.push(said(1 - by, answers.registered(random, number, port)));
        }
        return texts;
    }
    let method = if random.chance(70) { "INVITE" } else { random.pick(METHODS) };
    let mut texts = Vec::new();
    let port = random.pick([4000, 4001, 4002, 6000, 40000, 65534, 80, 0]);
    let bytes = asks.request(random, (method, number), port);
    texts.push(Text { by, bytes, listens: Some(port) });
    if random.chance(70) {
        let port = random.pick([4000, 4002, 6000, 6002, 40000]);
        let bytes = answers.answer(random, (method, number), port);
        texts.push(Text { by: 1 - by, bytes, listens: Some(port) });
    }
    if random.chance(20) {
        let bytes = asks.request(random, ("BYE", number + 1), 0);
        texts.push(Text { by, bytes, listens: None });
    }
    texts
}

impl Speech {
    fn request(&self, random: &mut Random, (method, number): (&str, u32), media: u16) -> Vec<u8> {
        let (to, from) = (host(random, self.listener), host(random, self.speaker));
        let user = random.pick(["you@", ""]);
        let first = format!("{method} sip:{user}{to} SIP/2.0");
        let mut head = vec![first, self.via(random, self.speaker)];
        head.extend([format!("From: <sip:me@{from}>;tag=1"), format!("To: <sip:you@{to}>")]);
        head.extend([format!("CSeq: {number} {method}"), self.contact(random, self.speaker)]);
        self.whole(random, head, media)
    }

    fn answer(&self, random: &mut Random, (method, number): (&str, u32), media: u16) -> Vec<u8> {
        let code = random.pick(["200 OK", "200 OK", "200 OK", "183 Progress", "486 Busy", "0 x"]);
        let mut head = vec![format!("SIP/2.0 {code}"), self.via(random, self.listener)];
        head.push(format!("CSeq: {number} {method}"));
        head.push(self.contact(random, self.speaker));
        self.whole(random, head, media)
    }

    fn register(&self, random: &mut Random, number: u32, port: u16) -> Vec<u8> {
        let at = SocketAddr::new(self.speaker.ip(), port);
        let to = host(random, self.listener);
        let mut head = vec![format!("REGISTER sip:{to} SIP/2.0"), self.via(random, self.speaker)];
        head.extend([format!("CSeq: {number} REGISTER"), self.contact(random, at)]);
        head.push(random.pick(["Expires: 90", "Expires: 0", "X: y"]).to_owned());
        self.whole(random, head, 0)
    }

    fn registered(&self, random: &mut Random, number: u32, port: u16) -> Vec<u8> {
        let at = SocketAddr::new(self.listener.ip(), port);
        let code = random.pick(["200 OK", "200 OK", "200 OK", "401 No", "100 Trying"]);
        let mut head = vec![format!("SIP/2.0 {code}"), self.via(random, self.listener)];
        head.extend([format!("CSeq: {number} REGISTER"), self.contact(random, at)]);
        head.push(random.pick(["Expires: 60", "Expires: 0", "X: y"]).to_owned());
        self.whole(random, head, 0)
    }

    fn via(&self, random: &mut Random, of: SocketAddr) -> String {
        let transport =
            if random.chance(95) { self.transport } else { random.pick(["UDP", "TCP"]) };
        let (host, other) = (host(random, of), known(random, self.listener.ip()));
        let more =
            random.pick(["", "", ";rport", ";maddr=", ";received=", ";rport=5060", ";rport=40001"]);
        let value = if more.ends_with("r=") || more.ends_with("d=") {
            bracketed(other)
        } else {
            String::new()
        };
        let name = random.pick(["Via", "Via", "v"]);
        format!("{name}: SIP/2.0/{transport} {host}{more}{value}")
    }

    fn contact(&self, random: &mut Random, of: SocketAddr) -> String {
        let one = host(random, of);
        let row = match random.below(8) {
            0 => format!("sip:me@{one}"),
            1 => format!("<sip:me@{one}>;expires=70, <sip:you@{}>", host(random, self.listener)),
            2 => format!("<sip:x>,\r\n <sip:me@{one};transport={}>", self.transport),
            3 => format!("<sip:me@{one}>;expires={}", random.pick(["0", "50", "x"])),
            _ => format!("<sip:me@{one}>"),
        };
        format!("{}: {row}", random.pick(["Contact", "Contact", "m"]))
    }

    /// With a body, if any media are named, and its length.
    fn whole(&self, random: &mut Random, mut head: Vec<String>, media: u16) -> Vec<u8> {
        let body =
            if media == 0 && random.chance(80) { String::new() } else { self.body(random, media) };
        let length = match random.below(20) {
            0 => body.len() + 3,
            1 => body.len().saturating_sub(3),
            _ => body.len(),
        };
        if random.chance(95) {
            head.push(format!("{}: {length}", random.pick(["Content-Length", "l"])));
        }
        format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
    }

    fn body(&self, random: &mut Random, media: u16) -> String {
        let family = if self.speaker.is_ipv6() { "IP6" } else { "IP4" };
        let address = |random: &mut Random| {
            let chance = random.chance(85);
            if chance { self.speaker.ip() } else { known(random, self.speaker.ip()) }
        };
        let mut lines = vec!["v=0".to_owned()];
        let owner = address(random);
        lines.push(format!("o=me 1 1 IN {family} {owner}"));
        if random.chance(85) {
            lines.push(format!("c=IN {family} {}", address(random)));
        }
        let second = random.pick([media, media.wrapping_add(2), 4004, 0]);
        for port in [media, second].into_iter().take(random.pick([1, 1, 2])) {
            let kind = random.pick(["audio", "audio", "video", "image", "text"]);
            lines.push(format!("m={kind} {port} RTP/AVP 0"));
            if random.chance(20) {
                lines.push(format!("c=IN {family} {}", address(random)));
            }
        }
        lines.join("\r\n") + "\r\n"
    }
}

/// An address as URIs have it, mostly this one, with its port or without.
fn host(random: &mut Random, of: SocketAddr) -> String {
    let address = if random.chance(85) { of.ip() } else { known(random, of.ip()) };
    let bare = bracketed(address);
    match random.below(10) {
        0 => bare,
        1 => format!("{bare}:{}", random.pick([80, 4000, 5061, 40001])),
        _ => format!("{bare}:{}", of.port()),
    }
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// An address by which somebody may be known behind NAT.
fn known(random: &mut Random, like: IpAddr) -> IpAddr {
    let v6 = like.is_ipv6();
    let text = match v6 {
        false => random.pick(["203.0.113.7", "9.9.9.9", "203.0.113.111", "203.0.113.1"]),
        true => random.pick(["fd00:2::7", "fd00:2:3:4:5:6:7:8", "2001:db8:9::9", "fd00:2::1"]),
    };
    let other = if random.chance(50) { world::lan(random, v6) } else { world::wan(random, v6) };
    text.parse().ok().filter(|_| random.chance(70)).unwrap_or(other.address)
}
