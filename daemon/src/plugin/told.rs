//! What a broadcaster is told, held until the call into the plugin has ended.

use std::sync::Arc;

use broadcastd_plugin_api::abi::{self, Bytes, Str};

use crate::hub::inputs::Input;
use crate::hub::pattern::Pattern;

/// One thing to tell.
#[derive(Clone, Debug)]
pub enum Told {
    Timer(u64),
    Demand { pattern: Pattern, subscriptions: u64 },
    Message { stream: Arc<str>, input: Input },
    Gap { stream: Arc<str>, from: u64, to: u64 },
    Records,
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
            Self::Message { stream, input } => message(new(abi::EVENT_MESSAGE), stream, input),
            Self::Gap { stream, from, to } => {
                abi::Event { stream: Str::new(stream), id: *from, seq: *to, ..new(abi::EVENT_GAP) }
            }
            Self::Records => new(abi::EVENT_RECORDS),
            Self::Wake => new(abi::EVENT_WAKE),
            Self::Writable => new(abi::EVENT_WRITABLE),
            Self::Quiesce => new(abi::EVENT_QUIESCE),
            Self::Stop => new(abi::EVENT_STOP),
        }
    }
}

fn message<'a>(event: abi::Event<'a>, stream: &'a str, input: &'a Input) -> abi::Event<'a> {
    let about = &input.event;
    abi::Event {
        stream: Str::new(stream),
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
