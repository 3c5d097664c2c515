//! Whatever is written to the ingest socket.
#![no_main]

#[path = "../properties/ingest_socket.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
