use crate::evaluate::tests::{Alone, Sharing};

/// Packets from 192.0.2.1 in turn, each with its second, under rules of FORWARD that drop.
fn dropped(rules: &[&str], seconds: &[u64]) -> (Vec<bool>, String) {
    let mut sharing = Sharing::new(rules);
    let sent = seconds.iter().map(|second| sharing.is_dropped(Alone::udp(53).at(*second)));
    let met = sent.collect();
    let text = sharing.shared().recent.to_string();
    (met, text)
}

#[test]
fn the_fourth_packet_in_a_minute_is_one_too_many() {
    let rules = [
        "-m recent --update --seconds 60 --hitcount 3 --name ssh -j DROP",
        "-m recent --set --name ssh",
    ];
    let (met, text) = dropped(&rules, &[1, 2, 3, 4, 63, 124, 125]);
    // Those that are dropped are noted as well.
    assert_eq!(met, [false, false, false, true, false, false, false]);
    let expected = "==> /proc/net/xt_recent/ssh <==\n\
                    src=192.0.2.1 ttl: 65 last_seen: 31250 oldest_pkt: 7 \
                    250, 500, 750, 1000, 15750, 31000, 31250\n";
    assert_eq!(text, expected);
}

#[test]
fn an_address_is_gone_when_it_is_removed_or_reaped() {
    let rules = ["-s 192.0.2.1 -m recent --remove -j DROP", "-m recent --set"];
    assert_eq!(dropped(&rules, &[1, 2, 3, 4]).0, [false, true, false, true]);
    let rules = ["-m recent --rcheck --seconds 5 --reap -j DROP", "-m recent --set"];
    let (met, text) = dropped(&rules, &[1, 3, 9]);
    assert_eq!(met, [false, true, false]);
    assert!(text.contains("oldest_pkt: 1 2250\n"), "{text}");
}
