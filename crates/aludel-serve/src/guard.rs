//! Who may ask: the key, and the names that the server is asked by. A page of another site can have a browser send requests to this
//! machine, also under a name of its own that it lets point here (DNS rebinding); both are told by `Host` and `Origin`.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use crate::error::ApiError;

/// Paths that are open to anybody who may connect: they tell nothing of conversations, and the page is where a key is typed.
const OPEN: [&str; 2] = ["/", "/health"];

/// What is asked of a request.
pub(crate) struct Guard {
    /// The hash of the key. Hashes are compared in constant time.
    key: Option<blake3::Hash>,
    /// Only this machine can connect.
    is_loopback: bool,
}

impl Guard {
    pub(crate) fn new(key: Option<&str>, address: SocketAddr) -> Guard {
        let key = key.map(|key| blake3::hash(key.as_bytes()));
        Guard { key, is_loopback: address.ip().is_loopback() }
    }

    /// Whether a request may go on.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = host_of(uri, headers)?;
        // Elsewhere, names are many, and a key is asked for, which a page of another site does not have.
        if self.is_loopback && !is_local_name(host.host()) {
            let message = format!("this server is asked as localhost or by its address, not as {:?}", host.host());
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let from = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
            if from.as_ref() != Some(&host) {
                let message = format!("pages of {origin:?} may not use this server; its own page is at /");
                return Err(ApiError::new(StatusCode::FORBIDDEN, message));
            }
        }
        let Some(key) = &self.key else { return Ok(()) };
        if OPEN.contains(&uri.path()) {
            return Ok(());
        }
        let given = key_of(headers).ok_or_else(|| {
            ApiError::new(StatusCode::UNAUTHORIZED, "a key is needed, in the header `Authorization: Bearer KEY`")
        })?;
        if blake3::hash(given) != *key {
            return Err(
                ApiError::new(StatusCode::UNAUTHORIZED, "this is not the server's key").with_code("invalid_api_key")
            );
        }
        Ok(())
    }
}

/// The name and port that the server is asked by. Two of them would be a way around the check.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<Authority, ApiError> {
    let mut given = headers.get_all(header::HOST).iter();
    let (host, other) = (given.next(), given.next());
    let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_same = uri.authority().is_none_or(|authority| Some(authority) == host.as_ref());
    match host {
        Some(host) if other.is_none() && is_same => Ok(host),
        _ => Err(ApiError::new(StatusCode::BAD_REQUEST, "a request needs one Host header")),
    }
}

fn is_local_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The key of a request, as OpenAI's and Ollama's clients send it, or as Anthropic's do.
fn key_of(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        return scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii());
    }
    Some(headers.get("x-api-key")?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn asked(guard: &Guard, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        guard.check(&path.parse().unwrap(), &map).map_or_else(|error| error.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_names_of_this_machine_and_its_own_pages_are_served() {
        let guard = Guard::new(None, "127.0.0.1:8080".parse().unwrap());
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"] {
            assert_eq!(asked(&guard, "/v1/models", &[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"] {
            assert_eq!(asked(&guard, "/v1/models", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(asked(&guard, "/", &[]), 400);
        assert_eq!(asked(&guard, "/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(asked(&guard, "http://evil.example/", &[("host", "localhost")]), 400);
        let own = ("host", "localhost:8080");
        assert_eq!(asked(&guard, "/", &[own, ("origin", "http://localhost:8080")]), 200);
        for origin in ["http://localhost:3000", "https://evil.example", "null", ""] {
            assert_eq!(asked(&guard, "/", &[own, ("origin", origin)]), 403, "{origin}");
        }
    }

    #[test]
    fn a_key_is_asked_for_but_for_the_page_and_health() {
        let guard = Guard::new(Some("secret"), "0.0.0.0:8080".parse().unwrap());
        let host = ("host", "model.example:8080");
        let check = |path: &str, header: (&str, &str)| asked(&guard, path, &[host, header]);
        assert_eq!(check("/v1/models", ("authorization", "Bearer secret")), 200);
        assert_eq!(check("/v1/models", ("authorization", "bearer secret")), 200);
        assert_eq!(check("/v1/messages", ("x-api-key", "secret")), 200);
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer", "Basic secret", "secret"] {
            assert_eq!(check("/metrics", ("authorization", wrong)), 401, "{wrong}");
        }
        assert_eq!(asked(&guard, "/v1/models", &[host]), 401);
        assert_eq!([asked(&guard, "/", &[host]), asked(&guard, "/health", &[host])], [200; 2]);
    }
}
