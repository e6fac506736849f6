//! `aludel train`: the options of a training run and the recipe that they make.

mod warnings;

use crate::card::write_for_adapter;
use crate::console::{Console, harmless};
use crate::hub::fetch_named;
use crate::humanize::{grouped, held_out_loss, train_loss};
use crate::next_command::{after_training, as_typed, resumed};
use crate::progress::{Phase, TrainingProgress};
use crate::provenance::current_provenance;
use crate::report::{ErrorWithHelp, Outcome};
use crate::settings::{
    Flags, INSTRUCTION_SET, QuantizeArgs, RecipeArgs, instruction_set_of_the_environment, resolve, scope, today,
};
use crate::shell_path::shell_quoted;
use crate::signals::stop_on_signals;
use aludel_distill::checkpoint::{RECIPE_FILE_NAME, begun_with};
use aludel_distill::learner::settled;
use aludel_distill::memory;
use aludel_distill::metrics::SampleAnswer;
use aludel_distill::provenance::Session;
use aludel_distill::settings::{Dtype, InstructionSet, Problem, Problems, Recipe};
use aludel_distill::train::{Event, Started, Summary, train};
use aludel_files::shortened;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use warnings::{log_base_model, warn_of_lost_reasoning, warn_of_start, warn_of_unnamed_base};

/// The options of `aludel train`. Student, data and output folder may stand in the recipe instead.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArgs {
    /// Student model to train: a GGUF file, a Hugging Face model folder, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    pub(crate) student: Option<PathBuf>,

    /// Training data: JSONL, JSON array (also .gz, .zst) or Parquet files, or hf:owner/name:split
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) data: Vec<PathBuf>,

    /// Evaluation data, in the same formats [default: hold out a tenth of the training data]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    eval_data: Vec<PathBuf>,

    /// Run folder to create: recipe, metrics, checkpoints and adapter
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,

    /// Resume the run in --output-dir from its last checkpoint, with the recipe it holds
    #[arg(long)]
    pub(crate) resume: bool,

    /// Print JSON lines instead of text; the last one is a summary
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,

    /// Number of training epochs [default: 3]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    num_train_epochs: Option<String>,

    /// Total number of optimiser steps; overrides --num-train-epochs
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_steps: Option<String>,

    /// Peak learning rate [default: 2e-4]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    learning_rate: Option<String>,

    /// Rows per micro-batch [default: 2]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    per_device_train_batch_size: Option<String>,

    /// Micro-batches per optimiser step [default: 4]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    gradient_accumulation_steps: Option<String>,

    /// Maximum row length in tokens; longer rows are left out. auto keeps 99% of the rows if memory allows [default: auto]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_length: Option<String>,

    /// LoRA rank [default: 16]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    lora_r: Option<String>,

    /// LoRA alpha; the adapter's output is scaled by alpha / r [default: 32]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    lora_alpha: Option<String>,

    /// LoRA dropout probability [default: 0]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    lora_dropout: Option<String>,

    /// Precision of matrix products: auto, bf16 or f32 [default: auto]
    #[arg(long, value_name = "DTYPE", help_heading = "Common settings")]
    dtype: Option<String>,

    #[command(flatten, next_help_heading = "Common settings")]
    quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores [default: 0]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    threads: Option<String>,

    /// Random seed of split, row order, adapter initialisation and dropout [default: 42]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    seed: Option<String>,

    /// Adapter folder to start from, in place of a new adapter
    #[arg(long, value_name = "DIR", help_heading = "Common settings")]
    init_adapter: Option<PathBuf>,

    /// Pack several rows into sequences of up to --max-length tokens
    #[arg(long, help_heading = "Common settings")]
    packing: bool,

    /// Skip rows that cannot be read, and count them
    #[arg(long, help_heading = "Common settings")]
    skip_bad_rows: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel train --student student.gguf --data traces.jsonl --output-dir run
  aludel train --student student.gguf --data a.jsonl b.jsonl --output-dir run --learning-rate 1e-4 --max-steps 200
  aludel train --recipe recipe.toml --set 'lora.target_modules=[\"q_proj\", \"v_proj\"]'
  aludel train --recipe builtin:seed --student student.gguf --data traces.jsonl --output-dir run
  aludel train --output-dir run --resume";

