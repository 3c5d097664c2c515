//! What one client has said and heard, held against what it was promised: every number of its subscriptions is delivered,
//! shown by a snapshot, or told as lost with its range, also across connections. No I/O.

mod check;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use self::check::{number, shortened, text};
pub use self::subscription::Want;
use self::subscription::{Event, Heard, Position, Stage, Subscription};
use crate::tally::Tally;
use crate::truth::Truth;

/// What a subscription hears in place of `no_source` when its stream is gone for good.
const REMOVED: &str = "the stream was removed";

#[derive(Clone, Debug)]
enum Asked {
    Subscribe(Subscription),
    Unsubscribe(String),
    Snapshot(Subscription),
    Ping,
    /// Something that is refused.
    Nonsense,
}

/// A snapshot that a reply has announced.
#[derive(Debug)]
struct Announced {
    stream: String,
    seq: u64,
    of: Subscription,
    /// Whether the subscription begins with it.
    begins: bool,
}

pub struct Ledger {
    tally: Arc<Tally>,
    subscriptions: Vec<Subscription>,
    asked: HashMap<u64, Asked>,
    announced: VecDeque<Announced>,
    /// Numbers that later ones have overtaken, by stream: they must still be told as lost.
    owed: Vec<(String, u64)>,
    last_id: u64,
    /// The last messages that were no events, for whoever has to find out why.
    heard: VecDeque<String>,
}

/// How many of them.
const MAX_HEARD: usize = 24;

impl Ledger {
    pub fn new(tally: Arc<Tally>) -> Self {
        Self {
            tally,
            subscriptions: Vec::new(),
            asked: HashMap::new(),
            announced: VecDeque::new(),
            owed: Vec::new(),
            last_id: 0,
            heard: VecDeque::new(),
        }
    }

    /// What to say for a new subscription; nothing when there is one to the same topic.
    pub fn subscribe(&mut self, stream: &str, want: Want) -> Option<String> {
        let wanted = Subscription::new(stream, want);
        let topic = wanted.topic();
        let is_asked = |asked: &Asked| matches!(asked, Asked::Subscribe(other) if other.topic() == topic);
        // Only a relay has its numbers checked in the presence of other subscriptions.
        let is_known = |other: &Subscription| other.topic() == topic;
        if self.subscriptions.iter().any(is_known) || self.asked.values().any(is_asked) {
            return None;
        }
        Some(self.ask(json!({"type": "subscribe", "topic": topic}), Asked::Subscribe(wanted)))
    }

    /// What to say on a new connection to go on with everything.
    pub fn resume(&mut self) -> Vec<String> {
        let interrupted = std::mem::take(&mut self.asked).into_values().filter_map(|asked| match asked {
            Asked::Subscribe(subscription) => Some(subscription),
            _ => None,
        });
        let all: Vec<Subscription> = std::mem::take(&mut self.subscriptions).into_iter().chain(interrupted).collect();
        self.announced.clear();
        self.owed.clear(); // the positions stand before these
        let say = |subscription: Subscription| {
            let since = subscription.position.as_ref();
            let since = since.map(|position| json!({"epoch": position.epoch, "seq": position.seq}));
            let message = json!({"type": "subscribe", "topic": subscription.topic(), "since": since});
            self.ask(message, Asked::Subscribe(subscription))
        };
        all.into_iter().map(say).collect()
    }

    pub fn unsubscribe(&mut self, which: usize) -> Option<String> {
        let topic = self.nth(which)?.topic();
        Some(self.ask(json!({"type": "unsubscribe", "topic": topic}), Asked::Unsubscribe(topic.clone())))
    }

    /// Asks for a snapshot of a subscription's topics: the reply says up to where everything must have come.
    pub fn snapshot(&mut self, which: usize) -> Option<String> {
        let of = self.nth(which)?.clone();
        Some(self.ask(json!({"type": "snapshot", "topic": of.topic()}), Asked::Snapshot(of)))
    }

    pub fn ping(&mut self) -> String {
        self.ask(json!({"type": "ping"}), Asked::Ping)
    }

    /// Something that is refused, and changes nothing.
    pub fn nonsense(&mut self) -> String {
        self.ask(json!({"type": "subscribe", "topic": "nobody:declares:this"}), Asked::Nonsense)
    }

    pub fn len(&self) -> usize {
        self.subscriptions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.asked.is_empty()
    }

    /// Whether there is a position to go on from.
    pub fn has_memory(&self) -> bool {
        !self.is_empty()
    }

    /// Whether nothing is expected any more but new events.
    pub fn is_settled(&self) -> bool {
        let is_live = |subscription: &Subscription| subscription.stage == Stage::Live;
        self.asked.is_empty()
            && self.announced.is_empty()
            && self.owed.is_empty()
            && self.subscriptions.iter().all(is_live)
    }

    /// Whether everything of a relay up to a number is accounted for.
    pub fn has_all_of(&self, stream: &str, seq: u64) -> bool {
        let of_stream = |subscription: &&Subscription| subscription.stream == stream;
        self.subscriptions.iter().filter(of_stream).all(|subscription| subscription.missing_at(seq).is_none())
    }

