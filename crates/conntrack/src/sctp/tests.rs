//! Dialogues in virtual time, each for IPv4 and IPv6, through the whole tracker.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stateward_wire::sctp::chunk::*;
use stateward_wire::{Packet, compose};

use super::{SctpInfo, SctpState};
use crate::status::{PerDir, Status};
use crate::time::{Instant, Span};
use crate::tracker::{Config, Flow, Hook, Tracker};
use crate::tuple::Zone;
use crate::{EventKind, ProtocolInfo, Record};
use Side::{Client, Server};

/// The tag the client announces: the server's packets carry it.
const CLIENT: u32 = 0xc11e_0001;
/// The tag the server announces: the client's packets carry it.
const SERVER: u32 = 0x5e17_0002;
const STRANGE: u32 = 0x0bad_0003;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Client,
    Server,
}

/// A chunk in wire form, padded.
fn raw(kind: u8, flags: u8, length: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn plain(kind: u8) -> Vec<u8> {
    raw(kind, 0, 8, &[0xff; 4])
}

fn reflected(kind: u8) -> Vec<u8> {
    raw(kind, TAG_REFLECTED, 4, &[])
}

fn init(kind: u8, tag: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    raw(kind, 0, 20, &value)
}

/// Two hosts and the tracker between them.
struct Talk {
    tracker: Tracker,
    addresses: [IpAddr; 2],
    now: Instant,
    events: Vec<EventKind>,
}

/// Holds the same dialogue over IPv4 and IPv6.
fn over_both(dialogue: impl Fn(&mut Talk)) {
    let v4 = [[192, 0, 2, 1], [198, 51, 100, 2]].map(|a| IpAddr::V4(Ipv4Addr::from(a)));
    let v6 = [1, 2].map(|n| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)));
    for addresses in [v4, v6] {
        dialogue(&mut Talk::between(addresses));
    }
}

impl Talk {
    fn between(addresses: [IpAddr; 2]) -> Talk {
        let mut config = Config::default();
        config.sysctls.acct = true;
        config.sysctls.max = 64;
        let mut tracker = Tracker::new(config);
        tracker.set_listening(true);
        Talk { tracker, addresses, now: Instant::from_secs(1_000), events: Vec::new() }
    }

    /// Sends one packet; what it was to rules, or why it was INVALID.
    fn say(&mut self, from: Side, tag: u32, chunks: &[Vec<u8>]) -> &'static str {
        let [client, server] = self.addresses;
        let ends = [(client, 5000), (server, 3868)];
        let [source, destination] = if from == Client { ends } else { [ends[1], ends[0]] };
        let bytes = compose::sctp(source, destination, tag, &chunks.concat());
        self.deliver(&bytes)
    }

    fn deliver(&mut self, bytes: &[u8]) -> &'static str {
        let packet = Packet::parse(bytes).expect("a whole packet");
        let mut tracked = self.tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, self.now);
        let known = !matches!(tracked.flow, Flow::None);
        self.tracker.confirm(&mut tracked.flow).expect("room");
        let mut events = Vec::new();
        self.tracker.take_events(&mut events);
        self.events = events.iter().map(|event| event.kind).collect();
        match tracked.reason {
            Some(reason) if !known => reason.code(),
            _ => tracked.state.name(),
        }
    }

    /// Says `chunks` in order, one a packet, each of which must pass.
    fn follow(&mut self, steps: &[(Side, u32, Vec<u8>)]) {
        for (from, tag, chunk) in steps {
            let said = self.say(*from, *tag, core::slice::from_ref(chunk));
            assert!(["NEW", "ESTABLISHED"].contains(&said), "{from:?} {chunk:?}: {said}");
        }
    }

    fn pass(&mut self, seconds: u32) {
        self.now = self.now + Span::secs(seconds);
        self.tracker.handle_timeout(self.now);
    }

    fn record(&self) -> Record {
        let mut records = self.tracker.dump();
        let record = records.next().expect("an entry");
        assert!(records.next().is_none());
        record
    }

    fn info(&self) -> SctpInfo {
        match self.record().protocol {
            Some(ProtocolInfo::Sctp(info)) => info,
            other => panic!("not SCTP: {other:?}"),
        }
    }

    /// The state and the seconds it has left.
    fn state(&self) -> (SctpState, u32) {
        (self.info().state, self.record().timeout.expect("a timeout"))
    }

    fn tags(&self) -> [u32; 2] {
        let PerDir(tags) = self.info().tags.expect("tags");
        tags
    }

    fn packets(&self) -> u64 {
        let PerDir([original, reply]) = self.record().counters.expect("accounting");
        original.packets + reply.packets
    }

    fn establish(&mut self) {
        self.follow(&handshake());
        assert_eq!(self.state(), (SctpState::Established, 210));
    }
}

