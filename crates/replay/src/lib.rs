//! Captures in, virtual clock, trace out.
