//! A sample as it comes in, what a chart makes of it, and why one can be refused.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::chart::Chart;
use crate::constants::MAX_RANGE_SIZE;
use crate::id::Id;
use crate::spread::Spread;
use crate::stamp::Stamp;

/// Values of one sample: more than anybody measures at a time, and few enough to be handled at once.
pub const MAX_VALUES: usize = 1_000;

/// Larger numbers could not be squared and summed up.
pub const MAX_MAGNITUDE: f64 = 1e100;

/// By smaller numbers nothing could be divided: sizes and standard deviations are at least this.
pub const MIN_MAGNITUDE: f64 = 1e-100;

/// From so many values on their range says less than their standard deviation.
const MANY_VALUES: usize = 11;

/// The `data` of an event of kind `sample`. Other members are ignored: whoever measures says more than a chart needs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Incoming {
    pub characteristic_id: Id,
    pub sample_id: Option<Id>,
    /// Milliseconds since 1970 or a text of RFC 3339; else when the event was published.
    pub time: Option<Time>,
    #[serde(default, deserialize_with = "present")]
    values: Option<Option<Vec<Option<f64>>>>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    count: Option<Option<f64>>,
    size: Option<f64>,
}

/// The `data` of an event of kind `recalculate`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Recalculate {
    pub characteristic_id: Id,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Time {
    Milliseconds(i64),
    Text(String),
}

/// What was measured or counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    Values {
        there: Vec<f64>,
        /// How many they are with those that are missing.
        of: usize,
    },
    Count {
        count: f64,
        size: Option<f64>,
    },
    /// A sample should have been taken and was not.
    Missing,
}

/// A sample as its chart sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subgroup {
    /// What is plotted of it: mean, value, share or count.
    pub statistic: f64,
    pub spread: Spread,
    pub range: f64,
}

/// Why a sample is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    Malformed,
    Id,
    Time,
    Measure,
    Chart,
    Size,
    Count,
    Magnitude,
    TooManyCharacteristics,
    UnknownCharacteristic,
    NoBaseline,
    TooFewSamples,
}

impl Reject {
    /// The reason as a metric label, and in words.
    pub fn reason(self) -> (&'static str, &'static str) {
        match self {
            Reject::Malformed => ("malformed", "the data is not that of a sample"),
            Reject::Id => ("id", "the ids of characteristics and samples have 1 to 40 bytes and no control characters"),
            Reject::Time => ("time", "the time is milliseconds since 1970 or a text such as 2026-01-17T10:00:00Z"),
            Reject::Measure => ("measure", "a sample has values, a value or a count, one of them"),
            Reject::Chart => ("chart", "the chart of the characteristic is for values, or for counts; set another one"),
            Reject::Size => ("size", "the chart of the characteristic takes no sample of this size"),
            Reject::Count => ("count", "a count is a whole number from 0, of defective units at most the size"),
            Reject::Magnitude => ("magnitude", "numbers beyond 1e100 are not reckoned with"),
            Reject::TooManyCharacteristics => (
                "too_many_characteristics",
                "the table of characteristics is full; list those that matter in the settings",
            ),
            Reject::UnknownCharacteristic => ("unknown_characteristic", "no sample of the characteristic has come yet"),
            Reject::NoBaseline => ("no_baseline", "the limits of the characteristic are not computed but set"),
            Reject::TooFewSamples => {
                ("too_few_samples", "limits need two samples, and values that are not all the same")
            }
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().1)
    }
}

impl Incoming {
    /// When it was taken; `arrived` when it says nothing of that.
    pub fn taken_at(&self, arrived: Stamp) -> Result<Stamp, Reject> {
        let at = match &self.time {
            None => Some(arrived),
            Some(Time::Milliseconds(ms)) => Stamp::of_ms(*ms),
            Some(Time::Text(text)) => Stamp::read(text),
        };
        at.ok_or(Reject::Time)
    }

    pub fn measure(&self) -> Result<Measure, Reject> {
        let values = match (&self.values, self.value, self.count) {
            (Some(values), None, None) => values.clone().unwrap_or_default(),
            (None, Some(value), None) => vec![value],
            (None, None, Some(None)) => return Ok(Measure::Missing),
            (None, None, Some(Some(count))) => return Ok(Measure::Count { count, size: self.size }),
            _ => return Err(Reject::Measure),
        };
        if self.size.is_some_and(|size| size != values.len() as f64) {
            return Err(Reject::Size);
        }
        let of = values.len();
        let there: Vec<f64> = values.into_iter().flatten().collect();
        Ok(if there.is_empty() { Measure::Missing } else { Measure::Values { there, of } })
    }
}

