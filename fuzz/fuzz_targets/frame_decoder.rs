//! Whatever bytes a client sends on its socket.
#![no_main]

#[path = "../properties/frame_decoder.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
