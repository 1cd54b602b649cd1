//! How packets leave, as the running kernel was seen to cut them.

use super::*;

/// The packet that these stretches make, and what it was made from.
fn whole(v6: bool, protocol: u8, df: bool, stretches: &[Stretch]) -> Reassembled {
    let mut defrag = Defrag::default();
    let data = data();
    for &(offset, length, more) in stretches {
        let data = &data[offset..offset + length];
        let bytes = make(Make { v6, protocol, df, offset, more, data, ..PLAIN });
        if let Outcome::Complete(whole) = push(&mut defrag, &bytes) {
            return whole;
        }
    }
    panic!("not complete");
}

/// Of each fragment: length, offset, more, don't fragment.
fn shape(cut: &Cut) -> Vec<(usize, usize, bool, bool)> {
    let Cut::Fragments(fragments) = cut else { panic!("{cut:?}") };
    let piece = |bytes: &Vec<u8>| {
        let packet = Packet::parse(bytes).unwrap();
        let fragment = packet.fragment().unwrap();
        (bytes.len(), fragment.offset, fragment.more, fragment.df)
    };
    fragments.iter().map(piece).collect()
}

fn cut_again(whole: &Reassembled, mtu: usize) -> Cut {
    cut(&whole.bytes, Some(&whole.origins), mtu, 0xabcd)
}

const UNEVEN: [Stretch; 3] = [(0, 800, true), (800, 200, true), (1000, 1200, false)];

#[test]
fn uneven_fragments_leave_uneven() {
    let whole4 = whole(false, UNKNOWN, false, &UNEVEN);
    let expected = [(820, 0, true, false), (220, 800, true, false), (1220, 1000, false, false)];
    assert_eq!(shape(&cut_again(&whole4, 1500)), expected);
    let whole6 = whole(true, UNKNOWN, false, &UNEVEN);
    let expected = [(848, 0, true, false), (248, 800, true, false), (1248, 1000, false, false)];
    assert_eq!(shape(&cut_again(&whole6, 1500)), expected);
}

#[test]
fn old_pieces_leave_without_dont_fragment_and_new_ones_with_it() {
    let mut whole = whole(false, UNKNOWN, true, &UNEVEN);
    let shapes = shape(&cut_again(&whole, 1500));
    assert!(shapes.iter().all(|&(_, _, _, df)| !df));
    whole.origins.forget_pieces();
    let expected = [(1220, 0, true, true), (1020, 1200, false, true)];
    assert_eq!(shape(&cut_again(&whole, 1500)), expected);
}

#[test]
fn received_tcp_and_sctp_in_tiny_pieces_leaves_in_large_ones() {
    let tiny = [(0, 8, true), (8, 1012, false)];
    let tcp = whole(false, protocol::TCP, false, &tiny);
    let expected = [(1028, 0, true, false), (32, 1008, false, false)];
    assert_eq!(shape(&cut_again(&tcp, 1500)), expected);
    let sctp = whole(false, protocol::SCTP, false, &tiny);
    assert_eq!(shape(&cut_again(&sctp, 1500)), expected);
    let other = whole(false, UNKNOWN, false, &tiny);
    let expected = [(28, 0, true, false), (1032, 8, false, false)];
    assert_eq!(shape(&cut_again(&other, 1500)), expected);
}

#[test]
fn received_tcp_behind_extension_headers_stays_in_tiny_pieces() {
    let mut defrag = Defrag::default();
    let mut data = data();
    // Two headers of destination options, the second one in the second piece, then TCP.
    data[..8].copy_from_slice(&[protocol::DEST, 1, 1, 12, 0, 0, 0, 0]);
    data[16..24].copy_from_slice(&[protocol::TCP, 0, 1, 4, 0, 0, 0, 0]);
    let piece = |offset, more, data| {
        make(Make { v6: true, protocol: protocol::DEST, offset, more, data, ..PLAIN })
    };
    assert!(matches!(push(&mut defrag, &piece(0, true, &data[..8])), Outcome::Held));
    let last = push(&mut defrag, &piece(8, false, &data[8..1300]));
    let Outcome::Complete(whole) = last else { panic!("{last:?}") };
    assert_eq!(whole.origins.pieces(), [48, 1292]);
}

#[test]
fn gathering_moves_bytes_to_the_front() {
    let mut whole = whole(false, UNKNOWN, false, &[(0, 8, true), (8, 8, true), (16, 50, false)]);
    let origins = &mut whole.origins;
    assert_eq!(origins.pieces(), [28, 8, 50]);
    origins.gather(28);
    assert_eq!(origins.pieces(), [28, 8, 50]);
    origins.gather(40);
    assert_eq!(origins.pieces(), [40, 46]);
    origins.gather(87);
    assert_eq!(origins.pieces(), [40, 46]);
    origins.forget_pieces();
    assert_eq!(origins.pieces(), [86]);
}

