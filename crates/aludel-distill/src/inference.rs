//! A model with its adapter, text and end tokens, ready to generate: what chat, demo, evaluation and sample answers share. Which
//! prompts run is theirs; tokens become text in `text_stream`.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use aludel_formats::hf::GENERATION_CONFIG_FILE_NAME;
use aludel_kernels::Context;
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
use crate::training_facts::refuse_merged;

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
        let student = Student::open(model)?;
        adapter.map_or(Ok(()), |adapter| refuse_merged(&student.path, adapter))?;
        let mut ctx = context(settings)?;
        let positions = student.config.max_position_embeddings.min(context_tokens);
        let format = weight_format(settings.dtype, settings.quantize);
        let decoder = Decoder::load_watched(&mut ctx, &student.config, &student.weights, format, positions, watch)?;
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
