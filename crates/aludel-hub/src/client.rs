//! Requests to the Hub over HTTP. Redirects are followed by hand, so that the token is sent to the Hub's own address and to no
//! other.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use aludel_http::RequestFailure;
use reqwest::blocking::{Client as HttpClient, Response};
use reqwest::header::{AUTHORIZATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::{Hub, Kind};

/// A connection that is not made for so long will not be made.
const CONNECT: Duration = Duration::from_secs(20);
/// A response of which nothing comes for so long will not come.
const READ: Duration = Duration::from_secs(60);
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
    /// It was asked for bytes behind the file's end.
    pub(super) past_end: Option<PastEnd>,
}

/// What the server says of a file that ends before the bytes that were asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastEnd {
    /// Its size, if it is told.
    pub(super) bytes_total: Option<u64>,
}

/// A file as it comes.
pub(super) struct Body {
    pub(super) stream: Box<dyn Read>,
    /// Which of the file's bytes comes first, if that is known.
    pub(super) starts_at: Option<u64>,
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
            .connect_timeout(CONNECT)
            // For each read, and not for a file as a whole.
            .timeout(READ)
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
        read.map_err(|error| Failure::reading(&error))?;
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
        // A range without its place is not known to be the one that was asked for.
        let range = header("content-range").and_then(ContentRange::parse);
        let (starts_at, bytes_total) = match (response.status() == StatusCode::PARTIAL_CONTENT, range) {
            (false, _) => (Some(0), length),
            (true, Some(ContentRange { start: Some(start), bytes_total })) => {
                (Some(start), bytes_total.or(length.map(|length| start + length)))
            }
            (true, _) => (None, None),
        };
        Ok(Body { stream: Box::new(response), starts_at, bytes_total })
    }

    /// The first bytes of a file.
    pub(super) fn head(&self, address: &str, bytes: u64) -> Result<Vec<u8>, Failure> {
        let mut head = Vec::new();
        let mut stream = self.ask(address, Some(0..=bytes - 1))?.take(bytes);
        stream.read_to_end(&mut head).map_err(|error| Failure::reading(&error))?;
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
            let host = host_of(address);
            Failure::unreachable(match RequestFailure::of(error, CONNECT, READ) {
                RequestFailure::Slow(words) => format!("{host} was reached, but {words}; try again later"),
                RequestFailure::Tls(words) | RequestFailure::Connection(words) => {
                    format!("{host} cannot be reached ({words}); check the network, and HF_ENDPOINT if it is set")
                }
            })
        })
    }
}

impl Failure {
    pub(super) fn refused(reason: String) -> Failure {
        Failure { reason, is_unreachable: false, past_end: None }
    }

    pub(super) fn unreachable(reason: String) -> Failure {
        Failure { reason, is_unreachable: true, past_end: None }
    }

    /// A response that could not be read to its end.
    pub(super) fn reading(error: &io::Error) -> Failure {
        Failure::unreachable(format!("{}; try again later", RequestFailure::of_reading(error, READ).words()))
    }
}

/// `bytes 5-9/10`, or `bytes */10` where no byte could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContentRange {
    start: Option<u64>,
    bytes_total: Option<u64>,
}

impl ContentRange {
    fn parse(header: &str) -> Option<ContentRange> {
        let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let start = match range.trim() {
            "*" => None,
            range => Some(range.split_once('-')?.0.parse().ok()?),
        };
        let bytes_total = if total == "*" { None } else { Some(total.trim().parse().ok()?) };
        Some(ContentRange { start, bytes_total })
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
        416 => {
            let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
            let bytes_total = range.and_then(ContentRange::parse).and_then(|range| range.bytes_total);
            let refused = Failure::refused(format!("{endpoint} answered {status}"));
            Err(Failure { past_end: Some(PastEnd { bytes_total }), ..refused })
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_servers_write_them() {
        let range = |start, bytes_total| Some(ContentRange { start, bytes_total });
        for (header, read) in [
            ("bytes 5-9/10", range(Some(5), Some(10))),
            ("bytes 5-9/*", range(Some(5), None)),
            ("bytes */10", range(None, Some(10))),
            ("bytes -9/10", None),
            ("5-9/10", None),
            ("bytes 5-9", None),
        ] {
            assert_eq!(ContentRange::parse(header), read, "{header}");
        }
    }

    /// A server that was reached and says nothing is slow; one that no connection comes to is not reached.
    #[test]
    fn a_slow_server_is_not_called_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let short = Duration::from_millis(50);
        let client = |connect: Duration, read: Duration| {
            let builder = HttpClient::builder().tls_backend_preconfigured(aludel_http::tls(false));
            builder.connect_timeout(connect).timeout(read).build().unwrap()
        };
        let failed = |client: HttpClient| RequestFailure::of(client.get(&address).send().unwrap_err(), short, short);
        assert_eq!(failed(client(READ, short)), RequestFailure::Slow("nothing came for 0.05 s".to_owned()));
        // The beginning of a response, and then nothing.
        let respond = thread::spawn(move || {
            let (first, _) = listener.accept().unwrap();
            let (mut second, _) = listener.accept().unwrap();
            // A response before its request is none.
            let mut lines = io::BufRead::lines(io::BufReader::new(&second));
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            drop(lines);
            io::Write::write_all(&mut second, head).unwrap();
            // The connection stays open until the other side has closed it.
            let _ = second.read_to_end(&mut Vec::new());
            drop(first);
        });
        let patient =
            HttpClient::builder().tls_backend_preconfigured(aludel_http::tls(false)).timeout(Duration::from_secs(2));
        let mut response = patient.build().unwrap().get(&address).send().unwrap();
        let error = response.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(
            RequestFailure::of_reading(&error, short),
            RequestFailure::Slow("nothing came for 0.05 s".to_owned())
        );
        drop(response);
        respond.join().unwrap();
    }
}
