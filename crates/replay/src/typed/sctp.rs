//! `sctp A:P > B:Q init`, `data`, `cookie-echo` …: one chunk, with the tag that belongs there.

use stateward_wire::compose;

use super::talk::Talks;
use super::words::Words;
use super::{Common, Flow, TypedError};

/// Chunks by the names that iptables gives them, and how long they are at least.
const CHUNKS: &[(&str, u8, usize)] = &[
    ("data", 0, 16),
    ("init", 1, 20),
    ("init-ack", 2, 20),
    ("sack", 3, 16),
    ("heartbeat", 4, 8),
    ("heartbeat-ack", 5, 8),
    ("abort", 6, 4),
    ("shutdown", 7, 8),
    ("shutdown-ack", 8, 4),
    ("error", 9, 4),
    ("cookie-echo", 10, 8),
    ("cookie-ack", 11, 4),
    ("shutdown-complete", 14, 4),
];
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

pub(super) fn read(
    flow: &Flow,
    talks: &mut Talks,
    words: &mut Words,
    common: &mut Common,
) -> Result<Vec<u8>, TypedError> {
    let names: Vec<_> = CHUNKS.iter().map(|(name, ..)| *name).collect();
    let hint = format!("one of {}", names.join(", "));
    let word = words.need("the chunk", &hint)?;
    let bare = word.text.to_lowercase().replace('_', "-");
    let Some(&(_, kind, length)) = CHUNKS.iter().find(|(name, ..)| *name == bare) else {
        return Err(words.error(&word, format!("`{}` is no chunk", word.text), hint));
    };
    let mut tag = None;
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "tag" | "vtag" => tag = Some(words.number(&word, u32::MAX.into())? as u32),
            _ => common.read(&word, words, &["tag"])?,
        }
    }
    let mut chunk = vec![0; length.next_multiple_of(4)];
    let heard = talks.receiver(flow).tag;
    let said = talks.sender(flow);
    if matches!(kind, INIT | INIT_ACK) {
        // The tag that the other end shall use, a window, streams both ways.
        said.tag = said.first;
        let [a, b, c, d] = said.tag.to_be_bytes();
        let body = [a, b, c, d, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1];
        chunk.iter_mut().skip(4).zip(body).for_each(|(byte, value)| *byte = value);
    }
    chunk.extend_from_slice(&common.payload);
    let [high, low] = (chunk.len() as u16).to_be_bytes();
    let flags = if kind == 0 { 3 } else { 0 };
    chunk.iter_mut().zip([kind, flags, high, low]).for_each(|(byte, value)| *byte = value);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    let tag = tag.unwrap_or(if kind == INIT { 0 } else { heard });
    Ok(compose::sctp(flow.source, flow.destination, tag, &chunk))
}
