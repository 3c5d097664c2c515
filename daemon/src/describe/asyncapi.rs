//! All streams and messages as an AsyncAPI 3.0 document: a channel for each stream, and one for what clients and the
//! daemon say to each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::draft07::draft07;
use super::native::{self, schema, schema_of_said};
use super::records::{Form, collections};
use super::{Declarations, Door, Stream};
use crate::dialect::Dialect;
use crate::dialect::native::SUBPROTOCOL;
use crate::hub::settings::Settings;

/// Where schemas stand in the document.
const SCHEMAS: &str = "#/components/schemas/";
/// What answers each command, beside an error.
const ANSWERS: [(&str, &str); 8] = [
    ("auth", "response.authenticated"),
    ("subscribe", "response.subscribed"),
    ("unsubscribe", "response.unsubscribed"),
    ("snapshot", "response.snapshot"),
    ("streams", "response.streams"),
    ("ping", PONG),
    ("publish", "response.accepted"),
    ("command", "response.ok"),
];
/// The one status that answers a command; the others come unasked.
const PONG: &str = "status.pong";

/// What comes unasked and is no status.
const BATCH: &str = "batch";

/// The document.
pub fn asyncapi(declarations: &Declarations) -> Value {
    let mut document = Document::default();
    let servers: Vec<(String, &Door)> = document.servers(&declarations.doors);
    document.control(declarations);
    for stream in &declarations.streams {
        document.stream(stream, &servers);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "broadcastd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The streams of this daemon. Messages are described as the native dialect has them; every dialect has the same payloads.",
        },
        "defaultContentType": "application/json",
        "servers": document.servers,
        "channels": document.channels,
        "operations": document.operations,
        "components": {"schemas": document.schemas},
    })
}

#[derive(Default)]
struct Document {
    servers: Map<String, Value>,
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// The messages of one channel, by their keys.
#[derive(Default)]
struct Messages {
    all: Map<String, Value>,
    keys: Keys,
}

/// Keys of the document: texts with the letters that keys may have, each once.
#[derive(Default)]
struct Keys(BTreeSet<String>);

impl Document {
    /// One server for each address of each endpoint.
    fn servers<'d>(&mut self, doors: &'d [Door]) -> Vec<(String, &'d Door)> {
        let mut keys = Keys::default();
        let mut servers = Vec::new();
        for door in doors {
            for address in &door.addresses {
                let endpoint = &door.endpoint;
                let key = keys.take(endpoint.path.trim_matches('/'));
                let protocol = door.protocol(address);
                let about = format!("Speaks the dialect `{}`.", endpoint.dialect.name());
                let server =
                    json!({"host": address, "pathname": endpoint.path, "protocol": protocol, "description": about});
                self.servers.insert(key.clone(), server);
                servers.push((key, door));
            }
        }
        servers
    }

    /// The channel of commands, their answers, and what the daemon says of itself.
    fn control(&mut self, declarations: &Declarations) {
        let mut messages = Messages::default();
        let commands = schema::<native::Command>();
        let (responses, statuses) = (schema_of_said::<native::Response>(), schema_of_said::<native::Status>());
        self.schema("envelope", &schema_of_said::<native::Envelope>());
        for (word, place) in self.variants("command", "type", &commands) {
            messages.add(&word, &description(&commands, &place), json!({"$ref": self.place("command", &place)}));
        }
        for (name, all) in [("response", &responses), ("status", &statuses)] {
            for (word, place) in self.variants(name, "status", all) {
                let data = json!({"$ref": self.place(name, &place)});
                messages.add(&format!("{name}.{word}"), &description(all, &place), enveloped(name, None, data));
            }
        }
        for (name, one) in [("error", schema_of_said::<native::Error>()), (BATCH, schema_of_said::<native::Batch>())] {
            let data = json!({"$ref": self.schema(name, &one)});
            messages.add(name, &description(&one, ""), enveloped(name, None, data));
        }
        let asked = self.broadcasters_commands(declarations, &mut messages);
        self.commands(&messages, &asked);
        let about = "Commands of clients, the answers, and what the daemon says of itself; on every connection.";
        self.channels
            .insert(SUBPROTOCOL.to_owned(), json!({"address": null, "description": about, "messages": messages.all}));
    }

