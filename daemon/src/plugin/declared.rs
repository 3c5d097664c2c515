//! Metrics that plugins declare: a registry of their own, capped per broadcaster, whose series vanish with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use broadcastd_plugin_api::abi;
use serde_json::{Map, Value, json};

use self::cell::{Cell, SECONDS};

pub mod cell;

/// Series of one broadcaster. Counters and histograms beyond it become one of each name, which says so in its labels;
/// gauges are not shown, because one of several would be whichever was set last.
pub const MAX_SERIES: usize = 200;
/// Those that stand for what is beyond: one for each name.
pub const MAX_FOLDED: usize = 200;
/// Histograms of one broadcaster with bounds of their own, and their bounds: each is a line in every scrape.
const MAX_BOUNDED: usize = 64;
const MAX_BOUNDS: usize = 32;
/// The most labels of a series, and the longest label or name: each is repeated in every scrape.
const MAX_LABELS: usize = 8;
const MAX_TEXT: usize = 128;
/// The longest help; what is beyond is cut, since each scrape has it.
const MAX_HELP: usize = 1 << 10;
/// What the labels of a series beyond the cap say.
const OVERFLOW: &str = "__overflow__";
const PREFIX: &str = "broadcastd_plugin_";
/// Upper bounds of a histogram that is not of seconds.
const OTHERS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5];

/// Everything that plugins declared.
#[derive(Default)]
pub struct Declared(Mutex<All>);

#[derive(Default)]
struct All {
    /// By metric, so that one metric of several broadcasters is shown once.
    families: BTreeMap<String, Family>,
    /// The bounds that broadcasters want for their histograms.
    bounds: BTreeMap<Arc<str>, BTreeMap<String, Arc<[f64]>>>,
}

struct Family {
    kind: u32,
    help: String,
    series: BTreeMap<Place, Series>,
}

/// What one series is recorded into: one cell, and others where an instance that stands ready beside the present one wants
/// other bounds. Each is known by its holders; nobody is told which of the instances goes.
#[derive(Default)]
struct Series(Vec<Arc<Cell>>);

/// A broadcaster, and what its series says of itself.
type Place = (Arc<str>, Labels);
type Labels = BTreeMap<String, String>;

/// Where gauges record that are not shown.
static NOT_SHOWN: LazyLock<Arc<Cell>> = LazyLock::new(|| Arc::new(Cell::new(cell::NOTHING, Arc::new([]))));

