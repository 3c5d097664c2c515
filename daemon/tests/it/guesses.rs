//! Tokens that prove nothing, by the hundred from one address: that address waits its turn at every door, and nobody else.

use std::net::Ipv4Addr;

use broadcastd::identity::guesses::RATE;
use libtest_mimic::Trial;

use crate::house::{self, Client, hear_close, hear_json, say};
use crate::http::{Answer, ask};
use crate::needs;
use crate::process::Daemon;
use crate::proxies::TRUSTED;
use crate::standing::service;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_flood_costs_its_address_the_turn_at_every_door),
        needs::nothing(a_flood_of_first_messages_costs_the_same_turn),
        needs::nothing(right_tokens_cost_no_turn),
    ]
}

const FLOODER: &str = "203.0.113.7";
const OTHER: &str = "203.0.113.8";
const PUBLISH: &str = "POST /v1/streams/ticks/publish HTTP/1.1";
const DOORS: [&str; 5] = [
    PUBLISH,
    "POST /v1/broadcasters/bars/commands/poke HTTP/1.1",
    "GET /v1/streams HTTP/1.1",
    "GET /v1/sse?topic=ticks HTTP/1.1",
    "GET /v1/asyncapi.json HTTP/1.1",
];

/// A daemon behind a proxy that says who its clients are, with a service whose token is `opener`.
fn daemon() -> Daemon {
    let config = format!("[streams.ticks]\nvisible = true\n{}", service("feed", "opener", "publish = [\"ticks\"]"));
    Daemon::start_with(&config, &[(TRUSTED, "127.0.0.1")])
}

fn connect(daemon: &Daemon, client: &str, more: &[(&str, &str)]) -> Result<Client, Answer> {
    house::connect(&daemon.clients, &[&[("X-Forwarded-For", client)], more].concat())
}

fn show(daemon: &Daemon, line: &str, (client, token): (&str, &str)) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers =
        [("X-Forwarded-For", client), ("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    ask(&daemon.clients, line, &headers, br#"{"type":"tick"}"#)
}

/// Fails until the address has no turn left; how often it was heard.
fn flood(daemon: &Daemon, client: &str) -> u32 {
    let refused = |_: &u32| show(daemon, PUBLISH, (client, "guess")).status == 429;
    (0..RATE.burst * 10).find(refused).expect("the flood is held up")
}

fn a_flood_costs_its_address_the_turn_at_every_door() {
    let daemon = daemon();
    assert!(flood(&daemon, FLOODER) >= RATE.burst);
    for line in DOORS {
        // In the meantime there may be room for one or the other.
        let mut answers = (0..RATE.burst).map(|_| show(&daemon, line, (FLOODER, "guess")));
        let refused = answers.find(|answer| answer.status == 429).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            (refused.header("retry-after"), refused.json()["error"]["code"].as_str()),
            (Some("1"), Some("rate_limited")),
            "{line}"
        );
        assert_eq!(show(&daemon, line, (OTHER, "guess")).status, 401, "{line}: another address has its own turn");
    }
    assert_eq!(show(&daemon, PUBLISH, (OTHER, "opener")).status, 202);
    let upgrade = |client| connect(&daemon, client, &[("Authorization", "Bearer guess")]).err().unwrap().status;
    house::until("handshakes are refused, too", || upgrade(FLOODER) == 429);
    assert_eq!(upgrade(OTHER), 401);
    assert!(connect(&daemon, FLOODER, &[]).is_ok(), "who shows no token is not asked to wait");
}

fn a_flood_of_first_messages_costs_the_same_turn() {
    let daemon = daemon();
    let first = |client: &str, token: &str| {
        let mut connection = connect(&daemon, client, &[]).unwrap();
        say(&mut connection, &format!(r#"{{"type":"auth","token":"{token}"}}"#));
        (hear_json(&mut connection)["data"]["code"].as_str().map(str::to_owned), connection)
    };
    let close = |client: &str, token: &str| hear_close(&mut first(client, token).1).0;
    assert_eq!(close(FLOODER, "guess"), 4001);
    house::until("first messages are put off", || {
        flood(&daemon, FLOODER);
        close(FLOODER, "guess") == 1013
    });
    house::until("whatever they show", || {
        flood(&daemon, FLOODER);
        first(FLOODER, "opener").0.as_deref() == Some("rate_limited")
    });
    assert_eq!(close(OTHER, "guess"), 4001);
    assert_eq!(first(OTHER, "opener").0, None, "and a right token is taken");
}

fn right_tokens_cost_no_turn() {
    let daemon = daemon();
    let client = Ipv4Addr::new(203, 0, 113, 9).to_string();
    for _ in 0..2 * RATE.burst {
        assert_eq!(show(&daemon, PUBLISH, (&client, "opener")).status, 202);
    }
}
