//! A file as iptables-restore reads it: `*table`, `:chain policy [p:b]`, commands, `COMMIT`.
//!
//! Lines are taken one by one, and what iptables-restore refuses is refused here in the same order;
//! but where it stops, this goes on to the next line, so that all that is wrong is said at once. A
//! table takes effect at its `COMMIT`, when the kernel is asked. Nothing else is kept of a file in
//! which anything is wrong.

use stateward_wire::Family;

use crate::command::{self, Action, Command, Style};
use crate::diagnostic::Diagnostic;
use crate::number;
use crate::option::Refusal;
use crate::rule::Counters;
use crate::ruleset::{Found, Ruleset, Table, TableName};
use crate::source::{Place, Position, Source};
use crate::validate::{self, ValidRuleset};
use crate::words;

/// What iptables-restore is told on its command line.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// `--noflush`: tables keep what they have.
    pub noflush: bool,
    /// `--counters`: counters are read.
    pub counters: bool,
    /// `--table`: all other tables of the file are skipped.
    pub table: Option<TableName>,
    /// The rules that are there before.
    pub before: Option<Ruleset>,
}

/// Reads a file.
///
/// # Errors
/// Everything that iptables-restore refuses of it, first what it would have said.
pub fn restore(
    source: &Source<'_>,
    family: Family,
    options: RestoreOptions,
) -> Result<ValidRuleset, Vec<Diagnostic>> {
    let RestoreOptions { noflush, counters, table, before } = options;
    let settings = Settings { noflush, counters };
    let rules = before.unwrap_or_else(|| Ruleset::new(family));
    let mut restore = Restore {
        source,
        rules: Ruleset { family, ..rules },
        settings,
        only: table,
        open: Open::None,
        found: Vec::new(),
    };
    for (number, line) in source.lines() {
        if let Err((place, refusal)) = restore.line(number, line) {
            restore.found.push(source.error(place, refusal));
        }
    }
    restore.end();
    match restore.found.is_empty() {
        true => restore.rules.validate().map_err(|invalid| {
            let refused = invalid.into_iter();
            refused.map(|one| source.refused(one.position.line, one.message, one.hint)).collect()
        }),
        false => Err(restore.found),
    }
}

/// The table that is being read.
enum Open {
    None,
    Table(Table),
    /// One that is not wanted, or that there is not.
    Skipped,
}

struct Restore<'a> {
    source: &'a Source<'a>,
    rules: Ruleset,
    settings: Settings,
    only: Option<TableName>,
    open: Open,
    found: Vec<Diagnostic>,
}

#[derive(Clone, Copy)]
struct Settings {
    noflush: bool,
    counters: bool,
}

type Outcome = Result<(), (Place, Refusal)>;

