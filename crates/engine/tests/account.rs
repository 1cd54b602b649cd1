//! The account of a packet's way: every rule that was tried, with the first option that failed.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use stateward_conntrack::Instant;
use stateward_engine::account::{Deed, Keep, Station, Way};
use stateward_engine::{Arrival, Config, Engine, From, InterfaceId, Port};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::tried::{Fate, Tried};
use stateward_rules::{ChainVerdict, Source};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Family, TcpFlags};

const RULES: &str = "\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -j NOTRACK
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ssh - [0:0]
-A FORWARD -s 10.0.0.0/8 -j DROP
-A FORWARD -p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ssh
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A ssh -p tcp -m tcp --sport 1:1023 --dport 22 -j ACCEPT
-A ssh -m mark --mark 0x1 -j ACCEPT
-A ssh -j LOG
COMMIT
";

fn engine() -> Engine {
    let source = Source::new("rules.v4", RULES);
    let mut engine = Engine::new(Config::default());
    engine.set_rules(&restore(&source, Family::V4, RestoreOptions::default()).unwrap());
    engine
}

fn syn(engine: &mut Engine) -> Vec<Station> {
    let mut bytes = compose::tcp(&Tcp {
        source: ("198.51.100.7".parse().unwrap(), 40_000),
        destination: ("203.0.113.1".parse().unwrap(), 22),
        sequence: 1,
        acknowledgment: 0,
        flags: TcpFlags::SYN,
        window: 1024,
        options: &[],
        payload: &[],
    });
    let port = Port::Interface(InterfaceId(0));
    let mut arrival = Arrival { port, bytes: &mut bytes, now: Instant::from_secs(1), link: None };
    engine.process(&mut arrival, From::Wire);
    engine.notes().account.stations().to_vec()
}

/// `CHAIN:NUMBER`, how it ended, and the last option asked with what the packet had.
fn tried(engine: &Engine, stations: &[Station]) -> Vec<(String, Fate, String)> {
    let of = |station: &Station| match station {
        Station::Tried { rule, tried: Tried { fate, asked } } => {
            let had = |packet: &Option<String>| packet.clone().unwrap_or_default();
            let last = asked.last().map(|last| format!("{} | {}", last.option, had(&last.packet)));
            Some((engine.name(*rule).unwrap().to_string(), *fate, last.unwrap_or_default()))
        }
        _ => None,
    };
    stations.iter().filter_map(of).collect()
}

#[test]
fn every_rule_that_was_tried_is_told_with_what_failed_first() {
    let mut engine = engine();
    engine.set_explaining(Keep::Everything);
    let stations = syn(&mut engine);
    let expected = [
        ("raw:PREROUTING:rule:1", Fate::PassedOver, "-p udp | tcp"),
        ("filter:FORWARD:rule:1", Fate::PassedOver, "-s 10.0.0.0/8 | 198.51.100.7"),
        ("filter:FORWARD:rule:2", Fate::Met, "--tcp-flags FIN,SYN,RST,ACK SYN | SYN"),
        ("filter:ssh:rule:1", Fate::PassedOver, "--sport 1:1023 | 40000"),
        ("filter:ssh:rule:2", Fate::PassedOver, "--mark 0x1 | 0x0"),
        ("filter:ssh:rule:3", Fate::Met, ""),
        ("filter:FORWARD:rule:3", Fate::PassedOver, "--ctstate ESTABLISHED | NEW"),
    ];
    let expected = expected.map(|(name, fate, asked)| (name.to_owned(), fate, asked.to_owned()));
    assert_eq!(tried(&engine, &stations), expected);
    let is_log = |station: &&Station| matches!(station, Station::Did(Deed::Logged(_)));
    assert_eq!(stations.iter().filter(is_log).count(), 1);
    assert!(stations.contains(&Station::Routed(Way::Forward(None))));
    let dropped = |station: &Station| {
        matches!(station, Station::Said { verdict: ChainVerdict::Drop, by: Some(_) })
    };
    assert!(stations.last().is_some_and(dropped), "{:?}", stations.last());
    assert!(!stations.contains(&Station::Entered), "a dropped packet leaves no entry");
}

#[test]
fn a_chain_s_end_is_told_before_what_is_tried_behind_it() {
    let mut engine = engine();
    engine.set_explaining(Keep::Everything);
    let stations = syn(&mut engine);
    let name = |engine: &Engine, passed| engine.name(passed).unwrap().to_string();
    let told = stations.iter().filter_map(|station| match station {
        Station::Tried { rule, .. } => Some(format!("tried {}", name(&engine, *rule))),
        Station::Met(passed) => Some(format!("met {}", name(&engine, *passed))),
        Station::Did(_) => Some("did".to_owned()),
        _ => None,
    });
    let told: Vec<_> = told.skip_while(|told| told != "tried filter:ssh:rule:2").collect();
    let expected = [
        "tried filter:ssh:rule:2",
        "tried filter:ssh:rule:3",
        "met filter:ssh:rule:3",
        "did",
        "met filter:ssh:return:4",
        "tried filter:FORWARD:rule:3",
        "met filter:FORWARD:policy:4",
    ];
    assert_eq!(told, expected);
}

#[test]
fn nothing_is_kept_unless_somebody_asks() {
    let (mut asked, mut unasked) = (engine(), engine());
    asked.set_explaining(Keep::Everything);
    assert!(!syn(&mut asked).is_empty());
    assert!(syn(&mut unasked).is_empty());
    assert_eq!(asked.notes().path, unasked.notes().path);
    asked.set_explaining(Keep::Nothing);
    assert!(syn(&mut asked).is_empty());
}

#[test]
fn without_rules_the_tracker_alone_is_told_of() {
    let mut engine = Engine::new(Config::default());
    engine.set_explaining(Keep::Everything);
    let first = syn(&mut engine);
    assert!(matches!(first.first(), Some(Station::Tracked(made)) if made.before.is_none()));
    assert_eq!(first.last(), Some(&Station::Entered));
    let again = syn(&mut engine);
    assert!(matches!(again.first(), Some(Station::Tracked(made)) if made.before.is_some()));
    assert!(!engine.has_rules());
}
