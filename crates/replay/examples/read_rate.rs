//! How fast captures are read, merged and described:
//! `cargo run --release --example read_rate -- FILE…`
//!
//! Each way is gone three times and the best round is printed; the first fills the page cache.

use std::fmt::Write as _;
use std::time::Instant;

use stateward_replay::capture::{Capture, CaptureError};
use stateward_replay::describe::describe;
use stateward_replay::merge::Merge;

const ROUNDS: u32 = 3;

fn main() -> Result<(), CaptureError> {
    for file in std::env::args().skip(1) {
        let mut best = [f64::INFINITY; 3];
        let mut frames = 0;
        for _ in 0..ROUNDS {
            for (best, way) in best.iter_mut().zip([read, merge, text]) {
                let capture = Capture::open(&file)?;
                let started = Instant::now();
                frames = way(capture)?;
                *best = best.min(started.elapsed().as_secs_f64());
            }
        }
        let [read, merge, text] = best.map(|seconds| frames as f64 / seconds / 1e6);
        println!("{file}: M packets/s: read {read:.1}, merged {merge:.1}, described {text:.1}");
    }
    Ok(())
}

fn read(mut capture: Capture) -> Result<u64, CaptureError> {
    let mut sum = 0;
    while capture.advance()? {
        sum += u64::from(capture.packet().bytes.first().copied().unwrap_or(0));
    }
    std::hint::black_box(sum);
    Ok(capture.counters().packets)
}

fn merge(capture: Capture) -> Result<u64, CaptureError> {
    let mut merge = Merge::new(vec![capture]);
    let mut packets = 0;
    while merge.advance() {
        packets += u64::from(merge.packet().is_some());
    }
    merge.into_errors().pop().map_or(Ok(packets), Err)
}

fn text(mut capture: Capture) -> Result<u64, CaptureError> {
    let mut line = String::new();
    while capture.advance()? {
        line.clear();
        // A String takes everything.
        let _ = describe(capture.packet().bytes, &mut line).and_then(|()| line.write_char('\n'));
    }
    Ok(capture.counters().packets)
}
