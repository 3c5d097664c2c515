//! Whether a value fits a schema, and if not, where and why. The text names the rule and never the value, which may be
//! somebody's own.

use serde_json::{Map, Number, Value};

use super::{Compiled, Node};
use crate::event::timestamp;
use crate::json_schema::type_of;

/// Choices that a rule lists; a longer list is cut.
const MAX_CHOICES: usize = 20;

/// What is wrong with a value: the place in it, as a JSON pointer, and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub pointer: String,
    pub rule: String,
    /// The value is another than the only ones possible: of alternatives, this one was hardly meant.
    is_another: bool,
}

impl Misfit {
    /// Something is wrong with the value as a whole.
    pub fn whole(rule: String) -> Self {
        Self { pointer: String::new(), rule, is_another: false }
    }
}

/// The way from the top to a value, written out only when something is wrong there.
#[derive(Clone, Copy)]
struct At<'a> {
    above: Option<&'a At<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Top,
    Name(&'a str),
    Index(usize),
}

impl Compiled {
    /// The first thing that is wrong.
    pub fn check(&self, value: &Value) -> Result<(), Misfit> {
        self.node(self.root, value, &At { above: None, part: Part::Top })
    }

    fn node(&self, index: usize, value: &Value, at: &At<'_>) -> Result<(), Misfit> {
        let node = &self.nodes[index];
        node.check_kind(value, at)?;
        node.all.iter().try_for_each(|one| self.node(*one, value, at))?;
        if !node.any.is_empty() {
            self.alternatives(&node.any, value, at)?;
        }
        if !node.one.is_empty() && self.alternatives(&node.one, value, at)? > 1 {
            return Err(at.misfit("fits more than one of the alternatives, and must fit exactly one"));
        }
        if node.not.is_some_and(|not| self.node(not, value, at).is_ok()) {
            return Err(at.misfit("is what it must not be"));
        }
        match value {
            Value::Object(object) => self.object(node, object, at),
            Value::Array(items) => self.array(node, items, at),
            Value::String(text) => node.check_text(text, at),
            Value::Number(number) => node.check_number(number, at),
            Value::Bool(_) | Value::Null => Ok(()),
        }
    }

    /// How many of the alternatives fit; when none does, what is wrong by the one that was probably meant: where no choice
    /// was missed, and the mistake lies deepest.
    fn alternatives(&self, branches: &[usize], value: &Value, at: &At<'_>) -> Result<usize, Misfit> {
        let misfits: Vec<Misfit> = branches.iter().filter_map(|branch| self.node(*branch, value, at).err()).collect();
        if misfits.len() < branches.len() {
            return Ok(branches.len() - misfits.len());
        }
        let depth = |misfit: &Misfit| misfit.pointer.matches('/').count();
        let meant = misfits.iter().filter(|misfit| !misfit.is_another).max_by_key(|misfit| depth(misfit));
        Err(match (meant, misfits.as_slice()) {
            (Some(misfit), _) | (None, [misfit]) => misfit.clone(),
            (None, [first, others @ ..]) if others.iter().all(|other| other.pointer == first.pointer) => {
                Misfit { rule: "is none of the values that are possible here".to_owned(), ..first.clone() }
            }
            _ => at.misfit("fits none of the alternatives"),
        })
    }