/// Trains; SIGTERM and Ctrl-C stop after the present pass.
pub(crate) fn run(args: &TrainArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut recipe = args.recipe()?;
    fetch_named(&mut recipe)?;
    if args.resume && !aludel_files::is_there(recipe.output_dir()?.join(RECIPE_FILE_NAME)) {
        tracing::warn!(
            "nothing to resume in {}: a new run starts",
            harmless(&recipe.output_dir()?.display().to_string())
        );
    }
    let summary = run_recipe(&recipe, args.resume, args.json, Phase::whole(), console)?;
    if let Some(adapter) = &summary.adapter {
        warn_of_unnamed_base(adapter, recipe.train.output_dir.as_deref().unwrap_or(Path::new(".")))?;
    }
    if args.json {
        console.json_line(&summary_json(&summary)?)?;
    } else {
        console.line(describe(&summary, recipe.train.output_dir.as_deref().unwrap_or(Path::new("."))))?;
        if let Some(adapter) = &summary.adapter {
            for command in after_training(&recipe.student, adapter, &recipe.data).into_iter().flatten() {
                console.next(&command)?;
            }
        }
    }
    Ok(if summary.finished { Outcome::Done } else { Outcome::Stopped })
}

/// Trains with a progress line on standard error, and with JSON lines on standard output if wanted.
pub(crate) fn run_recipe(
    recipe: &Recipe,
    resume: bool,
    json: bool,
    part: Phase,
    console: &mut Console,
) -> anyhow::Result<Summary> {
    let recipe = &settle(recipe)?;
    let folder = recipe.output_dir()?.to_owned();
    let stop = stop_on_signals(resumed(&current_provenance().command))?;
    let mut shown = TrainingProgress::new(part);
    let mut printed: anyhow::Result<()> = Ok(());
    let (mut begun, mut session) = (None, None);
    let summary = train(recipe, resume, &stop, &mut |event| {
        shown.show(&event);
        let line = match event {
            Event::Complete(summary) => {
                let steps = grouped(summary.total_steps);
                tracing::info!("this run is complete: all {steps} steps are done, and nothing is left to train");
                Some(json!({ "event": "complete", "steps": summary.steps }))
            }
            Event::Started(started) => {
                let (rows, held_back) = (grouped(started.train_rows), grouped(started.eval_rows));
                let memory = match started.process_bytes {
                    Some(bytes) => format!("{} MB of memory in all", grouped(bytes.div_ceil(1_000_000))),
                    None => format!("{} MB for weights and passes", grouped(started.device_bytes.div_ceil(1_000_000))),
                };
                let (whose, longest) = (
                    if recipe.data.eval_files.is_empty() { "held back" } else { "to evaluate on" },
                    grouped(started.max_length),
                );
                tracing::info!(
                    "{rows} rows to train on, {held_back} {whose}, of {longest} tokens at most; {} parameters, {} steps; {memory}",
                    grouped(started.trained_parameters),
                    grouped(started.total_steps),
                );
                log_base_model(started);
                warn_of_start(started);
                begun = Some(started.clone());
                session = record_session(&folder, started);
                Some(json!({ "event": "started", "run": started }))
            }
            Event::Step { record, logged, total_steps, .. } => {
                let speed = record.tokens as f64 / record.seconds.max(1e-9);
                if let Some(loss) = logged {
                    let (step, rate, times) = (record.step, record.learning_rate, shown.times());
                    tracing::info!(
                        "step {step}/{total_steps}: loss {loss:.4}, learning rate {rate:.2e}, {speed:.0} tokens/s, {times}"
                    );
                }
                logged.map(|loss| json!({
                    "event": "step", "step": record.step, "epoch": record.epoch, "loss": loss, "grad_norm": record.grad_norm,
                    "learning_rate": record.learning_rate, "tokens_per_second": speed,
                }))
            }
            Event::Evaluated(record) => {
                let when = if record.step == 0 { ", before training" } else { "" };
                tracing::info!("step {}{when}: held-out loss {:.4}", record.step, record.eval_loss);
                Some(json!({ "event": "evaluation", "step": record.step, "eval_loss": record.eval_loss }))
            }
            Event::Sampled(record) => {
                record
                    .samples
                    .iter()
                    .for_each(|sample| tracing::info!("step {}: {}", record.step, sample_text(sample)));
                if let Some(started) = begun.as_ref().filter(|started| started.total_steps == record.step) {
                    warn_of_lost_reasoning(recipe, started, &record.samples);
                }
                Some(json!({ "event": "samples", "step": record.step, "samples": record.samples }))
            }
            Event::Saved(path) => {
                tracing::debug!("saved {}", path.display());
                Some(json!({ "event": "saved", "checkpoint": path.display().to_string() }))
            }
            Event::AdapterFilled { folder, summary, failed } => {
                // The adapter and its card appear at once.
                let written = begun.as_ref().map(|started| write_for_adapter(folder, recipe, started, summary));
                *failed = written.and_then(Result::err).map(|error| format!("{error:#}"));
                None
            }
            Event::Stage(_)
            | Event::Hashing { .. }
            | Event::Tokenising(_)
            | Event::Loading { .. }
            | Event::PlacingTokens { .. }
            | Event::Pass { .. }
            | Event::Answering { .. }
            | Event::Evaluating { .. }
            | Event::Sampling { .. } => None,
        };
        if let Some(line) = line.filter(|_| json)
            && printed.is_ok()
        {
            printed = console.json_line(&line).and_then(|()| Ok(console.flush()?));
        }
    })?;
    drop(shown);
    printed?;
    if let Some(mut session) = session
        && let Err(error) = session.ended(&folder, summary.times)
    {
        tracing::warn!("{}; a report will not tell how long this session took", harmless(&error.to_string()));
    }
    Ok(summary)
}

