//! How an answer ended, as marks of a row or of a message say it: reasons in the words of servers, and words such as `truncated`. All
//! marks have to agree that it is whole; what becomes of one that is not is decided elsewhere.

use super::flaw::Flaw;
use crate::column_names::{is_among, same};
use crate::finish_reason::Finish;
use crate::json::{Json, Kind};

/// Reasons why an answer ended; the first that says something is the server's own. vLLM's
/// `stop_reason` says which text or token it stopped at, OpenRouter's `native_finish_reason` repeats another server's words: where
/// they stand behind another reason, only what is known counts of them.
const REASONS: [&str; 5] = ["finish_reason", "finish_reasons", "done_reason", "stop_reason", "native_finish_reason"];

/// Where LangChain and others keep what a server said beside its answer.
const HOLDERS: [&str; 4] = ["response_metadata", "generation_info", "metadata", "meta"];

/// Truth values that say that an answer is not whole, and others that say that it is.
const CUT: [&str; 7] =
    ["truncated", "is_truncated", "was_truncated", "partial", "is_partial", "incomplete", "is_incomplete"];
const WHOLE: [&str; 9] = [
    "is_complete",
    "complete",
    "completed",
    "is_finished",
    "finished",
    "done",
    "is_done",
    "end_turn",
    "is_reasoning_complete",
];
/// Truth values that say that it was given up.
const GIVEN_UP: [&str; 2] = ["aborted", "is_aborted"];

/// All that was sampled for a question, of which the row has one: lists beside it speak of these, one member for each.
const SAMPLES: &str = "generations";

/// A word on the whole, as OpenAI's newer protocol has it and `aludel trace export --all` writes it.
const STATUS: &str = "status";
const STATUS_CUT: [&str; 6] = ["incomplete", "truncated", "cut", "in_progress", "timeout", "timed_out"];
const STATUS_FAILED: [&str; 7] = ["failed", "failure", "error", "errored", "cancelled", "canceled", "aborted"];

