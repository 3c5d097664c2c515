//! What a client means by a target: a stream that it may read, its patterns there, and the words for its events.

use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::poll::Backend;
use super::rights::{Barred, Visitor};
use crate::dialect::{About, Code, Dialect, Refusal, RequestId, Target, Voice, echo};
use crate::event::Position;
use crate::hub::names::Names;
use crate::hub::pattern::{Pattern, encode_part};
use crate::hub::settings::Settings;
use crate::hub::stream::Stream;
use crate::hub::{Reader, Wish};

/// A target that was understood and may be read.
pub struct Meant {
    pub stream: Arc<Stream>,
    /// Sorted, each once.
    pub patterns: Vec<Pattern>,
    pub audience: Arc<str>,
    pub reader: Reader,
    pub voice: Voice,
    /// For how long a subscription gathers events.
    pub batch: Option<Duration>,
}

impl Meant {
    pub fn wish<'a>(&'a self, since: Option<&'a Position>) -> Wish<'a> {
        Wish { patterns: &self.patterns, audience: &self.audience, reader: self.reader, since }
    }

    pub fn topics(&self) -> Vec<Arc<str>> {
        self.patterns.iter().map(|pattern| pattern.text().clone()).collect()
    }

    pub fn about<'a>(&'a self, target: &'a Target, topics: &'a [Arc<str>], id: &'a RequestId) -> About<'a> {
        let stream = self.voice.alias.as_deref().unwrap_or(self.stream.name());
        About { stream, topics, target: Some(target), session_id: target.session_id(), id }
    }
}

impl<B: Backend> Shard<B> {
    /// The names that a client of this connection may subscribe to, as it may write them.
    pub(super) fn visible_streams(&self, token: usize) -> Vec<Arc<str>> {
        let connection = &self.connections[token];
        let visitor = self.visitor(token);
        let visible = |stream: &Arc<Stream>| visitor.audience_of(stream).is_ok();
        let streams: Vec<Arc<Stream>> = self.hub.streams().into_iter().filter(visible).collect();
        let names = streams.iter().map(|stream| stream.name().clone());
        let aliases = connection.endpoint.aliases.iter();
        let aliases = aliases.filter(|(_, name)| streams.iter().any(|stream| **stream.name() == **name));
        let mut all: Vec<Arc<str>> = names.chain(aliases.map(|(alias, _)| alias.into())).collect();
        all.sort();
        all
    }

    pub(super) fn resolve(&self, token: usize, target: &Target) -> Result<Meant, Refusal> {
        let connection = &self.connections[token];
        let (called, dialect) = (target.stream(), connection.dialect());
        let names = &connection.endpoint.aliases;
        let name = names.name_of(called);
        let stream = self.hub.stream(name).ok_or_else(|| self.unknown(token, target))?;
        let visitor = self.visitor(token);
        let audience = visitor.audience_of(&stream).map_err(|barred| self.barred(token, target, &barred))?;
        let mut patterns = patterns((name, &stream.settings()), target, (dialect, names))?;
        patterns.sort();
        patterns.dedup();
        visitor.check(&audience, &patterns).map_err(|barred| self.barred(token, target, &barred))?;
        let alias = (name != called).then(|| called.into());
        let voice = Voice { dialect, alias, topic: dialect.spelled_topic(target) };
        Ok(Meant { stream, patterns, audience, reader: visitor.reader(), voice, batch: None })
    }

    pub(super) fn unknown(&self, token: usize, target: &Target) -> Refusal {
        let (name, valid) = (echo(target.stream()), self.visible_streams(token));
        let message = format!("unknown stream \"{name}\"; valid streams: {}", valid.join(", "));
        Refusal { valid, message, ..refusal(target, Code::UnknownStream, String::new()) }
    }

    fn barred(&self, token: usize, target: &Target, barred: &Barred) -> Refusal {
        let (code, message) = match barred {
            Barred::Hidden => return self.unknown(token, target),
            Barred::NeedsIdentity => {
                (Code::AuthenticationRequired, format!("stream \"{}\" needs a verified identity", target.stream()))
            }
            Barred::Forbidden(hidden) => (Code::Forbidden, format!("this identity may not read {}", hidden.text())),
        };
        refusal(target, code, message)
    }

    pub(super) fn visitor(&self, token: usize) -> Visitor<'_> {
        let connection = &self.connections[token];
        Visitor { endpoint: &connection.endpoint, identity: connection.standing.identity().map(|known| &**known) }
    }
}

fn patterns(
    (stream, settings): (&str, &Settings),
    target: &Target,
    (dialect, names): (Dialect, &Names),
) -> Result<Vec<Pattern>, Refusal> {
    let bad = |message: String| refusal(target, Code::InvalidParams, message);
    let texts = match target {
        Target::Held(_) => return Ok(Vec::new()),
        Target::Root(_) => return Ok(vec![Pattern::root(stream)]),
        Target::Topic(topic) => vec![names.topic_of(topic)],
        Target::Topics { topics, .. } => topics.iter().map(|topic| names.topic_of(topic)).collect(),
        Target::Params { params, .. } => {
            let mut params = params.clone();
            if dialect.overlooks_unknown_params() {
                params.retain(|name, _| settings.template.names().any(|known| known == name));
            }
            settings.template.topics(stream, &params).map_err(|error| bad(error.to_string()))?
        }
        Target::Parts { parts, .. } => {
            let topic = |part: &String| {
                let mut topic = format!("{stream}:");
                encode_part(part, &mut topic);
                topic
            };
            parts.iter().map(topic).collect()
        }
    };
    if texts.is_empty() {
        return Err(bad("nothing is named to subscribe to".to_owned()));
    }
    texts.iter().map(|text| Pattern::parse(text).map_err(|error| bad(error.to_string()))).collect()
}

pub(super) fn refusal(target: &Target, code: Code, message: String) -> Refusal {
    Refusal::new(code, message).about(target.stream())
}
