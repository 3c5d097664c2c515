//! A running broadcaster of state machines: what comes in and what becomes due, followed and published; its saved state.

use std::collections::VecDeque;
use std::time::Duration;

use broadcastd_plugin_api::{Context, Failure, FailureKind, Message};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::book::Instance;
use crate::broadcaster::{ALARM, FIGURES, MOCK};
use crate::check::{self, Checked};
use crate::clock::now;
use crate::figures::Rejected;
use crate::follow::{Follower, Moment};
use crate::input;
use crate::machines::{Kept, Machines, Saved, Wanted};
use crate::mock::{self, MadeUp, Mock};
use crate::origin::Origin;
use crate::publish::Publisher;
use crate::settings::{Settings, SourceName};
use crate::time::Time;
use crate::told::json;
use crate::waiting::Waiting;

pub const STATE_VERSION: u32 = 1;
/// How long after a restart, or after the stream was full, nothing happens by the clock alone, in milliseconds: inputs
/// that the instance before had not saved, or that were held back, come first.
pub const CATCH_UP: i64 = 2_000;
/// How long after that nobody is called stale, in milliseconds: meanwhile nobody could be heard.
pub const HEARING: i64 = 30_000;
/// How often figures that time alone changes are shown anew, and kept declarations are looked at again.
pub const FIGURES_EVERY: Duration = Duration::from_secs(5);
/// After a long time away an instance goes through so many states at once; then it begins to wait anew.
const MAX_TIMEOUTS: usize = 16;

pub struct StateMachines {
    pub follower: Follower,
    pub publisher: Publisher,
    /// The newest input.
    newest: Option<Origin>,
    kept: Vec<Kept>,
    /// When something is due next, as the timer is set.
    alarm: Option<i64>,
    caught_up: i64,
    hears_since: i64,
    /// It goes on from a saved state, and the daemon has not asked for the records yet.
    is_catching_up: bool,
    mock: Option<Mock>,
    interval: Duration,
    /// There are made-up instances.
    is_made_up: bool,
}

#[derive(Serialize, Deserialize)]
struct State {
    machines: Vec<Saved>,
    instances: Vec<Instance>,
    waiting: VecDeque<Waiting>,
    newest: Option<Origin>,
    #[serde(default)]
    is_made_up: bool,
}

/// What settings come to; the failure names every place at which something is wrong.
pub fn checked(settings: &Settings) -> Result<Wanted, Failure> {
    let Checked { machines, wrong } = check::check(settings);
    Failure::all(wrong)?;
    Ok(Wanted::new(settings, machines))
}

