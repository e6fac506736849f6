//! A model with its adapter, text and end tokens, ready to generate: what chat, demo, evaluation, sample answers and the server
//! share. Which prompts run is theirs; tokens become text in `text_stream`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_formats::hf::GENERATION_CONFIG_FILE_NAME;
use aludel_kernels::Context;
use aludel_kernels::linear::Precision;
use aludel_model::adapter::Adapter;
use aludel_model::config;
use aludel_model::decoder::Decoder;
use aludel_model::generate::Engine;
use aludel_model::student::Student;
use aludel_text::{ChatTemplate, EncodeOptions, Message, TextBundle, Tokenizer, encode, end_of_turn_id};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::learner::{context, weight_format};
use crate::merge::adapter_text;
use crate::settings::{StudentSettings, TemplateInputs};
use crate::training_facts::refuse_merged;

/// Templates add some tokens to a prompt, which otherwise has no more of them than bytes.
pub(crate) const TEMPLATE_TOKENS: usize = 2048;
/// Prompt tokens of one pass.
const TOKENS_PER_PASS: usize = 512;
/// What keys and values of all sequences may take, unless one sequence needs more.
const CACHE_BYTES: usize = 2 << 30;
/// Sequences at once, where memory allows; more of them gain little.
const MOST_SEQUENCES: usize = 64;
const LEAST_SEQUENCES: usize = 8;

/// A model, loaded.
pub(crate) struct LoadedModel {
    pub(crate) ctx: Context,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) adapter: Option<Arc<Adapter>>,
    pub(crate) format: ChatFormat,
}

/// A base model and adapters for it, loaded once: what a server answers from.
pub struct LoadedAdapters {
    /// Memory and threads.
    pub ctx: Context,
    /// The base, which all adapters share.
    pub decoder: Arc<Decoder>,
    /// The base alone, and after it each adapter, in the order in which they were named.
    pub models: Vec<(Option<Arc<Adapter>>, ChatFormat)>,
}

/// The way between messages and ids for one model: tokenizer, chat template and end tokens, which an adapter may bring along.
pub struct ChatFormat {
    pub(crate) text: TextBundle,
    pub(crate) stop_ids: Vec<u32>,
    template: ChatTemplate,
    options: EncodeOptions,
}

/// Messages as the model reads them.
#[derive(Debug, Default)]
pub struct Prompt {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Whether the template ends with the opening tag of reasoning.
    pub opens_thinking: bool,
}

impl LoadedModel {
    /// Loads a GGUF or a folder, and an adapter with its tokenizer if it has its own. A sequence gets at most `context_tokens` positions,
    /// or as many as the model has. `inputs` is what the template is told. `watch` hears how many weights of how many are read, and may break
    /// it off.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template; and that `watch` broke off.
    pub(crate) fn open(
        model: &Path,
        adapter: Option<&Path>,
        settings: &StudentSettings,
        inputs: TemplateInputs,
        context_tokens: usize,
        watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
    ) -> Result<LoadedModel> {
        let (student, mut ctx, decoder) = open_base(model, adapter, settings, context_tokens, watch)?;
        let (adapter, format) = open_adapter(&mut ctx, &student, &decoder, adapter, &inputs)?;
        Ok(LoadedModel { ctx, decoder, adapter, format })
    }

    /// An engine for the model and its adapter: see [`Engine::new`].
    pub(crate) fn engine(&mut self, context_tokens: usize, tokens_per_pass: usize) -> Engine {
        let (decoder, adapter) = (Arc::clone(&self.decoder), self.adapter.clone());
        Engine::new(&mut self.ctx, decoder, adapter, context_tokens, tokens_per_pass)
    }

    /// An engine for many sequences at once with answers of up to `max_new_tokens`, and how many: `wanted`, or as many as the cache has
    /// room for, but no more than `most`.
    pub(crate) fn batch_engine(
        &mut self,
        max_new_tokens: usize,
        wanted: Option<usize>,
        most: usize,
    ) -> (usize, Engine) {
        let room = cache_tokens(&self.decoder, CACHE_BYTES);
        // A prompt is mostly a small part of its sequence, and few answers are as long as they may be.
        let sequence = self.decoder.max_positions().min(max_new_tokens.saturating_add(TEMPLATE_TOKENS));
        let fitting = || (2 * room / sequence).clamp(LEAST_SEQUENCES, MOST_SEQUENCES);
        let sequences = wanted.unwrap_or_else(fitting).min(most).max(1);
        let context = room.min(sequences * sequence).max(self.decoder.max_positions());
        (sequences, self.engine(context, TOKENS_PER_PASS.max(sequences)))
    }

    /// The prompt of a conversation that the model is to continue.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    pub(crate) fn prompt(&self, messages: &[Message]) -> Result<Prompt> {
        let ChatFormat { text, template, options, .. } = &self.format;
        prompt(template, &text.tokenizer, messages, options)
    }
}

impl LoadedAdapters {
    /// Loads a GGUF or a folder, and adapters for it. The arguments are those of [`crate::chat::ChatModel::open`]; a sequence gets at
    /// most `context_tokens` positions, or as many as the model has.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template.
    pub fn open(
        model: &Path,
        adapters: &[PathBuf],
        settings: &StudentSettings,
        inputs: &TemplateInputs,
        context_tokens: usize,
    ) -> Result<LoadedAdapters> {
        let named = adapters.iter().map(PathBuf::as_path);
        let (student, mut ctx, decoder) =
            open_base(model, named, settings, context_tokens, &|_, _| ControlFlow::Continue(()))?;
        let all = [None].into_iter().chain(adapters.iter().map(|folder| Some(folder.as_path())));
        let models = all.map(|adapter| open_adapter(&mut ctx, &student, &decoder, adapter, inputs));
        let models = models.collect::<Result<_>>()?;
        Ok(LoadedAdapters { ctx, decoder, models })
    }

