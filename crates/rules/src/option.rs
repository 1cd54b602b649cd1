//! What every match and target says about its options, and how an option's value is read.
//!
//! An extension lists its options as [`OptionSpec`]s; the command's reader finds them, checks what
//! can be said about any option (once only, `!` allowed, in this order, as iptables does), and
//! hands a [`Given`] to the extension, which reads the value by the `Given`'s methods: one method
//! per kind of value that iptables knows. At the end of the rule, [`finished`] checks what must
//! stand together.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use stateward_wire::Family;

use crate::address::{self, Network};
use crate::diagnostic::Refuser;
use crate::rule::Header;
use crate::{number, protocol, services};

/// Why something is refused. The place is added by whoever knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) refuser: Refuser,
}

impl Refusal {
    /// A command that cannot be understood.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, refuser: Refuser::Language }
    }

    /// A command that the table or the kernel does not take.
    pub(crate) fn table(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, refuser: Refuser::Table }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// One long option of an extension.
#[derive(Debug)]
pub(crate) struct OptionSpec {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) argument: Argument,
    pub(crate) inversion: Inversion,
    pub(crate) repetition: Repetition,
    pub(crate) need: Need,
    /// Options that must not stand beside it.
    pub(crate) excludes: &'static [&'static str],
    /// Options that must.
    pub(crate) requires: &'static [&'static str],
}

/// Whether a word follows the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    None,
    Required,
}

/// Whether a `!` may stand before the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inversion {
    Refused,
    Allowed,
}

/// Whether the option may stand more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    Refused,
    Allowed,
}

/// Whether the option may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Optional,
    Mandatory,
}

impl OptionSpec {
    /// An option that a word follows.
    pub(crate) const fn value(name: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            argument: Argument::Required,
            inversion: Inversion::Refused,
            repetition: Repetition::Refused,
            need: Need::Optional,
            excludes: &[],
            requires: &[],
        }
    }

    /// An option that stands alone.
    pub(crate) const fn flag(name: &'static str) -> Self {
        Self { argument: Argument::None, ..Self::value(name) }
    }

    /// Other names of it.
    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// `!` may stand before it.
    pub(crate) const fn invertible(self) -> Self {
        Self { inversion: Inversion::Allowed, ..self }
    }

    /// It may stand more than once.
    pub(crate) const fn repeatable(self) -> Self {
        Self { repetition: Repetition::Allowed, ..self }
    }

    /// It must not be left out.
    pub(crate) const fn mandatory(self) -> Self {
        Self { need: Need::Mandatory, ..self }
    }

    /// None of `excludes` may stand beside it.
    pub(crate) const fn excludes(self, excludes: &'static [&'static str]) -> Self {
        Self { excludes, ..self }
    }

    /// All of `requires` must stand beside it.
    pub(crate) const fn requires(self, requires: &'static [&'static str]) -> Self {
        Self { requires, ..self }
    }
}

/// Which of an extension's options a rule has, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Vec<&'static str>);

impl Seen {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.contains(&option)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, option: &'static str) {
        if !self.has(option) {
            self.0.push(option);
        }
    }
}

/// An option as the rule gives it.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// The match or target.
    pub(crate) extension: &'static str,
    /// Its name, whichever alias or abbreviation was written.
    pub(crate) option: &'static str,
    /// The word behind it; empty for a flag.
    pub(crate) text: &'a str,
    /// `!` stood before it.
    pub(crate) inverted: bool,
    /// The rule's own fields as read so far.
    pub(crate) header: &'a Header,
    /// Which options of this extension stood before this one.
    pub(crate) seen: &'a Seen,
    /// The word after `text`.
    pub(crate) next: Option<&'a str>,
    /// The extension has used `next`.
    pub(crate) took_next: bool,
}

/// A value and the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The bits.
    pub value: u32,
    /// Which of them count.
    pub mask: u32,
}

