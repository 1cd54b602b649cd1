use crate::evaluate::tests::{Alone, Sharing};

/// Which packets are dropped, each given by the milliseconds at which it comes.
fn dropped(rules: &[&str], milliseconds: &[u64]) -> (Vec<bool>, String) {
    let mut sharing = Sharing::new(rules);
    let sent = milliseconds.iter().map(|at| sharing.is_dropped(Alone::udp(53).at_millis(*at)));
    let met = sent.collect();
    let shared = sharing.shared();
    let tables = shared.hashlimit.iter().map(|(_, name, table)| format!("{name} {table}"));
    (met, tables.collect())
}

const ABOVE: &str = "-m hashlimit --hashlimit-above 2/sec --hashlimit-burst 2 --hashlimit-mode srcip \
                     --hashlimit-name h -j DROP";

#[test]
fn credit_comes_back_with_time() {
    let at = [1000, 1000, 1000, 1496, 1500, 1500, 2500, 2500, 2500];
    let (met, table) = dropped(&[ABOVE], &at);
    assert_eq!(met, [false, false, true, true, false, true, false, false, true]);
    // As /proc shows it: a packet costs 500000 millionths of a second, each of 137438953.
    let cost = 500_000_u64 * 137_438_953;
    let bucket = format!("h 1 192.0.2.1:0->0.0.0.0:0 0 {} {cost}\n", 2 * cost);
    assert_eq!(table, bucket);
}

#[test]
fn rules_of_one_name_take_from_one_bucket() {
    let other = ABOVE.replace("above 2/sec", "upto 7/hour").replace("DROP", "ACCEPT");
    // The first rule's rate, two packets at once; the second rule's side of it.
    let (met, _) = dropped(&[&other, ABOVE], &[1000]);
    assert_eq!(met, [false]);
    let counting = "-m hashlimit --hashlimit-upto 1/sec --hashlimit-name h";
    let (met, _) = dropped(&[ABOVE, counting], &[1000, 1000]);
    assert_eq!(met, [false, true]);
}

#[test]
fn bytes_are_counted_by_sixteen() {
    // A packet of 32 bytes is three times sixteen, begun ones included; 160 a second are ten.
    let rule = "-m hashlimit --hashlimit-above 160b/s --hashlimit-name h -j DROP";
    let (met, _) = dropped(&[rule], &[1000; 5]);
    assert_eq!(met, [false, false, false, true, true]);
    // Filled again as often as the burst has the rate in it.
    let burst = rule.replace("-name", "-burst 320b --hashlimit-name");
    let (met, _) = dropped(&[&burst], &[1000; 10]);
    assert_eq!(met.iter().filter(|dropped| !**dropped).count(), 9);
}

#[test]
fn a_rate_is_measured_over_its_interval() {
    let rule = "-m hashlimit --hashlimit-above 2/sec --hashlimit-burst 1 --hashlimit-rate-match \
                --hashlimit-rate-interval 2 --hashlimit-htable-expire 60000 --hashlimit-name h \
                -j DROP";
    // Three at once are one too many for the rate, four for the burst; what follows is measured by
    // the interval before.
    let at = [1000, 1001, 1002, 1003, 1004, 3000, 3001, 5004];
    let (met, _) = dropped(&[rule], &at);
    assert_eq!(met, [false, false, false, true, true, true, true, false]);
}

#[test]
fn what_nobody_asks_for_is_collected() {
    let rule = "-m hashlimit --hashlimit-above 1/hour --hashlimit-burst 1 --hashlimit-htable-expire \
                500 --hashlimit-htable-gcinterval 1000 --hashlimit-name h -j DROP";
    // At 2000 the collector passes, when the bucket has been idle for long enough; before, not.
    assert_eq!(dropped(&[rule], &[1000, 1900]).0, [false, true]);
    assert_eq!(dropped(&[rule], &[1000, 2100]).0, [false, false]);
    assert_eq!(dropped(&[rule], &[1000, 1600, 2050]).0, [false, true, true]);
}

#[test]
fn a_full_table_ends_the_packet() {
    let rules = [
        "-m hashlimit --hashlimit-above 1/hour --hashlimit-mode dstport --hashlimit-htable-size 1 \
         --hashlimit-htable-max 1 --hashlimit-name h -j ACCEPT",
    ];
    let mut sharing = Sharing::new(&rules);
    assert!(!sharing.is_dropped(Alone::udp(53).at(1)));
    assert!(sharing.is_dropped(Alone::udp(54).at(1)));
    assert!(!sharing.is_dropped(Alone::udp(53).at(1)));
}

#[test]
fn a_table_measures_if_its_first_rule_does() {
    let measuring = "-m hashlimit --hashlimit-above 10/sec --hashlimit-burst 1 \
                     --hashlimit-rate-match --hashlimit-mode srcip --hashlimit-name h -j DROP";
    // Both count each packet: of eleven the twelfth is too many.
    let (met, _) = dropped(&[measuring, ABOVE], &[1000; 6]);
    assert_eq!(met, [false, false, false, false, false, true]);
    // Both take from the credit of two.
    let (met, _) = dropped(&[ABOVE, measuring], &[1000; 2]);
    assert_eq!(met, [false, true]);
}
