//! The chat protocol that OpenAI began and most servers speak: the request, and what a piece or the whole of an answer adds.

use serde_json::{Map, Value, json};

use super::gathered::{Gathered, count, merge};
use super::{Asking, Question};

/// The body of a request.
pub(super) fn body(question: &Question, asking: &Asking, sample: u32, stream: bool, with_usage: bool) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(asking.model));
    body.insert("messages".to_owned(), messages(question));
    body.insert("temperature".to_owned(), json!(asking.temperature));
    body.insert("top_p".to_owned(), json!(asking.top_p));
    body.insert("stream".to_owned(), json!(stream));
    if stream && with_usage {
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    if let Some(tokens) = asking.max_tokens {
        body.insert("max_tokens".to_owned(), json!(tokens));
    }
    if let Some(seed) = asking.seed {
        body.insert("seed".to_owned(), json!(seed.wrapping_add(u64::from(sample))));
    }
    if asking.logprobs || asking.top_logprobs.is_some() {
        body.insert("logprobs".to_owned(), json!(true));
    }
    if let Some(count) = asking.top_logprobs {
        body.insert("top_logprobs".to_owned(), json!(count));
    }
    merge(&mut body, &asking.extra_body);
    Value::Object(body)
}

/// The messages, without the reasoning of earlier turns: DeepSeek answers 400 to it.
pub(super) fn messages(question: &Question) -> Value {
    let message = |message: &aludel_text::message::Message| json!({"role": message.role, "content": message.content});
    question.messages.iter().map(message).collect()
}

/// Adds a chunk of a stream (`delta`) or a whole answer (`message`).
pub(super) fn take(mut value: Value, gathered: &mut Gathered) {
    if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
        let count = |name: &str| count(usage.get(name));
        gathered.prompt_tokens = count("prompt_tokens").or(gathered.prompt_tokens);
        gathered.completion_tokens = count("completion_tokens").or(gathered.completion_tokens);
    }
    if let Some(model) = value.get("model").and_then(Value::as_str).filter(|_| gathered.model.is_none()) {
        gathered.model = Some(model.to_owned());
    }
    let mut taken = |pointer: &str| value.pointer_mut(pointer).map(Value::take).unwrap_or_default();
    // vLLM's `return_token_ids`.
    gathered.add_logprobs("prompt_token_ids", taken("/prompt_token_ids"));
    let Value::Object(mut choice) = taken("/choices/0") else { return };
    // One answer is asked for; another's pieces must not be mixed in.
    if choice.get("index").and_then(Value::as_u64).is_some_and(|index| index > 0) {
        return;
    }
    gathered.add_logprobs("token_ids", choice.remove("token_ids").unwrap_or_default());
    if let Some(Value::Object(logprobs)) = choice.remove("logprobs") {
        for (name, part) in logprobs {
            gathered.add_logprobs(&name, part);
        }
    }
    if let Some(Value::String(words)) = choice.remove("finish_reason") {
        gathered.finish = Some(words);
    }
    let text = choice.remove("delta").or_else(|| choice.remove("message")).unwrap_or_default();
    // A server that moves from one name to another sends the same text under both: one is taken.
    let reasoning = ["reasoning_content", "reasoning", "thinking"].iter().find_map(|name| text.get(name)?.as_str());
    gathered.reasoning.push_str(reasoning.unwrap_or_default());
    match text.get("content") {
        Some(Value::String(content)) => gathered.content.push_str(content),
        Some(Value::Array(parts)) => parts.iter().for_each(|part| take_part(part, gathered)),
        _ => {}
    }
}

/// Adds a part of a content that is a list: text, or Mistral's list of thoughts.
fn take_part(part: &Value, gathered: &mut Gathered) {
    if let Some(text) = part.get("text").and_then(Value::as_str) {
        gathered.content.push_str(text);
    }
    for thought in part.get("thinking").and_then(Value::as_array).into_iter().flatten() {
        gathered.reasoning.push_str(thought.get("text").and_then(Value::as_str).unwrap_or_default());
    }
}
