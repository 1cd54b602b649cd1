//! TCP, dialogue by dialogue. What each line expects was seen on Linux 6.18.
//!
//! Time passes only where a test waits, so that a timeout reads as the table has it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test's own failure"
)]

mod dialogue;

use dialogue::*;
use stateward_conntrack::Sysctls;

/// Runs a dialogue over IPv4 and IPv6.
fn both(run: impl Fn(&mut Dialogue)) {
    for v6 in [false, true] {
        run(&mut Dialogue::new(v6));
    }
}

/// Runs one with other settings.
fn with(set: &[(&str, &str)], run: impl Fn(&mut Dialogue)) {
    for v6 in [false, true] {
        let mut sysctls = Sysctls::default();
        for (name, value) in set {
            sysctls.set(name, value).unwrap();
        }
        run(&mut Dialogue::with(v6, sysctls));
    }
}

#[test]
fn a_handshake_is_new_established_established() {
    both(|d| {
        assert_eq!(d.send(Client, seg(SYN, 100, 0)), "NEW");
        assert_eq!(d.entry(), "120 SYN_SENT [UNREPLIED]");
        assert_eq!(d.send(Server, seg(SYN_ACK, 500, 101)), "ESTABLISHED");
        assert_eq!(d.entry(), "60 SYN_RECV");
        assert_eq!(d.send(Client, seg(ACK, 101, 501)), "ESTABLISHED");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
        assert_eq!(d.told(), ["NEW", "UPDATE", "UPDATE"]);
    });
}

#[test]
fn data_waits_five_minutes_for_its_ack() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Server, data(501, 101, 100)), "ESTABLISHED");
        assert_eq!(d.entry(), "300 ESTABLISHED [ASSURED]");
        assert_eq!(d.send(Client, seg(ACK, 101, 601)), "ESTABLISHED");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
        for _ in 0..3 {
            assert_eq!(d.send(Client, seg(ACK, 101, 601)), "ESTABLISHED");
        }
        assert_eq!(d.entry(), "300 ESTABLISHED [ASSURED]", "the third repetition");
    });
}

#[test]
fn a_reset_must_be_exactly_the_next_sequence_number() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Client, seg(RST, 50, 0)), "INVALID tcp_rst");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
        assert_eq!(d.send(Client, seg(RST, 150, 0)), "ESTABLISHED", "may be answered");
        assert_eq!(d.entry(), "10 ESTABLISHED [ASSURED]");
        assert_eq!(d.send(Client, seg(RST, 101, 0)), "ESTABLISHED");
        assert_eq!(d.entry(), "10 CLOSE [ASSURED]");
    });
}

#[test]
fn a_reset_after_a_challenge_recovers_with_the_next_data() {
    both(|d| {
        d.handshake();
        d.send(Client, seg(RST, 150, 0));
        assert_eq!(d.send(Client, data(101, 501, 10)), "ESTABLISHED");
        assert_eq!(d.entry(), "300 ESTABLISHED [ASSURED]");
    });
}

#[test]
fn a_reset_that_continues_a_train_of_data_closes() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Client, data(101, 501, 20)), "ESTABLISHED");
        assert_eq!(d.send(Client, seg(RST, 121, 0)), "ESTABLISHED");
        assert_eq!(d.entry(), "10 CLOSE [ASSURED]");
    });
}

#[test]
fn an_old_reset_is_accepted_with_ignore_invalid_rst() {
    with(&[("nf_conntrack_tcp_ignore_invalid_rst", "1")], |d| {
        d.handshake();
        assert_eq!(d.send(Server, seg(RST, 400, 0)), "ESTABLISHED");
        assert_eq!(d.entry(), "10 ESTABLISHED [ASSURED]");
    });
}

#[test]
fn equation_1_beyond_the_window_is_invalid_and_a_little_beyond_is_ignored() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Client, data(200_101, 501, 10)), "INVALID seq_over_upper_bound");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
        let just_above = data(501 + 65_000, 501, 10);
        assert_eq!(d.send(Client, just_above), "ESTABLISHED overshot");
        assert_eq!(d.send(Server, seg(ACK, 501, 65_511)), "ESTABLISHED", "and may be acked");
    });
}

