//! A teacher behind HTTP: one request, one answer. The status is checked before the body is read, redirects are never followed (a
//! key would be sent along), and every wait has a limit. Reading the body is left to `response_body`, explaining failures to
//! `failure`.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use aludel_http::RequestFailure;

use super::endpoint::Routes;
use super::failure::ServerError;
use super::mask::Mask;
use super::response_body::Reader;
use super::retry_after::retry_after;
use super::{Answer, BoxFuture, Dialect, Endpoint, Failure, Question, RequestParams, Teacher, ollama, openai};
use crate::Error;

/// Maximum bytes read of an error.
const ERROR_BYTES: usize = 64 << 10;

/// Maximum bytes read of a list of models.
const LIST_BYTES: usize = 4 << 20;

/// Maximum wait for the body of an error, and for a health check.
const SHORT_WAIT: Duration = Duration::from_secs(30);

/// Fields of a request that must not be overridden, since reading the response depends on them.
const OWN_FIELDS: [&str; 4] = ["model", "messages", "stream", "n"];

/// A server that is asked over HTTP. Requests may run concurrently; connections are reused.
pub struct HttpTeacher {
    client: Client,
    endpoint: Endpoint,
    routes: Routes,
    headers: HeaderMap,
    /// Masks the keys in all that the server says.
    mask: Mask,
    /// Whether the server accepts `stream_options`, once that is known.
    takes_usage: OnceLock<bool>,
}

/// Which other requests would fail like this one.
fn failure_of(error: reqwest::Error, connect: Duration) -> Failure {
    // Other waits than that for a connection are not left to the client.
    match RequestFailure::of(error, connect, SHORT_WAIT) {
        RequestFailure::Tls(words) => Failure::Refused { status: None, words },
        RequestFailure::Connection(words) | RequestFailure::Slow(words) => Failure::broken(words),
    }
}

impl HttpTeacher {
    /// Prepares requests; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Endpoint`] for an invalid address or header.
    pub fn new(endpoint: Endpoint) -> Result<HttpTeacher, Error> {
        let routes = endpoint.routes()?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &endpoint.key {
            headers.insert(AUTHORIZATION, key.header("Bearer "));
        }
        for (name, value) in &endpoint.headers {
            let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                endpoint.refuse(format!("`{name}` is no name of a header; use letters, digits and `-`"))
            })?;
            headers.insert(known, value.header(""));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(aludel_http::tls(routes.chat.scheme() == "https"))
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(endpoint.timeouts.connect)
            .user_agent(concat!("aludel/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|reason| endpoint.refuse(format!("no client can be made for it ({reason})")))?;
        let mask = mask(&endpoint, &routes);
        Ok(HttpTeacher { client, endpoint, routes, headers, mask, takes_usage: OnceLock::new() })
    }

    /// The names of the models that the server lists; empty if it has no such route.
    pub(crate) async fn models(&self) -> Result<Vec<String>, Failure> {
        let wait = self.endpoint.timeouts.request.min(SHORT_WAIT);
        // Those who ask for the list may ask further questions from another runtime, where this connection would be dead.
        let request = self.client.get(self.routes.models.clone()).header(CONNECTION, "close");
        let mut response = match self.accepted(request, wait).await {
            Err(Failure::Refused { status: Some(404 | 405), .. }) => return Ok(Vec::new()),
            response => response.map_err(|failure| self.mask.failure(failure))?,
        };
        let mut body = Vec::new();
        let _ = timeout(SHORT_WAIT, async {
            while let Ok(Some(bytes)) = response.chunk().await {
                body.extend_from_slice(&bytes);
                if body.len() > LIST_BYTES {
                    break;
                }
            }
        })
        .await;
        let list: Value = serde_json::from_slice(&body).unwrap_or_default();
        let models = list.get("data").or_else(|| list.get("models")).and_then(Value::as_array);
        let name =
            |model: &Value| Some(self.mask.text(model.get("id").or_else(|| model.get("name"))?.as_str()?).into_owned());
        Ok(models.into_iter().flatten().filter_map(name).collect())
    }

    async fn answer(&self, question: &Question, asking: &RequestParams, sample: u32) -> Result<Answer, Failure> {
        if let Some(name) = OWN_FIELDS.iter().find(|&&name| asking.extra_body.contains_key(name)) {
            let words = format!("`{name}` cannot be set as a further field of the request; it is set by Aludel");
            return Err(Failure::Refused { status: None, words });
        }
        let started = Instant::now();
        let stream = self.endpoint.stream;
        let takes_usage = self.takes_usage.get().copied();
        let body = |with_usage| match self.endpoint.dialect {
            Dialect::OpenAi => openai::body(question, asking, sample, stream, with_usage),
            Dialect::Ollama => ollama::body(question, asking, sample, stream),
        };
        let post = async |with_usage| {
            let request = self.client.post(self.routes.chat.clone()).body(body(with_usage).to_string());
            self.accepted(request, if stream { self.endpoint.timeouts.idle } else { self.endpoint.timeouts.request })
                .await
        };
        let sends_usage = stream && self.endpoint.dialect == Dialect::OpenAi;
        let response = match post(takes_usage != Some(false)).await {
            // Some servers refuse unknown fields. Only a server that has never accepted this one gets a second attempt.
            Err(
                Failure::Question { status: Some(400 | 422), .. } | Failure::Refused { status: Some(400 | 422), .. },
            ) if sends_usage && takes_usage.is_none() => {
                let response = post(false).await?;
                // Two responses may arrive at once; the first one decides.
                let _ = self.takes_usage.set(false);
                response
            }
            response => response?,
        };
        if sends_usage {
            let _ = self.takes_usage.set(true);
        }
        self.read(response, started).await
    }

    /// Sends a request and checks the status of the response.
    async fn accepted(&self, request: RequestBuilder, wait: Duration) -> Result<Response, Failure> {
        let sent = timeout(wait, request.headers(self.headers.clone()).send()).await;
        let sent = sent.map_err(|_| Failure::broken(format!("no answer began within {} s", wait.as_secs_f64())))?;
        let mut response = sent.map_err(|error| failure_of(error, self.endpoint.timeouts.connect))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(self.redirected(&response));
        }
        let wait = retry_after(response.headers(), SystemTime::now());
        let mut body = Vec::new();
        // A partial error message is enough.
        let _ = timeout(SHORT_WAIT, async {
            while let Ok(Some(bytes)) = response.chunk().await {
                body.extend_from_slice(&bytes[..bytes.len().min(ERROR_BYTES - body.len())]);
                if body.len() == ERROR_BYTES {
                    break;
                }
            }
        })
        .await;
        let said = ServerError::from_bytes(status.as_u16(), &body);
        Err(Failure::from_status(status.as_u16(), wait, &said))
    }

