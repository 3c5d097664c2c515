//! The HTTP routes of a listener as an OpenAPI 3.1 document.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// What every route may answer before it looks at what is asked.
const BEFORE: [Answer; 7] = [
    Answer(
        400,
        "The token is empty or cannot be read, there are two, or a user's own is not for this: `invalid_token`.",
        Content::Refusal,
    ),
    Answer(401, "A token is needed, or this one proves nothing: `authentication_required`.", Content::Refusal),
    Answer(403, "The web page may not come: `origin_refused`.", Content::Refusal),
    Answer(405, "The path is asked with other methods, which `Allow` lists: `method_not_allowed`.", Content::Refusal),
    Answer(421, "`Host` is no name of the listener: `foreign_host`.", Content::Refusal),
    Answer(
        429,
        "Come back after `Retry-After`: too many tokens of the address prove nothing, `rate_limited`; or it has too many connections, `too_many_connections`.",
        Content::Refusal,
    ),
    Answer(
        503,
        "Come back after `Retry-After`: `too_many_connections`; or not done before the daemon stopped, `draining`.",
        Content::Refusal,
    ),
];

/// What is answered before to a name in the path that is no text.
const NAMELESS: Answer =
    Answer(404, "What is percent-encoded in the path is no UTF-8: `unknown_path`.", Content::Refusal);

/// A route as it is described; the listener registers it by this.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// With `{name}` for parts that vary.
    pub path: &'static str,
    /// What it is for, in a sentence.
    pub summary: &'static str,
    /// Parameters behind the `?`, none of them required, each with what it means.
    pub query: &'static [(&'static str, &'static str)],
    pub body: Option<Body>,
    /// Beside what every route may answer.
    pub answers: &'static [Answer],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
}

/// What is sent with a request: in which forms, each with its schema.
#[derive(Clone, Copy, Debug)]
pub struct Body(pub &'static [(&'static str, Schema)]);

/// Makes a JSON Schema 2020-12.
pub type Schema = fn() -> Value;

/// A status with what it means and what comes with it.
#[derive(Clone, Copy, Debug)]
pub struct Answer(pub u16, pub &'static str, pub Content);

#[derive(Clone, Copy, Debug)]
pub enum Content {
    Nothing,
    Text,
    /// Whatever its `Content-Type` says.
    File,
    /// Server-sent events, without end.
    Events,
    Json(Schema),
    /// A code and a sentence.
    Refusal,
    /// One or the other.
    Either(Schema),
}

impl Route {
    /// As messages name it: a page by its path, the rest with the method.
    pub fn spoken(&self) -> String {
        match self.method {
            Method::Get => self.path.to_owned(),
            other => format!("{} {}", other.name().to_uppercase(), self.path),
        }
    }

    /// All that may be answered, here and before.
    pub fn outcomes(&self) -> impl Iterator<Item = &'static Answer> {
        self.answers.iter().chain(self.before())
    }

    fn before(&self) -> impl Iterator<Item = &'static Answer> {
        BEFORE.iter().chain(self.path.contains('{').then_some(&NAMELESS))
    }

    fn operation(&self, path: &str) -> Value {
        let statuses: BTreeSet<u16> = self.outcomes().map(|answer| answer.0).collect();
        let answers = statuses.into_iter().map(|status| (status.to_string(), self.answer(status)));
        let answers: Map<String, Value> = answers.collect();
        let mut operation = json!({"operationId": self.id(path), "summary": self.summary, "responses": answers});
        let parameters: Vec<Value> = self.path_parameters().chain(self.query_parameters()).collect();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(Body(forms)) = self.body {
            let forms = forms.iter().map(|(form, schema)| ((*form).to_owned(), json!({"schema": schema()})));
            operation["requestBody"] = json!({"required": true, "content": forms.collect::<Map<_, _>>()});
        }
        operation
    }

    /// What a status means: here, and before the route.
    fn answer(&self, status: u16) -> Value {
        let is_meant = |answer: &&Answer| answer.0 == status;
        match (self.answers.iter().find(is_meant), self.before().find(is_meant)) {
            (Some(Answer(_, here, content)), Some(Answer(_, before, _))) => {
                content.or_refusal().described(&format!("{here} {before}"))
            }
            (Some(Answer(_, means, content)), None) | (None, Some(Answer(_, means, content))) => {
                content.described(means)
            }
            (None, None) => Value::Null,
        }
    }

    fn id(&self, path: &str) -> String {
        let is_word = |letter: char| letter.is_ascii_alphanumeric();
        let words = path.split(|letter| !is_word(letter)).filter(|word| !word.is_empty());
        words.fold(self.method.name().to_owned(), |id, word| id + "_" + word)
    }

    fn path_parameters(&self) -> impl Iterator<Item = Value> {
        let names = self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
    }

    fn query_parameters(&self) -> impl Iterator<Item = Value> {
        let parameter = |(name, means): &(&str, &str)| json!({"name": name, "in": "query", "description": means, "schema": {"type": "string"}});
        self.query.iter().map(parameter)
    }
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

impl Content {
    /// The same, where it may be refused, too.
    fn or_refusal(self) -> Self {
        match self {
            Self::Json(schema) => Self::Either(schema),
            other => other,
        }
    }

    fn described(self, means: &str) -> Value {
        let refusal = || json!({"$ref": "#/components/schemas/Refusal"});
        let (form, schema) = match self {
            Self::Nothing => return json!({"description": means}),
            Self::Text => ("text/plain", json!({"type": "string"})),
            Self::File => ("*/*", json!({})),
            Self::Events => ("text/event-stream", json!({"type": "string"})),
            Self::Json(schema) => ("application/json", schema()),
            Self::Refusal => ("application/json", refusal()),
            Self::Either(schema) => ("application/json", json!({"anyOf": [schema(), refusal()]})),
        };
        json!({"description": means, "content": {form: {"schema": schema}}})
    }
}

/// The document of a listener, by the routes that it has, each with the path that it is at.
pub fn openapi<'r>(listener: &str, routes: impl Iterator<Item = (&'r str, &'r Route)>) -> Value {
    let mut paths = Map::new();
    for (path, route) in routes {
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[route.method.name()] = route.operation(path);
    }
    let error = json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "string", "description": "For programs; it stays."},
            "message": {"type": "string", "description": "For people; it may change."},
        },
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("broadcastd, {listener}"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The HTTP routes of this listener. What WebSockets say is in /v1/asyncapi.json.",
        },
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "schemas": {"Refusal": {"type": "object", "required": ["error"], "properties": {"error": error}}},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}
