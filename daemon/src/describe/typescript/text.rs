//! Pieces of TypeScript: names, literals, comments, and types with the brackets that they need.

use std::collections::BTreeSet;

use serde_json::Value;

/// The longest line that a type is written on when it could be broken.
const MAX_LINE: usize = 100;

/// What a union that is broken into lines begins each of its members with.
const BREAK: &str = "\n| ";

/// A type's text, and how tightly it holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    text: String,
    bond: Bond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    Union,
    Intersection,
    Atom,
    /// Anything at all.
    Unknown,
}

impl Type {
    pub fn atom(text: impl Into<String>) -> Self {
        Self { text: text.into(), bond: Bond::Atom }
    }

    pub fn unknown() -> Self {
        Self { text: "unknown".to_owned(), bond: Bond::Unknown }
    }

    /// A schema that has no type here, and why.
    pub fn not_understood(why: &str) -> Self {
        Self { text: format!("unknown /* {} */", comment(why)), bond: Bond::Unknown }
    }

    pub fn array(self) -> Self {
        Self::atom(format!("{}[]", self.held(Bond::Atom)))
    }

    /// As an element of a tuple that may be missing.
    pub fn optional(self) -> String {
        format!("{}?", self.held(Bond::Atom))
    }

    /// With its own comment before it, as a member of a union.
    pub fn with_doc(self, description: &str) -> Self {
        let doc = doc(description);
        if doc.is_empty() {
            return self;
        }
        let text = if self.text.starts_with(BREAK) { self.held(Bond::Atom) } else { self.text };
        let gap = if doc.lines().count() > 1 || doc.len() + text.len() > MAX_LINE { "\n" } else { " " };
        Self { text: format!("{}{gap}{text}", doc.trim_end()), bond: self.bond }
    }

    /// Any of them; one that may be anything makes the others say nothing.
    pub fn union(types: impl IntoIterator<Item = Type>) -> Self {
        let mut seen = BTreeSet::new();
        let mut types: Vec<Type> = types.into_iter().filter(|one| seen.insert(one.text.clone())).collect();
        if let Some(any) = types.iter().position(Type::is_unknown) {
            return types.swap_remove(any);
        }
        types.retain(|one| one.text != "never");
        match types.len() {
            0 => Self::atom("never"),
            1 => types.remove(0),
            _ => Self { text: joined(&types, '|', Bond::Union), bond: Bond::Union },
        }
    }

    /// All of them at once.
    pub fn intersection(types: impl IntoIterator<Item = Type>) -> Self {
        let mut seen = BTreeSet::new();
        let mut types: Vec<Type> = types.into_iter().filter(|one| seen.insert(one.text.clone())).collect();
        if types.iter().any(|one| !one.is_unknown()) {
            types.retain(|one| !one.is_unknown());
        }
        types.truncate(if types.iter().all(Type::is_unknown) { 1 } else { types.len() });
        match types.len() {
            0 => Self::unknown(),
            1 => types.remove(0),
            _ => Self { text: joined(&types, '&', Bond::Intersection), bond: Bond::Intersection },
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// As it stands behind a colon or an equals sign, with what separates them.
    pub fn behind(&self) -> String {
        if self.text.starts_with('\n') { indented(&self.text) } else { format!(" {}", self.text) }
    }

    fn is_unknown(&self) -> bool {
        self.bond == Bond::Unknown
    }

    /// In brackets, if it would fall apart where something as tight as `bond` is needed.
    fn held(&self, bond: Bond) -> String {
        if self.bond >= bond && !self.text.starts_with("/**") { self.text.clone() } else { format!("({})", self.text) }
    }
}

fn joined(types: &[Type], sign: char, bond: Bond) -> String {
    let parts: Vec<String> =
        types.iter().map(|one| if bond == Bond::Union { one.text.clone() } else { one.held(bond) }).collect();
    let line = parts.join(&format!(" {sign} "));
    if line.len() <= MAX_LINE && !line.contains('\n') && !line.contains("/**") {
        return line;
    }
    if bond == Bond::Intersection {
        return line; // its objects are broken already
    }
    let broken = |part: &String| match part.strip_prefix(BREAK) {
        Some(rest) => format!("{BREAK}{rest}"), // a union in the union
        None => format!("{BREAK}{}", indented(part)),
    };
    parts.iter().map(broken).collect()
}

/// The text with two more spaces before every line but the first.
pub fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// A name of a type: the words of all parts with capital letters, and nothing but what every tool takes in a name.
pub fn pascal(parts: &[&str]) -> String {
    let words = parts.iter().flat_map(|part| part.split(|letter: char| !letter.is_ascii_alphanumeric()));
    let name: String = words
        .filter_map(|word| {
            let first = word.chars().next()?;
            Some(format!("{}{}", first.to_ascii_uppercase(), &word[1..]))
        })
        .collect();
    match name.chars().next() {
        None => "Unnamed".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name,
    }
}

/// A property's name, in quotes where it is no identifier. Reserved words need none.
pub fn key(name: &str) -> String {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || letter == '$';
    let is_identifier =
        name.starts_with(is_letter) && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit());
    if is_identifier { name.to_owned() } else { string(name) }
}

pub fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// The type of exactly this value.
pub fn literal(value: &Value) -> Type {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| literal(item).text).collect();
            Type::atom(format!("[{}]", items.join(", ")))
        }
        Value::Object(fields) if fields.is_empty() => Type::atom("{ [key: string]: never }"),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}: {}", key(name), literal(value).text)).collect();
            Type::atom(format!("{{ {} }}", fields.join("; ")))
        }
        scalar => Type::atom(scalar.to_string()),
    }
}

