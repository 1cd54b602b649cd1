//! NAT where the kernel's answer is one: addresses, ports and checksums of every packet, there and
//! back, under rules that leave nothing to chance. What is left to chance is the random judge's.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::net::{IpAddr, SocketAddr};

use stateward_wire::Family;
use testkit::adapt::Manner;
use testkit::build::{Packet, TCP_ACK, TCP_RST, TCP_SYN};
use testkit::dialogue::{Dialogue, Port, Settings, Step};
use testkit::judge::Judge;
use testkit::kernel;

/// What stands in the tables, with IPv4's addresses; [`six`] makes IPv6's of it.
const RULES: &[&str] = &[
    "",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.1",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.20-203.0.113.250",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.20-203.0.113.250 --persistent",
    "-A PREROUTING -i lan0 -j DNAT --to-destination 198.51.100.20-198.51.101.250",
    "-A PREROUTING -i lan0 -j DNAT --to-destination 198.51.100.20-198.51.101.250 --persistent",
    "-A PREROUTING -i lan0 -p tcp -j DNAT --to-destination 198.51.100.77:9000-9010",
    "-A PREROUTING -i lan0 -p tcp -j DNAT --to-destination 198.51.100.77:5000-5099/8000",
    "-A PREROUTING -i lan0 -p udp -j DNAT --to-destination :7",
    "-A PREROUTING -d 203.0.113.1 -p tcp -j DNAT --to-destination 192.168.1.9:80\n\
     -A POSTROUTING -o lan0 -j MASQUERADE",
    "-A POSTROUTING -j MASQUERADE",
    "-A POSTROUTING -p tcp -j MASQUERADE --to-ports 4000",
    "-A POSTROUTING -p udp -j SNAT --to-source 203.0.113.1:4000",
    "-A PREROUTING -i lan0 -j NETMAP --to 198.51.100.0/24\n\
     -A POSTROUTING -o wan0 -j NETMAP --to 203.0.113.128/25",
    "-A PREROUTING -i lan0 -j REDIRECT",
    "-A PREROUTING -p tcp -j REDIRECT --to-ports 8080\n-A OUTPUT -p tcp -j REDIRECT --to-ports 81",
    "-A OUTPUT -j DNAT --to-destination 192.168.1.9",
    "-A OUTPUT -j DNAT --to-destination 198.51.100.3\n-A POSTROUTING -j SNAT --to-source 203.0.113.7",
    "-A OUTPUT -p udp -j REDIRECT",
    "-A INPUT -j SNAT --to-source 192.168.1.200",
    "-A PREROUTING -i wan0 -j DNAT --to-destination 192.168.1.7\n\
     -A INPUT -j SNAT --to-source 192.168.1.201",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.1\nCOMMIT\n*filter\n\
     -A FORWARD -p tcp --dport 81 -j REJECT --reject-with tcp-reset\n\
     -A FORWARD -p udp --dport 81 -j REJECT",
    ":PREROUTING DROP [0:0]\n-A PREROUTING -p udp -j ACCEPT",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.1\nCOMMIT\n*raw\n\
     -A PREROUTING -p udp -j NOTRACK",
    "-A POSTROUTING -j NFQUEUE --queue-num 0 --queue-bypass",
    "-A PREROUTING -p udp -j NFQUEUE --queue-num 0 --queue-bypass\n\
     -A OUTPUT -p tcp -j NFQUEUE --queue-num 0 --queue-bypass\n\
     -A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.1",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.20-203.0.113.250\nCOMMIT\n*raw\n\
     -A PREROUTING -j CT --zone-orig 5\n-A OUTPUT -j CT --zone-orig 5",
    "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.20-203.0.113.250\nCOMMIT\n*raw\n\
     -A PREROUTING -j CT --zone-reply 5\n-A OUTPUT -j CT --zone-reply 5",
    "-A PREROUTING -i lan0 -j DNAT --to-destination 198.51.100.20-198.51.101.250\nCOMMIT\n*raw\n\
     -A PREROUTING -i lan0 -j CT --zone-reply 7\n-A PREROUTING -i wan0 -j CT --zone-orig 7",
];

/// The same for IPv6, in whose networks hosts have the same last bytes.
fn six(rules: &str) -> String {
    let pairs = [
        ("198.51.100.20-198.51.101.250", "2001:db8::20-2001:db8::1:250"),
        ("198.51.100.0/24", "2001:db8::/120"),
        ("203.0.113.128/25", "fd00:2::80/121"),
        ("198.51.100.77:", "[2001:db8::77]:"),
        ("192.168.1.9:80", "[fd00:1::9]:80"),
        ("203.0.113.1:4000", "[fd00:2::1]:4000"),
        ("198.51.100.", "2001:db8::"),
        ("203.0.113.", "fd00:2::"),
        ("192.168.1.", "fd00:1::"),
    ];
    pairs.iter().fold(rules.to_owned(), |rules, (from, to)| rules.replace(from, to))
}

/// A host of the link, of the other link, and this one.
fn address(family: Family, host: &str) -> IpAddr {
    let networks = match family {
        Family::V4 => ["192.168.1.", "198.51.100.", "203.0.113."],
        Family::V6 => ["fd00:1::", "2001:db8::", "fd00:2::"],
    };
    let (network, host) = host.split_at(1);
    let network = networks["lws".find(network).unwrap()];
    format!("{network}{host}").parse().unwrap()
}

/// Asks and answers of one flow: who asks from where, whom, and what.
struct Talk {
    from: Port,
    client: &'static str,
    server: &'static str,
}

