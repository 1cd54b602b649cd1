//! The state tables: what a chunk does to an association, seen from the middle.
//!
//! Rows are chunks, columns the state the chunk meets; one table a direction. `IV` is INVALID.
//! Most cells leave the state as it is: a chunk that comes too early or too late passes if its tag
//! is right, for the end that gets it knows better what to do with it. The original direction is
//! that of the client as a rule, but not after a simultaneous opening or on a path that a HEARTBEAT
//! opened.
//!
//! Every cell was observed, NONE on entries that an administrator had made: an association's first
//! chunk leaves NONE, and nothing leads back.

use super::SctpState;
use super::chunks::Signal;
use crate::status::Direction;

const IV: Option<SctpState> = None;
const CL: Option<SctpState> = Some(SctpState::Closed);
const CW: Option<SctpState> = Some(SctpState::CookieWait);
const CE: Option<SctpState> = Some(SctpState::CookieEchoed);
const ES: Option<SctpState> = Some(SctpState::Established);
const SS: Option<SctpState> = Some(SctpState::ShutdownSent);
const SR: Option<SctpState> = Some(SctpState::ShutdownRecd);
const SA: Option<SctpState> = Some(SctpState::ShutdownAckSent);
const HS: Option<SctpState> = Some(SctpState::HeartbeatSent);

type Table = [[Option<SctpState>; 9]; 11];

#[rustfmt::skip]
const ORIGINAL: Table = [
    //              NO  CL  CW  CE  ES  SS  SR  SA  HS
    /* INIT      */ [CL, CL, CW, CE, ES, CL, CL, SA, CW],
    // CW..ES   sent again, or a restart (5.2.2): the association lives until the cookie decides
    // SS, SR   the client begins anew before the old association's end was seen
    // SA       will be answered with another SHUTDOWN_ACK (9.2)
    // HS       a handshake on the path; CLOSED is skipped, and with it 7 of the 10 seconds
    /* INIT_ACK  */ [CL, CL, CW, CE, ES, SS, SR, SA, CL],
    // CL       the client answers an INIT of the server: only the server's INIT_ACK leads on
    // HS       who answers INITs is no client with a further path: back to the beginning
    /* ABORT     */ [CL, CL, CL, CL, CL, CL, CL, CL, CL],
    /* SHUTDOWN  */ [CL, CL, CW, CE, SS, SS, SR, SA, CL],
    // SR       both shut down at once: the first one names the state
    // HS       here and below, what is not about a path ends the wait for its HEARTBEAT_ACK
    /* SHUT_ACK  */ [SA, CL, CW, CE, ES, SA, SA, SA, SA],
    // NO, HS   out of the blue: a SHUTDOWN_COMPLETE will answer (8.4)
    // ES       answers a SHUTDOWN that we have not seen: wait for one that we do see
    // SS       both shut down at once, and both acknowledge (9.2)
    /* ERROR     */ [CL, CL, CW, CE, ES, SS, SR, SA, CL],
    // CE       a stale cookie is the server's complaint, not the client's
    /* COOKIE    */ [CL, CL, CE, CE, ES, SS, SR, SA, CL],
    /* COOKIE_OK */ [CL, CL, CW, ES, ES, SS, SR, SA, CL],
    // CE       after a collision of INITs the cookie may have been the server's
    /* SHUT_DONE */ [CL, CL, CW, CE, ES, SS, SR, CL, CL],
    // SS, SR   not before the SHUTDOWN_ACK
    /* HEARTBEAT */ [HS, CL, CW, CE, ES, SS, SR, SA, HS],
    /* HB_ACK    */ [CL, CL, CW, CE, ES, SS, SR, SA, HS],
    // HS       the answer to its own side's HEARTBEAT would come the other way
];

#[rustfmt::skip]
const REPLY: Table = [
    //              NO  CL  CW  CE  ES  SS  SR  SA  HS
    /* INIT      */ [IV, CL, CW, CE, ES, SS, SR, SA, IV],
    // CL       a collision, or the server calls back where the client's association has ended
    // SS..SA   stays, unlike the client's: the entry could not follow with its directions swapped
    // HS       here and below, what is heard of a path before its HEARTBEAT_ACK are heartbeats
    /* INIT_ACK  */ [IV, CW, CW, CE, ES, SS, SR, SA, IV],
    /* ABORT     */ [IV, CL, CL, CL, CL, CL, CL, CL, IV],
    /* SHUTDOWN  */ [IV, CL, CW, CE, SR, SS, SR, SA, IV],
    /* SHUT_ACK  */ [IV, CL, CW, CE, ES, SA, SA, SA, IV],
    /* ERROR     */ [IV, CL, CW, CL, ES, SS, SR, SA, IV],
    // CE       a stale cookie (5.2.6): the handshake has failed; which error it is, is not read
    /* COOKIE    */ [IV, CL, CE, CE, ES, SS, SR, SA, IV],
    // CW       a collision: the server's cookie comes first
    /* COOKIE_OK */ [IV, CL, CW, ES, ES, SS, SR, SA, IV],
    /* SHUT_DONE */ [IV, CL, CW, CE, ES, SS, SR, CL, IV],
    /* HEARTBEAT */ [IV, CL, CW, CE, ES, SS, SR, SA, HS],
    /* HB_ACK    */ [IV, CL, CW, CE, ES, SS, SR, SA, ES],
    // HS       both ends use the path: an association, though its handshake was never seen
];

