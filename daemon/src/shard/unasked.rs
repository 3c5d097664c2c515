//! What a client is told although it did not ask: whether a stream has a source, records in place of what it lost, or of
//! others that were replaced, and what newer events have replaced.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::encoding::Told;
use super::poll::Backend;
use super::snapshots::Scene;
use crate::dialect::{About, Cause, Loss, Record, Reply, Shown};
use crate::event::{LogId, Position};
use crate::hub::Wish;
use crate::hub::log::Answer;
use crate::hub::records::Snapshot;
use crate::hub::settings::Source;
use crate::metrics;
use crate::metrics::labels::Policy;
use crate::websocket::close;

/// The hub's snapshot, as dialects show it.
#[derive(Debug)]
pub struct Show<'a>(pub &'a Snapshot);

impl Shown for Show<'_> {
    fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        self.0.collections()
    }

    fn each(&self, show: &mut dyn FnMut(Record<'_>)) {
        for record in self.0.records() {
            show(Record { kind: &record.kind, unix_ns: record.unix_ns, json: &record.json });
        }
    }
}

impl<B: Backend> Shard<B> {
    /// The source of a log came or went behind this number.
    pub(super) fn tell_source(&mut self, log: LogId, seq: u64, source: &Source) {
        self.distribute(); // what came before is told before
        self.read_history(log, seq);
        let Some(routes) = self.groups.log(log) else { return };
        let name = routes.stream.name().clone();
        let mut untold = 0;
        for token in self.members_of(log, |_| true) {
            self.deliver_pending(token, log);
            let stream = &*self.called(token, log).unwrap_or_else(|| name.clone());
            let connection = &mut self.connections[token];
            let reply = match source {
                Source::Absent(reason) => Reply::NoSource { stream, reason },
                Source::Removed => {
                    connection.say_last_losses(log, stream, seq);
                    Reply::NoSource { stream, reason: "the stream was removed" }
                }
                Source::Running | Source::Declared => Reply::SourceBack { stream },
            };
            untold += usize::from(connection.say(&reply) == Told::NoWords);
            self.dirty.mark(connection, token);
            if *source == Source::Removed {
                self.forget_log(token, log);
                self.part_without_words(token);
            }
        }
        if untold > 0 {
            tracing::info!(
                stream = &*name,
                ?source,
                untold,
                "connections whose dialect has no words for it were not told"
            );
        }
    }

    /// A client that was not told of its subscription's end would wait for ever; it has to come back, and begins anew.
    fn part_without_words(&mut self, token: usize) {
        let connection = &mut self.connections[token];
        if !connection.dialect().can_resync() {
            connection.close(close::TRY_AGAIN, "the stream was removed; come back later", self.now);
        }
    }

    /// A fresh snapshot for a connection that has taken everything else, in place of what was dropped.
    pub(super) fn resync(&mut self, token: usize) {
        let logs: Vec<LogId> = self.connections[token].lost.iter().map(|(log, _)| *log).collect();
        for log in logs {
            let Some(routes) = self.groups.log(log) else { continue };
            let (stream, audience) = (routes.stream.clone(), routes.audience.clone());
            let (patterns, reader) = (self.patterns_of(token, log), self.visitor(token).reader());
            let wish = Wish { patterns: &patterns, audience: &audience, reader, since: None };
            let Ok(answered) = stream.answer(&wish) else { continue }; // its end is on its way here
            let Answer::Snapshot(records) = &answered.answer else { continue }; // nothing was asked to be gone on from
            self.catch_up_to(token, &answered);
            let Some(loss) = self.connections[token].take_loss(log) else { continue }; // told with the stream's end
            let loss = Loss { to: answered.position.seq, ..loss };
            let called = self.called(token, log).unwrap_or_else(|| stream.name().clone());
            self.connections[token].say(&Reply::Lagged { stream: &called, loss: &loss });
            self.set_start(token, log, answered.position.seq);
            self.show_in_place(token, &Scene { log, stream: stream.name(), position: &answered.position, records });
        }
    }

    /// The records since the change of this number, for everybody who was shown what they replaced. They come between
    /// what is older and what is newer: whoever remembers a newer number has seen them.
    pub(super) fn show_replaced_records(&mut self, log: LogId, seq: u64, records: &Snapshot) {
        self.distribute();
        self.read_history(log, seq);
        let Some(routes) = self.groups.log(log) else { return };
        let (stream, position) = (routes.stream.clone(), Position { epoch: routes.stream.epoch().clone(), seq });
        for token in self.members_of(log, |member| member.start < seq) {
            self.deliver_pending(token, log);
            self.set_start(token, log, seq);
            let connection = &self.connections[token];
            if !connection.endpoint.snapshot && !connection.dialect().can_resync() {
                continue; // it never saw what these replace
            }
            let records = &records.of(&self.patterns_of(token, log));
            let scene = Scene { log, stream: stream.name(), position: &position, records };
            self.show_in_place(token, &scene);
        }
    }

    /// Shows a connection the records of all its patterns of a log, in place of what it knows.
    fn show_in_place(&mut self, token: usize, scene: &Scene<'_>) {
        let called = self.called(token, scene.log);
        let stream = called.as_deref().unwrap_or(scene.stream);
        let patterns = self.patterns_of(token, scene.log);
        let topics: Vec<Arc<str>> = patterns.iter().map(|pattern| pattern.text().clone()).collect();
        let about = About { stream, topics: &topics, target: None, session_id: None, id: &None };
        self.show(token, &about, scene, Cause::Resync);
    }

    /// Tells the clients that asked for it about what newer events have replaced while they waited.
    pub(super) fn tell_replaced(&mut self, token: usize) {
        let connection = &mut self.connections[token];
        if connection.is_open() && connection.outbox.has_replaced() && connection.may_be_told(self.now) {
            self.say_replaced(token);
        }
    }

    /// The same now, before an answer after which the client may no longer know what it is about.
    pub(super) fn say_replaced(&mut self, token: usize) {
        let connection = &mut self.connections[token];
        for (stream, loss) in connection.outbox.take_replaced() {
            metrics::lagged(&stream, Policy::Latest);
            connection.say(&Reply::Lagged { stream: &stream, loss: &loss });
        }
        self.dirty.mark(connection, token);
    }
}
