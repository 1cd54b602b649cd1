//! Expectations, as the tool and /proc print them.
//!
//! The tool prints tuple, mask and the master's first direction; /proc only the tuple, and the name
//! of the class where the tool has its number. Neither tells the zone.

use core::fmt;

use stateward_wire::{Family, protocol};

use super::address::{Compressed, Expanded};
use super::time::Prefix;
use super::{Tag, ports, ports_of_tracked};
use crate::event::EventKind;
use crate::expect::{ExpectFlags, Expectation};
use crate::status::Direction;
use crate::time::Instant;
use crate::tuple::L4Key;

/// An expectation as `conntrack -L expect` prints it.
#[derive(Clone, Copy, Debug)]
pub struct ExpectLine<'a> {
    /// The expectation.
    pub expectation: &'a Expectation,
    /// When it is printed, for the time it has left.
    pub now: Instant,
    /// `-o timestamp`, the only option that changes anything here.
    pub timestamp: bool,
}

impl fmt::Display for ExpectLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.timestamp {
            write!(f, "{}", Prefix::Flush(self.now))?;
        }
        line(f, self.expectation, self.now)
    }
}

/// An event about an expectation, as `conntrack -E expect` prints it.
pub(super) fn event(
    f: &mut fmt::Formatter<'_>,
    expectation: &Expectation,
    kind: EventKind,
    at: Instant,
    timestamp: bool,
) -> fmt::Result {
    if timestamp {
        write!(f, "{}", Prefix::Flush(at))?;
    }
    write!(f, "{} ", Tag(kind))?;
    line(f, expectation, at)
}

fn line(f: &mut fmt::Formatter<'_>, expectation: &Expectation, now: Instant) -> fmt::Result {
    let announced = &expectation.announced;
    let (tuple, mask) = (&announced.tuple, announced.mask);
    let master = &expectation.master.tuples[Direction::Original];
    write!(f, "{} proto={}", now.until(expectation.deadline).as_timeout(), tuple.protocol())?;
    write!(f, " src={}", Compressed(tuple.source()))?;
    write!(f, " dst={}", Compressed(tuple.destination()))?;
    ports(f, tuple)?;
    let all = match tuple.family() {
        Family::V4 => [0xff; 4].into(),
        Family::V6 => [0xff; 16].into(),
    };
    write!(f, " mask-src={}", Compressed(mask.address(tuple.family())))?;
    write!(f, " mask-dst={}", Compressed(all))?;
    mask_of_ports(f, tuple.protocol(), tuple.l4(), mask.port())?;
    write!(f, " master-src={}", Compressed(master.source()))?;
    write!(f, " master-dst={}", Compressed(master.destination()))?;
    ports(f, master)?;
    flags(f, announced.flags)?;
    write!(f, " class={} helper={}", announced.class.number, announced.helper)
}

/// The mask of what tells flows apart: the destination's bits are all set.
fn mask_of_ports(f: &mut fmt::Formatter<'_>, number: u8, l4: L4Key, source: u16) -> fmt::Result {
    let mask = match l4 {
        L4Key::Ports { .. } => L4Key::Ports { source, destination: u16::MAX },
        L4Key::Icmp { .. } => L4Key::Icmp { kind: u8::MAX, code: u8::MAX, id: source },
        L4Key::Gre { .. } => L4Key::Gre { source, destination: u16::MAX },
        L4Key::None if number == protocol::DCCP => L4Key::Ports { source: 0, destination: 0 },
        L4Key::None => L4Key::None,
    };
    ports_of_tracked(f, mask)
}

fn flags(f: &mut fmt::Formatter<'_>, flags: ExpectFlags) -> fmt::Result {
    let mut before = ' ';
    for name in flags.names() {
        write!(f, "{before}{name}")?;
        before = ',';
    }
    Ok(())
}

/// An expectation as /proc/net/nf_conntrack_expect prints it.
#[derive(Clone, Copy, Debug)]
pub struct ExpectProcLine<'a> {
    /// The expectation.
    pub expectation: &'a Expectation,
    /// When it is printed, for the time it has left.
    pub now: Instant,
}

impl fmt::Display for ExpectProcLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let announced = &self.expectation.announced;
        let tuple = &announced.tuple;
        let seconds = self.now.until(self.expectation.deadline).as_timeout();
        let family = match tuple.family() {
            Family::V4 => 2,
            Family::V6 => 10,
        };
        write!(f, "{seconds} l3proto = {family} proto={}", tuple.protocol())?;
        write!(f, " src={}", Expanded(tuple.source()))?;
        write!(f, " dst={}", Expanded(tuple.destination()))?;
        ports_of_tracked(f, tuple.l4())?;
        flags(f, announced.flags)?;
        write!(f, " {}", announced.helper)?;
        match announced.class.name {
            "" => Ok(()),
            class => write!(f, "/{class}"),
        }
    }
}
