//! Flooding: whoever chooses the tuples cannot choose where they meet.

use super::*;
use crate::reason::DropReason;
use crate::sysctl::Sysctls;
use crate::tracker::{Config, Hook, Tracker};
use crate::tuple::{L4Key, Zone};
use stateward_wire::{Packet, TcpFlags, compose, protocol};
use std::net::Ipv4Addr;

const FLOOD: usize = 100_000;
const SECRET: Seed = Seed(0x5eed_0000_0000_0001, 0x0bad_cafe_0000_0002);
const GUESS: Seed = Seed(0x5eed_0000_0000_0001, 0x0bad_cafe_0000_0003);

fn table(seed: Seed) -> Table {
    Table::new(FLOOD, seed, &mut Arena::none())
}

/// The tuple of an attacker's `n`th connection: all of its ports, from one address after another,
/// to one server.
fn tuple(n: usize) -> Tuple {
    let client = Ipv4Addr::from_bits(0x0a00_0001 + (n >> 16) as u32);
    let l4 = L4Key::Ports { source: n as u16, destination: 443 };
    let server = Ipv4Addr::new(198, 51, 100, 1);
    Tuple::new(client.into(), server.into(), protocol::TCP, l4, Zone::DEFAULT).unwrap()
}

/// Puts connections into a table until one does not fit; how many did, and the fullest bucket.
fn flood(seed: Seed, tuples: impl Iterator<Item = Tuple>) -> (usize, usize) {
    let mut table = table(seed);
    for (n, tuple) in tuples.enumerate() {
        let place = table.place(&tuple);
        let mut conn = Unconfirmed::new(tuple, tuple.inverse().unwrap(), place);
        conn.entry.deadline = Instant::from_secs(60).0;
        if table.insert(&mut conn, Instant::default()).is_err() {
            return (n, table.fullest_bucket());
        }
    }
    (FLOOD, table.fullest_bucket())
}

/// Tuples that meet in a sixty-fourth of the buckets of a table with this seed.
fn meeting(seed: Seed) -> Vec<Tuple> {
    let table = table(seed);
    let few = Index::buckets_for(FLOOD) / 64;
    let meets = |tuple: &Tuple| table.place(tuple).bucket() < few;
    (0..).map(tuple).filter(meets).take(FLOOD).collect()
}

/// 100,000 pairs in 28,571 buckets at random: the fullest has 14 or 15 as a rule; 22 or more in one
/// table of a million (Poisson's tail at 3.5), and what overflows from neighbours counts as well.
const RANDOM_MAXIMUM: usize = 24;

#[test]
fn ports_in_a_row_spread_like_random_ones() {
    let (fitted, fullest) = flood(SECRET, (0..FLOOD).map(tuple));
    assert_eq!(fitted, FLOOD);
    assert!(fullest <= RANDOM_MAXIMUM, "{fullest}");
}

#[test]
fn tuples_that_meet_under_another_seed_spread_like_random_ones() {
    let chosen = meeting(GUESS);
    let (fitted, fullest) = flood(SECRET, chosen.iter().copied());
    assert_eq!(fitted, FLOOD);
    assert!(fullest <= RANDOM_MAXIMUM, "{fullest}");
    // Who knows the seed succeeds: the test above tests something.
    let (fitted, fullest) = flood(GUESS, chosen.into_iter());
    assert!(fitted < FLOOD / 10 && fullest > RANDOM_MAXIMUM, "{fitted} {fullest}");
}

#[test]
fn a_connection_without_a_place_in_the_index_is_dropped_and_counted() {
    let (sysctls, seed) = (Sysctls { max: FLOOD as u32, ..Sysctls::default() }, GUESS);
    let mut tracker = Tracker::new(Config { sysctls, seed: [seed.0, seed.1], ..Config::default() });
    let refused = meeting(GUESS).into_iter().find_map(|tuple| {
        let L4Key::Ports { source, destination } = tuple.l4() else { return None };
        let (from, to) = ((tuple.source(), source), (tuple.destination(), destination));
        let bytes = compose::tcp(&compose::Tcp {
            source: from,
            destination: to,
            sequence: 1,
            acknowledgment: 0,
            flags: TcpFlags::SYN,
            window: 1000,
            options: &[],
            payload: &[],
        });
        let packet = Packet::parse(&bytes).unwrap();
        let mut tracked =
            tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, Instant::default());
        tracker.confirm(&mut tracked.flow).err()
    });
    assert_eq!(refused, Some(DropReason::ChainTooLong));
    let statistics = tracker.statistics();
    assert_eq!((statistics.chaintoolong, statistics.insert_failed, statistics.drop), (1, 1, 1));
    assert!(tracker.count() < FLOOD / 10, "most of the table is empty");
}
