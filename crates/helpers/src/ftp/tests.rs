//! What FTP's helper understands, and what it does with what it does not.

use std::net::IpAddr;

use stateward_conntrack::expect::Announcement;
use stateward_conntrack::{PerDir, Status, Zone};

use super::*;
use crate::fake::Fake;

const CLIENT: (&str, &str) = ("192.0.2.1", "2001:db8::1");
const SERVER: (&str, &str) = ("192.0.2.2", "2001:db8::2");

fn address(v6: bool, of: (&str, &str)) -> IpAddr {
    if v6 { of.1 } else { of.0 }.parse().unwrap()
}

/// A control connection, and what has been announced in it.
struct Session {
    ftp: Ftp,
    tuples: PerDir<Tuple>,
    memory: Memory,
    next: PerDir<u32>,
    fake: Fake,
}

impl Session {
    fn new(v6: bool) -> Session {
        let ports = L4Key::Ports { source: 40_000, destination: 21 };
        let ends = (address(v6, CLIENT), address(v6, SERVER));
        let original = Tuple::new(ends.0, ends.1, protocol::TCP, ports, Zone::DEFAULT).unwrap();
        let tuples = PerDir([original, original.inverse().unwrap()]);
        let next = PerDir([1000, u32::MAX - 10]);
        Session {
            ftp: Ftp::default(),
            tuples,
            memory: Memory::default(),
            next,
            fake: Fake::default(),
        }
    }

    /// A session in which both have sent a line.
    fn greeted(v6: bool) -> Session {
        let mut session = Session::new(v6);
        assert_eq!(session.say(Direction::Reply, "220 hello\r\n"), Help::Pass);
        assert_eq!(session.say(Direction::Original, "USER me\r\n"), Help::Pass);
        session
    }

    fn say(&mut self, direction: Direction, text: &str) -> Help {
        let sequence = self.next[direction];
        self.next[direction] = sequence.wrapping_add(text.len() as u32);
        self.say_at(direction, sequence, text)
    }

    fn say_at(&mut self, direction: Direction, sequence: u32, text: &str) -> Help {
        let message = Message {
            payload: text.as_bytes(),
            sequence,
            direction,
            state: CtState::Established,
            tuples: self.tuples,
            status: Status::default(),
            broadcast: None,
        };
        self.ftp.help(&message, &mut self.memory, &mut self.fake)
    }

    /// What has been announced since it was asked last: from where, to where.
    fn announced(&mut self) -> Option<(IpAddr, IpAddr, L4Key)> {
        let Announcement { tuple, .. } = self.fake.announced.pop()?;
        assert!(self.fake.announced.is_empty());
        Some((tuple.source(), tuple.destination(), tuple.l4()))
    }
}

fn port(destination: u16) -> L4Key {
    L4Key::Ports { source: 0, destination }
}

#[test]
fn the_client_says_where_it_listens() {
    for (v6, command) in [
        (false, "PORT 192,0,2,1,4,1\r\n"),
        (false, "port 192,0,2,1,4,1\r\n"),
        (false, "EPRT |1|192.0.2.1|1025|\r\n"),
        (false, "EPRT !1!192.0.2.1!1025!\r\n"),
        (true, "EPRT |2|2001:db8::1|1025|\r\n"),
        (true, "eprt |2|2001:0DB8:0:0:0:0:0:1|1025|\r\n"),
    ] {
        let mut session = Session::greeted(v6);
        assert_eq!(session.say(Direction::Original, command), Help::Pass, "{command}");
        let ends = (address(v6, SERVER), address(v6, CLIENT));
        assert_eq!(session.announced(), Some((ends.0, ends.1, port(1025))), "{command}");
    }
}

#[test]
fn the_server_says_where_it_listens() {
    for (v6, answer) in [
        (false, "227 Entering Passive Mode (192,0,2,2,4,1)\r\n"),
        (false, "227 =192,0,2,2,4,1\r\n"),
        (false, "229 Entering Extended Passive Mode (|||1025|)\r\n"),
        (true, "229 Entering Extended Passive Mode (|||1025|)\r\n"),
        (true, "229 (!!!1025!\r\n"),
    ] {
        let mut session = Session::greeted(v6);
        assert_eq!(session.say(Direction::Reply, answer), Help::Pass, "{answer}");
        let ends = (address(v6, CLIENT), address(v6, SERVER));
        assert_eq!(session.announced(), Some((ends.0, ends.1, port(1025))), "{answer}");
    }
}

#[test]
fn numbers_beyond_a_byte_mean_what_they_mean_in_the_kernel() {
    let mut session = Session::greeted(false);
    assert_eq!(session.say(Direction::Original, "PORT 192,0,0,513,260,1\r\n"), Help::Pass);
    let expected = (address(false, SERVER), address(false, CLIENT), port(1025));
    let announced = session.announced();
    assert_eq!(announced.map(|one| one.2), Some(expected.2));
    assert_eq!(announced.map(|one| one.1), Some("192.0.2.1".parse().unwrap()));
}

