//! Too much, and what is wrong by itself: what a plugin must not be able to do harm with.

use std::ops::Range;
use std::time::Duration;

use broadcastd_plugin_api::{Context, Outgoing, TimerId};
use serde_json::json;

use crate::settings::Mode;

/// Events or lines in one call.
const FLOOD: u64 = 10_000;

/// Far above what the daemon keeps of timers and of metrics.
const THOUSANDS: u64 = 3_000;

/// The largest payload that the daemon takes.
const MAX_PAYLOAD: usize = 1 << 20;

/// Ids of the many timers begin here, above the one in use, and they fire when nobody looks any more.
const FIRST_TIMER: u64 = 1_000;
const FAR: Duration = Duration::from_secs(3600);

/// Pieces of memory and their size, and never more than a piece at a time.
const PIECES: u64 = 16;
const PIECE: usize = 16 << 20;

/// Does it, and says how often the daemon did not take it. `None`: this mode does none of it.
pub fn overdo(mode: Mode, cx: &mut Context<'_>) -> Option<u64> {
    Some(match mode {
        Mode::Flood => refused(0..FLOOD, |n| cx.event("count").key("current").publish(&json!({"count": n})).is_ok()),
        Mode::Talk => refused(0..FLOOD, |n| {
            tracing::info!(n, "talks on purpose");
            true
        }),
        Mode::Huge => huge(cx),
        Mode::Garbage => garbage(cx),
        Mode::Timers => refused(FIRST_TIMER..FIRST_TIMER + THOUSANDS, |id| cx.timer_once(TimerId(id), FAR).is_ok()),
        Mode::Metrics => refused(0..THOUSANDS, |n| {
            metrics::counter!("many_total", "n" => n.to_string()).increment(1);
            metrics::gauge!(format!("many_{n}")).set(1.0);
            true
        }),
        Mode::Allocate => refused(0..PIECES, |n| vec![n as u8; PIECE].len() == PIECE),
        _ => return None,
    })
}

fn refused(numbers: Range<u64>, is_taken: impl FnMut(u64) -> bool) -> u64 {
    let mut is_taken = is_taken;
    numbers.filter(|n| !is_taken(*n)).count() as u64
}

/// At the bound, deep inside, and a byte beyond.
fn huge(cx: &mut Context<'_>) -> u64 {
    let frame = "{\"count\":\"\"}".len();
    let text = |length: usize| format!("{{\"count\":\"{}\"}}", "x".repeat(length - frame));
    let deep = format!("{{\"count\":{}{}}}", "[".repeat(MAX_PAYLOAD / 4), "]".repeat(MAX_PAYLOAD / 4));
    let payloads = [text(MAX_PAYLOAD), deep, text(MAX_PAYLOAD + 1)];
    payloads.iter().filter(|payload| cx.publish(&count(payload.as_bytes())).is_err()).count() as u64
}

fn garbage(cx: &mut Context<'_>) -> u64 {
    let long = "k".repeat(1_000);
    let good = count(b"{\"count\":0}");
    let payloads: [&[u8]; 9] =
        [b"", b"[1,2,3]", b"7", b"null", b"{", b"{\"count\":1} x", b"{count:1}", b"{\"\xff\":1}", b"\0"];
    let wrong = [
        Outgoing { kind: "", ..good },
        Outgoing { kind: "two words", ..good },
        Outgoing { kind: &long, ..good },
        Outgoing { kind: "full_update", ..good },
        Outgoing { topic: "a::b", ..good },
        Outgoing { topic: "a:*", ..good },
        Outgoing { topic: "%zz", ..good },
        Outgoing { topic: &long, ..good },
        Outgoing { key: &long, ..good },
        Outgoing { record: b"{", ..good },
        Outgoing { session_id: &long, ..good },
        Outgoing { audience: "somebody", ..good },
    ];
    let all = payloads.into_iter().map(count).chain(wrong);
    all.filter(|event| cx.publish(event).is_err()).count() as u64
}

fn count(payload: &[u8]) -> Outgoing<'_> {
    Outgoing { kind: "count", payload, ..Outgoing::default() }
}
