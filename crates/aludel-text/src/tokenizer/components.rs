//! The components of a tokenizer.json: their types, and the permitted fields of each type. Fields that the library would
//! ignore, or refuse in words of its own, are refused here with their place. `validate` bounds the time and memory that
//! the components need.

use aludel_files::shortened;
use serde_json::{Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use crate::catch_panic::catch_panic;

/// What a field may say.
#[derive(Clone, Copy)]
enum FieldType {
    Text,
    Letter,
    Flag,
    Number,
    /// From 0.
    Count,
    /// What a step searches for: a text or an expression.
    Pattern,
    OneOf(&'static [&'static str]),
    /// A list of steps.
    Steps,
    /// Checked elsewhere, or without effect.
    Any,
}

use FieldType::{Any, Count, Flag, Letter, Number, OneOf, Pattern, Steps, Text};

/// A field: its name, its permitted values, and whether it may be missing or null.
type Field = (&'static str, FieldType, bool);

type Table = &'static [(&'static [&'static str], &'static [Field])];

/// The name of the whole file, where a part has its place.
const FILE: &str = "the file";

const NEEDED: bool = false;
const MAY_BE_ABSENT: bool = true;

const BEHAVIORS: FieldType = OneOf(&["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]);
const SPELT_BYTES: &[Field] =
    &[("add_prefix_space", Flag, NEEDED), ("trim_offsets", Flag, NEEDED), ("use_regex", Flag, MAY_BE_ABSENT)];
const SIGN: &[Field] = &[
    ("replacement", Letter, NEEDED),
    ("add_prefix_space", Flag, MAY_BE_ABSENT),
    ("prepend_scheme", OneOf(&["first", "never", "always"]), MAY_BE_ABSENT),
    ("split", Flag, MAY_BE_ABSENT),
    ("str_rep", Text, MAY_BE_ABSENT),
];
const REPLACE: &[Field] = &[("pattern", Pattern, NEEDED), ("content", Text, NEEDED)];

const NORMALIZERS: Table = &[
    (
        &["BertNormalizer", "Bert"],
        &[
            ("clean_text", Flag, NEEDED),
            ("handle_chinese_chars", Flag, NEEDED),
            ("strip_accents", Flag, MAY_BE_ABSENT),
            ("lowercase", Flag, NEEDED),
        ],
    ),
    (&["Strip"], &[("strip_left", Flag, NEEDED), ("strip_right", Flag, NEEDED)]),
    (&["StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "ByteLevel"], &[]),
    (&["Sequence"], &[("normalizers", Steps, NEEDED)]),
    (&["Precompiled"], &[("precompiled_charsmap", Text, NEEDED)]),
    (&["Replace"], REPLACE),
    (&["Prepend"], &[("prepend", Text, NEEDED)]),
];

const PRE_TOKENIZERS: Table = &[
    (&["BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts"], &[]),
    (&["ByteLevel"], SPELT_BYTES),
    (&["CharDelimiterSplit", "Delimiter"], &[("delimiter", Letter, NEEDED)]),
    (&["Metaspace"], SIGN),
    (&["Sequence"], &[("pretokenizers", Steps, NEEDED)]),
    (&["Split"], &[("pattern", Pattern, NEEDED), ("behavior", BEHAVIORS, NEEDED), ("invert", Flag, NEEDED)]),
    (&["Punctuation"], &[("behavior", BEHAVIORS, MAY_BE_ABSENT)]),
    (&["Digits"], &[("individual_digits", Flag, NEEDED)]),
    (&["FixedLength"], &[("length", Count, MAY_BE_ABSENT)]),
];

const DECODERS: Table = &[
    (&["BPEDecoder", "BPE"], &[("suffix", Text, NEEDED)]),
    (&["ByteLevel"], SPELT_BYTES),
    (&["WordPiece"], &[("prefix", Text, NEEDED), ("cleanup", Flag, NEEDED)]),
    (&["Metaspace"], SIGN),
    (&["CTC"], &[("pad_token", Text, NEEDED), ("word_delimiter_token", Text, NEEDED), ("cleanup", Flag, NEEDED)]),
    (&["Sequence"], &[("decoders", Steps, NEEDED)]),
    (&["Replace"], REPLACE),
    (&["Fuse", "ByteFallback"], &[]),
    (&["Strip"], &[("content", Letter, NEEDED), ("start", Count, NEEDED), ("stop", Count, NEEDED)]),
];

const MODELS: Table = &[
    (
        &["BPE"],
        &[
            ("dropout", Number, MAY_BE_ABSENT),
            ("unk_token", Text, MAY_BE_ABSENT),
            ("continuing_subword_prefix", Text, MAY_BE_ABSENT),
            ("end_of_word_suffix", Text, MAY_BE_ABSENT),
            ("fuse_unk", Flag, MAY_BE_ABSENT),
            ("byte_fallback", Flag, MAY_BE_ABSENT),
            ("ignore_merges", Flag, MAY_BE_ABSENT),
            ("vocab", Any, NEEDED),
            ("merges", Any, NEEDED),
        ],
    ),
    (
        &["WordPiece"],
        &[
            ("unk_token", Text, NEEDED),
            ("continuing_subword_prefix", Text, NEEDED),
            ("max_input_chars_per_word", Count, NEEDED),
            ("vocab", Any, NEEDED),
        ],
    ),
    (&["WordLevel"], &[("unk_token", Text, NEEDED), ("vocab", Any, NEEDED)]),
    (&["Unigram"], &[("unk_id", Count, MAY_BE_ABSENT), ("byte_fallback", Flag, MAY_BE_ABSENT), ("vocab", Any, NEEDED)]),
];

const ADDED: &[Field] = &[
    ("id", Count, NEEDED),
    ("content", Text, NEEDED),
    ("single_word", Flag, NEEDED),
    ("lstrip", Flag, NEEDED),
    ("rstrip", Flag, NEEDED),
    ("normalized", Flag, NEEDED),
    ("special", Flag, NEEDED),
];

const WHOLE: &[Field] = &[
    ("version", OneOf(&["1.0"]), MAY_BE_ABSENT),
    ("truncation", Any, MAY_BE_ABSENT),
    ("padding", Any, MAY_BE_ABSENT),
    ("added_tokens", Any, MAY_BE_ABSENT),
    ("normalizer", Any, MAY_BE_ABSENT),
    ("pre_tokenizer", Any, MAY_BE_ABSENT),
    ("post_processor", Any, MAY_BE_ABSENT),
    ("decoder", Any, MAY_BE_ABSENT),
    ("model", Any, NEEDED),
];

/// A step, and nested steps, according to the table of this name; `place` is its position.
///
/// # Errors
/// What is wrong, with its place.
pub(super) fn check_step(part: &str, step: &Map<String, Value>, place: &str) -> Result<(), String> {
    match part {
        "normalizer" => check_typed(NORMALIZERS, step, place),
        "pre_tokenizer" => check_typed(PRE_TOKENIZERS, step, place),
        _ => check_typed(DECODERS, step, place),
    }
}

/// Why the library refuses a file, which its own message does not explain.
pub(super) fn fault(bytes: &[u8], reason: &str) -> String {
    let whole: Value = match serde_json::from_slice(bytes) {
        Ok(whole) => whole,
        Err(error) => return format!("it is not valid JSON: {error}"),
    };
    let found = check_whole(&whole).and_then(|()| check_by_library(&whole));
    found.err().unwrap_or_else(|| readable("it", reason))
}

fn check_whole(whole: &Value) -> Result<(), String> {
    let whole = whole.as_object().ok_or_else(|| format!("it is {}, and an object is wanted", kind(whole)))?;
    check_fields(WHOLE, whole, None)?;
    if let Some(value) = whole.get("added_tokens").filter(|value| !value.is_null()) {
        let list = value.as_array().ok_or_else(|| unfit("added_tokens", value, "a list"))?;
        for (number, token) in list.iter().enumerate() {
            let place = format!("added_tokens[{number}]");
            check_fields(ADDED, token.as_object().ok_or_else(|| unfit(&place, token, "an object"))?, Some(&place))?;
            check_id(&token["id"], &format!("{place}.id"))?;
        }
    }
    let model = &whole["model"];
    let model = model.as_object().ok_or_else(|| unfit("model", model, "an object"))?;
    if model.contains_key("type") {
        check_typed(MODELS, model, "model")?;
    }
    match model.get("vocab") {
        Some(Value::Object(words)) => {
            for (word, id) in words {
                check_id(id, &format!("model.vocab[{}]", shown(word)))?;
            }
        }
        Some(Value::Array(words)) => {
            for (number, word) in words.iter().enumerate() {
                let is_pair = matches!(word.as_array().map(Vec::as_slice), Some([Value::String(_), Value::Number(_)]));
                if !is_pair {
                    return Err(unfit(&format!("model.vocab[{number}]"), word, "a list of a token and its score"));
                }
            }
        }
        other => return Err(unfit("model.vocab", other.unwrap_or(&Value::Null), "an object or a list")),
    }
    if let Some(merges) = model.get("merges") {
        let list = merges.as_array().ok_or_else(|| unfit("model.merges", merges, "a list"))?;
        for (number, merge) in list.iter().enumerate() {
            let is_merge = match merge {
                Value::String(halves) => halves.split(' ').count() == 2,
                Value::Array(halves) => matches!(halves.as_slice(), [Value::String(_), Value::String(_)]),
                _ => false,
            };
            if !is_merge {
                return Err(unfit(&format!("model.merges[{number}]"), merge, "a pair of tokens"));
            }
        }
    }
    Ok(())
}

/// The token that a post-processor puts before every text.
pub(super) fn beginning(post_processor: &Value) -> Option<&str> {
    let first = match post_processor.get("type")?.as_str()? {
        "Sequence" => {
            return post_processor.get("processors")?.as_array()?.iter().find_map(beginning);
        }
        "TemplateProcessing" => post_processor.get("single")?.get(0)?.get("SpecialToken")?.get("id"),
        "BertProcessing" | "RobertaProcessing" => post_processor.get("cls")?.get(0),
        _ => None,
    };
    first?.as_str()
}

/// The part that the library refuses, found by trying each alone.
fn check_by_library(whole: &Value) -> Result<(), String> {
    fn check<T: serde::de::DeserializeOwned>(whole: &Value, name: &str) -> Result<(), String> {
        let Some(part) = whole.get(name).filter(|part| !part.is_null()) else { return Ok(()) };
        let built =
            catch_panic(|| serde_json::from_str::<T>(&part.to_string()).map(drop).map_err(|error| error.to_string()));
        built.and_then(|built| built).map_err(|reason| readable(&format!("its {name}"), &reason))
    }
    check::<NormalizerWrapper>(whole, "normalizer")?;
    check::<PreTokenizerWrapper>(whole, "pre_tokenizer")?;
    check::<PostProcessorWrapper>(whole, "post_processor")?;
    check::<DecoderWrapper>(whole, "decoder")?;
    check::<ModelWrapper>(whole, "model")
}

/// The library's message, if it is about the file and not about its own types.
fn readable(part: &str, reason: &str) -> String {
    const INNER: &[&str] = &[
        "untagged enum",
        "invalid type",
        "invalid value",
        "missing field",
        "unknown variant",
        "struct ",
        "(Some",
        "::",
    ];
    if INNER.iter().any(|words| reason.contains(words)) {
        return format!("{part} is not as the library writes it");
    }
    // The position is within the part, or at the end of the file.
    let reason = reason.split(" at line ").next().unwrap_or(reason);
    format!("{part} cannot be used: {reason}")
}

fn check_typed(table: Table, step: &Map<String, Value>, place: &str) -> Result<(), String> {
    let kind = step.get("type").and_then(Value::as_str).unwrap_or_default();
    let Some((_, fields)) = table.iter().find(|(kinds, _)| kinds.contains(&kind)) else {
        let known: Vec<&str> = table.iter().flat_map(|(kinds, _)| kinds.iter().copied()).collect();
        return Err(format!(
            "{place} has the type {}, which is not known here; known: {}",
            shown(kind),
            known.join(", ")
        ));
    };
    check_fields(fields, step, Some(place))
}

/// The fields of the part at this position; none for the file itself.
fn check_fields(fields: &[Field], object: &Map<String, Value>, place: Option<&str>) -> Result<(), String> {
    for &(name, form, may_be_absent) in fields {
        match object.get(name).filter(|value| !(value.is_null() && may_be_absent)) {
            Some(value) => {
                let inside = place.map_or_else(|| name.to_owned(), |place| format!("{place}.{name}"));
                check_form(form, value, &inside)?;
            }
            None if may_be_absent => {}
            None => return Err(format!("{} has no `{name}`, which is needed", place.unwrap_or(FILE))),
        }
    }
    let is_known = |name: &str| name == "type" || fields.iter().any(|(known, ..)| *known == name);
    unknown(object.iter().filter(|(name, _)| !is_known(name)), place.unwrap_or(FILE))
}

/// Unknown fields of the part at this position; those without effect are allowed.
///
/// # Errors
/// The first of them.
pub(super) fn check_rest(rest: &Map<String, Value>, place: &str) -> Result<(), String> {
    unknown(rest.iter(), place)
}

fn unknown<'a>(mut fields: impl Iterator<Item = (&'a String, &'a Value)>, place: &str) -> Result<(), String> {
    match fields.find(|(_, value)| !value.is_null()) {
        Some((name, _)) => Err(format!(
            "{place} has the field {}, which is not known here and may change ids; if it changes nothing, take it out",
            shown(name)
        )),
        None => Ok(()),
    }
}

fn check_form(form: FieldType, value: &Value, place: &str) -> Result<(), String> {
    let (is_right, wanted) = match form {
        Any => return Ok(()),
        Text => (value.is_string(), "a text"),
        Letter => (value.as_str().is_some_and(|text| text.chars().count() == 1), "a text of one character"),
        Flag => (value.is_boolean(), "true or false"),
        Number => (value.is_number(), "a number"),
        Count => (value.is_u64(), "a whole number from 0"),
        Steps => (value.as_array().is_some_and(|list| list.iter().all(Value::is_object)), "a list of steps"),
        Pattern => {
            let is_one = |fields: &Map<String, Value>| {
                fields.len() == 1
                    && fields
                        .iter()
                        .all(|(kind, text)| ["String", "Regex"].contains(&kind.as_str()) && text.is_string())
            };
            (value.as_object().is_some_and(is_one), "an object with one text, `String` or `Regex`")
        }
        OneOf(names) => {
            let is_one = value.as_str().is_some_and(|text| names.contains(&text));
            return if is_one { Ok(()) } else { Err(unfit(place, value, &format!("one of {}", names.join(", ")))) };
        }
    };
    if is_right { Ok(()) } else { Err(unfit(place, value, wanted)) }
}

fn check_id(value: &Value, place: &str) -> Result<(), String> {
    let is_id = value.as_u64().is_some_and(|id| u32::try_from(id).is_ok());
    if is_id { Ok(()) } else { Err(unfit(place, value, "an id from 0 to 4294967295")) }
}

fn unfit(place: &str, value: &Value, wanted: &str) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => format!("{place} is {}, and {wanted} is wanted", kind(value)),
        _ => format!("{place} is {}, and {wanted} is wanted", shortened(&value.to_string(), 80)),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A text of the file, as messages quote it.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", shortened(text, 80))
}