/// A sample answer on one line of the log; the whole of it is in `metrics.jsonl`.
fn sample_text(sample: &SampleAnswer) -> String {
    const LETTERS: usize = 300;
    let quoted = |text: &str| format!("{:?}", shortened(text, LETTERS));
    let reasoning =
        sample.reasoning.as_deref().map_or_else(String::new, |text| format!(" reasoning {},", quoted(text)));
    let cut = if sample.truncated { " (cut)" } else { "" };
    format!("sample {}:{reasoning} answer {}{cut}", quoted(&sample.prompt), quoted(&sample.content))
}

/// The recipe with what is not the user's choice: the day that a chat template is told, instruction set and precision. A run that goes
/// on keeps those with which it began, or its rows and bits would be others.
fn settle(recipe: &Recipe) -> anyhow::Result<Recipe> {
    let mut recipe = recipe.clone();
    let begun = begun_with(recipe.output_dir()?);
    if recipe.data.template_date.is_none() {
        recipe.data.template_date = match &begun {
            Some(begun) => begun.data.template_date,
            None => Some(today()),
        };
    }
    match begun {
        Some(Recipe { student: begun, .. }) => {
            let own = &mut recipe.student;
            if own.instruction_set == InstructionSet::Auto {
                own.instruction_set = begun.instruction_set;
            }
            if own.instruction_set != begun.instruction_set && instruction_set_of_the_environment().is_some() {
                return Err(anyhow::Error::new(ErrorWithHelp {
                    message: format!(
                        "{INSTRUCTION_SET} names another instruction set than the one that this run began with"
                    ),
                    help: format!("unset {INSTRUCTION_SET} to resume it, or start a new run in another folder"),
                }));
            }
            if own.dtype == Dtype::Auto {
                own.dtype = begun.dtype;
            }
        }
        None => recipe.student = settled(&recipe.student)?,
    }
    Ok(recipe)
}

/// Keeps what a report tells of the session. A run goes on without it.
fn record_session(folder: &Path, started: &Started) -> Option<Session> {
    let here = std::env::current_dir().ok().map(|folder| folder.to_string_lossy().into_owned());
    let session = Session { working_directory: here, ..started.session(current_provenance()) };
    match session.append(folder) {
        Ok(()) => Some(session),
        Err(error) => {
            tracing::warn!("{}; a report will not tell how this run was started", harmless(&error.to_string()));
            None
        }
    }
}

/// The summary, and the most memory that the process ever held.
pub(crate) fn summary_json(summary: &Summary) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(summary)?;
    value["peak_rss_bytes"] = json!(memory::peak());
    Ok(value)
}

/// What became of a run, and the command that goes on with it.
fn describe(summary: &Summary, folder: &Path) -> String {
    let trained = train_loss(summary.train_loss, summary.final_train_loss)
        .map(|loss| format!("; train loss {loss}"))
        .unwrap_or_default();
    let held_out = held_out_loss(summary.eval_loss_before, summary.eval_loss);
    let losses = trained + &held_out.map(|loss| format!("; held-out loss {loss}")).unwrap_or_default();
    match &summary.adapter {
        Some(adapter) => format!(
            "{} steps, {} tokens at {:.0} tokens/s{losses}\nadapter: {}",
            grouped(summary.steps),
            grouped(summary.tokens),
            summary.tokens_per_second,
            adapter.display()
        ),
        None if !folder.join(RECIPE_FILE_NAME).is_file() => {
            format!("stopped before the first step, with nothing to keep\nstart again with: {}", as_typed())
        }
        None => format!(
            "stopped after step {} of {}{losses}\ncontinue with: aludel train --output-dir {} --resume",
            grouped(summary.steps),
            grouped(summary.total_steps),
            shell_quoted(folder)
        ),
    }
}

