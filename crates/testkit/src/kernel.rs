//! The running kernel as the judge: packets in, everything netfilter did with them out.
//!
//! A [`Scenario`] runs in a network namespace of its own with two TUN devices. A write to a TUN
//! device takes the packet through receive, all hooks, routing and the transmit into the other
//! device inside that system call. So nothing waits: write, then drain what left, what was logged,
//! and what conntrack announced. Packets do not meet rules of the judge in any iptables table; it
//! looks on from nftables chains at priorities between them (see [`Checkpoint`]).
//!
//! A namespace costs far more than a short scenario. [`Kernel`] therefore uses one again for
//! as long as nothing in it has changed for good: a nat table cannot be unloaded, a held fragment
//! not be dropped, `links` not be undone. Then, and after an error, the next scenario gets a fresh
//! one. NAT, hash seeds and ids differ between namespaces, and so do they between runs.
//!
//! The judge reports and never compares; what differs from run to run is said with each field.

mod attribute;
mod available;
mod command;
mod entry;
mod event;
mod expectation;
mod log;
mod machine;
mod namespace;
mod opened;
mod scenario;
mod session;
mod socket;
mod sysctl;
mod table;

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

pub use available::{available, is_there};
pub use command::CommandOutput;
pub use entry::{
    Counters, Entry, Key, Lifetime, Present, Sctp, SctpState, SequenceAdjustment, Status, Synproxy,
    Tcp, TcpState, Tuple,
};
pub use event::{Event, EventKind, Subject};
pub use expectation::{Expectation, ExpectedNat};
pub use log::{Checkpoint, CtState, Direction, Hook, Remark, Sighting, Walk};
pub use machine::KernelLine;
pub use opened::{Carries, Opened};
pub use scenario::{Emitted, Look, Missing, Observation, Outcome, Port, Scenario, Step};
pub use table::Statistics;

use machine::Machine;
use namespace::Namespace;
use session::Ended;

/// Runs one scenario in a fresh namespace.
pub fn run(scenario: &Scenario) -> io::Result<Outcome> {
    Kernel::new()?.run(scenario)
}

/// A namespace for many scenarios, one after the other.
///
/// Create and use it in the machine's first network namespace.
pub struct Kernel {
    worker: Option<Worker>,
}

impl Kernel {
    /// Makes the namespace.
    pub fn new() -> io::Result<Self> {
        Ok(Self { worker: Some(Worker::start()?.ready()?) })
    }

    /// Forgets the namespace: the next scenario gets a fresh one.
    pub fn renew(&mut self) {
        self.worker = None;
    }

    /// Runs a scenario; nothing of those before it is left.
    pub fn run(&mut self, scenario: &Scenario) -> io::Result<Outcome> {
        let worker = match self.worker.take() {
            Some(worker) => worker.ready()?,
            None => Worker::start()?.ready()?,
        };
        if scenario.spoils() {
            // The next one is made while this one is used.
            self.worker = Some(Worker::start()?);
        }
        let machine = Machine::take(&machine_settings(scenario))?;
        let ended = worker.run(scenario)?;
        drop(machine);
        if !ended.spoilt {
            self.worker = Some(worker);
        }
        Ok(ended.outcome)
    }
}

/// Sysctls that the whole machine shares: a namespace can only read them.
const SHARED: [&str; 3] = [
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_expect_max",
];

/// What a scenario sets on the machine.
fn machine_settings(scenario: &Scenario) -> Vec<(&str, String)> {
    let shared = scenario.sysctls.iter().filter(|(name, _)| SHARED.contains(&name.as_str()));
    let shared = shared.map(|(name, value)| (name.as_str(), value.clone()));
    let log = scenario.look.kernel_log.then(|| ("net.netfilter.nf_log_all_netns", "1".to_owned()));
    shared.chain(log).collect()
}

/// The thread that lives in the namespace, and with it the namespace: dropping this ends both, in
/// the thread's own time.
struct Worker {
    jobs: Sender<Scenario>,
    results: Receiver<io::Result<Ended>>,
    /// Says once how the making of the namespace went.
    started: Option<Receiver<io::Result<()>>>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (jobs, todo) = channel::<Scenario>();
        let (ready, started) = channel();
        let (done, results) = channel();
        let body = move || {
            let mut namespace = match Namespace::enter() {
                Ok(namespace) => namespace,
                Err(error) => return drop(ready.send(Err(error))),
            };
            // Each send fails only if the other side has gone; then this thread is done too.
            if ready.send(Ok(())).is_err() {
                return;
            }
            for scenario in todo {
                let result = session::run(&mut namespace, &scenario);
                let spoilt = result.as_ref().map_or(true, |ended| ended.spoilt);
                if done.send(result).is_err() || spoilt {
                    return;
                }
            }
        };
        thread::Builder::new().name("judge".into()).spawn(body)?;
        Ok(Self { jobs, results, started: Some(started) })
    }

    /// Waits until the namespace is there.
    fn ready(mut self) -> io::Result<Self> {
        if let Some(started) = self.started.take() {
            started.recv().map_err(|_| died())??;
        }
        Ok(self)
    }

    fn run(&self, scenario: &Scenario) -> io::Result<Ended> {
        self.jobs.send(scenario.clone()).map_err(|_| died())?;
        self.results.recv().map_err(|_| died())?
    }
}

fn died() -> io::Error {
    io::Error::other("the judge's thread has died")
}
