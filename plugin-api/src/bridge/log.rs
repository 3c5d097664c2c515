//! `tracing` in a plugin → the host's log.
use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::abi;

/// Forwards events as `span{field=value}: message field=value`, as verbose as the host wants at that moment.
pub(super) struct HostLog;

/// The fields of a span, written when it was made.
struct Fields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for HostLog {
    /// Never `always` or `never`: the operator may change the level while the plugin runs.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        super::host().is_some_and(|host| number(metadata.level()) <= host.log_level())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id) {
            let mut line = Line::default();
            attributes.record(&mut line);
            span.extensions_mut().replace(Fields(line.fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let mut line =
            Line { fields: extensions.remove::<Fields>().map_or_else(String::new, |f| f.0), ..Line::default() };
        values.record(&mut line);
        extensions.replace(Fields(line.fields));
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let Some(host) = super::host() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let mut text = String::new();
        for span in cx.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            text.push_str(span.name());
            if let Some(Fields(fields)) = span.extensions().get::<Fields>()
                && !fields.is_empty()
            {
                text.extend(["{", fields.trim_start(), "}"]);
            }
            text.push_str(": ");
        }
        text.push_str(&line.message);
        text.push_str(&line.fields);
        host.log(number(event.metadata().level()), event.metadata().target(), text.trim());
    }
}

fn number(level: &Level) -> u32 {
    match *level {
        Level::ERROR => abi::LOG_ERROR,
        Level::WARN => abi::LOG_WARN,
        Level::INFO => abi::LOG_INFO,
        Level::DEBUG => abi::LOG_DEBUG,
        Level::TRACE => abi::LOG_TRACE,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _string_takes_all = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
