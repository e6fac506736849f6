//! Bodies of requests: read up to a size and within a time, and parsed with the path of what is wrong in them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ApiError;
use crate::openai::{is_empty, is_zero, refuse};

/// The most bytes of a body. A prompt has far fewer.
pub(crate) const MOST_BYTES: usize = 8 << 20;
/// How long a client may take to send one.
const SENDING: Duration = Duration::from_secs(30);

/// The JSON of a request's body. Members that are not known are ignored, as the servers of these protocols do.
pub(crate) async fn read<T: DeserializeOwned>(request: Request<Body>) -> Result<T, ApiError> {
    let too_large = || {
        let message = format!("the body has more than {MOST_BYTES} bytes; send a shorter conversation");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > MOST_BYTES as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), MOST_BYTES).collect();
    let bytes = match tokio::time::timeout(SENDING, body).await {
        Err(_) => {
            let message = format!("the body did not arrive within {} seconds", SENDING.as_secs());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => {
            return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")));
        }
        Ok(Ok(body)) => body.to_bytes(),
    };
    parse(&bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let message = format!("the body is not UTF-8 (byte {})", error.valid_up_to());
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    // a derived reader would take a list as the fields in their order
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "the body is a list; send a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner();
        let said = inner.to_string();
        let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
        match path.as_str() {
            _ if inner.is_syntax() || inner.is_eof() => not_json(inner),
            "." | "?" if let Some(name) = missing => ApiError::field(name, "it is missing"),
            "." | "?" => ApiError::new(StatusCode::BAD_REQUEST, plain(&said)),
            _ => ApiError::field(path, plain(&said)),
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    let unsupported: Unsupported = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
    unsupported.check()?;
    Ok(value)
}

/// What servers of these protocols have beside them, would change the answer, and is not supported here, whatever the protocol.
#[derive(Debug, Deserialize)]
struct Unsupported {
    min_tokens: Option<Value>,
    ignore_eos: Option<Value>,
    stop_token_ids: Option<Value>,
    guided_json: Option<Value>,
    guided_regex: Option<Value>,
    guided_choice: Option<Value>,
    guided_grammar: Option<Value>,
    structured_outputs: Option<Value>,
    output_format: Option<Value>,
}

impl Unsupported {
    fn check(&self) -> Result<(), ApiError> {
        let leave = "leave it out";
        refuse("min_tokens", self.min_tokens.as_ref(), is_zero, leave)?;
        refuse("ignore_eos", self.ignore_eos.as_ref(), |value| *value == false, leave)?;
        refuse("stop_token_ids", self.stop_token_ids.as_ref(), is_empty, "texts that end an answer are supported")?;
        for (name, value) in [
            ("guided_json", &self.guided_json),
            ("guided_regex", &self.guided_regex),
            ("guided_choice", &self.guided_choice),
            ("guided_grammar", &self.guided_grammar),
            ("structured_outputs", &self.structured_outputs),
            ("output_format", &self.output_format),
        ] {
            let help = "answers are not held to a format; ask for it in the prompt";
            refuse(name, value.as_ref(), |_| false, help)?;
        }
        Ok(())
    }
}

/// What serde says of a value, without names of Rust's types and without the column, since the path says where it is.
fn plain(said: &str) -> String {
    let Some((found, expected)) = said.rsplit_once(", expected ") else { return said.to_owned() };
    let expected = expected.split(" at line ").next().unwrap_or(expected);
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{found}, expected {expected}")
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(rename = "n")]
        _n: Option<u32>,
    }

    #[test]
    fn what_is_wrong_in_a_body_is_named_by_its_path() {
        let check = |bytes: &[u8], expected: &str, param: Option<&str>| {
            let error = parse::<Sample>(bytes).unwrap_err();
            assert!(error.message.starts_with(expected), "{}", error.message);
            assert_eq!((error.status, error.param.as_deref()), (StatusCode::BAD_REQUEST, param));
        };
        check(br#"{"n": "two"}"#, "n: invalid type: string \"two\", expected a whole number from 0", Some("n"));
        check(br#"{"n": 1"#, "the body is not JSON: EOF", None);
        check(br#"{"n": 1} x"#, "the body is not JSON: trailing characters", None);
        check(b"", "the body is not JSON: EOF", None);
        check(b"[]", "", None);
        check(b"{\"n\": \"\xff\"}", "the body is not UTF-8 (byte 7)", None);
        check(&[b'['; 10_000], "", None);
        assert!(parse::<Sample>(br#"{"n": null, "unknown": [1]}"#).is_ok());
    }
}
