//! How guards are written: reading their text, and showing them in full. The grammar is in `guard`.

use std::fmt;

use serde_json::{Number, Value};

use super::guard::{Comparison, Condition, Guard, Operand, Root};

/// Bytes of a guard: far more than anybody reads.
pub const MAX_BYTES: usize = 1_024;
/// How deep `not` and parentheses may nest: reading and asking go down with it, and so must end.
pub const MAX_DEPTH: usize = 32;

pub(super) fn read(text: &str) -> Result<Condition, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("a guard has at most {MAX_BYTES} bytes, this one has {}", text.len()));
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let condition = reader.any()?;
    match reader.is_at_end() {
        true => Ok(condition),
        false => Err(reader.expected("`and`, `or` or the end")),
    }
}

/// Where reading stands. All it goes down into is counted in `depth`.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// The longer ones first.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

impl<'a> Reader<'a> {
    fn any(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.one()?];
        while self.word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn one(&mut self) -> Result<Condition, String> {
        let is_not = self.word("not");
        if !is_not && !self.sign("(") {
            return self.test();
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("a guard nests at most {MAX_DEPTH} deep"));
        }
        let inner = if is_not { Condition::Not(Box::new(self.one()?)) } else { self.group()? };
        self.depth -= 1;
        Ok(inner)
    }

    /// What follows an opening parenthesis.
    fn group(&mut self) -> Result<Condition, String> {
        let inner = self.any()?;
        if self.sign(")") { Ok(inner) } else { Err(self.expected("`and`, `or` or `)`")) }
    }

    fn test(&mut self) -> Result<Condition, String> {
        let left = self.value()?;
        if self.word("in") {
            let list = if self.sign("[") { self.list()? } else { self.value()? };
            return match list {
                Operand::Value(ref value) if !value.is_array() => Err(self.expected("a list or a path before here")),
                list => Ok(Condition::OneOf(left, list)),
            };
        }
        let found = COMPARISONS.iter().find(|(sign, _)| self.sign(sign));
        match found {
            Some((_, comparison)) => Ok(Condition::Compare(left, *comparison, self.value()?)),
            None => Ok(Condition::IsTrue(left)),
        }
    }

    fn list(&mut self) -> Result<Operand, String> {
        let mut list = Vec::new();
        while !self.sign("]") {
            if !list.is_empty() && !self.sign(",") {
                return Err(self.expected("`,` or `]`"));
            }
            match self.value()? {
                Operand::Value(value) => list.push(value),
                Operand::Path(..) => return Err(self.expected("literals alone in a list before here")),
            }
        }
        Ok(Operand::Value(Value::Array(list)))
    }

    fn value(&mut self) -> Result<Operand, String> {
        self.skip_space();
        let rest = &self.text[self.at..];
        match rest.bytes().next() {
            Some(quote @ (b'\'' | b'"')) => self.quoted(char::from(quote)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => match self.name() {
                "true" => Ok(Operand::Value(true.into())),
                "false" => Ok(Operand::Value(false.into())),
                "null" => Ok(Operand::Value(Value::Null)),
                "data" => self.path(Root::Data),
                "ctx" => self.path(Root::Ctx),
                name => {
                    self.at -= name.len();
                    Err(self.expected("a path (`data.x`, `ctx.x`), a number, a text in quotes, true, false or null"))
                }
            },
        }
    }

    fn path(&mut self, root: Root) -> Result<Operand, String> {
        let mut names = Vec::new();
        while self.text[self.at..].starts_with('.') {
            self.at += 1;
            match self.name() {
                "" => return Err(self.expected("a name behind the dot")),
                name => names.push(name.to_owned()),
            }
        }
        Ok(Operand::Path(root, names))
    }

    fn number(&mut self) -> Result<Operand, String> {
        let rest = &self.text[self.at..];
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || ".+-".contains(letter);
        let written = &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())];
        let number: Number = serde_json::from_str(written).map_err(|_| self.expected("a number as in JSON"))?;
        self.at += written.len();
        // The nearest there is, also where serde_json is built to be content with one beside it.
        let nearest = written.parse().ok().filter(|_| number.is_f64()).and_then(Number::from_f64);
        Ok(Operand::Value(nearest.unwrap_or(number).into()))
    }

    fn quoted(&mut self, quote: char) -> Result<Operand, String> {
        let mut text = String::new();
        let mut letters = self.text[self.at..].char_indices().skip(1);
        while let Some((index, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some((_, same @ ('\\' | '\'' | '"'))) => text.push(same),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    _ => return Err(self.expected("one of \\\\ \\' \\\" \\n \\t in the text")),
                },
                end if end == quote => {
                    self.at += index + 1;
                    return Ok(Operand::Value(text.into()));
                }
                other => text.push(other),
            }
        }
        Err(self.expected("a text that ends with the quote it begins with"))
    }

    /// The name that begins here, which may be empty.
    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_part = |(index, letter): (usize, char)| {
            letter == '_' || letter.is_ascii_alphabetic() || (index > 0 && letter.is_ascii_digit())
        };
        let end = rest.char_indices().find(|part| !is_part(*part)).map_or(rest.len(), |(index, _)| index);
        self.at += end;
        &rest[..end]
    }

    /// Takes a whole word if it comes next.
    fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let before = self.at;
        let is_next = self.name() == word;
        if !is_next {
            self.at = before;
        }
        is_next
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.skip_space();
        let is_next = self.text[self.at..].starts_with(sign);
        self.at += if is_next { sign.len() } else { 0 };
        is_next
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn expected(&self, what: &str) -> String {
        format!("the guard is not understood at byte {}: {what} was expected", self.at)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(parts) => joined(parts, " or ", f),
            Self::All(parts) => joined(parts, " and ", f),
            Self::Not(part) => write!(f, "not {}", Grouped(part)),
            Self::Compare(left, comparison, right) => write!(f, "{left} {} {right}", comparison.sign()),
            Self::OneOf(value, list) => write!(f, "{value} in {list}"),
            Self::IsTrue(value) => value.fmt(f),
        }
    }
}

/// In parentheses where the parts inside would otherwise belong to somebody else.
struct Grouped<'a>(&'a Condition);

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::Any(_) | Condition::All(_) => write!(f, "({})", self.0),
            other => other.fmt(f),
        }
    }
}

fn joined(parts: &[Condition], word: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        write!(f, "{}{}", if index > 0 { word } else { "" }, Grouped(part))?;
    }
    Ok(())
}

impl Comparison {
    fn sign(self) -> &'static str {
        COMPARISONS.iter().find(|(_, comparison)| *comparison == self).map_or("", |(sign, _)| sign)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(root, names) => {
                f.write_str(if *root == Root::Data { "data" } else { "ctx" })?;
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            Self::Value(value) => write_value(value, f),
        }
    }
}

fn write_value(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::String(text) => {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
            write!(f, "\"{text}\"")
        }
        Value::Array(list) => {
            f.write_str("[")?;
            for (index, one) in list.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                write_value(one, f)?;
            }
            f.write_str("]")
        }
        other => write!(f, "{other}"),
    }
}
