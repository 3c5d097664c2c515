//! Whatever a caller says of himself in the head of a request.
#![no_main]

#[path = "../properties/caller.rs"]
mod property;
#[path = "../shown.rs"]
mod shown;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
