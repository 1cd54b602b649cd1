//! A dialogue on which the sides once differed, as a file that is replayed for ever.
//!
//! Lines of words: `sysctl NAME VALUE`, `unrouted`, `host`, `rp_filter N`, `mtu N`, `policy WORDS`
//! that nfct takes behind `add timeout`, then one a packet, `lan`, `wan` or `local` with its bytes in hexadecimal and its [`Manner`] of answering, if it
//! has one, and between packets `pause
//! MILLISECONDS` and `change NAME VALUE` of a sysctl. What follows a `#` is for people. `rules4 LINE`
//! and `rules6 LINE` are lines for iptables-restore, to their ends.

use std::fmt::Write;
use std::time::Duration;

use super::describe::describe;
use crate::adapt::Manner;
use crate::dialogue::{Dialogue, Port, Settings, Step};

/// The text of a case; `story` says what differed.
pub fn write(dialogue: &Dialogue, story: &str) -> String {
    let mut text = String::new();
    for line in story.lines() {
        text += format!("# {line}").trim_end();
        text.push('\n');
    }
    let Settings { sysctls, unrouted, host, rp_filter, mtu, policies, rules } = &dialogue.settings;
    for (name, value) in sysctls {
        let _ = writeln!(text, "sysctl {name} {value}");
    }
    if *unrouted {
        text += "unrouted\n";
    }
    if *host {
        text += "host\n";
    }
    if *rp_filter != 0 {
        let _ = writeln!(text, "rp_filter {rp_filter}");
    }
    if let Some(mtu) = mtu {
        let _ = writeln!(text, "mtu {mtu}");
    }
    policies.iter().for_each(|policy| text += &format!("policy {policy}\n"));
    for (family, rules) in RULES.iter().zip(rules.iter().flatten()) {
        rules.lines().for_each(|line| text += &format!("{family} {line}\n"));
    }
    for Step { from, bytes, pause, changes, manner, .. } in &dialogue.steps {
        for (name, value) in changes {
            let _ = writeln!(text, "change {name} {value}");
        }
        if *pause != Duration::ZERO {
            let _ = writeln!(text, "pause {}", pause.as_millis());
        }
        let _ = writeln!(text, "# {}", describe(bytes));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(text, "{} {hex}", name(*from));
        if *manner != Manner::AsIs {
            let _ = write!(text, " {}", manner.name());
        }
        text.push('\n');
    }
    text
}

/// What lines of rules begin with.
const RULES: [&str; 2] = ["rules4", "rules6"];

const fn name(port: Port) -> &'static str {
    match port {
        Port::Lan => "lan",
        Port::Wan => "wan",
        Port::Local => "local",
    }
}

/// Reads the text of a case; the error names the line.
pub fn read(text: &str) -> Result<Dialogue, String> {
    let mut dialogue = Dialogue { settings: Settings::default(), steps: Vec::new() };
    let mut next = Step::new(Port::Lan, Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        if take_rule(&mut dialogue.settings, line) {
            continue;
        }
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let understood = take(&mut dialogue, &mut next, &words);
        understood.ok_or_else(|| format!("line {}: not understood: {line}", number + 1))?;
    }
    Ok(dialogue)
}

/// Takes a line of rules, if it is one.
fn take_rule(settings: &mut Settings, line: &str) -> bool {
    let Some((word, rule)) = line.split_once(' ') else { return false };
    let Some(family) = RULES.iter().position(|known| *known == word) else { return false };
    let texts = settings.rules.get_or_insert_default();
    if let Some(text) = texts.get_mut(family) {
        *text += rule;
        text.push('\n');
    }
    true
}

fn take(dialogue: &mut Dialogue, next: &mut Step, words: &[&str]) -> Option<()> {
    let settings = &mut dialogue.settings;
    match *words {
        [] => {}
        ["sysctl", name, value] => settings.sysctls.push((name.to_owned(), value.parse().ok()?)),
        ["unrouted"] => settings.unrouted = true,
        ["host"] => settings.host = true,
        ["rp_filter", asked] => settings.rp_filter = asked.parse().ok()?,
        ["mtu", mtu] => settings.mtu = Some(mtu.parse().ok()?),
        ["policy", ref policy @ ..] => settings.policies.push(policy.join(" ")),
        ["pause", milliseconds] => next.pause = Duration::from_millis(milliseconds.parse().ok()?),
        ["change", name, value] => next.changes.push((name.to_owned(), value.parse().ok()?)),
        [from, ref hex @ ..] => {
            let from = match from {
                "lan" => Port::Lan,
                "wan" => Port::Wan,
                "local" => Port::Local,
                _ => return None,
            };
            let bytes = bytes(hex.first().copied().unwrap_or_default())?;
            let manner = match hex.get(1) {
                Some(name) => Manner::ALL.into_iter().find(|manner| manner.name() == *name)?,
                None => Manner::AsIs,
            };
            let empty = Step::new(Port::Lan, Vec::new(), 0);
            dialogue.steps.push(Step { from, bytes, manner, ..std::mem::replace(next, empty) });
        }
    }
    Some(())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let places = (0..hex.len()).step_by(2);
    places.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::Plan;

    #[test]
    fn a_case_is_read_back() {
        for seed in 0..20 {
            let mut dialogue = Dialogue::generate(seed, &Plan::default());
            if let Some(step) = dialogue.steps.get_mut(3) {
                step.pause = Duration::from_millis(1300);
                step.changes.push(("tcp_loose".to_owned(), 0));
                step.manner = Manner::Third;
            }
            let text = write(&dialogue, "two lines\nof words");
            dialogue.steps.iter_mut().for_each(|step| step.flow = 0);
            assert_eq!(read(&text), Ok(dialogue));
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(read("lan 45\nwhere 1"), Err("line 2: not understood: where 1".to_owned()));
        assert!(read("lan 4").is_err());
    }
}
