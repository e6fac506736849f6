//! Fields of a message beside its text: known notes, and unknown fields. One list for the messages of files, where an unknown field
//! is refused, and for the answers of servers, where it is reported.

use crate::json::{Fields, Json, Kind};
use crate::message_fields::{CONTENT, is_reasoning};

/// Says who speaks.
pub const ROLE: [&str; 2] = ["role", "from"];

/// What a model says beside text and calls. It cannot be trained on, and without it the turn would be another one.
pub const NOT_LEARNT: [&str; 2] = ["refusal", "audio"];

/// Notes of people and servers on a turn, which do not change its meaning.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "_id", "annotations", "author", "avatar", "cache_control", "category", "citations", "conversation_id", "country",
    "created", "created_at", "created_date", "dataset", "date", "detoxify", "emojis", "engine", "hash", "hashed_ip",
    "header", "id", "idx", "index", "info", "lang", "language", "length", "locale", "logprobs", "markdown",
    "message_id", "message_tree_id", "meta", "metadata", "model", "model_name", "name", "num_tokens", "obfuscation",
    "openai_id", "order", "parent", "parent_id", "provider", "provider_specific_fields", "rank", "rating",
    "reasoning_signature", "redacted", "review_count", "score", "signature", "source", "state", "step", "synthetic",
    "system_fingerprint", "tags", "temperature", "thought_signature", "time", "timestamp", "token_count",
    "token_counter", "tokens", "tool_call_id", "topic", "toxic", "tree_state", "ts", "turn", "turn_id",
    "turn_identifier", "turn_idx", "updated_at", "url", "usage", "user", "user_id", "username", "uuid",
];

/// A member that is neither read nor known to be a note.
pub fn unknown<'a>(fields: &'a Fields<'_>) -> impl Iterator<Item = (&'a str, Json<'a>)> {
    fields.iter().filter(|(name, value)| {
        let is_read = ROLE.contains(name) || CONTENT.contains(name) || is_reasoning(name);
        !is_read && !value.is_empty() && !is_note(name, *value)
    })
}

/// Whether a member is a note: by its name alone, or because it has the usual value.
fn is_note(name: &str, value: Json<'_>) -> bool {
    match name {
        // A turn that was deleted or rejected is not one; its marks in other fields are.
        "deleted" => value.truth() == Some(false),
        "review_result" => value.truth() != Some(false),
        // Open Assistant's are objects of scores; a list of numbers says which tokens count.
        "labels" => value.items().iter().all(|item| item.kind() != Kind::Number),
        _ => HARMLESS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_known_and_the_rest_is_named() {
        let named = |text: &str| -> Vec<String> {
            let fields = Json::parse(text).unwrap().fields();
            unknown(&fields).map(|(name, _)| name.to_owned()).collect()
        };
        for text in [
            r#"{"role":"assistant","content":"4","thinking":"t","id":"x","usage":{"a":1}}"#,
            r#"{"deleted":false,"review_result":true,"labels":{"name":["spam"],"value":[0.1]},"channel":null,"x":""}"#,
            r#"{"Complex_CoT":"t","Reasoning":"t"}"#,
            r#"{"deleted":0,"review_result":"True"}"#,
            r#"{"deleted":"False","review_result":1}"#,
            r#"{"labels":["good"],"review_result":null}"#,
        ] {
            assert!(named(text).is_empty(), "{text}");
        }
        assert_eq!(named(r#"{"deleted":true,"labels":[-100,5],"channel":"final"}"#), ["deleted", "labels", "channel"]);
        assert_eq!(named(r#"{"deleted":1,"review_result":"no"}"#), ["deleted", "review_result"]);
        assert_eq!(named(r#"{"review_result":false,"audio":{"data":"x"}}"#), ["review_result", "audio"]);
    }
}
