//! `aludel chat`: one question, or a conversation, with a model and optionally an adapter. Answers are streamed; reasoning is dimmed on a
//! terminal, and goes to standard error otherwise. The commands of a conversation are in `conversation`.

mod conversation;

use super::eval::usual_name;
use crate::console::{Console, harmless};
use crate::hub::local_model;
use crate::humanize::{duration, grouped};
use crate::progress::{Progress, WorkKind};
use crate::report::{INTERRUPTED, Outcome};
use crate::run_folder::{adapter_if_named, warn_of_other_weights};
use crate::settings::{Flags, QuantizeArgs, RecipeArgs, resolve, scope, set_template_date};
use crate::signals::end_conversation_on_sigterm;
use aludel_distill::chat::{Answer, ChatModel, FinishReason};
use aludel_distill::settings::{GenerateSettings, Recipe};
use aludel_text::{Message, Piece};
use anstyle::Style;
use clap::Args;
use conversation::Conversation;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The options of `aludel chat`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ChatArgs {
    /// Model: a GGUF file, a Hugging Face model folder, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// Adapter folder to apply to it, or the folder of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,

    /// Question to answer, then exit; without it a conversation starts
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,

    /// System message
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,

    /// Print each answer as JSON: reasoning, content, finish_reason, usage
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,

    /// Maximum number of tokens of an answer, including reasoning [default: 5000]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_new_tokens: Option<String>,

    /// Sampling temperature; 0 always picks the most likely token [default: 0.7]
    #[arg(long, value_name = "T", help_heading = "Common settings")]
    temperature: Option<String>,

    /// Top-p: sample from the most likely tokens whose probabilities add up to this [default: 1]
    #[arg(long, value_name = "P", help_heading = "Common settings")]
    top_p: Option<String>,

    /// Top-k: sample from this many most likely tokens; 0 means all [default: 50]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    top_k: Option<String>,

    /// Min-p: leave out tokens less likely than this fraction of the most likely one [default: 0]
    #[arg(long, value_name = "P", help_heading = "Common settings")]
    min_p: Option<String>,

    /// Repetition penalty; above 1, tokens that occurred before become less likely [default: 1]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    repetition_penalty: Option<String>,

    /// Stop string: ends the answer and is not part of it; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Common settings")]
    stop: Vec<String>,

    /// Random seed of the sampling [default: a new one each time]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    seed: Option<String>,

    /// Precision of matrix products: auto, bf16, f32, or file for the file's own quantisation [default: auto]
    #[arg(long, value_name = "DTYPE", help_heading = "Common settings")]
    dtype: Option<String>,

    #[command(flatten, next_help_heading = "Common settings")]
    quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores [default: 0]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    threads: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  aludel chat --model merged
  aludel chat --model student.gguf --adapter run/adapter --prompt \"What is 17 * 24?\" --seed 1
  aludel chat --model merged --prompt \"What is 17 * 24?\" --temperature 0 --json
  aludel chat --model merged --prompt \"What is 17 * 24?\" > answer.txt
  aludel chat --model merged --system \"Be brief.\" --top-p 0.95 --stop \"Question:\"

In a conversation, /help lists the commands. Ctrl-C stops an answer; at the prompt it ends the
conversation, as Ctrl-D does. With --prompt, Ctrl-C ends with exit code 130.

Where standard output is no terminal, it gets answers alone; reasoning goes to standard error.";

/// Answers one prompt, or opens a conversation.
pub(crate) fn run(args: &ChatArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut recipe = args.recipe()?;
    let seed = *recipe.generate.seed.get_or_insert_with(|| now().as_nanos() as u64 >> 1);
    tracing::debug!("seed {seed}");
    let interrupted = watch_for_interrupts()?;
    end_conversation_on_sigterm()?;
    set_template_date(&mut recipe);
    let (model, inputs) = (local_model(&args.model)?, recipe.data.template_inputs());
    let adapter = adapter_if_named(args.adapter.as_deref())?;
    warn_of_other_weights(adapter.as_deref(), &recipe.student)?;
    let shown = Progress::new();
    shown.begin(WorkKind::Loading);
    let tell = |done, total| shown.loading(done, total);
    let mut talker = ChatModel::open(&model, adapter.as_deref(), &recipe.student, inputs, &tell)?;
    drop(shown);
    let mut messages: Vec<Message> = args.system.iter().map(Message::system).collect();
    let shown = AnswerOutput::of(args, console);
    let Some(prompt) = &args.prompt else {
        return Conversation { talker, recipe, messages, interrupted, shown, console }.run();
    };
    messages.push(Message::user(prompt));
    interrupted.store(false, Ordering::Relaxed);
    let answer = say(&mut talker, &messages, &recipe.generate, &interrupted, &shown, console)?;
    match answer.finish_reason {
        FinishReason::Cancelled => return Ok(Outcome::Interrupted),
        FinishReason::Context => {
            tracing::warn!(
                "the answer was cut: it fills the model's context of {} tokens",
                grouped(talker.context_tokens())
            );
        }
        FinishReason::Length | FinishReason::Stop => {}
    }
    if args.json {
        console.json_line(&answer)?;
    }
    Ok(Outcome::Done)
}

/// How an answer is shown while it streams.
pub(crate) enum AnswerOutput {
    /// Not at all: it is printed as JSON at its end.
    AsJson,
    /// All of it on standard output, reasoning dimmed; with a model's name, the name and the speed are printed at the end.
    Whole(Option<String>),
    /// The answer on standard output, for whatever reads it; the reasoning on standard error.
    Apart,
}

impl AnswerOutput {
    /// What suits standard output.
    fn of(args: &ChatArgs, console: &Console) -> AnswerOutput {
        match (args.json, console.is_terminal()) {
            (true, _) => AnswerOutput::AsJson,
            (false, true) => AnswerOutput::Whole(Some(usual_name(&args.model, args.adapter.as_deref()))),
            (false, false) => AnswerOutput::Apart,
        }
    }
}

/// Streams one answer.
pub(crate) fn say(
    talker: &mut ChatModel,
    messages: &[Message],
    settings: &GenerateSettings,
    interrupted: &AtomicBool,
    shown: &AnswerOutput,
    console: &mut Console,
) -> anyhow::Result<Answer> {
    let mut failed: io::Result<()> = Ok(());
    let begun = Instant::now();
    let mut is_reasoning = false;
    let answer = talker.answer(messages, settings, interrupted, &mut |piece| {
        if failed.is_err() {
            return;
        }
        failed = match (shown, piece) {
            (AnswerOutput::AsJson, _) => Ok(()),
            (AnswerOutput::Whole(_), Piece::Reasoning(text)) => {
                let text = console.styled(Style::new().dimmed(), text);
                console.piece(&text)
            }
            (AnswerOutput::Apart, Piece::Reasoning(text)) => {
                is_reasoning = true;
                console.error_piece(&console.styled_for_errors(Style::new().dimmed(), text));
                Ok(())
            }
            (_, Piece::Answer(text)) => {
                if std::mem::take(&mut is_reasoning) {
                    console.error_piece("\n");
                }
                console.piece(text)
            }
        };
        if failed.is_err() {
            // the reader has closed the pipe
            interrupted.store(true, Ordering::Relaxed);
        }
    })?;
    failed?;
    if is_reasoning {
        console.error_piece("\n");
    }
    if !matches!(shown, AnswerOutput::AsJson) {
        console.line("")?;
    }
    if let AnswerOutput::Whole(Some(name)) = shown {
        let pace = console.styled(Style::new().dimmed(), &pace(name, &answer, begun.elapsed()));
        console.line(pace)?;
    }
    console.flush()?;
    Ok(answer)
}

/// Who answered, and how fast.
fn pace(name: &str, answer: &Answer, took: Duration) -> String {
    let (tokens, seconds) = (answer.usage.completion_tokens, took.as_secs_f64());
    let (name, rate) = (harmless(name), tokens as f64 / seconds.max(1e-9));
    format!("[{name}: {} tokens in {}, {rate:.1} tokens/s]", grouped(tokens), duration(seconds))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A flag that Ctrl-C sets. Where it is set already, which it is but for the time of an answer, Ctrl-C ends the process.
fn watch_for_interrupts() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(true));
    let signal = signal_hook::consts::SIGINT;
    signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupted))?;
    signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    Ok(interrupted)
}

