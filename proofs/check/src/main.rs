//! `check MODULE`: fails unless the engine's module asks nothing of its surroundings and, run
//! without any, gives what this machine gives.

use std::process::ExitCode;

use check::inspect;
use wasmi::{Engine, Linker, Module, Store};

/// One function of each part that must be in the module, so that an empty one proves nothing.
const MUST_HOLD: [&str; 25] = [
    "stateward_engine::engine::Engine::process_burst",
    "stateward_engine::walk::",
    "stateward_engine::route::",
    "stateward_engine::options::",
    "stateward_engine::source::",
    "stateward_engine::defrag::ipv4::",
    "stateward_engine::defrag::ipv6::",
    "stateward_engine::defrag::cut::",
    "stateward_engine::pieces::",
    "stateward_engine::host::",
    "stateward_conntrack::tracker::Tracker::track_from",
    "stateward_conntrack::tracker::announce::",
    "stateward_conntrack::expect::Expectations",
    "stateward_conntrack::table::Table",
    "stateward_conntrack::wheel::",
    "stateward_conntrack::tcp::",
    "stateward_conntrack::udp::",
    "stateward_conntrack::sctp::",
    "stateward_conntrack::gre::",
    "stateward_conntrack::icmp::",
    "stateward_conntrack::icmpv6::",
    "stateward_conntrack::tell::",
    "stateward_conntrack::text::expect::",
    "stateward_conntrack::text::save::",
    "stateward_wire::checksum::",
];

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: check MODULE.wasm");
        return ExitCode::from(2);
    };
    match prove(&file) {
        Ok(proof) => {
            println!("{proof}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{file}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn prove(file: &str) -> Result<String, String> {
    let module = std::fs::read(file).map_err(|error| error.to_string())?;
    let report = inspect(&module).map_err(|error| error.to_string())?;
    if !report.findings.is_empty() {
        return Err(format!("needs its surroundings:\n  {}", report.findings.join("\n  ")));
    }
    if let Some(missing) = MUST_HOLD.iter().find(|part| !report.has_function(part)) {
        return Err(format!("nothing of {missing} is in it, so nothing is proved about it"));
    }
    let there = run(&module).map_err(|error| error.to_string())?;
    let here = no_clock::drive();
    if there != here {
        return Err(format!(
            "without a host the engine's digest is {there:016x}, here {here:016x}"
        ));
    }
    Ok(format!(
        "{} functions and no imports; nothing of std but what panics and allocates; digest {here:016x} in the module and here",
        report.functions.len(),
    ))
}

/// Runs the module's `drive` in an interpreter that offers nothing.
fn run(module: &[u8]) -> Result<u64, wasmi::Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, module)?;
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module)?;
    let drive = instance.get_typed_func::<(), u64>(&store, "drive")?;
    drive.call(&mut store, ())
}
