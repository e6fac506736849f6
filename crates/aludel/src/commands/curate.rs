//! `aludel curate`: the options of a curation, its progress, and the table of what became of the rows.

mod advice;
mod output;
mod show;

use crate::console::Console;
use crate::hub::fetch_named;
use crate::humanize::grouped;
use crate::next_command::{after_curating, after_failed};
use crate::progress::{self, Position, UnmeasuredCost, WorkKind};
use crate::report::{ErrorWithHelp, Outcome};
use crate::settings::{Flags, RecipeArgs, resolve, scope, set_template_date};
use advice::{nothing_left, warn_of_losses};
use aludel_curate::{CountTokens, Error, PROMPTS, Progress, curate};
use aludel_data::trace::TraceSource;
use aludel_distill::evaluate::compare::Evaluated;
use aludel_distill::evaluate::failures::{FailedProblem, FailedProblemTraces, failed};
use aludel_distill::settings::{Problem, Problems, Recipe};
use aludel_distill::token_counter::TokenCounter;
use aludel_files::counted;
use aludel_formats::atomic;
use aludel_model::student::Student;
use aludel_teacher::store::Inputs;
use anyhow::Context as _;
use clap::Args;
use output::{refuse_input_inside, to_be_replaced};
use serde_json::json;
use show::{show, show_filters};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The options of `aludel curate`. Traces and output folder may be in the recipe instead.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CurateArgs {
    /// Traces: stores, JSONL, JSON array (also .gz, .zst) or Parquet files, or hf:owner/name:split
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,

    /// Results of `aludel eval`: take only what the student gets wrong there. With --input, traces of these problems; without it,
    /// the problems themselves, as prompts.jsonl for the next round
    #[arg(long, value_name = "RESULT_DIR", num_args = 1..)]
    only_failed: Vec<PathBuf>,

    /// Folder for train.jsonl, eval.jsonl, dropped.jsonl and report.json; replaced if curate wrote it
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,

    /// Model whose tokenizer measures curate.min_length and curate.max_length
    #[arg(long, value_name = "PATH")]
    student: Option<PathBuf>,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,

    /// Evaluation files whose prompts must not occur in the training set (decontamination)
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Common settings")]
    decontaminate: Vec<PathBuf>,

    /// Which correct answers to keep per prompt: all, shortest, or a number [default: all]
    #[arg(long, value_name = "WHICH", help_heading = "Common settings")]
    keep: Option<String>,

    /// Maximum number of rows per prompt
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_per_prompt: Option<String>,

    /// Drop rows that are longer than this, in the student's tokens
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_length: Option<String>,

    /// Fraction of rows to hold out for evaluation, or their number [default: 0.1]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    test_size: Option<String>,

    /// Also write Parquet files
    #[arg(long, help_heading = "Common settings")]
    parquet: bool,

    /// Skip rows that cannot be read, instead of stopping at the first
    #[arg(long, help_heading = "Common settings")]
    skip_bad_rows: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel curate --input traces.jsonl --output-dir curated
  aludel curate --input math.jsonl code.jsonl --output-dir curated \\
    --set 'curate.mixture={math=0.7,code=0.3}'
  aludel curate --input traces.jsonl --output-dir curated --keep shortest --decontaminate test.jsonl
  aludel curate --input traces.jsonl --output-dir curated --student student.gguf --max-length 2048
  aludel curate --input traces.jsonl --output-dir curated --set curate.verifier=choice --json
  aludel curate --only-failed results --output-dir next
  aludel curate --input traces.jsonl --only-failed results --output-dir next
  aludel curate --input traces.db --output-dir curated
  aludel curate --input hf:owner/name:train --output-dir curated --parquet
  aludel train --data curated/train.jsonl --student student.gguf --output-dir run

Each filter can be switched off or set: `aludel schema` describes [curate].
Why a row was dropped stands in its `reason` and `detail` in dropped.jsonl.";

/// Curates and prints the outcome of the rows.
pub(crate) fn run(args: &CurateArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let failed = read_failed(&args.only_failed)?;
    let mut recipe = args.recipe()?;
    if let (Some(failed), true, Some(folder)) = (&failed, recipe.curate.input.is_empty(), &recipe.curate.output_dir) {
        args.refuse_without_input()?;
        return write_prompts(failed, folder, args.json, console);
    }
    curate_recipe(&mut recipe, failed.as_deref(), args.json, console)
}

/// Curates what a recipe names, or of it only what is failed.
pub(crate) fn curate_recipe(
    recipe: &mut Recipe,
    failed: Option<&[FailedProblem]>,
    json: bool,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    recipe.require_for_curation()?;
    fetch_named(recipe)?;
    set_template_date(recipe);
    let Some(folder) = &recipe.curate.output_dir else { return Ok(Outcome::Done) };
    let earlier = to_be_replaced(folder)?;
    refuse_input_inside(folder, &recipe.curate.input)?;
    let options = recipe.curate.options(recipe.student.threads)?;
    let inputs = Inputs::open(&recipe.curate.input, &recipe.data.read_options())?;
    let source: Box<dyn TraceSource> = match failed {
        Some(failed) => Box::new(FailedProblemTraces::new(inputs, failed)),
        None => Box::new(inputs),
    };
    let student = open_student(recipe)?;
    let counter = student.as_ref().map(|student| TokenCounter::new(student, recipe));
    let tokens = counter.as_ref().map(|counter| counter as &dyn CountTokens);
    let about = json!({ "version": env!("CARGO_PKG_VERSION"), "curate": recipe.curate, "data": recipe.data });
    let shown = progress::Progress::new();
    shown.begin(WorkKind::Judging);
    let began = Instant::now();
    let curated = curate(&*source, &options, tokens, folder, &about, &|told| show_progress(&shown, &began, told));
    drop(shown);
    if let (Err(Error::NotSplit { report, .. }), false) = (&curated, json) {
        // Too few rows are left; this shows why the others were dropped.
        show_filters(console, report)?;
        console.line(format_args!(
            "kept: {} of {} on {}; nothing is written",
            report.kept,
            counted(report.rows, "row", "rows"),
            counted(report.prompts, "prompt", "prompts")
        ))?;
    }
    let report = curated?;
    if let Some(earlier) = earlier {
        tracing::info!("{}: replaced; it held {earlier}", folder.display());
    }
    if json {
        console.json_line(&report)?;
    } else {
        show(console, &report, folder)?;
    }
    if report.kept == 0 {
        return Err(nothing_left(&report, folder, &recipe.curate.input));
    }
    warn_of_losses(&report, folder);
    if !json {
        let (has_tools, has_held_back) = (report.with_tools > 0, report.eval > 0);
        console.next(&after_curating(folder, recipe.student.model.as_deref(), has_tools, has_held_back))?;
    }
    Ok(Outcome::Done)
}

/// What the student fails in all these results, each question once.
fn read_failed(folders: &[PathBuf]) -> anyhow::Result<Option<Vec<FailedProblem>>> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for folder in folders {
        all.extend(failed(&Evaluated::read(folder)?));
    }
    all.retain(|failed| seen.insert(failed.prompt.trim().to_owned()));
    Ok((!folders.is_empty()).then_some(all))
}