impl ChatArgs {
    /// The checked recipe; chat heeds its `[student]` and `[generate]` sections, and what `[data]` has for the template.
    pub(crate) fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--model", "student.model", Some(&self.model))
            .written("--max-new-tokens", "generate.max_new_tokens", self.max_new_tokens.as_ref())
            .written("--temperature", "generate.temperature", self.temperature.as_ref())
            .written("--top-p", "generate.top_p", self.top_p.as_ref())
            .written("--top-k", "generate.top_k", self.top_k.as_ref())
            .written("--min-p", "generate.min_p", self.min_p.as_ref())
            .written("--repetition-penalty", "generate.repetition_penalty", self.repetition_penalty.as_ref())
            .texts("--stop", "generate.stop", &self.stop)
            .written("--seed", "generate.seed", self.seed.as_ref())
            .written("--dtype", "student.dtype", self.dtype.as_ref())
            .written("--threads", "student.threads", self.threads.as_ref());
        resolve(&self.recipe, self.quantize.set(flags), &scope::CHAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;
    use aludel_distill::chat::Usage;

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
            "--min-p",
            "0.1",
            "--repetition-penalty",
            "1.2",
            "--stop",
            "END",
            "--stop",
            "-- ",
            "--set",
            "generate.top_k=3",
        ]);
        let generate = args.recipe().unwrap().generate;
        assert_eq!((generate.temperature, generate.max_new_tokens, generate.seed), (0.0, 9, Some(3)));
        assert_eq!(
            (generate.stop, args.prompt.as_deref()),
            (vec!["END".to_owned(), "-- ".to_owned()], Some("-- hello"))
        );
        assert_eq!((generate.min_p, generate.repetition_penalty, generate.top_k), (0.1, 1.2, 3));
    }

    #[test]
    fn the_pace_names_the_model() {
        let usage = Usage { prompt_tokens: 9, completion_tokens: 30 };
        let answer = Answer { reasoning: None, content: String::new(), finish_reason: FinishReason::Stop, usage };
        let told = pace("a\u{1b}[2J", &answer, Duration::from_millis(1500));
        assert_eq!(told, "[a\\u{1b}[2J: 30 tokens in 1.5 s, 20.0 tokens/s]");
    }

    #[test]
    fn a_temperature_below_zero_is_refused_by_name() {
        let args: ChatArgs = parsed(&["--model", "m", "--temperature", "-1"]);
        let error = args.recipe().unwrap_err().to_string();
        assert!(error.starts_with("generate.temperature = -1.0 (--temperature): "), "{error}");
    }
}
