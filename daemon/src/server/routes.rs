//! The routes of a listener. A route is registered by its description in the table, and in no other way, so that what is
//! served is described and what is described is served.

mod bodies;
pub mod table;

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::handler::Handler;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Json, Router};

use super::answer::Denied;
use super::http::Arrival;
use crate::describe::Declarations;
use crate::describe::asyncapi::asyncapi;
use crate::describe::openapi::{Method, Route, openapi};

/// What whoever asks is told of streams and endpoints, or why not.
pub type Told = Arc<dyn Fn(&Arrival, &HeaderMap, &Uri) -> Result<Declarations, Denied> + Send + Sync>;

/// The paths of server-sent events at the listener that is asked.
pub type Streamed = Arc<dyn Fn(&Arrival) -> Vec<String> + Send + Sync>;

/// Routes that are described.
pub struct Routes<S = ()> {
    router: Router<S>,
    told: Vec<&'static Route>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Self {
        Self { router: Router::new(), told: Vec::new() }
    }

    /// Has the route served.
    pub fn serve<H: Handler<T, S>, T: 'static>(mut self, route: &'static Route, served: H) -> Self {
        let method = match route.method {
            Method::Get => MethodFilter::GET, // and HEAD, which is the same without a body
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        };
        self.told.push(route);
        Self { router: self.router.route(route.path, on(method, served)), ..self }
    }

    /// What the routes so far answer to other methods.
    pub fn otherwise<H: Handler<T, S>, T: 'static>(self, refuses: H) -> Self {
        Self { router: self.router.method_not_allowed_fallback(refuses), ..self }
    }

    pub fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), told: self.told }
    }

    pub fn merge(self, mut other: Self) -> Self {
        let mut told = self.told;
        told.append(&mut other.told);
        Self { router: self.router.merge(other.router), told }
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes {
    /// The same routes with something around them.
    pub fn around(self, layer: impl FnOnce(Router) -> Router) -> Self {
        Self { router: layer(self.router), ..self }
    }

    /// The documents that describe the listener with these routes.
    pub fn documents(&self, listener: &'static str, told: Told, streamed: Streamed) -> Self {
        let streams = async move |Extension(arrival): Extension<Arrival>, headers: HeaderMap, uri: Uri| {
            told(&arrival, &headers, &uri).map(|declarations| Json(asyncapi(&declarations)))
        };
        let mut described = self.told.clone();
        described.extend([&table::ASYNCAPI, &table::OPENAPI]);
        let routes = async move |Extension(arrival): Extension<Arrival>| {
            let streamed = streamed(&arrival);
            let streamed = streamed.iter().map(|path| (path.as_str(), &table::STREAMED));
            Json(openapi(listener, described.iter().map(|route| (route.path, *route)).chain(streamed)))
        };
        let own = Routes::new().serve(&table::ASYNCAPI, streams).serve(&table::OPENAPI, routes);
        own.otherwise(only_get).with_state(())
    }

    /// The routes as messages name them.
    pub fn spoken(&self) -> Vec<String> {
        self.told.iter().map(|route| route.spoken()).collect()
    }

    /// The paths at which this parameter stands behind the `?`.
    pub fn taking(&self, parameter: &str) -> Vec<&'static str> {
        let takes = |route: &&&Route| route.query.iter().any(|(name, _)| *name == parameter);
        self.told.iter().filter(takes).map(|route| route.path).collect()
    }

    pub fn into_router(self) -> Router {
        self.router.layer(middleware::from_fn(named))
    }
}

/// The answer to who names things in the path by text: nothing has a name that is none.
async fn named(names: Result<RawPathParams, RawPathParamsRejection>, request: Request, next: Next) -> Response {
    match names {
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
            let message = "nothing is at this path; what is percent-encoded in it has to be UTF-8";
            Denied::new(StatusCode::NOT_FOUND, "unknown_path", message).into_response()
        }
        _ => next.run(request).await,
    }
}

/// What a page answers to a method that is not for reading.
pub async fn only_get() -> Denied {
    Denied::wrong_method("GET, HEAD")
}

/// What a route that takes something answers to other methods.
pub async fn only_post() -> Denied {
    Denied::wrong_method("POST")
}
