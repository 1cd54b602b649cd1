//! The sum against the definition, increments against the whole.

use super::*;

#[test]
fn sum_of_the_rfc_1071_example() {
    assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
}
