//! Publishing on the client listeners: what a token lets pass, how fast, and from which web pages.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::http::{Answer, ask, post};
use crate::needs;
use crate::process::{Daemon, PORTS};
use crate::standing::service;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_token_publishes_what_it_may_and_nothing_else),
        needs::nothing(a_token_that_proves_nothing_is_refused),
        needs::nothing(who_has_a_token_learns_no_names_and_takes_no_foreign_stream),
        needs::nothing(a_token_publishes_no_faster_than_its_rate),
        needs::nothing(configured_pages_may_publish_and_no_others),
        needs::nothing(a_reload_changes_the_pages),
    ]
}

const JSON: &str = "application/json";
const TICKS: &str = "/v1/streams/ticks/publish";

const CORS: &str = "BROADCASTD_SERVER__CORS";

/// A service `opener` that may publish this.
fn trusting(publish: &[&str], more: &str) -> String {
    let streams = "[streams.ticks]\nvisible = true\n[broadcasters.bars]\nplugin = \"faulty\"\nenabled = false\n";
    format!("{streams}{}", service("feed", "opener", &format!("publish = {publish:?}\n{more}")))
}

fn daemon(publish: &[&str]) -> Daemon {
    Daemon::start(&trusting(publish, ""))
}

fn publish(daemon: &Daemon, path: &str, body: &str) -> Answer {
    let headers = [("Content-Type", JSON), ("Authorization", "Bearer opener")];
    ask(&daemon.clients, &format!("POST {path} HTTP/1.1"), &headers, body.as_bytes())
}

/// The status and the body, with `e1` for the epoch.
fn told(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    body["position"]["epoch"] = "e1".into();
    (answer.status, body)
}

