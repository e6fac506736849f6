//! `aludel inspect`: how rows are templated, tokenised and masked, and how training would handle all of them. Rows are
//! prepared by the same functions as in training; `rows` counts the outcomes, `show` prints them.

mod rows;
mod show;

use crate::console::Console;
use crate::hub::fetch_named;
use crate::next_command::{after_inspecting, after_refusal};
use crate::progress::{Position, Progress, WorkKind};
use crate::provenance::current_provenance;
use crate::report::Outcome;
use crate::settings::{Flags, QuantizeArgs, RecipeArgs, resolve, scope, set_template_date};
use crate::value_parser::integer;
use aludel_data::dataset::{self, PromptKey, Provenance, Record, Records};
use aludel_distill::auto_max_length::{ExcludedRows, Lengths};
use aludel_distill::batch::{MaxPassTokens, Plan};
use aludel_distill::learner::{Learner, settled};
use aludel_distill::memory::TrainingMemory;
use aludel_distill::prepare::{Prepared, Preparer};
use aludel_distill::rows::divided;
use aludel_distill::settings::{MaxLength, Problem, Problems, Recipe};
use aludel_model::student::Student;
use anyhow::Context as _;
use clap::Args;
use rayon::prelude::*;
use rows::Totals;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The options of `aludel inspect`. Student and data may be in the recipe instead.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    /// Model whose chat template and tokenizer are used: a GGUF file, a Hugging Face model folder, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    student: Option<PathBuf>,

    /// Data to inspect: JSONL, JSON array (also .gz, .zst) or Parquet files, or hf:owner/name:split
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Evaluation data, as for `aludel train`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    eval_data: Vec<PathBuf>,

    /// Number of rows to show; the totals are of all rows
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = integer::<usize>(0..=u64::MAX))]
    rows: usize,

    /// Show the boundaries of tokens
    #[arg(long)]
    tokens: bool,

    /// Show long texts in full
    #[arg(long)]
    full: bool,

    /// Print JSON only: one object with the rows shown and the totals
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,

    /// Maximum row length in tokens; longer rows are left out. auto keeps 99% of the rows if memory allows [default: auto]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_length: Option<String>,

    #[command(flatten, next_help_heading = "Common settings")]
    quantize: QuantizeArgs,

    /// Skip rows that cannot be read, and count them
    #[arg(long, help_heading = "Common settings")]
    skip_bad_rows: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel inspect --student student.gguf --data traces.jsonl
  aludel inspect --student student.gguf --data traces.jsonl --rows 1 --full --tokens
  aludel inspect --student student.gguf --data traces.jsonl --color always | less -R
  aludel inspect --student student.gguf --data traces.jsonl --rows 0 --max-length 4096 --json
  aludel inspect --recipe recipe.toml --set data.loss_on=answer";

