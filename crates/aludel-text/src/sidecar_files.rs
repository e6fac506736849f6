//! Checks the files beside a tokenizer.json against it: transformers adds the tokens that these files name and the
//! tokenizer lacks, so that the same text would have other ids there. `bundle` uses the files otherwise.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::tokenizer::Tokenizer;

/// The files beside a tokenizer.json, as they were read; empty where they are not there.
pub(crate) struct SidecarFiles<'a> {
    pub(crate) folder: &'a Path,
    /// `tokenizer_config.json`.
    pub(crate) config: &'a Map<String, Value>,
    /// `special_tokens_map.json`.
    pub(crate) special_map: &'a Map<String, Value>,
    /// `added_tokens.json`.
    pub(crate) added: &'a Map<String, Value>,
    /// The chat template, wherever it is.
    pub(crate) template: Option<&'a str>,
}

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_MAP: &str = "special_tokens_map.json";
const DECODER: &str = "added_tokens_decoder";

/// Tokens that are between texts or replace them, and that no text spells: a new one changes the ids of no text.
const FILLING: [&str; 5] = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token that a file names: where, and as what.
struct NamedToken<'a> {
    file: &'static str,
    key: &'a str,
    content: String,
}

impl SidecarFiles<'_> {
    /// What other tools do otherwise without consequence for a row, in words.
    ///
    /// # Errors
    /// [`Error::Contradiction`].
    pub(crate) fn check(&self, tokenizer: &Tokenizer) -> Result<Vec<String>, Error> {
        if self.config.get("split_special_tokens") == Some(&Value::Bool(true)) {
            let reason =
                "`split_special_tokens` is true, with which a template's control tokens would be spelt as text";
            return Err(self.refused(CONFIG, reason.to_owned()));
        }
        let mut notes = Vec::new();
        self.check_named(tokenizer, CONFIG, self.config, &mut notes)?;
        // transformers reads the two older files only where the config has no list of its own.
        match self.config.get(DECODER) {
            Some(decoder) => {
                for (id, token) in decoder.as_object().into_iter().flatten() {
                    self.check_decoder(tokenizer, id, token)?;
                }
            }
            None => {
                self.check_older(tokenizer)?;
                self.check_named(tokenizer, SPECIAL_MAP, self.special_map, &mut notes)?;
            }
        }
        Ok(notes)
    }

    fn check_older(&self, tokenizer: &Tokenizer) -> Result<(), Error> {
        for (content, id) in self.added {
            let given = tokenizer.token_to_id(content);
            if given.map(u64::from) != id.as_u64() {
                let reason = format!("it gives the token {content:?} the id {id}, and tokenizer.json {}", named(given));
                return Err(self.refused("added_tokens.json", reason));
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
        let refuse = |what: String| Err(self.refused(CONFIG, format!("its {DECODER} {what}")));
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

    fn check_named(
        &self,
        tokenizer: &Tokenizer,
        file: &'static str,
        map: &Map<String, Value>,
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        for NamedToken { file, key, content } in named_in(file, map) {
            let begin = || format!("its {key} is {content:?}, which tokenizer.json");
            match tokenizer.token_to_id(&content) {
                Some(id) if tokenizer.added_token_settings(id).is_some() => {}
                Some(_) => notes.push(format!(
                    "{}: {} has as an ordinary token; other tools may give this text, wherever it stands, that one id",
                    self.folder.join(file).display(),
                    begin()
                )),
                None if FILLING.contains(&key) && !self.template.is_some_and(|text| text.contains(&content)) => {
                    notes.push(format!(
                        "{}: {} does not have; other tools add an id behind the vocabulary for it, and nothing here uses it",
                        self.folder.join(file).display(),
                        begin()
                    ));
                }
                None => return Err(self.refused(file, format!("{} does not have", begin()))),
            }
        }
        Ok(())
    }

    fn refused(&self, file: &str, reason: String) -> Error {
        Error::Contradiction { path: self.folder.join(file), reason }
    }
}

/// The tokens that transformers takes from a file: those with a role, those of a model's own role (`image_token`), and lists of further
/// ones, or objects of them by role.
fn named_in<'a>(file: &'static str, map: &'a Map<String, Value>) -> Vec<NamedToken<'a>> {
    let mut found = Vec::new();
    for (key, value) in map {
        let mut take = |key: &'a str, token: &Value| {
            let content = token_text(Some(token)).filter(|content| !content.is_empty());
            found.extend(content.map(|content| NamedToken { file, key, content }));
        };
        match (key.as_str(), value) {
            ("bos_token" | "eos_token", token) => take(key, token),
            (filling, token) if FILLING.contains(&filling) => take(key, token),
            ("additional_special_tokens" | "extra_special_tokens", Value::Array(list)) => {
                list.iter().for_each(|token| take(key, token));
            }
            ("extra_special_tokens", Value::Object(roles)) => roles.iter().for_each(|(role, token)| take(role, token)),
            // As an object it is passed over there, unless the role is a usual one.
            (role, Value::String(_)) if role.ends_with("_token") => take(key, value),
            _ => {}
        }
    }
    found
}

fn named(id: Option<u32>) -> String {
    id.map_or_else(|| "has no such token".to_owned(), |id| format!("has it as {id}"))
}

/// A token in these files is a string, or an object with its settings.
pub(crate) fn token_text(value: Option<&Value>) -> Option<String> {
    let value = value?;
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokenizer() -> Tokenizer {
        let token = |id: u32, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        };
        let file = json!({"version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [token(3, "<eos>"), token(4, "<image>")], "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": null,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": {"a": 0, "b": 1, "!": 2}, "merges": []}});
        Tokenizer::from_json(file.to_string().as_bytes(), "file").unwrap()
    }

    /// What transformers 5.23.0 does with such folders: whether a text gets other ids there than by the tokenizer.json alone.
    #[test]
    fn what_changes_ids_there_is_refused_and_nothing_else() {
        let tokenizer = tokenizer();
        let check = |config: Value, map: Value, added: Value, template: Option<&str>| {
            let object = |value: &Value| value.as_object().unwrap().clone();
            let [config, special_map, added] = [&config, &map, &added].map(object);
            let folder = Path::new("folder");
            let beside = SidecarFiles { folder, config: &config, special_map: &special_map, added: &added, template };
            beside.check(&tokenizer).map_err(|error| error.to_string())
        };
        let decoder = json!({"3": {"content": "<eos>"}});
        for (config, map, added) in [
            (json!({"extra_special_tokens": {"image_token": "<audio>"}}), json!({}), json!({})),
            (json!({"extra_special_tokens": ["<audio>"]}), json!({}), json!({})),
            (json!({"added_tokens_decoder": decoder, "additional_special_tokens": ["<audio>"]}), json!({}), json!({})),
            (json!({"audio_token": "<audio>"}), json!({}), json!({})),
            (json!({"eos_token": {"content": "<audio>"}}), json!({}), json!({})),
            (json!({}), json!({"additional_special_tokens": ["<audio>"]}), json!({})),
            (json!({}), json!({"extra_special_tokens": {"audio_token": "<audio>"}}), json!({})),
            (json!({}), json!({}), json!({"<audio>": 5})),
        ] {
            let told = check(config.clone(), map, added, None);
            assert!(told.as_ref().is_err_and(|error| error.contains("<audio>")), "{config}: {told:?}");
        }
        for (config, map, added) in [
            // the two older files are not read beside the decoder, be it empty
            (
                json!({"added_tokens_decoder": decoder}),
                json!({"eos_token": "<audio>", "pad_token": "<pad>", "additional_special_tokens": ["<audio>"]}),
                json!({"<eos>": 7, "<audio>": 8}),
            ),
            (json!({"added_tokens_decoder": {}}), json!({"eos_token": "<audio>"}), json!({"<audio>": 5})),
            (json!({"extra_special_tokens": {"image_token": "<image>"}}), json!({}), json!({"<image>": 4})),
            (
                json!({"audio_token": {"content": "<audio>"}, "add_bos_token": true, "bos_token": null}),
                json!({}),
                json!({}),
            ),
            (
                json!({"eos_token": "<eos>", "pad_token": "<eos>", "unk_token": null}),
                json!({"eos_token": "<eos>"}),
                json!({}),
            ),
        ] {
            assert_eq!(check(config.clone(), map, added, None), Ok(Vec::new()), "{config}");
        }
        let pad = || json!({"added_tokens_decoder": decoder, "pad_token": "<pad>"});
        let notes = check(pad(), json!({}), json!({}), Some("{{ eos_token }}")).unwrap();
        assert!(
            notes.len() == 1 && notes[0].contains("its pad_token is \"<pad>\", which tokenizer.json does not"),
            "{notes:?}"
        );
        let refused = check(pad(), json!({}), json!({}), Some("<pad>{{ eos_token }}")).unwrap_err();
        assert!(refused.contains("its pad_token is \"<pad>\""), "{refused}");
        let notes = check(json!({"pad_token": "!"}), json!({}), json!({}), None).unwrap();
        assert!(notes.len() == 1 && notes[0].contains("has as an ordinary token"), "{notes:?}");
    }
}
