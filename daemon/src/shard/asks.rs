//! What a client does beside listening: it publishes, and asks broadcasters for something. Both need somebody who is known.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::Shard;
use super::inbox::{Answered, Inbound};
use super::poll::Backend;
use crate::dialect::{Code, Refusal, Reply, RequestId, echo};
use crate::hub::commands::{Ask, Failure, Reason};
use crate::identity::Identity;
use crate::ingest::read::Fields;
use crate::ingest::{self, Publisher, Rejection};

impl<B: Backend> Shard<B> {
    /// Takes an event of the client's. Without a mark only a refusal is answered.
    pub(super) fn publish(&mut self, token: usize, message: &RawValue, id: &RequestId) -> Result<(), Refusal> {
        let identity = self.known(token, "publish")?;
        let names = &self.connections[token].endpoint.aliases;
        let taken = Fields::read_message(message)
            .map_err(Rejection::from)
            .and_then(|fields| ingest::take(&self.hub, &fields, &Publisher::Known(identity), names))
            .map_err(|rejection| rejected(&rejection))?;
        if id.is_some() {
            let (stream, position) = (taken.stream.name(), taken.position());
            self.connections[token].say(&Reply::Accepted { stream, position: position.as_ref(), id });
        }
        Ok(())
    }

    /// Hands a command over to its broadcaster; the answer comes through the inbox, or now where the hub refuses it.
    pub(super) fn ask(
        &mut self,
        token: usize,
        (called, command, payload): (&str, &str, Option<&RawValue>),
        id: &RequestId,
    ) -> Result<(), Refusal> {
        let identity = self.known(token, "command").map_err(|refusal| refusal.about(called))?;
        let connection = &mut self.connections[token];
        let (endpoint, broadcaster) = (connection.endpoint.clone(), called);
        if !endpoint.serves(endpoint.aliases.name_of(called)) {
            let message = format!("this endpoint does not serve \"{}\"", echo(called));
            return Err(Refusal::new(Code::UnknownStream, message).about(called));
        }
        let (inbox, number, stream, mark) = (self.inbox.clone(), connection.number, called.to_owned(), id.clone());
        let answered = Box::new(move |outcome| {
            inbox.hand(Inbound::Answered(Box::new(Answered { token, number, stream, id: mark, outcome })));
        });
        let payload = payload.map(|payload| payload.get().to_owned().into()).unwrap_or_default();
        let ask = Ask { broadcaster, command, payload, principal: identity.name(), names: &endpoint.aliases };
        if let Err(why) = self.hub.command(ask, |permission| identity.may_command(permission), answered) {
            // The hub has counted it.
            connection.say(&Reply::Refused(&Refusal { id: id.clone(), ..failed(&why).about(called) }));
        }
        Ok(())
    }

    /// Tells the client what became of its command, if it is still there.
    pub(super) fn pass_on(&mut self, answered: Answered) {
        let Answered { token, number, stream, id, outcome } = answered;
        let Some(connection) = self.connections.get_mut(token).filter(|known| known.number == number) else { return };
        match outcome {
            Ok(result) => _ = connection.say(&Reply::Done { stream: &stream, result: &result, id: &id }),
            Err(why) => {
                let refusal = Refusal { id, ..failed(&why).about(&stream) };
                connection.say(&Reply::Refused(&refusal));
            }
        }
        self.dirty.mark(connection, token);
    }

    fn known(&self, token: usize, what: &str) -> Result<Arc<Identity>, Refusal> {
        let identity = self.connections[token].standing.identity().filter(|identity| !identity.is_taken_back());
        let identity = identity.cloned().ok_or_else(|| {
            let message = format!("\"{what}\" needs a verified identity: send \"auth\" with a token first");
            Refusal::new(Code::AuthenticationRequired, message)
        })?;
        if identity.is_shown() {
            let message =
                format!("X-User-Token is for reading what its user may read; \"{what}\" needs a connection without it");
            return Err(Refusal::new(Code::Forbidden, message));
        }
        Ok(identity)
    }
}

fn rejected(rejection: &Rejection) -> Refusal {
    let code = match rejection.code {
        ingest::Code::InvalidJson => Code::InvalidJson,
        ingest::Code::InvalidMessage | ingest::Code::TooLong => Code::InvalidMessage,
        ingest::Code::MissingStream => Code::MissingStream,
        ingest::Code::UnknownStream => Code::UnknownStream,
        ingest::Code::Forbidden => Code::Forbidden,
        ingest::Code::Full | ingest::Code::RateLimited => Code::RateLimited,
    };
    Refusal { retry: rejection.again, ..Refusal::new(code, placed(&rejection.pointer, &rejection.message)) }
}

fn failed(why: &Failure) -> Refusal {
    let code = match why.reason {
        Reason::UnknownBroadcaster => Code::UnknownStream,
        Reason::UnknownCommand | Reason::Invalid | Reason::TooLarge => Code::InvalidParams,
        Reason::Forbidden => Code::Forbidden,
        Reason::Full => Code::RateLimited,
        Reason::Unavailable | Reason::Deadline | Reason::NotFound | Reason::Conflict | Reason::Failed => {
            Code::CommandFailed
        }
    };
    Refusal { retry: why.again(), ..Refusal::new(code, placed(&why.pointer, &why.message)) }
}

/// A message with the place that it is about in front.
fn placed(pointer: &str, message: &str) -> String {
    if pointer.is_empty() { message.to_owned() } else { format!("{pointer}: {message}") }
}
