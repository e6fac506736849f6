//! Requests to the Hub over HTTP. Redirects are followed by hand, so that the token is sent to the Hub's own address and to no
//! other.

use std::io::Read;
use std::thread;
use std::time::Duration;

use reqwest::blocking::{Client as HttpClient, Response};
use reqwest::header::{AUTHORIZATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::{Hub, Kind};

/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 4;
const REDIRECTS: usize = 5;
/// Maximum bytes of the list of a repository's files.
const LISTING_BYTES: u64 = 64 << 20;

/// Asks the Hub.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    http: HttpClient,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// A retry may work, and so may the cache.
    pub(super) is_unreachable: bool,
}

/// A file as it comes.
pub(super) struct Body {
    pub(super) stream: Box<dyn Read>,
    pub(super) starts_at: u64,
    pub(super) bytes_total: Option<u64>,
}

/// The content of a repository.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub) -> Client<'a> {
        let http = HttpClient::builder()
            .tls_backend_preconfigured(aludel_http::tls(true))
            .redirect(Policy::none())
            .connect_timeout(TIMEOUT)
            // Per read, not per file.
            .timeout(TIMEOUT)
            .user_agent(concat!("aludel/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("TLS is configured, and the system can make a thread");
        Client { hub, http }
    }

    /// The files of a repository's main branch.
    pub(super) fn list(&self, kind: Kind, repository: &str) -> Result<Listing, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let kind = match kind {
            Kind::DataSet => "datasets",
            Kind::Model => "models",
        };
        let address = format!("{}/api/{kind}/{repository}/revision/main", self.hub.endpoint);
        let mut body = Vec::new();
        let read = self.ask(&address, None)?.take(LISTING_BYTES + 1).read_to_end(&mut body);
        read.map_err(|error| Failure::unreachable(error.to_string()))?;
        if body.len() as u64 > LISTING_BYTES {
            return Err(Failure::refused(format!("{} gave a list of files without end", self.hub.endpoint)));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| Failure::refused(format!("{} gave no list of files ({error})", self.hub.endpoint)))?;
        if answer.sha.is_empty() || !answer.sha.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(Failure::refused(format!("{} named no commit", self.hub.endpoint)));
        }
        Ok(Listing {
            commit: answer.sha,
            files: answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect(),
        })
    }

    /// The address of a file of a commit.
    pub(super) fn address(&self, kind: Kind, repository: &str, commit: &str, file: &str) -> String {
        let kind = match kind {
            Kind::DataSet => "datasets/",
            Kind::Model => "",
        };
        let mut path = String::new();
        for byte in file.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    path.push(char::from(byte))
                }
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
        format!("{}/{kind}{repository}/resolve/{commit}/{path}", self.hub.endpoint)
    }

    /// The hash by which the cache names a file's content.
    pub(super) fn hash_of(&self, address: &str) -> Result<String, Failure> {
        let mut address = address.to_string();
        for _ in 0..REDIRECTS {
            let response = self.send(&address, Some(0..=0), true)?;
            if !response.status().is_redirection() {
                refuse_status(&response, &self.hub.endpoint)?;
            }
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            // A redirect to the content names its hash; one to a repository's new name does not.
            let tag = match response.status().is_redirection() {
                true => header("x-linked-etag"),
                false => header("x-linked-etag").or_else(|| header("etag")),
            };
            if let Some(tag) = tag {
                let hash = tag.trim_start_matches("W/").trim_matches('"');
                let is_hash =
                    !hash.is_empty() && hash.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
                return if is_hash { Ok(hash.to_string()) } else { Err(no_hash()) };
            }
            if !response.status().is_redirection() {
                return Err(no_hash());
            }
            address = redirected(&address, header("location").unwrap_or_default())?;
            if !is_same_host(&address, &self.hub.endpoint) {
                return Err(no_hash());
            }
        }
        Err(no_hash())
    }

    /// A file's content from an offset on, if the server supports that.
    pub(super) fn get(&self, address: &str, from: u64) -> Result<Body, Failure> {
        let response = self.ask(address, (from > 0).then_some(from..=u64::MAX))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let length: Option<u64> = header("content-length").and_then(|length| length.parse().ok());
        let starts_at = if response.status() == StatusCode::PARTIAL_CONTENT { from } else { 0 };
        let bytes_total = length.map(|length| starts_at + length);
        Ok(Body { stream: Box::new(response), starts_at, bytes_total })
    }

    /// The first bytes of a file.
    pub(super) fn head(&self, address: &str, bytes: u64) -> Result<Vec<u8>, Failure> {
        let mut head = Vec::new();
        let mut stream = self.ask(address, Some(0..=bytes - 1))?.take(bytes);
        stream.read_to_end(&mut head).map_err(|error| Failure::unreachable(error.to_string()))?;
        Ok(head)
    }

    pub(super) fn attempts(&self) -> u32 {
        ATTEMPTS
    }

    pub(super) fn pause(&self, attempt: u32) {
        thread::sleep(Duration::from_millis(250 << attempt));
    }

    /// Sends a request, following redirects; the token is sent to the Hub alone.
    fn ask(&self, address: &str, range: Option<std::ops::RangeInclusive<u64>>) -> Result<Response, Failure> {
        let mut address = address.to_string();
        for _ in 0..REDIRECTS {
            let response = self.send(&address, range.clone(), is_same_host(&address, &self.hub.endpoint))?;
            if !response.status().is_redirection() {
                refuse_status(&response, &self.hub.endpoint)?;
                return Ok(response);
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            address = redirected(&address, location)?;
        }
        Err(Failure::refused(format!("{address} redirects without end")))
    }

    fn send(
        &self,
        address: &str,
        range: Option<std::ops::RangeInclusive<u64>>,
        shows_token: bool,
    ) -> Result<Response, Failure> {
        let mut request = self.http.get(address);
        if let Some(token) = self.hub.token.as_ref().filter(|_| shows_token) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.0));
        }
        if let Some(range) = range {
            let end = if *range.end() == u64::MAX { String::new() } else { range.end().to_string() };
            request = request.header(RANGE, format!("bytes={}-{end}", range.start()));
        }
        request.send().map_err(|error| {
            Failure::unreachable(format!(
                "{} cannot be reached ({}); check the network, and HF_ENDPOINT if it is set",
                host_of(address),
                aludel_http::RequestFailure::of(error, TIMEOUT).words()
            ))
        })
    }
}

