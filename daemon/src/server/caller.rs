//! Who asks over plain HTTP, and what it may read: exactly what some endpoint of the same listener would show it.

use std::sync::Arc;

use axum::http::StatusCode;

use super::answer::Denied;
use super::http::Arrival;
use crate::dialect::{Dialect, echo};
use crate::hub::Hub;
use crate::hub::names::Names;
use crate::hub::pattern::Pattern;
use crate::hub::stream::Stream;
use crate::identity::{Auth, Identity};
use crate::shard::inbox::Endpoint;
use crate::shard::rights::{Barred, Visitor};

/// Somebody who could come in through these endpoints.
pub struct Caller {
    endpoints: Vec<Arc<Endpoint>>,
    identity: Option<Arc<Identity>>,
    /// What it may call streams beside their names.
    pub names: Names,
}

/// A stream that a caller may read, and whose log of it.
pub struct Granted {
    pub stream: Arc<Stream>,
    pub audience: Arc<str>,
}

impl Caller {
    /// Nobody is let in who has no token where every endpoint needs one.
    pub fn new(endpoints: Vec<Arc<Endpoint>>, identity: Option<Arc<Identity>>) -> Result<Self, Denied> {
        let is_closed = !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.auth == Auth::Required);
        if is_closed && identity.is_none() {
            return Err(Denied::unauthorized("this listener needs a token: send Authorization: Bearer TOKEN"));
        }
        let names = Names::joined(endpoints.iter().map(|endpoint| &endpoint.aliases));
        Ok(Self { endpoints, identity, names })
    }

    /// The user whose own token an operator shows: what he is shown by any endpoint that has every stream.
    pub fn beside(arrival: &Arrival) -> Option<Self> {
        let identity = arrival.user.clone()?;
        let endpoint = Endpoint { auth: Auth::Required, ..Endpoint::open("", Dialect::Sse) };
        Some(Self { endpoints: vec![Arc::new(endpoint)], identity: Some(identity), names: Names::default() })
    }

    pub fn is_operator(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.is_operator())
    }

    /// The streams that the caller is told of, in order of their names.
    pub fn streams(&self, hub: &Hub) -> Vec<Granted> {
        let granted = |stream: Arc<Stream>| {
            let audience = self.may_read(&stream, &[]).ok()?;
            Some(Granted { stream, audience })
        };
        hub.streams().into_iter().filter_map(granted).collect()
    }

    /// The stream that the caller calls so, if it is told of it at all.
    pub fn stream(&self, hub: &Hub, called: &str) -> Result<Granted, Denied> {
        self.part_of(hub, called, &[])
    }

    /// The same for what these patterns name of it.
    pub fn part_of(&self, hub: &Hub, called: &str, patterns: &[Pattern]) -> Result<Granted, Denied> {
        let stream = hub.stream(self.names.name_of(called)).ok_or_else(|| self.unknown(hub, called))?;
        match self.may_read(&stream, patterns) {
            Ok(audience) => Ok(Granted { stream, audience }),
            Err(barred) => Err(self.refuse(hub, (&stream, called), &barred)),
        }
    }

    /// Whose log the caller reads by these patterns, through the first endpoint that shows it.
    pub fn may_read(&self, stream: &Stream, patterns: &[Pattern]) -> Result<Arc<str>, Barred> {
        let mut barred = Barred::Hidden;
        for visitor in self.visitors() {
            let audience = visitor.audience_of(stream);
            match audience.and_then(|audience| visitor.check(&audience, patterns).map(|()| audience)) {
                Ok(audience) => return Ok(audience),
                Err(reason) => barred = barred.max(reason),
            }
        }
        Err(barred)
    }

    /// The caller at each endpoint that would let it in.
    fn visitors(&self) -> impl Iterator<Item = Visitor<'_>> {
        self.endpoints.iter().filter_map(|endpoint| {
            let identity = self.identity.as_deref().filter(|_| endpoint.auth != Auth::None);
            let is_in = identity.is_some() || endpoint.auth != Auth::Required;
            is_in.then_some(Visitor { endpoint, identity })
        })
    }

    fn refuse(&self, hub: &Hub, (stream, called): (&Stream, &str), barred: &Barred) -> Denied {
        match barred {
            Barred::Hidden => self.unknown(hub, called),
            Barred::NeedsIdentity if self.would_be_known(stream.name()) => Denied::unauthorized(format!(
                "stream \"{called}\" needs a verified identity: send Authorization: Bearer TOKEN"
            )),
            Barred::NeedsIdentity => {
                let message =
                    format!("stream \"{called}\" is for users who say who they are, at an endpoint that asks them");
                Denied::new(StatusCode::FORBIDDEN, "forbidden", message)
            }
            Barred::Forbidden(hidden) => {
                let message = format!("this identity may not read {}", hidden.text());
                Denied::new(StatusCode::FORBIDDEN, "forbidden", message)
            }
        }
    }

    /// Whether a token would make a difference for the stream.
    fn would_be_known(&self, stream: &str) -> bool {
        self.identity.is_none()
            && self.endpoints.iter().any(|endpoint| endpoint.auth != Auth::None && endpoint.serves(stream))
    }

    /// What is hidden is answered with the same words.
    pub fn unknown(&self, hub: &Hub, name: &str) -> Denied {
        let streams = self.streams(hub);
        unknown_stream(name, streams.iter().map(|granted| &**granted.stream.name()))
    }
}

