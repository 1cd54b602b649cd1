//! Masters and the connections they announce, told as `conntrack -E` prints them. What each line
//! expects was seen on Linux 6.18.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // the test's own failure

use std::net::IpAddr;

use stateward_conntrack::expect::{
    Announcement, ExpectClass, ExpectError, ExpectFlags, ExpectMask, Identical,
};
use stateward_conntrack::text::{
    DumpLine, EventLine, ExpectLine, ExpectProcLine, Output, ProcLine,
};
use stateward_conntrack::{
    Config, Event, EventMode, Flow, Hook, Instant, L4Key, Span, Status, Sysctls, Tracked, Tracker,
    Tuple, Unfinished, Zone,
};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Packet, TcpFlags, protocol};

const START: Instant = Instant::from_secs(1_795_224_881);

const CLASS: ExpectClass = ExpectClass { number: 1, name: "audio", max_expected: 4, timeout: 20 };

/// A gateway between a client and a server that speak UDP, and what it told.
struct Net {
    tracker: Tracker,
    now: Instant,
    client: IpAddr,
    server: IpAddr,
}

impl Net {
    fn new(v6: bool) -> Net {
        let sysctls = Sysctls { events: EventMode::Always, ..Sysctls::default() };
        let config = Config { sysctls, seed: [1, 2], unfinished: Unfinished::Bad };
        let address = |four: &str, six: &str| if v6 { six.parse() } else { four.parse() }.unwrap();
        Net {
            tracker: Tracker::new(config),
            now: START,
            client: address("10.0.1.2", "2001:db8:1::2"),
            server: address("10.0.2.2", "2001:db8:2::2"),
        }
    }

    fn arrive(&mut self, bytes: &[u8]) -> Tracked {
        let packet = Packet::parse(bytes).unwrap();
        self.tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, self.now)
    }

    /// A datagram of the client, on its way.
    fn ask(&mut self, from: u16, to: u16) -> Tracked {
        let bytes = compose::udp((self.client, from), (self.server, to), b"x");
        self.arrive(&bytes)
    }

    /// One of the server that goes all the way; its state.
    fn answer(&mut self, from: u16, to: u16) -> &'static str {
        let bytes = compose::udp((self.server, from), (self.client, to), b"x");
        let mut tracked = self.arrive(&bytes);
        self.tracker.confirm(&mut tracked.flow).unwrap();
        tracked.state.name()
    }

    /// A connection of the client in the table.
    fn master(&mut self) -> Flow {
        let mut flow = self.ask(40_004, 5060).flow;
        self.tracker.confirm(&mut flow).unwrap();
        flow
    }

    /// From any port of the server to one of the client.
    fn media(&self, port: u16) -> Announcement {
        let ports = L4Key::Ports { source: 0, destination: port };
        let (from, to) = (self.server, self.client);
        Announcement {
            tuple: Tuple::new(from, to, protocol::UDP, ports, Zone::DEFAULT).unwrap(),
            mask: ExpectMask::ADDRESS,
            class: CLASS,
            flags: ExpectFlags::default(),
            helper: "sip",
            assigns: None,
            nat: None,
            identical: Identical::OfMaster,
        }
    }

    fn expect(&mut self, flow: &mut Flow, port: u16) {
        let media = self.media(port);
        self.tracker.expect(flow, media).unwrap();
    }

    fn wait(&mut self, seconds: u32) {
        self.now = self.now + Span::secs(seconds);
        self.tracker.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.tracker.take_events(&mut events);
        events
    }

    /// What was told since the last call: name and destination port.
    fn told(&mut self) -> Vec<String> {
        let name = |event: &Event| {
            let tuple = match (event.connection(), event.expectation()) {
                (Some(record), _) => record.original,
                (None, Some(expectation)) => expectation.announced.tuple,
                (None, None) => panic!("an event about nothing"),
            };
            let L4Key::Ports { destination, .. } = tuple.l4() else { panic!("no ports") };
            format!("{} {destination}", event.name())
        };
        self.events().iter().map(name).collect()
    }
}

