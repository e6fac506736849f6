//! The layout of a Hugging Face model folder: which files are in it and where, with the old and the new place of the
//! chat template. Parsing `config.json` into a model config is left to `aludel-model`, rendering to `aludel-text`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::folder::{ADAPTER_CONFIG_FILE_NAME, list_files};
use crate::json::{read_json, read_optional_json, read_text};
use crate::safetensors::Weights;

pub use crate::folder::{CONFIG_FILE_NAME, is_model_folder};

/// What generation starts from: eos ids, temperature and the like.
pub const GENERATION_CONFIG_FILE_NAME: &str = "generation_config.json";
/// The tokenizer itself.
pub const TOKENIZER_FILE_NAME: &str = "tokenizer.json";
/// The tokenizer's settings, and the old place of the chat template.
pub const TOKENIZER_CONFIG_FILE_NAME: &str = "tokenizer_config.json";
/// The new place of the chat template; it goes before the old one.
pub const CHAT_TEMPLATE_FILE_NAME: &str = "chat_template.jinja";

/// The files that belong to a tokenizer, whichever of them a model has.
pub const TOKENIZER_FILE_NAMES: [&str; 8] = [
    TOKENIZER_FILE_NAME,
    TOKENIZER_CONFIG_FILE_NAME,
    CHAT_TEMPLATE_FILE_NAME,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];

/// The default chat template.
const DEFAULT_TEMPLATE_NAME: &str = "default";

/// A model folder whose small files have been read.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    config: Value,
    generation_config: Option<Value>,
    tokenizer_config: Option<Value>,
    chat_templates: Vec<ChatTemplate>,
}

/// A named chat template; the usual one is named `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Its name.
    pub name: String,
    /// Its Jinja source.
    pub source: String,
}

