//! The conditions of transitions: a small language that says yes or no about one event, without loops and without calls.
//!
//! ```text
//! guard   = all { "or" all }
//! all     = one { "and" one }
//! one     = "not" one | "(" guard ")" | test
//! test    = value [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value | "in" ( list | path ) ]
//! value   = path | number | text | "true" | "false" | "null"
//! list    = "[" [ literal { "," literal } ] "]"
//! path    = ( "data" | "ctx" ) { "." name }
//! name    = ( letter | "_" ) { letter | digit | "_" }
//! text    = "'" … "'" | '"' … '"', with \\ \' \" \n \t inside
//! ```
//!
//! A value alone holds when it is `true`. Numbers compare with numbers and texts with texts; anything else has no order.
//! A path that leads nowhere makes its test neither true nor false: `and`, `or` and `not` go on with that, and a guard
//! holds only if it is true in the end. So `not data.hot` does not hold for an event that says nothing of `hot`.
//!
//! This file and `guard_text` depend on nothing else of their crate, so that they can be fuzzed by themselves.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::guard_text;

/// A condition that was understood. It is shown in its full form, which reads back as itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard(pub(super) Condition);

/// What a guard is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The event's own data.
    pub data: &'a Value,
    /// The instance as it is before the event.
    pub ctx: &'a Value,
}

/// What a guard answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub holds: bool,
    /// A path led nowhere.
    pub missed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparison, Operand),
    OneOf(Operand, Operand),
    IsTrue(Operand),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// The names behind `data` or `ctx`.
    Path(Root, Vec<String>),
    /// A literal, or a list of them.
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Data,
    Ctx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Guard {
    /// The failure says what was expected, and at which byte.
    pub fn parse(text: &str) -> Result<Self, String> {
        guard_text::read(text).map(Self)
    }

    pub fn ask(&self, scope: &Scope<'_>) -> Answer {
        let mut misses = 0;
        let holds = self.0.ask(scope, &mut misses) == Some(true);
        Answer { holds, missed: misses > 0 }
    }
}

impl Condition {
    fn ask(&self, scope: &Scope<'_>, misses: &mut usize) -> Option<bool> {
        match self {
            Self::Any(parts) => any_of(parts.iter().map(|part| part.ask(scope, misses))),
            Self::All(parts) => {
                any_of(parts.iter().map(|part| part.ask(scope, misses).map(|answer| !answer))).map(|answer| !answer)
            }
            Self::Not(part) => part.ask(scope, misses).map(|answer| !answer),
            Self::Compare(left, comparison, right) => {
                comparison.ask(left.find(scope, misses)?, right.find(scope, misses)?)
            }
            Self::OneOf(value, list) => {
                let (value, list) = (value.find(scope, misses)?, list.find(scope, misses)?);
                list.as_array().map(|list| list.iter().any(|one| is_equal(value, one)))
            }
            Self::IsTrue(value) => value.find(scope, misses)?.as_bool(),
        }
    }
}

/// True if one is, false if all are, else nobody knows. Every part is asked, so that each path that is missing is seen.
fn any_of(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(false);
    for answer in answers {
        match answer {
            Some(true) => known = answer,
            None if known == Some(false) => known = None,
            _ => {}
        }
    }
    known
}

impl Operand {
    fn find<'a>(&'a self, scope: &Scope<'a>, misses: &mut usize) -> Option<&'a Value> {
        let (root, names) = match self {
            Self::Value(value) => return Some(value),
            Self::Path(Root::Data, names) => (scope.data, names),
            Self::Path(Root::Ctx, names) => (scope.ctx, names),
        };
        let found = names.iter().try_fold(root, |value, name| value.get(name));
        *misses += usize::from(found.is_none());
        found
    }
}

impl Comparison {
    fn ask(self, left: &Value, right: &Value) -> Option<bool> {
        match self {
            Self::Equal => Some(is_equal(left, right)),
            Self::Unequal => Some(!is_equal(left, right)),
            Self::Less => order(left, right).map(Ordering::is_lt),
            Self::AtMost => order(left, right).map(Ordering::is_le),
            Self::More => order(left, right).map(Ordering::is_gt),
            Self::AtLeast => order(left, right).map(Ordering::is_ge),
        }
    }
}

/// 1 and 1.0 are equal, however they are written.
fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_of_numbers(left, right) == Some(Ordering::Equal),
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_of_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Whole numbers exactly, all others as the nearest of double precision.
fn order_of_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