/// Runs a test over IPv4 and IPv6.
fn both(run: impl Fn(&mut Net)) {
    for v6 in [false, true] {
        run(&mut Net::new(v6));
    }
}

#[test]
fn an_expected_connection_is_related_has_a_master_and_inherits_its_mark() {
    both(|net| {
        let mut flow = net.ask(40_004, 5060).flow;
        let Flow::Unconfirmed(conn) = &mut flow else { panic!("{flow:?}") };
        conn.set_mark(99);
        net.tracker.confirm(&mut flow).unwrap();
        net.expect(&mut flow, 8001);
        assert_eq!(net.told(), ["NEW 5060", "EXP_NEW 8001"]);

        let bytes = compose::udp((net.server, 777), (net.client, 8001), b"x");
        let mut tracked = net.arrive(&bytes);
        assert_eq!(tracked.state.name(), "RELATED");
        let fulfilled = tracked.expectation.take().expect("NAT goes by it");
        assert_eq!(Flow::Confirmed(fulfilled.master.id), flow);
        assert_eq!(net.tracker.expectations().count(), 0);
        net.tracker.confirm(&mut tracked.flow).unwrap();
        let Flow::Confirmed(child) = tracked.flow else { panic!("{:?}", tracked.flow) };
        let child = net.tracker.get(child).unwrap();
        assert!(child.status.has(Status::EXPECTED | Status::CONFIRMED));
        assert_eq!(child.mark, Some(99));
        let Flow::Confirmed(master) = flow else { panic!("{flow:?}") };
        assert_eq!(child.master, net.tracker.get(master).map(|record| record.original));
        assert_eq!(net.told(), ["EXP_DESTROY 8001", "NEW 8001"]);
        assert_eq!(net.answer(777, 8001), "RELATED", "until it is answered");
        assert_eq!(net.answer(778, 8001), "NEW", "one was expected, one has come");
    });
}

#[test]
fn a_permanent_expectation_is_fulfilled_again_and_again() {
    both(|net| {
        let mut flow = net.master();
        let lasting = Announcement { flags: ExpectFlags::PERMANENT, ..net.media(8001) };
        net.tracker.expect(&mut flow, lasting).unwrap();
        assert_eq!([net.answer(777, 8001), net.answer(778, 8001)], ["RELATED", "RELATED"]);
        assert_eq!(net.told(), ["NEW 5060", "EXP_NEW 8001", "NEW 8001", "NEW 8001"]);
    });
}

#[test]
fn nothing_expected_comes_before_its_master_is_in_the_table() {
    both(|net| {
        let mut flow = net.ask(40_004, 5060).flow;
        net.expect(&mut flow, 8001);
        net.expect(&mut flow, 8002);
        assert_eq!(net.answer(777, 8001), "NEW");
        net.tracker.confirm(&mut flow).unwrap();
        assert_eq!(net.answer(778, 8001), "RELATED");
        assert_eq!(
            net.told(),
            [
                "EXP_NEW 8001",
                "EXP_NEW 8002",
                "NEW 8001",
                "NEW 5060",
                "EXP_DESTROY 8001",
                "NEW 8001"
            ]
        );
        let Flow::Confirmed(id) = flow else { panic!("{flow:?}") };
        assert_eq!(net.tracker.expectations().of(id).count(), 1);
    });
}

#[test]
fn what_a_dropped_packet_announced_goes_with_it() {
    both(|net| {
        let mut first = net.ask(40_004, 5060).flow;
        let mut second = net.ask(40_005, 5060).flow;
        net.expect(&mut first, 8001);
        net.expect(&mut second, 8002);
        net.tracker.forget(first);
        assert_eq!(net.told(), ["EXP_NEW 8001", "EXP_NEW 8002", "EXP_DESTROY 8001"]);
    });
}

