//! The only `unsafe` of the core: asking the processor to fetch a line before it is needed.
//!
//! A plain early read does the same where nothing else stands between the reads; between reads that
//! are hundreds of instructions apart it blocks the processor's window on the first miss. Measured
//! over 1 M connections in bursts of 32: see ARCHITECTURE.md, "The table".

#![allow(unsafe_code)]

/// Starts fetching the cache line that holds `value`. Never changes an answer.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program could see and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // No stable instruction: a read that nothing depends on is the next best thing.
        core::hint::black_box(core::ptr::from_ref(value));
    }
}
