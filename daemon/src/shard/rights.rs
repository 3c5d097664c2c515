//! What somebody who comes through an endpoint may read: one rule for WebSockets, server-sent events and plain requests.

use std::sync::Arc;

use super::inbox::Endpoint;
use crate::hub::Reader;
use crate::hub::pattern::Pattern;
use crate::hub::stream::Stream;
use crate::identity::Identity;

/// The log of a stream that is not private.
const EVERYBODY: &str = "";

/// Somebody at an endpoint, by a verified identity or by none.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    pub endpoint: &'a Endpoint,
    pub identity: Option<&'a Identity>,
}

/// Why a visitor may not read; whoever is barred for several reasons is told the last of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Barred {
    /// To the visitor there is no such stream.
    Hidden,
    /// Only whoever has said who it is may.
    NeedsIdentity,
    /// The identity's token leaves this out.
    Forbidden(Pattern),
}

impl Visitor<'_> {
    /// What the hub may show the visitor.
    pub fn reader(&self) -> Reader {
        if self.identity.is_some_and(Identity::is_operator) { Reader::Operator } else { Reader::Client }
    }

    /// Whose log of the stream the visitor reads: its own of a private one, the only one of any other.
    pub fn audience_of(&self, stream: &Stream) -> Result<Arc<str>, Barred> {
        let settings = stream.settings();
        if !self.endpoint.serves(stream.name()) || !(settings.visible || self.reader() == Reader::Operator) {
            return Err(Barred::Hidden);
        }
        if settings.private {
            return self.identity.and_then(Identity::audience).cloned().ok_or(Barred::NeedsIdentity);
        }
        if settings.needs_identity && self.identity.is_none() {
            return Err(Barred::NeedsIdentity);
        }
        Ok(EVERYBODY.into())
    }

    /// Whether the log of this audience may be read by these patterns; what it is that may not. A log of its own is
    /// nobody's to withhold.
    pub fn check(&self, audience: &str, patterns: &[Pattern]) -> Result<(), Barred> {
        let Some(identity) = self.identity.filter(|_| audience == EVERYBODY) else { return Ok(()) };
        let hidden = patterns.iter().find(|pattern| !identity.may_read(pattern));
        hidden.map_or(Ok(()), |pattern| Err(Barred::Forbidden(pattern.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::hub::Hub;
    use crate::hub::settings::Settings;

    fn stream(settings: Settings) -> Arc<Stream> {
        Hub::new("epoch").declare("bars", settings)
    }

    #[test]
    fn a_stream_shows_itself_to_those_it_is_for() {
        let endpoint = Endpoint::open("/v1/ws", Dialect::Native);
        let (user, operator) = (Identity::of_user("u"), Identity::of_operator("admin"));
        let watcher = operator.watching("u");
        let visitors = [None, Some(&user), Some(&operator), Some(&watcher)];
        let told = |settings: Settings| {
            let stream = stream(settings);
            visitors.map(|identity| Visitor { endpoint: &endpoint, identity }.audience_of(&stream))
        };
        let (all, own) = (|| Ok("".into()), |user: &str| Ok(user.into()));
        assert_eq!(told(Settings::default()), [all(), all(), all(), all()]);
        let private = Settings { private: true, ..Settings::default() };
        assert_eq!(told(private), [Err(Barred::NeedsIdentity), own("u"), Err(Barred::NeedsIdentity), own("u")]);
        let known = Settings { needs_identity: true, ..Settings::default() };
        assert_eq!(told(known), [Err(Barred::NeedsIdentity), all(), all(), all()]);
        let invisible = Settings { visible: false, ..Settings::default() };
        assert_eq!(told(invisible), [Err(Barred::Hidden), Err(Barred::Hidden), all(), all()]);
    }

    #[test]
    fn what_an_endpoint_does_not_serve_is_hidden_from_everybody() {
        let endpoint = Endpoint { streams: vec!["ticks".to_owned()], ..Endpoint::open("/v1/ws", Dialect::Native) };
        let operator = Identity::of_operator("admin");
        for identity in [None, Some(&operator)] {
            let visitor = Visitor { endpoint: &endpoint, identity };
            assert_eq!(visitor.audience_of(&stream(Settings::default())), Err(Barred::Hidden));
        }
    }
}
