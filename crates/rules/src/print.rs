//! A ruleset as iptables-legacy-save prints it, without the lines that tell the date.

use std::fmt;

use crate::ruleset::{Chain, ChainEnd, Ruleset, Table};

/// Whether rules show their counters, as with `iptables-save -c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowCounters {
    /// Policies only.
    No,
    /// Rules as well.
    Yes,
}

impl Ruleset {
    /// All tables in their order.
    pub fn save(&self, counters: ShowCounters) -> String {
        self.tables.iter().map(|table| table.save(counters)).collect()
    }
}

impl Table {
    /// The table from its `*` to its `COMMIT`.
    pub fn save(&self, counters: ShowCounters) -> String {
        let mut text = format!("*{}\n", self.name);
        let mut write = |arguments: fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = fmt::Write::write_fmt(&mut text, arguments);
        };
        for Chain { name, end, .. } in &self.chains {
            match end {
                ChainEnd::Policy(_, policy, count) => {
                    write(format_args!(":{name} {policy} {count}\n"))
                }
                ChainEnd::Return => write(format_args!(":{name} - [0:0]\n")),
            }
        }
        for Chain { name, rules, .. } in &self.chains {
            for rule in rules {
                match counters {
                    ShowCounters::Yes => write(format_args!("{} ", rule.counters)),
                    ShowCounters::No => {}
                }
                write(format_args!("-A {name}{}\n", rule.text()));
            }
        }
        text.push_str("COMMIT\n");
        text
    }
}
