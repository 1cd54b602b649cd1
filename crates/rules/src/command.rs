//! One iptables command: what to do with which chain, and the rule it is about. The same reader serves the
//! lines of iptables-restore and the commands of a shell script; they differ in [`Style`] only.
//!
//! The order of the checks is iptables': options from left to right as they are read, then what the
//! matches and the target want to have together, then the command, then addresses, then what the command
//! admits. The first refusal ends the command.

use stateward_wire::Family;

use crate::address::{self, Network};
use crate::getopt::{Reader, Step};
use crate::matches::Match;
use crate::option::{self, Given, OptionSpec, Refusal, Seen};
use crate::rule::{Counters, Header, Interface, Test, Verdict};
use crate::targets::Extension;
use crate::{number, protocol};

/// Where commands come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A line between `*table` and `COMMIT`.
    Restore,
    /// An `iptables` command.
    Shell,
}

/// A command that is understood.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// Only for [`Style::Shell`].
    pub(crate) table: Option<String>,
    pub(crate) action: Action,
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Append(String, Draft),
    /// At a place from 1.
    Insert(String, u32, Draft),
    Replace(String, u32, Draft),
    Delete(String, Draft),
    Check(String, Draft),
    DeleteNumber(String, u32),
    NewChain(String),
    DeleteChain(Option<String>),
    Flush(Option<String>),
    Zero(Option<String>, Option<u32>),
    Policy {
        chain: String,
        policy: String,
        counters: Option<Counters>,
    },
    Rename {
        old: String,
        new: String,
    },
    /// `-L` and `-S` only look.
    List(Option<String>),
    /// Something that changes nothing.
    Nothing,
}

/// A rule before its addresses are multiplied and its target is known to be a chain or not.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) sources: Vec<Network>,
    pub(crate) destinations: Vec<Network>,
    pub(crate) matches: Vec<Match>,
    /// Behind `-j` or `-g`.
    pub(crate) target: Option<Named>,
    pub(crate) counters: Option<Counters>,
}

/// The name behind `-j` or `-g`.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) way: Way,
    /// The extension of that name, its options read.
    pub(crate) extension: Option<Extension>,
    /// The word that holds the name.
    pub(crate) word: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Jump,
    Goto,
}

/// Why a command is refused, and at which word.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) word: usize,
    pub(crate) refusal: Refusal,
}

/// Reads one command. `is_chain` says which names are chains of the table: these are no targets.
pub(crate) fn parse(
    family: Family,
    style: Style,
    is_chain: &dyn Fn(&str) -> bool,
    words: &[&str],
) -> Result<Command, Refused> {
    let mut state = State {
        style,
        is_chain,
        reader: Reader::new(words, family == Family::V4),
        inverted: false,
        given: Vec::new(),
        command: None,
        chain: None,
        number: None,
        second: None,
        table: None,
        header: Header::any(family),
        source: None,
        destination: None,
        loaded: Vec::new(),
        target: None,
        protocol: None,
        protocol_tried: false,
        counters: None,
        begin: 0,
    };
    match state.read() {
        Ok(Some(command)) => Ok(command),
        Ok(None) => Ok(Command { table: None, action: Action::Nothing }),
        Err(refusal) => Err(Refused { word: state.begin, refusal }),
    }
}

/// A match or target whose options are being read.
struct Loaded {
    what: What,
    seen: Seen,
}

enum What {
    Match(Match),
    Target(Extension),
}

impl Loaded {
    fn name(&self) -> &'static str {
        match &self.what {
            What::Match(one) => one.name(),
            What::Target(one) => one.name(),
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        match &self.what {
            What::Match(one) => one.options(),
            What::Target(one) => one.options(),
        }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match &mut self.what {
            What::Match(one) => one.set(given),
            What::Target(one) => one.set(given),
        }
    }

    fn finish(&mut self, header: &Header) -> Result<(), Refusal> {
        match &mut self.what {
            What::Match(one) => one.finish(&self.seen, header)?,
            What::Target(one) => one.finish(&self.seen, header)?,
        }
        option::finished(self.name(), self.options(), &self.seen)
    }
}

