//! The carrier: a message becomes a topic and a payload, and goes out by the connection that is kept.
use std::time::{Duration, Instant};

use broadcastd_notifier::{Carrier, Message, Refused};
use broadcastd_plugin_api::Failure;
use line::Trust;

use crate::packet::Publish;
use crate::seat::Seat;
use crate::session::{Broker, Session, Trouble};
use crate::settings::{Payload, Settings};
use crate::topic::TopicTemplate;

pub struct Mqtt {
    broker: Broker,
    qos: u8,
    retain: bool,
    payload: Payload,
    topic: TopicTemplate,
    expiry_seconds: Option<u32>,
    /// One connection: a second of the same client would end the first.
    session: Seat<Session>,
}

impl Carrier for Mqtt {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Result<(), Failure> {
        settings.meaning().map(drop)
    }

    fn open(settings: Settings) -> Result<Self, Failure> {
        let meaning = settings.meaning()?;
        let trust = match meaning.encrypted {
            true => Some(Trust::load(settings.ca.as_deref()).map_err(|why| Failure::at("/ca", why))?),
            false => None,
        };
        let login = match (settings.user, settings.password) {
            (Some(user), Some(password)) => Some((user, password.read("/password")?.reveal().to_owned())),
            _ => None,
        };
        let broker = Broker {
            place: meaning.place,
            trust,
            version: settings.version,
            client_id: settings.client_id,
            keep_alive_seconds: meaning.keep_alive_seconds,
            login,
        };
        Ok(Mqtt {
            broker,
            qos: settings.qos,
            retain: settings.retain,
            payload: settings.payload,
            topic: meaning.topic,
            expiry_seconds: meaning.expiry_seconds,
            session: Seat::new(),
        })
    }

    fn deliver(&self, message: &Message, timeout: Duration) -> Result<(), Refused> {
        let deadline = Instant::now() + timeout;
        let topic = self.topic.render(&message.fields);
        let topic = topic.ok_or_else(|| Refused::never("its topic is longer than MQTT has topics"))?;
        let (payload, content_type) = self.payload(message)?;
        let publish = Publish {
            version: self.broker.version,
            qos: self.qos,
            retain: self.retain,
            topic: &topic,
            payload: &payload,
            expiry_seconds: self.expiry_seconds,
            content_type,
            user_properties: &[("id", &message.id), ("kind", &message.kind)],
        };
        let mut seat = self.session.take(deadline);
        let seat = seat.as_mut().ok_or_else(|| Refused::later("the message before takes its time"))?;
        seat.kept = Some(self.publish(seat.kept.take(), &publish, deadline).map_err(refused)?);
        Ok(())
    }
}

impl Mqtt {
    /// Over the kept connection; if that leads nowhere any more, over a new one. Returns the one it went by.
    fn publish(&self, kept: Option<Session>, message: &Publish<'_>, deadline: Instant) -> Result<Session, Trouble> {
        if let Some(mut session) = kept.filter(Session::is_kept) {
            session.until(deadline);
            match session.publish(message) {
                Err(Trouble::Lost(_)) if Instant::now() < deadline => {}
                outcome => return outcome.map(|()| session),
            }
        }
        let mut session = Session::open(&self.broker, deadline)?;
        session.publish(message)?;
        Ok(session)
    }

    fn payload(&self, message: &Message) -> Result<(Vec<u8>, &'static str), Refused> {
        match self.payload {
            Payload::Text => Ok((message.body.clone().into_bytes(), "text/plain")),
            Payload::Json => Ok((message.to_json()?, "application/json")),
        }
    }
}

fn refused(trouble: Trouble) -> Refused {
    match trouble {
        Trouble::Lost(error) => Refused::later(format!("the broker cannot be reached: {error}")),
        Trouble::Said(reason) if reason.is_for_good() => Refused::never(reason.to_string()),
        Trouble::Said(reason) => Refused::later(reason.to_string()),
        Trouble::Unfit(refused) => refused,
    }
}