const TALKS: &[Talk] = &[
    Talk { from: Port::Lan, client: "l7", server: "w9" },
    Talk { from: Port::Lan, client: "l8", server: "w9" },
    Talk { from: Port::Lan, client: "l8", server: "w12" },
    Talk { from: Port::Lan, client: "l7", server: "s1" },
    Talk { from: Port::Lan, client: "l7", server: "l1" },
    Talk { from: Port::Wan, client: "w9", server: "s1" },
    Talk { from: Port::Wan, client: "w11", server: "l7" },
    Talk { from: Port::Local, client: "s1", server: "w9" },
    Talk { from: Port::Local, client: "l1", server: "l7" },
    Talk { from: Port::Local, client: "s1", server: "l1" },
    // To the same port as the second: where there is one port for both, only one of them lives.
    Talk { from: Port::Lan, client: "l9", server: "w9" },
];

/// Where the answers to what came from somewhere come from.
fn back(from: Port) -> Port {
    match from {
        Port::Lan | Port::Local => Port::Wan,
        Port::Wan => Port::Lan,
    }
}

/// Every talk has ports of its own, so that none is taken.
fn packets(family: Family) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, talk) in TALKS.iter().enumerate() {
        let end = |host, port| SocketAddr::new(address(family, host), port);
        let port = 2000 + 10 * number as u16;
        let (client, server) = (end(talk.client, port), end(talk.server, 80 + number as u16 % 3));
        let mut say = |from, packet: Packet, flow| {
            let manner = Manner::Adapted;
            steps.push(Step { manner, ..Step::new(from, packet.bytes(), 3 * number + flow) });
        };
        let (from, to) = (talk.from, back(talk.from));
        say(from, Packet::tcp(client, server, TCP_SYN, 1, 0), 0);
        say(to, Packet::tcp(server, client, TCP_SYN | TCP_ACK, 9, 2), 0);
        say(from, Packet::tcp(client, server, TCP_ACK, 2, 10).payload(b"data"), 0);
        let udp = Packet::udp(client, server, b"question");
        say(from, udp.clone(), 1);
        say(from, udp.clone(), 1);
        say(to, Packet::udp(server, client, b"answer"), 1);
        let error = match family {
            Family::V4 => (3, 3),
            Family::V6 => (1, 4),
        };
        let error = Packet::icmp_error(server.ip(), client.ip(), error.0, error.1, &udp.bytes());
        say(to, error, 1);
        say(from, Packet::echo_request(client.ip(), server.ip(), port, 1), 2);
        say(to, Packet::echo_reply(server.ip(), client.ip(), port, 1), 2);
        say(from, Packet::tcp(client, server, TCP_RST, 6, 0), 0);
        // Belongs to nothing, and is not translated.
        say(from, Packet::tcp(client, server, TCP_RST, 6, 0), 0);
    }
    steps
}

/// A judge; none, and said so, where there is no kernel.
fn judge() -> Option<Judge> {
    kernel::is_there().then(|| Judge::new().expect("a namespace"))
}

#[test]
fn what_is_not_left_to_chance_is_as_the_kernel_does_it() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for rules in RULES {
        for family in [Family::V4, Family::V6] {
            let text = |rules: &str| format!("*nat\n{rules}\nCOMMIT\n").replace("\n\n", "\n");
            let rules = Some([text(rules), text(&six(rules))]);
            let settings = Settings { rules, ..Settings::default() };
            let dialogue = Dialogue { settings, steps: packets(family) };
            for difference in judge.hold(&dialogue).unwrap() {
                let rules = dialogue.settings.rules.iter().flatten();
                let step = difference.step.and_then(|step| dialogue.steps.get(step));
                let bytes = step.map(|step| &step.bytes);
                failures +=
                    &format!("{difference}\n{bytes:02x?}\n{}", rules.cloned().collect::<String>());
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_port_is_taken_in_one_direction_of_a_zone_as_the_kernel_has_it() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (family, zone) in [Family::V4, Family::V6]
        .into_iter()
        .flat_map(|family| ["orig", "reply"].map(|zone| (family, zone)))
    {
        let rules = format!(
            "*nat\n-A POSTROUTING -s 192.168.1.7 -p tcp -j SNAT --to-source 192.168.1.50:4000-4001\n\
             -A POSTROUTING -s 192.168.1.7 -p udp -j SNAT --to-source 192.168.1.50\nCOMMIT\n\
             *raw\n-A PREROUTING -j CT --zone-{zone} 5\nCOMMIT\n"
        );
        let v6 = rules.replace("192.168.1.50:4", "[fd00:1::50]:4");
        let settings = Settings { rules: Some([rules.clone(), six(&v6)]), ..Settings::default() };
        let end = |host, port| SocketAddr::new(address(family, host), port);
        let (client, server, holder) = (end("l7", 1000), end("w9", 53), "l50");
        for taken in [4000, 4001] {
            let steps = [
                // The first packets of one have the port: a SYN gets the other.
                (Port::Wan, Packet::tcp(server, end(holder, taken), TCP_SYN, 1, 0)),
                (Port::Lan, Packet::tcp(client, server, TCP_SYN, 1, 0)),
                // Answers have it: so the first packets of another may look like that.
                (Port::Lan, Packet::udp(client, server, b"question")),
                (Port::Wan, Packet::udp(server, client, b"another")),
                // And the other way about.
                (Port::Wan, Packet::udp(server, end(holder, 2000), b"question")),
                (Port::Lan, Packet::udp(end("l7", 2000), server, b"another")),
            ];
            let steps = steps.into_iter().enumerate();
            let steps = steps.map(|(flow, (from, packet))| Step::new(from, packet.bytes(), flow));
            let dialogue = Dialogue { settings: settings.clone(), steps: steps.collect() };
            for difference in judge.hold(&dialogue).unwrap() {
                failures += &format!("{family:?} {zone} {taken}: {difference}\n");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
