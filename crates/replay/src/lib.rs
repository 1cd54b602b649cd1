//! Captures in, virtual clock, trace out.

pub mod capture;
pub mod config;
pub mod describe;
pub mod merge;
pub mod write;

#[cfg(test)]
mod craft;
