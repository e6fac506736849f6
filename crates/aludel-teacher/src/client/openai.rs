//! OpenAI's chat protocol, which most servers implement: the request, and how a chunk or a complete response is read.

use aludel_files::shortened;
use serde_json::{Map, Value, json};

use super::answer_builder::{PartialAnswer, merge};
use super::{Failure, Question, RequestParams};
use aludel_data::dataset;
use aludel_data::json::{Fields, Json, Kind};
use aludel_data::message_fields::{MessageParts, once_each, reasoning_tokens};
use aludel_data::unknown_fields;

/// The body of a request.
pub(super) fn body(question: &Question, asking: &RequestParams, sample: u32, stream: bool, with_usage: bool) -> Value {
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
    let message = |message: &aludel_text::message::Message| {
        let mut sent = json!({"role": message.role, "content": message.content});
        for (name, value) in [("tool_call_id", &message.tool_call_id), ("name", &message.tool_name)] {
            if let Some(value) = value {
                sent[name] = json!(value);
            }
        }
        sent
    };
    question.messages.iter().map(message).collect()
}

/// Adds a chunk of a stream (`delta`) or a complete response (`message`). It is read from its text, which may contain a lone
/// surrogate.
pub(super) fn take(mut value: Value, text: Json<'_>, gathered: &mut PartialAnswer) -> Result<(), Failure> {
    let whole = text.fields();
    once_each(&whole).map_err(not_kept)?;
    if let Some(usage) = whole.get("usage").filter(|usage| !usage.is_null() && usage.kind() != Kind::Object) {
        gathered.leave(format!(
            "its `usage` is {}, where an object is wanted, so that tokens are guessed",
            usage.kind().named()
        ));
    }
    if let Some(usage) = whole.get("usage").map(Json::fields) {
        gathered.prompt_tokens = gathered.tokens("usage.", &usage, "prompt_tokens").or(gathered.prompt_tokens);
        gathered.completion_tokens =
            gathered.tokens("usage.", &usage, "completion_tokens").or(gathered.completion_tokens);
    }
    gathered.reasoning_tokens = value.get("usage").and_then(reasoning_tokens).unwrap_or(gathered.reasoning_tokens);
    if let Some(model) = value.get("model").and_then(Value::as_str).filter(|_| gathered.model.is_none()) {
        gathered.model = Some(model.to_owned());
    }
    let mut taken = |pointer: &str| value.pointer_mut(pointer).map(Value::take).unwrap_or_default();
    // vLLM's `return_token_ids`.
    gathered.add_logprobs("prompt_token_ids", taken("/prompt_token_ids"));
    let choices: Vec<Fields<'_>> =
        whole.get("choices").map(Json::items).unwrap_or_default().into_iter().map(Json::fields).collect();
    // One answer is requested; chunks of another one must not be mixed in.
    let is_first = |choice: &Fields<'_>| {
        choice.get("index").is_none_or(|index| index.kind() != Kind::Number || index.written() == "0")
    };
    let own = choices.iter().position(is_first);
    if choices.len() > usize::from(own.is_some()) {
        gathered.leave(
            "it sends more than one answer to a question, of which only the first is kept; more are asked for with --samples"
                .to_owned(),
        );
    }
    let Some(own) = own else { return Ok(()) };
    let fields = &choices[own];
    let Value::Object(mut choice) = taken(&format!("/choices/{own}")) else { return Ok(()) };
    gathered.add_logprobs("token_ids", choice.remove("token_ids").unwrap_or_default());
    if let Some(Value::Object(logprobs)) = choice.remove("logprobs") {
        for (name, part) in logprobs {
            gathered.add_logprobs(&name, part);
        }
    }
    once_each(fields).map_err(not_kept)?;
    let mut words = |name: &str| match choice.remove(name) {
        // DashScope writes "null" where others write null.
        Some(Value::String(words)) if words != "null" && !words.is_empty() => Some(words),
        _ => None,
    };
    if let Some(words) = words("finish_reason") {
        gathered.end(words);
    }
    ["native_finish_reason", "stop_reason"].into_iter().filter_map(words).for_each(|words| gathered.end_beside(words));
    let piece = fields.get("delta").map(|delta| (delta, true)).or_else(|| Some((fields.get("message")?, false)));
    let Some((message, is_piece)) = piece else { return Ok(()) };
    add(message, is_piece, gathered)
}