    /// What is still open, for whoever has to find out why.
    pub fn describe(&self) -> String {
        format!(
            "subscriptions {:?}; asked {:?}; announced {:?}; owed {:?}; heard of late {:#?}",
            self.subscriptions, self.asked, self.announced, self.owed, self.heard
        )
    }

    /// Takes in what the daemon says; the error says what was promised otherwise.
    pub fn hear(&mut self, message: &Value) -> Result<(), String> {
        let (kind, stream) = (text(&message["type"]), text(&message["stream"]));
        if matches!(kind, "status" | "response" | "full_update" | "error") {
            self.heard.push_back(shortened(message));
            if self.heard.len() > MAX_HEARD {
                self.heard.pop_front();
            }
        }
        let outcome = match kind {
            "status" => self.hear_status(stream, message),
            "response" => self.hear_response(message),
            "full_update" => self.hear_snapshot(stream, message),
            "error" => self.hear_error(message),
            _ => self.hear_event(stream, message),
        };
        outcome.map_err(|why| format!("{why}; heard {}; {}", shortened(message), self.describe()))
    }

    fn hear_status(&mut self, stream: &str, message: &Value) -> Result<(), String> {
        let data = &message["data"];
        match text(&data["status"]) {
            "lagged" => self.hear_lagged(stream, data),
            "no_source" if data["reason"] == REMOVED => {
                let before = self.subscriptions.len();
                self.subscriptions.retain(|subscription| subscription.stream != stream);
                self.announced.retain(|announced| announced.stream != stream);
                self.owed.retain(|(of, _)| of != stream);
                self.tally.removed.add((before - self.subscriptions.len()) as u64);
                Ok(())
            }
            "pong" => self.answered(message).map(|_| ()),
            "connected" | "source" | "no_source" => Ok(()),
            other => Err(format!("there is no status {other:?}")),
        }
    }

    fn hear_lagged(&mut self, stream: &str, data: &Value) -> Result<(), String> {
        let (from, to) = (number(&data["from"])?, number(&data["to"])?);
        if from > to {
            return Err("a range ends before it begins".into());
        }
        let of_stream = self.subscriptions.iter_mut().filter(|subscription| subscription.stream == stream);
        if data["policy"] == "latest" {
            self.tally.latest.one();
            of_stream.for_each(|subscription| subscription.replaced(from, to));
        } else {
            self.tally.lagged.one();
            for subscription in of_stream {
                subscription.lagged(from, to).map_err(|lost| format!("{lost} was lost and is not told"))?;
            }
            self.announced.retain(|announced| announced.stream != stream || announced.seq < from);
        }
        self.owed.retain(|(of, seq)| of != stream || !(from..=to).contains(seq));
        Ok(())
    }

    fn hear_response(&mut self, message: &Value) -> Result<(), String> {
        let (data, asked) = (&message["data"], self.answered(message)?);
        match (text(&data["status"]), asked) {
            ("subscribed", Asked::Subscribe(mut subscription)) => {
                self.tally.subscribed.one();
                let (epoch, seq) = (text(&data["epoch"]), number(&message["seq"])?);
                self.expect_all_up_to(&subscription.stream, seq);
                if data["recovered"] == true {
                    let is_ours = |at: &Position| at.epoch == epoch && at.seq <= seq;
                    if !subscription.position.as_ref().is_some_and(is_ours) {
                        return Err("a position was resumed that is of another life".into());
                    }
                    self.tally.recovered.one();
                    subscription.recovered();
                } else {
                    self.tally.replaced_position.add(u64::from(subscription.position.is_some()));
                    subscription.stage = Stage::Waiting(seq);
                    self.announce(seq, &subscription).begins = true;
                }
                self.subscriptions.push(subscription);
                Ok(())
            }
            ("unsubscribed", Asked::Unsubscribe(topic)) => {
                self.subscriptions.retain(|subscription| subscription.topic() != topic);
                Ok(())
            }
            ("snapshot", Asked::Snapshot(of)) => {
                let seq = number(&message["seq"])?;
                self.expect_all_up_to(&of.stream, seq);
                self.announce(seq, &of);
                Ok(())
            }
            (status, asked) => Err(format!("{status:?} is no answer to {asked:?}")),
        }
    }

    fn announce(&mut self, seq: u64, of: &Subscription) -> &mut Announced {
        let announced = Announced { stream: of.stream.clone(), seq, of: of.clone(), begins: false };
        self.announced.push_back(announced);
        self.announced.back_mut().expect("it was put there")
    }

    /// A reply with this number comes behind everything up to it, or that is told as lost afterwards.
    fn expect_all_up_to(&mut self, stream: &str, seq: u64) {
        let of_stream = self.subscriptions.iter().filter(|subscription| subscription.stream == stream);
        let missing: Vec<u64> = of_stream.filter_map(|subscription| subscription.missing_at(seq)).collect();
        missing.into_iter().for_each(|seq| self.owe(stream, seq));
    }

