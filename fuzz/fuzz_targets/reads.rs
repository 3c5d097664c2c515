//! Whatever stands behind the `?` of a request.
#![no_main]

#[path = "../properties/reads.rs"]
mod property;
#[path = "../query.rs"]
mod query;
#[path = "../shown.rs"]
mod shown;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
