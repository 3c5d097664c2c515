//! Whatever body is published over HTTP.
#![no_main]

#[path = "../properties/ingest.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
