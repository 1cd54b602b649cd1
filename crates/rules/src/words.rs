//! How a line of iptables-restore falls into words: blanks separate, double quotes hold together,
//! and inside of them a backslash takes the next character as it is. A closing quote ends the word;
//! a single quote and a backslash outside of quotes are characters like any other. A quote that is
//! never closed holds the rest of the line, its end included.

use crate::option::Refusal;

/// One word and where it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Without its quotes.
    pub(crate) text: String,
    /// The first byte in the line, and how many bytes it takes there.
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// What iptables-restore has room for in one word, and words in one line beside those it adds.
const LONGEST: usize = 1023;
const MOST: usize = 255;

/// The words of `line`, which holds its end of line if it has one. `offset` is where it begins in
/// the line of the file.
pub(crate) fn split(line: &str, offset: usize) -> Result<Vec<Word>, Refusal> {
    let mut words = Vec::new();
    let mut rest = line;
    let mut at = offset;
    loop {
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n']).len();
        rest = rest.get(blank..).unwrap_or_default();
        at += blank;
        if rest.is_empty() {
            return Ok(words);
        }
        let (text, length) = first(rest);
        if text.len() > LONGEST {
            let refusal = Refusal::new(format!("a word of {} bytes is too long", text.len()));
            return Err(refusal.hint(format!("iptables-restore takes up to {LONGEST}")));
        }
        if words.len() == MOST {
            return Err(Refusal::new(format!("more than {MOST} words in one rule")));
        }
        words.push(Word { text, start: at, length });
        rest = rest.get(length..).unwrap_or_default();
        at += length;
    }
}

/// The word that `text` begins with, and how many bytes it takes.
fn first(text: &str) -> (String, usize) {
    let mut word = String::new();
    let mut quoted = false;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => {
                word.push(character);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' if quoted => return (word, at + 1),
            '"' => quoted = true,
            ' ' | '\t' | '\n' if !quoted => return (word, at),
            _ => word.push(character),
        }
    }
    (word, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line, 0).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_hold_together_and_end_the_word() {
        assert_eq!(texts("ab\"c d\"ef g\n"), ["abc d", "ef", "g"]);
        assert_eq!(texts("\"\" x"), ["", "x"]);
        assert_eq!(texts("\"a\\\"b\\\\c\""), ["a\"b\\c"]);
        assert_eq!(texts("a\\b 'c d'"), ["a\\b", "'c", "d'"]);
    }

    #[test]
    fn an_open_quote_takes_the_end_of_the_line() {
        assert_eq!(texts("-x \"open\n"), ["-x", "open\n"]);
    }

    #[test]
    fn words_know_where_they_are() {
        let words = split("  a\t\"b c\" d", 5).unwrap();
        let places: Vec<_> = words.iter().map(|word| (word.start, word.length)).collect();
        assert_eq!(places, [(7, 1), (9, 5), (15, 1)]);
    }

    #[test]
    fn room_is_bounded() {
        assert!(split(&"a".repeat(1023), 0).is_ok());
        assert!(split(&"a".repeat(1024), 0).is_err());
        assert!(split(&"a ".repeat(256), 0).is_err());
    }
}