fn handshake() -> [(Side, u32, Vec<u8>); 4] {
    [
        (Client, 0, init(INIT, CLIENT)),
        (Server, CLIENT, init(INIT_ACK, SERVER)),
        (Client, SERVER, plain(COOKIE_ECHO)),
        (Server, CLIENT, plain(COOKIE_ACK)),
    ]
}

#[test]
fn each_step_of_the_handshake_has_its_state_its_timeout_and_one_event() {
    use SctpState::*;
    let seen = [
        ("NEW", Closed, 10, [0, CLIENT], EventKind::New),
        ("ESTABLISHED", CookieWait, 3, [SERVER, CLIENT], EventKind::Update),
        ("ESTABLISHED", CookieEchoed, 3, [SERVER, CLIENT], EventKind::Update),
        ("ESTABLISHED", Established, 210, [SERVER, CLIENT], EventKind::Update),
    ];
    over_both(|talk| {
        for ((from, tag, chunk), (word, state, timeout, tags, event)) in
            handshake().into_iter().zip(seen)
        {
            assert_eq!(talk.say(from, tag, &[chunk]), word);
            assert_eq!(talk.state(), (state, timeout));
            assert_eq!(talk.tags(), tags);
            assert_eq!(talk.events, [event]);
            assert_eq!(talk.record().status.has(Status::ASSURED), state == Established);
        }
    });
}

#[test]
fn data_refreshes_the_timeout_and_tells_nothing() {
    over_both(|talk| {
        talk.establish();
        talk.pass(100);
        assert_eq!(talk.state().1, 110);
        assert_eq!(talk.say(Client, SERVER, &[plain(DATA), plain(SACK)]), "ESTABLISHED");
        assert_eq!((talk.state().1, talk.events.len()), (210, 0));
        assert_eq!(talk.say(Server, CLIENT, &[plain(0xc1)]), "ESTABLISHED");
    });
}

#[test]
fn shutdown_ends_in_closed_whoever_begins() {
    use SctpState::*;
    for (begins, state) in [(Client, ShutdownSent), (Server, ShutdownRecd)] {
        over_both(|talk| {
            let (other, tag, its) = match begins {
                Client => (Server, SERVER, CLIENT),
                Server => (Client, CLIENT, SERVER),
            };
            talk.establish();
            talk.follow(&[(begins, tag, plain(SHUTDOWN))]);
            assert_eq!(talk.state(), (state, 3));
            talk.follow(&[(other, its, plain(SHUTDOWN_ACK))]);
            assert_eq!(talk.state(), (ShutdownAckSent, 3));
            talk.follow(&[(begins, tag, plain(SHUTDOWN_COMPLETE))]);
            assert_eq!(talk.state(), (Closed, 10));
            talk.pass(10);
            assert_eq!(talk.tracker.count(), 0);
        });
    }
}

#[test]
fn a_shutdown_ack_is_asked_for_no_tag() {
    over_both(|talk| {
        talk.establish();
        talk.follow(&[(Client, SERVER, plain(SHUTDOWN)), (Server, STRANGE, plain(SHUTDOWN_ACK))]);
        assert_eq!(talk.state().0, SctpState::ShutdownAckSent);
    });
}

