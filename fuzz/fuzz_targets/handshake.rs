//! Whatever head a client sends to open a connection.
#![no_main]

#[path = "../properties/handshake.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
