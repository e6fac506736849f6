//! `aludel chat`: the options of a conversation, and the sampling settings that they make.

use crate::settings::{Flags, RecipeArgs, resolve};
use aludel_distill::settings::Recipe;
use clap::Args;
use std::path::PathBuf;

/// The options of `aludel chat`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ChatArgs {
    /// The model to talk to: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// An adapter folder to put on it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,

    /// Ask this, print the answer and end; without it a conversation opens
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,

    /// The system message
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,

    /// Print each answer as JSON: reasoning, content, finish_reason, usage
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,

    /// The most tokens of an answer, reasoning included [default: 5000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Common settings")]
    max_new_tokens: Option<String>,

    /// 0 takes the likeliest token each time [default: 0.7]
    #[arg(long, value_name = "T", allow_negative_numbers = true, help_heading = "Common settings")]
    temperature: Option<String>,

    /// Sample from the likeliest tokens that reach this probability [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Common settings")]
    top_p: Option<String>,

    /// Sample from this many likeliest tokens; 0 takes all [default: 50]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Common settings")]
    top_k: Option<String>,

    /// The seed of the sampling [default: a new one each time]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Common settings")]
    seed: Option<String>,

    /// The precision of matrix products: auto, bf16 or f32 [default: auto]
    #[arg(long, value_name = "DTYPE", help_heading = "Common settings")]
    dtype: Option<String>,

    /// Threads; 0 takes one for each core [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Common settings")]
    threads: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  aludel chat --model merged
  aludel chat --model student.gguf --adapter run/adapter --prompt \"What is 17 * 24?\" --seed 1
  aludel chat --model merged --prompt \"What is 17 * 24?\" --temperature 0 --json";

impl ChatArgs {
    /// The checked recipe; chat heeds its [student] and [generate] sections.
    pub(crate) fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--model", "student.model", Some(&self.model))
            .written("--max-new-tokens", "generate.max_new_tokens", self.max_new_tokens.as_ref())
            .written("--temperature", "generate.temperature", self.temperature.as_ref())
            .written("--top-p", "generate.top_p", self.top_p.as_ref())
            .written("--top-k", "generate.top_k", self.top_k.as_ref())
            .written("--seed", "generate.seed", self.seed.as_ref())
            .written("--dtype", "student.dtype", self.dtype.as_ref())
            .written("--threads", "student.threads", self.threads.as_ref());
        resolve(&self.recipe, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn flags_reach_their_settings() {
        let args: ChatArgs = parsed(&[
            "--model",
            "m",
            "--prompt",
            "-- hello",
            "--temperature",
            "0",
            "--max-new-tokens",
            "9",
            "--seed",
            "3",
            "--set",
            "generate.stop=END",
        ]);
        let generate = args.recipe().unwrap().generate;
        assert_eq!((generate.temperature, generate.max_new_tokens, generate.seed), (0.0, 9, Some(3)));
        assert_eq!((generate.stop, args.prompt.as_deref()), (vec!["END".to_owned()], Some("-- hello")));
    }

    #[test]
    fn a_temperature_below_zero_is_refused_by_name() {
        let args: ChatArgs = parsed(&["--model", "m", "--temperature", "-1"]);
        let error = args.recipe().unwrap_err().to_string();
        assert!(error.starts_with("generate.temperature = -1.0 (--temperature): "), "{error}");
    }
}