#[test]
fn abort_and_shutdown_complete_carry_the_own_tag_or_reflect_the_other() {
    for (kind, from) in
        [(ABORT, SctpState::Established), (SHUTDOWN_COMPLETE, SctpState::ShutdownAckSent)]
    {
        for (chunk, tag, ends) in [
            (plain(kind), SERVER, true),
            (plain(kind), CLIENT, false),
            (reflected(kind), CLIENT, true),
            (reflected(kind), SERVER, false),
            (plain(kind), 0, false),
        ] {
            over_both(|talk| {
                talk.establish();
                if from == SctpState::ShutdownAckSent {
                    talk.follow(&[
                        (Client, SERVER, plain(SHUTDOWN)),
                        (Server, CLIENT, plain(SHUTDOWN_ACK)),
                    ]);
                }
                let said = talk.say(Client, tag, core::slice::from_ref(&chunk));
                let wanted = if ends { "ESTABLISHED" } else { "sctp_verification_tag" };
                assert_eq!(said, wanted);
                assert_eq!(talk.state().0, if ends { SctpState::Closed } else { from });
            });
        }
    }
}

#[test]
fn an_ordinary_packet_carries_the_tag_of_its_direction() {
    over_both(|talk| {
        talk.establish();
        for kind in [DATA, SACK, ERROR, SHUTDOWN, COOKIE_ACK, ECN_ECHO, AUTH, I_DATA] {
            for tag in [CLIENT, STRANGE, 0] {
                assert_eq!(talk.say(Client, tag, &[plain(kind)]), "sctp_verification_tag");
            }
        }
        assert_eq!(talk.say(Client, STRANGE, &[init(INIT_ACK, CLIENT)]), "sctp_verification_tag");
        assert_eq!(talk.state().0, SctpState::Established);
        assert_eq!(talk.packets(), 4);
    });
}

#[test]
fn a_heartbeat_beside_it_frees_a_chunk_from_the_ordinary_rule() {
    over_both(|talk| {
        talk.establish();
        talk.pass(5);
        let bundle = [plain(HEARTBEAT), plain(SHUTDOWN)];
        assert_eq!(talk.say(Client, STRANGE, &bundle), "ESTABLISHED");
        assert_eq!(talk.state(), (SctpState::ShutdownSent, 205));
        assert_eq!(talk.events, [EventKind::Update]);
    });
}

#[test]
fn an_init_carries_no_tag_and_its_fixed_part_in_whole() {
    over_both(|talk| {
        assert_eq!(talk.say(Client, SERVER, &[init(INIT, CLIENT)]), "sctp_verification_tag");
        let mut cut = init(INIT, CLIENT);
        cut.truncate(16);
        assert_eq!(talk.say(Client, 0, &[cut]), "bad_length");
        // Where the chunk says it ends does not matter, but another one is found there.
        let mut short = init(INIT, CLIENT);
        short[3] = 4;
        assert_eq!(talk.say(Client, 0, &[short]), "sctp_chunks");
        let mut long = init(INIT, CLIENT);
        long[2] = 0xff;
        assert_eq!(talk.say(Client, 0, &[long]), "NEW");
    });
}

#[test]
fn an_init_sent_again_is_let_pass_but_keeps_nothing_alive() {
    over_both(|talk| {
        talk.follow(&[(Client, 0, init(INIT, CLIENT))]);
        talk.pass(4);
        assert_eq!(talk.say(Client, 0, &[init(INIT, CLIENT)]), "NEW");
        assert_eq!(talk.state(), (SctpState::Closed, 6));
        assert_eq!((talk.packets(), talk.events.len()), (1, 0));
        // With another tag it is believed all the same.
        assert_eq!(talk.say(Client, 0, &[init(INIT, STRANGE)]), "NEW");
        assert_eq!((talk.tags(), talk.state().1), ([0, STRANGE], 6));
    });
}

#[test]
fn an_init_after_the_end_begins_anew_with_what_is_left_of_the_old_timeout() {
    over_both(|talk| {
        talk.establish();
        talk.follow(&[(Server, CLIENT, plain(ABORT))]);
        talk.pass(4);
        talk.follow(&[(Client, 0, init(INIT, STRANGE))]);
        assert_eq!((talk.state(), talk.tags()), ((SctpState::Closed, 6), [SERVER, STRANGE]));
        talk.follow(&[(Server, STRANGE, init(INIT_ACK, 7))]);
        assert_eq!((talk.state(), talk.tags()), ((SctpState::CookieWait, 3), [7, STRANGE]));
    });
}

