//! How an answer ended, by marks of a row or of a message: finish reasons of servers, and words such as `truncated`. All marks must
//! agree that it is complete; how an incomplete one is treated is decided elsewhere.

use std::sync::LazyLock;

use super::flaw::Flaw;
use super::problem::says;
use crate::column_names::{Names, is_among, letters, same};
use crate::finish_reason::{Finish, plain};
use crate::json::{Json, Kind};

/// Columns of finish reasons; the first that is not empty is the server's own. vLLM's `stop_reason` is the text or token that it
/// stopped at, OpenRouter's `native_finish_reason` repeats the upstream server's words: if they accompany another reason, only
/// known words count.
const REASONS: [&str; 5] = ["finish_reason", "finish_reasons", "done_reason", "stop_reason", "native_finish_reason"];

/// Where LangChain and others keep metadata of the server's response.
const HOLDERS: [&str; 4] = ["response_metadata", "generation_info", "metadata", "meta"];

/// Names that may be a reason's and may be another thing's: only words that nothing but the end of an answer is called by count under
/// them.
#[rustfmt::skip]
static LOOSE_REASONS: LazyLock<Names> = LazyLock::new(|| Names::of(&[
    "finish", "finish_type", "finish_status", "finished_reason", "stop_type", "stopping_reason", "end_reason", "termination_reason",
    "completion_reason",
]));

/// Words of servers for the end of an answer that are used of nothing else.
#[rustfmt::skip]
const WORDS_OF_ANSWERS: [&str; 20] = [
    "stop", "eos", "eos_token", "stop_sequence", "stop_token", "stop_word", "end_turn", "end_of_turn", "length", "max_tokens",
    "max_length", "max_new_tokens", "max_output_tokens", "max_completion_tokens", "model_length", "context_length",
    "context_length_exceeded", "token_limit", "content_filter", "tool_calls",
];
/// llama.cpp's word for a limit on tokens, which other things have too: it counts beside another member of its answers.
const LLAMA_CPP: (&str, &str) = ("stop_type", "limit");
const BESIDE_LLAMA_CPP: [&str; 6] =
    ["stopping_word", "tokens_predicted", "tokens_evaluated", "tokens_cached", "generation_settings", "timings"];

/// Truth values that say that an answer is not whole, and others that say that it is; what they are said of may stand before them
/// (`is_truncated`, `response_truncated`, `is_reasoning_complete`).
#[rustfmt::skip]
static CUT: LazyLock<Names> = LazyLock::new(|| Names::of(&[
    "truncated", "partial", "incomplete", "cut_off", "cut_short", "hit_max_tokens", "hit_max_new_tokens", "hit_max_length", "hit_limit",
    "hit_token_limit", "hit_length_limit", "hit_context_limit", "max_tokens_reached", "max_new_tokens_reached", "max_length_reached",
    "token_limit_reached", "length_limit_reached", "reached_max_tokens", "reached_max_new_tokens", "reached_max_length",
    "reached_token_limit", "exceeded_max_tokens", "exceeded_max_length", "stopped_limit",
]));
static WHOLE: LazyLock<Names> = LazyLock::new(|| Names::of(&["complete", "completed", "finished", "done", "end_turn"]));
/// Booleans that mark it as aborted.
static GIVEN_UP: LazyLock<Names> = LazyLock::new(|| Names::of(&["aborted"]));
/// Possible prefixes of such a word.
const BEFORE_MARKS: [&str; 9] =
    ["is", "was", "response", "answer", "output", "completion", "generation", "reasoning", "solution"];

/// All samples of a question, of which the row has one: lists beside it have an element per sample.
const SAMPLES: &str = "generations";

/// A status, as in OpenAI's newer protocol and in rows of `aludel trace export --all`.
const STATUS: &str = "status";
const STATUS_CUT: [&str; 6] = ["incomplete", "truncated", "cut", "in_progress", "timeout", "timed_out"];
const STATUS_FAILED: [&str; 7] = ["failed", "failure", "error", "errored", "cancelled", "canceled", "aborted"];

/// Whether a member describes how an answer ended, and nothing else.
pub(super) fn is_mark((name, value): (&str, Json<'_>)) -> bool {
    match () {
        () if place(name).is_some() => true,
        () if is_loose(name) => loose_reason(value).is_some(),
        () if is_truth(name) => value.truth().is_some(),
        () if same(name, STATUS) => value.kind() == Kind::Text,
        () => is_among(&HOLDERS, name) && value.kind() == Kind::Object,
    }
}

/// Whether a column describes how an answer ended, by itself or in its content.
pub(super) fn speaks_of_answer(name: &str, value: Json<'_>) -> bool {
    let is_mark = |name: &str, value: Json<'_>| {
        place(name).is_some() || same(name, STATUS) || is_truth(name) || is_loose(name) && loose_reason(value).is_some()
    };
    is_mark(name, value) || (is_among(&HOLDERS, name) && value.fields().iter().any(|(own, value)| is_mark(own, value)))
}

