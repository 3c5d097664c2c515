//! The part of the port that metrics go through.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use broadcastd_plugin_api::abi::{self, Status};

use super::{Port, lock};
use crate::metrics;
use crate::plugin::declared::cell::Cell;
use crate::plugin::declared::{BadMetric, Declared, MAX_FOLDED, MAX_SERIES, Opening};

/// The most metrics that one instance may hold open: all that are kept, and the one that stands for gauges that are not.
const MAX_OPEN_METRICS: usize = MAX_SERIES + MAX_FOLDED + 1;

/// What an instance opened before it began.
#[derive(Default)]
pub struct Apart {
    declared: Declared,
    /// By the histogram's name.
    bounds: BTreeMap<String, String>,
    /// As the plugin opened them, by their places among the open ones.
    opened: BTreeMap<usize, Owned>,
}

/// An `Opening` that is kept.
struct Owned {
    kind: u32,
    name: String,
    help: String,
    labels: String,
}

impl Port {
    /// Metrics are kept apart until the instance begins: one that never does leaves none.
    pub fn keep_metrics_apart(&self) {
        *lock(&self.apart) = Some(Apart::default());
    }

    /// The instance begins: what it has opened and recorded until now is shown.
    pub fn show_metrics(&self) {
        let mut apart = lock(&self.apart);
        let Some(Apart { bounds, opened, .. }) = apart.take() else { return };
        for (name, bounds) in &bounds {
            self.tell_bad(self.desk.declared.bound(&self.desk.name, name, bounds));
        }
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        for (index, Owned { kind, name, help, labels }) in &opened {
            let opened = self.open_shown(&Opening { kind: *kind, name, help, labels });
            if let (Some(own), Some(cell)) = (metrics.get_mut(*index), self.tell_bad(opened)) {
                cell.absorb(own);
                *own = cell;
            }
        }
    }

    pub fn metric_open(&self, opening: &Opening<'_>) -> i64 {
        let mut apart = lock(&self.apart);
        let opened = match &*apart {
            None => self.open_shown(opening),
            Some(apart) => self.open_apart(apart, opening),
        };
        let Some(cell) = self.tell_bad(opened) else { return i64::from(abi::E_INVALID) };
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        let known = metrics.iter().position(|known| Arc::ptr_eq(known, &cell));
        if known.is_none() && metrics.len() == MAX_OPEN_METRICS {
            return i64::from(abi::E_LIMIT);
        }
        let index = known.unwrap_or_else(|| {
            metrics.push(cell);
            metrics.len() - 1
        });
        if let Some(apart) = &mut *apart {
            apart.opened.entry(index).or_insert_with(|| Owned::of(opening));
        }
        index as i64 + 1
    }

    fn open_shown(&self, opening: &Opening<'_>) -> Result<Arc<Cell>, BadMetric> {
        let opened = self.desk.declared.open(&self.desk.name, opening)?;
        if opened.is_beyond {
            self.tell_beyond(opening.name);
        }
        Ok(opened.cell)
    }

    fn open_apart(&self, apart: &Apart, opening: &Opening<'_>) -> Result<Arc<Cell>, BadMetric> {
        self.desk.declared.check_kind(opening)?;
        apart.declared.open(&self.desk.name, opening).map(|opened| opened.cell)
    }

    fn tell_bad<T>(&self, done: Result<T, BadMetric>) -> Option<T> {
        done.inspect_err(|bad| self.log(abi::LOG_WARN, "metrics", &format!("a metric is not taken: {}", bad.0))).ok()
    }

    /// What the buckets of a histogram reach to that is opened from here on.
    pub fn metric_bounds(&self, name: &str, bounds: &str) -> Status {
        let mut apart = lock(&self.apart);
        let declared = apart.as_ref().map_or(&*self.desk.declared, |apart| &apart.declared);
        let Some(()) = self.tell_bad(declared.bound(&self.desk.name, name, bounds)) else { return abi::E_INVALID };
        if let Some(apart) = &mut *apart {
            apart.bounds.insert(name.to_owned(), bounds.to_owned());
        }
        abi::OK
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

impl Owned {
    fn of(opening: &Opening<'_>) -> Self {
        let Opening { kind, name, help, labels } = *opening;
        Self { kind, name: name.to_owned(), help: help.to_owned(), labels: labels.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_apart_is_shown_when_the_instance_begins_and_not_before() {
        let port = Port::detached("waits");
        let declared = port.desk().declared.clone();
        let open = |kind: u32, name: &str| port.metric_open(&Opening { kind, name, help: "", labels: "" });
        port.metric_record(open(abi::METRIC_COUNTER, "n_total"), 5.0);
        port.metric_record(open(abi::METRIC_GAUGE, "kept"), 7.0);
        let before = declared.render();
        let fresh = Port::new(port.desk().clone(), Arc::default());
        let open = |kind: u32, name: &str| fresh.metric_open(&Opening { kind, name, help: "", labels: "" });
        fresh.keep_metrics_apart();
        assert_eq!(fresh.metric_bounds("wait_seconds", "[1, 2]"), abi::OK);
        let [n, kept, set, waits] = [
            open(abi::METRIC_COUNTER, "n_total"),
            open(abi::METRIC_GAUGE, "kept"),
            open(abi::METRIC_GAUGE, "set"),
            open(abi::METRIC_HISTOGRAM, "wait_seconds"),
        ];
        assert_eq!(open(abi::METRIC_GAUGE, "n_total"), i64::from(abi::E_INVALID), "another kind is told at once");
        for (metric, value) in [(n, 2.0), (set, 0.0), (waits, 1.5)] {
            fresh.metric_record(metric, value);
        }
        assert_eq!(declared.render(), before);
        fresh.show_metrics();
        let shown = |line: &str| declared.render().contains(&format!("broadcastd_plugin_{line}\n"));
        let of = "{broadcaster=\"waits\"}";
        assert!(shown(&format!("n_total{of} 7")) && shown(&format!("kept{of} 7")) && shown(&format!("set{of} 0")));
        assert!(shown("wait_seconds_bucket{broadcaster=\"waits\",le=\"1\"} 0"), "{}", declared.render());
        assert!(shown(&format!("wait_seconds_sum{of} 1.5")) && shown(&format!("wait_seconds_count{of} 1")));
        fresh.metric_record(n, 1.0);
        fresh.metric_record(kept, 8.0);
        assert!(shown(&format!("n_total{of} 8")) && shown(&format!("kept{of} 8")), "its handles are good");
        assert_eq!(open(abi::METRIC_COUNTER, "n_total"), n);
    }

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