#[test]
fn a_restart_changes_the_tags_but_not_the_state() {
    over_both(|talk| {
        talk.establish();
        talk.follow(&[(Client, 0, init(INIT, 5)), (Server, 5, init(INIT_ACK, 6))]);
        assert_eq!((talk.state().0, talk.tags()), (SctpState::Established, [6, 5]));
    });
}

#[test]
fn an_init_ack_replaces_a_tag_only_where_an_init_of_another_tag_asked_for_it() {
    over_both(|talk| {
        talk.establish();
        let strange = || [init(INIT_ACK, STRANGE)];
        assert_eq!(talk.say(Server, CLIENT, &strange()), "sctp_verification_tag");
        assert_eq!(talk.say(Server, CLIENT, &[init(INIT_ACK, SERVER)]), "ESTABLISHED");
        // A late copy of the handshake's INIT is no new beginning.
        talk.follow(&[(Client, 0, init(INIT, CLIENT))]);
        assert_eq!(talk.say(Server, CLIENT, &strange()), "sctp_verification_tag");
        talk.follow(&[(Client, 0, init(INIT, 5))]);
        assert_eq!(talk.say(Server, 5, &strange()), "ESTABLISHED");
        assert_eq!(talk.tags(), [STRANGE, 5]);
    });
}

#[test]
fn in_a_collision_an_init_ack_repeats_the_tag_of_its_senders_init() {
    over_both(|talk| {
        talk.follow(&[(Client, 0, init(INIT, CLIENT)), (Server, 0, init(INIT, SERVER))]);
        assert_eq!((talk.state().0, talk.tags()), (SctpState::Closed, [SERVER, CLIENT]));
        let other = [init(INIT_ACK, STRANGE)];
        assert_eq!(talk.say(Server, CLIENT, &other), "sctp_verification_tag");
        assert_eq!(talk.say(Client, SERVER, &other), "sctp_verification_tag");
        talk.follow(&[
            (Client, SERVER, init(INIT_ACK, CLIENT)),
            (Server, CLIENT, init(INIT_ACK, SERVER)),
            // Either side's cookie may win.
            (Server, CLIENT, plain(COOKIE_ECHO)),
            (Client, SERVER, plain(COOKIE_ACK)),
        ]);
        assert_eq!(talk.state().0, SctpState::Established);
    });
}

#[test]
fn a_new_init_of_one_side_ends_the_collision() {
    over_both(|talk| {
        talk.follow(&[
            (Client, 0, init(INIT, CLIENT)),
            (Server, 0, init(INIT, SERVER)),
            (Server, 0, init(INIT, 9)),
            (Client, 9, init(INIT_ACK, STRANGE)),
        ]);
        assert_eq!(talk.tags(), [9, STRANGE]);
    });
}

#[test]
fn a_stale_cookie_error_closes_only_from_the_server() {
    over_both(|talk| {
        talk.follow(&handshake()[..3]);
        talk.follow(&[(Client, SERVER, plain(ERROR))]);
        assert_eq!(talk.state().0, SctpState::CookieEchoed);
        talk.follow(&[(Server, CLIENT, plain(ERROR))]);
        assert_eq!(talk.state(), (SctpState::Closed, 10));
    });
}

#[test]
fn heartbeats_open_a_path_and_tell_its_tags() {
    over_both(|talk| {
        assert_eq!(talk.say(Client, SERVER, &[plain(HEARTBEAT)]), "NEW");
        assert_eq!((talk.state(), talk.tags()), ((SctpState::HeartbeatSent, 30), [SERVER, 0]));
        talk.follow(&[(Server, CLIENT, plain(HEARTBEAT_ACK))]);
        assert_eq!((talk.state(), talk.tags()), ((SctpState::Established, 210), [SERVER, CLIENT]));
        assert!(talk.record().status.has(Status::ASSURED));
        talk.follow(&[(Client, SERVER, plain(DATA)), (Server, CLIENT, plain(SACK))]);
    });
}

