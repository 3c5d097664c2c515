//! Whatever is written as the guard of a transition: it is understood or refused, and answers whatever it is asked about.

use serde_json::{Value, json};

#[path = "../../plugins/state_machines/src/guard.rs"]
mod guard;
#[path = "../../plugins/state_machines/src/guard_text.rs"]
mod guard_text;

use guard::{Guard, Scope};
use guard_text::{MAX_BYTES, MAX_DEPTH};

/// The first line is a guard, the rest the data of an event.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (text, data) = text.split_once('\n').unwrap_or((text, ""));
    let guard = match Guard::parse(text) {
        Ok(guard) => guard,
        Err(why) => return assert!(!why.is_empty() && why.len() < 4 * MAX_BYTES),
    };
    assert!(text.len() <= MAX_BYTES && text.matches('(').count() <= text.len());
    let shown = guard.to_string();
    let ctx = json!({"state": "S1", "version": 3, "previous_state": null, "symbol": "BTC"});
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let scope = Scope { data: &data, ctx: &ctx };
    let answer = guard.ask(&scope);
    if shown.len() <= MAX_BYTES {
        let again = Guard::parse(&shown).unwrap_or_else(|why| panic!("{shown}: {why}"));
        assert_eq!((again.to_string(), again.ask(&scope)), (shown, answer));
    }
    let deeper = format!("{}{text}", "not ".repeat(MAX_DEPTH + 1));
    assert!(Guard::parse(&deeper).is_err(), "{deeper}");
}
