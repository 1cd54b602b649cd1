//! `stateward rules`: files of iptables rules, checked and printed back.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use stateward_replay::machine::Machine;
use stateward_rules::lint::lint;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::shell::{Script, script};
use stateward_rules::timeouts;
use stateward_rules::{Diagnostic, Sets, ShowCounters, Source, ValidRuleset};
use stateward_wire::Family;

use crate::error::Failure;

/// Read iptables rules as iptables 1.8.9 does: check them, or print them back
#[derive(Args, Debug)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Subcommand, Debug)]
enum RulesCommand {
    /// Say everything that is wrong with files of rules
    ///
    /// Errors are what iptables or the kernel refuses; warnings what they take and nobody wants:
    /// rules that no packet reaches, chains that nothing leads to, connections that lock themselves
    /// out.
    ///
    /// Exits with 0 if iptables takes all of them, with 1 if it refuses one.
    Check {
        #[command(flatten)]
        language: Language,
        /// What iptables-save writes, or a script of iptables commands; `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a file as iptables-legacy-save prints it, without the lines that tell the date
    Print {
        #[command(flatten)]
        language: Language,
        /// Keep the counters of rules and policies
        #[arg(short, long)]
        counters: bool,
        /// What iptables-save writes, or a script of iptables commands; `-` is standard input
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Language {
    /// The rules are for IPv6
    ///
    /// Otherwise the file itself says so: by ip6tables-save's first line, or by a name such as
    /// rules.v6.
    #[arg(short = '6', long)]
    ipv6: bool,
}

pub(crate) fn run(args: &RulesArgs) -> Result<(), Failure> {
    match &args.command {
        RulesCommand::Check { language, files } => check(language, files),
        RulesCommand::Print { language, counters, file } => {
            let counters = if *counters { ShowCounters::Yes } else { ShowCounters::No };
            print(language, counters, file)
        }
    }
}

fn check(language: &Language, files: &[PathBuf]) -> Result<(), Failure> {
    let mut refused = Vec::new();
    let mut out = io::stdout().lock();
    for file in files {
        let text = read(file)?;
        let name = file.display().to_string();
        let found = match load(language, ShowCounters::No, file, &text) {
            Err(diagnostics) => {
                refused.push(counted(diagnostics.len(), file));
                diagnostics
            }
            Ok(rules) => {
                let source = Source::new(&name, &text);
                rules.iter().flat_map(|rules| lint(&source, rules)).collect()
            }
        };
        for diagnostic in &found {
            writeln!(out, "{diagnostic}").map_err(Failure::output)?;
        }
    }
    out.flush().map_err(Failure::output)?;
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::no(refused.join(", "))),
    }
}

fn counted(errors: usize, file: &Path) -> String {
    let file = file.display();
    if errors == 1 { format!("1 error in {file}") } else { format!("{errors} errors in {file}") }
}

fn print(language: &Language, counters: ShowCounters, file: &Path) -> Result<(), Failure> {
    let text = read(file)?;
    let rules = load(language, counters, file, &text).map_err(|errors| refused(&errors))?;
    let mut out = io::stdout().lock();
    for rules in rules {
        out.write_all(rules.rules().save(counters).as_bytes()).map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)
}

fn refused(diagnostics: &[Diagnostic]) -> Failure {
    let texts: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    // A diagnostic and a failure begin and end alike.
    let text = texts.join("\n");
    Failure::usage(text.trim_start_matches("error: ").trim_end(), None)
}

/// The rules that a file has for a family, to be run; refused if they name sets or policies of
/// timeouts that the machine, if there is one, does not have.
pub(crate) fn to_run(
    file: &Path,
    family: Family,
    machine: Option<&Machine>,
) -> Result<ValidRuleset, Failure> {
    let text = read(file)?;
    let language = Language { ipv6: family == Family::V6 };
    let rules =
        load(&language, ShowCounters::Yes, file, &text).map_err(|errors| refused(&errors))?;
    let rules = rules.into_iter().find(|rules| rules.rules().family == family);
    if let (Some(rules), Some(machine)) = (&rules, machine) {
        let name = file.display().to_string();
        let source = Source::new(&name, &text);
        let mut errors = machine.sets.refused(&source, rules);
        errors.extend(timeouts::refused(&machine.timeouts, &source, rules));
        if !errors.is_empty() {
            return Err(refused(&errors));
        }
    }
    rules.ok_or_else(|| {
        let (asked, other) = match family {
            Family::V4 => ("IPv4", "`--rules6` takes ip6tables rules"),
            Family::V6 => ("IPv6", "`--rules` takes iptables rules"),
        };
        let message = format!("{} has no rules for {asked}", file.display());
        Failure::usage(message, Some(other.to_owned()))
    })
}

/// The sets of a file.
pub(crate) fn sets(file: &Path) -> Result<Sets, Failure> {
    let text = read(file)?;
    let name = file.display().to_string();
    Sets::parse(&Source::new(&name, &text)).map_err(|errors| refused(&errors))
}

/// The rules of a file: of one family, of both if it is a script that says so.
fn load(
    language: &Language,
    counters: ShowCounters,
    file: &Path,
    text: &str,
) -> Result<Vec<ValidRuleset>, Vec<Diagnostic>> {
    let name = file.display().to_string();
    let source = Source::new(&name, text);
    if is_script(text) {
        let Script { v4, v6 } = script(&source)?;
        return Ok(v4.into_iter().chain(v6).collect());
    }
    let family = match language.ipv6 || is_ipv6(file, text) {
        true => Family::V6,
        false => Family::V4,
    };
    let counters = counters == ShowCounters::Yes;
    let options = RestoreOptions { counters, ..RestoreOptions::default() };
    restore(&source, family, options).map(|rules| vec![rules])
}

/// A file of iptables-save begins with a table; a script names iptables somewhere.
fn is_script(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_save = lines.next().is_none_or(|line| line.starts_with(['*', ':', '-', '[']));
    text.starts_with("#!") || (!is_save && text.contains("tables"))
}

fn is_ipv6(file: &Path, text: &str) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = name.unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    first.contains("ip6tables-save")
        || name.ends_with(".v6")
        || name.contains("ip6tables")
        || name.contains("rules6")
}

pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        false => fs::read(file).map(|read| bytes = read),
    };
    let name = file.display();
    read.map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let hint = missing.then(|| "is the name right? `-` reads standard input".to_owned());
        Failure::usage(format!("cannot read {name}: {error}"), hint)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let upto = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..upto).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let hint = "write it in UTF-8: iconv -f latin1 -t utf-8".to_owned();
        Failure::usage(format!("{name}:{line}: this line is not UTF-8"), Some(hint))
    })
}
