//! `tcp A:P > B:Q S. seq 1 ack 2 win 1024 mss 1460 wscale 7 sackok length 100`.

use stateward_wire::TcpFlags;
use stateward_wire::compose::{self, Tcp};

use super::talk::Talks;
use super::words::{Word, Words};
use super::{Common, Flow, TypedError};

/// The words that only TCP has.
const MORE: &[&str] = &["seq", "ack", "win", "mss", "wscale", "sackok"];

/// What stands in a TCP header.
#[derive(Default)]
struct Header {
    sequence: Option<u32>,
    acknowledgment: Option<u32>,
    window: Option<u16>,
    options: Vec<u8>,
}

pub(super) fn read(
    flow: &Flow,
    talks: &mut Talks,
    words: &mut Words,
    common: &mut Common,
) -> Result<Vec<u8>, TypedError> {
    let flags = match words.next_if(|word| flags(&word.text).is_some()) {
        Some(word) => flags(&word.text).unwrap_or_default(),
        None => TcpFlags::SYN,
    };
    let mut header = Header::default();
    while let Some(word) = words.next() {
        header.read(&word, words, common)?;
    }
    let heard = talks.receiver(flow).next;
    let said = talks.sender(flow);
    let usual = if flags.syn() { said.first } else { said.next };
    let sequence = header.sequence.unwrap_or(usual);
    let acknowledgment = header.acknowledgment.unwrap_or(if flags.ack() { heard } else { 0 });
    if flags.syn() {
        said.first = sequence;
    }
    let length = common.payload.len() as u32 + u32::from(flags.syn()) + u32::from(flags.fin());
    said.next = sequence.wrapping_add(length);
    Ok(compose::tcp(&Tcp {
        source: flow.source,
        destination: flow.destination,
        sequence,
        acknowledgment,
        flags,
        window: header.window.unwrap_or(if flags.rst() { 0 } else { 64_240 }),
        options: &header.options,
        payload: &common.payload,
    }))
}

impl Header {
    fn read(
        &mut self,
        word: &Word,
        words: &mut Words,
        common: &mut Common,
    ) -> Result<(), TypedError> {
        match word.text.as_str() {
            "seq" => {
                self.sequence = Some(words.number(word, u32::MAX.into())? as u32);
            }
            "ack" => self.acknowledgment = Some(words.number(word, u32::MAX.into())? as u32),
            "win" => self.window = Some(words.number(word, u16::MAX.into())? as u16),
            "mss" => {
                let [high, low] = (words.number(word, u16::MAX.into())? as u16).to_be_bytes();
                self.options.extend([2, 4, high, low]);
            }
            "wscale" => self.options.extend([1, 3, 3, words.number(word, 255)? as u8]),
            "sackok" => self.options.extend([1, 1, 4, 2]),
            "Flags" | "flags" => {
                let hint = "the letters alone, as S or [S.]";
                return Err(words.error(word, "flags stand behind the destination", hint));
            }
            text if text.starts_with(|letter: char| letter.is_ascii_uppercase()) => {
                let hint = "S, S. (or SA), ., P., F., R, R. and combinations; none for no flag";
                return Err(words.error(word, format!("`{text}` are no flags"), hint));
            }
            _ => common.read(word, words, MORE)?,
        }
        Ok(())
    }
}

/// Flags as tcpdump writes them, with or without its brackets, and `A` for `.` as well.
fn flags(text: &str) -> Option<TcpFlags> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare == "none" {
        return Some(TcpFlags(0));
    }
    let letter = |letter| {
        Some(match letter {
            'S' => TcpFlags::SYN,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            '.' | 'A' => TcpFlags::ACK,
            'U' => TcpFlags::URG,
            'E' => TcpFlags::ECE,
            'W' | 'C' => TcpFlags::CWR,
            _ => return None,
        })
    };
    let all = bare.chars().try_fold(TcpFlags(0), |all, one| Some(all.union(letter(one)?)));
    all.filter(|_| !bare.is_empty())
}
