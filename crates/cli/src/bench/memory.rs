//! Memory of the benchmark: huge pages for the table where the system gives them, and what is used.

use memmap2::{Advice, MmapOptions};
use stateward_conntrack::{Arena, Tracker};
use stateward_engine::{Config, Engine};

/// An engine whose table lies in huge pages, if there are any: whether it does is the second value.
pub(super) fn engine(config: Config) -> (Engine, bool) {
    let bytes = Tracker::bytes_for(config.tracker.sysctls.max);
    match huge(bytes) {
        Some(arena) => (Engine::with_memory(config, arena), true),
        None => (Engine::new(config), false),
    }
}

/// Zeroed memory that the system is asked to back with huge pages. It is never given back: the
/// process ends with its benchmark.
fn huge(bytes: usize) -> Option<Arena> {
    let map = MmapOptions::new().len(bytes).map_anon().ok()?;
    map.advise(Advice::HugePage).ok()?;
    Some(Arena::new(&mut Box::leak(Box::new(map))[..]))
}

/// Resident memory of this process in bytes; 0 where it cannot be read.
pub(super) fn resident() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
