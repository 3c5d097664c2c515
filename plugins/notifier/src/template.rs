//! The words of a message: templates with `{field}`, read once and rendered within bounds.
use std::collections::BTreeMap;

use broadcastd_plugin_api::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest template; more is a document, and a message is read on a telephone.
const MAX_TEMPLATE_BYTES: usize = 4 * 1024;

/// The longest subject, in characters; mail folds beyond and brokers show less.
pub const MAX_SUBJECT: usize = 200;

/// The longest body, in characters: a few screens.
pub const MAX_BODY: usize = 8 * 1024;

/// The longest name of a field.
const MAX_NAME_BYTES: usize = 128;

/// Kinds with words of their own; each is looked up by name.
const MAX_KINDS: usize = 200;

/// What stands for a field that the event does not have.
const ABSENT: &str = "-";

/// For events that nobody found words for.
const ANY_SUBJECT: &str = "{kind} on {topic}{more}";
const ANY_BODY: &str = "{kind} on {topic} at {time}{more}\n{payload}\n";

/// Subject and body by kind of event; `*` is for all other kinds.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Texts(BTreeMap<String, Text>);

/// Subject and body of one kind of event. What is left out is as usual.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Text {
    /// One line with `{field}` for what the event says; `{{` is a brace.
    pub subject: Option<String>,
    /// The same, of several lines.
    pub body: Option<String>,
}

impl Texts {
    /// Every template can be read, or the place and the column where not.
    pub fn validate(&self) -> Result<(), Failure> {
        self.compile().map(drop)
    }

    /// All templates, ready to render.
    pub fn compile(&self) -> Result<Words, Failure> {
        if self.0.len() > MAX_KINDS {
            return Err(Failure::at("/text", format!("at most {MAX_KINDS} kinds have words of their own")));
        }
        let mut words = BTreeMap::new();
        for (kind, subject, body) in [
            (
                "violation",
                "{severity}: {rule_name} (rule {rule_id}) at characteristic {characteristic_id}{more}",
                "Characteristic {characteristic_id} broke rule {rule_id}, {rule_name}.\nSeverity: {severity}\n\
                 Time: {timestamp}\nViolation: {violation_id}, sample {sample_id}{more}\n",
            ),
            (
                "ack_update",
                "Acknowledged: violation {violation_id} by {user}{more}",
                "Violation {violation_id} was acknowledged by {user}: {reason}\nCharacteristic: {characteristic_id}\n\
                 Time: {timestamp}{more}\n",
            ),
            ("*", ANY_SUBJECT, ANY_BODY),
        ] {
            words.insert(kind.to_owned(), Pair { subject: usual(subject), body: usual(body) });
        }
        for (kind, text) in &self.0 {
            let pointer = format!("/text/{}", kind.replace('~', "~0").replace('/', "~1"));
            let pair = words
                .entry(kind.clone())
                .or_insert_with(|| Pair { subject: usual(ANY_SUBJECT), body: usual(ANY_BODY) });
            if let Some(subject) = &text.subject {
                pair.subject = parse(subject).map_err(|why| Failure::at(format!("{pointer}/subject"), why))?;
            }
            if let Some(body) = &text.body {
                pair.body = parse(body).map_err(|why| Failure::at(format!("{pointer}/body"), why))?;
            }
        }
        Ok(Words(words))
    }
}

/// All templates of a notifier.
#[derive(Debug)]
pub struct Words(BTreeMap<String, Pair>);

#[derive(Debug)]
struct Pair {
    subject: Template,
    body: Template,
}

type Template = Vec<Piece>;

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(String),
}

impl Words {
    /// Subject and body for an event.
    pub fn render(&self, kind: &str, fields: &BTreeMap<String, String>) -> (String, String) {
        let pair = self.0.get(kind).or_else(|| self.0.get("*"));
        let Some(Pair { subject, body }) = pair else { return (String::new(), String::new()) };
        let one_line = |letter: char| if letter.is_control() { ' ' } else { letter };
        let lines = |letter: char| if letter.is_control() && letter != '\n' && letter != '\t' { ' ' } else { letter };
        let subject = render(subject, fields).map(one_line).take(MAX_SUBJECT).collect();
        (subject, render(body, fields).map(lines).take(MAX_BODY).collect())
    }
}

fn render<'a>(template: &'a Template, fields: &'a BTreeMap<String, String>) -> impl Iterator<Item = char> + 'a {
    template.iter().flat_map(move |piece| match piece {
        Piece::Text(text) => text.chars(),
        Piece::Field(name) => fields.get(name).map_or(ABSENT, String::as_str).chars(),
    })
}

