//! Sysctls of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The value of `name`, such as `net.netfilter.nf_conntrack_acct`.
pub(super) fn read(name: &str) -> io::Result<String> {
    let value = fs::read_to_string(path(name)).map_err(|error| explain(name, &error))?;
    Ok(value.trim_end().to_owned())
}

/// Sets `name` to `value`.
pub(super) fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), value).map_err(|error| explain(&format!("{name}={value}"), &error))
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/{}", name.replace('.', "/")))
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("sysctl {what}: {error}"))
}

/// What sysctls were before they were changed, to be put back.
#[derive(Debug, Default)]
pub(super) struct Saved(Vec<(String, String)>);

impl Saved {
    /// Sets `name`, remembering what it was.
    pub(super) fn change(&mut self, name: &str, value: &str) -> io::Result<()> {
        let before = read(name)?;
        write(name, value)?;
        self.0.push((name.to_owned(), before));
        Ok(())
    }

    /// Puts everything back, the latest change first.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        while let Some((name, value)) = self.0.pop() {
            write(&name, &value)?;
        }
        Ok(())
    }
}
