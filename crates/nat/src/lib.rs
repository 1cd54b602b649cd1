//! Linux's NAT as a sans-IO library: what a connection is translated to, and the translation.
//!
//! A connection is bound twice in its life, while it is not in the table yet: its source and its
//! destination ([`Manip`]), each once. A binding is an edit of the reply tuple of an
//! [`Unconfirmed`](stateward_conntrack::Unconfirmed) connection and nothing else; every later
//! packet is rewritten by what the two tuples say. So there is no table of translations beside
//! conntrack's, and what has left the table is translated no more.
//!
//! Where to look: `range` for what a rule lets NAT choose from, `choose` for the choice, `pool` for
//! addresses, `ports` for ports, `chance` for where the kernel is random, [`rewrite`] for what a
//! translation does to the bytes of a packet.

#![forbid(unsafe_code)]

mod chance;
mod choose;
mod pool;
mod ports;
mod range;
pub mod rewrite;
pub mod seqadj;
mod text;

pub use chance::{Chance, Wish};
pub use choose::{Binding, How, bind, bind_as_it_is, bind_to_itself};
pub use range::{Manip, Ports, Range, Spread};
pub use text::AtEnd;
