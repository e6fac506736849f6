//! A teacher behind HTTP: one request, one answer. The status is looked at before the body, redirects are never followed (a
//! key would travel), and every wait has an end. Reading the body is left to `response_body`, the words of failures to `failure`.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use aludel_http::Failed;

use super::endpoint::Routes;
use super::failure::Said;
use super::mask::Mask;
use super::response_body::Reader;
use super::retry_after::retry_after;
use super::{Answer, Asking, BoxFuture, Dialect, Endpoint, Failure, Question, Teacher, ollama, openai};
use crate::Error;

/// The most bytes that are read of an error.
const ERROR_BYTES: usize = 64 << 10;

/// The most bytes that are read of a list of models.
const LIST_BYTES: usize = 4 << 20;

/// The longest wait for the body of an error, and for a health check.
const SHORT_WAIT: Duration = Duration::from_secs(30);

/// Fields of a request that what comes back depends on being as they are.
const OWN_FIELDS: [&str; 4] = ["model", "messages", "stream", "n"];

/// A server that is asked over HTTP. Many questions may be asked at once; connections are kept and used again.
pub struct HttpTeacher {
    client: Client,
    endpoint: Endpoint,
    routes: Routes,
    headers: HeaderMap,
    /// Takes the keys out of all that the server says.
    mask: Mask,
    /// Whether the server takes `stream_options`, once that is known.
    takes_usage: OnceLock<bool>,
}

/// Whom else a failed request concerns.
fn failure_of(error: reqwest::Error, connect: Duration) -> Failure {
    // Other waits than that for a connection are not left to the client.
    match Failed::of(error, connect, SHORT_WAIT) {
        Failed::Tls(words) => Failure::Refused { status: None, words },
        Failed::Connection(words) | Failed::Slow(words) => Failure::broken(words),
    }
}

impl HttpTeacher {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Endpoint`] for an address or a header that makes no sense.
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

    /// The names of the models that the server lists; none if it does not know how to say so.
    pub(crate) async fn models(&self) -> Result<Vec<String>, Failure> {
        let wait = self.endpoint.timeouts.request.min(SHORT_WAIT);
        let mut response = match self.accepted(self.client.get(self.routes.models.clone()), wait).await {
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

    async fn answer(&self, question: &Question, asking: &Asking, sample: u32) -> Result<Answer, Failure> {
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
            // Some servers refuse what they do not know. Only one that was never seen to take it gets a second try.
            Err(Failure::Question { status: 400 | 422, .. } | Failure::Refused { status: Some(400 | 422), .. })
                if sends_usage && takes_usage.is_none() =>
            {
                let response = post(false).await?;
                // Two answers may come at once; the first to say so is right.
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

    /// Sends a request and looks at the status of what comes back.
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
        // What has come of an error's words is enough.
        let _ = timeout(SHORT_WAIT, async {
            while let Ok(Some(bytes)) = response.chunk().await {
                body.extend_from_slice(&bytes[..bytes.len().min(ERROR_BYTES - body.len())]);
                if body.len() == ERROR_BYTES {
                    break;
                }
            }
        })
        .await;
        let said = Said::from_bytes(status.as_u16(), &body);
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
            // An answer that has ended waits only for its count of tokens.
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
            // A connection can be used again only once its end was read.
            let _ = timeout(Duration::from_secs(1), response.chunk()).await;
        }
        answer
    }
}

/// What no server's words may give away: the key, what else stands in a header or an address as one, and as a whole the values of
/// all other headers.
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
            // What stands before white space is a scheme, such as `Bearer`.
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
        asking: &'a Asking,
        sample: u32,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let wait = self.endpoint.timeouts.request;
            let answer = timeout(wait, self.answer(question, asking, sample)).await.unwrap_or_else(|_| {
                Err(Failure::broken(format!("the answer was not whole after {} s", wait.as_secs_f64())))
            });
            // Here alone what a server said goes on to others.
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
                // Someone is there and has no list of models.
                Err(Failure::Refused { status: Some(404 | 405), .. }) => Ok(()),
                checked => checked.map(drop).map_err(|failure| self.mask.failure(failure)),
            }
        })
    }
}
