//! iptables' own options: what each letter does to the command that is read.

use stateward_wire::Family;

use super::hints::nearest;
use super::{Named, Next, State, Style, Way, What};
use crate::matches::Match;
use crate::option::Refusal;
use crate::rule::{Counters, Interface, Test, Verdict};
use crate::targets::Extension;
use crate::{number, protocol};

impl<'a> State<'a> {
    pub(super) fn base(&mut self, letter: char, value: Option<&'a str>) -> Result<Next, Refusal> {
        // iptables 1.8.9 takes the whole word that was read last, so that `-ptcp`, `-jACCEPT` and
        // `--source=1.2.3.4` mean something else than they say, and are refused for it.
        let whole = matches!(letter, 'p' | 's' | 'd' | 'i' | 'o' | 'j');
        let text = if whole { self.reader.last() } else { value.unwrap_or_default() };
        self.value = self.reader.position().saturating_sub(1);
        match letter {
            'A' | 'C' | 'D' | 'E' | 'F' | 'I' | 'L' | 'N' | 'P' | 'R' | 'S' | 'X' | 'Z' => {
                self.command(letter, value)?;
            }
            'p' => self.protocol(text)?,
            's' => {
                self.once('s', &mut |state| &mut state.header.source.inverted)?;
                self.source = Some((self.value, text));
            }
            'd' => {
                self.once('d', &mut |state| &mut state.header.destination.inverted)?;
                self.destination = Some((self.value, text));
            }
            'i' | 'o' => self.interface(letter, text)?,
            'f' => self.fragment()?,
            'j' | 'g' => self.jump(letter, text)?,
            'm' => self.matching(text)?,
            'c' => self.counters(text)?,
            'n' | 'x' | '0' => self.plain(letter)?,
            't' => self.table(text)?,
            'v' | 'M' => {}
            'w' | 'W' => self.wait(letter)?,
            '4' if self.header.family == Family::V6 => return Ok(Next::Ignored),
            '6' if self.header.family == Family::V4 => return Ok(Next::Ignored),
            'h' | 'V' => return Ok(Next::Ignored),
            _ => {}
        }
        Ok(Next::Option)
    }

    /// Marks an option that may stand once and may be inverted.
    fn once(
        &mut self,
        letter: char,
        inverted: &mut dyn FnMut(&mut Self) -> &mut bool,
    ) -> Result<(), Refusal> {
        self.mark(letter)?;
        let value = self.inverted;
        *inverted(self) = value;
        Ok(())
    }

    fn mark(&mut self, letter: char) -> Result<(), Refusal> {
        if self.given.iter().any(|(given, _)| *given == letter) {
            return Err(Refusal::new(format!("more than one `-{letter}`")));
        }
        self.given.push((letter, self.begin));
        Ok(())
    }

    /// An option that may stand once and not be inverted.
    fn plain(&mut self, letter: char) -> Result<(), Refusal> {
        self.mark(letter)?;
        match self.inverted {
            true => Err(Refusal::new(format!("no `!` before `-{letter}`"))),
            false => Ok(()),
        }
    }

