//! What others have handed over, taken in in its order: so much a turn, or all that was there at a moment, and what the inbox
//! had no room for from the history.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use super::Shard;
use super::inbox::{Inbound, Inbox};
use super::poll::{Backend, FLUSHED_TOGETHER};
use crate::dialect::Loss;
use crate::event::LogId;

/// What is read from a history in one step, after the inbox had been full.
const MAX_CATCH_UP: usize = 1024;
/// Clients of server-sent events get copies of their own. When these have so many bytes, they are offered to the sockets
/// before more is taken in: only then what is too much for a client can be told from the rest.
pub const MAX_COPIED: usize = 64 << 20;

/// The shard's end of its inbox.
pub struct Intake {
    receiver: Receiver<Inbound>,
    /// Taken from the inbox and put back, for its turn.
    stash: VecDeque<Inbound>,
    /// How often a mark was put into the inbox, and the newest that came out of it.
    marks: u64,
    passed: u64,
}

impl Intake {
    pub fn new(receiver: Receiver<Inbound>) -> Self {
        Self { receiver, stash: VecDeque::new(), marks: 0, passed: 0 }
    }

    /// The shard is about to wait: whether it may.
    pub fn fall_asleep(&mut self, inbox: &Inbox) -> bool {
        inbox.fall_asleep(&self.receiver, &mut self.stash)
    }

    pub fn take(&mut self) -> Option<Inbound> {
        self.stash.pop_front().or_else(|| self.receiver.try_recv().ok())
    }
}

impl<B: Backend> Shard<B> {
    /// At most so much; how much more it might have been.
    pub(super) fn take_all_in(&mut self, most: usize) -> usize {
        let mut left = most;
        while left > 0
            && self.groups.copied() < MAX_COPIED
            && let Some(inbound) = self.intake.take()
        {
            self.take_in(inbound);
            left -= 1;
        }
        if self.inbox.take_overflow() {
            self.read_histories();
        }
        left
    }

    /// All that was handed over before now, but nothing from the first on that is beyond. What is handed over meanwhile waits
    /// for its turn: whoever publishes without end would else keep everybody waiting.
    pub(super) fn take_in_until_now(&mut self, is_beyond: impl Fn(&Inbound) -> bool) {
        self.intake.marks += 1;
        let mark = self.intake.marks;
        self.inbox.hand(Inbound::Mark(mark));
        while self.intake.passed < mark
            && let Some(inbound) = self.intake.take()
        {
            if is_beyond(&inbound) {
                return self.intake.stash.push_front(inbound);
            }
            self.take_in(inbound);
            self.make_room();
        }
    }

    /// Where much has been copied within a turn, it is offered to the sockets, and who cannot take it lags. Nobody is let go
    /// and nothing else is told: whoever calls this is in the midst of something.
    fn make_room(&mut self) {
        if self.groups.copied() < MAX_COPIED {
            return;
        }
        self.distribute();
        let touched = self.dirty.0.clone(); // all are looked after at the end of the turn
        self.offer(&touched);
        for token in touched {
            let connection = &mut self.connections[token];
            connection.is_dirty = true;
            if let Some(log) = connection.outbox.overflowing(self.config.outbox) {
                self.lag(token, log, None);
            }
        }
    }

    fn offer(&mut self, touched: &[usize]) {
        for some in touched.chunks(FLUSHED_TOGETHER) {
            let written = self.backend.flush(&mut self.connections, some);
            self.counters.written(written);
        }
        self.groups.copies_were_offered();
    }

    pub(super) fn take_in(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Event(event) => {
                self.inbox.taken(&event);
                self.groups.route(&event, self.now);
            }
            Inbound::Mark(number) => self.intake.passed = number,
            Inbound::Source(log, seq, source) => self.tell_source(log, seq, &source),
            Inbound::Records(log, seq, records) => self.show_replaced_records(log, seq, &records),
            Inbound::Adopt(newcomer) => self.adopt(*newcomer),
            Inbound::Answered(answered) => self.pass_on(*answered),
            Inbound::LogOut(user) => _ = self.log_out(&user),
            Inbound::Ask(ask) => self.answer_operator(ask),
            Inbound::Configure(config) => self.configure(config),
            Inbound::Drain { deadline } => self.drain = Some(deadline),
        }
    }

    /// The inbox was full and events were refused: whoever is behind re-reads its history, and lags where that is too late.
    /// That goes on for as long as ever less was published meanwhile.
    pub(super) fn read_histories(&mut self) {
        let mut logs: Vec<LogId> = self.groups.logs().map(|(log, _)| log).collect();
        logs.sort_unstable(); // the same order every time, so that a run can be repeated
        for log in logs {
            let (mut read, mut last) = (0, u64::MAX);
            while let Some(seq) = self.owed_up_to(log) {
                let owed = seq - read;
                if owed >= last {
                    self.inbox.look_again(); // whoever publishes as fast as is read waits for the next turn
                    break;
                }
                self.take_in_until_now(|_| false); // what the hub handed over before it was refused comes first
                self.read_history(log, seq);
                (read, last) = (seq, owed);
            }
        }
    }

    fn owed_up_to(&self, log: LogId) -> Option<u64> {
        let routes = self.groups.log(log)?;
        routes.stream.owed_up_to(&routes.audience, self.outlet.id())
    }

    /// Makes good, up to this number, what the hub could not hand over of a log. What it did hand over up to there has been
    /// taken in already.
    pub(super) fn read_history(&mut self, log: LogId, up_to: u64) {
        while let Some(routes) = self.groups.log(log) {
            let (stream, audience) = (routes.stream.clone(), routes.audience.clone());
            let Some(caught) = stream.catch_up(&audience, self.outlet.id(), up_to, MAX_CATCH_UP) else { break };
            if let Some((from, to)) = caught.lost {
                self.distribute(); // what came before is not lost
                for token in self.members_of(log, |member| member.start < to) {
                    self.lag(token, log, Some(Loss { policy: "resync", events: 0, from, to }));
                }
            }
            for event in &caught.events {
                self.groups.route(event, self.now);
                self.make_room();
            }
            self.distribute();
        }
    }
}