impl Measure {
    /// The chart of a characteristic for which none is set; what is missing says nothing.
    pub fn usual_chart(&self) -> Option<Chart> {
        Some(match self {
            Measure::Values { of: 1, .. } => Chart::Imr,
            Measure::Values { of, .. } if *of < MANY_VALUES => Chart::XbarR,
            Measure::Values { .. } => Chart::XbarS,
            Measure::Count { size: None, .. } => Chart::C,
            Measure::Count { size: Some(_), .. } => Chart::P,
            Measure::Missing => return None,
        })
    }

    /// The sample as the chart sees it, none if it is missing; `usual_size` holds where a count has no size.
    pub fn subgroup(&self, chart: Chart, usual_size: Option<f64>) -> Result<Option<Subgroup>, Reject> {
        match self {
            Measure::Missing => Ok(None),
            Measure::Values { there, of } if !chart.counts() => measured(there, *of, chart),
            Measure::Count { count, size } if chart.counts() => counted(*count, size.or(usual_size), chart).map(Some),
            _ => Err(Reject::Chart),
        }
    }
}

/// None: so many are missing that the chart can make nothing of the others.
fn measured(values: &[f64], of: usize, chart: Chart) -> Result<Option<Subgroup>, Reject> {
    let sizes = match chart {
        Chart::XbarR => 2..=MAX_RANGE_SIZE,
        Chart::XbarS => 2..=MAX_VALUES,
        Chart::Imr => 1..=1,
        _ => 1..=MAX_VALUES,
    };
    if values.len() > *sizes.end() || of < *sizes.start() {
        return Err(Reject::Size);
    }
    if values.len() < *sizes.start() {
        return Ok(None);
    }
    if values.iter().any(|value| value.abs() > MAX_MAGNITUDE) {
        return Err(Reject::Magnitude);
    }
    let spread = Spread::of(values);
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let range = most - values.iter().copied().fold(f64::MAX, f64::min);
    Ok(Some(Subgroup { statistic: spread.mean(), spread, range }))
}

/// Source: Montgomery: the share D/n of n units, c/n defects per unit of a sample of size n.
fn counted(count: f64, size: Option<f64>, chart: Chart) -> Result<Subgroup, Reject> {
    let is_of_units = matches!(chart, Chart::P | Chart::Np);
    let size = if chart == Chart::C { size.or(Some(1.0)) } else { size }.ok_or(Reject::Size)?;
    let fits = match chart {
        Chart::C => size == 1.0,
        _ => size > 0.0 && (!is_of_units || size.fract() == 0.0),
    };
    if !fits {
        return Err(Reject::Size);
    }
    if count < 0.0 || count.fract() != 0.0 || (is_of_units && count > size) {
        return Err(Reject::Count);
    }
    if count.max(size).max(count / size) > MAX_MAGNITUDE || size < MIN_MAGNITUDE {
        return Err(Reject::Magnitude);
    }
    let statistic = if matches!(chart, Chart::P | Chart::U) { count / size } else { count };
    Ok(Subgroup { statistic, spread: Spread::weighing(size, count / size), range: 0.0 })
}

