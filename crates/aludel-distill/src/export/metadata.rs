//! The keys of an exported GGUF file: the config's, the tokenizer's with every token that ends an answer, and the template. What describes
//! the file for people is in `general`.

use aludel_formats::gguf::{Metadata, Value};
use aludel_model::config::{Config, GgufConfig};
use aludel_model::student::Student;
use aludel_model::weights::Files;
use aludel_text::{Date, EncodeOptions, GgufVocabulary, TextBundle, end_of_turn_id};

use super::file_type::FileType;
use super::general::{self, Lineage};
use crate::error::Result;

/// The metadata of the file that a student's is read from, if it is one.
pub(super) fn of_source(student: &Student) -> Option<&Metadata> {
    match student.weights.files() {
        Files::Gguf(file) => Some(file.metadata()),
        Files::Folder(_) => None,
    }
}

/// The tokens that end an answer, in the places that a GGUF file has for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EndTokens {
    pub(super) eos: Option<u32>,
    pub(super) eot: Option<u32>,
    pub(super) eom: Option<u32>,
    /// Those beyond.
    pub(super) left_over: Vec<u32>,
}

impl EndTokens {
    /// `eos` is the tokenizer's own; of the others the one that ends a turn in the template comes first.
    pub(super) fn new(student: &Student, text: &TextBundle) -> EndTokens {
        let end_of_turn = end_of_turn(text, &student.path.display().to_string());
        let mut all: Vec<u32> = Vec::new();
        for id in text.eos_id().into_iter().chain(end_of_turn).chain(student.eos_token_ids.iter().copied()) {
            if !all.contains(&id) {
                all.push(id);
            }
        }
        let mut all = all.into_iter();
        EndTokens { eos: all.next(), eot: all.next(), eom: all.next(), left_over: all.collect() }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.eos.into_iter().chain(self.eot).chain(self.eom)
    }
}

/// The token that ends a turn in a template.
pub(super) fn end_of_turn(text: &TextBundle, origin: &str) -> Option<u32> {
    let template = text.chat_template.as_ref().and_then(|_| text.template(origin).ok())?;
    end_of_turn_id(&template, &text.tokenizer, &dated()).ok().flatten()
}

/// Options for templates that tell the date: any day does for what is compared.
pub(super) fn dated() -> EncodeOptions {
    EncodeOptions { date: Some(Date::from_unix_seconds(0)), ..EncodeOptions::default() }
}

/// What [`keys`] is made from.
pub(super) struct Described<'a> {
    pub(super) student: &'a Student,
    pub(super) text: &'a TextBundle,
    pub(super) config: &'a Config,
    pub(super) file_type: FileType,
    pub(super) parameters: u64,
    pub(super) lineage: &'a Lineage,
}

/// All keys of the file.
///
/// # Errors
/// A tokenizer that GGUF files cannot hold.
pub(super) fn keys(described: &Described<'_>, config: GgufConfig, ends: &EndTokens) -> Result<Vec<(String, Value)>> {
    let Described { student, text, file_type, parameters, lineage, .. } = *described;
    let source = of_source(student);
    let mut keys = general::keys(described.config.family.gguf, file_type, parameters, lineage, source);
    keys.extend(config.keys);
    let rows = described.config.vocab_size;
    let of_file = student.gguf_vocabulary()?.and_then(|vocabulary| vocabulary.grown_to(&text.tokenizer, rows));
    let is_of_file = of_file.is_some();
    let vocabulary = match of_file {
        Some(vocabulary) => vocabulary,
        None => text.to_gguf(rows, &student.path.display().to_string())?,
    };
    keys.extend(tokenizer(vocabulary, ends));
    if let Some(template) = &text.chat_template {
        keys.push(("tokenizer.chat_template".to_owned(), template.as_str().into()));
    }
    if is_of_file {
        // tokens for filling in the middle, and others that the tokenizer does not need
        for (key, value) in source.into_iter().flat_map(Metadata::iter) {
            let is_other_template =
                key.starts_with("tokenizer.chat_template") && text.chat_template != student.text.chat_template;
            if key.starts_with("tokenizer.") && !is_other_template && !keys.iter().any(|(known, _)| known == key) {
                keys.push((key.to_owned(), value.clone()));
            }
        }
    }
    Ok(keys)
}

fn tokenizer(vocabulary: GgufVocabulary, ends: &EndTokens) -> Vec<(String, Value)> {
    let mut keys: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, value: Option<Value>| {
        keys.extend(value.map(|value| (format!("tokenizer.ggml.{key}"), value)));
    };
    let filled = |is_empty: bool, value: Value| (!is_empty).then_some(value);
    put("model", Some(vocabulary.model.into()));
    put("pre", vocabulary.pre.map(Value::from));
    put("tokens", Some(vocabulary.tokens.into()));
    put("scores", filled(vocabulary.scores.is_empty(), vocabulary.scores.into()));
    put("token_type", filled(vocabulary.token_types.is_empty(), vocabulary.token_types.into()));
    put("merges", filled(vocabulary.merges.is_empty(), vocabulary.merges.into()));
    put("bos_token_id", vocabulary.bos_id.map(Value::from));
    put("eos_token_id", ends.eos.map(Value::from));
    put("eot_token_id", ends.eot.map(Value::from));
    put("eom_token_id", ends.eom.map(Value::from));
    put("unknown_token_id", vocabulary.unknown_id.map(Value::from));
    put("padding_token_id", vocabulary.padding_id.map(Value::from));
    put("add_bos_token", vocabulary.add_bos.map(Value::from));
    put("add_space_prefix", vocabulary.add_space_prefix.map(Value::from));
    keys
}
