//! Matches that remember under a name, or look at bytes and clocks. What they decide does not depend
//! on the real time: rates are of hours, windows of days.

use super::super::{Place, not};
use crate::dialogue::Random;

pub(super) fn hashlimit(random: &mut Random, place: &Place) -> Option<String> {
    let number = random.below(4);
    let bound = random.pick(["upto", "above"]);
    let counted = match number {
        0 => "20/hour --hashlimit-burst 6 --hashlimit-mode srcip",
        1 => "5/hour --hashlimit-burst 3 --hashlimit-mode srcip,dstip,dstport",
        2 => "3/sec --hashlimit-rate-match --hashlimit-rate-interval 1000 --hashlimit-mode dstip",
        _ => "9/day --hashlimit-mode srcport --hashlimit-htable-size 2 --hashlimit-htable-max 6",
    };
    let length = place.either(["24", "31"], ["64", "127"]);
    let mask = match random.chance(30) {
        true => format!(" --hashlimit-srcmask {}", random.pick(length)),
        false => String::new(),
    };
    Some(format!(
        "-m hashlimit --hashlimit-{bound} {counted} --hashlimit-htable-expire 600000{mask} \
         --hashlimit-name t{number}"
    ))
}

pub(super) fn recent(random: &mut Random, _: &Place) -> Option<String> {
    let what = random.pick(["set", "set", "rcheck", "update", "update", "remove"]);
    let (name, side) = (random.pick(["a", "b"]), random.pick(["rsource", "rdest"]));
    let mut rule = format!("-m recent {}--{what} --name {name} --{side}", not(random));
    if matches!(what, "rcheck" | "update") {
        rule +=
            random.pick(["", " --hitcount 3", " --seconds 3600", " --seconds 3600 --hitcount 9"]);
        rule += random.pick(["", " --rttl"]);
    }
    Some(rule)
}

pub(super) fn string(random: &mut Random, _: &Place) -> Option<String> {
    let pattern = random.pick(["00", "0000", "0035", "01", "c0a801", "2001"]);
    let range = random.pick(["", " --to 40", " --from 20", " --from 12 --to 20"]);
    let (not, algorithm) = (not(random), random.pick(["bm", "kmp"]));
    Some(format!("-m string {not}--hex-string |{pattern}| --algo {algorithm}{range}"))
}

pub(super) fn time(random: &mut Random, _: &Place) -> Option<String> {
    let window = random.pick([
        "--datestart 2020-01-01",
        "--datestop 2020-01-01T12:00:00",
        "--weekdays Mon,Tue,Wed,Thu,Fri,Sat,Sun",
        "! --monthdays 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ]);
    Some(format!("-m time {window}"))
}