#[test]
fn a_path_without_an_answer_takes_nothing_from_the_other_side_but_heartbeats() {
    over_both(|talk| {
        talk.follow(&[(Client, SERVER, plain(HEARTBEAT)), (Server, CLIENT, plain(HEARTBEAT))]);
        assert_eq!((talk.state().0, talk.tags()), (SctpState::HeartbeatSent, [SERVER, CLIENT]));
        for kind in [ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK] {
            assert_eq!(talk.say(Server, CLIENT, &[plain(kind)]), "sctp_state");
        }
        assert_eq!(talk.say(Server, CLIENT, &[plain(SHUTDOWN_COMPLETE)]), "sctp_state");
        assert_eq!(talk.say(Server, 0, &[init(INIT, SERVER)]), "sctp_state");
        assert_eq!(talk.say(Server, CLIENT, &[init(INIT_ACK, SERVER)]), "sctp_state");
        // DATA is in no table.
        assert_eq!(talk.say(Server, CLIENT, &[plain(DATA)]), "ESTABLISHED");
        assert_eq!(talk.state().0, SctpState::HeartbeatSent);
    });
}

#[test]
fn a_heartbeat_with_a_strange_tag_passes_without_counting() {
    over_both(|talk| {
        talk.establish();
        talk.pass(9);
        assert_eq!(talk.say(Client, STRANGE, &[plain(HEARTBEAT)]), "ESTABLISHED");
        assert_eq!((talk.state().1, talk.packets()), (201, 4));
        assert_eq!(talk.tags(), [SERVER, CLIENT]);
        let twice = [plain(HEARTBEAT), plain(HEARTBEAT)];
        assert_eq!(talk.say(Client, STRANGE, &twice), "sctp_verification_tag");
        let smuggled = [plain(HEARTBEAT), plain(DATA)];
        assert_eq!(talk.say(Client, STRANGE, &smuggled), "sctp_verification_tag");
    });
}

#[test]
fn two_strange_heartbeats_that_answer_each_other_tell_a_new_association() {
    over_both(|talk| {
        talk.establish();
        let answer = [plain(HEARTBEAT_ACK)];
        assert_eq!(talk.say(Server, 8, &answer), "sctp_verification_tag");
        talk.follow(&[(Client, 9, plain(HEARTBEAT))]);
        // Not an answer: the same direction.
        assert_eq!(talk.say(Client, 8, &answer), "sctp_verification_tag");
        assert_eq!(talk.say(Server, 8, &answer), "ESTABLISHED");
        assert_eq!(talk.tags(), [0, 8]);
        // The client's tag is unknown until its next HEARTBEAT.
        assert_eq!(talk.say(Client, 9, &[plain(DATA)]), "sctp_verification_tag");
        talk.follow(&[(Client, 9, plain(HEARTBEAT)), (Client, 9, plain(DATA))]);
        assert_eq!(talk.tags(), [9, 8]);
    });
}

#[test]
fn a_familiar_heartbeat_settles_the_doubt() {
    for (from, tag) in [(Client, SERVER), (Server, CLIENT)] {
        over_both(|talk| {
            talk.establish();
            talk.follow(&[(Client, STRANGE, plain(HEARTBEAT)), (from, tag, plain(HEARTBEAT))]);
            let said = talk.say(Server, 8, &[plain(HEARTBEAT_ACK)]);
            assert_eq!(said, "sctp_verification_tag");
        });
    }
}

#[test]
fn out_of_the_blue_heartbeats_and_shutdown_acks_open_with_any_tag() {
    for (kind, state, tags) in [
        (HEARTBEAT, SctpState::HeartbeatSent, [STRANGE, 0]),
        (HEARTBEAT_ACK, SctpState::Closed, [STRANGE, 0]),
        (SHUTDOWN_ACK, SctpState::ShutdownAckSent, [0, STRANGE]),
    ] {
        over_both(|talk| {
            assert_eq!(talk.say(Client, STRANGE, &[plain(kind)]), "NEW");
            assert_eq!((talk.state().0, talk.tags()), (state, tags));
        });
    }
}

