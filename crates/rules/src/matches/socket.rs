//! `-m socket`: whether a socket of this host is open for the packet.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::known::Assigned;
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// Which sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// `--transparent`: only a transparent one.
    pub transparent: bool,
    /// `--nowildcard`: also one that listens on any address.
    pub unbound: bool,
    /// `--restore-skmark`: the packet gets the socket's mark.
    pub restore_mark: bool,
}

impl Socket {
    pub(crate) const NAMES: &[&str] = &["socket"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("transparent"),
    OptionSpec::flag("nowildcard"),
    OptionSpec::flag("restore-skmark"),
];

impl Extension for Socket {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "transparent" => self.transparent = true,
            "nowildcard" => self.unbound = true,
            _ => self.restore_mark = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let flags = [
            ("transparent", self.transparent),
            ("nowildcard", self.unbound),
            ("restore-skmark", self.restore_mark),
        ];
        for (name, _) in flags.into_iter().filter(|(_, given)| *given) {
            save.flag(name);
        }
    }

    fn demands(&self) -> Demands {
        Demands::NONE.hooks(&[Hook::Prerouting, Hook::Input])
    }
}

impl Matching for Socket {
    /// If nothing is known, there is none.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let shared = view.context.shared().borrow();
        let told = match view.context.assigned() {
            // The socket that TPROXY is assumed to have found waits at all addresses.
            Some(Assigned::Assumed) => {
                drop(shared);
                view.context.assume("socket");
                if self.unbound && self.restore_mark {
                    view.context.restore_mark(0);
                }
                return Ok(self.unbound);
            }
            Some(listed) => shared.known.handed(listed),
            None => shared.known.socket(&view.packet),
        };
        let Some(told) = told else {
            drop(shared);
            view.context.assume("socket");
            return Ok(false);
        };
        let found = told.value.filter(|socket| {
            (self.unbound || !socket.is_everywhere()) && (!self.transparent || socket.transparent)
        });
        let mark = found.map(|socket| socket.mark);
        let words = told.words;
        drop(shared);
        view.context.give("socket", words);
        if let Some(mark) = mark.filter(|_| self.restore_mark) {
            view.context.restore_mark(mark);
        }
        Ok(mark.is_some())
    }
}
