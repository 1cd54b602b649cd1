//! Several telephones at once, and servers behind NAT.

use super::*;

/// A telephone beside the client, with a port of its own.
fn beside(family: Family, known: Option<[&str; 2]>, port: u16) -> Ends {
    let host = ["192.168.1.8", "fd00:1::8"];
    let client = SocketAddr::new(address(host, family), port);
    let plain = Ends::plain(family);
    let known = known.map_or(client, |known| SocketAddr::new(address(known, family), port));
    Ends { real: [client, plain.real[1]], known: [known, plain.real[1]], ..plain }
}

/// The client's second connection.
fn again(ends: Ends, port: u16) -> Ends {
    let [mut client, server] = ends.real;
    let [mut known, _] = ends.known;
    client.set_port(port);
    known.set_port(port);
    Ends { real: [client, server], known: [known, server], ..ends }
}

const VIA: Changes = &[("%C:5060;branch", "%C:5062;branch")];
const VIDEO: Changes = &[("%C:5060;branch", "%C:5062;branch"), ("m=audio", "m=video")];
const ODD: Changes = &[("m=audio 6000", "m=audio 6001")];
const ABOVE: Changes = &[("m=audio 6000", "m=audio 6002")];

#[test]
fn the_same_media_may_be_announced_twice() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let plain = (Ends::plain(family), rules(UDP));
        let nat = (Ends::translated(family, KNOWN[0]), source_nat(UDP, KNOWN[0]));
        for (ends, rules) in [plain, nat] {
            for changes in [VIA, VIDEO, ODD, ABOVE] {
                let other = again(ends, 5062);
                let mut steps = vec![
                    ends.say(Side::Client, INVITE, &[]),
                    other.say(Side::Client, INVITE, changes),
                    other.say(Side::Client, INVITE, changes),
                ];
                steps.extend(ends.media());
                steps.push(other.say(Side::Client, BYE, &[]));
                steps.push(ends.say(Side::Client, INVITE, &[]));
                steps.extend(ends.media());
                let name = format!("{family:?} {changes:?}");
                failures += &hold_under(&mut judge, rules.clone(), steps, &name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// All sources are translated to one address.
fn one_address(known: [&str; 2]) -> [String; 2] {
    let [v4, v6] = [("192.168.1.0/24", known[0]), ("fd00:1::/64", known[1])]
        .map(|(sources, known)| format!("-s {sources} -j SNAT --to-source {known}"));
    behind_nat(UDP, "POSTROUTING", [&v4, &v6])
}

/// What is expected of one telephone already is not expected of another one, and the kernel tries
/// no other port: its call is dropped.
#[test]
fn telephones_behind_nat_may_not_listen_at_the_same_port() {
    const OTHERS: Changes =
        &[("%C:5060;branch", "%C:5062;branch"), ("m=audio 6000", "m=audio 6004")];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let ends = Ends::translated(family, KNOWN[0]);
        let other = beside(family, Some(KNOWN[0]), 5062);
        for changes in [VIA, VIDEO, OTHERS] {
            let mut steps = vec![
                ends.say(Side::Client, INVITE, &[]),
                other.say(Side::Client, INVITE, changes),
                ends.say(Side::Server, OK, &[]),
                other.say(Side::Server, OK, &[("m=audio 7000", "m=audio 7002")]),
            ];
            for (from, to) in [(6000, 7000), (6001, 7001), (6004, 7002), (6005, 7003)] {
                steps.push(ends.between(Side::Client, [from, to], b"rtp"));
                steps.push(other.between(Side::Client, [from, to], b"rtp"));
            }
            steps.extend(ends.media());
            steps.push(other.say(Side::Server, BYE, &[]));
            steps.extend(other.media());
            let name = format!("{family:?} {changes:?}");
            failures += &hold_under(&mut judge, one_address(KNOWN[0]), steps, &name);
        }
        // Both want to be called at one port: the second one's is another.
        let steps = vec![
            ends.say(Side::Client, REGISTER, &[("me@%C:5060", "me@%C:4000")]),
            other.say(
                Side::Client,
                REGISTER,
                &[("%C:5060;", "%C:5062;"), ("me@%C:5060", "me@%C:4000")],
            ),
            ends.say(Side::Server, REGISTERED, &[(":5060>", ":4000>")]),
            ends.between(Side::Server, [5070, 4000], &ends.write(OK, &[])),
        ];
        failures += &hold_under(&mut judge, one_address(KNOWN[0]), steps, "registered");
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Media go out from the port that was told, or not at all.
#[test]
fn media_leave_from_where_they_are_expected() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let ends = Ends::translated(family, KNOWN[0]);
        let other = beside(family, Some(KNOWN[0]), 5062);
        let steps = vec![
            // Somebody else has the port.
            other.between(Side::Client, [6000, 7000], b"no media"),
            ends.say(Side::Client, INVITE, &[]),
            ends.say(Side::Server, OK, &[]),
            ends.between(Side::Client, [6000, 7000], b"rtp"),
            ends.between(Side::Client, [6001, 7001], b"rtp"),
            ends.between(Side::Server, [7001, 6001], b"rtp"),
        ];
        failures += &hold_under(&mut judge, one_address(KNOWN[0]), steps, &format!("{family:?}"));
    }
    assert!(failures.is_empty(), "{failures}");
}

/// A server on the LAN that is called by the gateway's address.
fn server_behind(family: Family) -> (Ends, [String; 2]) {
    let public = address(["203.0.113.1", "fd00:2::1"], family);
    let [server, client] = [CLIENT, SERVER].map(|of| SocketAddr::new(address(of, family), PORT));
    let reached = SocketAddr::new(public, PORT);
    let (real, known) = ([client, server], [client, reached]);
    let ends = Ends { family, real, known, by: [Port::Wan, Port::Lan] };
    let rule = format!("-d {public} -j DNAT --to-destination {}", server.ip());
    let rules = match family {
        Family::V4 => [rule, String::new()],
        Family::V6 => [String::new(), rule],
    };
    (ends, behind_nat(UDP, "PREROUTING", [&rules[0], &rules[1]]))
}

#[test]
fn servers_behind_nat_are_translated_as_the_kernel_translates_them() {
    const PORTS: Changes = &[("m=audio 7000", "m=audio 7000 RTP\nm=video 7002")];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let (ends, rules) = server_behind(family);
        for (asked, answered) in [(&[][..], &[][..]), (TRANSLATED[0], ANSWERS[18]), (ODD, PORTS)] {
            let steps = vec![
                ends.say(Side::Client, INVITE, asked),
                ends.say(Side::Server, OK, answered),
                ends.between(Side::Client, [6000, 7000], b"rtp"),
                ends.between(Side::Server, [7001, 6001], b"rtp"),
                ends.between(Side::Client, [6001, 7001], b"rtp"),
                ends.between(Side::Client, [6002, 7002], b"rtp"),
                ends.say(Side::Server, BYE, &[]),
                ends.say(Side::Client, REGISTER, &[]),
                ends.say(Side::Server, REGISTERED, &[]),
            ];
            let name = format!("{family:?} {asked:?} {answered:?}");
            failures += &hold_under(&mut judge, rules.clone(), steps, &name);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_call_to_a_telephone_that_is_known_already_is_led_to_it_at_once() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let ends = Ends::translated(family, KNOWN[0]);
        // It comes back under the address that the server knows, and is led to the server.
        let [known, _] = ends.known;
        let (public, server) = (address(["9.9.9.9", "fc00::9"], family), ends.real[1]);
        let reached = SocketAddr::new(public, PORT);
        let by = [Port::Wan, Port::Wan];
        let hairpin = Ends { family, real: [known, server], known: [known, reached], by };
        let to_known = source_nat(UDP, KNOWN[0]);
        let rule =
            format!("-A PREROUTING -d {public} -j DNAT --to-destination {}\nCOMMIT\n", server.ip());
        let at = family as usize;
        let mut rules = to_known;
        rules[at].truncate(rules[at].len() - "COMMIT\n".len());
        rules[at] += &rule;
        for changes in [&[][..], ODD, &[("m=audio", "m=video")]] {
            let steps = vec![
                ends.say(Side::Client, INVITE, &[]),
                hairpin.say(Side::Client, INVITE, changes),
                hairpin.say(Side::Client, INVITE, changes),
                ends.between(Side::Server, [7000, 6000], b"rtp"),
            ];
            failures += &hold_under(&mut judge, rules.clone(), steps, &format!("{changes:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn calls_in_zones_and_from_other_ports_are_translated() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let zone = format!("{} --zone 5", UDP.replace("--dport 5060 ", ""));
        let ends = Ends::translated(family, KNOWN[0]);
        let mut known = ends.known[0];
        known.set_port(7777);
        let moved = Ends { known: [known, ends.known[1]], ..ends };
        let port = |known: &str| match family {
            Family::V4 => format!("-p udp -s 192.168.1.7 -j SNAT --to-source {known}:7777"),
            Family::V6 => format!("-p udp -s fd00:1::7 -j SNAT --to-source [{known}]:7777"),
        };
        let rule = port(KNOWN[0][family as usize]);
        let rules = match family {
            Family::V4 => [&*rule, ""],
            Family::V6 => ["", &*rule],
        };
        let zoned = source_nat(&zone, KNOWN[0]);
        let moving = behind_nat(UDP, "POSTROUTING", rules);
        for (ends, rules) in [(ends, zoned), (moved, moving)] {
            let mut steps = vec![
                ends.say(Side::Client, INVITE, TRANSLATED[0]),
                ends.say(Side::Server, OK, ANSWERS[18]),
                ends.say(Side::Server, OK, &[("%K:5060;branch", "%K:7777;branch")]),
            ];
            steps.extend(ends.media());
            steps.push(ends.say(Side::Client, BYE, &[]));
            steps.push(ends.say(Side::Client, REGISTER, &[]));
            steps.push(ends.say(Side::Server, REGISTERED, &[("%K:5060>", "%K:7777>")]));
            steps.push(ends.between(Side::Server, [5070, PORT], b"INVITE sip:x SIP/2.0\r\n"));
            steps.push(ends.between(Side::Server, [5070, 7777], b"INVITE sip:x SIP/2.0\r\n"));
            failures += &hold_under(&mut judge, rules, steps, &format!("{:?}", ends.known));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
