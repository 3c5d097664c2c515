//! What a broadcaster is told, held until the call into the plugin has ended.

use std::sync::Arc;

use broadcastd_plugin_api::abi::{self, Bytes, Str};

use crate::hub::commands::Asked;
use crate::hub::inputs::Input;
use crate::hub::pattern::Pattern;
use crate::hub::stream::Stream;
use crate::plugin::timing::nanos;

/// One thing to tell.
#[derive(Clone)]
pub enum Told {
    Timer(u64),
    Demand {
        pattern: Pattern,
        subscriptions: u64,
    },
    Message {
        from: Arc<Stream>,
        input: Input,
    },
    /// Inputs that are gone, both ends included.
    Gap {
        from: Arc<Stream>,
        first: u64,
        last: u64,
    },
    Records,
    Command(Asked),
    Wake,
    Writable,
    Quiesce,
    Stop,
}

/// When the events of a batch were made.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub mono_ns: i64,
    pub unix_ns: i64,
}

impl Told {
    /// As it crosses the border, borrowed from here.
    pub fn event(&self, at: Moment) -> abi::Event<'_> {
        let new = |kind| abi::Event { mono_ns: at.mono_ns, unix_ns: at.unix_ns, ..abi::Event::new(kind) };
        match self {
            Self::Timer(id) => abi::Event { id: *id, ..new(abi::EVENT_TIMER) },
            Self::Demand { pattern, subscriptions } => {
                let part = pattern.text().split_once(':').map_or("", |(_, part)| part);
                let value = i64::try_from(*subscriptions).unwrap_or(i64::MAX);
                let stream = Str::new(pattern.stream());
                abi::Event { stream, topic: Str::new(part), value, ..new(abi::EVENT_DEMAND) }
            }
            Self::Message { from, input } => message(of(from, new(abi::EVENT_MESSAGE)), input),
            Self::Gap { from, first, last } => abi::Event { id: *first, seq: *last, ..of(from, new(abi::EVENT_GAP)) },
            Self::Records => new(abi::EVENT_RECORDS),
            Self::Command(asked) => abi::Event {
                id: asked.request,
                r#type: Str::new(&asked.command),
                principal: Str::new(&asked.principal),
                payload: Bytes::new(&asked.payload),
                value: nanos(asked.left),
                ..new(abi::EVENT_COMMAND)
            },
            Self::Wake => new(abi::EVENT_WAKE),
            Self::Writable => new(abi::EVENT_WRITABLE),
            Self::Quiesce => new(abi::EVENT_QUIESCE),
            Self::Stop => new(abi::EVENT_STOP),
        }
    }
}

fn of<'a>(stream: &'a Stream, event: abi::Event<'a>) -> abi::Event<'a> {
    abi::Event { stream: Str::new(stream.name()), epoch: Str::new(stream.epoch()), ..event }
}

fn message<'a>(event: abi::Event<'a>, input: &'a Input) -> abi::Event<'a> {
    let about = &input.event;
    abi::Event {
        topic: Str::new(&about.topic),
        r#type: Str::new(&about.kind),
        key: Str::new(&about.key),
        audience: Str::new(&about.audience),
        session_id: Str::new(about.session_id.as_deref().unwrap_or("")),
        payload: Bytes::new(&about.payload),
        unix_ns: about.unix_ns,
        seq: input.number,
        ..event
    }
}
