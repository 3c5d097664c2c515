//! One series of a plugin's metrics. Recording is lock-free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broadcastd_plugin_api::abi;
use serde_json::{Value, json};

/// Upper bounds of a histogram in seconds for which nobody wants others.
pub const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// The kind of a cell that keeps nothing; no plugin's.
pub const NOTHING: u32 = 0;

pub struct Cell {
    kind: u32,
    /// The value of a counter or gauge, the sum of a histogram.
    value: Number,
    bounds: Arc<[f64]>,
    /// Observations up to each bound, and all. A gauge has one, which says whether it was set.
    buckets: Vec<AtomicU64>,
}

#[derive(Default)]
struct Number(AtomicU64);

impl Cell {
    /// The bounds are a histogram's; others have none.
    pub fn new(kind: u32, bounds: Arc<[f64]>) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { kind, value: Number::default(), bounds, buckets }
    }

    /// Adds, sets or observes, as the kind says. What is no number, or would make a counter fall, is not counted.
    pub fn record(&self, value: f64) {
        match self.kind {
            NOTHING => {}
            _ if value.is_nan() => {}
            abi::METRIC_GAUGE => {
                self.value.0.store(value.to_bits(), Ordering::Relaxed);
                self.buckets[0].store(1, Ordering::Relaxed);
            }
            abi::METRIC_COUNTER if value >= 0.0 && value.is_finite() => self.value.add(value),
            abi::METRIC_COUNTER => {}
            _ => {
                self.value.add(value);
                let bucket = self.bounds.partition_point(|bound| *bound < value);
                self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes over what another one of the same kind and bounds has recorded.
    pub fn absorb(&self, other: &Self) {
        match self.kind {
            kind if kind != other.kind => {}
            abi::METRIC_GAUGE if other.count() == 0 => {}
            abi::METRIC_GAUGE | abi::METRIC_COUNTER => self.record(other.value()),
            _ if self.bounds != other.bounds => {}
            _ => {
                self.value.add(other.value());
                for (own, others) in self.buckets.iter().zip(&other.buckets) {
                    own.fetch_add(others.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
        }
    }

    pub fn value(&self) -> f64 {
        self.value.get()
    }

    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    pub fn json(&self) -> Value {
        match self.kind {
            abi::METRIC_HISTOGRAM => json!({"count": self.count(), "sum": self.value.get()}),
            abi::METRIC_COUNTER if self.value.get().fract() == 0.0 => json!(self.value.get() as u64),
            _ => json!(self.value.get()),
        }
    }

    /// In the text format of Prometheus.
    pub fn render(&self, name: &str, labels: &str, out: &mut String) {
        if self.kind != abi::METRIC_HISTOGRAM {
            out.push_str(&format!("{name}{{{labels}}} {}\n", self.value.get()));
            return;
        }
        let mut upto = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            upto += bucket.load(Ordering::Relaxed);
            out.push_str(&format!("{name}_bucket{{{labels},le=\"{bound}\"}} {upto}\n"));
        }
        let sum = self.value.get();
        out.push_str(&format!("{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {upto}\n"));
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl Number {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _always_some = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}
