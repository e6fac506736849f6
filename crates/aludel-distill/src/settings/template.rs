//! Inputs of a chat template beside the messages, as settings: the date and additional variables. How recipes spell the two, and which
//! names Aludel already defines for a template.

use aludel_text::Date;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What templates get from Aludel, and no setting may replace.
const OWN_NAMES: [&str; 9] = [
    "messages",
    "add_generation_prompt",
    "bos_token",
    "eos_token",
    "strftime_now",
    "raise_exception",
    "loop",
    "self",
    "caller",
];

/// Inputs of a chat template beside the messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TemplateInputs {
    /// The day, for templates that ask for it.
    pub date: Option<Date>,
    /// Variables of the template.
    pub variables: Map<String, Value>,
}

/// Reads a day; TOML's own dates come as text, too.
pub(super) fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map(Some).map_err(D::Error::custom)
}

/// Why a template cannot have a variable of this name, if it cannot.
pub fn refused_name(name: &str) -> Option<&'static str> {
    let mut letters = name.chars();
    let is_name = letters.next().is_some_and(|letter| letter == '_' || letter.is_alphabetic())
        && letters.all(|letter| letter == '_' || letter.is_alphanumeric());
    if !is_name {
        return Some("a template cannot name a variable so");
    }
    OWN_NAMES.contains(&name).then_some("the template has this from Aludel")
}
