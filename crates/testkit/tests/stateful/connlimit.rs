//! `-m connlimit`.

use std::time::Duration;

use testkit::dialogue::Random;

use crate::both::{Case, dialogue, everywhere, hold, kernel, seeds};

fn rule(random: &mut Random, masks: [&str; 3]) -> String {
    let protocol = random.pick(["", "-p tcp --syn ", "-p tcp ", "-p udp "]);
    let bound = random.pick(["upto", "above"]);
    let limit = random.below(4);
    let side = random.pick(["saddr", "daddr"]);
    let mask = random.pick(masks);
    let target = random.pick(["", "", "", " -j DROP"]);
    format!(
        "{protocol}-m connlimit --connlimit-{bound} {limit} --connlimit-mask {mask} \
         --connlimit-{side}{target}"
    )
}

#[test]
fn connections_are_counted_as_the_kernel_counts_them() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(8) {
        let mut random = Random::new(seed);
        let rules4 = everywhere(&mut random, 2, |random, _| rule(random, ["32", "24", "0"]));
        let rules6 = everywhere(&mut random, 2, |random, _| rule(random, ["128", "64", "0"]));
        let steps = dialogue(seed, 150);
        // A list is looked through once in a tick: each packet has its own.
        let pace = Some(Duration::from_millis(12));
        let case = Case { rules4, rules6, steps, pace, ..Case::default() };
        hold(&mut kernel, &case).unwrap_or_else(|report| panic!("seed {seed}: {report}"));
    }
}
