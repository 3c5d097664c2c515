//! The dashboard: pages for a browser, built from `dashboard/` beforehand and part of the program.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Parts;
use crate::server::answer::Denied;
use crate::server::routes::{Routes, only_get, table};

/// What the pages may do: load what is here and ask the listener that they are from, and nothing else. Nobody shows them in
/// a frame, and no text becomes a script or a style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Looked after at every visit: after an upgrade of the daemon it is another.
const ASK_AGAIN: &str = "no-cache";
/// What has a hash of its content in its name never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A file of the built dashboard.
struct File {
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    kept: &'static str,
    bytes: &'static [u8],
}

/// Written by the build of `dashboard/`, with the files beside it.
static FILES: &[File] = &include!("../../../dashboard/dist/files.in");

pub fn routes() -> Routes<Parts> {
    Routes::new().serve(&table::DASHBOARD, page).serve(&table::ASSET, asset).otherwise(only_get)
}

/// Whether a path is of the dashboard, which shows nothing by itself and so is for everybody: it asks for the token.
pub fn has(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

async fn page(headers: HeaderMap) -> Result<Response, Denied> {
    answer(table::DASHBOARD.path, &headers)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Denied> {
    answer(&format!("/assets/{name}"), &headers)
}

fn answer(path: &str, headers: &HeaderMap) -> Result<Response, Denied> {
    let Some(file) = FILES.iter().find(|file| file.path == path) else {
        let message = "the dashboard has no such file; load it anew, it may be of another version";
        return Err(Denied::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let is_known =
        known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == file.etag));
    let mut answer = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { file.bytes.into_response() };
    let told = [
        (header::CONTENT_TYPE, file.content_type),
        (header::CACHE_CONTROL, file.kept),
        (header::ETAG, file.etag),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in told {
        answer.headers_mut().insert(name, HeaderValue::from_static(value)); // in place of what bytes are called
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, known: &str) -> Response {
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
        answer(path, &headers).unwrap()
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let etag = FILES.iter().find(|file| file.path == "/").unwrap().etag;
        assert_eq!(asked("/", "\"other\"").status(), StatusCode::OK);
        for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}")] {
            assert_eq!(asked("/", &known).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
    }

    #[test]
    fn every_file_says_what_it_is_and_lets_in_nothing_foreign() {
        for file in FILES {
            let answer = asked(file.path, "");
            let said = |name| answer.headers().get(name).unwrap().to_str().unwrap();
            assert_eq!(said(header::CONTENT_TYPE), file.content_type);
            assert_eq!(said(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
            let policy = said(header::CONTENT_SECURITY_POLICY);
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        }
        assert!(answer("/assets/none.js", &HeaderMap::new()).is_err());
    }

    #[test]
    fn the_page_loads_nothing_but_what_is_here_and_nothing_inline() {
        let page = FILES.iter().find(|file| file.path == "/").unwrap();
        let text = std::str::from_utf8(page.bytes).unwrap();
        let links = text.split(['"']).filter(|part| part.starts_with("/assets/"));
        assert!(links.clone().count() >= 2, "{text}");
        assert!(links.clone().all(has), "{text}");
        assert!(!text.contains("<style") && !text.contains("<script>") && !text.contains("http:"), "{text}");
    }
}
