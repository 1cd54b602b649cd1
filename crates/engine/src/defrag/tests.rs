//! The claims of the essays, one a test, each as the running kernel was seen to do.

use stateward_wire::{Ipv4Header, Ipv6Header, U16, checksum, compose, protocol};

use super::*;

mod cutting;
mod properties;
mod recording;

const SOURCE4: [u8; 4] = [192, 0, 2, 1];
const TARGET4: [u8; 4] = [198, 51, 100, 2];
const SOURCE6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const TARGET6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const UNKNOWN: u8 = 253;
const PLACE: Place = Place { side: Side::Incoming, interface: 1, zone: 0 };

/// A fragment to make.
#[derive(Clone, Copy)]
struct Make<'a> {
    v6: bool,
    id: u16,
    offset: usize,
    more: bool,
    df: bool,
    tos: u8,
    protocol: u8,
    /// IPv6: destination options before the fragment header, in bytes, a multiple of eight.
    options: usize,
    data: &'a [u8],
}

const PLAIN: Make<'_> = Make {
    v6: false,
    id: 1,
    offset: 0,
    more: false,
    df: false,
    tos: 0,
    protocol: UNKNOWN,
    options: 0,
    data: &[],
};

fn make(what: Make<'_>) -> Vec<u8> {
    if what.v6 { make_ipv6(what) } else { make_ipv4(what) }
}

fn make_ipv4(what: Make<'_>) -> Vec<u8> {
    let (source, target) = (SOURCE4.into(), TARGET4.into());
    let mut bytes = compose::ipv4(source, target, what.protocol, what.data);
    let flags = u16::from(what.more) << 13 | u16::from(what.df) << 14;
    let header = Ipv4Header::view_mut(&mut bytes).unwrap();
    header.identification = U16::new(what.id);
    header.fragmentation = U16::new((what.offset / 8) as u16 | flags);
    header.tos = what.tos;
    with_checksum(bytes)
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    Ipv4Header::view_mut(&mut bytes).unwrap().checksum = U16::ZERO;
    let length = Ipv4Header::view(&bytes).unwrap().header_length();
    let right = checksum::of(&bytes[..length]);
    Ipv4Header::view_mut(&mut bytes).unwrap().checksum = U16::new(right);
    bytes
}

fn make_ipv6(what: Make<'_>) -> Vec<u8> {
    let mut chain = vec![0; what.options];
    if let [next, length, pad, padding, ..] = chain.as_mut_slice() {
        (*next, *length) = (protocol::FRAGMENT, (what.options / 8 - 1) as u8);
        (*pad, *padding) = (1, (what.options - 4) as u8);
    }
    chain.extend([what.protocol, 0]);
    chain.extend((what.offset as u16 | u16::from(what.more)).to_be_bytes());
    chain.extend(u32::from(what.id).to_be_bytes());
    chain.extend(what.data);
    let first = if what.options == 0 { protocol::FRAGMENT } else { protocol::DEST };
    let mut bytes = compose::ipv6(SOURCE6.into(), TARGET6.into(), first, &chain);
    let header = Ipv6Header::view_mut(&mut bytes).unwrap();
    header.version_class_flow.set(6 << 28 | u32::from(what.tos) << 20);
    bytes
}

/// A stretch of data: `offset`, `length`, `more`.
type Stretch = (usize, usize, bool);

fn data() -> Vec<u8> {
    (0..4000_u32).map(|byte| (byte * 7 % 251) as u8).collect()
}

fn stretch(v6: bool, (offset, length, more): Stretch) -> Vec<u8> {
    make(Make { v6, offset, more, data: &data()[offset..offset + length], ..PLAIN })
}

fn push(defrag: &mut Defrag, bytes: &[u8]) -> Outcome {
    defrag.push(&Packet::parse(bytes).unwrap(), PLACE, Instant(0))
}

