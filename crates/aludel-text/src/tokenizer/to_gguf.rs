//! A tokenizer as the vocabulary of a GGUF file, the counterpart of `gguf`. What llama.cpp's tokenizers do not do is refused by name: a
//! file that gives other ids would look right and answer badly.

use std::collections::HashMap;

use serde_json::Value;

use super::Tokenizer;
use super::gguf::{BYTE, CONTROL, GgufVocabulary, NORMAL, UNKNOWN, UNUSED, USER_DEFINED};
use super::pre::{GPT2, PreTokenizer};
use crate::error::Error;

impl GgufVocabulary {
    /// The vocabulary of a tokenizer, one token for each of `rows` rows of the embedding. Rows without a token get unused ones; which
    /// tokens have a special role is for the caller to add. `origin` names the model in messages.
    ///
    /// # Errors
    /// [`Error::NotForGguf`] for a tokenizer that llama.cpp has no counterpart of, [`Error::Tokenize`].
    pub(crate) fn of(tokenizer: &Tokenizer, rows: usize, origin: &str) -> Result<GgufVocabulary, Error> {
        let refuse = |reason: String| Error::NotForGguf { origin: origin.to_owned(), reason };
        let json: Value = serde_json::from_str(&tokenizer.to_json()?).map_err(|error| refuse(error.to_string()))?;
        let model = &json["model"];
        if model["type"] != "BPE" {
            return Err(refuse(format!("its model is {}, and only BPE has a counterpart", model["type"])));
        }
        let steps = Steps::of(&json).map_err(refuse)?;
        let unknown_id = model["unk_token"].as_str().and_then(|token| tokenizer.token_to_id(token));
        let mut vocabulary = GgufVocabulary { unknown_id, ..GgufVocabulary::default() };
        vocabulary.list_tokens(tokenizer, model, rows).map_err(refuse)?;
        let merges = merges(model).map_err(refuse)?;
        match steps {
            Steps::ByteLevel(pre) => {
                (vocabulary.model, vocabulary.pre) = ("gpt2".to_owned(), Some(pre.to_owned()));
                vocabulary.merges = merges.iter().map(|[left, right]| format!("{left} {right}")).collect();
            }
            Steps::SentencePiece { has_prefix } => {
                (vocabulary.model, vocabulary.pre) = ("llama".to_owned(), Some("default".to_owned()));
                vocabulary.add_space_prefix = Some(has_prefix);
                vocabulary.mark_bytes();
                vocabulary.score(&merges);
            }
        }
        Ok(vocabulary)
    }

    /// This vocabulary of an opened file for a model with `rows` rows, whose tokenizer may have got new tokens since; nothing if it is
    /// another tokenizer than the file's.
    #[must_use]
    pub fn grown_to(mut self, tokenizer: &Tokenizer, rows: usize) -> Option<GgufVocabulary> {
        let known = self.tokens.len().min(tokenizer.vocab_size());
        self.token_types.resize(self.tokens.len(), NORMAL);
        let is_same = |id: usize| tokenizer.id_to_token(id as u32).as_deref() == Some(&self.tokens[id]);
        // What the file calls unused the tokenizer does not have, until such a place is given to a new token.
        if !(0..known).all(|id| is_same(id) || self.token_types[id] == UNUSED) || rows < self.tokens.len() {
            return None;
        }
        self.fill(rows);
        for (id, content, is_special) in tokenizer.added_tokens() {
            let id = id as usize;
            let (token, kind) = (self.tokens.get_mut(id)?, self.token_types.get_mut(id)?);
            if *token != content || *kind == UNUSED {
                (*token, *kind) = (content, if is_special { CONTROL } else { USER_DEFINED });
            }
        }
        Some(self)
    }

    /// Unused tokens for the rows that are left.
    fn fill(&mut self, rows: usize) {
        for id in self.tokens.len()..rows {
            self.tokens.push(unused(id));
            self.token_types.push(UNUSED);
            if !self.scores.is_empty() {
                self.scores.push(LEAST_SCORE);
            }
        }
    }

    fn list_tokens(&mut self, tokenizer: &Tokenizer, model: &Value, rows: usize) -> Result<(), String> {
        self.tokens = (0..rows).map(unused).collect();
        self.token_types = vec![UNUSED; rows];
        let words = model["vocab"].as_object().into_iter().flatten();
        let words = words.filter_map(|(token, id)| Some((token.as_str(), id.as_u64()? as usize, NORMAL)));
        let added = tokenizer.added_tokens();
        let added = added.iter().map(|(id, content, is_special)| {
            (content.as_str(), *id as usize, if *is_special { CONTROL } else { USER_DEFINED })
        });
        for (token, id, kind) in words.chain(added) {
            let Some(place) = self.tokens.get_mut(id) else {
                return Err(format!("its token {token:?} has id {id}, but the model has {rows} rows"));
            };
            (*place, self.token_types[id]) = (token.to_owned(), kind);
        }
        Ok(())
    }

