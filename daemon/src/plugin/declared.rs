//! Metrics that plugins declare: a registry of their own, capped per broadcaster, whose series vanish with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadcastd_plugin_api::abi;
use serde_json::{Map, Value, json};

/// Series of one broadcaster; further ones of a known metric become one series that says so in its labels.
pub const MAX_SERIES: usize = 200;
/// The most labels of a series, and the longest label or name: each is repeated in every scrape.
const MAX_LABELS: usize = 8;
const MAX_TEXT: usize = 128;
/// The longest help; what is beyond is cut, since each scrape has it.
const MAX_HELP: usize = 1 << 10;
/// What the labels of a series beyond the cap say.
const OVERFLOW: &str = "__overflow__";
const PREFIX: &str = "broadcastd_plugin_";
/// Upper bounds of a histogram in seconds, and of any other.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];
const OTHERS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5];

/// Everything that plugins declared, by metric, so that one metric of several broadcasters is shown once.
#[derive(Default)]
pub struct Declared(Mutex<BTreeMap<String, Family>>);

struct Family {
    kind: u32,
    help: String,
    series: BTreeMap<(Arc<str>, Labels), Arc<Cell>>,
}

type Labels = BTreeMap<String, String>;

/// Why a metric is not opened.
#[derive(Debug, PartialEq, Eq)]
pub struct BadMetric(pub String);

/// What a plugin says when it opens a metric.
pub struct Opening<'a> {
    pub kind: u32,
    pub name: &'a str,
    pub help: &'a str,
    /// A JSON object of strings, or empty.
    pub labels: &'a str,
}

impl Declared {
    /// The cell of a series, the same for the same name and labels.
    pub fn open(&self, broadcaster: &Arc<str>, opening: &Opening<'_>) -> Result<Arc<Cell>, BadMetric> {
        let labels = check(opening)?;
        let mut families = self.lock();
        let used: usize = families.values().map(|family| family.of(broadcaster).count()).sum();
        let known = families.get(opening.name).is_some_and(|family| family.of(broadcaster).next().is_some());
        if used >= MAX_SERIES && !known {
            return Err(BadMetric(format!("the broadcaster has {MAX_SERIES} series already; use fewer metrics")));
        }
        let family = families.entry(opening.name.to_owned()).or_insert_with(|| Family {
            kind: opening.kind,
            help: opening.help[..opening.help.floor_char_boundary(MAX_HELP)].to_owned(),
            series: BTreeMap::new(),
        });
        if family.kind != opening.kind {
            return Err(BadMetric(format!(
                "{} is declared as another kind already; choose another name",
                opening.name
            )));
        }
        let key = (broadcaster.clone(), labels);
        let key = if used < MAX_SERIES || family.series.contains_key(&key) { key } else { overflow(key) };
        Ok(family.series.entry(key).or_insert_with(|| Arc::new(Cell::new(opening))).clone())
    }

    /// Forgets all series of a broadcaster.
    pub fn forget(&self, broadcaster: &str) {
        let mut families = self.lock();
        for family in families.values_mut() {
            family.series.retain(|(owner, _), _| **owner != *broadcaster);
        }
        families.retain(|_, family| !family.series.is_empty());
    }

    /// The sum of all series of a broadcaster's counter or gauge.
    pub fn total(&self, broadcaster: &str, name: &str) -> Option<f64> {
        let families = self.lock();
        let mut cells = families.get(name)?.of(broadcaster).peekable();
        cells.peek()?;
        Some(cells.map(|(_, cell)| cell.value.get()).sum())
    }

    /// A broadcaster's metrics as JSON: name → number, or a list with labels where there are some.
    pub fn json(&self, broadcaster: &str) -> Value {
        let mut all = Map::new();
        for (name, family) in self.lock().iter() {
            let series: Vec<_> = family.of(broadcaster).collect();
            let value = match series.as_slice() {
                [] => continue,
                [(labels, cell)] if labels.is_empty() => cell.json(),
                several => {
                    several.iter().map(|(labels, cell)| json!({"labels": labels, "value": cell.json()})).collect()
                }
            };
            all.insert(name.clone(), value);
        }
        Value::Object(all)
    }

