//! `metrics` in a plugin → the host's metrics.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::abi;
use crate::entry::Host;

/// So many series are kept per library; the host limits what it shows far below, and labels from outside must not
/// fill the memory. Beyond it a series is not counted, and the log says so once.
const SERIES_MAX: usize = 10_000;

/// Opens each series at the host once and remembers it.
#[derive(Default)]
pub(super) struct HostMetrics {
    help: Mutex<HashMap<KeyName, SharedString>>,
}

/// One series, open at the host.
struct Series {
    host: Host,
    metric: i64,
    /// Bits of the gauge's value, or the counter's last absolute value: the host is told sums and differences only.
    value: AtomicU64,
}

/// Whose it is, of which kind, under which name and labels.
type Place = (Host, u32, Key);

static SERIES: LazyLock<Mutex<HashMap<Place, Arc<Series>>>> = LazyLock::new(Mutex::default);

/// What the buckets of a histogram reach to that is opened from here on. The host says in the log what is wrong with them.
pub(super) fn bounds(name: &str, bounds: &[f64]) {
    if let Some(host) = super::host() {
        let _told_by_the_host = host.metric_bounds(name, &serde_json::Value::from(bounds).to_string());
    }
}

pub(super) fn forget(host: Host) {
    lock(&SERIES).retain(|(owner, _, _), _| *owner != host);
}

impl HostMetrics {
    /// The series, or `None` when nobody is there to count for, or the host refused it.
    fn series(&self, kind: u32, key: &Key) -> Option<Arc<Series>> {
        let host = super::host()?;
        let mut all = lock(&SERIES);
        let place = (host, kind, key.clone());
        if let Some(series) = all.get(&place) {
            return Some(series.clone());
        }
        if all.len() >= SERIES_MAX {
            return None;
        }
        let help = lock(&self.help).get(key.name()).cloned();
        let labels: serde_json::Map<_, _> =
            key.labels().map(|label| (label.key().to_owned(), label.value().into())).collect();
        let labels = serde_json::Value::from(labels).to_string();
        let metric = host.metric_open(kind, key.name(), help.as_deref().unwrap_or(""), &labels);
        if metric <= 0 {
            host.log(abi::LOG_WARN, "metrics", &format!("the host refused {} {labels}: {metric}", key.name()));
        }
        let series = Arc::new(Series { host, metric, value: AtomicU64::new(0) });
        all.insert(place, series.clone());
        if all.len() == SERIES_MAX {
            host.log(abi::LOG_WARN, "metrics", &format!("{SERIES_MAX} series; further ones are not counted"));
        }
        Some(series)
    }

    fn describe(&self, name: KeyName, help: SharedString) {
        let mut all = lock(&self.help);
        if all.len() < SERIES_MAX {
            all.insert(name, help);
        }
    }
}

impl Recorder for HostMetrics {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name, help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name, help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.series(abi::METRIC_COUNTER, key).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.series(abi::METRIC_GAUGE, key).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.series(abi::METRIC_HISTOGRAM, key).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

impl Series {
    fn tell(&self, value: f64) {
        if self.metric > 0 {
            self.host.metric_record(self.metric, value);
        }
    }

    fn change(&self, by: f64) {
        let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
        let before = self.value.fetch_update(Relaxed, Relaxed, add).unwrap_or_else(|bits| bits);
        self.tell(f64::from_bits(before) + by);
    }
}

impl CounterFn for Series {
    fn increment(&self, by: u64) {
        self.tell(by as f64);
    }

    fn absolute(&self, value: u64) {
        let before = self.value.fetch_max(value, Relaxed);
        self.tell(value.saturating_sub(before) as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, by: f64) {
        self.change(by);
    }

    fn decrement(&self, by: f64) {
        self.change(-by);
    }

    fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Relaxed);
        self.tell(value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.tell(value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
