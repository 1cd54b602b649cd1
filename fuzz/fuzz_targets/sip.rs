//! `stateward_fuzz::sip` under libFuzzer; without it, on the files named as arguments.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stateward_fuzz::sip(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    stateward_fuzz::on_files(stateward_fuzz::sip)
}
