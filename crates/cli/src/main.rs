//! The `stateward` binary: what can be asked of it, and how it ends.

#![forbid(unsafe_code)]

#[allow(unreachable_pub, reason = "written as the module of a library")]
mod bench;
mod error;
mod explain;
mod machine;
mod output;
mod progress;
mod reach;
mod replay;
mod rules;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::error::Failure;

/// Linux's connection tracking as a tool: what the kernel would make of every packet, and why
#[derive(Parser, Debug)]
#[command(name = "stateward", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked for. Each command is a module of its own with its arguments.
#[derive(Subcommand, Debug)]
enum Command {
    Replay(Box<replay::ReplayArgs>),
    Explain(Box<explain::ExplainArgs>),
    Rules(rules::RulesArgs),
    Bench(bench::BenchArgs),
    /// Print a script that completes commands and options in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page (read it with: stateward man | man -l -)
    Man,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Replay(args) => replay::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Bench(args) => Ok(bench::run(&args, &mut io::stdout().lock())?),
        Command::Completions { shell } => print(&completions(shell)),
        Command::Man => print(&manual().map_err(Failure::output)?),
    }
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stateward", &mut script);
    script
}

/// One page: the program's, and what each command takes behind it.
fn manual() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let program = Cli::command();
    clap_mangen::Man::new(program.clone()).render(&mut page)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_uppercase();
        writeln!(page, ".SH \"STATEWARD {name}\"")?;
        let man = clap_mangen::Man::new(command.clone().bin_name(format!("stateward {command}")));
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        man.render_extra_section(&mut page)?;
    }
    Ok(page)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn completions_and_the_manual_know_every_command() {
        let script = String::from_utf8(completions(Shell::Bash)).unwrap();
        let page = String::from_utf8(manual().unwrap()).unwrap();
        for command in Cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{command}");
            assert!(page.contains(&command.get_name().to_uppercase()), "{command}");
        }
        assert!(page.contains("expectations"));
    }
}