/// What became of each stretch, in a word.
fn fates(v6: bool, stretches: &[Stretch]) -> Vec<String> {
    let mut defrag = Defrag::default();
    let fate = |stretch_| match push(&mut defrag, &stretch(v6, stretch_)) {
        Outcome::Whole => "whole".to_owned(),
        Outcome::Held => "held".to_owned(),
        Outcome::Complete(_) => "complete".to_owned(),
        Outcome::Dropped(reason) => format!("{reason:?}"),
    };
    stretches.iter().copied().map(fate).collect()
}

#[test]
fn what_is_no_fragment_passes() {
    let mut defrag = Defrag::default();
    let whole =
        compose::udp((IpAddr::from(SOURCE4), 1), (IpAddr::from(TARGET4), 2), b"not a fragment");
    assert!(matches!(push(&mut defrag, &whole), Outcome::Whole));
    assert_eq!(defrag.counters(Family::V4), Counters::default());
}

#[test]
fn order_does_not_matter_and_a_duplicate_is_ignored() {
    for v6 in [false, true] {
        let [a, b, c] = [(0, 800, true), (800, 800, true), (1600, 100, false)];
        assert_eq!(fates(v6, &[a, b, c]), ["held", "held", "complete"]);
        assert_eq!(fates(v6, &[c, b, a]), ["held", "held", "complete"]);
        assert_eq!(fates(v6, &[b, b, c, a]), ["held", "Duplicate", "held", "complete"]);
    }
}

#[test]
fn an_overlap_costs_the_queue() {
    for v6 in [false, true] {
        let [a, b, c] = [(0, 800, true), (800, 800, true), (1600, 100, false)];
        let overlap = (792, 808, true);
        assert_eq!(fates(v6, &[a, overlap, b, c]), ["held", "Overlap", "held", "held"]);
        let wider = (0, 1600, true);
        assert_eq!(fates(v6, &[(8, 8, true), wider]), ["held", "Overlap"]);
    }
}

#[test]
fn a_duplicate_lies_inside_one_run_and_runs_grow_in_order_only() {
    for v6 in [false, true] {
        let [a, b, inside] = [(0, 800, true), (800, 800, true), (400, 800, true)];
        assert_eq!(fates(v6, &[a, b, inside]), ["held", "held", "Duplicate"]);
        assert_eq!(fates(v6, &[b, a, inside]), ["held", "held", "Overlap"]);
    }
}

#[test]
fn a_contradicted_end_costs_ipv4_the_queue_and_ipv6_the_fragment() {
    let [a, b, c] = [(0, 800, true), (800, 800, true), (1600, 100, false)];
    for other in [(1600, 200, false), (1600, 80, false), (1696, 8, true)] {
        let fates4 = fates(false, &[a, c, other, b]);
        assert_eq!(fates4, ["held", "held", "End", "held"], "{other:?}");
        let fates6 = fates(true, &[a, c, other, b]);
        assert_eq!(fates6, ["held", "held", "End", "complete"], "{other:?}");
    }
}

#[test]
fn a_fragment_that_is_not_the_last_is_rounded_down_in_ipv4_and_passes_in_ipv6() {
    let [odd, b] = [(0, 803, true), (800, 100, false)];
    assert_eq!(fates(false, &[odd, b]), ["held", "complete"]);
    assert_eq!(fates(true, &[odd, b]), ["whole", "held"]);
    // Its queue ends as well.
    assert_eq!(fates(true, &[b, odd, (0, 800, true)]), ["held", "whole", "held"]);
}

#[test]
fn an_empty_fragment_costs_ipv4_the_queue_and_sets_the_end_in_ipv6() {
    let [a, b, nothing] = [(0, 800, true), (800, 800, true), (1600, 0, false)];
    assert_eq!(fates(false, &[a, nothing, b]), ["held", "Empty", "held"]);
    assert_eq!(fates(true, &[a, nothing, b]), ["held", "Empty", "complete"]);
}

