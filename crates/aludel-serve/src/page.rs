//! The page: one file without anything from elsewhere, and the policy by which a browser holds it to that.

use std::hash::{BuildHasher as _, RandomState};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

/// The page, whose own script and style are marked by `NONCE`.
const PAGE: &str = include_str!("page/page.html");

/// `/`. Script and style run only with the number of this one answer, so that nothing that a text might smuggle in would run; requests go
/// to this server alone.
pub(crate) async fn page() -> Response {
    let nonce = format!("{:016x}", RandomState::new().hash_one(()));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = PAGE.replace("NONCE", &nonce).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Digits and the words above can be in a header.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