/// Shows the first rows and counts all.
pub(crate) fn run(args: &InspectArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut recipe = args.recipe()?;
    fetch_named(&mut recipe)?;
    set_template_date(&mut recipe);
    let path = recipe.student_model()?.to_owned();
    let mut student =
        Student::open(&path).with_context(|| format!("{}: the student cannot be opened", path.display()))?;
    let added = student.text.tokenizer.add_tokens(&recipe.student.add_tokens)?;
    let preparer = Preparer::new(&student, &recipe);
    let mut records = dataset::open(&recipe.data.all_files(), &recipe.row_options())?;
    records.divide_counts(recipe.data.files.len());
    let (mut totals, mut evaluation) = (Totals::default(), Totals::default());
    // Which rows are too long is known when all were read.
    let mut shown: Vec<(Prepared, Provenance)> = Vec::new();
    let progress = Progress::new();
    progress.begin(WorkKind::Reading);
    let pool = thread_pool(recipe.student.threads)?;
    loop {
        let batch = read_batch(&mut records)?;
        if batch.is_empty() {
            break;
        }
        let prepared: Vec<_> = pool.install(|| batch.par_iter().map(|record| preparer.prepare(record)).collect());
        for (record, rows) in batch.iter().zip(prepared) {
            let is_to_train = (record.provenance.file_index as usize) < recipe.data.files.len();
            let totals = if is_to_train { &mut totals } else { &mut evaluation };
            totals.add_record();
            for row in rows? {
                totals.add(&row, record);
                if is_to_train && shown.len() < args.rows {
                    shown.push((row, record.provenance.clone()));
                }
            }
        }
        let (read, total) = (records.bytes_read(), records.bytes_total());
        progress.reach_of(WorkKind::Reading, read as f64, total as f64, Position::of_bytes(read, total));
    }
    drop(progress);
    let training = Training::of(&student, &added, &recipe, &totals, &evaluation);
    let max_length = training.as_ref().map_or(recipe.train.max_length.limit(), |training| training.max_length);
    recipe.train.max_length = MaxLength::Tokens(max_length);
    let [of_training, of_evaluation] = records.divided_counts().cloned().unwrap_or_default();
    totals.finish(&of_training, max_length);
    evaluation.finish(&of_evaluation, max_length);
    let evaluation = (!recipe.data.eval_files.is_empty()).then_some(evaluation);
    shown.iter_mut().for_each(|(row, _)| row.limit(max_length));
    let tokenizer = &student.text.tokenizer;
    let numbered = (1..).zip(&shown);
    if args.json {
        let rows = numbered.map(|(number, (row, place))| show::json_row(number, row, place, tokenizer)).collect();
        let (left_out, memory_bytes) = match &training {
            Ok(training) => (training.left_out.iter().map(ExcludedRows::describe).collect(), training.memory_bytes),
            Err(_) => (Vec::new(), None),
        };
        let report = Report { left_out, memory_bytes, rows, evaluation, ..Report::new(&recipe, max_length, totals) };
        console.json_line(&report)?;
    } else {
        show::legend(console)?;
        for (number, (row, place)) in numbered {
            show::row(console, number, row, place, tokenizer, args.into())?;
        }
        show::totals(console, &totals, &recipe)?;
        evaluation.iter().try_for_each(|evaluation| show::evaluation(console, evaluation, &totals, &recipe))?;
        show::training(console, &training, &recipe)?;
        if let Some(next) = next(&totals, evaluation.as_ref(), &training, &recipe) {
            console.next(&next)?;
        }
    }
    Ok(Outcome::Done)
}

/// The next command: training, if the data can be trained on, or curation, if that would remove the problem. Other problems are reported.
fn next(
    totals: &Totals,
    evaluation: Option<&Totals>,
    training: &aludel_distill::Result<Training>,
    recipe: &Recipe,
) -> Option<String> {
    let mut refused =
        [Some(totals), evaluation].into_iter().flatten().filter_map(|totals| totals.first_refused.as_ref());
    if let Some(refused) = refused.next().filter(|_| !recipe.data.skip_bad_rows) {
        let is_mended = refused.reason.contains("`aludel curate`");
        return is_mended.then(|| after_refusal(&recipe.data.files));
    }
    let left_out = &training.as_ref().ok()?.left_out;
    let goes_on = totals.kept + totals.cut > 0 && left_out.iter().all(|left_out| left_out.check(recipe).is_ok());
    goes_on.then(|| after_inspecting(&current_provenance().command, recipe.train.output_dir.is_some()))
}

/// What training would take.
struct Training {
    max_length: usize,
    left_out: Vec<ExcludedRows>,
    memory_bytes: Option<u64>,
}

