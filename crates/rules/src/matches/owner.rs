//! `-m owner`: who sent the packet from this host.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension, Place};
use crate::known::Process;
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::ruleset::Hook;
use crate::save::Save;

/// Users, groups, and whether there is a socket at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `--uid-owner`: the least and the most.
    pub user: Option<Test<(u32, u32)>>,
    /// `--gid-owner`: the least and the most.
    pub group: Option<Test<(u32, u32)>>,
    /// `--socket-exists`.
    pub socket: Option<Test<()>>,
    /// `--suppl-groups`: the group may be one of several that the process has.
    pub supplementary: bool,
}

impl Owner {
    pub(crate) const NAMES: &[&str] = &["owner"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("uid-owner").invertible(),
    OptionSpec::value("gid-owner").invertible(),
    OptionSpec::flag("socket-exists").invertible(),
    OptionSpec::flag("suppl-groups"),
];

impl Extension for Owner {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "uid-owner" => self.user = Some(Test { value: range(given)?, inverted }),
            "gid-owner" => self.group = Some(Test { value: range(given)?, inverted }),
            "socket-exists" => self.socket = Some(Test { value: (), inverted }),
            _ if self.group.is_none() => {
                let refusal = Refusal::new("owner: `--suppl-groups` without a group");
                return Err(refusal.hint("`--gid-owner` before it"));
            }
            _ => self.supplementary = true,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("owner: an option is missing").hint("`--uid-owner`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { user, group, socket, supplementary } = self;
        if let Some(socket) = socket {
            save.inverted(socket.inverted).flag("socket-exists");
        }
        for (name, range) in [("uid-owner", user), ("gid-owner", group)] {
            if let Some(Test { value: (first, last), inverted }) = range {
                save.inverted(*inverted).option(name, first);
                if first != last {
                    save.text('-').text(last);
                }
            }
        }
        if *supplementary {
            save.flag("suppl-groups");
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        let ranges = [self.user, self.group].into_iter().flatten();
        let mut reversed = ranges.filter(|range| range.value.0 > range.value.1);
        match reversed.next() {
            Some(Test { value: (first, last), .. }) => {
                let refusal = Refusal::table(format!("owner: {first}-{last} is nobody"));
                Err(refusal.hint(format!("{last}-{first}?")))
            }
            None => Ok(()),
        }
    }

    fn demands(&self) -> Demands {
        Demands::NONE.hooks(&[Hook::Output, Hook::Postrouting])
    }
}

/// `id[-id]`, or root: other names are this machine's affair.
fn range(given: &Given<'_>) -> Result<(u32, u32), Refusal> {
    if given.text == "root" {
        return Ok((0, 0));
    }
    let id = |text: &str| {
        let (value, rest) = number::prefix(text)?;
        let largest = u64::from(u32::MAX) - 1;
        (value <= largest).then_some((u32::try_from(value).ok()?, rest.len()))
    };
    let parse = || {
        let (first, left) = id(given.text)?;
        if left == 0 {
            return Some((first, first));
        }
        let rest = given.text.get(given.text.len() - left..)?;
        let (last, left) = id(rest.strip_prefix('-')?)?;
        (left == 0).then_some((first, last))
    };
    parse().ok_or_else(|| given.bad().hint("numbers, and `root`: other names are not resolved"))
}

impl Matching for Owner {
    /// If nothing is known, no process has sent the packet: so it is with what is forwarded, and
    /// with what this host answers. Then all that is asked must be asked with `!`.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let shared = view.context.shared().borrow();
        let told = shared.known.sender(view, Process::owner_words);
        let passes = self.owns(told.as_ref().and_then(|told| told.value));
        let words = told.map(|told| told.words);
        drop(shared);
        match words {
            Some(words) => view.context.give("owner", words),
            None => view.context.assume("owner"),
        }
        Ok(passes)
    }
}

impl Owner {
    fn owns(&self, process: Option<&Process>) -> bool {
        let Self { user, group, socket, supplementary } = self;
        let Some(process) = process else {
            return user.is_none_or(|user| user.inverted)
                && group.is_none_or(|group| group.inverted)
                && socket.is_none_or(|socket| socket.inverted);
        };
        let is_in = |(first, last): (u32, u32), id: u32| (first..=last).contains(&id);
        user.is_none_or(|user| user.passes(is_in(user.value, process.user)))
            && group.is_none_or(|group| {
                let others = process.groups.iter().filter(|_| *supplementary);
                let mut all = std::iter::once(&process.group).chain(others);
                group.passes(all.any(|id| is_in(group.value, *id)))
            })
            && socket.is_none_or(|socket| !socket.inverted)
    }
}