impl Given<'_> {
    /// The family of the rules.
    pub(crate) fn family(&self) -> Family {
        self.header.family
    }

    /// A refusal of the value in iptables' usual form.
    pub(crate) fn bad(&self) -> Refusal {
        let Self { extension, option, text, .. } = self;
        Refusal::new(format!("{extension}: bad value `{text}` for `--{option}`"))
    }

    /// A number within `range`.
    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> Result<u64, Refusal> {
        let value = number::whole(self.text, *range.end());
        value.filter(|value| range.contains(value)).ok_or_else(|| {
            let (least, most) = range.into_inner();
            self.bad().hint(format!("a number from {least} to {most}"))
        })
    }

    /// A number of 8 bits.
    pub(crate) fn u8(&self) -> Result<u8, Refusal> {
        self.number(0..=u8::MAX.into()).map(|value| value as u8)
    }

    /// A number of 16 bits.
    pub(crate) fn u16(&self) -> Result<u16, Refusal> {
        self.number(0..=u16::MAX.into()).map(|value| value as u16)
    }

    /// A number of 32 bits.
    pub(crate) fn u32(&self) -> Result<u32, Refusal> {
        self.number(0..=u32::MAX.into()).map(|value| value as u32)
    }

    /// `a`, `a:b`, `a:`, `:b`, each up to `most`, as `a..=b`. Whether `a` may exceed `b` is the
    /// extension's.
    pub(crate) fn range(&self, most: u64) -> Result<(u64, u64), Refusal> {
        let mut values = [0, 0];
        let mut rest = self.text;
        let mut count = 0;
        loop {
            let Some(value) = values.get_mut(count) else {
                let refusal = self.bad();
                return Err(refusal.hint("a number, or two with a colon between them"));
            };
            if rest.is_empty() || rest.starts_with(':') {
                *value = if count == 0 { 0 } else { most };
            } else {
                let found = number::prefix(rest).filter(|(number, _)| *number <= most);
                let Some((number, after)) = found else {
                    return Err(self
                        .bad()
                        .hint(format!("near `{rest}`: a number from 0 to {most}")));
                };
                *value = number;
                rest = after;
            }
            count += 1;
            match rest.strip_prefix(':') {
                Some(after) => rest = after,
                None if rest.is_empty() => break,
                None => return Err(self.bad().hint(format!("`{rest}` is not part of a number"))),
            }
        }
        let [first, second] = values;
        Ok((first, if count == 1 { first } else { second }))
    }

    /// `value[/mask]` of 32 bits; without a mask all bits count.
    pub(crate) fn masked(&self) -> Result<Masked, Refusal> {
        let masked = || {
            let (value, rest) = number::prefix(self.text)?;
            let value = u32::try_from(value).ok()?;
            match rest.strip_prefix('/') {
                Some(mask) => {
                    let mask = number::whole(mask, u32::MAX.into())?;
                    Some(Masked { value, mask: u32::try_from(mask).ok()? })
                }
                None => rest.is_empty().then_some(Masked { value, mask: u32::MAX }),
            }
        };
        let hint = "a number of 32 bits, and perhaps a slash and a mask of 32 bits";
        masked().ok_or_else(|| self.bad().hint(hint))
    }

    /// A port by number or name.
    pub(crate) fn port(&self) -> Result<u16, Refusal> {
        services::port(self.text).ok_or_else(|| services::unknown(self.text))
    }

    /// `port[:port]` by number or name; without a first it is 0, without a last 65535.
    pub(crate) fn ports(&self) -> Result<(u16, u16), Refusal> {
        let port = |text: &str, open: u16| match text {
            "" => Ok(open),
            text => services::port(text).ok_or_else(|| services::unknown(text)),
        };
        match self.text.split_once(':') {
            Some((first, last)) => Ok((port(first, 0)?, port(last, u16::MAX)?)),
            None => self.port().map(|port| (port, port)),
        }
    }

    /// A protocol by number or name.
    pub(crate) fn protocol(&self) -> Result<u8, Refusal> {
        protocol::parse(self.text)
    }

    /// An address in digits.
    pub(crate) fn host(&self) -> Result<IpAddr, Refusal> {
        self.host_of(self.text)
    }

    /// `address[/mask]`, of which the address keeps the bits outside of the mask.
    pub(crate) fn host_mask(&self) -> Result<Network, Refusal> {
        let (host, length) = match self.text.split_once('/') {
            Some((host, length)) => (host, Some(length)),
            None => (self.text, None),
        };
        let whole = address::mask(self.family(), 128);
        let address = self.host_of(host)?;
        let mask = length.map(|length| self.mask_of(length)).transpose()?.unwrap_or(whole);
        Ok(Network { address, mask })
    }

    /// A mask as a length or as an address.
    pub(crate) fn mask(&self) -> Result<IpAddr, Refusal> {
        self.mask_of(self.text)
    }

    /// For IPv4 no length is too long here: all beyond 32 mean the whole address.
    fn mask_of(&self, text: &str) -> Result<IpAddr, Refusal> {
        let is_v4 = self.family() == Family::V4;
        let beyond = || number::whole(text, u32::MAX.into()).filter(|_| is_v4);
        let beyond = || beyond().map(|_| address::mask(self.family(), 128));
        let mask = address::written_mask(self.family(), text).or_else(beyond);
        mask.ok_or_else(|| self.bad().hint(format!("`{text}` is no mask")))
    }

    fn host_of(&self, text: &str) -> Result<IpAddr, Refusal> {
        address::resolved(self.family(), text)
    }

    /// A string of which iptables keeps the first `room` bytes, whole characters only.
    pub(crate) fn cut(&self, room: usize) -> String {
        let mut end = self.text.len().min(room);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(..end).unwrap_or_default().to_owned()
    }

    /// The word after the option's value, which then belongs to it. An option is none.
    pub(crate) fn second(&mut self) -> Option<&str> {
        let next = self.next.filter(|next| !next.starts_with(['-', '!']))?;
        self.took_next = true;
        Some(next)
    }
}

/// Checks what can be said about any option before its value is read.
pub(crate) fn admitted(
    extension: &str,
    option: &OptionSpec,
    seen: &Seen,
    inverted: bool,
) -> Result<(), Refusal> {
    let name = option.name;
    if option.repetition == Repetition::Refused && seen.has(name) {
        let message = format!("{extension}: `--{name}` can only be used once");
        return Err(Refusal::new(message));
    }
    if option.inversion == Inversion::Refused && inverted {
        let message = format!("{extension}: `--{name}` cannot be inverted");
        return Err(Refusal::new(message).hint("no `!` before this option"));
    }
    Ok(())
}

/// Checks at the end of the rule which options are missing or cannot stand together.
pub(crate) fn finished(
    extension: &str,
    options: &[OptionSpec],
    seen: &Seen,
) -> Result<(), Refusal> {
    for option in options {
        let name = option.name;
        if option.need == Need::Mandatory && !seen.has(name) {
            return Err(Refusal::new(format!("{extension}: `--{name}` must be given")));
        }
        if !seen.has(name) {
            continue;
        }
        for other in options.iter().map(|other| other.name).filter(|other| *other != name) {
            if option.requires.contains(&other) && !seen.has(other) {
                let message = format!("{extension}: `--{name}` also needs `--{other}`");
                return Err(Refusal::new(message));
            }
            if option.excludes.contains(&other) && seen.has(other) {
                let message = format!("{extension}: not `--{name}` and `--{other}` at once");
                return Err(Refusal::new(message));
            }
        }
    }
    Ok(())
}
