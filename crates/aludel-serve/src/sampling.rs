//! How an answer is sampled, as requests of all protocols say it, and how values that cannot be are refused.

use std::hash::{BuildHasher as _, RandomState};

use aludel_distill::settings::GenerateSettings;
use aludel_model::generate::Sampling;
use serde_json::Value;

use crate::error::ApiError;

/// The most samples of one request.
const MOST_SAMPLES: u32 = 64;
/// The most stop texts of a request, and the bytes of one.
const MOST_STOPS: usize = 16;
const STOP_BYTES: usize = 1024;

/// What a request says of sampling, before it is checked. What it does not say is as the server was started.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f64>,
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) seed: Option<i64>,
}

impl Asked {
    /// The sampling of an answer.
    ///
    /// # Errors
    /// A value out of its range, by name.
    pub(crate) fn sampling(&self, defaults: &GenerateSettings) -> Result<Sampling, ApiError> {
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            // -1 is what vLLM has for all
            top_k: self.top_k.map_or(Ok(defaults.top_k), |top_k| match top_k {
                -1 => Ok(0),
                0.. => Ok(usize::try_from(top_k).unwrap_or(usize::MAX)),
                _ => Err(ApiError::field("top_k", format!("{top_k} is below 0; 0 and -1 take all tokens"))),
            })?,
            // any number names a sequence of draws
            seed: self
                .seed
                .map(i64::cast_unsigned)
                .or(defaults.seed)
                .unwrap_or_else(|| RandomState::new().hash_one(())),
        };
        let check = |name: &str, value: f64, is_valid: bool, wanted: &str| match is_valid {
            true => Ok(()),
            false => Err(ApiError::field(name, format!("{value} is out of range; {wanted}"))),
        };
        let Sampling { temperature, top_p, min_p, repetition_penalty, .. } = sampling;
        let is_temperature = (0.0..=100.0).contains(&temperature);
        check("temperature", temperature, is_temperature, "give a number from 0 (the likeliest token) to 100")?;
        let is_top_p = top_p > 0.0 && top_p <= 1.0;
        check("top_p", top_p, is_top_p, "give a number above 0, up to 1, which takes all tokens")?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "give a number from 0, which takes all tokens, to 1")?;
        let is_penalty = repetition_penalty > 0.0 && repetition_penalty.is_finite();
        check("repetition_penalty", repetition_penalty, is_penalty, "give a number above 0; 1 changes nothing")?;
        Ok(sampling)
    }
}

/// The most tokens of an answer.
///
/// # Errors
/// 0, since an answer has at least a token.
pub(crate) fn max_tokens(name: &str, asked: Option<u64>, defaults: &GenerateSettings) -> Result<usize, ApiError> {
    match asked {
        None => Ok(defaults.max_new_tokens),
        Some(0) => Err(ApiError::field(name, "an answer has at least one token")),
        Some(tokens) => Ok(usize::try_from(tokens).unwrap_or(usize::MAX)),
    }
}

/// How many samples.
pub(crate) fn samples(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked.unwrap_or(1) {
        n if (1..=MOST_SAMPLES).contains(&n) => Ok(n),
        n => Err(ApiError::field("n", format!("{n} is out of range; give a number from 1 to {MOST_SAMPLES}"))),
    }
}

/// Texts that end an answer: none, one, or a list.
pub(crate) fn stops(name: &str, asked: Option<&Value>, defaults: &GenerateSettings) -> Result<Vec<String>, ApiError> {
    let wrong = |value: &Value| ApiError::field(name, format!("{value} is not a text or a list of texts"));
    let stops: Vec<String> = match asked {
        None | Some(Value::Null) => return Ok(defaults.stop.clone()),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => {
            let text = |stop: &Value| stop.as_str().map(str::to_owned).ok_or_else(|| wrong(stop));
            stops.iter().map(text).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(wrong(other)),
    };
    if stops.len() > MOST_STOPS {
        return Err(ApiError::field(name, format!("{} texts; at most {MOST_STOPS} are looked for", stops.len())));
    }
    if let Some(stop) = stops.iter().find(|stop| stop.is_empty() || stop.len() > STOP_BYTES) {
        return Err(ApiError::field(name, format!("a text of {} bytes; give 1 to {STOP_BYTES}", stop.len())));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_sampled_is_refused_by_name() {
        let defaults = GenerateSettings::default();
        let check = |asked: Asked, name: &str| {
            let error = asked.sampling(&defaults).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name), "{error:?}");
        };
        check(Asked { temperature: Some(-0.1), ..Asked::default() }, "temperature");
        check(Asked { temperature: Some(f64::NAN), ..Asked::default() }, "temperature");
        check(Asked { top_p: Some(0.0), ..Asked::default() }, "top_p");
        check(Asked { top_p: Some(1.5), ..Asked::default() }, "top_p");
        check(Asked { top_k: Some(-2), ..Asked::default() }, "top_k");
        check(Asked { min_p: Some(2.0), ..Asked::default() }, "min_p");
        check(Asked { repetition_penalty: Some(0.0), ..Asked::default() }, "repetition_penalty");
        let asked = Asked { seed: Some(-1), top_k: Some(-1), ..Asked::default() };
        let sampling = asked.sampling(&defaults).unwrap();
        assert_eq!((sampling.seed, sampling.top_k, sampling.temperature), (u64::MAX, 0, defaults.temperature));
        let other = Asked::default().sampling(&defaults).unwrap();
        assert_ne!(other.seed, Asked::default().sampling(&defaults).unwrap().seed, "a new seed for each");
    }

    #[test]
    fn stops_are_a_text_or_texts() {
        let defaults = GenerateSettings::default();
        let of = |value: Value| stops("stop", Some(&value), &defaults);
        assert_eq!(of(json!("a")).unwrap(), ["a"]);
        assert_eq!(of(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert!(of(json!(null)).unwrap().is_empty());
        for wrong in [json!(""), json!(1), json!(["a", 2]), json!(vec!["a"; 17]), json!("x".repeat(1025))] {
            assert_eq!(of(wrong).unwrap_err().param.as_deref(), Some("stop"));
        }
    }
}
