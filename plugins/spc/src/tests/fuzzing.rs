//! The fuzz target of samples for everybody: its property holds on the seeds, and on inputs made of them.
//! `BROADCASTD_TEST_SEED` makes other inputs, and a failure says which they were.

use std::path::Path;

use crate::Charts;

#[path = "../../../../fuzz/made.rs"]
mod made;
#[path = "../../../../fuzz/properties/spc_sample.rs"]
mod spc_sample;

#[test]
fn samples() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/spc_sample");
    made::run(&seeds, 3_000, spc_sample::check);
}
