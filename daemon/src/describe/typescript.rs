//! The messages of all streams as TypeScript: types only, nothing that runs.

mod expression;
mod objects;
mod text;
mod types;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::text::{Type, doc, indented, key, string};
use self::types::Types;
use super::native::{self, schema, schema_of_said};
use super::records::{Form, collections};
use super::{Declarations, Stream};
use crate::hub::kinds::DEFAULT_COLLECTION;

/// Names that are written out here; types that are made from schemas have others.
const WRITTEN: [&str; 12] = [
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
    "StreamParams",
    "StreamName",
];
/// Parameters where there are none.
const NO_PARAMS: &str = "{ [key: string]: never }";

/// A file of declarations.
pub fn typescript(declarations: &Declarations) -> String {
    let mut types = Types::new(WRITTEN);
    types.push("// Made by `broadcastd schema ts` from what the broadcasters declare; do not edit.\n\n");
    let mut said = commands(&mut types);
    let mut heard = messages(&mut types);
    let (mut streams, mut params) = (Vec::new(), Vec::new());
    for one in &declarations.streams {
        let made = stream(&mut types, one);
        said.extend(made.commands);
        streams.push(format!("{}: {};", key(&one.name), made.message));
        params.push(format!("{}: {};", key(&one.name), made.params.as_deref().unwrap_or(NO_PARAMS)));
        heard.push(made.message);
    }
    alias(&mut types, "Whatever a client may say.", "ClientMessage", &Type::union(said.into_iter().map(Type::atom)));
    alias(&mut types, "Whatever the daemon says.", "ServerMessage", &Type::union(heard.into_iter().map(Type::atom)));
    interface(&mut types, "The messages of each stream, by its name.", "StreamMessages", &streams);
    interface(&mut types, "The parameters of each stream, by its name.", "StreamParams", &params);
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
    params: Option<String>,
    commands: Vec<String>,
}

fn stream(types: &mut Types, stream: &Stream) -> Made {
    let (name, settings) = (&*stream.name, &*stream.settings);
    let mut payloads = BTreeMap::new();
    for (kind, spec) in &settings.kinds {
        if let Some(schema) = spec.of_events() {
            payloads.insert(kind.as_str(), types.declare(name, kind, schema));
        }
    }
    let event =
        |(kind, payload): (&&str, &String)| Type::atom(format!("Event<{}, {}, {payload}>", string(kind), string(name)));
    let mut messages: Vec<Type> = payloads.iter().map(event).collect();
    if settings.kinds.is_empty() {
        messages = declared(types, stream);
    }
    let records = records(types, stream, &payloads);
    messages.push(Type::atom(format!("FullUpdate<{}, {records}>", string(name))));
    let params = params(types, stream);
    let commands = stream_commands(types, stream);
    let message = types.name(&[name, "message"]);
    alias(types, &format!("What is said on `{name}`."), &message, &Type::union(messages));
    Made { message, params, commands }
}

/// Declares what a snapshot shows, and returns its name; the payloads of kinds are called as `payloads` says.
fn records(types: &mut Types, Stream { name, settings }: &Stream, payloads: &BTreeMap<&str, String>) -> String {
    let mut fields = Vec::new();
    for (collection, forms) in collections(&settings.kinds) {
        let form = |form: &Form<'_>| match form {
            Form::Payload(kind) => Type::atom(payloads.get(kind).map_or("unknown", String::as_str)),
            Form::Own(schema) => Type::atom(types.declare(name, &format!("{collection} record"), schema)),
        };
        let forms: Vec<Type> = forms.iter().map(form).collect();
        fields.push((collection, Type::union(forms)));
    }
    if settings.kinds.is_empty() {
        fields.push((DEFAULT_COLLECTION, Type::atom(ANYTHING))); // a record is what its publisher says
    }
    let field = |(collection, form): (&str, Type)| {
        let mark = if collection == DEFAULT_COLLECTION { "?" } else { "" }; // it is shown where it has records only
        format!("{}{mark}:{};", key(collection), form.array().behind())
    };
    let fields: Vec<String> = fields.into_iter().map(field).collect();
    object(types, &format!("What a `full_update` of `{name}` shows."), &[name, "records"], &fields)
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

/// Declares the parameters of the stream's template, if it has any, and returns the name. An alias and no interface: only that fits `Subscribe`.
fn params(types: &mut Types, Stream { name, settings }: &Stream) -> Option<String> {
    let parameter = |(parameter, default): (&str, Option<&str>)| {
        let default = default.map(|value| format!("{} unless it is given.", string(value)));
        let spellings = settings.template.spellings(parameter);
        let spellings = spellings.map(|(spelling, means)| format!("{} is {}.", string(spelling), string(means)));
        let text: Vec<String> = default.into_iter().chain(spellings).collect();
        format!("{}{}?: Param;", doc(&text.join(" ")), key(parameter))
    };
    let fields: Vec<String> = settings.template.parameters().map(parameter).collect();
    (!fields.is_empty()).then(|| {
        let about = format!("The parameters of `{}`.", settings.template.address(name));
        let own = types.name(&[name, "params"]);
        alias(types, &about, &own, &Type::atom(format!("{{\n  {}\n}}", indented(&fields.join("\n")))));
        own
    })
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
    interface(types, about, &name, fields);
    name
}

fn interface(types: &mut Types, about: &str, name: &str, fields: &[String]) {
    let body = if fields.is_empty() { String::new() } else { format!("\n  {}\n", indented(&fields.join("\n"))) };
    types.push(&format!("{}export interface {name} {{{body}}}\n\n", doc(about)));
}

fn alias(types: &mut Types, about: &str, name: &str, one: &Type) {
    types.push(&format!("{}export type {name} ={};\n\n", doc(about), one.behind()));
}

#[cfg(test)]
mod tests;