/// Whether a column is read for how the answer ended.
pub(super) fn is_read(name: &str, value: Json<'_>) -> bool {
    match is_among(&HOLDERS, name) {
        true => value.fields().iter().any(|(own, value)| !is_among(&HOLDERS, own) && is_mark((own, value))),
        false => is_mark((name, value)),
    }
}

/// What these marks say against the answer; causes other than a limit come first.
pub(super) fn flaw_in<'a>(members: impl Iterator<Item = (&'a str, Json<'a>)>) -> Option<Flaw> {
    let members: Vec<(&str, Json<'a>)> = members.filter(|(_, value)| !value.is_empty()).collect();
    let has_samples = members.iter().any(|(name, value)| same(name, SAMPLES) && value.kind() == Kind::List);
    let is_of_samples = |value: &Json<'_>| has_samples && value.kind() == Kind::List;
    let mut reasons: Vec<(usize, String, Json<'a>)> = Vec::new();
    let mut flaws = Vec::new();
    flaws.extend(limit_of_llama_cpp(&members).map(|(name, value)| cut_off(name, value)));
    for (name, value) in members.into_iter().filter(|(_, value)| !is_of_samples(value)) {
        if let Some(place) = place(name) {
            reasons.push((place, name.to_owned(), value));
        } else if is_among(&HOLDERS, name) {
            let fields = value.fields();
            let own: Vec<(&str, Json<'_>)> = fields.iter().filter(|(_, value)| !value.is_empty()).collect();
            flaws.extend(limit_of_llama_cpp(&own).map(|(own, value)| cut_off(&format!("{name}.{own}"), value)));
            for (own, value) in own {
                let shown = format!("{name}.{own}");
                match place(own) {
                    Some(place) => reasons.push((REASONS.len() + place, shown, value)),
                    None => flaws.extend(mark(own, &shown, value)),
                }
            }
        } else {
            flaws.extend(mark(name, name, value));
        }
    }
    reasons.sort_by_key(|(place, ..)| *place);
    let mut is_said = false;
    for (_, name, value) in reasons {
        // One answer may have a list of one reason; of several, all must be good.
        let words = if value.kind() == Kind::List { value.items() } else { vec![value] };
        let words: Vec<Result<String, Flaw>> = words.into_iter().filter_map(|value| words_of(&name, value)).collect();
        let says = !words.is_empty();
        flaws.extend(words.into_iter().filter_map(|words| against(&name, words, is_said)));
        is_said |= says;
    }
    let worst = flaws.iter().position(|flaw: &Flaw| !flaw.is_cut).unwrap_or(0);
    (!flaws.is_empty()).then(|| flaws.swap_remove(worst))
}

/// The position of a name among those of finish reasons.
fn place(name: &str) -> Option<usize> {
    REASONS.iter().position(|known| same(known, name))
}

/// Whether a boolean of this name says whether the answer is complete.
fn is_truth(name: &str) -> bool {
    [&CUT, &WHOLE, &GIVEN_UP].iter().any(|names| is_mark_of(names, name))
}

/// Whether a name ends in one of these words, after what they refer to.
fn is_mark_of(names: &Names, name: &str) -> bool {
    let letters: String = letters(name).collect();
    let mut word = letters.as_str();
    loop {
        if names.has(word) {
            return true;
        }
        match BEFORE_MARKS.iter().find_map(|before| word.strip_prefix(before)) {
            Some(rest) => word = rest,
            None => return false,
        }
    }
}

fn is_loose(name: &str) -> bool {
    LOOSE_REASONS.has(&letters(name).collect::<String>())
}

/// A reason in words that no other thing has. A game ends as `completed`, an order at its `limit`, a contract for `safety`.
fn loose_reason(value: Json<'_>) -> Option<Finish> {
    let words = value.text().ok().flatten()?;
    is_among(&WORDS_OF_ANSWERS, &plain(&words)).then(|| Finish::of(&words))
}

fn cut_off(name: &str, value: Json<'_>) -> Flaw {
    Flaw::incomplete(says(name, value), true)
}

/// llama.cpp's word for its limit, among the members of its answer.
fn limit_of_llama_cpp<'a>(members: &[(&'a str, Json<'a>)]) -> Option<(&'a str, Json<'a>)> {
    let says_limit = |value: Json<'_>| value.text().ok().flatten().is_some_and(|words| plain(&words) == LLAMA_CPP.1);
    let found = members.iter().find(|(name, value)| same(name, LLAMA_CPP.0) && says_limit(*value))?;
    members.iter().any(|(name, _)| is_among(&BESIDE_LLAMA_CPP, name)).then_some(*found)
}

fn against(name: &str, words: Result<String, Flaw>, is_beside: bool) -> Option<Flaw> {
    let words = match words {
        Ok(words) => words,
        Err(flaw) => return Some(flaw),
    };
    let finish = Finish::of(&words);
    let is_unknown = matches!(finish, Finish::Other(_));
    let is_good = finish.is_complete() || (is_beside && is_unknown);
    (!is_good).then(|| Flaw::incomplete(format!("{name} is {words:?}"), finish.is_limit()))
}

/// The words, which SGLang puts into an object.
fn words_of(name: &str, value: Json<'_>) -> Option<Result<String, Flaw>> {
    let words = match value.kind() {
        Kind::Null => return None,
        Kind::Text => match value.text() {
            Ok(words) => words.unwrap_or_default().into_owned(),
            Err(no_text) => return Some(Err(Flaw::incomplete(format!("{name} holds {no_text}"), false))),
        },
        Kind::Object => {
            return value.get("type").map_or(Some(Ok(value.written().to_owned())), |kind| words_of(name, kind));
        }
        _ => value.written().to_owned(),
    };
    // DashScope writes "null" where others write null.
    let is_none = words.trim().is_empty() || words.eq_ignore_ascii_case("null") || words.eq_ignore_ascii_case("none");
    (!is_none).then_some(Ok(words))
}

fn mark(name: &str, shown: &str, value: Json<'_>) -> Option<Flaw> {
    let is_bad = |bad: bool| (value.truth() == Some(bad)).then_some(true);
    let is_cut = match name {
        _ if is_loose(name) => loose_reason(value).filter(|finish| !finish.is_complete())?.is_limit(),
        _ if is_mark_of(&CUT, name) => is_bad(true)?,
        _ if is_mark_of(&WHOLE, name) => is_bad(false)?,
        _ if is_mark_of(&GIVEN_UP, name) => !is_bad(true)?,
        _ if same(name, STATUS) => {
            let words = value.text().ok().flatten()?.trim().to_ascii_lowercase().replace(['-', ' '], "_");
            match words.as_str() {
                cut if STATUS_CUT.contains(&cut) => true,
                failed if STATUS_FAILED.contains(&failed) => false,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Flaw::incomplete(says(shown, value), is_cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Option<(&str, bool)>) {
        let fields = Json::parse(text).unwrap().fields();
        let found = flaw_in(fields.iter());
        assert_eq!(found.as_ref().map(|flaw| (flaw.detail.as_str(), flaw.is_cut)), wanted, "{text}");
    }

    #[test]
    fn marks_that_an_answer_is_whole_agree() {
        for text in [
            r#"{"finish_reason":"stop","stop_reason":151643,"native_finish_reason":"eos"}"#,
            r#"{"finish_reason":"stop","stop_reason":"</answer>"}"#,
            r#"{"finish_reason":"none","stop_reason":null,"finish_reasons":["stop",null]}"#,
            r#"{"truncated":false,"is_complete":true,"status":"completed"}"#,
            r#"{"generations":["a","b"],"finish_reasons":["stop","length"],"is_reasoning_complete":[true,false]}"#,
            r#"{"finish_reason":"FinishReason.STOP","end_turn":true}"#,
            r#"{"truncated":0,"done":1,"partial":"no","aborted":"FALSE","metadata":{"finish_reason":"stop","x":1},"meta":"length"}"#,
            r#"{"truncated":"a text","complete":7,"status":"draft","finished":null}"#,
            r#"{"response_metadata":{"finish_reason":"stop","model_name":"m"}}"#,
            r#"{"finish_reason":{"type":"stop","matched":5}}"#,
            r#"{"finish":"stop","stop_type":"eos","response_truncated":false,"hit_max_tokens":false,"answer_is_complete":true}"#,
            r#"{"finish":"matte","termination_reason":"goal reached","stop_type":7,"end_reason":["length"]}"#,
            // Orders, games and contracts have such columns, too.
            r#"{"stop_type":"limit","end_reason":"incomplete","termination_reason":"safety","finish":"truncated"}"#,
            r#"{"end_reason":"recitation","completion_reason":"blocklist","finish_status":"Limit","stop_type":"error-limit"}"#,
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_strictest_mark_counts() {
        for (text, detail, is_cut) in [
            (r#"{"finish_reason":"stop","stop_reason":"max_tokens"}"#, r#"stop_reason is "max_tokens""#, true),
            (r#"{"stop_reason":"pause_turn"}"#, r#"stop_reason is "pause_turn""#, false),
            (
                r#"{"native_finish_reason":"MAX_TOKENS","finish_reason":"stop"}"#,
                r#"native_finish_reason is "MAX_TOKENS""#,
                true,
            ),
            (r#"{"native_finish_reason":"max_output_tokens"}"#, r#"native_finish_reason is "max_output_tokens""#, true),
            (
                r#"{"response_metadata":{"finish_reason":"length"}}"#,
                r#"response_metadata.finish_reason is "length""#,
                true,
            ),
            (r#"{"finish_reason":"length","stop_reason":"refusal_of_mine"}"#, r#"finish_reason is "length""#, true),
            (r#"{"finish_reason":"length","status":"failed"}"#, r#"status is "failed""#, false),
            (r#"{"finish_reasons":["stop","length"]}"#, r#"finish_reasons is "length""#, true),
            (r#"{"finish_reason":{"type":"length","length":9}}"#, r#"finish_reason is "length""#, true),
            (r#"{"truncated":true}"#, "truncated is true", true),
            (
                r#"{"generations":["a","b"],"finish_reasons":["stop"],"finish_reason":"length"}"#,
                r#"finish_reason is "length""#,
                true,
            ),
            (r#"{"generations":"a text","finish_reasons":["stop","length"]}"#, r#"finish_reasons is "length""#, true),
            (r#"{"finish_reason":"FinishReason.MAX_TOKENS"}"#, r#"finish_reason is "FinishReason.MAX_TOKENS""#, true),
            (r#"{"is_reasoning_complete":false}"#, "is_reasoning_complete is false", true),
            (r#"{"end_turn":false}"#, "end_turn is false", true),
            (r#"{"truncated":1}"#, "truncated is 1", true),
            (r#"{"response_truncated":true}"#, "response_truncated is true", true),
            (r#"{"is_answer_truncated":true}"#, "is_answer_truncated is true", true),
            (r#"{"hit_max_tokens":true}"#, "hit_max_tokens is true", true),
            (r#"{"metadata":{"maxTokensReached":true}}"#, "metadata.maxTokensReached is true", true),
            (r#"{"generation_complete":false}"#, "generation_complete is false", true),
            (r#"{"finish":"length"}"#, r#"finish is "length""#, true),
            (r#"{"finish":"content_filter"}"#, r#"finish is "content_filter""#, false),
            (r#"{"meta":{"stop_type":"max-tokens"}}"#, r#"meta.stop_type is "max-tokens""#, true),
            (r#"{"end_reason":"max_tokens"}"#, r#"end_reason is "max_tokens""#, true),
            (r#"{"meta":{"stop_type":"limit","timings":{"a":1}}}"#, r#"meta.stop_type is "limit""#, true),
            (r#"{"stop_type":"limit","tokens_predicted":512}"#, r#"stop_type is "limit""#, true),
            (r#"{"complete":"no"}"#, r#"complete is "no""#, true),
            (r#"{"done":false}"#, "done is false", true),
            (r#"{"partial":"Yes"}"#, r#"partial is "Yes""#, true),
            (r#"{"incomplete":"1"}"#, "incomplete is 1", true),
            (r#"{"aborted":true}"#, "aborted is true", false),
            (r#"{"metadata":{"finish_reason":"length"}}"#, r#"metadata.finish_reason is "length""#, true),
            (r#"{"metadata":{"truncated":true}}"#, "metadata.truncated is true", true),
            (r#"{"meta":{"isComplete":"no","finish_reason":"stop"}}"#, r#"meta.isComplete is "no""#, true),
            (r#"{"is_complete":"False"}"#, "is_complete is false", true),
            (r#"{"completed":false}"#, "completed is false", true),
            (r#"{"status":"incomplete"}"#, r#"status is "incomplete""#, true),
            (r#"{"status":"In Progress"}"#, r#"status is "In Progress""#, true),
            (
                r#"{"finish_reason":"cut \ud83d"}"#,
                "finish_reason holds half of a character pair such as \\ud83d, which is no character",
                false,
            ),
        ] {
            check(text, Some((detail, is_cut)));
        }
    }
}
