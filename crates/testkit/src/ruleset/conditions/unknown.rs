//! Matches that ask for what a capture cannot know, and for interfaces and routes: of packets that
//! pass through the kernel without a process, a socket, a bridge or IPsec, as is assumed of them.

use super::super::{Place, not};
use crate::dialogue::Random;

/// The text, in one of the hooks.
fn in_hooks(place: &Place, hooks: &[&str], text: String) -> Option<String> {
    place.hook.filter(|hook| hooks.contains(hook)).map(|_| text)
}

/// Asked of what others have sent, behind the sources that no process here has.
pub(super) fn owner(random: &mut Random, place: &Place) -> Option<String> {
    let others = place.either("198.51.100.5-198.51.100.7", "2001:db8::5-2001:db8::7");
    let not = not(random);
    let asked = random.pick(["uid-owner 0", "gid-owner 1-9", "socket-exists"]);
    let text = format!("-m iprange --src-range {others} -m owner {not}--{asked}");
    in_hooks(place, &["POSTROUTING"], text)
}

pub(super) fn physdev(random: &mut Random, place: &Place) -> Option<String> {
    let not = not(random);
    let asked = random.pick(["physdev-in lan0", "physdev-is-in", "physdev-is-bridged"]);
    let hooks = ["PREROUTING", "INPUT", "FORWARD"];
    in_hooks(place, &hooks, format!("-m physdev {not}--{asked}"))
}

pub(super) fn socket(random: &mut Random, place: &Place) -> Option<String> {
    let asked = random.pick(["", " --nowildcard", " --transparent"]);
    in_hooks(place, &["PREROUTING", "INPUT"], format!("-m socket{asked}"))
}

pub(super) fn policy(random: &mut Random, place: &Place) -> Option<String> {
    let kind = random.pick(["none", "none", "ipsec"]);
    let way = match place.hook? {
        "PREROUTING" | "INPUT" => "in",
        "OUTPUT" | "POSTROUTING" => "out",
        _ => random.pick(["in", "out"]),
    };
    Some(format!("-m policy --dir {way} --pol {kind}"))
}

pub(super) fn cgroup(_: &mut Random, place: &Place) -> Option<String> {
    let hooks = ["INPUT", "OUTPUT", "POSTROUTING"];
    in_hooks(place, &hooks, "-m cgroup --cgroup 1".to_owned())
}

pub(super) fn rpfilter(random: &mut Random, place: &Place) -> Option<String> {
    let asked = random.pick(["", " --loose", " --accept-local", " --loose --accept-local"]);
    let inverted = random.pick(["", " --invert"]);
    let text = format!("-m rpfilter{asked}{inverted}");
    in_hooks(place, &["PREROUTING"], text).filter(|_| ["raw", "mangle"].contains(&place.table))
}

pub(super) fn devgroup(random: &mut Random, place: &Place) -> Option<String> {
    let side = match place.hook? {
        "PREROUTING" | "INPUT" => "src",
        "OUTPUT" | "POSTROUTING" => "dst",
        _ => random.pick(["src", "dst"]),
    };
    let group = random.pick(["0x0", "0x1", "0x4/0x4"]);
    Some(format!("-m devgroup {}--{side}-group {group}", not(random)))
}
