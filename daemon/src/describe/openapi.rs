//! The HTTP routes of a listener as an OpenAPI 3.1 document.

use serde_json::{Map, Value, json};

/// What every route may answer beside its own answers.
const COMMON: &str = "Refused before it was looked at: 400 `invalid_token`, 401 `authentication_required`, 403 `origin_refused`, 405 `method_not_allowed`, 421 `foreign_host`, 429 or 503 `too_many_connections`. Not done before the daemon stopped: 503 `draining`.";

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
    /// Server-sent events, without end.
    Events,
    Json(Schema),
    /// A code and a sentence.
    Refusal,
}

impl Route {
    /// As messages name it: a page by its path, the rest with the method.
    pub fn spoken(&self) -> String {
        match self.method {
            Method::Get => self.path.to_owned(),
            other => format!("{} {}", other.name().to_uppercase(), self.path),
        }
    }

    fn operation(&self, path: &str) -> Value {
        let mut answers: Map<String, Value> =
            self.answers.iter().map(|answer| (answer.0.to_string(), answer.json())).collect();
        answers.insert("default".to_owned(), refusal(COMMON));
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

impl Answer {
    fn json(&self) -> Value {
        let Self(_, means, content) = self;
        let (form, schema) = match content {
            Content::Nothing => return json!({"description": means}),
            Content::Text => ("text/plain", json!({"type": "string"})),
            Content::Events => ("text/event-stream", json!({"type": "string"})),
            Content::Json(schema) => ("application/json", schema()),
            Content::Refusal => return refusal(means),
        };
        json!({"description": means, "content": {form: {"schema": schema}}})
    }
}

fn refusal(means: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Refusal"});
    json!({"description": means, "content": {"application/json": {"schema": schema}}})
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
