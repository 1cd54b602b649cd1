//! SIP: messages by UDP and TCP, what they announce, and what NAT makes of them.
//!
//! A case is a whole message in which some words are others. Addresses stand as letters: `%C` is the
//! client's, `%S` the server's, `%K` and `%T` the same as the other one knows them, `%O` is that of
//! a third host; in brackets if they are IPv6's, and as small letters without. `%L` is the length of
//! the body.

use super::*;

mod segments;
mod several;

const PORT: u16 = 5060;

const INVITE: &str = "INVITE sip:you@%T:5060 SIP/2.0
Via: SIP/2.0/UDP %C:5060;branch=z9;rport
From: me <sip:me@%C>;tag=1
To: you <sip:you@%T>
Call-ID: 1@%C
CSeq: 1 INVITE
Contact: <sip:me@%C:5060>
Content-Type: application/sdp
Content-Length: %L

v=0
o=me 1 1 IN %4 %c
s=-
c=IN %4 %c
t=0 0
m=audio 6000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
";

const OK: &str = "SIP/2.0 200 OK
Via: SIP/2.0/UDP %K:5060;branch=z9;rport
From: me <sip:me@%K>;tag=1
To: you <sip:you@%S>;tag=2
Call-ID: 1@%C
CSeq: 1 INVITE
Contact: <sip:you@%S:5060>
Content-Type: application/sdp
Content-Length: %L

v=0
o=you 1 1 IN %4 %s
s=-
c=IN %4 %s
t=0 0
m=audio 7000 RTP/AVP 0
";

const BYE: &str = "BYE sip:you@%T:5060 SIP/2.0
Via: SIP/2.0/UDP %C:5060;branch=z9;rport
From: me <sip:me@%C>;tag=1
To: you <sip:you@%T>;tag=2
Call-ID: 1@%C
CSeq: 2 BYE
Content-Length: 0

";

const REGISTER: &str = "REGISTER sip:%T SIP/2.0
Via: SIP/2.0/UDP %C:5060;branch=z9
From: <sip:me@%T>;tag=1
To: <sip:me@%T>
Call-ID: 1@%C
CSeq: 1 REGISTER
Contact: <sip:me@%C:5060>
Expires: 300
Content-Length: 0

";

const REGISTERED: &str = "SIP/2.0 200 OK
Via: SIP/2.0/UDP %K:5060;branch=z9
From: <sip:me@%S>;tag=1
To: <sip:me@%S>;tag=2
Call-ID: 1@%C
CSeq: 1 REGISTER
Contact: <sip:me@%K:5060>;expires=200
Content-Length: 0

";

/// Words of a message, and others in their places.
type Changes = &'static [(&'static str, &'static str)];

/// Who is where.
#[derive(Clone, Copy)]
struct Ends {
    family: Family,
    /// The client and the server.
    real: [SocketAddr; 2],
    /// Both, as the other one knows them.
    known: [SocketAddr; 2],
    /// By which interfaces they come.
    by: [Port; 2],
}

impl Ends {
    fn plain(family: Family) -> Ends {
        let real = [CLIENT, SERVER].map(|of| SocketAddr::new(address(of, family), PORT));
        Ends { family, real, known: real, by: [Port::Lan, Port::Wan] }
    }

    /// The client is known by another address.
    fn translated(family: Family, known: [&str; 2]) -> Ends {
        let plain = Ends::plain(family);
        let known = SocketAddr::new(address(known, family), PORT);
        Ends { known: [known, plain.real[1]], ..plain }
    }

    fn write(&self, message: &str, changes: Changes) -> Vec<u8> {
        let mut text = message.to_owned();
        for (old, new) in changes {
            assert!(text.contains(old), "{old:?} is nowhere in {text}");
            text = text.replace(old, new);
        }
        let ([client, server], [known, reached]) = (self.real, self.known);
        let addresses = [
            ('C', client.ip()),
            ('S', server.ip()),
            ('K', known.ip()),
            ('T', reached.ip()),
            ('O', address(OTHER, self.family)),
        ];
        for (letter, address) in addresses {
            let bare = address.to_string();
            let whole = if address.is_ipv6() { format!("[{bare}]") } else { bare.clone() };
            text = text.replace(&format!("%{letter}"), &whole);
            text = text.replace(&format!("%{}", letter.to_ascii_lowercase()), &bare);
        }
        text = text.replace("%4", if self.family == Family::V4 { "IP4" } else { "IP6" });
        let text = text.replace('\n', "\r\n");
        let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        text.replace("%L", &body.to_string()).into_bytes()
    }

