use stateward_conntrack::Instant;

use super::element::{Element, End, Key};
use super::set::NotAdded;
use super::*;
use crate::evaluate::tests::{Alone, Sharing};
use crate::source::Source;

fn read(text: &str) -> Sets {
    Sets::parse(&Source::new("sets", text)).unwrap_or_else(|errors| panic!("{}", errors[0]))
}

#[expect(clippy::disallowed_methods, reason = "measures")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// Packets of UDP from 192.0.2.1:4000 to 192.0.2.2:53, each with its second, under rules of FORWARD.
fn dropped(sets: &str, rules: &[&str], seconds: &[u64]) -> (Vec<bool>, String) {
    let mut sharing = Sharing::new(rules);
    sharing.shared().sets = read(sets);
    let drops = seconds.iter().map(|second| {
        sharing.shared().begin(Instant::from_secs(*second));
        sharing.is_dropped(Alone::udp(53).at(*second))
    });
    let drops = drops.collect();
    let last = Instant::from_secs(*seconds.last().unwrap());
    let text = sharing.shared().sets.saved(last).to_string();
    (drops, text)
}

fn is_dropped(sets: &str, rule: &str) -> bool {
    dropped(sets, &[&format!("{rule} -j DROP")], &[1]).0 == [true]
}

const NET: &str = "create n hash:net\nadd n 192.0.2.0/24\nadd n 192.0.2.1 nomatch\n";

#[test]
fn each_type_looks_at_its_own() {
    let rows = [
        ("create s hash:ip\nadd s 192.0.2.1\n", "src", true),
        ("create s hash:ip\nadd s 192.0.2.1\n", "dst", false),
        ("create s hash:ip netmask 24\nadd s 192.0.2.77\n", "dst", true),
        ("create s hash:net\nadd s 192.0.0.0/16\n", "src", true),
        ("create s hash:ip,port\nadd s 192.0.2.2,udp:53\n", "dst,dst", true),
        ("create s hash:ip,port\nadd s 192.0.2.2,udp:53\n", "dst,src", false),
        // One end is too few.
        ("create s hash:ip,port\nadd s 192.0.2.2,udp:53\n", "dst", false),
        ("create s hash:net,port\nadd s 192.0.2.0/24,udp:4000\n", "src,src", true),
        ("create s bitmap:port range 1-100\nadd s 50-60\n", "dst", true),
        ("create s bitmap:port range 1-100\nadd s 50-60\n", "src", false),
        ("create i hash:ip\nadd i 192.0.2.1\ncreate s list:set\nadd s i\n", "src", true),
        ("create i hash:ip\nadd i 192.0.2.1\ncreate s list:set\nadd s i\n", "dst", false),
    ];
    for (sets, ends, expected) in rows {
        assert_eq!(is_dropped(sets, &format!("-m set --match-set s {ends}")), expected, "{sets}");
    }
}

#[test]
fn what_a_network_excepts_is_not_in_it_or_alone_is() {
    assert!(!is_dropped(NET, "-m set --match-set n src"));
    assert!(is_dropped(NET, "-m set ! --match-set n src"));
    assert!(is_dropped(NET, "-m set --match-set n src --return-nomatch"));
    assert!(is_dropped(NET, "-m set --match-set n dst"));
    assert!(!is_dropped(NET, "-m set --match-set n dst --return-nomatch"));
}

#[test]
fn counters_count_before_they_are_asked() {
    let sets = "create s hash:ip counters\nadd s 192.0.2.1 packets 1 bytes 10\n";
    let rule = ["-m set --match-set s src --packets-gt 2 -j DROP"];
    let (met, saved) = dropped(sets, &rule, &[1, 2, 3]);
    assert_eq!(met, [false, true, true]);
    assert!(saved.contains("add s 192.0.2.1 packets 4 bytes 106\n"), "{saved}");
    let rule = ["-m set --match-set s src ! --update-counters --packets-gt 0 -j DROP"];
    let (met, saved) = dropped(sets, &rule, &[1, 2]);
    assert_eq!(met, [true, true]);
    assert!(saved.contains("packets 1 bytes 10\n"), "{saved}");
}

