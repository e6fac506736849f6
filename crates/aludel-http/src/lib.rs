//! What all HTTP clients of Aludel share: the TLS configuration, and messages for failed connections. Requests and responses belong
//! to the clients.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// TLS 1.2 and 1.3; trusted are Mozilla's root certificates and those of this machine (which take time to read, and are skipped
/// where TLS is not `used`).
pub fn tls(used: bool) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if used {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Why a request failed, in words for people. The address is left out: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// TLS failed: a retry will fail, too.
    Tls(String),
    /// The connection timed out or broke: a retry may work.
    Connection(String),
    /// The connection was made, and then nothing came in time: the other side is slow.
    Slow(String),
}

impl RequestFailure {
    /// The words for a failed request whose connection had to be made within `connect`, and whose bytes had to come within `read` of each
    /// other.
    pub fn of(error: reqwest::Error, connect: Duration, read: Duration) -> RequestFailure {
        let error = error.without_url();
        if let Some(tls) = tls_error(&error) {
            return RequestFailure::Tls(tls_words(tls));
        }
        if error.is_timeout() && error.is_connect() {
            return RequestFailure::Connection(format!("no connection within {} s", connect.as_secs_f64()));
        }
        if error.is_timeout() {
            return RequestFailure::slow(read);
        }
        let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
        RequestFailure::Connection(format!("{what}: {}", last_cause(&error)))
    }

    /// The words for reading a response that failed, of which each part had to come within `read`.
    pub fn of_reading(error: &io::Error, read: Duration) -> RequestFailure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
        if error.kind() == io::ErrorKind::TimedOut || inner.is_some_and(reqwest::Error::is_timeout) {
            return RequestFailure::slow(read);
        }
        RequestFailure::Connection(format!(
            "the connection broke: {}",
            inner.map_or_else(|| error.to_string(), |inner| last_cause(inner))
        ))
    }

    fn slow(read: Duration) -> RequestFailure {
        RequestFailure::Slow(format!("nothing came for {} s", read.as_secs_f64()))
    }

    /// What to say.
    pub fn words(self) -> String {
        match self {
            RequestFailure::Tls(words) | RequestFailure::Connection(words) | RequestFailure::Slow(words) => words,
        }
    }
}

/// The TLS error among the causes. An input/output error does not show what it wraps in `source`.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => tls_error(wrapped),
        None => tls_error(error.source()?),
    }
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            let reason = match reason {
                CertificateError::UnknownIssuer => "is signed by an authority that this machine does not trust",
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "is for another host"
                }
                // `openssl req -x509` makes a CA certificate by default.
                CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                    return "its certificate is an authority's own and cannot stand for a server; make one for the host, \
                            with basicConstraints=CA:FALSE and its name in subjectAltName, and name its authority in \
                            SSL_CERT_FILE"
                        .to_owned();
                }
                _ => {
                    return format!(
                        "its certificate is not accepted ({reason}); give the server one of version 3 for its own host name, \
                         and name its authority in SSL_CERT_FILE"
                    );
                }
            };
            format!("its certificate {reason}; add its authority to this machine's, or name it in SSL_CERT_FILE")
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS; is its address http:// rather than https://?".to_owned()
        }
        _ => format!("the TLS connection failed ({error})"),
    }
}

fn last_cause(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::OtherError;

    /// Whatever is wrong with a certificate, the message says what to do about it.
    #[test]
    fn each_certificate_error_has_a_mend() {
        #[derive(Debug, thiserror::Error)]
        #[error("CaUsedAsEndEntity")]
        struct Webpki;
        for reason in [
            CertificateError::UnknownIssuer,
            CertificateError::Expired,
            CertificateError::NotValidForName,
            CertificateError::BadEncoding,
            CertificateError::InvalidPurpose,
            CertificateError::Other(OtherError(Arc::new(Webpki))),
        ] {
            let words = tls_words(&rustls::Error::InvalidCertificate(reason));
            assert!(words.contains("SSL_CERT_FILE"), "{words}");
        }
    }
}
