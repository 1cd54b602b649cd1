//! A shell script of iptables commands.
//!
//! What is read is what needs no shell: `iptables …` and `ip6tables …` (also with `-legacy` or
//! `-nft`, with a path, behind `sudo`), quotes, backslashes, continued lines, comments, `;`,
//! `NAME=value` with `$NAME` and `${NAME}`, and `set`. Everything else — loops, conditions, pipes,
//! `$( )`, other programs — is an error that names its line: what such a script does cannot be
//! known without running it.
//!
//! Each command commits its table. The kernel's refusals are looked for at the end, for all rules
//! at once; as errors are told by line, the first is still the one that the script's user would see
//! first.

use std::collections::BTreeMap;

use stateward_wire::Family;

use crate::command::{self, Command, Style};
use crate::diagnostic::Diagnostic;
use crate::option::Refusal;
use crate::restore::execute;
use crate::ruleset::{Ruleset, Table, TableName};
use crate::source::{Place, Position, Source};
use crate::validate::{self, ValidRuleset};

/// What a script has set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// By `iptables`; `None` if no command was for IPv4.
    pub v4: Option<ValidRuleset>,
    /// By `ip6tables`.
    pub v6: Option<ValidRuleset>,
}

/// Reads a script.
///
/// # Errors
/// Everything that cannot be read or that iptables refuses, by line.
pub fn script(source: &Source<'_>) -> Result<Script, Vec<Diagnostic>> {
    let mut run = Run { source, variables: BTreeMap::new(), v4: None, v6: None, found: Vec::new() };
    let mut reader = Reader::new(source);
    while let Some(words) = run.next(&mut reader) {
        if let Err((place, refusal)) = run.command(&words) {
            run.found.push(source.error(place, refusal));
        }
    }
    run.finish()
}

/// A shell word after all expansions.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    place: Place,
    /// Where an unquoted `=` ends a name, this may be an assignment.
    name: Option<usize>,
}

type Failed = (Place, Refusal);

struct Run<'a> {
    source: &'a Source<'a>,
    variables: BTreeMap<String, String>,
    v4: Option<Ruleset>,
    v6: Option<Ruleset>,
    found: Vec<Diagnostic>,
}

impl Run<'_> {
    /// The next command that can be read; what cannot is an error and passed over.
    fn next(&mut self, reader: &mut Reader<'_>) -> Option<Vec<Word>> {
        loop {
            match reader.command(&self.variables) {
                Ok(words) => return words,
                Err((place, refusal)) => {
                    self.found.push(self.source.error(place, refusal));
                    reader.next_line();
                }
            }
        }
    }

    fn command(&mut self, words: &[Word]) -> Result<(), Failed> {
        let mut words = words;
        if words.first().is_some_and(|word| matches!(word.text.as_str(), "export" | "readonly")) {
            words = words.get(1..).unwrap_or_default();
        }
        if !words.is_empty() && words.iter().all(|word| word.name.is_some()) {
            for Word { text, name, .. } in words {
                let (name, value) = text.split_at(name.unwrap_or_default());
                self.variables
                    .insert(name.to_owned(), value.get(1..).unwrap_or_default().to_owned());
            }
            return Ok(());
        }
        if words.first().is_some_and(|word| word.text == "sudo") {
            words = words.get(1..).unwrap_or_default();
        }
        let Some((program, arguments)) = words.split_first() else { return Ok(()) };
        let name = program.text.rsplit('/').next().unwrap_or_default();
        match name {
            "set" => Ok(()),
            "iptables" | "iptables-legacy" | "iptables-nft" => {
                self.iptables(Family::V4, program, arguments)
            }
            "ip6tables" | "ip6tables-legacy" | "ip6tables-nft" => {
                self.iptables(Family::V6, program, arguments)
            }
            _ => Err((program.place, other_program(&program.text))),
        }
    }

    fn iptables(&mut self, family: Family, program: &Word, words: &[Word]) -> Result<(), Failed> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let place = |word: usize| words.get(word).map_or(program.place, |word| word.place);
        // -N does not make chains with the name of a target, so that no chain hides one here.
        let Command { table, action } = command::parse(family, Style::Shell, &|_| false, &texts)
            .map_err(|refused| (place(refused.word), refused.refusal))?;
        let name = table.as_deref().unwrap_or("filter");
        let Some(name) = TableName::from_name(name) else {
            let refusal = Refusal::table(format!("there is no table `{name}`"));
            let hint = "tables are raw, mangle, nat, filter and security";
            return Err((program.place, refusal.hint(hint)));
        };
        let rules = match family {
            Family::V4 => self.v4.get_or_insert_with(|| Ruleset::new(family)),
            Family::V6 => self.v6.get_or_insert_with(|| Ruleset::new(family)),
        };
        if rules.table(name).is_none() {
            rules.put(Table::new(name));
        }
        let Some(table) = rules.tables.iter_mut().find(|table| table.name == name) else {
            return Ok(());
        };
        execute(table, action, Position { line: program.place.line })
            .map_err(|(word, refusal)| (word.map_or(program.place, place), refusal))
    }

    fn finish(mut self) -> Result<Script, Vec<Diagnostic>> {
        for rules in self.v4.iter().chain(&self.v6) {
            let invalid =
                rules.tables.iter().flat_map(|table| validate::check(table, &rules.tables));
            let source = self.source;
            let refused =
                |one: validate::Invalid| source.refused(one.position.line, one.message, one.hint);
            self.found.extend(invalid.map(refused));
        }
        self.found.sort_by_key(|diagnostic| diagnostic.line);
        if !self.found.is_empty() {
            return Err(self.found);
        }
        let valid = |rules: Option<Ruleset>| rules.and_then(|rules| rules.validate().ok());
        Ok(Script { v4: valid(self.v4), v6: valid(self.v6) })
    }
}

