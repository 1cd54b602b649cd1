//! Where the two sides differ.

use std::fmt::{self, Debug};

use super::heard::{End, Fate, Heard, Left, Told};
use super::reasons;

/// One thing on which the sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The step, or none for what is looked at in the end.
    pub step: Option<usize>,
    /// What they do not agree on.
    pub what: &'static str,
    /// What the kernel did.
    pub kernel: String,
    /// What the engine did.
    pub engine: String,
    /// The difference without numbers and names.
    nature: String,
}

impl Difference {
    /// What two differences of the same cause have in common: no numbers, no names.
    pub fn kind(&self) -> String {
        format!("{}: {}", self.what, self.nature)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "packet {}, {}", step + 1, self.what)?,
            None => write!(f, "at the end, {}", self.what)?,
        }
        write!(f, "\n  kernel {}\n  engine {}", self.kernel, self.engine)
    }
}

/// Timeouts read back up to a second low, and sides are not asked at the same moment.
const TIMEOUT_SLACK: u32 = 2;
/// Nanoseconds between the two sides' idea of when a packet was seen.
const CLOCK_SLACK: u64 = 100_000_000;

/// All differences, in the order in which they occurred.
pub(super) fn differences(kernel: &Heard, engine: &Heard) -> Vec<Difference> {
    let mut found = Vec::new();
    for (step, (theirs, ours)) in kernel.packets.iter().zip(&engine.packets).enumerate() {
        let mut note = Notes { step: Some(step), found: &mut found };
        note.packet(theirs, ours);
    }
    let mut note = Notes { step: None, found: &mut found };
    note.all_told("table", &kernel.table, &engine.table);
    note.lines("lines", &kernel.lines, &engine.lines);
    for (what, family) in [("rules of IPv4", 0), ("rules of IPv6", 1)] {
        note.lines(what, &kernel.rules[family], &engine.rules[family]);
    }
    for (name, theirs) in &kernel.statistics {
        let ours = engine.statistics.get(name).copied().unwrap_or_default();
        note.that(name, theirs, &ours);
    }
    found
}

struct Notes<'a> {
    step: Option<usize>,
    found: &'a mut Vec<Difference>,
}

impl Notes<'_> {
    fn packet(&mut self, theirs: &Fate, ours: &Fate) {
        self.all_told("expired", &theirs.expired, &ours.expired);
        self.left("what left in vain", &theirs.given_up, &ours.given_up);
        self.path(&theirs.path, &ours.path);
        self.state(theirs, ours);
        self.that("direction", &theirs.direction, &ours.direction);
        if !same_end(theirs.end, ours.end) {
            let nature = format!("{:?} {:?}", theirs.end, ours.end);
            let told = |fate: &Fate| format!("{:?}, left {:?}", fate.end, fate.out);
            self.note("end", [told(theirs), told(ours)], nature);
        }
        self.reason(theirs, ours);
        self.all_told("events", &theirs.events, &ours.events);
        self.that("expectations", &theirs.announced, &ours.announced);
        self.left("what left", &theirs.out, &ours.out);
        self.that("the state of answers", &theirs.answers, &ours.answers);
    }

    fn reason(&mut self, theirs: &Fate, ours: &Fate) {
        // What routing stops does not tell its doubts.
        let hidden = ours.reasons.is_empty() && ours.end == End::Routing;
        let agree = (0..=theirs.foreign_reasons.min(theirs.reasons.len())).any(|foreign| {
            let own = theirs.reasons.get(..theirs.reasons.len() - foreign).unwrap_or_default();
            reasons::agree(own, ours.reasons.first(), ours.state)
        });
        if !hidden && !agree {
            self.that("reason", &theirs.reasons, &ours.reasons);
        }
    }

    fn path(&mut self, theirs: &[String], ours: &[String]) {
        if theirs == ours {
            return;
        }
        let at = theirs.iter().zip(ours).take_while(|(theirs, ours)| theirs == ours).count();
        let next = |path: &[String]| path.get(at).cloned().unwrap_or_default();
        let mut nature = format!("{} {}", next(theirs), next(ours));
        nature.retain(|c| !c.is_ascii_digit());
        self.note("rules met", [theirs.join(" "), ours.join(" ")], nature);
    }

    /// What a rule drops before the tracker, though it was to pass that by, is UNTRACKED on our side
    /// only; and so is what becomes UNTRACKED only when it has come back by `lo`.
    fn state(&mut self, theirs: &Fate, ours: &Fate) {
        let dropped = ours.end == End::Rule && theirs.state.is_none();
        let late = !ours.reasons.is_empty() && theirs.state == Some("INVALID");
        if ours.state != Some("UNTRACKED") || !(dropped || late) {
            self.that("state", &theirs.state, &ours.state);
        }
    }

    fn lines(&mut self, what: &'static str, theirs: &[String], ours: &[String]) {
        if theirs == ours {
            return;
        }
        let only = |these: &[String], those: &[String]| {
            let lines = these.iter().filter(|line| !those.contains(line));
            lines.map(|line| format!("\n    {line}")).collect::<String>()
        };
        self.note(what, [only(theirs, ours), only(ours, theirs)], String::new());
    }

    fn that<T: Debug + PartialEq>(&mut self, what: &'static str, theirs: &T, ours: &T) {
        if theirs != ours {
            self.add(what, format!("{theirs:?}"), format!("{ours:?}"));
        }
    }

    fn left(&mut self, what: &'static str, theirs: &[Left], ours: &[Left]) {
        if theirs != ours {
            let count = |left: &[Left]| left.iter().map(|left| left.by_host).collect::<Vec<_>>();
            let nature = format!("by host {:?} {:?}", count(theirs), count(ours));
            self.note(what, [format!("{theirs:?}"), format!("{ours:?}")], nature);
        }
    }

    fn all_told(&mut self, what: &'static str, theirs: &[Told], ours: &[Told]) {
        let same = theirs.len() == ours.len()
            && theirs.iter().zip(ours).all(|(theirs, ours)| alike(theirs, ours));
        if same {
            return;
        }
        // Of long lists only what is on one side.
        let only = |these: &[Told], those: &[Told]| {
            let lines = these.iter().filter(|told| !those.iter().any(|other| alike(told, other)));
            lines.map(|told| format!("\n    {told:?}")).collect::<String>()
        };
        let (kernel, engine) = (only(theirs, ours), only(ours, theirs));
        let missing = |words: String| if words.is_empty() { "nothing else".into() } else { words };
        let (kernel, mut engine) = (missing(kernel), missing(engine));
        if let ([theirs], [ours]) = (theirs, ours) {
            engine += "\n    ";
            engine += &attributes(theirs, ours);
        }
        self.note(what, [kernel, engine], nature(theirs, ours));
    }

    fn add(&mut self, what: &'static str, kernel: String, engine: String) {
        let mut nature = format!("{kernel} {engine}");
        nature.retain(|c| !c.is_ascii_digit());
        self.note(what, [kernel, engine], nature);
    }

    fn note(&mut self, what: &'static str, [kernel, engine]: [String; 2], nature: String) {
        self.found.push(Difference { step: self.step, what, kernel, engine, nature });
    }
}