/// The next round's prompts; where nothing is failed, there is no next round on these problems.
fn write_prompts(
    failed: &[FailedProblem],
    folder: &Path,
    json: bool,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    to_be_replaced(folder)?;
    if failed.is_empty() {
        return Err(ErrorWithHelp {
            message: "there are no prompts for a next round: every problem of these results was solved".to_owned(),
            help: "evaluate on harder problems, or on more of them".to_owned(),
        }
        .into());
    }
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot be made the output folder", folder.display()))?;
    let path = folder.join(PROMPTS);
    let is_replaced = aludel_files::is_there(&path);
    atomic::write_file(&path, |output| {
        failed.iter().try_for_each(|failed| output.put(format!("{}\n", json!(failed)).as_bytes()))
    })?;
    if is_replaced {
        tracing::info!("{}: replaced; it held the prompts of an earlier round", path.display());
    }
    if json {
        console.json_line(&json!({ "output": path, "prompts": failed.len() }))?;
    } else {
        console.line(format_args!(
            "{} that the student gets wrong, in {}",
            counted(failed.len() as u64, "prompt", "prompts"),
            path.display()
        ))?;
        console.next(&after_failed(&path))?;
    }
    Ok(Outcome::Done)
}

fn open_student(recipe: &Recipe) -> anyhow::Result<Option<Student>> {
    let Some(path) = recipe.student.model.as_ref().filter(|_| recipe.curate.needs_student()) else { return Ok(None) };
    let mut student =
        Student::open(path).with_context(|| format!("{}: the student cannot be opened", path.display()))?;
    student.text.tokenizer.add_tokens(&recipe.student.add_tokens)?;
    Ok(Some(student))
}

