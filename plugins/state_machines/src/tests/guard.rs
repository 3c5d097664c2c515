//! The language of guards.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::guard::{Guard, Scope};
use crate::guard_text::{MAX_BYTES, MAX_DEPTH};

fn ask(guard: &str) -> (bool, bool) {
    let data = json!({"quantity": 2, "price": 1.5, "side": "BUY", "hot": true, "tags": ["a", 1], "none": null, "deep": {"er": 7}});
    let ctx = json!({"state": "S1", "version": 3, "big": 9_007_199_254_740_993_u64});
    let answer = Guard::parse(guard).unwrap().ask(&Scope { data: &data, ctx: &ctx });
    (answer.holds, answer.missed)
}

#[test]
fn what_holds() {
    for guard in [
        "data.quantity > 0",
        "data.quantity == 2.0 and data.quantity >= 2 and data.quantity <= 2 and data.quantity != 3",
        "data.price<2",
        "data.side in ['SELL', \"BUY\"]",
        "1 in data.tags",
        "'a' in data.tags",
        "data.hot",
        "not not data.hot",
        "data.none == null",
        "data.deep.er == 7",
        "ctx.state == 'S1'",
        "ctx.big == 9007199254740993 and ctx.big != 9007199254740992",
        "data.side < 'C'",
        "false or data.hot",
        "true",
        "not (data.quantity > 5 or data.side == 'SELL')",
        "data.quantity > 5 and data.hot or data.hot",
        "data.side == 'BU\\\"Y' or data.side == 'BUY'",
    ] {
        assert_eq!(ask(guard), (true, false), "{guard}");
    }
}

#[test]
fn what_does_not_hold() {
    for guard in [
        "data.quantity > 2",
        "data.side == 'buy'",
        "data.side > 1",
        "not (data.side > 1)",
        "data.side",
        "not data.side",
        "data.quantity == '2'",
        "data.side in []",
        "data.side in data.price",
        "data.hot and false",
        "data.tags == 1",
    ] {
        assert_eq!(ask(guard), (false, false), "{guard}");
    }
}

#[test]
fn a_path_that_leads_nowhere_is_neither_true_nor_false() {
    for (guard, holds) in [
        ("data.missing > 0", false),
        ("not data.missing > 0", false),
        ("not (data.missing)", false),
        ("data.missing == null", false),
        ("data.hot or data.missing", true),
        ("data.missing or data.hot", true),
        ("data.hot and data.missing", false),
        ("not (data.missing and false)", true),
        ("data.side.length > 1", false),
        ("data.missing in [1]", false),
        ("1 in ctx.missing", false),
    ] {
        assert_eq!(ask(guard), (holds, true), "{guard}");
    }
}

#[test]
fn what_is_not_understood_is_pointed_at() {
    for (guard, expected) in [
        ("", "at byte 0"),
        ("data.x >", "at byte 8"),
        ("data.", "byte 5: a name behind the dot"),
        ("quantity > 0", "at byte 0: a path"),
        ("data.x = 1", "at byte 7: `and`, `or` or the end"),
        ("data.x == 01", "a number as in JSON"),
        ("data.x == 1and", "a number as in JSON"),
        ("data.x == 'a", "ends with the quote"),
        ("data.x == 'a\\x'", "one of"),
        ("(data.x", "`)`"),
        ("data.x in 3", "a list or a path"),
        ("data.x in [data.y]", "literals alone"),
        ("data.x in [1 2]", "`,` or `]`"),
        ("data.x and", "a path"),
        ("data.x == 1e999", "a number"),
        ("ünder", "at byte 0"),
    ] {
        let error = Guard::parse(guard).unwrap_err();
        assert!(error.contains(expected), "{guard}: {error}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let text = |bytes: usize| format!("data.{} == 1", "x".repeat(bytes - 10));
    assert!(Guard::parse(&text(MAX_BYTES)).is_ok());
    assert!(Guard::parse(&text(MAX_BYTES + 1)).unwrap_err().contains("at most 1024 bytes"));
    let deep = |depth: usize| format!("{}data.x{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Guard::parse(&deep(MAX_DEPTH)).is_ok());
    assert!(Guard::parse(&deep(MAX_DEPTH + 1)).unwrap_err().contains("at most 32 deep"));
    let nots = |depth: usize| format!("{}data.x", "not ".repeat(depth));
    assert!(Guard::parse(&nots(MAX_DEPTH)).is_ok());
    assert!(Guard::parse(&nots(MAX_DEPTH + 1)).unwrap_err().contains("at most 32 deep"));
    let beside = vec!["(data.x)"; 70].join(" and ");
    assert!(Guard::parse(&beside).is_ok(), "what is closed does not count");
}

#[test]
fn a_guard_is_shown_as_it_is_understood() {
    for (guard, shown) in [
        ("data.a>1   and(data.b or not data.c)", "data.a > 1 and (data.b or not data.c)"),
        ("data.a in ['x',\"y\\\"z\",null]", "data.a in [\"x\", \"y\\\"z\", null]"),
        ("data.a or data.b and data.c", "data.a or (data.b and data.c)"),
        ("((data.a))", "data.a"),
    ] {
        assert_eq!(Guard::parse(guard).unwrap().to_string(), shown);
    }
}

fn guards() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("data.a".to_owned()),
        Just("ctx.b.c".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(|n| json!(n).to_string()),
        "[a-z '\"\\\\\n]{0,6}".prop_map(|text| json!(text).to_string()),
        Just("true".to_owned()),
        Just("null".to_owned()),
    ];
    let comparison = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let test = prop_oneof![
        (value.clone(), comparison, value.clone()).prop_map(|(left, sign, right)| format!("{left}{sign} {right}")),
        value.clone(),
        Just("data.a in [1, 'x', null]".to_owned()),
    ];
    test.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("not {one}")),
            inner.clone().prop_map(|one| format!("({one})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} and {right}")),
            (inner.clone(), inner).prop_map(|(left, right)| format!("{left} or {right}")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_shown_reads_back_and_answers_the_same(text in guards(), a in -2_i64..3, b in prop::option::of(0_i64..2)) {
        prop_assume!(text.len() < MAX_BYTES / 2);
        let guard = Guard::parse(&text).unwrap();
        let again = Guard::parse(&guard.to_string()).unwrap();
        prop_assert_eq!(&again, &guard);
        let data = json!({"a": a});
        let ctx = b.map_or(Value::Null, |c| json!({"b": {"c": c}}));
        let scope = Scope { data: &data, ctx: &ctx };
        prop_assert_eq!(again.ask(&scope), guard.ask(&scope));
    }

    #[test]
    fn no_text_is_a_panic(text in "(data|ctx|not|and|or|in|[a-z.=<>!()\\[\\],'\"\\\\0-9 é-]){0,80}") {
        if let Ok(guard) = Guard::parse(&text) {
            guard.ask(&Scope { data: &json!({"a": 1}), ctx: &Value::Null });
        }
    }
}
