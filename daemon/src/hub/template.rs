//! A stream's template: how a subscription's parameters become topics.

use std::collections::BTreeMap;
use std::fmt;

use super::pattern::{MAX_PARTS, encode_part};

/// The most topics that one subscription may name by arrays of values.
pub const MAX_TOPICS: usize = 1000;

/// `{symbol}:{resolution=1}`: parts after the stream's name, each a parameter with or without a default, or a fixed word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    aliases: Aliases,
}

/// Other spellings of a parameter's values, by parameter: `resolution`: `D` is `1D`.
pub type Aliases = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Parameter { name: String, default: Option<String> },
}

/// Why a template or a set of parameters cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadParams(String);

impl fmt::Display for BadParams {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The values of one parameter, as a client gave them.
pub type Params = BTreeMap<String, Vec<String>>;

impl Template {
    /// Reads a template; an empty text is the template without parameters.
    pub fn parse(text: &str) -> Result<Self, BadParams> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parts: Vec<Part> = text.split(':').map(parse_part).collect::<Result<_, _>>()?;
        if parts.len() > MAX_PARTS {
            return Err(BadParams(format!("a template has at most {MAX_PARTS} parts; this one has {}", parts.len())));
        }
        Ok(Self { parts, aliases: Aliases::new() })
    }

    /// The template with further spellings of its parameters' values.
    pub fn with_aliases(self, aliases: Aliases) -> Self {
        Self { aliases, ..self }
    }

    /// The full texts of the topics or patterns that these parameters name: one, or several where a parameter has
    /// several values; none where it has no value. A missing parameter takes its default, and is a wildcard without one.
    pub fn topics(&self, stream: &str, params: &Params) -> Result<Vec<String>, BadParams> {
        if let Some(unknown) = params.keys().find(|name| !self.parts.iter().any(|part| part.is_named(name))) {
            return Err(BadParams(self.unknown_parameter(stream, unknown)));
        }
        let mut topics = vec![stream.to_owned()];
        for part in &self.parts {
            topics = extend_each(&topics, &part.values(params, &self.aliases))?;
        }
        let is_wild = |topic: &String| topic.split(':').skip(1).all(|part| part == "*");
        Ok(if !topics.is_empty() && topics.iter().all(is_wild) { vec![stream.to_owned()] } else { topics })
    }

    /// The parameters' names, in the template's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters().map(|(name, _)| name)
    }

    /// The parameters' names with their defaults, in the template's order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Parameter { name, default } => Some((name.as_str(), default.as_deref())),
            Part::Fixed(_) => None,
        })
    }

    /// Other spellings of a parameter's values, each with what it stands for.
    pub fn spellings(&self, parameter: &str) -> impl Iterator<Item = (&str, &str)> {
        let found = self.aliases.get(parameter).into_iter().flatten();
        found.map(|(spelling, means)| (spelling.as_str(), means.as_str()))
    }

    /// The parts without defaults: `bars:{symbol}:{resolution}` for the stream `bars`.
    pub fn address(&self, stream: &str) -> String {
        let part = |part: &Part| match part {
            Part::Fixed(word) => format!(":{word}"),
            Part::Parameter { name, .. } => format!(":{{{name}}}"),
        };
        self.parts.iter().map(part).fold(stream.to_owned(), |address, part| address + &part)
    }

    fn unknown_parameter(&self, stream: &str, unknown: &str) -> String {
        let names: Vec<&str> = self.names().collect();
        if names.is_empty() {
            return format!("stream \"{stream}\" takes no parameters; subscribe to it by its name or by a topic");
        }
        format!("unknown parameter \"{}\"; stream \"{stream}\" takes: {}", unknown.escape_debug(), names.join(", "))
    }
}

impl Part {
    fn is_named(&self, wanted: &str) -> bool {
        matches!(self, Part::Parameter { name, .. } if name == wanted)
    }

    /// The part's encoded values.
    fn values(&self, params: &Params, aliases: &Aliases) -> Vec<String> {
        let encoded = |name: &str, value: &str| {
            let canonical = aliases.get(name).and_then(|spellings| spellings.get(value));
            let mut out = String::new();
            encode_part(canonical.map_or(value, String::as_str), &mut out);
            out
        };
        match self {
            Part::Fixed(word) => vec![word.clone()],
            Part::Parameter { name, default } => match (params.get(name), default) {
                (Some(values), _) => values.iter().map(|value| encoded(name, value)).collect(),
                (None, Some(default)) => vec![encoded(name, default)],
                (None, None) => vec!["*".to_owned()],
            },
        }
    }
}

