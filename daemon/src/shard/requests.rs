//! What a client asks for: subscribe, unsubscribe, snapshot, streams, ping.

use std::collections::VecDeque;
use std::time::Duration;

use super::inbox::Inbound;
use super::poll::Backend;
use super::rate::Excess;
use super::snapshots::Scene;
use super::target::{Meant, refusal};
use super::{Shard, encoding};
use crate::dialect::{About, Begins, Cause, Code, Command, Refusal, Reply, Request, RequestId, Target, Voice};
use crate::event::Position;
use crate::hub::log::Answer;
use crate::hub::settings::Source;
use crate::hub::{Refused, Subscribed};
use crate::metrics::labels::Kind;
use crate::websocket::close;

/// How many requests of one client are handled before the others have their turn, beside what it publishes: that is no
/// more than was read of it, and goes out together.
pub const MAX_ANSWERED_PER_TURN: usize = 32;
const NANOS_PER_MILLI: u128 = 1_000_000;

impl<B: Backend> Shard<B> {
    /// Handles the requests that wait, as long as the client takes the answers and keeps to its rate.
    pub(super) fn answer_waiting(&mut self) {
        for token in std::mem::take(&mut self.talking) {
            let newcomer = self.connections.get_mut(token).filter(|connection| connection.is_open());
            if let Some(wishes) = newcomer.and_then(|connection| connection.wishes.take()) {
                self.open(token, wishes);
            }
            self.answer(token);
            if let Some(connection) = self.connections.get_mut(token).filter(|known| known.waiting.is_empty()) {
                connection.answer_goodbye(self.now);
                connection.waiting = VecDeque::new(); // most never ask again, and the room is as large as the connection
            }
        }
    }

    fn answer(&mut self, token: usize) {
        let mut answered = 0;
        while answered < MAX_ANSWERED_PER_TURN {
            let Some(connection) = self.connections.get_mut(token) else { return };
            self.dirty.mark(connection, token);
            if !connection.is_open() || connection.outbox.asked_bytes() > self.config.outbox {
                return;
            }
            let Some(request) = connection.waiting.pop_front() else { return };
            // What a token may publish has a rate of its own.
            let is_published = matches!(&request, Ok(Request { command: Command::Publish(_), .. }));
            answered += usize::from(!is_published);
            let is_known = connection.standing.identity().is_some_and(|identity| identity.may_publish_at_all());
            let admitted = match is_published && is_known {
                true => Ok(()),
                false => connection.pace.admit(self.config.rate, self.now),
            };
            match admitted {
                Ok(()) => self.handle(token, request),
                Err(excess) => self.slow_down(token, request, excess),
            }
        }
    }

    /// A request that came too fast is refused; a client that goes on like this is closed.
    fn slow_down(&mut self, token: usize, request: Result<Request, Refusal>, excess: Excess) {
        let (kind, id) = match request {
            Ok(Request { id, command }) => (command.kind(), id),
            Err(refusal) => (Kind::Unreadable, refusal.id),
        };
        self.counters.command(kind, Err(Code::RateLimited.text()));
        let connection = &mut self.connections[token];
        match excess {
            Excess::Later(wait) => {
                let retry = Duration::from_millis(wait.as_nanos().div_ceil(NANOS_PER_MILLI) as u64);
                let message = format!(
                    "more than {} commands a second (hub.rate); try again in {} ms",
                    self.config.rate.per_second,
                    retry.as_millis()
                );
                let refusal = Refusal { retry: Some(retry), id, ..Refusal::new(Code::RateLimited, message) };
                connection.say(&Reply::Refused(&refusal));
            }
            Excess::Abuse => connection.close(close::POLICY, "far too many commands (hub.rate)", self.now),
        }
    }

