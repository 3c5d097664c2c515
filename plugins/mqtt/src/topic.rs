//! The topic that a message is published at: a template with `{field}`, whose values can make neither levels nor wildcards.
use std::collections::BTreeMap;

/// The longest template.
const MAX_TEMPLATE_BYTES: usize = 1_000;
/// The longest topic (MQTT 5.0, 4.7.3).
pub const MAX_TOPIC_BYTES: usize = 65_535;
/// What stands for a field that the message does not have, or that is empty.
const ABSENT: &str = "-";

/// A topic with places for fields.
#[derive(Clone, Debug)]
pub struct TopicTemplate(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Field(String),
}

impl TopicTemplate {
    pub fn parse(template: &str) -> Result<Self, String> {
        if template.is_empty() || template.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("a topic has from 1 to {MAX_TEMPLATE_BYTES} bytes"));
        }
        if template.starts_with('$') {
            return Err("topics that begin with `$` are the broker's own; begin with another letter".to_owned());
        }
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or("a `{` without `}`; write {field}")?;
            let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-');
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(format!("`{{{name}}}` is no field; a name has letters, digits, `_`, `-` and `.` only"));
            }
            pieces.push(literal(text)?);
            pieces.push(Piece::Field(name.to_owned()));
            rest = after;
        }
        pieces.push(literal(rest)?);
        Ok(TopicTemplate(pieces))
    }

    /// The topic for a message; `None` when it is longer than MQTT has topics.
    pub fn render(&self, fields: &BTreeMap<String, String>) -> Option<String> {
        let mut topic = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => topic.push_str(text),
                Piece::Field(name) => {
                    let value = fields.get(name).filter(|value| !value.is_empty()).map_or(ABSENT, String::as_str);
                    topic.extend(value.chars().map(plain));
                }
            }
        }
        if topic.starts_with('$') {
            topic.replace_range(..1, "_");
        }
        (topic.len() <= MAX_TOPIC_BYTES).then_some(topic)
    }
}

fn literal(text: &str) -> Result<Piece, String> {
    match text.chars().find(|letter| "+#}".contains(*letter) || letter.is_control()) {
        Some(letter) => Err(format!("a topic to publish at has no {letter:?}")),
        None => Ok(Piece::Text(text.to_owned())),
    }
}

/// A value is one level of a topic.
fn plain(letter: char) -> char {
    if "+#/".contains(letter) || letter.is_control() { '_' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicTemplate::parse(template).unwrap().render(&fields)
    }

    #[test]
    fn fields_fill_one_level_each() {
        let pairs = [("a", "7"), ("b", "x/+#\n\0é"), ("c", ""), ("d.e", "$")];
        assert_eq!(render("alerts/{a}/{b}", &pairs).unwrap(), "alerts/7/x_____é");
        assert_eq!(render("{c}/{gone}", &pairs).unwrap(), "-/-");
        assert_eq!(render("{d.e}SYS/{d.e}", &pairs).unwrap(), "_SYS/$", "only the broker begins with $");
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for bad in ["", "$SYS/x", "a/{", "a/{}", "a/{b c}", "a/+", "a/#", "a}b", "a\nb", "{a}}"] {
            assert!(TopicTemplate::parse(bad).is_err(), "{bad}");
        }
        assert!(TopicTemplate::parse(&"x".repeat(MAX_TEMPLATE_BYTES)).is_ok());
        assert!(TopicTemplate::parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
    }

    #[test]
    fn a_topic_has_a_longest_length() {
        let at_the_edge = "x".repeat(MAX_TOPIC_BYTES);
        assert_eq!(render("{a}", &[("a", &at_the_edge)]).map(|topic| topic.len()), Some(MAX_TOPIC_BYTES));
        assert_eq!(render("{a}x", &[("a", &at_the_edge)]), None);
    }
}
