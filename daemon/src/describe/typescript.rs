//! The messages of all streams as TypeScript: types only, nothing that runs.

mod expression;
mod objects;
mod text;
mod types;

use serde_json::{Map, Value, json};

use self::text::{Type, doc, indented, key, string};
use self::types::Types;
use super::native::{self, schema, schema_of_said};
use super::{Declarations, Stream};
use crate::hub::kinds::DEFAULT_COLLECTION;

/// Names that are written out here; types that are made from schemas have others.
const WRITTEN: [&str; 11] = [
    "Message",
    "Event",
    "FullUpdate",
    "Response",
    "Status",
    "ErrorMessage",
    "Batch",
    "ClientMessage",
    "ServerMessage",
    "StreamMessages",
    "StreamName",
];
/// A file of declarations.
pub fn typescript(declarations: &Declarations) -> String {
    let mut types = Types::new(WRITTEN);
    types.push("// Made by `broadcastd schema ts` from what the broadcasters declare; do not edit.\n\n");
    let mut said = commands(&mut types);
    let mut heard = messages(&mut types);
    let mut streams = Vec::new();
    for one in &declarations.streams {
        let made = stream(&mut types, one);
        said.extend(made.commands);
        streams.push(format!("{}: {};", key(&one.name), made.message));
        heard.push(made.message);
    }
    alias(&mut types, "Whatever a client may say.", "ClientMessage", &Type::union(said.into_iter().map(Type::atom)));
    alias(&mut types, "Whatever the daemon says.", "ServerMessage", &Type::union(heard.into_iter().map(Type::atom)));
    let body = if streams.is_empty() { String::new() } else { format!("\n  {}\n", indented(&streams.join("\n"))) };
    types.push(&format!(
        "{}export interface StreamMessages {{{body}}}\n\n",
        doc("The messages of each stream, by its name.")
    ));
    types.push("export type StreamName = keyof StreamMessages;\n");
    types.into_text()
}

/// Declares what a client may say to every daemon, and returns the names. What a broadcaster can be asked for stands with
/// its stream.
fn commands(types: &mut Types) -> Vec<String> {
    let all = schema::<native::Command>();
    let variants = all["oneOf"].as_array().cloned().unwrap_or_default();
    let named = variants.into_iter().filter_map(|variant| {
        let word = variant["properties"]["type"]["const"].as_str()?.to_owned();
        (word != "command").then_some((word, variant))
    });
    let declared = named.map(|(word, mut variant)| {
        variant["$defs"] = all["$defs"].clone();
        types.declare("", &word, &variant)
    });
    declared.collect()
}

/// Declares the forms of what the daemon says, and returns the names of those that belong to no stream.
fn messages(types: &mut Types) -> Vec<String> {
    let envelope = schema_of_said::<native::Envelope>();
    let mut base = part(&envelope, &native::FIVE, &[]);
    base["description"] = envelope["description"].clone();
    let given = [("type", "Kind"), ("stream", "Stream"), ("data", "Data")];
    types.declare_as("", "Message<Kind extends string, Stream extends string, Data>", &base, &given);
    let response = types.declare("", "response data", &schema_of_said::<native::Response>());
    let status = types.declare("", "status data", &schema_of_said::<native::Status>());
    let error = types.declare("", "error data", &schema_of_said::<native::Error>());
    let mut message = |header: String, base: String, required: &[&str], optional: &[&str]| {
        let own = part(&envelope, required, optional);
        types.declare_as("", &format!("{header} extends Message<{base}>"), &own, &[]);
    };
    let event = "Event<Kind extends string, Stream extends string, Data>".to_owned();
    message(event, "Kind, Stream, Data".to_owned(), &["seq", "topic"], &["prev"]);
    let update = "FullUpdate<Stream extends string, Records>".to_owned();
    let optional = ["topic", "topics", "resync", "id"];
    message(update, "\"full_update\", Stream, Records".to_owned(), &["seq", "epoch"], &optional);
    message("Response".to_owned(), format!("\"response\", string, {response}"), &[], &["seq", "id"]);
    message("Status".to_owned(), format!("\"status\", string, {status}"), &[], &["id"]);
    message("ErrorMessage".to_owned(), format!("\"error\", string, {error}"), &[], &["id"]);
    let about = doc("Several messages of a subscription that asked for it, in order.");
    let batch = "interface Batch extends Message<\"batch\", string, { messages: ServerMessage[] }> {}";
    types.push(&format!("{about}export {batch}\n\n"));
    ["Response", "Status", "ErrorMessage", "Batch"].map(str::to_owned).into()
}

/// The schema of some properties of the envelope.
fn part(envelope: &Value, required: &[&str], optional: &[&str]) -> Value {
    let names = required.iter().chain(optional);
    let properties: Map<String, Value> =
        names.map(|name| ((*name).to_owned(), envelope["properties"][name].clone())).collect();
    json!({"type": "object", "properties": properties, "required": required, "$defs": envelope["$defs"]})
}

