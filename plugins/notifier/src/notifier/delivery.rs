//! Attempts: begun as long as threads, rate and receiver allow, judged when they come back.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use broadcastd_plugin_api::{Context, Failure, TimerId, WORKER_THREADS};

use super::Notifier;
use crate::carrier::{Carrier, Refused};

/// Something may be due: an attempt, or a look at one that does not come back.
const NEXT: TimerId = TimerId(1);

/// How far an attempt may go beyond its time before it is called hanging; name servers and kernels take their time, too.
const GRACE: Duration = Duration::from_secs(30);

/// When the system had no thread for an attempt.
const NO_THREAD_PAUSE: Duration = Duration::from_secs(1);

impl<C: Carrier> Notifier<C> {
    /// Begins what can begin, and looks again when more can.
    pub(super) fn proceed(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let now = cx.now_mono();
        let mut next = None;
        while self.flying.len() < WORKER_THREADS {
            next = self.queue.next_due().map(|due| due.max(self.pause.until()));
            if next.is_none_or(|due| due > now) {
                break;
            }
            if let Err(wait) = self.pace.go(self.common.rate, now) {
                next = Some(now + wait);
                break;
            }
            self.begin(now);
        }
        let patience = self.patience();
        // A thread cannot be ended from outside, so all that can be done is to tell.
        self.trouble.hanging = self.flying.values().filter(|began| **began + patience <= now).count();
        self.tell(cx);
        let hanging = self.flying.values().map(|began| *began + patience).filter(|at| *at > now).min();
        match [next.filter(|_| self.flying.len() < WORKER_THREADS), hanging].into_iter().flatten().min() {
            Some(at) => cx.timer_once(NEXT, at.saturating_sub(now)),
            None => {
                cx.timer_clear(NEXT);
                Ok(())
            }
        }
    }

    /// Judges the attempts that came back.
    pub(super) fn collect(&mut self, cx: &mut Context<'_>) {
        for outcome in self.worker.done() {
            match outcome {
                Ok((number, outcome)) => {
                    self.flying.remove(&number);
                    self.judge(number, outcome, cx);
                }
                Err(panicked) => tracing::error!(%panicked, "an attempt ended without a word"),
            }
        }
        self.show();
    }

    fn begin(&mut self, now: Duration) {
        let Some(attempt) = self.queue.begin(now) else { return };
        let (carrier, timeout, number) = (self.carrier.clone(), self.common.timeout.to_std(), attempt.number);
        let job = move || {
            let delivered = catch_unwind(AssertUnwindSafe(|| carrier.deliver(&attempt.message, timeout)));
            let outcome = delivered.unwrap_or_else(|payload| {
                std::mem::forget(payload); // its destructor could panic once more; the log has what it says
                Err(Refused::later("the attempt panicked, see the log"))
            });
            (number, outcome)
        };
        match self.worker.run(job) {
            Ok(()) => _ = self.flying.insert(number, now),
            Err(refused) => {
                tracing::warn!(%refused, "an attempt has to wait");
                self.queue.wait_until(number, now + NO_THREAD_PAUSE);
            }
        }
    }

    fn judge(&mut self, number: u64, outcome: Result<(), Refused>, cx: &mut Context<'_>) {
        let (now, now_ns) = (cx.now_mono(), cx.now_unix_ns());
        match outcome {
            Ok(()) => {
                self.queue.take(number);
                self.figures.sent.increment(1);
                if self.trouble.refused.take().is_some() {
                    tracing::info!("delivered again");
                }
            }
            Err(Refused::Never { why }) => self.give_up(number, &why, now_ns),
            Err(Refused::Later { why, after }) => {
                if self.trouble.refused.replace(why.clone()).is_none() {
                    tracing::warn!(why, "not delivered; it is tried again");
                }
                if let Some(asked) = after {
                    self.pause.ask(asked, now, now_ns);
                }
                let Some(entry) = self.queue.get(number) else { return };
                let age =
                    u64::try_from(now_ns.saturating_sub(entry.queued_ns)).map_or(Duration::ZERO, Duration::from_nanos);
                if entry.attempts >= self.common.retry.attempts || age >= self.common.retry.age.to_std() {
                    self.give_up(number, &why, now_ns);
                } else {
                    let pause = self.common.retry.pause(entry.attempts, self.random.f64());
                    self.queue.wait_until(number, now + pause);
                    self.figures.retried.increment(1);
                }
            }
        }
    }

    fn give_up(&mut self, number: u64, why: &str, now_ns: i64) {
        if let Some(entry) = self.queue.take(number) {
            self.bury(entry, why, now_ns);
        }
    }

    fn patience(&self) -> Duration {
        self.common.timeout.to_std() + GRACE
    }
}