    pub(super) fn handle(&mut self, token: usize, request: Result<Request, Refusal>) {
        if self.connections[token].standing.must_say_who()
            && !matches!(&request, Ok(Request { command: Command::Auth { .. }, .. }))
        {
            let id = request.map_or_else(|refusal| refusal.id, |request| request.id);
            let message = "the first message has to be \"auth\", with a token";
            return self.turn_away(token, &Refusal { id, ..Refusal::new(Code::AuthenticationRequired, message) });
        }
        let (kind, outcome) = match request {
            Err(refusal) => (Kind::Unreadable, Err(refusal)),
            Ok(Request { id, command }) => {
                let kind = command.kind();
                let outcome = self.carry_out(token, command, &id).map_err(|refusal| Refusal { id, ..refusal });
                (kind, outcome)
            }
        };
        match outcome {
            Ok(()) if kind == Kind::Command => {} // what becomes of it is counted where it is known
            Ok(()) => self.counters.command(kind, Ok(())),
            Err(refusal) => {
                self.counters.command(kind, Err(refusal.code.text()));
                match kind {
                    Kind::Auth => self.disbelieve(token, &refusal),
                    _ => _ = self.connections[token].say(&Reply::Refused(&refusal)),
                }
            }
        }
    }

    fn carry_out(&mut self, token: usize, command: Command, id: &RequestId) -> Result<(), Refusal> {
        match command {
            Command::Auth { token: shown } => self.authenticate(token, &shown, id),
            Command::Subscribe { target, since, batch } => {
                self.tell_losses(token);
                self.subscribe(token, &target, (since.as_ref(), batch), id)
            }
            Command::Unsubscribe(target) => {
                self.tell_losses(token);
                self.unsubscribe(token, &target, id)
            }
            Command::Snapshot(target) => {
                self.tell_losses(token);
                self.snapshot(token, &target, id)
            }
            Command::Publish(message) => self.publish(token, &message, id),
            Command::Ask { stream, command, payload } => self.ask(token, (&stream, &command, payload.as_deref()), id),
            Command::Streams => {
                let streams = self.visible_streams(token);
                self.connections[token].say(&Reply::Streams { streams: &streams, id });
                Ok(())
            }
            Command::Ping => {
                self.connections[token].say(&Reply::Pong { id });
                Ok(())
            }
            Command::Denied(refusal) => Err(refusal),
        }
    }

    /// The answer may have a number above what was lost, which is told before: a client remembers the newest number.
    fn tell_losses(&mut self, token: usize) {
        if self.inbox.take_overflow() {
            self.read_histories();
        }
        self.resync(token);
        self.say_replaced(token);
    }

    fn subscribe(
        &mut self,
        token: usize,
        target: &Target,
        (since, batch): (Option<&Position>, Option<Duration>),
        id: &RequestId,
    ) -> Result<(), Refusal> {
        let meant = Meant { batch, ..self.resolve(token, target)? };
        self.check_room(token, target, meant.patterns.len() - self.subscriptions_to(token, &meant).len())?;
        let subscribed = meant
            .stream
            .subscribe(&meant.wish(since), &self.outlet)
            .map_err(|refused| refused_by_the_hub(target, &refused))?;
        self.catch_up_to(token, &subscribed);
        self.part_if_lost(token);
        // After the new ones have been counted: the broadcaster is not told that nobody is left. And after everything
        // older has come, through these as through the others: the client may remember any of its numbers.
        let before = self.subscriptions_to(token, &meant);
        before.into_iter().for_each(|subscription| self.leave(token, subscription));
        self.seat(token, &meant, &subscribed);
        // What has been told of the stream before this one had a seat, it has not heard.
        if !meant.stream.is_open(&meant.audience, meant.reader) {
            self.forget_log(token, subscribed.log);
            return Err(self.unknown(token, target));
        }
        let subscribed = Subscribed { source: meant.stream.source(), ..subscribed };
        let begins = match subscribed.answer {
            Answer::Recovered(_) => Begins::Recovered,
            Answer::Snapshot(_) => Begins::Snapshot,
        };
        let topics = meant.topics();
        let about = meant.about(target, &topics, id);
        let connection = &mut self.connections[token];
        connection.say(&Reply::Subscribed { about, position: &subscribed.position, begins });
        // Behind the reply: the client would come back to a place whose records it has never been shown.
        let held = since.filter(|_| begins == Begins::Recovered).unwrap_or(&subscribed.position);
        connection.hold_place(subscribed.log, meant.stream.name(), held);
        self.count_resume(&subscribed, token, since);
        self.begin(token, (&About { id: &None, ..about }, &meant.voice), &subscribed);
        Ok(())
    }

