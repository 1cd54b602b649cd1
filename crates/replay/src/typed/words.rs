//! Words of a typed text, each with its place.

use super::TypedError;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Without quotes.
    pub(super) text: String,
    /// Where it begins, in characters.
    column: usize,
    /// How many characters it has there.
    width: usize,
}

/// The words of a text, to be taken one by one.
#[derive(Debug)]
pub(super) struct Words {
    text: String,
    words: std::collections::VecDeque<Word>,
}

impl Words {
    /// Blanks separate words; quotes keep them together. Commas behind words, as tcpdump has them,
    /// do not count.
    pub(super) fn new(text: &str) -> Result<Self, TypedError> {
        let mut words = Self { text: text.replace(['\t', '\n'], " "), words: Default::default() };
        let mut letters = text.chars().enumerate().peekable();
        while let Some((column, letter)) = letters.next() {
            if letter.is_whitespace() {
                continue;
            }
            let (mut word, mut width) = (String::new(), 1);
            if letter == '"' {
                loop {
                    let next = letters.next();
                    width += 1;
                    match next {
                        Some((_, '"')) => break,
                        Some((_, letter)) => word.push(letter),
                        None => {
                            let open = Word { text: word, column, width: 1 };
                            return Err(words.error(&open, "a quote is not closed", ""));
                        }
                    }
                }
            } else {
                word.push(letter);
                while let Some((_, letter)) = letters.next_if(|(_, next)| !next.is_whitespace()) {
                    word.push(letter);
                    width += 1;
                }
                if let Some(bare) = word.strip_suffix(',').filter(|bare| !bare.is_empty()) {
                    word = bare.to_owned();
                }
            }
            words.words.push_back(Word { text: word, column, width });
        }
        Ok(words)
    }

    pub(super) fn next(&mut self) -> Option<Word> {
        self.words.pop_front()
    }

    pub(super) fn next_if(&mut self, is: impl FnOnce(&Word) -> bool) -> Option<Word> {
        if self.words.front().is_some_and(is) { self.words.pop_front() } else { None }
    }

    /// The next word, which must be there.
    pub(super) fn need(&mut self, what: &str, hint: &str) -> Result<Word, TypedError> {
        let column = self.text.trim_end().chars().count() + 1;
        let end = Word { text: String::new(), column, width: 1 };
        self.next().ok_or_else(|| self.error(&end, format!("{what} is missing"), hint))
    }

    /// The number behind `word`, decimal or with `0x`.
    pub(super) fn number(&mut self, word: &Word, most: u64) -> Result<u64, TypedError> {
        let hint = format!("a number up to {most}");
        let given = self.need(&format!("the number behind `{}`", word.text), &hint)?;
        let number = match given.text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => given.text.parse(),
        };
        match number {
            Ok(number) if number <= most => Ok(number),
            _ => Err(self.error(&given, format!("`{}` cannot be here", given.text), hint)),
        }
    }

    pub(super) fn error(
        &self,
        word: &Word,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> TypedError {
        let Word { column, width, .. } = *word;
        let (message, hint) = (message.into(), hint.into());
        TypedError { text: self.text.clone(), column, width, message, hint }
    }
}
