//! The iptables language: what iptables-save writes is read, checked as iptables 1.8.9 and the
//! kernel check it, and printed back byte for byte.
//!
//! # From text to rules
//!
//! [`restore::restore`] reads a file as iptables-restore does. A line falls into words
//! (`words.rs`), the words into options (`getopt.rs`), the options into a command with a rule
//! (`command.rs`), and the command changes a table (`ruleset.rs`). At `COMMIT` the kernel's own
//! conditions are checked (`validate.rs`). What is refused becomes a [`Diagnostic`] with its place;
//! all of a file are reported, in the order in which iptables would come upon them. What is left is
//! a [`ValidRuleset`]: rules that the kernel takes. `print.rs` writes it as `iptables-legacy-save`
//! does. [`shell::script`] reads the same commands from a shell script.
//!
//! # From rules to verdicts
//!
//! [`CompiledRuleset`] asks a table's rules in their order, as the kernel does (`evaluate.rs`), and of
//! long chains only those that the packet may meet (`classify.rs`). What rules may
//! see and do is a [`Context`], which the engine implements.
//!
//! # How to add a match or a target
//!
//! 1. See what the installed iptables does: `iptables -m NAME --help`, then every option with good,
//!    bad, missing, doubled and inverted values.
//! 2. Write `matches/NAME.rs` (or `targets/NAME.rs`): a struct with what a packet will be tested
//!    against (numbers and addresses, not texts), `NAMES`, `FAMILIES`, `begin`, and an `Extension`
//!    for it:
//!    - `options`: a table of `OptionSpec`s. Say there what can be said there: `invertible`,
//!      `repeatable`, `mandatory`, `excludes`, `requires`. The first name of an option is the one
//!      that messages use.
//!    - `set`: reads one option by the methods of `Given` (`number`, `range`, `masked`,
//!      `host_mask`, …).
//!    - `finish`: what must stand together at the rule's end, beyond the table of options.
//!    - `save`: prints the options, each with a blank before it.
//!    - `demands` and `accepted`: what only the kernel refuses at `COMMIT`: tables, hooks,
//!      protocols, values.
//! 3. Add `pub mod NAME;` and one line to `matches.rs` (or `targets.rs`).
//! 4. Write `tests/cases/NAME.txt` (its form is described in `tests/judge.rs`) with at least five
//!    values an option, and run `STATEWARD_CASES=NAME cargo test -p stateward-rules --test judge`
//!    until the installed iptables and this agree about every case.
//! 5. In the same file, `impl Matching` (or `Acting`) for it: whether a packet has what is asked
//!    for (what is done to it). The packet and its surroundings are a `View` (a [`Context`]); what
//!    the match remembers from packet to packet stands in `memory.rs`, what rules share by a name
//!    in `shared.rs`. An empty `impl` is an
//!    extension that is not evaluated: it loads and prints, and whoever runs the rules is told when
//!    a packet reaches it. If it remembers nothing and never stops, it belongs into `lets_on` of
//!    `classify/conditions.rs`, too: what stands behind it in a rule may then be looked up.
#![forbid(unsafe_code)]

pub mod address;
mod classify;
mod command;
mod compiled;
mod conncount;
mod context;
mod diagnostic;
mod evaluate;
mod extension;
mod extension_headers;
mod getopt;
pub mod known;
pub mod lint;
pub mod matches;
mod memory;
mod number;
mod option;
mod print;
pub mod protocol;
pub mod restore;
mod rule;
mod ruleset;
mod save;
mod services;
pub mod sets;
pub mod shared;
pub mod shell;
mod source;
pub mod targets;
pub mod timeouts;
pub mod tried;
mod validate;
mod words;

pub use context::{
    Connection, Context, Copied, Origin, ReversePath, Step, StepKind, StepName, Tracking, ZoneOf,
};
pub use diagnostic::{Diagnostic, Refuser, Severity};
pub use evaluate::{ChainVerdict, CompiledRuleset, Said, TableSet};
pub use option::Masked;
pub use print::ShowCounters;
pub use rule::{Counters, Header, Interface, RuleSpec, Target, Test, Verdict};
pub use ruleset::{Chain, ChainEnd, Hook, Policy, Ruleset, Table, TableName};
pub use sets::Sets;
pub use shared::Shared;
pub use source::{Position, Source};
pub use validate::{Invalid, ValidRuleset};
