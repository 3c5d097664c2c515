//! Commands, and every way to answer them.

use std::time::Duration;

use broadcastd_plugin_api::{Answer, Command, Context, Failure, FailureKind, RequestId, StreamSpec, TimerId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// The timers by which `later` answers are given lie above those of everything else.
pub const FIRST_ANSWER: u64 = 1 << 32;

/// A failure of each kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fail {
    kind: String,
}

/// An answer after a while.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Later {
    after_ms: u64,
}

pub fn declare(spec: StreamSpec) -> StreamSpec {
    spec.command::<()>("poke", "poke")
        .command::<Value>("echo", "echo")
        .command::<Fail>("fail", "fail")
        .command::<Later>("later", "later")
        .command::<()>("from_worker", "later")
        .command::<()>("never", "later")
        .command::<()>("twice", "twice")
        .command::<()>("panic", "panic")
        .command::<()>("huge", "huge")
        .command::<()>("unknown_after_all", "unknown")
}

/// What there is to do about a command, where that needs more than the command.
pub enum Rest {
    Nothing,
    /// To be answered by a job of a worker.
    Job(RequestId),
}

pub fn carry_out(command: &Command<'_>, cx: &mut Context<'_>) -> Result<(Answer, Rest), Failure> {
    let answer = match command.name {
        "echo" => Answer::Now(json!({"principal": command.principal, "payload": command.json::<Value>()?})),
        "fail" => return Err(Failure::of(kind(&command.json::<Fail>()?.kind), "fails on purpose")),
        "later" => {
            let after = Duration::from_millis(command.json::<Later>()?.after_ms);
            cx.timer_once(TimerId(FIRST_ANSWER + command.request.0), after)?;
            Answer::Later
        }
        "from_worker" => return Ok((Answer::Later, Rest::Job(command.request))),
        "never" => Answer::Later,
        "twice" => {
            cx.reply(command.request, Ok(&"first"))?;
            Answer::Now(json!("second"))
        }
        "panic" => panic!("a command panics on purpose"),
        "huge" => Answer::Now(Value::String("x".repeat(1 << 20))), // with its quotes two bytes too many
        other => return Err(Failure::of(FailureKind::Unsupported, format!("there is no command `{other}`"))),
    };
    Ok((answer, Rest::Nothing))
}

/// Gives an answer that was put off.
pub fn answer(request: RequestId, cx: &mut Context<'_>) {
    if let Err(error) = cx.reply(request, Ok(&"late")) {
        tracing::info!(%error, "not taken on purpose");
    }
}

fn kind(name: &str) -> FailureKind {
    match name {
        "invalid" => FailureKind::Invalid,
        "unsupported" => FailureKind::Unsupported,
        "limit" => FailureKind::Limit,
        "closed" => FailureKind::Closed,
        "not_found" => FailureKind::NotFound,
        "conflict" => FailureKind::Conflict,
        "forbidden" => FailureKind::Forbidden,
        _ => FailureKind::Failed,
    }
}
