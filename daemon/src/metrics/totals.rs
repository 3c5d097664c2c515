//! What was counted so far, read where everything is counted: in the text of a scrape.

/// All series of a metric together; of none, nothing has happened.
pub fn total<'a>(lines: impl IntoIterator<Item = &'a str>, metric: &str) -> u64 {
    let series = lines.into_iter().filter_map(|line| line.strip_prefix(metric));
    let values = series.filter(|rest| rest.starts_with([' ', '{'])).filter_map(|rest| rest.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<f64>().ok()).sum::<f64>() as u64
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
}