#[test]
fn equation_2_old_data_is_ignored() {
    both(|d| {
        d.handshake();
        d.send(Client, data(101, 501, 1000));
        d.send(Server, seg(ACK, 501, 1101));
        let old = data(101u32.wrapping_sub(70_000), 501, 10);
        assert_eq!(d.send(Client, old), "ESTABLISHED seq_under_lower_bound");
    });
}

#[test]
fn equation_3_an_ack_of_unseen_data_is_invalid() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Client, seg(ACK, 101, 5000)), "INVALID ack_over_upper_bound");
    });
}

#[test]
fn equation_4_a_very_late_ack_is_ignored() {
    both(|d| {
        d.handshake();
        let late = seg(ACK, 101, 501u32.wrapping_sub(70_000));
        assert_eq!(d.send(Client, late), "ESTABLISHED ack_under_lower_bound");
    });
}

#[test]
fn be_liberal_accepts_what_is_outside_but_not_old_resets() {
    with(&[("nf_conntrack_tcp_be_liberal", "1")], |d| {
        d.handshake();
        let beyond = d.send(Client, data(200_101, 501, 10));
        assert_eq!(beyond, "ESTABLISHED");
        assert_eq!(d.send(Client, seg(RST, 50, 0)), "INVALID tcp_rst");
    });
}

#[test]
fn closing_goes_by_way_of_four_states() {
    both(|d| {
        d.handshake();
        d.send(Client, seg(FIN_ACK, 101, 501));
        assert_eq!(d.entry(), "120 FIN_WAIT [ASSURED]");
        d.send(Server, seg(ACK, 501, 102));
        assert_eq!(d.entry(), "60 CLOSE_WAIT [ASSURED]");
        d.send(Server, seg(FIN_ACK, 501, 102));
        assert_eq!(d.entry(), "30 LAST_ACK [ASSURED]");
        d.send(Client, seg(ACK, 102, 502));
        assert_eq!(d.entry(), "120 TIME_WAIT [ASSURED]");
        d.told();
        d.wait(121);
        assert_eq!(d.entry(), "-");
        assert_eq!(d.told(), ["DESTROY"]);
    });
}

fn closed(d: &mut Dialogue) {
    d.handshake();
    d.send(Client, seg(FIN_ACK, 101, 501));
    d.send(Server, seg(FIN_ACK, 501, 102));
    d.send(Client, seg(ACK, 102, 502));
    assert_eq!(d.entry(), "120 TIME_WAIT [ASSURED]");
    d.told();
}

#[test]
fn ports_in_time_wait_may_be_used_again_from_both_sides() {
    both(|d| {
        closed(d);
        assert_eq!(d.send(Client, seg(SYN, 9000, 0)), "NEW");
        assert_eq!(d.entry(), "120 SYN_SENT [UNREPLIED]");
        assert_eq!(d.told(), ["DESTROY", "NEW"]);
    });
    both(|d| {
        closed(d);
        assert_eq!(d.send(Server, seg(SYN, 9000, 0)), "NEW");
        assert_eq!(d.told(), ["DESTROY", "NEW"]);
    });
}

#[test]
fn a_syn_after_a_reset_reopens_only_from_the_side_that_reset() {
    both(|d| {
        d.handshake();
        d.send(Client, seg(RST, 101, 0));
        assert_eq!(d.send(Client, seg(SYN, 9000, 0)), "NEW");
    });
    both(|d| {
        d.handshake();
        d.send(Server, seg(RST, 501, 0));
        assert_eq!(d.send(Client, seg(SYN, 9000, 0)), "ESTABLISHED tcp_ignored");
        assert_eq!(d.entry(), "10 CLOSE [ASSURED]");
    });
}