    fn owe(&mut self, stream: &str, seq: u64) {
        let owed = (stream.to_owned(), seq);
        if !self.owed.contains(&owed) {
            self.tally.overtaken.one();
            self.owed.push(owed);
        }
    }

    fn hear_snapshot(&mut self, stream: &str, message: &Value) -> Result<(), String> {
        let (epoch, seq) = (text(&message["epoch"]), number(&message["seq"])?);
        self.tally.shown.one();
        if message["resync"] == true {
            return self.hear_fresh_snapshot(stream, message);
        }
        let mut of_stream = self.announced.iter().enumerate().filter(|(_, announced)| announced.stream == stream);
        let is_meant = |announced: &Announced| announced.seq == seq && message["topic"] == announced.of.topic();
        let Some(at) = of_stream.find(|(_, announced)| is_meant(announced)).map(|(at, _)| at) else {
            return Err("nobody asked for this snapshot".into());
        };
        let Some(announced) = self.announced.remove(at) else { return Ok(()) };
        check::shown(&[&announced.of], seq, &message["data"])?;
        // Those before it were dropped, which must be told.
        let skipped: Vec<u64> =
            self.announced.iter().take(at).filter(|before| before.stream == stream).map(|before| before.seq).collect();
        skipped.into_iter().for_each(|seq| self.owe(stream, seq));
        let topic = announced.of.topic();
        if let Some(begun) = self.subscriptions.iter_mut().find(|known| announced.begins && known.topic() == topic) {
            begun.shown(epoch, seq);
        }
        Ok(())
    }

    fn hear_fresh_snapshot(&mut self, stream: &str, message: &Value) -> Result<(), String> {
        let (epoch, seq) = (text(&message["epoch"]), number(&message["seq"])?);
        let of_stream = || self.subscriptions.iter().filter(|subscription| subscription.stream == stream);
        let all: Vec<&Subscription> = of_stream().collect();
        if all.is_empty() {
            return Err("a fresh snapshot of a stream without subscription".into());
        }
        check::shown(&all, seq, &message["data"])?;
        let is_told = |subscription: &Subscription| match (subscription.want, subscription.stage) {
            (Want::Relay(_), Stage::Waiting(at)) => at == seq,
            (Want::Relay(_), Stage::Live) => false,
            (Want::Plain | Want::Replaceable, _) => true, // the broadcaster may have begun anew
        };
        if !all.iter().all(|subscription| is_told(subscription)) {
            return Err("a fresh snapshot that nothing has announced".into());
        }
        let of_stream = self.subscriptions.iter_mut().filter(|subscription| subscription.stream == stream);
        of_stream.for_each(|subscription| subscription.shown(epoch, seq));
        Ok(())
    }

    fn hear_error(&mut self, message: &Value) -> Result<(), String> {
        let code = text(&message["data"]["code"]);
        match (code, self.answered(message)?) {
            ("unknown_stream", Asked::Subscribe(_) | Asked::Snapshot(_) | Asked::Unsubscribe(_) | Asked::Nonsense)
            | ("not_subscribed", Asked::Unsubscribe(_))
            | ("too_many_subscriptions", Asked::Subscribe(_)) => Ok(()),
            (code, asked) => Err(format!("{code:?} is no answer to {asked:?}")),
        }
    }

    fn hear_event(&mut self, stream: &str, message: &Value) -> Result<(), String> {
        let (seq, prev) = (number(&message["seq"])?, message["prev"].as_u64().unwrap_or_default());
        let event = Event { seq, prev, topic: text(&message["topic"]) };
        let (mut is_wanted, mut owed) = (false, Vec::new());
        for subscription in self.subscriptions.iter_mut().filter(|subscription| subscription.stream == stream) {
            match subscription.hear(&event) {
                Heard::Next => is_wanted = true,
                Heard::Other => {}
                Heard::Beyond(lost) => owed.push(lost),
                Heard::NextBeyond(lost) => {
                    is_wanted = true;
                    if subscription.want == Want::Plain {
                        return Err(format!("{lost} was lost and is not told"));
                    }
                    owed.push(lost);
                }
            }
            if let Want::Relay(_) = subscription.want {
                check::event(&Truth::of(seq), stream, message)?;
            }
        }
        if !is_wanted {
            return Err("nobody wants this event now: it is foreign, comes twice, or one before it is missing".into());
        }
        owed.into_iter().for_each(|lost| self.owe(stream, lost));
        self.tally.delivered.one();
        Ok(())
    }

    fn ask(&mut self, mut message: Value, asked: Asked) -> String {
        self.last_id += 1;
        message["id"] = self.last_id.into();
        self.asked.insert(self.last_id, asked);
        message.to_string()
    }

    fn answered(&mut self, message: &Value) -> Result<Asked, String> {
        let id = message["id"].as_u64();
        id.and_then(|id| self.asked.remove(&id)).ok_or_else(|| "an answer to nothing".to_owned())
    }

    fn nth(&self, which: usize) -> Option<&Subscription> {
        self.subscriptions.get(which.checked_rem(self.subscriptions.len())?)
    }
}
