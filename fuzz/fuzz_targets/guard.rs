//! Whatever is written as the guard of a transition.
#![no_main]

#[path = "../properties/guard.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
