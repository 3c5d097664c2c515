//! The cases of the Autobahn test suite against the codec, each with its result: a case that fails, or is gone, is seen.

use std::process::Command;

use libtest_mimic::Trial;

use crate::echo::Echo;
use crate::needs;

pub fn tests() -> Vec<Trial> {
    vec![needs::program("python3-kosoku", every_case_of_autobahn_has_its_result)]
}

/// The cases with their results, in the suite's order. The parts 12 and 13 are about permessage-deflate; in 13.3 and 13.5
/// clients insist on a small window, which is not granted: an event is compressed once for all.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/autobahn.txt");

/// Prints each case with the verdict about its messages and the one about its end, and whether an extension was granted.
const RUN: &str = r#"
import asyncio, sys
from kosoku import FailureError, run_fuzzingclient

async def main():
    try:
        results = await run_fuzzingclient(sys.argv[1], concurrency=4)
    except FailureError as failure:
        results = failure.results
    for result in results:
        print(result.case_id, result.behavior.value, "| close", result.behavior_close.value)
        if "sec-websocket-extensions" in result.http_response.lower():
            print(result.case_id, "was granted an extension")

asyncio.run(main())
"#;

fn every_case_of_autobahn_has_its_result() {
    let echo = Echo::start();
    let ended = Command::new("python3").args(["-c", RUN, &echo.url()]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let results = String::from_utf8(ended.stdout).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &results).unwrap();
    }
    let known = std::fs::read_to_string(GOLDEN).unwrap();
    let differing = |these: &str, those: &str| -> Vec<String> {
        these.lines().filter(|line| !those.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    assert_eq!(
        differing(&known, &results),
        Vec::<String>::new(),
        "expected, and not so; UPDATE_GOLDEN=1 rewrites them"
    );
    assert_eq!(differing(&results, &known), Vec::<String>::new(), "not expected; UPDATE_GOLDEN=1 rewrites them");
}