/// Whether a member says how an answer ended, and that alone.
pub(super) fn is_mark((name, value): (&str, Json<'_>)) -> bool {
    match () {
        () if place(name).is_some() => true,
        () if is_truth(name) => value.truth().is_some(),
        () if same(name, STATUS) => value.kind() == Kind::Text,
        () => is_among(&HOLDERS, name) && value.kind() == Kind::Object,
    }
}

/// Whether a column says how an answer ended, itself or in what it holds.
pub(super) fn speaks_of_answer(name: &str, value: Json<'_>) -> bool {
    let is_mark = |name: &str| place(name).is_some() || same(name, STATUS) || is_truth(name);
    is_mark(name) || (is_among(&HOLDERS, name) && value.fields().iter().any(|(own, _)| is_mark(own)))
}

/// Whether a column is looked at for how the answer ended.
pub(super) fn is_read(name: &str, value: Json<'_>) -> bool {
    match is_among(&HOLDERS, name) {
        true => value.fields().iter().any(|(own, value)| !is_among(&HOLDERS, own) && is_mark((own, value))),
        false => is_mark((name, value)),
    }
}

/// What the marks among these members say against the answer; what no limit explains comes first.
pub(super) fn flaw_in<'a>(members: impl Iterator<Item = (&'a str, Json<'a>)>) -> Option<Flaw> {
    let members: Vec<(&str, Json<'a>)> = members.filter(|(_, value)| !value.is_empty()).collect();
    let has_samples = members.iter().any(|(name, value)| same(name, SAMPLES) && value.kind() == Kind::List);
    let is_of_samples = |value: &Json<'_>| has_samples && value.kind() == Kind::List;
    let mut reasons: Vec<(usize, String, Json<'a>)> = Vec::new();
    let mut flaws = Vec::new();
    for (name, value) in members.into_iter().filter(|(_, value)| !is_of_samples(value)) {
        if let Some(place) = place(name) {
            reasons.push((place, name.to_owned(), value));
        } else if is_among(&HOLDERS, name) {
            for (own, value) in value.fields().iter().filter(|(_, value)| !value.is_empty()) {
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
        // One answer may have a list of one reason; of several, all have to be good.
        let words = if value.kind() == Kind::List { value.items() } else { vec![value] };
        let words: Vec<Result<String, Flaw>> = words.into_iter().filter_map(|value| words_of(&name, value)).collect();
        let says = !words.is_empty();
        flaws.extend(words.into_iter().filter_map(|words| against(&name, words, is_said)));
        is_said |= says;
    }
    let worst = flaws.iter().position(|flaw: &Flaw| !flaw.is_cut).unwrap_or(0);
    (!flaws.is_empty()).then(|| flaws.swap_remove(worst))
}

/// The place of a name among those of reasons.
fn place(name: &str) -> Option<usize> {
    REASONS.iter().position(|known| same(known, name))
}

/// Whether a truth value of this name says whether the answer is whole.
fn is_truth(name: &str) -> bool {
    [&CUT[..], &WHOLE, &GIVEN_UP].iter().any(|names| is_among(names, name))
}

fn against(name: &str, words: Result<String, Flaw>, is_beside: bool) -> Option<Flaw> {
    let words = match words {
        Ok(words) => words,
        Err(flaw) => return Some(flaw),
    };
    let finish = Finish::of(&words);
    let is_unknown = matches!(finish, Finish::Other(_));
    let is_good = finish.is_complete() || (is_beside && is_unknown);
    (!is_good).then(|| Flaw { detail: format!("{name} is {words:?}"), is_cut: finish.is_limit() })
}

/// The words, which SGLang puts into an object.
fn words_of(name: &str, value: Json<'_>) -> Option<Result<String, Flaw>> {
    let words = match value.kind() {
        Kind::Null => return None,
        Kind::Text => match value.text() {
            Ok(words) => words.unwrap_or_default().into_owned(),
            Err(no_text) => return Some(Err(Flaw { detail: format!("{name} holds {no_text}"), is_cut: false })),
        },
        Kind::Object => {
            return value.get("type").map_or(Some(Ok(value.written().to_owned())), |kind| words_of(name, kind));
        }
        _ => value.written().to_owned(),
    };
    // DashScope writes the word where others write null.
    let is_none = words.trim().is_empty() || words.eq_ignore_ascii_case("null") || words.eq_ignore_ascii_case("none");
    (!is_none).then_some(Ok(words))
}

fn mark(name: &str, shown: &str, value: Json<'_>) -> Option<Flaw> {
    let is_bad = |bad: bool| (value.truth() == Some(bad)).then_some(true);
    let is_cut = match name {
        _ if is_among(&CUT, name) => is_bad(true)?,
        _ if is_among(&WHOLE, name) => is_bad(false)?,
        _ if is_among(&GIVEN_UP, name) => !is_bad(true)?,
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
    Some(Flaw { detail: format!("{shown} is {}", value.written()), is_cut })
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
            (r#"{"complete":"no"}"#, r#"complete is "no""#, true),
            (r#"{"done":false}"#, "done is false", true),
            (r#"{"partial":"Yes"}"#, r#"partial is "Yes""#, true),
            (r#"{"incomplete":"1"}"#, r#"incomplete is "1""#, true),
            (r#"{"aborted":true}"#, "aborted is true", false),
            (r#"{"metadata":{"finish_reason":"length"}}"#, r#"metadata.finish_reason is "length""#, true),
            (r#"{"metadata":{"truncated":true}}"#, "metadata.truncated is true", true),
            (r#"{"meta":{"isComplete":"no","finish_reason":"stop"}}"#, r#"meta.isComplete is "no""#, true),
            (r#"{"is_complete":"False"}"#, r#"is_complete is "False""#, true),
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