#[test]
fn a_packet_may_have_65535_bytes_and_no_more() {
    let zeros = vec![0; 64_800];
    for (last, fits) in [(715, true), (716, false)] {
        let mut defrag = Defrag::default();
        push(&mut defrag, &make(Make { more: true, data: &zeros, ..PLAIN }));
        let tail = Make { offset: 64_800, data: &zeros[..last], ..PLAIN };
        match push(&mut defrag, &make(tail)) {
            Outcome::Complete(whole) => assert!(fits && whole.bytes.len() == 65_535),
            Outcome::Dropped(reason) => assert!(!fits && reason == DropReason::TooLong),
            other => panic!("{other:?}"),
        }
        assert_eq!((defrag.waiting(Family::V4), defrag.memory(Family::V4)), (0, 0));
    }
    // IPv6 counts the payload, and refuses the fragment at once if it ends beyond.
    for (options, last, expected) in [
        (0, 735, None),
        (0, 736, Some(DropReason::TooFar)),
        (8, 727, None),
        (8, 728, Some(DropReason::TooLong)),
    ] {
        let mut defrag = Defrag::default();
        let first = Make { v6: true, options, more: true, data: &zeros, ..PLAIN };
        push(&mut defrag, &make(first));
        let tail = Make { v6: true, offset: 64_800, data: &zeros[..last], ..PLAIN };
        match push(&mut defrag, &make(tail)) {
            Outcome::Complete(whole) => {
                assert!(expected.is_none() && whole.bytes.len() == 40 + 65_535);
            }
            Outcome::Dropped(reason) => assert_eq!(Some(reason), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ecn_is_merged_as_rfc_3168_says() {
    for v6 in [false, true] {
        // (of one fragment, of the other, of the whole: of the first, and CE if any)
        for (a, b, merged) in [
            (0, 0, Some(0)),
            (1, 1, Some(1)),
            (1, 2, Some(1)),
            (1, 3, Some(3)),
            (2, 3, Some(3)),
            (3, 3, Some(3)),
            (0, 1, None),
            (0, 2, None),
            (0, 3, None),
        ] {
            let mut defrag = Defrag::default();
            let like = Make { v6, ..PLAIN };
            let first = make(Make { tos: 0x40 | a, more: true, data: &[1; 80], ..like });
            let last = make(Make { tos: b, offset: 80, data: &[2; 8], ..like });
            push(&mut defrag, &first);
            match push(&mut defrag, &last) {
                Outcome::Complete(whole) => {
                    let tos = Packet::parse(&whole.bytes).unwrap().tos();
                    assert_eq!(Some(tos), merged.map(|merged| 0x40 | merged));
                }
                Outcome::Dropped(DropReason::MixedEcn) => assert_eq!(merged, None),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_whole_forbids_fragmenting_if_its_largest_fragment_did() {
    for (first, last, expected) in [(1, 1, true), (1, 0, true), (0, 1, false), (0, 0, false)] {
        let mut defrag = Defrag::default();
        let [large, small] = [(first == 1, 80), (last == 1, 8)];
        let like = PLAIN;
        push(&mut defrag, &make(Make { df: large.0, more: true, data: &[0; 80], ..like }));
        let tail = make(Make { df: small.0, offset: large.1, data: &[0; 8], ..like });
        let Outcome::Complete(whole) = push(&mut defrag, &tail) else { panic!("not complete") };
        assert_eq!(Ipv4Header::view(&whole.bytes).unwrap().dont_fragment(), expected);
    }
}

#[test]
fn ipv6_lets_truncated_first_fragments_pass() {
    // (upper layer, bytes of it, whether the fragment passes)
    for (protocol, length, passes) in [
        (protocol::TCP, 16, true),
        (protocol::TCP, 24, false),
        (protocol::UDP, 0, true),
        (protocol::UDP, 8, false),
        (protocol::ICMPV6, 0, true),
        (UNKNOWN, 0, true),
        (UNKNOWN, 8, false),
    ] {
        let data = &[0; 24][..length];
        let bytes = make(Make { v6: true, protocol, more: true, data, ..PLAIN });
        let outcome = push(&mut Defrag::default(), &bytes);
        assert_eq!(matches!(outcome, Outcome::Whole), passes, "{protocol} {length}");
    }
    // A chain that leads nowhere is not called truncated.
    let cut_options = [UNKNOWN, 0, 1, 4, 0, 0, 0, 0];
    for (next, passes) in [(UNKNOWN, true), (protocol::NONE, false)] {
        let mut data = cut_options;
        data[0] = next;
        let like = Make { v6: true, protocol: protocol::DEST, more: true, ..PLAIN };
        let outcome = push(&mut Defrag::default(), &make(Make { data: &data, ..like }));
        assert_eq!(matches!(outcome, Outcome::Whole), passes, "{next}");
    }
}

#[test]
fn a_cut_fragment_header_is_dropped_unless_it_looks_like_a_truncated_first() {
    // (what the header says, its bytes, whether the packet passes)
    for (header, length, passes) in [
        ([UNKNOWN, 0, 0, 0, 0, 0, 0, 7], 3, false),
        ([UNKNOWN, 0, 0, 0, 0, 0, 0, 7], 4, true),
        ([UNKNOWN, 0, 0, 0, 0, 0, 0, 7], 8, true),
        ([UNKNOWN, 0, 0, 8, 0, 0, 0, 7], 7, false),
        ([protocol::NONE, 0, 0, 0, 0, 0, 0, 7], 7, false),
    ] {
        let (source, target) = (SOURCE6.into(), TARGET6.into());
        let bytes = compose::ipv6(source, target, protocol::FRAGMENT, &header[..length]);
        let outcome = push(&mut Defrag::default(), &bytes);
        assert_eq!(matches!(outcome, Outcome::Whole), passes, "{header:?} {length}");
        let dropped = matches!(outcome, Outcome::Dropped(DropReason::Header));
        assert_eq!(dropped, !passes, "{header:?} {length}");
    }
}

#[test]
fn an_atomic_ipv6_fragment_loses_its_header() {
    let bytes = make(Make { v6: true, data: &[9; 50], ..PLAIN });
    let Outcome::Complete(whole) = push(&mut Defrag::default(), &bytes) else { panic!() };
    assert_eq!(whole.bytes, compose::ipv6(SOURCE6.into(), TARGET6.into(), UNKNOWN, &[9; 50]));
    assert_eq!(cut(&whole.bytes, Some(&whole.origins), 1500, 0), Cut::Whole);
}

#[test]
fn ipv6_takes_the_next_header_from_the_first_fragment() {
    let mut defrag = Defrag::default();
    let like = Make { v6: true, ..PLAIN };
    push(&mut defrag, &make(Make { offset: 8, protocol: 17, data: &[0; 8], ..like }));
    let first = make(Make { more: true, options: 16, data: &[0; 8], ..like });
    let Outcome::Complete(whole) = push(&mut defrag, &first) else { panic!() };
    let upper = Packet::parse(&whole.bytes).unwrap().upper().unwrap();
    assert_eq!((upper.protocol, upper.offset, whole.bytes.len()), (UNKNOWN, 56, 72));
}

/// Linux keeps the offset of the announcing byte in eight bits: 296 becomes 40.
#[test]
fn ipv6_changes_the_wrong_byte_behind_long_extension_headers() {
    let mut chain = vec![0; 256 + 8 + 8 + 8];
    chain[..4].copy_from_slice(&[protocol::DEST, 31, 1, 252]);
    chain[256..264].copy_from_slice(&[protocol::FRAGMENT, 0, 1, 4, 0, 0, 0, 0]);
    chain[264..272].copy_from_slice(&[UNKNOWN, 0, 0, 0, 0, 0, 0, 1]);
    let bytes = compose::ipv6(SOURCE6.into(), TARGET6.into(), protocol::DEST, &chain);
    let Outcome::Complete(whole) = push(&mut Defrag::default(), &bytes) else { panic!() };
    assert_eq!((whole.bytes[40], whole.bytes[296]), (UNKNOWN, protocol::FRAGMENT));
}

#[test]
fn interfaces_matter_only_for_ipv6_addresses_of_the_link() {
    for (target, apart) in [
        (TARGET6, false),
        ([0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], true),
        ([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], true),
    ] {
        let mut defrag = Defrag::default();
        let mut pieces = [(0, 80, true), (80, 80, false)].map(|part| stretch(true, part));
        for (piece, interface) in pieces.iter_mut().zip([1, 2]) {
            Ipv6Header::view_mut(piece).unwrap().destination = target;
            let packet = Packet::parse(piece).unwrap();
            defrag.push(&packet, Place { interface, ..PLACE }, Instant(0));
        }
        assert_eq!(defrag.waiting(Family::V6), if apart { 2 } else { 0 });
    }
}

#[test]
fn sides_zones_and_ipv4_protocols_have_queues_of_their_own() {
    let parts = [(0, 80, true), (80, 80, false)].map(|part| stretch(false, part));
    let elsewhere = [Place { side: Side::Outgoing, ..PLACE }, Place { zone: 1, ..PLACE }];
    for place in elsewhere {
        let mut defrag = Defrag::default();
        push(&mut defrag, &parts[0]);
        defrag.push(&Packet::parse(&parts[1]).unwrap(), place, Instant(0));
        assert_eq!(defrag.waiting(Family::V4), 2);
    }
    let mut defrag = Defrag::default();
    push(&mut defrag, &parts[0]);
    push(&mut defrag, &make(Make { protocol: 254, offset: 80, data: &[0; 8], ..PLAIN }));
    assert_eq!(defrag.waiting(Family::V4), 2);
}

#[test]
fn time_runs_from_the_first_to_arrive_and_is_not_prolonged() {
    for (v6, seconds) in [(false, 30), (true, 60)] {
        let mut defrag = Defrag::default();
        let parts = [(80, 80, true), (0, 80, true)].map(|part| stretch(v6, part));
        for (second, part) in (5..).zip(&parts) {
            let packet = Packet::parse(part).unwrap();
            let place = Place { interface: second as u32, ..PLACE };
            defrag.push(&packet, place, Instant::from_secs(second));
        }
        let deadline = Instant::from_secs(5 + seconds);
        assert_eq!(defrag.next_deadline(), Some(deadline));
        assert_eq!(defrag.handle_timeout(Instant(deadline.0 - 1)), None);
        let expired = defrag.handle_timeout(deadline).unwrap();
        assert_eq!(expired.first_fragment.as_deref(), Some(parts[1].as_slice()));
        assert_eq!((expired.interface, expired.side), (6, Side::Incoming));
        assert_eq!((defrag.handle_timeout(deadline), defrag.next_deadline()), (None, None));
        let family = if v6 { Family::V6 } else { Family::V4 };
        assert_eq!((defrag.memory(family), defrag.counters(family).timeouts), (0, 1));
    }
}

#[test]
fn who_never_saw_the_first_fragment_has_nothing_to_quote() {
    let mut defrag = Defrag::default();
    push(&mut defrag, &stretch(false, (80, 80, true)));
    let expired = defrag.handle_timeout(Instant::from_secs(30)).unwrap();
    assert_eq!((expired.first_fragment, expired.source), (None, SOURCE4.into()));
}

/// `/proc/net/sockstat` after one and after two fragments with this much data.
#[test]
fn memory_is_counted_as_linux_counts_it() {
    for (data, one, two) in [
        (8, 1032, 1864),
        (100, 1032, 1864),
        (200, 1480, 2760),
        (500, 1480, 2760),
        (640, 2504, 4808),
        (1600, 2504, 4808),
        (1800, 4552, 8904),
        (3500, 4552, 8904),
        (3800, 8648, 17_096),
        (5000, 8648, 17_096),
        (8000, 12_744, 25_288),
        (16_000, 20_936, 41_672),
        (30_000, 33_224, 66_248),
        (60_000, 61_896, 123_592),
    ] {
        let mut defrag = Defrag::default();
        let zeros = vec![0; data];
        push(&mut defrag, &make(Make { more: true, data: &zeros, ..PLAIN }));
        assert_eq!(defrag.memory(Family::V4), one, "{data}");
        let second = Make { more: true, offset: data, data: &zeros, ..PLAIN };
        push(&mut defrag, &make(second));
        // The largest does not fit a second time.
        if data < 60_000 {
            assert_eq!(defrag.memory(Family::V4), two, "{data}");
        }
    }
}

/// As measured: with 4,064 IPv4 and 4,128 IPv6 queues of one small fragment Linux still takes one
/// more, with one queue more it takes none, not even for a queue there is.
#[test]
fn nothing_is_taken_over_the_threshold() {
    let limits = Limits { max_distance: 0, ..Limits::IPV4 };
    for (v6, most) in [(false, 4064), (true, 4128)] {
        let mut defrag = Defrag::new(limits, Limits::IPV6);
        for id in 0..=most {
            let first = make(Make { v6, id, more: true, data: &[0; 8], ..PLAIN });
            assert!(matches!(push(&mut defrag, &first), Outcome::Held), "{id}");
        }
        let last = make(Make { v6, id: 7, offset: 8, data: &[0; 8], ..PLAIN });
        let refused = push(&mut defrag, &last);
        assert!(matches!(refused, Outcome::Dropped(DropReason::Memory)));
        defrag.handle_timeout(Instant::from_secs(60)).unwrap();
        assert!(matches!(push(&mut defrag, &last), Outcome::Complete(_)));
    }
    let mut closed = Defrag::new(Limits { high_threshold: 0, ..limits }, Limits::IPV6);
    let refused = push(&mut closed, &stretch(false, (0, 8, true)));
    assert!(matches!(refused, Outcome::Dropped(DropReason::Memory)));
}

#[test]
fn a_queue_passed_over_64_times_starts_afresh() {
    for (others, afresh) in [(63, false), (64, true)] {
        let mut defrag = Defrag::default();
        push(&mut defrag, &make(Make { id: 1, more: true, data: &[0; 80], ..PLAIN }));
        for other in 0..others {
            push(&mut defrag, &make(Make { id: 100 + other, more: true, data: &[0; 8], ..PLAIN }));
        }
        let last = make(Make { id: 1, offset: 80, data: &[0; 8], ..PLAIN });
        let late = Instant::from_secs(20);
        let outcome = defrag.push(&Packet::parse(&last).unwrap(), PLACE, late);
        assert_eq!(matches!(outcome, Outcome::Held), afresh, "{others}");
        assert_eq!(matches!(outcome, Outcome::Complete(_)), !afresh, "{others}");
        if afresh {
            while defrag.handle_timeout(Instant::from_secs(49)).is_some() {}
            assert_eq!(defrag.next_deadline(), Some(Instant::from_secs(50)));
            assert_eq!(defrag.memory(Family::V4), 1032);
        }
    }
}

#[test]
fn fragments_cut_by_a_capture_count_with_their_stated_length() {
    for v6 in [false, true] {
        let parts = [(0, 80, true), (80, 80, false)].map(|part| stretch(v6, part));
        let mut defrag = Defrag::default();
        let cut = Packet::parse_cut(&parts[0][..parts[0].len() - 30]).unwrap();
        assert!(matches!(defrag.push(&cut, PLACE, Instant(0)), Outcome::Held));
        let Outcome::Complete(whole) = push(&mut defrag, &parts[1]) else { panic!() };
        let l4 = Packet::parse(&whole.bytes).unwrap().l4();
        assert!(whole.incomplete && l4[..50] == data()[..50] && l4[50..80] == [0; 30]);
        assert_eq!(l4[80..], data()[80..160]);
    }
}