#[test]
fn elements_are_added_end_and_are_deleted() {
    let sets = "create s hash:ip timeout 10\n";
    let rules = ["-m set --match-set s src -j DROP", "-j SET --add-set s src --timeout 2"];
    let (met, saved) = dropped(sets, &rules, &[1, 2, 3, 4, 5]);
    // Over is what ends before the tick, not at it.
    assert_eq!(met, [false, true, true, false, true]);
    assert!(saved.contains("add s 192.0.2.1 timeout 1\n"), "{saved}");
    let rules =
        ["-j SET --add-set s src", "-j SET --del-set s src", "-m set --match-set s src -j DROP"];
    assert_eq!(dropped(sets, &rules, &[1]).0, [false]);
}

#[test]
fn a_timeout_that_is_read_runs_from_the_first_packet_on() {
    let sets = "create s hash:ip timeout 10\nadd s 192.0.2.1 timeout 5\n";
    let rules = ["-m set --match-set s src -j DROP"];
    assert_eq!(dropped(sets, &rules, &[1000, 1004, 1006]).0, [true, true, false]);
}

#[test]
fn a_packet_is_added_to_the_longest_length_of_networks() {
    let sets = "create s hash:net\nadd s 10.0.0.0/8\nadd s 10.9.0.0/24\n";
    let (_, saved) = dropped(sets, &["-j SET --add-set s src"], &[1]);
    assert!(saved.ends_with("add s 192.0.2.0/24\n"), "{saved}");
}

#[test]
fn a_full_set_takes_no_more_but_what_is_over_makes_room() {
    let sets = "create s hash:ip maxelem 1 timeout 5\nadd s 9.9.9.9\n";
    let rules = ["-m set --match-set s src -j DROP", "-j SET --add-set s src"];
    assert_eq!(dropped(sets, &rules, &[1, 2, 7, 8]).0, [false, false, false, true]);
    let sets = "create s hash:ip maxelem 1 forceadd\nadd s 9.9.9.9\n";
    assert_eq!(dropped(sets, &rules, &[1, 2]).0, [false, true]);
}

