//! Whatever is given as a topic, a pattern, a template or its parameters.
#![no_main]

#[path = "../properties/topic.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