    /// A datagram of the client or of the server.
    fn datagram(&self, from: Side, payload: &[u8]) -> Step {
        let (mine, other) = (from as usize, 1 - from as usize);
        self.between(from, [self.real[mine].port(), self.known[other].port()], payload)
    }

    /// The same between other ports.
    fn between(&self, from: Side, [source, to]: [u16; 2], payload: &[u8]) -> Step {
        let (mine, other) = (from as usize, 1 - from as usize);
        let source = SocketAddr::new(self.real[mine].ip(), source);
        let to = SocketAddr::new(self.known[other].ip(), to);
        Step::new(self.by[mine], Packet::udp(source, to, payload).bytes(), 0)
    }

    fn say(&self, from: Side, message: &str, changes: Changes) -> Step {
        self.datagram(from, &self.write(message, changes))
    }

    /// Media both ways, from whoever was told to, and from somebody else.
    fn media(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for ports in [[7000, 6000], [7001, 6001], [7002, 6002]] {
            let [server, client] = ports;
            steps.push(self.between(Side::Server, ports, b"rtp"));
            steps.push(self.between(Side::Client, [client, server], b"rtp"));
            let other = SocketAddr::new(address(OTHER, self.family), server);
            let to = SocketAddr::new(self.known[0].ip(), client);
            steps.push(Step::new(self.by[1], Packet::udp(other, to, b"rtp").bytes(), 0));
        }
        steps
    }
}

const UDP: &str = "-p udp --dport 5060 -j CT --helper sip";

const INVITES: &[Changes] = &[
    &[],
    // Methods and numbers.
    &[("INVITE sip", "invite sip")],
    &[("INVITE sip", "INVITES sip")],
    &[("INVITE sip", "UPDATE sip")],
    &[("INVITE sip", "PRACK sip")],
    &[("INVITE sip", "ACK sip")],
    &[("INVITE sip", "OPTIONS sip")],
    &[("INVITE sip", "INVITE  sip")],
    &[("INVITE sip", "INVITE <sip")],
    &[("CSeq: 1", "cseq\t: \n  1")],
    &[("CSeq: 1", "CSeq: x")],
    &[("CSeq: 1", "CSeq 1")],
    &[("CSeq: 1", "CSeq: 4294967295")],
    &[("CSeq: 1", "CSeq: 4294967296")],
    &[("CSeq: 1", "CSeq: 00000000001")],
    &[("CSeq: 1", "CSeq: 000000000001")],
    &[("CSeq: 1 INVITE\n", "")],
    &[("CSeq: 1 INVITE\n", "CSeq:")],
    // Media: where.
    &[("c=IN %4 %c\n", "")],
    &[("c=IN %4 %c", "c=IN %4 %o")],
    &[("c=IN %4 %c", "c=IN %4 0.0.0.0")],
    &[("c=IN %4 %c", "c=IN %4 ::")],
    &[("c=IN %4 %c", "c=in %4 %c")],
    &[("c=IN %4 %c", "C=IN %4 %c")],
    &[("c=IN %4 %c", "c=IN IP4 %c")],
    &[("c=IN %4 %c", "c=IN IP6 %c")],
    &[("c=IN %4 %c", "c=IN %4 %C")],
    &[("c=IN %4 %c", "c=IN %4 %c/127")],
    &[("c=IN %4 %c", "c=IN %4 0%c")],
    &[("c=IN %4 %c", "c=IN %4 %ca")],
    &[("c=IN %4 %c", "c=IN %4 %cg")],
    &[("c=IN %4 %c", "c=IN %4 %c:")],
    &[("c=IN %4 %c", "c=IN %4 %c.")],
    &[("RTP/AVP 0\n", "RTP/AVP 0\nc=IN %4 %c\n"), ("c=IN %4 %c\nt", "c=IN %4 %o\nt")],
    &[("RTP/AVP 0\n", "RTP/AVP 0\nc=IN %4 %o\n")],
    &[("v=0", "V=0")],
    &[("v=0", "v=x")],
    &[("v=0\n", "")],
    &[("v=0\n", "v=0\nm=audio 6002 RTP\n")],
    // Media: which.
    &[("m=audio 6000", "m=audio 6001")],
    &[("m=audio 6000", "m=audio 6000/2")],
    &[("m=audio 6000", "m=audio 0")],
    &[("m=audio 6000", "m=audio x")],
    &[("m=audio 6000", "m=audio 1023")],
    &[("m=audio 6000", "m=audio 1024")],
    &[("m=audio 6000", "m=audio 65535")],
    &[("m=audio 6000", "m=audio 65536")],
    &[("m=audio 6000", "m=audio 4294973296")],
    &[("m=audio 6000", "m=Audio 6000")],
    &[("m=audio 6000", "m=audio  6000")],
    &[("m=audio 6000", "M=audio 6000")],
    &[("m=audio 6000", "m=video 6000")],
    &[("m=audio 6000", "m=image 6000")],
    &[("m=audio 6000", "m=text 6000")],
    &[("m=audio 6000", "m=audio 0 RTP\nm=text 9 RTP\nm= 6000\nm=video 6000")],
    &[("m=audio 6000", "m=audio 6010 RTP\nm=video 6012 RTP\nm=audio 6014 RTP\nm=image 6000")],
    &[("m=audio 6000", "m=audio 6010 RTP\nm=audio 6012 RTP\nm=audio 6000")],
    &[("m=audio 6000", "m=image 6010 RTP\nm=image 6012 RTP\nm=audio 6000")],
    &[("m=audio 6000", "m=audio 6000 RTP\nm=audio 6000")],
    &[("m=audio 6000", "m=audio 6000 RTP\nm=video 6000")],
    &[("RTP/AVP 0\na=rtpmap:0 PCMU/8000\n", "")],
    // Addresses of the message itself.
    &[("%C:5060;branch", "%C:4000;branch")],
    &[("%C:5060;branch", "%C:80;branch")],
    &[("%C:5060;branch", "%C;branch")],
    &[("%C:5060;branch", "%O:4000;branch")],
    &[("Via: SIP", "v : SIP")],
    &[("Content-Length: %L\n", "")],
    &[("Content-Length: %L", "Content-Length: 7")],
    &[("Content-Length: %L", "l:%L")],
];

