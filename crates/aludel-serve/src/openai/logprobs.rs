//! Log-probabilities of tokens in the two shapes that OpenAI has for them.

use aludel_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::answer::TokenInfo;
use crate::error::ApiError;

/// The most likeliest tokens that may be asked for.
pub(crate) const MOST: u64 = 20;

/// What a model says for a token that cannot come: JSON has no infinity.
const NEVER: f32 = -9999.0;

/// The number of likeliest tokens that a request asks for.
pub(crate) fn top(field: &str, asked: u64) -> Result<usize, ApiError> {
    match usize::try_from(asked) {
        Ok(top) if asked <= MOST => Ok(top),
        _ => Err(ApiError::field(field, format!("{asked} is out of range; give a number from 0 to {MOST}"))),
    }
}

/// `logprobs.content` of a chat answer.
pub(crate) fn chat(tokenizer: &Tokenizer, tokens: &[TokenInfo]) -> Value {
    let content: Vec<Value> = tokens
        .iter()
        .map(|info| {
            let mut entry = token(tokenizer, info.token, info.logprob);
            let top = info.top.iter().map(|&(id, logprob)| Value::Object(token(tokenizer, id, logprob)));
            entry.insert("top_logprobs".to_owned(), top.collect());
            Value::Object(entry)
        })
        .collect();
    json!({"content": content, "refusal": null})
}

fn token(tokenizer: &Tokenizer, id: u32, logprob: f32) -> Map<String, Value> {
    let bytes = tokenizer.token_bytes(id);
    let mut entry = Map::new();
    entry.insert("token".to_owned(), String::from_utf8_lossy(&bytes).into());
    entry.insert("logprob".to_owned(), finite(logprob).into());
    entry.insert("bytes".to_owned(), bytes.into());
    entry
}

/// `logprobs` of a completion; `offset` is where in the answer's text its first token begins, in characters, and is moved on.
pub(crate) fn completion(tokenizer: &Tokenizer, tokens: &[TokenInfo], offset: &mut usize) -> Value {
    let text = |id| String::from_utf8_lossy(&tokenizer.token_bytes(id)).into_owned();
    let (mut texts, mut logprobs, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for info in tokens {
        let token = text(info.token);
        offsets.push(*offset);
        *offset += token.chars().count();
        texts.push(token);
        logprobs.push(finite(info.logprob));
        let mut top = Map::new();
        for &(id, logprob) in &info.top {
            // two tokens may have the same text: the likelier one stands
            top.entry(text(id)).or_insert_with(|| finite(logprob).into());
        }
        tops.push(top);
    }
    json!({"tokens": texts, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets})
}

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { NEVER }
}