    /// How many tokens of keys and values `bytes` have room for.
    pub fn cache_tokens(&self, bytes: usize) -> usize {
        cache_tokens(&self.decoder, bytes)
    }
}

/// How many tokens of keys and values of a model `bytes` have room for; at least one.
pub(crate) fn cache_tokens(decoder: &Decoder, bytes: usize) -> usize {
    let config = decoder.config();
    let number_bytes = if decoder.precision() == Precision::Bf16 { 2 } else { 4 };
    let token_bytes = 2 * number_bytes * config.num_hidden_layers * config.num_key_value_heads * config.head_dim;
    (bytes / token_bytes).max(1)
}

impl ChatFormat {
    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.text.tokenizer
    }

    /// The tokens that end an answer.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The prompt of a conversation that the model is to continue. `variables` are added to those that the template is told anyway, and
    /// replace them where the names are the same.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    pub fn prompt(&self, messages: &[Message], variables: &Map<String, Value>) -> Result<Prompt> {
        if variables.is_empty() {
            return prompt(&self.template, &self.text.tokenizer, messages, &self.options);
        }
        let mut options = self.options.clone();
        options.variables.extend(variables.clone());
        prompt(&self.template, &self.text.tokenizer, messages, &options)
    }

    /// The ids of a text that the model is to continue, without a template. Control tokens in it are read as such, since whoever writes
    /// such a prompt writes the markup, too; where the model begins every text with a token, it is put before it.
    ///
    /// # Errors
    /// A text that the tokenizer cannot read.
    pub fn plain_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.text.tokenizer.encode(text)?;
        if let Some(bos) = self.text.bos_id().filter(|_| self.text.special.add_bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}

/// A model, without the adapters that are to be put onto it: none of them may be a part of it already.
fn open_base<'a>(
    model: &Path,
    adapters: impl IntoIterator<Item = &'a Path>,
    settings: &StudentSettings,
    context_tokens: usize,
    watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
) -> Result<(Student, Context, Arc<Decoder>)> {
    let student = Student::open(model)?;
    adapters.into_iter().try_for_each(|adapter| refuse_merged(&student.path, adapter))?;
    let mut ctx = context(settings)?;
    let positions = student.config.max_position_embeddings.min(context_tokens);
    let format = weight_format(settings.dtype, settings.quantize);
    let decoder = Decoder::load_watched(&mut ctx, &student.config, &student.weights, format, positions, watch)?;
    Ok((student, ctx, Arc::new(decoder)))
}

/// The base as it is, or with an adapter.
fn open_adapter(
    ctx: &mut Context,
    student: &Student,
    decoder: &Arc<Decoder>,
    adapter: Option<&Path>,
    inputs: &TemplateInputs,
) -> Result<(Option<Arc<Adapter>>, ChatFormat)> {
    let text = match adapter {
        Some(folder) => adapter_text(student, folder)?,
        None => student.text.clone(),
    };
    let template = text.template(&student.path.display().to_string())?;
    let TemplateInputs { date, variables } = inputs.clone();
    let options = EncodeOptions { date, variables, ..EncodeOptions::prompt(false) };
    let mut stop_ids = end_ids(&student.eos_token_ids, &text, &template, &options);
    let adapter = match adapter {
        Some(folder) => {
            stop_ids.extend(generation_config_eos(folder)?);
            Some(Arc::new(Adapter::load(ctx, decoder.as_ref(), folder)?))
        }
        None => None,
    };
    Ok((adapter, ChatFormat { text, stop_ids, template, options }))
}

/// The prompt of a conversation that a model is to continue.
///
/// # Errors
/// A conversation that the template refuses.
pub(crate) fn prompt(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Prompt> {
    let rows = encode(template, tokenizer, messages, options)?;
    let prompt = |row: aludel_text::Encoded| Prompt { ids: row.ids, opens_thinking: row.opens_thinking };
    Ok(rows.into_iter().next().map(prompt).unwrap_or_default())
}

/// The tokens that end an answer: those that the model names, and those of its text, which an adapter may have brought along and which
/// may end a turn otherwise.
pub(crate) fn end_ids(named: &[u32], text: &TextBundle, template: &ChatTemplate, options: &EncodeOptions) -> Vec<u32> {
    let mut ids = named.to_vec();
    ids.extend(text.eos_id());
    ids.extend(end_of_turn_id(template, &text.tokenizer, options).ok().flatten());
    ids
}

/// The end tokens of an adapter folder's `generation_config.json`, where it has one.
fn generation_config_eos(folder: &Path) -> Result<Vec<u32>> {
    let path = folder.join(GENERATION_CONFIG_FILE_NAME);
    if !aludel_files::is_there(&path) {
        return Ok(Vec::new());
    }
    let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
    let bytes = aludel_files::read(&path, aludel_files::SMALL).map_err(|error| damaged(error.to_string()))?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let wrong = || damaged(format!("eos_token_id: {} should be a token id or a list of them", json["eos_token_id"]));
    config::ids(&json["eos_token_id"]).ok_or_else(wrong)
}