    fn mark_bytes(&mut self) {
        let is_byte = |token: &str| {
            let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
            hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
        };
        for (token, kind) in self.tokens.iter().zip(&mut self.token_types) {
            if *kind == NORMAL && is_byte(token) {
                *kind = BYTE;
            }
        }
        if let Some(kind) = self.unknown_id.and_then(|id| self.token_types.get_mut(id as usize)) {
            *kind = UNKNOWN;
        }
    }

    /// SentencePiece merges whatever neighbours make the best-scored token, so a token's score is the rank of the first merge that makes it.
    fn score(&mut self, merges: &[[String; 2]]) {
        let mut ranks: HashMap<String, usize> = HashMap::with_capacity(merges.len());
        for (rank, [left, right]) in merges.iter().enumerate() {
            ranks.entry(format!("{left}{right}")).or_insert(rank);
        }
        let last = merges.len();
        self.scores = self
            .tokens
            .iter()
            .zip(&self.token_types)
            .enumerate()
            .map(|(id, (token, kind))| match *kind {
                BYTE => 0.0,
                NORMAL => -(ranks.get(token).copied().unwrap_or(last + id) as f32),
                _ => LEAST_SCORE,
            })
            .collect();
    }
}

/// Beyond every rank of a vocabulary.
const LEAST_SCORE: f32 = -1e9;

fn unused(id: usize) -> String {
    format!("[PAD{id}]")
}

/// The merges, best first, in both ways that they are written.
fn merges(model: &Value) -> Result<Vec<[String; 2]>, String> {
    let one = |merge: &Value| match merge {
        Value::String(pair) => pair.split_once(' ').map(|(left, right)| [left.to_owned(), right.to_owned()]),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some([left.clone(), right.clone()]),
            _ => None,
        },
        _ => None,
    };
    let all = model["merges"].as_array().into_iter().flatten();
    all.map(|merge| one(merge).ok_or_else(|| format!("its merge {merge} is not two tokens"))).collect()
}

/// What happens to a text before it is merged, as far as GGUF files can say it.
enum Steps {
    /// Bytes as letters; the value of `tokenizer.ggml.pre`.
    ByteLevel(&'static str),
    /// Spaces as ▁, what is not in the vocabulary as bytes.
    SentencePiece { has_prefix: bool },
}

impl Steps {
    fn of(json: &Value) -> Result<Steps, String> {
        let model = &json["model"];
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model[key].as_str().is_some_and(|affix| !affix.is_empty()) {
                return Err(format!("its {key} is {}, and llama.cpp has none", model[key]));
            }
        }
        let (normalizers, pre_tokenizers) =
            (flat(&json["normalizer"], "normalizers"), flat(&json["pre_tokenizer"], "pretokenizers"));
        if pre_tokenizers.iter().any(|step| step["type"] == "ByteLevel") {
            return Steps::byte_level(model, &normalizers, &pre_tokenizers);
        }
        Steps::sentence_piece(model, &normalizers, &pre_tokenizers)
    }

    fn byte_level(model: &Value, normalizers: &[&Value], pre_tokenizers: &[&Value]) -> Result<Steps, String> {
        let composes_unicode = match normalizers {
            [] => false,
            [step] if step["type"] == "NFC" => true,
            [step, ..] => return Err(format!("its normalizer {} has no counterpart", step["type"])),
        };
        let mut expressions = Vec::new();
        for step in pre_tokenizers {
            match step["type"].as_str().unwrap_or_default() {
                "Split" => {
                    let pattern = step["pattern"]["Regex"].as_str();
                    let is_isolated = step["behavior"] == "Isolated" && step["invert"] != true;
                    // what an inverted expression removes is nothing, where it matches all of a text
                    let is_kept = step["behavior"] == "Removed" && step["invert"] == true && pre_tokenizers.len() == 2;
                    match pattern.filter(|_| is_isolated || is_kept) {
                        Some(pattern) => expressions.push(pattern.to_owned()),
                        None => return Err(format!("its pre-tokenizer splits as {step}, which has no counterpart")),
                    }
                }
                "Digits" => {
                    let each = step["individual_digits"] == true;
                    expressions.push(if each { r"\p{N}" } else { r"\p{N}+" }.to_owned());
                }
                "ByteLevel" => {
                    if step["add_prefix_space"] != false {
                        return Err("its pre-tokenizer ByteLevel puts a space before a text".to_owned());
                    }
                    if step["use_regex"] != false {
                        expressions.push(GPT2.to_owned());
                    }
                }
                other => return Err(format!("its pre-tokenizer {other:?} has no counterpart")),
            }
        }
        let ignore_merges = model["ignore_merges"] == true;
        PreTokenizer::name_of(&expressions, ignore_merges, composes_unicode).map(Steps::ByteLevel).ok_or_else(|| {
            let flags = format!("ignore_merges = {ignore_merges}, NFC = {composes_unicode}");
            format!("none of llama.cpp's pre-tokenizers that are known here splits by {expressions:?} with {flags}")
        })
    }

