//! What plain requests show: the pages of the clients' listeners, and those of operators.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::request::Builder;
use axum::http::{Request, header};
use fastrand::Rng;
use serde_json::Value;
use tokio::runtime::{self, Runtime};
use tower_service::Service as _;

use super::desk::{COMMAND, DESKS, payload};
use super::people::{NAMES, People, Person, Who, some_name};
use super::truth::{STREAMS, Sight, Truth, Viewer};
use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::identity::{Auth, Identity};
use crate::server::hosts::Reach;
use crate::server::http::Arrival;
use crate::server::token::Tokens;
use crate::server::upgrade::Gate;
use crate::server::{EndpointConfig, command, command_caller, reads, state};
use crate::shard::inbox::{Endpoint, Inbox};
use crate::websocket::deflate::Compression;

const TOPICS: [&str; 7] = ["", ":A:1", ":*:1", ":A:*", ":%2A", ":user-1", ":own:*"];
/// The page that looks at no token, and shows what an endpoint of the dialect `streams` has for everybody.
const STATE: &str = "/api/state/snapshot";

pub struct Pages {
    runtime: Runtime,
    /// Each listener with its endpoints.
    doors: Vec<(Router, Vec<Arc<Endpoint>>)>,
    operators: Router,
    pub heard_private: usize,
    pub heard_answers: usize,
}

impl Pages {
    pub fn new(hub: &Arc<Hub>, shards: &[Arc<Inbox>], people: &People, doors: Vec<Vec<Arc<Endpoint>>>) -> Self {
        let door = |endpoints: Vec<Arc<Endpoint>>| {
            let tokens = Arc::new(Tokens::new(people.verifier.clone()));
            let gate = Gate::new(shards.to_vec(), tokens.clone());
            let config = |endpoint: &Arc<Endpoint>| EndpointConfig { listen: None, endpoint: (**endpoint).clone() };
            gate.set(&endpoints.iter().map(config).collect::<Vec<_>>(), Compression::Off);
            let commands = command::routes(hub.clone(), command_caller(tokens, gate.clone()));
            let state = state::routes(gate.clone(), hub.clone());
            (reads::for_clients(hub.clone(), gate).merge(commands).merge(state).into_router(), endpoints)
        };
        let doors = doors.into_iter().map(door).collect();
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let operators = reads::for_operators(hub.clone()).into_router();
        Self { runtime, doors, operators, heard_private: 0, heard_answers: 0 }
    }

    /// Somebody reads something.
    pub fn read(&mut self, truth: &mut Truth, people: &People, rng: &mut Rng) {
        let (token, person) = people.any(rng);
        let (router, mut endpoints) = rng.choice(&self.doors).unwrap().clone();
        let stream = rng.usize(..STREAMS.len());
        let path = path(stream, rng);
        let answer = self.ask(router, asked(Request::get(&path), token.as_deref()));
        // Where no endpoint takes a token, it makes nobody of whoever shows it.
        let is_known = endpoints.iter().any(|endpoint| endpoint.auth != Auth::None);
        let is_state = path == STATE;
        if is_state {
            endpoints.retain(|endpoint| endpoint.dialect == Dialect::Streams);
        }
        let person = if is_known && !is_state { person } else { Person::nobody() };
        self.judge(truth, (&answer, &path), Viewer { person: &person, endpoints: &endpoints, sight: Sight::Read });
        if path.split('?').next() == Some(&format!("/v1/streams/{}", STREAMS[stream])) {
            check_counts(truth, stream, &person, &answer);
        }
        if endpoints.iter().all(|endpoint| endpoint.auth != Auth::None) {
            check_names(truth, stream, &person, &answer);
        }
    }