    fn redirected(&self, response: &Response) -> Failure {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let there = location.and_then(|location| self.routes.chat.join(location).ok());
        let host = there.as_ref().and_then(|there| there.host_str()).unwrap_or("nowhere");
        let words = format!("it sends questions on to {host}, and redirects are not followed; give the final address");
        Failure::Refused { status: Some(response.status().as_u16()), words }
    }

    async fn read(&self, mut response: Response, started: Instant) -> Result<Answer, Failure> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let mut reader = Reader::new(&self.endpoint, kind);
        reader.expect(response.content_length())?;
        while !reader.is_done() {
            // An answer that has ended waits only for its token count.
            let wait = if self.endpoint.stream { self.endpoint.timeouts.idle } else { self.endpoint.timeouts.request };
            let wait = if reader.has_ended() { wait.min(SHORT_WAIT) } else { wait };
            match timeout(wait, response.chunk()).await {
                Ok(Ok(Some(bytes))) => reader.push(&bytes, started)?,
                Ok(Ok(None)) => break,
                _ if reader.has_ended() => break,
                Ok(Err(error)) => return Err(failure_of(error, self.endpoint.timeouts.connect)),
                Err(_) => return Err(Failure::broken(format!("nothing came for {} s", wait.as_secs_f64()))),
            }
        }
        let is_done = reader.is_done();
        let answer = reader.finish(started);
        if is_done {
            // A connection can be reused only once its response was read to the end.
            let _ = timeout(Duration::from_secs(1), response.chunk()).await;
        }
        answer
    }
}

/// Secrets that a server's words may contain: the key, credentials in a header or an address, and the full values of all other
/// headers.
fn mask(endpoint: &Endpoint, routes: &Routes) -> Mask {
    let mut mask = Mask::default();
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["auth", "key", "token", "secret", "password", "cookie", "sig"].iter().any(|part| name.contains(part))
    };
    if let Some(key) = &endpoint.key {
        mask.add_key(key.text());
    }
    for (name, value) in &endpoint.headers {
        match is_secret(name) {
            // What precedes white space is a scheme, such as `Bearer`.
            true => mask.add_key(value.text().split_once(' ').map_or(value.text(), |(_, key)| key)),
            false => mask.add_whole(value.text()),
        }
    }
    routes.chat.query_pairs().filter(|(name, _)| is_secret(name)).for_each(|(_, value)| mask.add_key(&value));
    mask
}

impl Teacher for HttpTeacher {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
        asking: &'a RequestParams,
        sample: u32,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let wait = self.endpoint.timeouts.request;
            let answer = timeout(wait, self.answer(question, asking, sample)).await.unwrap_or_else(|_| {
                Err(Failure::broken(format!("the answer was not whole after {} s", wait.as_secs_f64())))
            });
            // The only place where a server's words leave this module.
            answer.map(|answer| self.mask.answer(answer)).map_err(|failure| self.mask.failure(failure))
        })
    }

    fn name(&self) -> &str {
        &self.routes.name
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async {
            let wait = self.endpoint.timeouts.request.min(SHORT_WAIT);
            match self.accepted(self.client.get(self.routes.models.clone()), wait).await {
                // The server responds and has no list of models.
                Err(Failure::Refused { status: Some(404 | 405), .. }) => Ok(()),
                checked => checked.map(drop).map_err(|failure| self.mask.failure(failure)),
            }
        })
    }
}