/// A comment that editors show, with a line break behind it; nothing for no text.
pub fn doc(text: &str) -> String {
    let text = comment(text.trim());
    if text.is_empty() {
        return String::new();
    }
    if !text.contains('\n') {
        return format!("/** {text} */\n");
    }
    let lines: String = text.lines().map(|line| format!(" * {line}").trim_end().to_owned() + "\n").collect();
    format!("/**\n{lines} */\n")
}

/// Text that does not end the comment it stands in, nor the line by a sign that only JavaScript knows.
pub fn comment(text: &str) -> String {
    text.replace("*/", "*\\/").replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}'], "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_made_of_words_and_never_empty() {
        let rows = [
            (&["bars", "bar"][..], "BarsBar"),
            (&["state_machines", "step-changed.2"], "StateMachinesStepChanged2"),
            (&["2d", "x"], "_2dX"),
            (&["", "…"], "Unnamed"),
            (&["a", "élan"], "ALan"),
        ];
        for (parts, name) in rows {
            assert_eq!(pascal(parts), name);
        }
    }

    #[test]
    fn keys_are_quoted_where_they_must_be() {
        for plain in ["a", "_a1", "$x", "class", "default"] {
            assert_eq!(key(plain), plain);
        }
        assert_eq!(key("a-b"), "\"a-b\"");
        assert_eq!((key(""), key("1a"), key("é\"\n")), ("\"\"".into(), "\"1a\"".into(), "\"é\\\"\\n\"".into()));
    }

    #[test]
    fn brackets_stand_where_a_type_would_fall_apart() {
        let (a, b, c) = (Type::atom("A"), Type::atom("B"), Type::atom("C"));
        let either = Type::union([a.clone(), b.clone()]);
        assert_eq!(either.clone().array().text(), "(A | B)[]");
        assert_eq!(either.clone().optional(), "(A | B)?");
        assert_eq!(Type::intersection([either.clone(), c.clone()]).text(), "(A | B) & C");
        let both = Type::intersection([a.clone(), b]);
        assert_eq!(Type::union([both.clone(), c]).text(), "A & B | C");
        assert_eq!(both.array().text(), "(A & B)[]");
        assert_eq!(Type::union([a.clone(), Type::atom("never"), a.clone()]).text(), "A");
        assert_eq!(Type::union([a.clone(), Type::unknown()]).text(), "unknown");
        assert_eq!(Type::intersection([a, Type::not_understood("x")]).text(), "A");
        assert_eq!(Type::intersection([Type::not_understood("a */ b")]).text(), "unknown /* a *\\/ b */");
        assert_eq!(Type::union([]).text(), "never");
        let some = Type::not_understood("x").array();
        assert_eq!(Type::union([some, Type::atom("A")]).text(), "unknown /* x */[] | A", "a list is not anything");
        let [long, longer] = ["a", "b"].map(|letter| Type::atom(letter.repeat(60)));
        let broken = Type::union([long, longer]);
        let three = Type::union([broken.clone(), Type::atom("C")]);
        assert_eq!(three.text(), format!("{}\n| C", broken.text()), "a broken union in another");
        let told = Type::union([broken.clone().with_doc("x"), Type::atom("C")]);
        assert_eq!(told.text().matches(['(', ')']).count(), 2, "a broken union behind its comment: {}", told.text());
        assert_eq!(three.behind().matches("\n  | ").count(), 3);
    }

    #[test]
    fn literals_and_comments_cannot_break_out() {
        assert_eq!(literal(&json!({"a-b": [1, null, "x\"y"]})).text(), "{ \"a-b\": [1, null, \"x\\\"y\"] }");
        assert_eq!(doc(" one "), "/** one */\n");
        assert_eq!(doc("one */\n\ntwo\u{2028}three"), "/**\n * one *\\/\n *\n * two\n * three\n */\n");
        assert_eq!(doc(""), "");
    }
}
