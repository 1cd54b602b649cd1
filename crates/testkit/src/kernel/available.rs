//! Whether there is a kernel to judge by.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use super::scenario::Missing;

const TOOLS: [&str; 8] = [
    "ip",
    "nft",
    "conntrack",
    "nfct",
    "iptables-legacy-restore",
    "iptables-legacy-save",
    "ip6tables-legacy-restore",
    "ip6tables-legacy-save",
];

const FILES: [(&str, &str); 3] = [
    ("/proc/sys/net/netfilter/nf_conntrack_acct", "conntrack with accounting"),
    ("/proc/sys/net/netfilter/nf_conntrack_log_invalid", "conntrack's log of invalid packets"),
    ("/proc/sys/net/netfilter/nf_log/2", "netfilter's loggers"),
];

/// Says whether scenarios can run here, or all that is missing. Asked once a process.
pub fn available() -> Result<(), Missing> {
    static ANSWER: OnceLock<Result<(), Missing>> = OnceLock::new();
    ANSWER.get_or_init(probe).clone()
}

/// Whether a test has a kernel to ask. Without one it says why not, and the test passes; with
/// STATEWARD_REQUIRE_KERNEL=1 that fails.
#[expect(clippy::panic, reason = "a failure is the test's own")]
pub fn is_there() -> bool {
    let is_required = || env::var_os("STATEWARD_REQUIRE_KERNEL").is_some_and(|value| value == "1");
    match available() {
        Ok(()) => true,
        Err(missing) if is_required() => panic!("STATEWARD_REQUIRE_KERNEL=1, but {missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            false
        }
    }
}

fn probe() -> Result<(), Missing> {
    let mut missing = Vec::new();
    if !geteuid().is_root() {
        missing.push("not root".to_owned());
    }
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        missing.push(format!("no TUN devices (/dev/net/tun: {error})"));
    }
    let absent = TOOLS.iter().filter(|tool| !in_path(tool));
    missing.extend(absent.map(|tool| format!("{tool} is not installed")));
    missing.extend(probe_namespace());
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

fn in_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// Looks for netfilter in a namespace of a passing thread.
fn probe_namespace() -> Vec<String> {
    let look = || -> io::Result<Vec<String>> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let absent = FILES.iter().filter(|(file, _)| !Path::new(file).exists());
        Ok(absent.map(|(file, what)| format!("the kernel lacks {what} ({file})")).collect())
    };
    match thread::spawn(look).join() {
        Ok(Ok(missing)) => missing,
        Ok(Err(error)) => vec![format!("no network namespace can be made ({error})")],
        Err(_) => vec!["the probe of a network namespace failed".to_owned()],
    }
}