/// What writing a row costs beside judging it, as long as no row was written: both read it, and only one of them compares it. Where rows are
/// judged slowly, by a command or by long solutions, they are written no slower for that.
const WRITING: f64 = 0.5;
/// Rows that are judged in a second where writing is taken to cost as much as that.
const QUICKLY: f64 = 1000.0;

/// Rows are judged, whose number is not known before all are read, and then read again and written: each pass is 1 of its kind.
fn show_progress(shown: &progress::Progress, began: &Instant, told: Progress) {
    let kind = if told.writing { WorkKind::Writing } else { WorkKind::Judging };
    let position = match told.rows_total {
        Some(total) => format!("{}/{} rows", grouped(told.rows), grouped(total)),
        None => format!("{} rows", grouped(told.rows)),
    };
    let mut at = Position { position, share: told.share, facts: Vec::new() };
    let seconds = began.elapsed().as_secs_f64();
    if !told.writing && seconds > 0.0 {
        at.facts.push(rate(told.rows as f64 / seconds));
    }
    let Some(share) = told.share else { return shown.begin_at(kind, at) };
    shown.expect_once(WorkKind::Judging, 1.0, UnmeasuredCost::Unknown);
    if told.writing {
        shown.reach(WorkKind::Judging, 1.0, Position::default());
    } else {
        let cost = WRITING * (told.rows as f64 / seconds.max(1e-9) / QUICKLY).min(1.0);
        shown.expect(WorkKind::Writing, 0.0, 1.0, UnmeasuredCost::Times(cost, WorkKind::Judging));
    }
    shown.reach(kind, share, at);
}

/// Rows a second; with a decimal where there are few.
fn rate(rows: f64) -> String {
    if rows < 10.0 { format!("{rows:.1} rows/s") } else { format!("{} rows/s", grouped(rows as u64)) }
}

impl CurateArgs {
    /// Refuses what says how traces are curated where none are named, and only prompts are written.
    fn refuse_without_input(&self) -> Result<(), Problems> {
        let given = [
            ("--set", self.recipe.assignments.first().cloned()),
            ("--student", self.student.as_ref().map(|path| path.display().to_string())),
            ("--decontaminate", self.decontaminate.first().map(|path| path.display().to_string())),
            ("--keep", self.keep.clone()),
            ("--max-per-prompt", self.max_per_prompt.clone()),
            ("--max-length", self.max_length.clone()),
            ("--test-size", self.test_size.clone()),
            ("--parquet", self.parquet.then(String::new)),
            ("--skip-bad-rows", self.skip_bad_rows.then(String::new)),
        ];
        let reason = "without --input only the prompts of a next round are written, and it would have no effect";
        let problem = |(flag, value): (&str, Option<String>)| {
            let value = Some(value?).filter(|value| !value.is_empty());
            Some(Problem::new(flag, value, reason, "leave it out, or give the traces of these problems: --input FILE"))
        };
        Problems::unless_empty(given.into_iter().filter_map(problem).collect())
    }

    fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .paths("--input", "curate.input", &self.input)
            .path("--output-dir", "curate.output_dir", self.output_dir.as_ref())
            .path("--student", "student.model", self.student.as_ref())
            .paths("--decontaminate", "curate.decontaminate", &self.decontaminate)
            .written("--keep", "curate.keep", self.keep.as_ref())
            .written("--max-per-prompt", "curate.max_per_prompt", self.max_per_prompt.as_ref())
            .written("--max-length", "curate.max_length", self.max_length.as_ref())
            .written("--test-size", "curate.test_size", self.test_size.as_ref())
            .switch("--parquet", "curate.parquet", self.parquet)
            .switch("--skip-bad-rows", "data.skip_bad_rows", self.skip_bad_rows);
        resolve(&self.recipe, flags, &scope::CURATE)
    }
}