fn usual(template: &str) -> Template {
    parse(template).expect("the usual templates are right, as a test shows")
}

fn parse(template: &str) -> Result<Template, String> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(format!("a template has at most {MAX_TEMPLATE_BYTES} bytes"));
    }
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut letters = template.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let column = template[..at].chars().count() + 1;
        match letter {
            '{' | '}' if letters.next_if(|(_, next)| *next == letter).is_some() => text.push(letter),
            '}' => return Err(format!("a `}}` without `{{` at character {column}; write `}}}}` for a brace")),
            '{' => {
                let end = template[at..].find('}').map(|length| at + length);
                let end =
                    end.ok_or_else(|| format!("a `{{` without `}}` at character {column}; write `{{{{` for a brace"))?;
                let name = &template[at + 1..end];
                check_name(name).map_err(|why| format!("`{{{name}}}` at character {column} is no field: {why}"))?;
                while letters.next_if(|(at, _)| *at <= end).is_some() {}
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Field(name.to_owned()));
            }
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_fine = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-');
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err("a name has from 1 to 128 bytes");
    }
    if name.chars().all(is_fine) { Ok(()) } else { Err("a name has letters, digits, `_`, `-` and `.` only") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(json: serde_json::Value) -> Texts {
        serde_json::from_value(json).unwrap()
    }

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn fields_are_filled_in_and_absent_ones_show() {
        let words = texts(serde_json::json!({ "a": { "subject": "{x} {{{y}}} {n.m}" } })).compile().unwrap();
        let (subject, body) = words.render("a", &fields(&[("x", "1\r\nBcc: all"), ("n.m", "é"), ("kind", "a")]));
        assert_eq!(subject, "1  Bcc: all {-} é");
        assert!(body.starts_with("a on - at -"), "what is left out is as usual: {body}");
    }

    #[test]
    fn a_kind_without_words_has_those_of_the_star() {
        let words = texts(serde_json::json!({ "*": { "subject": "any {kind}" } })).compile().unwrap();
        assert_eq!(words.render("b", &fields(&[("kind", "b")])).0, "any b");
        assert!(words.render("violation", &fields(&[("severity", "CRITICAL")])).0.starts_with("CRITICAL: "));
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        for (template, why) in [
            ("é {a", "a `{` without `}` at character 3; write `{{` for a brace"),
            ("a } b", "a `}` without `{` at character 3; write `}}` for a brace"),
            ("{}", "`{}` at character 1 is no field: a name has from 1 to 128 bytes"),
            ("{a b}", "`{a b}` at character 1 is no field: a name has letters, digits, `_`, `-` and `.` only"),
        ] {
            let refused = texts(serde_json::json!({ "a/b": { "body": template } })).validate().unwrap_err();
            assert_eq!((refused.pointer(), refused.message()), ("/text/a~1b/body", why));
        }
        assert!(parse(&"x".repeat(MAX_TEMPLATE_BYTES)).is_ok());
        assert!(parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
        assert!(parse(&format!("{{{}}}", "x".repeat(MAX_NAME_BYTES))).is_ok());
        assert!(parse(&format!("{{{}}}", "x".repeat(MAX_NAME_BYTES + 1))).is_err());
    }

    #[test]
    fn kinds_with_words_are_bounded() {
        let kinds = |count: usize| Texts((0..count).map(|kind| (kind.to_string(), Text::default())).collect());
        assert!(kinds(MAX_KINDS).validate().is_ok());
        assert_eq!(kinds(MAX_KINDS + 1).validate().unwrap_err().pointer(), "/text");
    }

    #[test]
    fn subject_and_body_are_bounded() {
        let words = texts(serde_json::json!({ "a": { "subject": "{x}", "body": "{x}" } })).compile().unwrap();
        let (subject, body) = words.render("a", &fields(&[("x", &"é".repeat(MAX_BODY + 1))]));
        assert_eq!((subject.chars().count(), body.chars().count()), (MAX_SUBJECT, MAX_BODY));
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_refused(template in "[{}a.é ]{0,12}") {
            if let Ok(pieces) = parse(&template) {
                let doubled = |text: &str| text.replace('{', "{{").replace('}', "}}");
                let back: String = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => doubled(text),
                    Piece::Field(name) => format!("{{{name}}}"),
                }).collect();
                prop_assert_eq!(back, template);
            }
        }
    }
}
