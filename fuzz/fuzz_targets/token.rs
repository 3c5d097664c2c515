//! Whatever is shown as a token, claimed in one, or given as a file of keys.
#![no_main]

#[path = "../properties/token.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
