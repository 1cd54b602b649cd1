//! What is asked of the headers of SCTP, DCCP, IPsec and IPComp.

use super::super::{Place, not};
use crate::dialogue::Random;

const PORTS: [&str; 4] = ["0:1023", "1024:65535", "80", "2905"];

pub(super) fn sctp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("sctp", || {
        let not = not(random);
        match random.below(3) {
            0 => format!("-m sctp {not}--{} {}", side(random), random.pick(PORTS)),
            1 => {
                let amount = random.pick(["any", "all", "only"]);
                let kinds =
                    ["INIT", "DATA,SACK", "DATA:Be", "ABORT:t,SHUTDOWN", "ALL", "INIT_ACK,DATA"];
                format!("-m sctp {not}--chunk-types {amount} {}", random.pick(kinds))
            }
            _ => format!("-m sctp --dport 0:40000 {not}--chunk-types any COOKIE_ECHO,HEARTBEAT"),
        }
    })
}

pub(super) fn dccp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("dccp", || {
        let not = not(random);
        match random.below(3) {
            0 => format!("-m dccp {not}--{} {}", side(random), random.pick(PORTS)),
            1 => {
                let types = random.pick(["REQUEST,RESPONSE", "DATA,ACK", "RESET", "INVALID"]);
                format!("-m dccp {not}--dccp-types {types}")
            }
            _ => format!("-m dccp {not}--dccp-option {}", random.pick([1, 2, 32, 41])),
        }
    })
}

fn side(random: &mut Random) -> &'static str {
    random.pick(["sport", "dport"])
}

pub(super) fn esp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("esp", || format!("-m esp {}--espspi {}", not(random), random.pick(INDEXES)))
}

/// IPv6's looks for a header among the others, and needs no `-p`.
pub(super) fn ah(random: &mut Random, place: &Place) -> Option<String> {
    let not = not(random);
    let spi = format!("-m ah {not}--ahspi {}", random.pick(INDEXES));
    let of_header = match random.below(4) {
        0 => spi.clone(),
        1 => format!("-m ah {not}--ahlen {}", random.pick([24, 12, 16])),
        2 => "-m ah --ahres".to_owned(),
        _ => format!("{spi} --ahlen 24 --ahres"),
    };
    place.either(place.only("ah", || spi), Some(of_header))
}

pub(super) fn ipcomp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("ipcomp", || {
        let index = random.pick(["2", "256:258", "0:65535"]);
        format!("-m ipcomp {}--ipcompspi {index}", not(random))
    })
}

const INDEXES: [&str; 4] = ["256:258", "257", "0:256", "258:4294967295"];
