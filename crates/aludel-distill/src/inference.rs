//! A model with its adapter, text and end tokens, ready to generate: what chat, demo, evaluation and sample answers share. Which
//! prompts run is theirs; tokens become text in `text_stream`.

use std::path::Path;
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

use crate::error::{Error, Result};
use crate::learner::{context, weight_format};
use crate::merge::adapter_text;
use crate::settings::{StudentSettings, TemplateInputs};

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
    pub(crate) text: TextBundle,
    pub(crate) stop_ids: Vec<u32>,
    template: ChatTemplate,
    options: EncodeOptions,
}

/// Messages as the model reads them.
#[derive(Default)]
pub(crate) struct Prompt {
    pub(crate) ids: Vec<u32>,
    /// Whether the template ends with the opening tag of reasoning.
    pub(crate) opens_thinking: bool,
}

impl LoadedModel {
    /// Loads a GGUF or a folder, and an adapter with its tokenizer if it has its own. A sequence gets at most `context_tokens` positions,
    /// or as many as the model has. `inputs` is what the template is told.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template.
    pub(crate) fn open(
        model: &Path,
        adapter: Option<&Path>,
        settings: &StudentSettings,
        inputs: TemplateInputs,
        context_tokens: usize,
    ) -> Result<LoadedModel> {
        let student = Student::open(model)?;
        let mut ctx = context(settings)?;
        let positions = student.config.max_position_embeddings.min(context_tokens);
        let format = weight_format(settings.dtype, settings.quantize);
        let decoder = Decoder::load(&mut ctx, &student.config, &student.weights, format, positions)?;
        let text = match adapter {
            Some(folder) => adapter_text(&student, folder)?,
            None => student.text.clone(),
        };
        let template = text.template(&model.display().to_string())?;
        let TemplateInputs { date, variables } = inputs;
        let options = EncodeOptions { date, variables, ..EncodeOptions::prompt(false) };
        let mut stop_ids = end_ids(&student.eos_token_ids, &text, &template, &options);
        let adapter = match adapter {
            Some(folder) => {
                stop_ids.extend(generation_config_eos(folder)?);
                Some(Arc::new(Adapter::load(&mut ctx, &decoder, folder)?))
            }
            None => None,
        };
        Ok(LoadedModel { ctx, decoder: Arc::new(decoder), adapter, text, stop_ids, template, options })
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
        let config = self.decoder.config();
        let number_bytes = if self.decoder.precision() == Precision::Bf16 { 2 } else { 4 };
        let token_bytes = 2 * number_bytes * config.num_hidden_layers * config.num_key_value_heads * config.head_dim;
        let room = (CACHE_BYTES / token_bytes).max(1);
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
        prompt(&self.template, &self.text.tokenizer, messages, &self.options)
    }
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
