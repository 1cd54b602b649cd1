//! Arbitrary bytes against everything that reads bytes.
//!
//! Each target is a function of bytes that panics when something is wrong. `cargo fuzz` looks for
//! such bytes; the test below goes through those that were found interesting before (`corpus/`, at
//! most some hundred small files a target, among them every input that ever failed), on any
//! compiler and in seconds.
//!
//! A failing file is replayed, with the scenario it stands for in words, by
//! `cargo run --manifest-path fuzz/Cargo.toml --bin TARGET -- FILE…`.

mod capture;
mod defrag;
mod helpers;
mod packet;
mod rewrite;
mod rules;
mod sip;
mod tracker;

pub use capture::capture_read;
pub use defrag::defrag;
pub use helpers::helpers;
pub use packet::packet_parse;
pub use rewrite::nat_rewrite;
pub use rules::rules;
pub use sip::sip;
pub use tracker::tracker;

/// Runs a target on the files that the command line names.
///
/// # Errors
/// When a file cannot be read.
pub fn on_files(target: fn(&[u8])) -> std::io::Result<()> {
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file)?;
        match arbitrary_scenario(target, &bytes) {
            Some(scenario) => println!("{file}: {scenario}"),
            None => println!("{file}: {} bytes", bytes.len()),
        }
        target(&bytes);
    }
    Ok(())
}

/// What a file means to a target that reads more into it than bytes.
fn arbitrary_scenario(target: fn(&[u8]), bytes: &[u8]) -> Option<String> {
    if std::ptr::fn_addr_eq(target, tracker as fn(&[u8])) {
        return Some(format!("{:#?}", tracker::scenario(bytes)));
    }
    if std::ptr::fn_addr_eq(target, defrag as fn(&[u8])) {
        return Some(format!("{:#?}", defrag::scenario(bytes)));
    }
    None
}

/// Makes an IPv4 header checksum right.
fn repair(bytes: &mut [u8]) {
    let length = usize::from(bytes.first().copied().unwrap_or_default() & 15) * 4;
    let is_v4 = bytes.first().is_some_and(|first| first >> 4 == 4);
    let Some(header) = bytes.get_mut(..length).filter(|header| is_v4 && header.len() >= 20) else {
        return;
    };
    header[10..12].fill(0);
    let sum = stateward_wire::checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::path::Path;

    /// Runs a target on its corpus, naming the file that fails.
    fn replay(name: &str, target: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{name}: {} files is no corpus", files.len());
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            if catch_unwind(|| target(&bytes)).is_err() {
                panic!("{name} fails on {}", file.display());
            }
        }
    }

    #[test]
    fn packet_parse_stands_its_corpus() {
        replay("packet_parse", super::packet_parse);
    }

    #[test]
    fn capture_read_stands_its_corpus() {
        replay("capture_read", super::capture_read);
    }

    #[test]
    fn helpers_stands_its_corpus() {
        replay("helpers", super::helpers);
    }

    #[test]
    fn sip_stands_its_corpus() {
        replay("sip", super::sip);
    }

    #[test]
    fn nat_rewrite_stands_its_corpus() {
        replay("nat_rewrite", super::nat_rewrite);
    }

    #[test]
    fn rules_stands_its_corpus() {
        replay("rules", super::rules);
    }

    #[test]
    fn tracker_stands_its_corpus() {
        replay("tracker", super::tracker);
    }

    #[test]
    fn defrag_stands_its_corpus() {
        replay("defrag", super::defrag);
    }
}
