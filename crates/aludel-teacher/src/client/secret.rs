//! A key that no message, log, file or debug output shows. Where it comes from is decided by the binary.

use std::fmt;

use reqwest::header::HeaderValue;

/// A secret that is sent in a request's header and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret without surrounding white space; `None` if it is empty or holds characters that a header cannot carry (line breaks,
    /// control characters, non-ASCII).
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        fits.then(|| Secret(text.to_owned()))
    }

    /// The header that carries it, marked so that no HTTP library prints it.
    pub(super) fn header(&self, prefix: &str) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0)).expect("checked when it was made");
        value.set_sensitive(true);
        value
    }

    /// The secret itself, for masking it in other texts.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
