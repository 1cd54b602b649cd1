//! Texts that people and other programs write: none makes this crate panic, and what is refused is
//! shown.

use std::path::Path;

use proptest::prelude::*;
use stateward_conntrack::text::read;
use stateward_replay::config::Config;
use stateward_replay::ip::IpListing;
use stateward_replay::table::Dump;
use stateward_replay::typed::Typist;
use stateward_wire::Packet;

/// Words that mean something to one of the readers.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "tcp", "udp", "icmp", "icmp6", "sctp", "47", "ipv4", "ipv6", "2", "10", "6", "17", ">", "in",
    "wan0", "+2s", "+1e9d", "192.0.2.1:80", "198.51.100.2:53", "[2001:db8::1]:80", "192.0.2.1",
    "2001:db8::2", "S", "SA", "R.", ".", "seq", "ack", "win", "4294967295", "0x10", "-1", "length",
    "65000", "data", "\"a b\"", "\"", "ttl", "0", "mark", "about", "echo-reply", "type", "code",
    "id", "init", "tag", "ESTABLISHED", "src=192.0.2.1", "dst=192.0.2.2", "sport=1", "dport=2",
    "type=8", "code=0", "id=7", "[UNREPLIED]", "[ASSURED]", "mark=0", "use=1", "zone=3",
    "packets=1", "bytes=9", "srckey=0x1", "helper=ftp", "[start=Sat", "delta-time=5", "ä",
];

/// Fields such as `ip -j` prints, and some that it never would.
const FIELDS: &[&str] = &[
    r#""dst":"default""#,
    r#""dst":"10.0.0.0/8""#,
    r#""dst":7"#,
    r#""dev":"lan0""#,
    r#""metric":-1"#,
    r#""ifname":"lan0""#,
    r#""flags":["UP"]"#,
    r#""flags":3"#,
    r#""mtu":99999999999"#,
    r#""addr_info":[{"local":"192.0.2.1","prefixlen":24}]"#,
    r#""addr_info":[{"local":"x","prefixlen":999}]"#,
    r#""type":"blackhole""#,
    r#""nexthops":[{"dev":"lan0"},{}]"#,
    r#""nexthops":{}"#,
    r#""prefsrc":"192.0.2.1""#,
    r#""table":"local""#,
    r#""type":"local""#,
];

fn sentences() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..24).prop_map(|words| words.join(" "))
}

/// A packet's first words, so that what follows is reached.
fn begun() -> impl Strategy<Value = String> {
    let beginnings = &[
        "tcp 192.0.2.1:80 > 192.0.2.2:80",
        "icmp 192.0.2.1 > 192.0.2.2",
        "icmp 192.0.2.1 > 192.0.2.2 about tcp 192.0.2.2:80 > 192.0.2.3:80",
        "sctp [::1]:1 > [::2]:2 data",
        "47 ::1 > ::2",
    ];
    let beginnings = prop::sample::select(beginnings.as_slice());
    (beginnings, sentences()).prop_map(|(begin, rest)| format!("{begin} {rest}"))
}

fn listings() -> impl Strategy<Value = String> {
    let object = prop::collection::vec(prop::sample::select(FIELDS), 0..6);
    let object = object.prop_map(|fields| format!("{{{}}}", fields.join(",")));
    let objects = prop::collection::vec(object, 0..4);
    objects.prop_map(|objects| format!("[{}]", objects.join(",")))
}

/// Longer than the widest field that Rust formats.
const LONG: usize = 70_000;

#[test]
fn long_lines_are_refused_with_a_picture_of_the_place_alone() {
    let (blanks, word) = (" ".repeat(LONG), "z".repeat(LONG));
    for line in [format!("{blanks} zzz"), format!("{word} x"), format!("udp 17 {blanks}{word}")] {
        let mut shown = vec![Typist::default().read(&line).unwrap_err().to_string()];
        shown.extend(Dump::parse("table", &line).unwrap_err().iter().map(ToString::to_string));
        shown.push(Config::parse(Path::new("gateway.toml"), &line).unwrap_err().to_string());
        for picture in shown {
            // The message before it may say the word.
            let lines: Vec<_> = picture.lines().rev().take(3).collect();
            assert!(lines[0].contains('^'), "{picture}");
            assert!(lines.iter().all(|line| line.chars().count() < 1_000), "{picture}");
        }
    }
}

proptest! {
    #[test]
    fn typed_packets_are_packets_or_refused(
        begun in begun(),
        words in sentences(),
        noise in "\\PC{0,60}",
    ) {
        let mut typist = Typist::default();
        for text in [begun, words, noise] {
            match typist.read(&text) {
                Ok(typed) => {
                    let parsed = Packet::parse(&typed.bytes).map(|packet| packet.length());
                    prop_assert_eq!(parsed, Ok(typed.bytes.len()), "{}", text);
                }
                Err(error) => prop_assert!(error.to_string().contains('^'), "{}", text),
            }
        }
    }

    #[test]
    fn lines_of_conntrack_are_read_or_refused(words in sentences(), noise in "\\PC{0,60}") {
        for text in [words, noise] {
            if let Err(error) = read(&text) {
                prop_assert!(error.length > 0 && error.at <= text.len(), "{}", text);
            }
            if let Err(errors) = Dump::parse("table", &text) {
                prop_assert!(errors.iter().all(|error| error.to_string().contains('^')));
            }
        }
    }

    #[test]
    fn listings_of_ip_are_read_or_refused(addresses in listings(), routes in listings()) {
        let mut listing = IpListing::default();
        let read = listing.read_addresses("addr", &addresses);
        let routed = listing.read_routes("route", &routes);
        if read.is_ok() && routed.is_ok() {
            // Either answer will do.
            let _ = listing.network(stateward_engine::route::Routing::Forwarding);
        }
    }
}
