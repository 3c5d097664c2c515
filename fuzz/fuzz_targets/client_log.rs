//! Whatever clients send for the log.
#![no_main]

#[path = "../properties/client_log.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