impl TrainArgs {
    /// The checked recipe, with all that a training run needs.
    pub(crate) fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--student", "student.model", self.student.as_ref())
            .paths("--data", "data.files", &self.data)
            .paths("--eval-data", "data.eval_files", &self.eval_data)
            .path("--output-dir", "train.output_dir", self.output_dir.as_ref())
            .written("--num-train-epochs", "train.num_train_epochs", self.num_train_epochs.as_ref())
            .written("--max-steps", "train.max_steps", self.max_steps.as_ref())
            .written("--learning-rate", "train.learning_rate", self.learning_rate.as_ref())
            .written(
                "--per-device-train-batch-size",
                "train.per_device_train_batch_size",
                self.per_device_train_batch_size.as_ref(),
            )
            .written(
                "--gradient-accumulation-steps",
                "train.gradient_accumulation_steps",
                self.gradient_accumulation_steps.as_ref(),
            )
            .written("--max-length", "train.max_length", self.max_length.as_ref())
            .written("--lora-r", "lora.r", self.lora_r.as_ref())
            .written("--lora-alpha", "lora.alpha", self.lora_alpha.as_ref())
            .written("--lora-dropout", "lora.dropout", self.lora_dropout.as_ref())
            .written("--dtype", "student.dtype", self.dtype.as_ref())
            .written("--threads", "student.threads", self.threads.as_ref())
            .written("--seed", "train.seed", self.seed.as_ref())
            .path("--init-adapter", "train.init_adapter", self.init_adapter.as_ref())
            .switch("--packing", "train.packing", self.packing)
            .switch("--skip-bad-rows", "data.skip_bad_rows", self.skip_bad_rows);
        self.check_resume()?;
        let recipe = resolve(&self.of_the_run(), self.quantize.set(flags), &scope::TRAIN)?;
        recipe.require_for_training()?;
        Ok(recipe)
    }

    /// Refuses to go on where nothing says with what.
    fn check_resume(&self) -> anyhow::Result<()> {
        let is_alone = self.recipe.recipe.is_none() && self.recipe.assignments.is_empty() && self.student.is_none();
        match &self.output_dir {
            _ if !self.resume || !is_alone => Ok(()),
            None => Err(Problems::one(Problem::missing(
                "train.output_dir",
                "--resume continues a run, and no folder of one is named",
                "give it: aludel train --output-dir DIR --resume",
            ))
            .into()),
            Some(folder) if !aludel_files::is_there(folder.join(RECIPE_FILE_NAME)) => {
                Err(anyhow::Error::new(ErrorWithHelp {
                    message: format!(
                        "{}: there is no run to resume here: it holds no {RECIPE_FILE_NAME}",
                        folder.display()
                    ),
                    help: "give the folder of a run, or --student and --data to start one".to_owned(),
                }))
            }
            Some(_) => Ok(()),
        }
    }

    /// Where a run is to go on and no recipe is named, the one that the run's folder holds is meant.
    fn of_the_run(&self) -> RecipeArgs {
        let mut given = self.recipe.clone();
        let own = self
            .output_dir
            .as_ref()
            .map(|folder| folder.join(RECIPE_FILE_NAME))
            .filter(|path| aludel_files::is_there(path));
        if self.resume && given.recipe.is_none() {
            given.recipe = own;
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn flags_reach_their_settings() {
        let args: TrainArgs = parsed(&[
            "--student",
            "s.gguf",
            "--data",
            "a.jsonl",
            "b.jsonl",
            "--output-dir",
            "out",
            "--learning-rate",
            "2e-4",
            "--max-steps",
            "30",
            "--lora-r",
            "4",
            "--seed",
            "1",
            "--packing",
            "--set",
            "lora.alpha=8",
            "--dtype",
            "f32",
        ]);
        let recipe = args.recipe().unwrap();
        assert!(recipe.student.model.is_some_and(|model| model.ends_with("s.gguf")));
        assert_eq!(
            recipe.data.files.iter().filter_map(|file| file.file_name()).collect::<Vec<_>>(),
            ["a.jsonl", "b.jsonl"]
        );
        assert!(recipe.data.files.iter().all(|file| Path::is_absolute(file)));
        assert_eq!((recipe.train.learning_rate, recipe.train.max_steps, recipe.train.seed), (2e-4, Some(30), 1));
        assert_eq!((recipe.lora.r, recipe.lora.alpha, recipe.train.packing), (4, 8.0, true));
    }

    #[test]
    fn a_run_without_student_data_or_folder_is_refused() {
        let args: TrainArgs = parsed(&["--lora-r", "-3"]);
        assert_eq!(
            args.recipe().unwrap_err().to_string(),
            "lora.r = -3 (--lora-r): a negative whole number cannot be taken here; give a whole number from 1 to 4,096"
        );
        let args: TrainArgs = parsed(&["--student", "s.gguf"]);
        let error = args.recipe().unwrap_err().to_string();
        assert!(error.starts_with("train.output_dir: ") && error.contains("\ndata.files: "), "{error}");
    }
}
