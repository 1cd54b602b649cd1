//! What helpers do to sizes: a packet that they have made too long for its link, and fragments that
//! they have had put into one piece.

use testkit::build::{DONT_FRAGMENT, TcpOption, fragments, internet_checksum};
use testkit::judge::Difference;

use super::*;

const SNAT: [&str; 2] = [
    "-s 192.168.1.7 -j SNAT --to-source 203.0.113.200",
    "-s fd00:1::7 -j SNAT --to-source fd00:2::200",
];

/// A session between a client behind NAT and a server, both of which have greeted.
fn translated(family: Family, client: u16, server: u16) -> Talk {
    let client = SocketAddr::new(address(CLIENT, family), client);
    let server = SocketAddr::new(address(SERVER, family), server);
    let known = ["203.0.113.200", "fd00:2::200"][family as usize].parse().unwrap();
    let known = SocketAddr::new(known, client.port());
    let mut talk = Talk::between([client, server], [known, server]);
    talk.say(Side::Server, "220 hello\r\n");
    talk.say(Side::Client, "USER me\r\n");
    talk.say(Side::Server, "331 who?\r\n");
    talk
}

/// The client's next segment.
fn segment(talk: &Talk, data: &[u8]) -> Packet {
    let [client, server] = [talk.client, talk.known[1].0];
    Packet::tcp(client, server, TCP_ACK | TCP_PSH, talk.next[0], talk.next[1]).payload(data)
}

/// A command, and what makes the packet `length` bytes long.
fn filled(command: &str, length: usize) -> Vec<u8> {
    let mut data = command.as_bytes().to_vec();
    data.resize(length, b'x');
    data
}