#[test]
fn a_syn_in_an_established_connection_is_judged_by_its_answer() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Client, seg(SYN, 9000, 0)), "ESTABLISHED tcp_ignored");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
        assert_eq!(d.send(Server, seg(SYN_ACK, 700, 9001)), "ESTABLISHED");
        assert_eq!(d.entry(), "60 SYN_RECV [ASSURED]", "the ends agree: we take it up");
        assert_eq!(d.send(Client, seg(ACK, 9001, 701)), "ESTABLISHED");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
    });
    both(|d| {
        d.handshake();
        d.send(Client, seg(SYN, 9000, 0));
        assert_eq!(d.send(Server, seg(RST_ACK, 0, 9001)), "ESTABLISHED");
        assert_eq!(d.entry(), "10 CLOSE [ASSURED]", "a reset that acknowledges it");
    });
    both(|d| {
        d.handshake();
        d.send(Client, seg(SYN, 9000, 0));
        assert_eq!(d.send(Server, seg(ACK, 501, 101)), "ESTABLISHED", "a challenge ACK");
        assert_eq!(d.send(Client, seg(RST, 101, 0)), "ESTABLISHED");
        assert_eq!(d.entry(), "10 CLOSE [ASSURED]");
    });
}

#[test]
fn both_sides_may_open_at_once() {
    both(|d| {
        assert_eq!(d.send(Client, seg(SYN, 100, 0)), "NEW");
        assert_eq!(d.send(Server, seg(SYN, 500, 0)), "ESTABLISHED");
        assert_eq!(d.entry(), "120 SYN_SENT2");
        let told = d.events.last().unwrap().connection().unwrap();
        assert!(told.protocol.is_some(), "the event tells the state: {told:?}");
        d.send(Client, seg(SYN_ACK, 100, 501));
        d.send(Server, seg(SYN_ACK, 500, 101));
        assert_eq!(d.entry(), "60 SYN_RECV");
        d.send(Client, seg(ACK, 101, 501));
        d.send(Server, seg(ACK, 501, 101));
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
    });
}

#[test]
fn a_syn_sent_again_does_not_keep_the_entry() {
    both(|d| {
        d.send(Client, seg(SYN, 100, 0));
        d.wait(3);
        assert_eq!(d.send(Client, seg(SYN, 100, 0)), "NEW");
        assert_eq!(d.entry(), "117 SYN_SENT [UNREPLIED]");
    });
}

#[test]
fn a_reset_that_answers_the_syn_ends_the_entry_at_once() {
    both(|d| {
        d.send(Client, seg(SYN, 100, 0));
        assert_eq!(d.send(Server, seg(RST_ACK, 0, 101)), "ESTABLISHED");
        assert_eq!(d.entry(), "-");
        assert_eq!(d.told(), ["NEW", "DESTROY"]);
    });
}

#[test]
fn only_an_ack_picks_up_a_connection_in_its_middle() {
    both(|d| {
        assert_eq!(d.send(Server, seg(SYN_ACK, 500, 101)), "INVALID tcp_invalid_new");
        assert_eq!(d.send(Client, seg(FIN_ACK, 100, 1)), "INVALID tcp_invalid_new");
        assert_eq!(d.send(Client, seg(RST, 100, 0)), "INVALID tcp_invalid_new");
        assert_eq!(d.send(Server, seg(ACK, 500, 101)), "NEW");
        assert_eq!(d.entry(), "300 ESTABLISHED [UNREPLIED]");
        assert_eq!(d.send(Client, seg(ACK, 101, 500)), "ESTABLISHED");
        assert_eq!(d.entry(), "300 ESTABLISHED");
        assert_eq!(d.send(Server, seg(ACK, 500, 101)), "ESTABLISHED");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
    });
    with(&[("nf_conntrack_tcp_loose", "0")], |d| {
        assert_eq!(d.send(Server, seg(ACK, 500, 101)), "INVALID tcp_pickup_disabled");
    });
}

#[test]
fn a_closed_window_is_no_idle_connection() {
    both(|d| {
        d.handshake();
        let closed = Segment { window: 0, ..seg(ACK, 101, 501) };
        assert_eq!(d.send(Client, closed), "ESTABLISHED");
        assert_eq!(d.entry(), "300 ESTABLISHED [ASSURED]");
    });
}

