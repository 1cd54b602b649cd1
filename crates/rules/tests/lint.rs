//! What is warned of, and what is not.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use stateward_rules::Source;
use stateward_rules::lint::lint;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_wire::Family;

/// The lines that are warned of, and the messages.
fn warnings(filter: &str, nat: &str) -> Vec<String> {
    let text = format!("*nat\n{nat}COMMIT\n*filter\n{filter}COMMIT\n");
    let source = Source::new("rules.v4", &text);
    let rules = restore(&source, Family::V4, RestoreOptions::default()).unwrap();
    lint(&source, &rules).iter().map(|warning| warning.message.clone()).collect()
}

const MASQUERADE: &str = "-A POSTROUTING -o wan0 -j MASQUERADE\n";
const UNTRANSLATED: &str = "INVALID packets are not dropped: they leave untranslated";

#[test]
fn invalid_packets_behind_nat_are_warned_of_wherever_they_are_let_through() {
    let open = ":FORWARD ACCEPT\n";
    let direct = ":FORWARD DROP\n-A FORWARD -i lan0 -j ACCEPT\n";
    // As Docker lays its rules out.
    let nested = ":FORWARD DROP\n:docker -\n-A FORWARD -j docker\n\
                  -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
                  -A docker -i docker0 ! -o docker0 -j ACCEPT\n";
    for filter in [open, direct, nested] {
        let found = warnings(filter, MASQUERADE);
        assert!(found.iter().any(|one| one == UNTRANSLATED), "{filter}{found:?}");
        assert!(!warnings(filter, "").iter().any(|one| one == UNTRANSLATED), "{filter}");
    }
    let dropped = format!("{nested}-I FORWARD -m conntrack --ctstate INVALID -j DROP\n");
    let stateful = ":FORWARD DROP\n-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\n";
    for filter in [&dropped, stateful] {
        assert!(!warnings(filter, MASQUERADE).iter().any(|one| one == UNTRANSLATED), "{filter}");
    }
}

#[test]
fn sessions_that_lock_themselves_out_are_warned_of() {
    let message = "INPUT drops answers to this host's own connections";
    let locked = ":INPUT DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT\n";
    assert_eq!(warnings(locked, ""), [message]);
    for opened in [
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n",
        "-A INPUT -m state ! --state NEW,INVALID -j ACCEPT\n",
        "-A INPUT -p tcp ! --syn -j ACCEPT\n",
        "-A INPUT -j ACCEPT\n",
    ] {
        let filter = format!("{locked}{opened}");
        assert!(warnings(&filter, "").is_empty(), "{filter}{:?}", warnings(&filter, ""));
    }
}

#[test]
fn what_depends_on_automatic_helpers_is_warned_of() {
    let waits = "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n";
    let ftp = format!("{waits}-A FORWARD -p tcp --dport 21 -j ACCEPT\n");
    let message = "ftp opens connections that are not RELATED without a helper";
    assert_eq!(warnings(&ftp, ""), [message]);
    let served = "-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\n";
    let text = format!("*raw\n{served}COMMIT\n*filter\n{ftp}COMMIT\n");
    let source = Source::new("rules.v4", &text);
    let rules = restore(&source, Family::V4, RestoreOptions::default()).unwrap();
    assert!(lint(&source, &rules).is_empty());
}

#[test]
fn names_of_targets_are_no_names_of_chains() {
    let refused = |name: &str, family| {
        let text = format!("*filter\n-N {name}\nCOMMIT\n");
        restore(&Source::new("rules", &text), family, RestoreOptions::default()).is_err()
    };
    for name in ["ACCEPT", "LOG", "HMARK", "RATEEST", "SECMARK", "standard"] {
        assert!(refused(name, Family::V4) && refused(name, Family::V6), "{name}");
    }
    assert!(refused("SNPT", Family::V6) && !refused("SNPT", Family::V4));
    assert!(!refused("ERROR", Family::V4) && !refused("tcp", Family::V4));
}