#[test]
fn what_a_helper_makes_too_long_is_refused() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (family, command, headers, longer) in [
        (Family::V4, "PORT 192,168,1,7,4,1\r\n", 40, 2),
        (Family::V6, "EPRT |2|fd00:1::7|1025|\r\n", 60, 30),
    ] {
        // The largest that still fits, one more, and what filled the link before.
        for length in [1500 - longer, 1501 - longer, 1500] {
            for fragment in [0, DONT_FRAGMENT] {
                let mut talk = translated(family, 3000, 21);
                let data = filled(command, length - headers);
                let packet = Packet { fragment, ..segment(&talk, &data) };
                talk.steps.push(Step::new(Port::Lan, packet.bytes(), 0));
                // It comes again, shorter.
                talk.say(Side::Client, command);
                talk.grow(Side::Client, longer as i32);
                talk.say(Side::Server, "200 fine\r\n");
                talk.say(Side::Client, "LIST\r\n");
                let rules = behind_nat(FTP, "POSTROUTING", SNAT);
                let settings = Settings { rules: Some(rules), ..Settings::default() };
                let found = judge.hold(&Dialogue { settings, steps: talk.steps }).unwrap();
                let differ = found.iter().filter(|found| !but_for_sums(found, family));
                differ.for_each(|found| {
                    failures += &format!("{family:?} {length} {fragment:x}: {found}\n");
                });
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Whether the sides differ in checksums only: the kernel leaves that of an edited packet to the
/// card, and quotes it unfinished.
fn but_for_sums(found: &Difference, family: Family) -> bool {
    const HEX: &str = "by host ";
    // Of the error, and of the segment that it quotes.
    let sums = match family {
        Family::V4 => [22, 20 + 8 + 20 + 16],
        Family::V6 => [42, 40 + 8 + 40 + 16],
    };
    let blank = |left: &str| {
        let mut left = left.to_owned();
        let at = left.find(HEX).map(|at| at + HEX.len())?;
        sums.iter().for_each(|sum| left.replace_range(at + sum * 2..at + sum * 2 + 4, "----"));
        Some(left)
    };
    let sides = [&found.kernel, &found.engine].map(|left| blank(left));
    found.what == "what left" && sides[0].is_some() && sides[0] == sides[1]
}

/// A packet in two fragments, of which the first carries `size` bytes.
fn uneven(packet: &[u8], size: usize) -> [Vec<u8>; 2] {
    let mut pieces = fragments(packet, size, 7).into_iter();
    let (first, mut second) = (pieces.next().unwrap(), pieces.next().unwrap());
    let v4 = packet[0] >> 4 == 4;
    let header = if v4 { 20 } else { 48 };
    pieces.for_each(|piece| second.extend_from_slice(&piece[header..]));
    let length = (second.len() - if v4 { 0 } else { 40 }) as u16;
    match v4 {
        true => {
            second[2..4].copy_from_slice(&length.to_be_bytes());
            second[6] &= 0x1f;
            second[10..12].fill(0);
            let sum = internet_checksum(&second[..20]);
            second[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        false => {
            second[4..6].copy_from_slice(&length.to_be_bytes());
            second[43] &= 0xf8;
        }
    }
    [first, second]
}

impl Talk {
    /// The client's next segment in two fragments.
    fn say_in_pieces(&mut self, packet: &Packet, size: usize, length: usize) {
        for piece in uneven(&packet.bytes(), size) {
            self.steps.push(Step::new(Port::Lan, piece, self.flow));
        }
        self.next[0] = self.next[0].wrapping_add(length as u32);
    }
}

#[test]
fn ftp_has_fragments_put_into_one_piece() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        // IPv6 does not cut what fits the largest piece, or 1280 bytes.
        for (size, length) in [(48, 200), (48, 1400), (400, 1400)] {
            for helper in [FTP, "-p tcp --dport 21 -j ACCEPT"] {
                let mut talk = Talk::ftp(family, 3000);
                let data = filled("STOR ", length);
                talk.say_in_pieces(&segment(&talk, &data), size, length);
                talk.say(Side::Client, "QUIT\r\n");
                let name = format!("{family:?} {size} {length} {helper}");
                failures += &hold(&mut judge, helper, talk.steps, &name);
            }
        }
        // Nobody reads before both have spoken.
        let mut early = Talk::new(family, 3001, 21);
        early.steps.clear();
        let (client, server) = (early.client, early.server);
        let syn = Packet::tcp(client, server, TCP_SYN, 999, 0).payload(&[b'x'; 200]);
        early.say_in_pieces(&syn, 48, 0);
        failures += &hold(&mut judge, FTP, early.steps, "early");
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn edited_and_moved_fragments_are_cut_as_the_kernel_cuts_them() {
    const IRC: &str = "-p tcp --dport 6667 -j CT --helper irc";
    const DCC: &str = "PRIVMSG you :\x01DCC CHAT x 3232235783 1025\x01\n";
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (number, size) in [24, 40, 56, 160].into_iter().enumerate() {
        let mut talk = translated(Family::V4, 3000 + number as u16, 6667);
        // It says nothing of the kind, and leaves as it came; then something.
        let data = filled("NOTICE", 300);
        talk.say_in_pieces(&segment(&talk, &data), size, data.len());
        let data = filled(DCC, 300);
        talk.say_in_pieces(&segment(&talk, &data), size, data.len());
        talk.grow(Side::Client, 2);
        talk.say(Side::Server, "fine\r\n");
        // From here on numbers move: in the header, and in options.
        let sack =
            TcpOption::Sack(vec![(talk.next[1].wrapping_add(5), talk.next[1].wrapping_add(9))]);
        let data = filled("NOTICE", 300);
        for options in [vec![], vec![TcpOption::NoOperation, TcpOption::NoOperation, sack]] {
            let packet = segment(&talk, &data).with_tcp(|tcp| tcp.options = options);
            talk.say_in_pieces(&packet, size, data.len());
        }
        talk.say(Side::Client, "QUIT\r\n");
        let rules = behind_nat(IRC, "POSTROUTING", [SNAT[0], ""]);
        failures += &hold_under(&mut judge, rules, talk.steps, &format!("{size}"));
    }
    assert!(failures.is_empty(), "{failures}");
}