/// The answer to a name that is no stream, or none to whoever asks.
pub fn unknown_stream<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Denied {
    let valid: Vec<&str> = valid.collect();
    let message = format!("unknown stream \"{}\"; valid streams: {}", echo(name), valid.join(", "));
    Denied::new(StatusCode::NOT_FOUND, "unknown_stream", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::settings::Settings;

    fn endpoint(auth: Auth, streams: &[&str]) -> Arc<Endpoint> {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        Arc::new(Endpoint { auth, streams, ..Endpoint::open("/v1/ws", Dialect::Native) })
    }

    fn hub() -> Arc<Hub> {
        let hub = Hub::new("epoch");
        hub.declare("bars", Settings::default());
        hub.declare("mail", Settings { private: true, ..Settings::default() });
        hub.declare("inner", Settings { visible: false, ..Settings::default() });
        hub
    }

    /// The names that the caller is told of, each with whose log it would read.
    fn told(endpoints: &[&Arc<Endpoint>], user: Option<Identity>) -> Option<Vec<String>> {
        let endpoints = endpoints.iter().map(|endpoint| (*endpoint).clone());
        let caller = Caller::new(endpoints.collect(), user.map(Arc::new)).ok()?;
        let streams = caller.streams(&hub());
        Some(streams.iter().map(|one| format!("{}/{}", one.stream.name(), one.audience)).collect())
    }

    #[test]
    fn a_caller_is_told_what_an_endpoint_would_tell() {
        let (none, optional, required) =
            (endpoint(Auth::None, &["*"]), endpoint(Auth::Optional, &["*"]), endpoint(Auth::Required, &["*"]));
        let user = || Some(Identity::of_user("u"));
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(told(&[&optional], None), names(&["bars/"]));
        assert_eq!(told(&[&optional], user()), names(&["bars/", "mail/u"]));
        assert_eq!(told(&[&none], user()), names(&["bars/"]), "a token is not looked at");
        assert_eq!(told(&[&required], None), None);
        assert_eq!(told(&[&required], user()), names(&["bars/", "mail/u"]));
        assert_eq!(told(&[&required, &endpoint(Auth::None, &["mail"])], None), names(&[]));
        assert_eq!(told(&[], user()), names(&[]), "a listener without endpoints shows nothing");
        let operator = told(&[&optional], Some(Identity::of_operator("admin")));
        assert_eq!(operator, names(&["bars/", "inner/"]));
    }

    #[test]
    fn a_token_is_asked_for_only_where_it_would_help() {
        let refused = |endpoints: &[Arc<Endpoint>], name: &str| {
            let caller = Caller::new(endpoints.to_vec(), None).ok().unwrap();
            let denied = caller.stream(&hub(), name).err().unwrap();
            String::from_utf8(denied.into_bytes()).unwrap()
        };
        let optional = [endpoint(Auth::Optional, &["*"])];
        let wanted = refused(&optional, "mail");
        assert!(wanted.starts_with("HTTP/1.1 401") && wanted.contains("www-authenticate: Bearer"), "{wanted}");
        assert!(refused(&[endpoint(Auth::None, &["*"])], "mail").starts_with("HTTP/1.1 403"));
        let hidden = refused(&optional, "inner");
        assert!(hidden.starts_with("HTTP/1.1 404"), "{hidden}");
        assert_eq!(hidden.replace("inner", "other"), refused(&optional, "other"));
    }
}
