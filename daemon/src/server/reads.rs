//! Streams read with plain requests: what there is, the records of some topics, and the history page by page.

mod log;

use std::sync::Arc;

use axum::extract::rejection::ExtensionRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Value, json};

use self::log::{Excerpt, history, snapshot};
use super::answer::Denied;
use super::audit;
use super::caller::{Caller, Granted, unknown_stream};
use super::http::Arrival;
use super::query::{AUDIENCE, Params, invalid};
use super::routes::{Routes, only_get, table};
use super::upgrade::Gate;
use crate::hub::Hub;
use crate::hub::names::Names;
use crate::hub::pattern::Pattern;
use crate::hub::settings::Source;
use crate::hub::stream::Stream;
use crate::hub::stream::reads::{Outline, Reader, Sight};

/// The most topics that the page of a stream names: beyond it a list is no more read by anybody.
pub const MAX_TOPIC_NAMES: usize = 1000;

/// Who may read on a listener.
#[derive(Clone)]
enum Door {
    /// Whoever could come in by an endpoint, and what that would show.
    Clients(Arc<Gate>),
    /// Whoever has come this far, and users by the own tokens that are shown there.
    Operators,
}

#[derive(Clone)]
struct Reads {
    hub: Arc<Hub>,
    door: Door,
}

/// What came of a request, and a log that its caller may read.
struct Opened {
    granted: Granted,
    reader: Reader,
    patterns: Vec<Pattern>,
    params: Params,
}

impl Opened {
    fn sight(&self) -> Sight<'_> {
        Sight { reader: self.reader, audience: &self.granted.audience }
    }
}

/// The routes of the client listeners.
pub fn for_clients(hub: Arc<Hub>, gate: Arc<Gate>) -> Routes {
    let routes = Routes::new()
        .serve(&table::STREAMS, streams)
        .serve(&table::STREAM, stream)
        .serve(&table::SNAPSHOT, show)
        .serve(&table::HISTORY, page);
    routes.otherwise(only_get).with_state(Reads { hub, door: Door::Clients(gate) })
}

/// The routes that show payloads, for the admin listener, which has its own pages about streams.
pub fn for_operators(hub: Arc<Hub>) -> Routes {
    let routes = Routes::new().serve(&table::LOGS_SNAPSHOT, show).serve(&table::LOGS_HISTORY, page);
    routes.otherwise(only_get).with_state(Reads { hub, door: Door::Operators })
}

impl Reads {
    /// Finds the log that a request is about, if whoever asks may read it.
    fn open(&self, asked: &Asked, known: &[&str]) -> Result<Opened, Denied> {
        match self.caller(asked)? {
            Some(caller) => {
                // First whether there is such a stream: a mistake in the rest must not tell of a hidden one.
                let Granted { stream, .. } = caller.stream(&self.hub, &asked.name)?;
                let params = Params::of(&asked.uri, known)?;
                let patterns = params.patterns(stream.name(), &caller.names)?;
                let granted = caller.part_of(&self.hub, &asked.name, &patterns)?;
                Ok(Opened { granted, reader: reader(&caller), patterns, params })
            }
            None => {
                let stream = self.hub.stream(&asked.name).ok_or_else(|| self.unknown(&asked.name))?;
                let params = Params::of(&asked.uri, &[known, &[AUDIENCE]].concat())?;
                let patterns = params.patterns(&asked.name, Names::NONE)?;
                let audience = audience(&stream, params.one(AUDIENCE)?, &asked.arrival)?;
                let granted = Granted { stream, audience };
                Ok(Opened { granted, reader: Reader::Operator, patterns, params })
            }
        }
    }

    /// Who is shown what a client is; `None`: an operator, who is shown more.
    fn caller(&self, asked: &Asked) -> Result<Option<Caller>, Denied> {
        match &self.door {
            Door::Clients(gate) => asked.caller(gate).map(Some),
            Door::Operators => Ok(Caller::beside(&asked.arrival)),
        }
    }

    fn unknown(&self, name: &str) -> Denied {
        let streams = self.hub.streams();
        unknown_stream(name, streams.iter().map(|stream| &**stream.name()))
    }
}

/// One request, about the stream of this name where its path has one.
struct Asked {
    arrival: Arrival,
    name: String,
    headers: HeaderMap,
    uri: Uri,
}

