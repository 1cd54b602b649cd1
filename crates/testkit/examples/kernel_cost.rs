//! What the judge costs here: a namespace, a reset, a packet.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::build::{Packet, TCP_ACK, TCP_SYN};
use testkit::kernel::{Kernel, Look, Port, Scenario, Step};

fn main() {
    let fresh = median(9, || drop(Kernel::new().unwrap()));
    println!("a fresh namespace, and away with it: {fresh:?}");
    let mut kernel = Kernel::new().unwrap();
    let small = Scenario { steps: handshakes(1), ..Scenario::default() };
    println!("a handshake in a used one: {:?}", median(50, || drop(kernel.run(&small).unwrap())));
    let ruled = Scenario { rules4: Some("*filter\n-A FORWARD -p tcp\nCOMMIT\n".into()), ..small };
    println!("the same with rules: {:?}", median(20, || drop(kernel.run(&ruled).unwrap())));
    let nat = "*nat\n-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n";
    let translated = Scenario { rules4: Some(nat.into()), steps: handshakes(1), ..ruled };
    let time = median(20, || drop(kernel.run(&translated).unwrap()));
    println!("with a nat table, each in a namespace of its own: {time:?}");
    let long = Scenario { steps: handshakes(2000), ..Scenario::default() };
    let time = median(5, || drop(kernel.run(&long).unwrap()));
    println!("2000 handshakes: {:.0} packets/s", 6000.0 / time.as_secs_f64());
    let look = Look { each_table: true, ..Look::default() };
    let watched = Scenario { steps: handshakes(10), look, ..Scenario::default() };
    let time = median(5, || drop(kernel.run(&watched).unwrap()));
    println!("10 handshakes, the table dumped after each packet: {:?} a packet", time / 30);
}

fn median(times: usize, mut work: impl FnMut()) -> Duration {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    taken.sort();
    taken.get(times / 2).copied().unwrap_or_default()
}

fn handshakes(count: u16) -> Vec<Step> {
    (0..count)
        .flat_map(|n| {
            let client = SocketAddr::from(([192, 168, 1, 10], 10000 + n));
            let server = SocketAddr::from(([198, 51, 100, 5], 80));
            [
                (Port::Lan, Packet::tcp(client, server, TCP_SYN, 1000, 0)),
                (Port::Wan, Packet::tcp(server, client, TCP_SYN | TCP_ACK, 5000, 1001)),
                (Port::Lan, Packet::tcp(client, server, TCP_ACK, 1001, 5001)),
            ]
        })
        .map(|(from, packet)| Step::Packet { from, bytes: packet.bytes() })
        .collect()
}
