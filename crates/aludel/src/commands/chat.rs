//! `aludel chat`: one question, or a conversation, with a model and perhaps an adapter. Answers stream; reasoning is dimmed.

use crate::console::{Console, harmless};
use crate::report::Outcome;
use crate::settings::{Flags, RecipeArgs, resolve};
use aludel_distill::settings::{GenerateSettings, Recipe};
use aludel_distill::talk::{Answer, Talker};
use aludel_text::{Message, Piece};
use anstyle::Style;
use clap::Args;
use rustyline::error::ReadlineError;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Answers one prompt, or opens a conversation.
pub(crate) fn run(args: &ChatArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut recipe = args.recipe()?;
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let seed = *recipe.generate.seed.get_or_insert_with(clock);
    tracing::debug!("seed {seed}");
    let mut talker = Talker::open(&args.model, args.adapter.as_deref(), &recipe.student)?;
    let mut messages: Vec<Message> = args.system.iter().map(Message::system).collect();
    if let Some(prompt) = &args.prompt {
        messages.push(Message::user(prompt));
        let answer = say(&mut talker, &messages, &recipe.generate, args.json, console)?;
        if args.json {
            console.json_line(&answer)?;
        }
        return Ok(Outcome::Done);
    }
    let mut editor = rustyline::DefaultEditor::new()?;
    console.line("Type a message; /reset forgets the conversation, /quit or Ctrl-D leaves.")?;
    console.flush()?;
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(Outcome::Done),
            Err(error) => return Err(error.into()),
        };
        match line.trim() {
            "" => continue,
            "/quit" => return Ok(Outcome::Done),
            "/reset" => {
                messages.truncate(args.system.iter().count());
                continue;
            }
            text => messages.push(Message::user(text)),
        }
        let _ = editor.add_history_entry(&line);
        let answer = say(&mut talker, &messages, &recipe.generate, args.json, console)?;
        if args.json {
            console.json_line(&answer)?;
            console.flush()?;
        }
        // The template decides what becomes of past reasoning.
        let mut message = Message::assistant(answer.content);
        message.reasoning = answer.reasoning;
        messages.push(message);
        recipe.generate.seed = recipe.generate.seed.map(|seed| seed.wrapping_add(1));
    }
}

/// Streams one answer to standard output, unless it is to be printed as JSON.
pub(crate) fn say(
    talker: &mut Talker,
    messages: &[Message],
    settings: &GenerateSettings,
    json: bool,
    console: &Console,
) -> anyhow::Result<Answer> {
    let mut out = io::stdout().lock();
    let mut failed: io::Result<()> = Ok(());
    let answer = talker.answer(messages, settings, &mut |piece| {
        if json || failed.is_err() {
            return;
        }
        failed = match piece {
            Piece::Reasoning(text) => write!(out, "{}", console.styled(Style::new().dimmed(), &harmless(text))),
            Piece::Answer(text) => write!(out, "{}", harmless(text)),
        }
        .and_then(|()| out.flush());
    })?;
    failed?;
    if !json {
        writeln!(out)?;
    }
    Ok(answer)
}

impl ChatArgs {
    /// The checked recipe; chat heeds its `[student]` and `[generate]` sections.
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
