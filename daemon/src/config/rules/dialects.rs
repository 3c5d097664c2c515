//! Rules about dialects: what an endpoint says must fit the clients that it is for.

use super::Rules;
use crate::config::{
    code,
    diagnostic::Diagnostic,
    schema::{Auth, Dialect, Endpoint, Revision},
};

impl Rules<'_> {
    pub(super) fn dialects(&self) -> Vec<Diagnostic> {
        let endpoints = self.config.server.endpoints.iter().enumerate();
        let endpoints = endpoints.filter(|(index, _)| self.sound(&format!("/server/endpoints/{index}")));
        endpoints.flat_map(|(index, endpoint)| self.dialect(index, endpoint)).collect()
    }

    fn dialect(&self, index: usize, endpoint: &Endpoint) -> Vec<Diagnostic> {
        let path = &endpoint.path;
        let mut found = Vec::new();
        let mut unfit = |keys: [&str; 2], message: String, label: &str, help: &str| {
            let places = keys.map(|key| format!("/server/endpoints/{index}/{key}"));
            let [place, instead] = &places;
            let pointer = if self.document.value(place).is_some() { place } else { instead };
            let wrong = Diagnostic::of_value(code::UNFIT, self.document, pointer, message);
            found.push(wrong.label(label.to_owned()).help(help.to_owned()));
        };
        if endpoint.revision != Revision::Default && endpoint.dialect != Dialect::Fastws {
            let message = format!("the endpoint `{path}` has a `revision`, which only the dialect `fastws` has");
            unfit(["revision", "path"], message, "of no meaning here", "leave it out, or say dialect = \"fastws\"");
        }
        if endpoint.dialect == Dialect::User && endpoint.streams.iter().any(|stream| stream == "*") {
            let message = format!("the endpoint `{path}` must name its streams: each client hears all of them at once");
            unfit(["streams", "dialect"], message, "every visible stream", "name them, as in streams = [\"user\"]");
        }
        if endpoint.dialect == Dialect::User && endpoint.auth != Auth::Required {
            let message = format!("the endpoint `{path}` must know its users: without one there is nothing to tell");
            unfit(["auth", "dialect"], message, "would let strangers in", "say auth = \"required\"");
        }
        found
    }
}
