//! Whatever a plugin says about the sizes of what it hands over.
#![no_main]

#[path = "../properties/abi_input.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