fn other_program(name: &str) -> Refusal {
    let shell = [
        "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
        "function", "{", "}", "!", "[", "[[", "test", ".", "source", "eval",
    ];
    let refusal = match shell.contains(&name) {
        true => Refusal::new(format!("`{name}` would have to be run")),
        false => Refusal::new(format!("`{name}` is not iptables")),
    };
    refusal.hint("run the script, then read what iptables-save writes")
}

/// Takes commands from the lines of a script.
struct Reader<'a> {
    lines: Vec<&'a str>,
    /// The line from 1, and the byte in it.
    line: usize,
    at: usize,
}

/// A word that grows.
#[derive(Default)]
struct Growing {
    text: String,
    /// Something of it stands there, if only quotes.
    begun: bool,
    start: usize,
    line: u32,
    name: Option<usize>,
    /// All so far could be a name.
    plain: bool,
}

impl<'a> Reader<'a> {
    fn new(source: &Source<'a>) -> Self {
        Self { lines: source.lines().map(|(_, line)| line).collect(), line: 1, at: 0 }
    }

    fn rest(&self) -> &'a str {
        let line = self.lines.get(self.line - 1).copied().unwrap_or_default();
        line.get(self.at..).unwrap_or_default()
    }

    fn next_line(&mut self) {
        self.line += 1;
        self.at = 0;
    }

    fn number(&self) -> u32 {
        u32::try_from(self.line).unwrap_or(u32::MAX)
    }

    fn fail<T>(&self, length: usize, message: impl Into<String>) -> Result<T, Failed> {
        let place = Place { line: self.number(), start: self.at, length };
        let refusal = Refusal::new(message);
        Err((place, refusal.hint("run the script, then read what iptables-save writes")))
    }

    /// The words of the next command, `None` at the end of the script.
    fn command(
        &mut self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Vec<Word>>, Failed> {
        let mut words = Vec::new();
        let mut word = Growing::default();
        while self.line <= self.lines.len() {
            let Some(character) = self.rest().chars().next() else {
                self.next_line();
                continue;
            };
            match character {
                '\n' | ';' => {
                    self.leave(&mut word, &mut words);
                    self.at += 1;
                    if !words.is_empty() {
                        return Ok(Some(words));
                    }
                }
                ' ' | '\t' => {
                    self.leave(&mut word, &mut words);
                    self.at += 1;
                }
                '#' if !word.begun => self.at += self.rest().trim_end_matches('\n').len(),
                '\\' if self.rest() == "\\\n" => self.next_line(),
                _ => {
                    self.begin(&mut word);
                    self.character(character, &mut word, &mut words, variables)?;
                }
            }
        }
        self.leave(&mut word, &mut words);
        Ok((!words.is_empty()).then_some(words))
    }

    fn begin(&self, word: &mut Growing) {
        if !word.begun {
            let (start, line) = (self.at, self.number());
            *word = Growing { begun: true, start, line, plain: true, ..Growing::default() };
        }
    }

    fn leave(&self, word: &mut Growing, words: &mut Vec<Word>) {
        let Growing { text, begun, start, line, name, .. } = std::mem::take(word);
        if begun {
            // A word over several lines is shown by its first.
            let end = if line == self.number() { self.at } else { start + 1 };
            let place = Place { line, start, length: end.saturating_sub(start) };
            words.push(Word { text, place, name });
        }
    }

    fn character(
        &mut self,
        character: char,
        word: &mut Growing,
        words: &mut Vec<Word>,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), Failed> {
        match character {
            '\'' => {
                word.plain = false;
                self.single(word)
            }
            '"' => {
                word.plain = false;
                self.double(word, variables)
            }
            '\\' => {
                word.plain = false;
                let escaped = self.rest().chars().nth(1);
                word.text.extend(escaped);
                self.at += 1 + escaped.map_or(0, char::len_utf8);
                Ok(())
            }
            '$' => {
                word.plain = false;
                let value = self.variable(variables)?;
                self.split(value, word, words);
                Ok(())
            }
            '`' => self.fail(1, "what a command prints would have to be run"),
            '|' | '&' | '<' | '>' | '(' | ')' => {
                self.fail(1, format!("`{character}` would have to be run"))
            }
            '*' | '?' => self.fail(1, format!("`{character}` stands for names of files")),
            '=' if word.plain && word.name.is_none() && is_name(&word.text) => {
                word.name = Some(word.text.len());
                self.push(character, word);
                Ok(())
            }
            _ => {
                self.push(character, word);
                Ok(())
            }
        }
    }

    fn push(&mut self, character: char, word: &mut Growing) {
        word.text.push(character);
        self.at += character.len_utf8();
    }

    /// An unquoted value falls into words at its blanks.
    fn split(&self, value: &str, word: &mut Growing, words: &mut Vec<Word>) {
        let blanks = [' ', '\t', '\n'];
        if word.name.is_some() {
            word.text.push_str(value);
            return;
        }
        let mut parts = value.split(blanks);
        let first = parts.next().unwrap_or_default();
        word.text.push_str(first);
        let (start, line) = (word.start, word.line);
        word.begun = !word.text.is_empty();
        for part in parts {
            self.leave(word, words);
            if !part.is_empty() {
                let begun = Growing { begun: true, start, line, ..Growing::default() };
                *word = Growing { text: part.to_owned(), ..begun };
            }
        }
    }

    fn single(&mut self, word: &mut Growing) -> Result<(), Failed> {
        self.at += 1;
        loop {
            match self.rest().split_once('\'') {
                Some((inside, _)) => {
                    word.text.push_str(inside);
                    self.at += inside.len() + 1;
                    return Ok(());
                }
                None => {
                    word.text.push_str(self.rest());
                    self.next_line();
                    if self.line > self.lines.len() {
                        return self.unclosed(word);
                    }
                }
            }
        }
    }

    fn unclosed(&mut self, word: &Growing) -> Result<(), Failed> {
        let place = Place { line: word.line, start: word.start, length: 1 };
        Err((place, Refusal::new("a quote is never closed")))
    }

    fn double(
        &mut self,
        word: &mut Growing,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), Failed> {
        self.at += 1;
        while self.line <= self.lines.len() {
            let mut rest = self.rest().chars();
            match rest.next() {
                None => self.next_line(),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('$') => {
                    let value = self.variable(variables)?;
                    word.text.push_str(value);
                }
                Some('`') => return self.fail(1, "what a command prints would have to be run"),
                Some('\\') => match rest.next() {
                    Some('\n') => self.next_line(),
                    Some(escaped @ ('$' | '`' | '"' | '\\')) => {
                        word.text.push(escaped);
                        self.at += 2;
                    }
                    _ => self.push('\\', word),
                },
                Some(character) => self.push(character, word),
            }
        }
        self.unclosed(word)
    }

    /// The value of `$NAME` or `${NAME}`.
    fn variable<'v>(&mut self, variables: &'v BTreeMap<String, String>) -> Result<&'v str, Failed> {
        let rest = self.rest().get(1..).unwrap_or_default();
        let (name, length) = match rest.strip_prefix('{') {
            Some(inside) => {
                let name = inside.split_once('}').map_or(inside, |(name, _)| name);
                (name, name.len() + 3)
            }
            None => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                (name, name.len() + 1)
            }
        };
        if !is_name(name) {
            let length = if rest.starts_with('(') { 2 } else { length };
            return self.fail(length, "this is more than `$NAME` or `${NAME}`");
        }
        let Some(value) = variables.get(name) else {
            return self.fail(length, format!("`{name}` has no value here"));
        };
        self.at += length;
        Ok(value)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::ShowCounters;

    fn saved(text: &str) -> String {
        match script(&Source::new("fw.sh", text)) {
            Ok(Script { v4, v6 }) => {
                let rules = v4.iter().chain(&v6);
                rules.map(|rules| rules.rules().save(ShowCounters::No)).collect()
            }
            Err(found) => found.iter().map(ToString::to_string).collect(),
        }
    }

    fn rules(text: &str) -> Vec<String> {
        let saved = saved(text);
        saved.lines().filter(|line| !line.starts_with([':', '*', 'C'])).map(str::to_owned).collect()
    }

    #[test]
    fn quotes_variables_and_continued_lines() {
        let text = "#!/bin/sh\nset -e\nIPT=\"/sbin/iptables -w\" # path\nLAN='10.0.0.0/8'\n\
            $IPT -A INPUT -s \"$LAN\" \\\n  -m comment --comment 'a b'\"c ${LAN}\"\\ d -j ACCEPT; $IPT \
            -P INPUT DROP\n";
        assert_eq!(
            rules(text),
            ["-A INPUT -s 10.0.0.0/8 -m comment --comment \"a bc 10.0.0.0/8 d\" -j ACCEPT"]
        );
        assert!(saved(text).contains(":INPUT DROP [0:0]"));
    }

    #[test]
    fn both_families_and_sudo() {
        let text =
            "sudo iptables -A INPUT -j DROP\n/usr/sbin/ip6tables-legacy -t raw -A OUTPUT -j DROP";
        assert_eq!(rules(text), ["-A INPUT -j DROP", "-A OUTPUT -j DROP"]);
        assert!(saved(text).contains("*raw"));
    }

    #[test]
    fn what_would_have_to_be_run_names_its_line() {
        for (text, place) in [
            ("iptables -F\nfor i in 1 2; do\n", "fw.sh:2:1: `for`"),
            ("iptables -A INPUT -s $(hostname) -j DROP\n", "fw.sh:1:22: this is more"),
            ("iptables -A INPUT -s $HOST -j DROP\n", "fw.sh:1:22: `HOST` has no value"),
            ("iptables -L | grep x\n", "fw.sh:1:13: `|`"),
            ("\necho 1\n", "fw.sh:2:1: `echo` is not iptables"),
            ("iptables -A INPUT -j 'DROP\n", "fw.sh:1:22: a quote is never closed"),
            ("iptables -A INPUT \\\n  --dport 80\n", "fw.sh:2:3: unknown option `--dport`"),
            ("iptables -A NONE -j DROP\n", "fw.sh:1:1: table filter has no chain `NONE`"),
            ("iptables -t nat -A OUTPUT -j REJECT\n", "fw.sh:1:1: `-j REJECT` in table nat"),
        ] {
            let told = saved(text);
            assert!(told.starts_with(&format!("error: {place}")), "{told}");
        }
    }
}
