//! Files of cases, and the cases that are made of them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use stateward_wire::Family;

use super::iptables::{Iptables, Kernel};

/// One file.
pub(crate) struct CaseFile {
    pub(crate) name: String,
    pub(crate) families: Vec<Family>,
    pub(crate) table: String,
    chain: String,
    /// `-m NAME` or `-j NAME`.
    extension: String,
    with: Vec<String>,
    needs: Vec<String>,
    /// Commands that make what the rules need.
    setup: Vec<String>,
    /// Rules that stand before each.
    pub(crate) before: Vec<String>,
    pub(crate) kernel: Kernel,
    options: Vec<(String, Vec<String>)>,
    rules: Vec<String>,
}

/// One rule to try.
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) line: String,
    head: String,
}

impl Case {
    pub(crate) fn text(&self) -> String {
        format!("{}{}\nCOMMIT\n", self.head, self.line)
    }
}

impl CaseFile {
    /// All files, or those that are asked for.
    pub(crate) fn all(directory: &Path) -> Vec<Self> {
        let wanted = std::env::var("STATEWARD_CASES").unwrap_or_default();
        let wanted: Vec<_> = wanted.split(',').filter(|name| !name.is_empty()).collect();
        let mut paths: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let files = paths.iter().map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Self::parse(name, &fs::read_to_string(path).unwrap())
        });
        files.filter(|file| wanted.is_empty() || wanted.contains(&file.name.as_str())).collect()
    }

    fn parse(name: String, text: &str) -> Self {
        let mut file = Self {
            name,
            families: vec![Family::V4, Family::V6],
            table: "filter".into(),
            chain: "FORWARD".into(),
            extension: String::new(),
            with: Vec::new(),
            needs: Vec::new(),
            setup: Vec::new(),
            before: Vec::new(),
            kernel: Kernel::Running,
            options: Vec::new(),
            rules: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            file.line(line);
        }
        if file.with.is_empty() {
            file.with.push(String::new());
        }
        file
    }

    fn line(&mut self, line: &str) {
        if line.starts_with(' ') {
            let (_, values) = self.options.last_mut().unwrap();
            values.push(line.trim_start().to_owned());
            return;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start().to_owned();
        match word {
            "match" => self.extension = format!("-m {rest}"),
            "target" => self.extension = format!("-j {rest}"),
            "families" => self.families = rest.split(' ').map(family).collect(),
            "table" => self.table = rest,
            "chain" => self.chain = rest,
            "with" => self.with.push(rest),
            "needs" => self.needs.push(rest),
            "setup" => self.setup.push(rest),
            "before" => self.before.push(rest),
            "kernel" if rest == "pretended" => self.kernel = Kernel::Pretended,
            "rule" => self.rules.push(rest),
            option if option.starts_with("--") => {
                self.options.push((option.to_owned(), Vec::new()))
            }
            other => panic!("{}: {other}?", self.name),
        }
    }

    fn head(&self) -> String {
        let before: String = self.before.iter().map(|rule| format!("{rule}\n")).collect();
        format!("*{}\n:chain - [0:0]\n{before}", self.table)
    }

    /// A file of several rules.
    pub(crate) fn text(&self, lines: &[&str]) -> String {
        format!("{}{}\nCOMMIT\n", self.head(), lines.join("\n"))
    }

    /// Everything that is tried for a family.
    pub(crate) fn cases(&self, family: Family) -> Vec<Case> {
        let mut lines: Vec<String> = self.rules.clone();
        for with in &self.with {
            let begin = format!("{with} {}", self.extension);
            lines.push(begin.clone());
            let tails = std::iter::once("").chain(self.needs.iter().map(String::as_str));
            for tail in tails {
                for (option, values) in &self.options {
                    lines.extend(one_option(&begin, option, values, tail));
                }
            }
        }
        lines.extend(self.combinations(family));
        // The same line in other words of blanks is the same case.
        let mut seen = HashSet::new();
        lines.retain(|line| {
            let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            !words.is_empty() && seen.insert(words.join(" "))
        });
        let case = |line: String| Case {
            family,
            line: match line.starts_with("-A ") {
                true => line,
                false => format!("-A {} {}", self.chain, line.trim_start()),
            },
            head: self.head(),
        };
        lines.into_iter().map(case).collect()
    }

    /// Several options at once, chosen by a seed.
    fn combinations(&self, family: Family) -> Vec<String> {
        let mut random = Random(seed().wrapping_mul(2).wrapping_add(family.number().into()));
        let mut lines = Vec::new();
        if self.options.len() < 2 {
            return lines;
        }
        for _ in 0..40 + 10 * self.options.len() {
            let mut line = format!("{} {}", random.choose(&self.with), self.extension);
            if !self.needs.is_empty() && random.below(2) == 0 {
                line += &format!(" {}", random.choose(&self.needs));
            }
            for _ in 0..random.below(4) + 1 {
                let (option, values) = random.choose(&self.options);
                let inverted = if random.below(4) == 0 { " !" } else { "" };
                let value = if values.is_empty() { "" } else { random.choose(values) };
                line += &format!("{inverted} {option} {value}");
            }
            lines.push(line);
        }
        lines
    }

    /// Makes what the rules need.
    pub(crate) fn set_up(&self, judge: &mut Iptables) {
        for command in &self.setup {
            assert_eq!(judge.run(command), 0, "{command}: {}", judge.written("err"));
        }
    }

    /// Options of `--help` that no case has.
    pub(crate) fn missing_options(&self, judge: &mut Iptables) -> Vec<String> {
        if self.extension.is_empty() {
            return Vec::new();
        }
        let mut missing = Vec::new();
        for family in &self.families {
            let program = match family {
                Family::V4 => "iptables-legacy",
                Family::V6 => "ip6tables-legacy",
            };
            judge.run(&format!("{program} --help"));
            let general = judge.written("out");
            judge.run(&format!("{program} {} --help", self.extension));
            let all = judge.written("out");
            let own = all.lines().filter(|line| !general.lines().any(|known| known == *line));
            for word in
                own.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '-')))
            {
                let Some(option) = word.strip_prefix("--").filter(|option| option.len() > 1) else {
                    continue;
                };
                let known = self.options.iter().any(|(name, _)| name.as_str() == word)
                    || self.rules.iter().any(|rule| rule.contains(word));
                if !known && !missing.iter().any(|name| name == option) {
                    missing.push(option.to_owned());
                }
            }
        }
        missing
    }
}

fn family(name: &str) -> Family {
    match name {
        "4" => Family::V4,
        "6" => Family::V6,
        _ => panic!("family {name}?"),
    }
}

fn one_option(begin: &str, option: &str, values: &[String], tail: &str) -> Vec<String> {
    let none = [String::new()];
    let values = if values.is_empty() { &none } else { values };
    let mut lines = vec![format!("{begin} {tail} {option}"), format!("{begin} {option} {tail}")];
    for value in values {
        lines.push(format!("{begin} {option} {value} {tail}"));
        lines.push(format!("{begin} ! {option} {value} {tail}"));
    }
    let value = &values[0];
    lines.push(format!("{begin} {option} {value} {option} {value} {tail}"));
    lines.push(format!("{begin} {option} ! {value} {tail}"));
    lines
}

/// From which number the combinations are made.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("STATEWARD_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or(1)
}

/// A small generator: the same seed gives the same cases everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % bound as u64) as usize
    }

    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