    fn object(&self, node: &Node, object: &Map<String, Value>, at: &At<'_>) -> Result<(), Misfit> {
        if let Some(missing) = node.required.iter().find(|name| !object.contains_key(*name)) {
            return Err(at.misfit(&format!("\"{missing}\" is missing")));
        }
        if let Some(rule) = node.members.broken_by(object.len() as f64) {
            return Err(at.misfit(&format!("must have {rule} members")));
        }
        for (name, member) in object {
            let below = At { above: Some(at), part: Part::Name(name) };
            match (node.properties.get(name), node.additional) {
                (Some(known), _) => self.node(*known, member, &below)?,
                (None, Some(other)) if self.nodes[other].is_never => {
                    let known: Vec<&str> = node.properties.keys().take(MAX_CHOICES).map(String::as_str).collect();
                    return Err(below.misfit(&format!("no such member is known; there are: {}", known.join(", "))));
                }
                (None, Some(other)) => self.node(other, member, &below)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn array(&self, node: &Node, items: &[Value], at: &At<'_>) -> Result<(), Misfit> {
        if let Some(rule) = node.entries.broken_by(items.len() as f64) {
            return Err(at.misfit(&format!("must have {rule} entries")));
        }
        let Some(each) = node.items else { return Ok(()) };
        let check = |(index, item)| self.node(each, item, &At { above: Some(at), part: Part::Index(index) });
        items.iter().enumerate().try_for_each(check)
    }
}

impl Node {
    fn check_kind(&self, value: &Value, at: &At<'_>) -> Result<(), Misfit> {
        if self.is_never {
            return Err(at.misfit("nothing may be here"));
        }
        if let Some(types) = self.types.as_ref().filter(|types| !types.iter().any(|name| is_of_type(value, name))) {
            let is = if is_of_type(value, "integer") { "integer" } else { type_of(value) };
            return Err(at.misfit(&format!("must be of type {}, not {is}", types.join(" or "))));
        }
        if let Some(known) = self.constants.as_ref().filter(|known| !known.iter().any(|one| is_same(one, value))) {
            let words: Vec<String> = known.iter().take(MAX_CHOICES).map(Value::to_string).collect();
            let cut = if known.len() > MAX_CHOICES { " …" } else { "" };
            let misfit = at.misfit(&format!("must be {}{cut}", words.join(" or ")));
            return Err(Misfit { is_another: true, ..misfit });
        }
        Ok(())
    }

    fn check_text(&self, text: &str, at: &At<'_>) -> Result<(), Misfit> {
        if let Some(rule) = self.characters.broken_by(text.chars().count() as f64) {
            return Err(at.misfit(&format!("must have {rule} characters")));
        }
        if self.is_time && timestamp::parse(text).is_none() {
            return Err(at.misfit("must be a time by RFC 3339, like 2025-12-29T15:00:00.000Z"));
        }
        match &self.pattern {
            Some(pattern) if !pattern.is_match(text) => Err(at.misfit(&format!("must match {}", pattern.as_str()))),
            _ => Ok(()),
        }
    }

    fn check_number(&self, number: &Number, at: &At<'_>) -> Result<(), Misfit> {
        let broken = number.as_f64().and_then(|number| self.amount.broken_by(number));
        broken.map_or(Ok(()), |rule| Err(at.misfit(&format!("must be {rule}"))))
    }
}

impl At<'_> {
    fn misfit(&self, rule: &str) -> Misfit {
        let mut pointer = String::new();
        self.write(&mut pointer);
        Misfit { pointer, rule: rule.to_owned(), is_another: false }
    }

    fn write(&self, out: &mut String) {
        if let Some(above) = self.above {
            above.write(out);
        }
        match self.part {
            Part::Top => {}
            Part::Name(name) => {
                out.push('/');
                out.push_str(&super::escaped(name));
            }
            Part::Index(index) => out.push_str(&format!("/{index}")),
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match value {
        // A whole number is one however it is written: 1, 1.0 and 1e0.
        Value::Number(number) if name == "integer" => {
            !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        Value::Number(_) => name == "number",
        other => type_of(other) == name,
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && other.is_number() && one.as_f64() == other.as_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(schema: &Value, value: &Value) -> Result<(), (String, String)> {
        let compiled = Compiled::new(schema, "").unwrap();
        compiled.check(value).map_err(|misfit| (misfit.pointer, misfit.rule))
    }

    /// Each schema with a value that fits it and one that does not, with its place and rule.
    #[test]
    fn every_keyword_lets_pass_and_refuses() {
        let rows = [
            (json!({"type": "integer"}), json!(1.0), json!(1.5), "", "must be of type integer, not number"),
            (
                json!({"type": ["string", "null"]}),
                json!(null),
                json!(7),
                "",
                "must be of type string or null, not integer",
            ),
            (json!({"type": "number"}), json!(7), json!("7"), "", "must be of type number, not string"),
            (json!({"enum": ["a", 1]}), json!(1.0), json!("b"), "", "must be \"a\" or 1"),
            (json!({"const": {"a": 1}}), json!({"a": 1}), json!({}), "", "must be {\"a\":1}"),
            (json!({"required": ["a"]}), json!({"a": null}), json!({}), "", "\"a\" is missing"),
            (
                json!({"properties": {"a/~": {"minimum": 0}}}),
                json!({"a/~": 0}),
                json!({"a/~": -1}),
                "/a~1~0",
                "must be at least 0",
            ),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
                "/b",
                "no such member is known; there are: a",
            ),
            (
                json!({"additionalProperties": {"maximum": 1}}),
                json!({"x": 1}),
                json!({"x": 2}),
                "/x",
                "must be at most 1",
            ),
            (json!({"items": {"exclusiveMinimum": 0}}), json!([1, 2]), json!([1, 0]), "/1", "must be more than 0"),
            (json!({"exclusiveMaximum": 1}), json!(0.9), json!(1), "", "must be less than 1"),
            (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([]), "", "must have at least 1 entries"),
            (json!({"maxProperties": 1}), json!({"a": 1}), json!({"a": 1, "b": 2}), "", "must have at most 1 members"),
            (json!({"minLength": 2}), json!("éé"), json!("é"), "", "must have at least 2 characters"),
            (json!({"pattern": "^[a-z]+$"}), json!("ab"), json!("A"), "", "must match ^[a-z]+$"),
            (
                json!({"format": "date-time"}),
                json!("2025-12-29T15:00:00Z"),
                json!("today"),
                "",
                "must be a time by RFC 3339, like 2025-12-29T15:00:00.000Z",
            ),
            (json!({"not": {"type": "null"}}), json!(1), json!(null), "", "is what it must not be"),
            (json!({"properties": {"a": false}}), json!({}), json!({"a": 1}), "/a", "nothing may be here"),
            (
                json!({"oneOf": [{"minimum": 1}, {"maximum": 1}]}),
                json!(2),
                json!(1),
                "",
                "fits more than one of the alternatives, and must fit exactly one",
            ),
            (
                json!({"anyOf": [{"const": 1}, {"const": 2}]}),
                json!(2),
                json!(3),
                "",
                "is none of the values that are possible here",
            ),
            (json!({"allOf": [{"minimum": 1}, {"maximum": 1}]}), json!(1), json!(0), "", "must be at least 1"),
        ];
        for (schema, good, bad, pointer, rule) in rows {
            assert_eq!(judge(&schema, &good), Ok(()), "{schema} {good}");
            assert_eq!(judge(&schema, &bad), Err((pointer.to_owned(), rule.to_owned())), "{schema} {bad}");
        }
    }

    #[test]
    fn a_mistake_is_told_by_the_alternative_that_was_meant() {
        let kind = |name: &str, data: Value| json!({"properties": {"type": {"const": name}, "data": data}});
        let schema = json!({"oneOf": [
            kind("a", json!({"required": ["x"]})),
            kind("b", json!({"required": ["y"], "properties": {"y": {"type": "string"}}})),
        ]});
        assert_eq!(judge(&schema, &json!({"type": "b", "data": {"y": "1"}})), Ok(()));
        let wrong = judge(&schema, &json!({"type": "b", "data": {"y": 1}}));
        assert_eq!(wrong, Err(("/data/y".into(), "must be of type string, not integer".into())));
        let unknown = judge(&schema, &json!({"type": "c", "data": {"x": 1, "y": ""}}));
        assert_eq!(unknown, Err(("/type".into(), "is none of the values that are possible here".into())));
    }

    #[test]
    fn a_value_as_deep_as_can_be_read_is_judged() {
        let schema = json!({"properties": {"next": {"allOf": [{"anyOf": [{"$ref": "#"}]}]}}, "type": "object"});
        let deep = |inner: &str| format!("{}{inner}{}", "{\"next\":".repeat(126), "}".repeat(126));
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(judge(&schema, &read(&deep("{}"))), Ok(()));
        let (pointer, _) = judge(&schema, &read(&deep("7"))).unwrap_err();
        assert_eq!(pointer, "/next".repeat(126));
    }
}
