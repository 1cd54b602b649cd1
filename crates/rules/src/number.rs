//! Numbers as iptables reads every number: with C's `strtoul` and base 0, so with blanks and a plus
//! sign before it, `0x` for hexadecimal, a leading `0` for octal. A minus sign is refused, and what
//! does not fit into 64 bits.

/// The number that `text` begins with, and what follows it.
pub(crate) fn prefix(text: &str) -> Option<(u64, &str)> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let body = body.strip_prefix('+').unwrap_or(body);
    let (radix, digits) = radix(body);
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if number.is_empty() {
        return None;
    }
    let value = u64::from_str_radix(number, radix).ok()?;
    Some((value, rest))
}

/// All of `text` as a number up to `maximum`.
pub(crate) fn whole(text: &str, maximum: u64) -> Option<u64> {
    match prefix(text) {
        Some((value, "")) if value <= maximum => Some(value),
        _ => None,
    }
}

/// All of `text` as C alone reads it: a minus sign turns the number around.
pub(crate) fn wrapping(text: &str) -> Option<u64> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    match body.strip_prefix('-') {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            whole(digits, u64::MAX).map(u64::wrapping_neg)
        }
        _ => whole(body, u64::MAX),
    }
}

/// All of `text` as a number with a point, as C's `strtod` reads it.
pub(crate) fn real(text: &str) -> Option<f64> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, body) = match body.strip_prefix(['+', '-']) {
        Some(rest) => (body.starts_with('-'), rest),
        None => (false, body),
    };
    if body.starts_with(['+', '-']) {
        return None;
    }
    let hexadecimal = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) => hexadecimal_real(digits)?,
        None => body.parse::<f64>().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// The longest number with a point that `text` begins with, and what follows it.
pub(crate) fn real_prefix(text: &str) -> Option<(f64, &str)> {
    let ends = (1..=text.len()).rev();
    ends.filter_map(|end| text.split_at_checked(end))
        .find_map(|(number, rest)| Some((real(number)?, rest)))
}

/// What C makes of a number with a point in 32 bits: the lower ones of its 64, none of what does
/// not fit into those.
pub(crate) fn truncated(value: f64) -> u32 {
    const ROOM: f64 = 9_223_372_036_854_775_808.0;
    if value.abs() < ROOM { value as i64 as u32 } else { 0 }
}

/// `DIGITS[.DIGITS][pEXPONENT]`, a power of 2.
fn hexadecimal_real(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(part.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(part.len()).ok()?;
    Some(value * power_of_two(exponent.saturating_sub(places.saturating_mul(4))))
}

/// Without the platform's mathematics. What is too small for a normal number is 0.
fn power_of_two(exponent: i32) -> f64 {
    const BIAS: i32 = 1023;
    const FRACTION: u32 = 52;
    match u64::try_from(exponent.saturating_add(BIAS)) {
        Ok(biased @ 1..=0x7fe) => f64::from_bits(biased << FRACTION),
        Ok(0x7ff..) => f64::INFINITY,
        _ => 0.0,
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
        assert_eq!(whole("0xffffffffffffffff", u64::MAX), Some(u64::MAX));
        assert_eq!(whole("-1", u64::MAX), None);
        for refused in ["08", "0x", "", "-", "x", "7 ", "101", "-1"] {
            assert_eq!(whole(refused, 100), None, "{refused:?}");
        }
    }

    #[test]
    fn numbers_with_a_point() {
        for (text, value) in [("0.5", 0.5), (" .5", 0.5), ("5e-1", 0.5), ("0x1.8p-2", 0.375)] {
            assert_eq!(real(text), Some(value));
        }
        assert_eq!(real("-0x2"), Some(-2.0));
        assert!(real("nan").is_some_and(f64::is_nan));
        for refused in ["", "x", "0.5x", "0x", "+-1", "1p2", "0x1p"] {
            assert_eq!(real(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn numbers_with_a_point_and_a_unit() {
        assert_eq!(real_prefix("1.5ms"), Some((1.5, "ms")));
        assert_eq!(real_prefix("1e3bit"), Some((1000.0, "bit")));
        assert_eq!(real_prefix("1ex"), Some((1.0, "ex")));
        assert_eq!(real_prefix("-2"), Some((-2.0, "")));
        assert_eq!(real_prefix("s"), None);
        assert_eq!([-1.5, 4294967297.9, 1e30, f64::NAN].map(truncated), [u32::MAX, 1, 0, 0]);
    }

    #[test]
    fn a_prefix_keeps_the_rest() {
        assert_eq!(prefix("5:6"), Some((5, ":6")));
        assert_eq!(prefix("0x"), Some((0, "x")));
        assert_eq!(prefix("18446744073709551616"), None);
    }
}
