//! `plugin try`, which the daemon runs: tries a plugin's file in this process, so that it need not be tried in the daemon's.

use std::io::{self, Write as _};

use super::test::own_output;
use crate::cli::Exit;
use crate::commands::fail;
use crate::plugin::trial;

/// Answers the question on standard input with one line, and ends at once, whatever the plugin still does.
pub fn answer() -> Exit {
    let (question, out) = (io::read_to_string(io::stdin()), own_output());
    let (Ok(question), Ok(mut out)) = (question, out) else {
        return fail(Exit::Internal, "only the daemon asks this, by standard input and output");
    };
    let answer = serde_json::to_string(&trial::answer(&question)).expect("an answer is plain data");
    _ = out.write_all(format!("{answer}\n").as_bytes()); // nobody may wait any more
    std::process::exit(i32::from(Exit::Done as u8))
}