    fn sentence_piece(model: &Value, normalizers: &[&Value], pre_tokenizers: &[&Value]) -> Result<Steps, String> {
        if model["byte_fallback"] != true {
            return Err("it is neither byte-level nor falls back to bytes".to_owned());
        }
        let (mut has_prefix, mut replaces) = (false, false);
        for step in normalizers {
            match step["type"].as_str().unwrap_or_default() {
                "Prepend" if step["prepend"] == "▁" && !replaces => has_prefix = true,
                "Replace" if step["pattern"]["String"] == " " && step["content"] == "▁" => replaces = true,
                other => return Err(format!("its normalizer {other:?} has no counterpart")),
            }
        }
        for step in pre_tokenizers {
            match step["type"].as_str().unwrap_or_default() {
                "Metaspace" if step["replacement"] == "▁" && step["split"] == false => {
                    (has_prefix, replaces) = (step["prepend_scheme"] != "never", true);
                }
                // there are no spaces any more
                "Split" if replaces && step["pattern"]["String"] == " " => {}
                other => return Err(format!("its pre-tokenizer {other:?} has no counterpart")),
            }
        }
        if !replaces {
            return Err("it does not write spaces as ▁".to_owned());
        }
        Ok(Steps::SentencePiece { has_prefix })
    }
}

