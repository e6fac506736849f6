//! What is served, where, and to whom. Where these values come from is the command's.

use std::net::SocketAddr;
use std::path::PathBuf;

use aludel_distill::settings::{GenerateSettings, StudentSettings, TemplateInputs};

/// What is served, and to whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base model: a GGUF file or a folder.
    pub model: PathBuf,
    /// The name that clients call it by.
    pub model_name: String,
    /// Adapters for it, each with the name that clients call it by.
    pub adapters: Vec<(String, PathBuf)>,
    /// How weights are held, and on how many threads.
    pub student: StudentSettings,
    /// What the chat template is told.
    pub template: TemplateInputs,
    /// How answers are sampled where a request does not say so.
    pub generate: GenerateSettings,
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The key that requests must have. Without one, only this machine is listened to.
    pub key: Option<String>,
    /// The most answers at once, running or waiting.
    pub max_clients: usize,
    /// The most tokens of a prompt and its answer, where the model has as many positions.
    pub context_tokens: usize,
}
