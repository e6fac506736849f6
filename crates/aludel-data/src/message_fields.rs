//! Reads the fields of a message from any source: its content, its reasoning under any of its usual names, and parts of either.
//! Used for messages of files and for answers of servers; other fields are left to them.

use serde_json::Value;

use crate::column_names::same;
use crate::json::{Fields, InvalidString, Json, Kind, joined};

/// Names of reasoning fields, in order of precedence; the first that is not empty counts. They are compared in any spelling.
const REASONING: [&str; 24] = [
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "thought",
    "thoughts",
    "think",
    "chain_of_thought",
    "cot",
    "rationale",
    "reasoning_trace",
    "deepseek_reasoning",
    "complex_cot",
    "reasoning_details",
    "thinking_blocks",
    "thinking_content",
    "thinking_process",
    "thought_process",
    "reasoning_process",
    "thinking_trajectory",
    "thinking_trajectories",
    "deepseek_thinking_trajectory",
    "gemini_thinking_trajectory",
    "scratchpad",
];

/// Whether a field of this name is reasoning.
pub fn is_reasoning(name: &str) -> bool {
    place_of_reasoning(name).is_some()
}

fn place_of_reasoning(name: &str) -> Option<usize> {
    REASONING.iter().position(|known| same(known, name))
}

/// The members named like reasoning that are not `null`, in order of precedence.
pub fn called_reasoning<'a>(members: impl Iterator<Item = (&'a str, Json<'a>)>) -> Vec<(&'a str, Json<'a>)> {
    let placed = members.filter(|(_, value)| !value.is_null());
    let mut found: Vec<_> = placed.filter_map(|member| Some((place_of_reasoning(member.0)?, member))).collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, member)| member).collect()
}

/// The names of content.
pub const CONTENT: [&str; 4] = ["content", "value", "text", "parts"];

/// Fields beside reasoning that are not reasoning: settings, and what servers need to recognise it again.
const BESIDE_REASONING: [&str; 14] = [
    "type",
    "effort",
    "budget_tokens",
    "enabled",
    "exclude",
    "max_tokens",
    "generate_summary",
    "format",
    "index",
    "id",
    "status",
    "signature",
    "encrypted_content",
    "data",
];

/// Fields beside the text of a part that add nothing: metadata of servers.
const BESIDE_TEXT: [&str; 7] =
    ["annotations", "cache_control", "citations", "logprobs", "phase", "thought", "thought_signature"];

/// Placeholders for absent reasoning.
const NOTHING: [&str; 8] = ["none", "null", "nil", "nan", "n/a", "na", "undefined", "<na>"];

/// Values that set how a model is to reason.
const SETTINGS: [&str; 14] = [
    "on", "off", "true", "false", "yes", "no", "minimal", "low", "medium", "high", "xhigh", "auto", "enabled",
    "disabled",
];

/// Fields that may accompany such a value.
const OF_SETTINGS: [&str; 8] =
    ["budget", "budget_tokens", "effort", "max_tokens", "mode", "reasoning", "thinking", "type"];

/// Placeholders for hidden reasoning.
const WITHHELD: [&str; 3] = ["encrypted_content", "data", "signature"];

/// Maximum depth of nested parts: a text in a thought in a list is the deepest known form.
const DEPTH: usize = 4;

/// The parts of a message, or of a chunk of one. Bytes, since a server may split a surrogate pair.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MessageParts {
    /// The reasoning.
    pub reasoning: Vec<u8>,
    /// The answer.
    pub content: Vec<u8>,
    /// The refusal, where it has a field of its own.
    pub refusal: Vec<u8>,
    /// There was reasoning that is not shown: encrypted or left out.
    pub is_withheld: bool,
}