#[test]
fn the_end_of_a_master_is_told_before_that_of_its_expectations_newest_first() {
    both(|net| {
        let mut flow = net.master();
        net.wait(25);
        for port in [8001, 8002] {
            net.expect(&mut flow, port);
        }
        net.told();
        net.wait(5);
        assert_eq!(net.told(), ["DESTROY 5060", "EXP_DESTROY 8002", "EXP_DESTROY 8001"]);
        assert_eq!(net.answer(777, 8001), "NEW");
        assert_eq!(net.tracker.expect(&mut flow, net.media(1)), Err(ExpectError::NoMaster));
    });
}

#[test]
fn connections_and_expectations_end_in_one_order() {
    both(|net| {
        let mut flow = net.master();
        net.expect(&mut flow, 8001);
        net.wait(1);
        net.answer(777, 9000);
        net.wait(12);
        net.expect(&mut flow, 8002);
        net.wait(1);
        net.ask(40_004, 5060);
        net.told();
        assert_eq!(net.tracker.next_timeout(), Some(START + Span::secs(20)));
        net.wait(100);
        let expected = ["EXP_DESTROY 8001", "DESTROY 9000", "EXP_DESTROY 8002", "DESTROY 5060"];
        assert_eq!(net.told(), expected);
        assert_eq!(net.tracker.next_timeout(), None);
    });
}

#[test]
fn an_invalid_packet_uses_up_what_was_expected() {
    both(|net| {
        let mut flow = net.master();
        let ports = L4Key::Ports { source: 0, destination: 7004 };
        let tuple = Tuple::new(net.server, net.client, protocol::TCP, ports, Zone::DEFAULT);
        let data = Announcement { tuple: tuple.unwrap(), ..net.media(0) };
        net.tracker.expect(&mut flow, data).unwrap();
        let segment = |flags| Tcp {
            source: (net.server, 20),
            destination: (net.client, 7004),
            sequence: 1,
            acknowledgment: 0,
            flags: TcpFlags(flags),
            window: 1000,
            options: &[],
            payload: &[],
        };
        let (bad, good) = (TcpFlags::SYN.0 | TcpFlags::FIN.0, TcpFlags::SYN.0);
        let (bad, good) = (compose::tcp(&segment(bad)), compose::tcp(&segment(good)));
        assert_eq!(net.arrive(&bad).state.name(), "INVALID");
        assert_eq!(net.arrive(&good).state.name(), "NEW");
        assert_eq!(net.told(), ["NEW 5060", "EXP_NEW 7004", "EXP_DESTROY 7004"]);
        assert_eq!(net.tracker.expectations().statistics().new, 1);
    });
}

#[test]
fn the_limit_of_all_is_the_sysctls() {
    let mut net = Net::new(false);
    let mut flow = net.master();
    net.tracker.sysctls_mut().expect_max = 1;
    net.expect(&mut flow, 8001);
    assert_eq!(net.tracker.expect(&mut flow, net.media(8002)), Err(ExpectError::TableFull));
}

#[test]
fn an_expectation_may_be_taken_back_prolonged_and_let_loose() {
    both(|net| {
        let mut flow = net.master();
        let waiting = Announcement { flags: ExpectFlags::INACTIVE, ..net.media(8001) };
        let id = net.tracker.expect(&mut flow, waiting).unwrap();
        assert_eq!(net.answer(777, 8001), "NEW");
        assert!(net.tracker.activate_expectation(id));
        assert!(net.tracker.refresh_expectation(id, 25));
        net.wait(24);
        assert_eq!(net.answer(778, 8001), "RELATED");
        assert!(!net.tracker.refresh_expectation(id, 25));
        net.expect(&mut flow, 8002);
        net.expect(&mut flow, 8003);
        let second = net.tracker.expectations().iter().next().unwrap().id;
        assert_eq!(net.tracker.unexpect(second).map(|gone| gone.id), Some(second));
        net.tracker.flush_expectations();
        assert!(net.tracker.expectations().is_empty());
    });
}