    /// Somebody gives a command, by the request of this number.
    pub fn command(&mut self, truth: &mut Truth, people: &People, rng: &mut Rng, number: u64) {
        let (token, person) = people.any(rng);
        let (mut router, _) = rng.choice(&self.doors).unwrap().clone();
        let stream = STREAMS[*rng.choice(&DESKS).unwrap()];
        let path = format!("/v1/broadcasters/{stream}/commands/{COMMAND}");
        let request = asked(Request::post(path), token.as_deref()).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(payload(number).to_string())).unwrap();
        let answer = self.runtime.block_on(async {
            let answered = async {
                loop {
                    truth.answer(usize::MAX);
                    tokio::task::yield_now().await;
                }
            };
            let answer = tokio::select! {
                answer = router.call(request) => answer.unwrap(),
                never = answered => never,
            };
            to_bytes(answer.into_body(), usize::MAX).await.unwrap()
        });
        for (_, mark) in Truth::marks(&answer).0 {
            assert!(truth.desks.judge(mark, number, &person), "{person:?} is told {mark}");
            self.heard_answers += 1;
        }
    }

    /// An operator reads the log of somebody by name, which is for those who have shown that they are one.
    pub fn inspect(&mut self, truth: &mut Truth, rng: &mut Rng) {
        let (stream, user) = (rng.usize(..STREAMS.len()), rng.usize(..NAMES.len()));
        let page = if rng.bool() { "snapshot" } else { "history" };
        let mut path = format!("/v1/streams/{}/{page}?topic={}", STREAMS[stream], STREAMS[stream]);
        let (is_named, is_proven) = (rng.u32(..4) > 0, rng.u32(..4) > 0);
        if is_named {
            path.push_str("&audience=");
            NAMES[user].bytes().for_each(|byte| path.push_str(&format!("%{byte:02X}")));
        }
        let operator = Some(Arc::new(Identity::of_operator("admin")));
        let arrival = Arrival { operator, is_proven, ..arrival() };
        let answer = self.ask(self.operators.clone(), Request::get(&path).extension(arrival));
        let named = (is_named && is_proven).then_some(user);
        let person = Person::operator(0);
        self.judge(truth, (&answer, &path), Viewer { person: &person, endpoints: &[], sight: Sight::LogOf(named) });
    }

    /// An operator reads by the own token of a user, who need not be the one that the query may name.
    pub fn look_as(&mut self, truth: &mut Truth, people: &People, rng: &mut Rng) {
        let stream = rng.usize(..STREAMS.len());
        let (token, person) = people.user(some_name(rng), rng);
        let user = people.identity(Some(&token), &person);
        let operator = Some(Arc::new(Identity::of_operator("admin")));
        let arrival = Arrival { operator, user, is_proven: rng.bool(), ..arrival() };
        let path = path(stream, rng);
        let answer = self.ask(self.operators.clone(), Request::get(&path).extension(arrival));
        let endpoints = [Arc::new(Endpoint::open("", Dialect::Sse))];
        self.judge(truth, (&answer, &path), Viewer { person: &person, endpoints: &endpoints, sight: Sight::Read });
    }

    fn ask(&self, mut router: Router, request: Builder) -> Vec<u8> {
        let request = request.body(Body::empty()).unwrap();
        self.runtime.block_on(async {
            let answer = router.call(request).await.unwrap();
            to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()
        })
    }

    fn judge(&mut self, truth: &mut Truth, (answer, path): (&[u8], &str), viewer: Viewer<'_>) {
        // Where an endpoint looks at no token, whoever has one is nobody, and may read what anybody may.
        let (nobody, looks) = (Person::nobody(), |endpoint: &&Arc<Endpoint>| endpoint.auth == Auth::None);
        let endpoints: Vec<_> = viewer.endpoints.iter().filter(looks).cloned().collect();
        let unseen = Viewer { person: &nobody, endpoints: &endpoints, ..viewer };
        for (_, mark) in Truth::marks(answer).0 {
            let judged = truth.judge(mark, viewer);
            match judged.or_else(|wrong| if endpoints.is_empty() { Err(wrong) } else { truth.judge(mark, unseen) }) {
                Ok(is_private) => self.heard_private += usize::from(is_private),
                Err(wrong) => panic!("{path} shows {:?} what is {wrong}", viewer.person),
            }
        }
    }
}

/// A request as a listener passes it on.
fn asked(request: Builder, token: Option<&str>) -> Builder {
    let request = request.extension(arrival());
    match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

/// Somebody on this machine.
fn arrival() -> Arrival {
    Arrival { peer: Some(IpAddr::from([127, 0, 0, 1])), ..Arrival::at(&"here".into(), Reach::Machine) }
}

/// Nobody is told of more events, topics and records of a private stream than are its own.
fn check_counts(truth: &Truth, stream: usize, person: &Person, answer: &[u8]) {
    let Who::User(user) = person.who else { return };
    let page: Value = serde_json::from_slice(answer).unwrap();
    if !truth.line(stream).is_private || page["private"] != true {
        return;
    }
    let most = truth.most(stream, user);
    for count in ["/position/seq", "/topics", "/records", "/history/events"] {
        let told = page.pointer(count).and_then(Value::as_u64).unwrap();
        assert!(told <= most, "{count} is {told}, and {:?} has {most} events at most: {page}", NAMES[user]);
    }
}

/// Nobody is told the name of a stream that is hidden, or of a topic that its rights leave out.
fn check_names(truth: &Truth, stream: usize, person: &Person, answer: &[u8]) {
    let page: Value = serde_json::from_slice(answer).unwrap();
    let named = |value: &Value| STREAMS.iter().position(|name| value["name"] == *name);
    for name in page["streams"].as_array().into_iter().flatten().chain([&page]).filter_map(named) {
        assert!(truth.line(name).is_visible, "{} is hidden: {page}", STREAMS[name]);
    }
    if !truth.line(stream).is_private {
        for topic in page["topic_names"].as_array().into_iter().flatten() {
            let topic = topic.as_str().unwrap();
            assert!(person.may_read(STREAMS[stream], topic), "{person:?} is told of {topic}");
        }
    }
}

fn path(stream: usize, rng: &mut Rng) -> String {
    let name = STREAMS[stream];
    let topic = format!("topic={name}{}", rng.choice(&TOPICS).unwrap());
    match rng.u32(..7) {
        0 => "/v1/streams".to_owned(),
        6 => STATE.to_owned(),
        1 | 2 => format!("/v1/streams/{name}"),
        3 => format!("/v1/streams/{name}/snapshot?{topic}"),
        4 => format!("/v1/streams/{name}/history?{topic}"),
        _ => format!("/v1/streams/{name}/history?{topic}&since=epoch:{}&limit=9", rng.u32(..60)),
    }
}
