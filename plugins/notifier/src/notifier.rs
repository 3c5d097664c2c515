//! The broadcaster that every notifier is: events become messages, and messages wait until they are delivered.
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use broadcastd_plugin_api::{
    Answer, Broadcaster, Command, Context, Failure, FailureKind, Gap, Message as Event, StreamSpec, TimerId, Worker,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::carrier::{Carrier, Message, Refused};
use crate::cooldown::Cooldowns;
use crate::dead::DeadLetters;
use crate::fields;
use crate::figures::Figures;
use crate::group;
use crate::pause::Pause;
use crate::queue::{Entry, Queue};
use crate::rate::Pace;
use crate::settings::{Common, QueuePlace, Settings};
use crate::template::Words;
use crate::trouble::Trouble;
use crate::violations::Violations;

mod delivery;

/// Who may see dead letters, have them tried again, and throw them away.
const PERMISSION: &str = "notifiers.dead_letters";

/// Listens, and delivers by `C`. It publishes nothing; its stream is there for its commands.
pub struct Notifier<C: Carrier> {
    common: Common,
    words: Words,
    carrier: Arc<C>,
    worker: Worker<(u64, Result<(), Refused>)>,
    queue: Queue,
    dead: DeadLetters,
    cooldowns: Cooldowns,
    violations: Violations,
    /// By entry: when its attempt began.
    flying: BTreeMap<u64, Duration>,
    pace: Pace,
    pause: Pause,
    trouble: Trouble,
    /// What was last said of the trouble.
    told: Option<String>,
    random: fastrand::Rng,
    figures: Figures,
}

/// What outlives an instance; it is saved together with the position of the input.
#[derive(Serialize, Deserialize)]
struct State<Q, D, K, V> {
    queue: Q,
    dead: D,
    cooldowns: K,
    violations: V,
    #[serde(default)]
    pause: Pause,
    /// Whose pause it is.
    #[serde(default)]
    receiver: String,
}

/// Asks for nothing more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Which dead letters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Their ids. Default: all.
    #[serde(default)]
    ids: Option<Vec<String>>,
}

impl<C: Carrier> Broadcaster for Notifier<C> {
    type Config = Settings<C::Settings>;
    const STATE_VERSION: u32 = 1;

    fn stream() -> Option<StreamSpec> {
        let spec = StreamSpec::new("").command::<Nothing>("list_dead_letters", PERMISSION);
        let spec = spec.command::<Which>("retry_dead_letters", PERMISSION);
        Some(spec.command::<Which>("discard_dead_letters", PERMISSION))
    }

    fn validate(settings: &Self::Config) -> Result<(), Failure> {
        settings.common.validate()?;
        C::validate(&settings.own)
    }

    fn new(settings: Self::Config, cx: &mut Context<'_>) -> Result<Self, Failure> {
        let Settings { common, own } = settings;
        Ok(Notifier {
            words: common.text.compile()?,
            common,
            carrier: Arc::new(C::open(own)?),
            worker: cx.worker(),
            queue: Queue::default(),
            dead: DeadLetters::default(),
            cooldowns: Cooldowns::default(),
            violations: Violations::default(),
            flying: BTreeMap::new(),
            pace: Pace::default(),
            pause: Pause::default(),
            trouble: Trouble::default(),
            told: None,
            random: fastrand::Rng::with_seed(cx.now_unix_ns().cast_unsigned()),
            figures: Figures::new(),
        })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.show();
        self.proceed(cx)
    }

    fn on_message(&mut self, event: &Event<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(entry) = self.entry(event, cx.now_unix_ns()) else { return Ok(()) };
        self.enqueue(entry, cx.now_unix_ns());
        self.proceed(cx)
    }

    fn on_gap(&mut self, gap: &Gap<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Gap { stream, from, to } = *gap;
        self.figures.gaps.increment(1);
        self.trouble.gaps += 1;
        match to {
            // After a daemon that did not end in order: nobody can say how much it was.
            0 => tracing::warn!(stream, "the daemon was killed; events since the last save are gone without a notice"),
            _ => tracing::warn!(stream, from, to, "events are gone that nobody was notified of"),
        }
        self.tell(cx);
        Ok(())
    }

    fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.proceed(cx)
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.collect(cx);
        self.proceed(cx)
    }

    fn on_command(&mut self, command: &Command<'_>, cx: &mut Context<'_>) -> Result<Answer, Failure> {
        let answer = match command.name {
            "list_dead_letters" => {
                json!({ "dead_letters": self.dead.list(), "queued": self.queue.len(), "failing": self.trouble.refused.is_some() })
            }
            "retry_dead_letters" => {
                let entries = self.dead.take(command.json::<Which>()?.ids.as_deref());
                let count = entries.len();
                for entry in entries {
                    self.enqueue(Entry::new(entry.message, entry.group, cx.now_unix_ns()), cx.now_unix_ns());
                }
                self.proceed(cx)?;
                json!({ "retried": count })
            }
            "discard_dead_letters" => {
                let entries = self.dead.take(command.json::<Which>()?.ids.as_deref());
                self.show();
                self.tell(cx);
                json!({ "discarded": entries.len() })
            }
            other => return Err(Failure::of(FailureKind::Unsupported, format!("there is no command `{other}`"))),
        };
        Ok(Answer::Now(answer))
    }

    fn quiesce(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.collect(cx); // what was delivered meanwhile is not delivered again by a successor
        let waiting = self.queue.len() + self.dead.len();
        if self.common.queue == QueuePlace::Memory && waiting > 0 {
            tracing::warn!(waiting, "messages are forgotten, because `queue` is \"memory\"");
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        let (cooldowns, violations) = (&self.cooldowns, &self.violations);
        let (pause, receiver) = (self.pause.clone(), self.carrier.receiver());
        Ok(match self.common.queue {
            QueuePlace::Disk => {
                let (queue, dead) = (self.queue.iter().collect::<Vec<_>>(), &self.dead);
                serde_json::to_vec(&State { queue, dead, cooldowns, violations, pause, receiver })?
            }
            QueuePlace::Memory => {
                let (queue, dead) = ([(); 0], DeadLetters::default());
                serde_json::to_vec(&State { queue, dead, cooldowns, violations, pause, receiver })?
            }
        })
    }

    fn restore(&mut self, _: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        let state: State<Vec<Entry>, DeadLetters, Cooldowns, Violations> = serde_json::from_slice(state)?;
        (self.dead, self.cooldowns, self.violations) = (state.dead, state.cooldowns, state.violations);
        let left = state.pause.left(cx.now_unix_ns());
        if !left.is_zero() && state.receiver == self.carrier.receiver() {
            tracing::info!(seconds = left.as_secs(), "the receiver asked for a pause, which goes on");
            self.pause.ask(left, cx.now_mono(), cx.now_unix_ns());
        }
        for entry in state.queue {
            self.enqueue(entry, cx.now_unix_ns());
        }
        Ok(())
    }
}

impl<C: Carrier> Notifier<C> {
    /// The message about an event, unless it fits no rule or was told a moment ago.
    fn entry(&mut self, event: &Event<'_>, now_ns: i64) -> Option<Entry> {
        let kind = event.kind;
        if !self.common.rules.concern(kind) {
            return None;
        }
        let Ok((payload, raw)) = read(event.payload) else {
            self.figures.malformed.increment(1);
            tracing::warn!(kind, topic = event.topic, seq = event.seq, "an event without a JSON object is left out");
            return None;
        };
        let mut fields = fields::of_payload(&payload);
        self.violations.complete((event.stream, kind), &mut fields);
        self.violations.remember((event.stream, kind), &fields);
        fields::add_around(&mut fields, event);
        if !self.common.rules.fits(kind, &fields) {
            return None;
        }
        let group = self.group(event, &fields);
        let cooldown = self.common.cooldown.to_std();
        let Some(suppressed) = self.cooldowns.admit(&group::name([kind, &group]), cooldown, now_ns) else {
            self.figures.suppressed.increment(1);
            return None;
        };
        fields::add_suppressed(&mut fields, suppressed);
        let (subject, body) = self.words.render(kind, &fields);
        fields.remove("payload"); // for templates; the message has it whole
        let message = Message {
            id: fields::id(event),
            kind: kind.to_owned(),
            stream: event.stream.to_owned(),
            topic: event.topic.to_owned(),
            unix_ns: event.unix_ns,
            subject,
            body,
            suppressed,
            fields,
            payload: raw,
        };
        Some(Entry::new(message, group, now_ns))
    }

    fn group(&self, event: &Event<'_>, fields: &BTreeMap<String, String>) -> String {
        let values = self.common.group_by.iter().map(|name| fields.get(name).map_or("", String::as_str));
        group::name(iter::once(event.stream).chain(values))
    }

    fn enqueue(&mut self, entry: Entry, now_ns: i64) {
        for entry in self.queue.push(entry, self.common.queue_size) {
            self.bury(entry, "the queue is full, and it was the oldest", now_ns);
        }
        self.show();
    }

    fn bury(&mut self, entry: Entry, why: &str, now_ns: i64) {
        let dropped = self.dead.bury(entry, why, now_ns, self.common.dead_letters);
        self.figures.dead.increment(1);
        self.figures.dropped.increment(dropped as u64);
        self.trouble.dropped += dropped as u64;
    }

    /// Says what is wrong, or that nothing is, when that is new.
    fn tell(&mut self, cx: &mut Context<'_>) {
        self.trouble.dead = self.dead.len();
        if self.queue.len() == 0 {
            self.trouble.refused = None; // whoever waited is among the dead letters now
        }
        let told = self.trouble.told();
        if told == self.told {
            return;
        }
        match &told {
            Some(reason) => cx.health_degraded(reason),
            None => cx.health_ok(),
        }
        self.told = told;
    }

    fn show(&self) {
        self.figures.queued.set(self.queue.len() as f64);
        self.figures.dead_letters.set(self.dead.len() as f64);
    }
}

fn read(payload: &[u8]) -> Result<(Value, Box<RawValue>), serde_json::Error> {
    let object: Map<String, Value> = serde_json::from_slice(payload)?;
    Ok((Value::Object(object), serde_json::from_slice(payload)?))
}
