//! Whatever a connection begins with where a proxy should announce it.
#![no_main]

#[path = "../properties/proxy_protocol.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
