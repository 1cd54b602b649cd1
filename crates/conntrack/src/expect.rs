//! Expectations: connections that another one has announced.

/// The expectation table.
pub struct Expectations {}

impl Expectations {
    pub(crate) fn new() -> Expectations {
        Expectations {}
    }
}