    fn command(&mut self, letter: char, value: Option<&str>) -> Result<(), Refusal> {
        if letter == 'N' {
            chain_name(value.unwrap_or_default(), self.header.family)?;
        }
        if self.inverted {
            return Err(Refusal::new(format!("no `!` before `-{letter}`")));
        }
        if let Some(first) = self.command {
            let together = matches!((letter, first), ('L' | 'S', 'Z') | ('Z', 'L' | 'S'));
            if !together {
                return Err(Refusal::new(format!("not `-{first}` and `-{letter}` in one command")));
            }
        }
        self.command = Some(letter);
        self.chain = value.map(str::to_owned);
        if value.is_none() {
            self.chain = self.reader.argument().map(str::to_owned);
        }
        match letter {
            'D' => self.number = self.rule_number()?,
            'L' | 'S' | 'Z' if self.chain.is_some() => self.number = self.rule_number()?,
            'I' => self.number = Some(self.rule_number()?.unwrap_or(1)),
            'R' => {
                self.number = self.rule_number()?;
                if self.number.is_none() {
                    return Err(Refusal::new("`-R` needs the number of a rule"));
                }
            }
            'E' | 'P' => {
                self.second = self.reader.argument().map(str::to_owned);
                if self.second.is_none() {
                    return Err(Refusal::new(match letter {
                        'E' => "`-E` needs an old and a new name",
                        _ => "`-P` needs a chain and a policy",
                    }));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rule_number(&mut self) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.reader.argument() else { return Ok(None) };
        let value =
            number::whole(text, u32::MAX.into()).and_then(|value| u32::try_from(value).ok());
        match value {
            Some(number) if number > 0 => Ok(Some(number)),
            _ => {
                Err(Refusal::new(format!("invalid rule number `{text}`"))
                    .hint("rules count from 1"))
            }
        }
    }

    fn protocol(&mut self, text: &str) -> Result<(), Refusal> {
        self.once('p', &mut |state| &mut state.header.protocol.inverted)?;
        self.begin = self.value;
        let text = text.to_lowercase();
        let value = protocol::parse(&text)?;
        if value == 0 && self.header.protocol.inverted {
            return Err(Refusal::new("`! -p all` would match nothing"));
        }
        self.header.protocol.value = value;
        self.protocol = Some(text);
        Ok(())
    }

    fn interface(&mut self, letter: char, text: &str) -> Result<(), Refusal> {
        if text.is_empty() {
            return Err(
                Refusal::new("an empty interface name").hint("leave the option out for any")
            );
        }
        self.mark(letter)?;
        self.begin = self.value;
        let name = text;
        if name.len() > 15 {
            let message = format!("interface name `{name}` is longer than 15 bytes");
            return Err(Refusal::new(message));
        }
        let test = Test { value: Interface::new(name), inverted: self.inverted };
        match letter {
            'i' => self.header.input = Some(test),
            _ => self.header.output = Some(test),
        }
        Ok(())
    }

    fn fragment(&mut self) -> Result<(), Refusal> {
        if self.header.family == Family::V6 {
            return Err(Refusal::new("`-f` is not for IPv6").hint("use `-m frag` instead"));
        }
        self.mark('f')?;
        self.header.fragment = Some(Test { value: (), inverted: self.inverted });
        Ok(())
    }

    fn jump(&mut self, letter: char, text: &str) -> Result<(), Refusal> {
        self.plain('j')?;
        let option = std::mem::replace(&mut self.begin, self.value);
        let refusal = |message: String| Err(Refusal::new(message));
        if text.is_empty() {
            return refusal("the target's name is empty".to_owned());
        }
        if text.len() > 28 {
            return refusal(format!("target name `{text}` is longer than 28 bytes"));
        }
        if text.contains(|c: char| matches!(c, ' ' | '\t'..='\r')) {
            let shown = text.escape_debug();
            let refusal = Refusal::new(format!("invalid target name `{shown}`"));
            return Err(match text.ends_with('\r') {
                true => {
                    refusal.hint("the file has line ends of Windows: take the carriage returns out")
                }
                false => refusal,
            });
        }
        let way = if letter == 'g' { Way::Goto } else { Way::Jump };
        let word = self.value;
        let is_known = way == Way::Goto || Verdict::from_word(text).is_some();
        if !is_known
            && !(self.is_chain)(text)
            && let Some(extension) = Extension::begin(text, self.header.family)
        {
            self.push(option, What::Target(extension));
        }
        self.target = Some(Named { name: text.to_owned(), way, extension: None, word });
        Ok(())
    }

    fn matching(&mut self, text: &str) -> Result<(), Refusal> {
        if self.inverted {
            let refusal = Refusal::new("no `!` before `-m`");
            return Err(refusal.hint("write it before the match's option"));
        }
        let option = std::mem::replace(&mut self.begin, self.value);
        let Some(one) = Match::begin(text, self.header.family) else {
            let refusal = Refusal::new(format!("no match is called `{text}`"));
            let other = match self.header.family {
                Family::V4 => Family::V6,
                Family::V6 => Family::V4,
            };
            return Err(match Match::begin(text, other) {
                Some(_) if other == Family::V4 => refusal.hint("it exists for IPv4 only"),
                Some(_) => refusal.hint("it exists for IPv6 only"),
                None if Extension::begin(text, self.header.family).is_some() => {
                    refusal.hint(format!("it is a target: `-j {text}`"))
                }
                None => match nearest(text, &Match::known(self.header.family)) {
                    Some(name) => refusal.hint(format!("`-m {name}`?")),
                    None => refusal,
                },
            });
        };
        self.push(option, What::Match(one));
        Ok(())
    }

    fn counters(&mut self, text: &str) -> Result<(), Refusal> {
        self.plain('c')?;
        let bytes = match text.split_once(',') {
            Some((_, bytes)) => Some(bytes),
            None => self.reader.argument(),
        };
        let bytes = bytes.ok_or_else(|| Refusal::new("`-c` needs packets and bytes"))?;
        let number = |text: &str, what: &str| {
            let parsed = scan_u64(text);
            parsed.ok_or_else(|| Refusal::new(format!("`-c`: `{text}` is no number of {what}")))
        };
        let packets = number(text, "packets")?;
        self.counters = Some(Counters { packets, bytes: number(bytes, "bytes")? });
        Ok(())
    }

    fn table(&mut self, text: &str) -> Result<(), Refusal> {
        if self.style == Style::Restore {
            let refusal = Refusal::new("`-t` cannot be used between `*TABLE` and `COMMIT`");
            return Err(refusal.hint("the table is the one that the line with `*` names"));
        }
        if self.inverted {
            return Err(Refusal::new("no `!` before `-t`"));
        }
        self.table = Some(text.to_owned());
        Ok(())
    }

    fn wait(&mut self, letter: char) -> Result<(), Refusal> {
        if self.style == Style::Restore {
            return Err(Refusal::new(format!("`-{letter}` cannot be used in a file of rules")));
        }
        // Seconds or microseconds: nothing here waits for a lock.
        _ = self.reader.argument();
        Ok(())
    }
}

/// The target that plain verdicts are of: chains cannot be called so either.
const RESERVED: &str = "standard";
/// Targets that Linux has no longer: chains may be called so.
const FREE: &[&str] = &["CLUSTERIP", "ULOG"];

/// Whether a user's chain may be called so.
fn chain_name(name: &str, family: Family) -> Result<(), Refusal> {
    if let Some(first @ ('-' | '!')) = name.chars().next() {
        return Err(Refusal::new(format!("a chain's name cannot begin with `{first}`")));
    }
    let taken = Verdict::from_word(name).is_some()
        || (Extension::begin(name, family).is_some() && !FREE.contains(&name))
        || name == RESERVED;
    if taken {
        return Err(Refusal::new(format!("`{name}` is the name of a target, not of a chain")));
    }
    match name.find(|c: char| matches!(c, ' ' | '\t'..='\r')) {
        Some(_) => Err(Refusal::new(format!("invalid chain name `{name}`"))),
        None => Ok(()),
    }
}

/// As `scanf` reads a number: decimal digits after blanks, whatever follows.
fn scan_u64(text: &str) -> Option<u64> {
    let body = text.trim_start();
    let body = body.strip_prefix('+').unwrap_or(body);
    let end = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let digits = body.get(..end).filter(|digits| !digits.is_empty())?;
    Some(digits.parse().unwrap_or(u64::MAX))
}
