//! What was counted so far, read where everything is counted: in the text of a scrape.

use std::collections::BTreeMap;

/// All series of a metric together; of none, nothing has happened.
pub fn total<'a>(lines: impl IntoIterator<Item = &'a str>, metric: &str) -> u64 {
    let series = lines.into_iter().filter_map(|line| line.strip_prefix(metric));
    let values = series.filter(|rest| rest.starts_with([' ', '{'])).filter_map(|rest| rest.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<f64>().ok()).sum::<f64>() as u64
}

/// The series of a metric that have only this label, each with its value.
pub fn by_label<'a>(lines: impl IntoIterator<Item = &'a str>, metric: &str, label: &str) -> BTreeMap<String, u64> {
    let start = format!("{metric}{{{label}=\"");
    let series = lines.into_iter().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
    let alone = series.filter(|(name, _)| !name.contains('"'));
    alone.filter_map(|(name, value)| Some((name.to_owned(), value.parse::<f64>().ok()? as u64))).collect()
}

/// How often a histogram without labels was at most each of its bounds, from the lowest to the infinite.
pub fn buckets<'a>(lines: impl IntoIterator<Item = &'a str>, metric: &str) -> Vec<(f64, u64)> {
    let start = format!("{metric}_bucket{{le=\"");
    let found = lines.into_iter().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
    found.filter_map(|(bound, count)| Some((bound.parse().ok()?, count.parse().ok()?))).collect()
}

/// The same of a histogram with labels, by the value of one of them: series that share it are added.
pub fn buckets_by<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    metric: &str,
    label: &str,
) -> BTreeMap<String, Vec<(f64, u64)>> {
    let (start, label) = (format!("{metric}_bucket{{"), format!("{label}=\""));
    let read = |line: &'a str| {
        let (labels, rest) = line.strip_prefix(&start)?.split_once(",le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        let (name, _) = labels.split_once(&label)?.1.split_once('"')?;
        Some((name, bound.parse::<f64>().ok()?, count.parse::<u64>().ok()?))
    };
    let mut found: BTreeMap<String, Vec<(f64, u64)>> = BTreeMap::new();
    for (name, bound, count) in lines.into_iter().filter_map(read) {
        let sums = found.entry(name.to_owned()).or_default();
        match sums.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => sums.push((bound, count)),
        }
    }
    found
}

/// The value that a part of what happened between two looks at a histogram did not exceed, as far as its bounds tell:
/// evenly spread within each, and what is beyond the last counts as that. `None` where nothing happened.
pub fn quantile(before: &[(f64, u64)], after: &[(f64, u64)], part: f64) -> Option<f64> {
    let earlier = |index: usize| before.get(index).map_or(0, |(_, count)| *count);
    let counts: Vec<(f64, f64)> = after
        .iter()
        .enumerate()
        .map(|(index, (bound, count))| (*bound, count.saturating_sub(earlier(index)) as f64))
        .collect();
    let wanted = part * counts.last().map_or(0.0, |(_, all)| *all);
    let reached = counts.iter().position(|(_, count)| *count >= wanted && *count > 0.0)?;
    let (low, below) = reached.checked_sub(1).map_or((0.0, 0.0), |index| counts[index]);
    let (high, upto) = counts[reached];
    Some(if high.is_finite() { low + (high - low) * (wanted - below) / (upto - below) } else { low })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_and_longer_names_are_others() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total{stream=\"a b\"} 2\na_total{stream=\"c\"} 3\na_total_more 7\n";
        let sum = |metric| total(text.lines(), metric);
        assert_eq!((sum("a_total"), sum("a"), sum("b")), (5, 0, 0));
        assert_eq!(total(["a_total 4"], "a_total"), 4);
    }

    #[test]
    fn series_are_told_apart_by_their_label() {
        let text = "a{stream=\"b\"} 2\na{stream=\"c\"} 3\na{stream=\"d\",x=\"y\"} 4\naa{stream=\"e\"} 5\n";
        let found = by_label(text.lines(), "a", "stream");
        assert_eq!(found, BTreeMap::from([("b".to_owned(), 2), ("c".to_owned(), 3)]));
    }

    #[test]
    fn series_that_share_a_label_are_added_bound_by_bound() {
        let of = |labels: &str, few: u64, all: u64| {
            format!(
                "h_bucket{{{labels},le=\"0.1\"}} {few}\nh_bucket{{{labels},le=\"+Inf\"}} {all}\nh_sum{{{labels}}} 9\n"
            )
        };
        let text = of("b=\"x\",call=\"timer\"", 1, 2) + &of("b=\"x\",call=\"start\"", 10, 30) + &of("b=\"y\"", 5, 5);
        let sums = |few, all| vec![(0.1, few), (f64::INFINITY, all)];
        let expected = BTreeMap::from([("x".to_owned(), sums(11, 32)), ("y".to_owned(), sums(5, 5))]);
        assert_eq!(buckets_by(text.lines(), "h", "b"), expected);
    }

    #[test]
    fn a_part_of_what_happened_lies_between_the_bounds_of_its_bucket() {
        let text = "h_bucket{le=\"0.1\"} 5\nh_bucket{le=\"0.2\"} 15\nh_bucket{le=\"+Inf\"} 16\nh_sum 3\n";
        let after = buckets(text.lines(), "h");
        assert_eq!(after, [(0.1, 5), (0.2, 15), (f64::INFINITY, 16)]);
        let of = |before: &[(f64, u64)], part| quantile(before, &after, part).map(|value| (value * 1000.0).round());
        assert_eq!((of(&[], 0.5), of(&[], 0.99)), (Some(130.0), Some(200.0)), "beyond the last bound counts as that");
        let before = [(0.1, 5), (0.2, 5), (f64::INFINITY, 6)];
        assert_eq!((of(&before, 0.5), of(&before, 1.0)), (Some(150.0), Some(200.0)), "only what happened since");
        assert_eq!((of(&after, 0.5), of(&[], 0.1)), (None, Some(32.0)));
    }
}
