//! What a broadcaster's plugin logs: passed on to the daemon's log under the broadcaster's name, at a bounded rate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ::metrics::Counter;
use broadcastd_plugin_api::abi;
use tracing::callsite::Identifier;
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Callsite, Event, Level, Metadata, dispatcher};

use crate::metrics;

/// Lines per second that one broadcaster may log at each level: enough to follow it, too few to fill a disk. Each level
/// has its own, so that no news, however much, crowds out a warning or an error.
pub const MAX_LINES_PER_SECOND: u32 = 100;
/// The longest line; what is beyond is cut, and says so.
pub const MAX_LINE: usize = 8 << 10;

const SECOND: i64 = 1_000_000_000;

/// One broadcaster's way into the log.
pub struct Voice {
    broadcaster: Box<str>,
    sites: [&'static Site; LEVELS.len()],
    rates: Mutex<[Rate; LEVELS.len()]>,
}

/// How much was said at one level in the present second.
#[derive(Default)]
struct Rate {
    since: i64,
    lines: u32,
    left_out: u64,
    counter: Option<Counter>,
}

impl Voice {
    pub fn new(broadcaster: &str) -> Self {
        let sites = LEVELS.map(|level| site(broadcaster, level));
        Self { broadcaster: broadcaster.into(), sites, rates: Mutex::default() }
    }

    /// Logs a line of the plugin. Lines beyond the rate of their level are counted, and the count is told with the first
    /// line of whatever level after that second.
    pub fn say(&self, level: u32, target: &str, message: &str, now: i64) {
        let Some(index) = index(level).filter(|index| self.sites[*index].is_enabled()) else { return };
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if !rates[index].admit(now) {
            rates[index].count(&self.broadcaster, LEVELS[index]);
            return;
        }
        let left_out = rates.each_mut().map(|rate| rate.take_left_out(now));
        drop(rates);
        for (left_out, level) in left_out.into_iter().zip(LEVELS).filter(|(left_out, _)| *left_out > 0) {
            let rule = format!("at most {MAX_LINES_PER_SECOND} of a level are logged in a second");
            self.sites[WARN].log("", &format!("{left_out} lines of level {level} were left out; {rule}"));
        }
        self.sites[index].log(target, cut(message).as_str());
    }

    /// The most verbose level that anybody wants of this broadcaster.
    pub fn level(&self) -> u32 {
        let is_wanted = |level: &u32| index(*level).is_some_and(|index| self.sites[index].is_enabled());
        (abi::LOG_ERROR..=abi::LOG_TRACE).rev().find(is_wanted).unwrap_or(abi::LOG_ERROR)
    }
}

impl Rate {
    /// Whether one more line may be said.
    fn admit(&mut self, now: i64) -> bool {
        if now - self.since >= SECOND {
            (self.since, self.lines) = (now, 0);
        }
        let may = self.lines < MAX_LINES_PER_SECOND;
        self.lines += u32::from(may);
        may
    }

    fn count(&mut self, broadcaster: &str, level: Level) {
        self.left_out += 1;
        self.counter.get_or_insert_with(|| metrics::lines_left_out(broadcaster, level.into())).increment(1);
    }

    /// How many lines were left out and are not told, once their second is over.
    fn take_left_out(&mut self, now: i64) -> u64 {
        let is_over = now - self.since >= SECOND || self.lines < MAX_LINES_PER_SECOND;
        if is_over { std::mem::take(&mut self.left_out) } else { 0 }
    }
}

/// Where a level of the border stands among ours; those that are more verbose than the last are like the last.
fn index(level: u32) -> Option<usize> {
    let index = level.checked_sub(abi::LOG_ERROR)?.min(abi::LOG_TRACE - abi::LOG_ERROR);
    usize::try_from(index).ok()
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_LINE {
        return message.to_owned();
    }
    format!("{} … ({} bytes more)", &message[..message.floor_char_boundary(MAX_LINE)], message.len() - MAX_LINE)
}

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
/// Where warnings stand among them.
const WARN: usize = 1;

/// A place that logs. Its target is a broadcaster's name, which `tracing`'s macros cannot do: they want it at compile
/// time. So that `info,bars=debug` works for broadcasters as for modules, sites are made here.
struct Site(OnceLock<Metadata<'static>>);

impl Callsite for Site {
    /// Nothing is remembered: the subscriber is asked each time, because levels change while the daemon runs.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("a site is made together with its metadata")
    }
}

impl Site {
    fn is_enabled(&self) -> bool {
        dispatcher::get_default(|subscriber| subscriber.enabled(self.metadata()))
    }

