//! A key that no message, log, file or debug output shows. Where it comes from is the binary's matter.

use std::fmt;

use reqwest::header::HeaderValue;

/// A secret that goes into a request's header and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret without the white space around it; `None` if nothing is left, or if it holds what no header can carry (line
    /// breaks, control characters, letters beyond ASCII).
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

    /// The secret itself, for what takes it out of others' words.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
