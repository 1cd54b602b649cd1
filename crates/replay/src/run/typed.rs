//! Packets that no capture holds: somebody typed them.
//!
//! They take the same way as captured ones. Each comes in where its text says, else where the user
//! says for all of them, else where captured packets would that name no interface.

use std::io;

use stateward_conntrack::Instant;

use super::gate::{Arriving, Gate};
use super::{Core, Replay, Sink};
use crate::capture::{Captured, Direction, Interface, InterfaceRef};
use crate::entrance::{Entrance, LOCAL, Way};
use crate::machine::Machine;
use crate::merge::Merge;
use crate::table::{Dump, DumpError, Loaded};
use crate::typed::Typed;

/// The interfaces that typed packets have named so far. The first stands for those that name none.
#[derive(Debug)]
pub(super) struct Named(Vec<Interface>);

impl Default for Named {
    fn default() -> Self {
        Self(vec![Interface { name: None, index: None }])
    }
}

impl Named {
    fn number(&mut self, name: Option<&str>) -> InterfaceRef {
        let known = self.0.iter().position(|known| known.name.as_deref() == name);
        let number = known.unwrap_or_else(|| {
            self.0.push(Interface { name: name.map(str::to_owned), index: None });
            self.0.len() - 1
        });
        InterfaceRef(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

impl Replay {
    /// A replay of nothing yet by a machine; `own` if it has addresses beside those of its
    /// interfaces. What comes will come in by `interface`, if that is given.
    ///
    /// # Errors
    /// With the name, if the machine has no such interface.
    pub fn of_typed(
        machine: Machine,
        interface: Option<String>,
        own: bool,
    ) -> Result<Self, String> {
        let network = &machine.network;
        let own = own || network.interfaces().iter().any(|known| !known.addresses.is_empty());
        let given = [interface];
        let entrance = Entrance::new(network, &given, own)?;
        let gate = Gate::new(entrance, &given, network.routing());
        let [given] = given;
        Ok(Self {
            merge: Merge::new(Vec::new()),
            ahead: None,
            gate,
            core: Core::new(machine.engine()),
            explaining: None,
            named: Named::default(),
            given,
        })
    }

    /// Connections that there are already at a time, in nanoseconds since 1970.
    ///
    /// # Errors
    /// With the first that cannot be in the table.
    pub fn load(&mut self, dump: &Dump, time: u64) -> Result<Loaded, Box<DumpError>> {
        let Core { engine, numbering, .. } = &mut self.core;
        let loaded = dump.load(engine.tracker_mut(), Instant(time))?;
        loaded.ids().for_each(|id| numbering.add(id));
        Ok(loaded)
    }

    /// A packet comes at a time, in nanoseconds since 1970.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn take(&mut self, packet: &Typed, time: u64, sink: &mut dyn Sink) -> io::Result<()> {
        let Self { gate, core, explaining, named, given, .. } = self;
        let name = packet.interface.as_deref();
        let interface = named.number(name);
        // What came in came in, whatever its source.
        let direction = name.or(given.as_deref()).filter(|name| *name != LOCAL);
        let captured = Captured {
            number: gate.summary.packets + 1,
            time,
            interface,
            direction: direction.map(|_| Direction::In),
            link: None,
            bytes: &packet.bytes,
            original_length: u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX),
            cut: false,
        };
        let now = Instant(time);
        let entry = gate.entrance.of(core.engine.network(), 0, &named.0, &captured);
        gate.summary.read(now, false, false);
        debug_assert!(entry.way != Way::Out, "nobody types what has left already");
        let arriving = Arriving { capture: 0, captured, now, entry };
        core.engine.set_arrival_mark(packet.mark);
        core.engine.shared_mut().known.next = packet.known.clone();
        super::arrive((gate, core), explaining.as_ref(), &arriving, sink)
    }
}
