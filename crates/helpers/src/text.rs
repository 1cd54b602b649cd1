//! Numbers and words as helpers read them: from the start of bytes, telling how many they took.

use core::net::{Ipv4Addr, Ipv6Addr};

/// The same letters, upper or lower case.
pub(crate) fn same_word(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// `N` numbers with `separator` between them, up to a byte that is neither: `end`, or any if there
/// is no such. With how many bytes they took. Numbers overflow silently, as they do in the kernel.
pub(crate) fn numbers<const N: usize>(
    bytes: &[u8],
    separator: u8,
    end: Option<u8>,
) -> Option<([u32; N], usize)> {
    let mut numbers = [0_u32; N];
    let mut at = 0;
    for (length, byte) in bytes.iter().enumerate() {
        if byte.is_ascii_digit() {
            let number = numbers.get_mut(at)?;
            *number = number.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
        } else if *byte == separator {
            at += 1;
            if at == N {
                return None;
            }
        } else {
            let ends = end.is_none_or(|end| end == *byte) && at == N - 1 && length > 0;
            return ends.then_some((numbers, length));
        }
    }
    None
}

/// An IPv6 address, with as many zeros before its numbers as anybody likes.
pub(crate) fn ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    /// The longest one, without such zeros.
    const LONGEST: usize = 45;
    let mut text = [0; LONGEST];
    let mut length = 0;
    // Within a number nothing but zeros has been seen.
    let mut leading = true;
    for (at, byte) in bytes.iter().enumerate() {
        let goes_on = bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit);
        if leading && *byte == b'0' && goes_on {
            continue;
        }
        leading = !byte.is_ascii_hexdigit();
        *text.get_mut(length)? = *byte;
        length += 1;
    }
    core::str::from_utf8(text.get(..length)?).ok()?.parse().ok()
}

/// An IPv4 address up to a byte that cannot be of one, and its length. A letter that is a digit of
/// base 16 spoils it, as in the kernel; zeros before its numbers do not.
pub(crate) fn v4_prefix(bytes: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut octets = [0_u8; 4];
    let (mut count, mut digits, mut number) = (0, 0, 0_u16);
    for at in 0..=bytes.len() {
        match bytes.get(at) {
            Some(digit) if digit.is_ascii_digit() => {
                number = number * 10 + u16::from(digit - b'0');
                u8::try_from(number).ok()?;
                digits += 1;
            }
            Some(letter) if letter.is_ascii_hexdigit() => return None,
            end => {
                *octets.get_mut(count)? = number as u8;
                count += 1;
                let dot = end == Some(&b'.');
                if digits == 0 || dot == (count == octets.len()) {
                    return None;
                }
                if !dot {
                    return Some((octets.into(), at));
                }
                (digits, number) = (0, 0);
            }
        }
    }
    None
}

/// An IPv6 address up to a byte that cannot be of one, and its length.
pub(crate) fn v6_prefix(bytes: &[u8]) -> Option<(Ipv6Addr, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = bytes.iter().position(|byte| !is_part(byte)).unwrap_or(bytes.len());
    let all = bytes.get(..length)?;
    // Nothing but a dotted end ends before a colon.
    let dot = all.iter().position(|byte| *byte == b'.').unwrap_or(length);
    let colon = all.get(dot..)?.iter().position(|byte| *byte == b':');
    let length = colon.map_or(length, |colon| dot + colon);
    Some((ipv6(all.get(..length)?)?, length))
}

/// An IPv6 address as the kernel writes it: the first of the longest rows of zeros left out, if
/// there are two; the end dotted, if it is an IPv4 address.
pub(crate) fn compressed(address: Ipv6Addr) -> String {
    use core::fmt::Write;
    let groups = address.segments();
    let [_, _, _, _, above, marker, ..] = groups;
    let is_isatap = above & !0x0200 == 0 && marker == 0x5efe;
    let dotted = address.to_ipv4_mapped().is_some() || is_isatap;
    let shown = if dotted { 6 } else { groups.len() };
    let rows = (0..shown).map(|from| {
        let row = groups.get(from..shown).unwrap_or_default();
        (row.iter().take_while(|group| **group == 0).count(), from)
    });
    let longest = rows.rev().max_by_key(|(length, _)| *length).filter(|(length, _)| *length > 1);
    let (length, from) = longest.unwrap_or((0, usize::MAX));
    let mut text = String::new();
    for (at, group) in groups.iter().enumerate().take(shown) {
        if at == from {
            text.push_str("::");
        } else if !(from..from.saturating_add(length)).contains(&at) {
            let colon = if at == 0 || text.ends_with(':') { "" } else { ":" };
            // Writing to a String does not fail.
            let _ = write!(text, "{colon}{group:x}");
        }
    }
    if dotted {
        let colon = if text.ends_with(':') { "" } else { ":" };
        let [.., a, b, c, d] = address.octets();
        let _ = write!(text, "{colon}{}", Ipv4Addr::new(a, b, c, d));
    }
    text
}

