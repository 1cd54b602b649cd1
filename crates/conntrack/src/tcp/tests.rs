//! The steady way gives what the long way gives.

use core::net::Ipv4Addr;

use proptest::prelude::*;
use stateward_wire::compose::{self, Tcp};
use zerocopy::IntoBytes;

use super::*;
use crate::status::PerDir;
use crate::sysctl::Sysctls;
use crate::time::Instant;
use crate::tracker::Unfinished;

/// Where all numbers are near.
const BASE: u32 = u32::MAX - 50_000;

/// A connection in ESTABLISHED of which anything may have been seen.
fn track() -> impl Strategy<Value = TcpTrack> {
    let number = || (0u32..200_000).prop_map(|n| BASE.wrapping_add(n));
    let numbers = || [number(), number()];
    let window = || prop_oneof![1 => Just(0u32), 9 => 0u32..200_000];
    let sides = (numbers(), numbers(), [window(), window()], numbers());
    let small = ([0u8..15, 0u8..15], any::<[u8; 2]>(), 0u8..6, any::<bool>());
    let last = (number(), number(), number(), 0u16..3, 0u8..6);
    (sides, small, last).prop_map(
        |((end, max_end, max_window, max_ack), (scale, flags, repeated, reply), last)| TcpTrack {
            end: PerDir(end),
            max_end: PerDir(max_end),
            max_window: PerDir(max_window),
            max_ack: PerDir(max_ack),
            scale: PerDir(scale),
            flags: PerDir(flags.map(SideFlags)),
            last_seq: last.0,
            last_ack: last.1,
            last_end: last.2,
            last_window: last.3,
            last_direction: reply.into(),
            last_segment: last.4,
            retransmissions: repeated,
            state: TcpState::Established as u8,
            ..TcpTrack::default()
        },
    )
}

/// A segment that is likely an ACK near the window, with or without SACK.
fn segment() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![8 => Just(0x10u8), 4 => Just(0x18), 2 => Just(0x30), 2 => any::<u8>()];
    let options = prop_oneof![
        3 => Just(vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]),
        1 => Just(vec![]),
        2 => (0u32..200_000).prop_map(|n| {
            let right = BASE.wrapping_add(n).to_be_bytes();
            let left = BASE.to_be_bytes();
            [[1, 1, 5, 10], left, right].concat()
        }),
    ];
    (0u32..200_000, 0u32..200_000, flags, 0u16..3, options, 0usize..40).prop_map(
        |(sequence, acknowledgment, flags, window, options, length)| {
            compose::tcp(&Tcp {
                source: (Ipv4Addr::new(192, 0, 2, 1).into(), 1024),
                destination: (Ipv4Addr::new(198, 51, 100, 2).into(), 80),
                sequence: BASE.wrapping_add(sequence),
                acknowledgment: BASE.wrapping_add(acknowledgment),
                flags: TcpFlags(flags),
                window,
                options: &options,
                payload: &vec![0; length],
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_steady_way_gives_what_the_long_way_gives(
        before in track(),
        bytes in segment(),
        cut in prop_oneof![9 => Just(0usize), 1 => 1usize..40],
        reply: bool,
        liberal: bool,
    ) {
        let seen = bytes.get(..bytes.len() - cut).unwrap();
        let Ok(packet) = Packet::parse_cut(seen) else { return Ok(()) };
        let sysctls = Sysctls { tcp_be_liberal: liberal, ..Sysctls::default() };
        let direction = if reply { Direction::Reply } else { Direction::Original };
        let now = Instant::from_secs(1);
        let (mut short, mut long) = (before, before);
        let circumstances = Circumstances { sysctls: &sysctls, now, direction, verify: true };
        let Some(timeout) = steady(&mut short, circumstances, &packet) else {
            prop_assert_eq!(short.as_bytes(), before.as_bytes(), "nothing was done");
            return Ok(());
        };
        let context = L4Context {
            sysctls: &sysctls,
            timeouts: &sysctls,
            direction,
            status: Status(Status::SEEN_REPLY.0 | Status::ASSURED.0),
            is_new: false,
            now,
            remaining: Span(0),
            verify: Some(Unfinished::Bad),
            moved: Default::default(),
        };
        let decision = super::packet(&mut long, &context, &packet);
        prop_assert_eq!(decision, L4Decision::Accept(Accept::refresh(timeout)));
        prop_assert_eq!(short.as_bytes(), long.as_bytes());
    }
}