#[test]
fn adding_to_a_full_set_walks_none_of_its_elements() {
    let begun = clock();
    let text = "create s hash:ip forceadd\nadd s 10.0.0.0/15\n";
    let saved = read(text).saved(Instant::default()).to_string();
    let mut lines = saved.lines().skip(1);
    assert_eq!((lines.next(), lines.clone().count()), (Some("add s 10.1.0.0"), 65_535));
    assert_eq!(lines.last(), Some("add s 10.1.255.255"));
    // With two walks for each it takes much longer.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

/// Random additions and removals, beside a plain list of what must be there.
#[test]
fn full_sets_lose_what_is_over_and_then_their_oldest() {
    const MOST: usize = 6;
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for makes_room in [false, true] {
        let room = if makes_room { "forceadd" } else { "" };
        let mut sets = read(&format!("create s hash:ip maxelem {MOST} timeout 0 {room}\n"));
        let set = sets.sets.get_mut("s").unwrap();
        let mut there: Vec<(Key, End)> = Vec::new();
        for now in 0..20_000 {
            let mut key = Key::default();
            key.address[0] = random(12) as u8 + 1;
            let end = if random(3) == 0 { End::Never } else { End::At(now + random(12)) };
            let held = there.iter().position(|(one, _)| *one == key);
            let held = held.map(|at| (at, !there[at].1.is_over(now)));
            if random(5) == 0 {
                assert_eq!(set.remove(&key, now), held.is_some_and(|(_, lives)| lives));
                held.map(|(at, _)| there.remove(at));
                continue;
            }
            let expected = match held {
                Some((_, true)) => Err(NotAdded::There),
                _ => {
                    held.map(|(at, _)| there.remove(at));
                    if there.len() == MOST {
                        there.retain(|(_, end)| !end.is_over(now));
                    }
                    if there.len() == MOST && makes_room {
                        there.remove(0);
                    }
                    if there.len() < MOST { Ok(()) } else { Err(NotAdded::Full) }
                }
            };
            expected.map(|()| there.push((key, end))).ok();
            assert_eq!(set.add(key, Element { end, ..Element::default() }, now), expected);
            let mut of_set: Vec<_> = set.elements.iter().collect();
            of_set.sort_by_key(|(_, element)| element.turn);
            let of_set: Vec<_> = of_set.iter().map(|(key, one)| (**key, one.end)).collect();
            assert_eq!(of_set, there, "at {now}");
        }
    }
}

#[test]
fn what_is_read_is_printed_as_ipset_prints_it() {
    let text = "create a hash:ip family inet hashsize 1024 maxelem 65536 netmask 24 timeout 0 \
                bucketsize 12 initval 0x0badcafe\n\
                add a 10.0.0.0 timeout 0\n\
                create b hash:net,port family inet6 hashsize 64 maxelem 7 counters comment skbinfo \
                bucketsize 8 initval 0x00000001\n\
                add b fd00::/16,tcp:80 nomatch packets 1 bytes 2 comment \"a b\" skbmark 0x1/0xff \
                skbprio 1:a skbqueue 3\n\
                add b ::1,ipv6-icmp:echo-request packets 0 bytes 0 skbmark 0x7\n\
                create c bitmap:port range 1-99 timeout 60\n\
                add c 5 timeout 59\n\
                create d list:set size 8 comment\n\
                add d a\n\
                add d c comment \"x\"\n";
    assert_eq!(read(text).saved(Instant::from_secs(1)).to_string(), text);
}

#[test]
fn ranges_become_elements_and_networks() {
    let elements = |text: &str| {
        let saved = read(text).saved(Instant::default()).to_string();
        saved.lines().skip(1).map(|line| line[6..].to_owned()).collect::<Vec<_>>()
    };
    let text = "create s hash:ip\nadd s 10.0.0.254-10.0.1.1\n";
    assert_eq!(elements(text), ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]);
    assert_eq!(
        elements("create s hash:ip netmask 24\nadd s 10.0.0.0/23\n"),
        ["10.0.0.0", "10.0.1.0"]
    );
    assert_eq!(
        elements("create s hash:ip netmask 24\nadd s 10.0.2.3-10.0.0.7\n"),
        ["10.0.0.0", "10.0.1.0", "10.0.2.0"]
    );
    let text = "create s hash:net\nadd s 10.0.0.1-10.0.0.6\n";
    assert_eq!(elements(text), ["10.0.0.1", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6"]);
    let text = "create s hash:net\nadd s 255.255.255.254-255.255.255.255\n";
    assert_eq!(elements(text), ["255.255.255.254/31"]);
    let text = "create s hash:ip,port\nadd s 10.0.0.1,udp:domain-55\n";
    assert_eq!(elements(text), ["10.0.0.1,udp:53", "10.0.0.1,udp:54", "10.0.0.1,udp:55"]);
    let text = "create a hash:ip\ncreate b hash:ip\ncreate l list:set\nadd l a\nadd l b before a\n";
    assert!(read(text).saved(Instant::default()).to_string().ends_with("add l b\nadd l a\n"));
}

#[test]
fn a_line_that_ipset_refuses_is_shown_with_its_place() {
    let rows = [
        ("create s hash:foo", 1, 10, "sets of type `hash:foo` are not known here"),
        ("create s hash:ip family inet7", 1, 25, "no such family"),
        ("create s hash:ip netmask 33", 1, 26, "no such netmask"),
        ("create s hash:ip size 8", 1, 18, "`size` is no option of hash:ip"),
        ("create s bitmap:port", 1, 10, "`range` must be given"),
        ("create s hash:ip timeout", 1, 18, "`timeout` needs a value"),
        ("create s hash:ip\ncreate s hash:net", 2, 8, "there is a set `s` already"),
        ("add s 10.0.0.1", 1, 5, "there is no set `s`"),
        ("create s hash:ip\nadd s fd00::1", 2, 7, "`fd00::1` is no IPv4 address"),
        ("create s hash:ip\nadd s 0.0.0.0", 2, 7, "the address 0 cannot be in such a set"),
        ("create s hash:ip\nadd s 10.0.0.0/33", 2, 7, "`10.0.0.0/33` is no IPv4 address"),
        ("create s hash:net\nadd s 10.0.0.0/0", 2, 7, "no such length of a network"),
        (
            "create s hash:ip\nadd s 1.1.1.1 timeout 5",
            2,
            15,
            "the set was created without `timeout`",
        ),
        ("create s hash:ip\nadd s 1.1.1.1 nomatch", 2, 15, "`nomatch` is no option of hash:ip"),
        ("create s hash:ip,port\nadd s 1.1.1.1", 2, 7, "`1.1.1.1` lacks its port"),
        ("create s hash:ip,port\nadd s 1.1.1.1,gre:7", 2, 7, "`7` cannot stand behind `gre:`"),
        ("create s bitmap:port range 5-9\nadd s 10", 2, 7, "`10` is out of the set's range"),
        ("create s hash:ip\nadd s 1.1.1.1\nadd s 1.1.1.1", 3, 7, "`1.1.1.1` is in the set already"),
        ("create s hash:ip maxelem 1\nadd s 1.1.1.1\nadd s 1.1.1.2", 3, 7, "the set is full"),
        ("create s list:set\nadd s t", 2, 7, "there is no set `t`"),
        ("create s list:set\ncreate t list:set\nadd s t", 3, 7, "a list takes no list"),
        ("flush s", 1, 1, "`flush` is not done here"),
    ];
    for (text, line, column, message) in rows {
        let errors = Sets::parse(&Source::new("sets", text)).unwrap_err();
        let error = &errors[0];
        assert_eq!((error.line, error.column, error.message.as_str()), (line, column, message));
    }
    let text = "create s hash:ip\nadd s 1.1.1.1\nadd s 1.1.1.1 -exist\n# all is well\n\nCOMMIT\n";
    assert!(Sets::parse(&Source::new("sets", text)).is_ok());
    // No text, however strange, fills the memory.
    for text in [
        "create s hash:ip\nadd s 1.0.0.0-200.0.0.0\n",
        "create s hash:ip,port\nadd s 1.0.0.0/16,1-65535\n",
    ] {
        assert!(Sets::parse(&Source::new("sets", text)).is_err());
    }
}

#[test]
fn addresses_that_a_mask_makes_one_are_read_as_one() {
    let begun = clock();
    for (mask, range, expected) in [
        ("netmask 1", "64.0.0.1-255.255.255.255", Err("the address 0 cannot be in such a set")),
        ("netmask 1", "128.0.0.1-255.255.255.255", Ok("add s 128.0.0.0\n")),
        ("bitmask 240.0.0.0", "16.0.0.1-47.255.255.255", Ok("add s 16.0.0.0\nadd s 32.0.0.0\n")),
        (
            "bitmask 0.0.0.0",
            "0.0.0.1-255.255.255.255",
            Err("the address 0 cannot be in such a set"),
        ),
        // A mask with a one at its end leaves as many as there are.
        ("bitmask 128.0.0.1", "128.0.0.1-255.255.255.255", Err("so many addresses at once")),
    ] {
        let text = format!("create s hash:ip {mask}\nadd s {range}\n");
        let read = Sets::parse(&Source::new("sets", &text));
        let lines = |sets: &Sets| {
            let saved = sets.saved(Instant::default()).to_string();
            saved.split_once('\n').unwrap().1.to_owned()
        };
        let read = read.as_ref().map(lines).map_err(|errors| errors[0].message.as_str());
        assert_eq!(read.as_deref().map_err(|message| *message), expected, "{text}");
    }
    // One step an address takes many times as long.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
