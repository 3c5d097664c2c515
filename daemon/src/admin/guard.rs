//! Who may see the admin pages: no web page of a foreign origin, and with a token only who shows it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Extension;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::{Config, dashboard};
use crate::identity::{Identity, Rejected, Verify};
use crate::server::answer::Denied;
use crate::server::http::Arrival;
use crate::server::origin::{self, only};
use crate::server::query::AUDIENCE;
use crate::server::routes::table;
use crate::server::token::{self, Tokens, USER_TOKEN};
use crate::server::upgrade::{OPERATORS_EVENTS, OPERATORS_WEBSOCKET};

/// What a load balancer asks, which has no token: only whether the daemon lives and serves.
const OPEN_TO_ALL: [&str; 2] = ["/healthz", "/readyz"];
/// What shows of nobody anything, and is asked first by programs that bear a user's token throughout.
const DESCRIPTIONS: [&str; 2] = [table::ASYNCAPI.path, table::OPENAPI.path];

/// What acts of operators are known by.
const OPERATOR: &str = "admin";

/// A secret that is kept as its hash only: comparing hashes takes the same time however much of a guess is right.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

/// The rules of the moment; a reload replaces them whole.
pub struct Guard {
    rules: RwLock<Arc<Rules>>,
    /// The listener whose file lets in none but operators.
    control: Option<Arc<str>>,
    /// Who everybody is that comes in there: no token of the others says anything about them.
    by_control: Arc<Identity>,
    /// Whose the tokens are that users have.
    tokens: Arc<Tokens>,
}

/// The guard where it stands: before these pages.
#[derive(Clone)]
pub struct Post {
    pub guard: Arc<Guard>,
    /// Paths of the pages that can show the log of one user.
    pub logs: Arc<[&'static str]>,
}

struct Rules {
    token: Option<Token>,
    /// Who everybody is that comes in by these rules.
    operator: Arc<Identity>,
}

impl Guard {
    pub fn new(control: Option<&str>, tokens: Arc<Tokens>) -> Self {
        Self { rules: RwLock::default(), control: control.map(Arc::from), by_control: operator(), tokens }
    }

    /// Whoever came in by another token is an operator no longer. Who came by the control socket showed none, and stays.
    pub fn set(&self, config: Config) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if rules.token != config.token {
            rules.operator.take_back();
            *rules = Arc::new(Rules { token: config.token, ..Rules::default() });
        }
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Post {
    /// The user whose own token stands in the request of an operator, who alone has it looked at.
    fn user(&self, arrival: &Arrival, request: &Request) -> Result<Option<Arc<Identity>>, Denied> {
        if !request.headers().contains_key(USER_TOKEN) || is_same_for_all(request.uri().path()) {
            return Ok(None);
        }
        let operator = arrival.operator.as_ref().ok_or_else(unknown)?;
        self.check_user(request)?;
        let user = self.guard.tokens.user_beside(arrival.peer, request.headers())?;
        Ok(user.map(|user| Arc::new(user.shown_by(operator))))
    }

    /// A user's token is for looking through one user's eyes: at a log, or from a connection, whose path is no page's.
    fn check_user(&self, request: &Request) -> Result<(), Denied> {
        let page = request.extensions().get::<MatchedPath>();
        if page.is_some_and(|page| !self.logs.contains(&page.as_str())) {
            let places = [&*self.logs, &[OPERATORS_EVENTS, OPERATORS_WEBSOCKET]].concat().join(", ");
            let message = format!("X-User-Token is for reading what its user may read, at {places}; leave it out here");
            return Err(token::refused(&message));
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        if pairs.is_ok_and(|Query(pairs)| pairs.iter().any(|(name, _)| name == AUDIENCE)) {
            return Err(token::refused(
                "the query names a user (\"audience\") and X-User-Token bears a user's token; send one of them",
            ));
        }
        Ok(())
    }
}

impl Verify for Guard {
    fn identity(&self, token: &str) -> Result<Arc<Identity>, Rejected> {
        let rules = self.rules();
        match rules.is_opened_by(Some(token)) {
            true => Ok(rules.operator.clone()),
            false => Err("the token is not that of admin.token".into()),
        }
    }
}

/// Stands before every admin page.
pub async fn check(
    State(post): State<Post>,
    Extension(arrival): Extension<Arrival>,
    mut request: Request,
    next: Next,
) -> Response {
    let guard = &post.guard;
    let rules = guard.rules();
    let is_control = guard.control.as_ref() == Some(&arrival.listener);
    let let_in = match is_control {
        true => rules.check_origin(&request).map(|()| Some(&guard.by_control)),
        false => rules.check(&request),
    };
    match let_in {
        Ok(operator) => {
            let is_proven = is_control || rules.token.is_some() && operator.is_some();
            let arrival = Arrival { operator: operator.cloned(), is_proven, ..arrival };
            let user = match post.user(&arrival, &request) {
                Ok(user) => user,
                Err(refused) => return refused.into_response(),
            };
            request.extensions_mut().insert(Arrival { user, ..arrival });
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { token: None, operator: operator() }
    }
}

fn operator() -> Arc<Identity> {
    Arc::new(Identity::of_operator(OPERATOR))
}

impl Rules {
    fn check_origin(&self, request: &Request) -> Result<(), Denied> {
        let headers = request.headers();
        if headers.contains_key(header::ORIGIN) && !origin::is_own(headers) {
            let message = "web pages of other origins may not use the admin listener";
            return Err(Denied::new(StatusCode::FORBIDDEN, "origin_refused", message));
        }
        Ok(())
    }

    /// As whom the request comes in: nobody where the first message on the connection says it.
    fn check(&self, request: &Request) -> Result<Option<&Arc<Identity>>, Denied> {
        self.check_origin(request)?;
        if !needs_token(request) || self.token.is_none() {
            return Ok(Some(&self.operator));
        }
        let shown = shown(request)?;
        if shown.is_none() && request.uri().path() == OPERATORS_WEBSOCKET {
            return Ok(None);
        }
        if self.is_opened_by(shown.as_deref()) {
            return Ok(Some(&self.operator));
        }
        Err(unknown())
    }

    /// Where no token is needed, any will do.
    fn is_opened_by(&self, shown: Option<&str>) -> bool {
        self.token.is_none() || self.token == shown.map(Token::new)
    }
}

/// Whether only operators may ask this, where there is a token.
fn needs_token(request: &Request) -> bool {
    !is_open_to_all(request.uri().path())
}

fn is_open_to_all(path: &str) -> bool {
    OPEN_TO_ALL.contains(&path) || dashboard::has(path)
}

/// Whether a user's token could change nothing about the answer, so that nobody can be mistaken about what it shows.
fn is_same_for_all(path: &str) -> bool {
    is_open_to_all(path) || DESCRIPTIONS.contains(&path)
}

fn unknown() -> Denied {
    Denied::unauthorized("this needs the admin token; send Authorization: Bearer TOKEN")
}

/// The token that a request bears. In the address it may stand only where a browser has no other place for it.
fn shown(request: &Request) -> Result<Option<String>, Denied> {
    let (headers, uri) = (request.headers(), request.uri());
    if [OPERATORS_WEBSOCKET, OPERATORS_EVENTS].contains(&uri.path()) {
        return token::find(headers, uri, None);
    }
    Ok(bearer(headers).map(str::to_owned))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
