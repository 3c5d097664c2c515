//! Every form of schema, and the type that it becomes.

use serde_json::{Value, json};

use super::types::Types;

/// Everything that is declared for a schema, without what is the same for all.
fn declared(schema: &Value) -> String {
    let mut types = Types::new([]);
    types.declare("s", "k", schema);
    types.into_text().trim_end().to_owned()
}

/// The type of a property of this schema.
fn of(schema: Value) -> String {
    let text = declared(&json!({"properties": {"x": schema}, "required": ["x"]}));
    text.strip_prefix("export interface SK {\n  x: ").unwrap().strip_suffix(";\n}").unwrap().to_owned()
}

#[test]
fn every_form_has_its_type() {
    let rows = [
        (json!(true), "unknown"),
        (json!(false), "never"),
        (json!({}), "unknown"),
        (json!({"type": "string", "format": "date", "pattern": "x"}), "string"),
        (json!({"type": "integer", "minimum": 0}), "number"),
        (json!({"type": ["string", "null"]}), "string | null"),
        (json!({"enum": ["a", 1, null, true]}), "\"a\" | 1 | null | true"),
        (json!({"type": "string", "const": "a"}), "\"a\""),
        (json!({"type": "array", "items": {"type": ["number", "null"]}}), "(number | null)[]"),
        (json!({"type": "array"}), "unknown[]"),
        (json!({"items": {"type": "string"}}), "string[]"),
        (
            json!({"prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2, "maxItems": 2}),
            "[string, number]",
        ),
        (
            json!({"prefixItems": [{"type": "string"}, {"type": ["number", "null"]}], "minItems": 1, "items": false}),
            "[string, (number | null)?]",
        ),
        (json!({"prefixItems": [{"type": "string"}], "items": {"type": "number"}}), "[string?, ...number[]]"),
        (json!({"items": [{"type": "string"}], "additionalItems": false, "minItems": 1}), "[string]"),
        (json!({"type": "object"}), "{ [key: string]: unknown }"),
        (json!({"additionalProperties": {"type": "number"}}), "{ [key: string]: number }"),
        (json!({"type": "object", "additionalProperties": false}), "{ [key: string]: never }"),
        (
            json!({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "number"}}),
            "{ a?: string; [key: string]: number | string | undefined }",
        ),
        (json!({"properties": {"a-b": true}, "required": ["a-b", "c; }"]}), "{ \"a-b\": unknown; \"c; }\": unknown }"),
        (json!({"patternProperties": {"^x": {"type": "number"}}}), "{ [key: string]: number }"),
        (json!({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "string"}]}), "string | number"),
        (json!({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}), "{ a: unknown } & { b: unknown }"),
        (
            json!({"allOf": [{"anyOf": [{"type": "string"}, {"type": "number"}]}, {"type": "string"}]}),
            "(string | number) & string",
        ),
        (json!({"type": "string", "not": {"const": "a"}}), "string"),
    ];
    for (schema, expected) in rows {
        assert_eq!(of(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn what_is_not_understood_is_unknown_and_says_why() {
    let rows = [
        (json!(7), "unknown /* a schema is an object or a boolean */"),
        (json!({"not": {"type": "string"}}), "unknown /* \"not\" has no type */"),
        (json!({"type": "date"}), "unknown /* there is no type \"date\" */"),
        (json!({"type": 7}), "unknown /* \"type\" is neither a name nor a list of names */"),
        (json!({"type": "*/ evil"}), "unknown /* there is no type \"*\\/ evil\" */"),
        (json!({"$ref": "#/$defs/gone"}), "unknown /* #/$defs/gone is not in this schema */"),
        (json!({"$ref": "other.json#/a"}), "unknown /* other.json#/a is not in this schema */"),
        (json!({"enum": 7}), "unknown /* \"enum\" is no list */"),
        (json!({"oneOf": []}), "unknown /* \"oneOf\" is no list */"),
        (json!({"anyOf": [{"type": "string"}, {"type": "x"}]}), "unknown /* there is no type \"x\" */"),
    ];
    for (schema, expected) in rows {
        assert_eq!(of(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn a_schema_may_refer_to_its_parts_and_to_itself() {
    let schema = json!({
        "description": "A tree.\nOf names.",
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}, "leaf": {"$ref": "#/$defs/a~1b"}},
        "$defs": {"a/b": {"type": "object", "properties": {"up": {"$ref": "#/$defs/a~1b"}, "kind": {"const": "leaf"}}}},
    });
    let expected = "/**\n * A tree.\n * Of names.\n */\nexport interface SK {\n  children?: SK[];\n  leaf?: SAB;\n}\n\n\
        export interface SAB {\n  kind?: \"leaf\";\n  up?: SAB;\n}";
    assert_eq!(declared(&schema), expected);
}

#[test]
fn a_circle_that_no_compiler_takes_is_cut() {
    let schema = json!({"$ref": "#/$defs/a", "$defs": {
        "a": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]},
        "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "array", "items": {"$ref": "#/$defs/b"}}]},
    }});
    let expected = "export type SK = SA;\n\n\
        export type SA = unknown /* #/$defs/b refers to itself */;";
    assert_eq!(declared(&schema), expected);
    let nested =
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": ["array", "null"], "items": {"$ref": "#/$defs/a"}}}});
    assert_eq!(declared(&nested), "export type SK = SA;\n\nexport type SA = SA[] | null;");
}

#[test]
fn what_a_tuple_may_end_before_names_the_type_itself_only_where_a_compiler_waits() {
    let ends_before = |element: Value| {
        let own = json!({"type": ["array", "null"], "maxItems": 1, "prefixItems": [element]});
        let text = declared(&json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": own}}));
        let (_, of_itself) = text.split_once("type SA = ").expect("it is declared");
        of_itself.to_owned()
    };
    let itself = json!({"$ref": "#/$defs/a"});
    assert_eq!(ends_before(itself.clone()), "[SA?] | null;");
    assert_eq!(ends_before(json!({"properties": {"b": itself}})), "[{ b?: SA }?] | null;");
    let refused = "unknown /* #/$defs/a refers to itself */";
    assert_eq!(ends_before(json!({"items": itself})), format!("[{refused}[]?] | null;"));
    assert_eq!(ends_before(json!({"items": {"properties": {"b": {"items": itself}}}})), "[{ b?: SA[] }[]?] | null;");
}

#[test]
fn the_same_part_of_two_schemas_is_one_type_and_another_is_not() {
    let mut types = Types::new(["SSide"]);
    let schema =
        |sides: Value| json!({"properties": {"side": {"$ref": "#/$defs/Side"}}, "$defs": {"Side": {"enum": sides}}});
    types.declare("s", "order", &schema(json!(["buy", "sell"])));
    types.declare("s", "fill", &schema(json!(["buy", "sell"])));
    types.declare("s", "other", &schema(json!([1])));
    types.declare("s", "other", &schema(json!([1])));
    let text = types.into_text();
    assert_eq!(text.matches("export type").count(), 2, "{text}");
    assert_eq!(text.matches("side?: SOrderSide;").count(), 2, "{text}");
    assert!(text.contains("interface SOther2 {\n  side?: SOtherSide;"), "{text}");
}

#[test]
fn alternatives_keep_their_descriptions() {
    let schema = json!({"oneOf": [
        {"const": "a", "description": "The first."},
        {"type": "object", "properties": {"type": {"const": "b"}, "an": {"type": "string"}}, "required": ["type"], "description": "The second."},
    ], "deprecated": true});
    let expected = "/** @deprecated */\nexport type SK =\n  | /** The first. */ \"a\"\n  | /** The second. */ { type: \"b\"; an?: string };";
    assert_eq!(declared(&schema), expected);
}