impl StateMachines {
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let mut follower = Follower::new(Machines::new(checked(settings)?));
        follower.figures.recount(&follower.book, &follower.machines);
        Ok(Self {
            follower,
            publisher: Publisher::new(settings.log_broadcasts),
            newest: None,
            kept: Vec::new(),
            alarm: None,
            caught_up: i64::MIN,
            hears_since: i64::MIN,
            is_catching_up: false,
            mock: mock_of(settings),
            interval: settings.interval.to_std(),
            is_made_up: false,
        })
    }

    pub fn take(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let origin = Origin::of(message, self.newest.as_ref());
        self.newest = Some(origin.clone());
        // What was due before is done before, at the first handling as at any later one.
        self.time_out(Time::of_nanos(message.unix_ns));
        self.follow(message, origin, cx)
    }

    /// Something happens in the made-up session. While events wait for room it stands still: that is its back-pressure.
    pub fn make_up(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.publisher.is_blocked() {
            return Ok(());
        }
        let Follower { machines, .. } = &self.follower;
        let (Some(mock), Some(machine)) = (&mut self.mock, machines.get(None)) else { return Ok(()) };
        let follower = &self.follower;
        let state_of = |strategy: &str, symbol: &str| follower.state_of(mock::SESSION, strategy, symbol);
        self.is_made_up = true;
        for made_up in mock.step(&machine, state_of) {
            self.pretend(&made_up, cx)?;
        }
        Ok(())
    }

    /// What is made up goes the way of what is heard. It has no place in any stream, so that none is remembered.
    fn pretend(&mut self, made_up: &MadeUp, cx: &mut Context<'_>) -> Result<(), Failure> {
        let payload = json(&made_up.data);
        let message = Message {
            stream: "",
            topic: "",
            kind: made_up.kind,
            key: "",
            audience: "",
            session_id: "",
            payload: payload.as_bytes(),
            seq: 0,
            epoch: "",
            unix_ns: cx.now_unix_ns(),
        };
        self.time_out_by_clock(now(cx));
        self.follow(&message, Origin::default(), cx)
    }

    fn follow(&mut self, message: &Message<'_>, origin: Origin, cx: &mut Context<'_>) -> Result<(), Failure> {
        let sent = Time::of_nanos(message.unix_ns);
        match input::read(message) {
            Err(why) => {
                self.follower.figures.reject(Rejected::Malformed);
                tracing::warn!(kind = message.kind, seq = message.seq, why, "an input is malformed");
            }
            Ok(input::Read { input: None, .. }) => self.follower.figures.ignored.increment(1),
            Ok(input::Read { input: Some(input), at }) => {
                let moment = Moment { at: at.unwrap_or(sent), now: now(cx), origin };
                match self.follower.take(&input, &moment) {
                    Ok(()) => self.follower.figures.inputs.increment(1),
                    Err(why) => {
                        self.follower.figures.reject(why);
                        tracing::warn!(kind = message.kind, seq = message.seq, ?why, "an input is not followed");
                    }
                }
            }
        }
        self.tell(cx)
    }

    /// Something is due by the clock.
    pub fn ring(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.alarm = None;
        if self.publisher.is_blocked() {
            return Ok(());
        }
        let now = now(cx);
        self.time_out_by_clock(now);
        if now.0 >= self.hears_since {
            self.fall_silent(now);
        }
        self.tell(cx)
    }

    /// The stream has room again: what was held back meanwhile comes first.
    pub fn go_on(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let was_blocked = self.publisher.is_blocked();
        self.publisher.go_on(cx);
        if was_blocked && !self.publisher.is_blocked() {
            self.hear_first(now(cx));
        }
        self.set_alarm(cx)
    }

    /// Timers do not follow the wall clock when it is set, so that what is due is looked at here, too.
    pub fn show(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !self.kept.is_empty() {
            let kept = self.adopt_again(cx)?;
            if kept != self.kept {
                self.settle(kept, cx);
            }
        }
        let Follower { machines, book, figures, .. } = &mut self.follower;
        figures.show_oldest(book, machines, now(cx));
        self.ring(cx)
    }

    pub fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.timer_every(FIGURES, FIGURES_EVERY, FIGURES_EVERY)?;
        self.publisher.go_on(cx);
        if self.mock.is_none() {
            self.end_made_up(cx)?;
        }
        let kept = self.adopt_again(cx)?;
        self.settle(kept, cx);
        self.set_mock_timer(cx)?;
        self.set_alarm(cx)
    }

    /// Describes every instance. After a restart these are the records from which all goes on: up to here what happened
    /// by itself was the same as before the failure, and from here on it is new.
    pub fn records(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.is_catching_up) {
            self.follower.book.iter_mut().for_each(|instance| instance.origin.begin_anew());
        }
        self.publisher.records(&self.follower.book, cx);
    }

    pub fn state(&self) -> Result<Vec<u8>, Failure> {
        let state = State {
            machines: self.follower.machines.save(),
            instances: self.follower.book.iter().cloned().collect(),
            waiting: self.publisher.waiting().clone(),
            newest: self.newest.clone(),
            is_made_up: self.is_made_up,
        };
        Ok(serde_json::to_vec(&state)?)
    }

    /// Goes back to what was saved. The machines that the settings want come into force at the start, where what ends for
    /// them can be told.
    pub fn resume(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        if from_version != STATE_VERSION {
            let why = format!("the saved machines are of version {from_version}, this plugin reads {STATE_VERSION}");
            return Err(Failure::of(FailureKind::Unsupported, why));
        }
        let State { machines, instances, waiting, newest, is_made_up } = serde_json::from_slice(state)?;
        self.hear_first(now(cx));
        let follower = &mut self.follower;
        follower.machines.restore(machines);
        instances.into_iter().for_each(|instance| follower.book.put(instance));
        follower.figures.recount(&follower.book, &follower.machines);
        self.publisher.resume(waiting);
        (self.newest, self.is_catching_up, self.is_made_up) = (newest, true, is_made_up);
        Ok(())
    }

    /// Other settings. Nothing is refused: a machine whose state would be taken from an instance stays as it is.
    pub fn change(&mut self, settings: &Settings, cx: &mut Context<'_>) -> Result<(), Failure> {
        let wanted = checked(settings)?;
        self.publisher.level = settings.log_broadcasts;
        // What is made up keeps no machine from its new declaration.
        self.end_made_up(cx)?;
        (self.mock, self.interval) = (mock_of(settings), settings.interval.to_std());
        self.set_mock_timer(cx)?;
        let Follower { machines, book, .. } = &mut self.follower;
        let kept = machines.adopt(wanted, &book.states_in_use());
        self.settle(kept, cx);
        self.set_alarm(cx)
    }

    fn set_mock_timer(&self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.mock.is_some() {
            tracing::info!("some of what is shown is made up: source = \"mock\"");
            return cx.timer_every(MOCK, Duration::ZERO, self.interval);
        }
        cx.timer_clear(MOCK);
        Ok(())
    }

    fn end_made_up(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_made_up) { self.pretend(&Mock::end(), cx) } else { Ok(()) }
    }

    /// Puts in force what the settings want. The made-up session keeps no machine from its new declaration: where nobody
    /// else does, it ends, and begins anew.
    fn adopt_again(&mut self, cx: &mut Context<'_>) -> Result<Vec<Kept>, Failure> {
        let Follower { machines, book, .. } = &mut self.follower;
        let kept = machines.adopt_again(&book.states_in_use());
        let keeps = |one: &Instance, kept: &Kept| one.machine == kept.machine && kept.states.contains(&one.state);
        let by_mock = |kept: &Kept| book.iter().filter(|one| keeps(one, kept)).all(|one| one.session == mock::SESSION);
        if !self.is_made_up || !kept.iter().any(by_mock) {
            return Ok(kept);
        }
        self.end_made_up(cx)?;
        let Follower { machines, book, .. } = &mut self.follower;
        Ok(machines.adopt_again(&book.states_in_use()))
    }

    /// Machines have come into force, but for these.
    fn settle(&mut self, kept: Vec<Kept>, cx: &mut Context<'_>) {
        let follower = &mut self.follower;
        let places: Vec<_> = follower.book.iter().map(|one| (one.session.clone(), one.id.clone())).collect();
        for (session, id) in &places {
            let machine = follower.book.get(session, id).map(|one| one.machine.clone());
            if let Some(machine) = machine.and_then(|id| follower.machines.get(Some(&id))) {
                follower.set_alarms(&machine, session, id);
            }
        }
        follower.figures.recount(&follower.book, &follower.machines);
        for old in self.kept.iter().filter(|old| kept.iter().all(|new| new.machine != old.machine)) {
            follower.figures.keeps(&old.machine, 0.0);
            tracing::info!(machine = old.machine, "the new declaration is in force: its states are free");
        }
        self.kept = kept;
        self.tell_kept(cx);
    }

    /// Tells the operator whose new declarations are not in force.
    fn tell_kept(&self, cx: &mut Context<'_>) {
        for Kept { machine, states } in &self.kept {
            self.follower.figures.keeps(machine, 1.0);
            let states = states.join(", ");
            tracing::warn!(
                machine,
                states,
                "a machine keeps its old declaration: the new one does not fit its instances"
            );
        }
        if self.kept.is_empty() {
            cx.health_ok();
            return;
        }
        let told = |kept: &Kept| {
            format!("machine {:?} keeps its old declaration while {} is in use", kept.machine, kept.states.join(", "))
        };
        cx.health_degraded(&self.kept.iter().map(told).collect::<Vec<_>>().join("; "));
    }

    /// Nobody could be heard for some time.
    fn hear_first(&mut self, now: Time) {
        (self.caught_up, self.hears_since) = (now.0.saturating_add(CATCH_UP), now.0.saturating_add(HEARING));
    }

    /// While inputs are held back, or those that the instance before had not saved are still to come, the clock must not
    /// overtake them.
    fn time_out_by_clock(&mut self, now: Time) {
        if !self.publisher.is_blocked() && now.0 >= self.caught_up {
            self.time_out(now);
        }
    }

    fn time_out(&mut self, until: Time) {
        while let Some((session, id)) = self.follower.book.take_timeout(until.0) {
            for round in 0..=MAX_TIMEOUTS {
                let Some(instance) = self.follower.book.get(&session, &id) else { break };
                let (since, machine) = (instance.since, instance.machine.clone());
                let Some(machine) = self.follower.machines.get(Some(&machine)) else { break };
                let due = machine.timeout(&instance.state).map(|timeout| since.saturating_add(timeout.after));
                let Some(due) = due.filter(|due| *due <= until.0) else { break };
                let at = if round < MAX_TIMEOUTS { Time(due) } else { until };
                self.follower.time_out(&machine, (&session, &id), at, self.newest.as_ref());
            }
        }
    }

    fn fall_silent(&mut self, now: Time) {
        while let Some((session, id)) = self.follower.book.take_silence(now.0) {
            let Some(instance) = self.follower.book.get(&session, &id) else { continue };
            let (heard, machine) = (instance.heard, instance.machine.clone());
            let Some(machine) = self.follower.machines.get(Some(&machine)) else { continue };
            let is_silent = machine.stale_after.is_some_and(|after| heard.saturating_add(after) <= now.0);
            if is_silent && !instance.is_stale && !machine.is_final(&instance.state) {
                self.follower.fall_silent((&session, &id), now, self.newest.as_ref());
            }
            self.follower.set_alarms(&machine, &session, &id);
        }
    }

    fn tell(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.publisher.tell(self.follower.out.drain(..), cx)?;
        self.set_alarm(cx)
    }

    fn set_alarm(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let alarms = self.follower.book.next_alarms();
        let timeout = alarms.timeout.map(|at| at.max(self.caught_up));
        let silence = alarms.silence.map(|at| at.max(self.hears_since));
        let next = timeout.into_iter().chain(silence).min().filter(|_| !self.publisher.is_blocked());
        if next == self.alarm {
            return Ok(());
        }
        self.alarm = next;
        match next {
            Some(at) => cx.timer_once(ALARM, Duration::from_millis(Time(at).ms_since(now(cx)))),
            None => {
                cx.timer_clear(ALARM);
                Ok(())
            }
        }
    }
}

fn mock_of(settings: &Settings) -> Option<Mock> {
    (settings.source == SourceName::Mock).then(|| Mock::new(Rng::new()))
}
