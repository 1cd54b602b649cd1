//! One iptables command: what to do with which chain, and the rule it is about. The same reader
//! serves the lines of iptables-restore and the commands of a shell script; they differ in
//! [`Style`] only.
//!
//! The order of the checks is iptables': options from left to right as they are read, then what the
//! matches and the target want to have together, then the command, then addresses, then what the
//! command admits. The first refusal ends the command.

pub(crate) mod hints;
mod options;

use stateward_wire::Family;

use crate::address::{self, Network};
use crate::getopt::{Reader, Step};
use crate::matches::Match;
use crate::option::{self, Given, OptionSpec, Refusal, Seen};
use crate::rule::{Counters, Header};
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
        value: 0,
    };
    match state.read() {
        Ok(Some(command)) => Ok(command),
        Ok(None) => Ok(Command { table: None, action: Action::Nothing }),
        Err(refusal) => Err(Refused { word: state.begin, refusal }),
    }
}

/// A match or target whose options are being read.
struct Loaded {
    /// The `-m` or `-j`.
    word: usize,
    what: What,
    seen: Seen,
}

enum What {
    Match(Match),
    Target(Extension),
}

impl Loaded {
    fn is_comment(&self) -> bool {
        matches!(self.what, What::Match(Match::Comment(_)))
    }

    fn is_conntrack(&self) -> bool {
        matches!(self.what, What::Match(Match::Conntrack(_)))
    }

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
    /// Letters of options that may stand once, and where they do.
    given: Vec<(char, usize)>,
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
    /// The word that a refusal shows: at first the one at which the step began.
    begin: usize,
    /// The word with the value of the option.
    value: usize,
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
        self.push(self.begin, What::Match(one));
        self.reader.again(self.begin);
        true
    }

    fn push(&mut self, word: usize, what: What) {
        let loaded = Loaded { word, what, seen: Seen::default() };
        self.reader.load(self.loaded.len(), loaded.options());
        self.loaded.push(loaded);
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
        self.begin = self.reader.position().saturating_sub(1);
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

    fn finish(&mut self) -> Result<Command, Refusal> {
        for loaded in matches_first(&mut self.loaded) {
            self.begin = loaded.word;
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
    fn admitted(&mut self, command: char) -> Result<(), Refusal> {
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
        match self.given.iter().find(|(letter, _)| !admitted.contains(letter)) {
            Some((letter, word)) => {
                self.begin = *word;
                let letter =
                    if *letter == '0' { "-line-numbers".into() } else { letter.to_string() };
                Err(Refusal::new(format!("`-{letter}` does not go with `-{command}`")))
            }
            None => Ok(()),
        }
    }

    /// A built-in chain knows only one interface.
    fn directions(&mut self, command: char, chain: &str) -> Result<(), Refusal> {
        if !matches!(command, 'A' | 'D' | 'I' | 'R' | 'C') {
            return Ok(());
        }
        let (letter, hint) = match chain {
            "PREROUTING" | "INPUT" => ('o', "where it leaves is not known in this chain"),
            "POSTROUTING" | "OUTPUT" => ('i', "where it came in is not known in this chain"),
            _ => return Ok(()),
        };
        let Some((_, word)) = self.given.iter().find(|(given, _)| *given == letter) else {
            return Ok(());
        };
        self.begin = *word;
        Err(Refusal::new(format!("`-{letter}` cannot be used in {chain}")).hint(hint))
    }
}

/// Matches in their order, then the target.
fn matches_first(loaded: &mut [Loaded]) -> impl Iterator<Item = &mut Loaded> {
    let mut all: Vec<_> = loaded.iter_mut().collect();
    all.sort_by_key(|one| matches!(one.what, What::Target(_)));
    all.into_iter()
}
