//! `icmp A > B echo-request id 7 seq 1`, `icmp A > B port-unreachable about tcp B:1 > C:2 S`.

use stateward_wire::compose::{self, Icmp};

use super::words::{Word, Words};
use super::{Common, Flow, TypedError, Typist};

/// Names of types and codes of ICMP.
const V4: &[(&str, u8, u8)] = &[
    ("echo-request", 8, 0),
    ("echo-reply", 0, 0),
    ("network-unreachable", 3, 0),
    ("host-unreachable", 3, 1),
    ("protocol-unreachable", 3, 2),
    ("port-unreachable", 3, 3),
    ("fragmentation-needed", 3, 4),
    ("host-prohibited", 3, 10),
    ("communication-prohibited", 3, 13),
    ("source-quench", 4, 0),
    ("redirect", 5, 1),
    ("router-advertisement", 9, 0),
    ("router-solicitation", 10, 0),
    ("time-exceeded", 11, 0),
    ("parameter-problem", 12, 0),
    ("timestamp-request", 13, 0),
    ("timestamp-reply", 14, 0),
    ("address-mask-request", 17, 0),
    ("address-mask-reply", 18, 0),
];

/// Those of ICMPv6.
const V6: &[(&str, u8, u8)] = &[
    ("echo-request", 128, 0),
    ("echo-reply", 129, 0),
    ("no-route", 1, 0),
    ("communication-prohibited", 1, 1),
    ("address-unreachable", 1, 3),
    ("port-unreachable", 1, 4),
    ("packet-too-big", 2, 0),
    ("time-exceeded", 3, 0),
    ("parameter-problem", 4, 0),
    ("router-solicitation", 133, 0),
    ("router-advertisement", 134, 0),
    ("neighbour-solicitation", 135, 0),
    ("neighbour-advertisement", 136, 0),
    ("redirect", 137, 0),
];

/// The words besides the names.
const MORE: &[&str] = &["type", "code", "id", "seq", "mtu", "about"];

/// A message as it is read.
struct Message {
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: Vec<u8>,
}

pub(super) fn read(
    typist: &mut Typist,
    flow: &Flow,
    words: &mut Words,
    common: &mut Common,
) -> Result<Vec<u8>, TypedError> {
    let (source, destination) = (flow.source.0, flow.destination.0);
    let names = if source.is_ipv4() { V4 } else { V6 };
    // An echo request, if nothing is said.
    let (_, kind, code) = *names.first().unwrap_or(&("", 8, 0));
    let mut message = Message { kind, code, rest: [0; 4], body: Vec::new() };
    while let Some(word) = words.next() {
        if let Some((_, kind, code)) = names.iter().find(|(name, ..)| *name == word.text) {
            (message.kind, message.code) = (*kind, *code);
        } else if word.text == "about" {
            if std::mem::replace(&mut typist.quoted, true) {
                let hint = "a quoted packet quotes none itself";
                return Err(words.error(&word, "`about` cannot be here", hint));
            }
            // The rest is the packet that the error quotes.
            (message.body, _) = typist.packet(words)?;
        } else {
            message.read(&word, words, common, names)?;
        }
    }
    let Message { kind, code, rest, mut body } = message;
    // What is quoted is the payload.
    if body.is_empty() {
        body.extend_from_slice(&common.payload);
    }
    Ok(compose::icmp(&Icmp { source, destination, kind, code, rest, body: &body }))
}

impl Message {
    fn read(
        &mut self,
        word: &Word,
        words: &mut Words,
        common: &mut Common,
        names: &[(&str, u8, u8)],
    ) -> Result<(), TypedError> {
        let [a, b, c, d] = self.rest;
        let two = |words: &mut Words| {
            words.number(word, u16::MAX.into()).map(|number| (number as u16).to_be_bytes())
        };
        match word.text.as_str() {
            "type" => self.kind = words.number(word, u8::MAX.into())? as u8,
            "code" => self.code = words.number(word, u8::MAX.into())? as u8,
            "id" => {
                let [a, b] = two(words)?;
                self.rest = [a, b, c, d];
            }
            "seq" | "mtu" => {
                let [c, d] = two(words)?;
                self.rest = [a, b, c, d];
            }
            "ttl" | "hlim" | "tos" | "mark" | "len" | "length" | "data" => {
                common.read(word, words, MORE)?;
            }
            unknown => {
                let near =
                    |(name, ..): &&(&str, u8, u8)| strsim::jaro_winkler(name, unknown) > 0.85;
                let hint = match names.iter().find(near) {
                    Some((name, ..)) => format!("{name}?"),
                    None => "a type by name, as echo-request, or: type 3 code 1".to_owned(),
                };
                return Err(words.error(word, format!("`{unknown}` is not known here"), hint));
            }
        }
        Ok(())
    }
}