#[test]
fn a_close_with_unbelievable_numbers_from_both_sides_shortens_the_wait() {
    both(|d| {
        d.handshake();
        assert_eq!(d.send(Client, seg(FIN_ACK, 900_101, 501)), "INVALID seq_over_upper_bound");
        assert_eq!(d.entry(), "432000 ESTABLISHED [ASSURED]");
        assert_eq!(d.send(Server, seg(FIN_ACK, 900_501, 101)), "INVALID seq_over_upper_bound");
        assert_eq!(d.entry(), "300 ESTABLISHED [ASSURED]");
    });
}

#[test]
fn flags_that_no_tcp_sends_are_invalid() {
    use stateward_wire::TcpFlags;
    both(|d| {
        for bits in 0..=63u8 {
            let legal = [0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30];
            // PSH goes with anything.
            let state = d.send(Client, seg(TcpFlags(bits), 1, 0));
            assert_eq!(state == "INVALID tcp_flags", !legal.contains(&(bits & !0x08)), "{bits:#x}");
            d.wait(500_000);
        }
    });
}

#[test]
fn every_state_has_its_own_timeout() {
    with(
        &[
            ("nf_conntrack_tcp_timeout_syn_sent", "11"),
            ("nf_conntrack_tcp_timeout_syn_recv", "12"),
            ("nf_conntrack_tcp_timeout_established", "13"),
            ("nf_conntrack_tcp_timeout_fin_wait", "14"),
            ("nf_conntrack_tcp_timeout_close_wait", "15"),
            ("nf_conntrack_tcp_timeout_last_ack", "16"),
            ("nf_conntrack_tcp_timeout_time_wait", "17"),
            ("nf_conntrack_tcp_timeout_close", "18"),
        ],
        |d| {
            let mut seen = Vec::new();
            let mut step = |d: &mut Dialogue, from, segment| {
                d.send(from, segment);
                seen.push(d.entry().split(' ').next().unwrap_or_default().to_owned());
            };
            step(d, Client, seg(SYN, 100, 0));
            step(d, Server, seg(SYN_ACK, 500, 101));
            step(d, Client, seg(ACK, 101, 501));
            step(d, Client, seg(FIN_ACK, 101, 501));
            step(d, Server, seg(ACK, 501, 102));
            step(d, Server, seg(FIN_ACK, 501, 102));
            step(d, Client, seg(ACK, 102, 502));
            step(d, Client, seg(RST, 102, 0));
            assert_eq!(seen, ["11", "12", "13", "14", "15", "16", "17", "18"]);
        },
    );
}

#[test]
fn windows_are_scaled_only_if_both_sides_offer_it() {
    const SCALE_7: [u8; 4] = [1, 3, 3, 7];
    let open = |server_options: &'static [u8]| {
        let mut d = Dialogue::new(false);
        d.send(Client, Segment { options: &SCALE_7, ..seg(SYN, 100, 0) });
        d.send(Server, Segment { options: server_options, ..seg(SYN_ACK, 500, 101) });
        d.send(Client, Segment { window: 1000, ..seg(ACK, 101, 501) });
        // 100,000 bytes ahead: within 1000 << 7 of the client, but far beyond 65,000.
        d.send(Server, data(501 + 100_000, 101, 10))
    };
    assert_eq!(open(&SCALE_7), "ESTABLISHED");
    assert_eq!(open(&[]), "INVALID seq_over_upper_bound");
}

#[test]
fn a_selective_acknowledgement_counts_as_its_highest_edge() {
    const SACK_PERMITTED: [u8; 4] = [1, 1, 4, 2];
    let mut d = Dialogue::new(false);
    d.send(Client, Segment { options: &SACK_PERMITTED, ..seg(SYN, 100, 0) });
    d.send(Server, Segment { options: &SACK_PERMITTED, ..seg(SYN_ACK, 500, 101) });
    d.send(Client, seg(ACK, 101, 501));
    // NOP, NOP, SACK of one block whose right edge has never been sent.
    let mut option = vec![1, 1, 5, 10];
    option.extend(600u32.to_be_bytes());
    option.extend(9000u32.to_be_bytes());
    let sack = Segment { options: &option, ..seg(ACK, 101, 501) };
    assert_eq!(d.send(Client, sack), "INVALID ack_over_upper_bound");
}
