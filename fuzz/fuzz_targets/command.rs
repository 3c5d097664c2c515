//! Whatever text a client sends in a message.
#![no_main]

#[path = "../properties/command.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