#[test]
fn what_is_cut_or_cannot_be_read_is_dropped() {
    for (direction, text, command) in [
        (Direction::Original, "P", "PORT"),
        (Direction::Original, "PORT", "PORT"),
        (Direction::Original, "PORT 192,0,2,1,4,1", "PORT"),
        (Direction::Original, "PORT 192,0,2,1,4\r\n", "PORT"),
        (Direction::Original, "PORTX\r\n", "PORT"),
        (Direction::Original, "E", "EPRT"),
        (Direction::Original, "EPRT |1|192.0.2.1|0|\r\n", "EPRT"),
        (Direction::Original, "EPRT |2|2001:db8::1|1025|\r\n", "EPRT"),
        (Direction::Original, "EPRT 111192.0.2.1110251\r\n", "EPRT"),
        (Direction::Reply, "2", "227 "),
        (Direction::Reply, "227 no digits\r\n", "227 "),
        (Direction::Reply, "229 no parenthesis\r\n", "229 "),
        (Direction::Reply, "229 (", "229 "),
        (Direction::Reply, "229 (||1025|)\r\n", "229 "),
    ] {
        let mut session = Session::greeted(false);
        let help = session.say(direction, text);
        assert_eq!(help, Help::Drop(Doubt::Partial { command }), "{text:?}");
        assert_eq!(session.announced(), None);
    }
}

#[test]
fn other_words_are_let_be() {
    for (direction, text) in [
        (Direction::Original, "LIST\r\n"),
        (Direction::Original, " PORT 192,0,2,1,4,1\r\n"),
        (Direction::Original, "227 (192,0,2,1,4,1)\r\n"),
        (Direction::Reply, "PORT 192,0,2,2,4,1\r\n"),
        (Direction::Reply, "226 done\r\n"),
    ] {
        let mut session = Session::greeted(false);
        assert_eq!(session.say(direction, text), Help::Pass, "{text}");
        assert_eq!(session.announced(), None);
    }
}

#[test]
fn only_a_segment_that_begins_a_line_is_looked_at() {
    const PORT: &str = "PORT 192,0,2,1,4,1\r\n";
    let mut session = Session::new(false);
    assert_eq!(session.say(Direction::Original, PORT), Help::Pass);
    assert_eq!(session.announced(), None, "the first line of a direction");
    assert_eq!(session.say(Direction::Original, "STOR "), Help::Pass);
    assert_eq!(session.say(Direction::Original, PORT), Help::Pass);
    assert_eq!(session.announced(), None, "a file of that name");
    let again = session.next[Direction::Original];
    assert_eq!(session.say(Direction::Original, PORT), Help::Pass);
    assert!(session.announced().is_some());
    assert_eq!(session.say_at(Direction::Original, again, PORT), Help::Pass);
    assert!(session.announced().is_some(), "sent again");
    assert_eq!(session.say_at(Direction::Original, again - 1, PORT), Help::Pass);
    assert_eq!(session.announced(), None);
}

#[test]
fn a_cut_command_is_understood_when_it_comes_whole() {
    let mut session = Session::greeted(false);
    let at = session.next[Direction::Original];
    let cut = session.say_at(Direction::Original, at, "PORT 192,0,\n");
    assert_eq!(cut, Help::Drop(Doubt::Partial { command: "PORT" }));
    assert_eq!(session.say_at(Direction::Original, at, "PORT 192,0,2,1,4,1\r\n"), Help::Pass);
    assert!(session.announced().is_some());
}

#[test]
fn third_hosts_are_believed_only_if_that_is_said() {
    let host: IpAddr = "203.0.113.5".parse().unwrap();
    let mut session = Session::greeted(false);
    let help = session.say(Direction::Original, "PORT 203,0,113,5,4,1\r\n");
    assert_eq!(help, Help::Doubt(Doubt::ThirdHost { host }));
    assert_eq!(session.announced(), None);
    session.ftp.trust = Trust::Loose;
    assert_eq!(session.say(Direction::Original, "PORT 203,0,113,5,4,1\r\n"), Help::Pass);
    assert_eq!(session.announced(), Some((address(false, SERVER), host, port(1025))));
}

#[test]
fn what_the_tracker_refuses_is_dropped_and_its_line_remembered() {
    let mut session = Session::greeted(false);
    session.fake.refusals = vec![stateward_conntrack::expect::ExpectError::Clash];
    let refused = Doubt::Refused(stateward_conntrack::expect::ExpectError::Clash);
    assert_eq!(session.say(Direction::Original, "PORT 192,0,2,1,4,1\r\n"), Help::Drop(refused));
    assert_eq!(session.say(Direction::Original, "PORT 192,0,2,1,4,2\r\n"), Help::Pass);
    assert!(session.announced().is_some());
}

#[test]
fn a_connection_that_began_elsewhere_is_picked_up_at_its_first_segment() {
    let mut session = Session::new(false);
    session.memory.unheard = PerDir([true; 2]);
    assert_eq!(session.say(Direction::Original, "PORT 192,0,2,1,4,1\r\n"), Help::Pass);
    assert!(session.announced().is_some());
}

#[test]
fn the_later_two_line_ends_are_remembered() {
    let mut memory = Memory::default();
    let mut lines = Lines(&mut memory);
    for sequence in [u32::MAX - 1, 5, 5, 9, u32::MAX - 7] {
        lines.remember(Direction::Reply, sequence);
    }
    assert!(lines.begins(Direction::Reply, 5) && lines.begins(Direction::Reply, 9));
    assert!(!lines.begins(Direction::Reply, u32::MAX - 1), "the oldest gave way");
    assert!(!lines.begins(Direction::Reply, u32::MAX - 7), "and what is older still is nothing");
    assert!(!lines.begins(Direction::Original, 5));
}