fn a_token_publishes_what_it_may_and_nothing_else() {
    let daemon = daemon(&["ticks:AAPL:*", "ticks:B%3AC"]);
    let body = r#"[{"type":"a","topic":"ticks:AAPL:1"},{"type":"b","topic":"ticks:MSFT:1"},{"type":"c"},{"type":"d","topic":"ticks:B%3AC"},{"type":"e","topic":"ticks:AAPL"},{"type":"f","topic":"ticks:AAPL:1","audience":"u"}]"#;
    let forbidden = |index: u8| json!({"index": index, "pointer": "/topic", "error": "forbidden"});
    let public = "the event has an audience, but the stream is not private; set private = true, or leave it out";
    let rejected =
        json!([forbidden(1), forbidden(2), forbidden(4), {"index": 5, "pointer": "/audience", "error": public}]);
    let expected = json!({"accepted": 2, "rejected": rejected, "position": {"epoch": "e1", "seq": 2}});
    assert_eq!(told(&publish(&daemon, TICKS, body)), (207, expected));
    let expected = json!({"accepted": 0, "rejected": [forbidden(0)], "position": {"epoch": "e1", "seq": 2}});
    assert_eq!(told(&publish(&daemon, TICKS, r#"{"type":"a"}"#)), (403, expected));
    let mixed = publish(&daemon, TICKS, r#"[{"type":"a"},{}]"#);
    assert_eq!(mixed.status, 422, "one of them would not have been accepted of anybody");
    assert_eq!(daemon.get("/v1/streams/ticks").json()["position"]["seq"], 2);
}

fn a_token_that_proves_nothing_is_refused() {
    let daemon = daemon(&["ticks"]);
    let status = |authorization: &[&str]| {
        let headers = authorization.iter().map(|value| ("Authorization", *value)).chain([("Content-Type", JSON)]);
        let headers: Vec<_> = headers.collect();
        let answer = ask(&daemon.clients, &format!("POST {TICKS} HTTP/1.1"), &headers, br#"{"type":"a"}"#);
        assert_eq!(answer.header("www-authenticate"), (answer.status == 401).then_some("Bearer"));
        answer.status
    };
    assert_eq!(status(&["Bearer opener"]), 202);
    for wrong in ["Bearer opene", "Basic opener", "opener", ""] {
        assert_eq!(status(&[wrong]), 401, "{wrong}");
    }
    assert_eq!(status(&[]), 401);
    assert_eq!((status(&["Bearer"]), status(&["Bearer "])), (400, 400), "an empty token is a mistake");
    assert_eq!(status(&["Bearer opener", "Bearer opener"]), 202, "the same one twice leaves no doubt");
    assert_eq!(status(&["Bearer opener", "Bearer other"]), 400);
    daemon.reload(|| daemon.configure("[streams.ticks]\nvisible = true\n"));
    assert_eq!(status(&["Bearer opener"]), 401, "a token that is trusted no longer");
}

fn who_has_a_token_learns_no_names_and_takes_no_foreign_stream() {
    let daemon = daemon(&["ticks", "bars"]);
    let unknown = publish(&daemon, "/v1/streams/nope/publish", r#"{"type":"a"}"#);
    assert_eq!((unknown.status, &unknown.json()["error"]["message"]), (404, &json!("unknown stream \"nope\"")));
    let foreign = publish(&daemon, "/v1/streams/bars/publish", r#"{"type":"a"}"#);
    assert_eq!((foreign.status, &foreign.json()["error"]["code"]), (403, &json!("forbidden")));
}

fn a_token_publishes_no_faster_than_its_rate() {
    let daemon = Daemon::start(&trusting(&["ticks"], "rate = { events = 1, burst = 2 }"));
    let answer = publish(&daemon, TICKS, r#"[{"type":"a"},{"type":"b"},{"type":"c"},{"type":"d"}]"#);
    let late = |index: u8| json!({"index": index, "pointer": "", "error": "rate_limited"});
    let expected = json!({"accepted": 2, "rejected": [late(2), late(3)], "position": {"epoch": "e1", "seq": 2}});
    assert_eq!((answer.header("retry-after"), told(&answer)), (Some("1"), (207, expected)));
    let answer = publish(&daemon, TICKS, r#"{"type":"c"}"#);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    daemon.reload(|| daemon.configure(&trusting(&["ticks"], "")));
    assert_eq!(publish(&daemon, TICKS, r#"{"type":"c"}"#).status, 202);
}

fn preflight(daemon: &Daemon, origin: &str) -> Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    ask(&daemon.clients, &format!("OPTIONS {TICKS} HTTP/1.1"), &headers, b"")
}

fn configured_pages_may_publish_and_no_others() {
    let page = "https://example.com";
    let daemon = Daemon::start_with(&trusting(&["ticks"], ""), &[(CORS, page)]);
    let allowed = preflight(&daemon, page);
    assert_eq!((allowed.status, allowed.header("vary")), (204, Some("Origin")));
    let header = |name: &str| allowed.header(&format!("access-control-allow-{name}"));
    assert_eq!((header("origin"), header("credentials")), (Some(page), Some("true")));
    assert!(header("methods").unwrap().contains("POST") && header("headers").unwrap().contains("authorization"));
    let from = |origin: &str| {
        let headers = [("Origin", origin), ("Content-Type", JSON), ("Authorization", "Bearer opener")];
        ask(&daemon.clients, &format!("POST {TICKS} HTTP/1.1"), &headers, br#"{"type":"a"}"#)
    };
    let answer = from(page);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (202, Some(page)));
    assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"));
    for other in ["https://example.com.evil.example", "http://example.com", "http://localhost", "null"] {
        let refused = preflight(&daemon, other);
        assert_eq!((refused.status, refused.header("vary")), (403, Some("Origin")), "{other}");
        for answer in [refused, from(other)] {
            assert!(!answer.head.to_lowercase().contains("access-control"), "{other}: {}", answer.head);
        }
    }
    let without_token = ask(
        &daemon.clients,
        &format!("POST {TICKS} HTTP/1.1"),
        &[("Origin", page), ("Content-Type", JSON)],
        br#"{"type":"a"}"#,
    );
    assert_eq!((without_token.status, without_token.header("access-control-allow-origin")), (401, Some(page)));
    let no_page = post(&daemon.clients, TICKS, JSON, b"");
    assert_eq!((no_page.status, no_page.header("vary")), (401, Some("Origin")), "also an answer that could be kept");
}

fn a_reload_changes_the_pages() {
    let daemon = daemon(&["ticks"]);
    let page = "https://example.com";
    assert_eq!(preflight(&daemon, page).status, 403, "none is configured");
    let config = format!("{PORTS}{}", trusting(&["ticks"], ""));
    let config = config.replace("[admin]", &format!("cors = [{page:?}]\n[admin]"));
    daemon.reload(|| daemon.configure_whole(&config));
    assert_eq!(preflight(&daemon, page).status, 204);
}