/// Tells a null, which stands for a missing value, from a member that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn measure(more: &str) -> Result<Measure, Reject> {
        serde_json::from_str::<Incoming>(&format!("{{\"characteristic_id\":1{more}}}")).unwrap().measure()
    }

    fn statistic(more: &str, chart: Chart) -> Result<Option<f64>, Reject> {
        let subgroup = measure(more)?.subgroup(chart, (chart != Chart::C).then_some(50.0))?;
        Ok(subgroup.map(|subgroup| subgroup.statistic))
    }

    #[test]
    fn a_sample_is_values_or_a_value_or_a_count() {
        let values = |there: &[f64], of| Ok(Measure::Values { there: there.to_vec(), of });
        assert_eq!(measure(r#","values":[1,2.5]"#), values(&[1.0, 2.5], 2));
        assert_eq!(measure(r#","values":[1,null,2],"size":3"#), values(&[1.0, 2.0], 3));
        assert_eq!(measure(r#","value":7,"operator":"x""#), values(&[7.0], 1));
        assert_eq!(measure(r#","count":3,"size":9.5"#), Ok(Measure::Count { count: 3.0, size: Some(9.5) }));
        for missing in
            [r#","value":null"#, r#","values":null"#, r#","values":[null,null]"#, r#","values":[]"#, r#","count":null"#]
        {
            assert_eq!(measure(missing), Ok(Measure::Missing), "{missing}");
        }
        for none in ["", r#","size":5"#, r#","value":1,"count":1"#, r#","value":1,"values":null"#] {
            assert_eq!(measure(none), Err(Reject::Measure), "{none}");
        }
        assert_eq!(measure(r#","values":[1,2],"size":3"#), Err(Reject::Size));
    }

    #[test]
    fn the_usual_chart_follows_from_the_first_sample() {
        let chart = |more: &str| measure(more).unwrap().usual_chart();
        let values = |count: usize| format!(",\"values\":{:?}", vec![1.0; count]);
        assert_eq!((chart(&values(1)), chart(&values(10))), (Some(Chart::Imr), Some(Chart::XbarR)));
        assert_eq!((chart(&values(11)), chart(r#","value":null"#)), (Some(Chart::XbarS), None));
        let in_part = |missing: usize| format!(",\"values\":[1{}]", ",null".repeat(missing));
        assert_eq!((chart(&in_part(4)), chart(&in_part(10))), (Some(Chart::XbarR), Some(Chart::XbarS)));
        assert_eq!((chart(r#","count":1"#), chart(r#","count":1,"size":9"#)), (Some(Chart::C), Some(Chart::P)));
    }

    #[test]
    fn each_chart_takes_what_it_can_plot() {
        let values = |count: usize| format!(",\"values\":{:?}", vec![2.0; count]);
        for (more, chart, expected) in [
            (values(25), Chart::XbarR, Ok(Some(2.0))),
            (values(26), Chart::XbarR, Err(Reject::Size)),
            (values(1), Chart::XbarS, Err(Reject::Size)),
            (values(MAX_VALUES), Chart::XbarS, Ok(Some(2.0))),
            (values(MAX_VALUES + 1), Chart::Ewma, Err(Reject::Size)),
            (values(2), Chart::Imr, Err(Reject::Size)),
            (r#","values":[2,null]"#.into(), Chart::XbarR, Ok(None)),
            (r#","values":[2,null]"#.into(), Chart::XbarS, Ok(None)),
            (r#","values":[2,2,null]"#.into(), Chart::XbarR, Ok(Some(2.0))),
            (r#","values":[2,null]"#.into(), Chart::Imr, Ok(Some(2.0))),
            (r#","values":[2,null]"#.into(), Chart::Ewma, Ok(Some(2.0))),
            (values(2), Chart::P, Err(Reject::Chart)),
            (r#","value":1e100"#.into(), Chart::Imr, Ok(Some(1e100))),
            (r#","value":-1.1e100"#.into(), Chart::Imr, Err(Reject::Magnitude)),
            (r#","count":3,"size":12"#.into(), Chart::P, Ok(Some(0.25))),
            (r#","count":3"#.into(), Chart::P, Ok(Some(0.06))),
            (r#","count":3"#.into(), Chart::Np, Ok(Some(3.0))),
            (r#","count":3"#.into(), Chart::C, Ok(Some(3.0))),
            (r#","count":3,"size":2"#.into(), Chart::C, Err(Reject::Size)),
            (r#","count":3,"size":2"#.into(), Chart::P, Err(Reject::Count)),
            (r#","count":3,"size":2.5"#.into(), Chart::P, Err(Reject::Size)),
            (r#","count":3,"size":0"#.into(), Chart::U, Err(Reject::Size)),
            (r#","count":3,"size":2.5"#.into(), Chart::U, Ok(Some(1.2))),
            (r#","count":3.5,"size":2.5"#.into(), Chart::U, Err(Reject::Count)),
            (r#","count":1e50,"size":1e-50"#.into(), Chart::U, Ok(Some(1e100))),
            (r#","count":1e100,"size":1e-100"#.into(), Chart::U, Err(Reject::Magnitude)),
            (r#","count":-1"#.into(), Chart::C, Err(Reject::Count)),
            (r#","count":1"#.into(), Chart::Ewma, Err(Reject::Chart)),
        ] {
            assert_eq!(statistic(&more, chart), expected, "{more:.40} {chart:?}");
        }
        let count = Measure::Count { count: 1.0, size: None };
        assert_eq!(count.subgroup(Chart::U, None), Err(Reject::Size));
    }

    #[test]
    fn a_time_is_a_number_or_a_text() {
        let time = |time: serde_json::Value| {
            let read: Incoming = serde_json::from_value(json!({"characteristic_id": 1, "time": time})).unwrap();
            read.taken_at(Stamp::of_ns(0)).map(|at| at.to_string())
        };
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(time(json!(null)), is("1970-01-01T00:00:00.000Z"));
        assert_eq!(time(json!(1_500)), is("1970-01-01T00:00:01.500Z"));
        assert_eq!(time(json!("1970-01-01T01:00:01+01:00")), is("1970-01-01T00:00:01.000Z"));
        assert_eq!(time(json!(i64::MAX)), Err(Reject::Time));
        assert_eq!(time(json!("soon")), Err(Reject::Time));
    }
}
