//! What keeps a server from starting, and what a request is answered with that cannot be answered otherwise. Each protocol has errors in
//! its own shape; the reasons are the same.

use std::io;
use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Whatever is wrong with the model.
    #[error(transparent)]
    Model(#[from] aludel_distill::Error),
    /// Another address than this machine's, and no key.
    #[error("{address} can be reached by other machines, and anybody there could use the model")]
    NoKey {
        /// Where it should listen.
        address: SocketAddr,
    },
    /// The address cannot be listened to.
    #[error("{address}: {reason}")]
    Listen {
        /// Where it should listen.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
    /// The system has no threads or timers left.
    #[error("the server cannot be started: {0}")]
    Runtime(io::Error),
    /// Whoever is told that it listens could not take it in.
    #[error(transparent)]
    Ready(io::Error),
    /// The thread that generates has ended.
    #[error("the engine has stopped: this is a bug in Aludel, and what it said is above")]
    Engine,
}

/// What may go wrong before a server listens.
pub type Result<T> = std::result::Result<T, Error>;

/// The protocol whose shape an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    OpenAi,
    Anthropic,
    Ollama,
}

impl Protocol {
    /// The protocol of a path.
    pub(crate) fn of(path: &str) -> Protocol {
        if path.starts_with("/v1/messages") {
            Protocol::Anthropic
        } else if path.starts_with("/api/") {
            Protocol::Ollama
        } else {
            Protocol::OpenAi
        }
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The field of the request.
    pub(crate) param: Option<String>,
    /// A word for programs.
    pub(crate) code: Option<&'static str>,
    /// Seconds after which to ask again.
    pub(crate) retry_after: Option<u32>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// A field of the request that cannot be what it is: its name, why, and what it can be.
    pub(crate) fn field(param: impl Into<String>, message: impl AsRef<str>) -> ApiError {
        let param = param.into();
        let message = format!("{param}: {}", message.as_ref());
        ApiError { param: Some(param), ..ApiError::new(StatusCode::BAD_REQUEST, message) }
    }

    pub(crate) fn with_code(self, code: &'static str) -> ApiError {
        ApiError { code: Some(code), ..self }
    }

    /// The thread that generates has ended.
    pub(crate) fn engine_stopped() -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the engine has stopped; the server has to be started again")
    }

    /// The JSON of the error, as `protocol` has it.
    pub(crate) fn json(&self, protocol: Protocol) -> Value {
        match protocol {
            Protocol::OpenAi => json!({"error": {
                "message": self.message, "type": self.openai_type(), "param": self.param, "code": self.code,
            }}),
            Protocol::Anthropic => {
                json!({"type": "error", "error": {"type": self.anthropic_type(), "message": self.message}})
            }
            Protocol::Ollama => json!({"error": self.message}),
        }
    }

    fn openai_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// No request is taken any more.
    pub(crate) fn stopping() -> ApiError {
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping");
        ApiError { retry_after: Some(10), ..error }
    }

    pub(crate) fn response(&self, protocol: Protocol) -> Response {
        let mut response = json_response(&self.json(protocol));
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A response of JSON.
pub(crate) fn json_response(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
