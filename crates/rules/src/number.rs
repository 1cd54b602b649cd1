//! Numbers as C's `strtoul` with base 0 reads them, which is how iptables reads every number: blanks and
//! a sign before it, `0x` for hexadecimal, a leading `0` for octal. `-1` is the largest number there is,
//! so that it passes where 64 bits may and is out of range everywhere else.

/// The number that `text` begins with, and what follows it.
pub(crate) fn prefix(text: &str) -> Option<(u64, &str)> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, body) = match body.strip_prefix(['+', '-']) {
        Some(rest) => (body.starts_with('-'), rest),
        None => (false, body),
    };
    let (radix, digits) = radix(body);
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if number.is_empty() {
        return None;
    }
    // What does not fit is the largest number, whatever its sign.
    let value = match u64::from_str_radix(number, radix) {
        Ok(value) if negative => value.wrapping_neg(),
        Ok(value) => value,
        Err(_) => u64::MAX,
    };
    Some((value, rest))
}

/// All of `text` as a number up to `maximum`.
pub(crate) fn whole(text: &str, maximum: u64) -> Option<u64> {
    match prefix(text) {
        Some((value, "")) if value <= maximum => Some(value),
        _ => None,
    }
}

fn radix(body: &str) -> (u32, &str) {
    let hexadecimal = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, digits),
        _ if body.starts_with('0') => (8, body),
        _ => (10, body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_blanks_and_signs() {
        assert_eq!(whole("0x50", 100), Some(80));
        assert_eq!(whole("010", 100), Some(8));
        assert_eq!(whole(" +7", 100), Some(7));
        assert_eq!(whole("0", 100), Some(0));
        assert_eq!(whole("-1", u64::MAX), Some(u64::MAX));
        for refused in ["08", "0x", "", "-", "x", "7 ", "101", "-1"] {
            assert_eq!(whole(refused, 100), None, "{refused:?}");
        }
    }

    #[test]
    fn a_prefix_keeps_the_rest() {
        assert_eq!(prefix("5:6"), Some((5, ":6")));
        assert_eq!(prefix("0x"), Some((0, "x")));
        assert_eq!(prefix("99999999999999999999"), Some((u64::MAX, "")));
    }
}