impl Failure {
    pub(super) fn refused(reason: String) -> Failure {
        Failure { reason, is_unreachable: false }
    }

    pub(super) fn unreachable(reason: String) -> Failure {
        Failure { reason, is_unreachable: true }
    }
}

fn no_hash() -> Failure {
    Failure::refused("the Hub named no hash for it".to_string())
}

fn refuse_status(response: &Response, endpoint: &str) -> Result<(), Failure> {
    let status = response.status();
    let refuse = |reason: &str| Err(Failure::refused(reason.to_string()));
    match status.as_u16() {
        200..=299 => Ok(()),
        401 | 403 => refuse(
            "the Hub does not show it to everybody: set HF_TOKEN to a token that may read it, and accept its conditions on its page if it has any",
        ),
        404 => refuse(
            "there is no such repository or file on the Hub; check the spelling, and set HF_TOKEN if it is private",
        ),
        408 | 429 | 500..=599 => Err(Failure::unreachable(format!("{endpoint} answered {status}; try again later"))),
        _ => refuse(&format!("{endpoint} answered {status}")),
    }
}

fn redirected(from: &str, location: &str) -> Result<String, Failure> {
    let refused = || Failure::refused(format!("{} redirects to {location:?}, which is no address", host_of(from)));
    let target = match location.starts_with('/') {
        true => Url::parse(from).and_then(|from| from.join(location)),
        false => Url::parse(location),
    };
    let target = target.map_err(|_| refused())?;
    match target.scheme() {
        // A redirect must not lead from https to http.
        "http" if from.starts_with("https:") => Err(refused()),
        "http" | "https" => Ok(target.into()),
        _ => Err(refused()),
    }
}

fn is_same_host(address: &str, endpoint: &str) -> bool {
    match (Url::parse(address), Url::parse(endpoint)) {
        (Ok(address), Ok(endpoint)) => address.origin().is_tuple() && address.origin() == endpoint.origin(),
        _ => false,
    }
}

fn host_of(address: &str) -> String {
    Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_string)).unwrap_or_else(|| address.to_string())
}
