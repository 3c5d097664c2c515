//! What clients call streams, where that is not their name: endpoints may have other names for them, which hold for
//! whatever clients say there.

use std::collections::BTreeMap;

/// Other names, each with the stream that it stands for. None of them is a stream's own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// No other names.
    pub const NONE: &'static Self = &Self(BTreeMap::new());

    /// The names of several endpoints that one listener has: where two call different streams the same, the first counts.
    pub fn joined<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut joined = BTreeMap::new();
        for (other, stream) in all.into_iter().flat_map(|names| &names.0) {
            joined.entry(other.clone()).or_insert_with(|| stream.clone());
        }
        Self(joined)
    }

    /// The stream's name, by what a client calls it.
    pub fn name_of<'a>(&'a self, called: &'a str) -> &'a str {
        self.0.get(called).map_or(called, String::as_str)
    }

    /// A topic or pattern as the stream has it, by what a client calls it.
    pub fn topic_of(&self, called: &str) -> String {
        match called.split_once(':') {
            Some((stream, parts)) => format!("{}:{parts}", self.name_of(stream)),
            None => self.name_of(called).to_owned(),
        }
    }

    /// Each other name, and its stream's.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(other, stream)| (other.as_str(), stream.as_str()))
    }
}

impl From<BTreeMap<String, String>> for Names {
    fn from(names: BTreeMap<String, String>) -> Self {
        Self(names)
    }
}

impl<const N: usize> From<[(String, String); N]> for Names {
    fn from(names: [(String, String); N]) -> Self {
        Self(names.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: [(&str, &str); 2]) -> Names {
        pairs.map(|(other, stream)| (other.to_owned(), stream.to_owned())).into()
    }

    #[test]
    fn a_stream_is_found_by_its_name_and_by_others_alone_and_in_topics() {
        let names = names([("candles", "bars"), ("portfolio", "orders")]);
        let found = ["bars", "candles", "nope"].map(|called| names.name_of(called));
        assert_eq!(found, ["bars", "bars", "nope"]);
        let topics = ["candles", "candles:A:*", "bars:candles", "candles:candles", ":candles"];
        assert_eq!(
            topics.map(|topic| names.topic_of(topic)),
            ["bars", "bars:A:*", "bars:candles", "bars:candles", ":candles"]
        );
    }

    #[test]
    fn of_two_endpoints_that_mean_different_streams_the_first_counts() {
        let (first, second) = (names([("a", "bars"), ("b", "bars")]), names([("a", "orders"), ("c", "orders")]));
        let joined = Names::joined([&first, &second]);
        assert_eq!(["a", "b", "c"].map(|called| joined.name_of(called)), ["bars", "bars", "orders"]);
    }
}