#[test]
fn invites_are_understood_as_the_kernel_understands_them() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        for changes in INVITES {
            let ends = Ends::plain(family);
            let mut steps = vec![ends.say(Side::Client, INVITE, changes)];
            steps.extend(probe(family, &[6000, 6001, 4000], datagram));
            steps.push(ends.say(Side::Client, INVITE, changes));
            steps.push(ends.say(Side::Server, OK, &[]));
            steps.extend(probe(family, &[6000, 7000], datagram));
            steps.push(ends.say(Side::Client, BYE, &[]));
            steps.extend(probe(family, &[6001, 7001], datagram));
            failures += &hold(&mut judge, UDP, steps, &format!("{family:?} {changes:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The client as the server knows it: by an address that is longer, and by one that is shorter.
const KNOWN: [[&str; 2]; 2] = [["203.0.113.200", "2001:db8:9:0:1::200"], ["9.9.9.9", "fc00::9"]];

/// Rules that translate the client's source.
fn source_nat(helper: &str, known: [&str; 2]) -> [String; 2] {
    let [v4, v6] = [("192.168.1.7", known[0]), ("fd00:1::7", known[1])]
        .map(|(source, known)| format!("-s {source} -j SNAT --to-source {known}"));
    behind_nat(helper, "POSTROUTING", [&v4, &v6])
}

/// What a client behind NAT says besides.
const TRANSLATED: &[Changes] = &[
    &[("branch=z9;rport", "maddr=%C;received=%t;rport=5060")],
    &[("branch=z9;rport", "rport=x;maddr=%T;received=%c,maddr=%C")],
    &[("branch=z9;rport", "MADDR=%c;rport=80")],
    &[("%C:5060;branch=z9;rport", "%C:5060")],
    &[("%C:5060;branch=z9;rport\n", "%C:5060;branch=1\nVia: SIP/2.0/UDP %C:5060\n")],
    &[("/UDP %C", "/TCP %C")],
    &[("you@%T:5060", "you@%T")],
    &[("you@%T:5060", "%T")],
    &[("sip:you@%T:5060", "tel:1")],
    &[("<sip:me@%C:5060>", "<sip:me@%C:5060>, <sip:%C>,sip:x@%O;q=1, <sip:a@%C:4000>,<sip:b@%C>")],
    &[("<sip:me@%C:5060>\n", "<sip:x>,\n <sip:me@%C:5060>\nm: <sip:%T:5060>\nContact: *\n")],
    &[("<sip:me@%C:5060>\n", "<sip:x>,\n sip:me@%C:5060\n")],
    &[("<sip:me@%C:5060>\n", "<sip:x>\n ,<sip:me@%C:5060>\n")],
    &[("branch=z9;rport\n", "branch=z9;\n rport=5060\n")],
    &[("Contact: <sip:me@%C:5060>\n", "")],
    &[("From: me <sip:me@%C>", "f: \"%C\" <sip:me@%C:5061>")],
    &[("o=me 1 1 IN %4 %c\n", "")],
    &[("o=me 1 1 IN %4 %c", "o=me 1 1 IN %4 host")],
    &[("o=me 1 1 IN %4 %c", "o=me 1 1 IN %4 %o")],
    &[("Content-Length: %L", "Content-Length: 99")],
    &[("Content-Length: %L", "Content-Length: 1000")],
    &[("RTP/AVP 0\n", "RTP/AVP 0\nc=IN %4 %c\nm=video 6002 RTP\nc=IN %4 %o\nm=image 6000 x\n")],
    &[("%C:5060;branch", "%C:6060;branch")],
];

#[test]
fn invites_behind_nat_are_translated_as_the_kernel_translates_them() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        for known in KNOWN {
            let ends = Ends::translated(family, known);
            for changes in INVITES.iter().chain(TRANSLATED) {
                let mut steps = vec![ends.say(Side::Client, INVITE, changes)];
                steps.extend(ends.media());
                steps.push(ends.say(Side::Client, INVITE, changes));
                steps.push(ends.say(Side::Server, OK, &[]));
                steps.extend(ends.media());
                steps.push(ends.say(Side::Client, BYE, &[]));
                steps.extend(ends.media());
                let name = format!("{family:?} {known:?} {changes:?}");
                failures += &hold_under(&mut judge, source_nat(UDP, known), steps, &name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

const ANSWERS: &[Changes] = &[
    &[("200 OK", "183 Session Progress")],
    &[("200 OK", "100 Trying")],
    &[("200 OK", "99 ?")],
    &[("200 OK", "486 Busy Here")],
    &[("200 OK", "486 Busy Here"), ("CSeq: 1", "CSeq: 7")],
    &[("200 OK", "486 Busy Here"), ("1 INVITE", "1 UPDATE")],
    &[("200 OK", "486 Busy Here"), ("1 INVITE", "1 PRACK")],
    &[("200 OK", "486 Busy Here"), ("1 INVITE", "1 BYE")],
    &[("200 OK", "0 OK")],
    &[("200 OK", "OK")],
    &[("200 OK", "4294967296 OK")],
    &[("SIP/2.0 200", "sip/2.0 200")],
    &[("SIP/2.0 200", "SIP/2.0  200")],
    &[("SIP/2.0 200", "SIP/2.0200")],
    &[("1 INVITE", "1  INVITE")],
    &[("1 INVITE", "1\tinvited")],
    &[("1 INVITE", "1 ACK")],
    &[("CSeq: 1 INVITE\n", "")],
    &[("branch=z9;rport", "received=%k;rport=5060;maddr=%S")],
    &[("branch=z9;rport", "branch=z9\nVia: SIP/2.0/UDP %O:5060")],
    &[("<sip:you@%S:5060>", "<sip:you@%K:5060>,<sip:%C>")],
    &[("c=IN %4 %s", "c=IN %4 %k")],
    &[("m=audio 7000", "m=audio 6000")],
];

#[test]
fn answers_are_understood_as_the_kernel_understands_them() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let plain = (Ends::plain(family), rules(UDP));
        let nat = (Ends::translated(family, KNOWN[0]), source_nat(UDP, KNOWN[0]));
        for (ends, rules) in [plain, nat] {
            for changes in ANSWERS {
                let mut steps = vec![ends.say(Side::Client, INVITE, &[])];
                steps.push(ends.say(Side::Server, OK, changes));
                steps.extend(ends.media());
                steps.push(ends.say(Side::Server, OK, changes));
                let name = format!("{family:?} {changes:?}");
                failures += &hold_under(&mut judge, rules.clone(), steps, &name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// What is said when registering, and the answer to it.
const REGISTRATIONS: &[(Changes, Changes)] = &[
    (&[], &[]),
    (&[("Expires: 300", "Expires: 0")], &[]),
    (&[("Expires: 300\n", "")], &[]),
    (&[("Expires: 300", "Expires: 4294967295")], &[]),
    (&[("Expires: 300", "Expires: 4294967296")], &[]),
    (&[("5060>\nE", "5060>;expires=0\nE")], &[]),
    (&[("5060>\nE", "5060>;expires=x\nE")], &[]),
    (&[("5060>\nE", "5060>;q=1,<sip:x@%C>;expires=x\nE")], &[]),
    (&[("5060>\nE", "5060;transport=tcp>\nE")], &[]),
    (&[("5060>\nE", "5060;transport=udp>\nE")], &[]),
    (&[("5060>\nE", "5060;transport=tls>\nE")], &[]),
    (&[("me@%C:5060", "me@%O:5060")], &[]),
    (&[("me@%C:5060", "me@%C:4000")], &[(":5060>", ":4000>")]),
    (&[("Contact: <sip:me@%C:5060>", "Contact: *")], &[]),
    (&[("%C:5060;branch", "%C:4000;branch")], &[]),
    (
        &[("%C:5060;branch", "%C:4000;branch"), ("me@%C:5060", "me@%C:4000")],
        &[(":5060>", ":4000>")],
    ),
    (&[("1 REGISTER", "x REGISTER")], &[]),
    (&[], &[("200 OK", "100 Trying")]),
    (&[], &[("200 OK", "401 Unauthorized")]),
    (&[], &[("CSeq: 1", "CSeq: 2")]),
    (&[], &[(";expires=200", "")]),
    (&[], &[(";expires=200", ""), ("CSeq", "Expires: 90\nCSeq")]),
    (&[], &[("expires=200", "expires=0")]),
    (&[], &[("expires=200", "expires=x")]),
    (&[], &[("expires=200", "expires=4000000")]),
    (&[], &[("expires=200", "expires=9000000")]),
    (&[], &[("expires=200", "expires=4294967295")]),
    (&[], &[("me@%K:5060", "me@%K:4000")]),
    (&[], &[("<sip:me@%K:5060>", "<sip:x@%O>;expires=x,\n <sip:me@%K:5060>")]),
    (&[], &[("<sip:me@%K:5060>", "<sip:x@%K:4000>;expires=60, <sip:me@%K:5060>")]),
    (&[], &[("<sip:me@%K:5060>", "<sip:x@%K:4000>;expires=60\nm: <sip:me@%K:5060>")]),
    (&[], &[("<sip:me@%K:5060>;expires=200", "")]),
    (&[], &[("<sip:me@%K:5060>;expires=200", "<sip:me@%K:5060>;\n expires=200")]),
    (&[], &[("<sip:me@%K:5060>", "<sip:x@%O>,\n sip:me@%K:5060")]),
];

#[test]
fn registrations_are_understood_as_the_kernel_understands_them() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let plain = (Ends::plain(family), rules(UDP));
        let nat = KNOWN.map(|known| (Ends::translated(family, known), source_nat(UDP, known)));
        let [long, short] = nat;
        for (ends, rules) in [plain, long, short] {
            for (asked, answered) in REGISTRATIONS {
                let call = |steps: &mut Vec<Step>, source| {
                    for port in [PORT, 4000] {
                        let invite = ends.write(OK, &[]);
                        steps.push(ends.between(Side::Server, [source, port], &invite));
                    }
                };
                let mut steps = vec![ends.say(Side::Client, REGISTER, asked)];
                call(&mut steps, 5070);
                steps.push(ends.say(Side::Server, REGISTERED, answered));
                call(&mut steps, 5071);
                call(&mut steps, 5072);
                // Once more, and no more.
                steps.push(ends.say(Side::Client, REGISTER, asked));
                steps.push(ends.say(Side::Server, REGISTERED, answered));
                steps.push(ends.say(Side::Server, REGISTERED, &[("200 OK", "500 No")]));
                call(&mut steps, 5073);
                let name = format!("{family:?} {asked:?} {answered:?}");
                failures += &hold_under(&mut judge, rules.clone(), steps, &name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