impl MessageParts {
    /// Content and reasoning. Chunks of a stream are concatenated without a separator.
    ///
    /// # Errors
    /// What is not understood, without its place.
    pub fn of(fields: &Fields<'_>, is_piece: bool) -> Result<MessageParts, String> {
        once_each(fields)?;
        let mut said = MessageParts::default();
        // a token may be a line break, and its piece nothing else
        let content = if is_piece { fields.first_given(&CONTENT) } else { fields.first(&CONTENT) };
        if let Some((name, content)) = content {
            let mut reader = Reader { said: &mut said, is_piece };
            match content.kind() {
                Kind::Object => return Err(format!("`{name}` holds an object, and text or a list of parts is wanted")),
                _ => reader.take(content, Side::Content, DEPTH)?,
            }
            if let Some((other, _)) = CONTENT.iter().find_map(|other| {
                let value = fields.get(other).filter(|value| *other != name && !value.is_empty())?;
                (value.written() != content.written()).then_some((other, ()))
            }) {
                return Err(format!("`{name}` and `{other}` both hold text, and only one of them can be what is said"));
            }
        }
        let beside = called_reasoning(fields.iter()).into_iter().find_map(|(name, value)| {
            let read = reasoning_in(name, value, is_piece);
            read.as_ref().map_or(true, |read| !read.reasoning.is_empty() || read.is_withheld).then_some(read)
        });
        if let Some(beside) = beside.transpose()? {
            said.is_withheld |= beside.is_withheld;
            let is_said = if is_piece { !beside.reasoning.is_empty() } else { !is_blank(&beside.reasoning) };
            if is_said {
                if !is_blank(&said.reasoning) && said.reasoning.trim_ascii() != beside.reasoning.trim_ascii() {
                    return Err(
                        "its content has reasoning of its own, and a field beside it another; give one of them"
                            .to_owned(),
                    );
                }
                said.reasoning = beside.reasoning;
            }
        }
        if let Some(refusal) = fields.get("refusal").and_then(Json::wide) {
            said.refusal.extend(refusal);
        }
        Ok(said)
    }
}

/// Reasoning in a field or a column of its own: text, or a list of parts.
///
/// # Errors
/// What is not understood, with the field's name.
pub fn reasoning_in(name: &str, value: Json<'_>, is_piece: bool) -> Result<MessageParts, String> {
    let mut said = MessageParts::default();
    match value.kind() {
        // `thinking: true` is a setting.
        Kind::Truth | Kind::Number if is_piece => {}
        Kind::Truth | Kind::Number => {
            let kind = value.kind().named();
            return Err(format!("`{name}` holds {kind}, and reasoning is text; rename it if it is none"));
        }
        _ => Reader { said: &mut said, is_piece }.take(value, Side::Reasoning, DEPTH)?,
    }
    if !is_piece && is_nothing(&String::from_utf8_lossy(&said.reasoning)) {
        said.reasoning.clear();
    }
    Ok(said)
}

/// Refuses a setting in the place of reasoning.
pub fn no_setting(place: &str, text: &str) -> Result<(), String> {
    match is_setting(text) {
        true => Err(format!("{place} says {:?}, which is a setting and no reasoning; rename it", text.trim())),
        false => Ok(()),
    }
}

/// Whether a text in the place of reasoning is a placeholder for none.
pub fn is_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))
}

/// Whether a text in the place of reasoning is a setting: `high`, `enabled: 1024`, `effort=low`.
pub fn is_setting(text: &str) -> bool {
    const LONGEST: usize = 60;
    let text = text.trim();
    if text.len() > LONGEST {
        return false;
    }
    let text = text.to_ascii_lowercase();
    let mut words = text.split([' ', ':', '=', ',', ';']).filter(|word| !word.is_empty());
    let is_part = |word: &str| {
        SETTINGS.contains(&word) || OF_SETTINGS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit())
    };
    words.clone().any(|word| SETTINGS.contains(&word)) && words.all(is_part)
}

/// Refuses two members of one name: which of them counts is unclear.
pub fn once_each(fields: &Fields<'_>) -> Result<(), String> {
    match fields.twice() {
        Some(name) => {
            Err(format!("it has `{}` twice, and it cannot be told which of the two counts", name.escape_debug()))
        }
        None => Ok(()),
    }
}

/// The content of a list of parts without a message around it.
///
/// # Errors
/// What is not understood, without its place.
pub fn said_in_parts(parts: Json<'_>) -> Result<MessageParts, String> {
    let mut said = MessageParts::default();
    Reader { said: &mut said, is_piece: false }.take(parts, Side::Content, DEPTH)?;
    Ok(said)
}

/// Reasoning tokens of a server's `usage`, under any of their names.
pub fn reasoning_tokens(usage: &Value) -> Option<u64> {
    let places = ["/completion_tokens_details", "/output_tokens_details", ""];
    places.iter().find_map(|place| usage.pointer(&format!("{place}/reasoning_tokens"))?.as_u64())
}

/// The text of the collected bytes.
///
/// # Errors
/// Names the field with a lone surrogate.
pub fn text_of(bytes: Vec<u8>, what: &str) -> Result<String, String> {
    joined(bytes).map_err(|half: InvalidString| format!("{what} holds {half}"))
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Content,
    Reasoning,
}

struct Reader<'a> {
    said: &'a mut MessageParts,
    is_piece: bool,
}