#[test]
fn out_of_the_blue_the_rest_of_the_handshake_opens_with_the_tag_0() {
    for (chunk, tags) in [
        (init(INIT, CLIENT), [0, CLIENT]),
        (init(INIT_ACK, CLIENT), [0, CLIENT]),
        (plain(SHUTDOWN), [0, 0]),
        (plain(ERROR), [0, 0]),
        (plain(COOKIE_ECHO), [0, 0]),
    ] {
        over_both(|talk| {
            let chunk = core::slice::from_ref(&chunk);
            assert_eq!(talk.say(Client, STRANGE, chunk), "sctp_verification_tag");
            assert_eq!(talk.say(Client, 0, chunk), "NEW");
            assert_eq!((talk.state().0, talk.tags()), (SctpState::Closed, tags));
        });
    }
}

#[test]
fn out_of_the_blue_nothing_else_opens_not_even_beside_what_would() {
    over_both(|talk| {
        for kind in [DATA, SACK, AUTH, 0xff, ABORT, COOKIE_ACK, SHUTDOWN_COMPLETE] {
            for tag in [0, STRANGE] {
                assert_eq!(talk.say(Client, tag, &[plain(kind)]), "sctp_invalid_new");
            }
        }
        for kind in [DATA, SACK, AUTH, 0xff, ABORT] {
            let bundle = [plain(HEARTBEAT), plain(kind)];
            assert_eq!(talk.say(Client, STRANGE, &bundle), "sctp_invalid_new");
        }
        assert_eq!(talk.tracker.count(), 0);
    });
}

#[test]
fn out_of_the_blue_a_cookie_passes_with_the_tag_that_a_heartbeat_beside_it_tells() {
    over_both(|talk| {
        let answered = [plain(COOKIE_ECHO), plain(HEARTBEAT_ACK)];
        assert_eq!(talk.say(Client, STRANGE, &answered), "sctp_verification_tag");
        let asked = [plain(COOKIE_ECHO), plain(HEARTBEAT)];
        assert_eq!(talk.say(Client, STRANGE, &asked), "NEW");
        assert_eq!((talk.state().0, talk.tags()), (SctpState::Closed, [STRANGE, 0]));
    });
}

#[test]
fn a_shutdown_ack_out_of_the_blue_is_answered_with_its_own_tag() {
    over_both(|talk| {
        talk.follow(&[(Client, STRANGE, plain(SHUTDOWN_ACK))]);
        talk.follow(&[(Server, STRANGE, plain(SHUTDOWN_COMPLETE))]);
        assert_eq!(talk.state().0, SctpState::Closed);
    });
}

#[test]
fn chunks_that_must_come_alone_or_first_are_refused_elsewhere() {
    over_both(|talk| {
        talk.establish();
        let data = || plain(DATA);
        for (tag, bundle) in [
            (0, [init(INIT, CLIENT), data()]),
            (SERVER, [data(), init(INIT, CLIENT)]),
            (SERVER, [init(INIT_ACK, CLIENT), data()]),
            (SERVER, [data(), init(INIT_ACK, CLIENT)]),
            (SERVER, [plain(SHUTDOWN_COMPLETE), data()]),
            (SERVER, [data(), plain(SHUTDOWN_COMPLETE)]),
            (SERVER, [data(), plain(COOKIE_ECHO)]),
            (SERVER, [data(), plain(COOKIE_ACK)]),
        ] {
            assert_eq!(talk.say(Client, tag, &bundle), "sctp_chunks", "{bundle:?}");
        }
        assert_eq!(talk.say(Client, SERVER, &[]), "sctp_chunks");
        assert_eq!(talk.say(Client, SERVER, &[plain(COOKIE_ECHO), data()]), "ESTABLISHED");
    });
}

