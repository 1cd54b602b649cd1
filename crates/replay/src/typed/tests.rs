//! What is typed against what tcpdump would print of it.

use super::*;
use crate::describe::Described;

/// What packets typed one after the other are.
fn described(texts: &[&str]) -> Vec<String> {
    let mut typist = Typist::default();
    let read = |text: &&str| {
        let typed = typist.read(text).map_err(|error| error.to_string()).unwrap();
        assert!(Packet::parse(&typed.bytes).is_ok(), "{text}");
        Described(&typed.bytes).to_string()
    };
    texts.iter().map(read).collect()
}

#[test]
fn a_handshake_needs_no_numbers() {
    let lines = described(&[
        "tcp 192.0.2.1:4000 > 198.51.100.2:80 S",
        "tcp 198.51.100.2:80 > 192.0.2.1:4000 SA",
        "tcp 192.0.2.1:4000 > 198.51.100.2:80 .",
        "tcp 192.0.2.1:4000 > 198.51.100.2:80 [P.], length 100",
        "tcp 198.51.100.2:80 > 192.0.2.1:4000 F.",
        "tcp 192.0.2.1:4000 > 198.51.100.2:80 R",
    ]);
    let numbers = [
        "Flags [S], seq 1000, win 64240, length 0",
        "Flags [S.], seq 1000, ack 1001, win 64240, length 0",
        "Flags [.], ack 1001, win 64240, length 0",
        "Flags [P.], seq 1001:1101, ack 1001, win 64240, length 100",
        "Flags [F.], seq 1001, ack 1101, win 64240, length 0",
        "Flags [R], seq 1101, win 0, length 0",
    ];
    for (line, expected) in lines.iter().zip(numbers) {
        assert!(line.ends_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn what_is_said_is_what_stands_there() {
    let cases = [
        (
            "tcp [2001:db8::1]:4000 > [2001:db8::2]:22 SA seq 7 ack 0x10 win 1 mss 1460 sackok wscale 7",
            "IP6 2001:db8::1.4000 > 2001:db8::2.22: Flags [S.], seq 7, ack 16, win 1, options [mss 1460,nop,nop,sackOK,nop,wscale 7], length 0",
        ),
        (
            "udp 192.0.2.1:53 > 192.0.2.2:4000 length 12",
            "IP 192.0.2.1.53 > 192.0.2.2.4000: UDP, length 12",
        ),
        (
            "icmp 192.0.2.1 > 192.0.2.2 id 7 seq 2",
            "IP 192.0.2.1 > 192.0.2.2: ICMP echo request, id 7, seq 2, length 8",
        ),
        (
            "icmp6 2001:db8::1 > 2001:db8::2 echo-reply id 7",
            "IP6 2001:db8::1 > 2001:db8::2: ICMP6, echo reply, id 7, seq 0, length 8",
        ),
        (
            "icmp 192.0.2.9 > 192.0.2.1 port-unreachable about udp 192.0.2.1:4000 > 198.51.100.2:53 length 4",
            "IP 192.0.2.9 > 192.0.2.1: ICMP 198.51.100.2 udp port 53 unreachable, length 40, quoting 192.0.2.1.4000 > 198.51.100.2.53: UDP",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(described(&[text]), [expected], "{text}");
    }
    assert!(described(&["sctp 192.0.2.1:1 > 192.0.2.2:2 init"])[0].contains("INIT"));
    assert!(described(&["47 192.0.2.1 > 192.0.2.2 length 8"])[0].contains("GRE"));
    let mut typist = Typist::default();
    let typed = typist.read("+1.5s in wan0 esp 192.0.2.1 > 192.0.2.2 ttl 3 tos 0x10").unwrap();
    let packet = Packet::parse(&typed.bytes).unwrap();
    assert_eq!((packet.ttl(), packet.tos()), (3, 0x10));
    assert_eq!((typed.after, typed.interface.as_deref()), (Span(1_500_000_000), Some("wan0")));
    let typed = typist.read("udp [::1]:1 > [::2]:2 tos 0xb8 ttl 9 mark 0x7").unwrap();
    assert_eq!(typed.mark, 7);
    let packet = Packet::parse(&typed.bytes).unwrap();
    assert_eq!((packet.ttl(), packet.tos()), (9, 0xb8));
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    let cases = [
        ("", 1, "a protocol is missing"),
        ("tpc 192.0.2.1:1 > 192.0.2.2:2", 0, "`tpc` is no protocol"),
        ("tcp 192.0.2.1 > 192.0.2.2:2", 4, "a port is missing"),
        ("tcp 2001:db8::1:80 > [2001:db8::2]:22", 4, "a port is missing"),
        ("tcp 192.0.2.1:70000 > 192.0.2.2:2", 4, "`70000` is no port"),
        ("tcp 192.0.2.1:7 192.0.2.2:2", 16, "`>` stands between the ends"),
        ("tcp 192.0.2.1:7 > [::1]:2", 18, "both addresses must be of one family"),
        ("tcp 192.0.2.1:7 > 192.0.2.2:2 X", 30, "`X` are no flags"),
        ("tcp 192.0.2.1:7 > 192.0.2.2:2 S seq", 36, "the number behind `seq` is missing"),
        ("udp 192.0.2.1:7 > 192.0.2.2:2 S", 30, "`S` is not known here"),
        ("udp 192.0.2.1:7 > 192.0.2.2:2 len 99999", 34, "`99999` cannot be here"),
        ("icmp 192.0.2.1:7 > 192.0.2.2", 5, "this protocol has no ports"),
        ("icmp ::1 > ::2", 0, "ICMP of IPv4 between addresses of IPv6"),
        ("+x in lo udp", 0, "`+x` is no time"),
        ("udp 192.0.2.1:7 > 192.0.2.2:2 data \"x", 35, "a quote is not closed"),
    ];
    for (text, column, message) in cases {
        let error = Typist::default().read(text).unwrap_err();
        assert_eq!((error.column, error.message.as_str()), (column, message), "{text}");
    }
    let error = Typist::default().read("icmp 192.0.2.1 > 192.0.2.2 echo-requst").unwrap_err();
    let shown = "`echo-requst` is not known here
  |
  | icmp 192.0.2.1 > 192.0.2.2 echo-requst
  |                            ^^^^^^^^^^^ echo-request?";
    assert_eq!(error.to_string(), shown);
}
