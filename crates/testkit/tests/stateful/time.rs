//! `-m time`, around the time at which the test runs.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use testkit::dialogue::Random;
use testkit::kernel::Port;

use crate::both::{Case, everywhere, hold, kernel, packet, seeds, udp};

const DAY: u64 = 86_400;

/// A time of the day at least five minutes from `now`.
fn time_of_day(random: &mut Random, now: u64) -> u64 {
    loop {
        let time = random.below(DAY as usize) as u64;
        let distance = time.abs_diff(now % DAY);
        if distance > 300 && distance < DAY - 300 {
            return time;
        }
    }
}

fn rule(random: &mut Random, now: u64) -> String {
    let mut rule = "-m time".to_owned();
    let shown = |time: u64| format!("{:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
    let (start, stop) = (time_of_day(random, now), time_of_day(random, now));
    if random.chance(60) {
        write!(rule, " --timestart {} --timestop {}", shown(start), shown(stop)).unwrap();
        if start > stop && random.chance(60) {
            rule += " --contiguous";
        }
    }
    // Whether a packet comes before midnight or after it is not told by this test's clock.
    let midnight_is_near = DAY - now % DAY < 300;
    let mut list = |random: &mut Random, name: &str, around: u64, most: usize| {
        if !midnight_is_near && random.chance(40) {
            let not = if random.chance(30) { "! " } else { "" };
            // Today and yesterday, mostly.
            let day = match random.below(3) {
                0 => around,
                1 => around.saturating_sub(1).max(1),
                _ => random.below(most) as u64 + 1,
            };
            write!(rule, " {not}--{name} {day}").unwrap();
        }
    };
    let days = now / DAY;
    list(random, "weekdays", (days + 3) % 7 + 1, 7);
    list(random, "monthdays", day_of_month(), 31);
    if random.chance(20) {
        let date = random.pick(["2026-01-01", "2037-12-31", "1999-02-28T23:59:59"]);
        write!(rule, " --{} {date}", random.pick(["datestart", "datestop"])).unwrap();
    }
    if random.chance(30) {
        rule += " --kerneltz";
    }
    rule
}

/// Today's day of the month, as `date` says.
fn day_of_month() -> u64 {
    let said = std::process::Command::new("date").args(["-u", "+%d"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn clock_and_calendar_are_the_kernels() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(4) {
        let mut random = Random::new(seed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let rules4 = everywhere(&mut random, 30, |random, _| rule(random, now));
        let rules6 = everywhere(&mut random, 30, |random, _| rule(random, now));
        let four = udp("192.168.1.10:4000", "198.51.100.5:53", b"");
        let six = udp("[fd00:1::10]:4000", "[2001:db8::5]:53", b"");
        let own = udp("192.168.1.10:4000", "192.168.1.1:53", b"");
        let steps = [four, six, own].map(|one| packet(Port::Lan, &one)).to_vec();
        let case = Case { rules4, rules6, steps, ..Case::default() };
        hold(&mut kernel, &case).unwrap_or_else(|report| panic!("seed {seed}: {report}"));
    }
}
