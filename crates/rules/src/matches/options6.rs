//! The options in a destination or hop-by-hop header: what `dst` and `hbh` have in common.

use crate::context::View;
use crate::evaluate::Stop;
use crate::extension_headers::find;
use crate::number;
use crate::option::{Given, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// What of such a header is tested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Its length in bytes.
    pub length: Option<Test<u32>>,
    /// Its first options in their order: the kind, and the length unless that may be any. At most
    /// 16.
    pub list: Vec<(u8, Option<u8>)>,
}

/// How many options a rule has room for.
const ROOM: usize = 16;

impl Options {
    pub(crate) fn set_length(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        self.length = Some(Test { value: given.u32()?, inverted: given.inverted });
        Ok(())
    }

    /// `KIND[:LENGTH]` with commas between them. A length of 255 is any, and of a number beyond 255
    /// the lower bits count, as iptables has it.
    pub(crate) fn set_list(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        let extension = given.extension;
        let words: Vec<_> = given.text.split(',').collect();
        if words.len() > ROOM {
            return Err(Refusal::new(format!("{extension}: more than {ROOM} options")));
        }
        let number = |text: &str| {
            let refusal = || Refusal::new(format!("{extension}: `{text}` is no number"));
            number::wrapping(text).map(|value| value as u8).ok_or_else(refusal)
        };
        for (at, word) in words.into_iter().enumerate() {
            let (kind, length) = match word.split_once(':') {
                Some((kind, length)) => (kind, Some(length)),
                None => (word, None),
            };
            let kind = number(kind)?;
            let length = match length {
                None => u8::MAX,
                Some(_) if kind == 0 || at == ROOM - 1 => {
                    return Err(Refusal::new(format!("{extension}: no length in `{word}`")));
                }
                Some(length) => number(length)?,
            };
            self.list.push((kind, (length != u8::MAX).then_some(length)));
        }
        Ok(())
    }

    pub(crate) fn save(&self, save: &mut Save, [length, list]: [&str; 2]) {
        if let Some(Test { value, inverted }) = self.length {
            save.inverted(inverted).option(length, value);
        }
        let shown = |(kind, length): &(u8, Option<u8>)| match length {
            Some(length) => format!("{kind}:{length}"),
            None => kind.to_string(),
        };
        let shown: Vec<_> = self.list.iter().map(shown).collect();
        if !shown.is_empty() {
            save.option(list, shown.join(","));
        }
    }

    /// Whether the packet's first header of the kind has all that is asked for.
    pub(crate) fn pass(&self, view: &View<'_>, kind: u8) -> Result<bool, Stop> {
        let Some(found) = find(view.packet.bytes(), kind)? else { return Ok(false) };
        let header = found.whole()?;
        let length = |asked: Test<u32>| asked.passes(asked.value as usize == header.len());
        Ok(self.length.is_none_or(length) && self.are_in(header.get(2..).unwrap_or_default()))
    }

    fn are_in(&self, mut options: &[u8]) -> bool {
        for (at, (kind, asked)) in self.list.iter().enumerate() {
            if options.first() != Some(kind) {
                return false;
            }
            // A lone byte of padding has no length.
            let mut length = 1;
            if *kind != 0 {
                let Some(found) = options.get(1) else { return false };
                if asked.is_some_and(|asked| asked != *found) {
                    return false;
                }
                length = usize::from(*found) + 2;
            }
            match options.get(length..) {
                Some(rest) => options = rest,
                // An option that reaches beyond the header may be the last one.
                None => return at + 1 == self.list.len(),
            }
        }
        true
    }
}