fn parse_part(text: &str) -> Result<Part, BadParams> {
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        let fixed = !text.is_empty() && !text.contains(['{', '}', '*', '%']);
        return fixed.then(|| Part::Fixed(text.to_owned())).ok_or_else(|| bad_part(text));
    };
    let (name, default) =
        inner.split_once('=').map_or((inner, None), |(name, default)| (name, Some(default.to_owned())));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || default.as_deref() == Some("") {
        return Err(bad_part(text));
    }
    Ok(Part::Parameter { name: name.to_owned(), default })
}

fn bad_part(text: &str) -> BadParams {
    BadParams(format!(
        "\"{}\" is no part of a template; write {{name}}, {{name=default}} or a fixed word",
        text.escape_debug()
    ))
}

fn extend_each(topics: &[String], values: &[String]) -> Result<Vec<String>, BadParams> {
    if topics.len() * values.len() > MAX_TOPICS {
        return Err(BadParams(format!(
            "these parameters name more than {MAX_TOPICS} topics; subscribe in several steps"
        )));
    }
    Ok(topics.iter().flat_map(|topic| values.iter().map(move |value| format!("{topic}:{value}"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(template: &str, params: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
        let params =
            params.iter().map(|(name, values)| ((*name).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()));
        Template::parse(template).unwrap().topics("bars", &params.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn missing_parameters_take_their_default_or_any_value() {
        let template = "{symbol}:{resolution=1}";
        assert_eq!(topics(template, &[("symbol", &["AAPL"]), ("resolution", &["5"])]).unwrap(), ["bars:AAPL:5"]);
        assert_eq!(topics(template, &[("symbol", &["AAPL"])]).unwrap(), ["bars:AAPL:1"]);
        assert_eq!(topics(template, &[]).unwrap(), ["bars:*:1"]);
        assert_eq!(topics("{session_id}", &[]).unwrap(), ["bars"]);
        assert_eq!(topics("", &[]).unwrap(), ["bars"]);
    }

    #[test]
    fn several_values_are_several_topics() {
        assert_eq!(topics("{id}", &[("id", &["1", "2"])]).unwrap(), ["bars:1", "bars:2"]);
        assert!(topics("{id}", &[("id", &[])]).unwrap().is_empty(), "no value is not any value");
        let many: Vec<String> = (0..=MAX_TOPICS).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(topics("{id}", &[("id", &many[1..])]).unwrap().len(), MAX_TOPICS);
        let error = topics("{id}", &[("id", &many)]).unwrap_err();
        assert_eq!(error, "these parameters name more than 1000 topics; subscribe in several steps");
    }

    #[test]
    fn values_are_taken_literally() {
        assert_eq!(topics("{symbol}", &[("symbol", &["A:B*%"])]).unwrap(), ["bars:A%3AB%2A%25"]);
    }

    #[test]
    fn other_spellings_name_the_same_topic() {
        let aliases = [("r".to_owned(), [("D".to_owned(), "1D".to_owned())].into())].into();
        let template = Template::parse("{r=D}").unwrap().with_aliases(aliases);
        let topics = |value: &str| template.topics("bars", &[("r".to_owned(), vec![value.to_owned()])].into()).unwrap();
        assert_eq!(
            (topics("D"), topics("1D"), topics("d")),
            (vec!["bars:1D".to_owned()], vec!["bars:1D".to_owned()], vec!["bars:d".to_owned()])
        );
        assert_eq!(template.topics("bars", &Params::new()).unwrap(), ["bars:1D"]);
    }

    #[test]
    fn mistakes_name_what_would_do() {
        assert_eq!(
            topics("{symbol}", &[("symbl", &["A"])]).unwrap_err(),
            "unknown parameter \"symbl\"; stream \"bars\" takes: symbol"
        );
        assert_eq!(
            topics("", &[("symbol", &["A"])]).unwrap_err(),
            "stream \"bars\" takes no parameters; subscribe to it by its name or by a topic"
        );
        assert_eq!(
            Template::parse("{a b}").unwrap_err().to_string(),
            "\"{a b}\" is no part of a template; write {name}, {name=default} or a fixed word"
        );
        let parts = vec!["a"; MAX_PARTS + 1].join(":");
        assert!(Template::parse(&parts[2..]).is_ok());
        let error = Template::parse(&parts).unwrap_err().to_string();
        assert_eq!(error, "a template has at most 16 parts; this one has 17");
        assert!(Template::parse("{a=}").is_err() && Template::parse("a::b").is_err() && Template::parse("{}").is_err());
    }
}
