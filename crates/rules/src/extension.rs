//! What a match or a target is to the rest of the crate, and the macro that makes one enum of all
//! of them.

use stateward_wire::Family;

use crate::matches::Match;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// A match or a target while it is read and when it is printed.
///
/// Beside this an extension has, as constants of its own, `NAMES` (what stands behind `-m` or `-j`;
/// the first is what is printed), `FAMILIES`, and a function `begin` that makes it before its
/// options are read.
pub(crate) trait Extension {
    /// Its options.
    fn options(&self) -> &'static [OptionSpec];

    /// One option, already admitted.
    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal>;

    /// The end of the rule: what must stand together beyond what the options themselves say.
    fn finish(&mut self, _seen: &Seen, _header: &Header) -> Result<(), Refusal> {
        Ok(())
    }

    /// The options as iptables-save prints them.
    fn save(&self, save: &mut Save);

    /// Where the kernel takes it.
    fn demands(&self) -> Demands {
        Demands::NONE
    }

    /// What else the kernel refuses, said without an end of sentence.
    fn accepted(&self, _place: &Place<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Where the kernel takes an extension. An empty list is everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    pub(crate) tables: &'static [TableName],
    pub(crate) hooks: &'static [Hook],
    pub(crate) protocols: &'static [u8],
}

impl Demands {
    pub(crate) const NONE: Self = Self { tables: &[], hooks: &[], protocols: &[] };

    /// Only with `-p` and one of these.
    pub(crate) const fn protocols(protocols: &'static [u8]) -> Self {
        Self { protocols, ..Self::NONE }
    }

    /// Only in these tables.
    pub(crate) const fn tables(tables: &'static [TableName]) -> Self {
        Self { tables, ..Self::NONE }
    }

    /// Only where these hooks lead.
    pub(crate) const fn hooks(self, hooks: &'static [Hook]) -> Self {
        Self { hooks, ..self }
    }
}

/// Where a rule stands when the kernel is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) table: TableName,
    /// The hooks from which packets come here; none if nothing leads here.
    pub(crate) hooks: &'a [Hook],
    pub(crate) header: &'a Header,
    pub(crate) matches: &'a [Match],
}

/// Both families.
pub(crate) const BOTH: &[Family] = &[Family::V4, Family::V6];
/// IPv4 only.
pub(crate) const V4: &[Family] = &[Family::V4];
/// IPv6 only.
pub(crate) const V6: &[Family] = &[Family::V6];

/// An enum of all matches or all targets.
macro_rules! extensions {
    ($(#[$doc:meta])* $all:ident at $work:path { $($(#[$what:meta])* $variant:ident($extension:ty),)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $all {
            $($(#[$what])* $variant($extension),)+
        }

        impl $all {
            /// What is called `name` in the rules of `family`, before its options are read.
            pub(crate) fn begin(name: &str, family: stateward_wire::Family) -> Option<Self> {
                $(if <$extension>::NAMES.contains(&name) && <$extension>::FAMILIES.contains(&family) {
                    return Some(Self::$variant(<$extension>::begin(family)));
                })+
                None
            }

            /// The names of all that there are for `family`.
            pub(crate) fn known(family: stateward_wire::Family) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if <$extension>::FAMILIES.contains(&family) {
                    names.extend(<$extension>::NAMES);
                })+
                names
            }

            /// Its name as it is printed.
            pub fn name(&self) -> &'static str {
                let names = match self {
                    $(Self::$variant(_) => <$extension>::NAMES,)+
                };
                names.first().copied().unwrap_or_default()
            }

            fn extension(&self) -> &dyn crate::extension::Extension {
                match self {
                    $(Self::$variant(extension) => extension,)+
                }
            }

            /// What it does to packets.
            pub(crate) fn work(&self) -> Box<dyn $work> {
                match self {
                    $(Self::$variant(extension) => Box::new(extension.clone()),)+
                }
            }

            fn extension_mut(&mut self) -> &mut dyn crate::extension::Extension {
                match self {
                    $(Self::$variant(extension) => extension,)+
                }
            }

            pub(crate) fn options(&self) -> &'static [crate::option::OptionSpec] {
                self.extension().options()
            }

            pub(crate) fn set(
                &mut self,
                given: &mut crate::option::Given<'_>,
            ) -> Result<(), crate::option::Refusal> {
                self.extension_mut().set(given)
            }

            pub(crate) fn finish(
                &mut self,
                seen: &crate::option::Seen,
                header: &crate::rule::Header,
            ) -> Result<(), crate::option::Refusal> {
                self.extension_mut().finish(seen, header)
            }

            pub(crate) fn save(&self, save: &mut crate::save::Save) {
                self.extension().save(save);
            }

            pub(crate) fn demands(&self) -> crate::extension::Demands {
                self.extension().demands()
            }

            pub(crate) fn accepted(
                &self,
                place: &crate::extension::Place<'_>,
            ) -> Result<(), crate::option::Refusal> {
                self.extension().accepted(place)
            }
        }
    };
}
pub(crate) use extensions;
