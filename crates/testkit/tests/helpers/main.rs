//! Connections with a helper, each held against the running kernel: what it understands, what it
//! lets be, what it drops, and what becomes of the connections that it announces.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::net::{IpAddr, SocketAddr};

use stateward_wire::Family;
use testkit::build::{Packet, TCP_ACK, TCP_PSH, TCP_RST, TCP_SYN};
use testkit::dialogue::{Dialogue, Port, Settings, Step};
use testkit::judge::Judge;
use testkit::kernel;

mod pptp;
mod sip;
mod sizes;

/// Where things are: the client on the LAN, the server behind the WAN, and somebody else there.
const CLIENT: [&str; 2] = ["192.168.1.7", "fd00:1::7"];
const SERVER: [&str; 2] = ["198.51.100.9", "2001:db8::9"];
const OTHER: [&str; 2] = ["198.51.100.77", "2001:db8::77"];

const BOTH: [Family; 2] = [Family::V4, Family::V6];

fn address(of: [&str; 2], family: Family) -> IpAddr {
    of[family as usize].parse().unwrap()
}

/// A judge; none, and said so, where there is no kernel.
fn judge() -> Option<Judge> {
    kernel::is_there().then(|| Judge::new().expect("a namespace"))
}

/// One of a TCP connection's ends.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Client,
    Server,
}

/// A TCP connection between both, whose numbers follow what was said.
struct Talk {
    client: SocketAddr,
    server: SocketAddr,
    /// Next sequence number of the client and of the server.
    next: [u32; 2],
    /// How the other side sees each: where it is, and how much more it has said.
    known: [(SocketAddr, i32); 2],
    flow: usize,
    steps: Vec<Step>,
}

impl Talk {
    fn new(family: Family, client: u16, server: u16) -> Talk {
        let client = SocketAddr::new(address(CLIENT, family), client);
        let server = SocketAddr::new(address(SERVER, family), server);
        Talk::between([client, server], [client, server])
    }

    /// Both know each other by these addresses.
    fn between([client, server]: [SocketAddr; 2], known: [SocketAddr; 2]) -> Talk {
        let (next, steps) = ([1000, u32::MAX - 30], Vec::new());
        let known = known.map(|known| (known, 0));
        let mut talk = Talk { client, server, next, known, flow: 0, steps };
        talk.segment(Side::Client, TCP_SYN, b"");
        talk.segment(Side::Server, TCP_SYN | TCP_ACK, b"");
        talk.segment(Side::Client, TCP_ACK, b"");
        talk
    }

    /// From now on the other side has got so much more from one.
    fn grow(&mut self, side: Side, by: i32) {
        self.known[side as usize].1 += by;
    }

    fn segment(&mut self, from: Side, flags: u8, data: &[u8]) {
        let at = self.next[from as usize];
        self.segment_at(from, at, flags, data);
        let syn = u32::from(flags & TCP_SYN != 0);
        self.next[from as usize] = at.wrapping_add(data.len() as u32 + syn);
    }

    fn segment_at(&mut self, from: Side, at: u32, flags: u8, data: &[u8]) {
        let [client, server] = self.known;
        let (port, source, to, ack) = match from {
            Side::Client => (Port::Lan, self.client, server.0, self.next[1] as i32 + server.1),
            Side::Server => (Port::Wan, self.server, client.0, self.next[0] as i32 + client.1),
        };
        let ack = ack as u32;
        let ack = if flags & TCP_ACK == 0 { 0 } else { ack };
        let packet = Packet::tcp(source, to, flags, at, ack).payload(data);
        self.steps.push(Step::new(port, packet.bytes(), self.flow));
    }

    fn say(&mut self, from: Side, text: &str) {
        self.segment(from, TCP_ACK | TCP_PSH, text.as_bytes());
    }

    /// The same sequence number once more, without counting it.
    fn say_again(&mut self, from: Side, text: &str) {
        let at = self.next[from as usize];
        self.segment_at(from, at, TCP_ACK | TCP_PSH, text.as_bytes());
    }

    /// An FTP session in which both have greeted.
    fn ftp(family: Family, client: u16) -> Talk {
        let mut talk = Talk::new(family, client, 21);
        talk.say(Side::Server, "220 hello\r\n");
        talk.say(Side::Client, "USER me\r\n");
        talk.say(Side::Server, "331 who?\r\n");
        talk
    }

