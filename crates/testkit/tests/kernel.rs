//! The running kernel, driven by `testkit::kernel`: what it is known to do must come back decoded.
//!
//! Without root or netfilter these tests say so and pass; with STATEWARD_REQUIRE_KERNEL=1 that fails.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::net::SocketAddr;

use testkit::build::{Packet, TCP_ACK, TCP_SYN};
use testkit::kernel::{self, CtState, Direction, Event, Kernel, Observation, Port, Scenario, Step};

/// A kernel, or none after a message that says why.
fn kernel() -> Option<Kernel> {
    match kernel::available() {
        Ok(()) => Some(Kernel::new().expect("a namespace")),
        Err(missing) if std::env::var_os("STATEWARD_REQUIRE_KERNEL").is_some_and(|v| v == "1") => {
            panic!("STATEWARD_REQUIRE_KERNEL=1, but {missing}")
        }
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, 10], port))
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 5], port))
}

fn from(port: Port, packet: &Packet) -> Step {
    Step::Packet { from: port, bytes: packet.bytes() }
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::name).collect()
}

fn classes(observations: &[Observation]) -> Vec<(Option<CtState>, Option<Direction>)> {
    observations.iter().map(|o| (o.state(), o.direction())).collect()
}

#[test]
fn tcp_handshake() {
    let Some(mut kernel) = kernel() else { return };
    let (c, s) = (client(40000), server(80));
    let scenario = Scenario {
        steps: vec![
            from(Port::Lan, &Packet::tcp(c, s, TCP_SYN, 1000, 0)),
            from(Port::Wan, &Packet::tcp(s, c, TCP_SYN | TCP_ACK, 5000, 1001)),
            from(Port::Lan, &Packet::tcp(c, s, TCP_ACK, 1001, 5001)),
        ],
        ..Scenario::default()
    };
    let outcome = kernel.run(&scenario).unwrap();
    assert_eq!(
        classes(&outcome.observations),
        [
            (Some(CtState::New), Some(Direction::Original)),
            (Some(CtState::Established), Some(Direction::Reply)),
            (Some(CtState::Established), Some(Direction::Original)),
        ]
    );
    let events: Vec<_> = outcome.observations.iter().map(|o| names(&o.events)).collect();
    assert_eq!(events, [["NEW"], ["UPDATE"], ["UPDATE"]]);
}
