//! How the words of a command fall into options: what iptables makes of glibc's `getopt_long`.
//! Words are taken in order, `--` ends the options, long options may be cut short as long as they
//! stay unambiguous, and an exact name wins over every longer one. Options that a loaded match or
//! target adds are looked for after iptables' own and before those of what was loaded earlier.

use crate::option::{Argument, OptionSpec};

/// What one step found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// One of iptables' own options.
    Base { letter: char, value: Option<&'a str> },
    /// An option of what was loaded as number `owner`.
    Extension { owner: usize, option: &'static OptionSpec, value: Option<&'a str> },
    /// A word that is no option.
    Word(&'a str),
    /// No such option, as the message shows it.
    Unknown,
    /// The option's word is missing.
    NoArgument,
    /// No words are left, or `--` stood there.
    End,
}

/// How iptables' own options take a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Word,
    /// Only in the same word.
    Attached,
}

/// Reads the words of one command.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    words: &'a [&'a str],
    /// The next word, and in a cluster of letters the next byte of it.
    next: usize,
    inside: usize,
    /// Loaded options, the latest last.
    layers: Vec<(usize, &'static [OptionSpec])>,
    fragments: bool,
}

impl<'a> Reader<'a> {
    /// Before the first word. `-f` has a long name for IPv4 only.
    pub(crate) fn new(words: &'a [&'a str], long_fragments: impl Into<bool>) -> Self {
        let fragments = long_fragments.into();
        Self { words, next: 0, inside: 0, layers: Vec::new(), fragments }
    }

    /// From now on the options of `owner` are known.
    pub(crate) fn load(&mut self, owner: usize, options: &'static [OptionSpec]) {
        self.layers.push((owner, options));
    }

    /// The number of the word that comes next.
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// The word that was read last: for an option with a word of its own that word.
    pub(crate) fn last(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|last| self.words.get(last)).copied().unwrap_or_default()
    }

    /// Steps back to read the same option again, because its options are known now.
    pub(crate) fn again(&mut self, position: usize) {
        self.next = position;
        self.inside = 0;
    }

    /// The next word if it is neither an option nor a `!`.
    pub(crate) fn argument(&mut self) -> Option<&'a str> {
        let word = self.peek().filter(|word| !word.starts_with(['-', '!']))?;
        self.next += 1;
        Some(word)
    }

    /// The next word, whatever it is.
    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    /// Passes over the next word.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// Whether words are left.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.words.len()
    }

    /// The next option or word.
    pub(crate) fn step(&mut self) -> Step<'a> {
        if self.inside > 0 {
            return self.letter();
        }
        let Some(word) = self.peek() else { return Step::End };
        if word == "--" {
            self.next += 1;
            return Step::End;
        }
        if let Some(long) = word.strip_prefix("--") {
            self.next += 1;
            return self.long(long);
        }
        if word.len() > 1 && word.starts_with('-') {
            self.inside = 1;
            return self.letter();
        }
        self.next += 1;
        Step::Word(word)
    }

    fn letter(&mut self) -> Step<'a> {
        let word = self.peek().unwrap_or_default();
        let rest = word.get(self.inside..).unwrap_or_default();
        let Some(letter) = rest.chars().next() else { return Step::Unknown };
        let attached = rest.get(letter.len_utf8()..).unwrap_or_default();
        self.inside += letter.len_utf8();
        let takes = match LETTERS.iter().find(|(known, _)| *known == letter) {
            Some((_, takes)) => *takes,
            None => {
                self.leave_if(attached.is_empty());
                return Step::Unknown;
            }
        };
        match takes {
            Takes::Nothing => {
                self.leave_if(attached.is_empty());
                Step::Base { letter, value: None }
            }
            _ if !attached.is_empty() => {
                self.leave_if(true);
                Step::Base { letter, value: Some(attached) }
            }
            Takes::Attached => {
                self.leave_if(true);
                Step::Base { letter, value: None }
            }
            Takes::Word => {
                self.leave_if(true);
                let Some(value) = self.peek() else { return Step::NoArgument };
                self.next += 1;
                Step::Base { letter, value: Some(value) }
            }
        }
    }

    fn leave_if(&mut self, finished: bool) {
        if finished {
            self.inside = 0;
            self.next += 1;
        }
    }

    fn long(&mut self, text: &'a str) -> Step<'a> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(found) = self.find(name) else { return Step::Unknown };
        let value = match (found.takes(), attached) {
            (Takes::Nothing, Some(_)) => return Step::Unknown,
            (Takes::Nothing | Takes::Attached, None) => None,
            (Takes::Word | Takes::Attached, Some(value)) => Some(value),
            (Takes::Word, None) => {
                let Some(value) = self.peek() else { return Step::NoArgument };
                self.next += 1;
                Some(value)
            }
        };
        match found {
            Found::Base(letter, _) => Step::Base { letter, value },
            Found::Extension(owner, option) => Step::Extension { owner, option, value },
        }
    }

    /// The exact name, else the only option that begins so.
    fn find(&self, name: &str) -> Option<Found> {
        let mut beginning: Option<Found> = None;
        let mut ambiguous = false;
        for (known, found) in self.known() {
            if known == name {
                return Some(found);
            }
            if known.starts_with(name) {
                match beginning {
                    None => beginning = Some(found),
                    Some(first) => ambiguous |= !first.is(found),
                }
            }
        }
        beginning.filter(|_| !ambiguous)
    }

    fn known(&self) -> impl Iterator<Item = (&'static str, Found)> + '_ {
        let base = LONG.iter().filter(|(name, ..)| self.fragments || *name != "fragments");
        let base = base.map(|(name, letter, takes)| (*name, Found::Base(*letter, *takes)));
        let loaded = self.layers.iter().rev().flat_map(|(owner, options)| {
            options.iter().flat_map(|option| {
                let names = std::iter::once(option.name).chain(option.aliases.iter().copied());
                names.map(|name| (name, Found::Extension(*owner, option)))
            })
        });
        base.chain(loaded)
    }
}