#[test]
fn lengths_only_say_where_the_next_chunk_begins() {
    over_both(|talk| {
        talk.establish();
        let header = |length: u16| raw(DATA, 0, length, &[]);
        assert_eq!(talk.say(Client, SERVER, &[header(0)]), "sctp_chunks");
        assert_eq!(talk.say(Client, SERVER, &[plain(DATA), header(0)]), "sctp_chunks");
        for length in [1, 2, 3, 4, 5, 1000, 0xffff] {
            assert_eq!(talk.say(Client, SERVER, &[header(length)]), "ESTABLISHED", "{length}");
        }
        // The next header is found inside what the sender calls padding.
        assert_eq!(talk.say(Client, SERVER, &[header(1), plain(SHUTDOWN)]), "ESTABLISHED");
        assert_eq!(talk.state().0, SctpState::ShutdownSent);
        // Three bytes are no chunk, and nobody's fault.
        assert_eq!(talk.say(Client, SERVER, &[header(4), vec![INIT; 3]]), "ESTABLISHED");
        assert_eq!(talk.say(Client, SERVER, &[vec![INIT; 3]]), "sctp_chunks");
    });
}

#[test]
fn what_came_before_a_refused_chunk_stays_done_and_is_told_later() {
    over_both(|talk| {
        talk.establish();
        let bundle = [plain(SHUTDOWN), plain(HEARTBEAT_ACK)];
        assert_eq!(talk.say(Client, STRANGE, &bundle), "sctp_verification_tag");
        assert_eq!((talk.state().0, talk.packets()), (SctpState::ShutdownSent, 4));
        assert!(talk.events.is_empty());
        talk.follow(&[(Client, SERVER, plain(DATA))]);
        assert_eq!(talk.events, [EventKind::Update]);
        talk.follow(&[(Client, SERVER, plain(DATA))]);
        assert!(talk.events.is_empty());
    });
}

#[test]
fn no_sysctl_reaches_the_timeout_of_none() {
    let timeouts = super::Timeouts { closed: 77, ..super::Timeouts::default() };
    assert_eq!((timeouts.of(SctpState::None), timeouts.of(SctpState::Closed)), (10, 77));
}

#[test]
fn states_come_back_from_their_numbers() {
    for (number, state) in (0..).zip(SctpState::ALL) {
        assert_eq!((SctpState::from_u8(number), state as u8), (state, number));
    }
    assert_eq!(SctpState::from_u8(9), SctpState::None);
}

/// A chunk that gets far: a known type, a length that is often right, a value that is often enough.
fn any_chunk() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![4 => 0..16_u8, 1 => any::<u8>()];
    let length = prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some), 1 => (0..24_u16).prop_map(Some)];
    let value = prop_oneof![
        Just(vec![0; 16]),
        proptest::collection::vec(any::<u8>(), 0..24),
        Just(CLIENT.to_be_bytes().repeat(4)),
    ];
    (kind, any::<u8>(), length, value).prop_map(|(kind, flags, length, value)| {
        raw(kind, flags, length.unwrap_or(4 + value.len() as u16), &value)
    })
}

proptest! {
    /// Whatever the chunks: no panic, and no entry in NONE or without a way out of the table.
    #[test]
    fn no_chunk_brings_the_tracker_down(
        packets in proptest::collection::vec(
            (
                any::<bool>(),
                prop_oneof![Just(0), Just(CLIENT), Just(SERVER), any::<u32>()],
                proptest::collection::vec(any_chunk(), 0..4),
                proptest::collection::vec(any::<u8>(), 0..4),
            ),
            1..24,
        ),
    ) {
        over_both(|talk| {
            for (reply, tag, chunks, tail) in packets.clone() {
                let mut chunks = chunks;
                chunks.push(tail);
                talk.say(if reply { Server } else { Client }, tag, &chunks);
                if talk.tracker.count() > 0 {
                    let (state, timeout) = talk.state();
                    assert_ne!(state, SctpState::None);
                    assert!(timeout <= 210);
                }
            }
        });
    }

    #[test]
    fn no_bytes_after_the_ports_bring_the_tracker_down(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        over_both(|talk| {
            let mut l4 = [5000_u16.to_be_bytes(), 3868_u16.to_be_bytes()].concat();
            l4.extend_from_slice(&bytes);
            talk.tracker.sysctls_mut().checksum = false;
            let [source, destination] = talk.addresses;
            talk.deliver(&compose::ip(source, destination, 132, &l4));
        });
    }
}