/// Adds a message of a response, or a chunk of one.
///
/// # Errors
/// The response is not understood: no response to this question will be.
pub(super) fn add(message: Json<'_>, is_piece: bool, gathered: &mut PartialAnswer) -> Result<(), Failure> {
    let fields = message.fields();
    let role = fields.get("role").and_then(|role| role.text().ok().flatten()).unwrap_or_default();
    let shown = shortened(role.trim(), 40);
    match dataset::is_assistant(role.trim()) {
        Some(true) => {}
        _ if role.trim().is_empty() => {}
        Some(false) => {
            let reason = format!("its message has the role `{}`, and the assistant's is wanted", shown.escape_debug());
            return Err(not_kept(reason));
        }
        None => gathered.leave(format!(
            "its message has the role `{}`, which is not known here, and is taken for the assistant's",
            shown.escape_debug()
        )),
    }
    let said = MessageParts::of(&fields, is_piece).map_err(not_kept)?;
    gathered.calls_tools |= fields.first(&["tool_calls", "function_call"]).is_some();
    let is_text = |value: Json<'_>| !matches!(value.kind(), Kind::Number | Kind::Truth);
    for (name, _) in unknown_fields::unknown(&fields).filter(|(name, value)| is_text(*value) && !CALLS.contains(name)) {
        gathered.leave(format!(
            "it sends `{}` beside its answer, which is not known here, and is left out; if it belongs to the answer, stop, and have the \
             server put it into `content`, or its reasoning into `reasoning_content`",
            shortened(name, 40).escape_debug()
        ));
    }
    gathered.add(said);
    Ok(())
}

/// Fields of a message that mark it as incomplete, and a refusal, which is read.
const CALLS: [&str; 3] = ["tool_calls", "function_call", "refusal"];

/// A retry would give the same.
pub(super) fn not_kept(reason: String) -> Failure {
    Failure::Question { status: Some(200), words: format!("its answer cannot be kept: {reason}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::{Answer, Finish};

    fn answer(chunks: &[&str]) -> Result<Answer, Failure> {
        let mut gathered = PartialAnswer::default();
        for chunk in chunks {
            let text = Json::parse(chunk).unwrap();
            take(text.value().unwrap(), text, &mut gathered)?;
        }
        gathered.into_answer(Duration::ZERO, Duration::ZERO)
    }

    /// A stream of these deltas.
    fn streamed(deltas: &[&str], more: &str) -> Result<Answer, Failure> {
        let mut chunks: Vec<String> =
            deltas.iter().map(|delta| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)).collect();
        chunks.push(format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"STOP"}}]{more}}}"#));
        answer(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn check(deltas: &[&str], reasoning: Option<&str>, content: &str) {
        let answer = streamed(deltas, "").unwrap();
        assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (reasoning, content), "{deltas:?}");
        assert_eq!((answer.finish, answer.hides_reasoning), (Finish::Stop, false), "{deltas:?}");
    }

    #[test]
    fn reasoning_streams_under_any_name_and_in_parts() {
        check(
            &[r#"{"reasoning_content":"","reasoning":"two "}"#, r#"{"reasoning":"and two"}"#, r#"{"content":"4"}"#],
            Some("two and two"),
            "4",
        );
        check(
            &[
                r#"{"content":"","reasoning":null,"reasoning_details":[{"type":"reasoning.text","text":"two ","index":0}]}"#,
                r#"{"content":"","reasoning_details":[{"type":"reasoning.text","text":"and two","index":0}]}"#,
                r#"{"content":"4","reasoning_details":[]}"#,
            ],
            Some("two and two"),
            "4",
        );
        check(
            &[r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]}]}"#, r#"{"content":"4"}"#],
            Some("t"),
            "4",
        );
        check(
            &[r#"{"reasoning_content":"t"}"#, r#"{"content":"Put </think> there"}"#],
            Some("t"),
            "Put </think> there",
        );
    }

    #[test]
    fn halves_of_a_pair_are_joined_over_chunks() {
        check(&[r#"{"content":"a\ud83d"}"#, r#"{"content":"\ude00b"}"#], None, "a😀b");
        check(&[r#"{"reasoning":"\ud83d"}"#, r#"{"reasoning":"\ude00"}"#, r#"{"content":"4"}"#], Some("😀"), "4");
        let failure = streamed(&[r#"{"content":"a\ud83d"}"#, r#"{"content":"b"}"#], "").unwrap_err();
        assert!(
            matches!(&failure, Failure::Broken { words } if words.contains("half of a character pair")),
            "{failure:?}"
        );
    }

    #[test]
    fn hidden_reasoning_is_noticed() {
        let usage = r#","usage":{"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":7}}"#;
        assert!(streamed(&[r#"{"content":"4"}"#], usage).unwrap().hides_reasoning);
        assert!(!streamed(&[r#"{"content":"4","reasoning":"t"}"#], usage).unwrap().hides_reasoning);
        let encrypted = r#"{"content":"4","reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}"#;
        assert!(streamed(&[encrypted], "").unwrap().hides_reasoning);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let refused = streamed(&[r#"{"refusal":"I can"}"#, r#"{"refusal":"not."}"#], "").unwrap();
        assert_eq!((refused.finish, refused.content.as_str()), (Finish::Other("refusal".to_owned()), "I cannot."));
        let called = streamed(&[r#"{"tool_calls":[{"index":0}]}"#], "").unwrap();
        assert_eq!(called.finish, Finish::ToolCalls);
        let failure = streamed(&[r#"{"content":[{"type":"image_url"}]}"#], "").unwrap_err();
        assert!(matches!(&failure, Failure::Question { words, .. } if words.contains("image_url")), "{failure:?}");
    }
}
