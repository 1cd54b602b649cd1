//! `-m string`.

use std::fmt::Write as _;

use testkit::build::fragments;
use testkit::dialogue::Random;
use testkit::kernel::{Port, Step};

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

/// What came in pieces is one packet in the engine, and pieces one behind the other in the kernel:
/// there `kmp` goes on from piece to piece, `bm` does not.
#[test]
fn across_pieces_kmp_finds_and_bm_does_not() {
    let Some(mut kernel) = kernel() else { return };
    let whole =
        udp("192.168.1.10:4000", "198.51.100.5:53", b"012345678901needle0123456789").bytes();
    // The second piece begins within the needle, 24 bytes behind the IP header.
    let pieces = fragments(&whole, 24, 7);
    let rules = |algorithm: &str| {
        format!("*filter\n-A FORWARD -m string --string needle --algo {algorithm}\nCOMMIT\n")
    };
    let mut case = |algorithm: &str, pieces: &[Vec<u8>]| {
        let packets =
            pieces.iter().map(|bytes| Step::Packet { from: Port::Lan, bytes: bytes.clone() });
        let nothing = "*filter\nCOMMIT\n".to_owned();
        let (rules4, steps) = (rules(algorithm), packets.collect());
        hold(&mut kernel, &Case { rules4, rules6: nothing, steps, ..Case::default() })
    };
    assert!(pieces.len() > 1);
    for algorithm in ["bm", "kmp"] {
        assert!(case(algorithm, std::slice::from_ref(&whole)).is_ok());
    }
    assert!(case("kmp", &pieces).is_ok());
    let difference = case("bm", &pieces).err().expect("PARITY.md names this difference");
    assert!(difference.contains("kernel [\"filter:FORWARD:policy:2\"]"), "{difference}");
}