/// A series to record into.
pub struct Opened {
    pub cell: Arc<Cell>,
    /// The broadcaster has more series than are shown, and this is one of those beyond.
    pub is_beyond: bool,
}

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
    pub fn open(&self, broadcaster: &Arc<str>, opening: &Opening<'_>) -> Result<Opened, BadMetric> {
        let labels = check(opening)?;
        let mut all = self.lock();
        all.check_kind(opening)?;
        let bounds = all.bounds_of(broadcaster, opening);
        let used: usize = all.families.values().map(|family| family.of(broadcaster).count()).sum();
        let family = all.families.get(opening.name);
        let is_known = |key: &Place| family.is_some_and(|family| family.series.contains_key(key));
        let own = (broadcaster.clone(), labels);
        let is_beyond = used >= MAX_SERIES && !is_known(&own);
        if is_beyond && opening.kind == abi::METRIC_GAUGE {
            return Ok(Opened { cell: NOT_SHOWN.clone(), is_beyond });
        }
        let key = if is_beyond { overflow(own) } else { own };
        if used >= MAX_SERIES + MAX_FOLDED && !is_known(&key) {
            return Err(BadMetric(format!("the broadcaster has {used} series already; use fewer metrics")));
        }
        let cell = all.family(opening).cell(key, || Cell::new(opening.kind, bounds));
        Ok(Opened { cell, is_beyond })
    }

    /// Whether nobody has a metric of this name that is of another kind.
    pub fn check_kind(&self, opening: &Opening<'_>) -> Result<(), BadMetric> {
        self.lock().check_kind(opening)
    }

    /// What the buckets of a histogram reach to that is opened from here on; a JSON list.
    pub fn bound(&self, broadcaster: &Arc<str>, name: &str, bounds: &str) -> Result<(), BadMetric> {
        let rule = || format!("{name}: bounds are a JSON list of 1 to {MAX_BOUNDS} numbers that rise");
        let bounds: Vec<f64> = serde_json::from_str(bounds).map_err(|_| BadMetric(rule()))?;
        if !(1..=MAX_BOUNDS).contains(&bounds.len()) || !bounds.is_sorted_by(|one, next| one < next) {
            return Err(BadMetric(rule()));
        }
        if !is_word(name) {
            return Err(BadMetric(format!("\"{}\" is no name of a metric (a-z, 0-9, _)", name.escape_debug())));
        }
        let mut all = self.lock();
        let known = all.bounds.entry(broadcaster.clone()).or_default();
        if known.len() == MAX_BOUNDED && !known.contains_key(name) {
            return Err(BadMetric(format!("{name}: at most {MAX_BOUNDED} histograms have bounds of their own")));
        }
        known.insert(name.to_owned(), bounds.into());
        Ok(())
    }

    /// Forgets all series of a broadcaster.
    pub fn forget(&self, broadcaster: &str) {
        let mut all = self.lock();
        for family in all.families.values_mut() {
            family.series.retain(|(owner, _), _| **owner != *broadcaster);
        }
        all.families.retain(|_, family| !family.series.is_empty());
        all.bounds.remove(broadcaster);
    }

    /// The sum of all series of a broadcaster's counter or gauge.
    pub fn total(&self, broadcaster: &str, name: &str) -> Option<f64> {
        let all = self.lock();
        let mut cells = all.families.get(name)?.of(broadcaster).peekable();
        cells.peek()?;
        Some(cells.map(|(_, cell)| cell.value()).sum())
    }

    /// A broadcaster's metrics as JSON: name → number, or a list with labels where there are some.
    pub fn json(&self, broadcaster: &str) -> Value {
        let mut all = Map::new();
        for (name, family) in &self.lock().families {
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
        for (name, family) in &self.lock().families {
            family.render(name, &mut out);
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn check_kind(&self, opening: &Opening<'_>) -> Result<(), BadMetric> {
        if self.families.get(opening.name).is_none_or(|family| family.kind == opening.kind) {
            return Ok(());
        }
        let why = "is declared as another kind already; choose another name";
        Err(BadMetric(format!("{} {why}", opening.name)))
    }

    fn bounds_of(&self, broadcaster: &Arc<str>, opening: &Opening<'_>) -> Arc<[f64]> {
        let own = self.bounds.get(broadcaster).and_then(|known| known.get(opening.name));
        match own {
            _ if opening.kind != abi::METRIC_HISTOGRAM => Arc::new([]),
            Some(own) => own.clone(),
            None if opening.name.ends_with("_seconds") => Arc::new(SECONDS),
            None => Arc::new(OTHERS),
        }
    }

    fn family(&mut self, opening: &Opening<'_>) -> &mut Family {
        self.families.entry(opening.name.to_owned()).or_insert_with(|| Family {
            kind: opening.kind,
            help: opening.help[..opening.help.floor_char_boundary(MAX_HELP)].to_owned(),
            series: BTreeMap::new(),
        })
    }
}

impl Family {
    /// The cell of this place. With other bounds than it had it begins anew.
    fn cell(&mut self, key: Place, make: impl FnOnce() -> Cell) -> Arc<Cell> {
        self.series.entry(key).or_default().open(make())
    }

    fn of(&self, broadcaster: &str) -> impl Iterator<Item = (&Labels, &Cell)> {
        let series = self.series.iter().filter(move |((owner, _), _)| **owner == *broadcaster);
        series.filter_map(|((_, labels), series)| Some((labels, series.shown()?)))
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
        for ((broadcaster, labels), series) in &self.series {
            let Some(cell) = series.shown() else { continue };
            let mut text = format!("broadcaster=\"{broadcaster}\"");
            for (label, value) in labels {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                write!(text, ",{label}=\"{value}\"").expect("writing into a string cannot fail");
            }
            cell.render(&format!("{PREFIX}{name}"), &text, out);
        }
    }
}

impl Series {
    /// The cell with the bounds that are wanted. Those that nobody has any more are given up, except for the only one,
    /// where an instance that is started again goes on.
    fn open(&mut self, wanted: Cell) -> Arc<Cell> {
        let has_holders = self.0.iter().any(is_held);
        self.0.retain(|cell| is_held(cell) || (!has_holders && cell.bounds() == wanted.bounds()));
        if let Some(known) = self.0.iter().find(|cell| cell.bounds() == wanted.bounds()) {
            return known.clone();
        }
        let cell = Arc::new(wanted);
        self.0.push(cell.clone());
        cell
    }

    /// The oldest that somebody records into: who stands ready beside it may never begin.
    fn shown(&self) -> Option<&Cell> {
        self.0.iter().find(|cell| is_held(cell)).or(self.0.first()).map(|cell| &**cell)
    }
}

fn is_held(cell: &Arc<Cell>) -> bool {
    Arc::strong_count(cell) > 1
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

fn overflow((broadcaster, mut labels): Place) -> Place {
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
        declared.open(&broadcaster.into(), opening).map(|opened| opened.cell).map_err(|error| error.0)
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
    fn series_beyond_the_cap_become_one_of_each_name_that_says_so() {
        let declared = Declared::default();
        for n in 0..MAX_SERIES + 50 {
            let labels = format!("{{\"n\":\"{n}\"}}");
            let opened = declared.open(&"a".into(), &counter("n_total", &labels)).unwrap();
            assert_eq!(opened.is_beyond, n >= MAX_SERIES, "{n}");
            opened.cell.record(1.0);
        }
        let text = declared.render();
        assert_eq!(text.lines().count(), 2 + MAX_SERIES + 1);
        assert!(text.contains("broadcastd_plugin_n_total{broadcaster=\"a\",n=\"__overflow__\"} 50\n"), "{text}");
        let again = declared.open(&"a".into(), &counter("n_total", "{\"n\":\"0\"}")).unwrap();
        assert!(!again.is_beyond, "that one was there before");
        for n in 1..MAX_FOLDED {
            open(&declared, "a", &counter(&format!("m{n}_total"), "{\"n\":\"0\"}")).unwrap().record(2.0);
        }
        assert!(declared.render().contains("broadcastd_plugin_m1_total{broadcaster=\"a\",n=\"__overflow__\"} 2\n"));
        let error = open(&declared, "a", &counter("other_total", "")).err().unwrap();
        assert_eq!(error, "the broadcaster has 400 series already; use fewer metrics");
        assert!(open(&declared, "b", &counter("other_total", "")).is_ok(), "another broadcaster has its own cap");
    }

    #[test]
    fn a_gauge_beyond_the_cap_is_not_shown() {
        let declared = Declared::default();
        let gauge = |labels: &str| {
            let opening = Opening { kind: abi::METRIC_GAUGE, name: "g", help: "", labels };
            declared.open(&"a".into(), &opening).unwrap()
        };
        for n in 0..MAX_SERIES {
            gauge(&format!("{{\"n\":\"{n}\"}}")).cell.record(1.0);
        }
        let before = declared.render();
        let beyond = gauge("{\"n\":\"one more\"}");
        beyond.cell.record(7.0);
        assert!(beyond.is_beyond);
        assert_eq!(declared.render(), before);
        assert!(!gauge("{\"n\":\"3\"}").is_beyond);
    }

    #[test]
    fn a_histogram_has_the_bounds_that_its_broadcaster_wants() {
        let declared = Declared::default();
        let days = Opening { kind: abi::METRIC_HISTOGRAM, name: "age_seconds", help: "", labels: "" };
        let bound = |bounds: &str| declared.bound(&"a".into(), "age_seconds", bounds).map_err(|bad| bad.0);
        assert_eq!(bound("[1, 86400.5]"), Ok(()));
        for one in ["a", "b"] {
            open(&declared, one, &days).unwrap().record(3_600.0);
        }
        let shown = |line: &str| declared.render().contains(&format!("broadcastd_plugin_age_seconds{line}\n"));
        assert!(shown("_bucket{broadcaster=\"a\",le=\"1\"} 0") && shown("_bucket{broadcaster=\"a\",le=\"86400.5\"} 1"));
        assert!(!shown("_bucket{broadcaster=\"a\",le=\"10\"} 0") && shown("_bucket{broadcaster=\"b\",le=\"10\"} 0"));
        open(&declared, "a", &days).unwrap();
        assert!(shown("_count{broadcaster=\"a\"} 1"), "opened again it goes on");
        assert_eq!(bound("[7]"), Ok(()));
        open(&declared, "a", &days).unwrap();
        assert!(shown("_count{broadcaster=\"a\"} 0"), "with other bounds it begins anew");
        let most: Vec<usize> = (0..MAX_BOUNDS).collect();
        assert_eq!(bound(&serde_json::to_string(&most).unwrap()), Ok(()));
        let more: Vec<usize> = (0..=MAX_BOUNDS).collect();
        let rule = "age_seconds: bounds are a JSON list of 1 to 32 numbers that rise";
        for bad in ["", "[]", "[1,1]", "[2,1]", "[null]", "[\"1\"]", "{}", &serde_json::to_string(&more).unwrap()] {
            assert_eq!(bound(bad), Err(rule.to_owned()), "{bad}");
        }
        for n in 1..MAX_BOUNDED {
            assert!(declared.bound(&"a".into(), &format!("h{n}"), "[1]").is_ok());
        }
        assert!(declared.bound(&"a".into(), "one_more", "[1]").unwrap_err().0.contains("at most 64 histograms"));
        assert!(declared.bound(&"a".into(), "h1", "[2]").is_ok() && declared.bound(&"b".into(), "h", "[1]").is_ok());
        assert!(declared.bound(&"b".into(), "H", "[1]").unwrap_err().0.starts_with("\"H\" is no name"));
    }

    #[test]
    fn a_histogram_that_is_recorded_stays_in_sight_while_another_stands_ready_beside_it() {
        let declared = Declared::default();
        let waits = Opening { kind: abi::METRIC_HISTOGRAM, name: "wait_seconds", help: "", labels: "" };
        let shown = |line: &str| declared.render().contains(&format!("wait_seconds{line}\n"));
        let running = open(&declared, "a", &waits).unwrap();
        running.record(3.0);
        for (round, bounds) in ["[7]", "[8]"].iter().enumerate() {
            declared.bound(&"a".into(), "wait_seconds", bounds).unwrap();
            let fresh = open(&declared, "a", &waits).unwrap();
            fresh.record(100.0);
            drop(fresh); // the reload is refused
            running.record(2.0);
            assert!(shown(&format!("_count{{broadcaster=\"a\"}} {}", round + 2)), "{}", declared.render());
        }
        let fresh = open(&declared, "a", &waits).unwrap();
        fresh.record(8.5);
        assert!(shown("_sum{broadcaster=\"a\"} 7"), "the present one, until it has gone");
        drop(running);
        assert!(shown("_sum{broadcaster=\"a\"} 8.5") && shown("_bucket{broadcaster=\"a\",le=\"8\"} 0"));
        drop(fresh);
        open(&declared, "a", &waits).unwrap().record(1.5);
        assert!(shown("_sum{broadcaster=\"a\"} 10"), "opened again it goes on");
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
