use super::*;
use crate::evaluate::tests::{Alone, met};

/// Whether `-m time OPTIONS` holds at a second since 1970.
fn holds(options: &str, second: u64) -> bool {
    met(&format!("-m time {options}"), &mut Alone::udp(53).at(second)).unwrap()
}

/// 2026-11-21 17:53:40, a Saturday.
const SATURDAY: u64 = 1_795_283_620;

#[test]
fn days_are_those_of_the_calendar() {
    // As `date -u -d @SECONDS +%u,%e` says.
    let rows = [
        (0, 4, 1),
        (SATURDAY, 6, 21),
        (951_782_400, 2, 29),
        (951_868_800, 3, 1),
        (4_102_444_799, 4, 31),
        (4_107_542_400, 1, 1),
        (4_294_967_295, 7, 7),
    ];
    for (second, week_day, month_day) in rows {
        let day = second / DAY;
        assert_eq!((week_day_of(day), month_day_of(day)), (week_day, month_day), "{second}");
    }
}

#[test]
fn times_of_the_day_include_both_ends() {
    let midnight = SATURDAY / DAY * DAY;
    let at = |hours: u64, minutes: u64, seconds| midnight + (hours * 60 + minutes) * 60 + seconds;
    let office = "--timestart 08:00 --timestop 17:00";
    let rows = [(at(7, 59, 59), false), (at(8, 0, 0), true), (at(17, 0, 0), true)];
    for (second, expected) in rows {
        assert_eq!(holds(office, second), expected);
    }
    assert!(!holds(office, at(17, 0, 1)));
    let night = "--timestart 22:00 --timestop 06:00";
    let rows = [(at(21, 59, 59), false), (at(22, 0, 0), true), (at(6, 0, 0), true)];
    for (second, expected) in rows {
        assert_eq!(holds(night, second), expected);
    }
    assert!(!holds(night, at(6, 0, 1)));
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_began_if_it_shall() {
    let midnight = SATURDAY / DAY * DAY;
    let friday = "--timestart 23:00 --timestop 01:00 --weekdays Fri";
    let contiguous = format!("{friday} --contiguous");
    let (before, after) = (midnight - 1800, midnight + 1800);
    assert_eq!((holds(friday, before), holds(friday, after)), (true, false));
    assert_eq!((holds(&contiguous, before), holds(&contiguous, after)), (true, true));
    let next_day = midnight + DAY - 1800;
    assert!(!holds(&contiguous, next_day));
}

#[test]
fn dates_and_days_must_hold_together() {
    assert!(holds("--datestart 2026-11-21 --datestop 2026-11-21T17:53:40", SATURDAY));
    assert!(!holds("--datestop 2026-11-21T17:53:39", SATURDAY));
    assert!(!holds("--datestart 2026-11-21T17:53:41", SATURDAY));
    assert!(holds("--monthdays 21 --weekdays Sat,Sun", SATURDAY));
    assert!(!holds("! --monthdays 21", SATURDAY));
    assert!(!holds("--weekdays Sun", SATURDAY));
    assert!(holds("! --weekdays Sun --kerneltz", SATURDAY));
}
