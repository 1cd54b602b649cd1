//! Captures in, virtual clock, trace out.

pub mod capture;

#[cfg(test)]
mod craft;