#[test]
fn an_expected_connection_gets_the_helper_it_was_announced_with() {
    let mut net = Net::new(false);
    let mut flow = net.master();
    let call = Announcement { assigns: Some("sip"), ..net.media(8001) };
    net.tracker.expect(&mut flow, call).unwrap();
    net.answer(777, 8001);
    let child = net.tracker.dump().find(|record| record.status.has(Status::EXPECTED)).unwrap();
    assert_eq!(child.helper, Some("sip"));
}

#[test]
fn the_lines_are_those_of_the_tool_and_proc() {
    let mut net = Net::new(false);
    let mut flow = net.master();
    net.expect(&mut flow, 49170);
    let output = Output { timestamp: true, ..Output::default() };
    let told: Vec<_> =
        net.events().iter().map(|event| EventLine { event, output }.to_string()).collect();
    assert_eq!(
        told,
        [
            "[1795224881.000000]\t    [NEW] udp      17 30 src=10.0.1.2 dst=10.0.2.2 sport=40004 \
         dport=5060 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 sport=5060 dport=40004",
            "[1795224881.0     ]\t    [NEW] 20 proto=17 src=10.0.2.2 dst=10.0.1.2 sport=0 dport=49170 \
         mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0 dport=65535 \
         master-src=10.0.1.2 master-dst=10.0.2.2 sport=40004 dport=5060 class=1 helper=sip",
        ]
    );
    let record = net.tracker.dump().next().unwrap();
    assert_eq!(
        DumpLine { record: &record, now: net.now, uses: 1, output: Output::default() }.to_string(),
        "udp      17 30 src=10.0.1.2 dst=10.0.2.2 sport=40004 dport=5060 [UNREPLIED] src=10.0.2.2 \
         dst=10.0.1.2 sport=5060 dport=40004 mark=0 use=1"
    );
    assert_eq!(
        ProcLine { record: &record, now: net.now, uses: 2 }.to_string(),
        "ipv4     2 udp      17 30 src=10.0.1.2 dst=10.0.2.2 sport=40004 dport=5060 [UNREPLIED] \
         src=10.0.2.2 dst=10.0.1.2 sport=5060 dport=40004 mark=0 zone=0 use=2"
    );
    let expectation = net.tracker.expectations().iter().next().unwrap();
    assert_eq!(
        ExpectLine { expectation, now: net.now, timestamp: false }.to_string(),
        "20 proto=17 src=10.0.2.2 dst=10.0.1.2 sport=0 dport=49170 mask-src=255.255.255.255 \
         mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.1.2 master-dst=10.0.2.2 \
         sport=40004 dport=5060 class=1 helper=sip"
    );
    assert_eq!(
        ExpectProcLine { expectation, now: net.now }.to_string(),
        "20 l3proto = 2 proto=17 src=10.0.2.2 dst=10.0.1.2 sport=0 dport=49170 sip/audio"
    );
}

#[test]
fn the_timeouts_of_a_gre_flow_are_in_proc_alone() {
    let mut net = Net::new(false);
    let bytes = compose::ip(net.client, net.server, protocol::GRE, &[0, 0, 8, 0, 1, 2, 3, 4]);
    let mut flow = net.arrive(&bytes).flow;
    net.tracker.confirm(&mut flow).unwrap();
    let record = net.tracker.dump().next().unwrap();
    assert_eq!(
        ProcLine { record: &record, now: net.now, uses: 2 }.to_string(),
        "ipv4     2 gre      47 30 timeout=30, stream_timeout=180 src=10.0.1.2 dst=10.0.2.2 \
         srckey=0x0 dstkey=0x0 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 srckey=0x0 dstkey=0x0 mark=0 \
         zone=0 use=2"
    );
    let told = net.events();
    assert!(told.iter().all(|event| event.connection().is_some_and(|told| told.gre.is_none())));
}