impl Reader<'_> {
    /// Adds a text, a part, or a list of them.
    fn take(&mut self, value: Json<'_>, side: Side, depth: usize) -> Result<(), String> {
        match value.kind() {
            Kind::Null => {}
            Kind::Text => self.add(side, &value.wide().unwrap_or_default()),
            Kind::Number | Kind::Truth => self.add(side, value.written().as_bytes()),
            Kind::List | Kind::Object if depth == 0 => return Err("its parts are nested too deeply".to_string()),
            Kind::List => {
                for part in value.items() {
                    let before = self.said.reasoning.len();
                    self.take(part, side, depth - 1)?;
                    self.set_apart(before);
                }
            }
            Kind::Object => self.take_part(&value.fields(), side, depth - 1)?,
        }
        Ok(())
    }

    fn take_part(&mut self, part: &Fields<'_>, side: Side, depth: usize) -> Result<(), String> {
        once_each(part)?;
        let kind =
            part.get("type").and_then(|kind| kind.text().ok().flatten()).unwrap_or_default().to_ascii_lowercase();
        let is_thought = part.get("thought").is_some_and(|thought| thought.written() == "true");
        let (side, names): (Side, &[&'static str]) = match kind.as_str() {
            "" | "text" | "input_text" | "output_text" if is_thought => (Side::Reasoning, &["text"]),
            "text" | "input_text" | "output_text" => (side, &["text", "content", "value"]),
            "" if side == Side::Content => (side, &["text", "content", "value"]),
            "" | "thinking" | "reasoning" | "thought" | "think" | "reasoning_content" | "reasoning_text"
            | "summary_text" | "reasoning.text" | "reasoning.summary" => {
                let names = &["thinking", "reasoning", "reasoning_content", "text", "content", "thought", "summary"];
                (Side::Reasoning, names)
            }
            // A setting for reasoning, as in Anthropic's requests.
            "enabled" | "disabled" | "adaptive" if side == Side::Reasoning => (side, &[]),
            "reasoning.encrypted" | "redacted_thinking" | "encrypted" => {
                self.said.is_withheld = true;
                return Ok(());
            }
            "refusal" => {
                self.said.refusal.extend(part.get("refusal").and_then(Json::wide).unwrap_or_default());
                return Ok(());
            }
            other => return Err(not_understood(other)),
        };
        // A part with only a type, as in the first chunk of a stream, is empty so far.
        let text = if self.is_piece { part.first_given(names) } else { part.first(names) };
        match text {
            Some((taken, value)) => {
                let is_more = |(name, other): &(&str, Json<'_>)| {
                    let is_known = *name == taken || BESIDE_TEXT.contains(name) || BESIDE_REASONING.contains(name);
                    !is_known && !other.is_empty() && other.written() != value.written()
                };
                match part.iter().find(is_more).filter(|_| !self.is_piece) {
                    Some((name, _)) => {
                        Err(format!("a part has `{}` beside `{taken}`, which is not understood", name.escape_debug()))
                    }
                    None => self.take(value, side, depth),
                }
            }
            None if side == Side::Reasoning => {
                self.said.is_withheld |= WITHHELD.iter().any(|name| part.get(name).is_some());
                let is_text = |(name, value): &(&str, Json<'_>)| !value.is_empty() && !BESIDE_REASONING.contains(name);
                match part.iter().find(is_text) {
                    Some((name, _)) => {
                        Err(format!("its reasoning has `{}`, which is not understood", name.escape_debug()))
                    }
                    None => Ok(()),
                }
            }
            None if names.iter().any(|name| part.get(name).is_some()) || self.is_piece => Ok(()),
            None => Err(not_understood(if kind.is_empty() { "unknown" } else { kind.as_str() })),
        }
    }

    fn add(&mut self, side: Side, text: &[u8]) {
        match side {
            Side::Content => self.said.content.extend_from_slice(text),
            Side::Reasoning => self.said.reasoning.extend_from_slice(text),
        }
    }

    /// Complete blocks of reasoning are separate paragraphs.
    fn set_apart(&mut self, at: usize) {
        let reasoning = &mut self.said.reasoning;
        let touch = at > 0 && at < reasoning.len();
        if touch && !self.is_piece && !reasoning[at - 1].is_ascii_whitespace() && !reasoning[at].is_ascii_whitespace() {
            reasoning.splice(at..at, *b"\n\n");
        }
    }
}

fn not_understood(kind: &str) -> String {
    let kind = kind.escape_debug();
    format!("it has a part of type `{kind}`, which is not understood; text and reasoning are")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, is_piece: bool) -> Result<(String, String, bool), String> {
        let said = MessageParts::of(&Json::parse(text).unwrap().fields(), is_piece)?;
        Ok((text_of(said.reasoning, "reasoning")?, text_of(said.content, "content")?, said.is_withheld))
    }

    fn check(text: &str, reasoning: &str, content: &str) {
        for is_piece in [false, true] {
            assert_eq!(said(text, is_piece), Ok((reasoning.to_string(), content.to_string(), false)), "{text}");
        }
    }

    /// A stream may have a line break alone in a piece.
    #[test]
    fn white_space_in_a_piece_is_part_of_the_text() {
        for blank in ["\\n", " ", "\\n\\n"] {
            let text: String = serde_json::from_str(&format!("\"{blank}\"")).unwrap();
            let of = |piece: &str| said(&piece.replace('_', blank), true).unwrap();
            assert_eq!(of(r#"{"role":"assistant","content":"_"}"#), (String::new(), text.clone(), false));
            assert_eq!(of(r#"{"content":[{"type":"text","text":"_"}]}"#), (String::new(), text.clone(), false));
            assert_eq!(of(r#"{"content":"","reasoning_content":"_"}"#), (text.clone(), String::new(), false));
            assert_eq!(of(r#"{"content":null,"reasoning":"_","reasoning_content":"_"}"#), (text, String::new(), false));
        }
    }

    #[test]
    fn reasoning_has_many_names() {
        check(r#"{"content":"4","reasoning_content":"","reasoning":"two and two"}"#, "two and two", "4");
        check(r#"{"content":"4","reasoning_content":null,"reasoning":[],"thinking":"t"}"#, "t", "4");
        assert_eq!(said(r#"{"reasoning":" ","thinking":"t"}"#, false).unwrap().0, "t");
        check(r#"{"content":"4","reasoning_content":"a","reasoning":"b"}"#, "a", "4");
        check(r#"{"content":null,"thoughts":"t"}"#, "t", "");
        for name in REASONING {
            check(&format!(r#"{{"content":"4","{name}":"t"}}"#), "t", "4");
            check(&format!(r#"{{"content":"4","{}":"t"}}"#, name.to_uppercase()), "t", "4");
        }
    }

    #[test]
    fn reasoning_comes_in_parts() {
        check(r#"{"content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"4"}]}"#, "t", "4");
        check(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},"4"]}"#, "t", "4");
        check(r#"{"content":[{"type":"reasoning","text":"t","signature":"s"},{"text":"4"}]}"#, "t", "4");
        check(r#"{"content":"4","reasoning_details":[{"type":"reasoning.text","text":"t","format":"x"}]}"#, "t", "4");
        check(r#"{"content":"4","reasoning_details":[{"type":"reasoning.summary","summary":"t"}]}"#, "t", "4");
        check(r#"{"content":"4","reasoning":{"summary":[{"type":"summary_text","text":"t"}]}}"#, "t", "4");
        check(r#"{"content":"4","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}]}"#, "t", "4");
        check(r#"{"parts":[{"text":"t","thought":true},{"text":"4"}]}"#, "t", "4");
        check(
            r#"{"content":"4","reasoning":"t","reasoning_details":[{"type":"reasoning.text","text":"t"}]}"#,
            "t",
            "4",
        );
        // Blocks of a complete message are paragraphs, chunks of a stream are not.
        let two =
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"a"},{"type":"reasoning.text","text":"b"}]}"#;
        assert_eq!(said(two, false).unwrap().0, "a\n\nb");
        assert_eq!(said(two, true).unwrap().0, "ab");
    }

    #[test]
    fn reasoning_that_is_not_shown_is_noticed() {
        for part in [
            r#""reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]"#,
            r#""content":[{"type":"redacted_thinking","data":"x"},{"type":"text","text":"4"}]"#,
            r#""reasoning":{"encrypted_content":"x"}"#,
            r#""content":[{"type":"thinking","thinking":"","signature":"x"},{"type":"text","text":"4"}]"#,
            r#""reasoning":"","reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]"#,
        ] {
            let (reasoning, _, is_withheld) = said(&format!("{{{part}}}"), false).unwrap();
            assert!(reasoning.is_empty() && is_withheld, "{part}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refused = |text: &str, mention: &str| {
            let error = said(text, false).unwrap_err();
            assert!(error.contains(mention), "{error}");
        };
        refused(r#"{"content":[{"type":"image_url","image_url":{}}]}"#, "type `image_url`");
        refused(r#"{"content":[{"kind":"x"}]}"#, "type `unknown`");
        refused(r#"{"content":{"a":1}}"#, "`content` holds an object");
        refused(r#"{"content":"a","text":"b"}"#, "`content` and `text`");
        refused(r#"{"content":"a","reasoning":{"words":"b"}}"#, "`words`");
        assert_eq!(said(r#"{"reasoning":{"effort":"high"}}"#, false), Ok((String::new(), String::new(), false)));
        refused(r#"{"content":"a","thinking":true}"#, "`thinking` holds a truth value");
        refused(&format!(r#"{{"content":{}"x"{}}}"#, "[".repeat(9), "]".repeat(9)), "too deeply");
    }
}