    /// A message for each command that a broadcaster declares.
    fn broadcasters_commands(&mut self, declarations: &Declarations, messages: &mut Messages) -> Vec<String> {
        let mut asked = Vec::new();
        for Stream { name, settings } in &declarations.streams {
            for (command, spec) in &*settings.commands {
                let data = self.schema(&format!("{name}.command.{command}"), spec.shape.schema());
                let payload: &[&str] = if spec.shape.takes_nothing() { &[] } else { &["data"] };
                let required = [&["type", "stream", "command"], payload].concat();
                let own = json!({
                    "type": "object",
                    "required": required,
                    "properties": {
                        "type": {"const": "command"},
                        "stream": {"const": &**name},
                        "command": {"const": command},
                        "data": {"$ref": data},
                        "id": {"anyOf": [{"$ref": self.place("command", "/$defs/Id")}, {"type": "null"}]},
                    },
                });
                let about = format!("Asks `{name}` to `{command}`; needs the permission `{}`.", spec.permission);
                asked.push(messages.add(&format!("command.{name}.{command}"), &about, own));
            }
        }
        asked
    }

    fn commands(&mut self, messages: &Messages, asked: &[String]) {
        let refer = |key: &str| json!({"$ref": format!("#/channels/{SUBPROTOCOL}/messages/{key}")});
        let channel = json!({"$ref": format!("#/channels/{SUBPROTOCOL}")});
        for (command, answer) in ANSWERS {
            let asked: &[String] = if command == "command" { asked } else { &[] };
            let said: Vec<Value> =
                std::iter::once(command).chain(asked.iter().map(String::as_str)).map(refer).collect();
            let reply = json!({"channel": channel, "messages": [refer(answer), refer("error")]});
            let operation = json!({"action": "receive", "channel": channel, "messages": said, "reply": reply});
            self.operations.insert(command.to_owned(), operation);
        }
        let is_unasked = |key: &&String| *key == BATCH || key.starts_with("status.") && *key != PONG;
        let unasked: Vec<Value> = messages.all.keys().filter(is_unasked).map(|key| refer(key)).collect();
        self.operations.insert("tell".to_owned(), json!({"action": "send", "channel": channel, "messages": unasked}));
    }

    fn stream(&mut self, Stream { name, settings }: &Stream, servers: &[(String, &Door)]) {
        let mut messages = Messages::default();
        let mut payloads = BTreeMap::new();
        for (kind, spec) in &settings.kinds {
            let Some(schema) = spec.of_events() else { continue };
            let payload = json!({"$ref": self.schema(&format!("{name}.{kind}"), schema)});
            payloads.insert(kind.as_str(), payload.clone());
            let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            messages.add(kind, about, event(enveloped(kind, Some(name), payload)));
        }
        if settings.kinds.is_empty() {
            self.declared(name, settings, &mut messages);
        }
        let records = self.records(name, settings, &payloads);
        let update = enveloped("full_update", Some(name), records);
        messages.add("full_update", "The records of a subscription, each in its collection.", update);
        let address = settings.template.address(name);
        let events = json!({"action": "send", "channel": {"$ref": format!("#/channels/{name}")}});
        self.operations.insert(format!("{name}.events"), events);
        let mut channel = json!({"address": address, "messages": messages.all, "x-private": settings.private});
        let parameters: Map<String, Value> =
            settings.template.parameters().map(|one| parameter(settings, one)).collect();
        if !parameters.is_empty() {
            channel["parameters"] = parameters.into();
        }
        let is_here = |door: &Door| has_native_messages(door.endpoint.dialect) && door.endpoint.serves(name);
        let here = servers.iter().filter(|(_, door)| is_here(door));
        let here: Vec<Value> = here.map(|(key, _)| json!({"$ref": format!("#/servers/{key}")})).collect();
        if !here.is_empty() {
            channel["servers"] = here.into();
        }
        self.channels.insert(name.to_string(), channel);
    }

