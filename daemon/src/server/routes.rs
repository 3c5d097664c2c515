//! The routes of a listener. A route is registered by its description in the table, and in no other way, so that what is
//! served is described and what is described is served.

pub mod table;

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};

use super::answer::Denied;
use crate::describe::asyncapi::asyncapi;
use crate::describe::openapi::{Method, Route, openapi};
use crate::describe::{Catalogue, Reader};

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
    /// With the documents that describe the listener to this reader.
    pub fn described(self, listener: &str, catalogue: Arc<Catalogue>, reader: Reader) -> Self {
        let streams = move || {
            let document = asyncapi(&catalogue.declarations(reader));
            async { Json(document) }
        };
        let mut told = self.told.clone();
        told.extend([&table::ASYNCAPI, &table::OPENAPI]);
        let document = openapi(listener, &told).to_string();
        let routes = move || {
            let document = document.clone();
            async { ([(header::CONTENT_TYPE, "application/json")], document).into_response() }
        };
        let own = Routes::new().serve(&table::ASYNCAPI, streams).serve(&table::OPENAPI, routes);
        self.merge(own.otherwise(only_get))
    }

    /// The routes as messages name them.
    pub fn spoken(&self) -> Vec<String> {
        self.told.iter().map(|route| route.spoken()).collect()
    }

    pub fn into_router(self) -> Router {
        self.router
    }
}

/// What a page answers to a method that is not for reading.
pub async fn only_get() -> Denied {
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this page is read with GET")
        .with(header::ALLOW, "GET, HEAD")
}
