//! What rules name in vain, on standard error, with the flag that helps.

use stateward_replay::explain::Files;
use stateward_replay::reach::{Remedy, Unreached, unreached};
use stateward_replay::run::Replay;

/// Lines that are printed at most: rules of one kind mostly share their remedy.
const MOST: usize = 6;

/// How packets are said to come in by an interface.
#[derive(Clone, Copy)]
pub(crate) enum Entrance {
    /// `--in IFACE=FILE`.
    OfCaptures,
    /// `--in IFACE`.
    OfPackets,
}

/// Says it.
pub(crate) fn tell(replay: &Replay, files: &Files, entrance: Entrance) {
    let found = unreached(replay, files);
    let mut told = Vec::new();
    for Unreached { message, remedy } in found.iter().take(MOST) {
        eprintln!("note: {message}");
        // Once is enough.
        if !told.contains(remedy) {
            told.push(*remedy);
            eprintln!("  hint: {}", hint(*remedy, entrance));
        }
    }
    if found.len() > MOST {
        eprintln!("note: and {} more", found.len() - MOST);
    }
}

fn hint(remedy: Remedy, entrance: Entrance) -> &'static str {
    match (remedy, entrance) {
        (Remedy::Addresses, _) => {
            "--host ADDRESS says which address is its own; --config or --addr describe all of it"
        }
        (Remedy::Routes, _) => {
            "--config describes interfaces and routes, or --addr and --route, what `ip -j` prints"
        }
        (Remedy::Entrance, Entrance::OfCaptures) => {
            "--in IFACE=FILE says where a capture's packets came in; --config or --addr describe the \
             machine"
        }
        (Remedy::Entrance, Entrance::OfPackets) => {
            "--in IFACE says where packets come in; --config or --addr describe the machine"
        }
        (Remedy::Interface, _) => "its interfaces are those of --config or --addr",
        (Remedy::Forwarding, _) => "forward = true in the configuration",
    }
}
