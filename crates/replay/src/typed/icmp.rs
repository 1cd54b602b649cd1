//! `icmp A > B echo-request id 7 seq 1`, `icmp A > B port-unreachable about tcp B:1 > C:2 S`.

use stateward_rules::matches::icmp::named;
use stateward_wire::Family;
use stateward_wire::compose::{self, Icmp};

use super::words::{Word, Words};
use super::{Common, Flow, TypedError, Typist};

/// What is said, if nothing is said.
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// The words besides the names, which are iptables' own.
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
    let family = Family::of(source);
    let kind = match family {
        Family::V4 => ECHO_REQUEST,
        Family::V6 => ECHO_REQUEST_V6,
    };
    let mut message = Message { kind, code: 0, rest: [0; 4], body: Vec::new() };
    while let Some(word) = words.next() {
        if let Some((_, kind, code)) = named(family).find(|(name, ..)| *name == word.text) {
            (message.kind, message.code) = (kind, code);
        } else if word.text == "about" {
            if std::mem::replace(&mut typist.quoted, true) {
                let hint = "a quoted packet quotes none itself";
                return Err(words.error(&word, "`about` cannot be here", hint));
            }
            // The rest is the packet that the error quotes.
            (message.body, _) = typist.packet(words)?;
        } else {
            message.read(&word, words, common, family)?;
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
        family: Family,
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
                let likeness = |name: &str| strsim::jaro_winkler(name, unknown);
                let names = named(family).map(|(name, ..)| (likeness(name), name));
                let hint = match names.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
                    Some((likeness, name)) if likeness > 0.85 => format!("{name}?"),
                    _ => "a type by name, as echo-request, or: type 3 code 1".to_owned(),
                };
                return Err(words.error(word, format!("`{unknown}` is not known here"), hint));
            }
        }
        Ok(())
    }
}
