//! What holds for any fragments.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Cuts `data` into fragments at `points`, which are rounded to multiples of eight.
fn fragments(make_like: Make<'_>, data: &[u8], points: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = points.iter().map(|point| point.index(data.len()) & !7).collect();
    at.extend([0, data.len()]);
    at.sort_unstable();
    at.dedup();
    let pairs = at.iter().zip(at.iter().skip(1));
    pairs
        .map(|(&offset, &end)| {
            let more = end < data.len();
            make(Make { offset, more, data: &data[offset..end], ..make_like })
        })
        .collect()
}

proptest! {
    #[test]
    fn any_permutation_of_any_cut_is_the_original_and_leaves_as_it_came(
        v6 in any::<bool>(),
        content in proptest::collection::vec(any::<u8>(), 9..2000),
        points in proptest::collection::vec(any::<Index>(), 1..12),
        options in 0_usize..4,
        order in any::<u64>(),
    ) {
        let like = Make { v6, options: options * 8, ..PLAIN };
        let pieces = fragments(like, &content, &points);
        prop_assume!(pieces.len() > 1);
        let mut shuffled = pieces.clone();
        // Fisher and Yates with a small generator of our own.
        let mut state = order | 1;
        for last in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(last, (state >> 33) as usize % (last + 1));
        }
        let mut defrag = Defrag::default();
        let (last, others) = shuffled.split_last().unwrap();
        for piece in others {
            prop_assert!(matches!(push(&mut defrag, piece), Outcome::Held));
        }
        let Outcome::Complete(whole) = push(&mut defrag, last) else { panic!("not complete") };
        let packet = Packet::parse(&whole.bytes).unwrap();
        prop_assert_eq!(packet.l4(), &content[..]);
        prop_assert_eq!(packet.upper().unwrap().protocol, UNKNOWN);
        prop_assert_eq!(packet.fragment(), None);
        prop_assert!(!whole.incomplete && defrag.waiting(packet.family()) == 0);
        prop_assert_eq!(defrag.memory(packet.family()), 0);
        // It leaves as it came, but that IPv6 does not cut what fits the largest fragment.
        match cut(&whole.bytes, Some(&whole.origins), 2100, u32::from(like.id)) {
            Cut::Fragments(again) => prop_assert_eq!(again, pieces),
            Cut::Whole => prop_assert!(v6 && whole.bytes.len() <= whole.origins.largest()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_overlapping_fragment_among_any_drops_all(
        v6 in any::<bool>(),
        content in proptest::collection::vec(any::<u8>(), 64..600),
        points in proptest::collection::vec(any::<Index>(), 1..6),
        overlap in any::<Index>(),
        place in any::<Index>(),
    ) {
        let like = Make { v6, ..PLAIN };
        let pieces = fragments(like, &content, &points);
        prop_assume!(pieces.len() > 1);
        // From eight bytes before a border to eight behind it: never inside a fragment. Two
        // fragments inside it would be its duplicates, and rightly so.
        let sizes: Vec<usize> =
            pieces.iter().map(|piece| piece.len() - if v6 { 48 } else { 20 }).collect();
        let last_before = overlap.index(pieces.len() - 1);
        let border: usize = sizes.iter().take(last_before + 1).sum();
        prop_assume!(border >= 8 && border + 8 < content.len());
        prop_assume!(sizes[last_before] > 8 || sizes[last_before + 1] > 8);
        let bad = &content[border - 8..border + 8];
        let bad = make(Make { offset: border - 8, more: true, data: bad, ..like });
        let mut all = pieces.clone();
        // In reverse order no two fragments form a run, so it cannot be called a duplicate.
        all.reverse();
        all.insert(1 + place.index(all.len() - 1), bad);
        let mut defrag = Defrag::default();
        let complete = all.iter().any(|piece| {
            matches!(push(&mut defrag, piece), Outcome::Complete(_))
        });
        prop_assert!(!complete);
    }

    #[test]
    fn accounts_balance_after_anything(
        packets in proptest::collection::vec(
            (any::<bool>(), 0_u16..6, 0_usize..12, 0_usize..80, any::<[bool; 2]>(), 0_u8..4),
            1..200,
        ),
    ) {
        let mut defrag = Defrag::default();
        for (second, (v6, id, offset, length, [more, df], tos)) in (0..).zip(packets) {
            let now = Instant::from_secs(second);
            while defrag.handle_timeout(now).is_some() {}
            let data = &[7; 80][..length];
            let what = Make { v6, id, offset: offset * 8, more, df, tos, data, ..PLAIN };
            let bytes = make(what);
            defrag.push(&Packet::parse(&bytes).unwrap(), PLACE, now);
            for pool in [&defrag.ipv4, &defrag.ipv6] {
                let held: u64 = pool.queues.values().map(|queue| queue.memory).sum();
                prop_assert_eq!(pool.memory, held);
                prop_assert_eq!(pool.deadlines.len(), pool.queues.len());
                let from_peers: u32 = pool.peers.values().map(|peer| peer.queues).sum();
                let ipv4 = pool.queue_cost == queue::IPV4_COST;
                prop_assert_eq!(from_peers as usize, if ipv4 { pool.queues.len() } else { 0 });
            }
        }
        while defrag.handle_timeout(Instant(u64::MAX)).is_some() {}
        for family in [Family::V4, Family::V6] {
            prop_assert_eq!((defrag.memory(family), defrag.waiting(family)), (0, 0));
        }
        prop_assert!(defrag.ipv4.peers.is_empty());
    }

    #[test]
    fn no_bytes_panic(
        packets in proptest::collection::vec(random_fragment(), 1..60),
        mtu in 0_usize..200,
    ) {
        let mut defrag = Defrag::default();
        for bytes in packets {
            let Ok(packet) = Packet::parse_cut(&bytes) else { continue };
            if let Outcome::Complete(mut whole) = defrag.push(&packet, PLACE, Instant(0)) {
                prop_assert!(Packet::parse(&whole.bytes).is_ok() || whole.bytes[0] >> 4 != 4);
                cut(&whole.bytes, Some(&whole.origins), mtu, 0);
                whole.origins.gather(mtu);
                cut(&whole.bytes, Some(&whole.origins), mtu, 0);
                // Whatever became of the packet since.
                cut(&bytes, Some(&whole.origins), mtu, 0);
            }
            cut(&bytes, None, mtu, 0);
        }
    }
}

/// Random bytes behind headers that are good enough to be fragments of few packets.
fn random_fragment() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 40..140);
    (any::<bool>(), bytes, 0_u8..4, any::<bool>()).prop_map(|(v6, mut bytes, place, more)| {
        let length = bytes.len() as u16;
        if v6 {
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&(length - 40).to_be_bytes());
            bytes[6] = if place == 3 { protocol::DEST } else { protocol::FRAGMENT };
            bytes[8..40].fill(1);
            let fragment = [bytes[0] & 1, 0, 0, (place * 8) | u8::from(more), 0, 0, 0, 1];
            if let Some(header) = bytes.get_mut(40..48) {
                header.copy_from_slice(&fragment);
            }
        } else {
            bytes[0] = 0x45 + (place & 1);
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..12].copy_from_slice(&[0, 1, u8::from(more) << 5, place, 9, 6, 0, 0]);
            bytes[12..20].fill(1);
        }
        bytes
    })
}
