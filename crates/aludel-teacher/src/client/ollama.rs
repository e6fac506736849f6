//! Ollama's own chat protocol: the request, and how a line of its stream or a complete response is read.

use serde_json::{Map, Value, json};

use super::answer_builder::{PartialAnswer, merge};
use super::{Failure, Question, RequestParams, openai};
use aludel_data::json::Json;
use aludel_data::message_fields::once_each;

/// The body of a request.
pub(super) fn body(question: &Question, asking: &RequestParams, sample: u32, stream: bool) -> Value {
    let mut options = Map::new();
    options.insert("temperature".to_owned(), json!(asking.temperature));
    options.insert("top_p".to_owned(), json!(asking.top_p));
    if let Some(tokens) = asking.max_tokens {
        options.insert("num_predict".to_owned(), json!(tokens));
    }
    if let Some(seed) = asking.seed {
        options.insert("seed".to_owned(), json!(seed.wrapping_add(u64::from(sample))));
    }
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(asking.model));
    body.insert("messages".to_owned(), openai::messages(question));
    body.insert("stream".to_owned(), json!(stream));
    body.insert("options".to_owned(), Value::Object(options));
    if asking.logprobs || asking.top_logprobs.is_some() {
        body.insert("logprobs".to_owned(), json!(true));
    }
    if let Some(count) = asking.top_logprobs {
        body.insert("top_logprobs".to_owned(), json!(count));
    }
    merge(&mut body, &asking.extra_body);
    Value::Object(body)
}

/// Adds a line of a stream, or a complete response: both have the same fields.
pub(super) fn take(mut value: Value, text: Json<'_>, gathered: &mut PartialAnswer) -> Result<(), Failure> {
    let fields = text.fields();
    once_each(&fields).map_err(openai::not_kept)?;
    if let Some(message) = fields.get("message") {
        openai::add(message, true, gathered)?;
    }
    if gathered.model.is_none() {
        gathered.model = value.get("model").and_then(Value::as_str).map(str::to_owned);
    }
    if value.get("done").is_some_and(|done| done == true) {
        gathered.prompt_tokens = gathered.tokens("", &fields, "prompt_eval_count");
        gathered.completion_tokens = gathered.tokens("", &fields, "eval_count");
        // Versions before 0.3 give no `done_reason`.
        gathered.end(value.get("done_reason").and_then(Value::as_str).unwrap_or("stop").to_owned());
    }
    gathered.add_logprobs("content", value.get_mut("logprobs").map(Value::take).unwrap_or_default());
    Ok(())
}
