//! The capture reader, and the description of what it reads, on arbitrary bytes.

use std::io::Cursor;

use stateward_replay::capture::Capture;
use stateward_replay::describe::Described;

/// Packets after which enough has been seen: a few compressed bytes may hold millions.
const PACKETS: usize = 2_000;

/// Reads a capture to its end.
pub fn capture_read(bytes: &[u8]) {
    let Ok(mut capture) = Capture::from_reader("fuzz", Cursor::new(bytes.to_vec())) else { return };
    let mut offset = capture.offset();
    for _ in 0..PACKETS {
        match capture.advance() {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
        assert!(capture.offset() >= offset, "reading went backwards");
        offset = capture.offset();
        let packet = capture.packet();
        assert!(packet.number > 0);
        assert!(packet.bytes.len() <= packet.original_length as usize);
        assert!((packet.interface.0 as usize) < capture.interfaces().len());
        assert!(!Described(packet.bytes).to_string().is_empty());
    }
}
