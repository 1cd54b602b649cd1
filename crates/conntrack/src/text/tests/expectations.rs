//! Expectations as the tool and /proc tell of them.

use super::*;
use crate::expect::{
    Announcement, ExpectClass, ExpectFlags, ExpectId, ExpectMask, Expectation, Identical, Master,
};

/// What an FTP connection over the loopback announces, as the helper is told by ctnetlink.
fn expectation(tuple_: Tuple, mask: ExpectMask, master: Tuple, class: ExpectClass) -> Expectation {
    let reply = master.inverse().unwrap();
    Expectation {
        id: ExpectId::FIRST,
        master: Master {
            id: FIRST,
            tuples: PerDir([master, reply]),
            reports: crate::expect::ExpectEvents::ALL,
        },
        announced: Announcement {
            tuple: tuple_,
            mask,
            class,
            flags: ExpectFlags::default(),
            helper: if class.name.is_empty() { "ftp" } else { "sip" },
            assigns: None,
            nat: None,
            identical: Identical::default(),
        },
        deadline: NOW + Span::secs(class.timeout),
    }
}

const FTP: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 1, timeout: 300 };
const VIDEO: ExpectClass = ExpectClass { number: 2, name: "video", max_expected: 4, timeout: 180 };

fn control() -> Tuple {
    tuple("127.0.0.1", "127.0.0.1", protocol::TCP, ports(40001, 2121))
}

fn expect(expectation: &Expectation) -> String {
    ExpectLine { expectation, now: NOW, timestamp: false }.to_string()
}

fn expect_proc(expectation: &Expectation) -> String {
    ExpectProcLine { expectation, now: NOW + Span(4_000_000) }.to_string()
}

#[test]
fn an_expectation_tells_tuple_mask_master_flags_class_and_helper() {
    let data = tuple("127.0.0.1", "127.0.0.1", protocol::TCP, ports(0, 7003));
    let mask = ExpectMask::new("255.0.0.0".parse().unwrap(), 255);
    let mut ftp = expectation(data, mask, control(), FTP);
    ftp.announced.flags = ExpectFlags::PERMANENT.with(ExpectFlags::INACTIVE);
    const LINE: &str = "300 proto=6 src=127.0.0.1 dst=127.0.0.1 sport=0 dport=7003 \
                        mask-src=255.0.0.0 mask-dst=255.255.255.255 sport=255 dport=65535 \
                        master-src=127.0.0.1 master-dst=127.0.0.1 sport=40001 dport=2121 \
                        PERMANENT,INACTIVE class=0 helper=ftp";
    assert_eq!(expect(&ftp), LINE);
    assert_eq!(
        expect_proc(&ftp),
        "299 l3proto = 2 proto=6 src=127.0.0.1 dst=127.0.0.1 sport=0 dport=7003 \
         PERMANENT,INACTIVE ftp"
    );
    let told = |kind| {
        let at = Instant(1_795_224_881_001_122_000);
        ftp.deadline = at + Span::secs(300);
        let event = Event { kind, at, subject: Subject::Expectation(ftp.clone()) };
        let output = Output { timestamp: true, id: true, extended: true, ..Output::default() };
        EventLine { event: &event, output }.to_string()
    };
    let mut told = told;
    assert_eq!(told(EventKind::New), format!("[1795224881.1122  ]\t    [NEW] {LINE}"));
    assert_eq!(told(EventKind::Destroy), format!("[1795224881.1122  ]\t[DESTROY] {LINE}"));
}

#[test]
fn an_ipv6_expectation_is_whole_in_proc() {
    let data = tuple("::1", "::1", protocol::TCP, ports(0, 7001));
    let control = tuple("::1", "::1", protocol::TCP, ports(40002, 2121));
    let ftp = expectation(data, ExpectMask::ADDRESS, control, FTP);
    assert_eq!(
        expect(&ftp),
        "300 proto=6 src=::1 dst=::1 sport=0 dport=7001 \
         mask-src=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
         mask-dst=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff sport=0 dport=65535 master-src=::1 \
         master-dst=::1 sport=40002 dport=2121 class=0 helper=ftp"
    );
    assert_eq!(
        expect_proc(&ftp),
        "299 l3proto = 10 proto=6 src=0000:0000:0000:0000:0000:0000:0000:0001 \
         dst=0000:0000:0000:0000:0000:0000:0000:0001 sport=0 dport=7001 ftp"
    );
}

#[test]
fn an_expectation_of_any_protocol_has_the_mask_of_its_words() {
    let sip = tuple("127.0.0.1", "127.0.0.1", protocol::UDP, ports(40004, 5060));
    let told = |number, l4, mask| {
        let child = tuple("127.0.0.1", "127.0.0.1", number, l4);
        let video = expectation(child, mask, sip, VIDEO);
        let line = expect(&video);
        let line = line.strip_prefix("180 ").unwrap().to_owned();
        const MASTER: &str = " master-src=127.0.0.1 master-dst=127.0.0.1 sport=40004 dport=5060 \
                              class=2 helper=sip";
        (line.strip_suffix(MASTER).unwrap().to_owned(), expect_proc(&video))
    };
    let (tool, kernel) = told(protocol::UDP, ports(0, 8001), ExpectMask::NONE);
    assert_eq!(
        tool,
        "proto=17 src=127.0.0.1 dst=127.0.0.1 sport=0 dport=8001 mask-src=0.0.0.0 \
         mask-dst=255.255.255.255 sport=0 dport=65535"
    );
    assert_eq!(
        kernel,
        "179 l3proto = 2 proto=17 src=127.0.0.1 dst=127.0.0.1 sport=0 dport=8001 sip/video"
    );
    let query = L4Key::Icmp { kind: 8, code: 0, id: 77 };
    let (tool, _) = told(protocol::ICMP, query, ExpectMask::EXACT);
    assert_eq!(
        tool,
        "proto=1 src=127.0.0.1 dst=127.0.0.1 type=8 code=0 id=77 mask-src=255.255.255.255 \
         mask-dst=255.255.255.255 type=255 code=255 id=65535"
    );
    let (tool, kernel) = told(50, L4Key::None, ExpectMask::ADDRESS);
    assert_eq!(
        tool,
        "proto=50 src=127.0.0.1 dst=127.0.0.1 mask-src=255.255.255.255 mask-dst=255.255.255.255"
    );
    assert_eq!(kernel, "179 l3proto = 2 proto=50 src=127.0.0.1 dst=127.0.0.1 sip/video");
    let (tool, kernel) = told(protocol::DCCP, L4Key::None, ExpectMask::ADDRESS);
    assert_eq!(
        tool,
        "proto=33 src=127.0.0.1 dst=127.0.0.1 sport=0 dport=0 mask-src=255.255.255.255 \
         mask-dst=255.255.255.255 sport=0 dport=0"
    );
    assert_eq!(kernel, "179 l3proto = 2 proto=33 src=127.0.0.1 dst=127.0.0.1 sip/video");
}