/// The kernel does not say that it was a rule that ended a packet's way, but where.
fn same_end(theirs: End, ours: End) -> bool {
    match ours {
        End::Rule => matches!(theirs, End::Tracker | End::Routing | End::Confirm),
        ours => theirs == ours,
    }
}

/// In which respects two lists differ.
fn nature(theirs: &[Told], ours: &[Told]) -> String {
    if theirs.len() != ours.len() {
        let names = |told: &[Told]| told.iter().map(|told| told.event).collect::<Vec<_>>();
        return format!("{:?} {:?}", names(theirs), names(ours));
    }
    let mut respects = Vec::new();
    for (theirs, ours) in theirs.iter().zip(ours).filter(|(theirs, ours)| !alike(theirs, ours)) {
        let mut note = |respect: &str, differs: bool| {
            if differs {
                respects.push(respect.to_owned());
            }
        };
        note(&format!("{}/{}", theirs.event, ours.event), true);
        note("tuples", (&theirs.original, &theirs.reply) != (&ours.original, &ours.reply));
        note("number", theirs.connection != ours.connection);
        note("status", theirs.status != ours.status);
        note("timeout", !near(seconds(theirs), seconds(ours), TIMEOUT_SLACK.into()));
        note(&protocols(theirs, ours), theirs.protocol != ours.protocol);
        note("counters", theirs.counters != ours.counters);
        note("times", (theirs.start, theirs.stop) != (ours.start, ours.stop));
        note(&attributes(theirs, ours), theirs.present != ours.present);
    }
    respects.join(" ")
}

/// What becomes of the protocol's state on either side.
fn protocols(theirs: &Told, ours: &Told) -> String {
    let state = |told: &Told| {
        let words = told.protocol.as_deref().and_then(|words| words.split(' ').next());
        words.unwrap_or("no state").to_owned()
    };
    format!("{}/{}", state(theirs), state(ours))
}

/// Which attributes only one of two messages has.
fn attributes(theirs: &Told, ours: &Told) -> String {
    if theirs.present == ours.present {
        return String::new();
    }
    let only = |these: &Told, those: &Told| {
        let names = these.present.difference(&those.present);
        names
            .filter(|name| !name.contains("PROTO") || *name == "PROTOINFO")
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!("without [{}], beyond [{}]", only(theirs, ours), only(ours, theirs))
}

/// Equal but for what differs with the clock.
fn alike(theirs: &Told, ours: &Told) -> bool {
    near(seconds(theirs), seconds(ours), TIMEOUT_SLACK.into())
        && near(theirs.start, ours.start, CLOCK_SLACK)
        && near(theirs.stop, ours.stop, CLOCK_SLACK)
        // Of what a dropped packet has caused the kernel tells when, though it tells it later.
        && (near(theirs.told, ours.told, CLOCK_SLACK)
            || theirs.told.zip(ours.told).is_some_and(|(theirs, ours)| theirs < ours))
        && timeless(theirs) == timeless(ours)
}

fn timeless(told: &Told) -> Told {
    let mut told = told.clone();
    if told.event == "DESTROY" {
        told.present.remove("TIMEOUT");
    }
    Told { timeout: None, start: None, stop: None, told: None, ..told }
}

fn near(a: Option<u64>, b: Option<u64>, slack: u64) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) <= slack,
        (a, b) => a == b,
    }
}

/// The timeout told. A DESTROY tells none of 0, and which moment counts as 0 depends on the clock.
fn seconds(told: &Told) -> Option<u64> {
    let timeout = match told.event {
        "DESTROY" => Some(told.timeout.unwrap_or(0)),
        _ => told.timeout,
    };
    timeout.map(u64::from)
}