impl Restore<'_> {
    fn line(&mut self, number: u32, line: &str) -> Outcome {
        let whole = self.source.whole(number);
        let at_line = |refusal| (whole, refusal);
        if line == "\n" || line.starts_with('#') {
            return Ok(());
        }
        if line.len() > LONGEST {
            return Err(at_line(Refusal::new(format!("a line of more than {LONGEST} bytes"))));
        }
        if line.contains('\0') {
            return Err(at_line(Refusal::new("a NUL byte")));
        }
        let skipping = matches!(self.open, Open::Skipped) && line.starts_with('*');
        if skipping || matches!(self.open, Open::None) {
            let outcome = match line.strip_prefix('*') {
                Some(name) => self.open(name),
                None => Err(outside(line)),
            };
            return outcome.map_err(at_line);
        }
        if line == "COMMIT\n" {
            self.commit();
            return Ok(());
        }
        let settings = self.settings;
        let Open::Table(table) = &mut self.open else { return Ok(()) };
        if let Some(chain) = line.strip_prefix(':') {
            let declared = declare(table, chain, number, settings);
            return declared.map_err(at_line);
        }
        let (start, given) = counted(line).map_err(at_line)?;
        let body = line.get(start..).unwrap_or_default();
        let words = words::split(body, start).map_err(at_line)?;
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let place = |word: usize| match words.get(word) {
            Some(word) => Place { line: number, start: word.start, length: word.length },
            None => whole,
        };
        let is_chain = |name: &str| table.chain(name).is_some();
        let command = command::parse(self.rules.family, Style::Restore, &is_chain, &texts)
            .map_err(|refused| (place(refused.word), refused.refusal))?;
        let given = if settings.counters { given } else { None };
        let command = with_counters(command, given).map_err(at_line)?;
        execute(table, command.action, Position { line: number })
            .map_err(|(word, refusal)| (word.map_or(whole, place), refusal))
    }

    fn open(&mut self, name: &str) -> Result<(), Refusal> {
        let name = name.split([' ', '\t', '\n']).find(|word| !word.is_empty());
        let Some(name) = name else {
            return Err(Refusal::new("the table's name is missing"));
        };
        let table = TableName::from_name(name);
        if self.only.is_some() && table != self.only {
            self.open = Open::Skipped;
            return Ok(());
        }
        let Some(table) = table else {
            self.open = Open::Skipped;
            let refusal = Refusal::new(format!("there is no table `{}`", name.trim_end()));
            return Err(refusal.hint("tables are raw, mangle, nat, filter and security"));
        };
        let mut table = self.rules.table(table).cloned().unwrap_or_else(|| Table::new(table));
        table.forget_policies();
        if !self.settings.noflush {
            table.clear();
        }
        self.open = Open::Table(table);
        Ok(())
    }

    /// The kernel takes the table or not.
    fn commit(&mut self) {
        let table = match std::mem::replace(&mut self.open, Open::None) {
            Open::Table(table) => table,
            Open::Skipped if self.only.is_some() => {
                self.open = Open::Skipped;
                return;
            }
            Open::Skipped | Open::None => return,
        };
        let before = self.rules.table(table.name).cloned();
        let untouched = |mut before: Table| {
            before.forget_policies();
            before == table
        };
        if self.settings.noflush && before.is_some_and(untouched) {
            return;
        }
        for one in validate::check(&table, &self.rules.tables) {
            let diagnostic = self.source.refused(one.position.line, one.message, one.hint);
            self.found.push(diagnostic);
        }
        self.rules.put(table);
    }

    fn end(&mut self) {
        if !matches!(self.open, Open::Table(_)) {
            return;
        }
        // Said by the last line: COMMIT there without an end of line has said it already.
        let last = self.source.length();
        let place = self.source.whole(last);
        let refusal = Refusal::table("the file ends before COMMIT");
        let refusal = refusal.hint("end each table with a line COMMIT");
        self.found.push(self.source.error(place, refusal));
    }
}

/// What iptables-restore reads at once.
const LONGEST: usize = 10_239;

fn outside(line: &str) -> Refusal {
    let refusal = Refusal::table("this stands outside of a table");
    match line.trim() {
        "COMMIT" => refusal.hint("no table is open"),
        "" => refusal.hint("outside of tables a line must be empty, without a blank"),
        text if text.starts_with('#') => refusal.hint("a comment begins in the first column"),
        text if text.starts_with("iptables") || text.starts_with("ip6tables") => {
            refusal.hint("this looks like a shell script, not like the output of iptables-save")
        }
        _ => refusal.hint("a line `*TABLE` comes first, as `*filter`"),
    }
}

/// `:chain policy [packets:bytes]`.
fn declare(table: &mut Table, text: &str, line: u32, settings: Settings) -> Result<(), Refusal> {
    let mut words = text.split([' ', '\t', '\n']).filter(|word| !word.is_empty());
    let Some(name) = words.next() else {
        return Err(Refusal::new("the chain's name is missing"));
    };
    if name.len() > 28 {
        return Err(Refusal::new(format!("chain name `{name}` is longer than 28 bytes")));
    }
    let is_own =
        table.chain(name).is_none_or(|chain| matches!(chain.end, crate::ruleset::ChainEnd::Return));
    if is_own && settings.noflush && table.chain(name).is_some() {
        table.flush(Some(name))?;
    } else if is_own {
        let created = table.create(name, Position { line });
        created.map_err(|refusal| Refusal {
            refuser: crate::diagnostic::Refuser::Language,
            ..refusal
        })?;
    }
    let Some(policy) = words.next() else {
        return Err(Refusal::new(format!("the policy of `{name}` is missing"))
            .hint("`-` for a chain of your own, else ACCEPT or DROP"));
    };
    if policy == "-" {
        return Ok(());
    }
    let counted = words.next().and_then(bracketed);
    let counted = match (settings.counters, counted) {
        (true, None) => return Err(Refusal::new(format!("invalid counters of chain `{name}`"))),
        (true, counted) => counted,
        (false, _) => None,
    };
    table.set_policy(name, policy, counted, Position { line })
}

fn bracketed(text: &str) -> Option<Counters> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some(Counters {
        packets: number::whole(packets, u64::MAX)?,
        bytes: number::whole(bytes, u64::MAX)?,
    })
}

