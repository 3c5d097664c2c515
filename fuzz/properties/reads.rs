//! Whatever stands behind the `?` of a request that reads or publishes: the page shows exactly the events that a plain reading
//! asks for, or says what is wrong; and nobody is let in but by the token.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, Uri};
use broadcastd::dialect::Dialect;
use broadcastd::event::Draft;
use broadcastd::hub::Hub;
use broadcastd::hub::pattern::Pattern;
use broadcastd::hub::settings::Settings;
use broadcastd::identity::grants::{Grants, Lists};
use broadcastd::identity::service::{Hash, Service};
use broadcastd::identity::{Auth, Config, Identity, Verifier};
use broadcastd::server::drain::Drain;
use broadcastd::server::hosts::Reach;
use broadcastd::server::http::Arrival;
use broadcastd::server::token::Tokens;
use broadcastd::server::upgrade::Gate;
use broadcastd::server::{EndpointConfig, ingest, reads};
use broadcastd::shard::inbox::Endpoint;
use broadcastd::websocket::deflate::Compression;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

use super::{query, shown};

const TOKEN: &str = "first";
/// The topics of the events, the first of which has number 1.
const TOPICS: [&str; 8] = ["A:1", "A:2", "B:1", "", "%2A:1", "A:1", "B:1", "A"];
const MAX_TOPICS: usize = 100;
const USUAL_EVENTS: usize = 100;
const MAX_EVENTS: usize = 1000;

thread_local! {
    static HOUSE: OnceCell<House> = const { OnceCell::new() };
}

struct House {
    runtime: Runtime,
    operators: Router,
    clients: Router,
}

/// The page, then `?` and the query: `quotes/history`, and with `!` in front as a client asks it.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (is_client, line) = text.strip_prefix('!').map_or((false, text), |line| (true, line));
    let Ok(uri) = format!("/v1/streams/{line}").parse::<Uri>() else { return };
    let (status, answer) = HOUSE.with(|known| known.get_or_init(house).ask(&uri, is_client));
    let asked = uri.query().unwrap_or_default();
    let shown = if is_client { shown(asked) } else { Shown::Ours };
    let is_expected = match (uri.path(), shown) {
        (path, _) if String::from_utf8(query::spelled_out(path)).is_err() => status == 404,
        (_, Shown::Unclear) => [400, 404, 405].contains(&status), // what is no page is none for anybody
        (_, Shown::Foreign) => [401, 404, 405].contains(&status),
        ("/v1/streams/quotes/history", _) => return is_page(asked, status, &answer),
        ("/v1/streams/quotes/snapshot", _) => status == if asks(asked, &["topic"]).is_some() { 200 } else { 400 },
        ("/v1/streams/quotes/publish", Shown::Ours) => status == 202,
        ("/v1/streams/quotes/publish", Shown::Nothing) => status == 401,
        _ => true,
    };
    assert!(is_expected, "{status} {}", answer.escape_ascii());
    if answer.is_empty() {
        return assert_eq!(status, 404);
    }
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    let message = answer["error"]["message"].as_str().unwrap_or("none");
    assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
}

/// The token of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Ours,
    Foreign,
    /// Nobody can say which is meant.
    Unclear,
}

/// What is asked of a history.
struct Wish {
    patterns: Vec<Pattern>,
    since: Option<(String, u64)>,
    limit: usize,
}

fn is_page(asked: &str, status: u16, answer: &[u8]) {
    let Some(wish) = asks(asked, &["topic", "since", "limit"]) else { return assert_eq!(status, 400, "{asked}") };
    let expected = match &wish.since {
        Some((epoch, _)) if epoch != "e1" => 410,
        Some((_, seq)) if *seq > TOPICS.len() as u64 => 409,
        _ => 200,
    };
    assert_eq!(status, expected, "{}", answer.escape_ascii());
    if status == 200 {
        let page: Value = serde_json::from_slice(answer).expect("an answer is JSON");
        let shown: Vec<u64> = page["events"].as_array().expect("a list").iter().map(seq).collect();
        assert_eq!(shown, wish.numbers(), "{page}");
    }
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().expect("a number")
}

impl Wish {
    /// Of the events that match, the next behind the place, or the first.
    fn numbers(&self) -> Vec<u64> {
        let is_meant = |topic: &str| {
            let topic = if topic.is_empty() { "quotes".to_owned() } else { format!("quotes:{topic}") };
            self.patterns.iter().any(|pattern| pattern.matches(&topic))
        };
        let all = TOPICS.iter().zip(1_u64..).filter(|(topic, _)| is_meant(topic)).map(|(_, seq)| seq);
        let since = self.since.as_ref().map_or(0, |(_, seq)| *seq);
        all.filter(|seq| *seq > since).take(self.limit).collect()
    }
}