    fn unsubscribe(&mut self, token: usize, target: &Target, id: &RequestId) -> Result<(), Refusal> {
        let meant = self.resolve(token, target)?;
        let left = match target {
            Target::Held(_) => self.subscriptions_by_name(token, &meant),
            _ => self.subscriptions_to(token, &meant),
        };
        if left.is_empty() && !meant.voice.dialect.may_leave_nothing() {
            let named = meant.patterns.first().map_or(target.stream(), |pattern| pattern.text());
            return Err(refusal(target, Code::NotSubscribed, format!("not subscribed to {named}")));
        }
        left.into_iter().for_each(|subscription| self.leave(token, subscription));
        let topics = meant.topics();
        self.connections[token].say(&Reply::Unsubscribed { about: meant.about(target, &topics, id) });
        Ok(())
    }

    fn snapshot(&mut self, token: usize, target: &Target, id: &RequestId) -> Result<(), Refusal> {
        let meant = self.resolve(token, target)?;
        let answered =
            meant.stream.answer(&meant.wish(None)).map_err(|refused| refused_by_the_hub(target, &refused))?;
        self.catch_up_to(token, &answered);
        self.part_if_lost(token);
        let topics = meant.topics();
        let about = meant.about(target, &topics, id);
        self.connections[token].say(&Reply::Snapshot { about, position: &answered.position });
        self.begin(token, (&About { id: &None, ..about }, &meant.voice), &answered);
        Ok(())
    }

    fn check_room(&self, token: usize, target: &Target, more: usize) -> Result<(), Refusal> {
        let max = self.config.max_subscriptions;
        if self.connections[token].subscriptions.len() + more > max {
            let message =
                format!("a connection has at most {max} subscriptions; unsubscribe from some, or use a pattern");
            return Err(refusal(target, Code::TooManySubscriptions, message));
        }
        Ok(())
    }

    /// Takes what the hub handed over, or could not hand over, up to the answer's number, so that nothing older follows the answer.
    pub(super) fn catch_up_to(&mut self, token: usize, answered: &Subscribed) {
        self.take_in_until_now(|inbound| {
            let number = match inbound {
                Inbound::Event(event) => Some((event.log, event.seq)),
                Inbound::Records(log, seq, _) | Inbound::Source(log, seq, _) => Some((*log, *seq)),
                _ => None,
            };
            number.is_some_and(|(log, seq)| log == answered.log && seq > answered.position.seq)
        });
        self.distribute();
        if self.inbox.has_overflowed() {
            self.read_history(answered.log, answered.position.seq);
        }
        self.deliver_pending(token, answered.log);
    }

    /// What was lost between a question and its number cannot be told before the answer any more.
    fn part_if_lost(&mut self, token: usize) {
        let connection = &mut self.connections[token];
        if !connection.lost.is_empty() {
            connection.close(close::TRY_AGAIN, "too far behind; resume by position", self.now);
        }
    }

    /// The missed events, or the snapshot; and whether the stream has a source at all.
    fn begin(&mut self, token: usize, (about, voice): (&About<'_>, &Voice), subscribed: &Subscribed) {
        let Subscribed { stream, log, position, answer, source } = subscribed;
        let connection = &mut self.connections[token];
        match answer {
            Answer::Recovered(events) => {
                let form = connection.form(voice, None);
                for event in events {
                    connection.recover(event, &encoding::event(event, &form, self.config.deflation));
                }
            }
            Answer::Snapshot(_) if !connection.endpoint.snapshot => {}
            Answer::Snapshot(records) => {
                self.show(token, about, &Scene { log: *log, stream, position, records }, Cause::Asked);
            }
        }
        let connection = &mut self.connections[token];
        if let Source::Absent(reason) = source {
            connection.say(&Reply::NoSource { stream: about.stream, reason });
        }
        self.dirty.mark(connection, token);
    }

    fn count_resume(&self, subscribed: &Subscribed, token: usize, since: Option<&Position>) {
        let subscription = self.connections[token].subscriptions.last();
        let group = subscription.and_then(|subscription| self.groups.get(subscription.group));
        if let (Some(group), Some(_)) = (group, since) {
            match subscribed.answer {
                Answer::Recovered(_) => group.deliveries.resumed_exactly(),
                Answer::Snapshot(_) => group.deliveries.resumed_by_snapshot(),
            }
        }
    }
}

fn refused_by_the_hub(target: &Target, refused: &Refused) -> Refusal {
    let code = match refused {
        Refused::TooManyPatterns(_) => Code::TooManySubscriptions,
        _ => Code::Internal,
    };
    refusal(target, code, refused.to_string())
}