struct State<'a> {
    style: Style,
    is_chain: &'a dyn Fn(&str) -> bool,
    reader: Reader<'a>,
    /// A `!` waits for its option.
    inverted: bool,
    /// Letters of options that may stand once.
    given: Vec<char>,
    command: Option<char>,
    chain: Option<String>,
    number: Option<u32>,
    /// The policy or the new name.
    second: Option<String>,
    table: Option<String>,
    header: Header,
    source: Option<(usize, &'a str)>,
    destination: Option<(usize, &'a str)>,
    loaded: Vec<Loaded>,
    target: Option<Named>,
    /// As written behind `-p`, and whether its match was loaded for an option.
    protocol: Option<String>,
    protocol_tried: bool,
    counters: Option<Counters>,
    /// The word at which the step began: what a refusal shows.
    begin: usize,
}

/// Whether to go on reading.
enum Next {
    Option,
    /// The line is for the other family, or only asks for help.
    Ignored,
}

impl<'a> State<'a> {
    fn read(&mut self) -> Result<Option<Command>, Refusal> {
        loop {
            self.begin = self.reader.position();
            let step = self.reader.step();
            let next = match step {
                Step::End => break,
                Step::Word("!") => {
                    if self.inverted {
                        return Err(Refusal::new("two `!` one after the other"));
                    }
                    self.inverted = true;
                    continue;
                }
                Step::Word(word) => return Err(self.stray(word)),
                Step::Base { letter, value } => self.base(letter, value)?,
                Step::Extension { owner, option, value } => {
                    self.extension(owner, option, value.unwrap_or_default())?;
                    Next::Option
                }
                Step::Unknown | Step::NoArgument => {
                    if self.load_protocol() {
                        continue;
                    }
                    return Err(self.unknown(step));
                }
            };
            if matches!(next, Next::Ignored) {
                return Ok(None);
            }
            self.inverted = false;
        }
        self.finish().map(Some)
    }

    fn stray(&self, word: &str) -> Refusal {
        let refusal = Refusal::new(format!("`{word}` belongs to no option"));
        let before = self.begin.checked_sub(1);
        match before {
            Some(_)
                if self.source.is_some_and(|(_, text)| text == "!")
                    || self.destination.is_some_and(|(_, text)| text == "!")
                    || self.reader_before_is_negation() =>
            {
                refusal.hint("write the `!` before the option")
            }
            _ if word.starts_with('*') => refusal.hint("a table ends with a line COMMIT"),
            _ if word.trim_end() == "COMMIT" => {
                refusal.hint("a line that is COMMIT and nothing else, with an end of line")
            }
            _ if word.starts_with(['–', '—']) => {
                refusal.hint("this is a dash: write `-` or `--`")
            }
            _ => refusal,
        }
    }

    fn reader_before_is_negation(&self) -> bool {
        let interfaces = [&self.header.input, &self.header.output];
        interfaces.into_iter().flatten().any(|test| test.value.covers("!"))
    }

    /// Loads the match of the protocol behind `-p` if its options may be what is meant.
    fn load_protocol(&mut self) -> bool {
        let Some(written) = self.protocol.as_deref().filter(|_| !self.protocol_tried) else {
            return false;
        };
        let name = match number::whole(written, 255).and_then(|number| u8::try_from(number).ok()) {
            Some(number) => protocol::name(number).unwrap_or_default(),
            None => written,
        };
        let Some(one) = Match::begin(name, self.header.family) else { return false };
        self.protocol_tried = true;
        self.push(What::Match(one));
        self.reader.again(self.begin);
        true
    }

    fn push(&mut self, what: What) {
        let loaded = Loaded { what, seen: Seen::default() };
        self.reader.load(self.loaded.len(), loaded.options());
        self.loaded.push(loaded);
    }

    fn unknown(&self, step: Step<'_>) -> Refusal {
        let word = self.reader.last();
        if matches!(step, Step::NoArgument) {
            return Refusal::new(format!("`{word}` needs a word behind it"));
        }
        let refusal = Refusal::new(format!("unknown option `{word}`"));
        let name = word.trim_start_matches('-');
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        match hint_for(name, &self.header) {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }

    fn extension(
        &mut self,
        owner: usize,
        option: &'static OptionSpec,
        text: &str,
    ) -> Result<(), Refusal> {
        let inverted = self.inverted;
        let next = self.reader.peek();
        let Some(loaded) = self.loaded.get_mut(owner) else { return Ok(()) };
        let extension = loaded.name();
        option::admitted(extension, option, &loaded.seen, inverted)?;
        let seen = loaded.seen.clone();
        let mut given = Given {
            extension,
            option: option.name,
            text,
            inverted,
            header: &self.header,
            seen: &seen,
            next,
            took_next: false,
        };
        loaded.set(&mut given)?;
        if given.took_next {
            self.reader.skip();
        }
        loaded.seen.insert(option.name);
        Ok(())
    }

    fn base(&mut self, letter: char, value: Option<&'a str>) -> Result<Next, Refusal> {
        // iptables 1.8.9 takes the whole word that was read last, so that `-ptcp`, `-jACCEPT` and
        // `--source=1.2.3.4` mean something else than they say, and are refused for it.
        let whole = matches!(letter, 'p' | 's' | 'd' | 'i' | 'o' | 'j');
        let text = if whole { self.reader.last() } else { value.unwrap_or_default() };
        match letter {
            'A' | 'C' | 'D' | 'E' | 'F' | 'I' | 'L' | 'N' | 'P' | 'R' | 'S' | 'X' | 'Z' => {
                self.command(letter, value)?;
            }
            'p' => self.protocol(text)?,
            's' => {
                self.once('s', &mut |state| &mut state.header.source.inverted)?;
                self.source = Some((self.reader.position().saturating_sub(1), text));
            }
            'd' => {
                self.once('d', &mut |state| &mut state.header.destination.inverted)?;
                self.destination = Some((self.reader.position().saturating_sub(1), text));
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
        if self.given.contains(&letter) {
            return Err(Refusal::new(format!("more than one `-{letter}`")));
        }
        self.given.push(letter);
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
        let name = text;
        if name.len() > 15 {
            let message = format!("interface name `{name}` is longer than 15 bytes");
            return Err(Refusal::new(message));
        }
        let test = Test { value: Interface::new(name), inverted: self.inverted };
        // A lone `+` has nothing to compare, and a `!` before it is lost as well.
        let test = (name != "+").then_some(test);
        match letter {
            'i' => self.header.input = test,
            _ => self.header.output = test,
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
        let word = self.reader.position().saturating_sub(1);
        let is_known = way == Way::Goto || Verdict::from_word(text).is_some();
        if !is_known
            && !(self.is_chain)(text)
            && let Some(extension) = Extension::begin(text, self.header.family)
        {
            self.push(What::Target(extension));
        }
        self.target = Some(Named { name: text.to_owned(), way, extension: None, word });
        Ok(())
    }

    fn matching(&mut self, text: &str) -> Result<(), Refusal> {
        if self.inverted {
            let refusal = Refusal::new("no `!` before `-m`");
            return Err(refusal.hint("write it before the match's option"));
        }
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
                None => refusal,
            });
        };
        self.push(What::Match(one));
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

    fn finish(&mut self) -> Result<Command, Refusal> {
        for loaded in matches_first(&mut self.loaded) {
            loaded.finish(&self.header)?;
        }
        self.begin = self.reader.position();
        if !self.reader.is_done() {
            return Err(Refusal::new("words after the end of the options"));
        }
        self.begin = 0;
        let Some(command) = self.command else {
            let refusal = Refusal::new("no command");
            return Err(refusal.hint("which chain? begin with `-A CHAIN`"));
        };
        if self.inverted {
            return Err(Refusal::new("nothing follows the `!`"));
        }
        let (sources, destinations) = self.addresses()?;
        if command == 'R' && (sources.len() != 1 || destinations.len() != 1) {
            return Err(Refusal::new("`-R` takes one source and one destination"));
        }
        self.admitted(command)?;
        let chain = self.chain.clone().unwrap_or_default();
        if chain.len() > 28 {
            return Err(Refusal::new(format!("chain name `{chain}` is longer than 28 bytes")));
        }
        self.directions(command, &chain)?;
        let draft = self.draft(sources, destinations);
        let number = self.number.unwrap_or(1);
        let second = self.second.take().unwrap_or_default();
        let whole = self.chain.take();
        let action = match command {
            'A' => Action::Append(chain, draft),
            'C' => Action::Check(chain, draft),
            'I' => Action::Insert(chain, number, draft),
            'R' => Action::Replace(chain, number, draft),
            'D' if self.number.is_some() => Action::DeleteNumber(chain, number),
            'D' => Action::Delete(chain, draft),
            'N' => Action::NewChain(chain),
            'X' => Action::DeleteChain(whole),
            'F' => Action::Flush(whole),
            'Z' => Action::Zero(whole, self.number),
            'P' => Action::Policy { chain, policy: second, counters: self.counters },
            'E' => Action::Rename { old: chain, new: second },
            'L' | 'S' => Action::List(whole),
            _ => Action::Nothing,
        };
        Ok(Command { table: self.table.take(), action })
    }

    fn draft(&mut self, sources: Vec<Network>, destinations: Vec<Network>) -> Draft {
        let mut matches = Vec::new();
        let mut target = self.target.take();
        for loaded in self.loaded.drain(..) {
            match (loaded.what, &mut target) {
                (What::Match(one), _) => matches.push(one),
                (What::Target(one), Some(target)) => target.extension = Some(one),
                (What::Target(_), None) => {}
            }
        }
        let header = self.header.clone();
        Draft { header, sources, destinations, matches, target, counters: self.counters }
    }

    fn addresses(&mut self) -> Result<(Vec<Network>, Vec<Network>), Refusal> {
        let family = self.header.family;
        let mut networks = |given: Option<(usize, &str)>| match given {
            Some((word, text)) => {
                self.begin = word;
                address::networks(family, text)
            }
            None => Ok(vec![Network::any(family)]),
        };
        let sources = networks(self.source)?;
        let destinations = networks(self.destination)?;
        self.begin = 0;
        let several = sources.len() > 1 || destinations.len() > 1;
        if several && (self.header.source.inverted || self.header.destination.inverted) {
            let message = "`!` cannot stand before one of several addresses";
            return Err(Refusal::new(message).hint("one rule for each, or an ipset"));
        }
        Ok((sources, destinations))
    }

    /// Which options the command admits.
    fn admitted(&self, command: char) -> Result<(), Refusal> {
        let admitted: &[char] = match command {
            'A' | 'D' | 'C' | 'I' | 'R' if !(command == 'D' && self.number.is_some()) => {
                let counted = matches!(command, 'A' | 'I' | 'R');
                if counted {
                    &['s', 'd', 'p', 'j', 'i', 'o', 'f', 'c']
                } else {
                    &['s', 'd', 'p', 'j', 'i', 'o', 'f']
                }
            }
            'L' => &['n', 'x', '0'],
            'P' => &['c'],
            _ => &[],
        };
        match self.given.iter().find(|letter| !admitted.contains(letter)) {
            Some(letter) => {
                let letter =
                    if *letter == '0' { "-line-numbers".into() } else { letter.to_string() };
                Err(Refusal::new(format!("`-{letter}` does not go with `-{command}`")))
            }
            None => Ok(()),
        }
    }

    /// A built-in chain knows only one interface.
    fn directions(&self, command: char, chain: &str) -> Result<(), Refusal> {
        if !matches!(command, 'A' | 'D' | 'I' | 'R' | 'C') {
            return Ok(());
        }
        let (letter, hint) = match chain {
            "PREROUTING" | "INPUT" => ('o', "where it leaves is not known in this chain"),
            "POSTROUTING" | "OUTPUT" => ('i', "where it came in is not known in this chain"),
            _ => return Ok(()),
        };
        match self.given.contains(&letter) {
            true => Err(Refusal::new(format!("`-{letter}` cannot be used in {chain}")).hint(hint)),
            false => Ok(()),
        }
    }
}

/// Matches in their order, then the target.
fn matches_first(loaded: &mut [Loaded]) -> impl Iterator<Item = &mut Loaded> {
    let mut all: Vec<_> = loaded.iter_mut().collect();
    all.sort_by_key(|one| matches!(one.what, What::Target(_)));
    all.into_iter()
}

/// Whether a user's chain may be called so.
fn chain_name(name: &str, family: Family) -> Result<(), Refusal> {
    if let Some(first @ ('-' | '!')) = name.chars().next() {
        return Err(Refusal::new(format!("a chain's name cannot begin with `{first}`")));
    }
    let taken = Verdict::from_word(name).is_some() || Extension::begin(name, family).is_some();
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

/// What was meant by an option that nothing here knows.
fn hint_for(name: &str, header: &Header) -> Option<String> {
    let ports = ["dport", "sport", "destination-port", "source-port"];
    if ports.contains(&name) {
        return Some(match header.protocol.value {
            0 => "add `-p tcp` or `-p udp` before it".to_owned(),
            _ => "ports are for `-p tcp`, `-p udp` and the like".to_owned(),
        });
    }
    let known: &[(&[&str], &str)] = &[
        (&["dports", "sports", "ports"], "add `-m multiport` before it"),
        (&["icmp-type"], "add `-p icmp` before it"),
        (&["icmpv6-type"], "add `-p icmpv6` before it"),
        (&["syn", "tcp-flags", "tcp-option"], "add `-p tcp` before it"),
        (&["state"], "add `-m state` before it"),
        (&["ctstate", "ctstatus", "ctdir"], "add `-m conntrack` before it"),
        (&["limit", "limit-burst"], "add `-m limit` before it"),
        (&["comment"], "add `-m comment` before it"),
        (&["reject-with"], "add `-j REJECT` before it"),
        (&["log-prefix", "log-level"], "add `-j LOG` before it"),
        (&["to-destination"], "add `-j DNAT` before it"),
        (&["to-source"], "add `-j SNAT` before it"),
        (&["to-ports", "to-port"], "add `-j REDIRECT` or `-j MASQUERADE` before it"),
        (&["set-mark", "set-xmark"], "add `-j MARK` before it"),
        (&["src-range", "dst-range"], "add `-m iprange` before it"),
        (&["src-type", "dst-type"], "add `-m addrtype` before it"),
        (&["mac-source"], "add `-m mac` before it"),
        (&["uid-owner", "gid-owner"], "add `-m owner` before it"),
        (&["match-set"], "add `-m set` before it"),
        (&["clamp-mss-to-pmtu", "set-mss"], "add `-j TCPMSS` before it"),
    ];
    let found = known.iter().find(|(names, _)| names.contains(&name));
    found.map(|(_, hint)| (*hint).to_owned())
}