/// Where the command begins behind `[packets:bytes]`, and the two texts.
#[allow(clippy::type_complexity, reason = "two texts and an offset")]
fn counted(line: &str) -> Result<(usize, Option<(&str, &str)>), Refusal> {
    let Some(inside) = line.strip_prefix('[') else { return Ok((0, None)) };
    let parts = inside.split_once(']').and_then(|(inside, _)| {
        let (packets, bytes) = inside.split_once(':')?;
        Some((inside.len() + 2, packets, bytes))
    });
    match parts {
        Some((length, packets, bytes)) if !packets.is_empty() && !bytes.is_empty() => {
            Ok((length, Some((packets, bytes))))
        }
        _ => Err(Refusal::new("counters are written `[packets:bytes]`")),
    }
}

/// Counters before the command mean what `-c` would.
fn with_counters(mut command: Command, given: Option<(&str, &str)>) -> Result<Command, Refusal> {
    let Some((packets, bytes)) = given else { return Ok(command) };
    let read = |text: &str| {
        let digits = text.trim_start();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end).and_then(|digits| digits.parse().ok())
    };
    let refuse = |text: &str| Refusal::new(format!("`{text}` is no number of packets or bytes"));
    let counters = Counters {
        packets: read(packets).ok_or_else(|| refuse(packets))?,
        bytes: read(bytes).ok_or_else(|| refuse(bytes))?,
    };
    let letter = match &mut command.action {
        Action::Append(_, draft) | Action::Insert(_, _, draft) | Action::Replace(_, _, draft) => {
            if draft.counters.is_some() {
                return Err(Refusal::new("more than one `-c`"));
            }
            draft.counters = Some(counters);
            return Ok(command);
        }
        Action::Policy { counters: given, .. } => {
            *given = Some(counters);
            return Ok(command);
        }
        Action::Nothing => return Ok(command),
        Action::List(_) => 'L',
        Action::Check(..) => 'C',
        Action::Delete(..) | Action::DeleteNumber(..) => 'D',
        Action::NewChain(_) => 'N',
        Action::DeleteChain(_) => 'X',
        Action::Flush(_) => 'F',
        Action::Zero(..) => 'Z',
        Action::Rename { .. } => 'E',
    };
    Err(Refusal::new(format!("counters do not go with `-{letter}`")))
}

/// What iptables inhibits in table nat; the policy of a line with a `:` it does not.
fn drops(action: &Action) -> bool {
    match action {
        Action::Append(_, draft)
        | Action::Insert(_, _, draft)
        | Action::Replace(_, _, draft)
        | Action::Delete(_, draft)
        | Action::Check(_, draft) => {
            draft.target.as_ref().is_some_and(|target| target.name == "DROP")
        }
        Action::Policy { policy, .. } => policy == "DROP",
        _ => false,
    }
}

/// Does to the table what the command says.
pub(crate) fn execute(
    table: &mut Table,
    action: Action,
    position: Position,
) -> Result<(), (Option<usize>, Refusal)> {
    let plain = |refusal| (None, refusal);
    if table.name == TableName::Nat && drops(&action) {
        let refusal =
            Refusal::new("table nat does not drop: packets of known connections pass it by");
        return Err(plain(refusal.hint("drop in filter")));
    }
    match action {
        Action::Append(chain, draft) => {
            let rules = table.rules(draft, position)?;
            table.append(&chain, rules)
        }
        Action::Insert(chain, number, draft) => {
            let rules = table.rules(draft, position)?;
            table.insert(&chain, number, rules)
        }
        Action::Replace(chain, number, draft) => {
            let rules = table.rules(draft, position)?;
            table.replace(&chain, number, rules)
        }
        Action::Delete(chain, draft) => {
            let rules = table.rules(draft, position)?;
            table.find(&chain, &rules, Found::Deleted)
        }
        Action::Check(chain, draft) => {
            let rules = table.rules(draft, position)?;
            table.find(&chain, &rules, Found::Kept)
        }
        Action::DeleteNumber(chain, number) => table.delete_number(&chain, number),
        Action::NewChain(chain) => table.create(&chain, position),
        Action::DeleteChain(chain) => table.delete_chain(chain.as_deref()),
        Action::Flush(chain) => table.flush(chain.as_deref()),
        Action::Zero(chain, number) => table.zero(chain.as_deref(), number),
        Action::Policy { chain, policy, counters } => {
            table.set_policy(&chain, &policy, counters, position)
        }
        Action::Rename { old, new } => table.rename(&old, &new),
        Action::List(chain) => table.look(chain.as_deref()),
        Action::Nothing => Ok(()),
    }
    .map_err(plain)
}