/// What an operator asks of the public stream, if it is asked properly; which patterns there are others check.
fn asks(asked: &str, known: &[&str]) -> Option<Wish> {
    let pairs = query::pairs(asked);
    if pairs.iter().any(|(name, _)| name != "token" && !known.contains(&&**name)) {
        return None;
    }
    let one = |name: &str| match query::values(&pairs, name)[..] {
        [] => Some(None),
        [""] => None,
        [value] => Some(Some(value)),
        _ => None,
    };
    let topics = query::values(&pairs, "topic");
    let mut patterns = topics.iter().map(|topic| Pattern::parse(topic).ok()).collect::<Option<Vec<_>>>()?;
    if patterns.len() > MAX_TOPICS || patterns.iter().any(|pattern| pattern.stream() != "quotes") {
        return None;
    }
    if patterns.is_empty() {
        patterns.push(Pattern::whole("quotes"));
    }
    let limit = match one("limit")? {
        Some(text) => text.parse().ok().filter(|limit| (1..=MAX_EVENTS).contains(limit))?,
        None => USUAL_EVENTS,
    };
    let since = match one("since")? {
        Some(text) => {
            let colon = text.rfind(':').filter(|colon| *colon > 0)?;
            let seq = text[colon + 1..].parse().ok().filter(|_| !text[colon + 1..].starts_with('+'))?;
            Some((text[..colon].to_owned(), seq))
        }
        None => None,
    };
    Some(Wish { patterns, since, limit })
}

fn shown(asked: &str) -> Shown {
    let Some(mut tokens) = shown::tokens(asked) else { return Shown::Unclear };
    tokens.dedup();
    match &tokens[..] {
        [] => Shown::Nothing,
        [token] if token == TOKEN => Shown::Ours,
        [token] if !token.is_empty() => Shown::Foreign,
        _ => Shown::Unclear,
    }
}

fn house() -> House {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let hub = Hub::new("e1");
    let quotes = hub.declare("quotes", Settings { visible: true, ..Settings::default() });
    hub.declare("mail", Settings { visible: true, private: true, ..Settings::default() });
    for topic in TOPICS {
        let draft = Draft { kind: "tick", topic, payload: b"{}", ..Draft::default() };
        quotes.publish(&draft, None).expect("there is room");
    }
    // What is published by requests goes elsewhere, so that the numbers stay.
    let others = Hub::new("e1");
    others.declare("quotes", Settings::default());
    let tokens = Arc::new(Tokens::new(verifier()));
    let gate = Gate::new(vec![], tokens.clone());
    let endpoint = Endpoint { auth: Auth::Optional, ..Endpoint::open("/v1/ws", Dialect::Native) };
    gate.set(&[EndpointConfig { listen: None, endpoint }], Compression::Off);
    let operators = reads::for_operators(hub.clone()).merge(ingest::routes(others.clone(), ingest::Door::Operators));
    let publishing = ingest::routes(others, ingest::Door::Clients(tokens, gate.clone()));
    let clients = reads::for_clients(hub, gate).merge(publishing);
    House { runtime, operators: operators.into_router(), clients: clients.into_router() }
}

fn verifier() -> Arc<Verifier> {
    let lists = Lists { streams: None, publish: vec!["quotes".to_owned()], commands: vec![] };
    let grants = Grants::read(lists).expect("proper rights");
    let service = Service { name: "service".to_owned(), token: Hash::of(TOKEN), grants, rate: None };
    let verifier = Verifier::default();
    verifier.set(Config { services: vec![service], ..Config::default() }, Instant::now());
    Arc::new(verifier)
}

impl House {
    fn ask(&self, uri: &Uri, is_client: bool) -> (u16, Vec<u8>) {
        let operator = (!is_client).then(|| Identity::of_operator("admin").into());
        let arrival = Arrival { operator, is_proven: !is_client, ..Arrival::at(&"here".into(), Reach::Machine) };
        let request = if uri.path().ends_with("/publish") {
            Request::post(uri).header("content-type", "application/json").body(Body::from(r#"{"type":"tick"}"#))
        } else {
            Request::get(uri).body(Body::empty())
        };
        let mut request = request.expect("a request");
        request.extensions_mut().insert(arrival);
        request.extensions_mut().insert(Drain::default());
        let mut router = if is_client { self.clients.clone() } else { self.operators.clone() };
        self.runtime.block_on(async {
            let answer = router.call(request).await.expect("it answers whatever comes");
            let status: StatusCode = answer.status();
            (status.as_u16(), to_bytes(answer.into_body(), usize::MAX).await.expect("an answer").to_vec())
        })
    }
}