    /// Somebody opens a connection.
    fn open(&mut self, from: (Port, IpAddr), to: SocketAddr) {
        let (port, source) = from;
        let syn = Packet::tcp(SocketAddr::new(source, 20), to, TCP_SYN, 7, 0);
        self.steps.push(Step::new(port, syn.bytes(), self.flow + 1));
    }
}

/// Rules that give connections their helper, and let everything pass.
fn rules(rule: &str) -> [String; 2] {
    [Family::V4, Family::V6].map(|family| {
        // Which IPv6 does not have.
        let served = family == Family::V4 || !rule.ends_with(" irc") && !rule.ends_with(" pptp");
        let rule = if served { format!("-A PREROUTING {rule}\n") } else { String::new() };
        format!("*raw\n{rule}COMMIT\n")
    })
}

fn hold(judge: &mut Judge, rule: &str, steps: Vec<Step>, name: &str) -> String {
    hold_under(judge, rules(rule), steps, name)
}

fn hold_under(judge: &mut Judge, rules: [String; 2], steps: Vec<Step>, name: &str) -> String {
    let settings = Settings { rules: Some(rules), ..Settings::default() };
    let dialogue = Dialogue { settings, steps };
    let found = judge.hold(&dialogue).unwrap();
    found.iter().map(|difference| format!("{name:?}: {difference}\n")).collect()
}

const FTP: &str = "-p tcp --dport 21 -j CT --helper ftp";

