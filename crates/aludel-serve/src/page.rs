//! The page: one file without anything from elsewhere, and the policy by which a browser holds it to that.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

const PAGE: &str = include_str!("page/page.html");

/// Its own script and style, and requests to this server alone.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/`.
pub(crate) async fn page() -> Response {
    let mut response = PAGE.into_response();
    for (name, value) in [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
