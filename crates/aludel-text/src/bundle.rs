//! The text files of a model folder: tokenizer, special tokens and chat template, read from a Hugging Face folder or
//! made from a GGUF's metadata, and written so that transformers loads them and gives the same ids. Reading the GGUF
//! and writing the files to disk is left to the caller.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::sidecar_files::{SidecarFiles, token_text};
use crate::template::ChatTemplate;
use crate::tokenizer::{GgufVocabulary, Tokenizer};

/// Tokens with a special role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Beginning of text.
    pub bos: Option<String>,
    /// End of text or turn.
    pub eos: Option<String>,
    /// Stands for text that the vocabulary cannot spell.
    pub unk: Option<String>,
    /// Fills rows up.
    pub pad: Option<String>,
    /// Plain text starts with the beginning-of-text token. (Chat templates write it themselves.)
    pub add_bos: bool,
}

/// Everything about text that a model folder holds.
#[derive(Debug, Clone)]
pub struct TextBundle {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Tokens with a special role.
    pub special: SpecialTokens,
    /// The chat template's text, unless the model has none.
    pub chat_template: Option<String>,
    /// `tokenizer_config.json` as it was read, so that all of it is written again; empty for a GGUF.
    config: Map<String, Value>,
    /// `special_tokens_map.json` as it was read.
    special_map: Map<String, Value>,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its contents.
    pub contents: String,
}

