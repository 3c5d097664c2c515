//! Nobody ever receives what is not theirs: clients of every dialect and callers of every page, named so that each could
//! be taken for another, under random steps against a plain list of what was published, for whom, and who could read it.
//!
//! `BROADCASTD_TEST_SEED=7 cargo test -p broadcastd --lib -- --nocapture server::tests::isolation` repeats one run.

mod client;
mod desk;
mod pages;
mod people;
mod truth;
mod wishes;
mod world;

use self::world::{Heard, World};

/// Runs that are made every time, and as many with new seeds.
const RUNS: u64 = 170;
/// Steps of one run.
const STEPS: usize = 3000;

#[test]
fn nobody_is_sent_what_is_anothers() {
    match std::env::var("BROADCASTD_TEST_SEED") {
        Ok(seed) => assert!(run(seed.parse().unwrap()).private > 0),
        Err(_) => {
            let new = fastrand::u64(..);
            let first = std::thread::spawn(|| (0..RUNS).map(run).collect::<Vec<_>>());
            let second = std::thread::spawn(move || (0..RUNS).map(|number| run(new.wrapping_add(number))).collect());
            let heard = [first.join(), second.join()].map(|ended| ended.expect("see above for the seed"));
            // Somebody who is told nothing at all is told nothing that is another's.
            let sum = |runs: &[Heard], of: fn(&Heard) -> usize| runs.iter().map(of).sum::<usize>() / RUNS as usize;
            let heard = heard.map(|runs| [sum(&runs, |heard| heard.private), sum(&runs, |heard| heard.answers)]);
            assert!(heard.iter().all(|[events, answers]| *events > 50 && *answers > 20), "{heard:?}");
        }
    }
}

fn run(seed: u64) -> Heard {
    let _told = Seed(seed);
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.step());
    world.rest();
    world.heard()
}

/// Says how to repeat the run in which something panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this run: BROADCASTD_TEST_SEED={}", self.0);
        }
    }
}
