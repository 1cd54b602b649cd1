//! The summary for people.

use crate::text::{assumption, knowledge};
use std::fmt;

use stateward_conntrack::Instant;

use super::{Clock, Date, NANOS_PER_DAY};
use crate::capture::Counters;
use crate::describe::Described;
use crate::run::Replay;
use crate::summary::{STATES, Summary, Verdicts};
use crate::verify::{Difference, Left, Verified};

/// The summary of a replay, several lines.
pub struct Report<'a>(pub &'a Replay);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0.summary();
        headline(f, summary)?;
        let states = STATES.iter().map(|state| state.name()).zip(summary.states);
        column(f, "State", states)?;
        column(f, "Verdict", verdicts(&summary.verdicts))?;
        column(f, "INVALID because of", summary.invalid.sorted())?;
        column(f, "Dropped because of", summary.dropped.sorted())?;
        column(f, "Not evaluated, though packets met it", summary.not_evaluated.sorted())?;
        let assumed = summary.assumed.sorted().into_iter();
        let assumed = assumed.map(|(name, count)| (assumption(name), count));
        column(f, "Assumed of packets, because a capture cannot know", assumed)?;
        let given =
            summary.given.sorted().into_iter().map(|(name, count)| (knowledge(name), count));
        column(f, "Given of packets, since a capture cannot know", given)?;
        let statistics = self.0.engine().tracker().statistics();
        let given_up = "connections gave way to new ones (early_drop)";
        column(f, "The table was full", [(given_up, statistics.early_drop)])?;
        column(f, "The capture", self.capture())?;
        self.0.verified().map_or(Ok(()), |verified| self.verified(f, &verified))
    }
}

impl Report<'_> {
    /// What came of predictions.
    fn verified(&self, f: &mut fmt::Formatter<'_>, verified: &Verified) -> fmt::Result {
        writeln!(f, "Predicted to leave by interfaces that were captured")?;
        writeln!(f, "{:>14}  packets", Grouped(verified.predicted).to_string())?;
        let lines = [
            ("seen, byte for byte", verified.seen),
            ("left otherwise", verified.otherwise),
            ("never seen", verified.never),
            ("too close to the capture's end to tell", verified.open),
            ("left, though nothing predicted it", verified.unpredicted),
        ];
        let mut lines = lines.into_iter().filter(|(_, count)| *count > 0);
        lines.try_for_each(|(word, count)| {
            writeln!(f, "{:>14}  {word}", Grouped(count).to_string())
        })?;
        verified.differences.iter().try_for_each(|difference| self.difference(f, difference))
    }

    fn difference(&self, f: &mut fmt::Formatter<'_>, difference: &Difference) -> fmt::Result {
        let Difference { predicted, recorded } = difference;
        let number = recorded.as_ref().or(predicted.as_ref()).map_or(0, |left| left.number);
        writeln!(f, "Packet {number}")?;
        let mut line = |what: &str, left: &Left| {
            let by = left.by.map_or("?", |by| self.0.entrance().name(by));
            writeln!(f, "  {what:<12}{by:<8} {}", Described(&left.head))
        };
        match (predicted, recorded) {
            (Some(predicted), Some(recorded)) => {
                line("predicted", predicted)?;
                line("left as", recorded)
            }
            (Some(predicted), None) => line("never seen", predicted),
            (None, Some(recorded)) => line("left as", recorded),
            (None, None) => Ok(()),
        }
    }

    /// What the captures held that no kernel saw like that.
    fn capture(&self) -> [(&'static str, u64); 7] {
        let summary = self.0.summary();
        let sum = |of: fn(Counters) -> u64| {
            self.0.merge().captures().map(|capture| of(capture.counters())).sum()
        };
        [
            ("checksums left to the network card, taken for right", summary.unfinished),
            ("packets cut by the snap length, unverified", summary.cut),
            ("packets longer than the MTU (offload or jumbo frames)", summary.superpackets),
            (
                "packets whose time ran backwards, raised to the latest (reordercap sorts them)",
                summary.backwards,
            ),
            ("ARP frames, passed over", sum(|counters| counters.arp)),
            ("frames of other protocols, passed over", sum(|counters| counters.not_ip)),
            ("frames too short for IP, passed over", sum(|counters| counters.short)),
        ]
    }
}

fn verdicts(verdicts: &Verdicts) -> [(&'static str, u64); 9] {
    let Verdicts { forward, input, output, drop, reject, queue, held, seen, malformed } = *verdicts;
    [
        ("forward", forward),
        ("input", input),
        ("output", output),
        ("drop", drop),
        ("reject", reject),
        ("queue", queue),
        ("held", held),
        ("seen", seen),
        ("malformed", malformed),
    ]
}

fn headline(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    let (packets, connections) = (summary.packets, summary.connections);
    write!(f, "{} packet{}", Grouped(packets), plural(packets))?;
    if let Some((first, last)) = summary.span {
        let seconds = first.until(last).0 as f64 / 1e9;
        write!(f, " in {seconds:.3} s ({} to {})", Moment(first), Moment(last))?;
    }
    write!(f, ", {} connection{}", Grouped(connections), plural(connections))?;
    writeln!(f, ", at most {} at a time", Grouped(summary.peak))
}

/// Lines of what is not zero, under a heading.
fn column(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    lines: impl IntoIterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let mut lines = lines.into_iter().filter(|&(_, count)| count > 0).peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "{heading}")?;
    lines.try_for_each(|(word, count)| writeln!(f, "{:>14}  {word}", Grouped(count).to_string()))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A number with commas between thousands.
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut left = digits.len();
        for digit in digits.chars() {
            write!(f, "{digit}")?;
            left -= 1;
            if left > 0 && left.is_multiple_of(3) {
                f.write_str(",")?;
            }
        }
        Ok(())
    }
}

/// Date and time to the millisecond.
struct Moment(Instant);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Instant(nanos)) = *self;
        let clock = Clock(nanos).to_string();
        let clock = clock.get(..12).unwrap_or(&clock);
        let date = Date(nanos / NANOS_PER_DAY).to_string();
        write!(f, "{} {clock} UTC", date.trim_end_matches(" UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let grouped = |number| Grouped(number).to_string();
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_moment_is_a_date_and_a_time() {
        let moment = Moment(Instant(1_795_206_875_508_562_999)).to_string();
        assert_eq!(moment, "2026-11-20 20:34:35.508 UTC");
    }
}