/// The digits at the start as a number, which overflows silently, and how many there are; 0 if
/// there are none.
pub(crate) fn number(bytes: &[u8]) -> (u32, usize) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold((0, 0), |(number, length): (u32, usize), digit| {
        (number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')), length + 1)
    })
}

/// Where `word` first stands in `bytes`.
pub(crate) fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}

/// A port other than 0 up to `delimiter`, which is taken as well.
pub(crate) fn port(bytes: &[u8], delimiter: u8) -> Option<(u16, usize)> {
    let mut port = 0_u16;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == delimiter {
            return (port != 0).then_some((port, at + 1));
        }
        if !byte.is_ascii_digit() {
            return None;
        }
        port = port.wrapping_mul(10).wrapping_add(u16::from(byte - b'0'));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_must() {
        let six = |text: &str, end| numbers::<6>(text.as_bytes(), b',', end);
        assert_eq!(six("1,2,3,4,5,6\r", Some(b'\r')), Some(([1, 2, 3, 4, 5, 6], 11)));
        assert_eq!(six("1,2,3,4,5,6)", None), Some(([1, 2, 3, 4, 5, 6], 11)));
        assert_eq!(six("1,2,3,4,5,6)", Some(b'\r')), None);
        assert_eq!(six("1,2,3,4,5\r", Some(b'\r')), None, "too few");
        assert_eq!(six("1,2,3,4,5,6,7\r", Some(b'\r')), None, "too many");
        assert_eq!(six("1,2,3,4,5,6", None), None, "there may be more digits to come");
        assert_eq!(six(",,,,,\r", None), Some(([0; 6], 5)), "nothing is 0");
    }

    #[test]
    fn numbers_overflow_silently() {
        assert_eq!(numbers::<1>(b"4294967297.", b',', None), Some(([1], 10)));
        assert_eq!(port(b"65537|", b'|'), Some((1, 6)));
    }

    #[test]
    fn an_address_may_have_zeros_before_its_numbers() {
        let address = |text: &str| ipv6(text.as_bytes()).map(|address| address.to_string());
        for text in ["2001:db8::7", "02001:0000db8::0007", "2001:db8:0:0:0:0:0000:7"] {
            assert_eq!(address(text).as_deref(), Some("2001:db8::7"), "{text}");
        }
        assert_eq!(address("::00").as_deref(), Some("::"));
        assert_eq!(address("64:ff9b::192.0.002.1").as_deref(), Some("64:ff9b::c000:201"));
        for text in ["", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "::g", "::1%eth0"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_ends_where_its_bytes_do() {
        let v4 =
            |text: &str| v4_prefix(text.as_bytes()).map(|(address, at)| (address.to_string(), at));
        for (text, length) in [("192.0.2.1", 9), ("192.0.2.1:9", 9), ("192.0.2.1g", 9)] {
            assert_eq!(v4(text), Some(("192.0.2.1".to_owned(), length)), "{text}");
        }
        assert_eq!(v4("0192.0.002.1;"), Some(("192.0.2.1".to_owned(), 12)));
        for text in ["", "192", "192.0.2", "192.0.2.", "192.0.2.1.", "192.0.2.256", "1.2.3.4a"] {
            assert_eq!(v4(text), None, "{text}");
        }
        let v6 =
            |text: &str| v6_prefix(text.as_bytes()).map(|(address, at)| (compressed(address), at));
        assert_eq!(v6("2001:db8::7]:5060"), Some(("2001:db8::7".to_owned(), 11)));
        assert_eq!(v6("::192.0.2.1:7"), Some(("::c000:201".to_owned(), 11)));
        for text in ["", ":", "2001:db8:", "1::2::3", "1:2:3:4:5:6:7:8:", "g::"] {
            assert_eq!(v6(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_of_the_longest_rows_of_zeros_is_left_out() {
        for text in [
            "::",
            "::1",
            "1::",
            "2001:db8::7",
            "1:0:2:3:4:5:6:7",
            "1::2:0:0:3:4",
            "::ffff:192.0.2.1",
            "2001:db8::5efe:192.0.2.1",
            "2001:db8::200:5efe:192.0.2.1",
            "::5efe:192.0.2.1",
            "1:2:3:4:5:6:7:8",
        ] {
            let (address, length) = v6_prefix(text.as_bytes()).unwrap();
            assert_eq!((compressed(address).as_str(), length), (text, text.len()));
        }
    }

    #[test]
    fn a_port_is_not_0_and_ends() {
        assert_eq!(port(b"21|x", b'|'), Some((21, 3)));
        assert_eq!(port(b"0|", b'|'), None);
        assert_eq!(port(b"65536|", b'|'), None, "which is 0");
        assert_eq!(port(b"21", b'|'), None);
        assert_eq!(port(b"2a|", b'|'), None);
    }
}
