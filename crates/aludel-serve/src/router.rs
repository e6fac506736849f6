//! Which path leads where, and what is done with every request before and after.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use crate::error::{ApiError, Protocol, json_response};
use crate::server::Server;
use crate::{anthropic, ollama, openai, page};

/// Of the head of a request.
pub(crate) const HEAD_BYTES: usize = 32 << 10;

/// All paths.
pub(crate) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/health", get(health))
        .route("/metrics", get(async |State(server): State<Arc<Server>>| server.metrics.response()))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{name}", get(openai::model))
        .route("/v1/chat/completions", post(openai::chat::handle))
        .route("/v1/completions", post(openai::completions::handle))
        .route("/v1/responses", post(openai::responses::handle))
        .route("/v1/messages", post(anthropic::handle))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/api/version", get(ollama::version))
        .route("/api/tags", get(ollama::tags))
        .route("/api/show", post(ollama::show))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .fallback(async |uri: Uri| {
            let message = format!("there is no {} here", uri.path());
            ApiError::new(StatusCode::NOT_FOUND, message).response(Protocol::of(uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("{} cannot be asked by {method}", uri.path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).response(Protocol::of(uri.path()))
        })
        .layer(from_fn_with_state(Arc::clone(&server), check))
        .with_state(server)
}

/// What the lines of a request's head take. The connection itself has no exact limit: it counts by the bytes that it reads at once.
fn head_bytes(request: &Request<Body>) -> usize {
    let (method, uri) = (request.method().as_str().len(), request.uri().to_string().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    // the version, blanks and ends of lines
    method + uri + 14 + headers.sum::<usize>()
}

/// Whether answers are taken.
async fn health(State(server): State<Arc<Server>>) -> Response {
    let is_stopping = *server.is_stopping.borrow();
    let mut response = json_response(&json!({"status": if is_stopping { "stopping" } else { "ok" }}));
    if is_stopping {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Checks each request before anything else looks at it, and gives all responses the headers that keep browsers from guessing.
async fn check(State(server): State<Arc<Server>>, request: Request<Body>, next: Next) -> Response {
    let protocol = Protocol::of(request.uri().path());
    let mut response = match server.guard.check(request.uri(), request.headers()) {
        Err(error) => error.response(protocol),
        Ok(()) if head_bytes(&request) > HEAD_BYTES => {
            let message = format!("the head of the request has more than {HEAD_BYTES} bytes");
            ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message).response(protocol)
        }
        Ok(()) if *server.is_stopping.borrow() && request.uri().path() != "/health" => {
            ApiError::stopping().response(protocol)
        }
        Ok(()) => next.run(request).await,
    };
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