#[test]
fn a_smaller_link_gets_smaller_pieces_or_an_error() {
    let two = [(0, 1400, true), (1400, 800, false)];
    let expected = [(1300, 0, true, false), (940, 1280, false, false)];
    assert_eq!(shape(&cut_again(&whole(false, UNKNOWN, false, &two), 1300)), expected);
    assert_eq!(cut_again(&whole(false, UNKNOWN, true, &two), 1300), Cut::TooBig);
    assert_eq!(cut_again(&whole(true, UNKNOWN, false, &two), 1300), Cut::TooBig);
    let small = [(0, 1200, true), (1200, 1000, false)];
    let expected = [(1248, 0, true, false), (1048, 1200, false, false)];
    assert_eq!(shape(&cut_again(&whole(true, UNKNOWN, false, &small), 1300)), expected);
}

#[test]
fn ipv6_leaves_whole_what_fits_the_largest_fragment_and_ipv4_does_not() {
    let fits = [(0, 1000, true), (1000, 8, false)];
    assert_eq!(cut_again(&whole(true, UNKNOWN, false, &fits), 1500), Cut::Whole);
    let expected = [(1020, 0, true, false), (28, 1000, false, false)];
    assert_eq!(shape(&cut_again(&whole(false, UNKNOWN, false, &fits), 1500)), expected);
    let more = [(0, 1000, true), (1000, 16, false)];
    let expected = [(1048, 0, true, false), (64, 1000, false, false)];
    assert_eq!(shape(&cut_again(&whole(true, UNKNOWN, false, &more), 1500)), expected);
}

#[test]
fn ipv6_cut_anew_fills_at_least_1280_bytes() {
    let mut small = whole(true, UNKNOWN, false, &[(0, 400, true), (400, 1200, false)]);
    small.origins.forget_pieces();
    let expected = [(1280, 0, true, false), (416, 1232, false, false)];
    assert_eq!(shape(&cut_again(&small, 1500)), expected);
}

#[test]
fn options_that_are_not_copied_become_nops() {
    let option = [7, 7, 8, 0, 0, 0, 0, 148, 4, 0, 0, 1];
    let mut defrag = Defrag::default();
    let mut outcome = Outcome::Held;
    for part in [(0, 80, true), (80, 80, false)] {
        let mut bytes = stretch(false, part);
        bytes.splice(20..20, option);
        let header = Ipv4Header::view_mut(&mut bytes).unwrap();
        header.version_ihl = 0x48;
        header.total_length = U16::new(112);
        outcome = push(&mut defrag, &with_checksum(bytes));
    }
    let Outcome::Complete(whole) = outcome else { panic!("not complete") };
    let Cut::Fragments(fragments) = cut_again(&whole, 1500) else { panic!("not cut") };
    assert_eq!(fragments[0][20..32], option);
    assert_eq!(fragments[1][20..32], [1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 1]);
}

#[test]
fn without_origins_ipv4_is_cut_to_the_link_and_ipv6_is_too_big() {
    let bytes = make(Make { data: &data()[..1400], ..PLAIN });
    assert_eq!(cut(&bytes, None, 1500, 0), Cut::Whole);
    let expected = [(996, 0, true, false), (444, 976, false, false)];
    assert_eq!(shape(&cut(&bytes, None, 1000, 0)), expected);
    let forbidden = make(Make { df: true, data: &data()[..1400], ..PLAIN });
    assert_eq!(cut(&forbidden, None, 1000, 0), Cut::TooBig);
    let ipv6 = compose::ipv6(SOURCE6.into(), TARGET6.into(), UNKNOWN, &data()[..1400]);
    assert_eq!(cut(&ipv6, None, 1000, 0), Cut::TooBig);
}

#[test]
fn a_fragment_that_is_cut_keeps_its_place() {
    let bytes = stretch(false, (800, 1000, true));
    let expected = [(596, 800, true, false), (444, 1376, true, false)];
    assert_eq!(shape(&cut(&bytes, None, 600, 0)), expected);
}

#[test]
fn ipv6_repeats_hop_by_hop_routing_and_the_destination_options_before() {
    let options = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let routing = |next| [next, 0, UNKNOWN, 0, 0, 0, 0, 0];
    let fragment = [protocol::DEST, 0, 0, 1, 0, 0, 0, 1];
    let chain = [
        options(protocol::DEST),
        options(protocol::ROUTING),
        routing(protocol::FRAGMENT),
        fragment,
        options(UNKNOWN),
    ];
    let mut first = chain.concat();
    first.extend([1; 72]);
    let first = compose::ipv6(SOURCE6.into(), TARGET6.into(), protocol::HOP_BY_HOP, &first);
    let mut defrag = Defrag::default();
    assert!(matches!(push(&mut defrag, &first), Outcome::Held));
    let last = make(Make { v6: true, offset: 80, data: &[2; 200], ..PLAIN });
    let Outcome::Complete(whole) = push(&mut defrag, &last) else { panic!("not complete") };
    let Cut::Fragments(fragments) = cut_again(&whole, 1500) else { panic!("not cut") };
    assert_eq!(fragments[0][..64], first[..64]);
    assert_eq!(fragments[0][64..72], [protocol::DEST, 0, 0, 1, 0, 0, 0xab, 0xcd]);
    assert_eq!(fragments[0][72..], first[72..]);
    assert_eq!(fragments[1][..4], first[..4]);
    assert_eq!(fragments[1][40..64], first[40..64]);
    assert_eq!(fragments[1][72..], [2; 200]);
}
