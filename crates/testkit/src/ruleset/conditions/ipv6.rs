//! What is asked of IPv6's extension headers.

use stateward_wire::Family;

use super::super::{Place, not};
use crate::dialogue::Random;

/// The text, in an IPv6 rule.
fn only(place: &Place, text: String) -> Option<String> {
    (place.family == Family::V6).then_some(text)
}

pub(super) fn frag(random: &mut Random, place: &Place) -> Option<String> {
    let not = not(random);
    let asked = match random.below(5) {
        0 => format!("{not}--fragid {}", random.pick(["0:2147483647", "1:65535"])),
        1 => "--fragres".to_owned(),
        2 => "--fragfirst --fragmore".to_owned(),
        3 => "--fragfirst --fraglast".to_owned(),
        _ => format!("{not}--fraglen 8"),
    };
    only(place, format!("-m frag {asked}"))
}

pub(super) fn rt(random: &mut Random, place: &Place) -> Option<String> {
    let not = not(random);
    let asked = match random.below(5) {
        0 => format!("{not}--rt-type {}", random.pick([0, 2, 3, 4])),
        1 => format!("{not}--rt-segsleft {}", random.pick(["0", "1:9", "0:1"])),
        2 => format!("{not}--rt-len {}", random.pick([24, 8])),
        3 => "--rt-type 0 --rt-0-res".to_owned(),
        _ => "--rt-type 0 --rt-0-addrs 2001:db8::6".to_owned(),
    };
    only(place, format!("-m rt {asked}"))
}

/// `hbh`, which looks as `dst` does.
pub(super) fn hbh(random: &mut Random, place: &Place) -> Option<String> {
    options(random, place, "hbh")
}

pub(super) fn dst(random: &mut Random, place: &Place) -> Option<String> {
    options(random, place, "dst")
}

fn options(random: &mut Random, place: &Place, name: &str) -> Option<String> {
    let not = not(random);
    let length = format!("{not}--{name}-len {}", random.pick([8, 16]));
    let list = random.pick(["1:4", "5:2,0,0", "1", "0,0,0", "0x1e:4", "1:12", "4,4,1"]);
    let list = format!("--{name}-opts {list}");
    let asked = match random.below(3) {
        0 => length,
        1 => list,
        _ => format!("{length} {list}"),
    };
    only(place, format!("-m {name} {asked}"))
}

pub(super) fn ipv6header(random: &mut Random, place: &Place) -> Option<String> {
    let headers =
        random.pick(["hop", "dst", "route,dst", "frag", "auth", "esp", "none", "prot", "dst,prot"]);
    let soft = random.pick(["", " --soft"]);
    only(place, format!("-m ipv6header {}--header {headers}{soft}", not(random)))
}

pub(super) fn mh(random: &mut Random, place: &Place) -> Option<String> {
    place.only("mh", || {
        format!("-m mh {}--mh-type {}", not(random), random.pick(["0:4", "5", "bu:be", "9:255"]))
    })
}

/// No packet of the judge's has an Ethernet header.
pub(super) fn eui64(_: &mut Random, place: &Place) -> Option<String> {
    let hooks = ["PREROUTING", "INPUT", "FORWARD"].map(Some);
    hooks.contains(&place.hook).then(|| only(place, "-m eui64".to_owned())).flatten()
}
