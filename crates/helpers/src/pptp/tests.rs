//! Sessions, message by message.

use stateward_conntrack::{PerDir, Status, Zone};

use super::*;
use crate::fake::Fake;

/// A control connection, and what the helper has asked for.
struct Session {
    memory: Memory,
    status: Status,
    around: Fake,
}

/// In the message it reads `01`.
const CLIENT_PORT: u16 = 0x3031;

impl Session {
    fn new(status: Status) -> Session {
        Session { memory: Memory::default(), status, around: Fake::default() }
    }

    /// A session in which both have greeted.
    fn up(status: Status) -> Session {
        let mut session = Session::new(status);
        session.say(Direction::Original, message::START_REQUEST, &[]);
        session.say(Direction::Reply, message::START_REPLY, &[0, 0, DONE]);
        session
    }

    fn say(&mut self, direction: Direction, kind: u16, begin: &[u8]) {
        let mut body = begin.to_vec();
        body.resize(SIZES[usize::from(kind)].max(begin.len()), 0);
        self.say_bytes(direction, &[&header(kind)[..], &body].concat());
    }

    fn say_bytes(&mut self, direction: Direction, payload: &[u8]) {
        let ends = ([10, 0, 0, 1].into(), [10, 0, 1, 1].into());
        let l4 = L4Key::Ports { source: CLIENT_PORT, destination: 1723 };
        let original = Tuple::new(ends.0, ends.1, protocol::TCP, l4, Zone::DEFAULT).unwrap();
        let message = Message {
            payload,
            sequence: 1,
            direction,
            state: CtState::Established,
            tuples: PerDir([original, original.inverse().unwrap()]),
            status: self.status,
            broadcast: None,
        };
        assert_eq!(Pptp.help(&message, &mut self.memory, &mut self.around), Help::Pass);
    }

    fn expected(&mut self) -> Vec<String> {
        let tell = |announced: Announcement| {
            let (tuple, nat) = (announced.tuple, announced.nat.map(|nat| nat.port));
            format!("{:?} {nat:?}", tuple.l4())
        };
        self.around.announced.drain(..).map(tell).collect()
    }
}

fn header(kind: u16) -> [u8; BODY] {
    let [high, low] = kind.to_be_bytes();
    [0, 99, 0, 1, 0x1a, 0x2b, 0x3c, 0x4d, high, low, 0, 0]
}

#[test]
fn a_call_is_expected_from_both_sides() {
    let mut session = Session::up(Status::default());
    session.say(Direction::Original, message::OUT_REQUEST, &[0, 7]);
    session.say(Direction::Reply, message::OUT_REPLY, &[0, 9, 0, 7, DONE]);
    let both = ["Gre { source: 7, destination: 9 } None", "Gre { source: 9, destination: 7 } None"];
    assert_eq!(session.expected(), both);
    session.say(Direction::Reply, message::OUT_REPLY, &[0, 9, 0, 8, DONE]);
    assert!(session.expected().is_empty(), "of another call");
    session.say(Direction::Reply, message::OUT_REPLY, &[0, 9, 0, 7, 2]);
    session.say(Direction::Reply, message::OUT_REPLY, &[0, 9, 0, 7, DONE]);
    assert!(session.expected().is_empty(), "of one that was refused");
    assert!(session.around.edits.is_empty());
}

#[test]
fn a_call_of_the_servers_takes_three_messages() {
    let mut session = Session::up(Status::default());
    session.say(Direction::Reply, message::IN_REQUEST, &[0, 9]);
    session.say(Direction::Reply, message::IN_CONNECTED, &[0, 7]);
    session.say(Direction::Original, message::IN_REPLY, &[0, 7, 0, 8, DONE]);
    session.say(Direction::Reply, message::IN_CONNECTED, &[0, 7]);
    assert!(session.expected().is_empty(), "nobody has answered this one");
    session.say(Direction::Original, message::IN_REPLY, &[0, 7, 0, 9, DONE]);
    session.say(Direction::Reply, message::IN_CONNECTED, &[0, 7]);
    assert_eq!(session.expected().len(), 2);
}

#[test]
fn nothing_is_expected_of_who_has_not_greeted_or_says_half_of_it() {
    let mut session = Session::new(Status::default());
    session.say(Direction::Original, message::OUT_REQUEST, &[0, 7]);
    session.say(Direction::Reply, message::OUT_REPLY, &[0, 9, 0, 7, DONE]);
    assert!(session.expected().is_empty());
    let mut session = Session::up(Status::default());
    session.say(Direction::Original, message::OUT_REQUEST, &[0, 7]);
    let reply = [&header(message::OUT_REPLY)[..], &[0, 9, 0, 7, DONE], &[0; 14]].concat();
    session.say_bytes(Direction::Reply, &reply);
    let mut other = [&reply[..], &[0]].concat();
    other[3] = 2;
    session.say_bytes(Direction::Reply, &other);
    session.say_bytes(Direction::Reply, &reply[..7]);
    assert!(session.expected().is_empty());
    session.say_bytes(Direction::Reply, &[&reply[..], &[0]].concat());
    assert_eq!(session.expected().len(), 2);
}

#[test]
fn behind_nat_the_clients_port_stands_for_its_id() {
    let mut session = Session::up(Status::SRC_NAT);
    session.say(Direction::Original, message::OUT_REQUEST, &[0, 7]);
    let [high, low] = CLIENT_PORT.to_be_bytes();
    session.say(Direction::Reply, message::OUT_REPLY, &[0, 9, high, low, DONE]);
    let both = [
        format!("Gre {{ source: 7, destination: 9 }} Some({CLIENT_PORT})"),
        format!("Gre {{ source: 9, destination: {CLIENT_PORT} }} Some(7)"),
    ];
    assert_eq!(session.expected(), both);
    session.say(Direction::Original, message::CLEAR_REQUEST, &[0, 7]);
    session.say(Direction::Reply, message::DISCONNECTED, &[high, low]);
    let edits = [(12..14, "01"), (14..16, "\0\x07"), (12..14, "01"), (12..14, "\0\x07")];
    let edits = edits.map(|(place, id)| (place, id.to_owned()));
    assert_eq!(session.around.edits, edits);
}
