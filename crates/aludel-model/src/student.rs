//! Opening what the user names as a student: a GGUF file or a Hugging Face folder, with its config, tokenizer, chat template and
//! the tokens that end an answer. Weights stay in the mapped file until a decoder packs them.

use std::path::{Path, PathBuf};

use aludel_formats::{gguf, hf};
use aludel_text::{ChatTemplate, Date, EncodeOptions, GgufVocabulary, TextBundle, end_of_turn_id};

use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::hub_name;
use crate::weights::Weights;

/// An open student.
pub struct Student {
    /// What the user gave.
    pub path: PathBuf,
    /// Sizes and constants.
    pub config: Config,
    /// The tensors.
    pub weights: Weights,
    /// Tokenizer, special tokens and chat template.
    pub text: TextBundle,
    /// The compiled chat template; a base model may have none.
    pub template: Option<ChatTemplate>,
    /// Every token that ends an answer, from config, generation config and tokenizer.
    pub eos_token_ids: Vec<u32>,
    /// Where the small files came from.
    pub origin: Origin,
}

/// Where a student's small files came from.
pub enum Origin {
    /// A Hugging Face folder, whose files are carried over as they are.
    Folder(Box<hf::Folder>),
    /// A GGUF file, from whose metadata the small files are written anew.
    Gguf,
}

impl Student {
    /// Opens a GGUF file or a model folder.
    ///
    /// # Errors
    /// If the path does not exist or is neither; if a file in it is damaged, of an unsupported architecture, or contradicts
    /// another.
    pub fn open(path: &Path) -> Result<Student> {
        let student = if path.is_dir() {
            Student::open_folder(path)?
        } else if aludel_files::is_there(path) {
            Student::open_gguf(path)?
        } else {
            let reason = "there is no such file or folder; give a GGUF file, a Hugging Face model folder, or the name of one on the Hub as hf:owner/name".to_owned();
            return Err(Error::Student { path: path.to_owned(), reason });
        };
        // An embedding may be padded beyond the tokenizer, never the other way round.
        let (tokenizer, weights) = (student.text.tokenizer.vocab_size(), student.config.vocab_size);
        if tokenizer > weights {
            return Err(Error::Vocabulary { path: path.to_owned(), tokenizer, weights });
        }
        Ok(student)
    }

    fn open_folder(path: &Path) -> Result<Student> {
        let folder = hf::Folder::open(path)?;
        let config = Config::from_hf(folder.config(), &folder.config_path())?;
        let weights = Weights::new(Files::Folder(folder.weights()?), &config)?;
        let mut text = TextBundle::from_folder(path)?;
        let name = |id: Option<u32>| id.and_then(|id| text.tokenizer.id_to_token(id));
        let (bos, eos) = (name(config.bos_token_id), name(config.eos_token_ids.first().copied()));
        text.special.bos = text.special.bos.take().or(bos);
        text.special.eos = text.special.eos.take().or(eos);
        let mut eos_token_ids = config.eos_token_ids.clone();
        if let Some(more) = folder.generation_config().and_then(|g| config::ids(&g["eos_token_id"])) {
            eos_token_ids.extend(more);
        }
        eos_token_ids.extend(text.eos_id());
        Student::assemble(path, config, weights, text, eos_token_ids, Origin::Folder(Box::new(folder)))
    }

