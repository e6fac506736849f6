//! Prompts from data files, each with an optional suffix. How a row is read as a prompt is described in `dataset`; which of them
//! are missing is known to the store.

use std::path::PathBuf;

use crate::Error;
use aludel_data::dataset::{Prompt, ReadOptions, open_prompts};
use aludel_text::message::Role;

/// DeepSeek's recommended instruction for its reasoning models where an answer is to be verified.
pub const BOXED: &str = "Please reason step by step, and put your final answer within \\boxed{}.";

/// Data files, and how they are read as prompts.
#[derive(Debug, Clone)]
pub struct PromptFiles {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// How they are read.
    pub options: ReadOptions,
    /// Appended to each question after a line break.
    pub suffix: Option<String>,
}

impl PromptFiles {
    /// The prompts, in order.
    ///
    /// # Errors
    /// As [`open_prompts`], and for each row that cannot be read.
    pub fn read(&self) -> Result<impl Iterator<Item = Result<Prompt, Error>> + Send + use<'_>, Error> {
        Ok(open_prompts(&self.paths, &self.options)?.map(|prompt| Ok(self.with_suffix(prompt?))))
    }

    fn with_suffix(&self, mut prompt: Prompt) -> Prompt {
        let asked = prompt.messages.iter_mut().rev().find(|message| message.role == Role::User);
        if let (Some(suffix), Some(message)) = (&self.suffix, asked) {
            message.content = format!("{}\n{suffix}", message.content.trim_end());
        }
        prompt
    }
}