/// The steps of a sequence, or the one step that there is.
fn flat<'a>(step: &'a Value, key: &str) -> Vec<&'a Value> {
    match step {
        Value::Null => Vec::new(),
        _ if step["type"] == "Sequence" => {
            step[key].as_array().into_iter().flatten().flat_map(|inner| flat(inner, key)).collect()
        }
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::TextBundle;

    fn letters(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    fn byte_level() -> GgufVocabulary {
        let mut tokens = vec!["<|end|>".to_owned(), "<think>".to_owned()];
        tokens.extend((0..=255u8).map(|byte| {
            let map = crate::tokenizer::bytes_of_letters();
            map.iter().find(|(_, b)| **b == byte).map(|(letter, _)| letter.to_string()).unwrap()
        }));
        tokens.extend(["he", "ll", "hell", "hello", "Ġw"].map(str::to_owned));
        let mut token_types = vec![NORMAL; tokens.len()];
        (token_types[0], token_types[1]) = (CONTROL, USER_DEFINED);
        GgufVocabulary {
            model: "gpt2".to_owned(),
            pre: Some("smollm".to_owned()),
            merges: ["h e", "l l", "he ll", "hell o", "Ġ w"].map(str::to_owned).to_vec(),
            token_types,
            eos_id: Some(0),
            add_bos: Some(false),
            tokens,
            ..GgufVocabulary::default()
        }
    }

    fn sentence_piece() -> GgufVocabulary {
        let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
        tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
        let first = tokens.len();
        tokens.extend(letters("▁helow"));
        tokens.extend(["▁h", "he", "ll", "▁he", "▁hell", "ell"].map(str::to_owned));
        let mut token_types = vec![NORMAL; tokens.len()];
        token_types[0] = UNKNOWN;
        token_types[1..3].fill(CONTROL);
        token_types[3..first].fill(BYTE);
        GgufVocabulary {
            model: "llama".to_owned(),
            pre: Some("default".to_owned()),
            scores: (0..tokens.len()).map(|id| if id < first { 0.0 } else { -((id - first) as f32) }).collect(),
            token_types,
            bos_id: Some(1),
            eos_id: Some(2),
            unknown_id: Some(0),
            add_bos: Some(true),
            add_space_prefix: Some(true),
            tokens,
            ..GgufVocabulary::default()
        }
    }

    const TEXTS: [&str; 6] = ["hello world", " hell  he", "12 wörld\n", "<|end|> hello<think>", "", "中文 🙂 hell"];

    #[test]
    fn a_vocabulary_comes_back_with_the_same_ids() {
        for vocabulary in [byte_level(), sentence_piece()] {
            let text = TextBundle::from_gguf(&vocabulary, None, "a").unwrap();
            let rows = vocabulary.tokens.len() + 2;
            let written = text.to_gguf(rows, "a").unwrap();
            assert_eq!((&written.model, &written.pre), (&vocabulary.model, &vocabulary.pre));
            assert_eq!(
                (written.bos_id, written.eos_id, written.add_bos),
                (vocabulary.bos_id, vocabulary.eos_id, vocabulary.add_bos)
            );
            assert_eq!(written.tokens[..rows - 2], vocabulary.tokens);
            assert_eq!(written.token_types[..rows - 2], vocabulary.token_types);
            assert_eq!(written.token_types[rows - 2..], [UNUSED; 2]);
            let read = Tokenizer::from_gguf(&written, "b").unwrap();
            for sample in TEXTS {
                assert_eq!(read.encode(sample).unwrap(), text.tokenizer.encode(sample).unwrap(), "{sample:?}");
            }
        }
    }

    #[test]
    fn new_tokens_take_unused_places_of_the_file() {
        let mut vocabulary = byte_level();
        vocabulary.tokens.push("[unused]".to_owned());
        vocabulary.token_types.push(UNUSED);
        let mut text = TextBundle::from_gguf(&vocabulary, None, "a").unwrap();
        let rows = vocabulary.tokens.len() + 1;
        let ids = text.tokenizer.add_tokens(&["<a>".to_owned(), "<b>".to_owned()]).unwrap();
        let grown = vocabulary.clone().grown_to(&text.tokenizer, rows).unwrap();
        for (id, token) in ids.iter().zip(["<a>", "<b>"]) {
            assert_eq!((grown.tokens[*id as usize].as_str(), grown.token_types[*id as usize]), (token, USER_DEFINED));
        }
        assert_eq!(grown.tokens.len(), rows);
        let other = TextBundle::from_gguf(&sentence_piece(), None, "a").unwrap();
        assert_eq!(vocabulary.grown_to(&other.tokenizer, rows), None, "another tokenizer");
    }

    #[test]
    fn what_llama_cpp_has_no_counterpart_of_is_refused_by_name() {
        let base = |pre: Value, normalizer: Value| {
            json!({ "normalizer": normalizer, "pre_tokenizer": pre,
                    "model": { "type": "BPE", "vocab": {}, "merges": [], "byte_fallback": false } })
        };
        let split = json!({ "type": "Split", "pattern": { "Regex": "x+" }, "behavior": "Isolated", "invert": false });
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": false });
        let two = json!({ "type": "Sequence", "pretokenizers": [split, bytes] });
        let said = |json: Value| Steps::of(&json).err().unwrap();
        assert!(said(base(two, Value::Null)).contains("x+"));
        assert!(said(base(bytes, json!({ "type": "Lowercase" }))).contains("Lowercase"));
        let spaced = json!({ "type": "ByteLevel", "add_prefix_space": true, "use_regex": true });
        assert!(said(base(spaced, Value::Null)).contains("space"));
        assert!(said(base(Value::Null, Value::Null)).contains("bytes"));
    }

    #[test]
    fn the_steps_of_published_files_are_known() {
        let of = |normalizer: Value, pre: Value, ignore_merges: bool| {
            let model = json!({ "type": "BPE", "byte_fallback": false, "ignore_merges": ignore_merges });
            match Steps::of(&json!({ "normalizer": normalizer, "pre_tokenizer": pre, "model": model })).unwrap() {
                Steps::ByteLevel(name) => name,
                Steps::SentencePiece { .. } => "llama",
            }
        };
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let gpt2 = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        assert_eq!(of(Value::Null, json!({ "type": "Sequence", "pretokenizers": [digits, gpt2] }), false), "smollm");
        assert_eq!(of(Value::Null, gpt2, false), "gpt-2");
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": false });
        let split = |regex: &str| {
            let split =
                json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
            json!({ "type": "Sequence", "pretokenizers": [split, bytes] })
        };
        let qwen = split(super::super::pre::QWEN2);
        assert_eq!(of(json!({ "type": "NFC" }), qwen.clone(), false), "qwen2");
        assert_eq!(of(Value::Null, qwen, false), "deepseek-r1-qwen");
        assert_eq!(of(Value::Null, split(super::super::pre::LLAMA3), true), "llama-bpe");
    }
}