    fn open_gguf(path: &Path) -> Result<Student> {
        let file = gguf::File::open(path)?;
        let metadata = file.metadata();
        let config = Config::from_gguf(&file)?;
        let vocabulary = vocabulary(metadata)?;
        let template = metadata.find::<&str>("tokenizer.chat_template")?.map(str::to_owned);
        let text =
            TextBundle::from_gguf(&vocabulary, template, &path.display().to_string()).map_err(|error| match error {
                // It names the file itself.
                aludel_text::error::Error::TokenizerFile { .. } => Error::Text(error),
                error => Error::Student { path: path.to_owned(), reason: error.to_string() },
            })?;
        let mut eos_token_ids = config.eos_token_ids.clone();
        for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            eos_token_ids.extend(metadata.find::<u32>(key)?);
        }
        let weights = Weights::new(Files::Gguf(file), &config)?;
        Student::assemble(path, config, weights, text, eos_token_ids, Origin::Gguf)
    }

    fn assemble(
        path: &Path,
        config: Config,
        weights: Weights,
        text: TextBundle,
        mut eos_token_ids: Vec<u32>,
        origin: Origin,
    ) -> Result<Student> {
        let template = match &text.chat_template {
            Some(_) => Some(
                text.template(&path.display().to_string())
                    .map_err(|error| Error::Student { path: path.to_owned(), reason: error.to_string() })?,
            ),
            None => None,
        };
        // what the template puts after an answer ends it too, whatever the config says
        if let Some(template) = &template {
            // any day will do for a template that tells it
            let options = EncodeOptions { date: Some(Date::from_unix_seconds(0)), ..EncodeOptions::default() };
            eos_token_ids.extend(end_of_turn_id(template, &text.tokenizer, &options).ok().flatten());
        }
        let eos_token_ids = distinct(eos_token_ids);
        Ok(Student { path: path.to_owned(), config, weights, text, template, eos_token_ids, origin })
    }

    /// The name of these weights on the Hugging Face Hub, where the student's files or the place where they lie tell it.
    pub fn hub_name(&self) -> Option<String> {
        match self.weights.files() {
            Files::Gguf(file) => hub_name::of_gguf(file.metadata()),
            Files::Folder(_) => hub_name::of_folder(&self.path),
        }
    }

    /// The vocabulary as the student's GGUF file has it; none of a folder.
    ///
    /// # Errors
    /// Keys of the wrong type.
    pub fn gguf_vocabulary(&self) -> Result<Option<GgufVocabulary>> {
        match self.weights.files() {
            Files::Gguf(file) => Ok(Some(vocabulary(file.metadata())?)),
            Files::Folder(_) => Ok(None),
        }
    }

    /// The chat template.
    ///
    /// # Errors
    /// [`Error::Student`] if the model has none.
    pub fn chat_template(&self) -> Result<&ChatTemplate> {
        self.template.as_ref().ok_or_else(|| Error::Student {
            path: self.path.clone(),
            reason: "this model has no chat template; use an instruction-tuned model, or add a chat_template.jinja"
                .to_owned(),
        })
    }
}

/// The vocabulary in a GGUF file's metadata.
fn vocabulary(metadata: &gguf::Metadata) -> Result<GgufVocabulary> {
    Ok(GgufVocabulary {
        model: metadata.string("tokenizer.ggml.model")?.to_owned(),
        pre: metadata.find::<&str>("tokenizer.ggml.pre")?.map(str::to_owned),
        tokens: metadata.strings("tokenizer.ggml.tokens")?.to_vec(),
        merges: if metadata.contains("tokenizer.ggml.merges") {
            metadata.strings("tokenizer.ggml.merges")?.to_vec()
        } else {
            Vec::new()
        },
        token_types: if metadata.contains("tokenizer.ggml.token_type") {
            metadata.i32s("tokenizer.ggml.token_type")?
        } else {
            Vec::new()
        },
        scores: if metadata.contains("tokenizer.ggml.scores") {
            metadata.f32s("tokenizer.ggml.scores")?
        } else {
            Vec::new()
        },
        bos_id: metadata.find::<u32>("tokenizer.ggml.bos_token_id")?,
        eos_id: metadata.find::<u32>("tokenizer.ggml.eos_token_id")?,
        unknown_id: metadata.find::<u32>("tokenizer.ggml.unknown_token_id")?,
        padding_id: metadata.find::<u32>("tokenizer.ggml.padding_token_id")?,
        add_bos: metadata.find::<bool>("tokenizer.ggml.add_bos_token")?,
        add_space_prefix: metadata.find::<bool>("tokenizer.ggml.add_space_prefix")?,
    })
}

fn distinct(mut ids: Vec<u32>) -> Vec<u32> {
    let mut seen = Vec::new();
    ids.retain(|id| {
        let new = !seen.contains(id);
        seen.push(*id);
        new
    });
    ids
}
