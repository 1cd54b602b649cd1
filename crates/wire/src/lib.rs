//! Packet headers as views over bytes: parse, edit in place with checksums kept. Knows no state.
