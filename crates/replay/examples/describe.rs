//! One line a packet, as `tcpdump -n -S -t -r FILE` prints it: `cargo run --example describe --
//! FILE…`

use stateward_replay::capture::{Capture, CaptureError};
use stateward_replay::describe::Described;

fn main() -> Result<(), CaptureError> {
    for file in std::env::args().skip(1) {
        let mut capture = Capture::open(&file)?;
        while capture.advance()? {
            println!("{}", Described(capture.packet().bytes));
        }
    }
    Ok(())
}
