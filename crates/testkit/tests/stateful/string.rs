//! `-m string`.

use std::fmt::Write as _;

use testkit::dialogue::Random;
use testkit::kernel::Port;

use crate::both::{Case, everywhere, hold, kernel, packet, seeds, udp};

/// Few letters, so that patterns begin over and over again.
fn letters(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.pick([b'a', b'b', b'a', b'B', 0xe4, 0xc4, 0])).collect()
}

fn rule(random: &mut Random, headers: usize) -> String {
    let not = if random.chance(20) { "! " } else { "" };
    let length = random.pick([1, 2, 3, 4, 5, 8]);
    let pattern: String = letters(random, length).iter().map(|b| format!("{b:02x}")).collect();
    let algorithm = random.pick(["bm", "kmp"]);
    let mut rule = format!("-m string {not}--hex-string |{pattern}| --algo {algorithm}");
    if random.chance(40) {
        write!(rule, " --from {}", headers + random.below(12)).unwrap();
    }
    if random.chance(40) {
        write!(rule, " --to {}", headers + 12 + random.below(40)).unwrap();
    }
    if random.chance(40) {
        rule += " --icase";
    }
    rule
}

#[test]
fn patterns_are_found_where_the_kernel_finds_them() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(12) {
        let mut random = Random::new(seed);
        let rules4 = everywhere(&mut random, 20, |random, _| rule(random, 28));
        let rules6 = everywhere(&mut random, 20, |random, _| rule(random, 48));
        let mut steps = Vec::new();
        for number in 0..100 {
            let length = random.below(40);
            let payload = letters(&mut random, length);
            let (from, to) = match random.chance(50) {
                true => ("192.168.1.10:4000", "198.51.100.5:53"),
                false => ("[fd00:1::10]:4000", "[2001:db8::5]:53"),
            };
            let mut sent = udp(from, to, &payload);
            sent.id = number;
            steps.push(packet(Port::Lan, &sent));
        }
        let case = Case { rules4, rules6, steps, ..Case::default() };
        hold(&mut kernel, &case).unwrap_or_else(|report| panic!("seed {seed}: {report}"));
    }
}