    fn log(&'static self, target: &str, message: &str) {
        let metadata = self.0.get().expect("a site is made together with its metadata");
        let fields = metadata.fields();
        let (Some(message_field), Some(module)) = (fields.field("message"), fields.field("module")) else { return };
        let text = format_args!("{message}");
        let module_value = (!target.is_empty()).then_some(&target as &dyn Value);
        let values: [(_, Option<&dyn Value>); 2] = [(&message_field, Some(&text)), (&module, module_value)];
        Event::dispatch(metadata, &fields.value_set(&values));
    }
}

/// The site of this broadcaster and level. Sites live for good, as `tracing` wants it: one per name and level ever used.
fn site(broadcaster: &str, level: Level) -> &'static Site {
    type Sites = HashMap<(Arc<str>, Level), &'static Site>;
    static SITES: Mutex<Option<Sites>> = Mutex::new(None);
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let sites = sites.get_or_insert_default();
    sites.entry((broadcaster.into(), level)).or_insert_with(|| new_site(broadcaster, level))
}

fn new_site(broadcaster: &str, level: Level) -> &'static Site {
    let site: &'static Site = Box::leak(Box::new(Site(OnceLock::new())));
    let target: &'static str = broadcaster.to_owned().leak();
    let fields = FieldSet::new(&["message", "module"], Identifier(site));
    site.0.get_or_init(|| Metadata::new("plugin", target, level, None, None, None, fields, Kind::EVENT));
    tracing::callsite::register(site);
    site
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::LazyLock;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, speak: impl FnOnce(&Voice)) -> String {
        // Where there is but one subscriber, a line that another thread says first is asked for in that thread alone, and silent for ever.
        static ANOTHER: LazyLock<tracing::Dispatch> =
            LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&ANOTHER);
        let lines = Lines::default();
        let out = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .without_time()
            .with_ansi(false)
            .with_writer(move || out.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || speak(&Voice::new("voice_test")));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_carries_the_broadcasters_name_as_target() {
        let text = logged("info", |voice| voice.say(abi::LOG_INFO, "bars::ohlc", "closed a bar", 0));
        assert_eq!(text.trim(), "INFO voice_test: closed a bar module=\"bars::ohlc\"");
    }

    #[test]
    fn the_level_is_each_broadcasters_own() {
        let level = |filter| {
            let mut level = 0;
            logged(filter, |voice| level = voice.level());
            level
        };
        assert_eq!(level("info"), abi::LOG_INFO);
        assert_eq!(level("info,voice_test=trace"), abi::LOG_TRACE);
        assert_eq!(level("info,other=trace"), abi::LOG_INFO);
        let text = logged("info,voice_test=warn", |voice| voice.say(abi::LOG_INFO, "", "quiet", 0));
        assert_eq!(text, "");
    }

    #[test]
    fn a_flood_is_bounded_and_its_count_is_told() {
        let text = logged("info", |voice| {
            for _ in 0..MAX_LINES_PER_SECOND + 7 {
                voice.say(abi::LOG_INFO, "", "again", 0);
            }
            voice.say(abi::LOG_INFO, "", "later", SECOND);
        });
        assert_eq!(text.matches("again").count(), MAX_LINES_PER_SECOND as usize);
        let told = "7 lines of level INFO were left out; at most 100 of a level are logged in a second";
        assert_eq!(text.matches(told).count(), 1, "{text}");
        assert!(text.contains("later"));
    }

    #[test]
    fn no_level_crowds_out_another() {
        let text = logged("trace", |voice| {
            for level in [abi::LOG_INFO, abi::LOG_DEBUG, abi::LOG_TRACE] {
                (0..3 * MAX_LINES_PER_SECOND).for_each(|_| voice.say(level, "", "chatter", 0));
            }
            for n in 0..=MAX_LINES_PER_SECOND {
                voice.say(abi::LOG_WARN, "", &format!("warning {n}."), SECOND - 1);
                voice.say(abi::LOG_ERROR, "", &format!("error {n}."), SECOND - 1);
            }
        });
        let last = MAX_LINES_PER_SECOND - 1;
        for word in ["warning", "error"] {
            assert_eq!(text.matches(&format!(" {word} ")).count(), MAX_LINES_PER_SECOND as usize, "{text}");
            assert!(text.contains(&format!("{word} {last}.")), "{text}");
        }
        assert_eq!(text.matches("chatter").count(), 3 * MAX_LINES_PER_SECOND as usize);
    }

    #[test]
    fn what_was_left_out_is_told_by_whoever_speaks_next_and_counted_at_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let text = ::metrics::with_local_recorder(&recorder, || {
            logged("info", |voice| {
                (0..MAX_LINES_PER_SECOND + 2).for_each(|_| voice.say(abi::LOG_INFO, "", "again", 0));
                voice.say(abi::LOG_ERROR, "", "in between", SECOND - 1);
                voice.say(abi::LOG_ERROR, "", "at last", SECOND);
            })
        });
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
        assert!(at("in between") < at("2 lines of level INFO were left out") && at("left out") < at("at last"));
        let counted = r#"broadcastd_plugin_log_lines_left_out_total{broadcaster="voice_test",level="INFO"} 2"#;
        assert!(handle.render().contains(counted), "{}", handle.render());
    }

    #[test]
    fn a_line_is_cut_between_letters() {
        let line = "å".repeat(MAX_LINE);
        let cut = cut(&line);
        assert!(cut.ends_with("… (8192 bytes more)") && cut.starts_with("åå"));
    }
}
