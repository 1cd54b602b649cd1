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
    assert!(!refused("ULOG", Family::V4) && !refused("CLUSTERIP", Family::V4));
    assert!(!refused("ERROR", Family::V4) && !refused("tcp", Family::V4));
}

#[test]
fn interfaces_that_cannot_be_meant_are_warned_of() {
    let found = warnings("-A INPUT -i eth0:1 -j DROP\n-A INPUT -i eth* -j DROP\n", "");
    assert_eq!(found, ["`eth0:1` is no interface", "`eth*` is one name"]);
    assert!(warnings("-A INPUT -i eth+ -j DROP\n", "").is_empty());
}

#[test]
fn rules_that_people_write_wrongly_get_the_hint_they_need() {
    let cases = [
        ("-p tcp --dport 80,443", "several ports: -m multiport --dports 80,443"),
        ("-p udp --dport 1000-2000", "a range has a colon: 1000:2000"),
        (
            "-s 10.0.0.1-10.0.0.9",
            "a range: -m iprange --src-range or --dst-range 10.0.0.1-10.0.0.9",
        ),
        ("-d !10.0.0.1", "write the `!` before the option, with a blank behind it"),
        ("-p tcp,udp --dport 53", "one protocol a rule: write a rule for each"),
        (
            "-m state --state RELATED ESTABLISHED",
            "commas between states, without blanks: RELATED,ESTABLISHED",
        ),
        ("-p tcp -dport 22", "two dashes: `--dport`, `--sport`"),
        ("-m comment --comment hello world", "a comment of several words stands in quotes"),
        ("-m conntrack --state NEW", "`--ctstate`?"),
        ("-j accept", "`ACCEPT`?"),
        ("--dport 22", "add `-p tcp` or `-p udp` before it"),
    ];
    for (rule, hint) in cases {
        let text = format!("*filter\n-A INPUT {rule}\nCOMMIT\n");
        let source = Source::new("rules", &text);
        let errors = restore(&source, Family::V4, RestoreOptions::default()).unwrap_err();
        assert_eq!(errors[0].hint.as_deref(), Some(hint), "{rule}");
    }
    for (line, hint) in [
        ("-A inpt -j DROP", "`INPUT`?"),
        (
            "iptables -A INPUT -j DROP",
            "a file of rules has the commands alone, without the program",
        ),
    ] {
        let text = format!("*filter\n{line}\nCOMMIT\n");
        let source = Source::new("rules", &text);
        let errors = restore(&source, Family::V4, RestoreOptions::default()).unwrap_err();
        assert_eq!(errors[0].hint.as_deref(), Some(hint), "{line}");
    }
}
