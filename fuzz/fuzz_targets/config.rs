//! Whatever stands in the configuration file.
#![no_main]

#[path = "../properties/config.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
