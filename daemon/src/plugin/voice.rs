//! What a broadcaster's plugin logs: passed on to the daemon's log under the broadcaster's name, at a bounded rate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use broadcastd_plugin_api::abi;
use tracing::callsite::Identifier;
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Callsite, Event, Level, Metadata, dispatcher};

/// Lines per second that one broadcaster may log: enough to follow it, too few to fill a disk.
pub const MAX_LINES_PER_SECOND: u32 = 100;
/// The longest line; what is beyond is cut, and says so.
pub const MAX_LINE: usize = 8 << 10;

const SECOND: i64 = 1_000_000_000;

/// One broadcaster's way into the log.
pub struct Voice {
    sites: [&'static Site; LEVELS.len()],
    rate: Mutex<Rate>,
}

#[derive(Debug, Default)]
struct Rate {
    since: i64,
    lines: u32,
    suppressed: u64,
}

impl Voice {
    pub fn new(broadcaster: &str) -> Self {
        Self { sites: LEVELS.map(|level| site(broadcaster, level)), rate: Mutex::default() }
    }

    /// Logs a line of the plugin. Lines beyond the rate are counted, and the count is told with the next line.
    pub fn say(&self, level: u32, target: &str, message: &str, now: i64) {
        let Some(site) = self.site(level) else { return };
        if !site.is_enabled() {
            return;
        }
        let suppressed = {
            let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
            match rate.admit(now) {
                Some(suppressed) => suppressed,
                None => return,
            }
        };
        if suppressed > 0
            && let Some(warn) = self.site(abi::LOG_WARN)
        {
            let text = format!("{suppressed} lines were left out; at most {MAX_LINES_PER_SECOND} a second are logged");
            warn.log("", &text);
        }
        site.log(target, cut(message).as_str());
    }

    /// The most verbose level that anybody wants of this broadcaster.
    pub fn level(&self) -> u32 {
        let wanted =
            (abi::LOG_ERROR..=abi::LOG_TRACE).rev().find(|level| self.site(*level).is_some_and(Site::is_enabled));
        wanted.unwrap_or(abi::LOG_ERROR)
    }

    fn site(&self, level: u32) -> Option<&'static Site> {
        let index = level.checked_sub(abi::LOG_ERROR)?.min(abi::LOG_TRACE - abi::LOG_ERROR);
        self.sites.get(index as usize).copied()
    }
}

impl Rate {
    /// How many lines were suppressed before this one, or `None` when this one is, too.
    fn admit(&mut self, now: i64) -> Option<u64> {
        if now - self.since >= SECOND {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines == MAX_LINES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_LINE {
        return message.to_owned();
    }
    format!("{} … ({} bytes more)", &message[..message.floor_char_boundary(MAX_LINE)], message.len() - MAX_LINE)
}

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

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
        assert!(text.contains("7 lines were left out; at most 100 a second are logged"), "{text}");
        assert!(text.contains("later"));
    }

    #[test]
    fn a_line_is_cut_between_letters() {
        let line = "å".repeat(MAX_LINE);
        let cut = cut(&line);
        assert!(cut.ends_with("… (8192 bytes more)") && cut.starts_with("åå"));
    }
}