impl Asked {
    fn caller(&self, gate: &Gate) -> Result<Caller, Denied> {
        gate.caller(&self.arrival, &self.headers, &self.uri)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtensionRejection> {
        let Extension(arrival) = Extension::from_request_parts(parts, state).await?;
        // The page of all streams is about none.
        let name = Path::<String>::from_request_parts(parts, state).await;
        let name = name.map_or_else(|_| String::new(), |Path(name)| name);
        Ok(Self { arrival, name, headers: parts.headers.clone(), uri: parts.uri.clone() })
    }
}

/// Whose log of a stream an operator reads. A private one is named on purpose, by who is proven to be one, and that is noted.
pub fn audience(stream: &Stream, named: Option<&str>, arrival: &Arrival) -> Result<Arc<str>, Denied> {
    let name = stream.name();
    match (stream.settings().private, named) {
        (false, None) => Ok("".into()),
        (true, Some(user)) => {
            audit::reveal(arrival, "read a private log", user)?;
            Ok(user.into())
        }
        (true, None) => {
            Err(invalid(format!("stream \"{name}\" is private: say whose log of it is meant, ?{AUDIENCE}=USER")))
        }
        (false, Some(_)) => Err(invalid(format!("stream \"{name}\" is not private; leave \"{AUDIENCE}\" out"))),
    }
}

async fn streams(State(reads): State<Reads>, asked: Asked) -> Result<Json<Value>, Denied> {
    let Door::Clients(gate) = &reads.door else { return Err(reads.unknown("")) };
    let caller = asked.caller(gate)?;
    Params::of(&asked.uri, &[])?;
    let streams = caller.streams(&reads.hub);
    let streams: Vec<Value> = streams.iter().filter_map(|granted| describe(&caller, granted)).collect();
    Ok(Json(json!({"streams": streams})))
}

async fn stream(State(reads): State<Reads>, asked: Asked) -> Result<Json<Value>, Denied> {
    let Door::Clients(gate) = &reads.door else { return Err(reads.unknown("")) };
    shown(&reads.hub, &asked.caller(gate)?, (&asked.name, &asked.uri))
}

/// What a caller may know of the stream that it calls so.
pub fn shown(hub: &Hub, caller: &Caller, (called, uri): (&str, &Uri)) -> Result<Json<Value>, Denied> {
    let granted = caller.stream(hub, called)?;
    Params::of(uri, &[])?;
    let sight = Sight { reader: reader(caller), audience: &granted.audience };
    let all = granted.stream.topics(&sight);
    let (Ok(all), Some(Value::Object(mut described))) = (all, describe(caller, &granted)) else {
        return Err(caller.unknown(hub, called)); // removed meanwhile
    };
    let is_shown = |topic: &Arc<str>| {
        let pattern = Pattern::parse(topic);
        pattern.is_ok_and(|pattern| caller.may_read(&granted.stream, &[pattern]).is_ok())
    };
    described.extend(topic_names(all.into_iter().filter(is_shown).collect()));
    Ok(Json(Value::Object(described)))
}

async fn show(State(reads): State<Reads>, asked: Asked) -> Result<Response, Denied> {
    let opened = reads.open(&asked, &["topic"])?;
    snapshot(&opened).map_err(|_| reads.unknown(&asked.name))
}

async fn page(State(reads): State<Reads>, asked: Asked) -> Result<Response, Denied> {
    let opened = reads.open(&asked, &["topic", "since", "limit"])?;
    let excerpt = Excerpt::of(&opened.params)?;
    history(&opened, &excerpt).unwrap_or_else(|| Err(reads.unknown(&asked.name)))
}

/// What a caller may know of a stream: counts of all of it only to whoever may read all of it.
fn describe(caller: &Caller, granted: &Granted) -> Option<Value> {
    let stream = &granted.stream;
    if caller.may_read(stream, &[Pattern::whole(stream.name())]).is_err() {
        return Some(json!({"name": &**stream.name()}));
    }
    let outline = stream.outline(&Sight { reader: reader(caller), audience: &granted.audience }).ok()?;
    Some(outlined(stream, &outline))
}

/// Counts and bounds of one log; no payload and no user.
pub fn outlined(stream: &Stream, outline: &Outline) -> Value {
    let bounds = stream.settings().limits.history;
    let (source, reason) = source(&outline.source);
    json!({
        "name": &**stream.name(),
        "position": {"epoch": &*outline.position.epoch, "seq": outline.position.seq},
        "source": source,
        "reason": reason,
        "private": outline.private,
        "topics": outline.topics,
        "records": outline.records,
        "subscriptions": outline.subscriptions,
        "history": {
            "events": outline.history_events,
            "bytes": outline.history_bytes,
            "oldest": outline.oldest,
            "max_events": bounds.events,
            "max_bytes": bounds.bytes,
            "max_age_s": bounds.age.as_secs_f64(),
        },
    })
}

/// Where a stream's events come from, in a word, and why they do not.
pub fn source(source: &Source) -> (&'static str, Option<&str>) {
    match source {
        Source::Declared => ("declared", None),
        Source::Running => ("running", None),
        Source::Absent(reason) => ("absent", Some(&**reason)),
        Source::Removed => ("removed", None),
    }
}

/// The first topics in order of their names, and whether there are more.
pub fn topic_names(mut topics: Vec<Arc<str>>) -> [(String, Value); 2] {
    let more = topics.len() > MAX_TOPIC_NAMES;
    topics.sort_unstable();
    let names: Vec<&str> = topics.iter().take(MAX_TOPIC_NAMES).map(|topic| &**topic).collect();
    [("topic_names".to_owned(), json!(names)), ("more_topics".to_owned(), json!(more))]
}

fn reader(caller: &Caller) -> Reader {
    if caller.is_operator() { Reader::Operator } else { Reader::Client }
}
