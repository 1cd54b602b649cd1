//! How fast a capture is read: `cargo run --release --example read_rate -- FILE…`
//!
//! Reads each capture five times, merges nothing, looks at the first byte of every packet, and
//! prints the best round. The first round fills the page cache.

use std::time::Instant;

use stateward_replay::capture::{Capture, CaptureError};

fn main() -> Result<(), CaptureError> {
    for file in std::env::args().skip(1) {
        let mut best = f64::INFINITY;
        let mut counters = Default::default();
        let mut sum = 0;
        let mut bytes = 0;
        for _ in 0..5 {
            let started = Instant::now();
            let mut capture = Capture::open(&file)?;
            while capture.advance()? {
                sum += u64::from(capture.packet().bytes.first().copied().unwrap_or(0));
            }
            best = best.min(started.elapsed().as_secs_f64());
            counters = capture.counters();
            bytes = capture.offset();
        }
        let rate = counters.frames as f64 / best / 1e6;
        let volume = bytes as f64 / best / 1e9;
        println!("{file}: {rate:.1} M frames/s, {volume:.2} GB/s ({counters:?}, {sum})");
    }
    Ok(())
}