    /// In the text format of Prometheus, to stand behind the daemon's own metrics.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (name, family) in self.lock().iter() {
            family.render(name, &mut out);
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Family {
    fn of(&self, broadcaster: &str) -> impl Iterator<Item = (&Labels, &Arc<Cell>)> {
        let series = self.series.iter().filter(move |((owner, _), _)| **owner == *broadcaster);
        series.map(|((_, labels), cell)| (labels, cell))
    }

    fn render(&self, name: &str, out: &mut String) {
        let help = if self.help.is_empty() { "Declared by a plugin, without help." } else { &self.help };
        let kind = match self.kind {
            abi::METRIC_COUNTER => "counter",
            abi::METRIC_GAUGE => "gauge",
            _ => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        out.push_str(&format!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"));
        for ((broadcaster, labels), cell) in &self.series {
            let mut text = format!("broadcaster=\"{broadcaster}\"");
            for (label, value) in labels {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                write!(text, ",{label}=\"{value}\"").expect("writing into a string cannot fail");
            }
            cell.render(name, &text, out);
        }
    }
}

/// One series. Recording is lock-free.
pub struct Cell {
    kind: u32,
    /// The value of a counter or gauge, the sum of a histogram.
    value: Number,
    bounds: &'static [f64],
    /// Observations up to each bound, and all.
    buckets: Vec<AtomicU64>,
}

#[derive(Default)]
struct Number(AtomicU64);

impl Number {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _always_some = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl Cell {
    fn new(opening: &Opening<'_>) -> Self {
        let bounds: &[f64] = match opening.kind {
            abi::METRIC_HISTOGRAM if opening.name.ends_with("_seconds") => &SECONDS,
            abi::METRIC_HISTOGRAM => &OTHERS,
            _ => &[],
        };
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { kind: opening.kind, value: Number::default(), bounds, buckets }
    }

    /// Adds, sets or observes, as the kind says. What is no number, or would make a counter fall, is not counted.
    pub fn record(&self, value: f64) {
        match self.kind {
            _ if value.is_nan() => {}
            abi::METRIC_GAUGE => self.value.0.store(value.to_bits(), Ordering::Relaxed),
            abi::METRIC_COUNTER if value >= 0.0 && value.is_finite() => self.value.add(value),
            abi::METRIC_COUNTER => {}
            _ => {
                self.value.add(value);
                let bucket = self.bounds.partition_point(|bound| *bound < value);
                self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    fn json(&self) -> Value {
        match self.kind {
            abi::METRIC_HISTOGRAM => json!({"count": self.count(), "sum": self.value.get()}),
            abi::METRIC_COUNTER if self.value.get().fract() == 0.0 => json!(self.value.get() as u64),
            _ => json!(self.value.get()),
        }
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) {
        if self.kind != abi::METRIC_HISTOGRAM {
            out.push_str(&format!("{PREFIX}{name}{{{labels}}} {}\n", self.value.get()));
            return;
        }
        let mut upto = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            upto += bucket.load(Ordering::Relaxed);
            out.push_str(&format!("{PREFIX}{name}_bucket{{{labels},le=\"{bound}\"}} {upto}\n"));
        }
        let sum = self.value.get();
        out.push_str(&format!("{PREFIX}{name}_sum{{{labels}}} {sum}\n{PREFIX}{name}_count{{{labels}}} {upto}\n"));
    }
}

fn check(opening: &Opening<'_>) -> Result<Labels, BadMetric> {
    let name = opening.name;
    let is_counter = opening.kind == abi::METRIC_COUNTER;
    if !is_word(name) {
        return Err(BadMetric(format!("\"{}\" is no name of a metric (a-z, 0-9, _)", name.escape_debug())));
    }
    if !(abi::METRIC_COUNTER..=abi::METRIC_HISTOGRAM).contains(&opening.kind) {
        return Err(BadMetric(format!("{name} is of the unknown kind {}", opening.kind)));
    }
    if is_counter != name.ends_with("_total") {
        return Err(BadMetric(format!("{name}: counters, and only they, end with _total")));
    }
    if opening.labels.is_empty() {
        return Ok(Labels::new());
    }
    let labels: Labels = serde_json::from_str(opening.labels)
        .map_err(|error| BadMetric(format!("{name}: labels are a JSON object of strings: {error}")))?;
    let fits = |(label, value): (&String, &String)| {
        is_word(label) && label != "broadcaster" && label != "le" && value.len() <= MAX_TEXT
    };
    if labels.len() > MAX_LABELS || !labels.iter().all(fits) {
        return Err(BadMetric(format!(
            "{name}: at most {MAX_LABELS} labels of {MAX_TEXT} bytes (a-z, 0-9, _), none called broadcaster or le"
        )));
    }
    Ok(labels)
}

fn is_word(text: &str) -> bool {
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    starts_well
        && text.len() <= MAX_TEXT
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn overflow((broadcaster, mut labels): (Arc<str>, Labels)) -> (Arc<str>, Labels) {
    labels.values_mut().for_each(|value| OVERFLOW.clone_into(value));
    (broadcaster, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter<'a>(name: &'a str, labels: &'a str) -> Opening<'a> {
        Opening { kind: abi::METRIC_COUNTER, name, help: "Bars.", labels }
    }

    fn open(declared: &Declared, broadcaster: &str, opening: &Opening<'_>) -> Result<Arc<Cell>, String> {
        declared.open(&broadcaster.into(), opening).map_err(|error| error.0)
    }

    #[test]
    fn one_metric_of_two_broadcasters_is_shown_once() {
        let declared = Declared::default();
        open(&declared, "a", &counter("bars_total", "{\"kind\":\"x\\\"y\"}")).unwrap().record(2.0);
        open(&declared, "b", &counter("bars_total", "")).unwrap().record(1.5);
        assert_eq!(
            declared.render(),
            "# HELP broadcastd_plugin_bars_total Bars.\n# TYPE broadcastd_plugin_bars_total counter\n\
             broadcastd_plugin_bars_total{broadcaster=\"a\",kind=\"x\\\"y\"} 2\n\
             broadcastd_plugin_bars_total{broadcaster=\"b\"} 1.5\n"
        );
        declared.forget("a");
        assert_eq!((declared.total("a", "bars_total"), declared.total("b", "bars_total")), (None, Some(1.5)));
        declared.forget("b");
        assert_eq!(declared.render(), "");
    }

    #[test]
    fn a_series_opened_again_goes_on() {
        let declared = Declared::default();
        open(&declared, "a", &counter("n_total", "")).unwrap().record(2.0);
        open(&declared, "a", &counter("n_total", "")).unwrap().record(3.0);
        assert_eq!(declared.json("a"), json!({"n_total": 5}));
    }

    #[test]
    fn series_beyond_the_cap_become_one_that_says_so() {
        let declared = Declared::default();
        for n in 0..MAX_SERIES + 50 {
            open(&declared, "a", &counter("n_total", &format!("{{\"n\":\"{n}\"}}"))).unwrap().record(1.0);
        }
        let text = declared.render();
        assert_eq!(text.lines().count(), 2 + MAX_SERIES + 1);
        assert!(text.contains("broadcastd_plugin_n_total{broadcaster=\"a\",n=\"__overflow__\"} 50\n"), "{text}");
        let error = open(&declared, "a", &counter("other_total", "")).err().unwrap();
        assert_eq!(error, "the broadcaster has 200 series already; use fewer metrics");
        assert!(open(&declared, "b", &counter("other_total", "")).is_ok(), "another broadcaster has its own cap");
    }

    #[test]
    fn texts_are_bounded_at_their_edge() {
        let (declared, name) = (Declared::default(), format!("{}_total", "n".repeat(MAX_TEXT - "_total".len())));
        let help = "å".repeat(MAX_HELP);
        let label = |length: usize| format!("{{\"l\":\"{}\"}}", "x".repeat(length));
        assert!(open(&declared, "a", &Opening { help: &help, ..counter(&name, &label(MAX_TEXT)) }).is_ok());
        let shown = declared.render();
        assert_eq!(shown.lines().next().unwrap().matches('å').count() * "å".len(), MAX_HELP, "{shown}");
        assert!(open(&declared, "a", &counter(&format!("n{name}"), "")).is_err());
        assert!(open(&declared, "a", &counter(&name, &label(MAX_TEXT + 1))).is_err());
        let labels = |count: usize| {
            let labels: Map<_, _> = (0..count).map(|n| (format!("l{n}"), Value::from(""))).collect();
            Value::from(labels).to_string()
        };
        assert!(open(&declared, "a", &counter(&name, &labels(MAX_LABELS))).is_ok());
        assert!(open(&declared, "a", &counter(&name, &labels(MAX_LABELS + 1))).is_err());
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let declared = Declared::default();
        let opening = Opening { kind: abi::METRIC_HISTOGRAM, name: "lag_seconds", help: "", labels: "" };
        let cell = open(&declared, "a", &opening).unwrap();
        [0.005, 0.006, 100.0].into_iter().for_each(|value| cell.record(value));
        let text = declared.render();
        assert!(text.contains("lag_seconds_bucket{broadcaster=\"a\",le=\"0.005\"} 1\n"), "{text}");
        assert!(text.contains("lag_seconds_bucket{broadcaster=\"a\",le=\"0.01\"} 2\n"));
        assert!(text.contains("lag_seconds_bucket{broadcaster=\"a\",le=\"+Inf\"} 3\n"));
        assert!(text.ends_with(
            "lag_seconds_sum{broadcaster=\"a\"} 100.011\nbroadcastd_plugin_lag_seconds_count{broadcaster=\"a\"} 3\n"
        ));
    }

    #[test]
    fn mistakes_say_the_rule() {
        let declared = Declared::default();
        let error = |opening: Opening<'_>| open(&declared, "a", &opening).err().unwrap();
        assert_eq!(error(counter("Bars", "")), "\"Bars\" is no name of a metric (a-z, 0-9, _)");
        assert_eq!(error(counter("bars", "")), "bars: counters, and only they, end with _total");
        assert!(error(counter("bars_total", "[1]")).starts_with("bars_total: labels are a JSON object of strings"));
        assert!(error(counter("bars_total", "{\"broadcaster\":\"x\"}")).contains("none called broadcaster"));
        open(&declared, "b", &counter("x_total", "")).unwrap();
        assert_eq!(error(Opening { kind: 9, name: "x", help: "", labels: "" }), "x is of the unknown kind 9");
        let cell = open(&declared, "a", &counter("c_total", "")).unwrap();
        [f64::NAN, -1.0, f64::INFINITY, 1.0].into_iter().for_each(|value| cell.record(value));
        assert_eq!(declared.total("a", "c_total"), Some(1.0), "a counter never falls");
    }
}
