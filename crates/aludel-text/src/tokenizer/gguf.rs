//! Converts the vocabulary of a GGUF file to a tokenizer.json, from which everything else follows, so that what is
//! loaded and what is exported are the same. Reading the GGUF itself is left to the caller, the way back to `to_gguf`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::Tokenizer;
use super::pre::PreTokenizer;
use crate::error::Error;

/// The `tokenizer.ggml.*` metadata of a GGUF, as the file has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: "gpt2" or "llama".
    pub model: String,
    /// `pre`: how text is cut into words ("gpt2" only).
    pub pre: Option<String>,
    /// `tokens`, by id.
    pub tokens: Vec<String>,
    /// `merges`, each "left right", best first; empty for "llama".
    pub merges: Vec<String>,
    /// `token_type` by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Empty means all normal.
    pub token_types: Vec<i32>,
    /// `scores` by id; needed for "llama".
    pub scores: Vec<f32>,
    /// `bos_token_id`.
    pub bos_id: Option<u32>,
    /// `eos_token_id`.
    pub eos_id: Option<u32>,
    /// `unknown_token_id`.
    pub unknown_id: Option<u32>,
    /// `padding_token_id`.
    pub padding_id: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_space_prefix` ("llama" only; absent means true).
    pub add_space_prefix: Option<bool>,
}

pub(super) const NORMAL: i32 = 1;
pub(super) const UNKNOWN: i32 = 2;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;
pub(super) const BYTE: i32 = 6;

impl GgufVocabulary {
    /// Builds the tokenizer. Trailing unused tokens (padding of the embedding) are left out, as in the model's own
    /// tokenizer.json; ids do not change. `origin` names the file in messages.
    ///
    /// # Errors
    /// [`Error::UnknownTokenizerModel`], [`Error::UnknownPreTokenizer`], or [`Error::Vocabulary`] where the lists
    /// contradict each other.
    pub(super) fn build(&self, origin: &str) -> Result<Tokenizer, Error> {
        Tokenizer::from_json(self.to_json()?.to_string().as_bytes(), origin)
    }

    /// Whether the beginning-of-text token is put before plain text.
    pub fn adds_bos(&self) -> bool {
        self.add_bos.unwrap_or_else(|| {
            self.model == "llama" || PreTokenizer::named(self.pre.as_deref()).is_ok_and(|family| family.adds_bos)
        })
    }

    fn to_json(&self) -> Result<Value, Error> {
        self.check_lengths()?;
        self.check_distinct()?;
        let (normalizer, pre_tokenizer, decoder, model) = match self.model.as_str() {
            "gpt2" => self.byte_level()?,
            "llama" => self.sentence_piece()?,
            other => return Err(Error::UnknownTokenizerModel { model: other.to_owned() }),
        };
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added_tokens(),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": decoder,
            "model": model,
        }))
    }

    fn check_lengths(&self) -> Result<(), Error> {
        let wrong = |key, reason| Err(Error::Vocabulary { key, reason });
        let count = self.tokens.len();
        if count == 0 || u32::try_from(count).is_err() {
            return wrong("tokenizer.ggml.tokens", format!("{count} tokens"));
        }
        if !self.token_types.is_empty() && self.token_types.len() != count {
            let reason = format!("{} entries for {count} tokens", self.token_types.len());
            return wrong("tokenizer.ggml.token_type", reason);
        }
        if let Some(id) = self.token_types.iter().position(|kind| !(NORMAL..=BYTE).contains(kind)) {
            let reason = format!("{:?} has the type {}; known: 1 to 6", self.tokens[id], self.token_types[id]);
            return wrong("tokenizer.ggml.token_type", reason);
        }
        if let Some(id) = self.scores.iter().position(|score| score.is_nan()) {
            return wrong("tokenizer.ggml.scores", format!("entry {id} is no number"));
        }
        if self.model == "llama" && self.scores.len() != count {
            return wrong("tokenizer.ggml.scores", format!("{} entries for {count} tokens", self.scores.len()));
        }
        for (key, id) in [
            ("tokenizer.ggml.bos_token_id", self.bos_id),
            ("tokenizer.ggml.eos_token_id", self.eos_id),
            ("tokenizer.ggml.unknown_token_id", self.unknown_id),
            ("tokenizer.ggml.padding_token_id", self.padding_id),
        ] {
            if let Some(id) = id.filter(|&id| id as usize >= count) {
                return wrong(key, format!("{id} is not among the {count} tokens"));
            }
        }
        Ok(())
    }

    /// A token that occurs there twice would shift the ids behind it.
    fn check_distinct(&self) -> Result<(), Error> {
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(self.tokens.len());
        for (id, token) in self.used_tokens().iter().enumerate() {
            if let Some(first) = seen.insert(token, id) {
                let reason = format!("{token:?} stands there twice, as {first} and {id}");
                return Err(Error::Vocabulary { key: "tokenizer.ggml.tokens", reason });
            }
        }
        Ok(())
    }

    fn byte_level(&self) -> Result<(Value, Value, Value, Value), Error> {
        let family = PreTokenizer::named(self.pre.as_deref())?;
        let merges = self.listed_merges()?;
        let normalizer = if family.composes_unicode { json!({"type": "NFC"}) } else { Value::Null };
        let decoder =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": family.ignore_merges, "vocab": self.model_vocabulary(), "merges": merges,
        });
        Ok((normalizer, family.to_json(), decoder, model))
    }

    fn sentence_piece(&self) -> Result<(Value, Value, Value, Value), Error> {
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let prefixed = self.add_space_prefix.unwrap_or(true);
        let normalizer = if prefixed {
            json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]})
        } else {
            spaces
        };
        let mut steps = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefixed {
            steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self
            .unknown_id
            .map(|id| id as usize)
            .or_else(|| (0..self.tokens.len()).find(|&id| self.token_type(id) == UNKNOWN))
            .map(|id| self.tokens[id].as_str());
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": self.model_vocabulary(), "merges": self.rebuilt_merges(),
        });
        Ok((normalizer, Value::Null, json!({"type": "Sequence", "decoders": steps}), model))
    }

    fn listed_merges(&self) -> Result<Vec<[&str; 2]>, Error> {
        self.merges
            .iter()
            .enumerate()
            .map(|(rank, merge)| {
                // A token may start with a space in old files, so the separator is sought behind the first byte.
                let separator = merge.char_indices().skip(1).find(|&(_, letter)| letter == ' ').map(|(at, _)| at);
                separator.map(|at| [&merge[..at], &merge[at + 1..]]).filter(|[_, right]| !right.is_empty()).ok_or_else(
                    || Error::Vocabulary {
                        key: "tokenizer.ggml.merges",
                        reason: format!("merge {rank} ({merge:?}) is not two tokens with a space between them"),
                    },
                )
            })
            .collect()
    }

    /// SentencePiece merges whatever neighbours make the best-scored token. As ranks: every way of making a token is a
    /// merge, tokens in order of score; among the ways of making one token the order cannot matter for the result.
    fn rebuilt_merges(&self) -> Vec<[&str; 2]> {
        let mergeable = |id: usize| !matches!(self.token_type(id), UNKNOWN | CONTROL | UNUSED | BYTE);
        // user-defined tokens behind the model's own are found in a text before anything is merged
        let all = 0..self.model_vocabulary_len();
        let ids: HashMap<&str, usize> =
            all.clone().filter(|&id| mergeable(id)).map(|id| (self.tokens[id].as_str(), id)).collect();
        let mut order: Vec<usize> = all.filter(|&id| mergeable(id)).collect();
        order.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a]).then(a.cmp(&b)));
        let mut merges = Vec::new();
        for id in order {
            let token = self.tokens[id].as_str();
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if ids.contains_key(left) && ids.contains_key(right) {
                    merges.push([left, right]);
                }
            }
        }
        merges
    }

    /// The tokens that the merging model knows: all but the control and user-defined ones at the end, which models'
    /// own tokenizer.json files keep in `added_tokens` alone. Ones further in front stay, to keep the ids dense.
    fn model_vocabulary(&self) -> Map<String, Value> {
        let known = self.used_tokens()[..self.model_vocabulary_len()].iter().enumerate();
        known.map(|(id, token)| (token.clone(), json!(id))).collect()
    }

    fn model_vocabulary_len(&self) -> usize {
        let count = self.used_tokens().len();
        let is_added = |id: usize| matches!(self.token_type(id), CONTROL | USER_DEFINED);
        count - (0..count).rev().take_while(|&id| is_added(id)).count()
    }

    fn added_tokens(&self) -> Vec<Value> {
        (0..self.used_tokens().len())
            .filter(|&id| matches!(self.token_type(id), UNKNOWN | CONTROL | USER_DEFINED))
            .map(|id| {
                json!({
                    "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": self.token_type(id) != USER_DEFINED,
                })
            })
            .collect()
    }

    fn used_tokens(&self) -> &[String] {
        let padding = (0..self.tokens.len()).rev().take_while(|&id| self.token_type(id) == UNUSED).count();
        &self.tokens[..self.tokens.len() - padding]
    }

    fn token_type(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(1)
    }
}
