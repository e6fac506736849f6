//! `aludel cache`: one pass of a teacher over the rows of a run, kept on disk, so that students learn its distributions without it.

use crate::console::{Console, harmless};
use crate::hub::fetch_named;
use crate::humanize::{bytes, grouped};
use crate::next_command::{after_caching, as_typed};
use crate::progress::{Position, Progress, UnmeasuredCost, WorkKind};
use crate::report::Outcome;
use crate::settings::{Flags, RecipeArgs, resolve, scope, set_template_date};
use crate::signals::{stop_on_signals, tell_how_to_continue};
use crate::value_parser::integer;
use aludel_distill::settings::{Problem, Problems, Recipe};
use aludel_distill::teacher::cache::{CacheEvent, CacheOptions, build};
use clap::Args;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// The options of `aludel cache`. Student, teacher and data may stand in the recipe instead.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CacheArgs {
    /// Teacher: a GGUF file, a Hugging Face model folder, or hf:owner/name, with the student's tokenizer
    #[arg(long, value_name = "PATH")]
    teacher: Option<PathBuf>,

    /// Student whose chat template and tokenizer make the rows
    #[arg(long, value_name = "PATH")]
    student: Option<PathBuf>,

    /// Data files, as for `aludel train`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Evaluation data, as for `aludel train`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    eval_data: Vec<PathBuf>,

    /// Folder for the cache; a stopped build resumes there
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,

    /// Store the K likeliest tokens and the probability of all others; 0 stores none [default: 64, or 0 with --sample]
    #[arg(long, value_name = "K", value_parser = integer::<usize>(0..=256))]
    top_k: Option<usize>,

    /// Store N draws from the teacher for each token: less to store, and enough for the forward KL
    #[arg(long, value_name = "N", value_parser = integer::<usize>(1..=1024))]
    sample: Option<usize>,

    /// Print a summary as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,
}

const EXAMPLES: &str = "\
Examples:
  aludel cache --teacher teacher.gguf --student student.gguf --data curated/train.jsonl --output-dir cache
  aludel cache --teacher teacher.gguf --student student.gguf --data train.jsonl --sample 12 --output-dir cache
  aludel train --student student.gguf --data curated/train.jsonl --output-dir run \\
    --set distill.kind=logits --set distill.cache=cache

Rows are found in a cache by their tokens: it serves every run on these rows, whatever its order, split or
batch size. Give the same command again to go on with what was stopped.";

/// Asks the teacher; SIGTERM and Ctrl-C stop it, and the shards that are finished stay.
pub(crate) fn run(args: &CacheArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut recipe = args.recipe()?;
    fetch_named(&mut recipe)?;
    set_template_date(&mut recipe);
    let samples = args.sample.unwrap_or(0);
    let top_k = args.top_k.unwrap_or(if samples == 0 { 64 } else { 0 });
    if top_k == 0 && samples == 0 {
        let problem = Problem::new("--top-k", Some("0".to_owned()), "nothing would be stored", "1 to 256, or --sample");
        return Err(Problems::one(problem).into());
    }
    let stop = stop_on_signals(as_typed())?;
    let shown = Progress::new();
    let observe = |event: CacheEvent| {
        match event {
            CacheEvent::Hashing => shown.begin(WorkKind::Hashing),
            CacheEvent::Tokenising => shown.begin(WorkKind::Tokenising),
            CacheEvent::CheckingTeacher => shown.begin(WorkKind::CheckingTeacher),
            CacheEvent::Loading { done, total } => shown.loading(done, total),
            CacheEvent::Planned { rows, tokens, bytes: size, done } => {
                tracing::info!(
                    "{} rows with {} supervised tokens, {} on disk",
                    grouped(rows),
                    grouped(tokens),
                    bytes(size)
                );
                if done > 0 {
                    tracing::info!("{} of {} tokens are there already", grouped(done), grouped(tokens));
                }
                shown.expect(WorkKind::Asking, done as f64, tokens as f64, UnmeasuredCost::Unknown);
            }
            CacheEvent::Asked { done, total } => {
                shown.reach_of(
                    WorkKind::Asking,
                    done as f64,
                    total as f64,
                    Position::of(done as u64, total as u64, "tokens"),
                );
            }
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = CacheOptions { top_k, samples };
    let built = build(&recipe, options, &args.output_dir, &observe)?;
    drop(shown);
    let Some(summary) = built else {
        tracing::info!("stopped before the first token, with nothing to keep; start again with: {}", as_typed());
        return Ok(Outcome::Interrupted);
    };
    summary.pair_notes.iter().for_each(|note| tracing::warn!("distill.teacher: {}", harmless(note)));
    if args.json {
        console.json_line(&summary)?;
    } else if summary.finished {
        console.line(format_args!(
            "{} supervised tokens of {} rows in {} ({}, {} bytes a token); stored within {:.2e} nats a token of the teacher",
            grouped(summary.tokens),
            grouped(summary.rows),
            args.output_dir.display(),
            bytes(summary.bytes),
            summary.bytes_per_token,
            summary.stored_kl
        ))?;
        if summary.too_long > 0 {
            console.line(format_args!("rows left out as too long: {}", grouped(summary.too_long)))?;
        }
        console.next(&after_caching(&recipe, &args.output_dir))?;
    }
    if summary.finished {
        return Ok(Outcome::Done);
    }
    tracing::info!("stopped; the shards that are finished are kept in {}", args.output_dir.display());
    tell_how_to_continue();
    Ok(Outcome::Stopped)
}

impl CacheArgs {
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--teacher", "distill.teacher", self.teacher.as_ref())
            .path("--student", "student.model", self.student.as_ref())
            .paths("--data", "data.files", &self.data)
            .paths("--eval-data", "data.eval_files", &self.eval_data);
        let recipe = resolve(&self.recipe, flags, &scope::CACHE)?;
        let mut problems = recipe.student_model().err().map_or_else(Vec::new, Problems::into_vec);
        problems.extend(recipe.distill.teacher_model().err().map_or_else(Vec::new, Problems::into_vec));
        if recipe.data.files.is_empty() {
            problems.push(Problem::missing(
                "data.files",
                "no data is named",
                "give one or more data files: --data FILE..., or `files` in [data]",
            ));
        }
        Problems::unless_empty(problems)?;
        Ok(recipe)
    }
}
