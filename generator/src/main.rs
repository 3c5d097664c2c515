//! Publishes made-up trades to a running daemon by a public door: the ingest socket, or HTTP. When it ends, however it
//! ends, nothing but new trades is missing.

mod door;
mod market;
mod options;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::door::Door;
use self::market::Market;
use self::options::{HELP, Options};

/// The pause before the daemon is tried again: it restarts in less, and thousands of tries a minute would help nobody.
const PAUSE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1), std::env::var("BROADCASTD_TOKEN").ok()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}; --help shows what there is");
            return ExitCode::from(64);
        }
    };
    run(&options);
    ExitCode::SUCCESS
}

/// Publishes round by round, one trade of each symbol. A round that cannot be published is left out: trades of before are
/// of no use later.
fn run(options: &Options) {
    let mut market = Market::new(&options.symbols, options.seed);
    let mut door = None;
    let mut due = Instant::now();
    let mut left = options.rounds;
    while left != Some(0) {
        let lines = market.round(&options.stream, unix_millis());
        match publish(&mut door, options, &lines) {
            Ok(0) => {}
            Ok(refused) => eprintln!("{refused} of {} trades were refused", lines.len()),
            Err(error) => {
                eprintln!("no daemon at {}: {error}; trying again", options.to);
                door = None;
                sleep(PAUSE);
                due = Instant::now();
                continue;
            }
        }
        left = left.map(|left| left - 1);
        due += options.every;
        sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn publish(door: &mut Option<Door>, options: &Options, lines: &[String]) -> std::io::Result<usize> {
    let open = match door.take() {
        Some(open) => open,
        None => {
            let open = Door::open(options)?;
            eprintln!("publishing {} to {} at {}", options.symbols.join(", "), options.stream, options.to);
            open
        }
    };
    door.insert(open).publish(lines)
}

fn unix_millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis())
}
