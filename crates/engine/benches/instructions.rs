//! Instructions a packet costs, counted under valgrind, so that a busy machine counts the same.
//!
//! Each benchmark handles [`PACKETS`] packets: divide by it. The bounds stand a quarter above what
//! was counted when they were set, with Rust 1.95 for x86-64; who passes one has made packets
//! dearer, and either did not mean to or raises the bound in the commit that says why. `cargo bench
//! -p stateward-engine` runs them, given valgrind and `cargo install gungraun-runner` of the same
//! version as the crate.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the macros make items of their own, and write files"
)]

#[path = "../tests/packets/mod.rs"]
mod packets;

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use packets::{Kind, PORT, engine, establish};
use stateward_conntrack::{CtState, EventMode, Instant, Span};
use stateward_engine::{Arrival, Engine, From};
use stateward_rules::Source;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_wire::Family;

/// Packets of each benchmark.
const PACKETS: u16 = 3_200;
const CONNECTIONS: u16 = 100;
const START: Instant = Instant::from_secs(1_000);

/// An engine, packets for it, and what they must be to it.
struct Work {
    engine: Engine,
    arrivals: Vec<Arrival<'static>>,
    state: CtState,
}

impl Work {
    fn new(engine: Engine, state: CtState, packet: impl Fn(u16) -> Vec<u8>) -> Work {
        let now = START + Span::secs(10);
        let arrival = |n| Arrival { port: PORT, bytes: packet(n).leak(), now, link: None };
        Work { engine, arrivals: (0..PACKETS).map(arrival).collect(), state }
    }
}

/// Packets of connections that stand, in turn and both ways.
fn standing(mut engine: Engine, kind: Kind) -> Work {
    establish(&mut engine, kind, CONNECTIONS, START);
    Work::new(engine, CtState::Established, |n| {
        let number = n / 2 % CONNECTIONS;
        if n.is_multiple_of(2) { kind.original(number) } else { kind.reply(number) }
    })
}

fn established(kind: Kind) -> Work {
    standing(engine(8_192, EventMode::Listened), kind)
}

/// As [`established`], beside an empty nat table.
fn untranslated(kind: Kind) -> Work {
    standing(with_nat(""), kind)
}

/// As [`established`], of clients behind [`packets::OWN`].
fn translated(kind: Kind) -> Work {
    standing(with_nat(BEHIND), kind)
}

/// Packets that begin a connection each.
fn beginning(kind: Kind) -> Work {
    Work::new(engine(8_192, EventMode::Listened), CtState::New, |n| kind.first(n))
}

/// The same, each bound to itself.
fn bound(kind: Kind) -> Work {
    Work::new(with_nat(""), CtState::New, |n| kind.first(n))
}

/// The same, each bound to [`packets::OWN`], with the port that it has.
fn bound_behind(kind: Kind) -> Work {
    Work::new(with_nat(BEHIND), CtState::New, |n| kind.first(n))
}

const BEHIND: &str = "-A POSTROUTING -j SNAT --to-source 203.0.113.1\n";

fn with_nat(rules: &str) -> Engine {
    let mut engine = engine(8_192, EventMode::Listened);
    let text = format!("*nat\n{rules}COMMIT\n");
    let source = Source::new("nat", &text);
    engine.set_rules(&restore(&source, Family::V4, RestoreOptions::default()).unwrap());
    engine
}

/// Packets that are INVALID.
fn stray(kind: Kind) -> Work {
    Work::new(engine(8_192, EventMode::Listened), CtState::Invalid, |n| kind.stray(n))
}

/// At most so many instructions a packet.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions * u64::from(PACKETS))]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// Handles the packets; what is given back is not worth counting to free.
fn handle(mut work: Work, burst: usize) -> Work {
    let Work { engine, arrivals, state } = &mut work;
    for burst in arrivals.chunks_mut(burst) {
        engine.process_burst(burst, From::Wire, |_, _, outcome| {
            assert_eq!(black_box(&outcome).state, Some(*state));
        });
    }
    work
}

#[library_benchmark]
#[bench::tcp(args = (Kind::Tcp), setup = established, config = at_most(1_055))]
#[bench::tcp_v6(args = (Kind::TcpV6), setup = established, config = at_most(1_385))]
#[bench::udp(args = (Kind::Udp), setup = established, config = at_most(850))]
#[bench::tcp_untranslated(args = (Kind::Tcp), setup = untranslated, config = at_most(1_750))]
#[bench::tcp_translated(args = (Kind::TcpBehind), setup = translated, config = at_most(1_980))]
fn established_in_bursts_of_32(work: Work) -> Work {
    handle(work, 32)
}

#[library_benchmark]
#[bench::tcp(args = (Kind::Tcp), setup = established, config = at_most(1_155))]
fn established_one_by_one(work: Work) -> Work {
    handle(work, 1)
}

#[library_benchmark]
#[bench::tcp(args = (Kind::Tcp), setup = beginning, config = at_most(2_440))]
#[bench::udp(args = (Kind::Udp), setup = beginning, config = at_most(1_885))]
#[bench::tcp_translated(args = (Kind::TcpBehind), setup = bound_behind, config = at_most(6_250))]
#[bench::tcp_bound(args = (Kind::Tcp), setup = bound, config = at_most(4_600))]
fn new_in_bursts_of_32(work: Work) -> Work {
    handle(work, 32)
}

#[library_benchmark]
#[bench::tcp(args = (Kind::Tcp), setup = stray, config = at_most(2_245))]
fn invalid_in_bursts_of_32(work: Work) -> Work {
    handle(work, 32)
}

library_benchmark_group!(
    name = packets_of_each_kind,
    benchmarks = [
        established_in_bursts_of_32,
        established_one_by_one,
        new_in_bursts_of_32,
        invalid_in_bursts_of_32
    ]
);

main!(library_benchmark_groups = packets_of_each_kind);