impl Training {
    /// On these rows, as training itself finds it out.
    fn of(
        student: &Student,
        added: &[u32],
        recipe: &Recipe,
        totals: &Totals,
        evaluation: &Totals,
    ) -> aludel_distill::Result<Training> {
        let mut recipe = Recipe { student: settled(&recipe.student)?, ..recipe.clone() };
        let mut learner = Learner::outline(student, added, &recipe)?;
        let (asked, own) = (recipe.train.max_length, student.config.max_position_embeddings);
        let positions = learner.max_judged_length().map_or(own, |judged| judged.min(own));
        let mut growth = TrainingMemory::of_outlined(&mut learner, &recipe);
        let lengths = Lengths { train: totals.lengths_taken(), evaluation: evaluation.lengths_taken() };
        let (max_length, bounds) = growth.settle(asked, &lengths, positions);
        recipe.train.max_length = MaxLength::Tokens(max_length);
        let left_out = ExcludedRows::all(&lengths, max_length, asked == MaxLength::AUTO, bounds);
        let memory_bytes = growth.process_bytes(largest_passes(&recipe, totals, evaluation, max_length));
        Ok(Training { max_length, left_out, memory_bytes })
    }
}

/// The largest passes of a run on these rows.
fn largest_passes(recipe: &Recipe, totals: &Totals, evaluation: &Totals, max_length: usize) -> MaxPassTokens {
    let of = |totals: &Totals, is_to_train: bool| -> Vec<(u32, bool, PromptKey)> {
        let kept = totals.prompts().filter(|(tokens, _)| *tokens as usize <= max_length);
        kept.map(|(tokens, prompt)| (tokens, is_to_train, prompt)).collect()
    };
    let rows = [of(totals, true), of(evaluation, false)].concat();
    let lengths: Vec<u32> = rows.iter().map(|row| row.0).collect();
    let all = 0..rows.len() as u32;
    let told = |row: u32| (rows[row as usize].1, rows[row as usize].2);
    // Rows that cannot be split are reported by training.
    let (train, test) = divided(all.end, &told, recipe).unwrap_or_else(|_| (all.collect(), Vec::new()));
    let mut plan = Plan::new(&recipe.train, &train, &lengths);
    let largest = MaxPassTokens::of(&recipe.train, &mut plan, &test, 0);
    if recipe.distill.is_on_policy() { largest.with_own_answers(&recipe.train) } else { largest }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    student: String,
    files: Vec<String>,
    max_length: usize,
    left_out: Vec<String>,
    memory_bytes: Option<u64>,
    long_rows: aludel_distill::settings::LongRows,
    loss_on: aludel_distill::settings::LossOn,
    rows: Vec<show::JsonRow>,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation: Option<Totals>,
}

impl Report {
    fn new(recipe: &Recipe, max_length: usize, totals: Totals) -> Self {
        Self {
            student: recipe.student.model.as_deref().unwrap_or(Path::new("")).display().to_string(),
            files: recipe.data.files.iter().map(|file| file.display().to_string()).collect(),
            max_length,
            left_out: Vec::new(),
            memory_bytes: None,
            long_rows: recipe.data.long_rows,
            loss_on: recipe.data.loss_on,
            rows: Vec::new(),
            totals,
            evaluation: None,
        }
    }
}

impl InspectArgs {
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--student", "student.model", self.student.as_ref())
            .paths("--data", "data.files", &self.data)
            .paths("--eval-data", "data.eval_files", &self.eval_data)
            .written("--max-length", "train.max_length", self.max_length.as_ref())
            .switch("--skip-bad-rows", "data.skip_bad_rows", self.skip_bad_rows);
        let recipe = resolve(&self.recipe, self.quantize.set(flags), &scope::INSPECT)?;
        let mut problems = recipe.student_model().err().map_or_else(Vec::new, Problems::into_vec);
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

impl From<&InspectArgs> for show::Detail {
    fn from(args: &InspectArgs) -> Self {
        Self { tokens: args.tokens, full: args.full }
    }
}

/// Enough rows to keep all threads busy, few enough to need little memory.
const BATCH_RECORDS: usize = 256;

fn read_batch(records: &mut Records) -> Result<Vec<Record>, aludel_data::Error> {
    records.take(BATCH_RECORDS).collect()
}

fn thread_pool(threads: usize) -> anyhow::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .with_context(|| format!("student.threads = {threads}: that many threads cannot be started; ask for fewer"))
}