#[test]
fn ftp_is_understood_as_the_kernel_understands_it() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let texts: &[(Side, &str)] = match family {
            Family::V4 => FTP_V4,
            Family::V6 => FTP_V6,
        };
        for (number, (side, text)) in texts.iter().enumerate() {
            let mut talk = Talk::ftp(family, 3000 + number as u16);
            talk.say_again(*side, text);
            talk.say(*side, text);
            // Whoever it was announced for comes, and comes again.
            for _ in 0..2 {
                let (client, server) = (talk.client.ip(), talk.server.ip());
                for to in [1025, 4000] {
                    talk.open((Port::Wan, server), SocketAddr::new(client, to));
                    talk.open((Port::Lan, client), SocketAddr::new(server, to));
                    talk.open((Port::Wan, address(OTHER, family)), SocketAddr::new(client, to));
                }
            }
            talk.say(Side::Client, "QUIT\r\n");
            failures += &hold(&mut judge, FTP, talk.steps, text);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

const FTP_V4: &[(Side, &str)] = &[
    (Side::Client, "PORT 192,168,1,7,4,1\r\n"),
    (Side::Client, "port 192,168,1,7,4,1\r\nLIST\r\n"),
    (Side::Client, "PORT 192,168,0,263,260,1\r\n"),
    (Side::Client, "PORT 192,168,1,7,4,1\n"),
    (Side::Client, "PORT 192,168,1,7,4,1 \r\n"),
    (Side::Client, "PORT 192,168,1,7,4\r\n"),
    (Side::Client, "PORT ,,,,,\r\n"),
    (Side::Client, "PORT 4294967488,168,1,7,4,1\r\n"),
    (Side::Client, "PORT"),
    (Side::Client, "PO"),
    (Side::Client, "e"),
    (Side::Client, "PORT 198,51,100,77,4,1\r\n"),
    (Side::Client, "PORT 192,168,1,7,0,0\r\n"),
    (Side::Client, "EPRT |1|192.168.1.7|1025|\r\n"),
    (Side::Client, "EPRT !1!192.168.1.7!1025!\r\n"),
    (Side::Client, "EPRT .1.192.168.1.7.1025.\r\n"),
    (Side::Client, "EPRT |1|192.168.1.7|66561|\r\n"),
    (Side::Client, "EPRT |1|192.168.1.7|0|\r\n"),
    (Side::Client, "EPRT |1|192.168.1.7|1025"),
    (Side::Client, "EPRT |2|fd00:1::7|1025|\r\n"),
    (Side::Client, "EPRT"),
    (Side::Client, "227 (192,168,1,7,4,1)\r\n"),
    (Side::Client, "LIST\r\nPORT 192,168,1,7,4,1\r\n"),
    (Side::Server, "227 Entering Passive Mode (198,51,100,9,4,1).\r\n"),
    (Side::Server, "227 =198,51,100,9,4,1\r\n"),
    (Side::Server, "227 198,51,100,9,4,1"),
    (Side::Server, "227 5 ways: 198,51,100,9,4,1\r\n"),
    (Side::Server, "227 none\r\n"),
    (Side::Server, "227 (198,51,100,77,4,1)\r\n"),
    (Side::Server, "229 Entering Extended Passive Mode (|||1025|)\r\n"),
    (Side::Server, "229 (!!!1025!)\r\n"),
    (Side::Server, "229 (|||1025)\r\n"),
    (Side::Server, "229 (||1025|)\r\n"),
    (Side::Server, "229 none\r\n"),
    (Side::Server, "2"),
    (Side::Server, "PORT 198,51,100,9,4,1\r\n"),
];

const FTP_V6: &[(Side, &str)] = &[
    (Side::Client, "EPRT |2|fd00:1::7|1025|\r\n"),
    (Side::Client, "EPRT |2|fd00:1:0:0:0:0:0:7|1025|\r\n"),
    (Side::Client, "EPRT |2|fd00:1:0:0:0:0:0.0.0.7|1025|\r\n"),
    (Side::Client, "EPRT |2|fd00:1::00007|1025|\r\n"),
    (Side::Client, "EPRT |2|fd00::1::7|1025|\r\n"),
    (Side::Client, "EPRT |2|::|1025|\r\n"),
    (Side::Client, "EPRT |2||1025|\r\n"),
    (Side::Client, "EPRT |2|fd00:1::7|1025"),
    (Side::Client, "EPRT |1|192.168.1.7|1025|\r\n"),
    (Side::Client, "EPRT |2|2001:db8::77|1025|\r\n"),
    (Side::Client, "PORT 192,168,1,7,4,1\r\n"),
    (Side::Server, "229 Entering Extended Passive Mode (|||1025|)\r\n"),
    (Side::Server, "229 (|||01025|)\r\n"),
    (Side::Server, "227 (198,51,100,9,4,1)\r\n"),
    // The first word of the sender's address.
    (Side::Client, "PORT 253,0,0,1,4,1\r\n"),
    (Side::Client, "PORT 253,0,0,2,4,1\r\n"),
    (Side::Server, "227 (32,1,13,184,4,1)\r\n"),
];

#[test]
fn ftp_reads_segments_that_begin_a_line() {
    const PORT: &str = "PORT 192,168,1,7,4,1\r\n";
    let Some(mut judge) = judge() else { return };
    let mut first = Talk::new(Family::V4, 3000, 21);
    first.say(Side::Server, "220 hello\r\n");
    first.say(Side::Client, PORT);
    first.say(Side::Client, PORT);
    let mut within = Talk::ftp(Family::V4, 3001);
    within.say(Side::Client, "STOR ");
    within.say(Side::Client, PORT);
    within.say(Side::Client, PORT);
    let mut cut = Talk::ftp(Family::V4, 3002);
    cut.say_again(Side::Client, "PORT 192,168,\n");
    cut.say(Side::Client, PORT);
    // Sent again with another port: what was expected gives way.
    let mut again = Talk::ftp(Family::V4, 3003);
    again.say_again(Side::Client, PORT);
    again.say_again(Side::Client, "PORT 192,168,1,7,4,2\r\n");
    again.say(Side::Client, PORT);
    let mut failures = String::new();
    for (name, talk) in [("first", first), ("within", within), ("cut", cut), ("again", again)] {
        failures += &hold(&mut judge, FTP, talk.steps, name);
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn children_are_found_in_the_zone_of_one_direction_of_their_master() {
    const TCP: &str = "-p tcp -j CT --helper ftp";
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (family, announced) in
        [(Family::V4, "227 (198,51,100,9,4,1)\r\n"), (Family::V6, "229 (|||1025|)\r\n")]
    {
        for zone in ["", " --zone 5", " --zone-orig 5", " --zone-reply 5"] {
            let mut talk = Talk::ftp(family, 3000);
            talk.say(Side::Server, announced);
            let (client, server) = (talk.client.ip(), talk.server.ip());
            talk.open((Port::Lan, client), SocketAddr::new(server, 1025));
            failures += &hold(&mut judge, &format!("{TCP}{zone}"), talk.steps.clone(), zone);
            // The control connection alone has a zone: its child is in none.
            failures += &hold(&mut judge, &format!("{FTP}{zone}"), talk.steps, zone);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Whoever it was announced for comes, others too, and all come again.
fn probe(
    family: Family,
    ports: &[u16],
    protocol: fn(SocketAddr, SocketAddr) -> Packet,
) -> Vec<Step> {
    let [client, server, other] = [CLIENT, SERVER, OTHER].map(|of| address(of, family));
    let ways = [
        (Port::Wan, server, client),
        (Port::Lan, client, server),
        (Port::Wan, other, client),
        (Port::Lan, client, other),
    ];
    let mut steps = Vec::new();
    for port in ports.iter().chain(ports) {
        for (from, source, to) in ways {
            let packet = protocol(SocketAddr::new(source, 20), SocketAddr::new(to, *port));
            steps.push(Step::new(from, packet.bytes(), 1));
        }
    }
    steps
}

fn syn(source: SocketAddr, to: SocketAddr) -> Packet {
    Packet::tcp(source, to, TCP_SYN, 7, 0)
}

fn datagram(source: SocketAddr, to: SocketAddr) -> Packet {
    Packet::udp(source, to, b"\0\x03\0\x01data")
}

#[test]
fn irc_is_understood_as_the_kernel_understands_it() {
    const RULE: &str = "-p tcp --dport 6667 -j CT --helper irc";
    // 192.168.1.7 is 3232235783, 198.51.100.77 is 3325256781.
    const TEXTS: &[&str] = &[
        "PRIVMSG you :\x01DCC SEND file 3232235783 1025 9\x01\r\n",
        "privmsg you :\x01DCC CHAT chat 3232235783 1025\x01\n",
        "  \r\nPRIVMSG you :\x01DCC MOVE x 3232235783     1025\x01\n",
        "PRIVMSG you :\x01DCC TSEND x 3232235783 1025\x01\n",
        "PRIVMSG you :\x01DCC SCHAT x 3232235783 1025\x01\n",
        "PRIVMSG you :\x01DCC LIST x 3232235783 1025\x01\n :\x01DCC CHAT x 3232235783 1025\x01\nxxxxxxx",
        "PRIVMSG you :\x01DCC CHAT x 3325256781 1025\x01\n",
        "PRIVMSG you :\x01DCC CHAT x 3232235783 0\x01\n",
        "PRIVMSG you :\x01DCC CHAT x 3232235783 66561\x01\n",
        "PRIVMSG you :\x01DCC CHAT x 7527203079 1025\x01\n",
        "PRIVMSG you :\x01DCC CHAT x 3232235783x1025\x01\n",
        "PRIVMSG you :\x01DCC CHAT x 3232235783 1025\x01",
        "PRIVMSG you :\x01DCC CHAT averylongfilename3232235783 1025\x01\n",
        "PRIVMSG you :\x01DCC CHAT  3232235783 1025\x01\n",
        "PRIVMSG you :\x01DCC CHAT x 3232235783  \n",
        "PRIVMSG you :hello :\x01DCC CHAT x 3232235783 1025\x01\n",
        "NOTICE you :\x01DCC CHAT x 3232235783 1025\x01\n",
        "JOIN #you\r\nPRIVMSG you :\x01DCC CHAT x 3232235783 1025\x01\n",
        "PRIVMSG",
        "P :\x01DCC CHAT x 1 2\n",
        " :\x01DCC CHAT x 1 2\n",
    ];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (number, text) in TEXTS.iter().enumerate() {
        let mut talk = Talk::new(Family::V4, 3000 + number as u16, 6667);
        talk.say(Side::Server, text);
        talk.say(Side::Client, text);
        talk.say(Side::Client, text);
        talk.steps.extend(probe(Family::V4, &[1025, 0], syn));
        failures += &hold(&mut judge, RULE, talk.steps, text);
    }
    // More than a client may expect at a time.
    let mut many = Talk::new(Family::V4, 4000, 6667);
    many.say(Side::Server, "hello\r\n");
    for port in 1025..1040 {
        let text = format!("PRIVMSG you :\x01DCC CHAT x 3232235783 {port}\x01\n");
        many.say(Side::Client, &text);
    }
    many.steps.extend(probe(Family::V4, &[1025, 1031, 1032, 1039], syn));
    failures += &hold(&mut judge, RULE, many.steps, "many");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn sane_is_understood_as_the_kernel_understands_it() {
    const RULE: &str = "-p tcp --dport 6566 -j CT --helper sane";
    const START: &[u8] = b"\0\0\0\x07\0\0\0\0";
    const ANSWER: &[u8] = b"\0\0\0\0\0\0\x04\x01\0\0";
    let cases: &[&[(Side, &[u8])]] = &[
        &[(Side::Client, START), (Side::Server, ANSWER)],
        &[(Side::Client, START), (Side::Server, b"\0\0\0\0"), (Side::Server, ANSWER)],
        &[(Side::Client, START), (Side::Client, b"\0\0\0\x08\0\0\0\0"), (Side::Server, ANSWER)],
        &[(Side::Client, START), (Side::Client, b"\0\0\0\x08"), (Side::Server, ANSWER)],
        &[(Side::Client, START), (Side::Server, b"\0\0\0\x01\0\0\x04\x01")],
        &[(Side::Client, START), (Side::Server, b"\0\0\0\0\0\x01\x04\x01")],
        &[(Side::Client, START), (Side::Server, b"\0\0\0\0\0\0\x04\x01"), (Side::Server, ANSWER)],
        &[(Side::Server, ANSWER), (Side::Client, b"\0\0\0\x07\0\0\0\0\0"), (Side::Server, ANSWER)],
    ];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        for (number, said) in cases.iter().enumerate() {
            let mut talk = Talk::new(family, 3000 + number as u16, 6566);
            said.iter().for_each(|(side, data)| talk.segment(*side, TCP_ACK | TCP_PSH, data));
            talk.steps.extend(probe(family, &[1025], syn));
            failures += &hold(&mut judge, RULE, talk.steps, &format!("{said:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn tftp_is_understood_as_the_kernel_understands_it() {
    const RULE: &str = "-p udp --dport 69 -j CT --helper tftp";
    let cases: &[&[u8]] = &[
        b"\0\x01file\0octet\0",
        b"\0\x02file\0octet\0",
        b"\0\x01",
        b"\0\x03\0\x01data",
        b"\0\x05",
        b"\x01\0",
        b"\0",
        b"",
    ];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        for (number, payload) in cases.iter().enumerate() {
            let (client, server) = (address(CLIENT, family), address(SERVER, family));
            let from = SocketAddr::new(client, 3000 + number as u16);
            let ask = Packet::udp(from, SocketAddr::new(server, 69), payload);
            let ask = Step::new(Port::Lan, ask.bytes(), 0);
            let mut steps = vec![ask.clone(), ask.clone()];
            steps.extend(probe(family, &[from.port(), 9], datagram));
            steps.push(ask);
            failures += &hold(&mut judge, RULE, steps, &format!("{payload:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn amanda_is_understood_as_the_kernel_understands_it() {
    const RULE: &str = "-p udp --dport 10080 -j CT --helper amanda";
    const TEXTS: &[&str] = &[
        "Amanda 2.5 REP\nOPTIONS x;\nCONNECT DATA 1025 MESG 1026 INDEX 1027\n\n",
        "CONNECT STATE 1025\n",
        "CONNECT DATA 1025 MESG 1025\n",
        "CONNECT DATA 1025 MESG x INDEX 1026\n",
        "CONNECT DATA 66561 MESG 0 INDEX 1026\n",
        "CONNECT DATA 102578\n",
        "CONNECT DATA 1025",
        "CONNECT DATA \n",
        "CONNECT MESG 1026\nDATA 1025\n",
        "CONNECT",
        "",
    ];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        for (number, text) in TEXTS.iter().enumerate() {
            let (client, server) = (address(CLIENT, family), address(SERVER, family));
            let from = SocketAddr::new(client, 3000 + number as u16);
            let to = SocketAddr::new(server, 10080);
            let ask = Packet::udp(from, to, text.as_bytes());
            let answer = Packet::udp(to, from, text.as_bytes());
            let mut steps = vec![
                Step::new(Port::Lan, ask.bytes(), 0),
                Step::new(Port::Wan, answer.bytes(), 0),
                Step::new(Port::Wan, answer.bytes(), 0),
            ];
            steps.extend(probe(family, &[1025, 1026, 1027, 10257, 0], syn));
            failures += &hold(&mut judge, RULE, steps, text);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// FTP's helper, and a translation of IPv4's or IPv6's sources or destinations.
fn behind_nat(helper: &str, chain: &str, [v4, v6]: [&str; 2]) -> [String; 2] {
    let raw = rules(helper);
    let nat = [v4, v6].map(|rule| match rule {
        "" => String::new(),
        rule => format!("*nat\n-A {chain} {rule}\nCOMMIT\n"),
    });
    [0, 1].map(|family| format!("{}{}", raw[family], nat[family]))
}

/// What the client of a translated session says of where it listens, and what the server reads.
const TRANSLATED: &[(Family, &str, &str, &str)] = &[
    (Family::V4, "203.0.113.111", "PORT 192,168,1,7,4,1\r\n", "PORT 203,0,113,111,4,1\r\n"),
    (Family::V4, "9.9.9.9", "PORT 192,168,1,7,4,1\r\n", "PORT 9,9,9,9,4,1\r\n"),
    (Family::V4, "203.0.113.1", "PORT 192,168,1,7,4,1\r\n", "PORT 203,0,113,1,4,1\r\n"),
    (Family::V4, "9.9.9.9", "EPRT |1|192.168.1.7|1025|\r\n", "EPRT |1|9.9.9.9|1025|\r\n"),
    (Family::V4, "9.9.9.9", "EPRT !1!192.168.1.7!1025!\r\n", "EPRT |1|9.9.9.9|1025|\r\n"),
    (Family::V6, "2001:db8:9::9", "PORT 253,0,0,1,4,1\r\n", "PORT 32,1,13,184,4,1\r\n"),
    (
        Family::V6,
        "2001:db8:9::9",
        "EPRT |2|fd00:1::7|1025|\r\n",
        "EPRT |2|2001:0db8:0009:0000:0000:0000:0000:0009|1025|\r\n",
    ),
];

#[test]
fn ftp_behind_nat_names_the_address_that_the_server_knows() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (number, (family, known, said, read)) in TRANSLATED.iter().enumerate() {
        let source = match family {
            Family::V4 => [format!("-s 192.168.1.7 -j SNAT --to-source {known}"), String::new()],
            Family::V6 => [String::new(), format!("-s fd00:1::7 -j SNAT --to-source {known}")],
        };
        let rules = behind_nat(FTP, "POSTROUTING", [&source[0], &source[1]]);
        let client = SocketAddr::new(address(CLIENT, *family), 3000 + number as u16);
        let server = SocketAddr::new(address(SERVER, *family), 21);
        let known = SocketAddr::new(known.parse().unwrap(), client.port());
        let longer = read.len() as i32 - said.len() as i32;
        let mut talk = Talk::between([client, server], [known, server]);
        talk.say(Side::Server, "220 hello\r\n");
        talk.say(Side::Client, "USER me\r\n");
        talk.say(Side::Server, "331 who?\r\n");
        let first = talk.next[0];
        talk.say(Side::Client, said);
        talk.grow(Side::Client, longer);
        // Once more, as if lost.
        talk.segment_at(Side::Client, first, TCP_ACK | TCP_PSH, said.as_bytes());
        talk.say(Side::Server, "200 fine\r\n");
        talk.segment(Side::Client, TCP_ACK, b"");
        // The data connection, there and back.
        let data = (SocketAddr::new(server.ip(), 20), SocketAddr::new(known.ip(), 1025));
        let open = syn(data.0, data.1);
        let answer =
            Packet::tcp(SocketAddr::new(client.ip(), 1025), data.0, TCP_SYN | TCP_ACK, 99, 8);
        talk.steps.push(Step::new(Port::Wan, open.bytes(), 1));
        talk.steps.push(Step::new(Port::Lan, answer.bytes(), 1));
        talk.say(Side::Client, "LIST\r\n");
        talk.say(Side::Server, "150 look\r\n");
        talk.say(Side::Client, said);
        talk.grow(Side::Client, longer);
        talk.say(Side::Server, "200 again\r\n");
        talk.say(Side::Client, "QUIT\r\n");
        talk.say(Side::Server, "221 bye\r\n");
        // What was never said is acknowledged.
        talk.grow(Side::Client, 5);
        talk.say(Side::Server, "500 what?\r\n");
        failures += &hold_under(&mut judge, rules, talk.steps, said);
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn irc_and_tftp_behind_nat_are_told_as_the_kernel_tells_them() {
    const SNAT: &str = "-s 192.168.1.7 -j SNAT --to-source 9.9.9.9";
    let Some(mut judge) = judge() else { return };
    let client = SocketAddr::new(address(CLIENT, Family::V4), 3000);
    let known = SocketAddr::new("9.9.9.9".parse().unwrap(), 3000);
    let server = |port| SocketAddr::new(address(SERVER, Family::V4), port);
    let irc = behind_nat("-p tcp --dport 6667 -j CT --helper irc", "POSTROUTING", [SNAT, ""]);
    let mut talk = Talk::between([client, server(6667)], [known, server(6667)]);
    talk.say(Side::Server, "hello\r\n");
    talk.say(Side::Client, "PRIVMSG you :\x01DCC CHAT x 3232235783 1025\x01\n");
    talk.grow(Side::Client, -1);
    talk.say(Side::Server, "fine\r\n");
    talk.say(Side::Client, "PRIVMSG you :\x01DCC CHAT x 151587081 1026\x01\n");
    talk.say(Side::Server, "fine\r\n");
    for port in [1025, 1026, 1027] {
        let open =
            syn(SocketAddr::new(address(OTHER, Family::V4), 7), SocketAddr::new(known.ip(), port));
        talk.steps.push(Step::new(Port::Wan, open.bytes(), 1));
    }
    let mut failures = hold_under(&mut judge, irc, talk.steps, "irc");
    let tftp = behind_nat("-p udp --dport 69 -j CT --helper tftp", "POSTROUTING", [SNAT, ""]);
    let ask = Packet::udp(client, server(69), b"\0\x01file\0octet\0");
    let data = Packet::udp(server(4321), known, b"\0\x03\0\x01data");
    let fine = Packet::udp(client, server(4321), b"\0\x04\0\x01");
    let steps = [(Port::Lan, ask), (Port::Wan, data), (Port::Lan, fine)];
    let steps = steps.map(|(port, packet)| Step::new(port, packet.bytes(), 0)).to_vec();
    failures += &hold_under(&mut judge, tftp, steps, "tftp");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_server_behind_nat_answers_with_the_address_that_its_client_knows() {
    const ANSWERS: &[(&str, &str)] = &[
        ("227 (192,168,1,7,4,1)\r\n", "227 (203,0,113,1,4,1)\r\n"),
        ("229 (|||1025|)\r\n", "229 (|||1025|)\r\n"),
        ("227 (10,0,0,1,4,1)\r\n", "227 (10,0,0,1,4,1)\r\n"),
    ];
    const DNAT: &str = "-d 203.0.113.1 -p tcp -j DNAT --to-destination 192.168.1.7";
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (number, (said, read)) in ANSWERS.iter().enumerate() {
        let rules = behind_nat(FTP, "PREROUTING", [DNAT, ""]);
        let server = SocketAddr::new(address(CLIENT, Family::V4), 21);
        let client = SocketAddr::new(address(SERVER, Family::V4), 3000 + number as u16);
        let known = SocketAddr::new("203.0.113.1".parse().unwrap(), 21);
        let mut talk = Talk::between([client, server], [client, known]);
        for step in &mut talk.steps {
            step.from = if step.from == Port::Lan { Port::Wan } else { Port::Lan };
        }
        let begun = talk.steps.len();
        talk.say(Side::Server, "220 hello\r\n");
        talk.say(Side::Client, "PASV\r\n");
        talk.say(Side::Server, said);
        talk.grow(Side::Server, read.len() as i32 - said.len() as i32);
        talk.segment(Side::Client, TCP_ACK, b"");
        let data = syn(SocketAddr::new(client.ip(), 4000), SocketAddr::new(known.ip(), 1025));
        talk.steps.push(Step::new(Port::Lan, data.bytes(), 1));
        talk.say(Side::Server, "150 look\r\n");
        talk.say(Side::Client, "QUIT\r\n");
        for step in &mut talk.steps[begun..] {
            step.from = if step.from == Port::Lan { Port::Wan } else { Port::Lan };
        }
        failures += &hold_under(&mut judge, rules, talk.steps, said);
    }
    assert!(failures.is_empty(), "{failures}");
}
