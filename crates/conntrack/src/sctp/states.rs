//! The state tables: what a chunk does to an association, seen from the middle.
//!
//! Rows are chunks, columns the state the chunk meets; one table a direction. `IV` is INVALID.
//! Most cells leave the state as it is: the tables are about what is seen, not about what an endpoint
//! would do, and a chunk that comes too late or too early passes if its tag is right.

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
    //             NO  CL  CW  CE  ES  SS  SR  SA  HS
    /* INIT     */ [CL, CL, CW, CE, ES, CL, CL, SA, CW],
    /* INIT_ACK */ [CL, CL, CW, CE, ES, SS, SR, SA, CL],
    /* ABORT    */ [CL, CL, CL, CL, CL, CL, CL, CL, CL],
    /* SHUTDOWN */ [CL, CL, CW, CE, SS, SS, SR, SA, CL],
    /* SD_ACK   */ [SA, CL, CW, CE, ES, SA, SA, SA, SA],
    /* ERROR    */ [CL, CL, CW, CE, ES, SS, SR, SA, CL],
    /* C_ECHO   */ [CL, CL, CE, CE, ES, SS, SR, SA, CL],
    /* C_ACK    */ [CL, CL, CW, ES, ES, SS, SR, SA, CL],
    /* SD_COMPL */ [CL, CL, CW, CE, ES, SS, SR, CL, CL],
    /* HB       */ [HS, CL, CW, CE, ES, SS, SR, SA, HS],
    /* HB_ACK   */ [CL, CL, CW, CE, ES, SS, SR, SA, HS],
];

#[rustfmt::skip]
const REPLY: Table = [
    //             NO  CL  CW  CE  ES  SS  SR  SA  HS
    /* INIT     */ [IV, CL, CW, CE, ES, SS, SR, SA, IV],
    /* INIT_ACK */ [IV, CW, CW, CE, ES, SS, SR, SA, IV],
    /* ABORT    */ [IV, CL, CL, CL, CL, CL, CL, CL, IV],
    /* SHUTDOWN */ [IV, CL, CW, CE, SR, SS, SR, SA, IV],
    /* SD_ACK   */ [IV, CL, CW, CE, ES, SA, SA, SA, IV],
    /* ERROR    */ [IV, CL, CW, CL, ES, SS, SR, SA, IV],
    /* C_ECHO   */ [IV, CL, CE, CE, ES, SS, SR, SA, IV],
    /* C_ACK    */ [IV, CL, CW, ES, ES, SS, SR, SA, IV],
    /* SD_COMPL */ [IV, CL, CW, CE, ES, SS, SR, CL, IV],
    /* HB       */ [IV, CL, CW, CE, ES, SS, SR, SA, HS],
    /* HB_ACK   */ [IV, CL, CW, CE, ES, SS, SR, SA, ES],
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
