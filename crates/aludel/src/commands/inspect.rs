//! `aludel inspect`: how rows are templated, tokenised and masked, and what would become of all of them in training.
//! Rows go through the very functions that training uses; `rows` sums up what becomes of them, `show` how that looks.

mod rows;
mod show;

use crate::console::Console;
use crate::hub::fetch_named;
use crate::progress::{At, Kind, Progress};
use crate::report::Outcome;
use crate::settings::{Flags, RecipeArgs, resolve, set_template_date};
use aludel_distill::prepare::Preparer;
use aludel_distill::settings::{Problem, Problems, Recipe};
use aludel_model::student::Student;
use aludel_traces::dataset::{self, Record, Records};
use anyhow::Context as _;
use clap::Args;
use rayon::prelude::*;
use rows::Totals;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The options of `aludel inspect`. Student and data may stand in the recipe instead.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    /// The model whose template and tokenizer are used: a GGUF file, a Hugging Face model folder, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    student: Option<PathBuf>,

    /// The data to look at: JSONL, a JSON array (both also .gz or .zst) or Parquet; or hf:owner/name:split
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// How many rows to show; all of them are counted
    #[arg(long, value_name = "N", default_value_t = 3)]
    rows: usize,

    /// Show where one token ends and the next begins
    #[arg(long)]
    tokens: bool,

    /// Show long texts whole
    #[arg(long)]
    full: bool,

    /// Print JSON only: one object with the rows shown and the totals
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,

    /// The longest row, in tokens [default: 2048]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Common settings")]
    max_length: Option<String>,

    /// Count and skip rows that cannot be read
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
    let path = recipe.student_model()?;
    let mut student =
        Student::open(path).with_context(|| format!("{}: the student cannot be opened", path.display()))?;
    student.text.tokenizer.add_tokens(&recipe.student.add_tokens)?;
    let preparer = Preparer::new(&student, &recipe);
    let mut records = dataset::open(&recipe.data.files, &recipe.data.read_options())?;
    let mut report = Report::new(path, &recipe);
    let shown = Progress::new();
    shown.begin(Kind::Reading);
    let pool = thread_pool(recipe.student.threads)?;
    loop {
        let batch = read_batch(&mut records)?;
        if batch.is_empty() {
            break;
        }
        if !args.json && report.totals.records == 0 {
            show::legend(console)?;
        }
        let prepared: Vec<_> = pool.install(|| batch.par_iter().map(|record| preparer.prepare(record)).collect());
        for (record, rows) in batch.iter().zip(prepared) {
            report.totals.add_record();
            for row in rows? {
                report.totals.add(&row, &record.provenance);
                if report.totals.rows > args.rows as u64 {
                    continue;
                }
                if args.json {
                    report.rows.push(show::json_row(
                        report.totals.rows,
                        &row,
                        &record.provenance,
                        &student.text.tokenizer,
                    ));
                } else {
                    let (number, place) = (report.totals.rows, &record.provenance);
                    show::row(console, number, &row, place, &student.text.tokenizer, args.into())?;
                }
            }
        }
        let (read, total) = (records.bytes_read(), records.bytes_total());
        shown.reach_of(Kind::Reading, read as f64, total as f64, At::of_bytes(read, total));
    }
    drop(shown);
    report.totals.finish(records.counts());
    if args.json {
        console.json_line(&report)?;
    } else {
        show::totals(console, &report.totals, &recipe)?;
    }
    Ok(Outcome::Done)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    student: String,
    files: Vec<String>,
    max_length: usize,
    long_rows: aludel_distill::settings::LongRows,
    loss_on: aludel_distill::settings::LossOn,
    rows: Vec<show::JsonRow>,
    totals: Totals,
}

impl Report {
    fn new(student: &Path, recipe: &Recipe) -> Self {
        Self {
            student: student.display().to_string(),
            files: recipe.data.files.iter().map(|file| file.display().to_string()).collect(),
            max_length: recipe.train.max_length,
            long_rows: recipe.data.long_rows,
            loss_on: recipe.data.loss_on,
            rows: Vec::new(),
            totals: Totals::default(),
        }
    }
}

impl InspectArgs {
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--student", "student.model", self.student.as_ref())
            .paths("--data", "data.files", &self.data)
            .written("--max-length", "train.max_length", self.max_length.as_ref())
            .switch("--skip-bad-rows", "data.skip_bad_rows", self.skip_bad_rows);
        let recipe = resolve(&self.recipe, flags)?;
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

fn read_batch(records: &mut Records) -> Result<Vec<Record>, aludel_traces::Error> {
    records.take(BATCH_RECORDS).collect()
}

fn thread_pool(threads: usize) -> anyhow::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .with_context(|| format!("student.threads = {threads}: so many threads cannot be started; ask for fewer"))
}