impl TextBundle {
    /// Reads a Hugging Face folder: `tokenizer.json`, and where they exist `tokenizer_config.json`,
    /// `special_tokens_map.json` and `chat_template.jinja` (which wins over the config's key).
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::TokenizerFile`], [`Error::ConfigFile`], or [`Error::Contradiction`] if the files disagree about
    /// the tokens.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<TextBundle, Error> {
        let folder = folder.as_ref();
        let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
        let config = read_object(&folder.join("tokenizer_config.json"))?;
        let special_map = read_object(&folder.join("special_tokens_map.json"))?;
        let added = read_object(&folder.join("added_tokens.json"))?;
        let chat_template = read_optional(&folder.join("chat_template.jinja"))?.or_else(|| template_of_config(&config));
        let template = chat_template.as_deref();
        let beside = SidecarFiles { folder, config: &config, special_map: &special_map, added: &added, template };
        for note in beside.check(&tokenizer)? {
            tracing::info!("{note}");
        }
        let token = |key: &str| token_text(config.get(key)).or_else(|| token_text(special_map.get(key)));
        let bos = token("bos_token");
        // Where the config is silent, the tokenizer's file decides.
        let begins = tokenizer.beginning().is_some_and(|first| bos.as_deref().is_none_or(|bos| bos == first));
        let special = SpecialTokens {
            add_bos: config.get("add_bos_token").and_then(Value::as_bool).unwrap_or(begins),
            bos,
            eos: token("eos_token"),
            unk: token("unk_token"),
            pad: token("pad_token"),
        };
        Ok(TextBundle { tokenizer, special, chat_template, config, special_map })
    }

    /// Makes the bundle of a GGUF's metadata; `origin` names the file in messages.
    ///
    /// # Errors
    /// As [`Tokenizer::from_gguf`].
    pub fn from_gguf(
        vocabulary: &GgufVocabulary,
        chat_template: Option<String>,
        origin: &str,
    ) -> Result<TextBundle, Error> {
        let tokenizer = Tokenizer::from_gguf(vocabulary, origin)?;
        let token = |id: Option<u32>| id.and_then(|id| vocabulary.tokens.get(id as usize)).cloned();
        let special = SpecialTokens {
            bos: token(vocabulary.bos_id),
            eos: token(vocabulary.eos_id),
            unk: token(vocabulary.unknown_id),
            pad: token(vocabulary.padding_id),
            add_bos: vocabulary.adds_bos(),
        };
        Ok(TextBundle { tokenizer, special, chat_template, config: Map::new(), special_map: Map::new() })
    }

    /// The vocabulary for a GGUF file of a model whose embedding has this many rows; `origin` names the model in messages.
    ///
    /// # Errors
    /// [`Error::NotForGguf`] for a tokenizer that llama.cpp has no counterpart of, [`Error::Tokenize`].
    pub fn to_gguf(&self, rows: usize, origin: &str) -> Result<GgufVocabulary, Error> {
        let vocabulary = GgufVocabulary::of(&self.tokenizer, rows, origin)?;
        let id = |token: &Option<String>| token.as_deref().and_then(|token| self.tokenizer.token_to_id(token));
        let special = &self.special;
        Ok(GgufVocabulary {
            bos_id: id(&special.bos),
            eos_id: id(&special.eos),
            unknown_id: id(&special.unk).or(vocabulary.unknown_id),
            padding_id: id(&special.pad),
            add_bos: Some(special.add_bos),
            ..vocabulary
        })
    }

    /// The compiled chat template; `origin` names the model in a message.
    ///
    /// # Errors
    /// [`Error::NoTemplate`] or the template's own.
    pub fn template(&self, origin: &str) -> Result<ChatTemplate, Error> {
        let source = self.chat_template.as_deref().ok_or_else(|| Error::NoTemplate { origin: origin.to_owned() })?;
        ChatTemplate::new(source, self.special.bos.as_deref(), self.special.eos.as_deref())
    }

    /// The id of the beginning-of-text token, where plain text starts with it.
    pub fn bos_id(&self) -> Option<u32> {
        self.special.bos.as_deref().filter(|_| self.special.add_bos).and_then(|token| self.tokenizer.token_to_id(token))
    }

    /// The id of the end token.
    pub fn eos_id(&self) -> Option<u32> {
        self.special.eos.as_deref().and_then(|token| self.tokenizer.token_to_id(token))
    }

    /// The files of a folder that transformers loads: `tokenizer.json`, `tokenizer_config.json`,
    /// `special_tokens_map.json` and, where the model has a template, `chat_template.jinja`.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn to_files(&self) -> Result<Vec<TextFile>, Error> {
        let pretty = |value: Map<String, Value>| format!("{:#}\n", Value::Object(value));
        let mut files = vec![
            TextFile { name: "tokenizer.json", contents: self.tokenizer_json()? },
            TextFile { name: "tokenizer_config.json", contents: pretty(self.config_json()) },
            TextFile { name: "special_tokens_map.json", contents: pretty(self.special_json()) },
        ];
        if let Some(template) = &self.chat_template {
            files.push(TextFile { name: "chat_template.jinja", contents: template.clone() });
        }
        Ok(files)
    }

    fn tokenizer_json(&self) -> Result<String, Error> {
        self.tokenizer.to_json()
    }

    fn config_json(&self) -> Map<String, Value> {
        let mut config = self.config.clone();
        // The template has its own file; two copies could diverge.
        config.remove("chat_template");
        let is_new = config.is_empty();
        if is_new {
            // The class that reads tokenizer.json as it is, without rules of a model family.
            config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
            config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
            config.insert("add_bos_token".to_owned(), json!(self.special.add_bos));
            config.insert("add_eos_token".to_owned(), json!(false));
            for (key, token) in self.special_pairs() {
                config.insert(key.to_owned(), json!(token));
            }
        }
        let mut decoder = match config.remove("added_tokens_decoder") {
            Some(Value::Object(known)) => known,
            _ => Map::new(),
        };
        for (id, content, special) in self.tokenizer.added_tokens() {
            let settings = self.tokenizer.added_token_settings(id);
            decoder.entry(id.to_string()).or_insert_with(|| {
                json!({
                    "content": content,
                    "lstrip": settings.as_ref().is_some_and(|token| token.lstrip),
                    "normalized": settings.as_ref().is_some_and(|token| token.normalized),
                    "rstrip": settings.as_ref().is_some_and(|token| token.rstrip),
                    "single_word": settings.as_ref().is_some_and(|token| token.single_word),
                    "special": special,
                })
            });
        }
        config.insert("added_tokens_decoder".to_owned(), Value::Object(decoder));
        config
    }

    fn special_json(&self) -> Map<String, Value> {
        if !self.special_map.is_empty() {
            return self.special_map.clone();
        }
        self.special_pairs()
            .into_iter()
            .filter_map(|(key, token)| token.map(|token| (key.to_owned(), json!(token))))
            .collect()
    }

    fn special_pairs(&self) -> [(&'static str, Option<&str>); 4] {
        let special = &self.special;
        [
            ("bos_token", special.bos.as_deref()),
            ("eos_token", special.eos.as_deref()),
            ("unk_token", special.unk.as_deref()),
            ("pad_token", special.pad.as_deref()),
        ]
    }
}

fn read_optional(path: &Path) -> Result<Option<String>, Error> {
    match aludel_files::read_to_string(path, aludel_files::SMALL) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let Some(text) = read_optional(path)? else { return Ok(Map::new()) };
    serde_json::from_str(&text).map_err(|error| Error::ConfigFile { path: path.to_owned(), reason: error.to_string() })
}

/// The config's template: a string, or a list of named ones of which "default" is used, or the only one.
fn template_of_config(config: &Map<String, Value>) -> Option<String> {
    let value = config.get("chat_template")?;
    if let Some(source) = value.as_str() {
        return Some(source.to_owned());
    }
    let named = value.as_array()?;
    let default = named.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
    let only = if let [only] = named.as_slice() { Some(only) } else { None };
    default.or(only)?.get("template").and_then(Value::as_str).map(str::to_owned)
}