/// What `signal` does to an association in `state`; `None` where it does not belong.
#[inline]
pub(super) fn next(direction: Direction, signal: Signal, state: SctpState) -> Option<SctpState> {
    let table = match direction {
        Direction::Original => &ORIGINAL,
        Direction::Reply => &REPLY,
    };
    table[signal as usize][state as usize]
}

#[cfg(test)]
mod tests {
    use Direction::{Original, Reply};
    use SctpState::*;

    use super::*;

    const SIGNALS: [Signal; 11] = [
        Signal::Init,
        Signal::InitAck,
        Signal::Abort,
        Signal::Shutdown,
        Signal::ShutdownAck,
        Signal::Error,
        Signal::CookieEcho,
        Signal::CookieAck,
        Signal::ShutdownComplete,
        Signal::Heartbeat,
        Signal::HeartbeatAck,
    ];

    /// The cells of one direction that lead from `state` to another one.
    fn ways_out(direction: Direction, state: SctpState) -> Vec<(Signal, SctpState)> {
        SIGNALS
            .into_iter()
            .filter_map(|signal| Some((signal, next(direction, signal, state)?)))
            .filter(|(_, new)| *new != state)
            .collect()
    }

    #[test]
    fn each_signal_has_the_row_of_its_number() {
        for (row, signal) in SIGNALS.into_iter().enumerate() {
            assert_eq!(signal as usize, row);
        }
    }

    #[test]
    fn nothing_leads_to_none() {
        for (signal, state) in SIGNALS.into_iter().flat_map(|s| SctpState::ALL.map(|t| (s, t))) {
            for direction in [Original, Reply] {
                assert_ne!(next(direction, signal, state), Some(SctpState::None));
            }
        }
    }

    #[test]
    fn abort_closes_wherever_it_is_heard() {
        for state in SctpState::ALL {
            assert_eq!(next(Original, Signal::Abort, state), Some(Closed));
            let heard = !matches!(state, SctpState::None | HeartbeatSent);
            assert_eq!(next(Reply, Signal::Abort, state), heard.then_some(Closed));
        }
    }

    #[test]
    fn only_none_and_an_unanswered_path_make_a_chunk_invalid_and_only_in_reply() {
        for (signal, state) in SIGNALS.into_iter().flat_map(|s| SctpState::ALL.map(|t| (s, t))) {
            assert!(next(Original, signal, state).is_some());
            let heartbeat = matches!(signal, Signal::Heartbeat | Signal::HeartbeatAck);
            let invalid = state == SctpState::None || (state == HeartbeatSent && !heartbeat);
            assert_eq!(next(Reply, signal, state).is_none(), invalid, "{signal:?} {state}");
        }
    }

    #[test]
    fn closed_is_left_by_the_servers_init_ack_alone() {
        assert_eq!(ways_out(Original, Closed), []);
        assert_eq!(ways_out(Reply, Closed), [(Signal::InitAck, CookieWait)]);
    }

    #[test]
    fn a_cookie_and_its_acknowledgement_may_come_from_either_side() {
        for direction in [Original, Reply] {
            assert_eq!(next(direction, Signal::CookieEcho, CookieWait), Some(CookieEchoed));
            assert_eq!(next(direction, Signal::CookieAck, CookieEchoed), Some(Established));
        }
    }

    #[test]
    fn an_error_ends_the_handshake_only_from_the_server() {
        assert_eq!(next(Reply, Signal::Error, CookieEchoed), Some(Closed));
        assert_eq!(next(Original, Signal::Error, CookieEchoed), Some(CookieEchoed));
    }

    #[test]
    fn an_established_association_is_left_by_abort_and_shutdown_alone() {
        let out = |state| [(Signal::Abort, Closed), (Signal::Shutdown, state)];
        assert_eq!(ways_out(Original, Established), out(ShutdownSent));
        assert_eq!(ways_out(Reply, Established), out(ShutdownRecd));
    }

    #[test]
    fn shutdown_goes_on_by_its_acknowledgement_of_either_side_or_the_clients_new_init() {
        for state in [ShutdownSent, ShutdownRecd] {
            let on = [(Signal::Abort, Closed), (Signal::ShutdownAck, ShutdownAckSent)];
            assert_eq!(ways_out(Reply, state), on);
            let [abort, acknowledged] = on;
            let anew = (Signal::Init, Closed);
            assert_eq!(ways_out(Original, state), [anew, abort, acknowledged]);
        }
        let over = [(Signal::Abort, Closed), (Signal::ShutdownComplete, Closed)];
        for direction in [Original, Reply] {
            assert_eq!(ways_out(direction, ShutdownAckSent), over);
        }
    }

    #[test]
    fn a_path_is_established_by_the_answer_to_its_heartbeat() {
        assert_eq!(ways_out(Reply, HeartbeatSent), [(Signal::HeartbeatAck, Established)]);
    }
}