impl Folder {
    /// Reads the folder's small files; weights and tokenizer are opened on request.
    ///
    /// # Errors
    /// [`Error::IncompleteFolder`] if there is no `config.json`, saying what is there instead; [`Error::Json`] and
    /// [`Error::Malformed`] for files that do not hold what they should.
    pub fn open(path: impl AsRef<Path>) -> Result<Folder> {
        let path = path.as_ref();
        let about = fs::metadata(path).map_err(Error::io(path, "open the model folder"))?;
        if !about.is_dir() {
            let wanted = "give the folder with config.json in it";
            return Err(Error::WrongKind { path: path.to_owned(), found: "this is a file", wanted });
        }
        let config_path = path.join(CONFIG_FILE_NAME);
        if !aludel_files::is_there(&config_path) {
            return Err(no_config(path));
        }
        let tokenizer_config: Option<Value> = read_optional_json(&path.join(TOKENIZER_CONFIG_FILE_NAME))?;
        Ok(Folder {
            path: path.to_owned(),
            config: object(&config_path, read_json(&config_path)?)?,
            generation_config: read_optional_json(&path.join(GENERATION_CONFIG_FILE_NAME))?,
            chat_templates: read_chat_templates(path, tokenizer_config.as_ref())?,
            tokenizer_config,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`; always an object.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Where `config.json` is, for messages.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG_FILE_NAME)
    }

    /// `generation_config.json`, if there is one.
    pub fn generation_config(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// `tokenizer_config.json`, if there is one.
    pub fn tokenizer_config(&self) -> Option<&Value> {
        self.tokenizer_config.as_ref()
    }

    /// Where `tokenizer.json` is.
    ///
    /// # Errors
    /// [`Error::IncompleteFolder`] if there is none.
    pub fn tokenizer_path(&self) -> Result<PathBuf> {
        let path = self.path.join(TOKENIZER_FILE_NAME);
        if aludel_files::is_there(&path) {
            return Ok(path);
        }
        Err(Error::IncompleteFolder {
            path: self.path.clone(),
            wanted: TOKENIZER_FILE_NAME,
            found: list_files(&self.path),
            mend: "download it too, or convert the older tokenizer files with transformers".to_owned(),
        })
    }

    /// Those of [`TOKENIZER_FILE_NAMES`] that are there, to be carried over to a new folder.
    pub fn tokenizer_files(&self) -> Vec<PathBuf> {
        TOKENIZER_FILE_NAMES
            .iter()
            .map(|name| self.path.join(name))
            .filter(|path| aludel_files::is_there(path))
            .collect()
    }

    /// The source of the default chat template; a base model has none.
    pub fn chat_template(&self) -> Option<&str> {
        self.find_chat_template(DEFAULT_TEMPLATE_NAME).or(match self.chat_templates.as_slice() {
            [only] => Some(&only.source),
            _ => None,
        })
    }

    /// The source of the chat template of that name.
    pub fn find_chat_template(&self, name: &str) -> Option<&str> {
        self.chat_templates.iter().find(|template| template.name == name).map(|template| template.source.as_str())
    }

    /// All chat templates, the default one first.
    pub fn chat_templates(&self) -> &[ChatTemplate] {
        &self.chat_templates
    }

    /// Opens the weights.
    ///
    /// # Errors
    /// As [`Weights::open_folder`].
    pub fn weights(&self) -> Result<Weights> {
        Weights::open_folder(&self.path)
    }
}

fn no_config(folder: &Path) -> Error {
    let names = || fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let gguf = names().find(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    let inner = names().find(|path| is_model_folder(path));
    let mend = if folder.join(ADAPTER_CONFIG_FILE_NAME).exists() {
        "this is an adapter: give it as the adapter, and its base model as the model".to_owned()
    } else if let Some(gguf) = gguf {
        format!("give the GGUF file itself: {}", gguf.display())
    } else if let Some(inner) = inner {
        format!("give the folder inside of it: {}", inner.display())
    } else {
        "a model folder holds config.json, tokenizer.json and model.safetensors".to_owned()
    };
    Error::IncompleteFolder { path: folder.to_owned(), wanted: CONFIG_FILE_NAME, found: list_files(folder), mend }
}

fn object(path: &Path, value: Value) -> Result<Value> {
    if value.is_object() {
        return Ok(value);
    }
    let reason = "an object is wanted, so take the file from the model's source again".to_owned();
    Err(Error::Json { path: path.to_owned(), reason })
}

fn read_chat_templates(folder: &Path, tokenizer_config: Option<&Value>) -> Result<Vec<ChatTemplate>> {
    let file = folder.join(CHAT_TEMPLATE_FILE_NAME);
    let named = |name: &str, source: &str| ChatTemplate { name: name.to_owned(), source: source.to_owned() };
    if aludel_files::is_there(&file) {
        return Ok(vec![named(DEFAULT_TEMPLATE_NAME, &read_text(&file)?)]);
    }
    let mut templates = match tokenizer_config.and_then(|config| config.get("chat_template")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(source)) => vec![named(DEFAULT_TEMPLATE_NAME, source)],
        Some(Value::Array(items)) => {
            let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
            let template =
                |item: &Value| Some(ChatTemplate { name: text(item, "name")?, source: text(item, "template")? });
            items.iter().map(template).collect::<Option<Vec<_>>>().ok_or_else(|| bad_template(folder))?
        }
        Some(_) => return Err(bad_template(folder)),
    };
    templates.sort_by_key(|template| template.name != DEFAULT_TEMPLATE_NAME);
    Ok(templates)
}

fn bad_template(folder: &Path) -> Error {
    let reason =
        "a text or a list of {\"name\", \"template\"} would be right; or put the template into chat_template.jinja";
    Error::Malformed {
        path: folder.join(TOKENIZER_CONFIG_FILE_NAME),
        place: "key \"chat_template\"".to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_template_is_found_in_each_of_its_places() {
        fn check(files: &[(&str, &str)], wanted: Option<&str>) {
            let folder = folder_with(files);
            fs::write(folder.path().join("config.json"), "{}").unwrap();
            let folder = Folder::open(folder.path()).unwrap();
            assert_eq!(folder.chat_template(), wanted, "{files:?}");
        }
        let old = ("tokenizer_config.json", r#"{"chat_template": "old"}"#);
        let list = r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "usual"}]}"#;
        let single = r#"{"chat_template": [{"name": "chat", "template": "only"}]}"#;
        check(&[], None);
        check(&[("tokenizer_config.json", "{}")], None);
        check(&[("tokenizer_config.json", r#"{"chat_template": null}"#)], None);
        check(&[old], Some("old"));
        check(&[old, ("chat_template.jinja", "new")], Some("new"));
        check(&[("tokenizer_config.json", list)], Some("usual"));
        check(&[("tokenizer_config.json", single)], Some("only"));
    }

    #[test]
    fn a_folder_that_is_no_model_says_what_it_is() {
        fn check(files: &[(&str, &str)], wanted: &[&str]) {
            let folder = folder_with(files);
            let message = Folder::open(folder.path()).unwrap_err().to_string();
            for part in wanted {
                assert!(message.contains(part), "{message}\nlacks {part}");
            }
        }
        check(&[], &["no config.json", "nothing", "tokenizer.json and model.safetensors"]);
        check(&[("adapter_config.json", "{}")], &["this is an adapter"]);
        check(&[("tiny.gguf", "")], &["give the GGUF file itself", "tiny.gguf"]);
        check(&[("config.json", "{\"a\": }")], &["config.json", "line 1"]);
        check(&[("config.json", "[]")], &["config.json", "an object is wanted"]);
        check(
            &[("config.json", "{}"), ("tokenizer_config.json", r#"{"chat_template": 3}"#)],
            &["tokenizer_config.json", "chat_template", "would be right"],
        );
    }

    #[test]
    fn missing_parts_are_named_when_they_are_asked_for() {
        let folder = folder_with(&[("config.json", "{}"), ("pytorch_model.bin", "")]);
        let folder = Folder::open(folder.path()).unwrap();
        let message = folder.weights().unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("never loaded"), "{message}");
        let message = folder.tokenizer_path().unwrap_err().to_string();
        assert!(message.contains("no tokenizer.json"), "{message}");
        assert!(matches!(Folder::open(folder.path().join("no")), Err(Error::Io { .. })));
        assert!(matches!(Folder::open(folder.config_path()), Err(Error::WrongKind { .. })));
    }
}