    /// What a snapshot shows; the payloads of kinds stand where `payloads` says.
    fn records(&mut self, name: &str, settings: &Settings, payloads: &BTreeMap<&str, Value>) -> Value {
        let mut properties = Map::new();
        for (collection, forms) in collections(&settings.kinds) {
            let place = |form: &Form<'_>| match form {
                Form::Payload(kind) => payloads.get(kind).cloned().unwrap_or_default(),
                Form::Own(schema) => json!({"$ref": self.schema(&format!("{name}.{collection}.record"), schema)}),
            };
            let places: Vec<Value> = forms.iter().map(place).collect();
            let items = if places.is_empty() { json!(false) } else { json!({"anyOf": places}) };
            properties.insert(collection.to_owned(), json!({"type": "array", "items": items}));
        }
        json!({"type": "object", "properties": properties})
    }

    /// The events of a stream that outside programs publish to: those that a schema file names, and whatever else.
    fn declared(&mut self, name: &str, settings: &Settings, messages: &mut Messages) {
        for (kind, schema) in settings.payloads.by_kind() {
            let payload = json!({"$ref": self.schema(&format!("{name}.{kind}"), schema)});
            let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            messages.add(kind, about, event(enveloped(kind, Some(name), payload)));
        }
        let data = match settings.payloads.of_any_kind() {
            Some(schema) => json!({"$ref": self.schema(&format!("{name}.event"), schema)}),
            None => json!({"type": "object"}),
        };
        let any = json!({"$ref": self.place("envelope", "")});
        let own = json!({"properties": {"stream": {"const": name}, "data": data}, "type": "object"});
        messages.add("event", "Whatever is published.", event(json!({"allOf": [any, own]})));
    }

    /// Takes in a schema, and returns where it is.
    fn schema(&mut self, name: &str, schema: &Value) -> String {
        let mut keys = Keys(self.schemas.keys().cloned().collect());
        let key = keys.take(name);
        let place = format!("{SCHEMAS}{key}");
        self.schemas.insert(key, draft07(schema, &place));
        place
    }

    fn place(&self, name: &str, inside: &str) -> String {
        format!("{SCHEMAS}{name}{inside}")
    }

    /// Takes in a schema of several messages; the word of each, and where it is inside.
    fn variants(&mut self, name: &str, tag: &str, schema: &Value) -> Vec<(String, String)> {
        self.schema(name, schema);
        let variants = schema["oneOf"].as_array().into_iter().flatten().enumerate();
        let word = |(index, variant): (usize, &Value)| {
            Some((variant["properties"][tag]["const"].as_str()?.to_owned(), format!("/oneOf/{index}")))
        };
        variants.filter_map(word).collect()
    }
}

impl Messages {
    fn add(&mut self, name: &str, about: &str, payload: Value) -> String {
        let key = self.keys.take(name);
        let mut message = json!({"name": name, "payload": payload});
        if !about.is_empty() {
            message["description"] = about.into();
        }
        self.all.insert(key.clone(), message);
        key
    }
}

impl Keys {
    fn take(&mut self, text: &str) -> String {
        let is_right = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let plain: String = text.chars().map(|letter| if is_right(letter) { letter } else { '_' }).collect();
        let plain = if plain.is_empty() { "_".to_owned() } else { plain };
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let key = std::iter::once(plain.clone()).chain(numbered).find(|key| !self.0.contains(key));
        let key = key.expect("numbers do not end");
        self.0.insert(key.clone());
        key
    }
}

/// Whether messages look as they are described here.
fn has_native_messages(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Native | Dialect::Sse)
}

/// A message of this type in its envelope.
fn enveloped(kind: &str, stream: Option<&str>, data: Value) -> Value {
    let mut properties = json!({"type": {"const": kind}, "data": data});
    if let Some(stream) = stream {
        properties["stream"] = json!({"const": stream});
    }
    json!({"allOf": [{"$ref": format!("{SCHEMAS}envelope")}, {"type": "object", "properties": properties}]})
}

/// An event has a number and a topic.
fn event(mut message: Value) -> Value {
    message["required"] = json!(["seq", "topic"]);
    message
}

fn parameter(settings: &crate::hub::settings::Settings, (name, default): (&str, Option<&str>)) -> (String, Value) {
    let spellings = settings.template.spellings(name).map(|(spelling, means)| format!("`{spelling}` is `{means}`"));
    let spellings: Vec<String> = spellings.collect();
    let mut parameter = json!({});
    match default {
        Some(default) => parameter["default"] = default.into(),
        None => parameter["description"] = "Every one, unless it is given.".into(),
    }
    if !spellings.is_empty() {
        parameter["description"] = format!("{}.", spellings.join(", ")).into();
    }
    (name.to_owned(), parameter)
}

fn description(schema: &Value, inside: &str) -> String {
    let found = schema.pointer(inside).and_then(|schema| schema["description"].as_str());
    found.unwrap_or_default().to_owned()
}
