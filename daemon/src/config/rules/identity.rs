//! Rules about identity: where one is required it must be possible to prove one, and each token is one program's.

use std::collections::BTreeMap;

use super::Rules;
use crate::config::{
    code,
    diagnostic::Diagnostic,
    schema::{Auth, Dialect, Jwt},
};

impl Rules<'_> {
    pub(super) fn identity(&self) -> Vec<Diagnostic> {
        [self.keys_of_jwt(), self.required(), self.tokens(), self.pages()].concat()
    }

    fn keys_of_jwt(&self) -> Vec<Diagnostic> {
        let jwt = &self.config.auth.jwt;
        let says_nothing = *jwt == Jwt::default() || !self.sound("/auth/jwt");
        if says_nothing || jwt.keys.is_some() || jwt.secret.is_some() {
            return Vec::new();
        }
        let message = "`auth.jwt` has nothing to check a token with";
        let empty = Diagnostic::of_value(code::NO_KEYS, self.document, "/auth/jwt", message);
        vec![
            empty
                .label("neither keys nor secret")
                .help("add keys = \"/path/to/jwks.json\" or secret = \"credential:NAME\""),
        ]
    }

    /// Everything that lets nobody in without an identity, while nobody can have one. A door of the dialect `user` has
    /// nothing for anybody else, so that it may stand closed until `[auth]` is filled in.
    fn required(&self) -> Vec<Diagnostic> {
        if self.config.auth.knows_somebody() || !self.sound("/auth") {
            return Vec::new();
        }
        let endpoints = self.config.server.endpoints.iter().enumerate();
        let endpoints = endpoints.filter(|(_, one)| one.dialect != Dialect::User);
        let endpoints = endpoints.map(|(index, one)| (format!("/server/endpoints/{index}/auth"), one.auth));
        let streams = self.config.streams.iter().map(|(name, one)| (format!("/streams/{name}/auth"), one.auth));
        let broadcasters = self.config.broadcasters.iter();
        let broadcasters = broadcasters
            .filter_map(|(name, one)| Some((format!("/broadcasters/{name}/stream/auth"), one.stream.auth?)));
        let all = endpoints.chain(streams).chain(broadcasters);
        let required = all.filter(|(_, auth)| *auth == Auth::Required);
        required
            .map(|(pointer, _)| {
                let message = "an identity is required here, but `[auth]` has nothing to prove one with";
                let closed = Diagnostic::of_value(code::NO_KEYS, self.document, &pointer, message);
                closed.label("would let nobody in").help("add auth.jwt or auth.tokens, or say \"optional\"")
            })
            .collect()
    }

    fn tokens(&self) -> Vec<Diagnostic> {
        let tokens = self.config.auth.tokens.iter().enumerate();
        let tokens = tokens.filter(|(index, _)| self.sound(&format!("/auth/tokens/{index}")));
        let mut known: BTreeMap<String, &str> = BTreeMap::new();
        let mut found = Vec::new();
        for (index, token) in tokens {
            let Some(first) = known.insert(token.sha256.to_lowercase(), &token.name) else { continue };
            let message = format!("the tokens of `{first}` and `{}` are the same", token.name);
            let pointer = format!("/auth/tokens/{index}/sha256");
            let same = Diagnostic::of_value(code::SAME_TOKEN, self.document, &pointer, message);
            found.push(same.label("given before").help("make a token for each program: openssl rand -hex 32"));
        }
        found
    }

    /// A browser sends a cookie along whichever page asks.
    fn pages(&self) -> Vec<Diagnostic> {
        let Some(cookie) = self.config.auth.cookie.as_ref().filter(|_| self.sound("/auth/cookie")) else {
            return Vec::new();
        };
        let origins = self.config.server.origins.iter().enumerate();
        let open = origins.filter(|(_, origin)| *origin == "*").map(|(index, _)| {
            let message =
                format!("`server.origins` lets every web page in, while the cookie `{cookie}` bears the token");
            let pointer = format!("/server/origins/{index}");
            let open = Diagnostic::of_value(code::OPEN_TO_PAGES, self.document, &pointer, message);
            open.label("any page could act as the user").help(
                "name the pages, like \"https://example.com\", or take `auth.cookie` away and let pages send the token",
            )
        });
        open.collect()
    }
}