/// An object of which nothing is known.
const ANYTHING: &str = "{ [key: string]: unknown }";

/// The names of what was declared for a stream.
struct Made {
    message: String,
    commands: Vec<String>,
}

fn stream(types: &mut Types, stream: &Stream) -> Made {
    let (name, settings) = (&*stream.name, &*stream.settings);
    let mut messages = Vec::new();
    let mut records: Vec<(&str, Vec<Type>)> = Vec::new();
    for (kind, spec) in &settings.kinds {
        let payload = types.declare(name, kind, &spec.schema);
        messages.push(Type::atom(format!("Event<{}, {}, {payload}>", string(kind), string(name))));
        let collection = spec.collection.as_deref().unwrap_or(DEFAULT_COLLECTION);
        match records.iter_mut().find(|(known, _)| *known == collection) {
            Some((_, types)) => types.push(Type::atom(payload)),
            None => records.push((collection, vec![Type::atom(payload)])),
        }
    }
    if messages.is_empty() {
        messages = declared(types, stream);
        records.push((DEFAULT_COLLECTION, vec![Type::atom(ANYTHING)])); // a record is what its publisher says
    }
    let collection = |(collection, types): (&str, Vec<Type>)| {
        let mark = if collection == DEFAULT_COLLECTION { "?" } else { "" }; // it is shown where it has records only
        format!("{}{mark}:{};", key(collection), Type::union(types).array().behind())
    };
    let records: Vec<String> = records.into_iter().map(collection).collect();
    let about = format!("What a `full_update` of `{name}` shows.");
    let records = object(types, &about, &[name, "records"], &records);
    messages.push(Type::atom(format!("FullUpdate<{}, {records}>", string(name))));
    params(types, stream);
    let commands = stream_commands(types, stream);
    let message = types.name(&[name, "message"]);
    alias(types, &format!("What is said on `{name}`."), &message, &Type::union(messages));
    Made { message, commands }
}

/// The events of a stream that outside programs publish to, as far as a schema file says what they are like.
fn declared(types: &mut Types, Stream { name, settings }: &Stream) -> Vec<Type> {
    let event = |kind: &str, payload: &str| Type::atom(format!("Event<{kind}, {}, {payload}>", string(name)));
    let payloads = &settings.payloads;
    let known = payloads.by_kind().map(|(kind, schema)| event(&string(kind), &types.declare(name, kind, schema)));
    let known: Vec<Type> = known.collect();
    match payloads.of_any_kind() {
        _ if !known.is_empty() => known,
        Some(schema) => vec![event("string", &types.declare(name, "event", schema))],
        None => vec![event("string", ANYTHING)],
    }
}

/// The parameters of the stream's template, if it has any. An alias and no interface: only that fits `Subscribe`.
fn params(types: &mut Types, Stream { name, settings }: &Stream) {
    let parameter = |(parameter, default): (&str, Option<&str>)| {
        let default = default.map(|value| format!("{} unless it is given.", string(value)));
        let spellings = settings.template.spellings(parameter);
        let spellings = spellings.map(|(spelling, means)| format!("{} is {}.", string(spelling), string(means)));
        let text: Vec<String> = default.into_iter().chain(spellings).collect();
        format!("{}{}?: Param;", doc(&text.join(" ")), key(parameter))
    };
    let fields: Vec<String> = settings.template.parameters().map(parameter).collect();
    if !fields.is_empty() {
        let about = format!("The parameters of `{}`.", settings.template.address(name));
        let own = types.name(&[name, "params"]);
        alias(types, &about, &own, &Type::atom(format!("{{\n  {}\n}}", indented(&fields.join("\n")))));
    }
}

fn stream_commands(types: &mut Types, stream: &Stream) -> Vec<String> {
    let mut names = Vec::new();
    for (command, spec) in &*stream.settings.commands {
        let data = types.declare(&stream.name, &format!("{command} data"), spec.shape.schema());
        let mark = if spec.shape.takes_nothing() { "?" } else { "" };
        let fields = [
            "type: \"command\";".to_owned(),
            format!("stream: {};", string(&stream.name)),
            format!("command: {};", string(command)),
            format!("data{mark}: {data};"),
            "id?: Id | null;".to_owned(),
        ];
        let about = format!("Asks `{}` to `{command}`; needs the permission `{}`.", stream.name, spec.permission);
        names.push(object(types, &about, &[&stream.name, command, "command"], &fields));
    }
    names
}

fn object(types: &mut Types, about: &str, words: &[&str], fields: &[String]) -> String {
    let name = types.name(words);
    let body = indented(&fields.join("\n"));
    types.push(&format!("{}export interface {name} {{\n  {body}\n}}\n\n", doc(about)));
    name
}

fn alias(types: &mut Types, about: &str, name: &str, one: &Type) {
    types.push(&format!("{}export type {name} ={};\n\n", doc(about), one.behind()));
}

#[cfg(test)]
mod tests;
