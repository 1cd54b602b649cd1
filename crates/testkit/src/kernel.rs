//! The running kernel as the judge: packets in, everything netfilter did with them out.
//!
//! A [`Scenario`] runs in a network namespace of its own with two TUN devices. A write to a TUN device
//! takes the packet through receive, all hooks, routing and the transmit into the other device inside
//! that system call. So nothing waits: write, then drain what left, what was logged, and what conntrack
//! announced. Packets do not meet rules of the judge in any iptables table; it looks on from nftables
//! chains at priorities between them (see [`Checkpoint`]).
//!
//! A namespace costs far more than a short scenario. [`Kernel`] therefore uses one again for
//! as long as nothing in it has changed for good: a nat table cannot be unloaded, a held fragment not be
//! dropped, `links` not be undone. Then, and after an error, the next scenario gets a fresh one. NAT,
//! hash seeds and ids differ between namespaces, and so do they between runs.
//!
//! The judge reports and never compares; what differs from run to run is said with each field.

mod attribute;
mod available;
mod command;
mod entry;
mod event;
mod expectation;
mod log;
mod namespace;
mod scenario;
mod session;
mod socket;
mod sysctl;
mod table;

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

pub use available::available;
pub use command::CommandOutput;
pub use entry::{
    Counters, Entry, Key, Lifetime, Present, Sctp, SctpState, SequenceAdjustment, Status, Synproxy,
    Tcp, TcpState, Tuple,
};
pub use event::{Event, EventKind, Subject};
pub use expectation::{Expectation, ExpectedNat};
pub use log::{Checkpoint, CtState, Direction, Hook, Remark, Sighting, Walk};
pub use scenario::{Emitted, Look, Missing, Observation, Outcome, Port, Scenario, Step};
pub use table::Statistics;

use namespace::Namespace;
use session::Ended;

/// Runs one scenario in a fresh namespace.
pub fn run(scenario: &Scenario) -> io::Result<Outcome> {
    Kernel::new()?.run(scenario)
}

/// A namespace for many scenarios, one after the other.
pub struct Kernel {
    worker: Option<Worker>,
}

impl Kernel {
    /// Makes the namespace.
    pub fn new() -> io::Result<Self> {
        Ok(Self { worker: Some(Worker::start()?) })
    }

    /// Runs a scenario; nothing of those before it is left.
    pub fn run(&mut self, scenario: &Scenario) -> io::Result<Outcome> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start()?,
        };
        let ended = worker.run(scenario)?;
        if !ended.spoilt {
            self.worker = Some(worker);
        }
        Ok(ended.outcome)
    }
}

/// The thread that lives in the namespace, and with it the namespace.
struct Worker {
    jobs: Option<Sender<Scenario>>,
    results: Receiver<io::Result<Ended>>,
    thread: Option<JoinHandle<()>>,
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
                let failed = result.is_err();
                if done.send(result).is_err() || failed {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("judge".into()).spawn(body)?;
        started.recv().map_err(|_| died())??;
        Ok(Self { jobs: Some(jobs), results, thread: Some(thread) })
    }

    fn run(&self, scenario: &Scenario) -> io::Result<Ended> {
        let jobs = self.jobs.as_ref().ok_or_else(died)?;
        jobs.send(scenario.clone()).map_err(|_| died())?;
        self.results.recv().map_err(|_| died())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn died() -> io::Error {
    io::Error::other("the judge's thread has died")
}
