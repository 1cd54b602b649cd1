//! What belongs to the whole machine: the size limit of the table, and the kernel's log.
//!
//! Both can only be set from the first namespace and act on all. A scenario that needs them runs
//! alone: it holds an exclusive lock on a file while every other scenario, of any process, holds a
//! shared one. The file also holds what the settings were, so that a run that was killed is tidied
//! up by the next.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::O_NONBLOCK;

use super::sysctl;

const LOCK: &str = "/run/stateward-judge.lock";

/// The machine, for as long as a scenario runs.
pub(super) struct Machine {
    lock: File,
    changed: bool,
}

impl Machine {
    /// Waits for the machine: alone on it with `settings` in force, or together with others if
    /// there are none. To be called from the first network namespace.
    pub(super) fn take(settings: &[(&str, String)]) -> io::Result<Self> {
        let lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(LOCK)?;
        let mut machine = Self { lock, changed: false };
        if settings.is_empty() {
            machine.lock.lock_shared()?;
            if machine.lock.metadata()?.len() == 0 {
                return Ok(machine);
            }
            machine.lock.unlock()?;
        }
        machine.lock.lock()?;
        machine.restore()?;
        machine.apply(settings)?;
        Ok(machine)
    }

    fn apply(&mut self, settings: &[(&str, String)]) -> io::Result<()> {
        let mut before = String::new();
        for (name, _) in settings {
            before += &format!("{name} {}\n", sysctl::read(name)?);
        }
        self.lock.write_all(before.as_bytes())?;
        self.changed = !settings.is_empty();
        settings.iter().try_for_each(|(name, value)| sysctl::write(name, value))
    }

    /// Sets what the file says and empties it.
    fn restore(&mut self) -> io::Result<()> {
        let mut before = String::new();
        self.lock.rewind()?;
        self.lock.read_to_string(&mut before)?;
        for (name, value) in before.lines().filter_map(|line| line.split_once(' ')) {
            sysctl::write(name, value)?;
        }
        self.lock.set_len(0)?;
        self.lock.rewind()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.changed {
            // What fails here is left in the file for the next scenario to put right.
            let _ = self.restore();
        }
    }
}

/// The kernel's log from now on.
pub(super) struct KernelLog(File);

/// A line of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLine {
    /// Its level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Its text.
    pub text: String,
}

impl KernelLog {
    pub(super) fn open() -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// The lines that have come.
    pub(super) fn drain(&mut self) -> io::Result<Vec<KernelLine>> {
        let mut lines = Vec::new();
        let mut record = vec![0; 8192];
        loop {
            let length = match self.0.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(lines),
                Err(error) => return Err(error),
            };
            let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
            lines.extend(line(&text));
        }
    }
}

/// A record is `facility * 8 + level,number,time,flags;text` and a newline, maybe with more after
/// it.
fn line(record: &str) -> Option<KernelLine> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let text = text.split('\n').next().unwrap_or_default().to_owned();
    Some(KernelLine { level: (priority & 7) as u8, text })
}
