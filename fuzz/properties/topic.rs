//! Whatever is given as a topic, a pattern, a template or its parameters: spelling is canonical once and for all, and
//! patterns match as a plain reading of the rules says.

use broadcastd::hub::interest::Interest;
use broadcastd::hub::pattern::{MAX_PARTS, MAX_TOPIC_BYTES, Pattern, canonical_topic};
use broadcastd::hub::template::{MAX_TOPICS, Params, Template};

/// Lines: a pattern and a template in one, a topic, then values of parameters.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let (first, topic) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    for spelled in [first, topic] {
        is_canonical_once_and_for_all(spelled);
    }
    matches_as_the_rules_say(first, topic);
    let values: Vec<&str> = lines.collect();
    names_proper_topics(first, &values);
}

fn is_canonical_once_and_for_all(spelled: &str) {
    let Ok(canonical) = canonical_topic(spelled) else { return };
    assert_eq!(canonical_topic(&canonical).as_deref(), Ok(canonical.as_str()));
    assert!(canonical.len() <= MAX_TOPIC_BYTES && canonical.split(':').count() <= MAX_PARTS + 1);
    assert_eq!(decoded(&canonical), decoded(spelled), "it means the same");
    let pattern = Pattern::parse(spelled).expect("whatever is canonical can be asked for");
    assert_eq!(&**pattern.text(), canonical);
    assert!(pattern.matches(pattern.stream()), "the root topic reaches everybody");
}

fn matches_as_the_rules_say(pattern: &str, topic: &str) {
    let (Ok(wanted), Ok(canonical)) = (Pattern::parse(pattern), canonical_topic(topic)) else { return };
    let is_topic = !canonical.split(':').any(|part| part == "*");
    if !is_topic || wanted.stream() != canonical.split(':').next().unwrap_or_default() {
        return;
    }
    let expected = reference(&decoded(pattern), &decoded(topic));
    assert_eq!(wanted.matches(&canonical), expected, "{pattern} {topic}");
    let mut interest = Interest::default();
    interest.add(&wanted);
    assert_eq!((interest.reaches(&canonical), interest.reaching(&canonical)), (expected, u64::from(expected)));
    interest.remove(&wanted);
    assert!(!interest.reaches(&canonical));
}

fn reference(pattern: &[Part], topic: &[Part]) -> bool {
    let fits = |(wanted, part): (&Part, &Part)| *wanted == Part::Any || wanted == part;
    topic.len() == 1 || pattern.len() == 1 || pattern.len() == topic.len() && pattern.iter().zip(topic).all(fits)
}

/// A part of a topic as it is meant.
#[derive(Debug, PartialEq)]
enum Part {
    Any,
    Bytes(Vec<u8>),
}

fn decoded(spelled: &str) -> Vec<Part> {
    let part = |part: &str| if part == "*" { Part::Any } else { Part::Bytes(percent_decoded(part)) };
    spelled.split(':').map(part).collect()
}

fn percent_decoded(part: &str) -> Vec<u8> {
    let mut pieces = part.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("it was read as a topic"));
        bytes.extend(&piece.as_bytes()[2..]);
    }
    bytes
}

/// Whatever values a client gives, they stand for themselves: none becomes a wildcard or two parts.
fn names_proper_topics(template: &str, values: &[&str]) {
    let Ok(template) = Template::parse(template) else { return };
    let values: Vec<String> =
        values.iter().filter(|value| !value.is_empty()).map(|value| (*value).to_owned()).collect();
    let names: Vec<String> = template.names().map(str::to_owned).collect();
    let mut params = Params::new();
    if let Some(name) = names.first().filter(|_| !values.is_empty()) {
        params.insert(name.clone(), values.clone());
    }
    let Ok(topics) = template.topics("bars", &params) else { return };
    assert!((1..=MAX_TOPICS).contains(&topics.len()));
    for topic in topics {
        if let Ok(canonical) = canonical_topic(&topic) {
            assert_eq!(canonical, topic, "it has the one spelling already");
        }
        if let (Some(_), Ok(pattern)) = (params.first_key_value(), Pattern::parse(&topic)) {
            let parts = decoded(pattern.text());
            let is_meant = |value: &String| parts.contains(&Part::Bytes(value.as_bytes().to_vec()));
            assert!(values.iter().any(is_meant), "{topic} has none of {values:?}");
        }
    }
}
