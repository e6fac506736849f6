//! What stands beside a tokenizer.json about its tokens, and whether it says the same: transformers adds what these files name and the
//! tokenizer lacks, so that the same text would have other ids there. What the files are for otherwise is `bundle`'s matter.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::tokenizer::Tokenizer;

/// The files beside a tokenizer.json, as they were read; empty where they are not there.
pub(crate) struct Beside<'a> {
    pub(crate) folder: &'a Path,
    /// `tokenizer_config.json`.
    pub(crate) config: &'a Map<String, Value>,
    /// `special_tokens_map.json`.
    pub(crate) special_map: &'a Map<String, Value>,
    /// `added_tokens.json`.
    pub(crate) added: &'a Map<String, Value>,
}

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_MAP: &str = "special_tokens_map.json";

impl Beside<'_> {
    /// # Errors
    /// [`Error::Contradiction`].
    pub(crate) fn check(&self, tokenizer: &Tokenizer) -> Result<(), Error> {
        if self.config.get("split_special_tokens") == Some(&Value::Bool(true)) {
            let reason =
                "`split_special_tokens` is true, with which a template's control tokens would be spelt as text";
            return Err(self.refused(CONFIG, reason.to_owned()));
        }
        for (id, token) in self.config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
            self.check_decoder(tokenizer, id, token)?;
        }
        for (content, id) in self.added {
            let given = tokenizer.token_to_id(content);
            if given.map(u64::from) != id.as_u64() {
                let reason = format!("it gives the token {content:?} the id {id}, and tokenizer.json {}", named(given));
                return Err(self.refused("added_tokens.json", reason));
            }
        }
        for (file, map) in [(CONFIG, self.config), (SPECIAL_MAP, self.special_map)] {
            for key in ["bos_token", "eos_token"] {
                self.check_known(tokenizer, file, key, token_text(map.get(key)))?;
            }
            for key in ["additional_special_tokens", "extra_special_tokens"] {
                for token in map.get(key).and_then(Value::as_array).into_iter().flatten() {
                    self.check_known(tokenizer, file, key, token_text(Some(token)))?;
                }
            }
        }
        for key in ["bos_token", "eos_token"] {
            let [config, map] = [self.config, self.special_map].map(|map| token_text(map.get(key)));
            if let (Some(config), Some(map)) = (config, map)
                && config != map
            {
                let reason = format!("its {key} is {map:?}, and that of {CONFIG} {config:?}");
                return Err(self.refused(SPECIAL_MAP, reason));
            }
        }
        Ok(())
    }

    fn check_decoder(&self, tokenizer: &Tokenizer, id: &str, token: &Value) -> Result<(), Error> {
        let Some(content) = token_text(Some(token)) else { return Ok(()) };
        let refuse = |what: String| Err(self.refused(CONFIG, format!("its added_tokens_decoder {what}")));
        let given = tokenizer.token_to_id(&content);
        if given.is_none_or(|given| given.to_string() != id) {
            return refuse(format!(
                "gives the added token {content:?} the id {id}, and tokenizer.json {}",
                named(given)
            ));
        }
        let Some(settings) = given.and_then(|id| tokenizer.added_token_settings(id)) else {
            return refuse(format!("has {content:?} as an added token, and tokenizer.json as an ordinary one"));
        };
        let flags = [("lstrip", settings.lstrip), ("rstrip", settings.rstrip), ("single_word", settings.single_word)];
        for (name, is_set) in flags {
            if token.get(name).and_then(Value::as_bool).is_some_and(|other| other != is_set) {
                return refuse(format!("says `{name}` = {} of {content:?}, and tokenizer.json {is_set}", !is_set));
            }
        }
        Ok(())
    }

    fn check_known(&self, tokenizer: &Tokenizer, file: &str, key: &str, token: Option<String>) -> Result<(), Error> {
        match token.filter(|token| !token.is_empty() && tokenizer.token_to_id(token).is_none()) {
            Some(token) => {
                Err(self.refused(file, format!("its {key} is {token:?}, which tokenizer.json does not have")))
            }
            None => Ok(()),
        }
    }

    fn refused(&self, file: &str, reason: String) -> Error {
        Error::Contradiction { path: self.folder.join(file), reason }
    }
}

fn named(id: Option<u32>) -> String {
    id.map_or_else(|| "has no such token".to_owned(), |id| format!("has it as {id}"))
}

/// A token stands in these files as a string or as an object with its settings.
pub(crate) fn token_text(value: Option<&Value>) -> Option<String> {
    let value = value?;
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).map(str::to_owned)
}
