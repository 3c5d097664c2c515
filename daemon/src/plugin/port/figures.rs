//! The part of the port that metrics go through.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use broadcastd_plugin_api::abi::{self, Status};

use super::Port;
use crate::metrics;
use crate::plugin::declared::{MAX_FOLDED, MAX_SERIES, Opening};

/// The most metrics that one instance may hold open: all that are kept, and the one that stands for gauges that are not.
const MAX_OPEN_METRICS: usize = MAX_SERIES + MAX_FOLDED + 1;

impl Port {
    pub fn metric_open(&self, opening: &Opening<'_>) -> i64 {
        let cell = match self.desk.declared.open(&self.desk.name, opening) {
            Ok(opened) => {
                if opened.is_beyond {
                    self.tell_beyond(opening.name);
                }
                opened.cell
            }
            Err(bad) => {
                self.log(abi::LOG_WARN, "metrics", &format!("a metric was not opened: {}", bad.0));
                return i64::from(abi::E_INVALID);
            }
        };
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        let known = metrics.iter().position(|known| Arc::ptr_eq(known, &cell));
        if known.is_none() && metrics.len() == MAX_OPEN_METRICS {
            return i64::from(abi::E_LIMIT);
        }
        let index = known.unwrap_or_else(|| {
            metrics.push(cell);
            metrics.len() - 1
        });
        index as i64 + 1
    }

    /// What the buckets of a histogram reach to that is opened from here on.
    pub fn metric_bounds(&self, name: &str, bounds: &str) -> Status {
        match self.desk.declared.bound(&self.desk.name, name, bounds) {
            Ok(()) => abi::OK,
            Err(bad) => {
                self.log(abi::LOG_WARN, "metrics", &format!("bounds are not taken: {}", bad.0));
                abi::E_INVALID
            }
        }
    }

    /// A series beyond those that are shown is counted, and the first of an instance is told.
    fn tell_beyond(&self, name: &str) {
        metrics::series_folded(&self.desk.name);
        if !self.has_told_beyond.swap(true, Ordering::Relaxed) {
            let rest = "counters and histograms beyond become one of each name, gauges are not shown";
            self.log(abi::LOG_WARN, "metrics", &format!("more than {MAX_SERIES} series, of {name} at first; {rest}"));
        }
    }

    pub fn metric_record(&self, metric: i64, value: f64) {
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(metric).ok().and_then(|metric| metric.checked_sub(1));
        if let Some(cell) = index.and_then(|index| metrics.get(index)) {
            cell.record(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_bounded_at_the_edge() {
        let port = Port::detached("counts");
        let open =
            |name: &str, labels: &str| port.metric_open(&Opening { kind: abi::METRIC_GAUGE, name, help: "", labels });
        let counters = MAX_SERIES + MAX_FOLDED;
        let count = |n: usize| {
            let (name, labels) = (format!("c{n}_total"), "{\"n\":\"1\"}");
            port.metric_open(&Opening { kind: abi::METRIC_COUNTER, name: &name, help: "", labels })
        };
        // Every series that is kept, those that stand for what is beyond, and what is not shown: no plugin gets further.
        let mut opened: Vec<i64> = (0..counters).map(count).collect();
        opened.push(open("g", "{\"n\":\"1\"}"));
        assert!(opened.iter().zip(1..).all(|(id, expected)| *id == expected), "{opened:?}");
        assert_eq!((count(0), open("g", "{\"n\":\"2\"}")), (1, MAX_OPEN_METRICS as i64));
        assert_eq!(count(counters), i64::from(abi::E_INVALID));
        port.desk().declared.forget("counts");
        assert_eq!(open("other", ""), i64::from(abi::E_LIMIT));
        port.metric_record(MAX_OPEN_METRICS as i64 + 1, 1.0); // nobody's, and no harm
    }
}