#[derive(Clone, Copy, Debug)]
enum Found {
    Base(char, Takes),
    Extension(usize, &'static OptionSpec),
}

impl Found {
    fn takes(self) -> Takes {
        match self {
            Self::Base(_, takes) => takes,
            Self::Extension(_, option) if option.argument == Argument::Required => Takes::Word,
            Self::Extension(..) => Takes::Nothing,
        }
    }

    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Base(one, _), Self::Base(other, _)) => one == other,
            (Self::Extension(one, option), Self::Extension(other, second)) => {
                one == other && option.name == second.name
            }
            _ => false,
        }
    }
}

#[rustfmt::skip]
const LETTERS: &[(char, Takes)] = &[
    ('A', Takes::Word), ('C', Takes::Word), ('D', Takes::Word), ('E', Takes::Word),
    ('F', Takes::Attached), ('I', Takes::Word), ('L', Takes::Attached), ('M', Takes::Word),
    ('N', Takes::Word), ('P', Takes::Word), ('R', Takes::Word), ('S', Takes::Attached),
    ('V', Takes::Nothing), ('W', Takes::Attached), ('X', Takes::Attached), ('Z', Takes::Attached),
    ('c', Takes::Word), ('d', Takes::Word), ('f', Takes::Nothing), ('g', Takes::Word),
    ('h', Takes::Attached), ('i', Takes::Word), ('j', Takes::Word), ('m', Takes::Word),
    ('n', Takes::Nothing), ('o', Takes::Word), ('p', Takes::Word), ('s', Takes::Word),
    ('t', Takes::Word), ('v', Takes::Nothing), ('w', Takes::Attached), ('x', Takes::Nothing),
    ('4', Takes::Nothing), ('6', Takes::Nothing),
];

/// Long names, their letters, and what follows. `0` stands for the one without a letter.
const LONG: &[(&str, char, Takes)] = &[
    ("append", 'A', Takes::Word),
    ("delete", 'D', Takes::Word),
    ("check", 'C', Takes::Word),
    ("insert", 'I', Takes::Word),
    ("replace", 'R', Takes::Word),
    ("list", 'L', Takes::Attached),
    ("list-rules", 'S', Takes::Attached),
    ("flush", 'F', Takes::Attached),
    ("zero", 'Z', Takes::Attached),
    ("new-chain", 'N', Takes::Word),
    ("delete-chain", 'X', Takes::Attached),
    ("rename-chain", 'E', Takes::Word),
    ("policy", 'P', Takes::Word),
    ("source", 's', Takes::Word),
    ("destination", 'd', Takes::Word),
    ("src", 's', Takes::Word),
    ("dst", 'd', Takes::Word),
    ("protocol", 'p', Takes::Word),
    ("in-interface", 'i', Takes::Word),
    ("jump", 'j', Takes::Word),
    ("table", 't', Takes::Word),
    ("match", 'm', Takes::Word),
    ("numeric", 'n', Takes::Nothing),
    ("out-interface", 'o', Takes::Word),
    ("verbose", 'v', Takes::Nothing),
    ("wait", 'w', Takes::Attached),
    ("wait-interval", 'W', Takes::Attached),
    ("exact", 'x', Takes::Nothing),
    ("fragments", 'f', Takes::Nothing),
    ("version", 'V', Takes::Nothing),
    ("help", 'h', Takes::Attached),
    ("line-numbers", '0', Takes::Nothing),
    ("modprobe", 'M', Takes::Word),
    ("set-counters", 'c', Takes::Word),
    ("goto", 'g', Takes::Word),
    ("ipv4", '4', Takes::Nothing),
    ("ipv6", '6', Takes::Nothing),
];
